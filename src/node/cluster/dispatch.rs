//! What other nodes say, brought to the tasks that it is for.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::forward::{Answers, Forward, Owner};
use super::handle::{Cluster, ServingInput};
use super::inputs::{GatewayInput, GroupInput, ManagerInput};
use super::peer::{LinkState, PeerMessage, SnapshotPiece};
use crate::broker::ids::{GroupId, META_GROUP, NodeId};
use crate::node::links::MetaInput;
use crate::node::shared::Shared;
use crate::node::tasks::peer::Incoming;

/// Brings what comes over the links to the tasks. Before the tasks are there, nothing comes but questions of strangers.
#[derive(Debug, Default)]
pub(crate) struct Dispatch(OnceLock<Arc<Shared>>);

impl Dispatch {
    /// The tasks are there.
    pub(crate) fn begin(&self, shared: &Arc<Shared>) {
        // Once is enough.
        let _ = self.0.set(Arc::clone(shared));
    }

    fn tasks(&self) -> Option<(&Shared, &Cluster)> {
        let shared = self.0.get()?;
        Some((shared, shared.cluster.as_deref()?))
    }
}

impl Incoming for Dispatch {
    fn message(&self, from: NodeId, message: PeerMessage) {
        let Some((shared, cluster)) = self.tasks() else { return };
        match message {
            PeerMessage::Forward(forward) => forwarded(cluster, forward),
            PeerMessage::Answers(answers) => answered(cluster, answers),
            PeerMessage::Raft(group, messages) if group != META_GROUP => {
                to_group(cluster, group, GroupInput::Raft(from, messages));
            }
            PeerMessage::Snapshot(piece) if piece.group() != META_GROUP => {
                to_group(cluster, piece.group(), GroupInput::Snapshot(from, piece));
            }
            PeerMessage::Leads(leads) => {
                for (group, term) in leads {
                    leads_group(shared, cluster, from, group, term);
                }
            }
            PeerMessage::Raft(..)
            | PeerMessage::Snapshot(_)
            | PeerMessage::Propose(..)
            | PeerMessage::NotProposed(..)
            | PeerMessage::Declared(_) => shared.meta.push(MetaInput::Peer(from, message)),
            PeerMessage::Ask(number, question) => {
                cluster.manager.push(ManagerInput::Ask(from, number, question));
            }
            PeerMessage::Answer(number, answer) => cluster.manager.push(ManagerInput::Answer(number, answer)),
        }
    }

    fn link(&self, node: NodeId, state: LinkState) {
        let Some((shared, cluster)) = self.tasks() else { return };
        cluster.groups.iter().for_each(|group| group.push(GroupInput::Link(node, state)));
        for (owner, gateway) in &cluster.gateways {
            if matches!(owner, Owner::Group(_)) || *owner == Owner::Node(node) {
                gateway.push(GatewayInput::Link(node, state));
            }
        }
        cluster.serving.push(ServingInput::Link(node, state));
        shared.meta.push(MetaInput::Link(node, state));
        cluster.manager.push(ManagerInput::Link(node, state));
    }

    fn request(&self, question: Bytes, reply: oneshot::Sender<Bytes>) {
        if let Some((_, cluster)) = self.tasks() {
            cluster.manager.push(ManagerInput::Request(question, reply));
        }
    }
}

fn to_group(cluster: &Cluster, group: GroupId, input: GroupInput) {
    if let Some(mailbox) = cluster.group(group) {
        mailbox.push(input);
    }
}

fn forwarded(cluster: &Cluster, forward: Forward) {
    match forward.owner {
        Owner::Group(group) => to_group(cluster, group, GroupInput::Forward(forward)),
        Owner::Node(_) => cluster.serving.push(ServingInput::Forward(forward)),
    }
}

fn answered(cluster: &Cluster, answers: Answers) {
    if let Some(gateway) = cluster.gateways.get(&answers.owner) {
        gateway.push(GatewayInput::Answers(answers));
    }
}

fn leads_group(shared: &Shared, cluster: &Cluster, node: NodeId, group: GroupId, term: u64) {
    if group == META_GROUP {
        shared.meta.push(MetaInput::Peer(node, PeerMessage::Leads(vec![(group, term)])));
    } else if let Some(gateway) = cluster.gateways.get(&Owner::Group(group)) {
        gateway.push(GatewayInput::Leader(node, term));
    }
}

impl SnapshotPiece {
    fn group(&self) -> GroupId {
        match self {
            Self::Begin { group, .. }
            | Self::Rows { group, .. }
            | Self::End { group, .. }
            | Self::Taken { group, .. }
            | Self::Done { group, .. }
            | Self::Failed { group, .. } => *group,
        }
    }
}
