//! One other node: its link, and what is reported of it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::Incoming;
use super::connection::Connection;
use crate::broker::ids::NodeId;
use crate::node::cluster::peer::{LinkState, PeerMessage};
use crate::node::cluster::wire::weight;

/// Another node.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) node: NodeId,
    address: Mutex<String>,
    /// The link, for those who send.
    current: ArcSwapOption<Connection>,
    /// Held while anything is handed over or reported: nothing of a connection comes behind its end.
    gate: Mutex<Gate>,
    /// The dialer has to look again: the link was lost, the node called, its address changed.
    pub(super) changed: Notify,
    dialer: Mutex<Option<AbortHandle>>,
}

#[derive(Debug, Default)]
struct Gate {
    connection: Option<Arc<Connection>>,
    /// Of the newest connection: which run of the other node, and which attempt of the dialer.
    newest: (u64, u64),
    is_dead: bool,
    is_removed: bool,
}

impl Peer {
    pub(super) fn new(node: NodeId, address: &str) -> Self {
        Self {
            node,
            address: Mutex::new(address.to_owned()),
            current: ArcSwapOption::empty(),
            gate: Mutex::default(),
            changed: Notify::new(),
            dialer: Mutex::default(),
        }
    }

    pub(super) fn address(&self) -> String {
        lock(&self.address).clone()
    }

    pub(super) fn set_address(&self, address: &str) {
        let mut old = lock(&self.address);
        if *old != address {
            address.clone_into(&mut old);
            self.changed.notify_one();
        }
    }

    pub(super) fn set_dialer(&self, dialer: AbortHandle) {
        *lock(&self.dialer) = Some(dialer);
    }

    /// Sends over the link, if there is one. Raft's messages are dropped when much waits; what else would be too much ends
    /// the link.
    pub(super) fn send(&self, message: PeerMessage, outbox_bytes: usize) {
        let current = self.current.load();
        let Some(connection) = current.as_ref() else { return };
        let bytes = weight(&message);
        let may_be_lost = matches!(message, PeerMessage::Raft(..));
        let waiting = connection.outbox_bytes.fetch_add(bytes, Ordering::AcqRel);
        if waiting < if may_be_lost { outbox_bytes / 4 * 3 } else { outbox_bytes } {
            return connection.outbox.push((message, bytes));
        }
        connection.outbox_bytes.fetch_sub(bytes, Ordering::AcqRel);
        if !may_be_lost {
            connection.end("it takes messages too slowly: cluster.outbox_bytes is reached");
        }
    }

    #[cfg(test)]
    pub(super) fn outbox_bytes(&self) -> usize {
        self.current.load().as_ref().map_or(0, |connection| connection.outbox_bytes.load(Ordering::Acquire))
    }

    pub(super) fn is_up(&self) -> bool {
        self.current.load().is_some()
    }

    /// A connection is the link from now on, in the place of an older one. False when it is the older one itself.
    pub(super) fn up(
        &self,
        connection: &Arc<Connection>,
        newest: (u64, u64),
        incoming: &dyn Incoming,
    ) -> bool {
        let mut gate = lock(&self.gate);
        let (run, attempt) = gate.newest;
        if gate.is_removed || run == newest.0 && attempt >= newest.1 {
            return false;
        }
        self.lose(&mut gate, incoming);
        // Another run of the node: the one before is gone.
        if run != 0 && run != newest.0 && !gate.is_dead {
            incoming.link(self.node, LinkState::Dead);
        }
        *gate = Gate { connection: Some(Arc::clone(connection)), newest, is_dead: false, is_removed: false };
        // Whoever hears of it may send at once.
        self.current.store(Some(Arc::clone(connection)));
        incoming.link(self.node, LinkState::Up);
        true
    }

    /// A connection has ended.
    pub(super) fn down(&self, connection: &Arc<Connection>, incoming: &dyn Incoming) {
        let mut gate = lock(&self.gate);
        if gate.is_of(connection) {
            self.lose(&mut gate, incoming);
        }
    }

    /// The node says that it is there and has no link.
    pub(super) fn called(&self, run: u64) {
        let gate = lock(&self.gate);
        // A newer run has not got the old one's link. In the same run the call may have crossed the connection.
        if let Some(connection) = gate.connection.as_ref().filter(|_| gate.newest.0 != run) {
            connection.end("it has started again");
        }
        drop(gate);
        self.changed.notify_one();
    }

    /// The node's machine refuses connections.
    pub(super) fn dead(&self, incoming: &dyn Incoming) {
        let mut gate = lock(&self.gate);
        if gate.connection.is_none() && !gate.is_dead && !gate.is_removed {
            gate.is_dead = true;
            incoming.link(self.node, LinkState::Dead);
        }
    }

    /// Hands messages of a connection over. False when it is not the link any more.
    pub(super) fn deliver(
        &self,
        connection: &Arc<Connection>,
        messages: &mut Vec<PeerMessage>,
        incoming: &dyn Incoming,
    ) -> bool {
        let gate = lock(&self.gate);
        let is_link = gate.is_of(connection);
        if is_link {
            messages.drain(..).for_each(|message| incoming.message(self.node, message));
        }
        is_link
    }

    /// The node is no member any more.
    pub(super) fn remove(&self, incoming: &dyn Incoming) {
        let mut gate = lock(&self.gate);
        self.lose(&mut gate, incoming);
        gate.is_removed = true;
        drop(gate);
        if let Some(dialer) = lock(&self.dialer).take() {
            dialer.abort();
        }
    }

    /// As if the connection had broken.
    #[cfg(test)]
    pub(super) fn end_link(&self) {
        if let Some(connection) = self.current.load().as_ref() {
            connection.end("a test ends it");
        }
    }

    fn lose(&self, gate: &mut MutexGuard<'_, Gate>, incoming: &dyn Incoming) {
        if let Some(connection) = gate.connection.take() {
            connection.end("another connection has taken its place, or the node is no member any more");
            self.current.store(None);
            incoming.link(self.node, LinkState::Down);
            self.changed.notify_one();
        }
    }
}

impl Gate {
    fn is_of(&self, connection: &Arc<Connection>) -> bool {
        self.connection.as_ref().is_some_and(|current| Arc::ptr_eq(current, connection))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
