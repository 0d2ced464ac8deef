//! Identities that the broker's parts share.

/// A queue's number: unique on this node for ever, never given to another queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub u64);

/// A connection's number: names the owner of exclusive queues.
pub type ConnectionId = u64;

/// Where a routed message goes: a queue, and what a publisher needs to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The queue.
    pub id: QueueId,
    /// The shard that owns the queue.
    pub shard: u16,
    /// Whether the queue survives a restart: only then a persistent message waits for the log.
    pub durable: bool,
}
