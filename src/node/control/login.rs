//! Who those that run the node are: the same users as those of clients.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::Control;

/// A user whose name and password were right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name.
    pub name: Arc<str>,
    /// What the user may do besides working in vhosts.
    pub tags: Vec<String>,
}

/// Name or password is wrong, or the user may not come from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginRefused;

impl fmt::Display for LoginRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("login refused")
    }
}

impl std::error::Error for LoginRefused {}

impl Control {
    /// Checks a user's name and password.
    ///
    /// # Errors
    /// When they are wrong, or the user may only come from this machine and does not.
    pub async fn authenticate(
        &self,
        user: &str,
        password: &[u8],
        from: IpAddr,
    ) -> Result<Identity, LoginRefused> {
        let loopback_only = self.shared.config.security.loopback_users.iter().any(|name| name == user);
        if loopback_only && !from.to_canonical().is_loopback() {
            return Err(LoginRefused);
        }
        let known = self.shared.topology().user(user).cloned().ok_or(LoginRefused)?;
        let tags = known.tags.split(',').map(str::trim).filter(|tag| !tag.is_empty());
        let identity = Identity { name: Arc::clone(&known.name), tags: tags.map(str::to_owned).collect() };
        if self.shared.passwords.is_known(user, &known.password_hash, password) {
            return Ok(identity);
        }
        let (shared, password) = (Arc::clone(&self.shared), password.to_vec());
        let check = move || shared.passwords.verify(&known.name, &known.password_hash, &password);
        if tokio::task::spawn_blocking(check).await.unwrap_or(false) {
            Ok(identity)
        } else {
            Err(LoginRefused)
        }
    }

    /// Whether a user may work in a vhost.
    #[must_use]
    pub fn may_enter(&self, _identity: &Identity, vhost: &str) -> bool {
        self.shared.topology().has_vhost(vhost)
    }
}
