//! The broker as pure state machines: commands in, effects out, time and log positions as arguments.
//!
//! - [`batch`]: the record format that a message keeps from its publish to its last delivery
//! - [`topology`], [`exchange`], [`arguments`]: what is declared, and where a message goes
//! - [`policy`]: what holds for queues and exchanges by their names
//! - [`rights`]: what users may do
//! - [`queue`]: one queue: its messages, consumers, expiry
//! - [`dead_letter`]: what a dead-lettered message looks like
//! - [`deduplication`]: what makes a message the repeat of another one
//! - [`delivery_count`]: what a message looks like that came back and is delivered again
//! - [`counts`]: what is counted of messages
//! - [`channel`]: one channel: publishes, confirms, deliveries, acknowledgements

pub mod arguments;
pub mod batch;
pub mod channel;
pub mod counts;
pub mod dead_letter;
pub mod deduplication;
pub mod delay;
pub mod delivery_count;
pub mod exchange;
pub mod ids;
pub mod policy;
pub mod queue;
pub mod rights;
pub mod topology;
