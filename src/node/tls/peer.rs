//! What is known of a client that came in over TLS.

use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{CommonState, ProtocolVersion};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// What both ends have agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSession {
    /// The version of TLS, in RabbitMQ's words: `tlsv1.3`.
    pub version: &'static str,
    /// The cipher suite, by its registered name.
    pub cipher: String,
    /// What the client has shown. Its authority was checked.
    pub certificate: Option<PeerCertificate>,
}

/// A client's certificate, which an authority of `tls.ca` has signed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Its distinguished name, such as `CN=client, O=Example`.
    pub subject: String,
    /// That of who has signed it.
    pub issuer: String,
    /// When it holds, as two dates.
    pub validity: String,
    /// The first common name of its subject.
    pub common_name: Option<String>,
    /// Its alternative names that are host names.
    pub dns_names: Vec<String>,
    /// Its alternative names that are mail addresses.
    pub emails: Vec<String>,
    /// Its alternative names that are URIs.
    pub uris: Vec<String>,
}

impl TlsSession {
    pub(crate) fn of(state: &CommonState) -> Self {
        let version = match state.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "tlsv1.2",
            Some(ProtocolVersion::TLSv1_3) => "tlsv1.3",
            _ => "tls",
        };
        let cipher = state.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
        let first = state.peer_certificates().and_then(<[CertificateDer<'_>]>::first);
        Self {
            version,
            cipher: cipher.unwrap_or_default(),
            certificate: first.and_then(|certificate| PeerCertificate::parse(certificate)),
        }
    }
}

impl PeerCertificate {
    /// `None` for what is no certificate.
    fn parse(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let mut found = Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            validity: format!("{} - {}", certificate.validity().not_before, certificate.validity().not_after),
            ..Self::default()
        };
        let mut common_names = certificate.subject().iter_common_name();
        found.common_name = common_names.next().and_then(|name| name.as_str().ok()).map(str::to_owned);
        if let Ok(Some(alternatives)) = certificate.subject_alternative_name() {
            for name in &alternatives.value.general_names {
                found.note(name);
            }
        }
        Some(found)
    }

    fn note(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(name) => self.dns_names.push((*name).to_owned()),
            GeneralName::RFC822Name(name) => self.emails.push((*name).to_owned()),
            GeneralName::URI(name) => self.uris.push((*name).to_owned()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    #[test]
    fn a_certificate_tells_who_it_is_for() {
        let mut params = CertificateParams::new(vec!["client.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "client");
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        params.subject_alt_names.push(SanType::Rfc822Name("c@example.com".try_into().unwrap()));
        params.subject_alt_names.push(SanType::URI("spiffe://example/c".try_into().unwrap()));
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let found = PeerCertificate::parse(certificate.der()).unwrap();
        assert_eq!(found.common_name.as_deref(), Some("client"));
        assert!(found.subject.contains("CN=client") && found.subject.contains("O=Example"), "{found:?}");
        assert_eq!(found.dns_names, ["client.example"]);
        assert_eq!(found.emails, ["c@example.com"]);
        assert_eq!(found.uris, ["spiffe://example/c"]);
        assert_eq!(PeerCertificate::parse(b"no certificate"), None);
    }
}
