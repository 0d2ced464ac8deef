//! Links to the other nodes of a cluster: one TCP connection between every two, over which both send.
//!
//! The node with the smaller number connects; the other one *calls* it, and so learns at once when its process is gone.
//! A link is one connection: what breaks in one direction ends both, so that both ends hear of it ([`LinkState::Down`]) and
//! start over with the next connection. All of one connection's messages are handed over before its end is told, and
//! none after.
//!
//! - `node`: one other node: its link, and what is reported of it
//! - `connection`: reading and writing of one connection
//! - `dialer`, `acceptor`: the two ways to one
//! - `greeting`: the handshake over a socket, TLS around it
//! - `request`: one question to a node, from outside of the cluster too

mod acceptor;
mod connection;
mod dialer;
mod greeting;
mod node;
mod request;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::broker::ids::NodeId;
use crate::node::cluster::handle::Peers;
use crate::node::cluster::handshake::Identity;
use crate::node::cluster::peer::{LinkState, PeerMessage};
use crate::node::cluster::security::{Security, SecurityError};
use node::Peer;

pub(crate) use request::{answer_all, request};

/// Who is told what other nodes say. Nothing in it may wait, nor change the links' nodes.
pub(crate) trait Incoming: fmt::Debug + Send + Sync {
    /// A message of a node whose link is up.
    fn message(&self, from: NodeId, message: PeerMessage);
    /// What becomes of a link. All of them begin as down, which is not told.
    fn link(&self, node: NodeId, state: LinkState);
    /// Somebody who knows the secret, member or not, asks ([`request`]); a reply that is dropped closes the connection.
    fn request(&self, question: Bytes, reply: oneshot::Sender<Bytes>);
}

/// How links work.
#[derive(Clone, Debug)]
pub(crate) struct LinkOptions {
    pub(crate) security: Security,
    /// What may wait for one node: a link is given up when more does.
    pub(crate) outbox_bytes: usize,
    /// The largest message; more closes a link.
    pub(crate) message_bytes_max: usize,
    /// After so long without a message the other end is told that this one is there.
    pub(crate) ping_every: Duration,
    /// A link over which nothing came for so long is down.
    pub(crate) silence_max: Duration,
    /// How long connecting and each handshake may take.
    pub(crate) connect_timeout: Duration,
    /// How long to wait after the first failure to connect, and at most.
    pub(crate) retry_after: (Duration, Duration),
}

impl LinkOptions {
    /// With the usual times and limits. `body_bytes_max` is how large a client's message may be.
    pub(crate) fn new(security: Security, body_bytes_max: usize) -> Self {
        Self {
            security,
            outbox_bytes: 64 << 20,
            message_bytes_max: (32 << 20) + body_bytes_max,
            ping_every: Duration::from_millis(500),
            silence_max: Duration::from_secs(3),
            connect_timeout: Duration::from_secs(2),
            retry_after: (Duration::from_millis(50), Duration::from_secs(1)),
        }
    }
}

/// The links of a node.
#[derive(Debug)]
pub(crate) struct PeerLinks {
    context: Arc<Context>,
    acceptor: AbortHandle,
    /// One change of the nodes at a time.
    changes: Mutex<()>,
}

/// What all tasks of the links share.
#[derive(Debug)]
struct Context {
    own: Identity,
    options: LinkOptions,
    incoming: Arc<dyn Incoming>,
    nodes: ArcSwap<BTreeMap<NodeId, Arc<Peer>>>,
    /// Numbers of connections.
    attempts: AtomicU64,
}

impl PeerLinks {
    /// Accepts peers from now on; connects to none before [`Self::set_node`].
    ///
    /// Others take a closed listener for the end of the process: end the links last.
    ///
    /// # Errors
    /// When the listener's address needs a secret or certificates, and there are none.
    #[expect(clippy::disallowed_methods, reason = "tasks are started here")]
    pub(crate) fn start(
        own: Identity,
        options: LinkOptions,
        incoming: Arc<dyn Incoming>,
        listener: TcpListener,
    ) -> Result<Self, SecurityError> {
        if let Ok(address) = listener.local_addr() {
            options.security.check_address(address.ip())?;
        }
        if options.security.is_open() {
            tracing::warn!(
                "neither cluster.secret nor [cluster.tls] is set: every process of this machine may join the cluster"
            );
        }
        let context = Arc::new(Context {
            own,
            options,
            incoming,
            nodes: ArcSwap::default(),
            attempts: AtomicU64::new(1),
        });
        let acceptor = tokio::spawn(acceptor::run(Arc::clone(&context), listener)).abort_handle();
        Ok(Self { context, acceptor, changes: Mutex::default() })
    }

    /// Another node is a member of the cluster, at this address (host and port).
    #[expect(clippy::disallowed_methods, reason = "tasks are started here")]
    pub(crate) fn set_node(&self, node: NodeId, address: &str) {
        let _one_at_a_time = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if node == self.context.own.node {
            return;
        }
        if let Some(peer) = self.context.node(node) {
            return peer.set_address(address);
        }
        let peer = Arc::new(Peer::new(node, address));
        self.change(|nodes| nodes.insert(node, Arc::clone(&peer)));
        let dialer = tokio::spawn(dialer::run(Arc::clone(&self.context), Arc::clone(&peer)));
        peer.set_dialer(dialer.abort_handle());
    }

    /// A node is no member any more.
    pub(crate) fn remove_node(&self, node: NodeId) {
        let _one_at_a_time = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(peer) = self.context.node(node) {
            self.change(|nodes| nodes.remove(&node));
            peer.remove(&*self.context.incoming);
        }
    }

    /// Bytes that wait for a node, about.
    #[cfg(test)]
    pub(crate) fn outbox_bytes(&self, node: NodeId) -> usize {
        self.context.node(node).map_or(0, |peer| peer.outbox_bytes())
    }

    /// Ends all links.
    pub(crate) fn stop(&self) {
        self.acceptor.abort();
        for node in self.context.nodes.load().keys() {
            self.remove_node(*node);
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<NodeId, Arc<Peer>>) -> T) {
        let mut nodes = BTreeMap::clone(&self.context.nodes.load());
        change(&mut nodes);
        self.context.nodes.store(Arc::new(nodes));
    }
}

impl Drop for PeerLinks {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Peers for PeerLinks {
    fn send(&self, to: NodeId, message: PeerMessage) {
        if let Some(peer) = self.context.nodes.load().get(&to) {
            peer.send(message, self.context.options.outbox_bytes);
        }
    }

    fn is_up(&self, node: NodeId) -> bool {
        self.context.nodes.load().get(&node).is_some_and(|peer| peer.is_up())
    }
}

impl Context {
    fn node(&self, node: NodeId) -> Option<Arc<Peer>> {
        self.nodes.load().get(&node).cloned()
    }
}
