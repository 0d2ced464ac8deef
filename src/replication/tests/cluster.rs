//! Members, the network between them, and what goes wrong.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::checker::{Checker, Dice};
use super::member::{Bug, Member};
use crate::broker::ids::NodeId;
use crate::replication::Link;

/// What may go wrong in a run, in chances per thousand and step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Faults {
    pub(super) loss: u64,
    pub(super) twice: u64,
    pub(super) delay_ms: u64,
    pub(super) sync_ms: u64,
    pub(super) crash: u64,
    pub(super) pause: u64,
    pub(super) cut: u64,
    pub(super) transfer: u64,
    pub(super) members: u64,
    pub(super) checkpoint: u64,
}

impl Faults {
    pub(super) const NONE: Self = Self {
        loss: 0,
        twice: 0,
        delay_ms: 5,
        sync_ms: 5,
        crash: 0,
        pause: 0,
        cut: 0,
        transfer: 0,
        members: 0,
        checkpoint: 20,
    };
    pub(super) const ALL: Self = Self {
        loss: 40,
        twice: 30,
        delay_ms: 60,
        sync_ms: 60,
        crash: 12,
        pause: 8,
        cut: 25,
        transfer: 8,
        members: 15,
        checkpoint: 30,
    };
}

#[derive(Debug)]
enum Packet {
    Raft(Bytes),
    Link(Link),
    CopyDone(bool),
}

#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) members: Vec<Member>,
    pub(super) checker: Checker,
    pub(super) dice: Dice,
    pub(super) now: f64,
    seed: u64,
    packets: Vec<(f64, NodeId, NodeId, Packet)>,
    /// From, to.
    cut: BTreeSet<(NodeId, NodeId)>,
    proposals: u64,
    founders: Vec<NodeId>,
    /// Nobody proposes anything.
    pub(super) quiet: bool,
}

impl Cluster {
    pub(super) fn new(seed: u64, nodes: NodeId, founders: &[NodeId], bug: Bug) -> Self {
        let mut dice = Dice(seed);
        let members = (1..=nodes).map(|node| Member::new(node, bug, &mut dice)).collect();
        let mut cluster = Self {
            members,
            checker: Checker::default(),
            dice,
            now: 0.0,
            seed,
            packets: Vec::new(),
            cut: BTreeSet::new(),
            proposals: 0,
            founders: founders.to_vec(),
            quiet: false,
        };
        for at in 0..usize::from(nodes) {
            cluster.start(at);
        }
        cluster
    }

    pub(super) fn start(&mut self, at: usize) {
        let member = &mut self.members[at];
        let founders = self.founders.contains(&member.node).then_some(&self.founders[..]);
        if let Err(problem) = member.start(self.now, self.seed, founders) {
            self.checker.fail(format!("node {} does not start: {problem}", member.node));
        }
        let node = member.node;
        self.tell_links(node, Link::Up);
    }

    pub(super) fn crash(&mut self, at: usize) {
        let link = if self.dice.per_mille(500) { Link::Dead } else { Link::Down };
        self.crash_with(at, link);
    }

    /// The node's process is gone, and the others notice.
    pub(super) fn crash_dead(&mut self, at: usize) {
        self.crash_with(at, Link::Dead);
    }

    fn crash_with(&mut self, at: usize, link: Link) {
        self.members[at].crash(&mut self.dice);
        let node = self.members[at].node;
        self.checker.no_lease(node);
        self.tell_links(node, link);
    }

    fn tell_links(&mut self, node: NodeId, link: Link) {
        for to in 1..=self.members.len() as NodeId {
            let at = self.now + self.dice.below(20) as f64;
            self.packets.push((at, node, to, Packet::Link(link)));
        }
    }

    /// One step: some time passes, things happen, every node works.
    pub(super) fn step(&mut self, faults: &Faults) {
        self.now += (1 + self.dice.below(25)) as f64;
        self.disturb(faults);
        self.deliver();
        for at in 0..self.members.len() {
            if self.members[at].is_paused {
                continue;
            }
            if !self.quiet && self.dice.per_mille(300) {
                self.propose(at);
            }
            if self.dice.per_mille(faults.checkpoint) {
                self.members[at].checkpoint();
            }
            if self.dice.per_mille(200) && !self.members[at].end_copy() {
                self.answer_copy(at, false);
            }
            self.round(at, faults);
        }
    }

    fn round(&mut self, at: usize, faults: &Faults) {
        let outcome = self.members[at].round(self.now, &mut self.dice, faults.sync_ms, &mut self.checker);
        let from = self.members[at].node;
        for (to, bytes) in outcome.messages {
            if usize::from(to) > self.members.len() {
                continue;
            }
            let copies = 1 + u64::from(self.dice.per_mille(faults.twice));
            for _ in 0..copies {
                if !self.dice.per_mille(faults.loss) {
                    let due = self.now + self.dice.below(faults.delay_ms) as f64;
                    self.packets.push((due, from, to, Packet::Raft(bytes.clone())));
                }
            }
        }
        for to in outcome.wants_copy {
            self.send_copy(at, to);
        }
        if let Some(to) = outcome.refuses_copy_of {
            self.packets.push((self.now + 10.0, from, to, Packet::CopyDone(false)));
        }
        if let Some(to) = outcome.has_copy_of {
            self.packets.push((self.now + 10.0, from, to, Packet::CopyDone(true)));
        }
    }

    fn propose(&mut self, at: usize) {
        self.proposals += 1;
        let length = 8 + self.dice.below(if self.dice.0.is_multiple_of(16) { 400 } else { 60 });
        let mut data = self.proposals.to_be_bytes().to_vec();
        data.resize(usize::try_from(length).unwrap(), 7);
        self.members[at].propose(Bytes::from(data), &mut self.checker);
    }

    fn send_copy(&mut self, at: usize, to: NodeId) {
        let (from, live) = (self.members[at].node, self.members[at].live.clone());
        self.members[at].checkpoint();
        let reached = !self.cut.contains(&(from, to)) && self.dice.per_mille(900);
        let Some(group) = self.members[at].group.as_mut() else { return };
        let Some(meta) = group.snapshot_meta(live.applied).filter(|_| reached) else {
            return group.snapshot_failed(to);
        };
        group.snapshot_begun(to, live.applied);
        let mut content = live.content;
        content.entry(0).or_insert((0, Vec::new()));
        let is_taken = self.members[usize::from(to) - 1].begin_copy(from, meta, content);
        if !is_taken || self.dice.per_mille(100) {
            self.packets.push((self.now + 200.0, to, from, Packet::CopyDone(false)));
        }
    }

    fn answer_copy(&mut self, at: usize, done: bool) {
        let node = self.members[at].node;
        for to in 1..=self.members.len() as NodeId {
            self.packets.push((self.now + 10.0, node, to, Packet::CopyDone(done)));
        }
    }

    fn deliver(&mut self) {
        let now = self.now;
        let mut due: Vec<_> = Vec::new();
        let mut at = 0;
        while at < self.packets.len() {
            if self.packets[at].0 <= now {
                due.push(self.packets.swap_remove(at));
            } else {
                at += 1;
            }
        }
        for (_, from, to, packet) in due {
            let is_cut = self.cut.contains(&(from, to));
            let member = &mut self.members[usize::from(to) - 1];
            let clock = member.clock(now);
            if member.is_paused {
                self.packets.push((now + 10.0, from, to, packet));
                continue;
            }
            let Some(group) = member.group.as_mut().filter(|_| from != to) else { continue };
            match packet {
                Packet::Raft(bytes) if !is_cut => {
                    if group.step(from, &bytes, clock).is_err() {
                        self.checker.fail(format!("node {to} does not understand node {from}"));
                    }
                }
                Packet::Raft(_) => {}
                Packet::Link(link) => group.link(from, link, clock),
                Packet::CopyDone(true) => group.snapshot_done(from),
                Packet::CopyDone(false) => group.snapshot_failed(from),
            }
        }
    }

    fn disturb(&mut self, faults: &Faults) {
        let at = self.dice.below(self.members.len() as u64) as usize;
        if self.dice.per_mille(faults.crash) && self.members[at].group.is_some() {
            self.crash(at);
        } else if self.members[at].group.is_none() && faults.crash > 0 && self.dice.per_mille(100) {
            self.start(at);
        }
        if self.members[at].is_paused {
            self.members[at].is_paused = !self.dice.per_mille(200);
        } else if self.dice.per_mille(faults.pause) {
            self.members[at].is_paused = true;
        }
        if self.dice.per_mille(faults.cut) {
            self.cut_links();
        }
        let nodes = self.members.len() as u64;
        let to = 1 + self.dice.below(nodes) as NodeId;
        if self.dice.per_mille(faults.transfer) {
            for group in self.members.iter_mut().filter_map(|member| member.group.as_mut()) {
                let _ = group.transfer(to);
            }
        }
        if self.dice.per_mille(faults.members) {
            let voters: Vec<_> = (1..=nodes as NodeId).filter(|_| self.dice.per_mille(600)).collect();
            let learners: Vec<_> = (1..=nodes as NodeId).filter(|_| self.dice.per_mille(200)).collect();
            self.set_members(&voters, &learners);
        }
    }

    /// Some shape of a broken network, or none.
    fn cut_links(&mut self) {
        self.cut.clear();
        let nodes = self.members.len() as NodeId;
        let side = self.dice.next();
        let in_side = |node: NodeId| side >> node & 1 == 1;
        let shape = self.dice.below(4);
        for from in 1..=nodes {
            for to in 1..=nodes {
                let is_cut = match shape {
                    0 => false,
                    1 => in_side(from) != in_side(to),
                    2 => in_side(from) && !in_side(to),
                    _ => self.dice.per_mille(300),
                };
                if is_cut {
                    self.cut.insert((from, to));
                }
            }
        }
    }

    pub(super) fn set_members(&mut self, voters: &[NodeId], learners: &[NodeId]) -> bool {
        let mut groups = self.members.iter_mut().filter_map(|member| member.group.as_mut());
        groups.any(|group| group.set_members(&group.members().change_to(voters, learners)) == Ok(true))
    }

    /// Everything works again.
    pub(super) fn heal(&mut self) {
        self.cut.clear();
        for at in 0..self.members.len() {
            self.members[at].is_paused = false;
            if self.members[at].group.is_none() {
                self.start(at);
            }
        }
    }

    /// Everybody knows everything, and all that was confirmed is there.
    pub(super) fn check_end(&mut self, voters: &[NodeId]) {
        for node in voters {
            let live = self.members[usize::from(*node) - 1].live.clone();
            let content = live.content.into_iter().filter(|(index, _)| *index > 0).collect();
            self.checker.has_all(*node, &content);
        }
    }

    /// Whoever is no member has nothing of the group, and would not promise anything.
    pub(super) fn have_left(&self, voters: &[NodeId]) -> bool {
        let mut others = self.members.iter().filter(|member| !voters.contains(&member.node));
        others.all(|member| {
            let group = member.group.as_ref();
            group.is_some_and(|group| group.last_index() == 0 && !group.is_restoring())
        })
    }

    pub(super) fn has_settled(&self, voters: &[NodeId]) -> bool {
        let members = voters.iter().map(|node| &self.members[usize::from(*node) - 1]);
        let mut at = members.map(|member| {
            let group = member.group.as_ref()?;
            (group.commit() == group.last_index()
                && member.live.applied == group.commit()
                && !group.is_restoring())
            .then_some((group.commit(), group.leader(), group.term()))
        });
        let first = at.next().flatten();
        first.is_some_and(|(.., leader, _)| leader != 0) && at.all(|other| other == first)
    }
}
