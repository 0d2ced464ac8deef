//! What happens on a node, told to those who listen.
//!
//! - `telling`: events as messages, while somebody is bound to their exchange
//! - `declarations`: what changes of the topology are called
//! - `tracing`: vhosts whose messages are copied to their trace exchange

pub(crate) mod declarations;
pub(crate) mod telling;
pub(crate) mod tracing;
