//! Numbers of a running node: what its tasks have counted, and how that is gathered.
//!
//! Whoever does the work counts it, as plain numbers per batch: queues in their machine, clients in their task. Clients put
//! what they have counted here at most twice a second; queues are asked. Nothing here is on the way of a message.
//!
//! - `facts`: the answers, as values that travel between nodes
//! - `registry`: what clients put here
//! - `gather`: asking the owners of queues, and other nodes
//! - `history`: what it was like some time ago
//! - `sampled`: the numbers that have a history, taken from time to time

mod facts;
pub(crate) mod gather;
mod history;
mod registry;
mod sampled;

pub use crate::storage::log::SYNC_BOUNDS_US;
pub use facts::{
    ChannelNumbers, Churn, ConnectionFacts, ConnectionNumbers, ConnectionState, ConsumerFacts,
    ExchangeNumbers, GroupNumbers, MemberNumbers, NodeNumbers, QueueNumbers, QueueTotals, SIZE_BOUNDS,
    StorageNumbers, TlsFacts, Traffic, TrafficRates,
};
pub use history::{Details, Sample, Span};
pub(crate) use registry::{
    Came, ClientCounts, ConnectionRecord, ConsumerRecord, Opened, Statistics, TotalsByType, place_of,
};
pub use sampled::{NodeSeries, QueueSeries};
