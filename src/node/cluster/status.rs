//! How a cluster stands, for people and for what shows it to them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::inputs::GroupStatus;
use crate::broker::ids::{GroupId, META_GROUP, NodeId};

/// How a cluster stands, as gathered by one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct ClusterStatus {
    /// The cluster's number in hexadecimal.
    pub cluster: String,
    /// The node that gathered this.
    pub asked: NodeId,
    /// Copies that each group is to have with the nodes that there are.
    pub copies: u16,
    /// All members.
    pub nodes: Vec<NodeStatus>,
    /// Group 0 orders declarations; the others own replicated queues.
    pub groups: Vec<GroupOverview>,
    /// Replicated queues, when asked for.
    pub queues: Vec<QueueOverview>,
}

/// A member of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct NodeStatus {
    /// Its number.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Where other nodes reach it.
    pub address: String,
    /// Where clients reach it.
    pub client_address: String,
    /// Whether it answered.
    pub is_up: bool,
    /// Its release; empty when it is down.
    pub version: String,
    /// Groups that it leads.
    pub leads: u64,
    /// Groups that it has a copy of.
    pub copies: u64,
    /// It gives up its leads and takes no others.
    pub is_draining: bool,
    /// It gives up all it has, and is then no member.
    pub is_leaving: bool,
}

/// A group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct GroupOverview {
    /// Its number.
    pub group: GroupId,
    /// The node that leads it; 0 when nobody is known to.
    pub leader: NodeId,
    /// The leader's term.
    pub term: u64,
    /// Entries that a majority has.
    pub commit: u64,
    /// Queues that it owns.
    pub queues: u64,
    /// Who is in it.
    pub members: Vec<Member>,
    /// The entry that made these the members; 0 while they change.
    #[serde(default)]
    pub members_version: u64,
}

/// A member of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Member {
    /// Its number.
    pub node: NodeId,
    /// Whether it counts for a majority; a newcomer does not before it has caught up.
    pub is_voter: bool,
    /// It has everything but what is on its way to it.
    pub is_in_sync: bool,
    /// Entries that it lacks.
    pub lag_entries: u64,
    /// Their bytes.
    pub lag_bytes: u64,
    /// It lacks so much that it gets a copy of the whole.
    pub gets_snapshot: bool,
}

/// A replicated queue. Leader, members and lag are those of its group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct QueueOverview {
    /// The vhost that it is in.
    pub vhost: String,
    /// Its name.
    pub name: String,
    /// The group that owns it.
    pub group: GroupId,
}

/// What a node tells of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct NodeReport {
    pub(crate) node: NodeId,
    pub(crate) version: String,
    pub(crate) is_draining: bool,
    pub(crate) groups: Vec<GroupOverview>,
    /// Queues that only this node has.
    pub(crate) own_queues: u64,
}

impl ClusterStatus {
    /// Whether every node is up, and every group has a leader, all its copies, and none that lacks something.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let is_complete = |group: &GroupOverview| {
            let voters = group.members.iter().filter(|member| member.is_voter).count();
            let are_in = group.group == META_GROUP || voters == group.members.len();
            let has_copies = voters >= usize::from(self.copies);
            group.leader != 0 && are_in && has_copies && group.members.iter().all(|member| member.is_in_sync)
        };
        self.nodes.iter().all(|node| node.is_up) && self.groups.iter().all(is_complete)
    }
}

impl GroupOverview {
    /// Members that have everything.
    pub fn in_sync(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.members.iter().filter(|member| member.is_in_sync).map(|member| member.node)
    }

    /// The largest lag of a member: entries and bytes.
    #[must_use]
    pub fn lag(&self) -> (u64, u64) {
        let lags = self.members.iter().map(|member| (member.lag_entries, member.lag_bytes));
        lags.max().unwrap_or_default()
    }
}

impl From<&GroupStatus> for GroupOverview {
    fn from(status: &GroupStatus) -> Self {
        Self {
            group: status.group,
            leader: status.leader,
            term: status.term,
            commit: status.commit,
            queues: status.queues,
            members: status.members.clone(),
            members_version: status.members_version,
        }
    }
}

/// The groups as their leaders see them. Of a group whose leader did not answer only the number is known.
pub(crate) fn merge_groups<'a>(
    count: u16,
    reports: impl Iterator<Item = &'a NodeReport>,
) -> Vec<GroupOverview> {
    let unknown = |group| GroupOverview { group, ..GroupOverview::default() };
    let mut groups: BTreeMap<GroupId, GroupOverview> =
        (0..=count).map(|group| (group, unknown(group))).collect();
    for report in reports {
        // Two may think that they lead: the one with the higher term does.
        for seen in report.groups.iter().filter(|seen| seen.leader == report.node) {
            let best = groups.entry(seen.group).or_insert_with(|| unknown(seen.group));
            if best.leader == 0 || best.term < seen.term {
                *best = seen.clone();
            }
        }
    }
    groups.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(node: NodeId, groups: &[(GroupId, NodeId, u64)]) -> NodeReport {
        let overview = |(group, leader, term): &(GroupId, NodeId, u64)| GroupOverview {
            group: *group,
            leader: *leader,
            term: *term,
            ..GroupOverview::default()
        };
        NodeReport { node, groups: groups.iter().map(overview).collect(), ..NodeReport::default() }
    }

    #[test]
    fn a_group_is_as_its_newest_leader_sees_it() {
        let reports =
            [report(1, &[(0, 1, 3), (1, 2, 5), (2, 1, 4)]), report(2, &[(0, 1, 3), (1, 2, 5), (2, 2, 6)])];
        let groups = merge_groups(3, reports.iter());
        let leaders: Vec<_> = groups.iter().map(|group| (group.group, group.leader, group.term)).collect();
        assert_eq!(leaders, [(0, 1, 3), (1, 2, 5), (2, 2, 6), (3, 0, 0)]);
    }

    #[test]
    fn a_cluster_is_complete_when_nothing_lacks_anything() {
        let member = |node| Member { node, is_voter: true, is_in_sync: true, ..Member::default() };
        let group = |group| GroupOverview {
            group,
            leader: 1,
            members: (1..=3).map(member).collect(),
            ..GroupOverview::default()
        };
        let node = |node| NodeStatus { node, is_up: true, ..NodeStatus::default() };
        let whole = ClusterStatus {
            copies: 3,
            nodes: (1..=3).map(node).collect(),
            groups: vec![group(0), group(1)],
            ..ClusterStatus::default()
        };
        assert!(whole.is_complete());
        let lacks: [fn(&mut ClusterStatus); 5] = [
            |status| status.nodes[2].is_up = false,
            |status| status.groups[1].leader = 0,
            |status| status.groups[1].members[2].is_in_sync = false,
            |status| status.groups[1].members[2].is_voter = false,
            |status| {
                status.groups[0].members.pop();
            },
        ];
        for lack in lacks {
            let mut status = whole.clone();
            lack(&mut status);
            assert!(!status.is_complete(), "{status:?}");
        }
    }

    #[test]
    fn the_lag_of_a_group_is_that_of_its_slowest_member() {
        let member = |lag_entries, lag_bytes| Member { lag_entries, lag_bytes, ..Member::default() };
        let group = GroupOverview {
            members: vec![member(0, 0), member(9, 100), member(3, 4)],
            ..GroupOverview::default()
        };
        assert_eq!(group.lag(), (9, 100));
    }
}
