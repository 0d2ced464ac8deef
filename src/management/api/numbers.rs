//! Counts, rates and histories, in the forms that RabbitMQ gives them.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::broker::counts::MessageCounts;
use crate::management::http::Parameters;
use crate::node::statistics::{Details, Span};

const COUNT: usize = MessageCounts::COUNT;

/// The names of the rates of [`MessageCounts::NAMES`].
const DETAILS: [&str; COUNT] = [
    "publish_details",
    "confirm_details",
    "return_unroutable_details",
    "drop_unroutable_details",
    "deliver_details",
    "deliver_no_ack_details",
    "get_details",
    "get_no_ack_details",
    "get_empty_details",
    "redeliver_details",
    "ack_details",
];
/// Those of them that a queue does not count.
const OF_PUBLISHERS: [&str; 3] = ["confirm", "return_unroutable", "drop_unroutable"];

/// What is added up in `deliver_get`: all that was given to clients.
const DELIVERED: [&str; 4] = ["deliver", "deliver_no_ack", "get", "get_no_ack"];

/// A rate, or a rate with its history.
#[derive(Clone, Debug)]
pub(super) enum Rate {
    /// Lately, in a second.
    Now(f64),
    /// With samples.
    History(Details),
}

impl Default for Rate {
    fn default() -> Self {
        Self::Now(0.0)
    }
}

#[derive(Serialize)]
struct OnlyRate {
    rate: f64,
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Now(rate) => OnlyRate { rate: *rate }.serialize(serializer),
            Self::History(details) if details.samples.is_empty() => {
                OnlyRate { rate: details.rate }.serialize(serializer)
            }
            Self::History(details) => details.serialize(serializer),
        }
    }
}

/// Histories by the names of what they are of.
#[derive(Clone, Debug, Default)]
pub(super) struct Histories(pub(super) Vec<(String, Details)>);

impl Histories {
    /// The rate of a name, with its history when there is one; otherwise this one.
    pub(super) fn rate(&self, name: &str, otherwise: f64) -> Rate {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map_or(Rate::Now(otherwise), |(_, details)| Rate::History(details.clone()))
    }

    /// Takes in those of another node: sample by sample.
    pub(super) fn add(&mut self, other: Self) {
        for (name, details) in other.0 {
            match self.0.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => add(sum, &details),
                None => self.0.push((name, details)),
            }
        }
    }

    /// The sum of some of them under another name.
    pub(super) fn sum(&self, names: &[&str]) -> Option<Details> {
        let mut found = self.0.iter().filter(|(known, _)| names.contains(&known.as_str()));
        let mut sum = found.next()?.1.clone();
        found.for_each(|(_, details)| add(&mut sum, details));
        Some(sum)
    }
}

fn add(sum: &mut Details, other: &Details) {
    sum.rate += other.rate;
    sum.avg_rate += other.avg_rate;
    sum.avg += other.avg;
    for (sample, more) in sum.samples.iter_mut().zip(&other.samples) {
        sample.sample += more.sample;
    }
}

/// Which histories a request wants: of lengths, and of rates.
pub(super) fn spans(parameters: &Parameters) -> Option<(Span, Span)> {
    let number =
        |name: &str| parameters.get(name).and_then(|text| text.parse().ok()).filter(|number| *number > 0);
    let span = |kind: &str| {
        let age_s = number(&format!("{kind}_age"))?;
        Some(Span { age_s, incr_s: number(&format!("{kind}_incr"))? })
    };
    let (lengths, rates) = (span("lengths"), span("msg_rates"));
    let both = lengths.or(rates)?;
    Some((lengths.unwrap_or(both), rates.unwrap_or(both)))
}

/// `message_stats`.
#[derive(Clone, Debug, Default)]
pub(super) struct MessageStats {
    counts: [u64; COUNT],
    rates: [f64; COUNT],
    histories: Histories,
    /// For a queue: without what only publishers count.
    is_of_queue: bool,
    /// Bytes are nobody's; reads and writes of the disk are the node's.
    disk: Option<[u64; 2]>,
}

impl MessageStats {
    /// Counts and rates; rates that are not known are none.
    pub(super) fn new(counts: &MessageCounts, rates: &[f32]) -> Self {
        let rate = |at: usize| rates.get(at).copied().map_or(0.0, shown);
        Self {
            counts: counts.to_array(),
            rates: std::array::from_fn(rate),
            histories: Histories::default(),
            is_of_queue: false,
            disk: None,
        }
    }

    /// Those of a queue; nothing when it has done nothing.
    pub(super) fn of_queue(counts: &MessageCounts, rates: Option<&[f32; COUNT]>) -> Option<Self> {
        let rates = rates.map_or(&[][..], |rates| &rates[..]);
        (!counts.is_zero()).then(|| Self { is_of_queue: true, ..Self::new(counts, rates) })
    }

    /// The same with histories.
    pub(super) fn with(mut self, histories: &Histories) -> Self {
        self.histories = histories.clone();
        self
    }

    /// The same with what the disk did.
    pub(super) fn with_disk(mut self, reads: u64, writes: u64) -> Self {
        self.disk = Some([reads, writes]);
        self
    }

    fn delivered(&self) -> (u64, f64) {
        let mut sum = (0, 0.0);
        for (at, name) in MessageCounts::NAMES.iter().enumerate() {
            if DELIVERED.contains(name) {
                sum = (sum.0 + self.counts[at], sum.1 + self.rates[at]);
            }
        }
        sum
    }
}

/// A rate as people read it.
pub(super) fn shown(rate: f32) -> f64 {
    (f64::from(rate) * 10.0).round() / 10.0
}

impl Serialize for MessageStats {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (at, name) in MessageCounts::NAMES.iter().enumerate() {
            if self.is_of_queue && OF_PUBLISHERS.contains(name) {
                continue;
            }
            map.serialize_entry(name, &self.counts[at])?;
            map.serialize_entry(DETAILS[at], &self.histories.rate(name, self.rates[at]))?;
        }
        let (count, rate) = self.delivered();
        let history = self.histories.sum(&DELIVERED).map_or(Rate::Now(rate), Rate::History);
        map.serialize_entry("deliver_get", &count)?;
        map.serialize_entry("deliver_get_details", &history)?;
        if let Some([reads, writes]) = self.disk {
            map.serialize_entry("disk_reads", &reads)?;
            map.serialize_entry("disk_reads_details", &Rate::default())?;
            map.serialize_entry("disk_writes", &writes)?;
            map.serialize_entry("disk_writes_details", &Rate::default())?;
        }
        map.end()
    }
}

/// A time as RabbitMQ writes it: `2026-11-22T00:50:44.822+00:00`.
#[must_use]
pub(super) fn time_text(unix_ms: u64) -> String {
    let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}+00:00", ms % 1000)
}

/// Year, month and day of a day that is counted from 1 January 1970: by eras of 400 years that begin in March.
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (year + era * 400 + carry, month, day)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_count_has_the_name_of_its_rate() {
        let names = MessageCounts::NAMES.map(|name| format!("{name}_details"));
        assert_eq!(DETAILS.map(str::to_owned), names);
    }

    #[test]
    fn what_queues_count_is_shown_with_its_sum() {
        let counts = MessageCounts { publish: 3, deliver: 2, get: 1, ..MessageCounts::default() };
        let rates: [f32; COUNT] = std::array::from_fn(|at| if at == 0 { 1.24 } else { 0.5 });
        let stats = serde_json::to_value(MessageStats::of_queue(&counts, Some(&rates)).unwrap()).unwrap();
        assert_eq!(stats["publish_details"], json!({"rate": 1.2}));
        assert_eq!(stats["deliver_get"], 3);
        assert_eq!(stats["deliver_get_details"], json!({"rate": 2.0}));
        assert!(stats.get("confirm").is_none());
        assert!(MessageStats::of_queue(&MessageCounts::default(), None).is_none());
    }

    #[test]
    fn times_are_written_as_dates() {
        assert_eq!(time_text(0), "1970-01-01T00:00:00.000+00:00");
        assert_eq!(time_text(951_782_399_999), "2000-02-28T23:59:59.999+00:00");
        assert_eq!(time_text(951_782_400_000), "2000-02-29T00:00:00.000+00:00");
        assert_eq!(time_text(1_795_308_644_822), "2026-11-22T00:50:44.822+00:00");
    }
}
