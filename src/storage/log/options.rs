//! How the log writes.

/// Options of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Size of a segment file in bytes; a larger record gets a segment of its own size.
    pub segment_bytes: u64,
    /// When a group counts as safe.
    pub sync: SyncPolicy,
    /// How many released segments are kept for reuse.
    pub spare_segments: usize,
}

/// When a group of records counts as safe and is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// After its sync.
    Always,
    /// Once handed to the operating system, which is made to sync at least every `ms` milliseconds.
    Interval {
        /// Longest time between a write and its sync, in milliseconds.
        ms: u64,
    },
    /// Once handed to the operating system, which syncs when it likes.
    Os,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, sync: SyncPolicy::Always, spare_segments: 2 }
    }
}
