//! The closed segments: which records they hold, releasing and recycling them.

use std::{
    collections::VecDeque,
    fs,
    path::PathBuf,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    LogOptions, Synced,
    highest::Highest,
    readback::Readable,
    segment::{self, Files, segment_path, spare_path},
};
use crate::storage::{error::StorageError, lock::sync_dir};

/// A segment that is written to its end and synced.
#[derive(Debug)]
pub(super) struct Closed {
    pub(super) number: u64,
    /// Where its records end.
    pub(super) end: u64,
    pub(super) highest: Highest,
}

/// Shared by the writer, which closes segments, and whoever releases them.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) dir: PathBuf,
    pub(super) readable: Readable,
    segment_bytes: u64,
    spares_max: usize,
    live_bytes: AtomicU64,
    state: Mutex<State>,
    /// One release at a time: segments go in their order.
    releasing: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Oldest first, numbers without a gap.
    closed: VecDeque<Closed>,
    spares: Vec<PathBuf>,
    released: Highest,
}

impl Table {
    pub(super) fn new(dir: PathBuf, options: &LogOptions) -> Self {
        Self {
            readable: Readable::new(dir.clone()),
            dir,
            segment_bytes: options.segment_bytes,
            spares_max: options.spare_segments,
            live_bytes: AtomicU64::new(0),
            state: Mutex::default(),
            releasing: Mutex::default(),
        }
    }

    /// Takes over the spares found on disk and removes those beyond the limit.
    pub(super) fn adopt_spares(&self, files: &Files) -> Result<(), StorageError> {
        for (position, number) in files.spares.iter().enumerate() {
            let path = spare_path(&self.dir, *number);
            if position < self.spares_max { self.state().spares.push(path) } else { segment::remove(&path)? }
        }
        Ok(())
    }

    pub(super) fn push_closed(&self, closed: Closed) {
        self.state().closed.push_back(closed);
    }

    pub(super) fn take_spare(&self) -> Option<PathBuf> {
        self.state().spares.pop()
    }

    /// Bytes of records and headers in segments that are not released.
    pub(super) fn live_bytes(&self) -> u64 {
        self.live_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn add_live(&self, bytes: u64) {
        self.live_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives back the oldest segments while all their records are released.
    ///
    /// A segment in the middle waits for those before it, so that a gap always means a lost file.
    pub(super) fn release(&self, up_to: &[Synced]) {
        let _turn = self.releasing.lock().unwrap_or_else(PoisonError::into_inner);
        self.state().released.raise_all(up_to);
        while let Some(closed) = self.take_released() {
            if let Err(error) = self.discard(&closed) {
                // Kept, it is replayed once more after a restart, which harms nobody.
                tracing::warn!("log segment {} is kept: {error}", closed.number);
                self.state().closed.push_front(closed);
                return;
            }
            self.live_bytes.fetch_sub(closed.end, Ordering::Relaxed);
        }
    }

    fn take_released(&self) -> Option<Closed> {
        let mut state = self.state();
        let oldest = state.closed.front()?;
        if oldest.highest.is_covered_by(&state.released) { state.closed.pop_front() } else { None }
    }

    /// The directory is synced before the file is anything else: the old name must not show new content.
    fn discard(&self, closed: &Closed) -> Result<(), StorageError> {
        self.readable.forget(closed.number);
        let path = segment_path(&self.dir, closed.number);
        let bytes = fs::metadata(&path).map_err(StorageError::io("look at", &path))?.len();
        if bytes != self.segment_bytes || self.state().spares.len() >= self.spares_max {
            segment::remove(&path)?;
            return sync_dir(&self.dir);
        }
        let spare = spare_path(&self.dir, closed.number);
        fs::rename(&path, &spare).map_err(StorageError::io("rename", &path))?;
        sync_dir(&self.dir)?;
        self.state().spares.push(spare);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
