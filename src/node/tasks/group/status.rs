//! How a group stands, as this node sees it.

use super::{GroupTask, Stage};
use crate::broker::ids::NodeId;
use crate::node::cluster::inputs::{GroupStatus, MemberStatus};

impl GroupTask {
    pub(crate) fn status(&self) -> GroupStatus {
        let (applied, queues) = match &self.stage {
            Stage::Waits(_) | Stage::Reads => (0, 0),
            Stage::Replica(replica) => (replica.row.applied, self.entries.len()),
            Stage::Leader(leader) => (self.group.handed(), leader.queues()),
        };
        GroupStatus {
            group: self.number,
            leader: self.leader_if_known(),
            term: self.group.term(),
            commit: self.group.commit(),
            applied,
            queues: queues as u64,
            members: self.members(),
        }
    }

    /// Not itself before it has begun to lead: until then it names no members but itself, and they would pass for all.
    fn leader_if_known(&self) -> NodeId {
        let leader = self.group.leader();
        if leader == self.node && self.group.member_progress().is_empty() { 0 } else { leader }
    }

    /// Whether it has a lead.
    #[cfg(test)]
    pub(crate) fn leads(&self) -> bool {
        matches!(self.stage, Stage::Leader(_))
    }

    fn members(&self) -> Vec<MemberStatus> {
        let known = self.group.member_progress();
        if known.is_empty() {
            let members = self.group.members();
            let is_voter = members.voters.contains(&self.node);
            let is_member = is_voter || members.learners.contains(&self.node);
            let own = MemberStatus { node: self.node, is_voter, ..MemberStatus::default() };
            return is_member.then_some(own).into_iter().collect();
        }
        let status = |member: crate::replication::MemberProgress| MemberStatus {
            node: member.node,
            is_voter: member.is_voter,
            in_sync: member.is_in_sync,
            lag_entries: member.lag_entries,
            lag_bytes: member.lag_bytes,
            gets_snapshot: member.gets_snapshot,
        };
        known.into_iter().map(status).collect()
    }
}
