//! Messages of a session that are not safe yet.

use std::collections::VecDeque;

use super::table::Places;

/// Items with messages, in the order of their numbers. Their messages are numbered through, so that shards can name them.
#[derive(Debug, Default)]
pub(super) struct Publishes {
    messages: u64,
    open: VecDeque<Open>,
    /// Items whose messages have all met their fate, with the places of those that were refused.
    finished: Vec<(u64, Places)>,
}

#[derive(Debug)]
struct Open {
    number: u64,
    first: u64,
    left: u32,
    refused: Places,
}

impl Publishes {
    /// An item with so many messages; gives the number of its first message.
    pub(super) fn begin(&mut self, number: u64, count: u32) -> u64 {
        let first = self.messages;
        self.messages += u64::from(count);
        self.open.push_back(Open { number, first, left: count, refused: Vec::new() });
        if count == 0 {
            self.finished.push((number, Vec::new()));
        }
        first
    }

    /// Whether the fate of this item's messages is not known yet.
    pub(super) fn is_open(&self, number: u64) -> bool {
        let at = self.open.partition_point(|open| open.number < number);
        self.open.get(at).is_some_and(|open| open.number == number && open.left > 0)
            || self.finished.iter().any(|(finished, _)| *finished == number)
    }

    /// Messages side by side, all of one item, are safe or refused.
    pub(super) fn told(&mut self, first: u64, count: u64, accepted: bool) {
        let at = self.open.partition_point(|open| open.first <= first);
        // Those without messages share their first number with the one behind.
        let Some(open) = at.checked_sub(1).and_then(|at| self.open.get_mut(at)) else { return };
        let count = u32::try_from(count).unwrap_or(u32::MAX).min(open.left);
        if count == 0 {
            return;
        }
        open.left -= count;
        if !accepted {
            let place = u32::try_from(first - open.first).unwrap_or(u32::MAX);
            open.refused.push((place, count));
        }
        if open.left == 0 {
            let mut refused = std::mem::take(&mut open.refused);
            refused.sort_unstable();
            self.finished.push((open.number, refused));
        }
        while self.open.front().is_some_and(|open| open.left == 0) {
            self.open.pop_front();
        }
    }

    /// Items whose fate is known by now.
    pub(super) fn take_finished(&mut self) -> Vec<(u64, Places)> {
        std::mem::take(&mut self.finished)
    }

    /// Places that were refused so far of items that are still open.
    pub(super) fn refused(&self) -> impl Iterator<Item = (u64, &Places)> {
        self.open.iter().filter(|open| !open.refused.is_empty()).map(|open| (open.number, &open.refused))
    }

    /// Nobody waits any more for what is open; what is told of it from now on concerns nobody.
    pub(super) fn forget(&mut self) {
        self.open.clear();
        self.finished.clear();
    }
}
