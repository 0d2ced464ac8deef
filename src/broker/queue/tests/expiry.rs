//! Messages that expire.

use super::world::{State, Verdict};
use super::{Options, bodies, dead_lettering, plain, world};
use crate::broker::queue::{DeathReason, GETTER, GetReply};

fn with_ttl(ttl_ms: u64) -> super::World {
    world(Options { message_ttl_ms: Some(ttl_ms), ..Options::default() })
}

#[test]
fn a_message_expires_behind_one_that_lives_longer() {
    let mut queue = plain();
    queue.put(&[1]);
    queue.put_expiring(2, 5000);
    queue.put_expiring(3, 50);
    assert_eq!(queue.queue.next_due(), Some(1050));
    queue.pass(49);
    assert_eq!(queue.queue.counts().ready, 3);
    queue.pass(1);
    assert_eq!(queue.seqs(State::Settled), [2]);
    assert_eq!(queue.queue.next_due(), Some(6000));
    queue.pass(5000);
    assert_eq!(queue.queue.next_due(), None);
    assert_eq!(queue.queue.counts().ready, 1);
}

#[test]
fn a_queue_time_to_live_holds_for_all() {
    let mut queue = with_ttl(100);
    queue.put(&[1, 2]);
    queue.pass(50);
    queue.put(&[3]);
    queue.put_expiring(4, 20);
    queue.put_expiring(5, 2000);
    queue.pass(20);
    assert_eq!(queue.seqs(State::Settled), [3]);
    queue.pass(30);
    assert_eq!(queue.queue.counts().ready, 4, "not before its time");
    queue.pass(1);
    assert_eq!(queue.seqs(State::Ready), [2, 4]);
    queue.pass(50);
    assert_eq!((queue.queue.counts().ready, queue.queue.next_due()), (0, None));
}

#[test]
fn an_unacknowledged_message_does_not_expire_until_it_comes_back() {
    for mut queue in [plain(), with_ttl(10)] {
        queue.put_expiring(1, 10);
        queue.put_expiring(2, 10);
        assert!(matches!(queue.get(), GetReply::Message { seq: 0, .. }));
        queue.pass(100);
        assert_eq!(queue.seqs(State::Held(GETTER)), [0]);
        queue.consume(7, |_| {});
        queue.settle(Verdict::Requeue, GETTER, &[0]);
        assert!(queue.take_delivered().is_empty(), "it went at once");
        assert_eq!(queue.seqs(State::Settled), [0, 1]);
    }
}

#[test]
fn a_requeued_message_expires_at_its_time() {
    let mut queue = plain();
    queue.put_expiring(1, 10);
    queue.get();
    queue.settle(Verdict::Requeue, GETTER, &[0]);
    assert_eq!(queue.queue.next_due(), Some(1010));
    queue.pass(10);
    assert_eq!(queue.seqs(State::Settled), [0]);
}

#[test]
fn a_delivered_message_leaves_no_due_time_behind() {
    let mut queue = plain();
    queue.put_expiring(1, 10_000);
    queue.get();
    assert_eq!(queue.queue.next_due(), None);
    queue.settle(Verdict::Ack, GETTER, &[0]);
    queue.consume(7, |_| {});
    queue.put_expiring(2, 10_000);
    assert_eq!((queue.queue.next_due(), queue.queue.due.len()), (None, 0));
}

#[test]
fn a_time_to_live_of_0_is_for_those_who_wait() {
    for of_queue in [true, false] {
        let mut queue = if of_queue { with_ttl(0) } else { plain() };
        let put = |queue: &mut super::World, body| {
            if of_queue { queue.put(&[body]) } else { queue.put_expiring(body, 0) }
        };
        put(&mut queue, 1);
        assert_eq!(queue.get(), GetReply::Empty);
        queue.consume(7, |spec| spec.prefetch = 1);
        put(&mut queue, 2);
        put(&mut queue, 3);
        assert_eq!(bodies(&queue.take_delivered()), [2]);
        assert_eq!((queue.queue.counts().ready, queue.queue.counts().unacked), (0, 1));
        queue.settle(Verdict::Requeue, 7, &[1]);
        assert!(queue.take_delivered().is_empty());
    }
}

#[test]
fn an_expired_message_is_dead_lettered_once() {
    let mut queue = dead_lettering();
    queue.put_expiring(1, 10);
    queue.put(&[2]);
    queue.pass(10);
    assert_eq!(queue.letters, [(0, DeathReason::Expired)]);
    queue.consume(7, |_| {});
    assert_eq!(bodies(&queue.take_delivered()), [2]);
    queue.pass(100);
    assert_eq!(queue.letters.len(), 1);
    queue.letters_arrive(1);
    assert_eq!(queue.seqs(State::Settled), [0]);
}

#[test]
fn dead_letters_in_the_middle_are_passed_over() {
    let mut queue = dead_lettering();
    queue.put(&[1]);
    queue.put_expiring(2, 10);
    queue.put(&[3]);
    queue.put_expiring(4, 10);
    queue.put_expiring(5, 10);
    queue.put(&[6]);
    queue.pass(10);
    queue.consume(7, |_| {});
    assert_eq!(bodies(&queue.take_delivered()), [1, 3, 6]);
    queue.settle(Verdict::Requeue, 7, &[0, 2, 5]);
    queue.letters_arrive(3);
    assert_eq!(bodies(&queue.take_delivered()), [1, 3, 6]);
}
