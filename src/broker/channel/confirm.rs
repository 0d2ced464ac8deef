//! The confirm ledger: which publishes are safe in all their queues (RabbitMQ: Publisher Confirms).

use std::collections::VecDeque;

use crate::broker::queue::SeqRange;

/// Publish numbers of one channel, from the first unconfirmed on.
///
/// Answers go out in the order of the numbers, so that one `multiple` ack covers all before it.
#[derive(Debug)]
pub struct Ledger {
    /// The number that stands first in `waiting`.
    first: u64,
    /// How many queues each publish still waits for.
    waiting: VecDeque<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    queues: u32,
    refused: bool,
}

/// An answer to the publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Everything up to this number is safe; `multiple` when that is more than one.
    Ack(u64, bool),
    /// The broker does not take responsibility for these.
    Nack(u64, bool),
}

impl Default for Ledger {
    fn default() -> Self {
        Self { first: 1, waiting: VecDeque::new() }
    }
}

impl Ledger {
    /// Numbers a publish that goes to so many queues.
    pub fn publish(&mut self, queues: usize) -> u64 {
        let queues = u32::try_from(queues).unwrap_or(u32::MAX);
        self.waiting.push_back(Entry { queues, refused: false });
        self.first + self.waiting.len() as u64 - 1
    }

    /// One queue has answered for these publishes.
    pub fn complete(&mut self, ranges: &[SeqRange], accepted: bool) {
        for number in ranges.iter().flat_map(|(first, count)| *first..first + count) {
            let at = number.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
            if let Some(entry) = at.and_then(|at| self.waiting.get_mut(at)) {
                entry.queues = entry.queues.saturating_sub(1);
                entry.refused |= !accepted;
            }
        }
    }

    /// The next answer that is due, if one is.
    pub fn answer(&mut self) -> Option<Answer> {
        let refused = self.waiting.front().filter(|entry| entry.queues == 0)?.refused;
        let first = self.first;
        while self.waiting.front().is_some_and(|entry| entry.queues == 0 && entry.refused == refused) {
            self.waiting.pop_front();
            self.first += 1;
        }
        let last = self.first - 1;
        Some(if refused { Answer::Nack(last, last > first) } else { Answer::Ack(last, last > first) })
    }

    /// Up to which number all publishes have their answer.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.first - 1
    }

    /// How many publishes are without their answer.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.waiting.len() as u64
    }

    /// Whether a publish is without its answer.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn answers_in_order_and_together() {
        let mut ledger = Ledger::default();
        assert_eq!([ledger.publish(1), ledger.publish(2), ledger.publish(0)], [1, 2, 3]);
        assert_eq!(ledger.answer(), None);
        ledger.complete(&[(2, 1)], true);
        ledger.complete(&[(1, 1)], true);
        assert_eq!(ledger.answer(), Some(Answer::Ack(1, false)));
        assert_eq!(ledger.answer(), None);
        ledger.complete(&[(2, 1)], true);
        assert_eq!(ledger.answer(), Some(Answer::Ack(3, true)));
        assert_eq!(ledger.answer(), None);
    }

    #[test]
    fn a_refusal_is_not_covered_by_an_ack() {
        let mut ledger = Ledger::default();
        for number in 1..=3 {
            assert_eq!(ledger.publish(1), number);
        }
        ledger.complete(&[(2, 1)], false);
        ledger.complete(&[(1, 1), (3, 1)], true);
        assert_eq!(ledger.answer(), Some(Answer::Ack(1, false)));
        assert_eq!(ledger.answer(), Some(Answer::Nack(2, false)));
        assert_eq!(ledger.answer(), Some(Answer::Ack(3, false)));
    }

    proptest! {
        #[test]
        fn every_publish_is_answered_exactly_once(queues in prop::collection::vec(0usize..4, 1..50), seed in any::<u64>()) {
            let mut ledger = Ledger::default();
            let mut open: Vec<u64> = Vec::new();
            for count in &queues {
                let number = ledger.publish(*count);
                open.extend(std::iter::repeat_n(number, *count));
            }
            let mut answered = 0;
            let mut state = seed;
            loop {
                while let Some(answer) = ledger.answer() {
                    let (Answer::Ack(last, _) | Answer::Nack(last, _)) = answer;
                    prop_assert!(last > answered);
                    prop_assert!(open.iter().all(|number| *number > last), "an open publish was confirmed");
                    answered = last;
                }
                if open.is_empty() { break; }
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
                let at = (state >> 33) as usize % open.len();
                let number = open.swap_remove(at);
                ledger.complete(&[(number, 1)], true);
            }
            prop_assert_eq!(answered, queues.len() as u64);
        }
    }
}
