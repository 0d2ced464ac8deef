//! What those who run the broker see of it over HTTP, with RabbitMQ's paths, fields and status codes. It reaches the node
//! through [`crate::node::Control`] only.
//!
//! - `http`: the server, who is calling, how answers and refusals look, lists with pages
//! - `router`: all paths
//! - `api`: what each path does; one file for each kind of object
//! - `json`: argument tables as JSON, and back
//! - `definitions`: all that is declared, out and in again
//! - `metrics`: Prometheus, on sockets of its own
//! - `ui`: the web UI

mod api;
pub mod definitions;
pub mod http;
pub mod json;
pub mod metrics;
mod router;
mod ui;

pub use http::Management;

use crate::config::Config;
use crate::node::{Control, Door};

/// Serves the management API to those who come through these doors until [`Management::stop`].
#[must_use]
pub fn start(control: Control, config: &Config, doors: Vec<Door>) -> Management {
    let api = http::Api::new(control, config);
    Management::start(router::router(api), doors)
}
