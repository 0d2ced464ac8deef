//! Sessions of other nodes, with mailboxes in place of shards.

use std::sync::Arc;

use super::Serving;
use crate::broker::ids::QueueId;
use crate::broker::queue::{Command, Counts, Delivery, Entry};
use crate::node::cluster::forward::{Answer, Consumer, Forward, Item, Owner, Reply, Request};
use crate::node::cluster::handle::ServingInput;
use crate::node::cluster::peer::LinkState;
use crate::node::links::{ClientInput, ClientLink, ShardInput, Waiter};
use crate::node::shared::Shared;
use crate::node::tasks::gateway::tests::world::{FakePeers, QUEUE, batch, shared};

struct World {
    shared: Arc<Shared>,
    peers: Arc<FakePeers>,
    serving: Serving,
}

impl World {
    fn new() -> Self {
        let (shared, peers) = shared(1, "");
        let serving = Serving::new(&shared).unwrap();
        Self { shared, peers, serving }
    }

    fn forward(&mut self, first: u64, meta_index: u64, requests: Vec<Request>) {
        let items = requests.into_iter().map(|request| Item { queue: QUEUE, request }).collect();
        let (session, from, owner) = (70, 2, Owner::Node(1));
        let forward = Forward {
            session,
            from,
            owner,
            attempt: 1,
            answered: 1,
            meta_index,
            first,
            back_below: 0,
            items,
        };
        self.tell(ServingInput::Forward(forward));
    }

    fn tell(&mut self, input: ServingInput) {
        self.shared.cluster.as_ref().unwrap().serving.push(input);
        self.serving.round(5);
    }

    fn shard(&self) -> Vec<ShardInput> {
        let mut inputs = Vec::new();
        self.shared.own_shards()[0].take(&mut inputs);
        inputs
    }

    fn answers(&mut self) -> Vec<Answer> {
        self.serving.round(6);
        let told = std::mem::take(&mut *self.peers.told.lock().unwrap());
        assert!(told.iter().all(|(node, answers)| (*node, answers.session) == (2, 70)));
        let all = told.into_iter().flat_map(|(_, answers)| answers.answers);
        all.filter(|answer| !matches!(answer, Answer::Room(true))).collect()
    }

    /// A consumer that was taken; gives the session as the shard knows it.
    fn consume(&mut self) -> Arc<ClientLink> {
        let consumer = Consumer {
            id: 8,
            no_ack: false,
            exclusive: false,
            prefetch: 0,
            priority: 0,
            window_bytes: 1000,
            is_back: false,
            was_served: false,
        };
        self.forward(1, 0, vec![Request::Consume(consumer)]);
        let Some(ShardInput::Consume(_, _, link, reply)) = self.shard().pop() else { panic!() };
        reply.send(Ok(())).unwrap();
        let answers = self.answers();
        assert!(matches!(answers.as_slice(), [Answer::Reply(1, Reply::Consume(Ok(()))), Answer::Done(1, 1)]));
        link
    }
}

fn deliver(link: &ClientLink, seqs: std::ops::Range<u64>) {
    let entry = |seq| Entry { seq, offset: 0, redelivered: false, returns: 0 };
    let data = batch(0..1, true).records;
    let delivery = Delivery { consumer: 8, data, entries: seqs.map(entry).collect() };
    link.mailbox.push(ClientInput::Deliver(delivery));
}

#[test]
fn a_question_waits_for_the_declarations_that_its_asker_knows() {
    let mut world = World::new();
    world.forward(1, 7, vec![Request::Stat]);
    assert!(world.shard().is_empty());
    world.shared.cluster.as_ref().unwrap().set_meta_index(7);
    world.tell(ServingInput::MetaApplied);
    let Some(ShardInput::Stat(QUEUE, reply)) = world.shard().pop() else { panic!() };
    assert!(world.answers().is_empty());
    reply.send(Some(Counts { ready: 3, ..Counts::default() })).unwrap();
    assert!(world.serving.wants_round());
    let answers = world.answers();
    assert!(
        matches!(&answers[..], [Answer::Reply(1, Reply::Stat(Some(counts))), Answer::Done(1, 1)] if counts.ready == 3)
    );
}

#[test]
fn publishes_are_done_when_the_shard_says_so_and_those_refused_are_told_by_place() {
    let mut world = World::new();
    let publish = |ids| Request::Publish { batch: batch(ids, true), letters: false };
    world.forward(1, 0, vec![publish(0..2), publish(2..6)]);
    let mut inputs = world.shard().into_iter();
    let mut waiter = || match inputs.next() {
        Some(ShardInput::Publish(_, _, Waiter::Publisher(client, confirm))) => (client, confirm),
        other => panic!("{other:?}"),
    };
    let ((client, first), (_, second)) = (waiter(), waiter());
    let (taken, nacked) = second.part(4, &[(1, 2)]);
    client.mailbox.push(ClientInput::Confirmed(nacked, false));
    assert!(world.answers().is_empty(), "some of its messages are not safe yet");
    client.mailbox.push(ClientInput::Confirmed(taken, true));
    let answers = world.answers();
    assert!(
        matches!(&answers[..], [Answer::Refused(2, places), Answer::Done(2, 2)] if *places == [(1, 2)]),
        "{answers:?}"
    );
    client.mailbox.push(ClientInput::Confirmed(first, true));
    assert!(matches!(world.answers()[..], [Answer::Done(1, 1)]));
}

#[test]
fn a_letter_that_waits_for_other_queues_holds_nothing_up() {
    let mut world = World::new();
    let publish = |letters| Request::Publish { batch: batch(0..1, true), letters };
    world.forward(1, 0, vec![publish(true), publish(false)]);
    let mut inputs = world.shard();
    let Some(ShardInput::Publish(_, _, Waiter::Publisher(client, confirm))) = inputs.pop() else { panic!() };
    let Some(ShardInput::Publish(_, _, Waiter::DeadLetters(tickets))) = inputs.pop() else { panic!() };
    client.mailbox.push(ClientInput::Confirmed(confirm, true));
    assert!(matches!(world.answers()[..], [Answer::Done(2, 2)]));
    tickets.iter().flatten().for_each(|ticket| ticket.done());
    assert!(matches!(world.answers()[..], [Answer::Done(1, 1)]));
}

#[test]
fn numbers_that_are_known_are_not_carried_out_again() {
    let mut world = World::new();
    let publish = || Request::Publish { batch: batch(0..1, true), letters: false };
    world.forward(1, 0, vec![publish()]);
    assert_eq!(world.shard().len(), 1);
    world.forward(1, 0, vec![publish(), publish()]);
    assert_eq!(world.shard().len(), 1);
    // A number is missing: nothing behind it is carried out.
    world.forward(4, 0, vec![publish()]);
    assert!(world.shard().is_empty());
    assert!(matches!(world.answers()[..], [Answer::Expects(3)]));
}

#[test]
fn what_a_node_held_comes_back_when_it_goes_away_and_only_then_others_take_over() {
    let mut world = World::new();
    let link = world.consume();
    deliver(&link, 10..14);
    assert!(matches!(world.answers()[..], [Answer::Deliver(_)]));
    let settled = Request::Settle {
        consumer: 8,
        how: crate::node::cluster::forward::Settle::Ack,
        ranges: vec![(11, 1)],
    };
    world.forward(2, 0, vec![settled, Request::Get { no_ack: false }]);
    let Some(ShardInput::Get(_, false, got)) = world.shard().pop() else { panic!() };
    assert!(matches!(world.answers()[..], [Answer::Done(2, 2)]));
    world.tell(ServingInput::Link(2, LinkState::Down));
    let inputs = world.shard();
    let [ShardInput::Suspend(QUEUE, 8, _)] = inputs.as_slice() else { panic!("{inputs:?}") };
    // On its way when the link broke.
    deliver(&link, 14..15);
    let Some(ShardInput::Suspend(_, _, reply)) = inputs.into_iter().next() else { panic!() };
    reply.send(()).unwrap();
    world.serving.round(7);
    let inputs = world.shard();
    let [ShardInput::Command(QUEUE, Command::Fail(8, ranges)), ShardInput::Cancel(QUEUE, 8, _)] =
        inputs.as_slice()
    else {
        panic!("{inputs:?}")
    };
    assert_eq!(ranges, &[(10, 1), (12, 3)]);
    // What a get was given that nobody waits for any more.
    let record = batch(0..1, true).records;
    let message =
        crate::broker::queue::GetReply::Message { seq: 20, record, redelivered: false, returns: 0, ready: 0 };
    got.send(Some(message)).unwrap();
    world.serving.round(8);
    let inputs = world.shard();
    assert!(
        matches!(inputs.as_slice(), [ShardInput::Command(QueueId(5), Command::Fail(0, ranges))] if ranges == &[(20, 1)])
    );
    // A session that does not know yet that it ended is told.
    world.forward(4, 0, vec![Request::Stat]);
    assert!(matches!(world.answers()[..], [Answer::Expects(4)]));
}

#[test]
fn sessions_hear_when_shards_have_no_room() {
    let mut world = World::new();
    world.forward(1, 0, Vec::new());
    world.shared.own_shards()[0].set_paused(true);
    assert!(matches!(world.answers()[..], [Answer::Room(false)]));
    assert_eq!(world.serving.next_due_ms(), Some(6 + super::LOOK_AGAIN_MS));
    world.shared.own_shards()[0].set_paused(false);
    assert!(world.answers().is_empty());
    assert_eq!(world.serving.next_due_ms(), None);
}
