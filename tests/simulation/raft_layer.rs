//! Groups alone, under every kind of fault: agreement, durability, one leader at a time, members that come and go.

use std::collections::{BTreeMap, BTreeSet};

use super::faults::{Faults, heal};
use super::raft_node::{Planted, RaftNode, Seen, Setup};
use super::random::Random;
use super::world::{Happened, World};
use crate::broker::ids::{GroupId, NodeId};

/// Seeds of every run of the tests.
const SEEDS: u64 = 5;

const STRIKE: u64 = 0;
const LOOK: u64 = 1;
const ORDER: u64 = 2;
const PROPOSE: u64 = 3;

const PEACE_US: u64 = 60_000_000;
const NODES_MAX: u16 = 9;

struct Layer {
    world: World<RaftNode>,
    faults: Faults,
    random: Random,
    chaos_us: u64,
    groups: GroupId,
    /// Who is to belong to the groups.
    voters: Vec<NodeId>,
    learners: Vec<NodeId>,
    next_number: u64,
    proposals_every_us: u64,
    orders_every_us: u64,
    changes_members: bool,
    /// Numbers proposed in peace that have to come through.
    last_orders: bool,
    ledger: Ledger,
}

/// What was seen.
#[derive(Default)]
struct Ledger {
    problems: Vec<String>,
    entries: BTreeMap<(GroupId, u64), (u64, bytes::Bytes)>,
    confirmed: BTreeSet<(GroupId, u64)>,
    leaders: BTreeMap<(GroupId, u64), NodeId>,
    serves: BTreeMap<GroupId, (u64, NodeId)>,
    hash: u64,
}

/// What came of a seed.
#[derive(Debug)]
struct Outcome {
    problems: Vec<String>,
    confirmed: usize,
    terms: usize,
    hash: u64,
}

impl Layer {
    fn new(seed: u64, dir: &std::path::Path, planted: Planted) -> Self {
        let mut random = Random::new(seed ^ 0x1ead);
        let nodes = random.pick(&[1, 2, 3, 3, 3, 4, 5, 5]).unwrap_or(3);
        let groups = random.between(1, 3) as GroupId;
        let voters: Vec<_> = (1..=nodes).collect();
        let setup = Setup {
            groups,
            voters: voters.clone(),
            lag_bytes_max: random.skewed(500, 1 << 20),
            memory_bytes_max: random.skewed(1_000, 200_000) as usize,
            planted,
        };
        let mut world = World::new(setup, random.next(), dir, nodes);
        world.plan(1_000_000, STRIKE);
        world.plan(1_000_000, LOOK);
        world.plan(1_500_000, ORDER);
        world.plan(500_000, PROPOSE);
        Self {
            faults: Faults::new(random.fork()),
            chaos_us: random.between(2_000_000, 20_000_000),
            proposals_every_us: random.skewed(500, 200_000),
            orders_every_us: random.skewed(50_000, 3_000_000),
            changes_members: random.per_mille(400),
            world,
            random,
            groups,
            voters,
            learners: Vec::new(),
            next_number: 0,
            last_orders: false,
            ledger: Ledger::default(),
        }
    }

    fn run(mut self) -> Outcome {
        while let Some(happened) = self.world.step() {
            match happened {
                Happened::Round(node) => self.look_at(node),
                Happened::Outside(STRIKE) if self.is_chaos() => {
                    let after_us = self.faults.strike(&mut self.world);
                    self.world.plan(after_us, STRIKE);
                }
                Happened::Outside(STRIKE) => heal(&mut self.world),
                Happened::Outside(ORDER) => {
                    self.order();
                    let after_us = self.random.skewed(self.orders_every_us / 2, self.orders_every_us * 2);
                    self.world.plan(after_us, ORDER);
                }
                Happened::Outside(PROPOSE) => {
                    self.propose();
                    let after_us =
                        self.random.skewed(self.proposals_every_us / 2, self.proposals_every_us * 2);
                    self.world.plan(after_us, PROPOSE);
                }
                Happened::Outside(_) => {
                    if self.is_finished() {
                        break;
                    }
                    self.world.plan(1_000_000, LOOK);
                }
                Happened::Other => {}
            }
            if self.world.broken.is_some() || self.ledger.problems.len() > 5 {
                break;
            }
        }
        self.ledger.problems.extend(self.world.broken.take());
        self.outcome()
    }

    fn is_chaos(&self) -> bool {
        self.world.now_us < self.chaos_us
    }

    fn look_at(&mut self, node: NodeId) {
        let Some(machine) = self.world.machine(node) else { return };
        for seen in std::mem::take(&mut machine.seen) {
            self.ledger.note(node, seen);
        }
    }

    fn node(&mut self) -> Option<NodeId> {
        let up: Vec<_> = self.world.nodes.keys().copied().filter(|node| self.world.is_up(*node)).collect();
        self.random.pick(&up)
    }

    fn propose(&mut self) {
        if self.last_orders {
            return;
        }
        let group = self.random.index(usize::from(self.groups));
        // Mostly those that lead are asked, however many think they do.
        let Some(node) = self.node() else { return };
        self.next_number += 1;
        let number = self.next_number;
        if self.world.machine(node).is_some_and(|machine| machine.propose(group, number)) {
            self.world.wake(node);
        }
    }

    /// Checkpoints, transfers, and changes of the members.
    fn order(&mut self) {
        let group = self.random.index(usize::from(self.groups));
        let (chaos, voters) = (self.is_chaos(), self.voters.clone());
        let Some(node) = self.node() else { return };
        let to = self.random.pick(&voters).unwrap_or(node);
        let what = self.random.below(10);
        if what == 9 && chaos && self.changes_members {
            self.change_members();
        }
        let (voters, learners) = (self.voters.clone(), self.learners.clone());
        let now_ms = self.world.nodes[&node].place.clock.at_ms(self.world.now_us);
        let Some(machine) = self.world.machine(node) else { return };
        match what {
            0..=3 => machine.checkpoint(group),
            4 if chaos => drop(machine.members[group].group.transfer(to)),
            5 if chaos => machine.members[group].group.campaign(now_ms),
            _ => {}
        }
        for node in self.world.nodes.keys().copied().collect::<Vec<_>>() {
            let Some(machine) = self.world.machine(node) else { continue };
            for member in &mut machine.members {
                // Only who leads takes it.
                let change = member.group.members().change_to(&voters, &learners);
                let _ = member.group.set_members(&change);
            }
        }
        self.world.wake(node);
    }

    /// Other members are wanted: some of those there are, or a new node.
    fn change_members(&mut self) {
        let known: Vec<_> =
            self.world.nodes.iter().filter(|(_, node)| !node.is_gone).map(|(id, _)| *id).collect();
        let next = self.world.nodes.keys().max().map_or(1, |last| last + 1);
        if next <= NODES_MAX && self.random.per_mille(400) {
            self.world.add(next);
            if self.random.per_mille(500) {
                self.voters.push(next);
            } else {
                self.learners.push(next);
            }
        } else {
            let mut nodes = known;
            self.random.shuffle(&mut nodes);
            let voters = 1 + self.random.index(nodes.len());
            self.learners = nodes.split_off(voters);
            self.learners.truncate(self.random.index(3));
            self.voters = nodes;
        }
        self.voters.sort_unstable();
        let (voters, learners) = (&self.voters, &self.learners);
        self.world.note(|| format!("wanted: voters {voters:?}, learners {learners:?}"));
    }

    /// Everything was confirmed, and everybody has everything.
    fn is_finished(&mut self) -> bool {
        let now_us = self.world.now_us;
        if now_us < self.chaos_us {
            return false;
        }
        if now_us > self.chaos_us + PEACE_US {
            let state = self.states();
            self.ledger.problems.push(format!("no peace in {} s: {state}", PEACE_US / 1_000_000));
            return true;
        }
        // New proposals must get through for a while.
        if now_us < self.chaos_us + 15_000_000 {
            return false;
        }
        self.last_orders = now_us > self.chaos_us + 20_000_000;
        self.last_orders && (0..usize::from(self.groups)).all(|group| self.is_even(group))
    }

    fn is_even(&mut self, group: usize) -> bool {
        let members: Vec<_> = self.voters.iter().chain(&self.learners).copied().collect();
        let mut states = Vec::new();
        let mut led = false;
        for node in members {
            let Some(machine) = self.world.machine(node) else { return false };
            let member = &machine.members[group];
            led |= member.group.is_leader();
            states.push((member.state.clone(), member.group.commit(), member.group.members()));
        }
        let others: Vec<_> = self.world.nodes.keys().copied().collect();
        for node in
            others.into_iter().filter(|node| !self.voters.contains(node) && !self.learners.contains(node))
        {
            // Whoever is no member has nothing of the group.
            let Some(machine) = self.world.machine(node) else { continue };
            let member = &machine.members[group];
            if member.group.last_index() > 0 || member.group.is_restoring() {
                return false;
            }
        }
        let wanted =
            |members: &crate::replication::Members| members.voters == self.voters && !members.is_changing;
        let is_late = states[0].0.numbers.last().is_some_and(|last| self.next_number - last < 10_000);
        led && is_late && wanted(&states[0].2) && states.windows(2).all(|pair| pair[0] == pair[1])
    }

    fn states(&mut self) -> String {
        let mut text = format!("wanted {:?} {:?}", self.voters, self.learners);
        for node in self.world.nodes.keys().copied().collect::<Vec<_>>() {
            let Some(machine) = self.world.machine(node) else {
                text += &format!("; node {node} down");
                continue;
            };
            for member in &machine.members {
                text += &format!(
                    "; node {node} {:?} leader {} members {:?} restoring {} applied {} progress {:?}",
                    member.group,
                    member.group.leader(),
                    member.group.members(),
                    member.group.is_restoring(),
                    member.state.applied,
                    member.group.member_progress()
                );
            }
        }
        text
    }

    fn outcome(mut self) -> Outcome {
        for group in 0..self.groups {
            self.check_confirmed(group);
        }
        Outcome {
            confirmed: self.ledger.confirmed.len(),
            terms: self.ledger.leaders.len(),
            hash: self.ledger.hash,
            problems: self.ledger.problems,
        }
    }

    fn check_confirmed(&mut self, group: GroupId) {
        let confirmed: Vec<_> =
            self.ledger.confirmed.iter().filter(|(of, _)| *of == group).map(|(_, number)| *number).collect();
        let mut best: Option<(NodeId, Vec<u64>)> = None;
        for node in self.voters.clone() {
            let Some(machine) = self.world.machine(node) else { continue };
            let numbers = machine.members[usize::from(group)].state.numbers.clone();
            if best.as_ref().is_none_or(|(_, most)| most.len() < numbers.len()) {
                best = Some((node, numbers));
            }
        }
        let Some((node, numbers)) = best else { return };
        let there: BTreeSet<_> = numbers.iter().copied().collect();
        if there.len() != numbers.len() {
            self.ledger.problems.push(format!("group {group}: a number came twice to node {node}"));
        }
        let lost: Vec<_> = confirmed.iter().filter(|number| !there.contains(number)).take(5).collect();
        if !lost.is_empty() {
            self.ledger.problems.push(format!("group {group}: confirmed and lost: {lost:?}"));
        }
    }
}

impl Ledger {
    fn note(&mut self, node: NodeId, seen: Seen) {
        self.hash = self.hash.rotate_left(5) ^ hash_of(&format!("{node} {seen:?}"));
        match seen {
            Seen::Committed(group, entry) => {
                let this = (entry.term, entry.data);
                let known = self.entries.entry((group, entry.index)).or_insert_with(|| this.clone());
                if *known != this {
                    let (one, other) = (known.0, this.0);
                    let index = entry.index;
                    self.problems.push(format!(
                        "group {group}: entry {index} was committed in term {one}; node {node} has another one of term {other}"
                    ));
                }
            }
            Seen::Confirmed(group, number) => drop(self.confirmed.insert((group, number))),
            Seen::Leads(group, term) => {
                let leader = *self.leaders.entry((group, term)).or_insert(node);
                if leader != node {
                    self.problems
                        .push(format!("group {group}: nodes {leader} and {node} lead in term {term}"));
                }
            }
            Seen::Serves(group, term) => {
                let last = self.serves.entry(group).or_insert((term, node));
                if last.0 > term {
                    let (newer, other) = *last;
                    self.problems.push(format!(
                        "group {group}: node {node} serves as leader of term {term} after node {other} has in term {newer}"
                    ));
                } else {
                    *last = (term, node);
                }
            }
            Seen::Gap(group, applied, index) => {
                self.problems.push(format!("group {group}: node {node} had {applied} and was given {index}"));
            }
        }
    }
}

fn hash_of(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn run(seed: u64, planted: Planted) -> Outcome {
    let folder = super::folder();
    Layer::new(seed, folder.path(), planted).run()
}

#[test]
fn groups_agree_whatever_goes_wrong() {
    let (mut confirmed, mut terms) = (0, 0);
    for seed in super::seeds(SEEDS) {
        let outcome = run(seed, Planted::Nothing);
        let problems = outcome.problems.join("\n");
        assert!(problems.is_empty(), "seed {seed} (WARREN_SIMULATION_SEED={seed}):\n{problems}");
        confirmed += outcome.confirmed;
        terms += outcome.terms;
    }
    println!("{confirmed} entries confirmed in {terms} terms");
    assert!(confirmed > 0 && terms > 0);
}

#[test]
fn a_seed_of_groups_gives_the_same_every_time() {
    for seed in 1..4 {
        assert_eq!(run(seed, Planted::Nothing).hash, run(seed, Planted::Nothing).hash, "seed {seed}");
    }
}

/// The simulation finds what it is there to find.
#[track_caller]
fn is_caught(planted: Planted, seeds: u64) {
    let fails = |seed: u64, planted| !run(seed, planted).problems.is_empty();
    let caught = (1..=seeds).find(|seed| fails(*seed, planted) && !fails(*seed, Planted::Nothing));
    println!("{planted:?}: seed {caught:?}");
    assert!(caught.is_some(), "{planted:?} was not found in {seeds} seeds");
}

#[test]
fn a_disk_that_only_says_that_it_syncs_is_caught() {
    is_caught(Planted::SkippedSync, 200);
}

#[test]
fn an_acknowledgement_before_the_sync_is_caught() {
    is_caught(Planted::EarlyAcknowledge, 200);
}

#[test]
fn a_vote_that_is_forgotten_is_caught() {
    is_caught(Planted::LostVote, 200);
}

#[test]
fn a_confirm_before_the_majority_is_caught() {
    is_caught(Planted::EarlyConfirm, 200);
}

#[test]
fn a_stale_leader_that_serves_is_caught() {
    is_caught(Planted::StaleLeader, 200);
}
