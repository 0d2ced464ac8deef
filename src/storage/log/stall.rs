//! Notices a disk that does not answer: another thread looks whether the writer is still in the same write or sync.
#![expect(
    clippy::disallowed_methods,
    reason = "how long the disk takes is measured here, and gets into nothing stored"
)]

use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::gauge::Counts;

/// The longest time between two looks.
const LOOK_EVERY_MAX: Duration = Duration::from_millis(300);

/// Since when the writer is in the operation it is in.
#[derive(Debug)]
pub(super) struct Progress {
    start: Instant,
    /// Milliseconds from `start`, one more than there were; 0 between operations.
    since_ms: AtomicU64,
    /// What was done so far.
    pub(super) counts: Arc<Counts>,
    is_over: Mutex<bool>,
    over: Condvar,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            since_ms: AtomicU64::new(0),
            counts: Arc::default(),
            is_over: Mutex::default(),
            over: Condvar::new(),
        }
    }
}

impl Progress {
    /// Runs an operation of the disk.
    pub(super) fn during<T>(&self, operation: impl FnOnce() -> T) -> T {
        self.since_ms.store(self.now_ms() + 1, Ordering::Relaxed);
        let done = operation();
        self.since_ms.store(0, Ordering::Relaxed);
        done
    }

    /// Runs a sync.
    pub(super) fn during_sync<T>(&self, sync: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = self.during(sync);
        self.counts.synced(began.elapsed());
        done
    }

    /// Ends [`Self::watch`].
    pub(super) fn end(&self) {
        *self.is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.over.notify_all();
    }

    /// Until [`Self::end`], calls `on_stall` with true when an operation takes longer than `limit`, and with false when it
    /// is done.
    pub(super) fn watch(&self, limit: Duration, on_stall: impl Fn(bool)) {
        let look_every = (limit / 10).min(LOOK_EVERY_MAX);
        let mut stalls = false;
        while !self.is_over_after(look_every) {
            let is_late = self.busy_for().is_some_and(|busy| busy > limit);
            if is_late != stalls {
                stalls = is_late;
                on_stall(stalls);
            }
        }
    }

    fn is_over_after(&self, wait: Duration) -> bool {
        let is_over = self.is_over.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.over.wait_timeout_while(is_over, wait, |is_over| !*is_over);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn busy_for(&self) -> Option<Duration> {
        let since_ms = self.since_ms.load(Ordering::Relaxed).checked_sub(1)?;
        Some(Duration::from_millis(self.now_ms().saturating_sub(since_ms)))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }
}
