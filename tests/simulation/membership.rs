//! Who belongs to the groups: nodes come with an empty disk, leave, and lose their disks for ever, while everything else goes on.

use std::collections::BTreeSet;

use super::random::Random;
use super::stack_node::{NODES_MAX, StackNode};
use super::world::World;
use crate::broker::ids::{GroupId, NodeId};
use crate::node::cluster::inputs::GroupControl;
use crate::replication::Members;

/// Who is to belong to all groups, and when that is looked at.
pub(super) struct Membership {
    voters: Vec<NodeId>,
    learners: Vec<NodeId>,
    groups: GroupId,
    every_us: u64,
    next_us: u64,
    chaos_us: u64,
    /// Of a thousand looks: others are wanted, or a disk is lost.
    changes: u64,
    wipes: u64,
    random: Random,
    pub(super) changed: u64,
    pub(super) wiped: u64,
}

impl Membership {
    pub(super) fn new(voters: Vec<NodeId>, groups: GroupId, chaos_us: u64, mut random: Random) -> Self {
        Self {
            voters,
            learners: Vec::new(),
            groups,
            every_us: random.skewed(50_000, 1_000_000),
            next_us: 1_000_000,
            chaos_us,
            changes: random.between(50, 400),
            wipes: random.between(0, 500),
            random,
            changed: 0,
            wiped: 0,
        }
    }

    /// Somebody looks now and then.
    pub(super) fn look(&mut self, world: &mut World<StackNode>) {
        if world.now_us < self.next_us {
            return;
        }
        self.next_us = world.now_us + self.random.skewed(self.every_us / 2, self.every_us * 2);
        if world.now_us < self.chaos_us {
            if self.random.per_mille(self.changes) {
                self.want_others(world);
            }
            if self.random.per_mille(self.wipes) {
                self.wipe(world);
            }
        }
        self.drive(world);
    }

    /// Asks whoever leads, as the planner does, for the members that are wanted.
    fn drive(&self, world: &mut World<StackNode>) {
        for node in world.nodes.keys().copied().collect::<Vec<_>>() {
            let Some(machine) = world.machine(node) else { continue };
            for group in 1..=self.groups {
                let members = machine.members(group);
                if machine.leads(group) && !self.are(&members) {
                    let change = members.change_to(&self.voters, &self.learners);
                    let (reply, _) = tokio::sync::oneshot::channel();
                    machine.control(group, GroupControl::SetMembers(change, reply));
                }
            }
            world.wake(node);
        }
    }

    fn are(&self, members: &Members) -> bool {
        members.voters == self.voters && members.learners == self.learners && !members.is_changing
    }

    /// Some of those there are, or a new node.
    fn want_others(&mut self, world: &mut World<StackNode>) {
        self.changed += 1;
        if self.random.per_mille(400)
            && let Some(new) = add(world)
        {
            if self.random.per_mille(700) { self.voters.push(new) } else { self.learners.push(new) }
        } else {
            let mut nodes = living(world);
            self.random.shuffle(&mut nodes);
            let voters = 1 + self.random.index(nodes.len());
            self.learners = nodes.split_off(voters);
            self.learners.truncate(self.random.index(3));
            self.voters = nodes;
        }
        self.note(world);
    }

    /// A node and all it had are gone, as far as the others can bear it; if possible another one comes in its place.
    fn wipe(&mut self, world: &mut World<StackNode>) {
        let nodes = living(world);
        let Some(lost) = self.random.pick(&nodes).filter(|lost| self.may_lose(world, &nodes, *lost)) else {
            return;
        };
        world.note(|| format!("{lost} loses its disk"));
        world.crash(lost, true);
        if let Some(node) = world.nodes.get_mut(&lost) {
            node.is_gone = true;
        }
        self.wiped += 1;
        self.voters.retain(|node| *node != lost);
        self.learners.retain(|node| *node != lost);
        if let Some(new) = add(world) {
            self.voters.push(new);
        } else if self.voters.is_empty() {
            self.voters = living(world);
        }
        self.note(world);
    }

    /// The members are not about to change, nobody of them is gone, and a majority of them is left. Of more nothing is promised: two
    /// that are to be left of three need each other from the moment that this is proposed.
    fn may_lose(&self, world: &mut World<StackNode>, nodes: &[NodeId], lost: NodeId) -> bool {
        (1..=self.groups).all(|group| {
            let mut known = Vec::new();
            for node in nodes {
                match world.machine(*node) {
                    Some(machine) if !machine.is_changing(group) => known.push(machine.members(group)),
                    Some(_) | None => return false,
                }
            }
            let Some(latest) = known.iter().max_by_key(|members| members.version) else { return false };
            let are_there = latest.voters.iter().all(|voter| nodes.contains(voter));
            are_there && (!latest.voters.contains(&lost) || latest.voters.len() >= 3)
        })
    }

    fn note(&mut self, world: &World<StackNode>) {
        self.voters.sort_unstable();
        self.learners.sort_unstable();
        let (voters, learners) = (&self.voters, &self.learners);
        world.note(|| format!("wanted: voters {voters:?}, learners {learners:?}"));
    }

    /// What is not as it should be when all is over.
    pub(super) fn problems(&self, world: &mut World<StackNode>) -> Vec<String> {
        let mut problems = Vec::new();
        for group in 1..=self.groups {
            let mut known = Vec::new();
            for node in living(world) {
                known.extend(world.machine(node).map(|machine| (node, machine.members(group))));
            }
            let wanted: BTreeSet<_> = self.voters.iter().chain(&self.learners).collect();
            if known.iter().any(|(node, members)| wanted.contains(node) && !self.are(members)) {
                let (voters, learners) = (&self.voters, &self.learners);
                problems
                    .push(format!("group {group}: wanted {voters:?} and {learners:?}, there are {known:?}"));
            }
        }
        problems
    }
}

fn living(world: &World<StackNode>) -> Vec<NodeId> {
    world.nodes.iter().filter(|(_, node)| !node.is_gone).map(|(number, _)| *number).collect()
}

/// A node with an empty disk, as long as there are numbers.
fn add(world: &mut World<StackNode>) -> Option<NodeId> {
    let next = world.nodes.keys().max()? + 1;
    (next < NODES_MAX).then(|| world.add(next))?;
    Some(next)
}
