//! A node with everything that serves replicated queues: gateways, groups with their shards, the log, the cold store. What is
//! declared is the same on all nodes from the beginning.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use amq_protocol::types::{AMQPValue, FieldTable};
use tokio::sync::oneshot;

use super::clients::Broker;
use super::clients::message_of;
use super::history::{MessageId, Place as Message_};
use super::random::Random;
use super::world::{Machine, Place};
use crate::broker::ids::{GroupId, Home, NodeId, Placement, QueueId};
use crate::broker::policy::{PolicyScope, PolicySpec};
use crate::broker::queue::{ConsumerId, Digest};
use crate::broker::topology::{Command, QueueEntry, Topology};
use crate::config::Config;
use crate::node::cluster::dispatch::Dispatch;
use crate::node::cluster::forward::{Answer, Owner};
use crate::node::cluster::handle::{Cluster, Peers};
use crate::node::cluster::inputs::{GatewayInput, GroupControl, GroupInput};
use crate::node::cluster::members::{Member, Members};
use crate::node::cluster::peer::{LinkState, PeerMessage};
use crate::node::cluster::session::GIVEN_AWAY;
use crate::node::recover::{RecoveredGroup, of_queues};
use crate::node::shared::Shared;
use crate::node::tasks::cold::{CheckpointLink, ColdSteps, ColdThreads};
use crate::node::tasks::gateway::Gateway;
use crate::node::tasks::group::row::{GroupRow, STATE};
use crate::node::tasks::group::{GroupTask, Start};
use crate::node::tasks::peer::Incoming;
use crate::replication::{GroupOptions, Members as GroupMembers, Stored, StoredBuilder, shard_of};
use crate::storage::log::stepped::Steps;
use crate::storage::{ColdBatch, ColdStore, Log, LogHandle, LogOptions, StorageError, Synced};

/// Nodes have smaller numbers than this.
pub(super) const NODES_MAX: NodeId = 10;

/// What a queue does beside keeping messages.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct QueueKind {
    pub(super) max_priority: Option<u8>,
    /// Its messages become dead letters then, and go to the first queue.
    pub(super) ttl_ms: Option<u32>,
}

#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) groups: GroupId,
    /// Who founds the groups.
    pub(super) voters: Vec<NodeId>,
    /// Others come, and some go.
    pub(super) changes_members: bool,
    pub(super) queues: Vec<QueueKind>,
    pub(super) memory_bytes: u64,
    pub(super) lag_bytes_max: u64,
    pub(super) planted: Planted,
}

/// Faults that must be found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Planted {
    #[default]
    Nothing,
    /// Disks say that they synced, and did not.
    SkippedSync,
    /// Leaders do not know what sessions have asked before.
    ForgottenSessions,
    /// Leaders tell what is not committed.
    ToldEarly,
}

/// What is seen from outside.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    Leads(GroupId, u64),
    /// A message was given out: the group, its leader's term, to whom.
    Emitted(GroupId, u64, ConsumerId, u64),
    /// A message was settled since its consumer need not acknowledge it.
    GivenAway(MessageId),
    /// For people.
    Note(String),
}

/// The way out of a node.
#[derive(Debug, Default)]
struct Links {
    sent: Mutex<Vec<(NodeId, PeerMessage)>>,
    up: Mutex<BTreeSet<NodeId>>,
}

impl Peers for Links {
    fn send(&self, to: NodeId, message: PeerMessage) {
        lock(&self.sent).push((to, message));
    }

    fn is_up(&self, node: NodeId) -> bool {
        lock(&self.up).contains(&node)
    }
}

pub(super) struct StackNode {
    pub(super) seen: Vec<Seen>,
    pub(super) groups: Vec<GroupTask>,
    node: NodeId,
    shared: Arc<Shared>,
    cluster: Arc<Cluster>,
    dispatch: Dispatch,
    links: Arc<Links>,
    gateways: Vec<Gateway>,
    terms: BTreeMap<GroupId, u64>,
    log: LogHandle,
    steps: Steps,
    store: Arc<ColdStore>,
    cold: ColdSteps,
    threads: ColdThreads,
    checkpoint: Option<Checkpoint>,
    failure: Arc<Mutex<Option<String>>>,
}

/// A checkpoint of all groups: handed over, flushed, released.
enum Checkpoint {
    HandsOver(Vec<oneshot::Receiver<u64>>),
    Flushes(Pin<Box<dyn Future<Output = bool>>>),
    Releases(Vec<(GroupId, oneshot::Receiver<u64>)>),
}

impl Machine for StackNode {
    type Message = PeerMessage;
    type Setup = Setup;

    fn start(setup: &Setup, place: &Place) -> Result<Self, StorageError> {
        let node = place.node;
        let placement = Placement { node, shards: 1, groups: setup.groups };
        let links: Arc<Links> = Arc::default();
        let peers = Arc::clone(&links);
        let nodes = (1..NODES_MAX).filter(|other| *other != node);
        let cluster = Arc::new(Cluster::new(placement, peers, nodes, 1 << 20));
        cluster.set_meta_index(1);
        if setup.changes_members {
            // Whoever is no member of a group any more is told so by who leads.
            let nodes = (1..NODES_MAX).map(|node| (node, Member::default())).collect();
            cluster.set_members(Members { nodes, ..Members::default() });
        }
        let mut config = Config::load(None).unwrap();
        config.memory.messages_bytes = setup.memory_bytes;
        let (topology, queues) = declarations(placement, &setup.queues);
        let clock = place.clock.of_node();
        let shared = Arc::new(Shared::new(config, clock, topology, placement, Some(Arc::clone(&cluster))));
        shared.number_as(node, place.run);
        let store = Arc::new(ColdStore::in_memory(Arc::clone(&place.cold), &place.dir.join("cold"))?);
        let (threads, cold) = ColdSteps::new(Arc::clone(&store));
        let (stored, log, steps) = open_log(setup, place, &store, &cluster)?;
        let failure: Arc<Mutex<Option<String>>> = Arc::default();
        let mut groups = Vec::new();
        for (number, (stored, meta_index)) in stored {
            let failure = Arc::clone(&failure);
            let of_group = |entry: &&Arc<QueueEntry>| entry.home == Home::Group(number);
            let start = Start {
                shared: Arc::clone(&shared),
                cluster: Arc::clone(&cluster),
                options: options(setup, place, number),
                stored,
                log: Arc::new(log.clone()),
                cold: threads.link(Arc::clone(&shared.shards[0])),
                queues: queues.iter().filter(of_group).cloned().collect(),
                meta_index,
                on_failure: Box::new(move |error| {
                    lock(&failure).get_or_insert(error.to_string());
                }),
            };
            let mut group = GroupTask::new(start, clock.now_ms())?;
            group.planted.forgets_sessions = setup.planted == Planted::ForgottenSessions;
            group.planted.tells_early = setup.planted == Planted::ToldEarly;
            groups.push(group);
        }
        let dispatch = Dispatch::default();
        dispatch.begin(&shared);
        let gateways = (1..=setup.groups).filter_map(|group| Gateway::new(&shared, Owner::Group(group)));
        Ok(Self {
            seen: Vec::new(),
            groups,
            node,
            gateways: gateways.collect(),
            shared,
            cluster,
            dispatch,
            links,
            terms: BTreeMap::new(),
            log,
            steps,
            store,
            cold,
            threads,
            checkpoint: None,
            failure,
        })
    }

    fn is_datagram(message: &PeerMessage) -> bool {
        matches!(message, PeerMessage::Raft(..))
    }

    fn deliver(&mut self, from: NodeId, message: PeerMessage) {
        self.dispatch.message(from, message);
    }

    fn link(&mut self, to: NodeId, state: LinkState) {
        let mut up = lock(&self.links.up);
        if state == LinkState::Up {
            up.insert(to)
        } else {
            up.remove(&to)
        };
        drop(up);
        self.dispatch.link(to, state);
    }

    fn round(&mut self, now_ms: u64, out: &mut Vec<(NodeId, PeerMessage)>) {
        self.gateways.iter_mut().for_each(|gateway| gateway.round(now_ms));
        self.trace_forwards();
        self.groups.iter_mut().for_each(|group| group.round(now_ms));
        self.look();
        self.gateways.iter_mut().for_each(|gateway| gateway.round(now_ms));
        self.go_on_with_checkpoint();
        out.append(&mut lock(&self.links.sent));
    }

    fn next_due_ms(&mut self, now_ms: u64) -> Option<u64> {
        let groups = self.groups.iter_mut().filter_map(|group| group.next_due_ms(now_ms));
        let gateways = self.gateways.iter().filter_map(Gateway::next_due_ms);
        // What the gateways asked last.
        let is_asked = self.cluster.groups.iter().any(|group| !group.is_empty());
        groups.chain(gateways).chain(is_asked.then_some(now_ms)).min()
    }

    fn write_log(&mut self) -> Result<bool, StorageError> {
        self.check()?;
        self.steps.write()
    }

    fn sync_log(&mut self) -> Result<(), StorageError> {
        self.check()?;
        self.steps.sync().map(drop)
    }

    fn cold(&mut self, random: &mut Random) -> Result<bool, StorageError> {
        self.check()?;
        let mut has_done = false;
        for _ in 0..1 + random.below(8) {
            has_done |= self.cold.write()?;
            has_done |= self.cold.read()?;
        }
        Ok(has_done)
    }

    fn stalls(&mut self, stalls: bool) {
        for group in &self.cluster.groups {
            group.push(GroupInput::Control(GroupControl::DiskStalls(stalls)));
        }
    }
}

impl Broker for StackNode {
    fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn is_settled(&self, place: Message_) -> bool {
        self.gateways.iter().all(|gateway| gateway.is_settled(place.0, place.1))
    }
}

impl StackNode {
    pub(super) fn control(&self, group: GroupId, control: GroupControl) {
        if let Some(mailbox) = self.cluster.group(group) {
            mailbox.push(GroupInput::Control(control));
        }
    }

    /// Begins a checkpoint, unless one is under way.
    pub(super) fn begin_checkpoint(&mut self) {
        if self.checkpoint.is_none() {
            let asked = self.cluster.groups.iter().map(|group| {
                let (reply, answer) = oneshot::channel();
                group.push(GroupInput::Checkpoint(reply));
                answer
            });
            self.checkpoint = Some(Checkpoint::HandsOver(asked.collect()));
        }
    }

    fn go_on_with_checkpoint(&mut self) {
        let next = match self.checkpoint.take() {
            None => None,
            Some(Checkpoint::HandsOver(mut asked)) => {
                asked.retain_mut(|answer| answer.try_recv().is_err());
                Some(if asked.is_empty() { self.flush() } else { Checkpoint::HandsOver(asked) })
            }
            Some(Checkpoint::Flushes(mut flush)) => {
                match flush.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(true) => Some(self.tell_flushed()),
                    Poll::Ready(false) => None,
                    Poll::Pending => Some(Checkpoint::Flushes(flush)),
                }
            }
            Some(Checkpoint::Releases(mut asked)) => {
                asked.retain_mut(|(group, answer)| {
                    let index = answer.try_recv();
                    if let Ok(index) = index {
                        self.log.release(&[Synced { shard: shard_of(*group), index }]);
                    }
                    index.is_err()
                });
                (!asked.is_empty()).then_some(Checkpoint::Releases(asked))
            }
        };
        self.checkpoint = next;
    }

    fn flush(&self) -> Checkpoint {
        let link: CheckpointLink = self.threads.checkpoints();
        let mut flush: Pin<Box<dyn Future<Output = bool>>> =
            Box::pin(async move { link.flush(Vec::new()).await });
        // The first look hands it over.
        let _ = flush.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        Checkpoint::Flushes(flush)
    }

    fn tell_flushed(&self) -> Checkpoint {
        let asked = (1..).zip(&self.cluster.groups).map(|(number, group)| {
            let (reply, answer) = oneshot::channel();
            group.push(GroupInput::Flushed(reply));
            (number, answer)
        });
        Checkpoint::Releases(asked.collect())
    }

    /// What the groups said to this node's gateways, and what is on its way to others.
    fn look(&mut self) {
        for delivery in GIVEN_AWAY.take() {
            let starts = delivery.entries.iter().filter_map(|entry| usize::try_from(entry.offset).ok());
            let records = starts.filter_map(|at| delivery.data.get(at..));
            self.seen.extend(records.filter_map(|record| message_of(record).0).map(Seen::GivenAway));
        }
        for (owner, mailbox) in &self.cluster.gateways {
            let Owner::Group(group) = owner else { continue };
            let mut told = Vec::new();
            mailbox.take(&mut told);
            for input in told {
                match &input {
                    GatewayInput::Leader(node, term) if *node == self.node => {
                        self.terms.insert(*group, *term);
                        self.seen.push(Seen::Leads(*group, *term));
                    }
                    // From this node: gateways have taken what others sent.
                    GatewayInput::Answers(answers) => {
                        let term = self.terms.get(group).copied().unwrap_or(0);
                        self.seen.extend(given_out(*group, term, &answers.answers));
                        if super::is_traced() {
                            self.seen.push(Seen::Note(format!("{0} -> {0}: {1:?}", self.node, answers)));
                        }
                    }
                    GatewayInput::Leader(..) | GatewayInput::Link(..) => {}
                }
                mailbox.push(input);
            }
        }
        for (_, message) in lock(&self.links.sent).iter() {
            if let PeerMessage::Answers(answers) = message
                && let Owner::Group(group) = answers.owner
            {
                let term = self.terms.get(&group).copied().unwrap_or(0);
                self.seen.extend(given_out(group, term, &answers.answers));
            }
        }
    }

    fn trace_forwards(&mut self) {
        if !super::is_traced() {
            return;
        }
        for group in &self.cluster.groups {
            let mut inputs = Vec::new();
            group.take(&mut inputs);
            for input in inputs {
                if let GroupInput::Forward(forward) = &input
                    && forward.from == self.node
                {
                    self.seen.push(Seen::Note(format!("{0} -> {0}: {1:?}", self.node, forward)));
                }
                group.push(input);
            }
        }
    }

    pub(super) fn members(&self, group: GroupId) -> GroupMembers {
        self.groups[usize::from(group) - 1].members()
    }

    /// Whether others are to belong to a group soon.
    pub(super) fn is_changing(&self, group: GroupId) -> bool {
        self.groups[usize::from(group) - 1].is_changing()
    }

    pub(super) fn leads(&self, group: GroupId) -> bool {
        self.groups[usize::from(group) - 1].leads()
    }

    /// The last entry that a group has applied, and knows as committed; and whether it is a replica that follows.
    pub(super) fn stands(&self, group: GroupId) -> (u64, u64, bool) {
        let task = &self.groups[usize::from(group) - 1];
        let status = task.status();
        (status.applied, status.commit, !task.leads() && status.applied > 0)
    }

    /// What a group's queues hold, and up to which entry; none while it leads, or is not there yet.
    pub(super) fn digests(&self, group: GroupId) -> Option<(u64, BTreeMap<QueueId, Digest>)> {
        let task = &self.groups[usize::from(group) - 1];
        if task.leads() || self.cluster.group(group).is_some_and(|mailbox| !mailbox.is_empty()) {
            return None;
        }
        let applied = task.status().applied;
        let digests = task.digests(&|queue, first| self.store.get_chunk(queue.0, first).unwrap())?;
        let all: Option<BTreeMap<_, _>> =
            digests.into_iter().map(|(id, digest)| Some((id, digest?))).collect();
        Some((applied, all?))
    }

    fn check(&self) -> Result<(), StorageError> {
        let failure = lock(&self.failure).clone();
        failure.map_or(Ok(()), |reason| Err(StorageError::Cold { action: "go on", reason }))
    }
}

fn given_out(group: GroupId, term: u64, answers: &[Answer]) -> impl Iterator<Item = Seen> + '_ {
    let deliveries = answers.iter().filter_map(|answer| match answer {
        Answer::Deliver(delivery) => Some(delivery),
        _ => None,
    });
    deliveries.flat_map(move |delivery| {
        delivery.entries.iter().map(move |entry| Seen::Emitted(group, term, delivery.consumer, entry.seq))
    })
}

fn options(setup: &Setup, place: &Place, group: GroupId) -> GroupOptions {
    GroupOptions {
        lag_bytes_max: setup.lag_bytes_max,
        memory_bytes_max: 64 << 10,
        ..GroupOptions::new(group, place.node, place.seed ^ place.run)
    }
}

/// Queues `q1`, `q2`, ..., all of them replicated.
pub(super) fn declarations(placement: Placement, queues: &[QueueKind]) -> (Topology, Vec<Arc<QueueEntry>>) {
    let mut topology = Topology::new(placement);
    topology.apply(Command::CreateVhost { name: "/".to_owned() }).unwrap();
    let mut definition = FieldTable::default();
    definition.insert("ha-mode".into(), AMQPValue::LongString("all".into()));
    let spec = PolicySpec { pattern: "^q".to_owned(), definition, ..PolicySpec::default() };
    let (vhost, name) = ("/".to_owned(), "all".to_owned());
    topology.apply(Command::SetPolicy { vhost, scope: PolicyScope::User, name, spec }).unwrap();
    let mut entries = Vec::new();
    for (number, kind) in (1..).zip(queues) {
        let mut arguments = FieldTable::default();
        // Those that are not replicated by their type are by the policy.
        if kind.max_priority.is_none() {
            arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        }
        if let Some(max_priority) = kind.max_priority {
            arguments.insert("x-max-priority".into(), AMQPValue::LongInt(max_priority.into()));
        }
        if let Some(ttl_ms) = kind.ttl_ms {
            arguments.insert("x-message-ttl".into(), AMQPValue::LongUInt(ttl_ms));
            arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("".into()));
            arguments.insert("x-dead-letter-routing-key".into(), AMQPValue::LongString("q1".into()));
        }
        let outcome = topology.apply(Command::DeclareQueue {
            vhost: "/".to_owned(),
            name: format!("q{number}"),
            generated: false,
            passive: false,
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments,
            owner: 1,
        });
        entries.extend(outcome.unwrap().queue);
    }
    (topology, entries)
}

type Found = BTreeMap<GroupId, (Stored, u64)>;

/// Replays the log, and begins to write it.
fn open_log(
    setup: &Setup,
    place: &Place,
    store: &ColdStore,
    cluster: &Arc<Cluster>,
) -> Result<(Found, LogHandle, Steps), StorageError> {
    let mut builders: BTreeMap<u16, _> =
        (1..=setup.groups).map(|group| (shard_of(group), (group, StoredBuilder::new(group)))).collect();
    let options = LogOptions { segment_bytes: 64 << 10, ..LogOptions::default() };
    let writer = Log::recover(
        &place.dir.join("log"),
        &options,
        &mut |entry| builders.get_mut(&entry.shard).map_or(Ok(()), |(_, builder)| builder.add(&entry)),
        false,
    )?;
    if setup.planted == Planted::SkippedSync {
        place.disk.lie();
    }
    let told = Arc::clone(cluster);
    let on_synced = move |synced: &[Synced]| {
        for Synced { shard, index } in synced {
            if let Some(group) = told.group(shard - shard_of(0)) {
                group.push(GroupInput::LogSynced(*index));
            }
        }
    };
    let (log, steps) = writer.stepwise(Box::new(on_synced), &place.disk);
    let mut found = Found::new();
    for (group, builder) in builders.into_values() {
        let RecoveredGroup { mut stored, meta_index } = of_queues(store, group, builder)?;
        if stored.is_empty() && meta_index == 0 && setup.voters.contains(&place.node) {
            let mut begun = ColdBatch::new();
            begun.put_group(group, STATE, &GroupRow { applied: 1, ..GroupRow::default() }.encode());
            store.write(begun)?;
            store.flush()?;
            stored = Stored::bootstrap(&setup.voters);
        }
        found.insert(group, (stored, meta_index));
    }
    Ok((found, log, steps))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
