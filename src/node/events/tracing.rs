//! Vhosts whose messages are copied to their trace exchange (RabbitMQ: Firehose Tracer). As in RabbitMQ it is switched on for
//! a node, and is off after a restart.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

/// The exchange that copies go to, in each vhost.
pub(crate) const EXCHANGE: &str = "amq.rabbitmq.trace";

/// Which vhosts are traced.
#[derive(Debug, Default)]
pub(crate) struct Tracing {
    vhosts: RwLock<BTreeSet<String>>,
    changes: AtomicU64,
}

impl Tracing {
    /// How often it was switched on or off: who remembers this need not ask again as long as it is the same.
    #[inline]
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    pub(crate) fn is_on(&self, vhost: &str) -> bool {
        self.vhosts.read().unwrap_or_else(PoisonError::into_inner).contains(vhost)
    }

    pub(crate) fn set(&self, vhost: &str, is_on: bool) {
        let mut vhosts = self.vhosts.write().unwrap_or_else(PoisonError::into_inner);
        let is_changed = if is_on { vhosts.insert(vhost.to_owned()) } else { vhosts.remove(vhost) };
        drop(vhosts);
        if is_changed {
            self.changes.fetch_add(1, Ordering::AcqRel);
        }
    }
}
