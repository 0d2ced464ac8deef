//! What survives a restart: the node's log, the cold store, and the directory that holds both.
//!
//! - `error`: what can go wrong, worded for the operator
//! - `lock`: the store directory, its lock and its format version
//! - `log`: the append-only log everything durable is written to first
//! - `cold`: RocksDB, for what is still alive when its log segment goes

pub mod cold;
pub mod error;
pub mod lock;
pub mod log;

pub use cold::{ColdBatch, ColdOptions, ColdSnapshot, ColdStore, PIECE_BYTES, Restore, SnapshotOf};
pub use error::StorageError;
pub use lock::{DirectoryLock, open_directory};
pub use log::{
    Append, Entry, Log, LogHandle, LogOptions, LogWriter, PAYLOAD_MAX, READABLE_SHARDS, ReadBack,
    ReadableLog, SyncPolicy, Synced,
};
