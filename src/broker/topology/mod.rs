//! What is declared on a node: vhosts, users, exchanges, queues, bindings; and where a message goes.
//!
//! - `command`, `outcome`: what can be asked, and what it brought about
//! - `command_codec`: commands as bytes, for other nodes
//! - `companions`: the queues behind exchanges that remember
//! - `vhost`, `users`, `exchanges`, `queues`, `bindings`: one kind of object each, with its rules and refusals
//! - `parameters`: what is only kept, for people and tools
//! - `rights`: what users may do, by vhost
//! - `settings`, `policies`: what vhosts and users are set to, and what holds for queues and exchanges by their names
//! - `homes`: queues whose node is gone, or that move to another
//! - `route`: from exchange, keys and headers to queues
//! - `row`, `change`, `restore`: what survives a restart, and how it comes back
//! - `listing`: everything in order, for people

mod bindings;
mod change;
mod codec;
mod command;
mod command_codec;
mod companions;
mod exchanges;
mod homes;
mod listing;
mod outcome;
mod parameters;
mod policies;
mod queues;
mod refusals;
mod restore;
mod rights;
mod route;
mod row;
mod settings;
mod users;
mod vhost;

use std::sync::Arc;

use crate::broker::exchange::Map;
use crate::broker::ids::{NodeId, Placement, QueueId};
use crate::protocol::error::Refusal;

pub use change::Change;
pub use codec::RowError;
pub use command::{Command, Destination};
pub use companions::{Gate, Recall, RecallTo};
pub use exchanges::ExchangeEntry;
pub use listing::BindingEntry;
pub use outcome::Outcome;
pub use queues::QueueEntry;
pub use restore::RestoreError;
pub use route::{RouteError, RouteQuery, Routed};
pub use row::{Row, RowKey};
pub use settings::{UserLimits, VhostLimits, VhostSettings};
pub use users::User;
pub use vhost::{EVENT_EXCHANGE, EVENT_VHOST};

use queues::Queues;
use vhost::Vhost;

/// Everything that is declared on one node. Plain data: whoever shares it locks it.
#[derive(Debug)]
pub struct Topology {
    vhosts: Map<Arc<str>, Vhost>,
    users: Map<Arc<str>, User>,
    /// Global parameters: names and JSON.
    parameters: std::collections::BTreeMap<String, String>,
    queues: Queues,
    version: u64,
}

impl Topology {
    /// A topology with nothing in it, as a node sees it that stands there.
    #[must_use]
    pub fn new(placement: Placement) -> Self {
        Self {
            vhosts: Map::default(),
            users: Map::default(),
            parameters: std::collections::BTreeMap::new(),
            queues: Queues::new(placement),
            version: 0,
        }
    }

    /// Carries out a command that a client of this node asks for.
    ///
    /// # Errors
    /// See [`apply_from`](Self::apply_from).
    pub fn apply(&mut self, command: Command) -> Result<Outcome, Refusal> {
        self.apply_from(self.queues.node(), command)
    }

    /// Carries out a command that a client of that node asks for. Nothing changes when it is refused. The same commands in
    /// the same order bring about the same on every node.
    ///
    /// # Errors
    /// The refusal in RabbitMQ's words; its cause is the method that asked.
    pub fn apply_from(&mut self, asking: NodeId, command: Command) -> Result<Outcome, Refusal> {
        match command {
            Command::CreateVhost { name } => Ok(self.create_vhost(&name)),
            Command::DeleteVhost { name } => self.delete_vhost(&name),
            Command::PutUser { name, password_hash, tags } => Ok(self.put_user(&name, password_hash, tags)),
            Command::DeleteUser { name } => self.delete_user(&name),
            Command::DescribeVhost { name, description, tags, default_queue_type } => {
                self.describe_vhost(&name, description, tags, default_queue_type)
            }
            Command::LimitVhost { name, limits } => self.limit_vhost(&name, limits),
            Command::LimitUser { name, limits } => self.limit_user(&name, limits),
            Command::PutParameter { name, value } => self.put_parameter(name, value),
            Command::SetPermissions { user, vhost, spec } => self.set_permissions(&user, &vhost, spec),
            Command::ClearPermissions { user, vhost } => self.clear_permissions(&user, &vhost),
            Command::SetTopicPermissions { user, vhost, exchange, spec } => {
                self.set_topic_permissions(&user, &vhost, exchange, spec)
            }
            Command::ClearTopicPermissions { user, vhost, exchange } => {
                self.clear_topic_permissions(&user, &vhost, exchange.as_deref())
            }
            Command::SettleUsers => Ok(self.settle_users()),
            Command::SetPolicy { vhost, scope, name, spec } => self.set_policy(&vhost, scope, &name, spec),
            Command::ClearPolicy { vhost, scope, name } => self.clear_policy(&vhost, scope, &name),
            Command::DeclareExchange {
                vhost,
                name,
                kind,
                passive,
                durable,
                auto_delete,
                internal,
                arguments,
            } => {
                let asked = exchanges::Asked { kind, durable, auto_delete, internal, arguments };
                self.declare_exchange(&vhost, name, passive, asked, asking)
            }
            Command::DeleteExchange { vhost, name, if_unused } => {
                self.delete_exchange(&vhost, name, if_unused)
            }
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
            } => {
                let exclusive = exclusive.then_some(owner);
                let asked = queues::Asked { generated, durable, exclusive, auto_delete, arguments };
                if passive {
                    self.check_queue(&vhost, name, owner)
                } else {
                    self.declare_queue(&vhost, name, asked, asking)
                }
            }
            Command::DeleteQueue { vhost, name, owner, if_unused, consumers, if_empty, messages } => {
                let used = queues::Used {
                    consumers: if_unused && consumers > 0,
                    messages: if_empty && messages > 0,
                };
                self.delete_queue(&vhost, name, owner, used)
            }
            Command::CheckQueue { vhost, name, owner } => self.check_queue(&vhost, name, owner),
            Command::Bind { vhost, source, destination, routing_key, arguments, owner } => {
                let asked = bindings::Asked { source, destination, routing_key, arguments, owner };
                self.bind(&vhost, asked)
            }
            Command::Unbind { vhost, source, destination, routing_key, arguments, owner } => {
                let asked = bindings::Asked { source, destination, routing_key, arguments, owner };
                self.unbind(&vhost, asked)
            }
            Command::DropOwner { owner } => Ok(self.drop_owner(owner)),
            Command::DropQueue { id } => Ok(self.drop_queue(id)),
            Command::NodeGone { node } => Ok(self.node_gone(node)),
            Command::ForgetNode { node, heir } => Ok(self.forget_node(node, heir)),
            Command::MoveQueue { id, home } => Ok(self.move_queue(id, home)),
        }
    }

    /// A number that moves with every change that can alter where a message goes.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Takes the place of another topology: its version goes on from there.
    pub fn follow(&mut self, before: &Self) {
        self.version = self.version.max(before.version) + 1;
    }

    /// The queue of that name.
    #[must_use]
    pub fn queue(&self, vhost: &str, name: &str) -> Option<&Arc<QueueEntry>> {
        self.vhosts.get(vhost)?.queues.get(name)
    }

    /// The queue of that number.
    #[must_use]
    pub fn queue_by_id(&self, id: QueueId) -> Option<&Arc<QueueEntry>> {
        self.queues.get(id)
    }

    /// The number of the queue that is declared next: those from it on are not known yet.
    #[must_use]
    pub fn next_queue(&self) -> QueueId {
        self.queues.next()
    }

    /// The exchange of that name; the default exchange, being no object with bindings, is not found.
    #[must_use]
    pub fn exchange(&self, vhost: &str, name: &str) -> Option<&ExchangeEntry> {
        let exchanges = &self.vhosts.get(vhost)?.exchanges;
        exchanges.find(name).map(|slot| exchanges.get(slot))
    }

    /// The user of that name.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name)
    }

    /// Whether there is a vhost of that name.
    #[must_use]
    pub fn has_vhost(&self, name: &str) -> bool {
        self.vhosts.contains_key(name)
    }

    fn vhost(&self, name: &str) -> Result<&Vhost, Refusal> {
        self.vhosts.get(name).ok_or_else(|| refusals::no_vhost(name))
    }

    fn vhost_mut(&mut self, name: &str) -> Result<&mut Vhost, Refusal> {
        self.vhosts.get_mut(name).ok_or_else(|| refusals::no_vhost(name))
    }
}

#[cfg(test)]
mod tests;
