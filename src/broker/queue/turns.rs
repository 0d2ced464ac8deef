//! Whose turn it is: a ring of slots for each priority, with no search and no allocation for each turn.

/// Rings of slots. A slot is in one ring at most.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The next and the previous slot in the ring of each slot.
    links: Vec<Link>,
    /// Highest priority first; none is empty.
    rings: Vec<Ring>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Link {
    next: usize,
    previous: usize,
}

#[derive(Debug)]
struct Ring {
    priority: i32,
    head: usize,
}

impl Turns {
    pub(super) fn is_empty(&self) -> bool {
        self.rings.is_empty()
    }

    /// The slot whose turn it is.
    pub(super) fn first(&self) -> Option<usize> {
        self.rings.first().map(|ring| ring.head)
    }

    /// Whether nobody shares the highest priority with the first.
    pub(super) fn is_alone(&self) -> bool {
        self.rings.first().is_some_and(|ring| self.links[ring.head].next == ring.head)
    }

    /// The first one's turn is over.
    pub(super) fn rotate(&mut self) {
        if let Some(ring) = self.rings.first_mut() {
            ring.head = self.links[ring.head].next;
        }
    }

    /// Puts a slot that is in no ring behind all others of its priority.
    pub(super) fn push(&mut self, slot: usize, priority: i32) {
        if self.links.len() <= slot {
            self.links.resize(slot + 1, Link::default());
        }
        match self.rings.binary_search_by(|ring| priority.cmp(&ring.priority)) {
            Ok(at) => {
                let next = self.rings[at].head;
                let previous = self.links[next].previous;
                self.links[slot] = Link { next, previous };
                self.links[previous].next = slot;
                self.links[next].previous = slot;
            }
            Err(at) => {
                self.links[slot] = Link { next: slot, previous: slot };
                self.rings.insert(at, Ring { priority, head: slot });
            }
        }
    }

    /// Takes a slot out of the ring that it is in.
    pub(super) fn remove(&mut self, slot: usize, priority: i32) {
        let Ok(at) = self.rings.binary_search_by(|ring| priority.cmp(&ring.priority)) else { return };
        let Link { next, previous } = self.links[slot];
        if next == slot {
            self.rings.remove(at);
            return;
        }
        self.links[previous].next = next;
        self.links[next].previous = previous;
        if self.rings[at].head == slot {
            self.rings[at].head = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, VecDeque};

    #[test]
    fn higher_priorities_come_first_and_equals_take_turns() {
        let mut turns = Turns::default();
        for (slot, priority) in [(0, 0), (1, 5), (2, 0), (3, -1)] {
            turns.push(slot, priority);
        }
        assert_eq!((turns.first(), turns.is_alone()), (Some(1), true));
        turns.remove(1, 5);
        let mut order = Vec::new();
        for _ in 0..4 {
            order.extend(turns.first());
            turns.rotate();
        }
        assert_eq!(order, [0, 2, 0, 2]);
        turns.remove(0, 0);
        turns.remove(2, 0);
        assert_eq!(turns.first(), Some(3));
        turns.remove(3, -1);
        assert!(turns.is_empty());
    }

    proptest! {
        #[test]
        fn behaves_like_queues_by_priority(steps in prop::collection::vec((0u8..12, 0u8..3), 0..100)) {
            let mut turns = Turns::default();
            let mut model: BTreeMap<std::cmp::Reverse<i32>, VecDeque<usize>> = BTreeMap::new();
            for (slot, step) in steps {
                let priority = i32::from(slot % 3) - 1;
                let slot = usize::from(slot);
                let ring = model.entry(std::cmp::Reverse(priority)).or_default();
                match (ring.contains(&slot), step) {
                    (false, 0 | 1) => {
                        ring.push_back(slot);
                        turns.push(slot, priority);
                    }
                    (true, 0) => {
                        ring.retain(|other| *other != slot);
                        turns.remove(slot, priority);
                    }
                    (_, _) => {
                        if let Some(ring) = model.values_mut().find(|ring| !ring.is_empty()) {
                            ring.rotate_left(1);
                        }
                        turns.rotate();
                    }
                }
                let first = model.values().find(|ring| !ring.is_empty());
                prop_assert_eq!(turns.first(), first.and_then(|ring| ring.front()).copied());
                prop_assert_eq!(turns.is_alone(), first.is_some_and(|ring| ring.len() == 1));
                prop_assert_eq!(turns.is_empty(), first.is_none());
            }
        }
    }
}
