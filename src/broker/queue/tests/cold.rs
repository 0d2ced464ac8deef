//! The cold store: spilling, reading back, checkpoints.

use super::world::{State, Verdict, World, message};
use super::{Options, bodies, plain, world};
use crate::broker::batch::Message;
use crate::broker::queue::{GETTER, GetReply, Stored};

const ALL: usize = usize::MAX;
const HOUR_MS: u64 = 60 * 60 * 1000;

/// A queue whose messages are in segments of their own, all but the first three in the cold store only.
fn spilled(mut queue: World, count: u8) -> World {
    queue.put_segments(&(0..count).collect::<Vec<_>>());
    queue.spill(ALL);
    queue.stored(ALL);
    assert_eq!(hot(&queue), [0, 1, 2]);
    queue
}

fn hot(queue: &World) -> Vec<u64> {
    queue.queue.messages.segments().filter(|segment| segment.is_hot()).map(|segment| segment.first).collect()
}

#[test]
fn spilled_messages_come_back_in_order_and_are_read_ahead() {
    let mut queue = spilled(plain(), 10);
    queue.consume(7, |spec| spec.prefetch = 1);
    queue.settle(Verdict::Ack, 7, &[0]);
    assert_eq!(queue.loads, [3], "two chunks ahead are in memory or asked for");
    queue.load_all();
    for seq in 1..9 {
        queue.settle(Verdict::Ack, 7, &[seq]);
        queue.load_all();
        assert!(hot(&queue).len() <= 3);
    }
    assert_eq!(bodies(&queue.take_delivered()), (0..10).collect::<Vec<_>>());
    assert!(queue.cold.contains_key(&9) && queue.cold.len() == 1, "chunks without messages are forgotten");
    queue.settle(Verdict::Ack, 7, &[9]);
    assert!(queue.cold.is_empty());
}

#[test]
fn a_chunk_is_asked_for_once_and_a_get_waits_for_it() {
    let mut queue = spilled(plain(), 6);
    (0..3).for_each(|_| drop(queue.get()));
    queue.apply(super::Command::Get { no_ack: false });
    queue.apply(super::Command::Get { no_ack: false });
    assert_eq!((queue.loads.len(), queue.got.len()), (1, 0));
    queue.load_all();
    let seqs: Vec<_> = queue.got.iter().map(|reply| matches!(reply, GetReply::Message { .. })).collect();
    assert_eq!(seqs, [true, true]);
    assert_eq!(queue.seqs(State::Ready), [5]);
}

#[test]
fn what_is_stored_and_delivered_is_dropped_from_memory_and_can_come_back() {
    let mut queue = spilled(plain(), 5);
    queue.consume(7, |spec| spec.prefetch = 5);
    queue.load_all();
    queue.cancel(7);
    assert_eq!(hot(&queue), [0, 1, 2], "3 and 4 are delivered, and in the cold store");
    queue.spill(ALL);
    queue.stored(ALL);
    assert_eq!((hot(&queue), queue.queue.hot_bytes() < 100), (vec![], true));
    queue.take_delivered();
    queue.settle(Verdict::Requeue, 7, &[3]);
    queue.consume(8, |_| {});
    assert!(queue.take_delivered().is_empty());
    queue.load_all();
    assert_eq!(queue.take_delivered(), [(8, vec![3; 17 * 1024], true)]);
    assert_eq!(hot(&queue), [0u64; 0], "and is dropped again");
}

#[test]
fn a_segment_settled_while_it_is_written_is_forgotten() {
    let mut queue = plain();
    queue.put_segments(&[1, 2, 3, 4, 5]);
    queue.spill(ALL);
    queue.purge();
    assert!(queue.cold.is_empty());
    queue.stored(ALL);
    assert_eq!(queue.queue.hot_bytes(), 0);
}

#[test]
fn spilling_frees_about_what_is_wanted_newest_first() {
    let mut queue = plain();
    queue.put_segments(&(0..10).collect::<Vec<_>>());
    queue.spill(30 * 1024);
    queue.stored(ALL);
    assert_eq!(hot(&queue), (0..8).collect::<Vec<_>>());
    queue.spill(0);
    assert_eq!((hot(&queue).len(), queue.writing.len()), (8, 0));
}

#[test]
fn what_is_being_written_is_not_written_again_and_stays_when_it_is_needed_meanwhile() {
    let mut queue = plain();
    queue.put_segments(&[0, 1, 2, 3, 4, 5]);
    queue.spill(17 * 1024);
    queue.spill(17 * 1024);
    assert_eq!(queue.writing, [(5, true)]);
    (0..4).for_each(|_| drop(queue.get()));
    queue.stored(ALL);
    assert!(hot(&queue).contains(&5));
}

#[test]
fn a_hole_at_the_cursor_does_not_spill_what_is_next() {
    let mut queue = world(Options { dead_letters: true, ..Options::default() });
    queue.put_segments(&[0]);
    queue.consume(7, |spec| spec.prefetch = 1);
    let due_ms = Some(queue.now_ms + 10);
    queue.publish(&[Message { due_ms, ..message(&[1; 17 * 1024], 1000) }]);
    queue.put_segments(&[2, 3, 4, 5, 6]);
    queue.pass(10);
    queue.letters_arrive(1);
    queue.spill(3 * 17 * 1024);
    queue.stored(ALL);
    assert_eq!(hot(&queue), [2, 3, 4]);
}

#[test]
fn a_spilled_message_expires_at_its_time() {
    for dead_letters in [false, true] {
        let mut queue = world(Options { dead_letters, ..Options::default() });
        queue.put_segments(&[0, 1, 2, 3]);
        let (now_ms, body) = (queue.now_ms, [4; 17 * 1024]);
        let due_ms = Some(now_ms + HOUR_MS);
        queue.publish(&[Message { due_ms, ..message(&body, now_ms) }, Message { ..message(&body, now_ms) }]);
        queue.put_segments(&[5]);
        queue.spill(ALL);
        queue.stored(ALL);
        assert!(queue.queue.due.len() == 0, "far due times are in the cold store only");
        assert_eq!(queue.queue.next_due(), Some(now_ms + HOUR_MS - crate::broker::queue::expiry::NEAR_MS));
        queue.pass(HOUR_MS - 1);
        queue.load_all();
        assert_eq!((queue.queue.counts().ready, queue.queue.next_due()), (7, Some(now_ms + HOUR_MS)));
        queue.pass(1);
        queue.load_all();
        assert_eq!(queue.queue.counts().ready, 6);
        assert_eq!(hot(&queue), [0, 1, 2], "a chunk read for a dead letter does not stay");
        assert_eq!(queue.letters.len(), usize::from(dead_letters));
        queue.letters_arrive(1);
        queue.check_nothing_overdue();
    }
}

#[test]
fn a_queue_time_to_live_reaches_spilled_messages() {
    let mut queue = spilled(world(Options { message_ttl_ms: Some(100), ..Options::default() }), 6);
    queue.pass(50);
    queue.put(&[9]);
    queue.pass(51);
    assert_eq!(queue.queue.next_due(), None, "nothing to do until the chunk is here");
    queue.load_all();
    assert_eq!(queue.seqs(State::Ready), [6]);
    queue.check_nothing_overdue();
}

#[test]
fn a_spilled_message_that_comes_back_too_late_goes_at_once() {
    let mut queue = plain();
    let body = [1; 17 * 1024];
    queue.publish(&[Message { due_ms: Some(1010), ..message(&body, 1000) }]);
    queue.get();
    queue.spill(ALL);
    queue.stored(ALL);
    assert!(hot(&queue).is_empty());
    queue.pass(100);
    queue.consume(7, |_| {});
    queue.settle(Verdict::Requeue, GETTER, &[0]);
    queue.load_all();
    assert!(queue.take_delivered().is_empty());
    assert_eq!(queue.seqs(State::Settled), [0]);
}

#[test]
fn a_due_time_spilled_while_others_are_read_is_not_forgotten() {
    let mut queue = plain();
    queue.put_segments(&[0, 1, 2, 3]);
    let body = [1; 17 * 1024];
    queue.publish(&[Message { due_ms: Some(1000 + HOUR_MS), ..message(&body, 1000) }]);
    queue.put_segments(&[5]);
    queue.spill(ALL);
    queue.stored(ALL);
    queue.pass(HOUR_MS - 1000);
    assert_eq!(queue.due_loads.len(), 1);
    let late = queue.now_ms + HOUR_MS;
    queue.publish(&[Message { due_ms: Some(late), ..message(&body, 1000) }]);
    queue.put_segments(&[7]);
    let (from_ms, to_ms) = queue.due_loads.pop_front().unwrap();
    let window = queue.dues.range((from_ms, 0)..=(to_ms, u64::MAX)).copied().collect();
    queue.spill(ALL);
    queue.stored(ALL);
    queue.apply(super::Command::DueLoaded(window, None));
    queue.pass(2 * HOUR_MS);
    queue.load_all();
    assert_eq!(queue.seqs(State::Ready), [0, 1, 2, 3, 5, 7]);
}

#[test]
fn a_checkpoint_writes_what_only_the_log_has() {
    let mut queue = world(Options { durable: true, ..Options::default() });
    assert!(!queue.queue.needs_checkpoint());
    queue.put(&[1, 2, 3]);
    queue.publish(&[Message { persistent: false, ..message(&[4; 17 * 1024], 1000) }]);
    assert!(queue.queue.needs_checkpoint());
    queue.checkpoint(0);
    queue.stored(ALL);
    assert_eq!(queue.cold.keys().copied().collect::<Vec<_>>(), [0], "transient messages are not written");
    let segment = |queue: &World| {
        queue.queue.messages.segments().next().map(|segment| (segment.stored, segment.is_hot()))
    };
    assert_eq!(segment(&queue), Some((Stored::Yes, true)));
    queue.get();
    assert!(!queue.queue.needs_checkpoint());
    queue.settle(Verdict::Ack, GETTER, &[0]);
    assert!(queue.queue.needs_checkpoint(), "the descriptor is behind");
    queue.checkpoint(0);
    assert_eq!(queue.writing.len(), 0, "only the descriptor is written again");
}
