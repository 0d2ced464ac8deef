//! `x-expires` and auto-delete.

use super::world::Verdict;
use super::{Options, world};
use crate::broker::queue::{Command, Effect};

#[test]
fn an_unused_queue_expires() {
    let mut queue = world(Options { expires_ms: Some(100), ..Options::default() });
    queue.put(&[1, 2, 3]);
    assert_eq!(queue.queue.next_due(), Some(1100));
    queue.pass(60);
    queue.apply(Command::Touch);
    queue.pass(60);
    queue.get();
    queue.pass(99);
    assert!(queue.ends.is_empty());
    queue.pass(1);
    assert_eq!(queue.ends, [Effect::Expired]);
}

#[test]
fn a_consumer_keeps_a_queue_and_its_end_starts_the_time_anew() {
    let mut queue = world(Options { expires_ms: Some(100), ..Options::default() });
    queue.now_ms += 100;
    queue.consume(7, |_| {});
    queue.pass(1000);
    assert_eq!((queue.queue.next_due(), &queue.ends[..]), (None, &[][..]));
    queue.cancel(7);
    assert_eq!(queue.queue.next_due(), Some(2200));
    queue.pass(100);
    assert_eq!(queue.ends, [Effect::Expired]);
}

#[test]
fn auto_delete_goes_with_the_last_consumer_and_not_before_the_first() {
    let mut queue = world(Options { auto_delete: true, ..Options::default() });
    queue.put(&[1]);
    queue.get();
    queue.settle(Verdict::Ack, 0, &[0]);
    queue.consume(7, |_| {});
    queue.consume(8, |_| {});
    queue.cancel(7);
    queue.cancel(7);
    assert!(queue.ends.is_empty());
    queue.cancel(8);
    assert_eq!(queue.ends, [Effect::Unused]);
}

#[test]
fn auto_delete_waits_for_consumers_that_may_come_back_and_hears_of_those_that_ended_meanwhile() {
    let options = Options { auto_delete: true, durable: true, replicated: true, ..Options::default() };
    let mut queue = world(options.clone());
    queue.queue.await_consumers();
    queue.cancel(7);
    queue.consume(8, |spec| spec.is_back = true);
    queue.cancel(8);
    assert!(queue.ends.is_empty());
    queue.apply(Command::AreBack);
    assert_eq!(queue.ends, [Effect::Unused]);
    let mut queue = world(options.clone());
    queue.queue.await_consumers();
    queue.cancel(7);
    queue.consume(8, |spec| spec.is_back = true);
    queue.apply(Command::AreBack);
    assert!(queue.ends.is_empty());
    queue.cancel(8);
    assert_eq!(queue.ends, [Effect::Unused]);
    let mut queue = world(options);
    queue.queue.await_consumers();
    queue.apply(Command::AreBack);
    assert!(queue.ends.is_empty(), "it may never have had one");
}
