//! The only place that reads a clock.
#![expect(clippy::disallowed_methods, reason = "everybody else is told the time")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Wall-clock time that runs as evenly as the monotonic clock: a jump of the system's clock moves no due time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
    started_unix_ms: u64,
    /// The simulation's time, Unix milliseconds.
    #[cfg(test)]
    simulated_ms: Option<&'static std::sync::atomic::AtomicU64>,
}

impl Clock {
    /// Takes the wall clock's time once.
    #[must_use]
    pub(crate) fn start() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            started: Instant::now(),
            started_unix_ms: to_ms(unix),
            #[cfg(test)]
            simulated_ms: None,
        }
    }

    /// A clock that stands where the simulation moves it.
    #[cfg(test)]
    pub(crate) fn simulated(now_ms: &'static std::sync::atomic::AtomicU64) -> Self {
        Self { simulated_ms: Some(now_ms), ..Self::start() }
    }

    /// When it was started, Unix milliseconds.
    #[must_use]
    pub(crate) fn started_ms(&self) -> u64 {
        self.started_unix_ms
    }

    /// Unix milliseconds.
    #[must_use]
    pub(crate) fn now_ms(&self) -> u64 {
        #[cfg(test)]
        if let Some(simulated_ms) = self.simulated_ms {
            return simulated_ms.load(std::sync::atomic::Ordering::Relaxed);
        }
        self.started_unix_ms + to_ms(self.started.elapsed())
    }

    /// The moment at which [`Self::now_ms`] will be `at_ms`, or now if that is past.
    #[must_use]
    pub(crate) fn instant_of(&self, at_ms: u64) -> tokio::time::Instant {
        let since_start = Duration::from_millis(at_ms.saturating_sub(self.started_unix_ms));
        tokio::time::Instant::from_std(self.started + since_start.min(FAR))
    }
}

const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365);

fn to_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
