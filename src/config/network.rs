//! `[tls]`, `[proxy_protocol]`, `[management]` and `[metrics]`, checked: the ways in besides plain AMQP.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::checked::Check;
use super::error::ConfigError;
use super::raw;

/// TLS for clients: certificates, and where AMQP comes in over them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// Where AMQP over TLS comes in; `None`: nowhere.
    pub bind: Option<SocketAddr>,
    /// What is shown to clients that ask for no name that another one has.
    pub certificate: CertificateFiles,
    /// Certificates for names that clients ask for.
    pub certificates: Vec<NamedCertificate>,
    /// Whose certificates clients may show.
    pub ca: Option<PathBuf>,
    /// Whether they have to.
    pub verify: Verify,
    /// The oldest version of TLS that is spoken.
    pub min_version: TlsVersion,
}

/// PEM files of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, with those between it and its CA.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A certificate for clients that ask for certain names (SNI).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedCertificate {
    /// The names, in lower case; `*.` in front stands for one label.
    pub names: Vec<String>,
    /// Its files.
    pub files: CertificateFiles,
}

/// Whether clients show certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// They are not asked.
    None,
    /// They are asked; one that is shown must be right.
    Optional,
    /// Without one they do not come in.
    Required,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// Who may say for whom it forwards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// Proxies.
    pub trusted: Vec<IpNetwork>,
}

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpNetwork {
    address: IpAddr,
    bits: u8,
}

/// Where HTTP comes in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpConfig {
    /// Without TLS; `None`: nowhere.
    pub bind: Option<SocketAddr>,
    /// Over TLS; `None`: nowhere.
    pub tls_bind: Option<SocketAddr>,
}

impl ProxyProtocol {
    /// Whether somebody at this address forwards for others.
    #[must_use]
    pub fn is_trusted(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }
}

impl IpNetwork {
    /// Whether an address is in this network.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32 - u32::from(self.bits);
                own.to_bits().checked_shr(shift) == other.to_bits().checked_shr(shift)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128 - u32::from(self.bits);
                own.to_bits().checked_shr(shift) == other.to_bits().checked_shr(shift)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().ok()?)),
            None => (text, None),
        };
        let address = address.parse::<IpAddr>().ok()?.to_canonical();
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(all);
        (bits <= all).then_some(Self { address, bits })
    }
}

impl Check<'_> {
    pub(super) fn tls(&self, raw: &raw::Raw) -> Result<Option<TlsConfig>, ConfigError> {
        let tls = &raw.tls;
        if tls.certificate.is_empty() && tls.key.is_empty() {
            return self.no_tls(raw).map(|()| None);
        }
        let certificate = self.pair(("tls.certificate", &tls.certificate), ("tls.key", &tls.key))?;
        let verify = self.verify(&tls.verify)?;
        if verify != Verify::None && tls.ca.is_empty() {
            let allowed = format!("a PEM file, as tls.verify is {:?}", tls.verify);
            return Err(self.refused("tls.ca", "", &allowed));
        }
        Ok(Some(TlsConfig {
            bind: self.bind_or_none("tls.bind", &tls.bind, 5671)?,
            certificate,
            certificates: tls
                .certificates
                .iter()
                .map(|named| self.named_certificate(named))
                .collect::<Result<_, _>>()?,
            ca: (!tls.ca.is_empty()).then(|| PathBuf::from(&tls.ca)),
            verify,
            min_version: self.tls_version(&tls.min_version)?,
        }))
    }

    /// Nothing else of TLS may be asked for without a certificate.
    fn no_tls(&self, raw: &raw::Raw) -> Result<(), ConfigError> {
        let asks = !raw.tls.certificates.is_empty()
            || [&raw.tls.bind, &raw.tls.ca, &raw.management.tls_bind, &raw.metrics.tls_bind]
                .iter()
                .any(|text| !text.is_empty());
        self.verify(&raw.tls.verify)?;
        self.tls_version(&raw.tls.min_version)?;
        if asks {
            return Err(self.refused("tls.certificate", "", "a PEM file, as TLS is asked for"));
        }
        Ok(())
    }

    fn pair(
        &self,
        (certificate_key, certificate): (&'static str, &str),
        (key_key, key): (&'static str, &str),
    ) -> Result<CertificateFiles, ConfigError> {
        for (name, file) in [(certificate_key, certificate), (key_key, key)] {
            if file.is_empty() {
                return Err(self.refused(name, "", "a PEM file: a certificate and its key go together"));
            }
        }
        Ok(CertificateFiles { certificate: PathBuf::from(certificate), key: PathBuf::from(key) })
    }

    fn named_certificate(&self, raw: &raw::Certificate) -> Result<NamedCertificate, ConfigError> {
        for name in &raw.names {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            let rest = name.strip_prefix("*.").unwrap_or(name);
            if rest.is_empty() || rest.len() > 253 || !rest.bytes().all(plain) {
                let allowed = "host names such as \"mq.example.com\" or \"*.example.com\"";
                return Err(self.refused("tls.certificates.names", name, allowed));
            }
        }
        if raw.names.is_empty() {
            return Err(self.refusal("tls.certificates.names", "[]".to_owned(), "at least one host name"));
        }
        let files = self
            .pair(("tls.certificates.certificate", &raw.certificate), ("tls.certificates.key", &raw.key))?;
        Ok(NamedCertificate {
            names: raw.names.iter().map(|name| name.to_ascii_lowercase()).collect(),
            files,
        })
    }

    fn verify(&self, found: &str) -> Result<Verify, ConfigError> {
        match found {
            "none" => Ok(Verify::None),
            "optional" => Ok(Verify::Optional),
            "required" => Ok(Verify::Required),
            other => Err(self.refused("tls.verify", other, "\"none\", \"optional\" or \"required\"")),
        }
    }

    fn tls_version(&self, found: &str) -> Result<TlsVersion, ConfigError> {
        match found {
            "1.2" => Ok(TlsVersion::Tls12),
            "1.3" => Ok(TlsVersion::Tls13),
            other => Err(self.refused("tls.min_version", other, "\"1.2\" or \"1.3\"")),
        }
    }

    pub(super) fn proxy_protocol(&self, raw: &raw::ProxyProtocol) -> Result<ProxyProtocol, ConfigError> {
        let network = |text: &String| {
            let allowed = "IP addresses and networks such as \"10.0.0.1\" or \"10.0.0.0/8\"";
            IpNetwork::parse(text).ok_or_else(|| self.refused("proxy_protocol.trusted", text, allowed))
        };
        Ok(ProxyProtocol { trusted: raw.trusted.iter().map(network).collect::<Result<_, _>>()? })
    }

    pub(super) fn management(&self, raw: &raw::Management) -> Result<HttpConfig, ConfigError> {
        let http = HttpConfig {
            bind: self.bind_or_none("management.bind", &raw.bind, 15672)?,
            tls_bind: self.bind_or_none("management.tls_bind", &raw.tls_bind, 15671)?,
        };
        Ok(if raw.enabled { http } else { HttpConfig::default() })
    }

    pub(super) fn metrics(&self, raw: &raw::Metrics) -> Result<HttpConfig, ConfigError> {
        let http = HttpConfig {
            bind: self.bind_or_none("metrics.bind", &raw.bind, 15692)?,
            tls_bind: self.bind_or_none("metrics.tls_bind", &raw.tls_bind, 15691)?,
        };
        Ok(if raw.enabled { http } else { HttpConfig::default() })
    }

    /// Where something listens; nothing is nowhere.
    fn bind_or_none(
        &self,
        key: &'static str,
        found: &str,
        port: u16,
    ) -> Result<Option<SocketAddr>, ConfigError> {
        if found.is_empty() { Ok(None) } else { self.bind(key, found, port).map(Some) }
    }

    /// Where something listens; `port` is for the example.
    pub(super) fn bind(&self, key: &'static str, found: &str, port: u16) -> Result<SocketAddr, ConfigError> {
        found.parse().map_err(|_| {
            let allowed = format!("an IP address and a port such as \"0.0.0.0:{port}\"");
            self.refused(key, found, &allowed)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_what_begins_like_it() {
        let cases = [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.7", "10.0.0.7", true),
            ("10.0.0.7", "::ffff:10.0.0.7", true),
            ("10.0.0.7", "10.0.0.8", false),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "::1", false),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("::/0", "::1", true),
        ];
        for (network, address, expected) in cases {
            let contains = IpNetwork::parse(network).unwrap().contains(address.parse().unwrap());
            assert_eq!(contains, expected, "{address} in {network}");
        }
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "host", "::/129", "10.0.0.1/"] {
            assert_eq!(IpNetwork::parse(wrong), None, "{wrong}");
        }
    }
}
