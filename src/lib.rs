//! Warren, an AMQP 0-9-1 message broker.
//!
//! Layers, each of which knows only itself and those before it:
//!
//! - [`protocol`]: bytes to methods and back; the state of one connection; no I/O
//! - [`broker`]: queues, exchanges, channels as pure state machines
//! - [`storage`]: the log and the cold store
//! - [`replication`]: the same state on several nodes
//! - [`config`]: the configuration file, checked
//! - [`node`]: tasks, sockets, clock: a running broker
//! - [`management`]: what those who run it see over HTTP

pub mod broker;
pub mod config;
pub mod management;
pub mod node;
pub mod protocol;
pub mod replication;
pub mod storage;
