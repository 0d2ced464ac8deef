//! Being a node of a cluster: links to the others, and the tasks that a node by itself does not have.

use std::sync::Arc;

use super::Node;
use super::failure::StartError;
use super::peering::Peering;
use crate::broker::ids::{NODES_MAX, Placement};
use crate::config::Config;
use crate::node::cluster::dispatch::Dispatch;
use crate::node::cluster::handle::Cluster;
use crate::node::cluster::membership::Membership;
use crate::node::tasks::gateway::Gateway;
use crate::node::tasks::peer::PeerLinks;
use crate::node::tasks::serving::Serving;

/// What a node has of its cluster.
pub(super) struct Joined {
    pub(super) cluster: Arc<Cluster>,
    pub(super) membership: Membership,
    dispatch: Arc<Dispatch>,
    pub(super) links: Arc<PeerLinks>,
}

impl Joined {
    /// Other nodes may ask from now on; they are linked by [`Node::start_cluster`].
    pub(super) fn start(peering: Peering, placement: Placement, config: &Config) -> Result<Self, StartError> {
        let dispatch = Arc::new(Dispatch::default());
        let identity = peering.identity();
        let Peering { membership, listener, options } = peering;
        let incoming = Arc::clone(&dispatch);
        let links = PeerLinks::start(identity, options, incoming, listener)
            .map_err(|error| StartError::Cluster(error.to_string()))?;
        let links = Arc::new(links);
        let peers = Arc::clone(&links);
        let nodes = (1..NODES_MAX).filter(|node| *node != placement.node);
        let cluster = Cluster::new(placement, peers, nodes, config.limits.mailbox_bytes);
        Ok(Self { cluster: Arc::new(cluster), membership, dispatch, links })
    }
}

impl Node {
    /// Sets the tasks going that have to do with other nodes, then links them.
    pub(super) fn start_cluster(&self) {
        let Some(joined) = &self.joined else { return };
        for gateway in joined.cluster.gateways.keys().filter_map(|owner| Gateway::new(&self.shared, *owner)) {
            self.supervise("gateway", gateway.run());
        }
        if let Some(serving) = Serving::new(&self.shared) {
            self.supervise("serving", serving.run());
        }
        joined.dispatch.begin(&self.shared);
        for member in &joined.membership.members {
            joined.links.set_node(member.node, &member.address);
        }
    }
}
