//! The only reader of a clock: one monotonic scale for producers, consumers and the relay.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

static ORIGIN: OnceLock<Instant> = OnceLock::new();

/// Nanoseconds since the first call of the process.
#[expect(clippy::disallowed_methods, reason = "the place where this package reads a clock")]
pub(crate) fn now_ns() -> u64 {
    let now = Instant::now();
    ns(now.duration_since(*ORIGIN.get_or_init(|| now)))
}

/// Sleeps for `wait_ns` nanoseconds or a little longer.
pub(crate) fn sleep_ns(wait_ns: u64) {
    std::thread::sleep(Duration::from_nanos(wait_ns));
}

/// A duration in nanoseconds.
pub(crate) fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Seconds, as options give them, in nanoseconds; nothing below zero.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates, as wanted")]
pub(crate) fn seconds_ns(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

/// Nanoseconds as seconds.
pub(crate) fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// Asks the kernel to end sleeps of threads started from here on punctually; where it cannot, sleeps end 50 us late.
pub(crate) fn sleep_punctually() {
    let _ = std::fs::write("/proc/thread-self/timerslack_ns", "1")
        .or_else(|_| std::fs::write("/proc/self/timerslack_ns", "1"));
}
