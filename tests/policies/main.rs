//! Policies, vhosts and limits on a node in this process: set through [`warren::node::Control`], seen by a client.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]
#![expect(clippy::disallowed_methods, reason = "a program of its own, with a clock")]

mod exchanges;
mod large;
mod limits;
mod queues;
mod survive;
mod world;
