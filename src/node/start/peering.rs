//! Becoming a node of a cluster, before anything of the data directory is read.

use std::path::Path;

use bytes::Bytes;
use tokio::net::TcpListener;

use super::failure::StartError;
use crate::broker::ids::Placement;
use crate::config::{ClusterConfig, Config};
use crate::node::cluster::formation::{Addresses, AskSeed, Formed, answer_unformed, form};
use crate::node::cluster::handshake::Identity;
use crate::node::cluster::membership::Membership;
use crate::node::cluster::security::Security;
use crate::node::tasks::peer::{LinkOptions, answer_all, request};

/// What links to other nodes begin with.
pub(super) struct Peering {
    pub(super) membership: Membership,
    pub(super) listener: TcpListener,
    pub(super) options: LinkOptions,
    /// Where the node is reached.
    pub(super) addresses: Addresses,
}

impl Peering {
    /// Finds out what the node is in its cluster; `None` when it is alone. `clients` is where it takes clients.
    ///
    /// # Errors
    /// When the peers' address is taken, or configuration, data directory and cluster do not fit together.
    pub(super) async fn begin(
        config: &Config,
        data_dir: &Path,
        clients: std::net::SocketAddr,
    ) -> Result<Option<Self>, StartError> {
        let Some(cluster) = &config.cluster else {
            let nowhere = Addresses { peers: String::new(), clients: String::new() };
            form(config, data_dir, &nowhere, &Nobody).await.map_err(|error| StartError::Cluster(error.0))?;
            return Ok(None);
        };
        let bind = cluster.bind;
        let listener =
            TcpListener::bind(bind).await.map_err(|error| StartError::Listen(bind, "cluster.bind", error))?;
        let bound = listener.local_addr().map_err(|error| StartError::Listen(bind, "cluster.bind", error))?;
        let options = link_options(config, cluster)?;
        let addresses =
            Addresses { peers: cluster.advertise(bound), clients: cluster.client_address(clients, bound) };
        let seeds = Seeds { options: &options, own: stranger(cluster.name(&config.node.name)) };
        // Who looks for a cluster says that it has none: nobody founds one before all others have said so.
        let unformed = answer_all(&options, &seeds.own, &listener, answer_unformed);
        let forming = async {
            let is_new = Membership::read(data_dir).is_ok_and(|known| known.is_none());
            if is_new { unformed.await } else { std::future::pending().await }
        };
        let formed = tokio::select! {
            formed = form(config, data_dir, &addresses, &seeds) => formed,
            () = forming => return Err(StartError::Cluster("the peers' listener ended".to_owned())),
        };
        match formed {
            Ok(Formed::Member(membership)) => Ok(Some(Self { membership, listener, options, addresses })),
            Ok(Formed::Alone) => Ok(None),
            Err(error) => Err(StartError::Cluster(error.0)),
        }
    }

    /// Where this node stands, which has so many shards.
    pub(super) fn placement(&self, shards: u16) -> Placement {
        Placement { node: self.membership.node, shards, groups: self.membership.groups }
    }

    /// Who this node is to the others.
    pub(super) fn identity(&self) -> Identity {
        Identity {
            cluster: self.membership.cluster.clone(),
            node: self.membership.node,
            name: self.membership.name.clone(),
            run: self.membership.run,
        }
    }
}

fn link_options(config: &Config, cluster: &ClusterConfig) -> Result<LinkOptions, StartError> {
    let security =
        Security::load(&cluster.security).map_err(|error| StartError::Cluster(error.to_string()))?;
    let body_bytes_max = usize::try_from(config.limits.message_bytes_max).unwrap_or(usize::MAX / 4);
    Ok(LinkOptions::new(security, body_bytes_max))
}

/// Somebody who is no member yet.
fn stranger(name: &str) -> Identity {
    Identity { cluster: String::new(), node: 0, name: name.to_owned(), run: 0 }
}

struct Seeds<'a> {
    options: &'a LinkOptions,
    own: Identity,
}

impl AskSeed for Seeds<'_> {
    async fn ask(&self, address: &str, question: Bytes) -> Result<Bytes, String> {
        request(self.options, &self.own, address, &question).await.map_err(|error| error.to_string())
    }
}

/// A node by itself has nobody to ask.
struct Nobody;

impl AskSeed for Nobody {
    async fn ask(&self, _: &str, _: Bytes) -> Result<Bytes, String> {
        Err("there is no cluster".to_owned())
    }
}
