//! Messages of transactions: numbers first, messages later or never.

use std::collections::VecDeque;

use bytes::Bytes;

use super::model::some_messages;
use super::world::{Event, State, Told, Verdict, World, message, split};
use super::{bodies, plain, world};
use crate::broker::arguments::Overflow;
use crate::broker::batch::{self, Batch};
use crate::broker::queue::{Command, Options};

/// The messages of a transaction for the queue, in batches with their first numbers.
struct Open(Vec<(u64, Batch)>);

impl Open {
    fn records(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.0.iter().flat_map(|(_, batch)| split(&batch.records))
    }
}

/// Transactions that the queue has numbers for.
#[derive(Default)]
pub(super) struct Transactions {
    undecided: Vec<Open>,
    /// The log has them, the queue not yet.
    decided: VecDeque<Open>,
    /// How many came to an end in the queue, after the log had them.
    filled: usize,
    covered: Option<usize>,
}

impl Transactions {
    pub(super) fn begin_checkpoint(&mut self) {
        self.covered = Some(self.filled);
    }

    /// How many transactions a checkpoint covers.
    pub(super) fn covered(&mut self) -> usize {
        self.covered.take().unwrap_or(self.filled)
    }
}

impl World {
    /// What is ready or may come: messages and bytes.
    pub(super) fn places(&self) -> (u64, u64) {
        let open = self.transactions.undecided.iter().chain(&self.transactions.decided);
        let records: Vec<_> = open.flat_map(Open::records).collect();
        let bytes: u64 = records.iter().map(|record| u64::from(batch::body_length(record))).sum();
        let ready = self.ready();
        (ready.0 + records.len() as u64, ready.1 + bytes)
    }

    pub(super) fn reserve_some(
        &mut self,
        (count, size): (usize, usize),
        persistent: u8,
        after_ms: Option<u64>,
        priorities: u32,
    ) {
        let bodies = self.some_bodies(count, size);
        let mut records = Vec::new();
        some_messages(&bodies, persistent, after_ms, priorities, self.now_ms)
            .iter()
            .for_each(|message| message.put(&mut records));
        self.reserve(records.into());
    }

    fn reserve(&mut self, records: Bytes) -> bool {
        let count = split(&records).len() as u64;
        let bytes = split(&records).iter().map(|record| u64::from(batch::body_length(record))).sum();
        let places = self.places();
        let fits = !self.exceeds((places.0 + count, places.1 + bytes));
        let numbered = self.queue.reserve(&Batch::check(records).unwrap(), bytes);
        if !self.queue.is_catching_up {
            assert_eq!(numbered.is_some(), fits || self.options.overflow == Overflow::DropHead);
        }
        let is_taken = numbered.is_some();
        self.transactions.undecided.extend(numbered.map(Open));
        self.check();
        is_taken
    }

    pub(super) fn decide(&mut self, pick: usize) {
        let undecided = &mut self.transactions.undecided;
        if !undecided.is_empty() {
            let open = undecided.swap_remove(pick % undecided.len());
            if self.options.durable {
                let logged = open.0.iter().map(|(first, batch)| (*first, batch.records.clone()));
                self.events.extend(logged.map(|(first, records)| Event::Transaction(first, records)));
            }
            self.transactions.decided.push_back(open);
        }
    }

    pub(super) fn fill(&mut self) -> bool {
        let Some(Open(numbered)) = self.transactions.decided.pop_front() else { return false };
        for (first, batch) in numbered {
            for (seq, record) in (first..).zip(split(&batch.records)) {
                let due_ms = batch::read(&record).unwrap().0.due_ms;
                self.model.insert(seq, Told::new(record, due_ms));
            }
            self.transactions.filled += usize::from(self.options.durable);
            self.apply(Command::Fill(first, batch));
        }
        true
    }

    pub(super) fn release(&mut self, pick: usize) {
        let undecided = &mut self.transactions.undecided;
        if !undecided.is_empty() {
            let open = undecided.swap_remove(pick % undecided.len());
            open.0.iter().for_each(|(first, _)| self.apply(Command::Release(*first)));
        }
    }

    pub(super) fn end_transactions(&mut self) {
        while !self.transactions.undecided.is_empty() {
            self.release(0);
        }
        while self.fill() {}
        assert!(self.queue.reserved.is_empty());
    }

    /// Sets numbers aside for messages with these bytes as bodies.
    fn reserve_bodies(&mut self, bodies: &[u8]) -> bool {
        let mut records = Vec::new();
        bodies.iter().for_each(|body| message(&[*body], self.now_ms).put(&mut records));
        self.reserve(records.into())
    }

    fn decide_and_fill(&mut self) {
        self.decide(0);
        self.fill();
    }
}

#[test]
fn messages_of_a_transaction_are_not_there_before_it_is_decided() {
    let mut queue = plain();
    queue.put(&[1]);
    queue.reserve_bodies(&[2, 3]);
    queue.put(&[4]);
    queue.purge();
    assert_eq!(queue.queue.counts().ready, 0);
    queue.put(&[5]);
    queue.decide_and_fill();
    assert_eq!(queue.queue.counts().ready, 3);
    queue.consume(7, |_| {});
    let delivered = queue.take_delivered();
    assert_eq!(bodies(&delivered), [2, 3, 5]);
    assert!(delivered.iter().all(|(.., redelivered)| !redelivered), "none was delivered before");
}

#[test]
fn messages_that_come_late_are_delivered_before_those_behind_them() {
    let mut queue = plain();
    queue.reserve_bodies(&[1]);
    queue.put(&[2]);
    queue.get();
    queue.put(&[3]);
    queue.decide_and_fill();
    queue.consume(7, |_| {});
    let delivered = queue.take_delivered();
    assert_eq!(bodies(&delivered), [1, 3]);
    assert_eq!(delivered.iter().map(|entry| entry.2).collect::<Vec<_>>(), [false, false]);
}

#[test]
fn messages_of_a_transaction_that_failed_leave_no_trace() {
    let mut queue = plain();
    queue.put(&[1]);
    queue.reserve_bodies(&[2]);
    queue.put(&[3]);
    queue.release(0);
    queue.consume(7, |spec| spec.no_ack = true);
    assert_eq!(bodies(&queue.take_delivered()), [1, 3]);
    assert_eq!(queue.queue.messages.alive, 0);
}

#[test]
fn transactions_that_follow_each_other_share_a_segment() {
    let mut queue = plain();
    for body in 0..50 {
        queue.reserve_bodies(&[body]);
        queue.reserve_bodies(&[body]);
        queue.decide_and_fill();
        queue.decide_and_fill();
    }
    assert_eq!(queue.queue.messages.segments().count(), 1);
    queue.drain();
}

#[test]
fn a_queue_that_refuses_counts_what_may_come() {
    let overflow = Overflow::RejectPublish;
    let mut queue = world(Options { max_length: Some(3), overflow, ..Options::default() });
    queue.put(&[1]);
    assert!(queue.reserve_bodies(&[2]));
    assert!(!queue.reserve_bodies(&[3, 4]));
    queue.put(&[5, 6]);
    assert_eq!(queue.refused, [[6]]);
    queue.decide_and_fill();
    assert_eq!(queue.queue.counts().ready, 3);
}

#[test]
fn late_messages_can_be_purged() {
    let mut queue = plain();
    queue.reserve_bodies(&[1, 2]);
    queue.put(&[3]);
    queue.get();
    queue.decide_and_fill();
    queue.get();
    assert_eq!(queue.seqs(State::Ready), [1]);
    queue.purge();
    assert_eq!((queue.queue.counts().ready, queue.queue.late.len()), (0, 0));
}

#[test]
fn the_messages_of_a_transaction_take_their_turn_by_priority() {
    let mut queue = world(Options { max_priority: Some(9), ..Options::default() });
    let mut records = Vec::new();
    for priority in [1, 9, 5, 9] {
        batch::Message { priority, ..message(&[priority], 1000) }.put(&mut records);
    }
    assert!(queue.reserve(records.into()));
    queue.publish(&[batch::Message { priority: 9, ..message(&[90], 1000) }]);
    queue.get();
    queue.publish(&[batch::Message { priority: 5, ..message(&[50], 1000) }]);
    queue.consume(7, |spec| spec.prefetch = 1);
    queue.settle(Verdict::Ack, 7, &queue.seqs(State::Held(7)));
    queue.take_delivered();
    queue.decide_and_fill();
    queue.consume(8, |_| {});
    let delivered = queue.take_delivered();
    assert_eq!(bodies(&delivered), [9, 9, 5, 1]);
    assert!(delivered.iter().all(|(.., redelivered)| !redelivered));
}
