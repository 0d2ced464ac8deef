//! Delayed retry: how long a message waits before it is delivered again (RabbitMQ: Quorum Queues, Delayed Retry).

use amq_protocol::types::{AMQPValue, FieldTable};

use super::value::integer;

/// Factors are kept in thousandths.
const THOUSAND: u64 = 1000;

/// Without a limit of its own, a delay that grows by a factor ends at ten years.
const DELAY_MAX_MS: u64 = 315_360_000_000;

/// Which returns wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryType {
    /// Every one.
    All,
    /// After a reject, and with the end of a channel or connection.
    Failed,
    /// After a nack or recover, or a time-out of the consumer.
    Returned,
}

/// Why a delivery came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its consumer failed to process it.
    Failed,
    /// It was given back.
    Returned,
}

/// What a queue was asked for; each may be set by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetrySettings {
    /// `x-delayed-retry-type`; none is `disabled`.
    pub kind: Option<RetryType>,
    /// `x-delayed-retry-min`: the first delay in milliseconds; without it there is none.
    pub min_ms: Option<u64>,
    /// `x-delayed-retry-max`: the longest in milliseconds.
    pub max_ms: Option<u64>,
    /// `x-delayed-retry-multiplier` in thousandths, above 1: each delay is so many times the one before.
    pub multiplier_milli: Option<u64>,
    /// `x-delayed-retry-jitter`: by how many percent a delay may be longer or shorter.
    pub jitter_percent: Option<u8>,
}

/// How long messages that came back wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    kind: RetryType,
    min_ms: u64,
    max_ms: u64,
    multiplier_milli: Option<u64>,
    jitter_percent: u64,
}

impl RetryType {
    /// The type of that name; `None` for `disabled`, and for names that nobody knows, as RabbitMQ has it.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        match name {
            b"all" => Some(Self::All),
            b"failed" => Some(Self::Failed),
            b"returned" => Some(Self::Returned),
            _ => None,
        }
    }

    fn covers(self, cause: Cause) -> bool {
        match self {
            Self::All => true,
            Self::Failed => cause == Cause::Failed,
            Self::Returned => cause == Cause::Returned,
        }
    }
}

impl RetrySettings {
    /// Reads checked arguments.
    pub(super) fn of(arguments: &FieldTable) -> Self {
        let get = |name: &str| arguments.inner().get(name);
        let above_0 = |name: &str| {
            get(name).and_then(integer).and_then(|n| u64::try_from(n).ok()).filter(|number| *number > 0)
        };
        let kind = match get("x-delayed-retry-type") {
            Some(AMQPValue::LongString(name)) => RetryType::from_name(name.as_bytes()),
            _ => None,
        };
        Self {
            kind,
            min_ms: above_0("x-delayed-retry-min"),
            max_ms: above_0("x-delayed-retry-max"),
            multiplier_milli: get("x-delayed-retry-multiplier").and_then(multiplier_milli),
            jitter_percent: get("x-delayed-retry-jitter").and_then(jitter_percent),
        }
    }

    /// What follows from all of it. `None` when messages that come back do not wait.
    #[must_use]
    pub fn retry(&self) -> Option<Retry> {
        let (kind, min_ms) = (self.kind?, self.min_ms?);
        let growing = self.multiplier_milli.map(|_| DELAY_MAX_MS);
        let max_ms = self.max_ms.or(growing).unwrap_or(min_ms);
        let jitter_percent = self.jitter_percent.unwrap_or(0).into();
        Some(Retry { kind, min_ms, max_ms, multiplier_milli: self.multiplier_milli, jitter_percent })
    }
}

impl Retry {
    /// How long the message of this number waits when it has come back so often. `None` when it does not wait.
    #[must_use]
    pub fn delay_ms(&self, cause: Cause, seq: u64, count: u32) -> Option<u64> {
        let count = count.max(1);
        let delay_ms = match self.multiplier_milli {
            None => self.min_ms.saturating_mul(count.into()),
            Some(factor) => self.growing_ms(factor, count),
        };
        self.kind.covers(cause).then(|| self.scattered(delay_ms.min(self.max_ms), seq, count))
    }

    /// `min * factor^(count - 1)`, as far as the limit.
    fn growing_ms(&self, factor_milli: u64, count: u32) -> u64 {
        let mut delay_milli = self.min_ms.saturating_mul(THOUSAND);
        let max_milli = self.max_ms.saturating_mul(THOUSAND);
        for _ in 1..count {
            if delay_milli >= max_milli {
                break;
            }
            let next = u128::from(delay_milli) * u128::from(factor_milli) / u128::from(THOUSAND);
            delay_milli = u64::try_from(next).unwrap_or(u64::MAX);
        }
        delay_milli / THOUSAND
    }

    /// Longer or shorter by up to the jitter: evenly spread over messages, and the same whenever it is asked for.
    fn scattered(&self, delay_ms: u64, seq: u64, count: u32) -> u64 {
        if self.jitter_percent == 0 {
            return delay_ms;
        }
        let span_ms =
            u64::try_from(u128::from(delay_ms) * u128::from(self.jitter_percent) / 100).unwrap_or(u64::MAX);
        let place = mixed(seq ^ u64::from(count) << 48) % (2 * span_ms + 1);
        delay_ms - span_ms + place
    }
}

/// A hash of a number (the finish of SplitMix64).
fn mixed(number: u64) -> u64 {
    let mut hash = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}

/// A factor in thousandths: an integer or a fraction above 1, up to a million.
pub(super) fn multiplier_milli(value: &AMQPValue) -> Option<u64> {
    let factor = match value {
        AMQPValue::Double(number) => *number,
        AMQPValue::Float(number) => f64::from(*number),
        other => f64::from(i32::try_from(integer(other)?).ok()?),
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
    (1.001..=1e6).contains(&factor).then(|| (factor * 1000.0).round() as u64)
}

/// Percent, 0 to 100.
pub(super) fn jitter_percent(value: &AMQPValue) -> Option<u8> {
    integer(value).and_then(|percent| u8::try_from(percent).ok()).filter(|percent| *percent <= 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settings() -> RetrySettings {
        RetrySettings { kind: Some(RetryType::All), min_ms: Some(100), ..RetrySettings::default() }
    }

    fn delays(settings: &RetrySettings) -> Vec<u64> {
        let retry = settings.retry().unwrap();
        (0..6).map(|count| retry.delay_ms(Cause::Failed, 7, count).unwrap()).collect()
    }

    #[test]
    fn delays_grow_by_the_count_as_far_as_the_limit() {
        assert_eq!(delays(&settings()), [100; 6], "without a limit they stay at the least");
        assert_eq!(
            delays(&RetrySettings { max_ms: Some(350), ..settings() }),
            [100, 100, 200, 300, 350, 350]
        );
        assert_eq!(delays(&RetrySettings { max_ms: Some(50), ..settings() }), [50; 6]);
    }

    #[test]
    fn with_a_multiplier_they_grow_by_it() {
        let double = RetrySettings { multiplier_milli: Some(2000), ..settings() };
        assert_eq!(delays(&double), [100, 100, 200, 400, 800, 1600]);
        assert_eq!(delays(&RetrySettings { max_ms: Some(500), ..double }), [100, 100, 200, 400, 500, 500]);
        let half_more = RetrySettings { multiplier_milli: Some(1500), ..settings() };
        assert_eq!(delays(&half_more), [100, 100, 150, 225, 337, 506]);
        let retry = double.retry().unwrap();
        assert_eq!(retry.delay_ms(Cause::Failed, 1, u32::MAX), Some(DELAY_MAX_MS));
    }

    #[test]
    fn a_type_covers_its_causes() {
        for (kind, failed, returned) in [
            (RetryType::All, true, true),
            (RetryType::Failed, true, false),
            (RetryType::Returned, false, true),
        ] {
            let retry = RetrySettings { kind: Some(kind), ..settings() }.retry().unwrap();
            let waits = |cause| retry.delay_ms(cause, 1, 1).is_some();
            assert_eq!((waits(Cause::Failed), waits(Cause::Returned)), (failed, returned));
        }
        assert_eq!(RetrySettings { kind: None, ..settings() }.retry(), None);
        assert_eq!(RetrySettings { min_ms: None, ..settings() }.retry(), None);
    }

    #[test]
    fn jitter_spreads_delays_around_their_middle() {
        let jitter = RetrySettings { jitter_percent: Some(20), min_ms: Some(1000), ..settings() };
        let retry = jitter.retry().unwrap();
        let delays: Vec<_> = (0..1000).map(|seq| retry.delay_ms(Cause::Failed, seq, 1).unwrap()).collect();
        assert!(delays.iter().all(|delay_ms| (800..=1200).contains(delay_ms)));
        let below = delays.iter().filter(|delay_ms| **delay_ms < 900).count();
        assert!((200..300).contains(&below), "a quarter is in the lowest quarter: {below}");
        assert_eq!(retry.delay_ms(Cause::Failed, 5, 1), retry.delay_ms(Cause::Failed, 5, 1));
        assert_ne!(retry.delay_ms(Cause::Failed, 5, 1), retry.delay_ms(Cause::Failed, 5, 2));
    }

    #[test]
    fn factors_and_percents_have_their_ranges() {
        for (value, expected) in [
            (AMQPValue::LongInt(2), Some(2000)),
            (AMQPValue::Double(1.5), Some(1500)),
            (AMQPValue::Float(2.25), Some(2250)),
            (AMQPValue::LongInt(1), None),
            (AMQPValue::Double(f64::NAN), None),
            (AMQPValue::LongLongInt(1 << 40), None),
            (AMQPValue::Boolean(true), None),
        ] {
            assert_eq!(multiplier_milli(&value), expected, "{value:?}");
        }
        for (value, expected) in [(0, Some(0)), (100, Some(100)), (101, None), (-1, None)] {
            assert_eq!(jitter_percent(&AMQPValue::LongInt(value)), expected);
        }
    }

    proptest! {
        #[test]
        fn a_delay_is_never_far_from_its_limits(
            min_ms in 1..u64::MAX, max_ms in 1..u64::MAX / 2, multiplier_milli in prop::option::of(1001..1_000_000_000u64),
            jitter in 0..=100u8, seq in any::<u64>(), count in any::<u32>(),
        ) {
            let settings = RetrySettings { kind: Some(RetryType::All), min_ms: Some(min_ms), max_ms: Some(max_ms),
                multiplier_milli, jitter_percent: Some(jitter) };
            let delay_ms = settings.retry().unwrap().delay_ms(Cause::Failed, seq, count).unwrap();
            prop_assert!(delay_ms <= max_ms * 2);
        }
    }
}
