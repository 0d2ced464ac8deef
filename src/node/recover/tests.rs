//! Transactions in the log: each record counts as a whole, or is not there.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::broker::batch::{Batch, Message};
use crate::broker::queue::{Command, Effect, GetReply, Options};
use crate::broker::topology;
use crate::storage::{Append, ColdOptions, SyncPolicy, open_directory};

const NOW_MS: u64 = 5000;
const SHARDS: u16 = 2;

/// What a queue holds, by message number.
type Held = BTreeSet<u64>;

fn config(dir: &Path) -> Config {
    let mut config = Config::load(None).unwrap();
    config.node.data_dir = dir.to_owned();
    (config.log.sync, config.log.segment_bytes) = (SyncPolicy::Os, 1 << 20);
    config
}

fn batch(count: u64) -> Batch {
    let mut records = Vec::new();
    let message = Message { body: b"m", enqueued_ms: 1000, persistent: true, ..Message::default() };
    (0..count).for_each(|_| message.put(&mut records));
    Batch::check(records.into()).unwrap()
}

/// Two durable queues on different shards, and the record that declares them.
fn declared() -> ([QueueId; 2], Append) {
    let mut topology = Topology::new(Placement::alone(SHARDS));
    let mut head = Vec::new();
    let mut apply = |command| {
        let outcome = topology.apply(command).unwrap();
        outcome.changes.iter().for_each(|change| change.encode(&mut head));
        outcome.queue.map(|queue| queue.id)
    };
    apply(topology::Command::CreateVhost { name: "/".to_owned() });
    let queues = ["a", "b"].map(|name| {
        let declare = topology::Command::DeclareQueue {
            vhost: "/".to_owned(),
            name: name.to_owned(),
            generated: false,
            passive: false,
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments: amq_protocol::types::FieldTable::default(),
            owner: 1,
        };
        apply(declare).unwrap()
    });
    (queues, Append { shard: META_SHARD, index: 1, kind: record::ROWS, head, body: Bytes::new() })
}

/// A record of the log with what it means: messages that come and go, by queue.
struct Written {
    append: Append,
    comes: Vec<(usize, Held)>,
    goes: Vec<(usize, Held)>,
}

impl Written {
    fn enqueue(queues: [QueueId; 2], index: u64, at: usize, first: u64, count: u64) -> Self {
        let (head, body) = (record::enqueue(queues[at], first), batch(count).records);
        let append = Append { shard: 1, index, kind: record::ENQUEUE, head, body };
        Self { append, comes: vec![(at, (first..first + count).collect())], goes: vec![] }
    }

    fn settle(queues: [QueueId; 2], index: u64, at: usize, first: u64, count: u64) -> Self {
        let head = record::settle(queues[at], &[(first, count)]);
        let append = Append { shard: 1, index, kind: record::SETTLE, head, body: Bytes::new() };
        Self { append, comes: vec![], goes: vec![(at, (first..first + count).collect())] }
    }

    /// Messages for queues (first number, count), and settlements.
    fn transaction(
        queues: [QueueId; 2],
        index: u64,
        publishes: &[(usize, u64, u64)],
        settled: &[(usize, u64, u64)],
    ) -> Self {
        let batches: Vec<_> = publishes.iter().map(|(.., count)| batch(*count)).collect();
        let parts: Vec<_> = publishes
            .iter()
            .zip(&batches)
            .map(|((at, first, _), batch)| (queues[*at], *first, batch))
            .collect();
        let ranges: Vec<_> =
            settled.iter().map(|(at, first, count)| (queues[*at], [(*first, *count)])).collect();
        let ranges: Vec<_> = ranges.iter().map(|(queue, ranges)| (*queue, &ranges[..])).collect();
        let (head, body) = record::transaction(&parts, &ranges);
        let append = Append { shard: TRANSACTIONS_SHARD, index, kind: record::TRANSACTION, head, body };
        let held = |parts: &[(usize, u64, u64)]| {
            parts.iter().map(|(at, first, count)| (*at, (*first..first + count).collect())).collect()
        };
        Self { append, comes: held(publishes), goes: held(settled) }
    }
}

/// Everything that happens to two queues with transactions that overtake others, and are overtaken.
fn history(queues: [QueueId; 2]) -> Vec<Written> {
    vec![
        Written::enqueue(queues, 1, 0, 0, 3),
        Written::transaction(queues, 1, &[(0, 3, 2), (1, 0, 1)], &[(0, 0, 1)]),
        Written::enqueue(queues, 2, 0, 7, 2),
        Written::transaction(queues, 2, &[(1, 1, 4)], &[(0, 1, 2), (0, 7, 1)]),
        Written::transaction(queues, 3, &[(0, 5, 2)], &[(1, 0, 2)]),
        Written::settle(queues, 3, 0, 4, 2),
        Written::transaction(queues, 4, &[], &[(0, 3, 1), (1, 3, 1)]),
        Written::transaction(queues, 5, &[(1, 5, 3), (0, 9, 1)], &[]),
    ]
}

fn write_log(dir: &Path, appends: Vec<Append>) {
    let lock = open_directory(dir).unwrap();
    let options = LogOptions { segment_bytes: 1 << 20, sync: SyncPolicy::Os, ..LogOptions::default() };
    let writer = Log::recover(&lock.log_dir(), &options, &mut |_| Ok(()), false).unwrap();
    let log = writer.start(Box::new(|_| {}), Box::new(|error| panic!("{error}")));
    log.append(appends);
    log.stop();
}

/// What a restart finds in the two queues.
fn recovered(dir: &Path) -> [Held; 2] {
    let lock = open_directory(dir).unwrap();
    let cold = ColdStore::open(&lock.cold_dir(), &ColdOptions::default()).unwrap();
    let found = recover(&config(dir), &lock, &cold, Placement::alone(SHARDS), NOW_MS, false).unwrap();
    let mut held: [Held; 2] = Default::default();
    for (entry, mut queue) in found.queues {
        let at = usize::from(&*entry.name == "b");
        let ready = queue.counts().ready;
        held[at] = std::iter::from_fn(|| next(&mut queue, &cold, entry.id)).collect();
        assert_eq!(held[at].len() as u64, ready);
    }
    held
}

/// Takes the next message out.
fn next(queue: &mut Queue, cold: &ColdStore, id: QueueId) -> Option<u64> {
    let mut effects = Vec::new();
    queue.apply(Command::Get { no_ack: true }, NOW_MS, &mut effects);
    loop {
        let mut loads = Vec::new();
        for effect in effects.drain(..) {
            match effect {
                Effect::Got(GetReply::Message { seq, .. }) => return Some(seq),
                Effect::Got(GetReply::Empty) => return None,
                Effect::Load(first) => loads.push(first),
                _ => {}
            }
        }
        for first in loads {
            let chunk = cold.get_chunk(id.0, first).unwrap().unwrap();
            queue.apply(Command::ChunkLoaded(first, chunk), NOW_MS, &mut effects);
        }
    }
}

#[test]
fn a_log_cut_behind_any_record_has_each_transaction_as_a_whole() {
    let (queues, rows) = declared();
    let count = history(queues).len();
    for cut in 0..=count {
        let dir = tempfile::tempdir().unwrap();
        let mut expected: [Held; 2] = Default::default();
        let mut appends = vec![rows.clone()];
        for Written { append, comes, goes } in history(queues).into_iter().take(cut) {
            appends.push(append);
            comes.into_iter().for_each(|(at, mut held)| expected[at].append(&mut held));
            goes.into_iter().for_each(|(at, held)| expected[at].retain(|seq| !held.contains(seq)));
        }
        write_log(dir.path(), appends);
        assert_eq!(recovered(dir.path()), expected, "the first {cut} records");
        // What the first recovery did changes nothing.
        assert_eq!(recovered(dir.path()), expected, "the first {cut} records, once more");
    }
}

/// A checkpoint of a queue that had set numbers 3 and 4 aside: its row and chunks are in the cold store, and what the
/// log had until then is covered.
fn checkpoint_with_open_numbers(dir: &Path, id: QueueId, is_filled: bool) {
    let options = Options { durable: true, ..Options::default() };
    let mut queue = Queue::new(options, 1000);
    let mut effects = Vec::new();
    queue.apply(Command::Enqueue(batch(3)), 1000, &mut effects);
    let numbered = queue.reserve(&batch(2), 2).unwrap();
    let first = numbered[0].0;
    queue.apply(Command::Enqueue(batch(1)), 1000, &mut effects);
    assert_eq!(first, 3);
    if is_filled {
        queue.apply(Command::Fill(first, batch(2)), 1000, &mut effects);
    }
    let lock = open_directory(dir).unwrap();
    let cold = ColdStore::open(&lock.cold_dir(), &ColdOptions::default()).unwrap();
    let mut write = ColdBatch::new();
    write.put_queue(id.0, &queue.row());
    for chunk in queue.checkpoint() {
        let data = chunk.data.unwrap();
        write.put_records(id.0, chunk.first, &chunk.descriptor, data.front, data.records);
    }
    write.put_applied(1, 2);
    cold.write(write).unwrap();
    cold.flush().unwrap();
}

#[test]
fn a_checkpoint_between_the_numbers_and_the_messages_loses_and_doubles_nothing() {
    let (queues, rows) = declared();
    // Whether the messages had come when the checkpoint was made, and whether the log has the transaction.
    for (is_filled, is_logged) in [(false, false), (false, true), (true, true)] {
        let dir = tempfile::tempdir().unwrap();
        checkpoint_with_open_numbers(dir.path(), queues[0], is_filled);
        let mut appends = vec![
            rows.clone(),
            Written::enqueue(queues, 1, 0, 0, 3).append,
            Written::enqueue(queues, 2, 0, 5, 1).append,
        ];
        if is_logged {
            appends.push(Written::transaction(queues, 1, &[(0, 3, 2), (1, 0, 2)], &[]).append);
            appends.push(Written::settle(queues, 3, 0, 4, 1).append);
        }
        write_log(dir.path(), appends);
        let expected: [Held; 2] = if is_logged {
            [[0, 1, 2, 3, 5].into(), [0, 1].into()]
        } else {
            [[0, 1, 2, 5].into(), [].into()]
        };
        assert_eq!(recovered(dir.path()), expected, "filled: {is_filled}, logged: {is_logged}");
    }
}
