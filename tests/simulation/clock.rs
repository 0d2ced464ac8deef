//! A node's clock: off by some, and a little too fast or too slow.

use std::sync::atomic::{AtomicU64, Ordering};

use super::random::Random;
use crate::node::clock::Clock;

/// 2026-01-01, Unix milliseconds: when every simulation begins.
const BEGIN_MS: u64 = 1_767_225_600_000;
/// Seconds by which clocks are off at most.
const OFFSET_MS_MAX: u64 = 5_000;
/// Millionths by which they are too fast or too slow at most.
const DRIFT_MAX: u64 = 20_000;

#[derive(Clone, Debug)]
pub(super) struct NodeClock {
    offset_ms: u64,
    /// How many of its microseconds a second has.
    rate: u64,
    shown_ms: &'static AtomicU64,
}

impl NodeClock {
    pub(super) fn new(random: &mut Random) -> Self {
        let shown_ms: &'static AtomicU64 = Box::leak(Box::default());
        let rate = 1_000_000 - DRIFT_MAX + random.below(2 * DRIFT_MAX + 1);
        let clock = Self { offset_ms: random.below(OFFSET_MS_MAX), rate, shown_ms };
        clock.advance(0);
        clock
    }

    /// What it shows at a time of the simulation.
    pub(super) fn at_ms(&self, now_us: u64) -> u64 {
        BEGIN_MS + self.offset_ms + now_us * self.rate / 1_000_000 / 1000
    }

    /// When it will show this; a moment later rather than earlier.
    pub(super) fn when_us(&self, at_ms: u64) -> u64 {
        let ms = at_ms.saturating_sub(BEGIN_MS + self.offset_ms);
        (ms * 1000 * 1_000_000).div_ceil(self.rate)
    }

    /// Time has gone on.
    pub(super) fn advance(&self, now_us: u64) -> u64 {
        let now_ms = self.at_ms(now_us);
        self.shown_ms.store(now_ms, Ordering::Relaxed);
        now_ms
    }

    /// The same, for the node's tasks.
    pub(super) fn of_node(&self) -> Clock {
        Clock::simulated(self.shown_ms)
    }
}

#[test]
fn a_clock_shows_the_time_it_was_asked_for() {
    let clock = NodeClock::new(&mut Random::new(7));
    for now_us in [0, 1, 999, 1_000_000, 77_777_777] {
        let shown_ms = clock.advance(now_us);
        assert_eq!(clock.of_node().now_ms(), shown_ms);
        let later_ms = shown_ms + 50;
        assert_eq!(clock.at_ms(clock.when_us(later_ms)), later_ms);
    }
}
