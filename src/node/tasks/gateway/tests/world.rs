//! A gateway with clients on one side, and a group on the other whose leaders come and go: its log, which is all that
//! survives them, is a list.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Write;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use crate::broker::batch::{self, Batch, Message};
use crate::broker::channel::outgoing::Confirm;
use crate::broker::ids::{NodeId, Placement, QueueId};
use crate::broker::queue::{Command, ConsumerId, ConsumerSpec, Counts, Delivery, Entry};
use crate::broker::topology::Topology;
use crate::config::Config;
use crate::node::clock::Clock;
use crate::node::cluster::forward::{Answer, Answers, Forward, Owner};
use crate::node::cluster::handle::{Cluster, Peers};
use crate::node::cluster::inputs::{GatewayInput, GroupInput};
use crate::node::cluster::peer::{LinkState, PeerMessage};
use crate::node::cluster::session::{SessionTable, Sessions, not_owner};
use crate::node::links::{ClientInput, ClientLink, NotConsuming, ShardInput, Waiter};
use crate::node::mailbox::Mailbox;
use crate::node::shared::Shared;
use crate::node::tasks::gateway::Gateway;

pub(in crate::node::tasks) const QUEUE: QueueId = QueueId(5);
const SHARDS: u16 = 1;

/// Links that hold what is sent until the test lets it through.
#[derive(Debug, Default)]
pub(in crate::node::tasks) struct FakePeers {
    pub(in crate::node::tasks) sent: Mutex<BTreeMap<NodeId, VecDeque<Forward>>>,
    pub(in crate::node::tasks) told: Mutex<Vec<(NodeId, Answers)>>,
    pub(in crate::node::tasks) down: Mutex<BTreeSet<NodeId>>,
}

impl Peers for FakePeers {
    fn send(&self, to: NodeId, message: PeerMessage) {
        match message {
            _ if !self.is_up(to) => {}
            PeerMessage::Forward(forward) => {
                self.sent.lock().unwrap().entry(to).or_default().push_back(forward);
            }
            PeerMessage::Answers(answers) => self.told.lock().unwrap().push((to, answers)),
            other => panic!("{other:?}"),
        }
    }

    fn is_up(&self, node: NodeId) -> bool {
        node <= 3 && !self.down.lock().unwrap().contains(&node)
    }
}

/// What one entry of the group's log holds.
#[derive(Default)]
struct Logged {
    published: Vec<u64>,
    settled: Vec<u64>,
    marks: Option<Vec<u8>>,
}

/// A leader with what it has only in memory.
struct Leader {
    node: NodeId,
    sessions: Sessions,
    index: u64,
    open: VecDeque<Logged>,
    waiters: Vec<(u64, Waiter)>,
    consumers: Vec<(ConsumerId, Arc<ClientLink>)>,
}

pub(in crate::node::tasks) struct World {
    pub(in crate::node::tasks) shared: Arc<Shared>,
    pub(in crate::node::tasks) peers: Arc<FakePeers>,
    pub(in crate::node::tasks) gateway: Gateway,
    pub(in crate::node::tasks) now_ms: u64,
    pub(in crate::node::tasks) client: Arc<ClientLink>,
    leader: Option<Leader>,
    term: u64,
    committed_index: u64,
    table: SessionTable,
    /// What the group has for ever, in order.
    pub(in crate::node::tasks) published: Vec<u64>,
    pub(in crate::node::tasks) settled: Vec<u64>,
    /// Answers on their way.
    answers: VecDeque<(NodeId, Answers)>,
    messages: u64,
    next_consumer: ConsumerId,
    next_delivery: u64,
    consumes: Vec<oneshot::Receiver<Result<(), NotConsuming>>>,
    /// What the client was told.
    pub(in crate::node::tasks) confirmed: Vec<(u64, bool)>,
    pub(in crate::node::tasks) delivered: Vec<u64>,
    pub(in crate::node::tasks) cancelled: Vec<ConsumerId>,
    pub(in crate::node::tasks) alive: Vec<ConsumerId>,
    pub(in crate::node::tasks) stats: Vec<oneshot::Receiver<Option<Counts>>>,
}

pub(in crate::node::tasks) fn shared(groups: u16, patience: &str) -> (Arc<Shared>, Arc<FakePeers>) {
    let text = format!("[cluster]\n{patience}\n");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let config = Config::load(Some(file.path())).unwrap();
    let placement = Placement { node: 1, shards: SHARDS, groups };
    let peers = Arc::new(FakePeers::default());
    let dyn_peers: Arc<dyn Peers> = Arc::clone(&peers) as _;
    let cluster = Cluster::new(placement, dyn_peers, 2..4, 1 << 20);
    let topology = Topology::new(placement);
    let shared = Shared::new(config, Clock::start(), topology, placement, Some(Arc::new(cluster)));
    (Arc::new(shared), peers)
}

pub(in crate::node::tasks) fn batch(ids: impl Iterator<Item = u64>, persistent: bool) -> Batch {
    let (mut records, mut count) = (Vec::new(), 0);
    for id in ids {
        Message { body: &id.to_le_bytes(), persistent, ..Message::default() }.put(&mut records);
        count += 1;
    }
    Batch::of(records, count, if persistent { count } else { 0 })
}

pub(in crate::node::tasks) fn ids(batch: &Batch) -> Vec<u64> {
    let (mut ids, mut records) = (Vec::new(), &batch.records[..]);
    while let Some((message, length)) = batch::read(records) {
        ids.push(u64::from_le_bytes(message.body.try_into().unwrap()));
        records = &records[length..];
    }
    ids
}

/// What the queue has no place for.
pub(in crate::node::tasks) fn is_refused(id: u64) -> bool {
    id % 7 == 3
}

pub(in crate::node::tasks) fn client() -> Arc<ClientLink> {
    Arc::new(ClientLink { id: 9, mailbox: Mailbox::new(usize::MAX) })
}

pub(in crate::node::tasks) fn consumer_spec(id: ConsumerId) -> ConsumerSpec {
    ConsumerSpec {
        id,
        no_ack: false,
        exclusive: false,
        prefetch: 0,
        priority: 0,
        window_bytes: 1 << 20,
        shared: Arc::default(),
        is_back: false,
        was_served: false,
    }
}

impl World {
    pub(in crate::node::tasks) fn new() -> Self {
        let (shared, peers) = shared(1, "patience_ms = 3600000");
        let gateway = Gateway::new(&shared, Owner::Group(1)).unwrap();
        Self {
            peers,
            gateway,
            now_ms: shared.clock.now_ms(),
            client: client(),
            leader: None,
            term: 0,
            committed_index: 0,
            table: SessionTable::default(),
            published: Vec::new(),
            settled: Vec::new(),
            answers: VecDeque::new(),
            messages: 0,
            next_consumer: 100,
            next_delivery: 1000,
            consumes: Vec::new(),
            confirmed: Vec::new(),
            delivered: Vec::new(),
            cancelled: Vec::new(),
            alive: Vec::new(),
            stats: Vec::new(),
            shared,
        }
    }

    fn queues(&self) -> &Mailbox<ShardInput> {
        &self.shared.shards[usize::from(SHARDS)]
    }

    pub(in crate::node::tasks) fn tell(&self, input: GatewayInput) {
        self.shared.cluster.as_ref().unwrap().gateways[&Owner::Group(1)].push(input);
    }

    pub(in crate::node::tasks) fn publish(&mut self, count: u64) {
        let first = self.messages;
        self.messages += count;
        let confirm = Confirm { channel: 1, epoch: 1, ranges: vec![(first, count)] };
        let waiter = Waiter::Publisher(Arc::clone(&self.client), confirm);
        let batch = batch(first..first + count, first.is_multiple_of(2));
        self.queues().push(ShardInput::Publish(QUEUE, batch, waiter));
    }

    pub(in crate::node::tasks) fn consume(&mut self) {
        self.next_consumer += 1;
        self.alive.push(self.next_consumer);
        let spec = Box::new(consumer_spec(self.next_consumer));
        let (reply, answer) = oneshot::channel();
        self.queues().push(ShardInput::Consume(QUEUE, spec, Arc::clone(&self.client), reply));
        self.consumes.push(answer);
    }

    pub(in crate::node::tasks) fn cancel_oldest(&mut self) {
        if !self.alive.is_empty() {
            let ((reply, _), oldest) = (oneshot::channel(), self.alive.remove(0));
            self.queues().push(ShardInput::Cancel(QUEUE, oldest, reply));
        }
    }

    pub(in crate::node::tasks) fn ack(&self, seq: u64) {
        self.queues().push(ShardInput::Command(QUEUE, Command::Ack(1, vec![(seq, 1)])));
    }

    pub(in crate::node::tasks) fn stat(&mut self) {
        let (reply, answer) = oneshot::channel();
        self.queues().push(ShardInput::Stat(QUEUE, reply));
        self.stats.push(answer);
    }

    pub(in crate::node::tasks) fn round(&mut self) {
        self.now_ms += 1;
        self.gateway.round(self.now_ms);
        let mut told = Vec::new();
        self.client.mailbox.take(&mut told);
        for input in told {
            match input {
                ClientInput::Confirmed(confirm, accepted) => {
                    for (first, count) in confirm.ranges {
                        self.confirmed.extend((first..first + count).map(|id| (id, accepted)));
                    }
                }
                ClientInput::Deliver(delivery) => {
                    self.delivered.extend(delivery.entries.iter().map(|entry| entry.seq));
                }
                ClientInput::ConsumerCancelled(id) => self.cancelled.push(id),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Another leader: of what the old one had not committed, this many entries survive.
    pub(in crate::node::tasks) fn elect(&mut self, node: NodeId, surviving: usize) {
        for _ in 0..surviving {
            self.commit();
        }
        self.term += 1;
        let mut out = Vec::new();
        if let Some(old) = self.leader.take() {
            old.sessions.give_up(&mut out);
            self.answers.extend(out.into_iter().map(|(_, answers)| (old.node, answers)));
        }
        self.leader = Some(Leader {
            node,
            sessions: Sessions::new(Owner::Group(1), self.table.clone()),
            index: self.committed_index,
            open: VecDeque::new(),
            waiters: Vec::new(),
            consumers: Vec::new(),
        });
    }

    /// The gateway hears who leads.
    pub(in crate::node::tasks) fn announce(&self) {
        if let Some(leader) = &self.leader {
            self.tell(GatewayInput::Leader(leader.node, self.term));
        }
    }

    /// The link to a node breaks: what is on its way is lost, and both ends hear of it.
    pub(in crate::node::tasks) fn cut(&mut self, node: NodeId) {
        self.peers.down.lock().unwrap().insert(node);
        self.peers.sent.lock().unwrap().remove(&node);
        self.answers.retain(|(from, _)| *from != node);
        if let Some(leader) = self.leader.as_mut().filter(|leader| leader.node == node) {
            leader.sessions.node_down(1);
        }
        self.tell(GatewayInput::Link(node, LinkState::Down));
    }

    pub(in crate::node::tasks) fn mend(&self, node: NodeId) {
        if self.peers.down.lock().unwrap().remove(&node) {
            self.tell(GatewayInput::Link(node, LinkState::Up));
            self.announce();
        }
    }

    /// Lets through what was forwarded, to whomever.
    pub(in crate::node::tasks) fn arrive(&mut self) {
        let cluster = Arc::clone(self.shared.cluster.as_ref().unwrap());
        let mut own = Vec::new();
        cluster.group(1).unwrap().take(&mut own);
        let own = own.into_iter().filter_map(|input| match input {
            GroupInput::Forward(forward) => Some((1, forward)),
            _ => None,
        });
        let sent = std::mem::take(&mut *self.peers.sent.lock().unwrap());
        let sent = sent.into_iter().flat_map(|(node, sent)| sent.into_iter().map(move |one| (node, one)));
        for (node, forward) in own.chain(sent) {
            match self.leader.as_mut().filter(|leader| leader.node == node) {
                Some(leader) => leader.sessions.forward(forward),
                None => self.answers.push_back((node, not_owner(&forward).1)),
            }
        }
        self.lead();
    }

    fn lead(&mut self) {
        let Some(leader) = &mut self.leader else { return };
        let mut inputs = Vec::new();
        leader.sessions.take(0, &mut |input| inputs.push(input));
        let mut entry = Logged::default();
        leader.index += 1;
        for input in inputs {
            leader.handle(input, &mut entry);
        }
        entry.marks = leader.sessions.marks();
        leader.open.push_back(entry);
        leader.sessions.logged(leader.index);
    }

    /// The oldest entry is with a majority.
    pub(in crate::node::tasks) fn commit(&mut self) {
        let Some(leader) = &mut self.leader else { return };
        let Some(entry) = leader.open.pop_front() else { return };
        self.committed_index += 1;
        self.published.extend(entry.published);
        self.settled.extend(entry.settled);
        if let Some(marks) = entry.marks {
            self.table.apply(&marks).unwrap();
        }
        let committed = self.committed_index;
        for (_, waiter) in leader.waiters.extract_if(.., |(index, _)| *index <= committed) {
            if let Waiter::Publisher(client, confirm) = waiter {
                client.mailbox.push(ClientInput::Confirmed(confirm, true));
            }
        }
    }

    /// The leader tells, so far.
    pub(in crate::node::tasks) fn answer(&mut self) {
        let Some(leader) = &mut self.leader else { return };
        let mut out = Vec::new();
        leader.sessions.answers(self.committed_index, &mut out);
        let node = leader.node;
        let is_up = self.peers.is_up(node);
        self.answers.extend(out.into_iter().filter(|_| is_up).map(|(_, answers)| (node, answers)));
    }

    /// Answers reach the gateway; with `twice`, what can be told twice is.
    pub(in crate::node::tasks) fn hear(&mut self, twice: bool) {
        for (_, answers) in std::mem::take(&mut self.answers) {
            if twice {
                let mut again = answers.clone();
                again.answers.retain(|answer| {
                    matches!(answer, Answer::Done(..) | Answer::Refused(..) | Answer::Reply(..))
                });
                self.tell(GatewayInput::Answers(answers));
                self.tell(GatewayInput::Answers(again));
            } else {
                self.tell(GatewayInput::Answers(answers));
            }
        }
    }

    pub(in crate::node::tasks) fn deliver(&mut self) {
        let Some(leader) = &mut self.leader else { return };
        let Some((consumer, link)) = leader.consumers.first() else { return };
        self.next_delivery += 1;
        let data = batch(std::iter::once(self.next_delivery), true).records;
        let entry = Entry { seq: self.next_delivery, offset: 0, redelivered: false, returns: 0 };
        let delivery = Delivery { consumer: *consumer, data, entries: vec![entry] };
        link.mailbox.push(ClientInput::Deliver(delivery));
    }

    /// All goes well until nothing is left to do, whether or not the gateway hears who leads.
    pub(in crate::node::tasks) fn calm_down(&mut self, is_announced: bool) {
        (2..4).for_each(|node| self.mend(node));
        self.elect(2, 100);
        if is_announced {
            self.announce();
        }
        for _ in 0..25 {
            self.round();
            self.arrive();
            (0..3).for_each(|_| self.commit());
            self.answer();
            self.hear(false);
            self.now_ms += 1000;
        }
        self.round();
    }

    pub(in crate::node::tasks) fn published_count(&self) -> u64 {
        self.messages
    }

    pub(in crate::node::tasks) fn consumers_of_leader(&self) -> Vec<ConsumerId> {
        self.leader.iter().flat_map(|leader| leader.consumers.iter().map(|(id, _)| *id)).collect()
    }
}

impl Leader {
    fn handle(&mut self, input: ShardInput, entry: &mut Logged) {
        match input {
            ShardInput::Publish(_, batch, Waiter::Publisher(client, confirm)) => {
                assert_eq!(batch.persistent, batch.count, "a group keeps all messages");
                let refused: Vec<_> = (0u32..)
                    .zip(ids(&batch))
                    .filter(|(_, id)| is_refused(*id))
                    .map(|(at, _)| (at, 1))
                    .collect();
                entry.published.extend(ids(&batch).into_iter().filter(|id| !is_refused(*id)));
                let (taken, nacked) = confirm.part(batch.count, &refused);
                if !refused.is_empty() {
                    client.mailbox.push(ClientInput::Confirmed(nacked, false));
                }
                if !taken.ranges.is_empty() {
                    self.waiters.push((self.index, Waiter::Publisher(client, taken)));
                }
            }
            ShardInput::Command(_, Command::Ack(_, ranges)) => {
                entry.settled.extend(ranges.iter().map(|(seq, _)| *seq));
            }
            ShardInput::Command(_, Command::Fail(..)) => {}
            ShardInput::Consume(_, spec, link, reply) => {
                assert!(self.consumers.iter().all(|(id, _)| *id != spec.id), "{} comes twice", spec.id);
                self.consumers.push((spec.id, link));
                let _ = reply.send(Ok(()));
            }
            ShardInput::Suspend(_, _, reply) => drop(reply.send(())),
            ShardInput::Cancel(_, consumer, reply) => {
                self.consumers.retain(|(id, _)| *id != consumer);
                let _ = reply.send(());
            }
            ShardInput::Stat(_, reply) => drop(reply.send(Some(Counts::default()))),
            other => panic!("{other:?}"),
        }
    }
}
