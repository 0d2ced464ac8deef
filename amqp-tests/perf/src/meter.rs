//! What a broker costs: its CPU time and its resident memory, from /proc; nothing where there is no /proc.

use std::fs;

use crate::relay::Relay;

/// The kernel's tick for user space, 100 per second on every Linux of today.
const TICK_NS: u64 = 10_000_000;
const PAGE: u64 = 4096;

/// Where figures about a broker come from.
#[derive(Clone)]
pub(crate) enum Meter {
    None,
    Process(u32),
    /// The relay's threads; its memory is that of this program.
    Relay(Relay),
}

/// A reading: CPU nanoseconds since the start, octets of memory now.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) cpu_ns: u64,
    pub(crate) rss: u64,
}

impl Meter {
    pub(crate) fn read(&self) -> Option<Usage> {
        match self {
            Self::None => None,
            Self::Process(pid) => process(*pid),
            Self::Relay(relay) => Some(Usage { cpu_ns: relay.cpu_ns(), rss: 0 }),
        }
    }
}

fn process(pid: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, so the fields are counted from behind it.
    let fields: Vec<u64> =
        stat.rsplit_once(')')?.1.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
    let ticks = fields.get(11)? + fields.get(12)?;
    Some(Usage { cpu_ns: ticks * TICK_NS, rss: fields.get(21)? * PAGE })
}

/// CPU nanoseconds per one of `count` since `before`.
pub(crate) fn cpu_us_each(before: Option<Usage>, after: Option<Usage>, count: u64) -> Option<f64> {
    let spent = after?.cpu_ns.saturating_sub(before?.cpu_ns);
    (count > 0).then(|| spent as f64 / 1e3 / count as f64)
}

/// Octets of memory for each one of `count` since `before`; negative when memory was given back.
pub(crate) fn rss_each(before: Option<Usage>, after: Option<Usage>, count: u64) -> Option<f64> {
    let grown = after?.rss as f64 - before?.rss as f64;
    (count > 0).then(|| grown / count as f64)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_and_a_missing_one_has_no_figures() {
        assert!(process(std::process::id()).unwrap().rss > 100_000);
        assert!(process(u32::MAX).is_none());
    }
}
