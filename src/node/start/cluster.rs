//! Being a node of a cluster: links to the others, and the tasks that a node by itself does not have.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::Node;
use super::failure::StartError;
use super::founding;
use super::peering::Peering;
use crate::broker::ids::{GroupId, Home, META_GROUP, NODES_MAX, Placement};
use crate::broker::topology::QueueEntry;
use crate::config::Config;
use crate::node::cluster::dispatch::Dispatch;
use crate::node::cluster::formation::Addresses;
use crate::node::cluster::handle::Cluster;
use crate::node::cluster::handshake::Identity;
use crate::node::cluster::inputs::{GroupInput, ManagerInput};
use crate::node::cluster::membership::Membership;
use crate::node::cluster::meta::MetaState;
use crate::node::cluster::planner::PlanOptions;
use crate::node::recover::{Recovered, RecoveredGroup};
use crate::node::tasks::gateway::Gateway;
use crate::node::tasks::group::{self, GroupTask};
use crate::node::tasks::manager::{self, Fail, ManagerOptions, Surroundings};
use crate::node::tasks::meta::{self, group::MetaGroup};
use crate::node::tasks::peer::{LinkOptions, PeerLinks};
use crate::node::tasks::serving::Serving;
use crate::replication::{GroupOptions, Stored};
use crate::storage::{ColdStore, StorageError};

/// How long groups have to end.
const STOPPING: Duration = Duration::from_secs(2);

/// What a restart found of the groups.
#[derive(Default)]
pub(super) struct Groups {
    recovered: BTreeMap<GroupId, RecoveredGroup>,
    state: MetaState,
    /// They begin with this start.
    pub(super) is_founded: bool,
}

impl Groups {
    /// What a restart found; with what this node has, when it founds its cluster. Nothing for a node by itself.
    ///
    /// # Errors
    /// When the cold store fails, or is damaged.
    pub(super) fn begin(
        cold: &ColdStore,
        recovered: &mut Recovered,
        member: Option<&(Membership, Addresses)>,
        now_ms: u64,
    ) -> Result<Self, StartError> {
        let Some((membership, addresses)) = member else { return Ok(Self::default()) };
        let is_founded = founding::is_to_found(membership, recovered);
        let state = if is_founded {
            founding::found_groups(cold, recovered, membership, now_ms)?;
            founding::first_state(membership, addresses)
        } else {
            founding::begin_the_rest(&mut recovered.groups, membership);
            MetaState::restore(recovered.cluster_rows.iter()).map_err(|error| {
                StartError::Cluster(format!(
                    "what the data directory tells of the cluster is damaged: {error}"
                ))
            })?
        };
        Ok(Self { recovered: std::mem::take(&mut recovered.groups), state, is_founded })
    }

    fn take(&mut self, group: GroupId) -> RecoveredGroup {
        let nothing = RecoveredGroup { stored: Stored::default(), meta_index: 0 };
        self.recovered.remove(&group).unwrap_or(nothing)
    }
}

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
    ///
    /// # Errors
    /// When what a group left on the disk makes no sense.
    pub(super) fn start_cluster(&self, groups: Groups, meta_index: u64) -> Result<(), StartError> {
        let Some(joined) = &self.joined else { return Ok(()) };
        self.shared.number_as(joined.membership.node, joined.membership.run);
        self.note_log(joined)?;
        self.start_groups(joined, groups, meta_index)?;
        for gateway in joined.cluster.gateways.keys().filter_map(|owner| Gateway::new(&self.shared, *owner)) {
            self.supervise("gateway", gateway.run());
        }
        if let Some(serving) = Serving::new(&self.shared) {
            self.supervise("serving", serving.run());
        }
        // In front of whoever links nodes, which the manager does at once: what a link brings is told once.
        joined.dispatch.begin(&self.shared);
        self.start_manager(joined);
        for member in &joined.membership.members {
            joined.links.set_node(member.node, &member.address);
        }
        Ok(())
    }

    /// From here on a start without a log would be one that has forgotten what it promised.
    fn note_log(&self, joined: &Joined) -> Result<(), StartError> {
        let mut membership = joined.membership.clone();
        if std::mem::replace(&mut membership.has_log, true) {
            return Ok(());
        }
        let data_dir = &self.shared.config.node.data_dir;
        membership.write(data_dir).map_err(|problem| StartError::Cluster(problem.0))
    }

    fn start_groups(&self, joined: &Joined, mut groups: Groups, meta_index: u64) -> Result<(), StartError> {
        let now_ms = self.shared.clock.now_ms();
        let mut meta = MetaGroup::new(
            meta::group::Start {
                shared: Arc::clone(&self.shared),
                cluster: Arc::clone(&joined.cluster),
                options: self.group_options(joined, META_GROUP),
                stored: groups.take(META_GROUP).stored,
                log: Arc::new(self.log.clone()),
                cold: self.cold.link(Arc::clone(&self.shared.shards[0])),
                state: std::mem::take(&mut groups.state),
                is_founded: groups.is_founded,
                run: joined.membership.run,
                index: meta_index,
                on_failure: self.on_failure(),
            },
            now_ms,
        )?;
        // The log has its beginning in front of all others': whether a cluster was founded is asked of that alone.
        meta.round(now_ms);
        for group in 1..=joined.membership.groups {
            let recovered = groups.take(group);
            let start = group::Start {
                shared: Arc::clone(&self.shared),
                cluster: Arc::clone(&joined.cluster),
                options: self.group_options(joined, group),
                stored: recovered.stored,
                log: Arc::new(self.log.clone()),
                cold: self.cold.link(Arc::clone(&self.shared.shards[0])),
                queues: self.queues_of(group),
                meta_index: recovered.meta_index,
                on_failure: self.on_failure(),
            };
            self.supervise("group", GroupTask::new(start, now_ms)?.run());
        }
        self.supervise("meta", meta.run());
        Ok(())
    }

    fn queues_of(&self, group: GroupId) -> Vec<Arc<QueueEntry>> {
        let is_of_group = |queue: &Arc<QueueEntry>| queue.home == Home::Group(group);
        self.shared.topology().all_queues().into_iter().filter(is_of_group).collect()
    }

    fn group_options(&self, joined: &Joined, group: GroupId) -> GroupOptions {
        let Membership { node, run, .. } = joined.membership;
        let seed = joined.membership.cluster_number().unwrap_or(0)
            ^ (u64::from(node) << 48)
            ^ (u64::from(group) << 32)
            ^ run;
        let usual = GroupOptions::new(group, node, seed);
        let Some(config) = &self.shared.config.cluster else { return usual };
        let ticks = config.election_ms.div_ceil(config.tick_ms.max(1));
        let election_ticks = usize::try_from(ticks).unwrap_or(usize::MAX);
        GroupOptions { tick_ms: config.tick_ms, election_ticks, ..usual }
    }

    fn on_failure(&self) -> Box<dyn Fn(&StorageError) + Send> {
        let (shared, failure) = (Arc::clone(&self.shared), self.failure.clone());
        Box::new(move |error| failure.set(&shared, error))
    }

    fn on_expulsion(&self) -> Fail {
        let (shared, failure) = (Arc::clone(&self.shared), self.failure.clone());
        Fail(Box::new(move |reason| failure.set(&shared, &reason)))
    }

    fn start_manager(&self, joined: &Joined) {
        let Some(config) = &self.shared.config.cluster else { return };
        let surroundings = Surroundings::new(
            Arc::clone(&self.shared),
            Arc::clone(&joined.cluster),
            Arc::clone(&joined.links),
            joined.options.clone(),
            (joined.identity.clone(), Membership { has_log: true, ..joined.membership.clone() }),
            self.shared.config.node.data_dir.clone(),
            self.on_expulsion(),
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

    /// Has the groups note what a restart should know.
    pub(super) async fn stop_groups(&self) {
        let Some(joined) = &self.joined else { return };
        let stopped: Vec<_> = joined
            .cluster
            .groups
            .iter()
            .map(|group| {
                let (reply, stopped) = oneshot::channel();
                group.push(GroupInput::Stop(reply));
                stopped
            })
            .collect();
        let all = async {
            for stopped in stopped {
                // A task that has ended has nothing to note.
                let _ = stopped.await;
            }
        };
        if tokio::time::timeout(STOPPING, all).await.is_err() {
            tracing::debug!("some groups did not end in time");
        }
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
