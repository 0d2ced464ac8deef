//! When the threads of a run stop: in turn, after a failure, at the time limit, or at Ctrl-C.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use crate::clock::{now_ns, sleep_ns};
use crate::error::{Error, Result};

const SLICE_NS: u64 = 10_000_000;

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Lets SIGINT and SIGTERM end a run in order; the second one ends it at once.
pub(crate) fn watch_signals() {
    INTERRUPTED.get_or_init(|| {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            let _ = signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&flag));
            let _ = signal_hook::flag::register(signal, Arc::clone(&flag));
        }
        flag
    });
}

/// Has somebody asked to end?
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.get().is_some_and(|flag| flag.load(Relaxed))
}

/// What the threads of one run look at.
pub(crate) struct Control {
    enough_sent: AtomicBool,
    enough_received: AtomicBool,
    failed: AtomicBool,
    deadline_ns: u64,
    timeout_ns: u64,
}

impl Control {
    pub(crate) fn new(timeout_ns: u64) -> Self {
        Self {
            enough_sent: AtomicBool::new(false),
            enough_received: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            deadline_ns: now_ns().saturating_add(timeout_ns),
            timeout_ns,
        }
    }

    /// Tells the producers to end.
    pub(crate) fn stop_producers(&self) {
        self.enough_sent.store(true, Relaxed);
    }

    /// Tells the consumers to end.
    pub(crate) fn stop_consumers(&self) {
        self.enough_received.store(true, Relaxed);
    }

    /// Tells everybody to end, since one thread cannot go on.
    pub(crate) fn fail(&self) {
        self.failed.store(true, Relaxed);
    }

    pub(crate) fn producers_stop(&self) -> bool {
        self.enough_sent.load(Relaxed) || self.failed.load(Relaxed)
    }

    pub(crate) fn consumers_stop(&self) -> bool {
        self.enough_received.load(Relaxed) || self.over()
    }

    /// Is the run at its end for a reason that nobody wanted?
    pub(crate) fn over(&self) -> bool {
        self.failed.load(Relaxed) || interrupted() || now_ns() > self.deadline_ns
    }

    /// Waits until `done`, or `until_ns`; an error when the run is over before.
    pub(crate) fn wait(&self, until_ns: u64, mut done: impl FnMut() -> bool) -> Result<()> {
        while !done() {
            self.check()?;
            let now = now_ns();
            if now >= until_ns || self.failed.load(Relaxed) {
                break;
            }
            sleep_ns(SLICE_NS.min(until_ns - now));
        }
        self.check()
    }

    fn check(&self) -> Result<()> {
        if interrupted() {
            return Err(Error::new("interrupted"));
        }
        if now_ns() > self.deadline_ns {
            let seconds = self.timeout_ns / 1_000_000_000;
            return Err(Error::new(format!("the run took longer than --timeout {seconds}")));
        }
        Ok(())
    }
}
