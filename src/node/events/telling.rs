//! Events as messages of the exchange `amq.rabbitmq.event` (RabbitMQ: Event Exchange): the name is the routing key, what is to
//! be known of it stands in the headers, the body is empty. Nothing is made while nobody is bound to it.

use std::sync::atomic::{AtomicU64, Ordering};

use amq_protocol::types::AMQPValue;

use crate::broker::batch::{Batch, Message};
use crate::broker::topology::{EVENT_EXCHANGE, EVENT_VHOST, RouteQuery};
use crate::node::links::{ShardInput, Waiter};
use crate::node::shared::Shared;
use crate::protocol::properties::{Properties, with_fields};
use crate::protocol::table;

/// Names with values, as an event carries them.
pub(crate) type Facts = Vec<(&'static str, AMQPValue)>;

/// Whether somebody listens, as of which version of the topology: the version twice, and one more if so.
#[derive(Debug, Default)]
pub(crate) struct Listeners(AtomicU64);

impl Shared {
    /// Whether somebody is bound to the exchange of events.
    pub(crate) fn tells_events(&self) -> bool {
        let version = self.version();
        let known = self.listeners.0.load(Ordering::Relaxed);
        if known >> 1 == version && known != 0 {
            return known & 1 == 1;
        }
        let is_told =
            self.topology().exchange(EVENT_VHOST, EVENT_EXCHANGE).is_some_and(|it| it.bindings_from() > 0);
        self.listeners.0.store(version << 1 | u64::from(is_told), Ordering::Relaxed);
        is_told
    }

    /// Tells of an event, if somebody listens. What finds no room on its way to a queue is dropped: an event stops nobody.
    pub(crate) fn tell_event(&self, name: &str, facts: impl FnOnce() -> Facts) {
        if self.tells_events() {
            self.publish_event(name, &facts());
        }
    }

    fn publish_event(&self, name: &str, facts: &Facts) {
        let mut targets = Vec::new();
        let query = RouteQuery {
            vhost: EVENT_VHOST,
            exchange: EVENT_EXCHANGE,
            keys: &[name],
            properties: None,
            allow_internal: true,
            is_due: false,
        };
        if self.topology().route(&query, &mut targets).is_err() || targets.is_empty() {
            return;
        }
        let now_ms = self.clock.now_ms();
        let mut headers = Vec::new();
        facts.iter().for_each(|(name, value)| table::put_field(&mut headers, name.as_bytes(), value));
        let at_ms = AMQPValue::LongLongInt(i64::try_from(now_ms).unwrap_or(i64::MAX));
        table::put_field(&mut headers, b"timestamp_in_ms", &at_ms);
        let properties = Properties {
            headers: Some(&headers),
            delivery_mode: Some(2),
            timestamp: Some(now_ms / 1000),
            ..Properties::default()
        };
        let header = with_fields(0, &properties);
        let message = Message {
            exchange: EVENT_EXCHANGE.as_bytes(),
            routing_key: name.as_bytes(),
            header: &header,
            enqueued_ms: now_ms,
            persistent: true,
            ..Message::default()
        };
        for target in targets.into_iter().filter(|target| self.shard(*target).has_room()) {
            let mut record = Vec::with_capacity(message.length());
            message.put(&mut record);
            let bytes = record.len();
            let input = ShardInput::Publish(target.id, Batch::of(record, 1, 1), Waiter::Nobody);
            self.shard(target).push_bulk(input, bytes);
        }
    }
}

/// A text, as events carry it.
pub(crate) fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.as_bytes().to_vec().into())
}

/// A number, as events carry it.
pub(crate) fn number(number: u64) -> AMQPValue {
    AMQPValue::LongLongInt(i64::try_from(number).unwrap_or(i64::MAX))
}
