//! Who may be a peer: those who know a shared secret, or who have a certificate of the cluster's authority.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig, version};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::config::{PeerSecurity, TlsFiles};

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
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&files.ca)? {
            roots.add(certificate).map_err(|error| unfit(&files.ca, &error))?;
        }
        let roots = Arc::new(roots);
        let chain = certificates(&files.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unfit(&files.key, &error))?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .build()
            .map_err(|error| unfit(&files.ca, &error))?;
        let versions = [&version::TLS13];
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .and_then(|builder| {
                builder.with_client_cert_verifier(verifier).with_single_cert(chain.clone(), key.clone_key())
            })
            .map_err(|error| unfit(&files.certificate, &error))?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .and_then(|builder| builder.with_root_certificates(roots).with_client_auth_cert(chain, key))
            .map_err(|error| unfit(&files.certificate, &error))?;
        Ok(Self { acceptor: Arc::new(server).into(), connector: Arc::new(client).into() })
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, SecurityError> {
    let found = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = found.map_err(|error| unfit(file, &error))?;
    if found.is_empty() { Err(unfit(file, &"it holds no certificate")) } else { Ok(found) }
}

fn unfit(file: &Path, problem: &dyn fmt::Display) -> SecurityError {
    SecurityError(format!("{}: {problem}", file.display()))
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
