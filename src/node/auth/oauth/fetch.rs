//! Fetching keys from the server that issues tokens: a JSON Web Key Set (RFC 7517).

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet, PublicKeyUse};
use ureq::Agent;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use super::keys::Key;
use crate::config::Oauth2;

/// A login waits for this, and a handshake has only so long.
const TIMEOUT: Duration = Duration::from_secs(5);
const BYTES_MAX: u64 = 1 << 20;

/// Where the keys are, and how they are reached.
pub(super) struct Fetcher {
    url: String,
    agent: Agent,
}

impl Fetcher {
    pub(super) fn new(config: &Oauth2) -> Option<Self> {
        let url = config.jwks_url.clone()?;
        let mut builder = Agent::config_builder().timeout_global(Some(TIMEOUT)).max_redirects(0);
        if !config.jwks_ca.is_empty() {
            let items = parse_pem(&config.jwks_ca).filter_map(Result::ok);
            let certificates: Vec<_> = items
                .filter_map(|item| match item {
                    PemItem::Certificate(certificate) => Some(certificate),
                    _ => None,
                })
                .collect();
            let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&certificates)).build();
            builder = builder.tls_config(tls);
        }
        Some(Self { url, agent: builder.build().into() })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    fn ask(&self) -> Result<Vec<Key>, String> {
        let mut answer = self.agent.get(&self.url).call().map_err(|error| error.to_string())?;
        let body = answer.body_mut().with_config().limit(BYTES_MAX).read_to_vec();
        let body = body.map_err(|error| error.to_string())?;
        // One key that is not known must not hide the others.
        let set: serde_json::Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        let keys = set.get("keys").and_then(serde_json::Value::as_array).ok_or("the answer has no keys")?;
        let keys = keys.iter().filter_map(|key| serde_json::from_value::<Jwk>(key.clone()).ok());
        Ok(JwkSet { keys: keys.collect() }.keys.iter().filter_map(key_of).collect())
    }
}

/// Asks the server, without holding up others.
pub(super) async fn fetch(fetcher: &Arc<Fetcher>) -> Result<Vec<Key>, String> {
    let fetcher = Arc::clone(fetcher);
    let asked = tokio::task::spawn_blocking(move || fetcher.ask()).await;
    asked.unwrap_or_else(|error| Err(error.to_string()))
}

/// Keys for signatures; a secret that everybody can fetch is none.
fn key_of(jwk: &Jwk) -> Option<Key> {
    let is_secret = matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_));
    let is_for_signatures =
        matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) && !is_secret;
    let key = is_for_signatures.then(|| DecodingKey::from_jwk(jwk).ok()).flatten()?;
    Some(Key { id: jwk.common.key_id.clone(), key })
}
