//! What everybody but the writer holds of the log, and the queue between them.
#![expect(
    clippy::disallowed_methods,
    reason = "the log paces its own syncs; no time gets into what it stores"
)]

use std::{
    fmt,
    ops::RangeInclusive,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::gauge::LogGauge;
use super::{Append, ReadBack, ReadableLog, Synced, stall::Progress, table::Table};
use crate::storage::error::StorageError;

/// The running log. Clones share it; the last one to go stops it.
#[derive(Clone)]
pub struct LogHandle {
    running: Arc<Running>,
}

impl fmt::Debug for LogHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogHandle").field("live_bytes", &self.live_bytes()).finish_non_exhaustive()
    }
}

impl LogHandle {
    pub(super) fn new(
        queue: Arc<Queue>,
        table: Arc<Table>,
        progress: Arc<Progress>,
        thread: Option<JoinHandle<()>>,
    ) -> Self {
        Self { running: Arc::new(Running { queue, table, progress, thread: Mutex::new(thread) }) }
    }

    /// Queues records behind all that were appended before. Returns at once.
    ///
    /// Dropped in silence once the log has failed or stopped: they are never reported as synced.
    pub fn append(&self, records: Vec<Append>) {
        self.running.queue.push(records);
    }

    /// Says that the records of each shard named, up to and including its index, are not needed any more.
    ///
    /// Remembered from call to call. Segments at the log's start that hold nothing else are recycled or removed
    /// here and now: some file system work on the calling thread, in proportion to the segments released.
    pub fn release(&self, up_to: &[Synced]) {
        self.running.table.release(up_to);
    }

    /// From now on `on_stall` is called with true when a write or sync has not returned after `limit`, and with false when
    /// it has; on a thread of its own, which ends with the log. What it does delays nothing but itself.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn watch_stalls(
        &self,
        limit: Duration,
        on_stall: impl Fn(bool) + Send + 'static,
    ) -> Result<(), StorageError> {
        let progress = self.running.progress.clone();
        let watch = thread::Builder::new().name("log-watch".to_owned());
        let watch = watch.spawn(move || progress.watch(limit, on_stall));
        watch.map(drop).map_err(StorageError::io("start the watch of", &self.running.table.dir))
    }

    /// What its disk does, for as long as it runs and after.
    #[must_use]
    pub fn gauge(&self) -> LogGauge {
        LogGauge::new(self.running.progress.counts.clone(), self.running.table.clone())
    }

    /// Bytes in segments that are not released.
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        self.running.table.live_bytes()
    }

    /// Writes and syncs what was appended, reports it, and ends the writer. Later appends are dropped.
    ///
    /// Blocks until the writer has ended, except for a second caller at the same time.
    pub fn stop(&self) {
        self.running.stop();
    }
}

impl ReadableLog for LogHandle {
    fn append(&self, records: Vec<Append>) {
        self.running.queue.push(records);
    }

    fn read(
        &self,
        shard: u16,
        indexes: RangeInclusive<u64>,
        bytes_max: usize,
    ) -> Result<Vec<ReadBack>, StorageError> {
        self.running.table.readable.read(shard, indexes, bytes_max)
    }
}

struct Running {
    queue: Arc<Queue>,
    table: Arc<Table>,
    progress: Arc<Progress>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Running {
    fn stop(&self) {
        self.queue.stop();
        let here = thread::current().id();
        // Called out of one of the writer's own callbacks, the writer ends when the callback has returned.
        let is_other = |writer: &mut JoinHandle<()>| writer.thread().id() != here;
        let writer = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take_if(is_other);
        if let Some(writer) = writer {
            // A panic of the writer was reported by `on_failure`.
            let _ = writer.join();
        }
        self.progress.end();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The records that wait for the next group.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<Vec<Append>>,
    /// The writer sleeps: a push must wake it.
    is_idle: bool,
    is_stopped: bool,
}

/// Why the writer was woken.
pub(super) enum Woken {
    /// A group is there.
    Group,
    /// The time is up.
    Due,
    /// Nothing is left and nothing will come.
    Stopped,
}

impl Queue {
    fn push(&self, records: Vec<Append>) {
        if records.is_empty() {
            return;
        }
        let mut state = self.state();
        if state.is_stopped {
            return;
        }
        state.waiting.push(records);
        let wake = std::mem::take(&mut state.is_idle);
        drop(state);
        if wake {
            self.wake.notify_one();
        }
    }

    pub(super) fn stop(&self) {
        self.state().is_stopped = true;
        self.wake.notify_one();
    }

    /// Stops and drops what waits: it will never be written.
    pub(super) fn abandon(&self) {
        let mut state = self.state();
        state.is_stopped = true;
        let dropped = std::mem::take(&mut state.waiting);
        drop(state);
        drop(dropped);
    }

    /// Takes what waits; false when nothing does.
    #[cfg(test)]
    pub(super) fn take_waiting(&self, group: &mut Vec<Vec<Append>>) -> bool {
        std::mem::swap(&mut self.state().waiting, group);
        !group.is_empty()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.state().waiting.is_empty()
    }

    /// Waits for records, at most until `due`, and swaps them into the empty `group`.
    pub(super) fn take(&self, group: &mut Vec<Vec<Append>>, due: Option<Instant>) -> Woken {
        let mut state = self.state();
        loop {
            if !state.waiting.is_empty() {
                std::mem::swap(&mut state.waiting, group);
                return Woken::Group;
            }
            if state.is_stopped {
                return Woken::Stopped;
            }
            let left = due.map(|due| due.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Woken::Due;
            }
            state.is_idle = true;
            state = self.sleep(state, left);
            state.is_idle = false;
        }
    }

    fn sleep<'q>(&self, state: MutexGuard<'q, State>, left: Option<Duration>) -> MutexGuard<'q, State> {
        match left {
            None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(left) => self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
