//! Who gets which message.

use super::world::{State, Verdict};
use super::{Options, bodies, plain, world};
use crate::broker::queue::{Command, Counts, Effect, GETTER, GetReply};
use std::sync::Arc;

#[test]
fn order_is_kept_with_and_without_a_waiting_consumer() {
    let mut queue = plain();
    queue.put(&[1, 2, 3]);
    queue.put(&[4]);
    queue.consume(7, |_| {});
    queue.put(&[5, 6]);
    queue.put(&[7]);
    assert_eq!(bodies(&queue.take_delivered()), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(queue.queue.counts(), Counts { ready: 0, delayed: 0, unacked: 7, consumers: 1 });
}

#[test]
fn requeued_messages_go_back_to_their_old_place() {
    let mut queue = plain();
    queue.put(&[1, 2, 3, 4]);
    queue.consume(7, |spec| spec.prefetch = 3);
    queue.settle(Verdict::Requeue, 7, &[1]);
    let delivered = queue.take_delivered();
    assert_eq!(bodies(&delivered), [1, 2, 3, 2]);
    assert_eq!(delivered.iter().map(|entry| entry.2).collect::<Vec<_>>(), [false, false, false, true]);
    queue.cancel(7);
    queue.settle(Verdict::Requeue, 7, &[2, 0, 1]);
    queue.consume(8, |_| {});
    let delivered = queue.take_delivered();
    assert_eq!(bodies(&delivered), [1, 2, 3, 4]);
    assert_eq!(delivered.iter().map(|entry| entry.2).collect::<Vec<_>>(), [true, true, true, false]);
}

#[test]
fn a_consumer_gets_no_more_than_its_prefetch() {
    let mut queue = plain();
    queue.consume(7, |spec| spec.prefetch = 2);
    queue.put(&[1, 2, 3, 4]);
    assert_eq!(bodies(&queue.take_delivered()), [1, 2]);
    queue.settle(Verdict::Ack, 7, &[1]);
    assert_eq!(bodies(&queue.take_delivered()), [3]);
    queue.settle(Verdict::Requeue, 7, &[0]);
    assert_eq!(bodies(&queue.take_delivered()), [1]);
}

#[test]
fn consumers_of_one_channel_are_served_in_the_order_of_the_queue() {
    let mut queue = plain();
    let shared = Arc::clone(&queue.shared);
    for id in [7, 8] {
        queue.consume(id, |spec| spec.shared = Arc::clone(&shared));
    }
    queue.put(&[1, 2, 3, 4, 5]);
    let delivered = queue.take_delivered();
    assert_eq!(bodies(&delivered), [1, 2, 3, 4, 5]);
    assert_eq!(delivered.iter().map(|entry| entry.0).collect::<Vec<_>>(), [7, 8, 7, 8, 7]);
    queue.cancel(7);
    queue.cancel(8);
    queue.consume(9, |_| {});
    queue.consume(10, |_| {});
    queue.put(&[6, 7, 8]);
    assert_eq!(bodies(&queue.take_delivered()), [6, 8, 7], "each on its own channel gets one batch");
}

#[test]
fn a_shared_prefetch_holds_for_all_consumers_of_a_channel() {
    let mut queue = plain();
    let shared = Arc::clone(&queue.shared);
    shared.set_limit(3);
    for id in [7, 8] {
        queue.consume(id, |spec| spec.shared = Arc::clone(&shared));
    }
    queue.put(&[1, 2, 3, 4, 5]);
    assert_eq!(queue.take_delivered().len(), 3);
    assert!(!shared.has_room());
    let held = queue.seqs(State::Held(8));
    queue.settle(Verdict::Ack, 8, &held);
    queue.apply(Command::Resume(7));
    assert_eq!(queue.take_delivered().len(), 1);
}

#[test]
fn a_full_shared_prefetch_does_not_hold_other_channels_back() {
    let mut queue = plain();
    let shared = Arc::clone(&queue.shared);
    shared.set_limit(1);
    queue.consume(7, |spec| spec.shared = Arc::clone(&shared));
    queue.consume(8, |_| {});
    assert!(shared.try_take(), "another queue of the channel uses it up");
    queue.put(&[1, 2, 3]);
    assert_eq!(queue.take_delivered().len(), 3);
    shared.give_back(1);
    queue.apply(Command::Resume(7));
    queue.put(&[4, 5]);
    assert!(queue.take_delivered().iter().any(|(consumer, ..)| *consumer == 7));
}

#[test]
fn equal_consumers_take_turns() {
    let mut queue = plain();
    for id in [7, 8, 9] {
        queue.consume(id, |_| {});
    }
    queue.put(&[1, 2, 3, 4, 5, 6, 7]);
    queue.put(&[8, 9]);
    let mut seen: Vec<_> = queue.take_delivered().into_iter().map(|(id, body, _)| (body[0], id)).collect();
    seen.sort_unstable();
    assert_eq!(seen.iter().map(|(_, id)| *id).collect::<Vec<_>>(), [7, 8, 9, 7, 8, 9, 7, 8, 9]);
}

#[test]
fn higher_priorities_are_served_while_they_can_take_more() {
    let mut queue = plain();
    queue.consume(7, |spec| spec.priority = -1);
    queue.consume(8, |spec| (spec.priority, spec.prefetch) = (10, 2));
    queue.put(&[1, 2, 3]);
    let delivered = queue.take_delivered();
    assert_eq!(delivered.iter().filter(|entry| entry.0 == 8).count(), 2);
    queue.settle(Verdict::Ack, 8, &[0]);
    queue.put(&[4, 5]);
    let delivered = queue.take_delivered();
    assert_eq!(delivered.iter().map(|entry| (entry.0, entry.1[0])).collect::<Vec<_>>(), [(8, 4), (7, 5)]);
}

#[test]
fn without_acknowledgement_a_delivered_message_is_gone() {
    let mut queue = world(Options { durable: true, ..Options::default() });
    queue.consume(7, |spec| (spec.no_ack, spec.prefetch) = (true, 1));
    queue.consume(8, |_| {});
    queue.put(&[1, 2, 3, 4]);
    assert_eq!(queue.queue.counts(), Counts { ready: 0, delayed: 0, unacked: 2, consumers: 2 });
    assert_eq!(queue.seqs(State::Settled), [0, 2]);
    queue.cancel(8);
    queue.settle(Verdict::Requeue, 8, &[1, 3]);
    assert_eq!(queue.queue.counts().unacked, 0);
    assert_eq!(
        queue.queue.hot_bytes(),
        queue.queue.messages.segments().map(|s| s.hot_bytes()).sum::<usize>()
    );
}

#[test]
fn a_full_window_waits_for_credit() {
    let mut queue = plain();
    queue.consume(7, |spec| (spec.no_ack, spec.window_bytes) = (true, 1));
    queue.put(&[1, 2]);
    assert_eq!(bodies(&queue.take_delivered()), [1]);
    queue.apply(Command::Credit(7, 27));
    assert_eq!(bodies(&queue.take_delivered()), [2]);
}

#[test]
fn exclusive_keeps_others_out() {
    let mut queue = plain();
    assert!(queue.queue.may_consume(true));
    queue.consume(7, |spec| spec.exclusive = true);
    assert!(!queue.queue.may_consume(false) && !queue.queue.may_consume(true));
    queue.cancel(7);
    assert!(queue.queue.may_consume(true));
    queue.consume(8, |_| {});
    assert!(queue.queue.may_consume(false) && !queue.queue.may_consume(true));
    assert!(!world(Options { single_active_consumer: true, ..Options::default() }).queue.may_consume(true));
}

#[test]
fn a_single_active_consumer_is_followed_by_the_highest_priority_then_the_oldest() {
    let mut queue = world(Options { single_active_consumer: true, ..Options::default() });
    for (id, priority) in [(7, 0), (8, 0), (9, 5), (10, 5)] {
        queue.consume(id, |spec| spec.priority = priority);
    }
    let mut order = Vec::new();
    for body in 0..4 {
        queue.put(&[body]);
        let active = queue.take_delivered()[0].0;
        order.push(active);
        queue.cancel(active);
    }
    assert_eq!(order, [7, 9, 10, 8]);
    assert_eq!(queue.queue.counts().unacked, 4);
}

#[test]
fn the_single_active_consumer_stays_the_active_one_whoever_comes_back_first() {
    let mut queue = world(Options { single_active_consumer: true, ..Options::default() });
    queue.queue.await_consumers();
    queue.consume(7, |spec| spec.is_back = true);
    queue.put(&[1]);
    assert!(queue.take_delivered().is_empty());
    queue.consume(8, |spec| (spec.is_back, spec.was_served) = (true, true));
    assert_eq!(queue.take_delivered()[0].0, 8);
    queue.apply(Command::AreBack);
    queue.put(&[2]);
    assert_eq!(queue.take_delivered()[0].0, 8);
}

#[test]
fn somebody_is_active_when_the_active_consumer_does_not_come_back() {
    let mut queue = world(Options { single_active_consumer: true, ..Options::default() });
    queue.queue.await_consumers();
    queue.consume(7, |spec| spec.is_back = true);
    queue.consume(8, |spec| spec.priority = 3);
    queue.put(&[1]);
    queue.cancel(9);
    assert!(queue.take_delivered().is_empty());
    queue.apply(Command::AreBack);
    assert_eq!(queue.take_delivered()[0].0, 8);
}

#[test]
fn a_single_active_consumer_with_a_full_prefetch_is_not_replaced() {
    let mut queue = world(Options { single_active_consumer: true, ..Options::default() });
    queue.consume(7, |spec| spec.prefetch = 1);
    queue.consume(8, |_| {});
    queue.put(&[1, 2]);
    assert_eq!(bodies(&queue.take_delivered()), [1]);
    queue.settle(Verdict::Ack, 7, &[0]);
    assert_eq!(queue.take_delivered()[0].0, 7);
}

#[test]
fn get_takes_one_message_and_counts_those_behind_it() {
    let mut queue = plain();
    assert_eq!(queue.get(), GetReply::Empty);
    queue.put(&[1, 2]);
    assert!(matches!(queue.get(), GetReply::Message { seq: 0, redelivered: false, ready: 1, .. }));
    queue.settle(Verdict::Requeue, GETTER, &[0]);
    assert!(matches!(queue.get(), GetReply::Message { seq: 0, redelivered: true, ready: 1, .. }));
    queue.model.get_mut(&1).unwrap().state = State::Settled;
    let mut effects = Vec::new();
    queue.queue.apply(Command::Get { no_ack: true }, 1000, &mut effects);
    assert!(matches!(effects[..], [Effect::Got(GetReply::Message { seq: 1, ready: 0, .. })]));
    queue.settle(Verdict::Ack, GETTER, &[0]);
    assert_eq!(queue.queue.counts(), Counts::default());
}

#[test]
fn ten_thousand_consumers_come_and_go() {
    let mut queue = super::Queue::new(Options::default(), 1);
    let mut effects = Vec::new();
    let mut specs = plain();
    specs.consume(1, |_| {});
    for id in 1..=10_000 {
        assert!(queue.may_consume(false));
        let spec = super::ConsumerSpec { id, ..specs.specs[&1].clone() };
        queue.apply(Command::Consume(spec), 1, &mut effects);
    }
    assert_eq!(queue.consumer_ids(), (1..=10_000).collect::<Vec<_>>());
    for id in (1..=10_000).rev() {
        queue.apply(Command::Cancel(id), 1, &mut effects);
    }
    assert_eq!((queue.counts(), effects), (Counts::default(), Vec::new()));
}

#[test]
fn a_channel_that_is_left_with_one_consumer_is_served_in_one_piece() {
    let mut queue = plain();
    queue.consume(1, |_| {});
    let shared = Arc::clone(&queue.specs[&1].shared);
    queue.consume(2, |_| {});
    queue.consume(3, |spec| spec.shared = shared);
    queue.cancel(3);
    queue.put(&[1, 2, 3, 4]);
    assert_eq!(
        bodies(&queue.take_delivered()),
        [1, 3, 2, 4],
        "each consumer gets all of its messages at once"
    );
}
