//! Being a node of a cluster: links to the others, and the tasks that a node by itself does not have.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::Node;
use super::failure::StartError;
use super::peering::Peering;
use crate::broker::ids::{NODES_MAX, Placement};
use crate::config::Config;
use crate::node::cluster::dispatch::Dispatch;
use crate::node::cluster::formation::Addresses;
use crate::node::cluster::handle::Cluster;
use crate::node::cluster::handshake::Identity;
use crate::node::cluster::inputs::ManagerInput;
use crate::node::cluster::membership::Membership;
use crate::node::cluster::planner::PlanOptions;
use crate::node::tasks::gateway::Gateway;
use crate::node::tasks::manager::{self, ManagerOptions, Surroundings};
use crate::node::tasks::peer::{LinkOptions, PeerLinks};
use crate::node::tasks::serving::Serving;

/// What a node has of its cluster.
pub(super) struct Joined {
    pub(super) cluster: Arc<Cluster>,
    pub(super) membership: Membership,
    dispatch: Arc<Dispatch>,
    pub(super) links: Arc<PeerLinks>,
    options: LinkOptions,
    identity: Identity,
    addresses: Addresses,
}

impl Joined {
    /// Other nodes may ask from now on; they are linked by [`Node::start_cluster`].
    pub(super) fn start(peering: Peering, placement: Placement, config: &Config) -> Result<Self, StartError> {
        let dispatch = Arc::new(Dispatch::default());
        let identity = peering.identity();
        let Peering { membership, listener, options, addresses } = peering;
        let incoming = Arc::clone(&dispatch);
        let links = PeerLinks::start(identity.clone(), options.clone(), incoming, listener)
            .map_err(|error| StartError::Cluster(error.to_string()))?;
        let links = Arc::new(links);
        let peers = Arc::clone(&links);
        let nodes = (1..NODES_MAX).filter(|node| *node != placement.node);
        let cluster = Cluster::new(placement, peers, nodes, config.limits.mailbox_bytes);
        let cluster = Arc::new(cluster);
        Ok(Self { cluster, membership, dispatch, links, options, identity, addresses })
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
        self.start_manager(joined);
        joined.dispatch.begin(&self.shared);
        for member in &joined.membership.members {
            joined.links.set_node(member.node, &member.address);
        }
    }

    fn start_manager(&self, joined: &Joined) {
        let Some(config) = &self.shared.config.cluster else { return };
        let surroundings = Surroundings::new(
            Arc::clone(&self.shared),
            Arc::clone(&joined.cluster),
            Arc::clone(&joined.links),
            joined.options.clone(),
            (joined.identity.clone(), joined.membership.clone()),
            self.shared.config.node.data_dir.clone(),
        );
        let options = ManagerOptions {
            plan: PlanOptions {
                replicas: usize::from(config.replicas),
                moves_per_second: config.leader_moves_per_second,
                changes_max: usize::from(config.member_changes_max),
            },
            peer_address: joined.addresses.peers.clone(),
            client_address: joined.addresses.clients.clone(),
            drain: Duration::from_millis(config.drain_ms),
        };
        self.supervise("manager", manager::run(surroundings, joined.membership.clone(), options));
    }

    /// Hands over what the node leads, so that its clients' queues go on elsewhere at once.
    pub(super) async fn drain(&self) {
        let Some(joined) = &self.joined else { return };
        if self.shared.is_stopping() {
            return;
        }
        let (reply, left) = oneshot::channel();
        joined.cluster.manager.push(ManagerInput::Drain(reply));
        match left.await {
            Ok(0) => tracing::info!("this node leads nothing any more"),
            Ok(left) => tracing::warn!(left, "no other node could take over some groups that this one leads"),
            Err(_) => {}
        }
    }
}
