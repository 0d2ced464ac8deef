//! Which resources the machine is short of: while it is, connections that publish are not read from (RabbitMQ: Memory and
//! Disk Alarms).

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

/// Between the beginning and the end of an alarm lies a sixteenth of its limit, or this if it is less.
const SLACK_BYTES_MAX: u64 = 64 << 20;

/// A resource that can run short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    /// Memory of the process.
    Memory,
    /// Space where the data lies.
    Disk,
    /// Nodes of the cluster: some of this node's publishers need others to be safe.
    Majority,
}

impl Resource {
    const fn bit(self) -> u8 {
        match self {
            Self::Memory => 1,
            Self::Disk => 2,
            Self::Majority => 4,
        }
    }
}

/// The alarms that are on.
#[derive(Debug, Default)]
pub(crate) struct ResourceAlarms {
    bits: AtomicU8,
    /// How many miss a majority.
    without_majority: Mutex<usize>,
}

impl ResourceAlarms {
    /// Whether publishers have to wait.
    #[inline]
    pub(crate) fn are_on(&self) -> bool {
        self.bits.load(Ordering::Acquire) != 0
    }

    /// What `connection.blocked` tells; `None` when nothing is short.
    pub(crate) fn reason(&self) -> Option<&'static str> {
        match self.bits.load(Ordering::Acquire) {
            0 => None,
            1 => Some("low on memory"),
            2 => Some("low on disk"),
            3 => Some("low on memory & disk"),
            // What is missing to be safe comes first.
            _ => Some("the cluster has no majority for queues of this node's publishers"),
        }
    }

    /// Turns an alarm on or off. True when that was the last one to go off.
    pub(crate) fn set(&self, resource: Resource, on: bool) -> bool {
        let bit = resource.bit();
        let before = if on {
            self.bits.fetch_or(bit, Ordering::AcqRel)
        } else {
            self.bits.fetch_and(!bit, Ordering::AcqRel)
        };
        !on && before == bit
    }

    /// One more misses a majority, or one less. True when that ended the last alarm.
    pub(crate) fn count_majority(&self, is_missing: bool) -> bool {
        let mut count = self.without_majority.lock().unwrap_or_else(PoisonError::into_inner);
        *count = if is_missing { *count + 1 } else { count.saturating_sub(1) };
        self.set(Resource::Majority, *count > 0)
    }

    /// Whether this one is on.
    pub(crate) fn has(&self, resource: Resource) -> bool {
        self.bits.load(Ordering::Acquire) & resource.bit() != 0
    }
}

/// Whether more is used than the limit allows; once that is so, until it is clearly less.
pub(crate) fn is_over(was_over: bool, used: u64, limit: u64) -> bool {
    if was_over { used > limit.saturating_sub(slack(limit)) } else { used > limit }
}

/// Whether less is free than there must be; once that is so, until it is clearly more.
pub(crate) fn is_under(was_under: bool, free: u64, least: u64) -> bool {
    if was_under { free < least.saturating_add(slack(least)) } else { free < least }
}

fn slack(limit: u64) -> u64 {
    (limit / 16).min(SLACK_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_alarm_to_go_off_is_known() {
        let alarms = ResourceAlarms::default();
        assert_eq!((alarms.are_on(), alarms.reason()), (false, None));
        for resource in [Resource::Memory, Resource::Disk] {
            assert!(!alarms.set(resource, true) && alarms.has(resource));
        }
        assert_eq!(alarms.reason(), Some("low on memory & disk"));
        assert!(!alarms.set(Resource::Memory, false));
        assert_eq!((alarms.are_on(), alarms.reason()), (true, Some("low on disk")));
        assert!(alarms.set(Resource::Disk, false));
        assert!(!alarms.set(Resource::Disk, false), "it was off");
        assert!(!alarms.are_on());
    }

    #[test]
    fn a_missing_majority_is_told_of_until_nobody_misses_one() {
        let alarms = ResourceAlarms::default();
        assert!(!alarms.count_majority(true) && !alarms.count_majority(true));
        alarms.set(Resource::Memory, true);
        let reason = "the cluster has no majority for queues of this node's publishers";
        assert_eq!(alarms.reason(), Some(reason));
        assert!(!alarms.count_majority(false));
        assert_eq!(alarms.reason(), Some(reason), "another one misses it");
        assert!(!alarms.count_majority(false));
        assert_eq!(alarms.reason(), Some("low on memory"));
        assert!(alarms.set(Resource::Memory, false));
    }

    #[test]
    fn an_alarm_does_not_flutter_at_its_limit() {
        assert_eq!([1600, 1601].map(|used| is_over(false, used, 1600)), [false, true]);
        assert_eq!([1500, 1501].map(|used| is_over(true, used, 1600)), [false, true]);
        assert_eq!([1600, 1599].map(|free| is_under(false, free, 1600)), [false, true]);
        assert_eq!([1700, 1699].map(|free| is_under(true, free, 1600)), [false, true]);
        assert!(is_over(true, (1 << 40) - SLACK_BYTES_MAX + 1, 1 << 40));
        assert!(!is_over(true, (1 << 40) - SLACK_BYTES_MAX, 1 << 40));
    }

    #[test]
    fn a_least_of_nothing_is_never_fallen_short_of() {
        assert!(!is_under(false, 0, 0) && !is_under(true, 0, 0));
    }
}
