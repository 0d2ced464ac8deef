//! What is to be done next so that every group has its members and every node leads its share.
//!
//! Pure: the leader of the meta group shows the planner how the cluster stands, again and again, and carries out what it
//! asks for. The planner remembers little (what it asked for lately), so another leader goes on where this one ends.
//!
//! - `members`: which nodes a group is to have, and the next step there: learners first, promoted when they are in sync
//! - `leads`: who is to lead, a few moves each second

mod leads;
mod members;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use super::inputs::GroupStatus;
use super::status::Member;
use crate::broker::ids::{GroupId, META_GROUP, NodeId};
use crate::replication::MembersChange;

/// A change that is not to be seen after this time is asked for again.
const CHANGE_TAKES_MS: u64 = 10_000;
/// A group that just got another leader keeps it for so long.
const LEAD_LASTS_MS: u64 = 5_000;
/// As many as there can be groups.
const REBALANCE_MOVES: u64 = 1024;
/// Every node follows the meta group; so many of them vote there.
const META_VOTERS_MAX: usize = 5;

/// What the cluster is to look like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlanOptions {
    /// Members of each group that owns queues, as far as there are nodes.
    pub(crate) replicas: usize,
    /// Leads that may move each second to balance them.
    pub(crate) moves_per_second: u32,
    /// Groups that may get other members at the same time.
    pub(crate) changes_max: usize,
}

/// How the cluster stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// The nodes of the cluster; who is forgotten is not in it.
    pub(crate) nodes: BTreeMap<NodeId, NodeView>,
    /// Smaller numbers that are nobody's were those of nodes that are gone for good; of larger ones nothing is known yet.
    pub(crate) next_node: NodeId,
    /// Each group as its leader sees it; without a leader, with none.
    pub(crate) groups: Vec<GroupStatus>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeView {
    pub(crate) is_up: bool,
    pub(crate) wish: Wish,
}

/// What a node wants of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// To do its share.
    Share,
    /// To lead nothing, since it is to stop soon.
    Drain,
    /// To lead nothing and hold nothing.
    Leave,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The leader of the group is to change its members to these.
    SetMembers { group: GroupId, leader: NodeId, change: MembersChange },
    /// Another member is to lead.
    Transfer { group: GroupId, from: NodeId, to: NodeId },
    /// A node that wants to leave is in no group any more: it is to be no member of the cluster.
    Remove(NodeId),
}

#[derive(Debug)]
pub(crate) struct Planner {
    options: PlanOptions,
    changes: BTreeMap<GroupId, Change>,
    /// When each group got another leader by this planner.
    moved_ms: BTreeMap<GroupId, u64>,
    /// Moves that are allowed now, in thousandths.
    allowance: u64,
    planned_ms: u64,
}

/// A change of members that was asked for.
#[derive(Debug)]
struct Change {
    since_ms: u64,
    members: Members,
}

/// Who is in a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Members {
    voters: BTreeSet<NodeId>,
    learners: BTreeSet<NodeId>,
}

impl Members {
    fn of(group: &GroupStatus) -> Self {
        let of = |is_voter: bool| {
            let members = group.members.iter().filter(move |member| member.is_voter == is_voter);
            members.map(|member| member.node).collect()
        };
        Self { voters: of(true), learners: of(false) }
    }

    /// The order to become these.
    fn ordered(&self, group: &GroupStatus) -> Action {
        let in_order = |nodes: &BTreeSet<NodeId>| nodes.iter().copied().collect();
        let now = Self::of(group);
        let change = MembersChange {
            from: group.members_version,
            voters: in_order(&self.voters),
            learners: in_order(&self.learners),
            leaving: now.all().difference(&self.all()).copied().collect(),
        };
        Action::SetMembers { group: group.group, leader: group.leader, change }
    }

    fn all(&self) -> BTreeSet<NodeId> {
        self.voters.union(&self.learners).copied().collect()
    }
}

impl View {
    fn is_up(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.is_up)
    }

    fn wishes(&self, node: NodeId, wish: Wish) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.wish == wish)
    }

    /// Whether a node may hold copies: it belongs to the cluster, and is to stay.
    fn may_hold(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.wish != Wish::Leave)
    }

    /// Whether a node is to have no copies, for certain: somebody wants it to leave, or has taken it out. Of one that is merely
    /// not known here nobody can say that.
    fn is_to_go(&self, node: NodeId) -> bool {
        self.wishes(node, Wish::Leave) || (node < self.next_node && !self.nodes.contains_key(&node))
    }

    /// Nobody that this node has heard of, and nobody that has gone: it may have joined just now.
    fn is_unknown(&self, node: NodeId) -> bool {
        !self.nodes.contains_key(&node) && !self.is_to_go(node)
    }

    /// Groups whose leader has told how they stand.
    fn led(&self) -> impl Iterator<Item = &GroupStatus> {
        self.groups.iter().filter(|group| group.leader != 0 && !group.members.is_empty())
    }

    /// Members that can take over at once.
    fn ready_voters<'a>(&'a self, group: &'a GroupStatus) -> impl Iterator<Item = NodeId> + 'a {
        let ready = group.members.iter().filter(|member| self.is_ready(member) && member.is_voter);
        ready.map(|member| member.node)
    }

    fn is_ready(&self, member: &Member) -> bool {
        member.is_in_sync && !member.gets_snapshot && self.is_up(member.node)
    }
}

impl Planner {
    pub(crate) fn new(options: PlanOptions) -> Self {
        Self { options, changes: BTreeMap::new(), moved_ms: BTreeMap::new(), allowance: 1000, planned_ms: 0 }
    }

    /// What is to be done now. What cannot be carried out is asked for again later.
    pub(crate) fn plan(&mut self, now_ms: u64, view: &View) -> Vec<Action> {
        self.look(now_ms, view);
        let mut actions = Vec::new();
        self.plan_members(now_ms, view, &mut actions);
        self.plan_leads(now_ms, view, &mut actions);
        actions.extend(removals(view));
        actions
    }

    /// A change that was asked for is not made: what is seen next may ask for another.
    pub(crate) fn refused(&mut self, group: GroupId) {
        self.changes.remove(&group);
    }

    /// Leads are evened out now, without regard to how many move.
    pub(crate) fn rebalance(&mut self) {
        self.moved_ms.clear();
        self.allowance = REBALANCE_MOVES * 1000;
    }

    /// Takes note of what was done of that what was asked for.
    fn look(&mut self, now_ms: u64, view: &View) {
        let elapsed_ms = now_ms.saturating_sub(self.planned_ms).min(1000);
        let per_second = u64::from(self.options.moves_per_second);
        let full = 1000 * per_second;
        if self.allowance < full {
            self.allowance = (self.allowance + elapsed_ms * per_second).min(full);
        }
        self.planned_ms = now_ms;
        self.moved_ms.retain(|_, moved_ms| now_ms.saturating_sub(*moved_ms) < LEAD_LASTS_MS);
        for group in view.led() {
            let is_done = |change: &Change| {
                change.members == Members::of(group)
                    || now_ms.saturating_sub(change.since_ms) >= CHANGE_TAKES_MS
            };
            if self.changes.get(&group.group).is_some_and(is_done) {
                self.changes.remove(&group.group);
            }
        }
    }
}

/// Nodes that are to leave and hold nothing any more. As long as one group is not known nobody can tell.
fn removals(view: &View) -> Vec<Action> {
    if view.groups.is_empty() || view.led().count() != view.groups.len() {
        return Vec::new();
    }
    let is_member =
        |node| view.groups.iter().any(|group| group.members.iter().any(|member| member.node == node));
    let leaving = view.nodes.keys().filter(|node| view.wishes(**node, Wish::Leave) && !is_member(**node));
    leaving.map(|node| Action::Remove(*node)).collect()
}

fn is_meta(group: GroupId) -> bool {
    group == META_GROUP
}
