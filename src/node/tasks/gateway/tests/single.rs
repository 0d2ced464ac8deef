//! What a gateway does with single inputs.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::world::{FakePeers, QUEUE, batch, client, consumer_spec, shared};
use crate::broker::channel::outgoing::Confirm;
use crate::broker::ids::{NodeId, QueueId};
use crate::broker::queue::{Command, Delivery, Entry, GETTER, GetReply, SeqRange};
use crate::node::cluster::forward::{Answer, Answers, Forward, Owner, Reply, Request, Settle};
use crate::node::cluster::inputs::{GatewayInput, GroupInput};
use crate::node::cluster::peer::LinkState;
use crate::node::links::{
    ClientInput, ClientLink, CommitAnswer, DeadLetterTicket, Reserve, ShardInput, TransactionInput, Waiter,
};
use crate::node::mailbox::Mailbox;
use crate::node::offers::{Offer, Publisher};
use crate::node::shared::Shared;
use crate::node::tasks::gateway::Gateway;

/// A gateway and nothing else.
pub(super) struct Single {
    pub(super) shared: Arc<Shared>,
    pub(super) peers: Arc<FakePeers>,
    pub(super) queues: Arc<Mailbox<ShardInput>>,
    pub(super) client: Arc<ClientLink>,
    gateway: Gateway,
    owner: Owner,
    now_ms: u64,
}

impl Single {
    pub(super) fn new(owner: Owner, patience: &str) -> Self {
        let (shared, peers) = shared(1, patience);
        let gateway = Gateway::new(&shared, owner).unwrap();
        let now_ms = gateway.now_ms;
        let queues = Arc::clone(&gateway.queues);
        Self { shared, peers, queues, client: client(), gateway, owner, now_ms }
    }

    pub(super) fn limit_bytes(&mut self, bytes_max: usize) {
        self.gateway.bytes_max = bytes_max;
    }

    pub(super) fn round(&mut self, later_ms: u64) {
        self.now_ms += later_ms;
        self.gateway.round(self.now_ms);
    }

    pub(super) fn ask(&self, input: ShardInput) {
        self.queues.push(input);
    }

    pub(super) fn publish(&self, ids: std::ops::Range<u64>) {
        let ranges = vec![(ids.start, ids.end - ids.start)];
        let confirm = Confirm { channel: 1, epoch: 1, ranges };
        let waiter = Waiter::Publisher(Arc::clone(&self.client), confirm);
        self.ask(ShardInput::Publish(QUEUE, batch(ids, true), waiter));
    }

    pub(super) fn tell(&self, input: GatewayInput) {
        self.shared.cluster.as_ref().unwrap().gateways[&self.owner].push(input);
    }

    pub(super) fn lead(&self, node: NodeId, term: u64) {
        self.tell(GatewayInput::Leader(node, term));
    }

    pub(super) fn cut(&self, node: NodeId) {
        self.peers.down.lock().unwrap().insert(node);
        self.peers.sent.lock().unwrap().remove(&node);
        self.tell(GatewayInput::Link(node, LinkState::Down));
    }

    pub(super) fn mend(&self, node: NodeId) {
        self.peers.down.lock().unwrap().remove(&node);
        self.tell(GatewayInput::Link(node, LinkState::Up));
    }

    /// What was sent to a node.
    pub(super) fn forwards(&self, node: NodeId) -> Vec<Forward> {
        self.peers.sent.lock().unwrap().remove(&node).unwrap_or_default().into()
    }

    /// What was sent to the group in this process.
    pub(super) fn own_forwards(&self) -> Vec<Forward> {
        let mut inputs = Vec::new();
        self.shared.cluster.as_ref().unwrap().group(1).unwrap().take(&mut inputs);
        let forwards = inputs.into_iter().filter_map(|input| match input {
            GroupInput::Forward(forward) => Some(forward),
            _ => None,
        });
        forwards.collect()
    }

    pub(super) fn answer(&self, forward: &Forward, answers: Vec<Answer>) {
        let Forward { session, owner, attempt, .. } = *forward;
        self.tell(GatewayInput::Answers(Answers { session, owner, attempt, answers }));
    }
}

pub(super) fn confirms(client: &ClientLink) -> Vec<(Vec<SeqRange>, bool)> {
    let mut told = Vec::new();
    client.mailbox.take(&mut told);
    let confirms = told.into_iter().filter_map(|input| match input {
        ClientInput::Confirmed(confirm, accepted) => Some((confirm.ranges, accepted)),
        _ => None,
    });
    confirms.collect()
}

/// A ticket, and where its source would hear of it.
pub(super) fn letter(seq: u64) -> (Arc<DeadLetterTicket>, Arc<Mailbox<ShardInput>>) {
    let shard = Arc::new(Mailbox::new(usize::MAX));
    (Arc::new(DeadLetterTicket::new(Arc::clone(&shard), QueueId(1), seq)), shard)
}

#[test]
fn groups_keep_transient_messages_and_nodes_take_them_as_they_are() {
    for (owner, kept) in [(Owner::Group(1), 2), (Owner::Node(2), 0)] {
        let mut single = Single::new(owner, "");
        single.lead(2, 1);
        single.ask(ShardInput::Publish(QUEUE, batch(0..2, false), Waiter::Nobody));
        single.round(0);
        let Request::Publish { batch, .. } = single.forwards(2)[0].items[0].request.clone() else { panic!() };
        assert_eq!((batch.count, batch.persistent), (2, kept));
    }
}

#[test]
fn what_is_got_without_acknowledgement_is_settled_only_when_it_is_here() {
    let mut single = Single::new(Owner::Group(1), "");
    single.lead(2, 1);
    let (reply, mut got) = oneshot::channel();
    single.ask(ShardInput::Get(QUEUE, true, reply));
    single.round(0);
    let forward = single.forwards(2).remove(0);
    assert!(matches!(forward.items[0].request, Request::Get { no_ack: false }));
    let message = GetReply::Message {
        seq: 44,
        record: batch(0..1, true).records,
        redelivered: false,
        returns: 0,
        ready: 0,
    };
    single.answer(&forward, vec![Answer::Reply(1, Reply::Get(Some(message))), Answer::Done(1, 1)]);
    single.round(0);
    assert!(matches!(got.try_recv(), Ok(Some(GetReply::Message { seq: 44, .. }))));
    let Request::Settle { consumer, how, ranges } = single.forwards(2)[0].items[0].request.clone() else {
        panic!()
    };
    assert_eq!((consumer, how, ranges), (GETTER, Settle::Ack, vec![(44, 1)]));
}

#[test]
fn what_is_got_for_nobody_goes_back() {
    let mut single = Single::new(Owner::Group(1), "");
    single.lead(2, 1);
    let (reply, got) = oneshot::channel();
    single.ask(ShardInput::Get(QUEUE, false, reply));
    drop(got);
    single.round(0);
    let forward = single.forwards(2).remove(0);
    let record = batch(0..1, true).records;
    let message = GetReply::Message { seq: 44, record, redelivered: false, returns: 0, ready: 0 };
    single.answer(&forward, vec![Answer::Reply(1, Reply::Get(Some(message)))]);
    single.round(0);
    let Request::Settle { how, .. } = single.forwards(2)[0].items[0].request.clone() else { panic!() };
    assert_eq!(how, Settle::Requeue);
}

#[test]
fn a_consumer_comes_back_with_the_window_that_is_left() {
    let mut single = Single::new(Owner::Group(1), "");
    single.lead(2, 1);
    let (reply, _answer) = oneshot::channel();
    let spec = consumer_spec(8);
    let shared = Arc::clone(&spec.shared);
    single.ask(ShardInput::Consume(QUEUE, Box::new(spec), Arc::clone(&single.client), reply));
    single.round(0);
    let forward = single.forwards(2).remove(0);
    let data = batch(0..3, true).records;
    let length = data.len() / 3;
    let entry = |at: usize| Entry {
        seq: at as u64,
        offset: u32::try_from(at * length).unwrap(),
        redelivered: false,
        returns: 0,
    };
    let delivery = Delivery { consumer: 8, data, entries: (0..3).map(entry).collect() };
    single.answer(
        &forward,
        vec![Answer::Reply(1, Reply::Consume(Ok(()))), Answer::Done(1, 1), Answer::Deliver(delivery)],
    );
    single.ask(ShardInput::Command(QUEUE, Command::Credit(8, length as u64)));
    single.round(0);
    single.forwards(2);
    single.lead(3, 2);
    single.round(0);
    let Request::Consume(consumer) = single.forwards(3)[0].items.last().unwrap().request.clone() else {
        panic!()
    };
    assert!(consumer.is_back && consumer.was_served);
    assert_eq!(consumer.window_bytes, (1 << 20) - 2 * length as u64);
    // What is out counts for the channel as well.
    shared.set_limit(3);
    assert!(!shared.has_room());
}

#[test]
fn publishers_wait_while_too_much_is_not_done_or_the_owner_says_so() {
    let mut single = Single::new(Owner::Group(1), "");
    single.gateway.bytes_max = 1000;
    single.lead(2, 1);
    single.publish(0..40);
    single.round(0);
    assert!(!single.queues.has_room());
    let forward = single.forwards(2).remove(0);
    single.answer(&forward, vec![Answer::Done(1, 1)]);
    single.round(0);
    assert!(single.queues.has_room());
    single.answer(&forward, vec![Answer::Room(false)]);
    single.round(0);
    assert!(!single.queues.has_room());
    single.answer(&forward, vec![Answer::Room(true)]);
    single.round(0);
    assert!(single.queues.has_room());
}

#[test]
fn what_cannot_be_asked_elsewhere_is_answered() {
    let mut single = Single::new(Owner::Group(1), "");
    let confirm = Confirm { channel: 1, epoch: 1, ranges: vec![(7, 1)] };
    let publisher = Some(Publisher { client: Arc::clone(&single.client), confirm });
    let offer = Offer { id: None, until_ms: 0, ways: Vec::new(), publisher, returned_to: None };
    single.ask(ShardInput::Offer(QUEUE, Box::new(offer)));
    let reserve = Reserve { transaction: 3, part: 1, publishes: Vec::new(), settled: Vec::new() };
    single.ask(ShardInput::Reserve(Box::new(reserve)));
    let (reply, mut reconfigured) = oneshot::channel();
    single.ask(ShardInput::Reconfigured(reply));
    let (reply, mut checkpoint) = oneshot::channel();
    single.ask(ShardInput::Checkpoint(reply));
    single.round(0);
    assert_eq!(confirms(&single.client), [(vec![(7, 1)], false)]);
    assert!(matches!(reconfigured.try_recv(), Ok(())));
    assert!(matches!(checkpoint.try_recv(), Err(TryRecvError::Closed)));
    let mut told = Vec::new();
    single.shared.transactions.take(&mut told);
    assert!(matches!(told.as_slice(), [TransactionInput::Reserved(3, 1, Err(_))]));
}

fn commit(single: &Single) -> oneshot::Receiver<Result<(), crate::protocol::error::Refusal>> {
    let (reply, answer) = oneshot::channel();
    let commands = vec![(QUEUE, Command::Enqueue(batch(0..2, true))), (QUEUE, Command::Ack(8, vec![(5, 1)]))];
    single.ask(ShardInput::Apply(commands, Some(Arc::new(CommitAnswer::new(reply)))));
    answer
}

#[test]
fn a_commit_waits_until_all_of_it_is_safe() {
    let mut single = Single::new(Owner::Group(1), "");
    single.lead(2, 1);
    let mut answer = commit(&single);
    single.round(0);
    let forward = single.forwards(2).remove(0);
    single.answer(&forward, vec![Answer::Done(2, 2)]);
    single.round(0);
    assert!(matches!(answer.try_recv(), Err(TryRecvError::Empty)));
    single.answer(&forward, vec![Answer::Done(1, 1)]);
    single.round(0);
    assert!(matches!(answer.try_recv(), Ok(Ok(()))));
}

#[test]
fn a_commit_is_refused_when_a_part_of_it_is() {
    let mut single = Single::new(Owner::Group(1), "");
    single.lead(2, 1);
    let mut answer = commit(&single);
    single.round(0);
    let forward = single.forwards(2).remove(0);
    single.answer(&forward, vec![Answer::Refused(1, vec![(1, 1)]), Answer::Done(1, 2)]);
    single.round(0);
    assert!(matches!(answer.try_recv(), Ok(Err(_))));
}

#[test]
fn a_commit_is_refused_when_there_is_no_majority_and_its_deliveries_go_back() {
    let mut single = Single::new(Owner::Group(1), "patience_ms = 100");
    let mut answer = commit(&single);
    single.round(0);
    single.round(400);
    assert!(matches!(answer.try_recv(), Ok(Err(_))));
    single.lead(2, 1);
    single.round(0);
    let forward = single.forwards(2).remove(0);
    let settled = forward.items.iter().filter_map(|item| match &item.request {
        Request::Settle { how, ranges, .. } => Some((*how, ranges.clone())),
        Request::Publish { .. } => panic!("nothing is published"),
        _ => None,
    });
    assert_eq!(settled.collect::<Vec<_>>(), [(Settle::Fail, vec![(5, 1)])]);
}

/// A consumer that its owner has taken, with a message that was sent before the owner hears of its end.
fn ends_with_one_under_way(single: &mut Single, end: ShardInput) {
    single.lead(2, 1);
    let (reply, _answer) = oneshot::channel();
    let spec = Box::new(consumer_spec(8));
    single.ask(ShardInput::Consume(QUEUE, spec, Arc::clone(&single.client), reply));
    single.round(0);
    let forward = single.forwards(2).remove(0);
    single.answer(&forward, vec![Answer::Reply(1, Reply::Consume(Ok(()))), Answer::Done(1, 1)]);
    single.round(0);
    single.ask(end);
    single.round(0);
    let entries = vec![Entry { seq: 44, offset: 0, redelivered: false, returns: 0 }];
    let delivery = Delivery { consumer: 8, data: batch(0..1, true).records, entries };
    let forward = single.forwards(2).remove(0);
    assert!(matches!(forward.items[0].request, Request::Cancel(8)));
    let end = vec![Answer::Deliver(delivery), Answer::Reply(2, Reply::Unit), Answer::Done(2, 2)];
    single.answer(&forward, end);
    single.round(0);
}

#[test]
fn what_is_under_way_to_a_consumer_that_ends_reaches_its_client() {
    let mut single = Single::new(Owner::Group(1), "");
    let (reply, mut ended) = oneshot::channel();
    ends_with_one_under_way(&mut single, ShardInput::Cancel(QUEUE, 8, reply));
    assert!(ended.try_recv().is_ok());
    let mut told = Vec::new();
    single.client.mailbox.take(&mut told);
    assert!(matches!(&told[..], [ClientInput::Deliver(delivery)] if delivery.entries[0].seq == 44));
}

#[test]
fn what_is_under_way_to_a_client_that_is_gone_goes_back() {
    let mut single = Single::new(Owner::Group(1), "");
    ends_with_one_under_way(&mut single, ShardInput::Command(QUEUE, Command::Cancel(8)));
    let Request::Settle { consumer, how, ranges } = single.forwards(2)[0].items[0].request.clone() else {
        panic!()
    };
    assert_eq!((consumer, how, ranges), (8, Settle::Requeue, vec![(44, 1)]));
    let mut told = Vec::new();
    single.client.mailbox.take(&mut told);
    assert!(told.is_empty());
}
