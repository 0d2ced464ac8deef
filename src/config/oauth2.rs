//! `[security.oauth2]`: whose tokens are taken, and what they must say.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use jsonwebtoken::DecodingKey;

use super::checked::Check;
use super::error::ConfigError;
use super::raw;

/// Algorithms that signatures may be made by.
const ALGORITHMS: [&str; 12] = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "HS256", "HS384",
    "HS512",
];
/// A shorter secret can be guessed.
const SECRET_BYTES_MIN: usize = 16;
const PEM: &[u8] = b"-----BEGIN";

/// Tokens that are taken in place of passwords (RabbitMQ: OAuth 2.0 plugin).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oauth2 {
    /// Whom tokens must be for (`aud`).
    pub resource_server_id: String,
    /// Whether that is checked.
    pub verify_audience: bool,
    /// Who must have made them (`iss`), if that is checked.
    pub issuer: Option<String>,
    /// What the scopes meant for this broker begin with.
    pub scope_prefix: String,
    /// A claim with further scopes.
    pub scopes_claim: Option<String>,
    /// The claims that may have the user's name, the best first.
    pub user_claims: Vec<String>,
    /// Algorithms that signatures may be made by.
    pub algorithms: Vec<String>,
    /// Keys from files.
    pub keys: Vec<TokenKey>,
    /// Where further keys are fetched.
    pub jwks_url: Option<String>,
    /// Authorities that the server with the keys may be known by, PEM; empty are those that everybody knows.
    pub jwks_ca: Vec<u8>,
    /// Seconds between two fetches of keys, at least.
    pub fetch_interval_s: u64,
    /// Seconds that clocks may differ by.
    pub leeway_s: u64,
}

/// A key that tokens are signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenKey {
    /// Its number, as tokens name it (`kid`).
    pub id: Option<String>,
    /// A public key as PEM, or a secret.
    pub bytes: Vec<u8>,
}

impl TokenKey {
    /// The key, to check signatures with; `None` when it is none.
    #[must_use]
    pub fn decoding_key(&self) -> Option<DecodingKey> {
        let bytes = self.bytes.trim_ascii();
        if bytes.starts_with(PEM) {
            let kinds = [DecodingKey::from_rsa_pem, DecodingKey::from_ec_pem, DecodingKey::from_ed_pem];
            return kinds.into_iter().find_map(|read| read(bytes).ok());
        }
        (bytes.len() >= SECRET_BYTES_MIN).then(|| DecodingKey::from_secret(bytes))
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Check<'_> {
    pub(super) fn oauth2(&self, raw: raw::Oauth2) -> Result<Oauth2, ConfigError> {
        self.short("security.oauth2.resource_server_id", &raw.resource_server_id)?;
        let keys = raw.keys.iter().map(|key| self.token_key(key)).collect::<Result<Vec<_>, _>>()?;
        let jwks_url = self.jwks_url(&raw.jwks_url)?;
        if keys.is_empty() && jwks_url.is_none() {
            return Err(self.refused(
                "security.oauth2.keys",
                "",
                "files with keys, or a security.oauth2.jwks_url",
            ));
        }
        for name in &raw.algorithms {
            if !ALGORITHMS.contains(&name.as_str()) {
                return Err(self.refused("security.oauth2.algorithms", name, &ALGORITHMS.join(", ")));
            }
        }
        if raw.algorithms.is_empty() {
            return Err(self.refused("security.oauth2.algorithms", "", &ALGORITHMS.join(", ")));
        }
        if raw.user_claims.is_empty() {
            return Err(self.refused("security.oauth2.user_claims", "", "names of claims such as \"sub\""));
        }
        let prefix = match raw.scope_prefix.as_str() {
            "" => format!("{}.", raw.resource_server_id),
            prefix => prefix.to_owned(),
        };
        let jwks_ca = match raw.jwks_ca.as_str() {
            "" => Vec::new(),
            file => self.content("security.oauth2.jwks_ca", file)?,
        };
        Ok(Oauth2 {
            resource_server_id: raw.resource_server_id,
            verify_audience: raw.verify_audience,
            issuer: some(raw.issuer),
            scope_prefix: prefix,
            scopes_claim: some(raw.scopes_claim),
            user_claims: raw.user_claims,
            algorithms: raw.algorithms,
            keys,
            jwks_url,
            jwks_ca,
            fetch_interval_s: self.number(
                "security.oauth2.fetch_interval_s",
                raw.fetch_interval_s,
                1..=86_400,
            )?,
            leeway_s: self.number("security.oauth2.leeway_s", raw.leeway_s, 0..=600)?,
        })
    }

    /// `FILE`, or `ID=FILE`.
    fn token_key(&self, found: &str) -> Result<TokenKey, ConfigError> {
        let (id, file) = found.split_once('=').map_or((None, found), |(id, file)| (Some(id), file));
        let bytes = self.content("security.oauth2.keys", file)?;
        let key = TokenKey { id: id.map(str::to_owned), bytes };
        if key.decoding_key().is_none() {
            let allowed = "files with a public key as PEM, or a secret of 16 bytes or more";
            return Err(self.refused("security.oauth2.keys", found, allowed));
        }
        Ok(key)
    }

    /// Keys are not to be fetched so that others could change them on the way.
    fn jwks_url(&self, found: &str) -> Result<Option<String>, ConfigError> {
        let local = ["http://127.0.0.1", "http://localhost", "http://[::1]"];
        let is_local = local
            .iter()
            .any(|local| found.strip_prefix(local).is_some_and(|rest| rest.starts_with([':', '/'])));
        if found.is_empty() || found.starts_with("https://") || is_local {
            return Ok(some(found.to_owned()));
        }
        Err(self.refused(
            "security.oauth2.jwks_url",
            found,
            "an https:// address, or http:// on this machine",
        ))
    }

    fn content(&self, key: &'static str, file: &str) -> Result<Vec<u8>, ConfigError> {
        fs::read(PathBuf::from(file))
            .map_err(|problem| self.refusal(key, format!("{file:?} ({problem})"), "a file that can be read"))
    }
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
