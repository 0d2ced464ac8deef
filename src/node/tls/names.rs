//! Which certificate a client sees: that of the name it asks for (SNI), or the one for all others.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

/// Certificates by name.
#[derive(Debug)]
pub(super) struct Names {
    default: Arc<CertifiedKey>,
    names: HashMap<String, Arc<CertifiedKey>>,
}

impl Names {
    pub(super) fn new(default: Arc<CertifiedKey>) -> Self {
        Self { default, names: HashMap::new() }
    }

    /// The first certificate of a name stays.
    pub(super) fn add(&mut self, name: &str, certificate: &Arc<CertifiedKey>) {
        self.names.entry(name.to_owned()).or_insert_with(|| Arc::clone(certificate));
    }

    /// The name itself goes before the wildcard of its domain.
    fn find(&self, name: &str) -> &Arc<CertifiedKey> {
        let name = name.to_ascii_lowercase();
        let wildcard = || self.names.get(&format!("*.{}", name.split_once('.')?.1));
        self.names.get(&name).or_else(wildcard).unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let found = hello.server_name().map_or(&self.default, |name| self.find(name));
        Some(Arc::clone(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_rustls::rustls::crypto::ring::sign::any_supported_type;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;

    #[test]
    fn a_name_goes_before_a_wildcard_and_both_before_the_rest() {
        let key = rcgen::KeyPair::generate().unwrap().serialize_der();
        let key = any_supported_type(&PrivateKeyDer::try_from(key).unwrap()).unwrap();
        let certificate = || Arc::new(CertifiedKey::new(Vec::new(), Arc::clone(&key)));
        let (default, exact, wildcard) = (certificate(), certificate(), certificate());
        let mut names = Names::new(Arc::clone(&default));
        names.add("mq.example.com", &exact);
        names.add("*.example.com", &wildcard);
        let cases = [
            ("mq.example.com", &exact),
            ("MQ.Example.Com", &exact),
            ("other.example.com", &wildcard),
            ("a.b.example.com", &default),
            ("example.com", &default),
            ("localhost", &default),
        ];
        for (name, expected) in cases {
            assert!(Arc::ptr_eq(names.find(name), expected), "{name}");
        }
    }
}
