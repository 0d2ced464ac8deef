//! Exchanges, queues and bindings, declared and deleted by those who run the node: no connection owns what they do, so
//! an exclusive queue is locked for them as it is for every other connection.

use std::sync::Arc;

use amq_protocol::types::FieldTable;
use tokio::sync::oneshot;

use super::{Control, ControlError};
use crate::broker::ids::ConnectionId;
use crate::broker::topology::{BindingEntry, Command, Destination, ExchangeEntry, QueueEntry};
use crate::node::events::declarations::tell_deleted;
use crate::node::links::{DeleteIf, DeleteQueue, MetaInput, ShardInput};
use crate::node::names;
use crate::node::shared::stopping;
use crate::protocol::error::Refusal;
use crate::protocol::reply_code::ReplyCode;

/// The operator: connections are numbered from 1 on.
const OPERATOR: ConnectionId = 0;
const MADE_NAME: &str = "amq.gen-";

/// An exchange as it is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExchangeSpec {
    /// The type, such as `topic`.
    pub kind: String,
    /// Whether it survives a restart.
    pub durable: bool,
    /// Whether it goes with its last binding as a source.
    pub auto_delete: bool,
    /// Whether only other exchanges may hand it messages.
    pub internal: bool,
    /// The arguments.
    pub arguments: FieldTable,
}

/// A queue as it is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueueSpec {
    /// Whether it survives a restart.
    pub durable: bool,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// The arguments.
    pub arguments: FieldTable,
}

/// A binding as it is asked for, or to be taken away.
#[derive(Clone, Debug, PartialEq)]
pub struct BindingSpec {
    /// The exchange it is from.
    pub source: String,
    /// What it leads to.
    pub destination: Destination,
    /// The binding key.
    pub routing_key: String,
    /// The arguments.
    pub arguments: FieldTable,
}

/// An exchange that is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// The name, unique in its vhost.
    pub name: Arc<str>,
    /// As it was declared.
    pub spec: ExchangeSpec,
    /// Whether every vhost has it from the start.
    pub predeclared: bool,
}

impl Exchange {
    fn of(entry: &ExchangeEntry) -> Self {
        let spec = ExchangeSpec {
            kind: entry.type_name().to_owned(),
            durable: entry.durable,
            auto_delete: entry.auto_delete,
            internal: entry.internal,
            arguments: entry.arguments.clone(),
        };
        Self { name: Arc::clone(&entry.name), spec, predeclared: entry.predeclared }
    }
}

impl Control {
    /// Makes an exchange; true when it is new.
    ///
    /// # Errors
    /// When there is no such vhost, the exchange is not valid, or another one of its name is there.
    pub async fn declare_exchange(
        &self,
        vhost: &str,
        name: &str,
        spec: ExchangeSpec,
    ) -> Result<bool, ControlError> {
        let ExchangeSpec { kind, durable, auto_delete, internal, arguments } = spec;
        let (vhost, name) = (vhost.to_owned(), name.to_owned());
        let command = Command::DeclareExchange {
            vhost,
            name,
            kind,
            passive: false,
            durable,
            auto_delete,
            internal,
            arguments,
        };
        self.change(command).await
    }

    /// Deletes an exchange with its bindings.
    ///
    /// # Errors
    /// When it is not there, every vhost has it, or it has bindings and must not.
    pub async fn delete_exchange(
        &self,
        vhost: &str,
        name: &str,
        if_unused: bool,
    ) -> Result<(), ControlError> {
        if !name.is_empty() && self.exchange(vhost, name).is_none() {
            return Err(ControlError::NotFound(format!("no exchange '{name}' in vhost '{vhost}'")));
        }
        let (vhost, name) = (vhost.to_owned(), name.to_owned());
        self.change(Command::DeleteExchange { vhost, name, if_unused }).await.map(drop)
    }

    /// Makes a queue, with a made-up name if it has none. Gives its name, and whether it is new.
    ///
    /// # Errors
    /// When there is no such vhost, the queue is not valid, or another one of its name is there.
    pub async fn declare_queue(
        &self,
        vhost: &str,
        name: &str,
        spec: QueueSpec,
    ) -> Result<(String, bool), ControlError> {
        let generated = name.is_empty();
        let name = if generated { made_name()? } else { name.to_owned() };
        let QueueSpec { durable, auto_delete, arguments } = spec;
        let command = Command::DeclareQueue {
            vhost: vhost.to_owned(),
            name: name.clone(),
            generated,
            passive: false,
            durable,
            exclusive: false,
            auto_delete,
            arguments,
            owner: OPERATOR,
        };
        Ok((name, self.change(command).await?))
    }

    /// Deletes a queue. Gives how many messages were ready in it.
    ///
    /// # Errors
    /// When it is not there, belongs to a connection, or has consumers or messages and must not.
    pub async fn delete_queue(
        &self,
        vhost: &str,
        name: &str,
        if_unused: bool,
        if_empty: bool,
    ) -> Result<u64, ControlError> {
        self.usable_queue(vhost, name)?;
        let condition = DeleteIf { unused: if_unused, empty: if_empty, ..DeleteIf::default() };
        let request =
            DeleteQueue { vhost: vhost.to_owned(), name: name.to_owned(), owner: OPERATOR, condition };
        let (reply, answer) = oneshot::channel();
        self.shared.meta.push(MetaInput::DeleteQueue(request, reply));
        let (ready, applied) = answer.await.unwrap_or_else(|_| Err(stopping()))?;
        tell_deleted(&self.shared, &applied.outcome);
        if self.shared.meta_is_synced_up_to(applied.index).await {
            Ok(ready)
        } else {
            Err(ControlError::Stopping)
        }
    }

    /// Drops all messages that are ready in a queue. Gives how many there were.
    ///
    /// # Errors
    /// When it is not there, or belongs to a connection.
    pub async fn purge_queue(&self, vhost: &str, name: &str) -> Result<u64, ControlError> {
        let queue = self.usable_queue(vhost, name)?;
        let purged = self.shared.ask(queue.target(), |reply| ShardInput::Purge(queue.id, reply)).await;
        purged.ok_or_else(|| self.shared.unanswered(&queue))?.ok_or_else(|| no_queue(vhost, name))
    }

    /// Makes a binding; true when it is new.
    ///
    /// # Errors
    /// When one of its ends is not there, or the type of its source does not take it.
    pub async fn bind(&self, vhost: &str, binding: BindingSpec) -> Result<bool, ControlError> {
        let BindingSpec { source, destination, routing_key, arguments } = binding;
        let vhost = vhost.to_owned();
        self.change(Command::Bind { vhost, source, destination, routing_key, arguments, owner: OPERATOR })
            .await
    }

    /// Takes a binding away; one that is not there is as good.
    ///
    /// # Errors
    /// When there is no such vhost, or the queue belongs to a connection.
    pub async fn unbind(&self, vhost: &str, binding: BindingSpec) -> Result<(), ControlError> {
        let BindingSpec { source, destination, routing_key, arguments } = binding;
        let vhost = vhost.to_owned();
        let command = Command::Unbind { vhost, source, destination, routing_key, arguments, owner: OPERATOR };
        self.change(command).await.map(drop)
    }

    /// A queue; `None` when it is not there.
    #[must_use]
    pub fn queue(&self, vhost: &str, name: &str) -> Option<Arc<QueueEntry>> {
        self.shared.topology().queue(vhost, name).cloned()
    }

    /// The queues of a vhost, by name; none when it is not there.
    #[must_use]
    pub fn queues(&self, vhost: &str) -> Vec<Arc<QueueEntry>> {
        self.shared.topology().queues(vhost)
    }

    /// An exchange; `None` when it is not there. The default exchange has no entry.
    #[must_use]
    pub fn exchange(&self, vhost: &str, name: &str) -> Option<Exchange> {
        self.shared.topology().exchange(vhost, name).map(Exchange::of)
    }

    /// The exchanges of a vhost, by name, without the default exchange; none when the vhost is not there.
    #[must_use]
    pub fn exchanges(&self, vhost: &str) -> Vec<Exchange> {
        self.shared.topology().exchanges(vhost).into_iter().map(Exchange::of).collect()
    }

    /// The bindings of a vhost by source, destination and key, without those of the default exchange; none when the
    /// vhost is not there.
    #[must_use]
    pub fn bindings(&self, vhost: &str) -> Vec<BindingEntry> {
        self.shared.topology().bindings(vhost)
    }

    fn usable_queue(&self, vhost: &str, name: &str) -> Result<Arc<QueueEntry>, ControlError> {
        let found = self.shared.topology().check_queue(vhost, name.to_owned(), OPERATOR)?;
        found.queue.ok_or_else(|| no_queue(vhost, name))
    }
}

fn no_queue(vhost: &str, name: &str) -> ControlError {
    ControlError::NotFound(format!("no queue '{name}' in vhost '{vhost}'"))
}

fn made_name() -> Result<String, Refusal> {
    names::generated(MADE_NAME).map_err(|error| {
        let text = format!("cannot make a name: the system gives no random numbers ({error})");
        Refusal::connection(ReplyCode::InternalError, text)
    })
}
