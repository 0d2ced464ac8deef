//! Delivery limits: counting what comes back, and giving up.

use super::world::{Event, State, Verdict, World, message};
use super::{Options, plain, world};
use crate::broker::batch::Message;
use crate::broker::queue::{Command, Counts, DeathReason, Effect, Entry, GETTER, GetReply, Queue};

fn limited(limit: u64) -> Options {
    Options { durable: true, delivery_limit: Some(limit), ..Options::default() }
}

fn dead_lettering(limit: u64) -> Options {
    Options { dead_letters: true, ..limited(limit) }
}

/// Gets a message and gives it back; tells how often it had come back before.
fn bounce(queue: &mut World) -> u32 {
    let GetReply::Message { seq, returns, .. } = queue.get() else { panic!("nothing is ready") };
    queue.settle(Verdict::Requeue, GETTER, &[seq]);
    returns
}

#[test]
fn a_message_may_come_back_as_often_as_the_limit_says() {
    let mut queue = world(limited(2));
    queue.put(&[1]);
    assert_eq!([bounce(&mut queue), bounce(&mut queue), bounce(&mut queue)], [0, 1, 2]);
    assert_eq!((queue.seqs(State::Settled), queue.queue.counts()), (vec![0], Counts::default()));
    assert!(queue.letters.is_empty());
    let returns = |count| Event::Returns(vec![(0, 1, count)]);
    let expected = [returns(1), returns(2), Event::Settle(vec![(0, 1)])];
    assert_eq!(format!("{:?}", &queue.events[1..]), format!("{expected:?}"));
}

#[test]
fn once_too_often_is_a_death() {
    let mut queue = world(dead_lettering(0));
    queue.put(&[1, 2]);
    queue.consume(7, |_| {});
    queue.settle(Verdict::Requeue, 7, &[0, 1]);
    assert_eq!(queue.letters, [(0, DeathReason::DeliveryLimit), (1, DeathReason::DeliveryLimit)]);
    assert_eq!(queue.queue.counts(), Counts { consumers: 1, ..Counts::default() });
    queue.letters_arrive(2);
    assert_eq!(queue.seqs(State::Settled), [0, 1]);
}

#[test]
fn a_death_may_have_to_be_read_first() {
    let mut queue = world(dead_lettering(0));
    queue.put_segments(&[0, 1, 2, 3, 4, 5]);
    queue.get();
    queue.spill(usize::MAX);
    queue.stored(usize::MAX);
    queue.settle(Verdict::Requeue, GETTER, &[0]);
    queue.load_all();
    assert_eq!(queue.letters, [(0, DeathReason::DeliveryLimit)]);
    queue.drain();
}

#[test]
fn consumers_are_told_and_their_prefetch_is_free_again() {
    let mut queue = world(limited(1));
    queue.put(&[1, 2]);
    queue.consume(7, |spec| spec.prefetch = 1);
    queue.settle(Verdict::Requeue, 7, &[0]);
    queue.settle(Verdict::Requeue, 7, &[0]);
    assert_eq!(queue.moved, [1], "the next one takes its place");
    queue.settle(Verdict::Ack, 7, &[1]);
    assert_eq!(queue.seqs(State::Settled), [0, 1]);
}

#[test]
fn without_a_limit_nothing_is_counted_and_with_the_largest_all_is() {
    let mut queue = plain();
    queue.put(&[1]);
    assert_eq!([bounce(&mut queue), bounce(&mut queue)], [0, 0]);
    let mut queue = world(limited(u64::MAX));
    queue.put(&[1]);
    (0..100).for_each(|count| assert_eq!(bounce(&mut queue), count));
}

#[test]
fn returns_are_logged_in_runs_and_only_of_what_must_survive() {
    let mut queue = world(limited(5));
    queue.publish(&[Message { persistent: false, ..message(b"t", 1000) }]);
    bounce(&mut queue);
    assert!(queue.events.is_empty(), "transient messages leave no trace");
    queue.get();
    queue.settle(Verdict::Ack, GETTER, &[0]);
    queue.put(&[1, 2, 3, 4, 5]);
    queue.consume(7, |_| {});
    queue.cancel(7);
    queue.settle(Verdict::Requeue, 7, &[1, 2, 4]);
    assert!(
        matches!(queue.events.last(), Some(Event::Returns(runs)) if *runs == [(1, 2, 1), (4, 1, 1)]),
        "{:?}",
        queue.events
    );
}

#[test]
fn an_entry_is_as_small_as_it_was() {
    assert_eq!(size_of::<Entry>(), 16);
}

#[test]
fn a_checkpoint_notes_what_came_back_since_the_last() {
    let mut queue = world(limited(5));
    queue.put(&[1, 2]);
    queue.checkpoint(0);
    assert_eq!(queue.cold[&0].descriptor[0], 2, "an earlier version can read it");
    queue.stored(usize::MAX);
    bounce(&mut queue);
    assert!(queue.queue.needs_checkpoint());
    queue.checkpoint(0);
    let descriptor = queue.cold[&0].descriptor.clone();
    assert_eq!(descriptor[0], 3);

    let mut again = Queue::default();
    for cut in 0..descriptor.len() {
        assert_eq!(again.restore_chunk(0, &descriptor[..cut]), None);
    }
    again.restore_chunk(0, &descriptor).unwrap();
    // The log may tell less than the chunk, or more; and of messages that are no more.
    again.replay_returns(&[(0, 1, 1), (1, u64::MAX, 3)]);
    again.replay_settle(&[(1, 1)]);
    again.replay_returns(&[(1, 1, 4)]);
    again.set_options(limited(5));
    again.recovered(None, None, 2000);
    assert_eq!((again.messages.returns(0), again.messages.returns(1)), (1, 0));
    let mut effects = Vec::new();
    again.apply(Command::Get { no_ack: false }, 2000, &mut effects);
    assert_eq!(effects, [Effect::Load(0)]);
}
