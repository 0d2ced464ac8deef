//! Who asks: name and password of each request, and the tags that a path wants.
//!
//! A handler says what it wants by the type of its argument; extractors run before the body is read.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::AUTHORIZATION;
use hyper::http::request::Parts;

use super::failure::Failure;
use super::{Api, Peer};
use crate::node::Identity;

/// A user who may use the management at all.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who it is.
    pub identity: Identity,
}

/// Anybody with a tag of the management.
pub struct Manager(pub Caller);
/// Who may see connections, channels and nodes of all users.
pub struct Monitoring(pub Caller);
/// Who may set policies and parameters.
pub struct Policymaker(pub Caller);
/// Who may do everything.
pub struct Administrator(pub Caller);

impl Caller {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.identity.name
    }

    fn has(&self, tag: &str) -> bool {
        self.identity.tags.iter().any(|own| own == tag)
    }

    /// Tag `administrator`.
    #[must_use]
    pub fn is_administrator(&self) -> bool {
        self.has("administrator")
    }

    /// Tag `monitoring`, or one that includes it.
    #[must_use]
    pub fn is_monitoring(&self) -> bool {
        self.is_administrator() || self.has("monitoring")
    }

    /// Tag `policymaker`, or one that includes it.
    #[must_use]
    pub fn is_policymaker(&self) -> bool {
        self.is_administrator() || self.has("policymaker")
    }

    /// What belongs to a user is open to that user and to administrators.
    ///
    /// # Errors
    /// 401 for everybody else.
    pub fn stands_for(&self, user: &str) -> Result<(), Failure> {
        if self.is_administrator() || self.name() == user { Ok(()) } else { Err(Failure::not_yours()) }
    }

    /// Any tag of the management.
    #[must_use]
    pub fn is_management(&self) -> bool {
        self.is_monitoring() || self.is_policymaker() || self.has("management")
    }

    /// Whether it may enter a vhost with its own rights.
    #[must_use]
    pub fn may_enter(&self, api: &Api, vhost: &str) -> bool {
        api.control.may_enter(&self.identity, vhost)
    }

    /// The vhosts whose objects it sees in lists.
    #[must_use]
    pub fn vhosts(&self, api: &Api) -> Vec<Arc<str>> {
        let names = api.control.vhosts().into_iter().map(|(name, _)| name);
        names.filter(|name| self.is_administrator() || self.may_enter(api, name)).collect()
    }

    /// Lets through whoever may work in a vhost, and administrators.
    ///
    /// # Errors
    /// 404 when it is not there, 401 when this caller may not.
    pub fn enters(&self, api: &Api, vhost: &str) -> Result<(), Failure> {
        if api.control.vhost(vhost).is_none() {
            return Err(Failure::no_object());
        }
        self.enters_if_there(api, vhost)
    }

    /// The same where it matters not whether the vhost is there.
    ///
    /// # Errors
    /// 401 when this caller may not.
    pub fn enters_if_there(&self, api: &Api, vhost: &str) -> Result<(), Failure> {
        let may = self.is_administrator() || api.control.vhost(vhost).is_none() || self.may_enter(api, vhost);
        if may { Ok(()) } else { Err(Failure::not_authorised("User not authorised to access virtual host")) }
    }

    /// Lets through whoever sees a vhost: those who may work in it, and those who watch.
    ///
    /// # Errors
    /// 404 when it is not there, 401 when this caller may not.
    pub fn sees(&self, api: &Api, vhost: &str) -> Result<(), Failure> {
        if self.is_monitoring() && api.control.vhost(vhost).is_some() {
            return Ok(());
        }
        self.enters(api, vhost)
    }

    async fn of(parts: &Parts, api: &Api) -> Result<Self, Failure> {
        let peer = parts.extensions.get::<Peer>().ok_or_else(Failure::login_wanted)?;
        let header = parts.headers.get(AUTHORIZATION).ok_or_else(Failure::login_wanted)?;
        let header = header.to_str().map_err(|_| Failure::login_wanted())?;
        let from = peer.0.ip();
        let identity = if let Some(token) = bearer(header) {
            api.control.authenticate_token(token, from).await
        } else {
            let (name, password) = basic(header).ok_or_else(Failure::login_wanted)?;
            api.control.authenticate(&name, password.as_bytes(), from).await
        };
        let caller = Self { identity: identity.map_err(|_| Failure::login_failed())? };
        if caller.is_management() { Ok(caller) } else { Err(Failure::not_authorised("Not management user")) }
    }
}

/// The token of a `Bearer` header (RFC 6750).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Name and password of a `Basic` header (RFC 7617).
fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, credentials) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

impl FromRequestParts<Api> for Manager {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Failure> {
        Caller::of(parts, api).await.map(Self)
    }
}

impl FromRequestParts<Api> for Monitoring {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Failure> {
        let caller = Caller::of(parts, api).await?;
        if caller.is_monitoring() {
            Ok(Self(caller))
        } else {
            Err(Failure::not_authorised("Not monitor user"))
        }
    }
}

impl FromRequestParts<Api> for Policymaker {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Failure> {
        let caller = Caller::of(parts, api).await?;
        if caller.is_policymaker() { Ok(Self(caller)) } else { Err(Failure::not_yours()) }
    }
}

impl FromRequestParts<Api> for Administrator {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Failure> {
        let caller = Caller::of(parts, api).await?;
        if caller.is_administrator() {
            Ok(Self(caller))
        } else {
            Err(Failure::not_authorised("Not administrator user"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_basic_header_holds_name_and_password_with_colons_in_it() {
        let header = format!("basic {}", STANDARD.encode("ann:a:b"));
        assert_eq!(basic(&header), Some(("ann".to_owned(), "a:b".to_owned())));
        for bad in ["", "Basic", "Basic !!", "Bearer abc", &format!("Basic {}", STANDARD.encode("nobody"))] {
            assert_eq!(basic(bad), None, "{bad}");
        }
    }
}
