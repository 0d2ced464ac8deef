//! Where a connection comes from, and by which way.

use std::net::SocketAddr;
use std::sync::Arc;

use super::tls::TlsSession;

/// Where a connection comes from, and by which way.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// The client; the one that a proxy forwards for.
    pub(crate) peer: SocketAddr,
    /// Where it came in.
    pub(crate) local: Option<SocketAddr>,
    /// What is known of it by TLS.
    pub(crate) tls: Option<Arc<TlsSession>>,
    /// It comes over HTTP.
    pub(crate) is_web: bool,
}

impl Origin {
    /// From a socket, with nothing in between.
    pub(crate) fn new(peer: SocketAddr, local: Option<SocketAddr>) -> Self {
        Self { peer, local, tls: None, is_web: false }
    }

    /// What it speaks, for people.
    pub(crate) fn protocol(&self) -> &'static str {
        match (self.is_web, &self.tls) {
            (true, _) => "AMQP over WebSocket",
            (false, Some(_)) => "AMQP over TLS",
            (false, None) => "AMQP",
        }
    }
}
