//! Who may come in.

use amq_protocol::protocol::{AMQPClass, channel};

use super::rights::Rights;
use super::session::Session;
use crate::broker::topology::{UserLimits, VhostLimits};
use crate::node::auth::{self, Access, LoginProtocol, not_entered};
use crate::node::presence::user_is_deleted;
use crate::protocol::error::Refusal;
use crate::protocol::inbound::Input;
use crate::protocol::reply_code::ReplyCode;

impl Session {
    pub(super) async fn login(&mut self, mechanism: &'static str, user: String, password: Vec<u8>) {
        let source = self.peer.ip();
        match auth::authenticate(&self.shared, LoginProtocol::Amqp, &user, &password, source).await {
            Ok(identity) => {
                self.user = identity.name.to_string();
                self.rights = Rights::of(identity);
                self.connection.login_ok(&mut self.out, self.now_ms);
            }
            Err(reason) => {
                tracing::warn!(peer = %self.peer, user, mechanism, %reason, "login refused");
                self.connection.login_refused(mechanism, &mut self.out, self.now_ms);
            }
        }
    }

    pub(super) fn open(&mut self, vhost: String) {
        match self.enter(&vhost) {
            Ok(()) => {
                tracing::debug!(connection = self.link.id, peer = %self.peer, user = self.user, vhost, protocol = self.origin.protocol(), "open");
                self.vhost = vhost;
                self.was_open = true;
                self.connection.open_ok(&mut self.out);
                self.show();
            }
            Err(refusal) => {
                self.shared.presence.leave(self.link.id);
                self.fail(&refusal, (10, 40));
            }
        }
    }

    fn enter(&self, vhost: &str) -> Result<(), Refusal> {
        let (vhost_limits, user_limits) = self.limits_of(vhost)?;
        self.shared.presence.enter(&self.link, (vhost, vhost_limits), (&self.user, user_limits))?;
        // Whoever deletes them looks for connections afterwards: one that is not found then looks here.
        self.limits_of(vhost).map(drop)
    }

    fn limits_of(&self, vhost: &str) -> Result<(VhostLimits, UserLimits), Refusal> {
        let topology = self.shared.topology();
        let missing = || Refusal::connection(ReplyCode::NotAllowed, format!("vhost {vhost} not found"));
        let settings = topology.vhost_settings(vhost).ok_or_else(missing)?;
        let user = topology.user(&self.user).ok_or_else(|| user_is_deleted(&self.user))?;
        if !Access::of(&self.rights.identity, vhost, &topology).may_enter() {
            return Err(not_entered(vhost, &self.user));
        }
        Ok((settings.limits, user.limits))
    }

    /// A channel that is opened must be within the user's limit.
    pub(super) fn check_channel_limit(&self, input: &Input<'_>) -> Result<(), Refusal> {
        let Input::Method { channel: number, method } = input else { return Ok(()) };
        let opens = matches!(&**method, AMQPClass::Channel(channel::AMQPMethod::Open(_)));
        // Behind the broker's own close an open is dropped like all else.
        if !opens || !self.connection.is_channel_free(*number) {
            return Ok(());
        }
        let limits = self.shared.topology().user(&self.user).map(|user| user.limits).unwrap_or_default();
        self.shared.presence.open_channel(self.link.id, limits)
    }
}
