//! What can be asked of the topology.

use amq_protocol::types::FieldTable;

use crate::broker::ids::{ConnectionId, Home, NodeId, QueueId};
use crate::broker::policy::{PolicyScope, PolicySpec};
use crate::broker::rights::{PermissionSpec, TopicPermissionSpec};

use super::settings::{UserLimits, VhostLimits};

/// One change (or check) of vhosts, users, exchanges, queues and bindings.
///
/// Names of exchanges and queues may still hold carriage returns and line feeds: they are taken out.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Makes a vhost with its predeclared exchanges; nothing happens when it is there.
    CreateVhost { name: String },
    /// Removes a vhost with all that is in it.
    DeleteVhost { name: String },
    /// Makes a user, or gives one another password and other tags.
    PutUser { name: String, password_hash: String, tags: String },
    /// Removes a user.
    DeleteUser { name: String },
    /// Says what a vhost is for, and of which type its queues are when they do not say.
    DescribeVhost { name: String, description: String, tags: String, default_queue_type: Option<String> },
    /// Limits a vhost.
    LimitVhost { name: String, limits: VhostLimits },
    /// Limits a user.
    LimitUser { name: String, limits: UserLimits },
    /// Gives a global parameter a value, which is JSON; without one it goes.
    PutParameter { name: String, value: Option<String> },
    /// Says what a user may do in a vhost.
    SetPermissions { user: String, vhost: String, spec: PermissionSpec },
    /// Takes away what a user may do in a vhost.
    ClearPermissions { user: String, vhost: String },
    /// Says which keys of a topic exchange a user may use, which may be missing.
    SetTopicPermissions { user: String, vhost: String, exchange: String, spec: TopicPermissionSpec },
    /// Lets a user use all keys of a topic exchange, or of all.
    ClearTopicPermissions { user: String, vhost: String, exchange: Option<String> },
    /// Keeps what users may do that were made when there were no permissions.
    SettleUsers,
    /// Makes a policy or replaces it; it holds at once.
    SetPolicy { vhost: String, scope: PolicyScope, name: String, spec: PolicySpec },
    /// Takes a policy away.
    ClearPolicy { vhost: String, scope: PolicyScope, name: String },
    /// `exchange.declare`.
    DeclareExchange {
        vhost: String,
        name: String,
        kind: String,
        passive: bool,
        durable: bool,
        auto_delete: bool,
        internal: bool,
        arguments: FieldTable,
    },
    /// `exchange.delete`.
    DeleteExchange { vhost: String, name: String, if_unused: bool },
    /// `queue.declare`; `name` is never empty: `generated` says that the broker made it.
    DeclareQueue {
        vhost: String,
        name: String,
        generated: bool,
        passive: bool,
        durable: bool,
        exclusive: bool,
        auto_delete: bool,
        arguments: FieldTable,
        owner: ConnectionId,
    },
    /// `queue.delete`; `consumers` and `messages` are what the queue's shard counted.
    DeleteQueue {
        vhost: String,
        name: String,
        owner: ConnectionId,
        if_unused: bool,
        consumers: u32,
        if_empty: bool,
        messages: u64,
    },
    /// Finds a queue for consume, get or purge: it must exist and not be locked by another connection.
    CheckQueue { vhost: String, name: String, owner: ConnectionId },
    /// `queue.bind` and `exchange.bind`.
    Bind {
        vhost: String,
        source: String,
        destination: Destination,
        routing_key: String,
        arguments: FieldTable,
        owner: ConnectionId,
    },
    /// `queue.unbind` and `exchange.unbind`.
    Unbind {
        vhost: String,
        source: String,
        destination: Destination,
        routing_key: String,
        arguments: FieldTable,
        owner: ConnectionId,
    },
    /// Removes the exclusive queues of a connection that has ended.
    DropOwner { owner: ConnectionId },
    /// Removes a queue that its shard found unused (auto-delete) or expired; fine when it is gone.
    DropQueue { id: QueueId },
    /// A node has stopped: its transient and exclusive queues go.
    NodeGone { node: NodeId },
    /// A node will never come back: its queues go; those that belong to exchanges begin empty on the other one.
    ForgetNode { node: NodeId, heir: NodeId },
    /// Another node or group has the queue from now on; fine when it is gone.
    MoveQueue { id: QueueId, home: Home },
}

/// The end of a binding that receives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// A queue by name.
    Queue(String),
    /// An exchange by name.
    Exchange(String),
}

impl Destination {
    /// The name, whichever kind it is.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Queue(name) | Self::Exchange(name) => name,
        }
    }
}
