//! The consumers of one channel, by tag and by identity.

use std::collections::HashMap;

use bytes::Bytes;

use crate::broker::ids::Target;
use crate::broker::queue::ConsumerId;

/// A consumer as its channel sees it.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// Unique on the node.
    pub id: ConsumerId,
    /// Unique on the channel.
    pub tag: Bytes,
    /// Its queue.
    pub target: Target,
    /// Deliveries count as acknowledged at once.
    pub no_ack: bool,
    /// Bytes sent to it that the queue was not told of.
    pub uncredited_bytes: u64,
    /// Bytes that may be on their way to it.
    pub window_bytes: u64,
    /// Its own `x-consumer-timeout`, milliseconds; 0 is for ever.
    pub timeout_ms: Option<u64>,
    /// How long its deliveries might be unacknowledged when it began, milliseconds.
    pub limit_ms: u64,
}

/// All consumers of a channel.
#[derive(Debug, Default)]
pub struct Consumers {
    by_id: HashMap<ConsumerId, Consumer, foldhash::fast::RandomState>,
    by_tag: HashMap<Bytes, ConsumerId, foldhash::fast::RandomState>,
}

impl Consumers {
    /// Adds a consumer whose tag is free.
    pub fn add(&mut self, consumer: Consumer) {
        self.by_tag.insert(consumer.tag.clone(), consumer.id);
        self.by_id.insert(consumer.id, consumer);
    }

    /// Whether a tag is in use.
    #[must_use]
    pub fn has_tag(&self, tag: &[u8]) -> bool {
        self.by_tag.contains_key(tag)
    }

    /// The consumer with this identity.
    #[must_use]
    pub fn get(&self, id: ConsumerId) -> Option<&Consumer> {
        self.by_id.get(&id)
    }

    /// The consumer with this identity, to be changed.
    pub fn get_mut(&mut self, id: ConsumerId) -> Option<&mut Consumer> {
        self.by_id.get_mut(&id)
    }

    /// The consumer with this tag.
    #[must_use]
    pub fn by_tag(&self, tag: &[u8]) -> Option<&Consumer> {
        self.by_id.get(self.by_tag.get(tag)?)
    }

    /// Takes a consumer out.
    pub fn remove(&mut self, id: ConsumerId) -> Option<Consumer> {
        let consumer = self.by_id.remove(&id)?;
        self.by_tag.remove(&consumer.tag);
        Some(consumer)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Consumer> {
        self.by_id.values()
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}
