//! What happens on a node, told to those who listen.
//!
//! - `tracing`: vhosts whose messages are copied to their trace exchange

pub(crate) mod tracing;
