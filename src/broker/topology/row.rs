//! Rows: what is kept of a topology, one row an object. Keys begin with one byte for the kind, so that the rows of one
//! kind stand together, and those that others refer to come first.

use amq_protocol::types::FieldTable;

use crate::broker::exchange::ExchangeKind;
use crate::broker::ids::{ConnectionId, Home, QueueId};
use crate::broker::policy::{PolicyScope, PolicySpec};
use crate::broker::rights::{PermissionSpec, TopicPermissionSpec};
use crate::protocol::wire::{put_u8, put_u16, put_u64};

use super::Destination;
use super::codec::{RowError, RowReader, put_table, put_text};
use super::settings::{UserLimits, VhostSettings};

/// The version of a row's value: its first byte.
const VERSION: u8 = 1;
/// Rows of a cluster: they say where queues are, and may be of what no restart of a node by itself survives.
/// Rows of users: what they may do is in rows of its own.
const SHARED: u8 = 2;

const COUNTER: u8 = 1;
const USER: u8 = 2;
const VHOST: u8 = 3;
const EXCHANGE: u8 = 4;
const QUEUE: u8 = 5;
const BINDING: u8 = 6;
const POLICY: u8 = 7;
const VHOST_SETTINGS: u8 = 8;
const USER_LIMITS: u8 = 9;
const PARAMETER: u8 = 12;
const PERMISSION: u8 = 10;
const TOPIC_PERMISSION: u8 = 11;
const COMPANION: u8 = 20;
const CLUSTER: u8 = 64;

const TO_QUEUE: u8 = 1;
const TO_EXCHANGE: u8 = 2;

const AUTO_DELETE: u8 = 1;
const INTERNAL: u8 = 2;
/// It holds messages back: the number of the queue where they wait follows.
const DELAYS: u8 = 4;
/// It is not durable.
const TRANSIENT: u8 = 8;
/// It belongs to a connection, whose number follows.
const EXCLUSIVE: u8 = 16;

const HOME_NODE: u8 = 1;
const HOME_GROUP: u8 = 2;

/// One object that is kept.
#[derive(Clone, Debug, PartialEq)]
pub enum Row {
    /// Queue numbers below are used up.
    Counter { next_queue: u64 },
    /// A user. One that is not settled was made when there were no permissions, and may do everything.
    User { name: String, password_hash: String, tags: String, is_settled: bool },
    /// What a user may do in a vhost.
    Permission { user: String, vhost: String, spec: PermissionSpec },
    /// Which keys of a topic exchange a user may use.
    TopicPermission { user: String, vhost: String, exchange: String, spec: TopicPermissionSpec },
    /// A vhost; its predeclared exchanges have no rows.
    Vhost { name: String },
    /// An exchange.
    Exchange {
        vhost: String,
        name: String,
        kind: ExchangeKind,
        durable: bool,
        auto_delete: bool,
        internal: bool,
        /// The queue where its messages wait for their delays to end, if it delays any, and its home.
        delays: Option<(QueueId, Option<Home>)>,
        arguments: FieldTable,
    },
    /// A queue. Without a cluster its home is not told, and it is neither transient nor exclusive.
    Queue {
        id: QueueId,
        vhost: String,
        name: String,
        durable: bool,
        exclusive: Option<ConnectionId>,
        auto_delete: bool,
        arguments: FieldTable,
        home: Option<Home>,
    },
    /// The number of the queue that remembers for an exchange.
    Companion { vhost: String, exchange: String, id: QueueId, home: Option<Home> },
    /// A binding.
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
    /// A global parameter; the value is JSON.
    Parameter { name: String, value: String },
    /// What the nodes of a cluster keep beside the topology, which does not look into it.
    Cluster { key: Vec<u8>, value: Vec<u8> },
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
            Self::User { name, .. } | Self::Vhost { name } | Self::Parameter { name, .. } => {
                put_text(&mut key, name);
            }
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
                put_scope(&mut key, *scope);
                put_text(&mut key, name);
            }
            Self::Permission { user, vhost, .. } => {
                put_text(&mut key, user);
                put_text(&mut key, vhost);
            }
            Self::TopicPermission { user, vhost, exchange, .. } => {
                put_text(&mut key, user);
                put_text(&mut key, vhost);
                put_text(&mut key, exchange);
            }
            Self::VhostSettings { vhost: name, .. } | Self::UserLimits { user: name, .. } => {
                put_text(&mut key, name);
            }
            Self::Cluster { key: rest, .. } => key.extend_from_slice(rest),
        }
        RowKey(key)
    }

    /// What the key does not say.
    #[must_use]
    pub fn value(&self) -> Vec<u8> {
        let is_shared = self.is_shared();
        let mut value = vec![if is_shared { SHARED } else { VERSION }];
        match self {
            Self::Counter { next_queue } => put_u64(&mut value, *next_queue),
            Self::Companion { id, home, .. } => {
                put_u64(&mut value, id.0);
                put_home(&mut value, *home, is_shared);
            }
            Self::Vhost { .. } | Self::Binding { .. } => {}
            Self::User { password_hash, tags, .. } => {
                put_text(&mut value, password_hash);
                put_text(&mut value, tags);
            }
            Self::Exchange { kind, durable, auto_delete, internal, delays, arguments, .. } => {
                put_u8(&mut value, kind_code(*kind));
                let flags = [
                    (AUTO_DELETE, *auto_delete),
                    (INTERNAL, *internal),
                    (DELAYS, delays.is_some()),
                    (TRANSIENT, !durable),
                ];
                put_flags(&mut value, &flags);
                if let Some((id, home)) = delays {
                    put_u64(&mut value, id.0);
                    put_home(&mut value, *home, is_shared);
                }
                put_table(&mut value, arguments);
            }
            Self::Queue { id, durable, exclusive, auto_delete, arguments, home, .. } => {
                put_u64(&mut value, id.0);
                let flags =
                    [(AUTO_DELETE, *auto_delete), (TRANSIENT, !durable), (EXCLUSIVE, exclusive.is_some())];
                put_flags(&mut value, &flags);
                exclusive.iter().for_each(|owner| put_u64(&mut value, *owner));
                put_home(&mut value, *home, is_shared);
                put_table(&mut value, arguments);
            }
            Self::Permission { spec, .. } => put_permissions(&mut value, spec),
            Self::TopicPermission { spec, .. } => put_topic_permissions(&mut value, spec),
            Self::Policy { spec, .. } => put_spec(&mut value, spec),
            Self::VhostSettings { settings, .. } => settings.put(&mut value),
            Self::UserLimits { limits, .. } => limits.put(&mut value),
            Self::Parameter { value: json, .. } => put_text(&mut value, json),
            Self::Cluster { value: rest, .. } => value.extend_from_slice(rest),
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
        let is_shared = value.version(VERSION, SHARED)?;
        let row = Self::read(&mut key, &mut value, is_shared)?;
        key.end()?;
        value.end()?;
        Ok(row)
    }

    /// Whether it says more than rows of a node by itself do.
    fn is_shared(&self) -> bool {
        match self {
            Self::Exchange { durable, delays, .. } => {
                !durable || delays.is_some_and(|(_, home)| home.is_some())
            }
            Self::Queue { durable, exclusive, home, .. } => !durable || exclusive.is_some() || home.is_some(),
            Self::Companion { home, .. } => home.is_some(),
            Self::User { is_settled, .. } => *is_settled,
            Self::Counter { .. }
            | Self::Permission { .. }
            | Self::TopicPermission { .. }
            | Self::Vhost { .. }
            | Self::Binding { .. }
            | Self::Policy { .. }
            | Self::VhostSettings { .. }
            | Self::UserLimits { .. }
            | Self::Parameter { .. }
            | Self::Cluster { .. } => false,
        }
    }

    fn read(key: &mut RowReader<'_>, value: &mut RowReader<'_>, is_shared: bool) -> Result<Self, RowError> {
        match key.u8()? {
            EXCHANGE => read_exchange(key, value, is_shared),
            QUEUE => read_queue(key, value, is_shared),
            COMPANION => {
                let (vhost, exchange) = (key.text()?, key.text()?);
                let id = QueueId(value.u64()?);
                Ok(Self::Companion { vhost, exchange, id, home: read_home(value, is_shared)? })
            }
            USER => Ok(Self::User {
                name: key.text()?,
                password_hash: value.text()?,
                tags: value.text()?,
                is_settled: is_shared,
            }),
            _ if is_shared => Err(RowError::Version { found: SHARED, expected: VERSION }),
            COUNTER => Ok(Self::Counter { next_queue: value.u64()? }),
            PERMISSION => {
                Ok(Self::Permission { user: key.text()?, vhost: key.text()?, spec: read_permissions(value)? })
            }
            TOPIC_PERMISSION => Ok(Self::TopicPermission {
                user: key.text()?,
                vhost: key.text()?,
                exchange: key.text()?,
                spec: read_topic_permissions(value)?,
            }),
            VHOST => Ok(Self::Vhost { name: key.text()? }),
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
            PARAMETER => Ok(Self::Parameter { name: key.text()?, value: value.text()? }),
            CLUSTER => Ok(Self::Cluster { key: key.all().to_vec(), value: value.all().to_vec() }),
            other => Err(RowError::UnknownKind(other)),
        }
    }

    /// Its place in the order of a restore: what others refer to comes first, and policies before what they hold for.
    pub(super) fn rank(&self) -> (bool, u8) {
        (self.kind() > VHOST && self.kind() != POLICY, self.kind())
    }

    /// Its kind's place in the order of keys.
    fn kind(&self) -> u8 {
        match self {
            Self::Counter { .. } => COUNTER,
            Self::User { .. } => USER,
            Self::Vhost { .. } => VHOST,
            Self::Exchange { .. } => EXCHANGE,
            Self::Queue { .. } => QUEUE,
            Self::Binding { .. } => BINDING,
            Self::Companion { .. } => COMPANION,
            Self::Policy { .. } => POLICY,
            Self::Permission { .. } => PERMISSION,
            Self::TopicPermission { .. } => TOPIC_PERMISSION,
            Self::VhostSettings { .. } => VHOST_SETTINGS,
            Self::UserLimits { .. } => USER_LIMITS,
            Self::Parameter { .. } => PARAMETER,
            Self::Cluster { .. } => CLUSTER,
        }
    }
}

fn read_exchange(
    key: &mut RowReader<'_>,
    value: &mut RowReader<'_>,
    is_shared: bool,
) -> Result<Row, RowError> {
    let (vhost, name) = (key.text()?, key.text()?);
    let kind = read_kind(value.u8()?)?;
    let known = AUTO_DELETE | INTERNAL | DELAYS | if is_shared { TRANSIENT } else { 0 };
    let flags = read_flags(value.u8()?, known)?;
    let delays = match flags & DELAYS {
        0 => None,
        _ => Some((QueueId(value.u64()?), read_home(value, is_shared)?)),
    };
    Ok(Row::Exchange {
        vhost,
        name,
        kind,
        durable: flags & TRANSIENT == 0,
        auto_delete: flags & AUTO_DELETE != 0,
        internal: flags & INTERNAL != 0,
        delays,
        arguments: value.table()?,
    })
}

fn read_queue(key: &mut RowReader<'_>, value: &mut RowReader<'_>, is_shared: bool) -> Result<Row, RowError> {
    let (vhost, name) = (key.text()?, key.text()?);
    let id = QueueId(value.u64()?);
    let known = AUTO_DELETE | if is_shared { TRANSIENT | EXCLUSIVE } else { 0 };
    let flags = read_flags(value.u8()?, known)?;
    let exclusive = if flags & EXCLUSIVE == 0 { None } else { Some(value.u64()?) };
    Ok(Row::Queue {
        id,
        vhost,
        name,
        durable: flags & TRANSIENT == 0,
        exclusive,
        auto_delete: flags & AUTO_DELETE != 0,
        home: read_home(value, is_shared)?,
        arguments: value.table()?,
    })
}

pub(super) fn put_scope(out: &mut Vec<u8>, scope: PolicyScope) {
    let code = match scope {
        PolicyScope::User => 1,
        PolicyScope::Operator => 2,
    };
    put_u8(out, code);
}

pub(super) fn read_scope(code: u8) -> Result<PolicyScope, RowError> {
    match code {
        1 => Ok(PolicyScope::User),
        2 => Ok(PolicyScope::Operator),
        other => Err(RowError::UnknownKind(other)),
    }
}

pub(super) fn put_permissions(out: &mut Vec<u8>, spec: &PermissionSpec) {
    [&spec.configure, &spec.write, &spec.read].into_iter().for_each(|pattern| put_text(out, pattern));
}

pub(super) fn read_permissions(value: &mut RowReader<'_>) -> Result<PermissionSpec, RowError> {
    Ok(PermissionSpec { configure: value.text()?, write: value.text()?, read: value.text()? })
}

pub(super) fn put_topic_permissions(out: &mut Vec<u8>, spec: &TopicPermissionSpec) {
    [&spec.write, &spec.read].into_iter().for_each(|pattern| put_text(out, pattern));
}

pub(super) fn read_topic_permissions(value: &mut RowReader<'_>) -> Result<TopicPermissionSpec, RowError> {
    Ok(TopicPermissionSpec { write: value.text()?, read: value.text()? })
}

pub(super) fn put_spec(out: &mut Vec<u8>, spec: &PolicySpec) {
    put_text(out, &spec.pattern);
    put_text(out, &spec.apply_to);
    put_u64(out, spec.priority.cast_unsigned());
    put_table(out, &spec.definition);
}

pub(super) fn read_spec(value: &mut RowReader<'_>) -> Result<PolicySpec, RowError> {
    Ok(PolicySpec {
        pattern: value.text()?,
        apply_to: value.text()?,
        priority: value.u64()?.cast_signed(),
        definition: value.table()?,
    })
}

pub(super) fn put_destination(out: &mut Vec<u8>, destination: &Destination) {
    let (kind, name) = match destination {
        Destination::Queue(name) => (TO_QUEUE, name),
        Destination::Exchange(name) => (TO_EXCHANGE, name),
    };
    put_u8(out, kind);
    put_text(out, name);
}

pub(super) fn read_destination(key: &mut RowReader<'_>) -> Result<Destination, RowError> {
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

pub(super) fn put_home(out: &mut Vec<u8>, home: Option<Home>, is_shared: bool) {
    match home {
        _ if !is_shared => {}
        None => put_u8(out, 0),
        Some(Home::Node(node)) => {
            put_u8(out, HOME_NODE);
            put_u16(out, node);
        }
        Some(Home::Group(group)) => {
            put_u8(out, HOME_GROUP);
            put_u16(out, group);
        }
    }
}

pub(super) fn read_home(value: &mut RowReader<'_>, is_shared: bool) -> Result<Option<Home>, RowError> {
    if !is_shared {
        return Ok(None);
    }
    match value.u8()? {
        0 => Ok(None),
        HOME_NODE => Ok(Some(Home::Node(value.u16()?))),
        HOME_GROUP => Ok(Some(Home::Group(value.u16()?))),
        other => Err(RowError::UnknownKind(other)),
    }
}

fn put_flags(out: &mut Vec<u8>, flags: &[(u8, bool)]) {
    put_u8(out, flags.iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| flag).sum());
}

/// A flag that is not known would be lost: better refused.
fn read_flags(flags: u8, known: u8) -> Result<u8, RowError> {
    if flags & !known == 0 { Ok(flags) } else { Err(RowError::UnknownKind(flags)) }
}
