//! Priorities: one lane for each that is used.

use super::world::{State, Verdict, World, message};
use super::{Options, bodies, world};
use crate::broker::batch::Message;
use crate::broker::queue::lanes::priority_of;
use crate::broker::queue::{DeathReason, Effect, GETTER, GetReply, Queue};

const ALL: usize = usize::MAX;
const LARGE: usize = 17 * 1024;

fn by_priority(options: Options) -> World {
    world(Options { max_priority: Some(10), ..options })
}

/// Publishes one batch of messages with these priorities as bodies.
fn put(queue: &mut World, priorities: &[u8]) {
    let bodies: Vec<_> = priorities.iter().map(|priority| [*priority]).collect();
    let now_ms = queue.now_ms;
    let one = |body: &'_ [u8; 1]| body[0];
    let messages: Vec<_> =
        bodies.iter().map(|body| Message { priority: one(body), ..message(body, now_ms) }).collect();
    queue.publish(&messages);
}

/// Publishes messages of this size, each a segment.
fn put_large(queue: &mut World, priorities: &[u8]) {
    for priority in priorities {
        let (body, now_ms) = (vec![*priority; LARGE], queue.now_ms);
        queue.publish(&[Message { priority: *priority, ..message(&body, now_ms) }]);
    }
}

fn pull_all(queue: &mut World) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        queue.apply(super::Command::Get { no_ack: false });
        queue.load_all();
        match queue.got.pop() {
            Some(GetReply::Message { record, .. }) => {
                all.extend(crate::broker::batch::read(&record).unwrap().0.body.first());
            }
            _ => return all,
        }
    }
}

fn hot(queue: &World) -> Vec<u8> {
    let hot = queue.queue.messages.segments().filter(|segment| segment.is_hot());
    hot.map(|segment| priority_of(segment.first)).collect()
}

#[test]
fn the_highest_goes_first_and_equals_in_order() {
    let mut queue = by_priority(Options::default());
    put(&mut queue, &[1, 5, 0, 9, 5, 200, 10]);
    put(&mut queue, &[5, 9]);
    assert_eq!(pull_all(&mut queue), [200, 10, 9, 9, 5, 5, 5, 1, 0]);
}

#[test]
fn a_queue_of_level_0_alone_and_one_without_levels_keep_the_order() {
    for max_priority in [None, Some(0)] {
        let mut queue = world(Options { max_priority, ..Options::default() });
        put(&mut queue, &[1, 5, 0, 255]);
        assert_eq!(pull_all(&mut queue), [1, 5, 0, 255]);
    }
}

#[test]
fn what_comes_back_takes_its_place_by_priority_and_age() {
    let mut queue = by_priority(Options::default());
    put(&mut queue, &[3, 7, 3]);
    queue.consume(7, |spec| spec.prefetch = 2);
    assert_eq!(bodies(&queue.take_delivered()), [7, 3]);
    queue.cancel(7);
    put(&mut queue, &[9, 7, 1]);
    let held = queue.seqs(State::Held(7));
    queue.settle(Verdict::Requeue, 7, &held);
    assert_eq!(pull_all(&mut queue), [9, 7, 7, 3, 3, 1]);
    let redelivered: Vec<_> = queue.model.values().map(|told| told.was_delivered).collect();
    assert_eq!(redelivered, [true; 6]);
}

#[test]
fn a_consumer_that_holds_low_ones_is_not_pre_empted_and_gets_the_high_one_next() {
    let mut queue = by_priority(Options::default());
    queue.consume(7, |spec| spec.prefetch = 2);
    put(&mut queue, &[0, 0, 0]);
    put(&mut queue, &[10]);
    assert_eq!(bodies(&queue.take_delivered()), [0, 0]);
    let held = queue.seqs(State::Held(7));
    queue.settle(Verdict::Ack, 7, &held[..1]);
    assert_eq!(bodies(&queue.take_delivered()), [10]);
}

#[test]
fn a_limit_drops_what_would_be_delivered_next() {
    let mut queue = by_priority(Options { max_length: Some(3), dead_letters: true, ..Options::default() });
    put(&mut queue, &[0, 5, 5, 0]);
    assert_eq!(queue.letters.len(), 1);
    assert_eq!((priority_of(queue.letters[0].0), queue.letters[0].1), (5, DeathReason::MaxLength));
    put(&mut queue, &[9]);
    assert_eq!(priority_of(queue.letters[1].0), 9, "the new one itself");
    assert_eq!(pull_all(&mut queue), [5, 0, 0]);
}

#[test]
fn each_level_expires_at_its_time_wherever_it_stands() {
    let mut queue = by_priority(Options { message_ttl_ms: Some(100), ..Options::default() });
    put(&mut queue, &[0, 0]);
    queue.pass(60);
    put(&mut queue, &[9, 4]);
    queue.get();
    assert_eq!(queue.queue.next_due(), Some(1101));
    queue.pass(41);
    assert_eq!(queue.queue.counts().ready, 1, "the low ones have left behind the higher one");
    let held = queue.seqs(State::Held(GETTER));
    queue.settle(Verdict::Requeue, GETTER, &held);
    assert_eq!(queue.queue.next_due(), Some(1161));
    queue.pass(60);
    assert_eq!(queue.queue.counts().ready, 0);
}

#[test]
fn a_due_time_of_its_own_holds_in_each_level() {
    let mut queue = by_priority(Options { dead_letters: true, ..Options::default() });
    let due_ms = Some(1010);
    let low = Message { due_ms, ..message(&[0], 1000) };
    let high = Message { priority: 9, ..low };
    queue.publish(&[low, high, Message { due_ms: None, ..high }, Message { due_ms: None, ..low }]);
    queue.pass(10);
    let levels: Vec<_> = queue.letters.iter().map(|(seq, _)| priority_of(*seq)).collect();
    assert_eq!(levels, [9, 0]);
    assert_eq!(queue.queue.counts().ready, 2);
}

#[test]
fn the_lowest_and_newest_leave_memory_first_and_come_back_in_time() {
    let mut queue = by_priority(Options::default());
    put_large(&mut queue, &[5, 0, 0, 9, 5, 0]);
    queue.spill(2 * LARGE);
    queue.stored(ALL);
    assert_eq!(hot(&queue), [9, 5, 5, 0], "the newest of the lowest has left");
    queue.spill(ALL);
    queue.stored(ALL);
    assert_eq!(hot(&queue), [9, 5, 5], "what is next in turn stays");
    queue.consume(7, |spec| spec.prefetch = 1);
    assert_eq!(queue.loads.len(), 0);
    for _ in 0..5 {
        let held = queue.seqs(State::Held(7));
        queue.settle(Verdict::Ack, 7, &held);
        queue.load_all();
        assert!(hot(&queue).len() <= 4);
    }
    assert_eq!(bodies(&queue.take_delivered()), [9, 5, 5, 0, 0, 0]);
}

#[test]
fn a_time_to_live_reads_spilled_levels_when_their_time_comes_and_not_again_and_again() {
    let mut queue = by_priority(Options { message_ttl_ms: Some(100), ..Options::default() });
    let body = [0; LARGE / 2];
    queue.now_ms = 1050;
    queue.publish(&[message(&body, 1000), message(&body, 1010), message(&body, 1050)]);
    queue.get();
    put_large(&mut queue, &[9, 9, 9, 9]);
    queue.spill(ALL);
    queue.stored(ALL);
    assert_eq!(hot(&queue), [9, 9, 9]);
    queue.pass(52);
    assert_eq!(queue.loads.len(), 1, "what is held came at 1000, and hides how old the others are");
    queue.load_all();
    assert_eq!(queue.queue.next_due(), Some(1111), "the next is not due");
    queue.pass(9);
    assert_eq!(queue.queue.counts().ready, 5, "and has left");
    let held = queue.seqs(State::Held(GETTER));
    queue.settle(Verdict::Ack, GETTER, &held);
    queue.spill(ALL);
    assert_eq!((hot(&queue), queue.queue.next_due()), (vec![9, 9, 9], Some(1151)));
    queue.pass(40);
    queue.load_all();
    assert_eq!((queue.queue.counts().ready, queue.queue.next_due()), (0, None));
}

#[test]
fn a_new_high_one_passes_a_backlog_that_is_being_read() {
    let mut queue = by_priority(Options::default());
    put_large(&mut queue, &[0, 0, 0, 0, 0]);
    queue.spill_under(super::Pressure::High, ALL);
    queue.stored(ALL);
    assert!(hot(&queue).is_empty());
    queue.apply(super::Command::Get { no_ack: false });
    assert_eq!((queue.got.len(), queue.loads.len()), (0, 1));
    put(&mut queue, &[7]);
    assert!(matches!(queue.got.pop(), Some(GetReply::Message { seq, .. }) if priority_of(seq) == 7));
    queue.load_all();
    assert_eq!(pull_all(&mut queue), [0; 5]);
}

#[test]
fn what_grows_in_many_levels_can_leave_memory() {
    let mut queue = by_priority(Options::default());
    for _ in 0..5 {
        for priority in 0..=10 {
            let (body, now_ms) = (vec![priority; 4000], queue.now_ms);
            queue.publish(&[Message { priority, ..message(&body, now_ms) }]);
        }
    }
    queue.spill(ALL);
    queue.stored(ALL);
    assert!(queue.queue.hot_bytes() < 4 * 32 * 1024, "{}", queue.queue.hot_bytes());
    let expected: Vec<_> = (0..=10).rev().flat_map(|priority| [priority; 5]).collect();
    assert_eq!(pull_all(&mut queue), expected);
}

#[test]
fn a_purge_takes_all_levels_and_leaves_deliveries() {
    let mut queue = by_priority(Options::default());
    put(&mut queue, &[0, 9, 3, 9]);
    queue.get();
    queue.purge();
    assert_eq!((queue.queue.counts().ready, queue.queue.counts().unacked), (0, 1));
    put(&mut queue, &[3]);
    let held = queue.seqs(State::Held(GETTER));
    queue.settle(Verdict::Requeue, GETTER, &held);
    assert_eq!(pull_all(&mut queue), [9, 3]);
}

#[test]
fn a_batch_is_logged_once_for_each_level_in_it() {
    let options = Options { max_priority: Some(255), durable: true, ..Options::default() };
    let mut queue = Queue::new(options, 1000);
    let mut records = Vec::new();
    for priority in [4, 4, 200, 4, 200] {
        Message { priority, ..message(b"m", 1000) }.put(&mut records);
    }
    let mut effects = Vec::new();
    let batch = super::Batch::check(records.into()).unwrap();
    queue.apply(super::Command::Enqueue(batch), 1000, &mut effects);
    let logged = effects.iter().filter_map(|effect| match effect {
        Effect::LogEnqueue { first, count, .. } => Some((priority_of(*first), *count)),
        _ => None,
    });
    assert_eq!(logged.collect::<Vec<_>>(), [(4, 3), (200, 2)]);
}

#[test]
fn levels_cost_memory_only_while_they_are_used() {
    let unused = size_of::<Queue>();
    assert!(unused < 1250, "{unused} bytes without a single message");
    let mut queue = world(Options { max_priority: Some(255), ..Options::default() });
    assert_eq!((queue.queue.hot_bytes(), queue.queue.messages.lanes.count()), (0, 1));
    put(&mut queue, &(0..=255).collect::<Vec<_>>());
    assert_eq!(queue.queue.messages.lanes.count(), 256);
    let last = queue.queue.messages.lanes.next_seq(7);
    queue.consume(7, |spec| spec.no_ack = true);
    assert_eq!(queue.queue.messages.lanes.count(), 1);
    assert_eq!(queue.queue.messages.lanes.next_seq(7), last, "no number is given out twice");
}
