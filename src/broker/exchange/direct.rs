//! Direct exchanges (AMQP 0-9-1, section 3.1.3.1): the key of the binding is the routing key, octet for octet.

use super::{Bound, Bucket, Map};

/// The bindings of a direct exchange, by key.
#[derive(Debug, Default)]
pub(crate) struct Direct {
    by_key: Map<Box<str>, Bucket>,
}

impl Direct {
    pub(crate) fn add(&mut self, bound: Bound<'_>) {
        match self.by_key.get_mut(bound.key) {
            Some(bucket) => bucket.add(bound.hop),
            None => self.by_key.entry(bound.key.into()).or_default().add(bound.hop),
        }
    }

    pub(crate) fn remove(&mut self, bound: Bound<'_>) {
        let Some(bucket) = self.by_key.get_mut(bound.key) else { return };
        bucket.remove(bound.hop);
        if bucket.is_empty() {
            self.by_key.remove(bound.key);
        }
    }

    pub(crate) fn matching(&self, key: &str) -> Option<&Bucket> {
        self.by_key.get(key)
    }

    pub(crate) fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        self.by_key.values()
    }
}
