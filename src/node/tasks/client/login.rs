//! Who may come in.

use std::sync::Arc;

use amq_protocol::protocol::{AMQPClass, channel};

use super::rights::Rights;
use super::session::Session;
use crate::broker::channel::routes::RouteCache;
use crate::broker::topology::{UserLimits, VhostLimits};
use crate::config::CertificateUser;
use crate::node::auth::{self, Access, Identity, LoginProtocol, LoginRefused, ObjectKind, not_entered};
use crate::node::presence::user_is_deleted;
use crate::protocol::error::Refusal;
use crate::protocol::inbound::Input;
use crate::protocol::reply_code::ReplyCode;

/// The user is whom the certificate names.
const EXTERNAL: &str = "EXTERNAL";
/// The user is the one whom everybody may be.
const ANONYMOUS: &str = "ANONYMOUS";

impl Session {
    pub(super) async fn login(&mut self, mechanism: &'static str, user: String, password: Vec<u8>) {
        let source = self.peer.ip();
        let found = match mechanism {
            EXTERNAL => self.by_certificate(),
            ANONYMOUS => self.anonymous(),
            _ => auth::authenticate(&self.shared, LoginProtocol::Amqp, &user, &password, source).await,
        };
        match found {
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

    fn by_certificate(&self) -> Result<Identity, LoginRefused> {
        let name = self.certificate_name();
        let name = name.ok_or_else(|| LoginRefused("the certificate names no user".to_owned()))?;
        auth::without_password(&self.shared, &name, self.peer.ip())
    }

    fn anonymous(&self) -> Result<Identity, LoginRefused> {
        let name = self.shared.config.security.anonymous_user.as_deref();
        let name = name.ok_or_else(|| LoginRefused("nobody is anonymous here".to_owned()))?;
        auth::without_password(&self.shared, name, self.peer.ip())
    }

    /// Offers the mechanisms that this client may use beside names and passwords.
    pub(super) fn offer_mechanisms(&mut self) {
        if self.certificate_name().is_some() {
            self.connection.offer(EXTERNAL);
        }
        if self.shared.config.security.anonymous_user.is_some() {
            self.connection.offer(ANONYMOUS);
        }
    }

    /// The user that the client's certificate names.
    fn certificate_name(&self) -> Option<String> {
        let certificate = self.origin.tls.as_ref()?.certificate.as_ref()?;
        match self.shared.config.security.certificate_user {
            CertificateUser::CommonName => certificate.common_name.clone(),
            CertificateUser::Subject => Some(certificate.subject.clone()),
            CertificateUser::DnsName => certificate.dns_names.first().cloned(),
            CertificateUser::Email => certificate.emails.first().cloned(),
        }
    }

    /// `connection.update-secret`: another token, for the same user.
    pub(super) async fn update_secret(&mut self, secret: Vec<u8>) {
        // What passwords were right for is not asked again, as in RabbitMQ.
        if self.rights.identity.token.is_some() {
            let source = self.peer.ip();
            let found = auth::authenticate_token(&self.shared, LoginProtocol::Amqp, &secret, source).await;
            match found {
                Ok(identity) if *identity.name == *self.user => self.rights = Rights::of(identity),
                Ok(_) => return self.refuse_secret("the token is of another user"),
                Err(reason) => return self.refuse_secret(&reason.to_string()),
            }
            self.repeat = None;
            self.channels.values_mut().for_each(|channel| channel.routes = RouteCache::default());
        }
        self.connection.update_secret_ok(&mut self.out);
        self.cancel_unreadable().await;
    }

    fn refuse_secret(&mut self, reason: &str) {
        tracing::warn!(peer = %self.peer, user = self.user, reason, "new secret refused");
        let text = "New secret was refused by one of the backends";
        self.fail(&Refusal::connection(ReplyCode::NotAllowed, text), (10, 70));
    }

    /// Ends the consumers of queues that may not be read any more.
    async fn cancel_unreadable(&mut self) {
        let consumers = self.channels.iter().flat_map(|(number, channel)| {
            channel
                .consumers
                .iter()
                .map(|consumer| (*number, consumer.id, consumer.target, consumer.tag.clone()))
        });
        let consumers: Vec<_> = consumers.collect();
        for (number, id, target, tag) in consumers {
            let name = self.shared.topology().queue_by_id(target.id).map(|queue| Arc::clone(&queue.name));
            let Some(name) = name else { continue };
            if self.check_read(ObjectKind::Queue, &name).is_err() {
                self.end_consumer(number, id, target).await;
                if self.connection.has_capability("consumer_cancel_notify") {
                    self.out.cancel(number, &tag, true);
                }
            }
        }
    }

    /// When the token of the user expires, if it has one.
    pub(super) fn expires_ms(&self) -> Option<u64> {
        self.rights.identity.expires_ms().filter(|_| self.connection.is_running())
    }

    /// Ends the connection when the token of its user has expired.
    pub(super) async fn end_if_expired(&mut self) {
        if self.expires_ms().is_some_and(|at_ms| at_ms <= self.now_ms) {
            let refusal = expired(&self.user);
            tracing::info!(connection = self.link.id, peer = %self.peer, %refusal, "closed");
            self.fail(&refusal, (0, 0));
            self.release().await;
        }
    }

    pub(super) fn open(&mut self, vhost: String) {
        match self.enter(&vhost) {
            Ok(()) => {
                tracing::debug!(connection = self.link.id, peer = %self.peer, user = self.user, vhost, protocol = self.origin.protocol(), "open");
                self.vhost = vhost;
                self.tracing_seen = u64::MAX;
                self.look_at_tracing();
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
        let limits = match &self.rights.identity.token {
            Some(_) => UserLimits::default(),
            None => topology.user(&self.user).ok_or_else(|| user_is_deleted(&self.user))?.limits,
        };
        if !Access::of(&self.rights.identity, vhost, &topology).may_enter() {
            return Err(not_entered(vhost, &self.user));
        }
        Ok((settings.limits, limits))
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

fn expired(user: &str) -> Refusal {
    Refusal::connection(ReplyCode::ConnectionForced, format!("the token of user '{user}' has expired"))
}
