//! What records of queues say, done once more: by a restart, which reads its own log, and by a member of a group, whose
//! leader wrote them.
//!
//! Replaying is idempotent by message number (`broker::queue`).

use bytes::Bytes;

use super::tasks::shard::record;
use crate::broker::batch::Batch;
use crate::broker::queue::Queue;
use crate::storage::StorageError;

/// The queues that records are replayed on, by number.
pub(super) trait Queues {
    /// Changes a queue; one that is of no interest is left alone.
    ///
    /// # Errors
    /// When it cannot be brought back from where it is kept.
    fn change(&mut self, id: u64, change: impl FnOnce(&mut Queue)) -> Result<(), StorageError>;
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replayed {
    Done,
    /// It is none of those that say what becomes of messages.
    Other,
    Malformed,
}

/// Replays one record. `share` gives a part of the payload to be kept.
pub(super) fn replay(
    kind: u8,
    payload: &[u8],
    share: &impl Fn(&[u8]) -> Bytes,
    queues: &mut impl Queues,
) -> Result<Replayed, StorageError> {
    let replayed = match kind {
        record::ENQUEUE => replay_enqueue(payload, share, queues)?,
        record::ENQUEUE_WITH_IDS => replay_enqueue_with_ids(payload, share, queues)?,
        record::IDS => replay_ids(payload, queues)?,
        record::SETTLE => replay_settle(payload, queues)?,
        record::RETURNED => replay_returned(payload, queues)?,
        record::RETRY => replay_retry(payload, queues)?,
        record::TRANSACTION => replay_transaction(payload, share, queues)?,
        _ => return Ok(Replayed::Other),
    };
    Ok(replayed.map_or(Replayed::Malformed, |()| Replayed::Done))
}

/// `None`: the record is malformed.
type Outcome = Result<Option<()>, StorageError>;

fn replay_enqueue(payload: &[u8], share: &impl Fn(&[u8]) -> Bytes, queues: &mut impl Queues) -> Outcome {
    let Some((queue, first, records)) = record::read_pair(payload) else { return Ok(None) };
    replay_records(queue, first, share(records), queues)
}

fn replay_enqueue_with_ids(
    payload: &[u8],
    share: &impl Fn(&[u8]) -> Bytes,
    queues: &mut impl Queues,
) -> Outcome {
    let Some((queue, first, ids, records)) = record::read_enqueue_with_ids(payload) else { return Ok(None) };
    if replay_ids_of(queue, ids, queues)?.is_none() {
        return Ok(None);
    }
    replay_records(queue, first, share(records), queues)
}

fn replay_ids(payload: &[u8], queues: &mut impl Queues) -> Outcome {
    let Some((queue, ids)) = record::read_ids(payload) else { return Ok(None) };
    replay_ids_of(queue, ids, queues)
}

fn replay_ids_of(queue: u64, ids: &[u8], queues: &mut impl Queues) -> Outcome {
    let mut result = Some(());
    queues.change(queue, |queue| result = queue.replay_ids(ids))?;
    Ok(result)
}

fn replay_settle(payload: &[u8], queues: &mut impl Queues) -> Outcome {
    let Some((queue, ranges)) = record::read_settle(payload) else { return Ok(None) };
    queues.change(queue.0, |queue| queue.replay_settle(&ranges)).map(Some)
}

fn replay_returned(payload: &[u8], queues: &mut impl Queues) -> Outcome {
    let Some((queue, runs)) = record::read_returned(payload) else { return Ok(None) };
    queues.change(queue.0, |queue| queue.replay_returns(&runs)).map(Some)
}

fn replay_retry(payload: &[u8], queues: &mut impl Queues) -> Outcome {
    let Some((queue, runs)) = record::read_retry(payload) else { return Ok(None) };
    queues.change(queue.0, |queue| queue.replay_retries(&runs)).map(Some)
}

/// A commit: the record is there, so all of it counts.
fn replay_transaction(payload: &[u8], share: &impl Fn(&[u8]) -> Bytes, queues: &mut impl Queues) -> Outcome {
    let Some((publishes, settled)) = record::read_transaction(payload) else { return Ok(None) };
    for (queue, first, records) in publishes {
        if replay_records(queue.0, first, share(records), queues)?.is_none() {
            return Ok(None);
        }
    }
    for (queue, ranges) in settled {
        queues.change(queue.0, |queue| queue.replay_settle(&ranges))?;
    }
    Ok(Some(()))
}

fn replay_records(queue: u64, first: u64, records: Bytes, queues: &mut impl Queues) -> Outcome {
    let Some(batch) = Batch::check(records) else { return Ok(None) };
    queues.change(queue, |queue| queue.replay_enqueue(first, &batch)).map(Some)
}

/// A part of a payload that stays where it is.
pub(super) fn share_of(payload: &Bytes) -> impl Fn(&[u8]) -> Bytes {
    |part| payload.slice_ref(part)
}
