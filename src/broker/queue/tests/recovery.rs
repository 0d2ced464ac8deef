//! Crashes: what the log and the cold store have is all that is left, and it is enough.

use crate::broker::queue::Pressure;
use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::model::{Step, options, step};
use super::world::{Event, State, Told, Verdict, World};
use crate::broker::batch::{self, Batch};
use crate::broker::queue::{ChunkWrite, GETTER, Options, Queue};

/// What survives a crash.
#[derive(Clone, Default)]
struct Disk {
    log: Vec<Event>,
    /// How much of the log the cold store covers.
    applied: usize,
    /// How many of the log's transactions it covers.
    transactions: usize,
    row: Option<Vec<u8>>,
    chunks: BTreeMap<u64, ChunkWrite>,
    dues: std::collections::BTreeSet<(u64, u64)>,
}

impl Disk {
    /// The disk after a crash: all `events` of the log, the first `flushed` of the cold store; of the deletions since
    /// the last checkpoint only some.
    fn crash(before: &Self, events: &[Event], flushed: usize, some: u64) -> Self {
        let mut disk = before.clone();
        let offset = disk.log.len();
        let earlier = disk.log.iter().filter(|event| matches!(event, Event::Transaction(..))).count();
        let flushed = &events[..flushed.min(events.len())];
        let last = flushed.iter().rposition(|event| matches!(event, Event::Checkpoint(..))).unwrap_or(0);
        for (at, event) in flushed.iter().enumerate() {
            match event {
                Event::Chunk(write) => disk.write(write),
                Event::Checkpoint(row, writes, covered, filled) => {
                    disk.row = Some(row.clone());
                    writes.iter().for_each(|write| disk.write(write));
                    disk.applied = offset + covered;
                    disk.transactions = earlier + filled;
                }
                Event::Forget(first) if at < last || some >> (at % 64) & 1 == 1 => {
                    disk.chunks.remove(first);
                }
                Event::Forget(_)
                | Event::Enqueue(..)
                | Event::Settle(_)
                | Event::Returns(_)
                | Event::Retries(_)
                | Event::Transaction(..) => {}
            }
        }
        disk.log.extend_from_slice(events);
        disk
    }

    fn write(&mut self, write: &ChunkWrite) {
        self.dues.extend(write.dues.iter().copied());
        let data = write.data.clone().or_else(|| self.chunks[&write.first].data.clone());
        self.chunks.insert(write.first, ChunkWrite { data, ..write.clone() });
    }

    /// The queue as a restart brings it back.
    fn recover(&self, options: Options, clean_below: Option<&[u64]>, now_ms: u64) -> World {
        self.clone().recover_spilling(options, clean_below, now_ms, usize::MAX)
    }

    /// As [`Self::recover`], with a spill after so many log records.
    fn recover_spilling(
        &mut self,
        options: Options,
        clean_below: Option<&[u64]>,
        now_ms: u64,
        every: usize,
    ) -> World {
        let mut queue = Queue::default();
        if let Some(row) = &self.row {
            queue.restore_row(row).unwrap();
        }
        for (first, chunk) in &self.chunks {
            queue.restore_chunk(*first, &chunk.descriptor).unwrap();
        }
        for (at, event) in self.left().iter().enumerate() {
            if at % every == every - 1 {
                for write in queue.spill(usize::MAX, Pressure::High, now_ms) {
                    self.write(&write);
                    queue.chunk_stored(write.first, true, now_ms);
                }
            }
            match event {
                Event::Enqueue(first, records) | Event::Transaction(first, records) => {
                    queue.replay_enqueue(*first, &Batch::check(records.clone()).unwrap());
                }
                Event::Settle(ranges) => queue.replay_settle(ranges),
                Event::Returns(runs) => queue.replay_returns(runs),
                Event::Retries(runs) => queue.replay_retries(runs),
                Event::Chunk(_) | Event::Checkpoint(..) | Event::Forget(_) => {}
            }
        }
        queue.set_options(options.clone());
        queue.recovered(clean_below, self.dues.first().map(|(due_ms, _)| *due_ms), now_ms);
        for first in queue.unmeasured() {
            queue.measure(first, &self.chunks[&first].data.as_ref().unwrap().whole()).unwrap();
        }
        let forgotten = queue.take_forgotten();
        let mut world = World::with(queue, options, now_ms);
        world.cold.clone_from(&self.chunks);
        world.dues.clone_from(&self.dues);
        for first in forgotten {
            world.cold.remove(&first);
            world.events.push(Event::Forget(first));
        }
        for (seq, record) in self.expected() {
            let (message, _) = batch::read(&record).unwrap();
            let was_delivered = clean_below.is_none_or(|marks| is_below(seq, marks));
            let (due_ms, returns) = (message.due_ms, self.returns(seq));
            let told = Told { was_delivered, returns, ..Told::new(record, due_ms) };
            let waits = self.retry_ms(seq).filter(|due_ms| *due_ms > now_ms);
            let state = waits.map_or(told.state, State::Waiting);
            world.model.insert(seq, Told { state, ..told });
        }
        world.check();
        world
    }

    /// What of the log the cold store does not cover.
    fn left(&self) -> Vec<Event> {
        let (mut left, mut transactions) = (Vec::new(), 0);
        for (at, event) in self.log.iter().enumerate() {
            let is_covered = if matches!(event, Event::Transaction(..)) {
                transactions += 1;
                transactions <= self.transactions
            } else {
                at < self.applied
            };
            left.extend((!is_covered).then(|| event.clone()));
        }
        left
    }

    /// Persistent messages that were logged and not settled.
    fn expected(&self) -> BTreeMap<u64, Bytes> {
        let mut messages = BTreeMap::new();
        for event in &self.log {
            match event {
                Event::Enqueue(first, records) | Event::Transaction(first, records) => {
                    messages.extend(persistent(*first, records));
                }
                Event::Settle(ranges) => {
                    let settled = ranges.iter().flat_map(|(first, count)| *first..first + count);
                    settled.for_each(|seq| drop(messages.remove(&seq)));
                }
                Event::Returns(_)
                | Event::Retries(_)
                | Event::Chunk(_)
                | Event::Checkpoint(..)
                | Event::Forget(_) => {}
            }
        }
        messages
    }

    /// Until when a message was last told to wait, by the log.
    fn retry_ms(&self, seq: u64) -> Option<u64> {
        let runs = self.log.iter().filter_map(|event| match event {
            Event::Retries(runs) => Some(runs),
            _ => None,
        });
        let runs = runs.flatten().filter(|(first, count, _)| (*first..first + count).contains(&seq));
        runs.map(|(_, _, due_ms)| *due_ms).max()
    }

    /// How often a message came back, by the log.
    fn returns(&self, seq: u64) -> u32 {
        let runs = self.log.iter().filter_map(|event| match event {
            Event::Returns(runs) => Some(runs),
            _ => None,
        });
        let runs = runs.flatten().filter(|(first, count, _)| (*first..first + count).contains(&seq));
        runs.map(|(_, _, returns)| *returns).max().unwrap_or(0)
    }
}

fn persistent(first: u64, records: &Bytes) -> Vec<(u64, Bytes)> {
    let (mut at, mut seq, mut messages) = (0, first, Vec::new());
    while at < records.len() {
        let (message, length) = batch::read(&records[at..]).unwrap();
        if message.persistent {
            messages.push((seq, records.slice(at..at + length)));
        }
        at += length;
        seq += 1;
    }
    messages
}

/// Whether a message was delivered before a clean stop, by the marks of the lanes.
fn is_below(seq: u64, marks: &[u64]) -> bool {
    let is_of_lane = |mark: &&u64| marks.len() == 1 || **mark >> 56 == seq >> 56;
    marks.iter().find(is_of_lane).is_none_or(|mark| seq < *mark)
}

/// Whether a later run gives out no number that the earlier one gave out.
fn is_ahead(later: &World, earlier: &World) -> bool {
    let next = |world: &World, priority| world.queue.messages.lanes.next_seq(priority);
    (0..=u8::MAX).all(|priority| next(later, priority) > next(earlier, priority))
}

fn run(world: &mut World, steps: Vec<Step>) {
    let mut covered = None;
    for step in steps {
        world.step(step, &mut covered);
    }
}

/// Where a crash happens: after which share of the events, and of those before it in the cold store.
fn crash_of(world: &World, (events, flushed): (u16, u16)) -> (usize, usize) {
    let cut = (world.events.len() + 1) * usize::from(events) / 65536;
    (cut, (cut + 1) * usize::from(flushed) / 65536)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn a_crash_keeps_what_was_logged_and_not_settled(
        options in options(true),
        before in prop::collection::vec(step(), 1..80),
        between in prop::collection::vec(step(), 0..60),
        crashes in any::<[((u16, u16), u64); 2]>(),
        every in 1usize..20,
    ) {
        let mut world = World::new(options.clone(), 1000);
        run(&mut world, before);
        let (cut, flushed) = crash_of(&world, crashes[0].0);
        let mut disk = Disk::crash(&Disk::default(), &world.events[..cut], flushed, crashes[0].1);
        // A crash in the middle of a recovery that spills changes nothing.
        disk.recover_spilling(options.clone(), None, world.now_ms, every);
        let mut again = disk.recover_spilling(options.clone(), None, world.now_ms + 1, every + 3);
        prop_assert!(is_ahead(&again, &world));

        run(&mut again, between);
        let (cut, flushed) = crash_of(&again, crashes[1].0);
        let disk = Disk::crash(&disk, &again.events[..cut], flushed, crashes[1].1);
        let mut last = disk.recover(options.clone(), None, again.now_ms + 1);
        prop_assert!(is_ahead(&last, &again));

        // The log alone tells the same.
        let log_only = Disk { log: disk.log, ..Disk::default() };
        let mut other = log_only.recover(options, None, again.now_ms + 1);
        for world in [&mut last, &mut other] {
            world.come_to_rest();
            world.drain();
        }
    }
}

fn durable() -> Options {
    Options { durable: true, ..Options::default() }
}

#[test]
fn after_a_clean_stop_only_what_was_delivered_is_redelivered() {
    let mut world = World::new(durable(), 1000);
    world.put(&[1, 2, 3]);
    world.get();
    let below = world.queue.delivered_below();
    let disk = Disk::crash(&Disk::default(), &world.events, 0, 0);
    let mut again = disk.recover(durable(), Some(&below), 2000);
    again.consume(7, |_| {});
    let delivered = again.take_delivered();
    assert_eq!(super::bodies(&delivered), [1, 2, 3]);
    assert_eq!(delivered.iter().map(|entry| entry.2).collect::<Vec<_>>(), [true, false, false]);
}

#[test]
fn after_a_clean_stop_each_level_knows_what_was_delivered() {
    let options = Options { max_priority: Some(9), ..durable() };
    let mut world = World::new(options.clone(), 1000);
    for priority in [0, 5, 9, 5, 9, 0] {
        world.publish(&[batch::Message { priority, ..super::world::message(&[priority], 1000) }]);
    }
    world.consume(7, |spec| spec.prefetch = 3);
    let below = world.queue.delivered_below();
    for checkpointed in [false, true] {
        if checkpointed {
            world.checkpoint(world.events.len());
        }
        let disk = Disk::crash(&Disk::default(), &world.events, usize::MAX, 0);
        let mut again = disk.recover(options.clone(), Some(&below), 2000);
        again.consume(7, |_| {});
        again.load_all();
        let delivered = again.take_delivered();
        assert_eq!(super::bodies(&delivered), [9, 9, 5, 5, 0, 0]);
        let redelivered: Vec<_> = delivered.iter().map(|entry| entry.2).collect();
        assert_eq!(redelivered, [true, true, true, false, false, false]);
    }
}

#[test]
fn messages_that_an_earlier_version_numbered_without_levels_are_kept() {
    let mut world = World::new(durable(), 1000);
    world.put(&[1, 2]);
    world.checkpoint(1);
    world.put(&[3]);
    let disk = Disk::crash(&Disk::default(), &world.events, usize::MAX, 0);
    let mut again = disk.recover(Options { max_priority: Some(9), ..durable() }, None, 2000);
    assert_eq!(again.queue.counts().ready, 3);
    again.put(&[4]);
    again.consume(7, |_| {});
    again.load_all();
    assert_eq!(super::bodies(&again.take_delivered()), [1, 2, 3, 4]);
}

#[test]
fn a_spilled_tail_does_not_hide_the_head_in_the_log() {
    let mut world = World::new(durable(), 1000);
    world.put_segments(&[0, 1, 2, 3, 4, 5]);
    world.put(&[6]);
    world.put(&[7]);
    world.spill(17 * 1024);
    world.stored(usize::MAX);
    let disk = Disk::crash(&Disk::default(), &world.events, usize::MAX, 0);
    assert!(!disk.chunks.is_empty());
    let mut again = disk.recover(durable(), None, 2000);
    assert_eq!(again.queue.counts().ready, 8);
    again.drain();
}

#[test]
fn small_logged_batches_share_a_segment_in_front_of_a_chunk_too() {
    let mut world = World::new(durable(), 1000);
    for body in 0..50 {
        world.put(&[body]);
    }
    world.put_segments(&[60, 61, 62, 63]);
    world.spill(17 * 1024);
    world.stored(usize::MAX);
    let disk = Disk::crash(&Disk::default(), &world.events, usize::MAX, 0);
    let again = disk.recover(durable(), None, 2000);
    assert!(again.queue.messages.segments().count() <= 3);
}

#[test]
fn a_replay_may_spill() {
    let mut world = World::new(durable(), 1000);
    world.put_segments(&[7; 200]);
    world.consume(7, |spec| (spec.no_ack, spec.window_bytes) = (true, 200 * 1024));
    let mut disk = Disk::crash(&Disk::default(), &world.events, 0, 0);
    let mut again = disk.recover_spilling(durable(), None, 2000, 10);
    assert!(disk.chunks.len() > 3);
    assert!(again.queue.hot_bytes() < 5 * 256 * 1024);
    again.drain();
    disk.recover(durable(), None, 3000).drain();
}

#[test]
fn numbers_of_transient_messages_are_not_given_out_again() {
    let mut world = World::new(durable(), 1000);
    world.put(&[1]);
    let transient = batch::Message { persistent: false, ..super::world::message(b"t", 1000) };
    world.publish(&[transient; 10]);
    let disk = Disk::crash(&Disk::default(), &world.events, 0, 0);
    let again = disk.recover(durable(), Some(&[0]), 1001);
    assert!(again.queue.messages.lanes.next_seq(0) > 11);
    assert_eq!(again.queue.counts().ready, 1);
}

#[test]
fn damaged_rows_and_descriptors_are_refused() {
    let mut world = World::new(durable(), 1000);
    world.put(&[1, 2, 3]);
    world.get();
    world.settle(Verdict::Ack, GETTER, &[0]);
    world.checkpoint(0);
    let (row, chunk) = (world.queue.row(), world.cold[&0].clone());
    let mut queue = Queue::default();
    for cut in 0..row.len() {
        assert_eq!(queue.restore_row(&row[..cut]), None);
    }
    let mut lanes = World::new(Options { max_priority: Some(3), ..durable() }, 1000);
    lanes.put(&[1]);
    let row = lanes.queue.row();
    assert_eq!(Queue::default().restore_row(&row), Some(()));
    for cut in 0..row.len() {
        assert_eq!(Queue::default().restore_row(&row[..cut]), None);
    }
    for cut in 0..chunk.descriptor.len() {
        assert_eq!(queue.restore_chunk(0, &chunk.descriptor[..cut]), None);
    }
    assert_eq!(queue.restore_chunk(u64::MAX, &chunk.descriptor), None);
    assert_eq!(queue.restore_chunk(5, &chunk.descriptor), Some(()));
    assert_eq!(queue.restore_chunk(6, &chunk.descriptor), None, "chunks do not overlap");
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), first in any::<u64>()) {
        let mut queue = Queue::default();
        let _ = queue.restore_row(&bytes);
        let _ = queue.restore_chunk(first, &bytes);
        queue.set_options(Options { max_priority: Some(1), ..durable() });
        let _ = queue.restore_chunk(first, &bytes);
        queue.recovered(None, None, 1000);
    }
}
