//! The node's log: one order and one sync for everybody.
//!
//! - `options`: segment size, sync policy
//! - `record`: one record's bytes; the mark that says what was synced before
//! - `segment`: a segment's header, name, creation and recycling
//! - `scan`: reading a segment that may be torn or damaged
//! - `recover`: from the files to the entries and a writer behind them
//! - `frame`: laying out a group for one vectored write
//! - `medium`: the write and the sync, apart so that tests can make them fail; `direct`: past the page cache
//! - `highest`: the highest index of each shard
//! - `readback`: reading records of some shards while the log runs
//! - `gauge`: what the disk does, for people
//! - `stall`: noticing a disk that does not answer
//! - `table`: closed segments, releasing and recycling them
//! - `writer`: the thread that writes and syncs group by group
//! - `stepped`: for the simulation, the writer without its thread, over a disk that fails and loses
//! - `handle`: what everybody else holds
//!
//! Four rules carry the crash safety:
//! 1. A segment's header is durable before its name is, and its name before its first record.
//! 2. A segment is synced to its end before the next one exists; the next one's header names that end.
//!    So only the last segment can be torn, and a torn tail is settled for good by the segment behind it.
//! 3. Checksums are seeded with the segment's number, numbers are never used twice: what an earlier life
//!    of a recycled file left behind never validates.
//! 4. A failed write or sync ends the log: nothing is confirmed after it.

mod direct;
mod frame;
mod gauge;
mod handle;
mod highest;
mod medium;
mod options;
mod readback;
mod record;
mod recover;
mod scan;
mod segment;
mod stall;
#[cfg(test)]
pub(crate) mod stepped;
mod table;
#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "tests count small")]
mod tests;
mod writer;

use std::path::Path;

use bytes::Bytes;

pub use gauge::{LogGauge, LogNumbers, SYNC_BOUNDS_US};
pub use handle::LogHandle;
pub use options::{LogOptions, SyncPolicy};
pub use record::PAYLOAD_MAX;
pub use writer::LogWriter;

use super::error::StorageError;

/// One record to append. Its payload is `head`, then `body`; the log looks into neither.
///
/// A payload over [`PAYLOAD_MAX`] bytes ends the log with an error: limits belong in front of it.
#[derive(Clone, Debug, Default)]
pub struct Append {
    /// Whose record it is.
    pub shard: u16,
    /// The shard's own count; must rise from record to record of a shard. For [`READABLE_SHARDS`] an index that does not
    /// ends the log with an error.
    pub index: u64,
    /// What the payload is; all values are the caller's.
    pub kind: u8,
    /// First part of the payload, may be empty.
    pub head: Vec<u8>,
    /// Second part of the payload, may be empty; not copied until it is written.
    pub body: Bytes,
}

/// One record read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// As appended.
    pub shard: u16,
    /// As appended.
    pub index: u64,
    /// As appended.
    pub kind: u8,
    /// Head and body, end to end.
    pub payload: &'a [u8],
}

/// A position in a shard's count: everything up to and including `index`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synced {
    /// The shard.
    pub shard: u16,
    /// Its highest index.
    pub index: u64,
}

/// The log as found on disk.
#[derive(Debug)]
pub struct Log;

impl Log {
    /// Replays the log in `dir` in its order and returns the writer that continues behind it.
    ///
    /// A torn tail, which nobody was ever told is synced, is dropped. Damage to what was synced is an error,
    /// or with `salvage` a warning, and the damaged records are skipped. The folder is created if missing.
    ///
    /// # Errors
    /// Damage, naming segment and offset; failures to read or write; whatever `replay` returns.
    pub fn recover(
        dir: &Path,
        options: &LogOptions,
        replay: &mut dyn FnMut(Entry<'_>) -> Result<(), StorageError>,
        salvage: bool,
    ) -> Result<LogWriter, StorageError> {
        recover::recover(dir, options, replay, salvage)
    }
}

/// Records of these shards can be read back while the node runs.
pub const READABLE_SHARDS: std::ops::Range<u16> = 0x4000..0x8000;

/// One record read back from a running log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadBack {
    /// As appended.
    pub index: u64,
    /// As appended.
    pub kind: u8,
    /// Head and body, end to end.
    pub payload: Bytes,
}

/// A log for those who replicate: what they append they can read again.
pub trait ReadableLog: std::fmt::Debug + Send + Sync {
    /// See [`LogHandle::append`].
    fn append(&self, records: Vec<Append>);
    /// Records of a shard of [`READABLE_SHARDS`] with these indexes, in order, as many as `bytes_max` bytes hold but at least
    /// one. Only what was reported as synced and is not released can be read.
    ///
    /// # Errors
    /// When a record is not there, or the disk fails.
    fn read(
        &self,
        shard: u16,
        indexes: std::ops::RangeInclusive<u64>,
        bytes_max: usize,
    ) -> Result<Vec<ReadBack>, StorageError>;
}
