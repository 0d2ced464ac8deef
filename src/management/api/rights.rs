//! What the caller may do with exchanges and queues: the rights that its user has as a client.

use amq_protocol::types::{AMQPValue, FieldTable};

use crate::broker::rights::Right;
use crate::broker::topology::Destination;
use crate::management::http::{Api, Caller, Failure};
use crate::node::ObjectKind;

/// The argument that names where dead letters go.
const DEAD_LETTER_EXCHANGE: &str = "x-dead-letter-exchange";
/// The argument that names where messages go that nobody wants.
const ALTERNATE_EXCHANGE: &str = "alternate-exchange";

/// One caller's rights in one vhost.
#[derive(Clone, Copy)]
pub(super) struct Rights<'a> {
    api: &'a Api,
    caller: &'a Caller,
    vhost: &'a str,
}

impl<'a> Rights<'a> {
    pub(super) fn new(api: &'a Api, caller: &'a Caller, vhost: &'a str) -> Self {
        Self { api, caller, vhost }
    }

    fn check(&self, right: Right, kind: ObjectKind, name: &str) -> Result<(), Failure> {
        Ok(self.api.control.authorize(&self.caller.identity, right, kind, self.vhost, name)?)
    }

    /// Deleting an exchange.
    pub(super) fn configure_exchange(&self, name: &str) -> Result<(), Failure> {
        self.check(Right::Configure, ObjectKind::Exchange, name)
    }

    /// Making an exchange; where another takes what it cannot route, also reading from it and writing to that one.
    pub(super) fn declare_exchange(&self, name: &str, arguments: &FieldTable) -> Result<(), Failure> {
        self.configure_exchange(name)?;
        let Some(alternate) = text(arguments, ALTERNATE_EXCHANGE) else { return Ok(()) };
        self.check(Right::Read, ObjectKind::Exchange, name)?;
        self.check(Right::Write, ObjectKind::Exchange, &alternate)
    }

    /// Deleting a queue.
    pub(super) fn configure_queue(&self, name: &str) -> Result<(), Failure> {
        self.check(Right::Configure, ObjectKind::Queue, name)
    }

    /// Making a queue; where an exchange takes its dead letters, also reading from it and writing to that one.
    pub(super) fn declare_queue(&self, name: &str, arguments: &FieldTable) -> Result<(), Failure> {
        self.configure_queue(name)?;
        let Some(exchange) = text(arguments, DEAD_LETTER_EXCHANGE) else { return Ok(()) };
        self.check(Right::Read, ObjectKind::Queue, name)?;
        self.check(Right::Write, ObjectKind::Exchange, &exchange)
    }

    /// Emptying a queue.
    pub(super) fn read_queue(&self, name: &str) -> Result<(), Failure> {
        self.check(Right::Read, ObjectKind::Queue, name)
    }

    /// Binding and unbinding.
    pub(super) fn bind(&self, source: &str, destination: &Destination) -> Result<(), Failure> {
        let kind = match destination {
            Destination::Queue(_) => ObjectKind::Queue,
            Destination::Exchange(_) => ObjectKind::Exchange,
        };
        self.check(Right::Write, kind, destination.name())?;
        self.check(Right::Read, ObjectKind::Exchange, source)
    }
}

fn text(arguments: &FieldTable, name: &str) -> Option<String> {
    match arguments.inner().get(name)? {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        _ => None,
    }
}
