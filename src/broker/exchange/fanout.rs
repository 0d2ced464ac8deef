//! Fanout exchanges (AMQP 0-9-1, section 3.1.3.2): keys and arguments do not matter.

use super::{Bound, Bucket};

/// The bindings of a fanout exchange.
#[derive(Debug, Default)]
pub(crate) struct Fanout {
    all: Bucket,
}

impl Fanout {
    pub(crate) fn add(&mut self, bound: Bound<'_>) {
        self.all.add(bound.hop);
    }

    pub(crate) fn remove(&mut self, bound: Bound<'_>) {
        self.all.remove(bound.hop);
    }

    pub(crate) fn matching(&self) -> &Bucket {
        &self.all
    }
}
