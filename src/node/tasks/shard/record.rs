//! The queue records of the log: their kinds and heads, little endian.
//!
//! - enqueue: queue u64, first number u64; the body is the records
//! - enqueue with ids: queue u64, first number u64, length u32, the ids (`broker::deduplication`); the body is the records
//! - ids: queue u64, then what has become of its ids
//! - settle: queue u64, then (first u64, count u64) for each range
//! - returned: queue u64, then (first u64, count u64, how often u32) for each run
//! - retry: queue u64, then (first u64, count u64, until when they wait u64) for each run
//! - delivered: queue u64, then for each lane the first number never delivered u64
//! - transaction: how many queues get messages u32, how many settlements u32; for each of the former queue u64, first
//!   number u64, length of its records u64; for each of the latter queue u64, how many ranges u32, the ranges; then the
//!   records, queue by queue. All of it counts, or, when the record is not there, nothing
//! - session: rows of `cluster::session`; only in entries of a group
//! - clean stop, started: nothing; the node stopped cleanly if the former is the shard's last record

use bytes::Bytes;

use crate::broker::batch::Batch;
use crate::broker::ids::QueueId;
use crate::broker::queue::{RetryRun, ReturnRun, SeqRange};

pub(crate) const ENQUEUE: u8 = 1;
pub(crate) const SETTLE: u8 = 2;
pub(crate) const DELIVERED: u8 = 3;
pub(crate) const CLEAN_STOP: u8 = 4;
/// A shard begins its work: what the last run left is not clean any more.
pub(crate) const STARTED: u8 = 6;
/// Rows of the topology, in records of the meta shard.
pub(crate) const ROWS: u8 = 5;
/// How often messages have come back by now, so that reading it twice changes nothing.
pub(crate) const RETURNED: u8 = 7;
/// Until when messages that came back wait.
pub(crate) const RETRY: u8 = 8;
/// A commit, in records of the transactions' shard.
pub(crate) const TRANSACTION: u8 = 16;

/// Messages together with their ids, so that neither is there without the other.
pub(crate) const ENQUEUE_WITH_IDS: u8 = 20;
/// What has become of ids.
pub(crate) const IDS: u8 = 21;

/// What a group must remember of the sessions that asked it (`cluster::session`).
pub(crate) const SESSION: u8 = 24;

pub(crate) fn enqueue(queue: QueueId, first: u64) -> Vec<u8> {
    pair(queue.0, first)
}

pub(crate) fn enqueue_with_ids(queue: QueueId, first: u64, ids: &[u8]) -> Vec<u8> {
    let mut head = pair(queue.0, first);
    head.extend_from_slice(&u32::try_from(ids.len()).unwrap_or(u32::MAX).to_le_bytes());
    head.extend_from_slice(ids);
    head
}

pub(crate) fn ids(queue: QueueId, ids: &[u8]) -> Vec<u8> {
    [&queue.0.to_le_bytes(), ids].concat()
}

pub(crate) fn delivered(queue: QueueId, below: &[u64]) -> Vec<u8> {
    [queue.0].iter().chain(below).flat_map(|number| number.to_le_bytes()).collect()
}

pub(crate) fn settle(queue: QueueId, ranges: &[SeqRange]) -> Vec<u8> {
    let mut head = Vec::with_capacity(8 + ranges.len() * 16);
    head.extend_from_slice(&queue.0.to_le_bytes());
    for (first, count) in ranges {
        head.extend_from_slice(&first.to_le_bytes());
        head.extend_from_slice(&count.to_le_bytes());
    }
    head
}

pub(crate) fn returned(queue: QueueId, runs: &[ReturnRun]) -> Vec<u8> {
    let mut head = Vec::with_capacity(8 + runs.len() * 20);
    head.extend_from_slice(&queue.0.to_le_bytes());
    for (first, count, returns) in runs {
        head.extend_from_slice(&first.to_le_bytes());
        head.extend_from_slice(&count.to_le_bytes());
        head.extend_from_slice(&returns.to_le_bytes());
    }
    head
}

pub(crate) fn retry(queue: QueueId, runs: &[RetryRun]) -> Vec<u8> {
    let mut head = Vec::with_capacity(8 + runs.len() * 24);
    head.extend_from_slice(&queue.0.to_le_bytes());
    for (first, count, due_ms) in runs {
        [first, count, due_ms].iter().for_each(|number| head.extend_from_slice(&number.to_le_bytes()));
    }
    head
}

/// Two numbers and what is behind them.
pub(crate) fn read_pair(payload: &[u8]) -> Option<(u64, u64, &[u8])> {
    let (first, rest) = payload.split_first_chunk::<8>()?;
    let (second, rest) = rest.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*first), u64::from_le_bytes(*second), rest))
}

pub(crate) fn read_delivered(payload: &[u8]) -> Option<(u64, Vec<u64>)> {
    let (queue, rest) = payload.split_first_chunk::<8>()?;
    let (below, rest) = rest.as_chunks::<8>();
    let is_whole = rest.is_empty() && !below.is_empty();
    let below = below.iter().map(|below| u64::from_le_bytes(*below));
    is_whole.then(|| (u64::from_le_bytes(*queue), below.collect()))
}

/// Queue, first number, ids, records.
pub(crate) fn read_enqueue_with_ids(payload: &[u8]) -> Option<(u64, u64, &[u8], &[u8])> {
    let (queue, first, rest) = read_pair(payload)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (ids, records) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    Some((queue, first, ids, records))
}

pub(crate) fn read_ids(payload: &[u8]) -> Option<(u64, &[u8])> {
    let (queue, ids) = payload.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*queue), ids))
}

pub(crate) fn read_settle(payload: &[u8]) -> Option<(QueueId, Vec<SeqRange>)> {
    let (queue, mut rest) = payload.split_first_chunk::<8>()?;
    let mut ranges = Vec::new();
    while !rest.is_empty() {
        let (first, count, behind) = read_pair(rest)?;
        ranges.push((first, count));
        rest = behind;
    }
    Some((QueueId(u64::from_le_bytes(*queue)), ranges))
}

pub(crate) fn read_returned(payload: &[u8]) -> Option<(QueueId, Vec<ReturnRun>)> {
    let (queue, mut rest) = payload.split_first_chunk::<8>()?;
    let mut runs = Vec::new();
    while !rest.is_empty() {
        let (first, count, behind) = read_pair(rest)?;
        let (returns, behind) = behind.split_first_chunk::<4>()?;
        runs.push((first, count, u32::from_le_bytes(*returns)));
        rest = behind;
    }
    Some((QueueId(u64::from_le_bytes(*queue)), runs))
}

pub(crate) fn read_retry(payload: &[u8]) -> Option<(QueueId, Vec<RetryRun>)> {
    let (queue, mut rest) = payload.split_first_chunk::<8>()?;
    let mut runs = Vec::new();
    while !rest.is_empty() {
        let (first, count, behind) = read_pair(rest)?;
        let (due_ms, behind) = behind.split_first_chunk::<8>()?;
        runs.push((first, count, u64::from_le_bytes(*due_ms)));
        rest = behind;
    }
    Some((QueueId(u64::from_le_bytes(*queue)), runs))
}

/// Messages with their first numbers, and settlements: head and body.
pub(crate) fn transaction(
    publishes: &[(QueueId, u64, &Batch)],
    settled: &[(QueueId, &[SeqRange])],
) -> (Vec<u8>, Bytes) {
    let mut head = Vec::with_capacity(8 + publishes.len() * 24 + settled.len() * 28);
    head.extend_from_slice(&to_u32(publishes.len()).to_le_bytes());
    head.extend_from_slice(&to_u32(settled.len()).to_le_bytes());
    for (queue, first, batch) in publishes {
        head.extend_from_slice(&pair(queue.0, *first));
        head.extend_from_slice(&(batch.records.len() as u64).to_le_bytes());
    }
    for (queue, ranges) in settled {
        head.extend_from_slice(&queue.0.to_le_bytes());
        head.extend_from_slice(&to_u32(ranges.len()).to_le_bytes());
        ranges.iter().for_each(|(first, count)| head.extend_from_slice(&pair(*first, *count)));
    }
    let body = match publishes {
        [(.., batch)] => batch.records.clone(),
        many => many.iter().flat_map(|(.., batch)| batch.records.iter().copied()).collect(),
    };
    (head, body)
}

/// What [`transaction`] wrote: queues, first numbers and records; queues and settled ranges.
pub(crate) type Transaction<'a> = (Vec<(QueueId, u64, &'a [u8])>, Vec<(QueueId, Vec<SeqRange>)>);

pub(crate) fn read_transaction(payload: &[u8]) -> Option<Transaction<'_>> {
    let (published, rest) = payload.split_first_chunk::<4>()?;
    let (settlements, mut rest) = rest.split_first_chunk::<4>()?;
    let mut heads = Vec::new();
    for _ in 0..u32::from_le_bytes(*published) {
        let (queue, first, behind) = read_pair(rest)?;
        let (length, behind) = behind.split_first_chunk::<8>()?;
        heads.push((QueueId(queue), first, usize::try_from(u64::from_le_bytes(*length)).ok()?));
        rest = behind;
    }
    let mut settled = Vec::new();
    for _ in 0..u32::from_le_bytes(*settlements) {
        let (queue, behind) = rest.split_first_chunk::<8>()?;
        let (count, mut behind) = behind.split_first_chunk::<4>()?;
        let mut ranges = Vec::new();
        for _ in 0..u32::from_le_bytes(*count) {
            let (first, count, next) = read_pair(behind)?;
            ranges.push((first, count));
            behind = next;
        }
        settled.push((QueueId(u64::from_le_bytes(*queue)), ranges));
        rest = behind;
    }
    let mut publishes = Vec::new();
    for (queue, first, length) in heads {
        let (records, behind) = rest.split_at_checked(length)?;
        publishes.push((queue, first, records));
        rest = behind;
    }
    rest.is_empty().then_some((publishes, settled))
}

fn to_u32(count: usize) -> u32 {
    debug_assert!(u32::try_from(count).is_ok(), "a record has far fewer parts");
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn pair(first: u64, second: u64) -> Vec<u8> {
    let mut head = Vec::with_capacity(16);
    head.extend_from_slice(&first.to_le_bytes());
    head.extend_from_slice(&second.to_le_bytes());
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_what_was_delivered_are_read_as_written() {
        for marks in [vec![5], vec![5, u64::MAX, 7]] {
            let payload = delivered(QueueId(7), &marks);
            assert_eq!(read_delivered(&payload), Some((7, marks)));
            for cut in (0..payload.len()).filter(|cut| cut % 8 != 0 || *cut < 16) {
                assert_eq!(read_delivered(&payload[..cut]), None, "{cut}");
            }
        }
    }

    #[test]
    fn ids_are_read_as_written() {
        let payload = enqueue_with_ids(QueueId(7), 9, b"ids");
        for cut in 0..payload.len() {
            assert_eq!(read_enqueue_with_ids(&payload[..cut]), None, "{cut}");
        }
        let payload = [&payload[..], b"records"].concat();
        assert_eq!(read_enqueue_with_ids(&payload), Some((7, 9, &b"ids"[..], &b"records"[..])));
        assert_eq!(read_ids(&ids(QueueId(7), b"ids")), Some((7, &b"ids"[..])));
    }

    #[test]
    fn a_transaction_is_read_as_written() {
        let batches =
            [&b"one"[..], b"", b"three"].map(|records| Batch { records: records.into(), ..Batch::default() });
        let publishes: Vec<_> =
            (1..).zip(&batches).map(|(at, batch)| (QueueId(at), at * 100, batch)).collect();
        let ranges = [vec![(1, 2), (u64::MAX, 1)], vec![], vec![(7, 7)]];
        let settled: Vec<_> =
            (5..).zip(&ranges).map(|(at, ranges)| (QueueId(at), ranges.as_slice())).collect();
        for (published, settlements) in [(3, 3), (1, 0), (0, 3), (0, 0)] {
            let (publishes, settled) = (&publishes[..published], &settled[..settlements]);
            let (mut payload, body) = transaction(publishes, settled);
            payload.extend_from_slice(&body);
            let read = read_transaction(&payload).unwrap();
            let written = publishes.iter().map(|(queue, first, batch)| (*queue, *first, &*batch.records));
            assert_eq!(read.0, written.collect::<Vec<_>>());
            assert_eq!(
                read.1,
                settled.iter().map(|(queue, ranges)| (*queue, ranges.to_vec())).collect::<Vec<_>>()
            );
            assert!((0..payload.len()).all(|cut| read_transaction(&payload[..cut]).is_none()));
            payload.push(0);
            assert_eq!(read_transaction(&payload), None);
        }
    }

    #[test]
    fn returns_are_read_as_written() {
        let runs = vec![(1, 2, 3), (u64::MAX, 5, u32::MAX)];
        let payload = returned(QueueId(7), &runs);
        assert_eq!(read_returned(&payload), Some((QueueId(7), runs)));
        for cut in (0..payload.len()).filter(|cut| ![8, 28].contains(cut)) {
            assert_eq!(read_returned(&payload[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn retries_are_read_as_written() {
        let runs = vec![(1, 2, 3), (u64::MAX, 5, u64::MAX)];
        let payload = retry(QueueId(7), &runs);
        assert_eq!(read_retry(&payload), Some((QueueId(7), runs)));
        for cut in (0..payload.len()).filter(|cut| ![8, 32].contains(cut)) {
            assert_eq!(read_retry(&payload[..cut]), None, "{cut}");
        }
    }
}
