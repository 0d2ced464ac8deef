//! Who may come in.

use super::session::Session;
use crate::protocol::error::Refusal;
use crate::protocol::reply_code::ReplyCode;

impl Session {
    pub(super) async fn login(&mut self, mechanism: &'static str, user: String, password: Vec<u8>) {
        match self.check_login(&user, password).await {
            Ok(()) => {
                self.user = user;
                self.connection.login_ok(&mut self.out, self.now_ms);
            }
            Err(reason) => {
                tracing::warn!(peer = %self.peer, user, mechanism, reason, "login refused");
                self.connection.login_refused(mechanism, &mut self.out, self.now_ms);
            }
        }
    }

    async fn check_login(&self, user: &str, password: Vec<u8>) -> Result<(), &'static str> {
        let loopback_only = self.shared.config.security.loopback_users.iter().any(|name| name == user);
        if loopback_only && !self.peer.ip().to_canonical().is_loopback() {
            return Err("this user may only connect from this machine (security.loopback_users)");
        }
        let hash = self.shared.topology().user(user).map(|user| user.password_hash.clone());
        let hash = hash.ok_or("no such user")?;
        if self.shared.passwords.is_known(user, &hash, &password) {
            return Ok(());
        }
        let (shared, user) = (self.shared.clone(), user.to_owned());
        let check = tokio::task::spawn_blocking(move || shared.passwords.verify(&user, &hash, &password));
        if check.await.unwrap_or(false) { Ok(()) } else { Err("wrong password") }
    }

    pub(super) fn open(&mut self, vhost: String) {
        if self.shared.topology().has_vhost(&vhost) {
            tracing::debug!(connection = self.link.id, peer = %self.peer, user = self.user, vhost, "open");
            self.vhost = vhost;
            self.was_open = true;
            self.connection.open_ok(&mut self.out);
        } else {
            let refusal = Refusal::connection(ReplyCode::NotAllowed, format!("vhost {vhost} not found"));
            self.fail(&refusal, (10, 40));
        }
    }
}
