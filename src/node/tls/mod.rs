//! TLS for clients, over AMQP, HTTP and for metrics alike.
//!
//! - `files`: PEM files to certificates and keys; also for links between nodes
//! - `settings`: what rustls is told
//! - `names`: which certificate a client sees
//! - `peer`: what a client's certificate says
//!
//! The files are looked at again and again (`tasks/certificates`): new ones hold for whoever comes next, bad ones leave those
//! in force that were read last.

pub(crate) mod files;
mod names;
mod peer;
mod settings;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::config::TlsConfig;
use files::Stamp;
pub use peer::{PeerCertificate, TlsSession};
use settings::Settings;

/// What clients are shown, and who they have to be.
pub struct Tls {
    config: TlsConfig,
    /// For AMQP, with certificates of clients as configured.
    amqp: ArcSwap<ServerConfig>,
    /// For HTTP, where clients log in.
    http: ArcSwap<ServerConfig>,
    seen: Mutex<Seen>,
}

/// Files as they were when they were looked at.
struct Seen {
    /// At the last look.
    last: Vec<Stamp>,
    /// When they were read, with or without success.
    read: Vec<Stamp>,
}

/// What a look at the files has found.
#[derive(Debug, PartialEq, Eq)]
pub enum Reload {
    /// Nothing is to be told.
    Unchanged,
    /// Others are in force.
    Changed,
    /// They are not fit for use, for this reason; those before stay in force. This is told once.
    Refused(String),
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be read or they do not fit together; the file and the reason.
    pub fn load(config: &TlsConfig) -> Result<Arc<Self>, String> {
        let stamps = stamps(config);
        let Settings { amqp, http } = Settings::load(config).map_err(|problem| problem.to_string())?;
        Ok(Arc::new(Self {
            config: config.clone(),
            amqp: ArcSwap::from(amqp),
            http: ArcSwap::from(http),
            seen: Mutex::new(Seen { last: stamps.clone(), read: stamps }),
        }))
    }

    /// Reads the files again if they are others, and have been since the last look: whoever writes several needs a moment.
    pub(crate) fn look(&self) -> Reload {
        let now = stamps(&self.config);
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let is_settled = seen.last == now;
            seen.last.clone_from(&now);
            if !is_settled || seen.read == now {
                return Reload::Unchanged;
            }
        }
        self.read(now)
    }

    /// Reads the files again, changed or not.
    pub fn reload(&self) -> Reload {
        self.read(stamps(&self.config))
    }

    fn read(&self, now: Vec<Stamp>) -> Reload {
        let settings = Settings::load(&self.config);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).read = now;
        match settings {
            Ok(Settings { amqp, http }) => {
                self.amqp.store(amqp);
                self.http.store(http);
                Reload::Changed
            }
            Err(problem) => Reload::Refused(problem.to_string()),
        }
    }

    /// For the next client over AMQP.
    pub(crate) fn amqp(&self) -> TlsAcceptor {
        self.amqp.load_full().into()
    }

    /// For the next client over HTTP.
    pub(crate) fn http(&self) -> TlsAcceptor {
        self.http.load_full().into()
    }
}

fn stamps(config: &TlsConfig) -> Vec<Stamp> {
    let named = config.certificates.iter().map(|named| &named.files);
    let pairs = std::iter::once(&config.certificate).chain(named);
    let files = pairs.flat_map(|pair| [&pair.certificate, &pair.key]).chain(&config.ca);
    files.map(|file: &PathBuf| Stamp::of(file)).collect()
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("config", &self.config).finish_non_exhaustive()
    }
}
