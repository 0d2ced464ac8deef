//! A transaction of a channel: what was published since it began, by queue, and what comes back at its end (AMQP 0-9-1,
//! class tx). Settlements are with [`super::unacked`].

use std::collections::HashMap;

use crate::broker::batch::{self, Batch};
use crate::broker::ids::{QueueId, Target};

/// What one connection's transactions hold may be limited by [`Self::bytes`].
#[derive(Debug, Default)]
pub struct Transaction {
    open: Vec<Open>,
    places: HashMap<QueueId, usize, foldhash::fast::RandomState>,
    unroutable: Vec<Vec<u8>>,
    bytes: usize,
}

#[derive(Debug)]
struct Open {
    target: Target,
    records: Vec<u8>,
    count: u32,
    persistent: u32,
    body_bytes: u64,
}

/// The publishes of a transaction to one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publishes {
    /// The queue.
    pub target: Target,
    /// The messages.
    pub batch: Batch,
    /// Bytes of their bodies.
    pub body_bytes: u64,
}

/// What a transaction held when it ended.
#[derive(Debug, Default)]
pub struct Ended {
    /// In the order in which the queues were first published to.
    pub publishes: Vec<Publishes>,
    /// Records of mandatory messages that no queue takes.
    pub unroutable: Vec<Vec<u8>>,
}

impl Transaction {
    /// Gathers a message, whose record `put` writes.
    pub fn append(
        &mut self,
        target: Target,
        persistent: bool,
        body_length: usize,
        put: impl FnOnce(&mut Vec<u8>),
    ) {
        let at = *self.places.entry(target.id).or_insert(self.open.len());
        if at == self.open.len() {
            self.open.push(Open { target, records: Vec::new(), count: 0, persistent: 0, body_bytes: 0 });
        }
        let Some(open) = self.open.get_mut(at) else { return };
        let before = open.records.len();
        put(&mut open.records);
        self.bytes += open.records.len() - before;
        open.count += 1;
        open.persistent += u32::from(persistent);
        open.body_bytes += body_length as u64;
    }

    /// Keeps a mandatory message that no queue takes: its publisher is told at the commit.
    pub fn append_unroutable(&mut self, put: impl FnOnce(&mut Vec<u8>)) {
        let mut record = Vec::new();
        put(&mut record);
        self.bytes += record.len();
        self.unroutable.push(record);
    }

    /// Messages that it holds, counted for each of their queues.
    #[must_use]
    pub fn messages(&self) -> u64 {
        let queued: u64 = self.open.iter().map(|open| u64::from(open.count)).sum();
        queued + self.unroutable.len() as u64
    }

    /// Bytes of all it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Ends it, for a commit at this time: its messages arrive now. The next one begins.
    pub fn take(&mut self, now_ms: u64) -> Ended {
        let Self { open, unroutable, .. } = std::mem::take(self);
        let publishes = open.into_iter().map(|mut open| {
            batch::restamp(&mut open.records, now_ms);
            let batch = Batch::of(open.records, open.count, open.persistent);
            Publishes { target: open.target, batch, body_bytes: open.body_bytes }
        });
        Ended { publishes: publishes.collect(), unroutable }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::batch::Message;

    fn message(body: &[u8], due_ms: Option<u64>) -> Message<'_> {
        Message { body, enqueued_ms: 1000, due_ms, persistent: due_ms.is_none(), ..Message::default() }
    }

    fn put(transaction: &mut Transaction, queue: u64, message: &Message<'_>) {
        let target = Target { id: QueueId(queue), shard: 0, durable: true };
        transaction.append(target, message.persistent, message.body.len(), |records| message.put(records));
    }

    #[test]
    fn publishes_are_gathered_by_queue_in_their_order() {
        let mut transaction = Transaction::default();
        for (queue, body) in [(7, "a"), (3, "bb"), (7, "c")] {
            put(&mut transaction, queue, &message(body.as_bytes(), None));
        }
        transaction.append_unroutable(|record| message(b"nowhere", None).put(record));
        let bytes = transaction.bytes();
        let ended = transaction.take(1000);
        let held: usize = ended.publishes.iter().map(|publishes| publishes.batch.records.len()).sum();
        assert_eq!(bytes, held + ended.unroutable[0].len());
        let queues: Vec<_> = ended.publishes.iter().map(|publishes| publishes.target.id.0).collect();
        assert_eq!(queues, [7, 3]);
        let first = &ended.publishes[0];
        assert_eq!((first.batch.count, first.batch.persistent, first.body_bytes), (2, 2, 2));
        assert_eq!(Batch::check(first.batch.records.clone()).map(|batch| batch.count), Some(2));
    }

    #[test]
    fn the_next_one_begins_empty() {
        let mut transaction = Transaction::default();
        put(&mut transaction, 1, &message(b"a", None));
        transaction.take(1000);
        assert_eq!(transaction.bytes(), 0);
        let ended = transaction.take(1000);
        assert_eq!((ended.publishes.len(), ended.unroutable.len()), (0, 0));
    }

    #[test]
    fn messages_arrive_at_the_commit() {
        let mut transaction = Transaction::default();
        put(&mut transaction, 1, &message(b"a", None));
        put(&mut transaction, 1, &message(b"b", Some(1500)));
        let ended = transaction.take(9000);
        let records = &ended.publishes[0].batch.records;
        let (first, length) = batch::read(records).unwrap();
        let (second, _) = batch::read(&records[length..]).unwrap();
        assert_eq!((first.enqueued_ms, first.due_ms), (9000, None));
        assert_eq!(
            (second.enqueued_ms, second.due_ms),
            (9000, Some(9500)),
            "it lives as long as it asked for"
        );
    }
}
