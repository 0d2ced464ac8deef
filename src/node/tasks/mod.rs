//! Everything that runs on its own: the only place that starts tasks and threads.
//!
//! - [`listener`]: accepts connections
//! - [`client`]: one task for each connection
//! - [`shard`]: a few tasks that own all queues
//! - [`meta`]: one task that owns the topology's changes
//! - [`transactions`]: one task that makes commits atomic
//! - [`cold`]: the threads of the cold store
//! - [`gateway`]: the ways to queues that are elsewhere
//! - [`group`]: one task for each group that owns queues
//! - [`serving`]: serves queues of this node to others
//! - [`snapshots`]: copies of queues for other nodes, out of the cold store and into it
//! - [`surgery`]: jobs on messages in queues
//! - [`checkpoint`]: keeps the log within its budget
//! - [`manager`]: what those who run a cluster ask, and what makes it run by itself
//! - [`peer`]: the links to other nodes
//! - [`certificates`]: looks whether certificates have changed; `proxy`: what proxies say in front of AMQP
//! - [`resources`]: watches memory and disk
//! - [`sampler`]: remembers what was counted, for rates and histories
//!
//! The log's writer thread is in `storage/log`.

pub(crate) mod certificates;
pub(crate) mod checkpoint;
pub(crate) mod client;
pub(crate) mod cold;
pub(crate) mod gateway;
pub(crate) mod group;
pub(crate) mod listener;
pub(crate) mod manager;
pub(crate) mod meta;
pub(crate) mod peer;
mod proxy;
pub(crate) mod resources;
pub(crate) mod sampler;
pub(crate) mod serving;
pub(crate) mod shard;
pub(crate) mod snapshots;
pub(crate) mod surgery;
pub(crate) mod transactions;
