//! Prometheus' text format.

use std::fmt::Write;

/// What a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Untyped,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Untyped => "untyped",
        }
    }
}

/// Text that grows family by family.
#[derive(Debug, Default)]
pub(super) struct Text {
    pub(super) out: String,
    name: String,
}

impl Text {
    /// Begins a family: samples that follow are its.
    pub(super) fn family(&mut self, prefix: &str, name: &str, kind: Kind, help: &str) {
        self.name = format!("{prefix}{name}");
        // Writing to a string cannot fail.
        let _ = writeln!(self.out, "# TYPE {} {}\n# HELP {} {help}", self.name, kind.as_str(), self.name);
    }

    /// A sample with labels.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.sample_of("", labels, value);
    }

    /// A sample of a part of the family, such as `_bucket`.
    pub(super) fn sample_of(&mut self, part: &str, labels: &[(&str, &str)], value: f64) {
        self.out.push_str(&self.name);
        self.out.push_str(part);
        for (at, (name, text)) in labels.iter().enumerate() {
            self.out.push(if at == 0 { '{' } else { ',' });
            self.out.push_str(name);
            self.out.push_str("=\"");
            push_escaped(&mut self.out, text);
            self.out.push('"');
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }

    /// A family of one sample.
    pub(super) fn one(&mut self, prefix: &str, name: &str, kind: Kind, help: &str, value: f64) {
        self.family(prefix, name, kind, help);
        self.sample(&[], value);
    }

    /// A histogram: how many are within each bound, how many there are, their sum.
    pub(super) fn histogram(&mut self, labels: &[(&str, &str)], within: &[(f64, u64)], count: u64, sum: f64) {
        for (bound, count) in within {
            self.bucket(labels, &bound.to_string(), *count);
        }
        self.bucket(labels, "+Inf", count);
        self.sample_of("_count", labels, to_f64(count));
        self.sample_of("_sum", labels, sum);
    }

    fn bucket(&mut self, labels: &[(&str, &str)], bound: &str, count: u64) {
        let labels: Vec<_> = labels.iter().copied().chain([("le", bound)]).collect();
        self.sample_of("_bucket", &labels, to_f64(count));
    }
}

fn push_escaped(out: &mut String, text: &str) {
    for sign in text.chars() {
        match sign {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            sign => out.push(sign),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "the format has no other numbers")]
pub(super) fn to_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_whole_numbers_stay_whole() {
        let mut text = Text::default();
        text.family("a_", "b", Kind::Gauge, "What it is");
        text.sample(&[("queue", "q\"\\\n"), ("vhost", "/")], 3.0);
        text.sample(&[], 0.5);
        assert_eq!(
            text.out,
            "# TYPE a_b gauge\n# HELP a_b What it is\na_b{queue=\"q\\\"\\\\\\n\",vhost=\"/\"} 3\na_b 0.5\n"
        );
    }

    #[test]
    fn a_histogram_ends_with_all_there_are() {
        let mut text = Text::default();
        text.family("", "h", Kind::Histogram, "h");
        text.histogram(&[("x", "y")], &[(0.5, 1), (1.0, 2)], 3, 7.5);
        let lines: Vec<_> = text.out.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "h_bucket{x=\"y\",le=\"0.5\"} 1",
                "h_bucket{x=\"y\",le=\"1\"} 2",
                "h_bucket{x=\"y\",le=\"+Inf\"} 3",
                "h_count{x=\"y\"} 3",
                "h_sum{x=\"y\"} 7.5"
            ]
        );
    }
}
