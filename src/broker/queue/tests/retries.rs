//! Delayed retry: messages that come back wait before they are delivered again.

use super::world::{Event, State, Verdict, World, message};
use super::{Options, world};
use crate::broker::arguments::{RetrySettings, RetryType};
use crate::broker::batch::Message;
use crate::broker::queue::{Counts, DeathReason, GETTER, GetReply, Queue};

fn retrying(kind: RetryType) -> Options {
    let settings =
        RetrySettings { kind: Some(kind), min_ms: Some(100), max_ms: Some(250), ..RetrySettings::default() };
    Options { durable: true, retry: settings.retry(), ..Options::default() }
}

/// Gets a message and returns it; gives the count that it came with.
fn bounce(queue: &mut World) -> u32 {
    let GetReply::Message { seq, returns, .. } = queue.get() else { panic!("nothing is ready") };
    queue.settle(Verdict::Fail, GETTER, &[seq]);
    returns
}

#[test]
fn a_message_waits_longer_each_time_it_comes_back() {
    let mut queue = world(retrying(RetryType::All));
    queue.put(&[1]);
    for (count, delay_ms) in [(0, 100), (1, 200), (2, 250), (3, 250)] {
        assert_eq!(bounce(&mut queue), count);
        assert_eq!(queue.queue.counts(), Counts { delayed: 1, ..Counts::default() });
        assert_eq!(queue.get(), GetReply::Empty);
        assert_eq!(queue.queue.next_due(), Some(queue.now_ms + delay_ms));
        queue.pass(delay_ms - 1);
        assert_eq!(queue.get(), GetReply::Empty);
        queue.pass(1);
        assert_eq!(queue.queue.counts(), Counts { ready: 1, ..Counts::default() });
    }
    let retries = queue.events.iter().filter_map(|event| match event {
        Event::Retries(runs) => Some(runs[0]),
        _ => None,
    });
    assert_eq!(retries.collect::<Vec<_>>(), [(0, 1, 1100), (0, 1, 1300), (0, 1, 1550), (0, 1, 1800)]);
}

#[test]
fn a_type_says_which_returns_wait() {
    for (kind, failed, returned) in
        [(RetryType::All, 1, 1), (RetryType::Failed, 1, 0), (RetryType::Returned, 0, 1)]
    {
        for (verdict, expected) in [(Verdict::Fail, failed), (Verdict::Requeue, returned)] {
            let mut queue = world(retrying(kind));
            queue.put(&[1]);
            queue.get();
            queue.settle(verdict, GETTER, &[0]);
            assert_eq!(queue.queue.counts().delayed, expected, "{kind:?} {verdict:?}");
        }
    }
}

#[test]
fn who_comes_back_is_in_front_of_what_came_later() {
    let mut queue = world(retrying(RetryType::All));
    queue.put(&[1, 2, 3, 4]);
    queue.consume(7, |spec| spec.prefetch = 2);
    queue.settle(Verdict::Requeue, 7, &[0]);
    assert_eq!(super::bodies(&queue.take_delivered()), [1, 2, 3], "others do not wait for it");
    queue.pass(100);
    queue.settle(Verdict::Ack, 7, &[1]);
    assert_eq!(super::bodies(&queue.take_delivered()), [1]);
}

#[test]
fn after_the_limit_it_does_not_wait() {
    let mut queue =
        world(Options { delivery_limit: Some(1), dead_letters: true, ..retrying(RetryType::All) });
    queue.put(&[1]);
    bounce(&mut queue);
    queue.pass(100);
    bounce(&mut queue);
    assert_eq!((queue.queue.counts().delayed, queue.letters.len()), (0, 1));
    assert_eq!(queue.letters[0].1, DeathReason::DeliveryLimit);
}

#[test]
fn a_time_to_live_that_ended_while_it_waited_acts_when_it_is_ready() {
    let mut queue = world(Options { dead_letters: true, ..retrying(RetryType::All) });
    queue.put_expiring(1, 50);
    bounce(&mut queue);
    queue.pass(99);
    assert!(queue.letters.is_empty());
    queue.consume(7, |_| {});
    queue.pass(1);
    assert_eq!(queue.letters, [(0, DeathReason::Expired)]);
    assert!(queue.take_delivered().is_empty());
}

#[test]
fn a_purge_takes_what_waits_and_a_length_limit_counts_it() {
    let mut queue = world(Options { max_length: Some(2), ..retrying(RetryType::All) });
    queue.put(&[1, 2]);
    bounce(&mut queue);
    queue.put(&[3]);
    assert_eq!(queue.seqs(State::Settled), [1], "what waits has a place");
    queue.purge();
    assert_eq!((queue.queue.counts(), queue.queue.next_due()), (Counts::default(), None));
    queue.pass(1000);
    assert_eq!(queue.queue.counts(), Counts::default());
}

#[test]
fn the_time_is_with_the_chunk() {
    let mut queue = world(retrying(RetryType::All));
    let body = [7; 9000];
    queue.publish(&[Message { ..message(&body, 1000) }; 3]);
    assert_eq!([bounce(&mut queue), bounce(&mut queue)], [0, 0]);
    queue.checkpoint(0);
    let (row, chunk) = (queue.queue.row(), queue.cold[&0].clone());
    for (now_ms, waiting) in [(1099, 2), (1100, 0)] {
        let mut again = Queue::default();
        again.restore_row(&row).unwrap();
        again.restore_chunk(0, &chunk.descriptor).unwrap();
        again.recovered(None, None, now_ms);
        assert_eq!(again.counts(), Counts { ready: 3 - waiting, delayed: waiting, ..Counts::default() });
    }
    for cut in 0..chunk.descriptor.len() {
        assert_eq!(Queue::default().restore_chunk(0, &chunk.descriptor[..cut]), None);
    }
}
