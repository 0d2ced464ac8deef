//! The log's writer: takes what waits, writes it, syncs once, reports it; the next group gathers meanwhile.
#![expect(
    clippy::disallowed_methods,
    reason = "the log paces its own syncs; no time gets into what it stores"
)]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    Append, LogHandle, LogOptions, READABLE_SHARDS, SyncPolicy, Synced,
    frame::Frame,
    handle::{Queue, Woken},
    highest::Highest,
    medium::{self, Medium, Wrap},
    readback::Place,
    record::{HEAD_LEN, PAYLOAD_MAX, record_size},
    segment::{self, HEADER_LEN, Header, segment_path},
    stall::Progress,
    table::{Closed, Table},
};
use crate::storage::error::StorageError;

/// A buffer larger than this is not kept from group to group.
const SCRATCH_MAX: usize = 1 << 20;

pub(super) type OnSynced = Box<dyn Fn(&[Synced]) + Send>;
type OnFailure = Box<dyn FnOnce(StorageError) + Send>;

/// A recovered log, ready to be continued.
pub struct LogWriter {
    options: LogOptions,
    table: Arc<Table>,
    wrap: Wrap,
    progress: Arc<Progress>,
    active: Active,
    /// The highest index per shard of what is written and not reported.
    group: Highest,
    /// The highest index of each readable shard.
    last: Highest,
    /// Its readable records.
    places: Vec<Place>,
    scratch: Vec<u8>,
    /// When the oldest write that is not synced was made.
    unsynced_since: Option<Instant>,
}

/// The segment being written.
struct Active {
    header: Header,
    path: PathBuf,
    medium: Box<dyn Medium>,
    size: u64,
    /// Where the next record goes.
    at: u64,
    /// Up to where it is synced.
    synced: u64,
    /// Up to where a mark in it says so.
    claimed: u64,
    highest: Highest,
}

impl std::fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogWriter").field("segment", &self.active.path).finish_non_exhaustive()
    }
}

impl LogWriter {
    /// A writer that begins segment `header`.
    pub(super) fn begin(options: &LogOptions, table: Table, header: Header) -> Result<Self, StorageError> {
        let wrap = medium::choose(options.sync);
        let last = table.readable.highest();
        let active = Active::create(&table, header, options.segment_bytes, &wrap)?;
        Ok(Self {
            options: options.clone(),
            table: Arc::new(table),
            wrap,
            progress: Arc::default(),
            active,
            group: Highest::default(),
            last,
            places: Vec::new(),
            scratch: Vec::new(),
            unsynced_since: None,
        })
    }

    #[cfg(test)]
    pub(super) fn wrapped(mut self, wrap: Wrap) -> Self {
        self.active.medium = wrap(reopen_at_end(&self.active.path, self.active.at), self.active.at).unwrap();
        self.wrap = wrap;
        self
    }

    /// Starts the one writer thread.
    ///
    /// `on_synced` runs on it after each group, with the highest index per shard that became safe; what it does
    /// delays the next group. `on_failure` runs once if a write or sync fails, or the thread panics: nothing is
    /// reported after it, and the process should end, since a second sync proves nothing.
    pub fn start(self, on_synced: OnSynced, on_failure: OnFailure) -> LogHandle {
        let queue = Arc::new(Queue::default());
        let (table, progress) = (self.table.clone(), self.progress.clone());
        let failure = Arc::new(std::sync::Mutex::new(Some(on_failure)));
        let thread = thread::Builder::new().name("log".to_owned()).spawn({
            let (queue, failure) = (queue.clone(), failure.clone());
            move || {
                if let Err(error) = self.guarded_run(&queue, &on_synced) {
                    fail(&queue, &failure, error);
                }
            }
        });
        let thread = thread
            .inspect_err(|_| queue.abandon())
            .map_err(StorageError::io("start the writer of", &table.dir))
            .map_err(|error| fail(&queue, &failure, error))
            .ok();
        LogHandle::new(queue, table, progress, thread)
    }

    #[cfg(test)]
    pub(super) fn table(&self) -> Arc<Table> {
        self.table.clone()
    }

    #[cfg(test)]
    pub(super) fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    pub(super) fn release(&self, up_to: &[Synced]) {
        self.table.release(up_to);
    }

    fn guarded_run(mut self, queue: &Queue, on_synced: &OnSynced) -> Result<(), StorageError> {
        // Nothing of the writer is used after a panic.
        catch_unwind(AssertUnwindSafe(|| self.run(queue, on_synced)))
            .unwrap_or(Err(StorageError::WriterPanicked))
    }

    fn run(&mut self, queue: &Queue, on_synced: &OnSynced) -> Result<(), StorageError> {
        let mut group = Vec::new();
        loop {
            match queue.take(&mut group, self.sync_due()) {
                Woken::Group => self.commit(&group, on_synced)?,
                Woken::Due => self.sync()?,
                Woken::Stopped => return self.finish(),
            }
            group.clear();
        }
    }

    fn commit(&mut self, group: &[Vec<Append>], on_synced: &OnSynced) -> Result<(), StorageError> {
        self.write(group)?;
        match self.sync_due() {
            Some(due) if due <= Instant::now() => self.sync()?,
            _ => {}
        }
        self.report(on_synced);
        Ok(())
    }

    /// Reports what was written since the last time.
    pub(super) fn report(&mut self, on_synced: &OnSynced) {
        self.table.readable.add(&self.places);
        self.places.clear();
        on_synced(self.group.as_slice());
        self.group.clear();
    }

    /// When what is written must be synced.
    fn sync_due(&self) -> Option<Instant> {
        let since = self.unsynced_since?;
        match self.options.sync {
            SyncPolicy::Always => Some(since),
            SyncPolicy::Interval { ms } => since.checked_add(Duration::from_millis(ms)),
            SyncPolicy::Os => None,
        }
    }

    pub(super) fn write(&mut self, group: &[Vec<Append>]) -> Result<(), StorageError> {
        let mut frame = self.open_frame();
        for append in group.iter().flatten() {
            let len = payload_len(append)?;
            let size = record_size(u64::from(len));
            if !self.active.has_room(frame.len() + size) {
                self.write_frame(frame)?;
                self.roll(size)?;
                frame = self.open_frame();
            }
            if READABLE_SHARDS.contains(&append.shard) {
                self.note_place(append, frame.len())?;
            }
            frame.push(append, len);
            self.active.highest.raise(append.shard, append.index);
            self.group.raise(append.shard, append.index);
        }
        self.write_frame(frame)
    }

    /// A record that can be read back comes next in the frame, behind so many bytes.
    fn note_place(&mut self, append: &Append, in_frame: u64) -> Result<(), StorageError> {
        let Append { shard, index, .. } = *append;
        if let Some(last) = self.last.get(shard).filter(|last| *last >= index) {
            return Err(StorageError::NotRising { shard, index, last });
        }
        self.last.raise(shard, index);
        let (segment, offset) = (self.active.header.number, self.active.at + in_frame);
        self.places.push(Place { segment, shard, index, offset });
        Ok(())
    }

    /// A frame, begun by a mark if there is news to tell.
    fn open_frame<'g>(&mut self) -> Frame<'g> {
        let mut frame = Frame::new(self.active.header.seed(), std::mem::take(&mut self.scratch));
        if self.active.synced > self.active.claimed && self.active.has_room(HEAD_LEN as u64) {
            frame.push_mark(self.active.synced, false);
            self.active.claimed = self.active.synced;
        }
        frame
    }

    fn write_frame(&mut self, frame: Frame<'_>) -> Result<(), StorageError> {
        let len = frame.len();
        let scratch = self.progress.during(|| frame.write(&mut *self.active.medium));
        self.scratch = scratch.map_err(StorageError::io("write", &self.active.path))?;
        if self.scratch.capacity() > SCRATCH_MAX {
            self.scratch = Vec::new();
        }
        self.active.at += len;
        self.table.add_live(len);
        self.progress.counts.wrote(len);
        self.unsynced_since.get_or_insert_with(Instant::now);
        Ok(())
    }

    pub(super) fn sync(&mut self) -> Result<(), StorageError> {
        let synced = self.progress.during_sync(|| self.active.medium.sync());
        synced.map_err(StorageError::io("sync", &self.active.path))?;
        self.active.synced = self.active.at;
        self.unsynced_since = None;
        Ok(())
    }

    /// Closes the segment and begins the next, which has room for a record of `size` bytes.
    fn roll(&mut self, size: u64) -> Result<(), StorageError> {
        self.sync()?;
        let Header { number, salt, .. } = self.active.header;
        let end = self.active.at;
        let header = Header { number: number + 1, salt, previous_end: end };
        let bytes = self.options.segment_bytes.max(HEADER_LEN + size);
        let create = || Active::create(&self.table, header, bytes, &self.wrap);
        let next = self.progress.during(create)?;
        let full = std::mem::replace(&mut self.active, next);
        self.table.push_closed(Closed { number, end, highest: full.highest });
        Ok(())
    }

    /// Syncs, and says so on disk: after a clean stop any damage is known for what it is.
    pub(super) fn finish(&mut self) -> Result<(), StorageError> {
        self.sync()?;
        if self.active.has_room(HEAD_LEN as u64) {
            let mut frame = Frame::new(self.active.header.seed(), Vec::new());
            frame.push_mark(self.active.synced, true);
            self.write_frame(frame)?;
            self.sync()?;
        }
        Ok(())
    }
}

impl Active {
    fn create(table: &Table, header: Header, size: u64, wrap: &Wrap) -> Result<Self, StorageError> {
        let file = segment::create(&table.dir, &header, size, table.take_spare())?;
        let path = segment_path(&table.dir, header.number);
        let medium = wrap(file, HEADER_LEN).map_err(StorageError::io("open", &path))?;
        table.add_live(HEADER_LEN);
        table.readable.begin(&header);
        Ok(Self {
            header,
            path,
            medium,
            size,
            at: HEADER_LEN,
            synced: HEADER_LEN,
            claimed: HEADER_LEN,
            highest: Highest::default(),
        })
    }

    fn has_room(&self, bytes: u64) -> bool {
        bytes <= self.size.saturating_sub(self.at)
    }
}

fn fail(queue: &Queue, on_failure: &std::sync::Mutex<Option<OnFailure>>, error: StorageError) {
    queue.abandon();
    let on_failure = on_failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    if let Some(on_failure) = on_failure {
        on_failure(error);
    }
}

fn payload_len(append: &Append) -> Result<u32, StorageError> {
    let bytes = append.head.len() + append.body.len();
    u32::try_from(bytes)
        .ok()
        .filter(|_| bytes <= PAYLOAD_MAX)
        .ok_or(StorageError::RecordTooLarge { bytes, bytes_max: PAYLOAD_MAX })
}

#[cfg(test)]
fn reopen_at_end(path: &std::path::Path, at: u64) -> std::fs::File {
    use std::io::Seek;
    let mut file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    file.seek(std::io::SeekFrom::Start(at)).unwrap();
    file
}
