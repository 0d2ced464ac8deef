//! A node's part in its cluster, for its tasks.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;

use super::forward::{Forward, Owner};
use super::inputs::{GatewayInput, GroupInput, ManagerInput};
use super::members::Members;
use super::peer::PeerMessage;
use crate::broker::ids::{GroupId, NodeId, Placement};
use crate::node::mailbox::Mailbox;

/// The way to other nodes.
pub(crate) trait Peers: fmt::Debug + Send + Sync {
    /// Sends a message, behind those sent to this node before. What cannot be sent is dropped; the link is then reported as
    /// down to all tasks.
    fn send(&self, to: NodeId, message: PeerMessage);
    /// Whether there is a link to a node at the moment.
    fn is_up(&self, node: NodeId) -> bool;
}

/// A node's part in its cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) placement: Placement,
    pub(crate) peers: Arc<dyn Peers>,
    /// Mailboxes of the tasks of groups 1, 2, ...: every node runs all of them, member or not.
    pub(crate) groups: Vec<Arc<Mailbox<GroupInput>>>,
    /// Mailboxes of the gateways: one for each group, one for each other node.
    pub(crate) gateways: BTreeMap<Owner, Arc<Mailbox<GatewayInput>>>,
    /// Sessions of other nodes with this node's shards.
    pub(crate) serving: Arc<Mailbox<ServingInput>>,
    pub(crate) manager: Arc<Mailbox<ManagerInput>>,
    /// Declarations are applied on this node up to this index of the meta group.
    meta_index: AtomicU64,
    /// Until when this node knows what is declared anywhere, Unix milliseconds.
    informed_until_ms: AtomicU64,
    members: ArcSwap<Members>,
    /// Mailboxes of owners elsewhere, by their place, for which so many dead letters wait that the next ones stay where they
    /// are.
    full_of_letters: Vec<AtomicBool>,
}

/// What the task that serves this node's shards to other nodes is told.
#[derive(Debug)]
pub(crate) enum ServingInput {
    Forward(Forward),
    Link(NodeId, super::peer::LinkState),
    /// Declarations are applied up to a higher index.
    MetaApplied,
}

impl Cluster {
    pub(crate) fn new(
        placement: Placement,
        peers: Arc<dyn Peers>,
        nodes: impl Iterator<Item = NodeId>,
        mailbox_bytes: usize,
    ) -> Self {
        let owners = (1..=placement.groups).map(Owner::Group).chain(nodes.map(Owner::Node));
        Self {
            placement,
            peers,
            groups: (0..placement.groups).map(|_| Arc::new(Mailbox::new(mailbox_bytes))).collect(),
            gateways: owners.map(|owner| (owner, Arc::new(Mailbox::new(mailbox_bytes)))).collect(),
            serving: Arc::new(Mailbox::new(mailbox_bytes)),
            manager: Arc::new(Mailbox::new(mailbox_bytes)),
            meta_index: AtomicU64::new(0),
            informed_until_ms: AtomicU64::new(0),
            members: ArcSwap::default(),
            full_of_letters: (0..placement.mailboxes()).map(|_| AtomicBool::new(false)).collect(),
        }
    }

    /// The mailbox of the task of a group that owns queues.
    pub(crate) fn group(&self, group: GroupId) -> Option<&Arc<Mailbox<GroupInput>>> {
        self.groups.get(usize::from(group.checked_sub(1)?))
    }

    /// Sends what members of a group say to each other; for each node all in one piece.
    pub(crate) fn send_raft(&self, group: GroupId, messages: &mut Vec<(NodeId, Bytes)>) {
        messages.sort_by_key(|(to, _)| *to);
        for run in messages.chunk_by(|one, other| one.0 == other.0) {
            if let Some((to, _)) = run.first() {
                let bytes = run.iter().map(|(_, bytes)| bytes.clone()).collect();
                self.peers.send(*to, PeerMessage::Raft(group, bytes));
            }
        }
        messages.clear();
    }

    /// Declarations are applied on this node up to this index of the meta group.
    pub(crate) fn meta_index(&self) -> u64 {
        self.meta_index.load(Ordering::Acquire)
    }

    /// Whether whatever was declared, on any node, and answered by this time is known here.
    pub(crate) fn is_informed(&self, now_ms: u64) -> bool {
        now_ms < self.informed_until_ms.load(Ordering::Acquire)
    }

    /// For the meta task alone.
    pub(crate) fn set_informed_until_ms(&self, until_ms: u64) {
        self.informed_until_ms.store(until_ms, Ordering::Release);
    }

    /// Whether so many dead letters wait for the owner behind a mailbox that the next ones stay where they are.
    pub(crate) fn is_full_of_letters(&self, mailbox: u16) -> bool {
        self.full_of_letters.get(usize::from(mailbox)).is_some_and(|full| full.load(Ordering::Acquire))
    }

    /// For the gateway to that owner alone.
    pub(crate) fn set_full_of_letters(&self, mailbox: u16, is_full: bool) {
        if let Some(full) = self.full_of_letters.get(usize::from(mailbox)) {
            full.store(is_full, Ordering::Release);
        }
    }

    /// Who belongs to the cluster, as far as this node knows.
    pub(crate) fn members(&self) -> Arc<Members> {
        self.members.load_full()
    }

    /// For the meta task alone.
    pub(crate) fn set_members(&self, members: Members) {
        self.members.store(Arc::new(members));
    }

    /// For the meta task alone; those who wait for it are told by it.
    pub(crate) fn set_meta_index(&self, index: u64) {
        self.meta_index.store(index, Ordering::Release);
    }
}
