//! Three nodes with a group, in one thread: links, logs and cold stores in memory, and a clock that the test moves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use amq_protocol::types::{AMQPValue, FieldTable};
use bytes::Bytes;

use super::super::row::{GroupRow, RESTORING, STATE};
use super::super::{GroupTask, Start};
use crate::broker::batch::{Batch, Message};
use crate::broker::ids::{GroupId, NodeId, Placement, QueueId};
use crate::broker::queue::Digest;
use crate::broker::topology::{Command, QueueEntry, Topology};
use crate::config::Config;
use crate::node::clock::Clock;
use crate::node::cluster::forward::{Answer, Answers, Consumer, Forward, Item, Owner, Request, Settle};
use crate::node::cluster::handle::{Cluster, Peers};
use crate::node::cluster::inputs::{GatewayInput, GroupInput, GroupStatus};
use crate::node::cluster::peer::{LinkState, PeerMessage};
use crate::node::mailbox::Mailbox;
use crate::node::shared::Shared;
use crate::node::tasks::cold::{ColdSteps, ColdThreads};
use crate::replication::{GroupOptions, Stored, StoredBuilder, shard_of};
use crate::storage::cold::MemoryFiles;
use crate::storage::log::{ReadBack, ReadableLog};
use crate::storage::{Append, ColdStore, Entry, StorageError};

pub(super) const GROUP: GroupId = 1;
pub(super) const NODES: [NodeId; 3] = [1, 2, 3];

/// What is on its way.
type Wire = Arc<Mutex<VecDeque<(NodeId, NodeId, PeerMessage)>>>;

/// Nodes that run.
type Up = Arc<Mutex<BTreeSet<NodeId>>>;

#[derive(Debug)]
struct Links {
    from: NodeId,
    wire: Wire,
    up: Up,
}

impl Peers for Links {
    fn send(&self, to: NodeId, message: PeerMessage) {
        self.wire.lock().unwrap().push_back((self.from, to, message));
    }

    fn is_up(&self, node: NodeId) -> bool {
        self.up.lock().unwrap().contains(&node)
    }
}

/// A log that keeps what was synced.
#[derive(Debug, Default)]
struct MemoryLog(Mutex<Records>);

#[derive(Debug, Default)]
struct Records {
    synced: Vec<ReadBack>,
    waiting: Vec<ReadBack>,
    released: u64,
}

impl MemoryLog {
    /// Syncs everything; gives the last index.
    fn sync(&self) -> Option<u64> {
        let mut records = self.0.lock().unwrap();
        let waiting = std::mem::take(&mut records.waiting);
        let last = waiting.last().map(|record| record.index);
        records.synced.extend(waiting);
        last
    }

    fn crash(&self) {
        self.0.lock().unwrap().waiting.clear();
    }

    fn release(&self, index: u64) {
        let mut records = self.0.lock().unwrap();
        records.released = records.released.max(index);
        records.synced.retain(|record| record.index > index);
    }
}

impl ReadableLog for MemoryLog {
    fn append(&self, appends: Vec<Append>) {
        let record = |append: Append| ReadBack {
            index: append.index,
            kind: append.kind,
            payload: [&append.head[..], &append.body].concat().into(),
        };
        self.0.lock().unwrap().waiting.extend(appends.into_iter().map(record));
    }

    fn read(
        &self,
        _: u16,
        indexes: RangeInclusive<u64>,
        bytes_max: usize,
    ) -> Result<Vec<ReadBack>, StorageError> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        let records = self.0.lock().unwrap();
        for record in records.synced.iter().filter(|record| indexes.contains(&record.index)) {
            bytes += record.payload.len();
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            found.push(record.clone());
        }
        assert_eq!(found.first().map(|record| record.index), Some(*indexes.start()), "it was released");
        Ok(found)
    }
}

/// One node.
pub(super) struct Node {
    pub(super) task: GroupTask,
    pub(super) cluster: Arc<Cluster>,
    store: Arc<ColdStore>,
    steps: ColdSteps,
    /// Nobody waits for these threads: they are steps.
    _threads: ColdThreads,
    log: Arc<MemoryLog>,
    gateway: Arc<Mailbox<GatewayInput>>,
}

/// What survives a crash of a node.
#[derive(Clone)]
struct Disk {
    log: Arc<MemoryLog>,
    files: Arc<MemoryFiles>,
}

/// All of it.
pub(super) struct World {
    pub(super) nodes: BTreeMap<NodeId, Node>,
    disks: BTreeMap<NodeId, Disk>,
    wire: Wire,
    pub(super) now_ms: u64,
    topology: Topology,
    queues: Vec<Arc<QueueEntry>>,
    pub(super) meta_index: u64,
    /// Who cannot reach whom.
    pub(super) cut: BTreeSet<(NodeId, NodeId)>,
    /// What sessions were told, by node.
    pub(super) told: BTreeMap<NodeId, Vec<Answer>>,
    /// The leader and term that each node's gateway was told last.
    pub(super) leaders: BTreeMap<NodeId, (NodeId, u64)>,
    up: Up,
    /// Nodes whose gateways do not say hello to a new leader.
    pub(super) shy: BTreeSet<NodeId>,
    /// Messages of the raft crate's, and copies, that were delivered.
    pub(super) copies: usize,
    wiped: BTreeSet<NodeId>,
}

impl World {
    pub(super) fn new() -> Self {
        let placement = Placement { node: 1, shards: 1, groups: 1 };
        let mut topology = Topology::new(placement);
        topology.apply(Command::CreateVhost { name: "/".to_owned() }).unwrap();
        let disk = || Disk { log: Arc::default(), files: Arc::default() };
        let mut world = Self {
            nodes: BTreeMap::new(),
            disks: NODES.map(|node| (node, disk())).into_iter().collect(),
            wire: Wire::default(),
            now_ms: 1_000_000,
            topology,
            queues: Vec::new(),
            meta_index: 0,
            cut: BTreeSet::new(),
            told: BTreeMap::new(),
            leaders: BTreeMap::new(),
            up: Up::default(),
            shy: BTreeSet::new(),
            copies: 0,
            wiped: BTreeSet::new(),
        };
        NODES.into_iter().for_each(|node| world.start(node));
        world
    }

    /// Starts a node with what its disk has. All three are members from the beginning.
    pub(super) fn start(&mut self, number: NodeId) {
        let disk = self.disks[&number].clone();
        let placement = Placement { node: number, shards: 1, groups: 1 };
        self.up.lock().unwrap().insert(number);
        let peers = Arc::new(Links { from: number, wire: Arc::clone(&self.wire), up: Arc::clone(&self.up) });
        let cluster = Arc::new(Cluster::new(placement, peers, NODES.into_iter(), usize::MAX));
        cluster.set_meta_index(self.meta_index);
        let clock = Clock::simulated(Box::leak(Box::new(AtomicU64::new(self.now_ms))));
        let mut config = Config::load(None).unwrap();
        config.memory.messages_bytes = 512 * 1024;
        let topology = Topology::new(placement);
        let shared = Shared::new(config, clock, topology, placement, Some(Arc::clone(&cluster)));
        let store = Arc::new(ColdStore::in_memory(disk.files, Path::new("")).unwrap());
        let (threads, steps) = ColdSteps::new(Arc::clone(&store));
        let mut builder = StoredBuilder::new(GROUP);
        for record in &disk.log.0.lock().unwrap().synced {
            let shard = shard_of(GROUP);
            let (index, kind) = (record.index, record.kind);
            builder.add(&Entry { shard, index, kind, payload: &record.payload }).unwrap();
        }
        let row = store.get_group(GROUP, STATE).unwrap();
        let begun = || GroupRow { applied: 1, ..GroupRow::default() };
        let row = row.map_or_else(begun, |row| GroupRow::decode(&row).unwrap());
        let restoring = store.get_group(GROUP, RESTORING).unwrap().is_some();
        let stored = builder.finish(row.applied, restoring);
        let stored = stored.unwrap();
        let begins = stored.is_empty() && !restoring && !self.wiped.contains(&number);
        let stored = if begins { Stored::bootstrap(&NODES) } else { stored };
        let gateway = Arc::clone(&cluster.gateways[&Owner::Group(GROUP)]);
        let start = Start {
            shared: Arc::new(shared),
            cluster: Arc::clone(&cluster),
            options: GroupOptions::new(GROUP, number, 7),
            stored,
            log: Arc::clone(&disk.log) as Arc<dyn ReadableLog>,
            cold: threads.link(Arc::new(Mailbox::new(usize::MAX))),
            queues: self.queues.clone(),
            meta_index: row.meta_index,
            on_failure: Box::new(|error| panic!("{error}")),
        };
        let task = GroupTask::new(start, self.now_ms).unwrap();
        let log = disk.log;
        let node = Node { task, cluster, store, steps, _threads: threads, log, gateway };
        self.nodes.insert(number, node);
        for other in self.nodes.keys().copied().filter(|other| *other != number).collect::<Vec<_>>() {
            self.tell(number, GroupInput::Link(other, LinkState::Up));
            self.tell(other, GroupInput::Link(number, LinkState::Up));
        }
    }

    /// The process ends here and now.
    pub(super) fn kill(&mut self, number: NodeId) {
        self.nodes.remove(&number);
        self.up.lock().unwrap().remove(&number);
        self.disks[&number].log.crash();
        self.disks[&number].files.crash(0);
        self.wire.lock().unwrap().retain(|(from, to, _)| *from != number && *to != number);
        for other in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.tell(other, GroupInput::Link(number, LinkState::Down));
            self.tell(other, GroupInput::Link(number, LinkState::Dead));
        }
    }

    /// Takes a node's disk away, after it was killed. It is no member any more until it has a copy.
    pub(super) fn wipe(&mut self, number: NodeId) {
        self.wiped.insert(number);
        self.disks.insert(number, Disk { log: Arc::default(), files: Arc::default() });
    }

    pub(super) fn tell(&self, node: NodeId, input: GroupInput) {
        if let Some(node) = self.nodes.get(&node) {
            node.cluster.group(GROUP).unwrap().push(input);
        }
    }

    /// Declares a queue that is replicated.
    pub(super) fn declare(&mut self, name: &str) -> QueueId {
        self.declare_with(name, &[])
    }

    pub(super) fn declare_with(&mut self, name: &str, arguments: &[(&str, &str)]) -> QueueId {
        let outcome = self.topology.apply(declare(name, arguments));
        let entry = outcome.unwrap().queue.unwrap();
        self.queues.push(Arc::clone(&entry));
        self.declared(vec![Arc::clone(&entry)], Vec::new());
        entry.id
    }

    pub(super) fn delete(&mut self, id: QueueId) {
        self.queues.retain(|entry| entry.id != id);
        self.declared(Vec::new(), vec![id]);
    }

    fn declared(&mut self, changed: Vec<Arc<QueueEntry>>, deleted: Vec<QueueId>) {
        self.meta_index += 1;
        let index = self.meta_index;
        for (number, node) in &self.nodes {
            let (changed, deleted) = (changed.clone(), deleted.clone());
            self.tell(*number, GroupInput::Topology { changed, deleted });
            node.cluster.set_meta_index(index);
        }
    }

    /// Everything that can happen at once.
    pub(super) fn settle(&mut self) {
        for _ in 0..200 {
            self.turn();
            if self.is_quiet() {
                return;
            }
        }
    }

    fn is_quiet(&mut self) -> bool {
        let now_ms = self.now_ms;
        let rests = self.nodes.values_mut().all(|node| node.task.next_due_ms(now_ms) != Some(0));
        rests && self.wire.lock().unwrap().is_empty()
    }

    fn turn(&mut self) {
        for number in self.nodes.keys().copied().collect::<Vec<_>>() {
            let Some(node) = self.nodes.get_mut(&number) else { continue };
            while node.steps.write().unwrap() || node.steps.read().unwrap() {}
            if let Some(index) = node.log.sync() {
                node.cluster.group(GROUP).unwrap().push(GroupInput::LogSynced(index));
            }
            node.task.round(self.now_ms);
            let mut heard = Vec::new();
            node.gateway.take(&mut heard);
            for input in heard {
                match input {
                    GatewayInput::Answers(answers) => self.answered(number, answers),
                    GatewayInput::Leader(leader, term) => {
                        self.hears_of(number, leader, term);
                    }
                    GatewayInput::Link(..) => {}
                }
            }
        }
        let messages: Vec<_> = self.wire.lock().unwrap().drain(..).collect();
        for (from, to, message) in messages {
            if !self.cut.contains(&(from, to)) && !self.cut.contains(&(to, from)) {
                self.deliver(from, to, message);
            }
        }
    }

    fn deliver(&mut self, from: NodeId, to: NodeId, message: PeerMessage) {
        match message {
            PeerMessage::Raft(_, messages) => self.tell(to, GroupInput::Raft(from, messages)),
            PeerMessage::Forward(forward) => self.tell(to, GroupInput::Forward(forward)),
            PeerMessage::Snapshot(piece) => {
                self.copies += 1;
                self.tell(to, GroupInput::Snapshot(from, piece));
            }
            PeerMessage::Answers(answers) => self.answered(to, answers),
            PeerMessage::Leads(leads) => {
                for (_, term) in leads {
                    self.hears_of(to, from, term);
                }
            }
            _ => {}
        }
    }

    /// A gateway hears who leads; it had no consumers.
    fn hears_of(&mut self, node: NodeId, leader: NodeId, term: u64) {
        self.leaders.insert(node, (leader, term));
        if leader != 0 && !self.shy.contains(&node) {
            Session::new(node).send(self, leader, 1, Vec::new());
        }
    }

    fn answered(&mut self, node: NodeId, answers: Answers) {
        self.told.entry(node).or_default().extend(answers.answers);
    }

    /// Time passes, a tick at a time.
    pub(super) fn pass(&mut self, ms: u64) {
        let until_ms = self.now_ms + ms;
        while self.now_ms < until_ms {
            self.now_ms += 10;
            self.settle();
        }
    }

    /// The node that leads, once one does that is none of these.
    pub(super) fn leader_but(&mut self, not: &[NodeId]) -> NodeId {
        for _ in 0..500 {
            let leads = |node: &Node| matches!(node.task.stage, super::super::Stage::Leader(_));
            let mut found = self.nodes.iter().filter(|(_, node)| leads(node)).map(|(number, _)| *number);
            if let Some(leader) = found.rfind(|number| !not.contains(number)) {
                return leader;
            }
            self.pass(10);
        }
        panic!("nobody leads");
    }

    pub(super) fn leader(&mut self) -> NodeId {
        self.leader_but(&[])
    }

    /// Checks that all nodes have the same in their queues; gives what.
    pub(super) fn digests(&self) -> BTreeMap<QueueId, Digest> {
        let mut all = self.nodes.iter().map(|(number, node)| {
            let read = |id: QueueId, first| node.store.get_chunk(id.0, first).unwrap();
            let digests = node.task.digests(&read).expect("it has its queues");
            let digests: BTreeMap<_, _> =
                digests.into_iter().map(|(id, digest)| (id, digest.expect("its chunks are there"))).collect();
            (*number, digests)
        });
        let (first, digests) = all.next().unwrap();
        for (number, others) in all {
            assert_eq!(digests, others, "of nodes {first} and {number}");
        }
        digests
    }

    pub(super) fn status(&self, node: NodeId) -> GroupStatus {
        self.nodes[&node].task.status()
    }

    /// What a node's disk has.
    pub(super) fn store(&self, node: NodeId) -> Arc<ColdStore> {
        Arc::new(ColdStore::in_memory(Arc::clone(&self.disks[&node].files), Path::new("")).unwrap())
    }

    /// How many of the group's records a node's log holds.
    pub(super) fn records(&self, node: NodeId) -> usize {
        self.nodes[&node].log.0.lock().unwrap().synced.len()
    }

    /// Everything goes to the cold store of a node, and its log lets go of what is not needed.
    pub(super) fn checkpoint(&mut self, number: NodeId) {
        let (reply, mut done) = tokio::sync::oneshot::channel();
        self.tell(number, GroupInput::Checkpoint(reply));
        self.pass(20);
        done.try_recv().unwrap();
        self.nodes[&number].store.flush().unwrap();
        let (reply, mut done) = tokio::sync::oneshot::channel();
        self.tell(number, GroupInput::Flushed(reply));
        self.pass(20);
        let index = done.try_recv().unwrap();
        self.nodes[&number].log.release(index);
    }
}

/// A session of a node's clients.
pub(super) struct Session {
    pub(super) node: NodeId,
    pub(super) id: u64,
    pub(super) attempt: u64,
    pub(super) next: u64,
    pub(super) sent: Vec<(u64, Item)>,
}

impl Session {
    pub(super) fn new(node: NodeId) -> Self {
        Self { node, id: u64::from(node) << 48 | 1, attempt: 1, next: 1, sent: Vec::new() }
    }

    /// Asks for something; gives its number.
    pub(super) fn ask(&mut self, world: &World, leader: NodeId, queue: QueueId, request: Request) -> u64 {
        let (number, item) = (self.next, Item { queue, request });
        self.next += 1;
        self.sent.push((number, item.clone()));
        self.send(world, leader, number, vec![item]);
        number
    }

    fn send(&self, world: &World, leader: NodeId, first: u64, items: Vec<Item>) {
        let forward = Forward {
            session: self.id,
            from: self.node,
            owner: Owner::Group(GROUP),
            attempt: self.attempt,
            answered: self.sent.first().map_or(self.next, |(number, _)| *number),
            meta_index: world.meta_index,
            first,
            items,
            back_below: 0,
        };
        world.tell(leader, GroupInput::Forward(forward));
    }

    /// Takes note of what is done.
    pub(super) fn hear(&mut self, world: &World) {
        for answer in world.told.get(&self.node).into_iter().flatten() {
            if let Answer::Done(first, last) = answer {
                self.sent.retain(|(number, _)| !(*first..=*last).contains(number));
            }
        }
    }

    /// Asks a new leader for everything that is not done.
    pub(super) fn ask_again(&mut self, world: &World, leader: NodeId) {
        self.attempt += 1;
        let Some((first, _)) = self.sent.first() else { return };
        let items = self.sent.iter().map(|(_, item)| item.clone()).collect();
        self.send(world, leader, *first, items);
    }
}

/// A declaration of a queue with these arguments.
pub(super) fn declare(name: &str, arguments: &[(&str, &str)]) -> Command {
    let mut table = FieldTable::default();
    for (key, value) in arguments.iter().chain([&("x-queue-type", "quorum")]) {
        table.insert((*key).into(), AMQPValue::LongString((*value).into()));
    }
    Command::DeclareQueue {
        vhost: "/".to_owned(),
        name: name.to_owned(),
        generated: false,
        passive: false,
        durable: true,
        exclusive: false,
        auto_delete: false,
        arguments: table,
        owner: 1,
    }
}

/// A publish of these bodies.
pub(super) fn publish(bodies: &[&str]) -> Request {
    let mut records = Vec::new();
    for body in bodies {
        let message = Message {
            exchange: b"",
            routing_key: b"q",
            header: &[0; 14],
            body: body.as_bytes(),
            ..Message::default()
        };
        message.put(&mut records);
    }
    Request::Publish { batch: Batch::check(Bytes::from(records)).unwrap(), letters: false }
}

pub(super) fn consume(id: u64, is_back: bool) -> Request {
    let (no_ack, exclusive, prefetch, priority, window_bytes) = (false, false, 0, 0, 1 << 40);
    Request::Consume(Consumer {
        id,
        no_ack,
        exclusive,
        prefetch,
        priority,
        window_bytes,
        is_back,
        was_served: false,
    })
}

pub(super) fn settle(consumer: u64, how: Settle, ranges: &[(u64, u64)]) -> Request {
    Request::Settle { consumer, how, ranges: ranges.to_vec() }
}

/// Numbers, bodies, and whether they were delivered before.
pub(super) fn delivered(answers: &[Answer]) -> Vec<(u64, String, bool)> {
    let mut all = Vec::new();
    for answer in answers {
        let Answer::Deliver(delivery) = answer else { continue };
        for entry in &delivery.entries {
            let (message, _) = crate::broker::batch::read(&delivery.data[entry.offset as usize..]).unwrap();
            let body = String::from_utf8(message.body.to_vec()).unwrap();
            all.push((entry.seq, body, entry.redelivered));
        }
    }
    all
}
