//! What one channel remembers: publish numbers, routes, deliveries, consumers, limits. No I/O; the client task acts.

pub mod confirm;
pub mod consumers;
pub mod outgoing;
pub mod routes;
pub mod transaction;
pub mod unacked;

use std::sync::Arc;

use bytes::Bytes;

use super::counts::MessageCounts;
use super::queue::{ConsumerId, SharedPrefetch};
use confirm::Ledger;
use consumers::Consumers;
use routes::RouteCache;
use transaction::Transaction;
use unacked::Unacked;

/// One channel.
#[derive(Debug, Default)]
pub struct Channel {
    /// Tells this use of the number from earlier ones.
    pub epoch: u32,
    /// Publish numbers, once the channel is in confirm mode.
    pub ledger: Option<Ledger>,
    /// What was published since the last commit or rollback, once the channel is in transaction mode.
    pub transaction: Option<Box<Transaction>>,
    /// Routes found before.
    pub routes: RouteCache,
    /// Deliveries that are not settled.
    pub unacked: Unacked,
    /// Its consumers.
    pub consumers: Consumers,
    /// Its consumer of replies.
    pub replies: Option<ReplyConsumer>,
    /// `basic.qos` with `global` false: the limit of consumers started from now on; 0 is none.
    pub prefetch: u16,
    /// `basic.qos` with `global` true: the limit over all of them.
    pub shared_prefetch: Arc<SharedPrefetch>,
    /// The queue declared last: what an empty queue name means.
    pub last_queue: Option<String>,
    /// What went through it.
    pub counts: MessageCounts,
}

/// The one consumer of replies that a channel may have (RabbitMQ: Direct Reply-To).
#[derive(Clone, Debug)]
pub struct ReplyConsumer {
    /// Unique on the node.
    pub id: ConsumerId,
    /// Unique on the channel.
    pub tag: Bytes,
    /// The name that requests carry, where replies go; hard to guess.
    pub name: String,
}

impl Channel {
    /// A channel just opened.
    #[must_use]
    pub fn new(epoch: u32) -> Self {
        Self { epoch, ..Self::default() }
    }

    /// Whether a consumer has this tag.
    #[must_use]
    pub fn has_tag(&self, tag: &[u8]) -> bool {
        self.consumers.has_tag(tag) || self.replies.as_ref().is_some_and(|replies| replies.tag == tag)
    }
}
