//! When a heartbeat is due and when a silent peer is given up (AMQP 0-9-1, section 4.2.7).

/// The heartbeat clock of one connection; all times in milliseconds of the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heartbeat {
    /// 0 switches heartbeats off.
    interval_ms: u64,
    received_ms: u64,
    sent_ms: u64,
}

impl Heartbeat {
    /// Off.
    pub(super) fn new(now_ms: u64) -> Self {
        Self { interval_ms: 0, received_ms: now_ms, sent_ms: now_ms }
    }

    /// Begins to count with the negotiated interval; 0 seconds is off.
    pub(super) fn start(&mut self, interval_s: u16, now_ms: u64) {
        *self = Self { interval_ms: u64::from(interval_s) * 1000, received_ms: now_ms, sent_ms: now_ms };
    }

    #[inline]
    pub(super) fn on_received(&mut self, now_ms: u64) {
        self.received_ms = now_ms;
    }

    #[inline]
    pub(super) fn on_sent(&mut self, now_ms: u64) {
        self.sent_ms = now_ms;
    }

    /// The next time at which something is to be done.
    pub(super) fn next_timeout(&self) -> Option<u64> {
        (self.interval_ms != 0).then(|| self.send_at().min(self.dead_at()))
    }

    /// Whether a heartbeat is to be sent, as nothing else was for half an interval.
    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        self.interval_ms != 0 && now_ms >= self.send_at()
    }

    /// Whether the peer has missed two intervals, with half an interval of grace.
    pub(super) fn is_dead(&self, now_ms: u64) -> bool {
        self.interval_ms != 0 && now_ms >= self.dead_at()
    }

    fn send_at(&self) -> u64 {
        self.sent_ms + self.interval_ms / 2
    }

    fn dead_at(&self) -> u64 {
        self.received_ms + self.interval_ms * 5 / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_off() {
        let mut heartbeat = Heartbeat::new(5);
        heartbeat.start(0, 5);
        assert_eq!(heartbeat.next_timeout(), None);
        assert!(!heartbeat.is_due(u64::MAX) && !heartbeat.is_dead(u64::MAX));
    }

    #[test]
    fn sends_after_half_and_gives_up_after_two_and_a_half_intervals() {
        let mut heartbeat = Heartbeat::new(0);
        heartbeat.start(10, 1000);
        assert_eq!(heartbeat.next_timeout(), Some(6000));
        assert!(!heartbeat.is_due(5999) && heartbeat.is_due(6000));
        heartbeat.on_sent(30_000);
        assert_eq!(heartbeat.next_timeout(), Some(26_000));
        assert!(!heartbeat.is_dead(25_999) && heartbeat.is_dead(26_000));
        heartbeat.on_received(26_000);
        assert!(!heartbeat.is_dead(26_000));
    }
}
