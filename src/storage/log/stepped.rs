//! The log without its thread, for the simulation: the same writer one step at a time, over a disk that fails, lies and
//! loses what was not synced.
//!
//! ```text
//! let disk = SimulatedDisk::default();
//! let writer = Log::recover(dir, &options, &mut replay, false)?;
//! let (handle, mut steps) = writer.stepwise(on_synced, &disk);
//! handle.append(...); steps.write()?; steps.sync()?;     // reports, as the thread does
//! steps.write()?; drop((handle, steps)); disk.crash(&mut || rng.gen());      // and recover again
//! ```

use std::{
    fs::File,
    io::{self, IoSlice, Write},
    os::unix::fs::FileExt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    LogHandle, LogWriter,
    handle::Queue,
    medium::{Medium, Wrap},
    writer::OnSynced,
};
use crate::storage::error::StorageError;

/// What a disk writes as a whole or not at all, in bytes.
const SECTOR: usize = 512;

/// The writer, to be told each step.
pub(crate) struct Steps {
    writer: LogWriter,
    queue: Arc<Queue>,
    on_synced: OnSynced,
    has_failed: bool,
    is_reported: bool,
}

impl LogWriter {
    /// Instead of [`LogWriter::start`]: nothing happens but by the steps, and all writes go to `disk`.
    pub(crate) fn stepwise(self, on_synced: OnSynced, disk: &SimulatedDisk) -> (LogHandle, Steps) {
        let writer = self.wrapped(disk.wrap());
        let queue = Arc::new(Queue::default());
        let handle = LogHandle::new(queue.clone(), writer.table(), writer.progress(), None);
        (handle, Steps { writer, queue, on_synced, has_failed: false, is_reported: true })
    }
}

impl Steps {
    /// Writes what was appended as one group, without a sync; several groups may wait for one. False when nothing waits.
    ///
    /// # Errors
    /// As of the thread: the log has ended, nothing is written or reported any more.
    pub(crate) fn write(&mut self) -> Result<bool, StorageError> {
        let mut group = Vec::new();
        if self.has_failed || !self.queue.take_waiting(&mut group) {
            return Ok(false);
        }
        self.is_reported = false;
        let written = self.writer.write(&group);
        self.ended_by(written).map(|()| true)
    }

    /// Syncs what is written and reports it. False when there is nothing to report.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub(crate) fn sync(&mut self) -> Result<bool, StorageError> {
        if self.has_failed || self.is_reported {
            return Ok(false);
        }
        let synced = self.writer.sync();
        self.ended_by(synced)?;
        self.writer.report(&self.on_synced);
        self.is_reported = true;
        Ok(true)
    }

    /// A clean stop, as of [`LogHandle::stop`].
    ///
    /// # Errors
    /// As [`Self::write`].
    pub(crate) fn stop(mut self) -> Result<(), StorageError> {
        self.queue.stop();
        self.write()?;
        self.sync()?;
        if self.has_failed { Ok(()) } else { self.writer.finish() }
    }

    /// Whether there is something to write.
    pub(crate) fn has_work(&self) -> bool {
        !self.has_failed && !self.queue.is_empty()
    }

    /// Whether something is written and not reported.
    pub(crate) fn awaits_sync(&self) -> bool {
        !self.has_failed && !self.is_reported
    }

    fn ended_by(&mut self, result: Result<(), StorageError>) -> Result<(), StorageError> {
        if result.is_err() {
            self.has_failed = true;
            self.queue.abandon();
        }
        result
    }
}

/// A node's disk, for as long as its data directory is used: survives crashes of the node.
///
/// What is written can be read at once, as from a page cache; a crash takes back what was not synced. Files of the log
/// appear and disappear durably.
#[derive(Clone, Debug, Default)]
pub(crate) struct SimulatedDisk(Arc<Mutex<Disk>>);

#[derive(Debug, Default)]
struct Disk {
    unsynced: Vec<Overwritten>,
    /// So many bytes are written before a write fails.
    bytes_left: Option<usize>,
    sync_fails: bool,
    lies: bool,
}

#[derive(Debug)]
struct Overwritten {
    file: Arc<File>,
    at: u64,
    before: Vec<u8>,
}

impl SimulatedDisk {
    /// After so many more bytes a write fails, in its middle.
    pub(crate) fn fail_write_after(&self, bytes: usize) {
        self.disk().bytes_left = Some(bytes);
    }

    /// The next sync fails.
    pub(crate) fn fail_sync(&self) {
        self.disk().sync_fails = true;
    }

    /// From now on the disk says that it has synced, and has not: a planted fault.
    pub(crate) fn lie(&self) {
        self.disk().lies = true;
    }

    /// Bytes that a crash may take.
    pub(crate) fn unsynced_bytes(&self) -> usize {
        self.disk().unsynced.iter().map(|written| written.before.len()).sum()
    }

    /// The power is cut: of each sector that was not synced the new content stays if `stays` says so, in the order in which
    /// they were written. The log's handle and steps are to be dropped before. Faults that did not strike are forgotten.
    pub(crate) fn crash(&self, stays: &mut dyn FnMut() -> bool) {
        let mut disk = self.disk();
        for Overwritten { file, at, before } in std::mem::take(&mut disk.unsynced) {
            let to_boundary = SECTOR - usize::try_from(at % SECTOR as u64).unwrap();
            let (first, rest) = before.split_at(to_boundary.min(before.len()));
            let mut at = at;
            for sector in std::iter::once(first).chain(rest.chunks(SECTOR)) {
                if !stays() {
                    file.write_all_at(sector, at).unwrap();
                }
                at += sector.len() as u64;
            }
        }
        *disk = Disk::default();
    }

    fn wrap(&self) -> Wrap {
        let disk = self.clone();
        Box::new(move |file, at| Ok(Box::new(Volatile { file: Arc::new(file), at, disk: disk.clone() })))
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A segment on such a disk.
struct Volatile {
    file: Arc<File>,
    at: u64,
    disk: SimulatedDisk,
}

impl Medium for Volatile {
    fn write(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut bytes = parts.iter().flat_map(|part| part.iter().copied()).collect::<Vec<_>>();
        let mut disk = self.disk.disk();
        if let Some(left) = &mut disk.bytes_left {
            if *left == 0 {
                return Err(io::Error::other("the simulated disk is broken"));
            }
            bytes.truncate(*left);
            *left -= bytes.len();
        }
        let mut before = vec![0; bytes.len()];
        self.file.read_exact_at(&mut before, self.at)?;
        disk.unsynced.push(Overwritten { file: self.file.clone(), at: self.at, before });
        (&*self.file).write_all(&bytes)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    /// All of the disk, as one sync of the one file that is written.
    fn sync(&mut self) -> io::Result<()> {
        let mut disk = self.disk.disk();
        if std::mem::take(&mut disk.sync_fails) {
            return Err(io::Error::other("the simulated disk does not sync"));
        }
        if !disk.lies {
            disk.unsynced.clear();
        }
        Ok(())
    }
}
