//! What becomes of deliveries; purges; dead letters; memory.

use super::world::{Event, State, Verdict, message};
use super::{Options, bodies, dead_lettering, plain, world};
use crate::broker::batch::Message;
use crate::broker::queue::{Command, Counts, DeathReason, GETTER};

#[test]
fn purge_takes_what_is_ready_and_leaves_the_rest() {
    let mut queue = dead_lettering();
    queue.put(&[1, 2, 3, 4]);
    queue.put_expiring(5, 10);
    queue.put(&[6]);
    queue.consume(7, |spec| spec.prefetch = 3);
    queue.cancel(7);
    queue.settle(Verdict::Reject, 7, &[0]);
    queue.settle(Verdict::Requeue, 7, &[1]);
    queue.pass(10);
    assert_eq!(queue.letters, [(0, DeathReason::Rejected), (4, DeathReason::Expired)]);
    assert_eq!(queue.queue.counts(), Counts { ready: 3, delayed: 0, unacked: 1, consumers: 0 });
    queue.purge();
    assert_eq!(queue.queue.counts(), Counts { ready: 0, delayed: 0, unacked: 1, consumers: 0 });
    assert_eq!(queue.seqs(State::Taken), [0, 4]);
    queue.put(&[7]);
    queue.letters_arrive(2);
    queue.settle(Verdict::Requeue, 7, &[2]);
    queue.consume(8, |_| {});
    assert_eq!(bodies(&queue.take_delivered()[3..]), [3, 7]);
}

#[test]
fn a_rejected_message_without_dead_letters_is_gone() {
    let mut queue = plain();
    queue.put(&[1, 2]);
    queue.consume(7, |spec| spec.prefetch = 1);
    queue.settle(Verdict::Reject, 7, &[0]);
    assert_eq!(queue.seqs(State::Settled), [0]);
    assert_eq!(bodies(&queue.take_delivered()), [1, 2]);
    assert!(queue.letters.is_empty());
}

#[test]
fn a_dead_letter_stays_until_its_targets_have_it() {
    let mut queue = dead_lettering();
    queue.options.durable = true;
    queue.queue.set_options(queue.options.clone());
    queue.put(&[1]);
    queue.get();
    queue.settle(Verdict::Reject, GETTER, &[0]);
    assert_eq!(queue.letters, [(0, DeathReason::Rejected)]);
    assert_eq!(queue.queue.counts(), Counts::default());
    assert!(matches!(queue.events[..], [Event::Enqueue(..)]), "nothing is settled yet");
    queue.letters_arrive(1);
    assert!(matches!(&queue.events[..], [Event::Enqueue(..), Event::Settle(ranges)] if *ranges == [(0, 1)]));
    queue.apply(Command::DeadLettered(0));
}

#[test]
fn settling_what_is_not_held_changes_nothing() {
    let mut queue = dead_lettering();
    queue.put(&[1, 2, 3, 4, 5]);
    queue.consume(7, |spec| spec.prefetch = 3);
    queue.cancel(7);
    queue.settle(Verdict::Requeue, 7, &[0]);
    queue.settle(Verdict::Reject, 7, &[1]);
    for ranges in [vec![(0, 2)], vec![(3, u64::MAX)], vec![(3, 2)], vec![(u64::MAX, 5)]] {
        queue.apply(Command::Ack(7, ranges.clone()));
        queue.apply(Command::Requeue(7, ranges.clone()));
        queue.apply(Command::Reject(7, ranges));
    }
    assert_eq!(queue.queue.counts(), Counts { ready: 3, delayed: 0, unacked: 1, consumers: 0 });
    queue.model.get_mut(&2).unwrap().state = State::Settled;
    queue.apply(Command::Ack(7, vec![(0, 9)]));
    assert_eq!(queue.queue.counts(), Counts { ready: 3, delayed: 0, unacked: 0, consumers: 0 });
}

#[test]
fn only_a_durable_queue_logs_and_only_what_must_survive() {
    let mut queue = plain();
    queue.put(&[1]);
    queue.get();
    queue.settle(Verdict::Ack, GETTER, &[0]);
    assert!(queue.events.is_empty());
    let mut queue = world(Options { durable: true, ..Options::default() });
    queue.publish(&[Message { persistent: false, ..message(b"a", 1000) }]);
    queue.get();
    queue.settle(Verdict::Ack, GETTER, &[0]);
    assert!(queue.events.is_empty(), "transient messages leave no trace");
    queue.put(&[1]);
    queue.get();
    queue.settle(Verdict::Ack, GETTER, &[1]);
    assert!(
        matches!(&queue.events[..], [Event::Enqueue(1, _), Event::Settle(ranges)] if *ranges == [(1, 1)])
    );
}

#[test]
fn one_old_message_does_not_pin_a_segment() {
    let mut queue = plain();
    let body = [9; 1000];
    let messages: Vec<_> = (0..100).map(|_| message(&body, 1000)).collect();
    queue.publish(&messages);
    let before = queue.queue.hot_bytes();
    queue.consume(7, |_| {});
    queue.settle(Verdict::Ack, 7, &(1..99).collect::<Vec<_>>());
    assert!(queue.queue.hot_bytes() < before / 10, "{} of {before}", queue.queue.hot_bytes());
    queue.settle(Verdict::Requeue, 7, &[0, 99]);
    queue.settle(Verdict::Ack, 7, &[99, 0]);
    assert_eq!(queue.queue.hot_bytes(), 0);
}

#[test]
fn an_old_message_in_a_growing_segment_does_not_pin_it() {
    let mut queue = plain();
    let body = [9; 3000];
    queue.consume(7, |spec| spec.window_bytes = 1);
    queue.put(&[1]);
    for _ in 0..20 {
        queue.publish(&[message(&body, 1000); 4]);
    }
    queue.apply(Command::Credit(7, 1 << 40));
    queue.settle(Verdict::Ack, 7, &(1..81).collect::<Vec<_>>());
    queue.put_segments(&[2]);
    assert!(queue.queue.hot_bytes() < 20 * 1024, "{}", queue.queue.hot_bytes());
    queue.settle(Verdict::Requeue, 7, &[0]);
}

#[test]
fn an_idle_queue_keeps_little_memory() {
    let mut queue = plain();
    let body = [9; 1000];
    for _ in 0..100 {
        queue.publish(&[message(&body, 1000)]);
    }
    queue.purge();
    assert!(queue.queue.hot_bytes() <= 8 * 1024, "{}", queue.queue.hot_bytes());
    queue.put(&[1]);
    queue.consume(7, |_| {});
    assert_eq!(bodies(&queue.take_delivered()), [1]);
}
