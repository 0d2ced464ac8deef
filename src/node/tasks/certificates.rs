//! Looks whether the files of TLS have changed.

use std::sync::Arc;
use std::time::Duration;

use crate::node::shared::Shared;
use crate::node::tls::{Reload, Tls};

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks until the node stops.
pub(crate) async fn run(shared: Arc<Shared>, tls: Arc<Tls>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = shared.stopped() => return,
        }
        let looking = Arc::clone(&tls);
        let found = tokio::task::spawn_blocking(move || looking.look()).await;
        if let Ok(found) = found {
            found.log();
        }
    }
}

impl Reload {
    /// Says what there is to say.
    pub fn log(&self) {
        match self {
            Self::Unchanged => {}
            Self::Changed => tracing::info!("certificates were read again: they hold for new connections"),
            Self::Refused(reason) => {
                tracing::error!(reason, "the new certificates cannot be used: those before stay in force");
            }
        }
    }
}
