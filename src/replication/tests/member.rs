//! A node with its disk, its cold store, and its member of the group.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use raft::StateRole;

use super::checker::{Checker, Dice, Said};
use super::disk::Disk;
use crate::broker::ids::NodeId;
use crate::replication::lease::Promise;
use crate::replication::{Group, GroupOptions, Role, SnapshotMeta, Stored, Work};
use crate::storage::log::ReadableLog;

/// A mistake in how a node runs its member, which the checker must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    None,
    /// Says that records are synced when they are only written.
    TellsSyncedTooEarly,
    /// Forgets term and vote with its process.
    ForgetsVote,
    /// Takes the role for the lease.
    DeliversWithoutLease,
    /// Takes an incomplete copy for complete.
    ForgetsRestoring,
    /// Confirms what it has proposed, committed or not.
    ConfirmsProposals,
}

/// What survives the process beside the log: everything a queue has.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    pub(super) content: BTreeMap<u64, Said>,
    pub(super) applied: u64,
    pub(super) restoring: bool,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) node: NodeId,
    pub(super) disk: Arc<Disk>,
    pub(super) store: Store,
    pub(super) group: Option<Group>,
    /// What the process has applied; its store follows at checkpoints.
    pub(super) live: Store,
    /// Written records, and when they will be synced.
    syncs: VecDeque<(u64, u64)>,
    /// Copy on its way in: what it stands for, its content.
    pub(super) copy: Option<(NodeId, SnapshotMeta, BTreeMap<u64, Said>)>,
    /// What it had of the group goes; done when the log is synced up to this index.
    forgets: Option<u64>,
    proposed: Vec<Bytes>,
    /// How this node's clock runs.
    rate: f64,
    offset: f64,
    pub(super) is_paused: bool,
    bug: Bug,
    work: Work,
}

/// What a round brought for the world outside.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) messages: Vec<(NodeId, Bytes)>,
    pub(super) wants_copy: Vec<NodeId>,
    /// A copy is in force; the sender may be told.
    pub(super) has_copy_of: Option<NodeId>,
    /// A copy is of no use any more; the same.
    pub(super) refuses_copy_of: Option<NodeId>,
}

impl Member {
    pub(super) fn new(node: NodeId, bug: Bug, dice: &mut Dice) -> Self {
        Self {
            node,
            disk: Arc::default(),
            store: Store::default(),
            group: None,
            live: Store::default(),
            syncs: VecDeque::new(),
            copy: None,
            forgets: None,
            proposed: Vec::new(),
            rate: 0.97 + dice.below(60) as f64 / 1000.0,
            offset: dice.below(100_000) as f64,
            is_paused: false,
            bug,
            work: Work::default(),
        }
    }

    pub(super) fn clock(&self, now: f64) -> u64 {
        (now * self.rate + self.offset) as u64
    }

    pub(super) fn start(&mut self, now: f64, seed: u64, founders: Option<&[NodeId]>) -> Result<(), String> {
        let mut options = GroupOptions::new(1, self.node, seed);
        options.message_bytes_max = 300;
        options.inflight_bytes_max = 900;
        options.uncommitted_bytes_max = 3000;
        options.memory_bytes_max = 700;
        options.committed_bytes_max = 500;
        options.lag_bytes_max = 1500;
        options.copy_lag_bytes_max = 4500;
        let restoring = self.store.restoring && self.bug != Bug::ForgetsRestoring;
        let found =
            self.disk.recover(1, self.store.applied, restoring).map_err(|problem| problem.to_string())?;
        let mut stored = match founders {
            Some(founders) if found.is_empty() => {
                self.store.applied = 1;
                Stored::bootstrap(founders)
            }
            _ => found,
        };
        if self.bug == Bug::ForgetsVote {
            (stored.state.term, stored.state.vote, stored.state_log_index) = (1, 0, 0);
        }
        self.live = self.store.clone();
        let group = Group::new(options, stored, self.disk.clone(), self.clock(now));
        let mut group = group.map_err(|problem| problem.to_string())?;
        if self.bug == Bug::ForgetsVote {
            group.promise = Promise::default();
        }
        self.group = Some(group);
        Ok(())
    }

    pub(super) fn crash(&mut self, dice: &mut Dice) {
        self.group = None;
        self.copy = None;
        self.forgets = None;
        self.syncs.clear();
        self.proposed.clear();
        self.is_paused = false;
        self.disk.crash(dice.below(4));
    }

    /// Time, syncs, and all that is to be done.
    pub(super) fn round(
        &mut self,
        now: f64,
        dice: &mut Dice,
        sync_ms: u64,
        checker: &mut Checker,
    ) -> Outcome {
        let clock = self.clock(now);
        let mut outcome = Outcome::default();
        let Some(mut group) = self.group.take() else { return outcome };
        group.tick(clock);
        while let Some((_, log_index)) = self.syncs.front().filter(|(at, _)| *at <= now as u64) {
            self.disk.sync_to(*log_index);
            group.synced(*log_index);
            if self.forgets.take_if(|index| *index <= *log_index).is_some() {
                self.store.restoring = false;
                self.live = self.store.clone();
                group.forgotten();
            }
            self.syncs.pop_front();
        }
        if dice.per_mille(20) {
            (1..=9).for_each(|node| group.greet(node));
        }
        let mut work = std::mem::take(&mut self.work);
        for _ in 0..50 {
            work.clear();
            group.work(clock, &mut work);
            if work.is_empty() {
                break;
            }
            self.carry_out(&mut group, &mut work, &mut outcome, checker);
            if self.disk.last() > self.syncs.back().map_or(0, |(_, log_index)| *log_index) {
                self.syncs.push_back((now as u64 + dice.below(sync_ms), self.disk.last()));
            }
            if self.bug == Bug::TellsSyncedTooEarly {
                group.synced(self.disk.last());
            }
        }
        self.disk.release(group.needed_from());
        // Also one that is not told yet: it may have won by votes that were given twice.
        if group.raw.raft.state == StateRole::Leader {
            checker.leads(self.node, group.term());
        }
        self.show_lease(&group, now, clock, checker);
        self.work = work;
        self.group = Some(group);
        outcome
    }

    fn show_lease(&self, group: &Group, now: f64, clock: u64, checker: &mut Checker) {
        let until = match group.lease_until_ms(clock) {
            _ if self.bug == Bug::DeliversWithoutLease && group.is_leader() => now + 50.0,
            0 => return checker.no_lease(self.node),
            u64::MAX => now + 1.0,
            until => (until as f64 - self.offset) / self.rate,
        };
        checker.lease(self.node, now, until);
    }

    fn carry_out(
        &mut self,
        group: &mut Group,
        work: &mut Work,
        outcome: &mut Outcome,
        checker: &mut Checker,
    ) {
        if let Some(failure) = work.failure.take() {
            checker.fail(format!("node {}: {failure}", self.node));
        }
        self.disk.append(std::mem::take(&mut work.appends));
        outcome.messages.append(&mut work.messages);
        outcome.wants_copy.append(&mut work.wants_snapshot);
        for entry in work.committed.drain(..) {
            self.apply(entry.index, (entry.term, entry.data.to_vec()), checker);
        }
        group.applied(self.live.applied);
        match work.role {
            Some(Role::Leader { term }) => checker.leads(self.node, term),
            Some(_) => {
                self.proposed.clear();
                self.live = self.store.clone();
                if !self.store.restoring {
                    group.rewind(self.store.applied);
                }
            }
            None => {}
        }
        if work.dismissed && self.forgets.is_none() && group.restore_begins().is_ok() {
            self.store = Store { restoring: true, ..Store::default() };
            self.live = self.store.clone();
            outcome.refuses_copy_of = self.copy.take().map(|(from, ..)| from);
            self.proposed.clear();
            self.forgets = Some(self.disk.last() + 1);
            if let Err(failure) = group.forget() {
                checker.fail(format!("node {}: {failure}", self.node));
            }
        }
        if let Some(index) = work.installed {
            self.store.applied = index;
            self.store.restoring = false;
            self.live = self.store.clone();
            group.restored();
            outcome.has_copy_of = self.copy.take().map(|(from, ..)| from);
        }
    }

    fn apply(&mut self, index: u64, said: Said, checker: &mut Checker) {
        if index != self.live.applied + 1 {
            checker.fail(format!("node {} is at {} and is handed {index}", self.node, self.live.applied));
        }
        self.live.applied = index;
        if self.proposed.iter().any(|proposed| *proposed == said.1) {
            checker.confirmed(&said.1);
        }
        checker.committed(self.node, index, said.clone());
        self.live.content.insert(index, said);
    }

    pub(super) fn propose(&mut self, data: Bytes, checker: &mut Checker) -> bool {
        let Some(group) = self.group.as_mut() else { return false };
        if group.can_propose().is_err() {
            return false;
        }
        self.proposed.push(data.clone());
        if self.bug == Bug::ConfirmsProposals {
            checker.confirmed(&data);
        }
        match group.propose(data) {
            Ok(_) => group.uncommitted_bytes() < 3000 + 500,
            Err(problem) => {
                checker.fail(format!("proposing is allowed and then refused: {problem:?}"));
                false
            }
        }
    }

    pub(super) fn checkpoint(&mut self) {
        let Some(group) = self.group.as_mut().filter(|_| !self.store.restoring) else { return };
        self.store = self.live.clone();
        group.checkpointed(self.store.applied);
    }

    /// A copy comes in: first the note, then the old content goes. Says whether it is taken.
    pub(super) fn begin_copy(
        &mut self,
        from: NodeId,
        meta: SnapshotMeta,
        content: BTreeMap<u64, Said>,
    ) -> bool {
        let Some(group) = self.group.as_mut() else { return false };
        if self.forgets.is_some() || !group.wants_copy(meta.index) || group.restore_begins().is_err() {
            return false;
        }
        self.store = Store { restoring: true, ..Store::default() };
        self.live = self.store.clone();
        self.copy = Some((from, meta, content));
        true
    }

    /// It is complete. Says whether it is of any use.
    pub(super) fn end_copy(&mut self) -> bool {
        let (Some(group), Some((_, meta, content))) = (self.group.as_mut(), self.copy.as_mut()) else {
            return true;
        };
        if content.is_empty() {
            return true;
        }
        self.store.content = std::mem::take(content);
        let is_of_use = group.install(meta).is_ok();
        if !is_of_use {
            self.copy = None;
        }
        is_of_use
    }
}
