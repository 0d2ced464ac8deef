//! A node that runs groups alone: the real adapter to Raft and the real log, under a state that is a list of numbers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::random::Random;
use super::world::{Machine, Place};
use crate::broker::ids::{GroupId, NodeId};
use crate::node::cluster::peer::LinkState;
use crate::replication::{
    Committed, Group, GroupOptions, Link, Role, SnapshotMeta, Stored, StoredBuilder, Work, shard_of,
};
use crate::storage::log::stepped::Steps;
use crate::storage::{ColdBatch, ColdStore, Log, LogHandle, LogOptions, StorageError, Synced};

pub(super) struct Setup {
    pub(super) groups: GroupId,
    /// Who founds the groups.
    pub(super) voters: Vec<NodeId>,
    /// The node's log is released down to little, and copies are needed often.
    pub(super) lag_bytes_max: u64,
    pub(super) memory_bytes_max: usize,
    pub(super) planted: Planted,
}

/// Faults that must be found: in the environment, as far as they can be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Planted {
    #[default]
    Nothing,
    /// Disks say that they synced, and did not.
    SkippedSync,
    /// What is written is called synced before it is.
    EarlyAcknowledge,
    /// Terms and votes are not written.
    LostVote,
    /// A leader calls what it proposes committed at once.
    EarlyConfirm,
    /// A leader goes on as such without a lease.
    StaleLeader,
}

#[derive(Clone, Debug)]
pub(super) enum Message {
    Raft(GroupId, Vec<Bytes>),
    Copy(GroupId, SnapshotMeta, State),
    /// The copy is installed, or of no use.
    Copied(GroupId, bool),
}

/// What entries brought about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) applied: u64,
    pub(super) numbers: Vec<u64>,
}

impl State {
    fn encode(&self, restoring: bool) -> Vec<u8> {
        let head = [u64::from(restoring), self.applied];
        head.iter().chain(&self.numbers).flat_map(|number| number.to_le_bytes()).collect()
    }

    fn decode(row: &[u8]) -> Option<(bool, Self)> {
        let (chunks, _) = row.as_chunks();
        let mut numbers = chunks.iter().map(|bytes| u64::from_le_bytes(*bytes));
        let (restoring, applied) = (numbers.next()? != 0, numbers.next()?);
        Some((restoring, Self { applied, numbers: numbers.collect() }))
    }
}

/// What is seen from outside.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    Committed(GroupId, Committed),
    /// What was proposed here is safe.
    Confirmed(GroupId, u64),
    Leads(GroupId, u64),
    /// It holds a lease.
    Serves(GroupId, u64),
    /// An entry came out of order.
    Gap(GroupId, u64, u64),
}

pub(super) struct Member {
    pub(super) group: Group,
    pub(super) state: State,
    proposed: BTreeMap<u64, u64>,
    /// It is no member any more; the log has that when it is synced up to this index.
    leaving: Option<u64>,
}

pub(super) struct RaftNode {
    pub(super) members: Vec<Member>,
    pub(super) seen: Vec<Seen>,
    planted: Planted,
    log: LogHandle,
    steps: Steps,
    synced: Arc<Mutex<Vec<Synced>>>,
    cold: ColdStore,
    inbox: Vec<(NodeId, Message)>,
    links: Vec<(NodeId, LinkState)>,
    stalls: Option<bool>,
    /// The cold store has failed.
    failure: Option<StorageError>,
    work: Work,
    next_tick_ms: u64,
}

const TICK_MS: u64 = 50;
/// Nodes that are no members are told so again.
const GREET_TICKS: u64 = 20;
const NODES_MAX: NodeId = 9;

impl Machine for RaftNode {
    type Message = Message;
    type Setup = Setup;

    fn start(setup: &Setup, place: &Place) -> Result<Self, StorageError> {
        let now_ms = place.clock.of_node().now_ms();
        let cold = ColdStore::in_memory(Arc::clone(&place.cold), &place.dir.join("cold"))?;
        let mut builders: Vec<_> = (0..setup.groups).map(StoredBuilder::new).collect();
        let options = LogOptions { segment_bytes: 32 << 10, ..LogOptions::default() };
        let writer = Log::recover(
            &place.dir.join("log"),
            &options,
            &mut |entry| {
                let found = builders.iter_mut().enumerate();
                let mut of_group = found.filter(|(group, _)| entry.shard == shard_of(*group as GroupId));
                of_group.next().map_or(Ok(()), |(_, builder)| builder.add(&entry))
            },
            false,
        )?;
        if setup.planted == Planted::SkippedSync {
            place.disk.lie();
        }
        let synced: Arc<Mutex<Vec<Synced>>> = Arc::default();
        let told = Arc::clone(&synced);
        let on_synced = move |synced: &[Synced]| lock(&told).extend_from_slice(synced);
        let (log, steps) = writer.stepwise(Box::new(on_synced), &place.disk);
        let mut members = Vec::new();
        for (group, builder) in builders.into_iter().enumerate() {
            members.push(member(setup, place, group as GroupId, builder, &cold, &log, now_ms)?);
        }
        Ok(Self {
            members,
            seen: Vec::new(),
            planted: setup.planted,
            log,
            steps,
            synced,
            cold,
            inbox: Vec::new(),
            links: Vec::new(),
            stalls: None,
            failure: None,
            work: Work::default(),
            next_tick_ms: now_ms,
        })
    }

    fn is_datagram(message: &Message) -> bool {
        matches!(message, Message::Raft(..))
    }

    fn deliver(&mut self, from: NodeId, message: Message) {
        self.inbox.push((from, message));
    }

    fn link(&mut self, to: NodeId, state: LinkState) {
        self.links.push((to, state));
    }

    fn round(&mut self, now_ms: u64, out: &mut Vec<(NodeId, Message)>) {
        for (to, state) in std::mem::take(&mut self.links) {
            let link = match state {
                LinkState::Up => Link::Up,
                LinkState::Down => Link::Down,
                LinkState::Dead => Link::Dead,
            };
            for member in &mut self.members {
                member.group.link(to, link, now_ms);
                member.group.greet(to);
            }
        }
        if let Some(stalls) = self.stalls.take() {
            self.members.iter_mut().for_each(|member| member.group.disk_stalls(stalls));
        }
        let all_synced = std::mem::take(&mut *lock(&self.synced));
        for Synced { shard, index } in all_synced {
            let of = self.members.iter_mut().enumerate();
            of.filter(|(group, _)| shard_of(*group as GroupId) == shard)
                .for_each(|(_, member)| member.group.synced(index));
            self.end_leaving(usize::from(shard - shard_of(0)), index);
        }
        for (from, message) in std::mem::take(&mut self.inbox) {
            self.hear(from, message, now_ms, out);
        }
        if now_ms >= self.next_tick_ms {
            self.next_tick_ms = (now_ms + TICK_MS).next_multiple_of(TICK_MS);
            self.members.iter_mut().for_each(|member| member.group.tick(now_ms));
            if self.next_tick_ms.is_multiple_of(GREET_TICKS * TICK_MS) {
                let greet = |member: &mut Member| (1..=NODES_MAX).for_each(|node| member.group.greet(node));
                self.members.iter_mut().for_each(greet);
            }
        }
        for group in 0..self.members.len() {
            self.work(group, now_ms, out);
        }
    }

    fn next_due_ms(&mut self, _: u64) -> Option<u64> {
        Some(self.next_tick_ms)
    }

    fn write_log(&mut self) -> Result<bool, StorageError> {
        self.steps.write()
    }

    fn sync_log(&mut self) -> Result<(), StorageError> {
        self.steps.sync().map(drop)
    }

    /// The store is written to at once; what went wrong with it ends the node, as it does a real one.
    fn cold(&mut self, _: &mut Random) -> Result<bool, StorageError> {
        self.failure.take().map_or(Ok(false), Err)
    }

    fn stalls(&mut self, stalls: bool) {
        self.stalls = Some(stalls);
    }
}

impl RaftNode {
    /// Proposes a number; false when that is not possible here and now.
    pub(super) fn propose(&mut self, group: usize, number: u64) -> bool {
        let member = &mut self.members[group];
        let mut data = number.to_le_bytes().to_vec();
        data.resize(8 + (number % 700) as usize, 0xbb);
        let Ok(index) = member.group.propose(data) else { return false };
        if self.planted == Planted::EarlyConfirm {
            self.seen.push(Seen::Confirmed(group as GroupId, number));
        }
        member.proposed.insert(index, number);
        true
    }

    /// What entries brought about is kept in the cold store; the log need not keep them.
    pub(super) fn checkpoint(&mut self, group: usize) {
        let member = &mut self.members[group];
        if member.group.is_restoring() {
            return;
        }
        if let Err(failure) = keep(&self.cold, group, &member.state, false) {
            self.failure = Some(failure);
            return;
        }
        member.group.checkpointed(member.state.applied);
        self.release(group);
    }

    fn release(&self, group: usize) {
        let needed_from = self.members[group].group.needed_from();
        self.log
            .release(&[Synced { shard: shard_of(group as GroupId), index: needed_from.saturating_sub(1) }]);
    }

    fn hear(&mut self, from: NodeId, message: Message, now_ms: u64, out: &mut Vec<(NodeId, Message)>) {
        match message {
            Message::Raft(group, messages) => {
                for bytes in messages {
                    let stepped = self.members[usize::from(group)].group.step(from, &bytes, now_ms);
                    assert!(stepped.is_ok(), "a message of {from} for group {group} is unusable");
                }
            }
            Message::Copy(group, meta, state) => {
                if self.take_copy(usize::from(group), &meta, state).is_none() {
                    out.push((from, Message::Copied(group, false)));
                } else {
                    out.push((from, Message::Copied(group, true)));
                }
            }
            Message::Copied(group, is_done) => {
                let group = &mut self.members[usize::from(group)].group;
                if is_done { group.snapshot_done(from) } else { group.snapshot_failed(from) }
            }
        }
    }

    fn take_copy(&mut self, group: usize, meta: &SnapshotMeta, state: State) -> Option<()> {
        let member = &mut self.members[group];
        if !member.group.wants_copy(meta.index) {
            return Some(());
        }
        if member.leaving.is_some() {
            return None;
        }
        member.group.restore_begins().ok()?;
        let emptied = keep(&self.cold, group, &State::default(), true);
        let kept = emptied.and_then(|()| keep(&self.cold, group, &state, true));
        self.failure = self.failure.take().or_else(|| kept.err());
        if self.failure.is_some() {
            return None;
        }
        member.state = state;
        member.proposed.clear();
        member.group.install(meta).ok()
    }

    fn work(&mut self, group: usize, now_ms: u64, out: &mut Vec<(NodeId, Message)>) {
        let mut work = std::mem::take(&mut self.work);
        loop {
            work.clear();
            self.members[group].group.work(now_ms, &mut work);
            self.carry_out(group, &mut work, out);
            if !work.more {
                break;
            }
        }
        self.work = work;
        let member = &mut self.members[group];
        if let Role::Leader { term } = member.group.role() {
            let serves = self.planted == Planted::StaleLeader || member.group.lease_until_ms(now_ms) > now_ms;
            if serves {
                self.seen.push(Seen::Serves(group as GroupId, term));
            }
        }
    }

    fn carry_out(&mut self, group: usize, work: &mut Work, out: &mut Vec<(NodeId, Message)>) {
        let id = group as GroupId;
        // What is called synced too early may not be there to be read: that is no finding yet.
        let may_fail = self.planted == Planted::EarlyAcknowledge;
        assert!(may_fail || work.failure.is_none(), "{:?}", work.failure);
        if self.planted == Planted::LostVote {
            let founds = |record: &crate::storage::Append| record.index <= 1;
            work.appends.retain(|record| record.kind != crate::replication::RAFT_STATE || founds(record));
        }
        if let Some(last) = work.appends.last().map(|record| record.index) {
            self.log.append(std::mem::take(&mut work.appends));
            if self.planted == Planted::EarlyAcknowledge {
                self.members[group].group.synced(last);
            }
        }
        for (to, bytes) in work.messages.drain(..) {
            out.push((to, Message::Raft(id, vec![bytes])));
        }
        for committed in work.committed.drain(..) {
            self.apply(group, committed);
        }
        if let Some(Role::Leader { term }) = work.role {
            self.seen.push(Seen::Leads(id, term));
        } else if work.role.is_some() {
            self.members[group].proposed.clear();
        }
        for to in work.wants_snapshot.drain(..) {
            self.send_copy(group, to, out);
        }
        if work.dismissed {
            self.leave(group);
        }
        if work.installed.is_some() {
            let member = &mut self.members[group];
            match keep(&self.cold, group, &member.state, false) {
                Ok(()) => member.group.restored(),
                Err(failure) => self.failure = Some(failure),
            }
        }
    }

    /// What it has of the group goes: see `node/tasks/group/leaving`.
    fn leave(&mut self, group: usize) {
        let member = &mut self.members[group];
        if member.leaving.is_some() || member.group.restore_begins().is_err() {
            return;
        }
        let begun = keep(&self.cold, group, &member.state, true);
        let emptied = begun.and_then(|()| keep(&self.cold, group, &State::default(), true));
        if let Err(failure) = emptied.and_then(|()| member.group.forget()) {
            self.failure = Some(failure);
            return;
        }
        member.state = State::default();
        member.proposed.clear();
        // The next record says so.
        member.leaving = Some(member.group.last_log_index() + 1);
    }

    fn end_leaving(&mut self, group: usize, synced: u64) {
        let Some(member) = self.members.get_mut(group) else { return };
        if member.leaving.take_if(|index| *index <= synced).is_none() {
            return;
        }
        match keep(&self.cold, group, &State::default(), false) {
            Ok(()) => member.group.forgotten(),
            Err(failure) => self.failure = Some(failure),
        }
    }

    fn apply(&mut self, group: usize, committed: Committed) {
        let id = group as GroupId;
        let member = &mut self.members[group];
        // A copy may be ahead of what it stands for; here it never is.
        if committed.index != member.state.applied + 1 {
            self.seen.push(Seen::Gap(id, member.state.applied, committed.index));
        }
        member.state.applied = committed.index;
        let number = committed.data.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        member.state.numbers.extend(number);
        let proposed = member.proposed.remove(&committed.index);
        if proposed.is_some() && proposed == number {
            self.seen.push(Seen::Confirmed(id, number.unwrap_or(0)));
        }
        member.group.applied(committed.index);
        self.seen.push(Seen::Committed(id, committed));
    }

    fn send_copy(&mut self, group: usize, to: NodeId, out: &mut Vec<(NodeId, Message)>) {
        let member = &mut self.members[group];
        match member.group.snapshot_meta(member.state.applied) {
            Some(meta) => {
                member.group.snapshot_begun(to, meta.index);
                out.push((to, Message::Copy(group as GroupId, meta, member.state.clone())));
            }
            None => member.group.snapshot_failed(to),
        }
    }
}

fn member(
    setup: &Setup,
    place: &Place,
    group: GroupId,
    builder: StoredBuilder,
    cold: &ColdStore,
    log: &LogHandle,
    now_ms: u64,
) -> Result<Member, StorageError> {
    let is_founder = setup.voters.contains(&place.node);
    let row = cold.metas().filter_map(Result::ok).find(|(key, _)| **key == [group as u8]);
    let begin = State { applied: u64::from(is_founder), numbers: Vec::new() };
    let (restoring, state) = row.and_then(|(_, row)| State::decode(&row)).unwrap_or((false, begin));
    let mut stored = builder.finish(state.applied, restoring)?;
    if stored.is_empty() && is_founder {
        stored = Stored::bootstrap(&setup.voters);
    }
    let options = GroupOptions {
        tick_ms: TICK_MS,
        lag_bytes_max: setup.lag_bytes_max,
        memory_bytes_max: setup.memory_bytes_max,
        message_bytes_max: 2_000,
        inflight_bytes_max: 20_000,
        uncommitted_bytes_max: 60_000,
        committed_bytes_max: 3_000,
        ..GroupOptions::new(group, place.node, place.seed ^ place.run)
    };
    let group = Group::new(options, stored, Arc::new(log.clone()), now_ms)?;
    Ok(Member { group, state, proposed: BTreeMap::new(), leaving: None })
}

/// Keeps the state durably.
fn keep(cold: &ColdStore, group: usize, state: &State, restoring: bool) -> Result<(), StorageError> {
    let mut batch = ColdBatch::new();
    batch.put_meta(&[group as u8], &state.encode(restoring));
    cold.write(batch)?;
    cold.flush()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
