//! Short waits after small reads. A broker that wakes a reader for every message would burn its CPU for nothing.

use crate::clock::sleep_ns;

const SMALL: usize = 16 * 1024;
const LARGE: usize = 48 * 1024;
const STEP_NS: u64 = 50_000;
const LONGEST_NS: u64 = 500_000;

/// Waits longer as long as reads are small, and shorter when they are large.
pub(crate) struct Nap {
    wait_ns: u64,
    longest_ns: u64,
}

impl Nap {
    /// For a reader that the broker never waits for.
    pub(crate) fn unlimited() -> Self {
        Self { wait_ns: 0, longest_ns: LONGEST_NS }
    }

    /// For a reader of which the broker expects something after `window` messages: it must not wait long enough for
    /// a fast broker to get there.
    pub(crate) fn within(window: u64) -> Self {
        let longest_ns = (window * 50).min(LONGEST_NS);
        Self { wait_ns: 0, longest_ns: if longest_ns < STEP_NS { 0 } else { longest_ns } }
    }

    /// Never waits.
    pub(crate) fn none() -> Self {
        Self { wait_ns: 0, longest_ns: 0 }
    }

    /// Takes note of a read, and waits if that pays.
    pub(crate) fn after(&mut self, read: usize) {
        if read < SMALL {
            self.wait_ns = (self.wait_ns + STEP_NS).min(self.longest_ns);
        } else if read > LARGE {
            self.wait_ns /= 2;
        }
        if self.wait_ns > 0 {
            sleep_ns(self.wait_ns);
        }
    }
}
