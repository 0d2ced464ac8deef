//! What somebody may do in one vhost.

use std::sync::Arc;

use super::identity::{Identity, Token};
use crate::broker::arguments::object_text;
use crate::broker::rights::{DEFAULT_EXCHANGE, Right, VhostRights};
use crate::broker::topology::Topology;
use crate::protocol::error::Refusal;
use crate::protocol::reply_code::ReplyCode;

/// What an identity may do in a vhost, as it was in one version of the topology.
#[derive(Clone, Debug)]
pub(crate) struct Access(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Nothing,
    /// What the user was given.
    Rights(Arc<VhostRights>),
    /// What the token says, in this vhost.
    Token(Arc<Token>, Arc<str>),
}

impl Access {
    pub(crate) fn of(identity: &Identity, vhost: &str, topology: &Topology) -> Self {
        if let Some(token) = &identity.token {
            return Self(Kind::Token(Arc::clone(token), vhost.into()));
        }
        let rights = topology.user(&identity.name).and_then(|user| user.rights_in(vhost));
        Self(rights.map_or(Kind::Nothing, |rights| Kind::Rights(Arc::clone(rights))))
    }

    /// Whether the vhost may be entered.
    pub(crate) fn may_enter(&self) -> bool {
        match &self.0 {
            Kind::Nothing => false,
            Kind::Rights(rights) => rights.permission.is_some(),
            Kind::Token(token, vhost) => token.scopes.may_enter(vhost),
        }
    }

    /// Whether that may be done with the queue or exchange of this name.
    pub(crate) fn allows(&self, right: Right, name: &str) -> bool {
        let name = if name.is_empty() { DEFAULT_EXCHANGE } else { name };
        match &self.0 {
            Kind::Nothing => false,
            Kind::Rights(rights) => rights.allow(right, name),
            Kind::Token(token, vhost) => token.scopes.allow(vhost, right, name),
        }
    }

    /// Whether some keys of topic exchanges may not be used.
    pub(crate) fn has_topics(&self) -> bool {
        match &self.0 {
            Kind::Nothing => false,
            Kind::Rights(rights) => !rights.topics.is_empty(),
            Kind::Token(..) => true,
        }
    }

    /// Whether that may be done with this key of a topic exchange.
    pub(crate) fn allows_key(&self, right: Right, exchange: &str, key: &str) -> bool {
        match &self.0 {
            Kind::Nothing => true,
            Kind::Rights(rights) => rights.allow_key(right, exchange, key),
            Kind::Token(token, vhost) => token.scopes.allow_key(vhost, right, exchange, key),
        }
    }

    /// Whether both allow the same, as far as it costs nothing to know.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Kind::Rights(own), Kind::Rights(others)) => Arc::ptr_eq(own, others),
            (Kind::Token(own, vhost), Kind::Token(others, other)) => {
                Arc::ptr_eq(own, others) && vhost == other
            }
            (Kind::Nothing, Kind::Nothing) => true,
            (Kind::Nothing | Kind::Rights(_) | Kind::Token(..), _) => false,
        }
    }
}

/// A kind of object that rights are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// A queue.
    Queue,
    /// An exchange.
    Exchange,
}

impl ObjectKind {
    fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Exchange => "exchange",
        }
    }
}

/// The refusal of RabbitMQ 4.
pub(crate) fn refused(right: Right, kind: ObjectKind, name: &str, vhost: &str, user: &str) -> Refusal {
    let name = if name.is_empty() && kind == ObjectKind::Exchange { DEFAULT_EXCHANGE } else { name };
    let object = object_text(kind.name(), name, vhost);
    let text = format!("{} access to {object} refused for user '{user}'", right.name());
    Refusal::channel(ReplyCode::AccessRefused, text)
}

/// The refusal of RabbitMQ 4 for a routing key.
pub(crate) fn key_refused(right: Right, exchange: &str, key: &str, vhost: &str, user: &str) -> Refusal {
    let text = format!(
        "{} access to topic '{key}' in exchange '{exchange}' in vhost '{vhost}' refused for user '{user}'",
        right.name()
    );
    Refusal::channel(ReplyCode::AccessRefused, text)
}

/// The refusal to let a user in.
pub(crate) fn not_entered(vhost: &str, user: &str) -> Refusal {
    let text = format!("access to vhost '{vhost}' refused for user '{user}'");
    Refusal::connection(ReplyCode::NotAllowed, text)
}
