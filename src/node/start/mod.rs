//! From a configuration to a running node, and back.
//!
//! - `load`: from the files to what the tasks begin with
//! - `peering`, `founding`, `cluster`: becoming a node of a cluster, founding one, and being in one
//! - `stalls`: telling those who lead of a disk that does not answer
//! - `tasks`: setting the tasks going
//! - `failure`: what keeps a node from starting, and what ends it

mod cluster;
mod failure;
mod founding;
mod load;
mod peering;
mod stalls;
mod tasks;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::auth;
use super::clock::Clock;
use super::control::Control;
use super::links::{Applied, ShardInput};
use super::recover::Recovered;
use super::shared::{META_SHARD, Shared};
use super::tasks::cold::ColdThreads;
use super::tasks::{certificates, listener};
use super::tls::Tls;
use crate::broker::ids::Placement;
use crate::broker::rights::PermissionSpec;
use crate::broker::topology::Command;
use crate::config::Config;
use crate::storage::{DirectoryLock, LogHandle};
use cluster::{Groups, Joined};
use failure::Failure;
pub use failure::StartError;
use load::{load, open, shards, start_cold, start_log};
use peering::Peering;

/// How long clients have for their goodbye when the node stops.
const GOODBYE: Duration = Duration::from_secs(5);
/// How long a node waits for what users may do to be kept.
const SETTLED_WITHIN: Duration = Duration::from_secs(5);
/// How long a node waits for a majority of its cluster before it takes clients without one.
const INFORMED_MAX_MS: u64 = 5_000;

/// Takes the addresses before anything else, as a start that fails should fail soon.
async fn bind(config: &Config) -> Result<Vec<(TcpListener, SocketAddr, bool)>, StartError> {
    let first = (config.listener.bind, "listener.bind or --bind");
    let further = config.listener.further_binds.iter().map(|bind| (*bind, "listener.further_binds"));
    let mut listeners = Vec::new();
    let tls = config.tls.as_ref().and_then(|tls| Some((tls.bind?, "tls.bind")));
    for (bind, setting) in std::iter::once(first).chain(further).chain(tls) {
        let refused = |error| StartError::Listen(bind, setting, error);
        let listener = TcpListener::bind(bind).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        listeners.push((listener, address, setting == "tls.bind"));
    }
    Ok(listeners)
}

/// A running node.
pub struct Node {
    shared: Arc<Shared>,
    /// Where clients come in, and whether over TLS; the first is the main one.
    addresses: Vec<(SocketAddr, bool)>,
    log: LogHandle,
    cold: ColdThreads,
    failure: Failure,
    /// What it has of its cluster, if it is in one.
    joined: Option<Joined>,
    /// Held as long as the node runs.
    _directory: DirectoryLock,
}

impl Node {
    /// Recovers what is on disk, and starts all tasks. With `salvage`, damaged records of the log are skipped.
    ///
    /// # Errors
    /// When the address is taken, or the data directory is locked, unreadable, damaged or of a newer format.
    pub async fn start(config: Config, salvage: bool) -> Result<Self, StartError> {
        let tls = config.tls.as_ref().map(Tls::load).transpose().map_err(StartError::System)?;
        Self::start_with(config, salvage, tls).await
    }

    /// The same with certificates that are read.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with(
        config: Config,
        salvage: bool,
        tls: Option<Arc<Tls>>,
    ) -> Result<Self, StartError> {
        let listeners = bind(&config).await?;
        let addresses: Vec<_> = listeners.iter().map(|(_, address, is_tls)| (*address, *is_tls)).collect();
        let address = addresses.first().map_or(config.listener.bind, |(address, _)| *address);
        let directory = open(config.node.data_dir.clone()).await?;
        let peering = Peering::begin(&config, &config.node.data_dir, address).await?;
        let shards = shards(&config);
        let placement =
            peering.as_ref().map_or_else(|| Placement::alone(shards), |peering| peering.placement(shards));
        let clock = Clock::start();
        let member = peering.as_ref().map(|peering| (peering.membership.clone(), peering.addresses.clone()));
        let load = move || {
            let (cold, mut recovered) = load(&config, &directory, placement, clock.now_ms(), salvage)?;
            let groups = Groups::begin(&cold, &mut recovered, member.as_ref(), clock.now_ms())?;
            Ok::<_, StartError>((config, directory, cold, recovered, groups))
        };
        let (config, directory, cold, recovered, groups) = tokio::task::spawn_blocking(load)
            .await
            .map_err(|error| StartError::System(format!("recovery failed: {error}")))??;
        let Recovered { topology, queues, log, indexes, .. } = recovered;
        let joined = peering.map(|peering| Joined::start(peering, placement, &config)).transpose()?;
        let cluster = joined.as_ref().map(|joined| Arc::clone(&joined.cluster));
        let shared = Arc::new(Shared::new(config, clock, topology, placement, cluster));
        let failure = Failure::default();
        let log = start_log(log, &shared, &failure);
        shared.statistics.watch_log(log.gauge());
        stalls::watch(&log, &shared)?;
        let cold = start_cold(cold, &shared, &failure)?;
        let node = Self { shared, addresses, log, cold, failure, joined, _directory: directory };
        node.start_tasks(queues, &indexes);
        let meta_index = indexes.get(&META_SHARD).copied().unwrap_or(0);
        let begins = groups.is_founded || node.joined.is_none();
        node.start_cluster(groups, meta_index)?;
        if begins {
            node.first_declarations().await?;
            node.settle_users().await?;
        } else {
            node.wait_for_declarations().await;
            node.settle_users().await?;
        }
        for (listener, _, is_tls) in listeners {
            node.listen(listener, tls.clone().filter(|_| is_tls));
        }
        if let Some(tls) = tls {
            node.supervise("certificates", certificates::run(Arc::clone(&node.shared), tls));
        }
        Ok(node)
    }

    /// A new data directory gets a vhost and a user.
    async fn first_declarations(&self) -> Result<(), StartError> {
        if !self.shared.topology().users().is_empty() {
            return Ok(());
        }
        let security = &self.shared.config.security;
        let vhost = || "/".to_owned();
        let password_hash = auth::hash(&security.default_password).map_err(StartError::System)?;
        let user = Command::PutUser {
            name: security.default_user.clone(),
            password_hash,
            tags: "administrator".to_owned(),
        };
        let user_name = security.default_user.clone();
        let may = Command::SetPermissions { user: user_name, vhost: vhost(), spec: PermissionSpec::all() };
        for command in [Command::CreateVhost { name: vhost() }, user, may] {
            self.shared.apply(command).await.map_err(|refusal| StartError::System(refusal.to_string()))?;
        }
        Ok(())
    }

    /// Users of a version without permissions keep what they may do.
    async fn settle_users(&self) -> Result<(), StartError> {
        if self.shared.topology().has_unsettled_users() {
            tracing::info!("users get permissions for everything, since they were made when there were none");
            // Without a majority it waits; what users may do does not.
            let settled = tokio::time::timeout(SETTLED_WITHIN, self.shared.apply(Command::SettleUsers)).await;
            settled
                .unwrap_or_else(|_| Ok(Applied::default()))
                .map_err(|refusal| StartError::System(refusal.to_string()))?;
        }
        Ok(())
    }

    /// A node that comes to a cluster knows nobody who may log in before it has its declarations.
    async fn wait_for_declarations(&self) {
        let mut waited = 0_u32;
        while self.shared.topology().users().is_empty() && !self.shared.is_stopping() {
            if waited.is_multiple_of(100) {
                tracing::info!(
                    "waiting for the cluster's declarations; clients are taken when they are here"
                );
            }
            waited += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.wait_until_informed().await;
    }

    /// A node that comes back lacks what was declared meanwhile. Without a majority it takes clients all the same: they may
    /// want what is on this node alone.
    async fn wait_until_informed(&self) {
        let Some(cluster) = &self.shared.cluster else { return };
        let until_ms = self.shared.clock.now_ms() + INFORMED_MAX_MS;
        loop {
            let now_ms = self.shared.clock.now_ms();
            if cluster.is_informed(now_ms) || self.shared.is_stopping() {
                return;
            }
            if now_ms > until_ms {
                return tracing::warn!(
                    "no majority of the cluster's nodes has been found: clients are taken, but what is replicated waits"
                );
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[expect(clippy::disallowed_methods, reason = "tasks are started here")]
    fn listen(&self, listener: TcpListener, tls: Option<Arc<Tls>>) {
        tokio::spawn(listener::run(Arc::clone(&self.shared), listener, tls));
    }

    /// Where clients come in, and whether over TLS; the first is that of `listener.bind`.
    #[must_use]
    pub fn addresses(&self) -> &[(SocketAddr, bool)] {
        &self.addresses
    }

    /// A handle for those who run the node.
    #[must_use]
    pub fn control(&self) -> Control {
        Control::new(Arc::clone(&self.shared))
    }

    /// Takes over what may change without a restart.
    pub fn reconfigure(&self, config: Config) {
        self.shared.live.store(Arc::new(config));
    }

    /// Begins the stop, as a signal does.
    pub fn begin_stop(&self) {
        self.shared.begin_stop();
    }

    /// Waits until the node has to stop, by [`Self::begin_stop`] or by a failure.
    pub async fn stopped(&self) {
        self.shared.stopped().await;
    }

    /// Stops: clients are told, what is accepted is written and synced.
    ///
    /// # Errors
    /// The failure that made the node stop.
    pub async fn stop(self) -> Result<(), String> {
        self.drain().await;
        self.shared.begin_stop();
        self.say_goodbye().await;
        for shard in self.shared.own_shards() {
            let (reply, done) = oneshot::channel();
            shard.push(ShardInput::Stop(reply));
            let _ = tokio::time::timeout(GOODBYE, done).await;
        }
        self.stop_groups().await;
        let Self { log, cold, failure, _directory: directory, .. } = self;
        let stopped = tokio::task::spawn_blocking(move || {
            log.stop();
            cold.stop();
            drop(directory);
        });
        if let Err(error) = stopped.await {
            return Err(format!("the store did not stop: {error}"));
        }
        failure.take().map_or(Ok(()), Err)
    }

    /// Clients get `connection.close` from their tasks; this waits until they are gone, for a while.
    async fn say_goodbye(&self) {
        let gone = async {
            while !self.shared.clients.is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(GOODBYE, gone).await.is_err() {
            tracing::warn!(
                connections = self.shared.clients.len(),
                "some clients did not answer the goodbye"
            );
        }
    }
}
