//! Queues where the messages of an exchange wait for their delays to end.

use super::world::{State, World, message};
use super::{Options, world};
use crate::broker::batch::Message;
use crate::broker::queue::DeathReason;
use crate::broker::queue::expiry::LETTERS_OUT_MAX;

const ALL: usize = usize::MAX;

fn waiting() -> World {
    world(Options { durable: true, delays: true, dead_letters: true, ..Options::default() })
}

fn numbers(queue: &World) -> Vec<u64> {
    queue.letters.iter().map(|(seq, _)| *seq).collect()
}

#[test]
fn messages_leave_at_their_time_and_in_order_within_it() {
    let mut queue = waiting();
    for (body, after_ms) in [(1, 300), (2, 100), (3, 200), (4, 100), (5, 1 << 40)] {
        queue.put_expiring(body, after_ms);
    }
    queue.pass(99);
    assert!(queue.letters.is_empty());
    queue.pass(1);
    assert_eq!(numbers(&queue), [1, 3]);
    queue.pass(200);
    assert_eq!(numbers(&queue), [1, 3, 2, 0]);
    assert!(queue.letters.iter().all(|(_, reason)| *reason == DeathReason::Expired));
    queue.letters_arrive(4);
    assert_eq!(queue.seqs(State::Ready), [4]);
    assert_eq!(queue.queue.next_due(), Some(1000 + (1 << 40)));
}

#[test]
fn so_many_are_under_way_that_their_targets_can_follow() {
    let mut queue = waiting();
    let due = Message { due_ms: Some(2000), ..message(&[7], 1000) };
    queue.publish(&vec![due; LETTERS_OUT_MAX + 10]);
    queue.pass(1000);
    assert_eq!(
        (queue.letters.len(), queue.queue.next_due()),
        (LETTERS_OUT_MAX, None),
        "it waits for its targets"
    );
    queue.letters_arrive(1);
    let last = queue.letters.last().map(|(seq, _)| *seq);
    assert_eq!((queue.letters.len(), last), (LETTERS_OUT_MAX, Some(LETTERS_OUT_MAX as u64)));
    queue.letters_arrive(ALL);
    queue.letters_arrive(ALL);
    assert_eq!(queue.queue.counts().ready, 0);
    assert!(queue.cold.is_empty());
}

#[test]
fn a_chunk_that_was_read_stays_for_its_other_messages() {
    let mut queue = waiting();
    let body = [7; 9000];
    for after_ms in [500, 1000] {
        let messages: Vec<_> = (0..60)
            .map(|at| Message { due_ms: Some(1000 + after_ms + at % 2 * 5000), ..message(&body, 1000) })
            .collect();
        queue.publish(&messages[..30]);
        queue.publish(&messages[30..]);
    }
    queue.spill(ALL);
    queue.stored(ALL);
    let cold = |queue: &World| queue.queue.messages.segments().filter(|segment| !segment.is_hot()).count();
    assert_eq!(cold(&queue), 1);
    queue.pass(1000);
    queue.load_all();
    assert_eq!((queue.letters.len(), cold(&queue)), (60, 0));
    queue.letters_arrive(ALL);
    queue.pass(5000);
    assert_eq!((queue.letters.len(), queue.loads.len()), (60, 0));
}
