//! The manager: what those who run the cluster ask of it, and, on the node that leads the meta group, what makes the cluster
//! run by itself.
//!
//! - `world`: what it needs of the node around it; `surroundings`: the same, real
//! - `answering`: questions and orders
//! - `membership`: join, leave, forget
//! - `gathering`: how all nodes stand
//! - `driving`: the planner's steps, carried out
//! - `draining`: giving up what this node leads
//! - `expelled`: a node that was taken out hears of it
//! - `service`: the task; `socket`: questions of this machine

mod answering;
mod draining;
mod driving;
mod expelled;
mod gathering;
mod membership;
mod service;
mod socket;
mod surroundings;
#[cfg(test)]
mod tests;
mod world;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

pub(crate) use service::run;
pub(crate) use socket::file as socket_file;
pub(crate) use surroundings::{Fail, Surroundings};
pub(crate) use world::{KnownNode, KnownNodes, World};

use crate::broker::ids::{META_GROUP, NodeId};
use crate::node::cluster::membership::Membership;
use crate::node::cluster::planner::{PlanOptions, Planner};

/// How the manager works.
#[derive(Clone, Debug)]
pub(crate) struct ManagerOptions {
    pub(crate) plan: PlanOptions,
    /// Where this node is reached now: by other nodes, by clients.
    pub(crate) peer_address: String,
    pub(crate) client_address: String,
    /// How long giving up leads may take before the node stops.
    pub(crate) drain: Duration,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Manager<W> {
    world: W,
    own: Membership,
    options: ManagerOptions,
    planner: Mutex<Planner>,
    /// Newcomers that were taken in lately, by their token: each gets one number.
    newcomers: Mutex<BTreeMap<u64, NodeId>>,
    is_draining: AtomicBool,
    /// There may be something to do.
    woken: Notify,
}

impl<W: World> Manager<W> {
    pub(crate) fn new(world: W, own: Membership, options: ManagerOptions) -> Self {
        let planner = Mutex::new(Planner::new(options.plan));
        Self {
            world,
            own,
            options,
            planner,
            newcomers: Mutex::default(),
            is_draining: AtomicBool::new(false),
            woken: Notify::new(),
        }
    }

    pub(crate) fn world(&self) -> &W {
        &self.world
    }

    /// Looks at the cluster now, not only when it is time.
    pub(crate) fn wake(&self) {
        self.woken.notify_one();
    }

    fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }

    fn planner(&self) -> MutexGuard<'_, Planner> {
        self.planner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node that leads the meta group, as far as this one knows.
    async fn meta_leader(&self) -> Option<NodeId> {
        let groups = self.world.groups().await;
        let meta = groups.iter().find(|group| group.group == META_GROUP)?;
        (meta.leader != 0).then_some(meta.leader)
    }

    /// A node by its name or its number.
    fn find(&self, asked: &str) -> Result<(NodeId, KnownNode), String> {
        let members = self.world.members();
        let by_name = members.iter().find(|(_, known)| known.name == asked);
        let found = by_name.or_else(|| members.get_key_value(&asked.parse().ok()?));
        found.map(|(node, known)| (*node, known.clone())).ok_or_else(|| {
            let names: Vec<_> = members.values().map(|known| known.name.as_str()).collect();
            format!("no node of the cluster has the name or number {asked:?}; there are {}", names.join(", "))
        })
    }
}

/// A node, for people.
fn named(node: NodeId, known: &KnownNode) -> String {
    format!("node {node} ({})", known.name)
}
