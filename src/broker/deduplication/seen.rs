//! The ids that came lately, in the order in which they came, and their form on disk.
//!
//! Notes on disk are a list, little endian: 1, stamp u64, until u64, length u32 and the id; or 2, stamp u64: what was
//! noted below is forgotten. Reading notes again, or notes older than what is known, changes nothing: the stamps tell.

use std::collections::{BTreeMap, HashMap};

use super::Id;

/// For ids that are kept until others take their place.
pub const NEVER_MS: u64 = u64::MAX;

/// Bytes of ids that are kept at most, however many ids that is.
const BYTES_MAX: usize = 16 * 1024 * 1024;

const NOTED: u8 = 1;
const CLEARED: u8 = 2;

/// Ids by value and by age.
#[derive(Clone, Debug)]
pub struct Seen {
    ids: HashMap<Id, Noted, foldhash::fast::RandomState>,
    by_stamp: BTreeMap<u64, Id>,
    bytes: usize,
    size_max: usize,
    next_stamp: u64,
    cleared_below: u64,
    has_changed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Noted {
    stamp: u64,
    until_ms: u64,
    is_durable: bool,
}

impl Default for Seen {
    /// Without a limit: for the time in which it is read back.
    fn default() -> Self {
        Self {
            ids: HashMap::default(),
            by_stamp: BTreeMap::new(),
            bytes: 0,
            size_max: usize::MAX,
            next_stamp: 0,
            cleared_below: 0,
            has_changed: false,
        }
    }
}

impl Seen {
    /// Keeps at most so many ids from now on.
    pub fn set_size(&mut self, size_max: usize) {
        self.size_max = size_max;
        self.trim();
    }

    /// How many ids are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Whether a message with this id came before.
    #[must_use]
    pub fn has(&self, id: &[u8], now_ms: u64) -> bool {
        self.ids.get(id).is_some_and(|noted| noted.until_ms > now_ms)
    }

    /// Notes an id; appends to `log` what a restart must know of it, if the id is to survive one.
    pub fn note(&mut self, id: Id, until_ms: u64, is_durable: bool, log: &mut Vec<u8>) {
        let stamp = self.next_stamp;
        if is_durable {
            put_noted(log, stamp, until_ms, &id);
        }
        self.insert(id, Noted { stamp, until_ms, is_durable });
        self.trim();
    }

    /// Forgets all ids; appends to `log` what a restart must know of that.
    pub fn clear(&mut self, log: &mut Vec<u8>) {
        if !self.ids.is_empty() {
            self.clear_below(self.next_stamp);
            put_cleared(log, self.next_stamp);
        }
    }

    /// Whether [`Self::put`] would write something new since it was last asked.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.has_changed
    }

    /// [`Self::put`] has been written.
    pub fn saved(&mut self) {
        self.has_changed = false;
    }

    /// Appends all that a restart must know.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_cleared(out, self.cleared_below);
        for (stamp, id) in &self.by_stamp {
            if let Some(noted) = self.ids.get(id).filter(|noted| noted.is_durable) {
                put_noted(out, *stamp, noted.until_ms, id);
            }
        }
    }

    /// Reads notes. `None` when they are damaged.
    pub fn replay(&mut self, mut notes: &[u8]) -> Option<()> {
        while let Some((kind, rest)) = notes.split_first() {
            let (stamp, rest) = take_u64(rest)?;
            stamp.checked_add(1)?;
            notes = match *kind {
                CLEARED => {
                    self.clear_below(stamp);
                    rest
                }
                NOTED => {
                    let (until_ms, rest) = take_u64(rest)?;
                    let (length, rest) = rest.split_first_chunk::<4>()?;
                    let (id, rest) =
                        rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
                    self.insert(id.into(), Noted { stamp, until_ms, is_durable: true });
                    rest
                }
                _ => return None,
            };
        }
        self.trim();
        Some(())
    }

    /// An id has the stamp of its last note; notes that are older than what is known are not news.
    fn insert(&mut self, id: Id, noted: Noted) {
        self.next_stamp = self.next_stamp.max(noted.stamp + 1);
        let is_old = self.ids.get(&id).is_some_and(|known| known.stamp >= noted.stamp);
        if is_old || noted.stamp < self.cleared_below {
            return;
        }
        self.has_changed = true;
        match self.ids.insert(id.clone(), noted) {
            Some(before) => drop(self.by_stamp.remove(&before.stamp)),
            None => self.bytes += id.len(),
        }
        self.by_stamp.insert(noted.stamp, id);
    }

    fn clear_below(&mut self, stamp: u64) {
        if stamp > self.cleared_below {
            self.cleared_below = stamp;
            self.next_stamp = self.next_stamp.max(stamp);
            self.has_changed = true;
        }
        while self.by_stamp.first_key_value().is_some_and(|(first, _)| *first < stamp) {
            self.drop_oldest();
        }
    }

    fn trim(&mut self) {
        while self.ids.len() > self.size_max || self.size_max != usize::MAX && self.bytes > BYTES_MAX {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, id)) = self.by_stamp.pop_first() {
            self.ids.remove(&id);
            self.bytes -= id.len();
            self.has_changed = true;
        }
    }
}

fn put_noted(out: &mut Vec<u8>, stamp: u64, until_ms: u64, id: &[u8]) {
    out.push(NOTED);
    out.extend_from_slice(&stamp.to_le_bytes());
    out.extend_from_slice(&until_ms.to_le_bytes());
    out.extend_from_slice(&u32::try_from(id.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(id);
}

fn put_cleared(out: &mut Vec<u8>, below: u64) {
    out.push(CLEARED);
    out.extend_from_slice(&below.to_le_bytes());
}

fn take_u64(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(byte: u8) -> Id {
        [byte].into()
    }

    fn sized(size_max: usize) -> Seen {
        let mut seen = Seen::default();
        seen.set_size(size_max);
        seen
    }

    fn ids(seen: &Seen, now_ms: u64) -> Vec<u8> {
        (0..=u8::MAX).filter(|byte| seen.has(&[*byte], now_ms)).collect()
    }

    #[test]
    fn the_oldest_ids_give_way() {
        let mut seen = sized(2);
        for byte in [1, 2, 3] {
            seen.note(id(byte), NEVER_MS, true, &mut Vec::new());
        }
        assert_eq!(ids(&seen, 0), [2, 3]);
        let large: Id = vec![0; BYTES_MAX].into();
        seen.note(large.clone(), NEVER_MS, true, &mut Vec::new());
        assert_eq!((seen.has(&large, 0), seen.len(), seen.bytes), (true, 1, BYTES_MAX));
    }

    #[test]
    fn an_id_is_seen_until_its_time_is_over() {
        let mut seen = sized(9);
        seen.note(id(1), 10, true, &mut Vec::new());
        assert_eq!((ids(&seen, 9), ids(&seen, 10)), (vec![1], vec![]));
        seen.note(id(1), 20, true, &mut Vec::new());
        assert_eq!((ids(&seen, 10), seen.len()), (vec![1], 1));
    }

    #[test]
    fn ids_of_transient_messages_end_with_the_run() {
        let (mut seen, mut log, mut row) = (sized(9), Vec::new(), Vec::new());
        seen.note(id(1), NEVER_MS, false, &mut log);
        assert!(log.is_empty());
        seen.note(id(2), NEVER_MS, true, &mut log);
        seen.put(&mut row);
        for notes in [log, row] {
            let mut again = Seen::default();
            again.replay(&notes).unwrap();
            assert_eq!(ids(&again, 0), [2]);
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Note(u8, u64),
        Clear,
        Save,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0u8..12, 1u64..100).prop_map(|(id, until_ms)| Step::Note(id, until_ms)),
            1 => Just(Step::Clear),
            1 => Just(Step::Save),
        ]
    }

    proptest! {
        #[test]
        fn any_saved_state_and_the_log_from_before_it_give_the_same_ids(
            steps in prop::collection::vec(step(), 0..60), size in 1usize..9, early in 0usize..20,
        ) {
            let (mut seen, mut row) = (sized(size), Vec::new());
            // Notes, and where in them the saved state was current.
            let (mut log, mut saved_at) = (Vec::new(), 0);
            for step in steps {
                let mut notes = Vec::new();
                match step {
                    Step::Note(byte, until_ms) => seen.note(id(byte), until_ms, true, &mut notes),
                    Step::Clear => seen.clear(&mut notes),
                    Step::Save => {
                        row.clear();
                        seen.put(&mut row);
                        seen.saved();
                        saved_at = log.len();
                    }
                }
                prop_assert!(seen.len() <= size && seen.len() == seen.by_stamp.len());
                prop_assert_eq!(seen.bytes, seen.len());
                prop_assert!(notes.is_empty() || seen.has_changed());
                log.push(notes);
            }
            let mut again = Seen::default();
            again.replay(&row).unwrap();
            for notes in &log[saved_at.saturating_sub(early)..] {
                again.replay(notes).unwrap();
            }
            again.set_size(size);
            for now_ms in [0, 30, 60] {
                prop_assert_eq!(ids(&again, now_ms), ids(&seen, now_ms));
            }
            prop_assert!(again.next_stamp >= again.by_stamp.last_key_value().map_or(0, |(last, _)| last + 1));
        }

        #[test]
        fn damaged_notes_are_refused_without_a_panic(bytes in prop::collection::vec(0u8..4, 0..60)) {
            let _ = Seen::default().replay(&bytes);
        }
    }
}
