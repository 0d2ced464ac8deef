//! Who may be a peer: those who know a shared secret, or who have a certificate of the cluster's authority.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, ServerConfig, version};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::config::{PeerSecurity, TlsFiles};
use crate::node::tls::files::{FileProblem, authorities, certificates, key};

/// Stands for the secret where none is configured: on one machine only.
const LOOPBACK_SECRET: &[u8] = b"warren";

/// How peers know each other.
#[derive(Clone)]
pub(crate) struct Security {
    secret: Vec<u8>,
    pub(crate) tls: Option<Tls>,
    /// Nothing keeps strangers out but that they are on other machines.
    is_open: bool,
}

/// Both directions of mutual TLS.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) connector: TlsConnector,
}

/// Why a node cannot have peers as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SecurityError(String);

impl Security {
    /// # Errors
    /// When a file cannot be read or does not fit.
    pub(crate) fn load(config: &PeerSecurity) -> Result<Self, SecurityError> {
        let secret = config.secret.as_ref().map_or(LOOPBACK_SECRET, |secret| &secret.0);
        let is_open = config.secret.is_none() && config.tls.is_none();
        Ok(Self { secret: secret.to_vec(), tls: config.tls.as_ref().map(Tls::load).transpose()?, is_open })
    }

    pub(crate) fn secret(&self) -> &[u8] {
        &self.secret
    }

    /// Whether every process of this machine may be a peer: worth a warning.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether peers may be at, or come to, this address.
    ///
    /// # Errors
    /// What is missing for that.
    pub(crate) fn check_address(&self, address: IpAddr) -> Result<(), SecurityError> {
        if self.is_open && !address.to_canonical().is_loopback() {
            return Err(SecurityError(format!(
                "nodes on other machines need a secret or certificates: {address} is not on this machine, \
                 and neither cluster.secret, cluster.secret_file nor [cluster.tls] is set"
            )));
        }
        Ok(())
    }
}

impl Tls {
    fn load(files: &TlsFiles) -> Result<Self, SecurityError> {
        let provider = Arc::new(default_provider());
        let roots = Arc::new(authorities(&files.ca)?);
        let chain = certificates(&files.certificate)?;
        let key = key(&files.key)?;
        let unfit = |file, error| FileProblem::new(file, &error);
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .build()
            .map_err(|error| FileProblem::new(&files.ca, &error))?;
        let versions = [&version::TLS13];
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .and_then(|builder| {
                builder.with_client_cert_verifier(verifier).with_single_cert(chain.clone(), key.clone_key())
            })
            .map_err(|error| unfit(&files.certificate, error))?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .and_then(|builder| builder.with_root_certificates(roots).with_client_auth_cert(chain, key))
            .map_err(|error| unfit(&files.certificate, error))?;
        Ok(Self { acceptor: Arc::new(server).into(), connector: Arc::new(client).into() })
    }
}

impl From<FileProblem> for SecurityError {
    fn from(problem: FileProblem) -> Self {
        Self(problem.to_string())
    }
}

impl fmt::Debug for Security {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Security").field("tls", &self.tls.is_some()).field("is_open", &self.is_open).finish()
    }
}

impl fmt::Display for SecurityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SecurityError {}
