//! Methods, and those among them that change the topology.

use amq_protocol::protocol::{AMQPClass, confirm, exchange, queue};

use super::publish::precondition;
use super::replies::is_reply_name;
use super::rights::stripped;
use super::session::Session;
use crate::broker::topology::{Command, Destination};
use crate::node::auth::ObjectKind;
use crate::node::events::declarations::tell_deleted;
use crate::node::links::{Applied, DeleteIf, DeleteQueue, MetaInput, ShardInput};
use crate::node::names;
use crate::node::replies::REPLY_TO;
use crate::node::shared::stopping;
use crate::node::statistics::Came;
use crate::protocol::error::Refusal;
use crate::protocol::reply_code::ReplyCode;

/// How often a declare is tried when somebody deletes the queue at the same moment.
const TRIES: usize = 10;

impl Session {
    pub(super) async fn on_method(&mut self, number: u16, method: AMQPClass) -> Result<(), Refusal> {
        self.hand_over();
        match method {
            AMQPClass::Exchange(method) => self.on_exchange(number, method).await,
            AMQPClass::Queue(method) => self.on_queue(number, method).await,
            AMQPClass::Basic(method) => self.on_basic(number, method).await,
            AMQPClass::Confirm(confirm::AMQPMethod::Select(select)) => {
                let channel = self.channel(number)?;
                if channel.transaction.is_some() {
                    return Err(precondition("cannot switch from tx to confirm mode".to_owned()));
                }
                channel.ledger.get_or_insert_default();
                if !select.nowait {
                    let ok = confirm::AMQPMethod::SelectOk(confirm::SelectOk {});
                    self.out.method(number, &AMQPClass::Confirm(ok));
                }
                Ok(())
            }
            AMQPClass::Tx(method) => self.on_tx(number, method).await,
            other => Err(unimplemented(&other)),
        }
    }

    async fn on_exchange(&mut self, number: u16, method: exchange::AMQPMethod) -> Result<(), Refusal> {
        use exchange::AMQPMethod as Exchange;
        let vhost = self.vhost.clone();
        let owner = self.link.id;
        let bind =
            |destination: &amq_protocol::types::ShortString| Destination::Exchange(destination.to_string());
        let (command, nowait, ok) = match method {
            Exchange::Declare(declare) => {
                self.may_declare_exchange(&declare)?;
                let command = Command::DeclareExchange {
                    vhost,
                    name: declare.exchange.to_string(),
                    kind: declare.kind.to_string(),
                    passive: declare.passive,
                    durable: declare.durable,
                    auto_delete: declare.auto_delete,
                    internal: declare.internal,
                    arguments: declare.arguments,
                };
                (command, declare.nowait, Exchange::DeclareOk(exchange::DeclareOk {}))
            }
            Exchange::Delete(delete) => {
                let name = delete.exchange.to_string();
                self.may_delete_exchange(&name)?;
                let command = Command::DeleteExchange { vhost, name, if_unused: delete.if_unused };
                (command, delete.nowait, Exchange::DeleteOk(exchange::DeleteOk {}))
            }
            Exchange::Bind(asked) => {
                let command = Command::Bind {
                    vhost,
                    source: asked.source.to_string(),
                    destination: bind(&asked.destination),
                    routing_key: asked.routing_key.to_string(),
                    arguments: asked.arguments,
                    owner,
                };
                self.may_carry_out(&command)?;
                (command, asked.nowait, Exchange::BindOk(exchange::BindOk {}))
            }
            Exchange::Unbind(asked) => {
                let command = Command::Unbind {
                    vhost,
                    source: asked.source.to_string(),
                    destination: bind(&asked.destination),
                    routing_key: asked.routing_key.to_string(),
                    arguments: asked.arguments,
                    owner,
                };
                self.may_carry_out(&command)?;
                (command, asked.nowait, Exchange::UnbindOk(exchange::UnbindOk {}))
            }
            Exchange::DeclareOk(_) | Exchange::DeleteOk(_) | Exchange::BindOk(_) | Exchange::UnbindOk(_) => {
                return Err(unimplemented(&AMQPClass::Exchange(method)));
            }
        };
        self.change(command).await?;
        self.reply(number, nowait, AMQPClass::Exchange(ok));
        Ok(())
    }

    async fn on_queue(&mut self, number: u16, method: queue::AMQPMethod) -> Result<(), Refusal> {
        use queue::AMQPMethod as Queue;
        match method {
            Queue::Declare(declare) => self.declare_queue(number, declare).await,
            Queue::Bind(bind) => {
                let nowait = bind.nowait;
                let command = self.bind_command(number, bind)?;
                self.may_carry_out(&command)?;
                self.change(command).await?;
                self.reply(number, nowait, AMQPClass::Queue(Queue::BindOk(queue::BindOk {})));
                Ok(())
            }
            Queue::Unbind(unbind) => {
                let command = Command::Unbind {
                    vhost: self.vhost.clone(),
                    source: unbind.exchange.to_string(),
                    destination: Destination::Queue(self.queue_name(number, unbind.queue.as_str())?),
                    routing_key: unbind.routing_key.to_string(),
                    arguments: unbind.arguments,
                    owner: self.link.id,
                };
                self.may_carry_out(&command)?;
                self.change(command).await?;
                self.reply(number, false, AMQPClass::Queue(Queue::UnbindOk(queue::UnbindOk {})));
                Ok(())
            }
            Queue::Purge(purge) => self.purge(number, &purge).await,
            Queue::Delete(delete) => self.delete_queue(number, &delete).await,
            Queue::DeclareOk(_)
            | Queue::BindOk(_)
            | Queue::UnbindOk(_)
            | Queue::PurgeOk(_)
            | Queue::DeleteOk(_) => Err(unimplemented(&AMQPClass::Queue(method))),
        }
    }

    fn bind_command(&mut self, number: u16, bind: queue::Bind) -> Result<Command, Refusal> {
        let name = self.queue_name(number, bind.queue.as_str())?;
        // AMQP 0-9-1, queue.bind: an empty key beside an empty queue name is the queue's name.
        let both_empty = bind.queue.as_str().is_empty() && bind.routing_key.as_str().is_empty();
        let routing_key = if both_empty { name.clone() } else { bind.routing_key.to_string() };
        Ok(Command::Bind {
            vhost: self.vhost.clone(),
            source: bind.exchange.to_string(),
            destination: Destination::Queue(name),
            routing_key,
            arguments: bind.arguments,
            owner: self.link.id,
        })
    }

    async fn declare_queue(&mut self, number: u16, declare: queue::Declare) -> Result<(), Refusal> {
        if declare.queue.as_str() == REPLY_TO || is_reply_name(declare.queue.as_str()) {
            return self.declare_replies(number, &declare);
        }
        let generated = declare.queue.as_str().is_empty() && !declare.passive;
        let name = if generated { generate("amq.gen-")? } else { declare.queue.to_string() };
        self.may_declare_queue(&name, generated, &declare)?;
        for _ in 0..TRIES {
            let command = Command::DeclareQueue {
                vhost: self.vhost.clone(),
                name: name.clone(),
                generated,
                passive: declare.passive,
                durable: declare.durable,
                exclusive: declare.exclusive,
                auto_delete: declare.auto_delete,
                arguments: declare.arguments.clone(),
                owner: self.link.id,
            };
            let applied = self.change(command).await?;
            self.shared.statistics.churned(Came::QueueDeclared, 1);
            let Some(entry) = applied.outcome.queue else { continue };
            // A passive declare is a use as well, as in RabbitMQ: it renews `x-expires`.
            let counts = self.shared.ask(entry.target(), |reply| ShardInput::Stat(entry.id, reply)).await;
            let counts = counts.ok_or_else(|| self.shared.unanswered(&entry))?;
            let Some(counts) = counts else { continue };
            self.channel(number)?.last_queue = Some(entry.name.to_string());
            let ok = queue::DeclareOk {
                queue: entry.name.to_string().into(),
                message_count: u32::try_from(counts.ready).unwrap_or(u32::MAX),
                consumer_count: counts.consumers,
            };
            self.reply(number, declare.nowait, AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)));
            return Ok(());
        }
        let text = format!("no queue '{name}' in vhost '{}'", self.vhost);
        Err(Refusal::channel(ReplyCode::NotFound, text))
    }

    async fn delete_queue(&mut self, number: u16, delete: &queue::Delete) -> Result<(), Refusal> {
        let name = self.queue_name(number, delete.queue.as_str())?;
        self.check_configure(ObjectKind::Queue, &stripped(&name))?;
        let condition = DeleteIf { unused: delete.if_unused, empty: delete.if_empty, ..DeleteIf::default() };
        let request = DeleteQueue { vhost: self.vhost.clone(), name, owner: self.link.id, condition };
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.shared.meta.push(MetaInput::DeleteQueue(request, reply));
        let message_count = match answer.await.unwrap_or_else(|_| Err(stopping())) {
            Ok((ready, applied)) => {
                tell_deleted(&self.shared, &applied.outcome);
                self.hold_until_synced(applied.index);
                u32::try_from(ready).unwrap_or(u32::MAX)
            }
            Err(refusal) => return Err(refusal),
        };
        let ok = queue::AMQPMethod::DeleteOk(queue::DeleteOk { message_count });
        self.reply(number, delete.nowait, AMQPClass::Queue(ok));
        Ok(())
    }

    /// Has the topology changed; what is written from now on waits until that is durable.
    async fn change(&mut self, command: Command) -> Result<Applied, Refusal> {
        let applied = self.shared.apply(command).await?;
        self.hold_until_synced(applied.index);
        Ok(applied)
    }

    /// A queue's name, or the one declared last when it is empty.
    pub(super) fn queue_name(&mut self, number: u16, name: &str) -> Result<String, Refusal> {
        if !name.is_empty() {
            return Ok(name.to_owned());
        }
        let none = || Refusal::channel(ReplyCode::NotFound, "no previously declared queue");
        self.channel(number)?.last_queue.clone().ok_or_else(none)
    }

    pub(super) fn reply(&mut self, number: u16, nowait: bool, method: AMQPClass) {
        if !nowait {
            self.out.method(number, &method);
        }
    }
}

/// A made-up name.
pub(super) fn generate(prefix: &str) -> Result<String, Refusal> {
    names::generated(prefix).map_err(|error| {
        let text = format!("cannot make a name: the system gives no random numbers ({error})");
        Refusal::connection(ReplyCode::InternalError, text)
    })
}

pub(super) fn unimplemented(method: &AMQPClass) -> Refusal {
    tracing::debug!(?method, "a method that only a server sends");
    Refusal::connection(ReplyCode::CommandInvalid, "unimplemented method")
}
