//! A queue as it is shown.

use serde::{Serialize, Serializer};

use crate::broker::arguments::QueueType;
use crate::management::api::consumers::ConsumerRow;
use crate::management::api::numbers::{Histories, MessageStats, Rate, time_text};
use crate::management::api::shape::{Collection, Peer, Reductions, Table};
use crate::node::statistics::QueueNumbers;
use crate::node::{EffectivePolicy, QueueDetail, QueueInfo};

/// A queue that did nothing for so long is idle.
const IDLE_MS: u64 = 5_000;

/// A queue with its numbers.
pub(super) struct Row {
    queue: QueueInfo,
    /// Only when one queue is shown.
    whole: Option<Whole>,
    now_ms: u64,
}

struct Whole {
    consumers: Vec<ConsumerRow>,
    owner: Option<Peer>,
    histories: Histories,
}

/// A queue without its numbers, or with those of its messages alone.
pub(super) struct Plain {
    pub(super) queue: QueueInfo,
    pub(super) with_totals: bool,
}

#[derive(Serialize)]
struct ShownPlain<'a> {
    arguments: Table<'a>,
    auto_delete: bool,
    durable: bool,
    exclusive: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages_ready: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages_unacknowledged: Option<u64>,
    name: &'a str,
    node: &'a str,
    state: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    vhost: &'a str,
}

#[derive(Serialize)]
struct Shown<'a> {
    arguments: Table<'a>,
    auto_delete: bool,
    backing_queue_status: Backing,
    consumer_capacity: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer_details: Option<&'a [ConsumerRow]>,
    consumer_utilisation: f64,
    consumers: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliveries: Option<[(); 0]>,
    durable: bool,
    effective_policy_definition: Table<'a>,
    exclusive: bool,
    exclusive_consumer_tag: Option<&'a str>,
    garbage_collection: Collection,
    head_message_timestamp: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    incoming: Option<[(); 0]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leader: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<&'a [String]>,
    memory: u64,
    message_bytes: u64,
    message_bytes_paged_out: u64,
    message_bytes_persistent: u64,
    message_bytes_ram: u64,
    message_bytes_ready: u64,
    message_bytes_unacknowledged: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_stats: Option<MessageStats>,
    messages: u64,
    messages_delayed: u64,
    messages_details: Rate,
    messages_paged_out: u64,
    messages_persistent: u64,
    messages_ram: u64,
    messages_ready: u64,
    messages_ready_details: Rate,
    messages_ready_ram: u64,
    messages_unacknowledged: u64,
    messages_unacknowledged_details: Rate,
    messages_unacknowledged_ram: u64,
    name: &'a str,
    node: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_message_received_timestamp: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    online: Option<&'a [String]>,
    operator_policy: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner_pid_details: Option<&'a Peer>,
    policy: Option<&'a str>,
    recoverable_slaves: Option<[(); 0]>,
    reductions: u64,
    reductions_details: Reductions,
    single_active_consumer_tag: Option<&'a str>,
    state: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    vhost: &'a str,
}

/// What RabbitMQ tells of how a queue keeps its messages, as far as it makes sense here.
#[derive(Serialize)]
struct Backing {
    mode: &'static str,
    len: u64,
    avg_ingress_rate: f64,
    avg_egress_rate: f64,
    avg_ack_ingress_rate: f64,
    avg_ack_egress_rate: f64,
}

impl Row {
    pub(super) fn new(queue: QueueInfo, now_ms: u64) -> Self {
        Self { queue, whole: None, now_ms }
    }

    pub(super) fn whole(detail: QueueDetail, histories: Histories, now_ms: u64) -> Self {
        let QueueDetail { queue, consumers, owner } = detail;
        let consumers = consumers.into_iter().map(ConsumerRow).collect();
        let owner = owner.map(|facts| Peer::of(&facts));
        Self { queue, whole: Some(Whole { consumers, owner, histories }), now_ms }
    }

    fn put<S: Serializer>(
        &self,
        numbers: &QueueNumbers,
        policy: &EffectivePolicy,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let entry = &self.queue.entry;
        let whole = self.whole.as_ref();
        let is_replicated = entry.settings.queue_type == QueueType::Quorum;
        let histories = whole.map(|whole| &whole.histories);
        let rate = |name: &str| histories.map_or(Rate::Now(0.0), |histories| histories.rate(name, 0.0));
        let sum = histories.and_then(|all| all.sum(&["messages_ready", "messages_unacknowledged"]));
        let stats = MessageStats::of_queue(&numbers.counts, numbers.rates.as_deref());
        let rates = numbers.rates.as_deref().copied().unwrap_or_default();
        let [publish, .., ack] = rates;
        let ready = numbers.ready + numbers.delayed;
        let messages = ready + numbers.unacked;
        let unacked_bytes = numbers.bytes.saturating_sub(numbers.ready_bytes);
        let is_idle = self.now_ms.saturating_sub(numbers.active_ms) >= IDLE_MS;
        let in_memory = numbers.in_memory.min(messages);
        let consumers = whole.map(|whole| whole.consumers.as_slice());
        let active = numbers.active_consumer;
        let tag = |consumer: &&'_ ConsumerRow| Some(consumer.0.facts.id) == active;
        let single_active = consumers.and_then(|consumers| consumers.iter().find(tag));
        let exclusive = consumers.and_then(|consumers| consumers.iter().find(|one| one.0.facts.exclusive));
        let shown = Shown {
            arguments: Table(&entry.arguments),
            auto_delete: entry.auto_delete,
            backing_queue_status: Backing {
                mode: "default",
                len: ready,
                avg_ingress_rate: f64::from(publish),
                avg_egress_rate: f64::from(ack),
                avg_ack_ingress_rate: f64::from(ack),
                avg_ack_egress_rate: f64::from(ack),
            },
            consumer_capacity: f64::from(numbers.consumer_capacity),
            consumer_details: consumers,
            consumer_utilisation: f64::from(numbers.consumer_capacity),
            consumers: numbers.consumers,
            deliveries: whole.map(|_| []),
            durable: entry.durable,
            effective_policy_definition: Table(&policy.definition),
            exclusive: entry.exclusive.is_some(),
            exclusive_consumer_tag: exclusive.map(|consumer| consumer.0.facts.tag.as_str()),
            garbage_collection: Collection::default(),
            head_message_timestamp: numbers.head_timestamp_s,
            idle_since: is_idle.then(|| time_text(numbers.active_ms)),
            incoming: whole.map(|_| []),
            leader: is_replicated.then_some(&self.queue.node),
            members: is_replicated.then_some(&self.queue.members),
            memory: numbers.memory_bytes,
            message_bytes: numbers.bytes,
            message_bytes_paged_out: numbers.bytes.saturating_sub(numbers.in_memory_bytes),
            message_bytes_persistent: numbers.persistent_bytes,
            message_bytes_ram: numbers.in_memory_bytes,
            message_bytes_ready: numbers.ready_bytes,
            message_bytes_unacknowledged: unacked_bytes,
            message_stats: stats.map(|stats| match histories {
                Some(histories) => stats.with(histories),
                None => stats,
            }),
            messages,
            messages_delayed: numbers.delayed,
            messages_details: sum.map_or_else(Rate::default, Rate::History),
            messages_paged_out: messages - in_memory,
            messages_persistent: numbers.persistent,
            messages_ram: in_memory,
            messages_ready: ready,
            messages_ready_details: rate("messages_ready"),
            messages_ready_ram: in_memory.min(ready),
            messages_unacknowledged: numbers.unacked,
            messages_unacknowledged_details: rate("messages_unacknowledged"),
            messages_unacknowledged_ram: numbers.unacked.min(in_memory),
            name: &entry.name,
            node: &self.queue.node,
            oldest_message_received_timestamp: numbers.oldest_ms,
            online: is_replicated.then_some(&self.queue.online),
            operator_policy: policy.operator_policy.as_deref(),
            owner_pid_details: whole.and_then(|whole| whole.owner.as_ref()),
            policy: policy.policy.as_deref(),
            recoverable_slaves: None,
            reductions: 0,
            reductions_details: Reductions::default(),
            single_active_consumer_tag: single_active.map(|consumer| consumer.0.facts.tag.as_str()),
            state: self.queue.state.as_str(),
            kind: entry.settings.queue_type.name(),
            vhost: &entry.vhost,
        };
        shown.serialize(serializer)
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let none = QueueNumbers { active_ms: self.now_ms, ..QueueNumbers::default() };
        let numbers = self.queue.numbers.as_ref().unwrap_or(&none);
        self.put(numbers, &self.queue.policy(), serializer)
    }
}

impl Serialize for Plain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let QueueInfo { entry, numbers, state, node, .. } = &self.queue;
        let numbers = numbers.as_ref().filter(|_| self.with_totals);
        let ready = |numbers: &QueueNumbers| numbers.ready + numbers.delayed;
        let shown = ShownPlain {
            arguments: Table(&entry.arguments),
            auto_delete: entry.auto_delete,
            durable: entry.durable,
            exclusive: entry.exclusive.is_some(),
            messages: numbers.map(|numbers| ready(numbers) + numbers.unacked),
            messages_ready: numbers.map(ready),
            messages_unacknowledged: numbers.map(|numbers| numbers.unacked),
            name: &entry.name,
            node,
            state: state.as_str(),
            kind: entry.settings.queue_type.name(),
            vhost: &entry.vhost,
        };
        shown.serialize(serializer)
    }
}
