//! The destinations of an exchange that picks one of them for each message.

use super::hash::{hash, mix};
use super::{Bound, Bucket, Hop};

/// Destinations in the order of their names, each once: nothing depends on the order of declarations, or on numbers that
/// a restart may give anew.
#[derive(Debug, Default)]
pub(super) struct Destinations {
    entries: Vec<Destination>,
}

/// One destination.
#[derive(Debug)]
pub(super) struct Destination {
    name: Box<str>,
    hop: Hop,
    /// The hash of what it is and of its name.
    pub(super) seed: u64,
    /// The weights of its bindings together.
    pub(super) weight: u64,
    /// The hop alone, with the number of its bindings.
    pub(super) bucket: Bucket,
}

impl Destinations {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, index: usize) -> Option<&Destination> {
        self.entries.get(index)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Destination> {
        self.entries.iter()
    }

    pub(super) fn add(&mut self, bound: Bound<'_>, name: &str, weight: u32) {
        let is_queue = matches!(bound.hop, Hop::Queue(_));
        let place =
            |entry: &Destination| (&*entry.name, matches!(entry.hop, Hop::Queue(_))).cmp(&(name, is_queue));
        let index = self.entries.binary_search_by(place).unwrap_or_else(|index| {
            let seed = mix(hash(name.as_bytes()).wrapping_add(u64::from(is_queue)));
            let bucket = Bucket::default();
            self.entries
                .insert(index, Destination { name: name.into(), hop: bound.hop, seed, weight: 0, bucket });
            index
        });
        let entry = &mut self.entries[index];
        entry.weight += u64::from(weight);
        entry.bucket.add(bound.hop);
    }

    pub(super) fn remove(&mut self, bound: Bound<'_>, weight: u32) {
        let Some(index) = self.entries.iter().position(|entry| entry.hop == bound.hop) else { return };
        let entry = &mut self.entries[index];
        entry.weight = entry.weight.saturating_sub(u64::from(weight));
        entry.bucket.remove(bound.hop);
        if entry.bucket.is_empty() {
            self.entries.remove(index);
        }
    }
}
