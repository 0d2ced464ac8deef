//! Rows: what is kept of a topology, one row an object. Keys begin with one byte for the kind, so that the rows of one
//! kind stand together, and those that others refer to come first.

use amq_protocol::types::FieldTable;

use crate::broker::exchange::ExchangeKind;
use crate::broker::ids::QueueId;
use crate::broker::policy::{PolicyScope, PolicySpec};
use crate::protocol::wire::{put_u8, put_u64};

use super::Destination;
use super::codec::{RowError, RowReader, put_table, put_text};
use super::settings::{UserLimits, VhostSettings};

/// The version of every row's value: its first byte.
const VERSION: u8 = 1;

const COUNTER: u8 = 1;
const USER: u8 = 2;
const VHOST: u8 = 3;
const EXCHANGE: u8 = 4;
const QUEUE: u8 = 5;
const BINDING: u8 = 6;
const POLICY: u8 = 7;
const VHOST_SETTINGS: u8 = 8;
const USER_LIMITS: u8 = 9;
const COMPANION: u8 = 20;

const TO_QUEUE: u8 = 1;
const TO_EXCHANGE: u8 = 2;

const AUTO_DELETE: u8 = 1;
const INTERNAL: u8 = 2;
/// It holds messages back: the number of the queue where they wait follows.
const DELAYS: u8 = 4;

/// One durable object. Exchanges, queues and bindings in rows are durable by being there.
#[derive(Clone, Debug, PartialEq)]
pub enum Row {
    /// Queue numbers below are used up.
    Counter { next_queue: u64 },
    /// A user.
    User { name: String, password_hash: String, tags: String },
    /// A vhost; its predeclared exchanges have no rows.
    Vhost { name: String },
    /// An exchange.
    Exchange {
        vhost: String,
        name: String,
        kind: ExchangeKind,
        auto_delete: bool,
        internal: bool,
        /// The queue where its messages wait for their delays to end, if it delays any.
        delays: Option<QueueId>,
        arguments: FieldTable,
    },
    /// A queue; never an exclusive one.
    Queue { id: QueueId, vhost: String, name: String, auto_delete: bool, arguments: FieldTable },
    /// The number of the queue that remembers for an exchange.
    Companion { vhost: String, exchange: String, id: QueueId },
    /// A binding between durable ends.
    Binding {
        vhost: String,
        source: String,
        destination: Destination,
        routing_key: String,
        arguments: FieldTable,
    },
    /// A policy.
    Policy { vhost: String, scope: PolicyScope, name: String, spec: PolicySpec },
    /// What a vhost is set to, if anything.
    VhostSettings { vhost: String, settings: VhostSettings },
    /// What a user may open at a time, if that is limited.
    UserLimits { user: String, limits: UserLimits },
}

/// A row's key: opaque, ordered bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey(pub Vec<u8>);

impl Row {
    /// The key: names the object, says nothing about it.
    #[must_use]
    pub fn key(&self) -> RowKey {
        let mut key = vec![self.kind()];
        match self {
            Self::Counter { .. } => {}
            Self::User { name, .. } | Self::Vhost { name } => put_text(&mut key, name),
            Self::Exchange { vhost, name, .. }
            | Self::Queue { vhost, name, .. }
            | Self::Companion { vhost, exchange: name, .. } => {
                put_text(&mut key, vhost);
                put_text(&mut key, name);
            }
            Self::Binding { vhost, source, destination, routing_key, arguments } => {
                put_text(&mut key, vhost);
                put_text(&mut key, source);
                put_destination(&mut key, destination);
                put_text(&mut key, routing_key);
                put_table(&mut key, arguments);
            }
            Self::Policy { vhost, scope, name, .. } => {
                put_text(&mut key, vhost);
                put_u8(&mut key, scope_code(*scope));
                put_text(&mut key, name);
            }
            Self::VhostSettings { vhost: name, .. } | Self::UserLimits { user: name, .. } => {
                put_text(&mut key, name);
            }
        }
        RowKey(key)
    }

    /// What the key does not say.
    #[must_use]
    pub fn value(&self) -> Vec<u8> {
        let mut value = vec![VERSION];
        match self {
            Self::Counter { next_queue } => put_u64(&mut value, *next_queue),
            Self::Companion { id, .. } => put_u64(&mut value, id.0),
            Self::Vhost { .. } | Self::Binding { .. } => {}
            Self::User { password_hash, tags, .. } => {
                put_text(&mut value, password_hash);
                put_text(&mut value, tags);
            }
            Self::Exchange { kind, auto_delete, internal, delays, arguments, .. } => {
                put_u8(&mut value, kind_code(*kind));
                let delays_flag = delays.map_or(0, |_| DELAYS);
                put_u8(&mut value, flags(*auto_delete, *internal) | delays_flag);
                delays.iter().for_each(|id| put_u64(&mut value, id.0));
                put_table(&mut value, arguments);
            }
            Self::Queue { id, auto_delete, arguments, .. } => {
                put_u64(&mut value, id.0);
                put_u8(&mut value, flags(*auto_delete, false));
                put_table(&mut value, arguments);
            }
            Self::Policy { spec, .. } => put_spec(&mut value, spec),
            Self::VhostSettings { settings, .. } => settings.put(&mut value),
            Self::UserLimits { limits, .. } => limits.put(&mut value),
        }
        value
    }

    /// Reads a row back.
    ///
    /// # Errors
    /// When a byte of key or value is not what a row has.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, RowError> {
        let mut key = RowReader::new(key);
        let mut value = RowReader::new(value);
        value.version(VERSION)?;
        let row = Self::read(&mut key, &mut value)?;
        key.end()?;
        value.end()?;
        Ok(row)
    }

    fn read(key: &mut RowReader<'_>, value: &mut RowReader<'_>) -> Result<Self, RowError> {
        match key.u8()? {
            COUNTER => Ok(Self::Counter { next_queue: value.u64()? }),
            USER => Ok(Self::User { name: key.text()?, password_hash: value.text()?, tags: value.text()? }),
            VHOST => Ok(Self::Vhost { name: key.text()? }),
            EXCHANGE => read_exchange(key, value),
            QUEUE => Ok(Self::Queue {
                id: QueueId(value.u64()?),
                vhost: key.text()?,
                name: key.text()?,
                auto_delete: read_flags(value.u8()?, AUTO_DELETE)? & AUTO_DELETE != 0,
                arguments: value.table()?,
            }),
            COMPANION => {
                Ok(Self::Companion { vhost: key.text()?, exchange: key.text()?, id: QueueId(value.u64()?) })
            }
            BINDING => Ok(Self::Binding {
                vhost: key.text()?,
                source: key.text()?,
                destination: read_destination(key)?,
                routing_key: key.text()?,
                arguments: key.table()?,
            }),
            POLICY => Ok(Self::Policy {
                vhost: key.text()?,
                scope: read_scope(key.u8()?)?,
                name: key.text()?,
                spec: read_spec(value)?,
            }),
            VHOST_SETTINGS => {
                Ok(Self::VhostSettings { vhost: key.text()?, settings: VhostSettings::read(value)? })
            }
            USER_LIMITS => Ok(Self::UserLimits { user: key.text()?, limits: UserLimits::read(value)? }),
            other => Err(RowError::UnknownKind(other)),
        }
    }

    /// Its kind's place in the order of keys.
    pub(super) fn kind(&self) -> u8 {
        match self {
            Self::Counter { .. } => COUNTER,
            Self::User { .. } => USER,
            Self::Vhost { .. } => VHOST,
            Self::Exchange { .. } => EXCHANGE,
            Self::Queue { .. } => QUEUE,
            Self::Binding { .. } => BINDING,
            Self::Companion { .. } => COMPANION,
            Self::Policy { .. } => POLICY,
            Self::VhostSettings { .. } => VHOST_SETTINGS,
            Self::UserLimits { .. } => USER_LIMITS,
        }
    }
}

fn read_exchange(key: &mut RowReader<'_>, value: &mut RowReader<'_>) -> Result<Row, RowError> {
    let (vhost, name) = (key.text()?, key.text()?);
    let kind = read_kind(value.u8()?)?;
    let flags = read_flags(value.u8()?, AUTO_DELETE | INTERNAL | DELAYS)?;
    let (auto_delete, internal) = (flags & AUTO_DELETE != 0, flags & INTERNAL != 0);
    let delays = if flags & DELAYS == 0 { None } else { Some(QueueId(value.u64()?)) };
    Ok(Row::Exchange { vhost, name, kind, auto_delete, internal, delays, arguments: value.table()? })
}

fn scope_code(scope: PolicyScope) -> u8 {
    match scope {
        PolicyScope::User => 1,
        PolicyScope::Operator => 2,
    }
}

fn read_scope(code: u8) -> Result<PolicyScope, RowError> {
    match code {
        1 => Ok(PolicyScope::User),
        2 => Ok(PolicyScope::Operator),
        other => Err(RowError::UnknownKind(other)),
    }
}

fn put_spec(out: &mut Vec<u8>, spec: &PolicySpec) {
    put_text(out, &spec.pattern);
    put_text(out, &spec.apply_to);
    put_u64(out, spec.priority.cast_unsigned());
    put_table(out, &spec.definition);
}

fn read_spec(value: &mut RowReader<'_>) -> Result<PolicySpec, RowError> {
    Ok(PolicySpec {
        pattern: value.text()?,
        apply_to: value.text()?,
        priority: value.u64()?.cast_signed(),
        definition: value.table()?,
    })
}

fn put_destination(out: &mut Vec<u8>, destination: &Destination) {
    let (kind, name) = match destination {
        Destination::Queue(name) => (TO_QUEUE, name),
        Destination::Exchange(name) => (TO_EXCHANGE, name),
    };
    put_u8(out, kind);
    put_text(out, name);
}

fn read_destination(key: &mut RowReader<'_>) -> Result<Destination, RowError> {
    match key.u8()? {
        TO_QUEUE => Ok(Destination::Queue(key.text()?)),
        TO_EXCHANGE => Ok(Destination::Exchange(key.text()?)),
        other => Err(RowError::UnknownKind(other)),
    }
}

fn kind_code(kind: ExchangeKind) -> u8 {
    match kind {
        ExchangeKind::Direct => 1,
        ExchangeKind::Fanout => 2,
        ExchangeKind::Topic => 3,
        ExchangeKind::Headers => 4,
        ExchangeKind::ConsistentHash => 5,
        ExchangeKind::ModulusHash => 6,
        ExchangeKind::Random => 7,
        ExchangeKind::LocalRandom => 8,
        ExchangeKind::RecentHistory => 20,
        ExchangeKind::Deduplication => 21,
    }
}

fn read_kind(code: u8) -> Result<ExchangeKind, RowError> {
    match code {
        1 => Ok(ExchangeKind::Direct),
        2 => Ok(ExchangeKind::Fanout),
        3 => Ok(ExchangeKind::Topic),
        4 => Ok(ExchangeKind::Headers),
        5 => Ok(ExchangeKind::ConsistentHash),
        6 => Ok(ExchangeKind::ModulusHash),
        7 => Ok(ExchangeKind::Random),
        8 => Ok(ExchangeKind::LocalRandom),
        20 => Ok(ExchangeKind::RecentHistory),
        21 => Ok(ExchangeKind::Deduplication),
        other => Err(RowError::UnknownKind(other)),
    }
}

fn flags(auto_delete: bool, internal: bool) -> u8 {
    u8::from(auto_delete) * AUTO_DELETE + u8::from(internal) * INTERNAL
}

/// A flag that is not known would be lost: better refused.
fn read_flags(flags: u8, known: u8) -> Result<u8, RowError> {
    if flags & !known == 0 { Ok(flags) } else { Err(RowError::UnknownKind(flags)) }
}
