//! Copies of what is published and delivered, for who traces the vhost (RabbitMQ: Firehose Tracer).
//!
//! Whether the vhost is traced is looked at once for each read. While it is, no route is remembered, so that every publish
//! is looked at here; while it is not, a publish costs nothing more.

use amq_protocol::types::{AMQPValue, FieldArray, FieldTable};

use super::session::Session;
use crate::broker::batch::{self, Message};
use crate::broker::channel::routes::RouteCache;
use crate::broker::ids::{QueueId, Target};
use crate::broker::queue::Delivery;
use crate::broker::topology::RouteQuery;
use crate::node::control::MessageProperties;
use crate::node::events::tracing::EXCHANGE;
use crate::protocol::properties::{Properties, with_fields};
use crate::protocol::table;

/// A routing key is a short string.
const KEY_BYTES_MAX: usize = 255;

impl Session {
    /// Looks whether the vhost is traced; to be asked once for each read.
    #[inline]
    pub(super) fn look_at_tracing(&mut self) {
        let changes = self.shared.tracing.changes();
        if changes != self.tracing_seen {
            self.tracing_seen = changes;
            self.set_traced(self.shared.tracing.is_on(&self.vhost));
        }
    }

    #[cold]
    fn set_traced(&mut self, is_traced: bool) {
        if self.is_traced != is_traced {
            self.is_traced = is_traced;
            self.repeat = None;
            self.channels.values_mut().for_each(|channel| channel.routes = RouteCache::default());
        }
    }

    /// Copies a publish that goes to these queues.
    pub(super) fn trace_publish(&mut self, number: u16, message: &Message<'_>, queues: &[Target]) {
        let names: Vec<_> = {
            let topology = self.shared.topology();
            let names = queues.iter().filter_map(|target| topology.queue_by_id(target.id));
            names.map(|queue| long(queue.name.as_bytes())).collect()
        };
        let mut facts = self.facts(number, message);
        facts.push(("routed_queues", AMQPValue::FieldArray(FieldArray::from(names))));
        let suffix = String::from_utf8_lossy(message.exchange).into_owned();
        self.put_trace(number, &format!("publish.{suffix}"), &facts, message.body);
    }

    /// Copies messages that a consumer was given.
    pub(super) fn trace_delivery(&mut self, delivery: &Delivery) {
        let Some(number) = self.consumers.get(&delivery.consumer).copied() else { return };
        let consumer =
            self.channels.get(&number).and_then(|channel| channel.consumers.get(delivery.consumer));
        let Some(queue) = consumer.map(|consumer| consumer.target.id) else { return };
        for entry in &delivery.entries {
            let record = usize::try_from(entry.offset).ok().and_then(|offset| delivery.data.get(offset..));
            if let Some((message, _)) = record.and_then(batch::read) {
                self.trace_delivered(number, queue, &message, entry.redelivered);
            }
        }
        self.send_batches();
    }

    /// Copies one message that was delivered. Copies themselves are not copied.
    pub(super) fn trace_delivered(
        &mut self,
        number: u16,
        queue: QueueId,
        message: &Message<'_>,
        redelivered: bool,
    ) {
        if message.exchange == EXCHANGE.as_bytes() {
            return;
        }
        let name = self.shared.topology().queue_by_id(queue).map(|queue| queue.name.to_string());
        let Some(name) = name else { return };
        let mut facts = self.facts(number, message);
        facts.push(("redelivered", AMQPValue::LongInt(redelivered.into())));
        self.put_trace(number, &format!("deliver.{name}"), &facts, message.body);
    }

    fn facts(&self, number: u16, message: &Message<'_>) -> Vec<(&'static str, AMQPValue)> {
        let properties = Properties::parse(message.header).unwrap_or_default();
        let cc = properties.headers.and_then(|headers| table::find(headers, b"CC"));
        let cc = cc.iter().flat_map(|cc| cc.items()).filter(|(kind, _)| *kind == b'S');
        let cc = cc.filter_map(|(_, key)| Some(long(key.get(4..)?)));
        let keys: Vec<_> = std::iter::once(long(message.routing_key)).chain(cc).collect();
        vec![
            ("exchange_name", long(message.exchange)),
            ("routing_keys", AMQPValue::FieldArray(FieldArray::from(keys))),
            ("properties", AMQPValue::FieldTable(properties_table(message.header))),
            ("node", long(self.shared.config.node.name.as_bytes())),
            ("vhost", long(self.vhost.as_bytes())),
            ("connection", long(self.name().as_bytes())),
            ("channel", AMQPValue::LongInt(number.into())),
            ("user", long(self.user.as_bytes())),
        ]
    }

    fn put_trace(&mut self, number: u16, key: &str, facts: &[(&str, AMQPValue)], body: &[u8]) {
        let end = (0..=key.len().min(KEY_BYTES_MAX)).rev().find(|end| key.is_char_boundary(*end));
        let key = key.get(..end.unwrap_or(0)).unwrap_or_default();
        let mut targets = Vec::new();
        let query = RouteQuery {
            vhost: &self.vhost,
            exchange: EXCHANGE,
            keys: &[key],
            properties: None,
            allow_internal: true,
            is_due: false,
        };
        let routed = self.shared.topology().route(&query, &mut targets);
        let epoch = self.channels.get(&number).map(|channel| channel.epoch);
        let (Ok(_), Some(epoch)) = (routed, epoch) else { return };
        if targets.is_empty() {
            return;
        }
        let mut headers = Vec::new();
        facts.iter().for_each(|(name, value)| table::put_field(&mut headers, name.as_bytes(), value));
        let properties = Properties { headers: Some(&headers), ..Properties::default() };
        let header = with_fields(body.len() as u64, &properties);
        let message = Message {
            exchange: EXCHANGE.as_bytes(),
            routing_key: key.as_bytes(),
            header: &header,
            body,
            enqueued_ms: self.now_ms,
            ..Message::default()
        };
        for target in targets {
            self.outgoing.append((number, epoch), target, false, None, |records| message.put(records));
        }
    }
}

fn long(bytes: &[u8]) -> AMQPValue {
    AMQPValue::LongString(bytes.to_vec().into())
}

/// A message's properties as RabbitMQ's tracer writes them: numbers with 32 bits, all else as texts.
fn properties_table(header: &[u8]) -> FieldTable {
    let properties = MessageProperties::of_header(header);
    let mut out = FieldTable::default();
    let mut put = |name: &str, value: Option<AMQPValue>| {
        value.into_iter().for_each(|value| {
            out.insert(name.into(), value);
        });
    };
    let text = |text: &Option<String>| text.as_ref().map(|text| long(text.as_bytes()));
    let number = |number: Option<u64>| {
        number.map(|number| match i32::try_from(number) {
            Ok(number) => AMQPValue::LongInt(number),
            Err(_) => AMQPValue::LongLongInt(i64::try_from(number).unwrap_or(i64::MAX)),
        })
    };
    put("content_type", text(&properties.content_type));
    put("content_encoding", text(&properties.content_encoding));
    put("headers", properties.headers.clone().map(AMQPValue::FieldTable));
    put("delivery_mode", number(properties.delivery_mode.map(u64::from)));
    put("priority", number(properties.priority.map(u64::from)));
    put("correlation_id", text(&properties.correlation_id));
    put("reply_to", text(&properties.reply_to));
    put("expiration", text(&properties.expiration));
    put("message_id", text(&properties.message_id));
    put("timestamp", number(properties.timestamp));
    put("type", text(&properties.kind));
    put("user_id", text(&properties.user_id));
    put("app_id", text(&properties.app_id));
    put("cluster_id", text(&properties.cluster_id));
    out
}
