//! What rustls is told: versions, certificates, whom to believe.

use std::sync::Arc;

use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{ServerConfig, SupportedProtocolVersion, version};

use super::files::{FileProblem, authorities, certificates, key};
use super::names::Names;
use crate::config::{CertificateFiles, TlsConfig, TlsVersion, Verify};

/// One for each use.
pub(super) struct Settings {
    pub(super) amqp: Arc<ServerConfig>,
    pub(super) http: Arc<ServerConfig>,
}

impl Settings {
    pub(super) fn load(config: &TlsConfig) -> Result<Self, FileProblem> {
        let provider = Arc::new(default_provider());
        let names = Arc::new(names(config, &provider)?);
        let server = |verifier| -> Result<ServerConfig, FileProblem> {
            let unfit = |error| FileProblem::new(&config.certificate.certificate, &error);
            let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
                .with_protocol_versions(versions(config.min_version))
                .map_err(unfit)?;
            let builder = match verifier {
                Some(verifier) => builder.with_client_cert_verifier(verifier),
                None => builder.with_no_client_auth(),
            };
            Ok(builder.with_cert_resolver(Arc::clone(&names) as _))
        };
        let amqp = Arc::new(server(verifier(config, &provider)?)?);
        let mut http = server(None)?;
        http.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { amqp, http: Arc::new(http) })
    }
}

const FROM_1_2: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
const FROM_1_3: &[&SupportedProtocolVersion] = &[&version::TLS13];

fn versions(min: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    match min {
        TlsVersion::Tls12 => FROM_1_2,
        TlsVersion::Tls13 => FROM_1_3,
    }
}

fn names(config: &TlsConfig, provider: &CryptoProvider) -> Result<Names, FileProblem> {
    let mut names = Names::new(Arc::new(certified(&config.certificate, provider)?));
    for named in &config.certificates {
        let certificate = Arc::new(certified(&named.files, provider)?);
        named.names.iter().for_each(|name| names.add(name, &certificate));
    }
    Ok(names)
}

/// A certificate with its key, which must be its own.
fn certified(files: &CertificateFiles, provider: &CryptoProvider) -> Result<CertifiedKey, FileProblem> {
    let (chain, key) = (certificates(&files.certificate)?, key(&files.key)?);
    CertifiedKey::from_der(chain, key, provider).map_err(|error| {
        let reason = format!("with the key {}: {error}", files.key.display());
        FileProblem::new(&files.certificate, &reason)
    })
}

fn verifier(
    config: &TlsConfig,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, FileProblem> {
    let Some(ca) = config.ca.as_ref().filter(|_| config.verify != Verify::None) else { return Ok(None) };
    let roots = Arc::new(authorities(ca)?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
    let builder = match config.verify {
        Verify::Optional => builder.allow_unauthenticated(),
        Verify::None | Verify::Required => builder,
    };
    builder.build().map(Some).map_err(|error| FileProblem::new(ca, &error))
}
