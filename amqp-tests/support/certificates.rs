//! Certificates made for one test: authorities, and what they sign.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub(crate) struct Signed {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn sign(&self, name: &str) -> Signed {
        self.sign_until(name, 4000)
    }

    /// The year is its last.
    pub(crate) fn sign_until(&self, name: &str, year: i32) -> Signed {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 12, 31);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Signed { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// What a client has that believes in this authority.
    pub(crate) fn client(&self) -> ClientConfig {
        self.client_with(None, &[&version::TLS13, &version::TLS12])
    }

    /// The same with a certificate of its own, or with other versions.
    pub(crate) fn client_with(
        &self,
        own: Option<&Signed>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("an authority");
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots);
        let Some(own) = own else { return builder.with_no_client_auth() };
        let certificate = CertificateDer::from_pem_slice(own.certificate.as_bytes()).expect("PEM");
        let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).expect("PEM");
        builder.with_client_auth_cert(vec![certificate], key).expect("a certificate with its key")
    }
}

/// A folder with the files of a broker.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(TempDir::with_prefix("warren-tls-").expect("a temporary directory"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("a file");
        path
    }

    /// Writes `NAME.pem` and `NAME.key`.
    pub(crate) fn put_signed(&self, name: &str, signed: &Signed) -> (PathBuf, PathBuf) {
        (self.put(&format!("{name}.pem"), &signed.certificate), self.put(&format!("{name}.key"), &signed.key))
    }

    /// `[tls]` with this certificate, on a free port.
    pub(crate) fn config(&self, signed: &Signed) -> String {
        let (certificate, key) = self.put_signed("server", signed);
        format!("[tls]\nbind = \"127.0.0.1:0\"\n{}", pair(&certificate, &key))
    }

    pub(crate) fn ca(&self, authority: &Authority) -> String {
        format!("ca = {:?}\n", self.put("ca.pem", &authority.pem()))
    }
}

pub(crate) fn pair(certificate: &Path, key: &Path) -> String {
    format!("certificate = {certificate:?}\nkey = {key:?}\n")
}
