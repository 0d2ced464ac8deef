//! Length limits: dropping the oldest, refusing the newest.

use super::checks::due_of;
use super::world::{Event, State, Told, Verdict, World, message};
use super::{Options, bodies, world};
use crate::broker::arguments::Overflow;
use crate::broker::batch::{self, Message};
use crate::broker::queue::{ChunkWrite, DeathReason, Effect, GETTER, Queue};

const ALL: usize = usize::MAX;

impl World {
    /// Messages that the limits count, ready or waiting to be so again, and the bytes of their bodies.
    pub(super) fn ready(&self) -> (u64, u64) {
        let counts = |told: &&Told| matches!(told.state, State::Ready | State::Waiting(_));
        let ready = self.model.values().filter(counts);
        ready.fold((0, 0), |(count, bytes), told| (count + 1, bytes + body_length(&told.record)))
    }

    pub(super) fn exceeds(&self, (count, bytes): (u64, u64)) -> bool {
        self.options.max_length.is_some_and(|max| count > max)
            || self.options.max_length_bytes.is_some_and(|max| bytes > max)
    }

    /// After a command the limits hold, and the bytes are counted right; after a change, a few steps later.
    pub(super) fn check_limits(&self) {
        if self.queue.is_catching_up {
            return;
        }
        let ready = self.ready();
        // What waits cannot be dropped.
        if self.options.overflow == Overflow::DropHead && !self.seqs(State::Ready).is_empty() {
            assert!(!self.exceeds(ready), "{ready:?} are ready");
        }
        let counted = self.queue.limits.ready_bytes;
        assert_eq!(counted, if self.options.max_length_bytes.is_some() { ready.1 } else { 0 });
    }

    /// What was dropped was the oldest, and had to go. `left`: also what may have expired.
    pub(super) fn check_drops(&self, left: &[u64], dropped: &[u64]) {
        let Some(newest) = dropped.iter().max() else { return };
        assert_eq!(self.options.overflow, Overflow::DropHead, "message {newest} left early");
        let (count, bytes) = self.ready();
        let more = left.iter().map(|seq| body_length(&self.model[seq].record)).max().unwrap_or(0);
        assert!(self.exceeds((count + 1, bytes + more)), "message {newest} left early");
        assert!(self.seqs(State::Ready).first().is_none_or(|oldest| newest < oldest));
    }

    /// Exactly those messages were refused that did not fit when it was their turn.
    pub(super) fn check_refusals(&self, messages: &[Message<'_>], before: (u64, u64), taken: &[u64]) {
        if self.options.overflow == Overflow::DropHead {
            assert_eq!(taken.len(), messages.len());
        } else if self.moved.is_empty() && !self.is_stuck(taken) {
            let (mut now, mut fitting) = (before, 0);
            for message in messages {
                let then = (now.0 + 1, now.1 + message.body.len() as u64);
                if self.exceeds(then) {
                    continue;
                }
                fitting += 1;
                let record = self.record(message);
                if due_of(&record, self.options.message_ttl_ms).is_none_or(|due_ms| due_ms > self.now_ms) {
                    now = then;
                }
            }
            assert_eq!(taken.len(), fitting);
        }
    }

    /// Whether messages but these are ready though their time is over: one in front of them is being read.
    fn is_stuck(&self, but: &[u64]) -> bool {
        let is_overdue =
            |told| due_of(told, self.options.message_ttl_ms).is_some_and(|due_ms| due_ms <= self.now_ms);
        let mut others = self.model.iter().filter(|(seq, _)| !but.contains(seq));
        others.any(|(_, told)| told.state == State::Ready && is_overdue(told))
    }

    fn record(&self, message: &Message<'_>) -> Told {
        let mut record = Vec::new();
        message.put(&mut record);
        Told::new(record.into(), message.due_ms)
    }
}

fn body_length(record: &[u8]) -> u64 {
    batch::read(record).map_or(0, |(message, _)| message.body.len() as u64)
}

fn of_length(max: u64) -> Options {
    Options { max_length: Some(max), ..Options::default() }
}

fn of_bytes(max: u64) -> Options {
    Options { max_length_bytes: Some(max), ..Options::default() }
}

fn refusing(options: Options) -> World {
    world(Options { overflow: Overflow::RejectPublish, ..options })
}

fn put_sizes(queue: &mut World, sizes: &[usize]) {
    let bodies: Vec<_> = sizes.iter().map(|size| vec![7; *size]).collect();
    let messages: Vec<_> = bodies.iter().map(|body| message(body, queue.now_ms)).collect();
    queue.publish(&messages);
}

#[test]
fn the_oldest_go_and_the_newest_stay() {
    let mut queue = world(of_length(2));
    queue.put(&[1, 2, 3, 4]);
    assert_eq!(queue.seqs(State::Ready), [2, 3]);
    queue.put(&[5]);
    assert_eq!(queue.seqs(State::Ready), [3, 4]);
}

#[test]
fn bytes_count_and_whichever_limit_is_hit_first_holds() {
    let mut queue = world(of_bytes(10));
    put_sizes(&mut queue, &[4, 4, 4]);
    assert_eq!(queue.seqs(State::Ready), [1, 2]);
    put_sizes(&mut queue, &[0, 0, 0, 2]);
    assert_eq!(queue.ready(), (6, 10));
    put_sizes(&mut queue, &[11]);
    assert_eq!(queue.ready(), (0, 0), "one that is too large finds no place");
    let mut queue = world(Options { max_length: Some(3), ..of_bytes(10) });
    put_sizes(&mut queue, &[1, 1, 1, 1]);
    assert_eq!(queue.ready(), (3, 3));
    put_sizes(&mut queue, &[9]);
    assert_eq!(queue.ready(), (2, 10));
}

#[test]
fn a_length_of_0_is_for_those_who_wait() {
    let mut queue = world(of_length(0));
    queue.put(&[1]);
    assert_eq!(queue.queue.counts().ready, 0);
    queue.consume(7, |spec| spec.prefetch = 2);
    queue.put(&[2, 3, 4]);
    assert_eq!(bodies(&queue.take_delivered()), [2, 3]);
    assert_eq!((queue.queue.counts().ready, queue.queue.counts().unacked), (0, 2));
}

#[test]
fn what_is_not_acknowledged_does_not_count_until_it_comes_back() {
    let mut queue = world(of_length(2));
    queue.put(&[1, 2]);
    queue.get();
    queue.get();
    queue.put(&[3, 4]);
    assert_eq!(queue.seqs(State::Ready), [2, 3]);
    queue.settle(Verdict::Requeue, GETTER, &[0, 1]);
    assert_eq!(queue.seqs(State::Ready), [2, 3], "the oldest are those that came back");
    assert_eq!(queue.seqs(State::Settled), [0, 1]);
}

#[test]
fn what_is_dropped_is_dead_lettered() {
    let mut queue = world(Options { dead_letters: true, ..of_length(1) });
    queue.put(&[1, 2, 3]);
    assert_eq!(queue.letters, [(0, DeathReason::MaxLength), (1, DeathReason::MaxLength)]);
    queue.letters_arrive(2);
    assert_eq!(queue.seqs(State::Ready), [2]);
    queue.get();
    queue.put(&[4]);
    queue.settle(Verdict::Requeue, GETTER, &[2]);
    assert_eq!(queue.letters, [(2, DeathReason::MaxLength)]);
}

#[test]
fn what_is_dropped_is_logged_as_settled_and_expires_no_more() {
    let mut queue = world(Options { durable: true, ..of_length(1) });
    queue.put_expiring(1, 50);
    queue.put(&[2]);
    assert!(matches!(queue.events.last(), Some(Event::Settle(ranges)) if *ranges == [(0, 1)]));
    assert_eq!(queue.queue.next_due(), None);
}

#[test]
fn a_cold_head_is_dropped_without_being_read() {
    for limit in [of_length(5), of_bytes(5 * 17 * 1024)] {
        let mut queue = world(limit);
        queue.put_segments(&[0, 1, 2, 3, 4]);
        queue.get();
        queue.get();
        queue.get();
        queue.spill(ALL);
        queue.stored(ALL);
        queue.settle(Verdict::Requeue, GETTER, &[0, 1, 2]);
        queue.put_segments(&[5, 6, 7, 8]);
        assert_eq!((queue.seqs(State::Ready), queue.loads.len()), (vec![4, 5, 6, 7, 8], 0));
        assert!(!queue.cold.contains_key(&0) && !queue.cold.contains_key(&3));
    }
}

/// Twenty messages of different sizes in a chunk, as a restart finds them.
fn restarted(options: &Options, change: impl FnOnce(&mut ChunkWrite)) -> (World, ChunkWrite) {
    let mut queue = world(Options { durable: true, ..options.clone() });
    put_sizes(&mut queue, &[&[0], &(2..21).collect::<Vec<_>>()[..]].concat());
    queue.get();
    queue.settle(Verdict::Ack, GETTER, &[0]);
    queue.checkpoint(0);
    let mut chunk = queue.cold[&0].clone();
    change(&mut chunk);
    let mut again = Queue::default();
    again.restore_chunk(0, &chunk.descriptor).unwrap();
    again.set_options(Options { durable: true, ..options.clone() });
    again.recovered(None, None, 2000);
    let mut again = World::with(again, Options { durable: true, ..options.clone() }, 2000);
    again.model = queue.model;
    again.model.values_mut().for_each(|told| told.was_delivered = true);
    again.cold.insert(0, chunk.clone());
    (again, chunk)
}

#[test]
fn bytes_are_known_after_a_restart_and_single_messages_leave_a_cold_chunk() {
    let (mut queue, _) = restarted(&of_bytes(209), |_| {});
    assert_eq!((queue.queue.limits.ready_bytes, queue.queue.unmeasured()), (209, vec![]));
    put_sizes(&mut queue, &[1]);
    assert_eq!(queue.seqs(State::Settled), [0, 1]);
    put_sizes(&mut queue, &[5]);
    assert_eq!(queue.seqs(State::Settled), [0, 1, 2, 3]);
    assert!(
        queue.loads.is_empty()
            && queue.queue.messages.segments().next().is_some_and(|segment| !segment.is_hot())
    );
    queue.drain();
}

#[test]
fn a_chunk_of_an_earlier_version_is_measured_once() {
    let as_version_1 = |chunk: &mut ChunkWrite| {
        chunk.descriptor[0] = 1;
        chunk.descriptor.truncate(chunk.descriptor.len() - 1 - 20 * 4);
    };
    let (mut queue, chunk) = restarted(&of_bytes(209), as_version_1);
    assert_eq!((queue.queue.limits.ready_bytes, queue.queue.unmeasured()), (0, vec![0]));
    assert_eq!(queue.queue.measure(0, &chunk.descriptor.clone().into()), None, "that is not the chunk");
    assert_eq!(queue.queue.measure(0, &chunk.data.unwrap().whole()), Some(()));
    assert_eq!((queue.queue.limits.ready_bytes, queue.queue.unmeasured()), (209, vec![]));
    put_sizes(&mut queue, &[1]);
    assert_eq!((queue.seqs(State::Settled), queue.loads.len()), (vec![0, 1], 0));
    queue.checkpoint(0);
    assert_eq!(queue.cold[&0].descriptor[0], 2, "the next checkpoint notes the lengths");
    let mut again = Queue::default();
    again.restore_chunk(0, &queue.cold[&0].descriptor).unwrap();
    again.set_options(of_bytes(209));
    assert_eq!((again.limits.ready_bytes, again.unmeasured()), (207, vec![]));
}

#[test]
fn without_a_limit_of_bytes_none_are_noted() {
    let (queue, chunk) = restarted(&of_length(30), |_| {});
    assert_eq!((chunk.descriptor.last(), queue.queue.unmeasured()), (Some(&0), vec![]));
}

#[test]
fn exactly_what_does_not_fit_is_refused() {
    let mut queue = refusing(of_length(2));
    queue.put(&[1, 2, 3, 4]);
    assert_eq!((queue.seqs(State::Ready), &queue.refused), (vec![0, 1], &vec![vec![3], vec![4]]));
    queue.get();
    queue.put(&[5, 6]);
    assert_eq!((queue.seqs(State::Ready), &queue.refused[2..]), (vec![1, 2], &[vec![6]][..]));
    queue.settle(Verdict::Requeue, GETTER, &[0]);
    assert_eq!(queue.seqs(State::Ready), [0, 1, 2], "what comes back finds a place");
    let mut queue = refusing(of_bytes(10));
    put_sizes(&mut queue, &[4, 4, 4, 2, 1, 0]);
    assert_eq!(queue.ready(), (4, 10));
    assert_eq!(queue.refused.iter().map(Vec::len).collect::<Vec<_>>(), [4, 1]);
}

#[test]
fn what_consumers_take_at_once_makes_place_for_the_next() {
    let mut queue = refusing(of_length(1));
    queue.consume(7, |spec| spec.prefetch = 3);
    queue.put(&[1, 2, 3, 4, 5, 6]);
    assert_eq!(bodies(&queue.take_delivered()), [1, 2, 3]);
    assert_eq!((queue.seqs(State::Ready), &queue.refused), (vec![3], &vec![vec![5], vec![6]]));
    let mut queue = refusing(of_length(0));
    queue.consume(7, |_| {});
    queue.put(&[1]);
    assert_eq!(queue.refused, [[1]], "there is no place to be delivered from");
}

#[test]
fn what_is_refused_is_not_logged() {
    let options = Options { durable: true, overflow: Overflow::RejectPublishDlx, ..of_length(1) };
    let mut queue = world(options);
    queue.put(&[1, 2]);
    queue.put(&[3]);
    assert!(matches!(&queue.events[..], [Event::Enqueue(0, records)] if records.len() < 60));
    let mut effects = Vec::new();
    let mut records = Vec::new();
    message(&[9], 1000).put(&mut records);
    let batch = batch::Batch::check(records.clone().into()).unwrap();
    queue.queue.apply(super::Command::Enqueue(batch), 1000, &mut effects);
    assert_eq!(effects, [Effect::Refused { place: 0, count: 1, records: records.into() }]);
}
