//! What the service manager hears of this process, where there is one (`sd_notify(3)`); nothing happens elsewhere.

use std::time::Duration;

use sd_notify::NotifyState;

const START_STEP: Duration = Duration::from_secs(10);

/// Clients are taken.
pub(crate) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The configuration is read again; [`ready`] ends that.
pub(crate) fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// What the process is busy with.
pub(crate) fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// The stop has begun, and takes so long at most.
pub(crate) fn stopping(at_most: Duration) {
    let at_most_us = u32::try_from(at_most.as_micros()).unwrap_or(u32::MAX);
    tell(&[
        NotifyState::Stopping,
        NotifyState::Status("stopping"),
        NotifyState::ExtendTimeoutUsec(at_most_us),
    ]);
}

/// The service manager's watchdog, if it watches.
pub(crate) struct Watchdog(Option<Duration>);

impl Watchdog {
    pub(crate) fn new() -> Self {
        Self(sd_notify::watchdog_enabled().map(|deadline| deadline / 3))
    }

    /// Ready when it wants to hear from us; never where none watches.
    pub(crate) async fn is_hungry(&self) {
        match self.0 {
            Some(interval) => tokio::time::sleep(interval).await,
            None => std::future::pending().await,
        }
    }
}

/// Asks for more time as long as a start takes, which a long log may draw out.
pub(crate) async fn while_starting<T>(starting: impl Future<Output = T>) -> T {
    let mut starting = Box::pin(starting);
    loop {
        match tokio::time::timeout(START_STEP, starting.as_mut()).await {
            Ok(started) => return started,
            Err(_) => {
                let us = u32::try_from((START_STEP * 3).as_micros()).unwrap_or(u32::MAX);
                tell(&[NotifyState::ExtendTimeoutUsec(us)]);
            }
        }
    }
}

/// The process is alive.
pub(crate) fn feed_watchdog() {
    tell(&[NotifyState::Watchdog]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}
