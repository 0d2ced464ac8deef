//! Whole nodes, with clients: nothing confirmed is lost, whatever goes wrong.

use std::collections::BTreeMap;

use super::clients::Outside;
use super::history::Fact;
use super::membership::Membership;
use super::random::Random;
use super::run::{Crowd, Outcome, run};
use super::stack_node::{Planted, QueueKind, Seen, Setup, StackNode, declarations};
use super::world::{Happened, World};
use crate::broker::ids::{GroupId, NodeId, Placement, QueueId};
use crate::broker::queue::Digest;
use crate::node::cluster::inputs::GroupControl;

/// Seeds of every run of the tests.
const SEEDS: u64 = 100;
/// And of those with other members.
const SEEDS_OF_MEMBERS: u64 = 40;
/// How often, in thousandths of all rounds, somebody gives an order.
const ORDERS: u64 = 4;
/// And how often replicas are compared.
const LOOKS: u64 = 20;

/// What replicas held.
#[derive(Default)]
struct Digests {
    /// By group and last entry: the first one to have come there, and what it had.
    known: BTreeMap<(GroupId, u64), (NodeId, BTreeMap<QueueId, Digest>)>,
    /// The last entry that anybody had.
    last: BTreeMap<GroupId, u64>,
    /// A replica that was read from a store may be ahead of the entry that it stands for: until it has replayed up to here.
    floors: BTreeMap<(NodeId, GroupId), (u64, u64)>,
}

fn simulate(seed: u64, planted: Planted) -> Outcome {
    simulate_with(seed, planted, false).0
}

/// Gives how often others were to belong to the groups, and how many disks were lost, too.
fn simulate_with(seed: u64, planted: Planted, changes_members: bool) -> (Outcome, u64, u64) {
    let folder = super::folder();
    let mut random = Random::new(seed ^ 0x57ac);
    let nodes: u16 = random.pick(&[1, 3, 3, 3, 3, 5]).unwrap_or(3);
    let setup = Setup {
        groups: random.between(1, 3) as GroupId,
        voters: (1..=nodes).collect(),
        changes_members,
        queues: kinds(&mut random),
        memory_bytes: random.skewed(16 << 10, 1 << 20),
        lag_bytes_max: random.skewed(2_000, 1 << 20),
        planted,
    };
    let groups = setup.groups;
    let crowd = Crowd::new(&mut random);
    let placement = Placement { node: 1, shards: 1, groups };
    let queues: Vec<_> = declarations(placement, &setup.queues).1.iter().map(|entry| entry.id).collect();
    let has_letters = setup.queues.iter().zip(&queues).filter(|(kind, _)| kind.ttl_ms.is_some());
    let letters_to = has_letters.map(|(_, queue)| (*queue, queues[0])).collect();
    let world = World::<StackNode>::new(setup, random.next(), folder.path(), nodes);
    let mut digests = Digests::default();
    let mut membership = changes_members.then(|| {
        let random = Random::new(seed ^ 0x3e3b);
        Membership::new((1..=nodes).collect(), groups, crowd.chaos_us, random)
    });
    let mut watch = |world: &mut World<StackNode>, outside: &mut Outside, happened| {
        if let Some(membership) = &mut membership {
            membership.look(world);
        }
        if let Happened::Round(node) = happened {
            look(world, outside, node);
            give_orders(world, &mut random, node, groups, outside.is_over);
            digests.follow(world, node, groups);
            if random.per_mille(LOOKS) {
                digests.compare(world, node, groups);
            }
        }
    };
    let (mut world, mut outcome) = run(world, &crowd, queues, letters_to, &mut watch);
    let Some(membership) = membership else { return (outcome, 0, 0) };
    outcome.problems.extend(membership.problems(&mut world));
    (outcome, membership.changed, membership.wiped)
}

/// From one to four queues.
fn kinds(random: &mut Random) -> Vec<QueueKind> {
    let number = random.between(1, 4);
    let mut kinds = vec![QueueKind::default(); number as usize];
    for (at, kind) in kinds.iter_mut().enumerate() {
        kind.max_priority = random.per_mille(250).then(|| random.between(1, 9) as u8);
        let ttl_ms = random.skewed(50, 8_000) as u32;
        kind.ttl_ms = (at > 0 && random.per_mille(250)).then_some(ttl_ms);
    }
    kinds
}

fn look(world: &mut World<StackNode>, outside: &mut Outside, node: NodeId) {
    let now_us = world.now_us;
    let Some(machine) = world.machine(node) else { return };
    for seen in std::mem::take(&mut machine.seen) {
        let fact = match seen {
            Seen::Leads(group, term) => Fact::Leads { group, term, node },
            Seen::GivenAway(message) => Fact::GivenAway(message),
            Seen::Emitted(group, term, consumer, seq) => {
                outside.emitted.entry((consumer, seq)).or_default().push_back(now_us);
                Fact::Emitted { group, term, node }
            }
            Seen::Note(text) => {
                world.note(|| text);
                continue;
            }
        };
        outside.history.note(now_us, fact);
    }
}

/// Checkpoints, and other leaders.
fn give_orders(
    world: &mut World<StackNode>,
    random: &mut Random,
    node: NodeId,
    groups: GroupId,
    is_over: bool,
) {
    if !random.per_mille(ORDERS) {
        return;
    }
    let (group, others) =
        (random.between(1, groups.into()) as GroupId, world.nodes.keys().copied().collect::<Vec<_>>());
    let to = random.pick(&others).unwrap_or(node);
    let transfers = random.per_mille(300) && !is_over;
    let Some(machine) = world.machine(node) else { return };
    if transfers {
        machine.control(group, GroupControl::Transfer(to));
    } else {
        machine.begin_checkpoint();
    }
    world.wake(node);
}

impl Digests {
    fn follow(&mut self, world: &mut World<StackNode>, node: NodeId, groups: GroupId) {
        let run = world.nodes.get(&node).map_or(0, |found| found.place.run);
        for group in 1..=groups {
            let Some((applied, commit, is_replica)) =
                world.machine(node).map(|machine| machine.stands(group))
            else {
                continue;
            };
            let last = self.last.entry(group).or_default();
            *last = (*last).max(applied).max(commit);
            let floor = self.floors.entry((node, group)).or_insert((run, 0));
            if !is_replica || floor.0 != run {
                *floor = (run, *last);
            }
        }
    }

    /// Replicas that have come to the same entry have the same.
    fn compare(&mut self, world: &mut World<StackNode>, node: NodeId, groups: GroupId) {
        for group in 1..=groups {
            let floor = self.floors.get(&(node, group)).map_or(0, |(_, floor)| *floor);
            let found = world.machine(node).and_then(|machine| machine.digests(group));
            let Some((applied, digests)) = found.filter(|(applied, _)| *applied > floor) else { continue };
            let (first, before) =
                self.known.entry((group, applied)).or_insert_with(|| (node, digests.clone()));
            if *before != digests {
                let text = format!(
                    "group {group}: at entry {applied} nodes {first} and {node} differ: {before:?} and {digests:?}"
                );
                world.broken.get_or_insert(text);
            }
        }
    }
}

#[test]
fn nothing_confirmed_is_lost_whatever_goes_wrong() {
    let (mut sent, mut delivered, mut faults) = (0, 0, 0);
    for seed in super::seeds(SEEDS) {
        let outcome = simulate(seed, Planted::Nothing);
        let problems = outcome.problems.join("\n");
        assert!(problems.is_empty(), "seed {seed} (WARREN_SIMULATION_SEED={seed}):\n{problems}");
        sent += outcome.sent;
        delivered += outcome.delivered;
        faults += outcome.faults;
    }
    println!("{sent} messages sent, {delivered} deliveries, {faults} faults");
    assert!(sent > 0 && delivered > 0);
}

#[test]
fn nothing_confirmed_is_lost_while_nodes_come_and_go_and_lose_their_disks() {
    let (mut sent, mut changed, mut wiped) = (0, 0, 0);
    for seed in super::seeds(SEEDS_OF_MEMBERS) {
        let (outcome, changes, wipes) = simulate_with(seed, Planted::Nothing, true);
        let problems = outcome.problems.join("\n");
        assert!(problems.is_empty(), "seed {seed} (WARREN_SIMULATION_SEED={seed}):\n{problems}");
        sent += outcome.sent;
        changed += changes;
        wiped += wipes;
    }
    println!("{sent} messages sent, {changed} times other members, {wiped} disks lost");
    assert!(sent > 0 && changed > 0);
}

#[test]
fn a_seed_gives_the_same_every_time() {
    for seed in 1..4 {
        for changes_members in [false, true] {
            let fingerprint = || simulate_with(seed, Planted::Nothing, changes_members).0.fingerprint;
            assert_eq!(fingerprint(), fingerprint(), "seed {seed}");
        }
    }
}

/// The simulation finds what it is there to find.
#[track_caller]
fn is_caught(planted: Planted, seeds: u64) {
    let fails = |seed: u64, planted| !simulate(seed, planted).problems.is_empty();
    let caught = (1..=seeds).find(|seed| fails(*seed, planted) && !fails(*seed, Planted::Nothing));
    println!("{planted:?}: seed {caught:?}");
    assert!(caught.is_some(), "{planted:?} was not found in {seeds} seeds");
}

#[test]
fn a_disk_that_only_says_that_it_syncs_is_caught() {
    is_caught(Planted::SkippedSync, 300);
}

#[test]
fn a_leader_that_forgets_what_it_was_asked_is_caught() {
    is_caught(Planted::ForgottenSessions, 100);
}

#[test]
fn a_leader_that_tells_what_is_not_committed_is_caught() {
    is_caught(Planted::ToldEarly, 300);
}
