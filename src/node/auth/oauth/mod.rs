//! Tokens in place of passwords (RabbitMQ: OAuth 2.0 plugin; RFC 7519).
//!
//! - `keys`: what signatures are checked with
//! - `fetch`: keys from elsewhere

mod fetch;
mod keys;
#[cfg(test)]
mod tests;

use std::str::FromStr;
use std::sync::Arc;

use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::identity::{Identity, LoginRefused, Token};
use crate::broker::rights::Scopes;
use crate::config::Oauth2;
use keys::Keys;

/// No token needs more.
const TOKEN_BYTES_MAX: usize = 64 * 1024;
/// RabbitMQ's name for a user whose token does not say.
const UNKNOWN_USER: &str = "unknown";

type Claims = Map<String, Value>;

/// Checks tokens.
#[derive(Debug)]
pub(crate) struct Oauth {
    config: Oauth2,
    algorithms: Vec<Algorithm>,
    keys: Keys,
}

impl Oauth {
    pub(crate) fn new(config: Oauth2) -> Self {
        let algorithms = config.algorithms.iter().filter_map(|name| Algorithm::from_str(name).ok()).collect();
        Self { algorithms, keys: Keys::new(&config), config }
    }

    /// Whether this looks like a token, and not like a password.
    pub(crate) fn is_token(text: &[u8]) -> bool {
        text.len() <= TOKEN_BYTES_MAX
            && text.iter().filter(|byte| **byte == b'.').count() == 2
            && decode_header(text).is_ok()
    }

    /// Who a token is of.
    ///
    /// # Errors
    /// Why it is not taken.
    pub(crate) async fn identity(&self, token: &[u8], now_ms: u64) -> Result<Identity, LoginRefused> {
        let claims = self.claims(token, now_ms).await?;
        let expires_ms = expires_ms(&claims).ok_or_else(|| refused("has no time of its end"))?;
        let name = self.config.user_claims.iter().find_map(|claim| claims.get(claim)?.as_str());
        let scopes = Scopes::new(self.scopes(&claims).iter().map(String::as_str), &self.config.scope_prefix);
        Ok(Identity {
            name: name.unwrap_or(UNKNOWN_USER).into(),
            tags: scopes.tags.clone(),
            token: Some(Arc::new(Token { scopes, expires_ms: expires_ms + self.config.leeway_s * 1000 })),
        })
    }

    async fn claims(&self, token: &[u8], now_ms: u64) -> Result<Claims, LoginRefused> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(refused("is too long"));
        }
        let header = decode_header(token).map_err(|_| refused("is none"))?;
        if !self.algorithms.contains(&header.alg) {
            return Err(refused("is signed in a way that is not allowed (security.oauth2.algorithms)"));
        }
        let validation = self.validation(header.alg);
        let mut reason = "is signed with a key that is not known".to_owned();
        for key in self.keys.find(header.kid.as_deref(), now_ms).await {
            match decode::<Claims>(token, &key, &validation) {
                Ok(data) => return Ok(data.claims),
                Err(error) => reason = format!("is not valid: {error}"),
            }
        }
        Err(refused(&reason))
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = self.config.leeway_s;
        validation.validate_nbf = true;
        let mut required = vec!["exp"];
        validation.validate_aud = self.config.verify_audience;
        if self.config.verify_audience {
            validation.set_audience(&[&self.config.resource_server_id]);
            required.push("aud");
        }
        if let Some(issuer) = &self.config.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        validation
    }

    fn scopes(&self, claims: &Claims) -> Vec<String> {
        let names = std::iter::once("scope").chain(self.config.scopes_claim.as_deref());
        names.filter_map(|name| claims.get(name)).flat_map(|value| self.scopes_in(value)).collect()
    }

    /// A list, words with spaces between them, or either for each resource server.
    fn scopes_in(&self, value: &Value) -> Vec<String> {
        match value {
            Value::String(words) => words.split_ascii_whitespace().map(str::to_owned).collect(),
            Value::Array(list) => list.iter().filter_map(|one| Some(one.as_str()?.to_owned())).collect(),
            Value::Object(servers) => {
                let id = &self.config.resource_server_id;
                let own = servers.get(id).filter(|own| !own.is_object());
                let own = own.map(|own| self.scopes_in(own)).unwrap_or_default();
                own.into_iter().map(|scope| format!("{id}.{scope}")).collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
        }
    }
}

/// Seconds since 1970, which may have a fraction.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast of a float stays within the range of the integer"
)]
fn expires_ms(claims: &Claims) -> Option<u64> {
    let seconds = claims.get("exp")?.as_f64()?;
    Some((seconds as u64).min(u64::MAX / 2000) * 1000)
}

fn refused(reason: &str) -> LoginRefused {
    LoginRefused::new(format!("the token {reason}"))
}
