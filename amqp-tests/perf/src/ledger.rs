//! Which messages came, exactly: one bit for each sequence number of each stream.

use std::collections::HashMap;

/// No sequence number that is honestly sent is larger.
const SEQUENCE_MAX: u32 = 1 << 30;
const UNKNOWN: u32 = u32::MAX;

/// What one consumer got from one queue. Streams are producers' numbered sequences of messages.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Stream to its place in `tracks`.
    places: Vec<u32>,
    tracks: Vec<Track>,
    damaged: u64,
}

struct Track {
    stream: u32,
    /// One more than the largest number so far.
    next: u32,
    duplicated: u64,
    out_of_order: u64,
    seen: Bits,
}

impl Ledger {
    /// Notes that a message came.
    pub(crate) fn note(&mut self, stream: u32, sequence: u32) {
        let place = match self.places.get(stream as usize) {
            Some(&place) if place != UNKNOWN => place as usize,
            _ => self.new_track(stream),
        };
        let Some(track) = self.tracks.get_mut(place).filter(|_| sequence < SEQUENCE_MAX) else {
            self.damaged += 1;
            return;
        };
        track.note(sequence);
    }

    /// Notes a message that is not one of ours as it was sent.
    pub(crate) fn note_damaged(&mut self) {
        self.damaged += 1;
    }

    /// A place for a stream that was not met before; none for an impossible one.
    fn new_track(&mut self, stream: u32) -> usize {
        if stream >= 1 << 24 {
            return usize::MAX;
        }
        let needed = stream as usize + 1;
        if self.places.len() < needed {
            self.places.resize(needed.next_power_of_two(), UNKNOWN);
        }
        let place = self.tracks.len();
        self.places[stream as usize] = u32::try_from(place).unwrap_or(UNKNOWN);
        self.tracks.push(Track { stream, next: 0, duplicated: 0, out_of_order: 0, seen: Bits::default() });
        place
    }
}

impl Track {
    fn note(&mut self, sequence: u32) {
        let again = self.seen.set(sequence);
        self.duplicated += u64::from(again);
        if sequence >= self.next {
            self.next = sequence + 1;
        } else {
            self.out_of_order += u64::from(!again);
        }
    }
}

#[derive(Default)]
struct Bits(Vec<u64>);

impl Bits {
    /// Sets a bit; was it set before?
    fn set(&mut self, number: u32) -> bool {
        let word = (number / 64) as usize;
        if word >= self.0.len() {
            self.0.resize((word + 1).next_power_of_two(), 0);
        }
        let bit = 1 << (number % 64);
        let before = self.0[word] & bit != 0;
        self.0[word] |= bit;
        before
    }

    /// Adds another set; how many were in both?
    fn merge(&mut self, other: &Self) -> u64 {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        let mut both = 0;
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            both += u64::from((*mine & theirs).count_ones());
            *mine |= theirs;
        }
        both
    }

    /// How many of the numbers below `end` are set, and how many from there on.
    fn count(&self, end: u64) -> (u64, u64) {
        let all: u64 = self.0.iter().map(|word| u64::from(word.count_ones())).sum();
        let whole = usize::try_from(end / 64).unwrap_or(usize::MAX).min(self.0.len());
        let mut below: u64 = self.0[..whole].iter().map(|word| u64::from(word.count_ones())).sum();
        if let Some(word) = self.0.get(whole) {
            below += u64::from((word & ((1 << (end % 64)) - 1)).count_ones());
        }
        (below, all - below)
    }
}

/// What was wrong with the messages of a run; all zero when nothing was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) out_of_order: u64,
    /// Of another size, without a number that could be ours, or never sent to that queue.
    pub(crate) damaged: u64,
    /// Refused with basic.nack.
    pub(crate) refused: u64,
    /// Delivered before the delay was over.
    pub(crate) early: u64,
}

impl Verdict {
    /// Counts what is wrong, in words; `None` when nothing is.
    pub(crate) fn complaint(&self) -> Option<String> {
        let counts = [
            (self.lost, "lost"),
            (self.duplicated, "duplicated"),
            (self.out_of_order, "out of order"),
            (self.damaged, "damaged"),
            (self.refused, "refused with basic.nack"),
            (self.early, "early"),
        ];
        let found: Vec<_> =
            counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        (!found.is_empty()).then(|| format!("messages: {}", found.join(", ")))
    }
}

/// Compares what came with what was sent. `ledgers` are pairs of queue and ledger, `sent` counts the messages of each
/// stream, `goes_to` says which queues a stream's messages go to.
pub(crate) fn judge(
    ledgers: Vec<(usize, Ledger)>,
    sent: &[u32],
    goes_to: impl Fn(usize) -> Vec<usize>,
) -> Verdict {
    let mut verdict = Verdict::default();
    let mut came: HashMap<(usize, u32), Bits> = HashMap::new();
    for (queue, ledger) in ledgers {
        verdict.damaged += ledger.damaged;
        for track in ledger.tracks {
            verdict.duplicated += track.duplicated;
            verdict.out_of_order += track.out_of_order;
            verdict.duplicated += came.entry((queue, track.stream)).or_default().merge(&track.seen);
        }
    }
    for (stream, &count) in (0_u32..).zip(sent) {
        for queue in goes_to(stream as usize) {
            let bits = came.remove(&(queue, stream)).unwrap_or_default();
            let (below, beyond) = bits.count(u64::from(count));
            verdict.lost += u64::from(count) - below;
            verdict.damaged += beyond;
        }
    }
    verdict.damaged += came.values().map(|bits| bits.count(0).1).sum::<u64>();
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One stream of `sent` messages to queue 0, of which these came.
    fn verdict_of(sent: u32, came: &[u32]) -> Verdict {
        let mut ledger = Ledger::default();
        came.iter().for_each(|number| ledger.note(0, *number));
        judge(vec![(0, ledger)], &[sent], |_| vec![0])
    }

    #[test]
    fn nothing_is_wrong_when_all_came_in_order() {
        let all: Vec<u32> = (0..1000).collect();
        assert_eq!(verdict_of(1000, &all), Verdict::default());
        assert_eq!(verdict_of(1000, &all).complaint(), None);
    }

    #[test]
    fn each_fault_is_told_apart() {
        assert_eq!(verdict_of(4, &[0, 1, 3]), Verdict { lost: 1, ..Verdict::default() });
        assert_eq!(verdict_of(4, &[0, 1, 2]), Verdict { lost: 1, ..Verdict::default() });
        assert_eq!(verdict_of(3, &[0, 1, 1, 2]), Verdict { duplicated: 1, ..Verdict::default() });
        assert_eq!(verdict_of(3, &[0, 2, 1]), Verdict { out_of_order: 1, ..Verdict::default() });
        assert_eq!(verdict_of(3, &[0, 1, 2, 3]), Verdict { damaged: 1, ..Verdict::default() });
        assert_eq!(verdict_of(1, &[0, u32::MAX]), Verdict { damaged: 1, ..Verdict::default() });
        assert_eq!(verdict_of(128, &[]).complaint().unwrap(), "messages: 128 lost");
    }

    #[test]
    fn consumers_that_share_a_queue_must_not_both_get_a_message() {
        let (mut one, mut two) = (Ledger::default(), Ledger::default());
        [0, 2, 4].iter().for_each(|number| one.note(0, *number));
        [1, 3, 4].iter().for_each(|number| two.note(0, *number));
        let verdict = judge(vec![(0, one), (0, two)], &[5], |_| vec![0]);
        assert_eq!(verdict, Verdict { duplicated: 1, ..Verdict::default() });
    }

    #[test]
    fn a_message_must_reach_every_queue_and_no_other() {
        let mut ledger = Ledger::default();
        ledger.note(0, 0);
        ledger.note(1, 0);
        ledger.note(u32::MAX, 0);
        let verdict = judge(vec![(0, ledger)], &[1, 0], |_| vec![0, 1]);
        assert_eq!(verdict, Verdict { lost: 1, damaged: 2, ..Verdict::default() });
    }
}
