//! What a run found out, and how it is shown.

use std::fmt::Write as _;
use std::io::Write;

use hdrhistogram::Histogram;

use crate::error::{Error, Result};
use crate::ledger::Verdict;

/// The results of one scenario.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) facts: Vec<(String, f64, &'static str)>,
    pub(crate) notes: Vec<String>,
    /// Messages, or whatever the scenario counts, per second.
    pub(crate) rate: Option<f64>,
    /// CPU of the broker for each of them.
    pub(crate) cpu_us: Option<f64>,
    /// What brokers are compared by, larger is better.
    pub(crate) score: Option<f64>,
    /// The scenario's other figures, in a few words.
    pub(crate) remark: String,
    pub(crate) verdict: Verdict,
    /// Was every message looked at?
    pub(crate) checked: bool,
}

impl Outcome {
    /// Adds a figure.
    pub(crate) fn fact(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.facts.push((name.into(), value, unit));
    }

    /// Adds a figure if it is known.
    pub(crate) fn fact_if(&mut self, name: impl Into<String>, value: Option<f64>, unit: &'static str) {
        if let Some(value) = value {
            self.fact(name, value, unit);
        }
    }

    /// Adds the percentiles of times in nanoseconds; gives p50 and p99 in microseconds.
    pub(crate) fn percentiles(&mut self, name: &str, times: &Histogram<u64>) -> (f64, f64) {
        let us = |ns: u64| ns as f64 / 1e3;
        for (label, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            self.fact(format!("{name} {label}"), us(times.value_at_quantile(quantile)), "us");
        }
        self.fact(format!("{name} max"), us(times.max()), "us");
        (us(times.value_at_quantile(0.5)), us(times.value_at_quantile(0.99)))
    }

    /// An error when messages were not treated as they should be.
    pub(crate) fn check(&self, broker: &str) -> Result<()> {
        self.verdict.complaint().map_or(Ok(()), |what| Err(Error::new(format!("{broker}: {what}"))))
    }

    /// Lines of name and value, aligned.
    pub(crate) fn write_text(&self, to: &mut dyn Write) -> std::io::Result<()> {
        let width = self.facts.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0);
        for (name, value, unit) in &self.facts {
            writeln!(to, "{name:width$}  {:>12} {unit}", number(*value))?;
        }
        for note in &self.notes {
            writeln!(to, "{note}")?;
        }
        match self.verdict.complaint() {
            Some(complaint) => writeln!(to, "{complaint}"),
            None if self.checked => writeln!(to, "every message as it should be"),
            None => Ok(()),
        }
    }

    /// One JSON object; names carry their units.
    pub(crate) fn json(&self, scenario: &str, broker: &str) -> String {
        let mut text = format!("{{\"scenario\":{},\"broker\":{}", quoted(scenario), quoted(broker));
        for (name, value, unit) in &self.facts {
            let unit = unit.replace("/s", "per_s").replace(' ', "_").replace('%', "percent");
            let name = format!("{name} {unit}").trim().replace([' ', '/', '-', '.'], "_");
            let _ = write!(text, ",{}:{value}", quoted(&name));
        }
        let Verdict { lost, duplicated, out_of_order, damaged, refused, early } = self.verdict;
        let _ = write!(
            text,
            ",\"lost\":{lost},\"duplicated\":{duplicated},\"out_of_order\":{out_of_order},\
             \"damaged\":{damaged},\"refused\":{refused},\"early\":{early}}}"
        );
        text
    }
}

/// An empty histogram for nanoseconds up to five minutes.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 300_000_000_000, 3).unwrap_or_else(|_| unreachable!("valid bounds"))
}

/// A number as people read it: three significant places below 100, groups of three digits above.
pub(crate) fn number(value: f64) -> String {
    if value.abs() < 9.995 {
        return format!("{value:.2}");
    }
    if value.abs() < 99.95 {
        return format!("{value:.1}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = if value < 0.0 { "-".to_owned() } else { String::new() };
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Octets as people read them.
pub(crate) fn octets(value: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB"];
    let (mut value, mut unit) = (value, 0);
    while value.abs() >= 1024.0 && unit + 1 < units.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    format!("{} {}", number(value), units[unit])
}

/// Microseconds as people read them.
pub(crate) fn time(us: f64) -> String {
    if us < 1000.0 { format!("{} us", number(us)) } else { format!("{} ms", number(us / 1000.0)) }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for sign in text.chars() {
        match sign {
            '"' | '\\' => quoted.extend(['\\', sign]),
            sign if sign.is_control() => quoted.push(' '),
            sign => quoted.push(sign),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        let cases =
            [(0.123, "0.12"), (12.34, "12.3"), (123.4, "123"), (1234567.0, "1,234,567"), (-4096.0, "-4,096")];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
        assert_eq!((octets(1536.0), time(1500.0)), ("1.50 KiB".to_owned(), "1.50 ms".to_owned()));
    }

    #[test]
    fn json_names_carry_units() {
        let mut outcome = Outcome::default();
        outcome.fact("delivered", 5.0, "/s");
        let text = outcome.json("a\"b", "c");
        assert!(
            text.starts_with(r#"{"scenario":"a\"b","broker":"c","delivered_per_s":5,"lost":0"#),
            "{text}"
        );
    }

    #[test]
    fn percentiles_are_of_the_recorded_times() {
        let mut times = histogram();
        (1..=1000).for_each(|n| times.record(n * 10_000).unwrap());
        let (p50, p99) = Outcome::default().percentiles("x", &times);
        assert!((4990.0..5010.0).contains(&p50) && (9880.0..9920.0).contains(&p99), "{p50} {p99}");
    }
}
