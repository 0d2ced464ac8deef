//! Ways to wait with a deadline, unique names, and a lock for the tests that want the machine to themselves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

/// How long an answer may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How long nothing must come before silence counts as silence.
pub(crate) const QUIET: Duration = Duration::from_millis(200);

/// Asks again and again until there is an answer; the test fails after [`PATIENCE`].
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A name no other test and no earlier run uses.
pub(crate) fn unique(stem: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let micros = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |t| t.as_micros());
    format!("{stem}-{micros:x}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Keeps heavy tests and tests that measure time from running at once.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
