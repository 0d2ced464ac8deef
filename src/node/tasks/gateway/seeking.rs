//! Who the owner is.
//!
//! A group's leader says so of itself, to all nodes. A gateway that was not told, or hears nothing of the one it was told of,
//! asks one node after the other: it says hello, and asks for the rest when that is answered.

use super::Gateway;
use crate::broker::ids::{NODES_MAX, NodeId};
use crate::node::cluster::forward::Owner;

/// How long to wait for a leader that says so of itself, before nodes are asked; and between one node and the next.
const SEEK_MS: u64 = 200;
/// How long a leader may take for the first answer, the first time: it may have much to do.
const SILENCE_MS: u64 = 2000;
const SILENCE_MAX_MS: u64 = 60_000;

/// What is done to find the owner.
#[derive(Debug)]
pub(super) struct Seeking {
    /// When another node is asked; never while the owner answers.
    at_ms: Option<u64>,
    /// The leader is one that is asked, and that has not said that it is one.
    is_guess: bool,
    /// The node asked last.
    last: NodeId,
    silence_ms: u64,
}

impl Seeking {
    pub(super) fn since(now_ms: u64) -> Self {
        Self { at_ms: Some(now_ms + SEEK_MS), is_guess: false, last: 0, silence_ms: SILENCE_MS }
    }

    pub(super) fn is_guess(&self) -> bool {
        self.is_guess
    }

    /// An attempt begins with a leader that others told of.
    pub(super) fn is_told(&mut self, now_ms: u64) {
        self.is_guess = false;
        self.at_ms = Some(now_ms + self.silence_ms);
        // What is only slow must not be asked anew for ever.
        self.silence_ms = (self.silence_ms * 2).min(SILENCE_MAX_MS);
    }

    /// There is no leader that could answer.
    pub(super) fn begin(&mut self, now_ms: u64) {
        self.is_guess = false;
        self.at_ms = Some(now_ms + SEEK_MS);
    }

    /// The owner answers. Gives whether it was asked without being told of.
    pub(super) fn is_found(&mut self) -> bool {
        self.at_ms = None;
        self.silence_ms = SILENCE_MS;
        std::mem::take(&mut self.is_guess)
    }
}

impl Gateway {
    /// A node says that it leads (0: that it does not any more).
    pub(super) fn leads(&mut self, node: NodeId, term: u64) {
        if !matches!(self.owner, Owner::Group(_)) || term < self.term {
            return;
        }
        let is_the_same = self.has_owner() && (self.leader, self.term) == (Some(node), term);
        if node == 0 && term == self.term || is_the_same {
            return;
        }
        self.disconnect();
        self.term = term;
        self.leader = Some(node).filter(|node| *node != 0);
        self.connect_if_up();
    }

    pub(super) fn seeks_at_ms(&self) -> Option<u64> {
        // The queues of a node are nowhere else.
        self.seeking.at_ms.filter(|_| matches!(self.owner, Owner::Group(_)))
    }

    /// Asks the next node whether it is the owner.
    pub(super) fn seek_if_due(&mut self) {
        if self.seeks_at_ms().is_none_or(|at_ms| at_ms > self.now_ms) {
            return;
        }
        if self.is_connected {
            self.disconnect();
        }
        self.seeking.begin(self.now_ms);
        if let Some(next) = self.next_node() {
            self.seeking.last = next;
            self.seeking.is_guess = true;
            self.leader = Some(next);
            self.begin_attempt();
        }
    }

    /// The node behind the one asked last that can be reached.
    fn next_node(&self) -> Option<NodeId> {
        let last = self.seeking.last;
        let is_there =
            |node: &NodeId| *node == self.cluster.placement.node || self.cluster.peers.is_up(*node);
        (last + 1..NODES_MAX).chain(1..=last).find(is_there)
    }

    /// Whether what is asked goes to somebody who is the owner, as far as is known.
    pub(super) fn has_owner(&self) -> bool {
        self.is_connected && !self.seeking.is_guess()
    }

    /// The owner says something: then it is one.
    pub(super) fn is_owner(&mut self) {
        if self.seeking.is_found() {
            self.bring_back();
        }
        self.is_there_again();
    }
}
