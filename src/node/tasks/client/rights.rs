//! What a connection's user may do: looked up where a route is found or a method is carried out, never for each message.

use std::borrow::Cow;

use amq_protocol::protocol::{exchange, queue};
use amq_protocol::types::{AMQPValue, FieldTable};

use super::session::Session;
use crate::broker::exchange::ExchangeKind;
use crate::broker::rights::Right;
use crate::broker::topology::{Command, Destination};
use crate::node::auth::{Access, Identity, ObjectKind, key_refused, refused};
use crate::node::shared::Shared;
use crate::protocol::error::Refusal;

/// So many objects are remembered to be allowed, as in RabbitMQ.
const GRANTED_MAX: usize = 12;

/// Names that only the broker gives.
const RESERVED: &str = "amq.";

/// The user of a connection, and what is known of its rights.
#[derive(Debug)]
pub(super) struct Rights {
    pub(super) identity: Identity,
    /// In the vhost that is open.
    access: Option<Access>,
    /// The version of the topology that the access is of.
    version: u64,
    /// What was found to be allowed, the latest first.
    granted: Vec<(Right, Box<str>)>,
}

impl Rights {
    /// Those of somebody; what they are in a vhost is found out when it is needed.
    pub(super) fn of(identity: Identity) -> Self {
        Self { identity, access: None, version: 0, granted: Vec::new() }
    }

    /// Whether a key may be published with, as it was when the exchange was asked for.
    pub(super) fn may_write_key(
        &self,
        shared: &Shared,
        exchange: (&str, &str),
        key: &str,
    ) -> Result<(), Refusal> {
        self.may_use_key(shared, Right::Write, exchange, key)
    }

    /// Whether a key of an exchange may be used, if that is a topic exchange.
    fn may_use_key(
        &self,
        shared: &Shared,
        right: Right,
        (vhost, exchange): (&str, &str),
        key: &str,
    ) -> Result<(), Refusal> {
        let Some(access) = self.access.as_ref().filter(|access| access.has_topics()) else { return Ok(()) };
        let kind = shared.topology().exchange(vhost, exchange).map(|exchange| exchange.kind);
        if kind != Some(ExchangeKind::Topic) || access.allows_key(right, exchange, key) {
            return Ok(());
        }
        Err(key_refused(right, exchange, key, vhost, &self.identity.name))
    }

    fn grants(&mut self, right: Right, name: &str) -> bool {
        let known = self.granted.iter().position(|(of, known)| *of == right && **known == *name);
        if let Some(at) = known {
            self.granted.get_mut(..=at).into_iter().for_each(|ahead| ahead.rotate_right(1));
            return true;
        }
        let is_granted = self.access.as_ref().is_some_and(|access| access.allows(right, name));
        if is_granted {
            self.granted.truncate(GRANTED_MAX - 1);
            self.granted.insert(0, (right, name.into()));
        }
        is_granted
    }
}

impl Session {
    /// What RabbitMQ refuses before it looks at rights, the topology refuses.
    pub(super) fn may_declare_exchange(&mut self, declare: &exchange::Declare) -> Result<(), Refusal> {
        let name = stripped(declare.exchange.as_str());
        if name.is_empty() {
            return Ok(());
        }
        if declare.passive {
            return self.may_look(ObjectKind::Exchange, &name);
        }
        self.check_configure(ObjectKind::Exchange, &name)?;
        let other = exchange_in(&declare.arguments, "alternate-exchange");
        let Some(other) = other.filter(|_| self.shared.topology().exchange(&self.vhost, &name).is_none())
        else {
            return Ok(());
        };
        self.check_read(ObjectKind::Exchange, &name)?;
        self.check_write(ObjectKind::Exchange, &other)
    }

    pub(super) fn may_delete_exchange(&mut self, name: &str) -> Result<(), Refusal> {
        let name = stripped(name);
        if name.is_empty() || name.starts_with(RESERVED) {
            return Ok(());
        }
        self.check_configure(ObjectKind::Exchange, &name)
    }

    pub(super) fn may_declare_queue(
        &mut self,
        name: &str,
        generated: bool,
        declare: &queue::Declare,
    ) -> Result<(), Refusal> {
        let name = stripped(name);
        if declare.passive {
            return self.may_look(ObjectKind::Queue, &name);
        }
        if !generated && name.starts_with(RESERVED) {
            return Ok(());
        }
        self.check_configure(ObjectKind::Queue, &name)?;
        let letters = exchange_in(&declare.arguments, "x-dead-letter-exchange");
        let Some(letters) = letters.filter(|_| self.shared.topology().queue(&self.vhost, &name).is_none())
        else {
            return Ok(());
        };
        self.check_read(ObjectKind::Queue, &name)?;
        self.check_write(ObjectKind::Exchange, &letters)
    }

    /// Binding and unbinding need write on the destination and read on the source, and the key of a topic exchange.
    pub(super) fn may_carry_out(&mut self, command: &Command) -> Result<(), Refusal> {
        let (Command::Bind { source, destination, routing_key, .. }
        | Command::Unbind { source, destination, routing_key, .. }) = command
        else {
            return Ok(());
        };
        let kind = match destination {
            Destination::Queue(_) => ObjectKind::Queue,
            Destination::Exchange(_) => ObjectKind::Exchange,
        };
        let source = stripped(source);
        self.check_write(kind, &stripped(destination.name()))?;
        self.check_read(ObjectKind::Exchange, &source)?;
        let exchange = (self.vhost.as_str(), &*source);
        self.rights.may_use_key(&self.shared, Right::Read, exchange, routing_key)
    }

    pub(super) fn check_configure(&mut self, kind: ObjectKind, name: &str) -> Result<(), Refusal> {
        self.may(Right::Configure, kind, name)
    }

    pub(super) fn check_write(&mut self, kind: ObjectKind, name: &str) -> Result<(), Refusal> {
        self.may(Right::Write, kind, name)
    }

    pub(super) fn check_read(&mut self, kind: ObjectKind, name: &str) -> Result<(), Refusal> {
        self.may(Right::Read, kind, name)
    }

    /// Whether any right at all is enough: so for a passive declare.
    fn may_look(&mut self, kind: ObjectKind, name: &str) -> Result<(), Refusal> {
        let others = [Right::Write, Right::Read];
        self.check_configure(kind, name).or_else(|refusal| {
            let may = others.into_iter().any(|right| self.may(right, kind, name).is_ok());
            if may { Ok(()) } else { Err(refusal) }
        })
    }

    fn may(&mut self, right: Right, kind: ObjectKind, name: &str) -> Result<(), Refusal> {
        self.refresh_rights();
        if self.rights.grants(right, name) {
            return Ok(());
        }
        Err(refused(right, kind, name, &self.vhost, &self.rights.identity.name))
    }

    /// Looks anew at what the user may do, if something was declared or changed since.
    fn refresh_rights(&mut self) {
        let version = self.shared.version();
        let rights = &mut self.rights;
        if rights.access.is_some() && rights.version == version {
            return;
        }
        let access = Access::of(&rights.identity, &self.vhost, &self.shared.topology());
        if !rights.access.as_ref().is_some_and(|before| before.is_same(&access)) {
            rights.granted.clear();
        }
        rights.access = Some(access);
        rights.version = version;
    }
}

/// A name as the topology takes it: rights are for that one.
pub(super) fn stripped(name: &str) -> Cow<'_, str> {
    if name.contains(['\r', '\n']) { name.replace(['\r', '\n'], "").into() } else { name.into() }
}

/// The exchange that an argument names; one of another type is refused elsewhere.
fn exchange_in(arguments: &FieldTable, name: &str) -> Option<String> {
    match arguments.inner().get(name)? {
        AMQPValue::LongString(name) => Some(name.to_string()),
        AMQPValue::ShortString(name) => Some(name.to_string()),
        _ => None,
    }
}
