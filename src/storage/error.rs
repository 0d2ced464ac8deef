//! Why the store refuses or fails; every text names the file and the reason.

use std::{fmt, io, path::PathBuf};

/// A failure of the store.
#[derive(Debug)]
pub enum StorageError {
    /// The operating system refused: `action` is what was tried, as in "sync".
    Io { action: &'static str, path: PathBuf, source: io::Error },
    /// Another process has the store directory open.
    Locked { dir: PathBuf },
    /// A file is of another format or version than this program reads.
    Format { path: PathBuf, found: String, expected: String },
    /// Bytes that were synced cannot be read back as they were written.
    Corrupt { path: PathBuf, offset: u64, reason: String },
    /// A log segment that must exist is gone.
    MissingSegment { path: PathBuf },
    /// A record is longer than the log takes.
    RecordTooLarge { bytes: usize, bytes_max: usize },
    /// A record's index is not above that of the shard's record before, where records must be told apart by it.
    NotRising { shard: u16, index: u64, last: u64 },
    /// A record to be read back was never reported as synced, or is released.
    NotInLog { shard: u16, index: u64 },
    /// An entry of the log that its reader cannot make sense of.
    Entry { shard: u16, index: u64, reason: String },
    /// The log's writer ended by a panic.
    WriterPanicked,
    /// The cold store refused.
    Cold { action: &'static str, reason: String },
}

impl StorageError {
    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// An entry that cannot be replayed; for the closure given to [`super::Log::recover`].
    pub fn entry(shard: u16, index: u64, reason: impl Into<String>) -> Self {
        Self::Entry { shard, index, reason: reason.into() }
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { action, path, source } => write!(f, "cannot {action} '{}': {source}", path.display()),
            Self::Locked { dir } => {
                write!(f, "data directory '{}' is in use by another process", dir.display())
            }
            Self::Format { path, found, expected } => {
                write!(f, "'{}' has format '{found}', this version reads '{expected}'", path.display())
            }
            Self::Corrupt { path, offset, reason } => {
                write!(f, "'{}' is damaged at offset {offset}: {reason}", path.display())
            }
            Self::MissingSegment { path } => write!(f, "log segment '{}' is missing", path.display()),
            Self::RecordTooLarge { bytes, bytes_max } => {
                write!(f, "log record of {bytes} bytes is larger than the limit of {bytes_max} bytes")
            }
            Self::NotRising { shard, index, last } => {
                write!(f, "log record {index} of shard {shard} comes after record {last}")
            }
            Self::NotInLog { shard, index } => {
                write!(f, "log record {index} of shard {shard} is not in the log")
            }
            Self::Entry { shard, index, reason } => {
                write!(f, "log entry {index} of shard {shard} cannot be replayed: {reason}")
            }
            Self::WriterPanicked => write!(f, "the log writer ended by a panic"),
            Self::Cold { action, reason } => write!(f, "cold store cannot {action}: {reason}"),
        }
    }
}

impl std::error::Error for StorageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Locked { .. }
            | Self::Format { .. }
            | Self::Corrupt { .. }
            | Self::MissingSegment { .. }
            | Self::RecordTooLarge { .. }
            | Self::NotRising { .. }
            | Self::NotInLog { .. }
            | Self::Entry { .. }
            | Self::WriterPanicked
            | Self::Cold { .. } => None,
        }
    }
}
