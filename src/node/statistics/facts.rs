//! What is told of connections, channels, consumers and queues: plain values that travel between nodes.

use std::net::SocketAddr;

use amq_protocol::types::FieldTable;
use serde::{Deserialize, Serialize};

use crate::broker::counts::{DeathCounts, ExchangeCounts, MessageCounts};
use crate::broker::ids::{ConnectionId, NodeId};
use crate::broker::queue::ConsumerId;

/// What is known of a connection from its opening on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConnectionFacts {
    /// Its number, unique in the cluster.
    pub id: ConnectionId,
    /// The node that it is on.
    pub node: String,
    /// The client's end.
    pub peer: SocketAddr,
    /// This end.
    pub local: SocketAddr,
    /// Who has logged in.
    pub user: String,
    /// The vhost that is open.
    pub vhost: String,
    /// How the user has logged in: `PLAIN` and the like.
    pub auth_mechanism: String,
    /// What is known of its TLS, if it uses that.
    pub tls: Option<TlsFacts>,
    /// `AMQP 0-9-1`, or with `Web` in front of it.
    pub protocol: String,
    /// What the client says of itself.
    pub client_properties: FieldTable,
    /// The heartbeat interval in seconds; 0 is off.
    pub timeout_s: u16,
    /// The largest frame, in bytes.
    pub frame_max: u32,
    /// How many channels there may be; 0 is no limit.
    pub channel_max: u16,
    /// When it was opened, Unix milliseconds.
    pub connected_at_ms: u64,
}

/// What is known of a connection's TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsFacts {
    /// `tlsv1.3` and the like.
    pub protocol: String,
    /// The name of the cipher suite.
    pub cipher: String,
    /// Of the client's certificate, if it has shown one.
    pub peer_subject: Option<String>,
    /// Who issued it.
    pub peer_issuer: Option<String>,
    /// Until when it is valid, as text.
    pub peer_validity: Option<String>,
}

impl ConnectionFacts {
    /// The name that people and RabbitMQ's tools know it by.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} -> {}", self.peer, self.local)
    }

    /// The name that the client gave itself.
    #[must_use]
    pub fn user_provided_name(&self) -> Option<&str> {
        let value = self.client_properties.inner().get("connection_name")?;
        value.as_long_string().map(|text| std::str::from_utf8(text.as_bytes()).unwrap_or_default())
    }
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConnectionState {
    /// It is served.
    #[default]
    Running,
    /// An alarm is on, and it has not published since.
    Blocking,
    /// It has published while an alarm is on, and is not read from.
    Blocked,
    /// It is not read from until others have taken what it has sent.
    Flow,
    /// It is ending.
    Closing,
}

impl ConnectionState {
    /// RabbitMQ's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Blocking => "blocking",
            Self::Blocked => "blocked",
            Self::Flow => "flow",
            Self::Closing => "closing",
        }
    }
}

/// Bytes and how often something was read or written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Bytes received.
    pub recv_oct: u64,
    /// Reads that brought something.
    pub recv_cnt: u64,
    /// Bytes sent.
    pub send_oct: u64,
    /// Writes.
    pub send_cnt: u64,
}

/// The same in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrafficRates {
    /// Bytes received.
    pub recv_oct: f32,
    /// Bytes sent.
    pub send_oct: f32,
}

/// What a channel tells of itself from time to time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChannelNumbers {
    /// Its number on its connection.
    pub number: u16,
    /// Publishers are told what is safe.
    pub confirm: bool,
    /// It has transactions.
    pub transactional: bool,
    /// Its consumers.
    pub consumer_count: u64,
    /// Deliveries that are not acknowledged.
    pub unacked: u64,
    /// Publishes that are not confirmed.
    pub unconfirmed: u64,
    /// Publishes in an open transaction.
    pub uncommitted: u64,
    /// Acknowledgements in an open transaction.
    pub acks_uncommitted: u64,
    /// `basic.qos` for each consumer that begins; 0 is no limit.
    pub prefetch: u16,
    /// `basic.qos` for the whole channel; 0 is no limit.
    pub global_prefetch: u16,
    /// What it has counted.
    pub counts: MessageCounts,
    /// When it last did something, Unix milliseconds.
    pub active_ms: u64,
    /// What it counted in a second, lately.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rates: Option<Box<[f32; MessageCounts::COUNT]>>,
}

/// What a connection tells of itself from time to time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConnectionNumbers {
    /// What it is doing.
    pub state: ConnectionState,
    /// What went over its socket.
    pub traffic: Traffic,
    /// Its open channels, by number.
    pub channels: Vec<ChannelNumbers>,
    /// What went over its socket in a second, lately.
    #[serde(default)]
    pub rates: TrafficRates,
}

/// What is known of a consumer from its beginning on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConsumerFacts {
    /// Its number, unique in the cluster.
    pub id: ConsumerId,
    /// The node that its connection is on.
    pub node: String,
    /// Its connection's number and name, the client's end of it, and its user.
    pub connection: ConnectionId,
    /// The connection's name.
    pub connection_name: String,
    /// The client's end.
    pub peer: SocketAddr,
    /// Its user.
    pub user: String,
    /// Its channel's number.
    pub channel: u16,
    /// Its tag.
    pub tag: String,
    /// The vhost of its queue.
    pub vhost: String,
    /// Its queue.
    pub queue: String,
    /// Whether it acknowledges.
    pub ack_required: bool,
    /// Whether nobody else may consume.
    pub exclusive: bool,
    /// Deliveries that it may hold; 0 is no limit.
    pub prefetch: u16,
    /// Its priority.
    pub priority: i32,
    /// Its arguments.
    pub arguments: FieldTable,
    /// Its own `x-consumer-timeout`, milliseconds.
    pub timeout_ms: Option<u64>,
}

/// What the owner of a queue tells of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueueNumbers {
    /// The queue's number.
    pub id: u64,
    /// Messages that could be delivered now, and bytes of their bodies.
    #[serde(skip_serializing_if = "is_default")]
    pub ready: u64,
    /// Bytes of what is ready.
    #[serde(skip_serializing_if = "is_default")]
    pub ready_bytes: u64,
    /// Delivered and not acknowledged.
    #[serde(skip_serializing_if = "is_default")]
    pub unacked: u64,
    /// Came back, and wait before they are delivered again.
    #[serde(skip_serializing_if = "is_default")]
    pub delayed: u64,
    /// Bytes of all bodies.
    #[serde(skip_serializing_if = "is_default")]
    pub bytes: u64,
    /// Messages in memory.
    #[serde(skip_serializing_if = "is_default")]
    pub in_memory: u64,
    /// Bytes of their bodies.
    #[serde(skip_serializing_if = "is_default")]
    pub in_memory_bytes: u64,
    /// Persistent messages.
    #[serde(skip_serializing_if = "is_default")]
    pub persistent: u64,
    /// Bytes of their bodies.
    #[serde(skip_serializing_if = "is_default")]
    pub persistent_bytes: u64,
    /// Memory that the queue takes, in bytes.
    #[serde(skip_serializing_if = "is_default")]
    pub memory_bytes: u64,
    /// Its consumers.
    #[serde(skip_serializing_if = "is_default")]
    pub consumers: u32,
    /// Their numbers, when one queue was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub consumer_ids: Vec<ConsumerId>,
    /// The one that is served, of a queue with a single active consumer.
    #[serde(skip_serializing_if = "is_default")]
    pub active_consumer: Option<ConsumerId>,
    /// The share of the time in which consumers could take messages at once.
    #[serde(skip_serializing_if = "is_default")]
    pub consumer_capacity: f32,
    /// When the message that is ready for the longest time came, Unix milliseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub oldest_ms: Option<u64>,
    /// What the next message's property `timestamp` says, seconds.
    #[serde(skip_serializing_if = "is_default")]
    pub head_timestamp_s: Option<u64>,
    /// When something last happened here, Unix milliseconds.
    pub active_ms: u64,
    /// What it has counted since its owner began.
    #[serde(skip_serializing_if = "MessageCounts::is_zero")]
    pub counts: MessageCounts,
    /// What it counted in a second, lately.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rates: Option<Box<[f32; MessageCounts::COUNT]>>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Objects that come and go, counted since the node began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Churn {
    /// Connections that came to the opening of a vhost.
    pub connection_created: u64,
    /// Of those: ended.
    pub connection_closed: u64,
    /// Channels opened.
    pub channel_created: u64,
    /// Channels ended.
    pub channel_closed: u64,
    /// Declarations of queues, also of those that were there.
    pub queue_declared: u64,
    /// Queues that were new.
    pub queue_created: u64,
    /// Queues that are gone.
    pub queue_deleted: u64,
}

/// Sums over queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueTotals {
    /// How many.
    pub queues: u64,
    /// Ready messages.
    pub ready: u64,
    /// Unacknowledged messages.
    pub unacked: u64,
    /// Bytes of all bodies.
    pub bytes: u64,
    /// Messages in memory, and bytes of their bodies.
    pub in_memory: u64,
    /// Bytes of their bodies.
    pub in_memory_bytes: u64,
    /// Persistent messages.
    pub persistent: u64,
    /// Bytes of their bodies.
    pub persistent_bytes: u64,
    /// Bytes of what is ready.
    pub ready_bytes: u64,
    /// Consumers.
    pub consumers: u64,
    /// When the oldest ready message came, Unix milliseconds.
    pub oldest_ms: Option<u64>,
    /// What they have counted.
    pub counts: MessageCounts,
}

impl QueueTotals {
    /// Takes a queue in.
    pub fn add(&mut self, queue: &QueueNumbers) {
        self.queues += 1;
        self.ready += queue.ready + queue.delayed;
        self.unacked += queue.unacked;
        self.bytes += queue.bytes;
        self.in_memory += queue.in_memory;
        self.in_memory_bytes += queue.in_memory_bytes;
        self.persistent += queue.persistent;
        self.persistent_bytes += queue.persistent_bytes;
        self.ready_bytes += queue.ready_bytes;
        self.consumers += u64::from(queue.consumers);
        self.oldest_ms = self.oldest_ms.into_iter().chain(queue.oldest_ms).min();
        self.counts.add(&queue.counts);
    }

    /// Takes other sums in.
    pub fn merge(&mut self, other: &Self) {
        self.queues += other.queues;
        self.ready += other.ready;
        self.unacked += other.unacked;
        self.bytes += other.bytes;
        self.in_memory += other.in_memory;
        self.in_memory_bytes += other.in_memory_bytes;
        self.persistent += other.persistent;
        self.persistent_bytes += other.persistent_bytes;
        self.ready_bytes += other.ready_bytes;
        self.consumers += other.consumers;
        self.oldest_ms = self.oldest_ms.into_iter().chain(other.oldest_ms).min();
        self.counts.add(&other.counts);
    }
}

/// The bounds of the histogram of body sizes, in bytes.
pub const SIZE_BOUNDS: [u64; 8] =
    [100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 50_000_000, 100_000_000];

/// How a node stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeNumbers {
    /// Its number in the cluster.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Its release.
    pub version: String,
    /// When it began, Unix milliseconds.
    pub started_ms: u64,
    /// Its time, Unix milliseconds.
    pub now_ms: u64,
    /// The process.
    pub process_id: u32,
    /// Cores that it may use.
    pub processors: u64,
    /// Memory of the process, and above which publishers wait, in bytes.
    pub memory_bytes: u64,
    /// Above this publishers wait.
    pub memory_limit_bytes: u64,
    /// Space that is left where the data lies.
    pub disk_free_bytes: u64,
    /// Below this publishers wait.
    pub disk_free_limit_bytes: u64,
    /// Open file descriptors.
    pub fds: u64,
    /// How many there may be.
    pub fds_max: u64,
    /// Open connections.
    pub connections: u64,
    /// How many there may be.
    pub connections_max: u64,
    /// Open channels.
    pub channels: u64,
    /// Consumers of its connections.
    pub consumers: u64,
    /// Connections that have published, or a channel of them has.
    pub publishers: u64,
    /// Memory alarm.
    pub memory_alarm: bool,
    /// Disk alarm.
    pub disk_alarm: bool,
    /// A majority is missing for what its clients publish.
    pub majority_alarm: bool,
    /// Messages of its clients, counted since it began.
    pub messages: MessageCounts,
    /// Publishes on channels with confirms.
    pub received_confirm: u64,
    /// Publishes that went to some queue.
    pub routed: u64,
    /// What it counted in a second, lately.
    pub message_rates: Vec<f32>,
    /// Messages that left queues of this node otherwise than by an acknowledgement.
    pub deaths: DeathCounts,
    /// What came and went.
    pub churn: Churn,
    /// What went over its clients' sockets.
    pub traffic: Traffic,
    /// Messages of its clients by the size of their bodies: how many within each of [`SIZE_BOUNDS`], and how many bytes.
    pub sizes: Vec<u64>,
    /// Bytes of all bodies.
    pub size_sum: u64,
    /// Queues that it owns: classic ones, and quorum queues that it leads.
    pub classic: QueueTotals,
    /// Quorum queues that it leads.
    pub quorum: QueueTotals,
    /// What its disk does.
    pub storage: StorageNumbers,
    /// Groups that it has a copy of.
    pub groups: Vec<GroupNumbers>,
}

/// What a node's disk does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StorageNumbers {
    /// Bytes of the log that are still needed.
    pub log_bytes: u64,
    /// Bytes of the cold store.
    pub cold_bytes: u64,
    /// Syncs of the log, and bytes written to it.
    pub log_syncs: u64,
    /// Bytes written to the log.
    pub log_written_bytes: u64,
    /// Time spent in syncs, in microseconds.
    pub log_sync_us: u64,
    /// Syncs by how long they took: how many took at most so many microseconds ([`SYNC_BOUNDS_US`]), each bound for itself.
    pub log_syncs_within: Vec<u64>,
}

/// A group, as one of its members sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupNumbers {
    /// Its number; 0 orders declarations.
    pub group: u16,
    /// The node that leads it; 0 when nobody is known to.
    pub leader: NodeId,
    /// Its term.
    pub term: u64,
    /// Entries that a majority has.
    pub commit: u64,
    /// Entries that were carried out here.
    pub applied: u64,
    /// Its queues.
    pub queues: u64,
    /// Its members, where this node leads; otherwise this node alone.
    pub members: Vec<MemberNumbers>,
}

/// A member of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberNumbers {
    /// Its number.
    pub node: NodeId,
    /// Whether it has everything but what is on its way to it.
    pub is_in_sync: bool,
    /// Entries that it lacks.
    pub lag_entries: u64,
    /// Their bytes.
    pub lag_bytes: u64,
}

/// What passed an exchange, and lately in a second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExchangeNumbers {
    /// The vhost that it is in.
    pub vhost: String,
    /// Its name; empty is the default exchange.
    pub name: String,
    /// What passed it.
    pub counts: ExchangeCounts,
    /// In a second, lately: in and out.
    pub rates: [f32; ExchangeCounts::COUNT],
}
