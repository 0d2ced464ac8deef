//! `basic.consume`, `basic.cancel`, `basic.get`, `basic.qos`, and `queue.purge`: what a shard answers.

use std::sync::Arc;

use amq_protocol::protocol::{AMQPClass, basic, queue};
use amq_protocol::types::FieldTable;
use bytes::Bytes;

use super::declare::{generate, unimplemented};
use super::session::Session;
use crate::broker::arguments::{QueueType, integer, object_text, type_name};
use crate::broker::batch;
use crate::broker::channel::consumers::Consumer;
use crate::broker::channel::unacked::Source;
use crate::broker::delivery_count;
use crate::broker::ids::{Home, Target};
use crate::broker::queue::{Command, ConsumerId, ConsumerSpec, GETTER, GetReply};
use crate::broker::topology::QueueEntry;
use crate::node::auth::ObjectKind;
use crate::node::links::{NotConsuming, ShardInput};
use crate::node::replies::REPLY_TO;
use crate::protocol::error::Refusal;
use crate::protocol::inbound::LARGE_BODY_BYTES;
use crate::protocol::reply_code::ReplyCode;

/// Smaller windows would cost more in credit than they save in memory.
const WINDOW_BYTES_MIN: usize = 16 * 1024;

impl Session {
    pub(super) async fn on_basic(&mut self, number: u16, method: basic::AMQPMethod) -> Result<(), Refusal> {
        use basic::AMQPMethod as Basic;
        match method {
            Basic::Qos(qos) => self.qos(number, &qos),
            Basic::Consume(consume) => self.consume(number, consume).await,
            Basic::Cancel(cancel) => self.cancel(number, cancel).await,
            Basic::Get(get) => self.get(number, &get).await,
            Basic::Recover(recover) => {
                self.recover(number, recover.requeue)?;
                let ok = Basic::RecoverOk(basic::RecoverOk {});
                self.reply(number, false, AMQPClass::Basic(ok));
                Ok(())
            }
            Basic::RecoverAsync(recover) => self.recover(number, recover.requeue),
            other => Err(unimplemented(&AMQPClass::Basic(other))),
        }
    }

    fn qos(&mut self, number: u16, qos: &basic::Qos) -> Result<(), Refusal> {
        let channel = self.channel(number)?;
        if qos.global {
            channel.shared_prefetch.set_limit(qos.prefetch_count);
            let resumed: Vec<_> =
                channel.consumers.iter().map(|consumer| (consumer.id, consumer.target)).collect();
            for (id, target) in resumed {
                self.command(target, Command::Resume(id));
            }
        } else {
            channel.prefetch = qos.prefetch_count;
        }
        self.reply(number, false, AMQPClass::Basic(basic::AMQPMethod::QosOk(basic::QosOk {})));
        Ok(())
    }

    async fn consume(&mut self, number: u16, consume: basic::Consume) -> Result<(), Refusal> {
        let name = self.queue_name(number, consume.queue.as_str())?;
        let tag = match consume.consumer_tag.as_str() {
            "" => generate("amq.ctag-")?,
            tag => tag.to_owned(),
        };
        let channel = self.channel(number)?;
        // A second reply consumer is refused for being the second, whatever its tag.
        let is_taken =
            channel.consumers.has_tag(tag.as_bytes()) || name != REPLY_TO && channel.has_tag(tag.as_bytes());
        if is_taken {
            let text = format!("attempt to reuse consumer tag '{tag}'");
            return Err(Refusal::connection(ReplyCode::NotAllowed, text));
        }
        let (has, most) = (channel.consumers.len(), self.shared.config.limits.channel_consumers_max);
        if most > 0 && has >= most {
            let text = format!("reached maximum ({most}) of consumers per channel");
            return Err(Refusal::connection(ReplyCode::NotAllowed, text));
        }
        if name == REPLY_TO {
            return self.consume_replies(number, tag, &consume);
        }
        self.check_read(ObjectKind::Queue, &name)?;
        let entry = self.find_queue(name)?;
        let timeout_ms = consumer_timeout(&consume.arguments, &entry)?;
        let spec = self.consumer_spec(number, &consume, &entry)?;
        let (id, window_bytes) = (spec.id, spec.window_bytes);
        let limit_ms = self.limit_ms(&Source { target: entry.target(), consumer: id, timeout_ms });
        let (asked, link) = (Box::new(spec.clone()), Arc::clone(&self.link));
        let taken =
            self.shared.ask(entry.target(), |reply| ShardInput::Consume(entry.id, asked, link, reply)).await;
        taken
            .ok_or_else(|| self.shared.unanswered(&entry))?
            .map_err(|reason| not_consuming(reason, &entry))?;
        self.consumers.insert(id, number);
        let consumer = Consumer {
            id,
            tag: Bytes::from(tag.clone()),
            target: entry.target(),
            no_ack: consume.no_ack,
            uncredited_bytes: 0,
            window_bytes,
            timeout_ms,
            limit_ms,
        };
        self.show_consumer(number, &consumer, &spec, consume.arguments, &entry);
        self.channel(number)?.consumers.add(consumer);
        let ok = basic::AMQPMethod::ConsumeOk(basic::ConsumeOk { consumer_tag: tag.into() });
        self.reply(number, consume.nowait, AMQPClass::Basic(ok));
        Ok(())
    }

    fn consumer_spec(
        &mut self,
        number: u16,
        consume: &basic::Consume,
        entry: &QueueEntry,
    ) -> Result<ConsumerSpec, Refusal> {
        let priority = priority(&consume.arguments, entry)?;
        let is_limited = self.channel(number)?.shared_prefetch.is_limited();
        check_global_limit(entry, is_limited)?;
        let window = self.shared.config.limits.outbox_bytes / (self.consumers.len() + 1);
        let id = self.shared.next_id();
        let channel = self.channel(number)?;
        Ok(ConsumerSpec {
            id,
            no_ack: consume.no_ack,
            exclusive: consume.exclusive,
            prefetch: channel.prefetch,
            priority,
            window_bytes: window.max(WINDOW_BYTES_MIN) as u64,
            shared: Arc::clone(&channel.shared_prefetch),
            is_back: false,
            was_served: false,
        })
    }

    async fn cancel(&mut self, number: u16, cancel: basic::Cancel) -> Result<(), Refusal> {
        let tag = cancel.consumer_tag;
        let channel = self.channel(number)?;
        let tag_bytes = tag.as_str().as_bytes();
        let consumer = channel.consumers.by_tag(tag_bytes).map(|consumer| (consumer.id, consumer.target));
        if let Some((id, target)) = consumer {
            self.end_consumer(number, id, target).await;
        } else if channel.has_tag(tag_bytes) {
            self.end_replies(number);
        }
        let ok = basic::AMQPMethod::CancelOk(basic::CancelOk { consumer_tag: tag });
        self.reply(number, cancel.nowait, AMQPClass::Basic(ok));
        Ok(())
    }

    /// Ends a consumer; what its queue sent before is taken in first, so that nothing follows.
    pub(super) async fn end_consumer(&mut self, number: u16, id: ConsumerId, target: Target) {
        let _ = self.shared.ask(target, |reply| ShardInput::Cancel(target.id, id, reply)).await;
        self.hear();
        self.hide_consumer(id);
        self.consumers.remove(&id);
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.consumers.remove(id);
        }
    }

    async fn get(&mut self, number: u16, get: &basic::Get) -> Result<(), Refusal> {
        let name = self.queue_name(number, get.queue.as_str())?;
        self.check_read(ObjectKind::Queue, &name)?;
        let entry = self.find_queue(name)?;
        check_getting(&entry)?;
        let target = entry.target();
        let no_ack = get.no_ack;
        let answer = self.shared.ask(target, |reply| ShardInput::Get(entry.id, no_ack, reply)).await;
        let answer = answer.ok_or_else(|| self.shared.unanswered(&entry))?.ok_or_else(|| no_queue(&entry))?;
        let GetReply::Message { seq, record, redelivered, returns, ready } = answer else {
            self.count_messages(number, |counts| counts.get_empty += 1);
            let empty = basic::AMQPMethod::GetEmpty(basic::GetEmpty {});
            self.reply(number, false, AMQPClass::Basic(empty));
            return Ok(());
        };
        let Some((message, _)) = batch::read(&record) else {
            return Err(Refusal::connection(ReplyCode::InternalError, "a stored message cannot be read"));
        };
        let source = Source { target, consumer: GETTER, timeout_ms: None };
        if !no_ack {
            self.look_at_deliveries_within(self.limit_in(&entry, None));
        }
        let now_ms = self.now_ms;
        let channel = self.channel(number)?;
        let tag = if no_ack {
            channel.unacked.next_tag()
        } else {
            channel.unacked.set_time(now_ms);
            let source = channel.unacked.source(source);
            channel.shared_prefetch.take();
            channel.unacked.deliver(source, seq)
        };
        let counted = delivery_count::header_if(message.header, returns);
        let is_large = message.body.len() >= LARGE_BODY_BYTES;
        self.out.get_ok(
            number,
            tag,
            redelivered,
            message.exchange,
            message.routing_key,
            u32::try_from(ready).unwrap_or(u32::MAX),
            counted.as_deref().unwrap_or(message.header),
            if is_large { &[] } else { message.body },
        );
        if is_large {
            self.out.large_body(number, record.slice_ref(message.body));
        }
        self.count_messages(number, |counts| {
            *(if no_ack { &mut counts.get_no_ack } else { &mut counts.get }) += 1;
            counts.redeliver += u64::from(redelivered);
        });
        if self.is_traced {
            self.trace_delivered(number, target.id, &message, redelivered);
        }
        Ok(())
    }

    pub(super) async fn purge(&mut self, number: u16, purge: &queue::Purge) -> Result<(), Refusal> {
        let name = self.queue_name(number, purge.queue.as_str())?;
        self.check_read(ObjectKind::Queue, &name)?;
        let entry = self.find_queue(name)?;
        let purged = self.shared.ask(entry.target(), |reply| ShardInput::Purge(entry.id, reply)).await;
        let purged = purged.ok_or_else(|| self.shared.unanswered(&entry))?.ok_or_else(|| no_queue(&entry))?;
        let message_count = u32::try_from(purged).unwrap_or(u32::MAX);
        let ok = queue::AMQPMethod::PurgeOk(queue::PurgeOk { message_count });
        self.reply(number, purge.nowait, AMQPClass::Queue(ok));
        Ok(())
    }

    /// A queue that this connection may use.
    fn find_queue(&self, name: String) -> Result<Arc<QueueEntry>, Refusal> {
        let found = self.shared.topology().check_queue(&self.vhost, name.clone(), self.link.id)?;
        let text = format!("no queue '{name}' in vhost '{}'", self.vhost);
        found.queue.ok_or_else(|| Refusal::channel(ReplyCode::NotFound, text))
    }

    pub(super) fn command(&self, target: Target, command: Command) {
        self.shared.shard(target).push(ShardInput::Command(target.id, command));
    }
}

fn not_consuming(reason: NotConsuming, entry: &QueueEntry) -> Refusal {
    match reason {
        NotConsuming::Gone => no_queue(entry),
        NotConsuming::Exclusive => {
            let text = format!("queue '{}' in vhost '{}' in exclusive use", entry.name, entry.vhost);
            Refusal::channel(ReplyCode::AccessRefused, text)
        }
    }
}

/// Those who own a replicated queue know nothing of what a channel's other consumers hold, in RabbitMQ and here.
fn check_global_limit(entry: &QueueEntry, is_limited: bool) -> Result<(), Refusal> {
    let is_elsewhere = matches!(entry.home, Home::Group(_));
    if !is_limited || !is_elsewhere || entry.settings.queue_type != QueueType::Quorum {
        return Ok(());
    }
    let queue = object_text("queue", &entry.name, &entry.vhost);
    let text = format!("{queue} does not support global qos");
    Err(Refusal::connection(ReplyCode::NotImplemented, text))
}

/// RabbitMQ's quorum queues let nobody get beside a single active consumer.
fn check_getting(entry: &QueueEntry) -> Result<(), Refusal> {
    if entry.settings.queue_type != QueueType::Quorum || !entry.settings.single_active_consumer {
        return Ok(());
    }
    let text = format!(
        "cannot obtain access to locked queue '{}' in vhost '{}'. basic.get operations are not supported by quorum \
         queues with single active consumer",
        entry.name, entry.vhost
    );
    Err(Refusal::channel(ReplyCode::ResourceLocked, text))
}

fn no_queue(entry: &QueueEntry) -> Refusal {
    let text = format!("no queue '{}' in vhost '{}'", entry.name, entry.vhost);
    Refusal::channel(ReplyCode::NotFound, text)
}

/// `x-priority` (RabbitMQ: Consumer Priorities).
fn priority(arguments: &FieldTable, entry: &QueueEntry) -> Result<i32, Refusal> {
    let number = number(arguments, "x-priority", entry)?.unwrap_or(0);
    Ok(i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX }))
}

/// `x-consumer-timeout`, milliseconds (RabbitMQ: Consumers, Delivery Acknowledgement Timeout).
fn consumer_timeout(arguments: &FieldTable, entry: &QueueEntry) -> Result<Option<u64>, Refusal> {
    const NAME: &str = "x-consumer-timeout";
    let Some(number) = number(arguments, NAME, entry)? else { return Ok(None) };
    let timeout_ms = u64::try_from(number);
    timeout_ms.map(Some).map_err(|_| invalid(NAME, entry, &format!("{{value_negative,{number}}}")))
}

fn number(arguments: &FieldTable, name: &str, entry: &QueueEntry) -> Result<Option<i64>, Refusal> {
    let Some(value) = arguments.inner().get(name) else { return Ok(None) };
    let reason = || format!("\"expected integer, got {}\"", type_name(value));
    integer(value).map(Some).ok_or_else(|| invalid(name, entry, &reason()))
}

fn invalid(name: &str, entry: &QueueEntry, reason: &str) -> Refusal {
    let queue = object_text("queue", &entry.name, &entry.vhost);
    Refusal::channel(ReplyCode::PreconditionFailed, format!("invalid arg '{name}' for {queue}: {reason}"))
}
