//! The bytes of commands: how nodes tell each other what is asked for, and how they keep it until all have carried it out.

use amq_protocol::types::FieldTable;

use crate::broker::ids::{ConnectionId, QueueId};
use crate::protocol::wire::{put_u8, put_u16, put_u32, put_u64};

use super::codec::{RowError, RowReader, put_table, put_text};
use super::row::{
    put_destination, put_home, put_permissions, put_scope, put_spec, put_topic_permissions, read_destination,
    read_home, read_permissions, read_scope, read_spec, read_topic_permissions,
};
use super::settings::{UserLimits, VhostLimits};
use super::{Command, Destination};

/// The version of the bytes: the first one.
const VERSION: u8 = 1;

const CREATE_VHOST: u8 = 1;
const DELETE_VHOST: u8 = 2;
const PUT_USER: u8 = 3;
const DELETE_USER: u8 = 4;
const DESCRIBE_VHOST: u8 = 5;
const LIMIT_VHOST: u8 = 6;
const LIMIT_USER: u8 = 7;
const SET_POLICY: u8 = 8;
const CLEAR_POLICY: u8 = 9;
const DECLARE_EXCHANGE: u8 = 10;
const DELETE_EXCHANGE: u8 = 11;
const DECLARE_QUEUE: u8 = 12;
const DELETE_QUEUE: u8 = 13;
const CHECK_QUEUE: u8 = 14;
const BIND: u8 = 15;
const UNBIND: u8 = 16;
const DROP_OWNER: u8 = 17;
const DROP_QUEUE: u8 = 18;
const NODE_GONE: u8 = 19;
const FORGET_NODE: u8 = 20;
const MOVE_QUEUE: u8 = 21;
const PUT_PARAMETER: u8 = 27;
const SET_PERMISSIONS: u8 = 22;
const CLEAR_PERMISSIONS: u8 = 23;
const SET_TOPIC_PERMISSIONS: u8 = 24;
const CLEAR_TOPIC_PERMISSIONS: u8 = 25;
const SETTLE_USERS: u8 = 26;

impl Command {
    /// The command as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        self.put(&mut out);
        out
    }

    /// Reads a command.
    ///
    /// # Errors
    /// When the bytes are not what [`encode`](Self::encode) writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, RowError> {
        let mut reader = RowReader::new(bytes);
        reader.version(VERSION, VERSION)?;
        let command = read(&mut reader)?;
        reader.end()?;
        Ok(command)
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::CreateVhost { name } => put_named(out, CREATE_VHOST, name),
            Self::DeleteVhost { name } => put_named(out, DELETE_VHOST, name),
            Self::DeleteUser { name } => put_named(out, DELETE_USER, name),
            Self::PutUser { name, password_hash, tags } => {
                put_named(out, PUT_USER, name);
                put_text(out, password_hash);
                put_text(out, tags);
            }
            Self::DescribeVhost { name, description, tags, default_queue_type } => {
                put_named(out, DESCRIBE_VHOST, name);
                put_text(out, description);
                put_text(out, tags);
                put_u8(out, u8::from(default_queue_type.is_some()));
                default_queue_type.iter().for_each(|name| put_text(out, name));
            }
            Self::LimitVhost { name, limits } => {
                put_named(out, LIMIT_VHOST, name);
                limits.put(out);
            }
            Self::LimitUser { name, limits } => {
                put_named(out, LIMIT_USER, name);
                limits.put(out);
            }
            Self::PutParameter { name, value } => {
                put_named(out, PUT_PARAMETER, name);
                put_u8(out, u8::from(value.is_some()));
                value.iter().for_each(|json| put_text(out, json));
            }
            Self::SetPermissions { user, vhost, spec } => {
                put_named(out, SET_PERMISSIONS, user);
                put_text(out, vhost);
                put_permissions(out, spec);
            }
            Self::ClearPermissions { user, vhost } => {
                put_named(out, CLEAR_PERMISSIONS, user);
                put_text(out, vhost);
            }
            Self::SetTopicPermissions { user, vhost, exchange, spec } => {
                put_named(out, SET_TOPIC_PERMISSIONS, user);
                put_text(out, vhost);
                put_text(out, exchange);
                put_topic_permissions(out, spec);
            }
            Self::ClearTopicPermissions { user, vhost, exchange } => {
                put_named(out, CLEAR_TOPIC_PERMISSIONS, user);
                put_text(out, vhost);
                put_u8(out, u8::from(exchange.is_some()));
                exchange.iter().for_each(|exchange| put_text(out, exchange));
            }
            Self::SettleUsers => put_u8(out, SETTLE_USERS),
            Self::SetPolicy { vhost, scope, name, spec } => {
                put_named(out, SET_POLICY, vhost);
                put_scope(out, *scope);
                put_text(out, name);
                put_spec(out, spec);
            }
            Self::ClearPolicy { vhost, scope, name } => {
                put_named(out, CLEAR_POLICY, vhost);
                put_scope(out, *scope);
                put_text(out, name);
            }
            Self::DeclareExchange {
                vhost,
                name,
                kind,
                passive,
                durable,
                auto_delete,
                internal,
                arguments,
            } => {
                put_named(out, DECLARE_EXCHANGE, vhost);
                put_text(out, name);
                put_text(out, kind);
                put_bools(out, [*passive, *durable, *auto_delete, *internal]);
                put_table(out, arguments);
            }
            Self::DeleteExchange { vhost, name, if_unused } => {
                put_named(out, DELETE_EXCHANGE, vhost);
                put_text(out, name);
                put_u8(out, u8::from(*if_unused));
            }
            Self::DeclareQueue {
                vhost,
                name,
                generated,
                passive,
                durable,
                exclusive,
                auto_delete,
                arguments,
                owner,
            } => {
                put_named(out, DECLARE_QUEUE, vhost);
                put_text(out, name);
                put_bools(out, [*generated, *passive, *durable, *exclusive, *auto_delete]);
                put_table(out, arguments);
                put_u64(out, *owner);
            }
            Self::DeleteQueue { vhost, name, owner, if_unused, consumers, if_empty, messages } => {
                put_named(out, DELETE_QUEUE, vhost);
                put_text(out, name);
                put_u64(out, *owner);
                put_bools(out, [*if_unused, *if_empty]);
                put_u32(out, *consumers);
                put_u64(out, *messages);
            }
            Self::CheckQueue { vhost, name, owner } => {
                put_named(out, CHECK_QUEUE, vhost);
                put_text(out, name);
                put_u64(out, *owner);
            }
            Self::Bind { vhost, source, destination, routing_key, arguments, owner } => {
                put_named(out, BIND, vhost);
                put_binding(out, source, destination, routing_key, arguments, *owner);
            }
            Self::Unbind { vhost, source, destination, routing_key, arguments, owner } => {
                put_named(out, UNBIND, vhost);
                put_binding(out, source, destination, routing_key, arguments, *owner);
            }
            Self::DropOwner { owner } => put_numbered(out, DROP_OWNER, *owner),
            Self::DropQueue { id } => put_numbered(out, DROP_QUEUE, id.0),
            Self::NodeGone { node } => {
                put_u8(out, NODE_GONE);
                put_u16(out, *node);
            }
            Self::ForgetNode { node, heir } => {
                put_u8(out, FORGET_NODE);
                put_u16(out, *node);
                put_u16(out, *heir);
            }
            Self::MoveQueue { id, home } => {
                put_numbered(out, MOVE_QUEUE, id.0);
                put_home(out, Some(*home), true);
            }
        }
    }
}

fn read(from: &mut RowReader<'_>) -> Result<Command, RowError> {
    Ok(match from.u8()? {
        CREATE_VHOST => Command::CreateVhost { name: from.text()? },
        DELETE_VHOST => Command::DeleteVhost { name: from.text()? },
        DELETE_USER => Command::DeleteUser { name: from.text()? },
        PUT_USER => Command::PutUser { name: from.text()?, password_hash: from.text()?, tags: from.text()? },
        DESCRIBE_VHOST => Command::DescribeVhost {
            name: from.text()?,
            description: from.text()?,
            tags: from.text()?,
            default_queue_type: if read_bool(from)? { Some(from.text()?) } else { None },
        },
        LIMIT_VHOST => Command::LimitVhost { name: from.text()?, limits: VhostLimits::read(from)? },
        LIMIT_USER => Command::LimitUser { name: from.text()?, limits: UserLimits::read(from)? },
        PUT_PARAMETER => Command::PutParameter {
            name: from.text()?,
            value: if read_bool(from)? { Some(from.text()?) } else { None },
        },
        SET_PERMISSIONS => {
            let (user, vhost) = (from.text()?, from.text()?);
            Command::SetPermissions { user, vhost, spec: read_permissions(from)? }
        }
        CLEAR_PERMISSIONS => Command::ClearPermissions { user: from.text()?, vhost: from.text()? },
        SET_TOPIC_PERMISSIONS => {
            let (user, vhost, exchange) = (from.text()?, from.text()?, from.text()?);
            Command::SetTopicPermissions { user, vhost, exchange, spec: read_topic_permissions(from)? }
        }
        CLEAR_TOPIC_PERMISSIONS => {
            let (user, vhost) = (from.text()?, from.text()?);
            let exchange = if read_bool(from)? { Some(from.text()?) } else { None };
            Command::ClearTopicPermissions { user, vhost, exchange }
        }
        SETTLE_USERS => Command::SettleUsers,
        SET_POLICY => Command::SetPolicy {
            vhost: from.text()?,
            scope: read_scope(from.u8()?)?,
            name: from.text()?,
            spec: read_spec(from)?,
        },
        CLEAR_POLICY => {
            Command::ClearPolicy { vhost: from.text()?, scope: read_scope(from.u8()?)?, name: from.text()? }
        }
        DECLARE_EXCHANGE => {
            let (vhost, name, kind) = (from.text()?, from.text()?, from.text()?);
            let [passive, durable, auto_delete, internal] = read_bools(from)?;
            let arguments = from.table()?;
            Command::DeclareExchange { vhost, name, kind, passive, durable, auto_delete, internal, arguments }
        }
        DELETE_EXCHANGE => {
            Command::DeleteExchange { vhost: from.text()?, name: from.text()?, if_unused: read_bool(from)? }
        }
        DECLARE_QUEUE => {
            let (vhost, name) = (from.text()?, from.text()?);
            let [generated, passive, durable, exclusive, auto_delete] = read_bools(from)?;
            let (arguments, owner) = (from.table()?, from.u64()?);
            Command::DeclareQueue {
                vhost,
                name,
                generated,
                passive,
                durable,
                exclusive,
                auto_delete,
                arguments,
                owner,
            }
        }
        DELETE_QUEUE => {
            let (vhost, name, owner) = (from.text()?, from.text()?, from.u64()?);
            let [if_unused, if_empty] = read_bools(from)?;
            let (consumers, messages) = (from.u32()?, from.u64()?);
            Command::DeleteQueue { vhost, name, owner, if_unused, consumers, if_empty, messages }
        }
        CHECK_QUEUE => Command::CheckQueue { vhost: from.text()?, name: from.text()?, owner: from.u64()? },
        BIND => {
            let vhost = from.text()?;
            let (source, destination, routing_key, arguments, owner) = read_binding(from)?;
            Command::Bind { vhost, source, destination, routing_key, arguments, owner }
        }
        UNBIND => {
            let vhost = from.text()?;
            let (source, destination, routing_key, arguments, owner) = read_binding(from)?;
            Command::Unbind { vhost, source, destination, routing_key, arguments, owner }
        }
        DROP_OWNER => Command::DropOwner { owner: from.u64()? },
        DROP_QUEUE => Command::DropQueue { id: QueueId(from.u64()?) },
        NODE_GONE => Command::NodeGone { node: from.u16()? },
        FORGET_NODE => Command::ForgetNode { node: from.u16()?, heir: from.u16()? },
        MOVE_QUEUE => {
            let id = QueueId(from.u64()?);
            let home = read_home(from, true)?.ok_or(RowError::UnknownKind(0))?;
            Command::MoveQueue { id, home }
        }
        other => return Err(RowError::UnknownKind(other)),
    })
}

fn put_named(out: &mut Vec<u8>, kind: u8, name: &str) {
    put_u8(out, kind);
    put_text(out, name);
}

fn put_numbered(out: &mut Vec<u8>, kind: u8, number: u64) {
    put_u8(out, kind);
    put_u64(out, number);
}

fn put_binding(
    out: &mut Vec<u8>,
    source: &str,
    destination: &Destination,
    routing_key: &str,
    arguments: &FieldTable,
    owner: ConnectionId,
) {
    put_text(out, source);
    put_destination(out, destination);
    put_text(out, routing_key);
    put_table(out, arguments);
    put_u64(out, owner);
}

type Binding = (String, Destination, String, FieldTable, ConnectionId);

fn read_binding(from: &mut RowReader<'_>) -> Result<Binding, RowError> {
    Ok((from.text()?, read_destination(from)?, from.text()?, from.table()?, from.u64()?))
}

fn put_bools<const N: usize>(out: &mut Vec<u8>, bools: [bool; N]) {
    put_u8(out, (0u8..).zip(bools).map(|(place, is_set)| u8::from(is_set) << place).sum());
}

fn read_bools<const N: usize>(from: &mut RowReader<'_>) -> Result<[bool; N], RowError> {
    let byte = from.u8()?;
    if u32::from(byte) >= 1 << N {
        return Err(RowError::UnknownKind(byte));
    }
    Ok(std::array::from_fn(|place| byte & (1 << place) != 0))
}

fn read_bool(from: &mut RowReader<'_>) -> Result<bool, RowError> {
    let [is_set] = read_bools(from)?;
    Ok(is_set)
}
