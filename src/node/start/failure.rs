//! What keeps a node from starting, and what ends it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::node::shared::Shared;
use crate::storage::StorageError;

/// Why a node did not start.
#[derive(Debug)]
pub enum StartError {
    /// The address cannot be listened on; the setting that names another.
    Listen(SocketAddr, &'static str, io::Error),
    /// The data cannot be used.
    Storage(StorageError),
    /// The node and its cluster do not fit together.
    Cluster(String),
    /// The system refuses something else that is needed.
    System(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, setting, error) if error.kind() == io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "cannot listen on {address}: the port is in use by another process; choose another with {setting}"
                )
            }
            Self::Listen(address, _, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::Storage(error @ StorageError::Corrupt { .. }) => {
                write!(
                    f,
                    "{error}; restore a copy of the data directory, or start with --salvage to go on without the damaged records"
                )
            }
            Self::Storage(error) => error.fmt(f),
            Self::Cluster(reason) | Self::System(reason) => f.write_str(reason),
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
pub(super) struct Failure(Arc<Mutex<Option<String>>>);

impl Failure {
    pub(super) fn set(&self, shared: &Shared, reason: &dyn fmt::Display) {
        tracing::error!(%reason, "the node has failed: nothing more is confirmed, and it stops");
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| reason.to_string());
        drop(first);
        shared.begin_stop();
    }

    pub(super) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
