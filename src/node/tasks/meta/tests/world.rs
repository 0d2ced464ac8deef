//! Nodes of a cluster, as far as declarations go, in one thread: links, logs and cold stores in memory, and a clock that the
//! test moves. Shards are a list of the queues that they were told of.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::{Arc, Mutex};

use amq_protocol::types::{AMQPValue, FieldTable};
use tokio::sync::oneshot;

use super::super::group::{MetaGroup, Start};
use crate::broker::ids::{Home, META_GROUP, NodeId, Placement, QueueId, Run};
use crate::broker::topology::{Change, Command, Row, Topology};
use crate::config::Config;
use crate::node::clock::Clock;
use crate::node::cluster::handle::{Cluster, Peers};
use crate::node::cluster::inputs::{GroupControl, GroupInput};
use crate::node::cluster::members::Member;
use crate::node::cluster::meta::{MetaAnswer, MetaCommand, MetaState};
use crate::node::cluster::peer::{LinkState, PeerMessage};
use crate::node::links::{Applied, DeleteIf, DeleteQueue, MetaInput, NotDeleted, ShardInput};
use crate::node::mailbox::Mailbox;
use crate::node::shared::{META_SHARD, Shared};
use crate::node::tasks::cold::{ColdSteps, ColdThreads};
use crate::protocol::error::Refusal;
use crate::replication::{GroupOptions, Stored, StoredBuilder, shard_of};
use crate::storage::cold::MemoryFiles;
use crate::storage::log::{ReadBack, ReadableLog};
use crate::storage::{Append, ColdStore, Entry, StorageError};

const GROUPS: u16 = 2;
const SHARDS: u16 = 2;
const NODES_MAX: NodeId = 6;
/// How often everybody has a turn until the clock goes on.
pub(super) const TURNS: u32 = 6;

type Wire = Arc<Mutex<VecDeque<(NodeId, NodeId, PeerMessage)>>>;
type Up = Arc<Mutex<BTreeSet<(NodeId, NodeId)>>>;

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
        self.up.lock().unwrap().contains(&(self.from, node))
    }
}

/// A log that keeps what was synced.
#[derive(Debug, Default)]
pub(super) struct MemoryLog(Mutex<Records>);

#[derive(Debug, Default)]
struct Records {
    synced: Vec<(u16, ReadBack)>,
    waiting: Vec<(u16, ReadBack)>,
}

impl MemoryLog {
    /// Syncs everything; gives the last index of each shard.
    fn sync(&self) -> BTreeMap<u16, u64> {
        let mut records = self.0.lock().unwrap();
        let waiting = std::mem::take(&mut records.waiting);
        let last = waiting.iter().map(|(shard, record)| (*shard, record.index)).collect();
        records.synced.extend(waiting);
        last
    }

    fn release(&self, shard: u16, up_to: u64) {
        self.0.lock().unwrap().synced.retain(|(of, record)| *of != shard || record.index > up_to);
    }

    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap().synced.len()
    }
}

impl ReadableLog for MemoryLog {
    fn append(&self, appends: Vec<Append>) {
        let record = |append: Append| {
            let payload = [&append.head[..], &append.body].concat().into();
            (append.shard, ReadBack { index: append.index, kind: append.kind, payload })
        };
        self.0.lock().unwrap().waiting.extend(appends.into_iter().map(record));
    }

    fn read(
        &self,
        shard: u16,
        indexes: RangeInclusive<u64>,
        _: usize,
    ) -> Result<Vec<ReadBack>, StorageError> {
        let records = self.0.lock().unwrap();
        let found =
            records.synced.iter().filter(|(of, record)| *of == shard && indexes.contains(&record.index));
        Ok(found.map(|(_, record)| record.clone()).collect())
    }
}

/// What survives a crash.
#[derive(Clone, Default)]
pub(super) struct Disk {
    pub(super) log: Arc<MemoryLog>,
    files: Arc<MemoryFiles>,
    run: Run,
}

pub(super) struct Node {
    task: MetaGroup,
    pub(super) shared: Arc<Shared>,
    pub(super) cluster: Arc<Cluster>,
    steps: ColdSteps,
    _threads: ColdThreads,
    /// Queues of its shards.
    pub(super) queues: BTreeSet<QueueId>,
    /// Queues of its groups.
    pub(super) of_groups: BTreeSet<QueueId>,
}

impl Node {
    /// Everything that is declared and known of nodes.
    pub(super) fn rows(&self) -> Vec<Row> {
        self.task.rows()
    }

    pub(super) fn is_sole_voter(&self) -> bool {
        self.task.is_sole_voter()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.shared.topology().queue("/", name).is_some()
    }
}

/// An answer on its way.
pub(super) struct Asked<T>(oneshot::Receiver<Result<T, Refusal>>);

impl<T> Asked<T> {
    pub(super) fn is_answered(&mut self) -> Option<Result<T, Refusal>> {
        self.0.try_recv().ok()
    }

    /// Has somebody woken by the answer, which is not there yet.
    pub(super) fn wakes(&mut self, waker: &std::task::Waker) {
        let answer = std::pin::Pin::new(&mut self.0);
        assert!(answer.poll(&mut std::task::Context::from_waker(waker)).is_pending());
    }

    pub(super) fn ok(mut self) -> T {
        self.0.try_recv().expect("it is answered").unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    pub(super) fn refusal(mut self) -> String {
        self.0.try_recv().expect("it is answered").err().expect("it is refused").to_string()
    }
}

pub(super) struct World {
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) disks: BTreeMap<NodeId, Disk>,
    wire: Wire,
    up: Up,
    pub(super) now_ms: u64,
    /// What shards say to those who want to delete.
    pub(super) in_use: BTreeSet<QueueId>,
    /// Queues whose owners do not answer.
    pub(super) silent: BTreeSet<QueueId>,
    pub(super) copies: usize,
    /// A node that gets nothing of what is agreed on, and what waits for it.
    pub(super) late: Option<NodeId>,
    late_messages: Vec<(NodeId, NodeId, PeerMessage)>,
}

impl World {
    /// A cluster of so many nodes, all voters, that know each other.
    pub(super) fn of(nodes: NodeId) -> Self {
        let mut world = Self {
            nodes: BTreeMap::new(),
            disks: BTreeMap::new(),
            wire: Wire::default(),
            up: Up::default(),
            now_ms: 1_000_000,
            in_use: BTreeSet::new(),
            silent: BTreeSet::new(),
            copies: 0,
            late: None,
            late_messages: Vec::new(),
        };
        world.start(1);
        world.pass(100);
        (2..=nodes).for_each(|node| world.join(node));
        world
    }

    /// Takes a new node in.
    pub(super) fn join(&mut self, node: NodeId) {
        self.begin_to_join(node);
        self.pass(3_000);
        assert!(self.nodes[&node].cluster.meta_index() > 0, "it knows what is declared");
    }

    /// Has a new node become a voter.
    pub(super) fn begin_to_join(&mut self, node: NodeId) {
        let name = format!("node{node}");
        let added = MetaCommand::AddMember {
            name,
            peer_address: String::new(),
            client_address: String::new(),
            replaces: None,
        };
        let asked = self.propose(1, added);
        self.pass(200);
        assert_eq!(asked.ok().node, Some(node));
        self.start(node);
        let leader = self.leader();
        let voters: Vec<_> = self.nodes.keys().copied().collect();
        let (reply, _answer) = oneshot::channel();
        let change = self.nodes[&leader].task.group.members().change_to(&voters, &[]);
        let control = GroupControl::SetMembers(change, reply);
        self.nodes[&leader].shared.meta.push(MetaInput::Control(control));
    }

    /// Starts a node with what its disk has.
    pub(super) fn start(&mut self, node: NodeId) {
        let disk = self.disks.entry(node).or_default();
        disk.run += 1;
        let disk = disk.clone();
        let placement = Placement { node, shards: SHARDS, groups: GROUPS };
        let (wire, up) = (Arc::clone(&self.wire), Arc::clone(&self.up));
        let peers = Arc::new(Links { from: node, wire, up });
        let nodes = (1..NODES_MAX).filter(|other| *other != node);
        let cluster = Arc::new(Cluster::new(placement, peers, nodes, usize::MAX));
        let store = Arc::new(ColdStore::in_memory(Arc::clone(&disk.files), Path::new("")).unwrap());
        let (rows, index) = rows_of(&store, &disk.log);
        let mut state = MetaState::restore(rows.iter()).unwrap();
        let is_founded = node == 1 && state.members.nodes.is_empty();
        if is_founded {
            state = MetaState::found(9, GROUPS, Member { name: "node1".to_owned(), ..Member::default() });
        }
        let mut topology = Topology::restore(placement, rows.into_iter()).unwrap();
        if is_founded {
            topology.apply(Command::CreateVhost { name: "/".to_owned() }).unwrap();
        }
        let queues = topology.all_queues();
        let is_here = |home| home == Home::Node(node);
        let config = Config::load(None).unwrap();
        let shared = Shared::new(config, Clock::start(), topology, placement, Some(Arc::clone(&cluster)));
        shared.number_as(node, disk.run);
        let shared = Arc::new(shared);
        let (threads, steps) = ColdSteps::new(store);
        let start = Start {
            shared: Arc::clone(&shared),
            cluster: Arc::clone(&cluster),
            options: GroupOptions::new(META_GROUP, node, 5),
            stored: stored(&disk.log, &state, is_founded),
            log: Arc::clone(&disk.log) as Arc<dyn ReadableLog>,
            cold: threads.link(Arc::new(Mailbox::new(usize::MAX))),
            state,
            is_founded,
            run: disk.run,
            index,
            on_failure: Box::new(|error| panic!("{error}")),
        };
        let task = MetaGroup::new(start, self.now_ms).unwrap();
        let of = |here: bool| {
            let found = queues.iter().filter(|queue| is_here(queue.home) == here);
            found.filter(|queue| here || matches!(queue.home, Home::Group(_))).map(|queue| queue.id).collect()
        };
        let (here, of_groups) = (of(true), of(false));
        let node_state = Node { task, shared, cluster, steps, _threads: threads, queues: here, of_groups };
        self.nodes.insert(node, node_state);
        self.others(node).into_iter().for_each(|other| self.link(node, other, LinkState::Up));
    }

    fn others(&self, node: NodeId) -> Vec<NodeId> {
        self.nodes.keys().copied().filter(|other| *other != node).collect()
    }

    /// The link between two nodes changes.
    pub(super) fn link(&self, one: NodeId, other: NodeId, state: LinkState) {
        for (node, to) in [(one, other), (other, one)] {
            {
                let mut up = self.up.lock().unwrap();
                if state == LinkState::Up {
                    up.insert((node, to))
                } else {
                    up.remove(&(node, to))
                };
            }
            if let Some(node) = self.nodes.get(&node) {
                node.shared.meta.push(MetaInput::Link(to, state));
            }
        }
        let is_theirs = |from: NodeId, to: NodeId| [(one, other), (other, one)].contains(&(from, to));
        if state != LinkState::Up {
            self.wire.lock().unwrap().retain(|(from, to, _)| !is_theirs(*from, *to));
        }
    }

    /// A node is cut off from all others.
    pub(super) fn cut(&self, node: NodeId, state: LinkState) {
        self.others(node).into_iter().for_each(|other| self.link(node, other, state));
    }

    /// The process ends here and now.
    pub(super) fn kill(&mut self, node: NodeId) {
        self.cut(node, LinkState::Dead);
        self.nodes.remove(&node);
        self.disks[&node].log.0.lock().unwrap().waiting.clear();
        self.disks[&node].files.crash(0);
    }

    pub(super) fn apply(&self, node: NodeId, command: Command) -> Asked<Applied> {
        let (reply, answer) = oneshot::channel();
        self.nodes[&node].shared.meta.push(MetaInput::Apply(Box::new(command), reply));
        Asked(answer)
    }

    pub(super) fn propose(&self, node: NodeId, command: MetaCommand) -> Asked<MetaAnswer> {
        let (reply, answer) = oneshot::channel();
        self.nodes[&node].shared.meta.push(MetaInput::Propose(Box::new(command), reply));
        Asked(answer)
    }

    pub(super) fn delete(&self, node: NodeId, name: &str, condition: DeleteIf) -> Asked<(u64, Applied)> {
        let (vhost, name, owner) = ("/".to_owned(), name.to_owned(), 1);
        let request = DeleteQueue { vhost, name, owner, condition };
        let (reply, answer) = oneshot::channel();
        self.nodes[&node].shared.meta.push(MetaInput::DeleteQueue(request, reply));
        Asked(answer)
    }

    /// Declares a queue, and gives its number.
    pub(super) fn declare(&mut self, node: NodeId, command: Command) -> QueueId {
        let asked = self.apply(node, command);
        self.pass(300);
        asked.ok().outcome.queue.unwrap().id
    }

    pub(super) fn leader(&mut self) -> NodeId {
        self.leader_but(0)
    }

    /// The node that leads, once one does that is not this one.
    pub(super) fn leader_but(&mut self, not: NodeId) -> NodeId {
        for _ in 0..500 {
            let leads = |(number, node): &(&NodeId, &Node)| **number != not && node.task.leader() == **number;
            if let Some(leader) = self.nodes.iter().filter(leads).map(|(number, _)| *number).next_back() {
                return leader;
            }
            self.pass(10);
        }
        panic!("nobody leads");
    }

    /// When a node's task wants its next round although nothing comes in.
    pub(super) fn next_due_ms(&self, node: NodeId) -> Option<u64> {
        self.nodes[&node].task.next_due_ms()
    }

    pub(super) fn pass(&mut self, ms: u64) {
        let until_ms = self.now_ms + ms;
        while self.now_ms < until_ms {
            self.now_ms += 10;
            (0..TURNS).for_each(|_| self.turn());
        }
    }

    pub(super) fn turn(&mut self) {
        for number in self.nodes.keys().copied().collect::<Vec<_>>() {
            let Some(node) = self.nodes.get_mut(&number) else { continue };
            while node.steps.write().unwrap() {}
            for (shard, index) in self.disks[&number].log.sync() {
                let synced = match shard {
                    META_SHARD => MetaInput::Synced(index),
                    _ => MetaInput::GroupSynced(index),
                };
                node.shared.meta.push(synced);
            }
            node.task.round(self.now_ms);
            self.work_as_shards(number);
        }
        let mut messages: Vec<_> = self.wire.lock().unwrap().drain(..).collect();
        let late = self.late;
        let is_late =
            |of: &mut (_, _, PeerMessage)| Some(of.1) == late && matches!(of.2, PeerMessage::Raft(..));
        self.late_messages.extend(messages.extract_if(.., is_late));
        if late.is_none() {
            messages.append(&mut self.late_messages);
        }
        for (from, to, message) in messages {
            let is_up = self.up.lock().unwrap().contains(&(from, to));
            if let Some(node) = self.nodes.get(&to).filter(|_| is_up) {
                self.copies += usize::from(matches!(message, PeerMessage::Snapshot(_)));
                node.shared.meta.push(MetaInput::Peer(from, message));
            }
        }
    }

    /// Own shards and groups take note; what is for others is brought there.
    fn work_as_shards(&mut self, number: NodeId) {
        let shards = self.nodes[&number].shared.shards.clone();
        for (place, shard) in shards.iter().enumerate() {
            let mut inputs = Vec::new();
            shard.take(&mut inputs);
            for input in inputs {
                // A group is asked where it is asked for.
                let owner = place.checked_sub(usize::from(SHARDS + GROUPS));
                let owner = owner.and_then(|owner| NodeId::try_from(owner).ok()).unwrap_or(number);
                self.as_shard(owner, input);
            }
        }
        let node = self.nodes.get_mut(&number).unwrap();
        for group in &node.cluster.groups {
            let mut inputs = Vec::new();
            group.take(&mut inputs);
            for input in inputs {
                let GroupInput::Topology { changed, deleted } = input else { continue };
                node.of_groups.extend(changed.iter().map(|queue| queue.id));
                node.of_groups.retain(|id| !deleted.contains(id));
            }
        }
    }

    fn as_shard(&mut self, owner: NodeId, input: ShardInput) {
        // Nobody answers for a node that is not there.
        let Some(node) = self.nodes.get_mut(&owner) else { return };
        match input {
            ShardInput::Create(queue) => drop(node.queues.insert(queue.id)),
            ShardInput::Delete(id, ..) if self.silent.contains(&id) => {}
            ShardInput::Delete(id, condition, reply) if condition.only_checks => {
                let is_used = condition.unused && self.in_use.contains(&id);
                let answer = if is_used { Err(NotDeleted::InUse) } else { Ok(7) };
                let _ = reply.send(answer);
            }
            ShardInput::Delete(id, ..) => drop(node.queues.remove(&id)),
            _ => {}
        }
    }

    /// Everything goes to the cold store of a node, and its log lets go of what is not needed.
    pub(super) fn checkpoint(&mut self, number: NodeId) {
        let mut steps = Vec::new();
        for ask in [MetaInput::Checkpoint, MetaInput::Flushed] {
            let (reply, mut answer) = oneshot::channel();
            self.nodes[&number].shared.meta.push(ask(reply));
            self.pass(30);
            steps.push(answer.try_recv().unwrap());
            if steps.len() == 1 {
                let mut batch = crate::storage::ColdBatch::new();
                batch.put_applied(META_SHARD, steps[0]);
                let files = Arc::clone(&self.disks[&number].files);
                let store = ColdStore::in_memory(files, Path::new("")).unwrap();
                store.write(batch).unwrap();
                store.flush().unwrap();
            }
        }
        self.disks[&number].log.release(META_SHARD, steps[0]);
        self.disks[&number].log.release(shard_of(META_GROUP), steps[1]);
    }

    /// All nodes know the same, and their shards have the queues that are declared there.
    pub(super) fn check_equal(&self) {
        let mut all = self.nodes.iter();
        let (_, first) = all.next().unwrap();
        for (number, node) in all {
            assert_eq!(node.rows(), first.rows(), "node {number}");
        }
        for (number, node) in &self.nodes {
            let queues = node.shared.topology().all_queues();
            let here = queues.iter().filter(|queue| queue.home == Home::Node(*number)).map(|queue| queue.id);
            assert_eq!(node.queues, here.collect(), "shards of node {number}");
            let of_groups = queues.iter().filter(|queue| matches!(queue.home, Home::Group(_)));
            assert_eq!(node.of_groups, of_groups.map(|queue| queue.id).collect(), "groups of node {number}");
        }
    }
}

/// The rows that a node recovers, and the last index of their log.
fn rows_of(store: &ColdStore, log: &MemoryLog) -> (Vec<Row>, u64) {
    let applied = store.applied().unwrap().into_iter().find(|(shard, _)| *shard == META_SHARD);
    let mut last = applied.map_or(0, |(_, index)| index);
    let from = last;
    let mut rows = BTreeMap::new();
    for row in store.metas() {
        let (key, value) = row.unwrap();
        rows.insert(key.to_vec(), value.to_vec());
    }
    for (_, record) in log.0.lock().unwrap().synced.iter().filter(|(shard, _)| *shard == META_SHARD) {
        if record.index <= from {
            continue;
        }
        last = record.index;
        let mut payload = &record.payload[..];
        while !payload.is_empty() {
            let (change, length) = Change::decode(payload).unwrap();
            match change {
                Change::Put(row) => drop(rows.insert(row.key().0, row.value())),
                Change::Delete(key) => drop(rows.remove(&key.0)),
            }
            payload = &payload[length..];
        }
    }
    (rows.iter().map(|(key, value)| Row::decode(key, value).unwrap()).collect(), last)
}

fn stored(log: &MemoryLog, state: &MetaState, is_founded: bool) -> Stored {
    if is_founded {
        return Stored::bootstrap(&[1]);
    }
    let mut builder = StoredBuilder::new(META_GROUP);
    for (shard, record) in log.0.lock().unwrap().synced.iter() {
        if *shard == shard_of(META_GROUP) {
            let (shard, index, kind) = (*shard, record.index, record.kind);
            builder.add(&Entry { shard, index, kind, payload: &record.payload }).unwrap();
        }
    }
    builder.finish(state.applied(), state.is_restoring()).unwrap()
}

/// A declare to be changed where it matters.
pub(super) fn queue(name: &str, durable: bool, quorum: bool) -> Command {
    let mut arguments = FieldTable::default();
    if quorum {
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    }
    Command::DeclareQueue {
        vhost: "/".to_owned(),
        name: name.to_owned(),
        generated: false,
        passive: false,
        durable,
        exclusive: false,
        auto_delete: false,
        arguments,
        owner: 0,
    }
}
