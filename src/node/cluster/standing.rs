//! How a group stands, as one of its members tells it: the same for declarations and for queues.

use super::status::Member;
use crate::broker::ids::NodeId;
use crate::replication::{Group, MemberProgress};

/// Who leads, as `node` says, which knows of `leader`; 0 for nobody. Not itself before it has begun to lead: until then it
/// names no members but itself, and they would pass for all.
pub(crate) fn leader_if_known(group: &Group, leader: NodeId, node: NodeId) -> NodeId {
    if leader == node && group.member_progress().is_empty() { 0 } else { leader }
}

/// All members, when `node` leads; otherwise itself alone, if it is one.
pub(crate) fn members_of(group: &Group, node: NodeId) -> Vec<Member> {
    let known = group.member_progress();
    if known.is_empty() {
        let members = group.members();
        let is_voter = members.voters.contains(&node);
        let is_member = is_voter || members.learners.contains(&node);
        let own = Member { node, is_voter, ..Member::default() };
        return is_member.then_some(own).into_iter().collect();
    }
    known.into_iter().map(status_of).collect()
}

/// Which members these are; 0 while they change, and for who does not lead.
pub(crate) fn members_version(group: &Group) -> u64 {
    let members = group.members();
    if members.is_changing || group.member_progress().is_empty() { 0 } else { members.version }
}

fn status_of(member: MemberProgress) -> Member {
    Member {
        node: member.node,
        is_voter: member.is_voter,
        is_in_sync: member.is_in_sync,
        lag_entries: member.lag_entries,
        lag_bytes: member.lag_bytes,
        gets_snapshot: member.gets_snapshot,
    }
}
