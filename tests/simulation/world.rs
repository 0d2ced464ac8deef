//! The simulated world: nodes with clocks, disks and a network between them, and one order in which everything happens.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::clock::NodeClock;
use super::events::Events;
use super::network::Network;
use super::random::Random;
use crate::broker::ids::NodeId;
use crate::node::cluster::peer::LinkState;
use crate::storage::StorageError;
use crate::storage::cold::MemoryFiles;
use crate::storage::log::stepped::SimulatedDisk;

/// How long it takes until a broken link is noticed, and made again: microseconds.
const NOTICE_US: (u64, u64) = (1_000, 1_500_000);
const CONNECT_US: (u64, u64) = (1_000, 300_000);
/// After which a link is given up over which nothing comes: microseconds.
const GIVE_UP_US: (u64, u64) = (300_000, 4_000_000);
/// A sync that takes longer is a failure.
const STALLS_US: u64 = 3_000_000;
/// How often it is tried again to get something through a cut cable.
const AGAIN_US: u64 = 50_000;
/// How long a process takes to start.
const START_US: (u64, u64) = (20_000, 800_000);

/// What a node runs.
pub(super) trait Machine: Sized {
    type Message: Clone + Debug;
    type Setup;

    /// Starts with what the disk has.
    fn start(setup: &Self::Setup, place: &Place) -> Result<Self, StorageError>;
    /// Whether the network may lose it.
    fn is_datagram(message: &Self::Message) -> bool;
    fn deliver(&mut self, from: NodeId, message: Self::Message);
    fn link(&mut self, to: NodeId, state: LinkState);
    /// All that its tasks have to do now.
    fn round(&mut self, now_ms: u64, out: &mut Vec<(NodeId, Self::Message)>);
    /// When it wants to be looked at although nothing came.
    fn next_due_ms(&mut self, now_ms: u64) -> Option<u64>;
    /// Writes what waits for the log; false when nothing did.
    fn write_log(&mut self) -> Result<bool, StorageError>;
    /// Syncs the log and tells everybody.
    fn sync_log(&mut self) -> Result<(), StorageError>;
    /// Does one step of the cold store's threads; false when nothing waits.
    fn cold(&mut self, random: &mut Random) -> Result<bool, StorageError>;
    /// The disk stalls, or does not any more.
    fn stalls(&mut self, stalls: bool);
}

/// Where a node is: what stays when its process ends.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) node: NodeId,
    pub(super) dir: PathBuf,
    pub(super) disk: SimulatedDisk,
    pub(super) cold: Arc<MemoryFiles>,
    pub(super) clock: NodeClock,
    /// How often it was started.
    pub(super) run: u64,
    pub(super) seed: u64,
}

pub(super) struct Node<M> {
    pub(super) place: Place,
    pub(super) machine: Option<M>,
    /// Its process stands still until then (SIGSTOP).
    paused_until_us: u64,
    next_round_us: Option<u64>,
    is_disk_busy: bool,
    is_cold_busy: bool,
    /// Syncs take at least until then.
    pub(super) stalled_until_us: u64,
    told_stalled: bool,
    /// Longest usual time of a sync.
    pub(super) sync_us: u64,
    pub(super) is_gone: bool,
    /// Links that the process takes for up: by which connection.
    links: BTreeMap<NodeId, u64>,
}

#[derive(Debug)]
enum Event<M> {
    Arrives {
        from: NodeId,
        to: NodeId,
        run: u64,
        connection: Option<u64>,
        message: M,
    },
    /// What a cut cable holds up is sent again.
    Again {
        from: NodeId,
        to: NodeId,
        run: u64,
        connection: u64,
    },
    Round {
        node: NodeId,
        run: u64,
    },
    Write {
        node: NodeId,
        run: u64,
    },
    Sync {
        node: NodeId,
        run: u64,
    },
    Cold {
        node: NodeId,
        run: u64,
    },
    Link {
        at: NodeId,
        run: u64,
        to: NodeId,
        state: LinkState,
        connection: u64,
    },
    Connect {
        one: NodeId,
        other: NodeId,
    },
    /// A link over a cut cable is given up.
    GiveUp {
        one: NodeId,
        other: NodeId,
    },
    /// Somebody looks whether the disk answers.
    Watch {
        node: NodeId,
        run: u64,
    },
    Start {
        node: NodeId,
        run: u64,
    },
    /// Something of those who use the world.
    Outside(u64),
}

/// What a cut cable holds up, by sender and receiver: over which connection it was sent, and the messages in order.
type HeldUp<M> = BTreeMap<(NodeId, NodeId), (u64, VecDeque<M>)>;

pub(super) struct World<M: Machine> {
    pub(super) setup: M::Setup,
    pub(super) now_us: u64,
    pub(super) random: Random,
    pub(super) network: Network,
    pub(super) nodes: BTreeMap<NodeId, Node<M>>,
    events: Events<Event<M::Message>>,
    held_up: HeldUp<M::Message>,
    dir: PathBuf,
    out: Vec<(NodeId, M::Message)>,
    pub(super) is_traced: bool,
    /// Why it cannot go on.
    pub(super) broken: Option<String>,
}

/// What just happened, for those who watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happened {
    /// A node's tasks had their turn.
    Round(NodeId),
    Outside(u64),
    Other,
}

impl<M: Machine> World<M> {
    pub(super) fn new(setup: M::Setup, seed: u64, dir: &Path, nodes: u16) -> Self {
        let mut random = Random::new(seed);
        let network = Network::new(random.fork());
        let mut world = Self {
            setup,
            now_us: 0,
            random,
            network,
            nodes: BTreeMap::new(),
            events: Events::new(),
            held_up: BTreeMap::new(),
            dir: dir.to_path_buf(),
            out: Vec::new(),
            is_traced: super::is_traced(),
            broken: None,
        };
        (1..=nodes).for_each(|node| world.add(node));
        world
    }

    /// A node with an empty disk begins.
    pub(super) fn add(&mut self, node: NodeId) {
        let place = Place {
            node,
            dir: self.dir.join(format!("node{node}")),
            disk: SimulatedDisk::default(),
            cold: Arc::default(),
            clock: NodeClock::new(&mut self.random),
            run: 0,
            seed: self.random.next(),
        };
        let new = Node {
            place,
            machine: None,
            paused_until_us: 0,
            next_round_us: None,
            is_disk_busy: false,
            is_cold_busy: false,
            stalled_until_us: 0,
            told_stalled: false,
            sync_us: self.random.between(200, 8_000),
            is_gone: false,
            links: BTreeMap::new(),
        };
        self.nodes.insert(node, new);
        self.begin(node);
    }

    pub(super) fn note(&self, text: impl FnOnce() -> String) {
        if self.is_traced {
            super::print_trace(self.now_us, &text());
        }
    }

    pub(super) fn plan(&mut self, after_us: u64, token: u64) {
        self.events.plan(self.now_us + after_us, Event::Outside(token));
    }

    pub(super) fn machine(&mut self, node: NodeId) -> Option<&mut M> {
        self.nodes.get_mut(&node)?.machine.as_mut()
    }

    pub(super) fn is_up(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.machine.is_some())
    }

    pub(super) fn is_paused(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.paused_until_us > self.now_us)
    }

    /// Lets the next thing happen; `None` when nothing will.
    pub(super) fn step(&mut self) -> Option<Happened> {
        let (at_us, event) = self.events.next()?;
        self.now_us = self.now_us.max(at_us);
        let node = match &event {
            Event::Arrives { to: node, run, .. }
            | Event::Again { to: node, run, .. }
            | Event::Round { node, run }
            | Event::Write { node, run }
            | Event::Sync { node, run }
            | Event::Cold { node, run }
            | Event::Watch { node, run }
            | Event::Link { at: node, run, .. } => {
                let Some(found) = self.nodes.get(node) else { return Some(Happened::Other) };
                if found.place.run != *run || found.machine.is_none() {
                    return Some(Happened::Other);
                }
                // A stopped process takes no part; its disk goes on, but nobody hears of it.
                if found.paused_until_us > self.now_us {
                    self.events.plan(found.paused_until_us, event);
                    return Some(Happened::Other);
                }
                *node
            }
            Event::Connect { .. } | Event::GiveUp { .. } | Event::Start { .. } | Event::Outside(_) => 0,
        };
        Some(self.happen(node, event))
    }

    fn happen(&mut self, node: NodeId, event: Event<M::Message>) -> Happened {
        match event {
            Event::Arrives { from, connection, message, .. } => self.arrive(from, node, connection, message),
            Event::Again { from, connection, .. } => self.send_again(from, node, connection),
            Event::Round { .. } => {
                self.round(node);
                return Happened::Round(node);
            }
            Event::Write { .. } => self.write(node),
            Event::Sync { .. } => self.sync(node),
            Event::Cold { .. } => self.cold(node),
            Event::Link { to, state, connection, .. } => self.link_event(node, to, state, connection),
            Event::Connect { one, other } => self.connect(one, other),
            Event::GiveUp { one, other } => {
                if self.network.is_cut(one, other) || self.network.is_cut(other, one) {
                    self.break_link(one, other, LinkState::Down);
                }
            }
            Event::Watch { .. } => self.watch(node),
            Event::Start { node, run } => {
                let waits = self
                    .nodes
                    .get(&node)
                    .is_some_and(|found| found.place.run == run && found.machine.is_none() && !found.is_gone);
                if waits {
                    self.begin(node);
                }
            }
            Event::Outside(token) => return Happened::Outside(token),
        }
        Happened::Other
    }

    fn arrive(&mut self, from: NodeId, to: NodeId, connection: Option<u64>, message: M::Message) {
        if let Some(connection) = connection {
            if self.network.connection(from, to) != Some(connection) {
                return;
            }
            let waits = self.held_up.get(&(from, to)).is_some_and(|(over, _)| *over == connection);
            if waits || self.network.is_cut(from, to) {
                return self.hold_up(from, to, connection, message);
            }
        }
        self.hand_over(from, to, message);
    }

    fn hand_over(&mut self, from: NodeId, to: NodeId, message: M::Message) {
        self.note(|| format!("{from} -> {to}: {message:?}"));
        if let Some(machine) = self.machine(to) {
            machine.deliver(from, message);
        }
        self.wake(to);
    }

    /// Into a cut cable: a link holds it up, and all behind it, and sends it again later; or it breaks.
    fn hold_up(&mut self, from: NodeId, to: NodeId, connection: u64, message: M::Message) {
        let held = self.held_up.entry((from, to)).or_default();
        if held.0 != connection {
            *held = (connection, VecDeque::new());
        }
        held.1.push_back(message);
        if held.1.len() == 1 {
            self.plan_again(from, to, connection);
        }
    }

    fn plan_again(&mut self, from: NodeId, to: NodeId, connection: u64) {
        let run = self.nodes[&to].place.run;
        self.events.plan(self.now_us + AGAIN_US, Event::Again { from, to, run, connection });
    }

    fn send_again(&mut self, from: NodeId, to: NodeId, connection: u64) {
        if self.network.connection(from, to) == Some(connection) && self.network.is_cut(from, to) {
            return self.plan_again(from, to, connection);
        }
        if self.held_up.get(&(from, to)).is_none_or(|(over, _)| *over != connection) {
            return;
        }
        let held = self.held_up.remove(&(from, to));
        if self.network.connection(from, to) == Some(connection) {
            let messages = held.into_iter().flat_map(|(_, messages)| messages);
            messages.for_each(|message| self.hand_over(from, to, message));
        }
    }

    /// A node's tasks have their turn soon.
    pub(super) fn wake(&mut self, node: NodeId) {
        let at_us = self.now_us + 1 + self.random.below(100);
        self.plan_round(node, at_us);
    }

    fn plan_round(&mut self, node: NodeId, at_us: u64) {
        let Some(found) = self.nodes.get_mut(&node) else { return };
        if found.next_round_us.is_none_or(|planned_us| planned_us > at_us) {
            found.next_round_us = Some(at_us);
            self.events.plan(at_us, Event::Round { node, run: found.place.run });
        }
    }

    fn round(&mut self, node: NodeId) {
        let now_us = self.now_us;
        let Some(found) = self.nodes.get_mut(&node) else { return };
        if found.next_round_us.is_none_or(|planned_us| planned_us > now_us) {
            return;
        }
        found.next_round_us = None;
        let now_ms = found.place.clock.advance(now_us);
        let Some(machine) = &mut found.machine else { return };
        let mut out = std::mem::take(&mut self.out);
        machine.round(now_ms, &mut out);
        let due_ms = machine.next_due_ms(now_ms);
        let due_us = due_ms.map(|due_ms| found.place.clock.when_us(due_ms).max(now_us + 50));
        for (to, message) in out.drain(..) {
            self.send(node, to, message);
        }
        self.out = out;
        self.start_disk(node);
        self.start_cold(node);
        if let Some(due_us) = due_us {
            self.plan_round(node, due_us);
        }
    }

    fn send(&mut self, from: NodeId, to: NodeId, message: M::Message) {
        let Some(run) = self.nodes.get(&to).map(|found| found.place.run) else { return };
        if M::is_datagram(&message) {
            // Raft's messages go over links as well: there is no way without one.
            if self.network.connection(from, to).is_none() {
                return;
            }
            for at_us in self.network.datagram(self.now_us, from, to) {
                let message = message.clone();
                self.events.plan(at_us, Event::Arrives { from, to, run, connection: None, message });
            }
        } else if let Some((at_us, connection)) = self.network.link(self.now_us, from, to) {
            self.events.plan(at_us, Event::Arrives { from, to, run, connection: Some(connection), message });
        }
    }

    fn start_disk(&mut self, node: NodeId) {
        let Some(found) = self.nodes.get_mut(&node) else { return };
        if !found.is_disk_busy {
            found.is_disk_busy = true;
            let at_us = self.now_us + 1 + self.random.below(200);
            self.events.plan(at_us, Event::Write { node, run: found.place.run });
        }
    }

    fn write(&mut self, node: NodeId) {
        let Some(found) = self.nodes.get_mut(&node) else { return };
        let Some(machine) = &mut found.machine else { return };
        match machine.write_log() {
            Ok(true) => {
                let took_us = self.random.skewed(50, found.sync_us);
                let at_us = (self.now_us + took_us).max(found.stalled_until_us);
                self.events.plan(at_us, Event::Sync { node, run: found.place.run });
            }
            Ok(false) => found.is_disk_busy = false,
            Err(error) => self.failed(node, &error),
        }
    }

    fn sync(&mut self, node: NodeId) {
        let now_us = self.now_us;
        let Some(found) = self.nodes.get_mut(&node) else { return };
        if found.stalled_until_us > now_us {
            let at_us = found.stalled_until_us;
            self.events.plan(at_us, Event::Sync { node, run: found.place.run });
            return;
        }
        let Some(machine) = &mut found.machine else { return };
        match machine.sync_log() {
            Ok(()) => {
                found.is_disk_busy = false;
                self.watch(node);
                self.start_disk(node);
                self.wake(node);
            }
            Err(error) => self.failed(node, &error),
        }
    }

    fn start_cold(&mut self, node: NodeId) {
        let Some(found) = self.nodes.get_mut(&node) else { return };
        if !found.is_cold_busy {
            found.is_cold_busy = true;
            let at_us = self.now_us + self.random.skewed(20, 50_000);
            self.events.plan(at_us, Event::Cold { node, run: found.place.run });
        }
    }

    fn cold(&mut self, node: NodeId) {
        let Some(found) = self.nodes.get_mut(&node) else { return };
        found.is_cold_busy = false;
        let Some(machine) = &mut found.machine else { return };
        match machine.cold(&mut self.random) {
            Ok(true) => {
                self.start_cold(node);
                self.wake(node);
            }
            Ok(false) => {}
            Err(error) => self.failed(node, &error),
        }
    }

    /// A node whose disk failed ends, and is started again.
    fn failed(&mut self, node: NodeId, error: &StorageError) {
        self.note(|| format!("{node} fails: {error}"));
        self.crash(node, true);
    }

    /// Whatever it was, the process is gone, and what was not synced with it; later it starts again. `power`: the whole machine
    /// is gone, so that nobody is told and what was written is lost too.
    pub(super) fn crash(&mut self, node: NodeId, power: bool) {
        let Some(found) = self.nodes.get_mut(&node) else { return };
        if found.machine.take().is_none() {
            return;
        }
        // Without a loss of power the operating system still has what was written.
        let kept = self.random.below(1001);
        let random = &mut self.random;
        found.place.disk.crash(&mut || !power || random.per_mille(kept));
        found.is_disk_busy = false;
        found.is_cold_busy = false;
        found.next_round_us = None;
        found.paused_until_us = 0;
        let left = self.random.index(found.place.cold.unflushed() + 1);
        found.place.cold.crash(left);
        let run = found.place.run;
        self.note(|| format!("{node} crashes (power {power})"));
        let others: Vec<_> = self.nodes.keys().copied().filter(|other| *other != node).collect();
        for other in others {
            let state = if power { LinkState::Down } else { LinkState::Dead };
            self.break_link(node, other, state);
        }
        let at_us = self.now_us + self.random.between(START_US.0, START_US.1);
        self.events.plan(at_us, Event::Start { node, run });
    }

    /// A cable is cut one way; the link over it breaks after a while, if that lasts.
    pub(super) fn cut(&mut self, from: NodeId, to: NodeId) {
        self.network.cut(from, to);
        let at_us = self.now_us + self.random.between(GIVE_UP_US.0, GIVE_UP_US.1);
        self.events.plan(at_us, Event::GiveUp { one: from, other: to });
    }

    pub(super) fn cut_both(&mut self, one: NodeId, other: NodeId) {
        self.cut(one, other);
        self.network.cut(other, one);
    }

    /// A node's disk does nothing for some time.
    pub(super) fn stall(&mut self, node: NodeId, us: u64) {
        let Some(found) = self.nodes.get_mut(&node) else { return };
        found.stalled_until_us = self.now_us + us;
        let run = found.place.run;
        self.events.plan(self.now_us + STALLS_US, Event::Watch { node, run });
    }

    fn watch(&mut self, node: NodeId) {
        let now_us = self.now_us;
        let Some(found) = self.nodes.get_mut(&node) else { return };
        let stalls = found.stalled_until_us > now_us && found.is_disk_busy;
        if stalls != found.told_stalled {
            found.told_stalled = stalls;
            found.machine.iter_mut().for_each(|machine| machine.stalls(stalls));
            self.note(|| format!("{node}: the disk stalls: {stalls}"));
            self.wake(node);
        }
    }

    /// A process stands still for some time.
    pub(super) fn pause(&mut self, node: NodeId, us: u64) {
        let until_us = self.now_us + us;
        if let Some(found) = self.nodes.get_mut(&node) {
            found.paused_until_us = found.paused_until_us.max(until_us);
        }
    }

    /// Starts a node's process.
    fn begin(&mut self, node: NodeId) {
        let now_us = self.now_us;
        let Some(found) = self.nodes.get_mut(&node) else { return };
        found.place.run += 1;
        found.place.clock.advance(now_us);
        found.told_stalled = false;
        found.links.clear();
        found.stalled_until_us = 0;
        match M::start(&self.setup, &found.place) {
            Ok(machine) => found.machine = Some(machine),
            Err(error) => {
                self.broken.get_or_insert_with(|| format!("node {node} does not start: {error}"));
                return;
            }
        }
        self.note(|| format!("{node} starts"));
        let others: Vec<_> = self.nodes.keys().copied().filter(|other| *other != node).collect();
        for other in others {
            self.plan_connect(node, other);
        }
        self.wake(node);
    }

    fn plan_connect(&mut self, one: NodeId, other: NodeId) {
        let at_us = self.now_us + self.random.skewed(CONNECT_US.0, CONNECT_US.1);
        self.events.plan(at_us, Event::Connect { one, other });
    }

    fn connect(&mut self, one: NodeId, other: NodeId) {
        let are_up = self.is_up(one) && self.is_up(other);
        if !are_up || self.network.connection(one, other).is_some() {
            return;
        }
        let is_open = !self.network.is_cut(one, other) && !self.network.is_cut(other, one);
        if !is_open || self.is_paused(one) || self.is_paused(other) {
            return self.plan_connect(one, other);
        }
        let connection = self.network.connect(one, other);
        // Who is told first can send at once; the other one is told before anything arrives.
        for (at, to) in [(one, other), (other, one)] {
            let run = self.nodes[&at].place.run;
            self.events.plan(self.now_us, Event::Link { at, run, to, state: LinkState::Up, connection });
        }
    }

    /// Breaks a link, if there is one; both ends that live are told in their time.
    pub(super) fn break_link(&mut self, one: NodeId, other: NodeId, state: LinkState) {
        let Some(connection) = self.network.disconnect(one, other) else { return };
        for (at, to) in [(one, other), (other, one)] {
            if self.is_up(at) {
                let after_us = match state {
                    LinkState::Dead => self.random.between(200, 5_000),
                    LinkState::Up | LinkState::Down => self.random.skewed(NOTICE_US.0, NOTICE_US.1),
                };
                let run = self.nodes[&at].place.run;
                self.events.plan(self.now_us + after_us, Event::Link { at, run, to, state, connection });
            }
        }
        // Noticed later than it is made again it would be no break at all.
        let at_us = self.now_us + NOTICE_US.1 + self.random.skewed(CONNECT_US.0, CONNECT_US.1);
        self.events.plan(at_us, Event::Connect { one, other });
    }

    /// A node notices that a link is there, or is not any more.
    fn link_event(&mut self, node: NodeId, to: NodeId, state: LinkState, connection: u64) {
        let known = self.nodes.get(&node).and_then(|found| found.links.get(&to)).copied();
        if state == LinkState::Up {
            if self.network.connection(node, to) != Some(connection) {
                return;
            }
            // It is made again before it was noticed that it had broken.
            if known.is_some() {
                self.tell_link(node, to, LinkState::Down, None);
            }
            self.tell_link(node, to, LinkState::Up, Some(connection));
        } else if known == Some(connection) {
            self.tell_link(node, to, state, None);
        }
    }

    fn tell_link(&mut self, node: NodeId, to: NodeId, state: LinkState, connection: Option<u64>) {
        self.note(|| format!("{node}: link to {to} is {state:?}"));
        if let Some(found) = self.nodes.get_mut(&node) {
            match connection {
                Some(connection) => drop(found.links.insert(to, connection)),
                None => drop(found.links.remove(&to)),
            }
        }
        if let Some(machine) = self.machine(node) {
            machine.link(to, state);
        }
        self.wake(node);
    }
}
