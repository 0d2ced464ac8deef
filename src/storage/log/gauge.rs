//! What the log's disk does, for people: counted by the writer, once for each write and sync.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::table::Table;

/// The bounds of the histogram of syncs, in microseconds.
pub const SYNC_BOUNDS_US: [u64; 12] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 1_000_000];

/// What the writer has counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    written_bytes: AtomicU64,
    syncs: AtomicU64,
    sync_us: AtomicU64,
    /// Syncs by the first bound that they keep.
    by_bound: [AtomicU64; SYNC_BOUNDS_US.len()],
}

impl Counts {
    pub(super) fn wrote(&self, bytes: u64) {
        self.written_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn synced(&self, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.sync_us.fetch_add(took_us, Ordering::Relaxed);
        let at = SYNC_BOUNDS_US.partition_point(|bound| *bound < took_us);
        if let Some(count) = self.by_bound.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A view of the log that does not keep it running.
#[derive(Clone, Debug)]
pub struct LogGauge {
    counts: Arc<Counts>,
    table: Arc<Table>,
}

/// What the log's disk has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogNumbers {
    /// Bytes in segments that are not released.
    pub live_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Syncs.
    pub syncs: u64,
    /// Time spent in them, in microseconds.
    pub sync_us: u64,
    /// For each of [`SYNC_BOUNDS_US`]: how many took no longer.
    pub syncs_within: [u64; SYNC_BOUNDS_US.len()],
}

impl LogGauge {
    pub(super) fn new(counts: Arc<Counts>, table: Arc<Table>) -> Self {
        Self { counts, table }
    }

    /// What it has done so far.
    #[must_use]
    pub fn numbers(&self) -> LogNumbers {
        let mut sum = 0;
        let syncs_within = std::array::from_fn(|at| {
            sum += self.counts.by_bound.get(at).map_or(0, |count| count.load(Ordering::Relaxed));
            sum
        });
        LogNumbers {
            live_bytes: self.table.live_bytes(),
            written_bytes: self.counts.written_bytes.load(Ordering::Relaxed),
            syncs: self.counts.syncs.load(Ordering::Relaxed),
            sync_us: self.counts.sync_us.load(Ordering::Relaxed),
            syncs_within,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syncs_are_counted_by_how_long_they_took() {
        let counts = Counts::default();
        for took_us in [50, 51, 700, 5_000_000] {
            counts.synced(Duration::from_micros(took_us));
        }
        let counted: Vec<_> = counts.by_bound.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        assert_eq!(counted, [1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(counts.syncs.load(Ordering::Relaxed), 4);
    }
}
