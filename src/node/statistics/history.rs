//! Numbers as they were: the last minute closely, the last hour and the last eight hours from further away.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// How closely a time is looked at, and for how long: milliseconds between samples, and how many.
const RINGS: [(u64, usize); 3] = [(5_000, 13), (60_000, 61), (600_000, 49)];

/// A rate is that of the last so many milliseconds.
const RATE_OVER_MS: u64 = 5_000;

/// So many in so many milliseconds, as a rate in seconds.
#[expect(clippy::cast_possible_truncation, reason = "a rate is for people")]
pub(crate) fn rate(count: u64, passed_ms: u64) -> f32 {
    if passed_ms == 0 { 0.0 } else { (count as f64 * 1000.0 / passed_ms as f64) as f32 }
}

/// A number at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Unix milliseconds.
    pub timestamp: u64,
    /// The number.
    pub sample: u64,
}

/// Which part of a history is wanted: the last `age_s` seconds, a sample every `incr_s` (RabbitMQ: `msg_rates_age` and
/// `msg_rates_incr`, `lengths_age` and `lengths_incr`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// How far back.
    pub age_s: u64,
    /// How closely.
    pub incr_s: u64,
}

/// A number's history, as RabbitMQ's `*_details` tell it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Details {
    /// Its change in a second, lately.
    pub rate: f64,
    /// The newest first.
    pub samples: Vec<Sample>,
    /// Its change in a second, over all samples.
    pub avg_rate: f64,
    /// Its mean over all samples.
    pub avg: f64,
}

/// Samples of `N` numbers that belong together.
#[derive(Debug)]
pub(crate) struct History<const N: usize> {
    rings: [VecDeque<(u64, [u64; N])>; RINGS.len()],
}

impl<const N: usize> Default for History<N> {
    fn default() -> Self {
        Self { rings: Default::default() }
    }
}

impl<const N: usize> History<N> {
    /// Takes a sample, where one is due.
    pub(crate) fn put(&mut self, now_ms: u64, numbers: [u64; N]) {
        for (ring, (every_ms, most)) in self.rings.iter_mut().zip(RINGS) {
            // Samples come a little too early at times, but never by half of the time between two.
            if ring.back().is_some_and(|(last_ms, _)| now_ms + RINGS[0].0 / 2 < last_ms + every_ms) {
                continue;
            }
            if ring.len() == most {
                ring.pop_front();
            }
            ring.push_back((now_ms, numbers));
        }
    }

    /// The change of each number in a second, lately.
    pub(crate) fn rates(&self) -> Option<[f32; N]> {
        let ring = &self.rings[0];
        let (now_ms, now) = ring.back()?;
        let (before_ms, before) = ring.iter().rev().skip(1).find(|(at_ms, _)| {
            // The one before is mostly it.
            now_ms.saturating_sub(*at_ms) + RATE_OVER_MS / 5 >= RATE_OVER_MS
        })?;
        let passed_ms = now_ms - before_ms;
        Some(std::array::from_fn(|at| rate(now[at].saturating_sub(before[at]), passed_ms)))
    }

    /// The history of the number at a place.
    pub(crate) fn details(&self, at: usize, span: Span, now_ms: u64) -> Details {
        let samples = self.samples(at, span, now_ms);
        let rate = self.rates().and_then(|rates| rates.get(at).copied()).unwrap_or(0.0);
        details(f64::from(rate), samples)
    }

    fn samples(&self, at: usize, span: Span, now_ms: u64) -> Vec<Sample> {
        let (every_ms, age_ms) = (span.incr_s.max(1) * 1000, span.age_s * 1000);
        let ring = self.ring_for(every_ms, age_ms);
        let from_ms = now_ms.saturating_sub(age_ms + every_ms / 2);
        let mut samples = Vec::new();
        let mut next_ms = u64::MAX;
        for (timestamp, numbers) in ring.iter().rev().take_while(|(at_ms, _)| *at_ms >= from_ms) {
            if *timestamp > next_ms {
                continue;
            }
            let sample = numbers.get(at).copied().unwrap_or(0);
            samples.push(Sample { timestamp: *timestamp, sample });
            next_ms = timestamp.saturating_sub(every_ms - every_ms / 10);
        }
        samples
    }

    /// The closest one that goes back far enough and is as close as asked; otherwise the one that goes back furthest.
    fn ring_for(&self, every_ms: u64, age_ms: u64) -> &VecDeque<(u64, [u64; N])> {
        let goes_back = |(step_ms, most): &(u64, usize)| *step_ms * *most as u64 >= age_ms.max(every_ms);
        let at = RINGS.iter().position(goes_back).unwrap_or(RINGS.len() - 1);
        &self.rings[at]
    }
}

#[expect(clippy::cast_precision_loss, reason = "means are for people")]
fn details(rate: f64, samples: Vec<Sample>) -> Details {
    let (Some(newest), Some(oldest)) = (samples.first().copied(), samples.last().copied()) else {
        return Details { rate, ..Details::default() };
    };
    let sum: u128 = samples.iter().map(|sample| u128::from(sample.sample)).sum();
    let passed_ms = newest.timestamp - oldest.timestamp;
    let change = newest.sample as f64 - oldest.sample as f64;
    Details {
        rate,
        avg_rate: if passed_ms == 0 { 0.0 } else { change * 1000.0 / passed_ms as f64 },
        avg: sum as f64 / samples.len() as f64,
        samples,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(seconds: u64) -> History<2> {
        let mut history = History::default();
        for at in (0..=seconds).step_by(5) {
            history.put(1_000_000 + at * 1000, [at * 10, 7]);
        }
        history
    }

    #[test]
    fn the_last_minute_is_kept_closely_and_older_times_from_further_away() {
        let (history, now_ms) = (filled(7200), 1_000_000 + 7_200_000);
        let minute = history.details(0, Span { age_s: 60, incr_s: 5 }, now_ms);
        assert_eq!(minute.samples.len(), 13);
        assert_eq!(minute.samples[0], Sample { timestamp: now_ms, sample: 72_000 });
        assert_eq!(minute.samples[12], Sample { timestamp: now_ms - 60_000, sample: 71_400 });
        assert!((minute.rate - 10.0).abs() < 1e-6 && (minute.avg_rate - 10.0).abs() < 1e-6);
        assert!((minute.avg - 71_700.0).abs() < 1e-6);
        let hour = history.details(0, Span { age_s: 3600, incr_s: 60 }, now_ms);
        assert_eq!(hour.samples.len(), 61);
        assert_eq!(hour.samples[1].timestamp, now_ms - 60_000);
        let day = history.details(1, Span { age_s: 28_800, incr_s: 600 }, now_ms);
        assert_eq!((day.samples.len(), day.rate), (13, 0.0));
        assert!((day.avg - 7.0).abs() < 1e-9);
    }

    #[test]
    fn fewer_samples_are_given_when_fewer_are_asked_for() {
        let history = filled(600);
        let details = history.details(0, Span { age_s: 60, incr_s: 30 }, 1_600_000);
        let times: Vec<_> = details.samples.iter().map(|sample| sample.timestamp).collect();
        assert_eq!(times, [1_600_000, 1_570_000, 1_540_000]);
    }

    #[test]
    fn nothing_is_kept_beyond_its_bounds() {
        let history = filled(100_000);
        let kept: Vec<_> = history.rings.iter().map(VecDeque::len).collect();
        assert_eq!(kept, [13, 61, 49]);
    }

    #[test]
    fn a_history_of_one_sample_has_no_rate() {
        let history = filled(0);
        assert_eq!(history.rates(), None);
        let details = history.details(1, Span { age_s: 60, incr_s: 5 }, 1_000_000);
        assert_eq!((details.rate, details.avg_rate, details.samples.len()), (0.0, 0.0, 1));
    }
}
