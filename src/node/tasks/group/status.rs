//! How a group stands, as this node sees it.

use super::{GroupTask, Stage};
use crate::node::cluster::inputs::GroupStatus;
use crate::node::cluster::standing::{leader_if_known, members_of, members_version};

impl GroupTask {
    pub(crate) fn status(&self) -> GroupStatus {
        let (applied, queues) = match &self.stage {
            Stage::Waits(_) | Stage::Reads => (0, 0),
            Stage::Replica(replica) => (replica.row.applied, self.entries.len()),
            Stage::Leader(leader) => (self.group.handed(), leader.queues()),
        };
        GroupStatus {
            group: self.number,
            leader: leader_if_known(&self.group, self.group.leader(), self.node),
            term: self.group.term(),
            commit: self.group.commit(),
            applied,
            queues: queues as u64,
            members: members_of(&self.group, self.node),
            members_version: members_version(&self.group),
        }
    }

    /// Who belongs to it, as far as this node knows.
    #[cfg(test)]
    pub(crate) fn members(&self) -> crate::replication::Members {
        self.group.members()
    }

    /// Whether others are to belong to it soon.
    #[cfg(test)]
    pub(crate) fn is_changing(&self) -> bool {
        self.group.is_changing()
    }

    /// Whether it has a lead.
    #[cfg(test)]
    pub(crate) fn leads(&self) -> bool {
        matches!(self.stage, Stage::Leader(_))
    }
}
