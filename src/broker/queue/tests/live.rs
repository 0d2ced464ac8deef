//! Options that change while a queue works, and work that is too much for one step.

use super::world::{State, Verdict, World};
use super::{Options, bodies, dead_lettering, plain, world};
use crate::broker::arguments::Overflow;
use crate::broker::queue::live::STEP_MESSAGES;
use crate::broker::queue::{Command, DeathReason, Effect, GetReply};

impl World {
    /// Lets the queue have its turn until it wants none. Gives how often that was.
    fn turn(&mut self) -> usize {
        let mut turns = 0;
        while self.queue.next_due().is_some_and(|due_ms| due_ms <= self.now_ms) {
            assert!(turns < 10_000, "it never rests");
            self.apply(Command::Tick);
            turns += 1;
        }
        turns
    }

    fn put_many(&mut self, count: u64) {
        for _ in 0..count {
            self.put(&[7]);
        }
    }
}

fn of_length(max: u64) -> Options {
    Options { max_length: Some(max), ..Options::default() }
}

fn of_bytes(max: u64) -> Options {
    Options { max_length_bytes: Some(max), ..Options::default() }
}

#[test]
fn a_lower_limit_drops_the_oldest_in_steps() {
    let mut queue = plain();
    queue.put_many(10 * STEP_MESSAGES);
    queue.change(of_length(3));
    assert_eq!(queue.seqs(State::Ready).len() as u64, 9 * STEP_MESSAGES, "one step, not more");
    assert!(queue.turn() >= 8);
    let end = 10 * STEP_MESSAGES;
    assert_eq!(queue.seqs(State::Ready), [end - 3, end - 2, end - 1]);
    queue.put(&[1]);
    assert_eq!(queue.seqs(State::Ready).len(), 3, "from now on the limit holds at once");
}

#[test]
fn publishers_do_not_outrun_a_lower_limit() {
    let mut queue = plain();
    queue.put_many(4 * STEP_MESSAGES);
    queue.change(of_length(1));
    for _ in 0..4 {
        queue.put(&[8; 20]);
    }
    assert_eq!((queue.seqs(State::Ready).len(), queue.turn()), (1, 0));
}

#[test]
fn without_its_limit_a_queue_grows_again() {
    let mut queue = world(of_length(2));
    queue.put(&[1, 2, 3]);
    queue.change(Options::default());
    queue.put(&[4, 5]);
    assert_eq!(queue.seqs(State::Ready), [1, 2, 3, 4]);
    queue.change(Options { overflow: Overflow::RejectPublish, ..of_length(2) });
    queue.put(&[6]);
    assert_eq!((queue.seqs(State::Ready).len(), queue.refused.len()), (4, 1), "what is there may stay");
}

#[test]
fn a_limit_of_bytes_counts_what_was_there_before() {
    let mut queue = plain();
    queue.put_many(5 * STEP_MESSAGES);
    queue.consume(1, |spec| spec.prefetch = 10);
    queue.change(of_bytes(5 * STEP_MESSAGES - 12));
    assert!(queue.turn() >= 4);
    assert_eq!(queue.ready(), (5 * STEP_MESSAGES - 12, 5 * STEP_MESSAGES - 12));
    queue.settle(Verdict::Requeue, 1, &[0]);
    assert_eq!(queue.ready().1, 5 * STEP_MESSAGES - 12, "it went out again, for room is there");
}

#[test]
fn only_what_can_stay_is_read_to_be_counted() {
    let mut queue = plain();
    queue.put_segments(&[1, 2, 3, 4, 5, 6, 7, 8]);
    queue.spill(usize::MAX);
    queue.stored(usize::MAX);
    let cold = queue.queue.messages.segments().filter(|segment| !segment.is_hot()).count();
    assert!(cold >= 4, "{cold}");
    queue.change(of_bytes(2 * 17 * 1024));
    let mut read = 0;
    while queue.load() {
        read += 1;
        queue.turn();
    }
    assert_eq!(queue.ready(), (2, 2 * 17 * 1024));
    assert!(read <= 3, "{read} chunks were read");
}

#[test]
fn what_was_counted_from_a_chunk_is_noted_for_a_restart() {
    let mut queue = world(Options { durable: true, ..Options::default() });
    queue.put_segments(&[1, 2, 3, 4, 5, 6, 7, 8]);
    queue.spill(usize::MAX);
    queue.stored(usize::MAX);
    queue.change(Options { durable: true, ..of_bytes(1 << 40) });
    while queue.load() {
        queue.turn();
    }
    assert!(!queue.queue.is_catching_up);
    queue.checkpoint(0);
    assert!(queue.queue.unmeasured().is_empty());
    for write in queue.cold.values() {
        let segment = super::super::segment::Segment::restore(write.first, &write.descriptor).unwrap();
        assert!(segment.is_measured());
    }
}

#[test]
fn many_that_are_due_at_once_expire_in_steps_and_none_is_delivered() {
    let mut queue = plain();
    for _ in 0..5 * STEP_MESSAGES {
        queue.put_expiring(7, 100);
    }
    queue.put(&[9]);
    queue.now_ms += 100;
    queue.consume(1, |_| {});
    assert!(queue.take_delivered().is_empty(), "those in front are due");
    assert!(queue.turn() >= 2);
    assert_eq!(bodies(&queue.take_delivered()), [9], "the one that lives");
}

#[test]
fn a_get_waits_until_what_is_due_is_gone() {
    let mut queue = plain();
    for _ in 0..3 * STEP_MESSAGES {
        queue.put_expiring(7, 100);
    }
    queue.now_ms += 100;
    queue.apply(Command::Get { no_ack: false });
    assert!(queue.got.is_empty());
    queue.turn();
    assert_eq!(queue.got, [GetReply::Empty]);
}

#[test]
fn a_shorter_time_to_live_holds_for_those_who_wait() {
    let mut queue = plain();
    queue.put_many(3 * STEP_MESSAGES);
    queue.pass(50);
    queue.put(&[1]);
    queue.change(Options { message_ttl_ms: Some(40), ..Options::default() });
    queue.turn();
    assert_eq!(queue.seqs(State::Ready), [3 * STEP_MESSAGES]);
    queue.change(Options::default());
    queue.pass(1000);
    assert_eq!(queue.seqs(State::Ready).len(), 1, "nothing expires without it");
}

#[test]
fn the_next_letters_wait_until_those_under_way_have_arrived() {
    let mut queue = dead_lettering();
    queue.put_many(200);
    queue.change(Options { dead_letters: true, ..of_length(0) });
    queue.turn();
    let under_way = queue.letters.len();
    assert!(under_way < 100, "{under_way} letters under way");
    while !queue.letters.is_empty() {
        queue.letters_arrive(1);
        queue.turn();
    }
    assert_eq!(queue.queue.messages.alive, 0);
}

#[test]
fn letters_are_wanted_only_from_those_who_die_later() {
    let mut queue = world(of_length(1));
    queue.put(&[1, 2]);
    queue.change(Options { dead_letters: true, ..of_length(1) });
    queue.put(&[3]);
    assert_eq!(queue.letters, [(1, DeathReason::MaxLength)]);
    queue.change(of_length(1));
    queue.put(&[4]);
    assert_eq!(queue.letters.len(), 1);
}

#[test]
fn the_time_without_use_begins_when_it_is_asked_for() {
    let mut queue = plain();
    queue.pass(1000);
    queue.change(Options { expires_ms: Some(100), ..Options::default() });
    queue.pass(99);
    assert!(queue.ends.is_empty());
    queue.pass(1);
    assert_eq!(queue.ends, [Effect::Expired]);
}

#[test]
fn a_delivery_limit_counts_from_when_it_is_there() {
    let mut queue = plain();
    queue.put(&[1]);
    queue.consume(1, |_| {});
    queue.settle(Verdict::Requeue, 1, &[0]);
    queue.change(Options { delivery_limit: Some(1), ..Options::default() });
    queue.settle(Verdict::Requeue, 1, &[0]);
    queue.settle(Verdict::Requeue, 1, &[0]);
    assert_eq!(queue.queue.messages.alive, 0);
}
