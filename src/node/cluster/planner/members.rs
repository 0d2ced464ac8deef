//! Which nodes a group is to have, and the next step on the way there.

use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Change, META_VOTERS_MAX, Members, Planner, View, is_meta};
use crate::broker::ids::{GroupId, NodeId};
use crate::node::cluster::inputs::GroupStatus;

/// How many groups each node holds a copy of.
type Load = BTreeMap<NodeId, usize>;

impl Planner {
    pub(super) fn plan_members(&mut self, now_ms: u64, view: &View, actions: &mut Vec<Action>) {
        let mut load = load(view);
        let mut busy = view.led().filter(|group| self.is_busy(group)).count();
        for group in view.led() {
            // In the middle of a change nobody can say from where the next one begins.
            if self.changes.contains_key(&group.group) || group.members_version == 0 {
                continue;
            }
            let target = self.target(group, view, &load);
            match next_step(group, view, &target) {
                Step::Nothing => {}
                Step::LeadElsewhere(to) => {
                    if let Entry::Vacant(moved) = self.moved_ms.entry(group.group) {
                        moved.insert(now_ms);
                        actions.push(Action::Transfer { group: group.group, from: group.leader, to });
                    }
                }
                Step::Change(members) => {
                    // What makes a group less busy is always right.
                    let was_busy = self.is_busy(group);
                    if !was_busy && busy >= self.options.changes_max {
                        continue;
                    }
                    busy += usize::from(!was_busy);
                    for node in members.learners.difference(&Members::of(group).learners) {
                        *load.entry(*node).or_default() += 1;
                    }
                    actions.push(members.ordered(group));
                    self.changes.insert(group.group, Change { since_ms: now_ms, members });
                }
            }
        }
        if actions.is_empty() && busy == 0 {
            self.plan_spread(now_ms, view, &load, actions);
        }
    }

    /// A member is on its way in, or a change is.
    fn is_busy(&self, group: &GroupStatus) -> bool {
        let has_learners = !is_meta(group.group) && group.members.iter().any(|member| !member.is_voter);
        has_learners || self.changes.contains_key(&group.group)
    }

    /// The nodes that the group is to have. Who is a member stays as long as this node has not heard of it.
    fn target(&self, group: &GroupStatus, view: &View, load: &Load) -> BTreeSet<NodeId> {
        let members = group.members.iter().map(|member| member.node);
        let mut target: BTreeSet<_> = members.filter(|node| view.is_unknown(*node)).collect();
        let known = self.known_target(group, view, load, self.options.replicas.saturating_sub(target.len()));
        target.extend(known);
        target
    }

    fn known_target(&self, group: &GroupStatus, view: &View, load: &Load, most: usize) -> BTreeSet<NodeId> {
        let known = view.nodes.keys().copied().filter(|node| view.may_hold(*node));
        if is_meta(group.group) {
            return known.collect();
        }
        let members = Members::of(group);
        // Members that hold something come first, then whoever is there, then newcomers that went away.
        let mut wanted: Vec<_> = known
            .filter_map(|node| {
                let (is_up, is_voter) = (view.is_up(node), members.voters.contains(&node));
                let is_learner = members.learners.contains(&node);
                let class = match (is_voter, is_learner, is_up) {
                    (true, ..) | (_, true, true) => 0,
                    (false, false, true) => 1,
                    (false, true, false) => 2,
                    (false, false, false) => return None,
                };
                let load = load.get(&node).copied().unwrap_or(0);
                // A newcomer stays rather than the one it was brought in for.
                Some(((class, !is_up, load, is_voter, turn(group.group, node)), node))
            })
            .collect();
        wanted.sort_unstable();
        wanted.truncate(most);
        wanted.into_iter().map(|(_, node)| node).collect()
    }

    /// Nodes that hold far less than others, such as new ones, take over copies, one at a time.
    fn plan_spread(&mut self, now_ms: u64, view: &View, load: &Load, actions: &mut Vec<Action>) {
        let of = |node: &NodeId| load.get(node).copied().unwrap_or(0);
        let able = view.nodes.keys().copied().filter(|node| view.may_hold(*node) && view.is_up(*node));
        let Some(idle) = able.min_by_key(of) else { return };
        let from_load = |group: &&GroupStatus| {
            let members = Members::of(group);
            let changes = group.members_version == 0 || !members.learners.is_empty();
            if is_meta(group.group) || members.voters.contains(&idle) || changes {
                return None;
            }
            // A change needs a majority on both sides; a group with a member down is left as it is.
            let all_ready = view.ready_voters(group).count() == members.voters.len();
            members.voters.iter().map(of).max().filter(|_| all_ready)
        };
        let Some(group) = view.led().max_by_key(from_load) else { return };
        if from_load(&group).is_none_or(|load| load <= of(&idle) + 1) {
            return;
        }
        let mut members = Members::of(group);
        members.learners.insert(idle);
        actions.push(members.ordered(group));
        self.changes.insert(group.group, Change { since_ms: now_ms, members });
    }
}

enum Step {
    Nothing,
    /// The leader itself is to go: another leads first.
    LeadElsewhere(NodeId),
    Change(Members),
}

/// The next step of a group towards the nodes it is to have.
fn next_step(group: &GroupStatus, view: &View, target: &BTreeSet<NodeId>) -> Step {
    // Nobody is to stay: then it stays as it is, rather than with the last one that is left.
    if target.is_empty() {
        return Step::Nothing;
    }
    let now = Members::of(group);
    let outsiders = target.iter().filter(|node| !now.voters.contains(node) && !now.learners.contains(node));
    let newcomers: BTreeSet<_> = outsiders.copied().filter(|node| view.is_up(*node)).collect();
    let mut next = now.clone();
    next.learners.retain(|node| target.contains(node));
    if !newcomers.is_empty() {
        next.learners.extend(newcomers);
        return Step::Change(next);
    }
    promote(group, view, &mut next);
    let are_all_in =
        target.iter().all(|node| next.voters.contains(node) || is_follower_only(group, &next, *node));
    if are_all_in {
        next.voters.retain(|node| target.contains(node) || !may_go(group, view, target, *node));
    }
    if !next.voters.contains(&group.leader) {
        return match view.ready_voters(group).find(|node| target.contains(node)) {
            Some(to) => Step::LeadElsewhere(to),
            // Promoted first, then led by those that are new.
            None => {
                next.voters.insert(group.leader);
                change(group, view, &now, next)
            }
        };
    }
    change(group, view, &now, next)
}

fn change(group: &GroupStatus, view: &View, now: &Members, next: Members) -> Step {
    if next == *now || !is_safe(group, view, &next) { Step::Nothing } else { Step::Change(next) }
}

/// Learners that have all become voters; in the meta group as far as there is need of them.
fn promote(group: &GroupStatus, view: &View, next: &mut Members) {
    let learners = group.members.iter().filter(|member| next.learners.contains(&member.node));
    let ready: Vec<_> = learners.filter(|member| view.is_ready(member)).map(|member| member.node).collect();
    for node in ready {
        let staying = next.voters.iter().filter(|voter| view.may_hold(**voter)).count();
        if !is_meta(group.group) || staying < META_VOTERS_MAX {
            next.learners.remove(&node);
            next.voters.insert(node);
        }
    }
}

/// A voter that only makes room goes when all that stay have everything; one that is gone, or wants to, need not wait for that.
fn may_go(group: &GroupStatus, view: &View, target: &BTreeSet<NodeId>, node: NodeId) -> bool {
    view.is_to_go(node)
        || view.ready_voters(group).filter(|ready| target.contains(ready)).count() == target.len()
}

/// Of the meta group all nodes have a copy, but not all vote.
fn is_follower_only(group: &GroupStatus, next: &Members, node: NodeId) -> bool {
    is_meta(group.group) && next.learners.contains(&node) && next.voters.len() >= META_VOTERS_MAX
}

/// A majority of the new voters can go on at once.
fn is_safe(group: &GroupStatus, view: &View, next: &Members) -> bool {
    let ready =
        group.members.iter().filter(|member| next.voters.contains(&member.node) && view.is_ready(member));
    ready.count() > next.voters.len() / 2
}

fn load(view: &View) -> Load {
    let mut load = Load::new();
    for group in view.led().filter(|group| !is_meta(group.group)) {
        for member in &group.members {
            *load.entry(member.node).or_default() += 1;
        }
    }
    load
}

/// Spreads groups over nodes that hold the same number.
fn turn(group: GroupId, node: NodeId) -> Reverse<u32> {
    Reverse(
        (u32::from(group).wrapping_mul(31) ^ u32::from(node).wrapping_mul(0x9e37)).wrapping_mul(0x9e37_79b1),
    )
}
