//! What will happen, in the order of its time; at the same time in the order in which it was planned.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

#[derive(Debug)]
struct Planned<E> {
    at_us: u64,
    number: u64,
    event: E,
}

impl<E> Planned<E> {
    fn key(&self) -> (u64, u64) {
        (self.at_us, self.number)
    }
}

impl<E> PartialEq for Planned<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<E> Eq for Planned<E> {}

impl<E> PartialOrd for Planned<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Planned<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

#[derive(Debug)]
pub(super) struct Events<E> {
    planned: BinaryHeap<Reverse<Planned<E>>>,
    number: u64,
}

impl<E> Events<E> {
    pub(super) fn new() -> Self {
        Self { planned: BinaryHeap::new(), number: 0 }
    }

    pub(super) fn plan(&mut self, at_us: u64, event: E) {
        self.number += 1;
        self.planned.push(Reverse(Planned { at_us, number: self.number, event }));
    }

    pub(super) fn next(&mut self) -> Option<(u64, E)> {
        self.planned.pop().map(|Reverse(planned)| (planned.at_us, planned.event))
    }
}

#[test]
fn events_come_in_the_order_of_their_time_and_then_of_their_planning() {
    let mut events = Events::new();
    for (at_us, event) in [(5, 'c'), (1, 'a'), (5, 'd'), (3, 'b')] {
        events.plan(at_us, event);
    }
    let order: Vec<_> = std::iter::from_fn(|| events.next()).collect();
    assert_eq!(order, [(1, 'a'), (3, 'b'), (5, 'c'), (5, 'd')]);
}
