//! From a name and a password to an identity, for clients and for those who run the node alike.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{Identity, LoginProtocol, LoginRefused, Oauth};
use crate::broker::topology::User;
use crate::node::events::telling::text;
use crate::node::shared::Shared;

/// Checks a name and a password that came from there. Whoever failed often waits first.
///
/// # Errors
/// Why nobody is logged in; the reason is for the log, not for who asks.
pub(crate) async fn authenticate(
    shared: &Arc<Shared>,
    protocol: LoginProtocol,
    user: &str,
    password: &[u8],
    source: IpAddr,
) -> Result<Identity, LoginRefused> {
    let outcome = check(shared, protocol, user, password, source).await;
    let event = if outcome.is_ok() { "user.authentication.success" } else { "user.authentication.failure" };
    shared.tell_event(event, || vec![("name", text(user)), ("peer_host", text(&source.to_string()))]);
    shared.attempts.note(protocol, source, user, outcome.is_ok(), shared.clock.now_ms());
    outcome
}

async fn check(
    shared: &Arc<Shared>,
    protocol: LoginProtocol,
    name: &str,
    password: &[u8],
    source: IpAddr,
) -> Result<Identity, LoginRefused> {
    if let Some(oauth) = shared.oauth.as_ref().filter(|_| Oauth::is_token(password)) {
        return with_token(shared, oauth, password, source).await;
    }
    let user = find(shared, name, source);
    if let Ok(user) = &user
        && shared.passwords.is_known(name, &user.password_hash, password)
    {
        return Ok(identity(user));
    }
    let wait_ms = shared.attempts.wait_ms(protocol, source, name, shared.clock.now_ms());
    let wait_ms = wait_ms.ok_or_else(|| LoginRefused::new("too many attempts that failed"))?;
    if wait_ms > 0 {
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    }
    let user = user?;
    let (checker, password) = (Arc::clone(shared), password.to_vec());
    let (name, hash) = (Arc::clone(&user.name), user.password_hash.clone());
    let right = tokio::task::spawn_blocking(move || checker.passwords.verify(&name, &hash, &password)).await;
    if right.unwrap_or(false) { Ok(identity(&user)) } else { Err(LoginRefused::new("wrong password")) }
}

/// Checks a token that came from there, whatever the name beside it.
///
/// # Errors
/// Why nobody is logged in; the reason is for the log, not for who asks.
pub(crate) async fn authenticate_token(
    shared: &Arc<Shared>,
    protocol: LoginProtocol,
    token: &[u8],
    source: IpAddr,
) -> Result<Identity, LoginRefused> {
    let outcome = match &shared.oauth {
        Some(oauth) => with_token(shared, oauth, token, source).await,
        None => Err(LoginRefused::new("tokens are not taken (security.oauth2)")),
    };
    let name = outcome.as_ref().map_or("", |identity| &identity.name);
    shared.attempts.note(protocol, source, name, outcome.is_ok(), shared.clock.now_ms());
    outcome
}

async fn with_token(
    shared: &Shared,
    oauth: &Oauth,
    token: &[u8],
    source: IpAddr,
) -> Result<Identity, LoginRefused> {
    let identity = oauth.identity(token, shared.clock.now_ms()).await?;
    may_come_from(shared, &identity.name, source)?;
    Ok(identity)
}

/// A user who shows no password: by a certificate, or as the one whom everybody may be.
///
/// # Errors
/// When there is no such user, or it may not come from there.
pub(crate) fn without_password(
    shared: &Shared,
    name: &str,
    source: IpAddr,
) -> Result<Identity, LoginRefused> {
    let found = find(shared, name, source).map(|user| identity(&user));
    shared.attempts.note(LoginProtocol::Amqp, source, name, found.is_ok(), shared.clock.now_ms());
    found
}

/// A user who may come from there.
fn find(shared: &Shared, name: &str, source: IpAddr) -> Result<User, LoginRefused> {
    may_come_from(shared, name, source)?;
    shared.topology().user(name).cloned().ok_or_else(|| LoginRefused::new("no such user"))
}

fn may_come_from(shared: &Shared, name: &str, source: IpAddr) -> Result<(), LoginRefused> {
    let is_restricted =
        shared.live.load().security.loopback_users.iter().any(|restricted| restricted == name);
    if is_restricted && !source.to_canonical().is_loopback() {
        let text = "this user may only connect from this machine (security.loopback_users)";
        return Err(LoginRefused::new(text));
    }
    Ok(())
}

fn identity(user: &User) -> Identity {
    Identity { name: Arc::clone(&user.name), tags: user.tag_list().map(str::to_owned).collect(), token: None }
}
