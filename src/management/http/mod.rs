//! HTTP as RabbitMQ's management speaks it, without knowing what is managed.
//!
//! - `server`: sockets, connections, their end
//! - `front`: what holds for every request: its path, its time, the headers of its answer
//! - `caller`: who asks, and with which tags
//! - `body`: JSON that came in; `reply`: what goes out; `failure`: refusals
//! - `websocket`: AMQP on the same port
//! - `list`: lists with filters, order, pages and columns; `select`: picking columns while writing

mod body;
mod caller;
mod failure;
mod front;
mod list;
pub mod reply;
mod select;
mod server;
mod websocket;

use std::net::SocketAddr;
use std::sync::Arc;

pub use body::{BODY_BYTES_MAX, Body, bytes_of};
pub use caller::{Administrator, Caller, Manager, Monitoring, Policymaker};
pub use failure::{Failure, Outcome};
pub(crate) use front::front;
pub use list::{List, ListQuery, Parameters};
pub use server::Management;
pub(in crate::management) use websocket::amqp_over_websocket;

use crate::config::Config;
use crate::node::Control;

/// What every handler can reach.
#[derive(Clone)]
pub struct Api {
    /// The node.
    pub control: Control,
    /// Its configuration.
    pub config: Arc<Config>,
}

impl Api {
    pub(super) fn new(control: Control, config: &Config) -> Self {
        Self { control, config: Arc::new(config.clone()) }
    }
}

/// Who is at the other end of the connection: an extension of each request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);
