//! What operators do with messages that are in queues: look at them, search them, delete, move, copy and redrive them.
//!
//! - `order`: what is asked for, and what comes back, also from one node to another
//! - `filter`: which messages are meant
//! - `found`: a message as it was found
//! - `jobs`: what is under way, and what was
//!
//! The work is done in `tasks/surgery`, on the node that owns the queue.

pub(crate) mod filter;
pub(crate) mod found;
pub(crate) mod jobs;
pub(crate) mod order;
