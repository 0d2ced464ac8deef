//! Families of queues: for each, or summed up.

use super::text::{Kind, Text, to_f64};
use crate::broker::topology::QueueEntry;
use crate::node::statistics::{NodeNumbers, QueueNumbers, QueueTotals};

/// A family of queues.
struct Family {
    /// Under which it is asked for in `/metrics/detailed`.
    group: &'static str,
    name: &'static str,
    kind: Kind,
    help: &'static str,
    each: fn(&QueueNumbers) -> f64,
    /// Over all queues; some say nothing summed up.
    all: Option<fn(&QueueTotals) -> f64>,
}

const COARSE: &str = "queue_coarse_metrics";
const CONSUMERS: &str = "queue_consumer_count";
const FINE: &str = "queue_metrics";
const DELIVERY: &str = "queue_delivery_metrics";
const PUBLISHED: &str = "channel_queue_exchange_metrics";

macro_rules! family {
    ($group:expr, $name:literal, $kind:ident, $help:literal, $each:expr, $all:expr) => {
        Family {
            group: $group,
            name: $name,
            kind: Kind::$kind,
            help: $help,
            each: |queue| to_f64($each(queue)),
            all: Some(|totals| to_f64($all(totals))),
        }
    };
}

type Q = QueueNumbers;
type T = QueueTotals;

#[rustfmt::skip]
const FAMILIES: &[Family] = &[
    family!(COARSE, "queue_messages_ready", Gauge, "Messages ready to be delivered to consumers",
        |queue: &Q| queue.ready + queue.delayed, |totals: &T| totals.ready),
    family!(COARSE, "queue_messages_unacked", Gauge, "Messages delivered to consumers but not yet acknowledged",
        |queue: &Q| queue.unacked, |totals: &T| totals.unacked),
    family!(COARSE, "queue_messages", Gauge, "Ready and unacknowledged messages: the depth of the queue",
        |queue: &Q| queue.ready + queue.delayed + queue.unacked, |totals: &T| totals.ready + totals.unacked),
    family!(COARSE, "queue_process_reductions_total", Counter, "Always 0: queues are no processes here",
        |_: &Q| 0, |_: &T| 0),
    family!(CONSUMERS, "queue_consumers", Gauge, "Consumers on a queue",
        |queue: &Q| u64::from(queue.consumers), |totals: &T| totals.consumers),
    Family { group: FINE, name: "queue_consumer_capacity", kind: Kind::Gauge,
        help: "Share of the time in which consumers could take messages at once",
        each: |queue| f64::from(queue.consumer_capacity), all: None },
    Family { group: FINE, name: "queue_consumer_utilisation", kind: Kind::Gauge, help: "Same as consumer capacity",
        each: |queue| f64::from(queue.consumer_capacity), all: None },
    family!(FINE, "queue_process_memory_bytes", Gauge, "Memory that queues and their messages take",
        |queue: &Q| queue.memory_bytes, |totals: &T| totals.in_memory_bytes),
    family!(FINE, "queue_messages_ram", Gauge, "Messages in memory",
        |queue: &Q| queue.in_memory, |totals: &T| totals.in_memory),
    family!(FINE, "queue_messages_ram_bytes", Gauge, "Bytes of messages in memory",
        |queue: &Q| queue.in_memory_bytes, |totals: &T| totals.in_memory_bytes),
    family!(FINE, "queue_messages_ready_ram", Gauge, "Ready messages in memory",
        |queue: &Q| queue.in_memory.min(queue.ready), |totals: &T| totals.in_memory.min(totals.ready)),
    family!(FINE, "queue_messages_unacked_ram", Gauge, "Unacknowledged messages in memory",
        |queue: &Q| queue.in_memory.min(queue.unacked), |totals: &T| totals.in_memory.min(totals.unacked)),
    family!(FINE, "queue_messages_persistent", Gauge, "Persistent messages",
        |queue: &Q| queue.persistent, |totals: &T| totals.persistent),
    family!(FINE, "queue_messages_persistent_bytes", Gauge, "Bytes of persistent messages",
        |queue: &Q| queue.persistent_bytes, |totals: &T| totals.persistent_bytes),
    family!(FINE, "queue_messages_bytes", Gauge, "Bytes of ready and unacknowledged messages",
        |queue: &Q| queue.bytes, |totals: &T| totals.bytes),
    family!(FINE, "queue_messages_ready_bytes", Gauge, "Bytes of ready messages",
        |queue: &Q| queue.ready_bytes, |totals: &T| totals.ready_bytes),
    family!(FINE, "queue_messages_unacked_bytes", Gauge, "Bytes of unacknowledged messages",
        |queue: &Q| queue.bytes - queue.ready_bytes.min(queue.bytes),
        |totals: &T| totals.bytes - totals.ready_bytes.min(totals.bytes)),
    family!(FINE, "queue_messages_paged_out", Gauge, "Messages in the cold store only",
        |queue: &Q| (queue.ready + queue.unacked).saturating_sub(queue.in_memory),
        |totals: &T| (totals.ready + totals.unacked).saturating_sub(totals.in_memory)),
    family!(FINE, "queue_messages_paged_out_bytes", Gauge, "Bytes of messages in the cold store only",
        |queue: &Q| queue.bytes.saturating_sub(queue.in_memory_bytes),
        |totals: &T| totals.bytes.saturating_sub(totals.in_memory_bytes)),
    Family { group: FINE, name: "queue_head_message_timestamp", kind: Kind::Gauge,
        help: "Timestamp of the first message in the queue, if any",
        each: |queue| queue.head_timestamp_s.map_or(f64::NAN, to_f64), all: None },
    family!(DELIVERY, "queue_get_ack_total", Counter, "Messages fetched one by one, to be acknowledged",
        |queue: &Q| queue.counts.get, |totals: &T| totals.counts.get),
    family!(DELIVERY, "queue_get_total", Counter, "Messages fetched one by one without acknowledgement",
        |queue: &Q| queue.counts.get_no_ack, |totals: &T| totals.counts.get_no_ack),
    family!(DELIVERY, "queue_messages_delivered_ack_total", Counter, "Messages delivered to consumers that acknowledge",
        |queue: &Q| queue.counts.deliver, |totals: &T| totals.counts.deliver),
    family!(DELIVERY, "queue_messages_delivered_total", Counter, "Messages delivered to consumers that do not acknowledge",
        |queue: &Q| queue.counts.deliver_no_ack, |totals: &T| totals.counts.deliver_no_ack),
    family!(DELIVERY, "queue_messages_redelivered_total", Counter, "Messages delivered again",
        |queue: &Q| queue.counts.redeliver, |totals: &T| totals.counts.redeliver),
    family!(DELIVERY, "queue_messages_acked_total", Counter, "Messages acknowledged by consumers",
        |queue: &Q| queue.counts.ack, |totals: &T| totals.counts.ack),
    family!(DELIVERY, "queue_get_empty_total", Counter, "Fetches that found no message",
        |queue: &Q| queue.counts.get_empty, |totals: &T| totals.counts.get_empty),
    family!(PUBLISHED, "queue_messages_published_total", Counter, "Messages published to queues",
        |queue: &Q| queue.counts.publish, |totals: &T| totals.counts.publish),
];

/// Families summed up over all queues of a node.
pub(super) fn put_totals(text: &mut Text, node: &NodeNumbers) {
    let mut totals = node.classic;
    totals.merge(&node.quorum);
    for family in FAMILIES {
        if let Some(all) = family.all {
            text.one("rabbitmq_", family.name, family.kind, family.help, all(&totals));
        }
    }
}

/// How many families there are; they are put one by one, since each may be long.
pub(super) fn count() -> usize {
    FAMILIES.len()
}

/// Puts the family at a place for each queue, if its group is wanted.
pub(super) fn put(
    text: &mut Text,
    at: usize,
    prefix: &str,
    is_wanted: impl Fn(&str) -> bool,
    queues: &[(std::sync::Arc<QueueEntry>, QueueNumbers)],
) {
    let Some(family) = FAMILIES.get(at).filter(|family| is_wanted(family.group)) else { return };
    text.family(prefix, family.name, family.kind, family.help);
    for (entry, numbers) in queues {
        text.sample(&[("vhost", &entry.vhost), ("queue", &entry.name)], (family.each)(numbers));
    }
}

/// What RabbitMQ does not tell: how old the oldest message of each queue is, and how far consumers are behind.
pub(super) fn put_ages(text: &mut Text, queues: &[(std::sync::Arc<QueueEntry>, QueueNumbers)], now_ms: u64) {
    let age_s = |numbers: &QueueNumbers| {
        numbers.oldest_ms.map_or(0.0, |oldest_ms| to_f64(now_ms.saturating_sub(oldest_ms)) / 1000.0)
    };
    let help = "Age of the message that is ready for the longest time";
    text.family("warren_", "queue_oldest_message_age_seconds", Kind::Gauge, help);
    for (entry, numbers) in queues {
        text.sample(&[("vhost", &entry.vhost), ("queue", &entry.name)], age_s(numbers));
    }
    let help = "How far the consumers of a queue are behind";
    text.family("warren_", "queue_time_lag_seconds", Kind::Gauge, help);
    for (entry, numbers) in queues.iter().filter(|(_, numbers)| numbers.consumers > 0) {
        text.sample(&[("vhost", &entry.vhost), ("queue", &entry.name)], age_s(numbers));
    }
}
