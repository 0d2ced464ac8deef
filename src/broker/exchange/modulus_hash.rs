//! Exchanges of type `x-modulus-hash`: the hash of the routing key modulo the number of destinations; keys of bindings
//! do not matter. As in <https://github.com/rabbitmq/rabbitmq-server/tree/main/deps/rabbitmq_sharding>.

use super::destinations::Destinations;
use super::hash::hash;
use super::{Bound, Bucket};

/// The bindings of a modulus hash exchange.
#[derive(Debug, Default)]
pub(crate) struct ModulusHash {
    destinations: Destinations,
}

impl ModulusHash {
    pub(crate) fn add(&mut self, bound: Bound<'_>, name: &str) {
        self.destinations.add(bound, name, 1);
    }

    pub(crate) fn remove(&mut self, bound: Bound<'_>) {
        self.destinations.remove(bound, 1);
    }

    /// The destination of a message. Only its own routing key counts, not those of CC and BCC.
    pub(crate) fn matching(&self, keys: &[&str]) -> Option<&Bucket> {
        let count = u64::try_from(self.destinations.len()).ok()?;
        let index = hash(keys.first()?.as_bytes()).checked_rem(count)?;
        self.destinations.get(usize::try_from(index).ok()?).map(|destination| &destination.bucket)
    }

    pub(crate) fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        self.destinations.iter().map(|destination| &destination.bucket)
    }
}
