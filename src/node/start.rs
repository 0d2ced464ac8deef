//! From a configuration to a running node, and back.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::auth;
use super::clock::Clock;
use super::control::Control;
use super::links::{MetaInput, ShardInput, TransactionInput};
use super::recover::{Recovered, recover};
use super::shared::{META_SHARD, Shared, TRANSACTIONS_SHARD};
use super::tasks::cold::ColdThreads;
use super::tasks::meta::Meta;
use super::tasks::shard::{Shard, Start};
use super::tasks::transactions::Transactions;
use super::tasks::{checkpoint, listener, resources};
use crate::broker::topology::Command;
use crate::config::Config;
use crate::storage::{
    ColdOptions, ColdStore, DirectoryLock, LogHandle, LogWriter, StorageError, Synced, open_directory,
};

/// How long clients have for their goodbye when the node stops.
const GOODBYE: Duration = Duration::from_secs(5);

/// A running node.
pub struct Node {
    shared: Arc<Shared>,
    address: SocketAddr,
    log: LogHandle,
    cold: ColdThreads,
    failure: Failure,
    /// Held as long as the node runs.
    _directory: DirectoryLock,
}

/// Why a node did not start.
#[derive(Debug)]
pub enum StartError {
    /// The address cannot be listened on.
    Listen(SocketAddr, io::Error),
    /// The data cannot be used.
    Storage(StorageError),
    /// The system refuses something else that is needed.
    System(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, error) if error.kind() == io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "cannot listen on {address}: the port is in use by another process; choose another with --bind"
                )
            }
            Self::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::Storage(error @ StorageError::Corrupt { .. }) => {
                write!(
                    f,
                    "{error}; restore a copy of the data directory, or start with --salvage to go on without the damaged records"
                )
            }
            Self::Storage(error) => error.fmt(f),
            Self::System(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for StartError {}

impl From<StorageError> for StartError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

/// The first failure that ends the node.
#[derive(Clone, Default)]
struct Failure(Arc<Mutex<Option<String>>>);

impl Failure {
    fn set(&self, shared: &Shared, reason: &dyn fmt::Display) {
        tracing::error!(%reason, "the node has failed: nothing more is confirmed, and it stops");
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| reason.to_string());
        drop(first);
        shared.begin_stop();
    }

    fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Node {
    /// Recovers what is on disk, and starts all tasks. With `salvage`, damaged records of the log are skipped.
    ///
    /// # Errors
    /// When the address is taken, or the data directory is locked, unreadable, damaged or of a newer format.
    pub async fn start(config: Config, salvage: bool) -> Result<Self, StartError> {
        let bind = config.listener.bind;
        let listener = TcpListener::bind(bind).await.map_err(|error| StartError::Listen(bind, error))?;
        let address = listener.local_addr().map_err(|error| StartError::Listen(bind, error))?;
        let clock = Clock::start();
        let shards = shards(&config);
        let load = move || load(&config, shards, clock.now_ms(), salvage).map(|loaded| (config, loaded));
        let (config, (directory, cold, recovered)) = tokio::task::spawn_blocking(load)
            .await
            .map_err(|error| StartError::System(format!("recovery failed: {error}")))??;
        let Recovered { topology, queues, log, indexes } = recovered;
        let shared = Arc::new(Shared::alone(config, clock, topology, shards));
        let failure = Failure::default();
        let log = start_log(log, &shared, &failure);
        let cold = start_cold(cold, &shared, &failure)?;
        let node = Self { shared, address, log, cold, failure, _directory: directory };
        node.start_tasks(queues, &indexes);
        node.first_declarations().await?;
        node.listen(listener);
        Ok(node)
    }

    fn start_tasks(&self, queues: Vec<Recovery>, indexes: &BTreeMap<u16, u64>) {
        let index_of = |shard: u16| indexes.get(&shard).copied().unwrap_or(0);
        let mut of_shard: Vec<Vec<Recovery>> = self.shared.own_shards().iter().map(|_| Vec::new()).collect();
        for (entry, queue) in queues {
            of_shard[usize::from(entry.shard)].push((entry, queue));
        }
        for (number, queues) in (0u16..).zip(of_shard) {
            let start = Start {
                shared: Arc::clone(&self.shared),
                number,
                log: self.log.clone(),
                cold: self.cold.link(Arc::clone(&self.shared.shards[usize::from(number)])),
                index: index_of(number + 1),
                queues,
            };
            self.supervise("shard", Shard::new(start).run());
        }
        let cold = self.cold.link(Arc::clone(&self.shared.shards[0]));
        let index = index_of(META_SHARD);
        self.shared.meta_is_synced(index);
        let meta =
            Meta { shared: Arc::clone(&self.shared), log: self.log.clone(), cold, index, checkpoint: None };
        self.supervise("meta", meta.run());
        let last = u16::try_from(self.shared.own_shards().len()).unwrap_or(u16::MAX);
        let index = index_of(TRANSACTIONS_SHARD);
        let transactions = Transactions::new(Arc::clone(&self.shared), self.log.clone(), index);
        self.supervise("transactions", transactions.run());
        let earlier =
            indexes.range(last + 1..TRANSACTIONS_SHARD).map(|(shard, index)| (*shard, *index)).collect();
        let (shared, log) = (Arc::clone(&self.shared), self.log.clone());
        self.supervise("checkpoint", checkpoint::run(shared, log, self.cold.checkpoints(), earlier));
        self.supervise("resources", resources::run(Arc::clone(&self.shared)));
    }

    /// Runs a task that the node cannot do without: when it panics, the node stops.
    #[expect(clippy::disallowed_methods, reason = "tasks are started here")]
    fn supervise(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let (shared, failure) = (Arc::clone(&self.shared), self.failure.clone());
        tokio::spawn(async move {
            if let Err(error) = tokio::spawn(task).await
                && error.is_panic()
            {
                failure.set(&shared, &format!("the {name} task panicked"));
            }
        });
    }

    /// A new data directory gets a vhost and a user.
    async fn first_declarations(&self) -> Result<(), StartError> {
        if !self.shared.topology().users().is_empty() {
            return Ok(());
        }
        let security = &self.shared.config.security;
        let password_hash = auth::hash(&security.default_password).map_err(StartError::System)?;
        let user = Command::PutUser {
            name: security.default_user.clone(),
            password_hash,
            tags: "administrator".to_owned(),
        };
        for command in [Command::CreateVhost { name: "/".to_owned() }, user] {
            self.shared.apply(command).await.map_err(|refusal| StartError::System(refusal.to_string()))?;
        }
        Ok(())
    }

    #[expect(clippy::disallowed_methods, reason = "tasks are started here")]
    fn listen(&self, listener: TcpListener) {
        tokio::spawn(listener::run(Arc::clone(&self.shared), listener));
    }

    /// Where clients come in.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A handle for those who run the node.
    #[must_use]
    pub fn control(&self) -> Control {
        Control::new(Arc::clone(&self.shared))
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
        self.shared.begin_stop();
        self.say_goodbye().await;
        for shard in self.shared.own_shards() {
            let (reply, done) = oneshot::channel();
            shard.push(ShardInput::Stop(reply));
            let _ = tokio::time::timeout(GOODBYE, done).await;
        }
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

type Recovery = (Arc<crate::broker::topology::QueueEntry>, crate::broker::queue::Queue);

fn shards(config: &Config) -> u16 {
    match config.node.shards {
        0 => std::thread::available_parallelism()
            .ok()
            .and_then(|cores| u16::try_from(cores.get()).ok())
            .unwrap_or(1),
        shards => shards,
    }
}

fn load(
    config: &Config,
    shards: u16,
    now_ms: u64,
    salvage: bool,
) -> Result<(DirectoryLock, ColdStore, Recovered), StartError> {
    let directory = open_directory(&config.node.data_dir)?;
    let cold = ColdStore::open(&directory.cold_dir(), &ColdOptions::default())?;
    let recovered = recover(config, &directory, &cold, shards, now_ms, salvage)?;
    Ok((directory, cold, recovered))
}

fn start_log(writer: LogWriter, shared: &Arc<Shared>, failure: &Failure) -> LogHandle {
    let told = Arc::clone(shared);
    let on_synced = move |synced: &[Synced]| {
        for Synced { shard, index } in synced {
            if *shard == TRANSACTIONS_SHARD {
                told.transactions.push(TransactionInput::Synced(*index));
                continue;
            }
            match shard.checked_sub(1).and_then(|number| told.own_shards().get(usize::from(number))) {
                Some(shard) => shard.push(ShardInput::Synced(*index)),
                None => told.meta.push(MetaInput::Synced(*index)),
            }
        }
    };
    let (shared, failure) = (Arc::clone(shared), failure.clone());
    writer.start(Box::new(on_synced), Box::new(move |error| failure.set(&shared, &error)))
}

fn start_cold(cold: ColdStore, shared: &Arc<Shared>, failure: &Failure) -> Result<ColdThreads, StartError> {
    let (shared, failure) = (Arc::clone(shared), failure.clone());
    ColdThreads::start(Arc::new(cold), move |error| failure.set(&shared, &error))
        .map_err(|error| StartError::System(format!("cannot start the cold store's threads: {error}")))
}
