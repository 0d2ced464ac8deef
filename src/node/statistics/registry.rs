//! What clients put here: connections, consumers, what was counted.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use amq_protocol::types::FieldTable;
use bytes::Bytes;
use dashmap::DashMap;

use super::facts::{
    Churn, ConnectionFacts, ConnectionNumbers, ConsumerFacts, QueueTotals, SIZE_BOUNDS, StorageNumbers,
    TlsFacts, Traffic, TrafficRates,
};
use super::history::rate;
use super::sampled::Histories;
use crate::broker::arguments::QueueType;
use crate::broker::counts::{DeathCounts, ExchangeCounts, MessageCounts};
use crate::broker::ids::ConnectionId;
use crate::broker::queue::{ConsumerId, DeathReason};
use crate::broker::topology::QueueEntry;
use crate::node::tls::TlsSession;
use crate::storage::log::LogGauge;

/// An open connection, as it shows itself.
#[derive(Debug)]
pub(crate) struct ConnectionRecord {
    pub(crate) id: ConnectionId,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) user: Box<str>,
    pub(crate) vhost: Box<str>,
    pub(crate) auth_mechanism: Box<str>,
    pub(crate) tls: Option<Arc<TlsSession>>,
    pub(crate) protocol: &'static str,
    pub(crate) client_properties: Arc<FieldTable>,
    pub(crate) timeout_s: u16,
    pub(crate) frame_max: u32,
    pub(crate) channel_max: u16,
    pub(crate) connected_at_ms: u64,
    numbers: Mutex<ConnectionNumbers>,
    sampled: Mutex<Sampled>,
}

/// What it was like when a sample was last taken.
#[derive(Debug, Default)]
struct Sampled {
    at_ms: u64,
    traffic: Traffic,
    rates: TrafficRates,
    channels: Vec<SampledChannel>,
}

#[derive(Debug)]
struct SampledChannel {
    number: u16,
    counts: MessageCounts,
    rates: Box<[f32; MessageCounts::COUNT]>,
}

/// What a record begins with.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) id: ConnectionId,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) user: String,
    pub(crate) vhost: String,
    pub(crate) auth_mechanism: String,
    pub(crate) tls: Option<Arc<TlsSession>>,
    pub(crate) protocol: &'static str,
    pub(crate) client_properties: Arc<FieldTable>,
    pub(crate) timeout_s: u16,
    pub(crate) frame_max: u32,
    pub(crate) channel_max: u16,
    pub(crate) connected_at_ms: u64,
}

impl ConnectionRecord {
    pub(crate) fn new(opened: Opened) -> Self {
        Self {
            id: opened.id,
            peer: opened.peer,
            local: opened.local,
            user: opened.user.into(),
            vhost: opened.vhost.into(),
            auth_mechanism: opened.auth_mechanism.into(),
            tls: opened.tls,
            protocol: opened.protocol,
            client_properties: opened.client_properties,
            timeout_s: opened.timeout_s,
            frame_max: opened.frame_max,
            channel_max: opened.channel_max,
            connected_at_ms: opened.connected_at_ms,
            numbers: Mutex::default(),
            sampled: Mutex::default(),
        }
    }

    pub(crate) fn name(&self) -> String {
        format!("{} -> {}", self.peer, self.local)
    }

    pub(crate) fn facts(&self, node: &str) -> ConnectionFacts {
        ConnectionFacts {
            id: self.id,
            node: node.to_owned(),
            peer: self.peer,
            local: self.local,
            user: self.user.to_string(),
            vhost: self.vhost.to_string(),
            auth_mechanism: self.auth_mechanism.to_string(),
            tls: self.tls.as_deref().map(tls_facts),
            protocol: self.protocol.to_owned(),
            client_properties: FieldTable::clone(&self.client_properties),
            timeout_s: self.timeout_s,
            frame_max: self.frame_max,
            channel_max: self.channel_max,
            connected_at_ms: self.connected_at_ms,
        }
    }

    /// For its own task: changes what it shows.
    pub(crate) fn tell(&self, change: impl FnOnce(&mut ConnectionNumbers)) {
        change(&mut lock(&self.numbers));
    }

    /// Looks at what it shows.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&ConnectionNumbers) -> T) -> T {
        look(&lock(&self.numbers))
    }

    /// What it shows, with rates.
    pub(crate) fn numbers(&self) -> ConnectionNumbers {
        let mut numbers = lock(&self.numbers).clone();
        let sampled = lock(&self.sampled);
        numbers.rates = sampled.rates;
        for channel in &mut numbers.channels {
            let found = sampled.channels.iter().find(|sampled| sampled.number == channel.number);
            channel.rates = found.map(|sampled| sampled.rates.clone());
        }
        numbers
    }

    /// Takes a sample, for rates.
    pub(crate) fn sample(&self, now_ms: u64) {
        let numbers = lock(&self.numbers);
        let mut sampled = lock(&self.sampled);
        let passed_ms = now_ms.saturating_sub(sampled.at_ms);
        let is_first = std::mem::replace(&mut sampled.at_ms, now_ms) == 0;
        if is_first {
            sampled.traffic = numbers.traffic;
        }
        let (before, now) = (sampled.traffic, numbers.traffic);
        sampled.rates = TrafficRates {
            recv_oct: rate(now.recv_oct.saturating_sub(before.recv_oct), passed_ms),
            send_oct: rate(now.send_oct.saturating_sub(before.send_oct), passed_ms),
        };
        sampled.traffic = now;
        let before = std::mem::take(&mut sampled.channels);
        let counting = numbers.channels.iter().filter(|channel| !channel.counts.is_zero());
        sampled.channels = counting
            .map(|channel| {
                let earlier = before.iter().find(|sampled| sampled.number == channel.number);
                let earlier = earlier.filter(|_| !is_first).map_or(channel.counts, |sampled| sampled.counts);
                let since = channel.counts.since(&earlier).to_array();
                let rates = Box::new(since.map(|count| rate(count, passed_ms)));
                SampledChannel { number: channel.number, counts: channel.counts, rates }
            })
            .collect();
    }
}

fn tls_facts(tls: &TlsSession) -> TlsFacts {
    let certificate = tls.certificate.as_ref();
    TlsFacts {
        protocol: tls.version.to_owned(),
        cipher: tls.cipher.clone(),
        peer_subject: certificate.map(|certificate| certificate.subject.clone()),
        peer_issuer: certificate.map(|certificate| certificate.issuer.clone()),
        peer_validity: certificate.map(|certificate| certificate.validity.clone()),
    }
}

/// A consumer, as it shows itself.
#[derive(Debug)]
pub(crate) struct ConsumerRecord {
    pub(crate) id: ConsumerId,
    pub(crate) connection: Arc<ConnectionRecord>,
    pub(crate) channel: u16,
    pub(crate) tag: Bytes,
    pub(crate) queue: Arc<QueueEntry>,
    pub(crate) no_ack: bool,
    pub(crate) exclusive: bool,
    pub(crate) prefetch: u16,
    pub(crate) priority: i32,
    pub(crate) arguments: FieldTable,
    pub(crate) timeout_ms: Option<u64>,
}

impl ConsumerRecord {
    pub(crate) fn facts(&self, node: &str) -> ConsumerFacts {
        ConsumerFacts {
            id: self.id,
            node: node.to_owned(),
            connection: self.connection.id,
            connection_name: self.connection.name(),
            peer: self.connection.peer,
            user: self.connection.user.to_string(),
            channel: self.channel,
            tag: String::from_utf8_lossy(&self.tag).into_owned(),
            vhost: self.queue.vhost.to_string(),
            queue: self.queue.name.to_string(),
            ack_required: !self.no_ack,
            exclusive: self.exclusive,
            prefetch: self.prefetch,
            priority: self.priority,
            arguments: self.arguments.clone(),
            timeout_ms: self.timeout_ms,
        }
    }
}

/// Counts that several tasks add to, seldom.
#[derive(Debug)]
struct Sums<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Sums<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl<const N: usize> Sums<N> {
    fn add(&self, counts: [u64; N]) {
        for (sum, count) in self.0.iter().zip(counts).filter(|(_, count)| *count > 0) {
            sum.fetch_add(count, Ordering::Relaxed);
        }
    }

    fn get(&self) -> [u64; N] {
        std::array::from_fn(|at| self.0.get(at).map_or(0, |sum| sum.load(Ordering::Relaxed)))
    }
}

/// What a client has counted since it last told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ClientCounts {
    pub(crate) messages: MessageCounts,
    pub(crate) received_confirm: u64,
    pub(crate) routed: u64,
    pub(crate) traffic: Traffic,
    /// Publishes by the first of [`SIZE_BOUNDS`] that their body keeps, and those above all of them.
    pub(crate) sizes: [u64; SIZE_BOUNDS.len() + 1],
    pub(crate) size_sum: u64,
}

impl ClientCounts {
    /// So many publishes have bodies of this size.
    #[inline]
    pub(crate) fn sized(&mut self, bytes: usize, count: u64) {
        let bytes = bytes as u64;
        let at = SIZE_BOUNDS.partition_point(|bound| *bound < bytes);
        if let Some(sized) = self.sizes.get_mut(at) {
            *sized += count;
        }
        self.size_sum += bytes * count;
    }
}

/// What the machine was measured to be like.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Measured {
    pub(crate) memory_bytes: u64,
    pub(crate) memory_limit_bytes: u64,
    pub(crate) disk_free_bytes: u64,
    pub(crate) disk_free_limit_bytes: u64,
    pub(crate) fds: u64,
    pub(crate) fds_max: u64,
    pub(crate) cold_bytes: u64,
}

/// Queues, as [`Statistics::churned`] counts them; connections and channels likewise.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Came {
    Connection,
    ConnectionClosed,
    Channel,
    ChannelClosed,
    QueueDeclared,
    QueueCreated,
    QueueDeleted,
}

/// What tasks put here.
#[derive(Debug, Default)]
pub(crate) struct Statistics {
    /// Open connections.
    pub(crate) connections: DashMap<ConnectionId, Arc<ConnectionRecord>>,
    /// Consumers of queues.
    pub(crate) consumers: DashMap<ConsumerId, Arc<ConsumerRecord>>,
    /// By vhost and name.
    exchanges: DashMap<(Box<str>, Box<str>), ExchangeCounts>,
    messages: Sums<{ MessageCounts::COUNT }>,
    /// Publishes with confirms, publishes that went to a queue, and the four numbers of [`Traffic`].
    more: Sums<7>,
    sizes: Sums<{ SIZE_BOUNDS.len() + 1 }>,
    /// The log, once it runs.
    log: OnceLock<LogGauge>,
    churn: Sums<7>,
    deaths: Sums<{ DeathCounts::COUNT }>,
    /// What queues have counted that are gone from here: classic, quorum.
    gone: Mutex<[MessageCounts; 2]>,
    measured: Mutex<Measured>,
    histories: Mutex<Histories>,
}

impl Statistics {
    /// A client tells what it has counted.
    pub(crate) fn count(&self, counts: &ClientCounts) {
        self.messages.add(counts.messages.to_array());
        let Traffic { recv_oct, recv_cnt, send_oct, send_cnt } = counts.traffic;
        let ClientCounts { received_confirm, routed, size_sum, .. } = *counts;
        self.more.add([received_confirm, routed, recv_oct, recv_cnt, send_oct, send_cnt, size_sum]);
        self.sizes.add(counts.sizes);
    }

    /// All that clients have told.
    pub(crate) fn counted(&self) -> ClientCounts {
        let [received_confirm, routed, recv_oct, recv_cnt, send_oct, send_cnt, size_sum] = self.more.get();
        ClientCounts {
            messages: MessageCounts::from_array(self.messages.get()),
            received_confirm,
            routed,
            traffic: Traffic { recv_oct, recv_cnt, send_oct, send_cnt },
            sizes: self.sizes.get(),
            size_sum,
        }
    }

    /// The log runs.
    pub(crate) fn watch_log(&self, log: LogGauge) {
        let _ = self.log.set(log);
    }

    /// What the node's disk does.
    pub(crate) fn storage(&self) -> StorageNumbers {
        let log = self.log.get().map(LogGauge::numbers).unwrap_or_default();
        StorageNumbers {
            log_bytes: log.live_bytes,
            cold_bytes: self.measured().cold_bytes,
            log_syncs: log.syncs,
            log_written_bytes: log.written_bytes,
            log_sync_us: log.sync_us,
            log_syncs_within: log.syncs_within.to_vec(),
        }
    }

    /// A client tells what it has published to an exchange.
    pub(crate) fn passed(&self, vhost: &str, exchange: &str, counts: &ExchangeCounts) {
        self.exchanges.entry((vhost.into(), exchange.into())).or_default().add(counts);
    }

    /// What passed exchanges: vhost, name, counts.
    pub(crate) fn exchanges(&self) -> Vec<(Box<str>, Box<str>, ExchangeCounts)> {
        let all = self.exchanges.iter();
        all.map(|entry| (entry.key().0.clone(), entry.key().1.clone(), *entry.value())).collect()
    }

    /// Forgets exchanges that are gone.
    pub(crate) fn retain_exchanges(&self, is_there: impl Fn(&str, &str) -> bool) {
        self.exchanges.retain(|(vhost, name), _| is_there(vhost, name));
    }

    /// Something came or went.
    pub(crate) fn churned(&self, what: Came, count: u64) {
        let mut counts = [0; 7];
        if let Some(slot) = counts.get_mut(what as usize) {
            *slot = count;
        }
        self.churn.add(counts);
    }

    pub(crate) fn churn(&self) -> Churn {
        let [
            connection_created,
            connection_closed,
            channel_created,
            channel_closed,
            queue_declared,
            queue_created,
            queue_deleted,
        ] = self.churn.get();
        Churn {
            connection_created,
            connection_closed,
            channel_created,
            channel_closed,
            queue_declared,
            queue_created,
            queue_deleted,
        }
    }

    /// Messages leave their queue.
    pub(crate) fn died(&self, reason: DeathReason, count: u64) {
        let mut counts = DeathCounts::default();
        *match reason {
            DeathReason::MaxLength => &mut counts.maxlen,
            DeathReason::Rejected => &mut counts.rejected,
            DeathReason::Expired => &mut counts.expired,
            DeathReason::DeliveryLimit => &mut counts.delivery_limit,
        } = count;
        self.deaths.add(counts.to_array());
    }

    /// Dead letters have arrived.
    pub(crate) fn buried(&self, count: u64) {
        self.deaths.add(DeathCounts { confirmed: count, ..DeathCounts::default() }.to_array());
    }

    pub(crate) fn deaths(&self) -> DeathCounts {
        DeathCounts::from_array(self.deaths.get())
    }

    /// A queue is gone from here.
    pub(crate) fn queue_gone(&self, queue_type: QueueType, counts: &MessageCounts) {
        if !counts.is_zero() {
            lock(&self.gone)[place_of(queue_type)].add(counts);
        }
    }

    /// What queues have counted that are gone: classic, quorum.
    pub(crate) fn gone(&self) -> [MessageCounts; 2] {
        *lock(&self.gone)
    }

    /// Looks at what is remembered, or changes it.
    pub(crate) fn histories<T>(&self, with: impl FnOnce(&mut Histories) -> T) -> T {
        with(&mut lock(&self.histories))
    }

    /// Changes what is known of the machine.
    pub(crate) fn measure(&self, change: impl FnOnce(&mut Measured)) {
        change(&mut lock(&self.measured));
    }

    pub(crate) fn measured(&self) -> Measured {
        *lock(&self.measured)
    }
}

/// The place of a type's sums beside the other.
pub(crate) fn place_of(queue_type: QueueType) -> usize {
    usize::from(queue_type == QueueType::Quorum)
}

/// Sums of queues by [`place_of`] their type.
pub(crate) type TotalsByType = [QueueTotals; 2];

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
