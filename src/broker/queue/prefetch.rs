//! The prefetch that all consumers of a channel share, whatever shards their queues are on.

use std::sync::atomic::{AtomicI64, Ordering};

/// The prefetch that all consumers of a channel share (`basic.qos` with `global`; RabbitMQ: Consumer Prefetch).
#[derive(Debug, Default)]
pub struct SharedPrefetch {
    limit: AtomicI64,
    used: AtomicI64,
}

impl SharedPrefetch {
    /// Sets the limit; 0 is none.
    pub fn set_limit(&self, limit: u16) {
        self.limit.store(i64::from(limit), Ordering::SeqCst);
    }

    /// Whether one more message may go out.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let limit = self.limit.load(Ordering::SeqCst);
        limit == 0 || self.used.load(Ordering::SeqCst) < limit
    }

    /// Counts a message as out, if there is room. The count never exceeds the limit, not even for a moment: another
    /// shard that looked then would wait for room that nobody announces.
    #[must_use]
    pub fn try_take(&self) -> bool {
        let limit = self.limit.load(Ordering::SeqCst);
        let more = |used: i64| (limit == 0 || used < limit).then_some(used + 1);
        self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
    }

    /// Counts a message as out whatever the limit says (`basic.get`).
    pub fn take(&self) {
        self.take_many(1);
    }

    /// Counts messages as out whatever the limit says.
    pub fn take_many(&self, count: u64) {
        self.used.fetch_add(i64::try_from(count).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// Messages came back or were acknowledged.
    pub fn give_back(&self, count: u64) {
        self.used.fetch_sub(i64::try_from(count).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// The limit; 0 is none.
    #[must_use]
    pub fn limit(&self) -> u16 {
        u16::try_from(self.limit.load(Ordering::SeqCst)).unwrap_or(u16::MAX)
    }

    /// Whether a limit is set.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.limit.load(Ordering::SeqCst) != 0
    }
}
