//! `amq.rabbitmq.reply-to`: requests that carry a name to reply to, and replies past all queues (RabbitMQ: Direct Reply-To).

use std::sync::Arc;

use amq_protocol::protocol::{AMQPClass, basic, queue};
use bytes::Bytes;

use super::declare::generate;
use super::publish::precondition;
use super::session::Session;
use crate::broker::batch;
use crate::broker::channel::ReplyConsumer;
use crate::broker::queue::ConsumerId;
use crate::node::replies::{PREFIX, REPLY_TO, Requester};
use crate::protocol::error::Refusal;
use crate::protocol::reply_code::ReplyCode;

impl Session {
    /// `basic.consume` on [`REPLY_TO`], with a tag that is free.
    pub(super) fn consume_replies(
        &mut self,
        number: u16,
        tag: String,
        consume: &basic::Consume,
    ) -> Result<(), Refusal> {
        let channel = self.channel(number)?;
        if channel.replies.is_some() {
            return Err(precondition("reply consumer already set".to_owned()));
        }
        if !consume.no_ack {
            return Err(precondition("reply consumer cannot acknowledge".to_owned()));
        }
        let name = generate(PREFIX)?;
        let id = self.shared.next_id();
        let requester = Requester::new(self.vhost.clone(), Arc::clone(&self.link), number, id);
        self.shared.replies.add(name.clone(), requester);
        self.takes_replies = true;
        let tag_bytes = Bytes::from(tag.clone());
        self.channel(number)?.replies = Some(ReplyConsumer { id, tag: tag_bytes, name });
        let ok = basic::AMQPMethod::ConsumeOk(basic::ConsumeOk { consumer_tag: tag.into() });
        self.reply(number, consume.nowait, AMQPClass::Basic(ok));
        Ok(())
    }

    /// Ends a channel's reply consumer, if it has one; what was sent before is taken in first, so that nothing follows.
    pub(super) fn end_replies(&mut self, number: u16) {
        let replies = self.channels.get(&number).and_then(|channel| channel.replies.as_ref());
        let Some(replies) = replies else { return };
        self.shared.replies.remove(&replies.name);
        self.hear();
        // Nobody needs to wait for this one any more; for another channel's, the next flush tells anew.
        self.link.mailbox.set_paused(false);
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.replies = None;
        }
    }

    /// A reply has come.
    pub(super) fn deliver_reply(&mut self, number: u16, id: ConsumerId, record: &[u8]) {
        let Some(channel) = self.channels.get_mut(&number) else { return };
        let Some(consumer) = channel.replies.as_ref().filter(|consumer| consumer.id == id) else { return };
        let Some((message, _)) = batch::read(record) else {
            debug_assert!(false, "a reply is a whole record");
            return;
        };
        let tag = channel.unacked.next_tag();
        self.out.deliver(
            number,
            &consumer.tag,
            tag,
            false,
            message.exchange,
            message.routing_key,
            message.header,
            message.body,
        );
    }

    /// The name that a request with this `reply_to` carries instead; none when it is no direct reply.
    pub(super) fn reply_name(
        &mut self,
        number: u16,
        reply_to: Option<&[u8]>,
    ) -> Result<Option<String>, Refusal> {
        if reply_to != Some(REPLY_TO.as_bytes()) {
            return Ok(None);
        }
        let consumer = self.channel(number)?.replies.as_ref();
        let name = consumer.map(|consumer| consumer.name.clone());
        name.map(Some).ok_or_else(|| precondition("fast reply consumer does not exist".to_owned()))
    }

    /// Who gets replies that are published with these keys to the default exchange, each once.
    pub(super) fn requesters(&self, keys: &[&str]) -> Vec<Arc<Requester>> {
        let mut names: Vec<_> = keys.iter().filter(|key| is_reply_name(key)).collect();
        names.sort_unstable();
        names.dedup();
        names.iter().filter_map(|name| self.shared.replies.find(&self.vhost, name)).collect()
    }

    /// `queue.declare` of a name that replies go to, which makes nothing: it tells whether somebody waits.
    pub(super) fn declare_replies(&mut self, number: u16, declare: &queue::Declare) -> Result<(), Refusal> {
        let name = declare.queue.as_str();
        if name != REPLY_TO && self.shared.replies.find(&self.vhost, name).is_none() {
            let text = format!("no queue '{name}' in vhost '{}'", self.vhost);
            return Err(Refusal::channel(ReplyCode::NotFound, text));
        }
        self.channel(number)?.last_queue = Some(name.to_owned());
        let ok = queue::DeclareOk { queue: name.into(), message_count: 0, consumer_count: 1 };
        self.reply(number, declare.nowait, AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)));
        Ok(())
    }
}

/// Whether a routing key of the default exchange means a requester, there or gone; no queue has such a name.
pub(super) fn is_reply_name(name: &str) -> bool {
    name.starts_with(PREFIX)
}
