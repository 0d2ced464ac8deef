//! The queue records of the log: their kinds and heads, little endian.
//!
//! - enqueue: queue u64, first number u64; the body is the records
//! - settle: queue u64, then (first u64, count u64) for each range
//! - delivered: queue u64, the first number never delivered u64
//! - clean stop, started: nothing; the node stopped cleanly if the former is the shard's last record

use crate::broker::ids::QueueId;
use crate::broker::queue::SeqRange;

pub(crate) const ENQUEUE: u8 = 1;
pub(crate) const SETTLE: u8 = 2;
pub(crate) const DELIVERED: u8 = 3;
pub(crate) const CLEAN_STOP: u8 = 4;
/// A shard begins its work: what the last run left is not clean any more.
pub(crate) const STARTED: u8 = 6;
/// Rows of the topology, in records of the meta shard.
pub(crate) const ROWS: u8 = 5;

pub(crate) fn enqueue(queue: QueueId, first: u64) -> Vec<u8> {
    pair(queue.0, first)
}

pub(crate) fn delivered(queue: QueueId, below: u64) -> Vec<u8> {
    pair(queue.0, below)
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

/// Two numbers and what is behind them.
pub(crate) fn read_pair(payload: &[u8]) -> Option<(u64, u64, &[u8])> {
    let (first, rest) = payload.split_first_chunk::<8>()?;
    let (second, rest) = rest.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*first), u64::from_le_bytes(*second), rest))
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

fn pair(first: u64, second: u64) -> Vec<u8> {
    let mut head = Vec::with_capacity(16);
    head.extend_from_slice(&first.to_le_bytes());
    head.extend_from_slice(&second.to_le_bytes());
    head
}
