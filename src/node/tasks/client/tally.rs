//! What a connection counts, and tells the node of from time to time.

use std::sync::Arc;

use super::block::Block;
use super::publish::Routed;
use super::session::Session;
use crate::broker::channel::Channel;
use crate::broker::channel::consumers::Consumer;
use crate::broker::channel::unacked::Verdict;
use crate::broker::counts::{ExchangeCounts, MessageCounts};
use crate::broker::queue::{ConsumerId, ConsumerSpec};
use crate::broker::topology::QueueEntry;
use crate::node::statistics::{
    Came, ChannelNumbers, ClientCounts, ConnectionNumbers, ConnectionRecord, ConnectionState, ConsumerRecord,
    Opened,
};
use crate::protocol::inbound::Publish;

/// How often numbers are told, while there is something to tell.
const TELL_EVERY_MS: u64 = 500;
/// Exchanges whose counts are gathered here before they are told.
const EXCHANGES_MAX: usize = 64;

/// What is counted since it was last told.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// What others see; none before a vhost is open.
    record: Option<Arc<ConnectionRecord>>,
    /// When it is told next.
    due_ms: u64,
    counts: ClientCounts,
    exchanges: Vec<(Box<[u8]>, ExchangeCounts)>,
    /// The exchange published to last.
    last: usize,
    has_counted: bool,
    /// How the user has logged in.
    pub(super) mechanism: String,
}

impl Tally {
    /// Bytes came in.
    pub(super) fn received(&mut self, bytes: usize) {
        self.counts.traffic.recv_oct += bytes as u64;
        self.counts.traffic.recv_cnt += 1;
    }

    /// Bytes went out.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.counts.traffic.send_oct += bytes as u64;
        self.counts.traffic.send_cnt += 1;
    }

    /// What it does now shows at once.
    pub(super) fn tell_soon(&mut self) {
        self.due_ms = 0;
    }

    fn exchange(&mut self, name: &[u8]) -> &mut ExchangeCounts {
        if self.exchanges.get(self.last).is_none_or(|(last, _)| **last != *name) {
            let found = self.exchanges.iter().position(|(known, _)| **known == *name);
            self.last = found.unwrap_or_else(|| {
                self.exchanges.push((name.into(), ExchangeCounts::default()));
                self.exchanges.len() - 1
            });
        }
        &mut self.exchanges[self.last].1
    }
}

/// Counts messages of a channel, for itself and for the node.
fn count(channel: &mut Channel, counts: &mut ClientCounts, change: impl Fn(&mut MessageCounts)) {
    change(&mut channel.counts);
    change(&mut counts.messages);
}

impl Session {
    /// A vhost is open: others may see it from now on.
    pub(super) fn show(&mut self) {
        let tuned = self.connection.tuned();
        let record = ConnectionRecord::new(Opened {
            id: self.link.id,
            peer: self.peer,
            local: self.origin.local.unwrap_or(self.peer),
            user: self.user.clone(),
            vhost: self.vhost.clone(),
            auth_mechanism: std::mem::take(&mut self.tally.mechanism),
            tls: self.origin.tls.clone(),
            protocol: if self.origin.is_web { "Web AMQP 0-9-1" } else { "AMQP 0-9-1" },
            client_properties: self.connection.shared_client_properties(),
            timeout_s: tuned.heartbeat_s,
            frame_max: tuned.frame_max,
            channel_max: tuned.channel_max,
            connected_at_ms: self.now_ms,
        });
        let record = Arc::new(record);
        self.tell_opened(&record);
        self.shared.statistics.churned(Came::Connection, 1);
        self.shared.statistics.connections.insert(self.link.id, Arc::clone(&record));
        self.tally.record = Some(record);
        self.tally.tell_soon();
    }

    /// Nobody sees it any more; all that it has counted is told.
    pub(super) fn hide(&mut self) {
        self.tell_numbers();
        if self.tally.record.take().is_some() {
            self.shared.statistics.connections.remove(&self.link.id);
            self.shared.statistics.churned(Came::ConnectionClosed, 1);
            self.tell_closed();
        }
    }

    /// A consumer begins.
    pub(super) fn show_consumer(
        &mut self,
        number: u16,
        consumer: &Consumer,
        spec: &ConsumerSpec,
        arguments: amq_protocol::types::FieldTable,
        queue: &Arc<QueueEntry>,
    ) {
        let Some(connection) = self.tally.record.clone() else { return };
        let record = ConsumerRecord {
            id: consumer.id,
            connection,
            channel: number,
            tag: consumer.tag.clone(),
            queue: Arc::clone(queue),
            no_ack: consumer.no_ack,
            exclusive: spec.exclusive,
            prefetch: spec.prefetch,
            priority: spec.priority,
            arguments,
            timeout_ms: consumer.timeout_ms,
        };
        self.tell_consumer("consumer.created", &record);
        self.shared.statistics.consumers.insert(consumer.id, Arc::new(record));
        self.tally.tell_soon();
    }

    /// A consumer ends.
    pub(super) fn hide_consumer(&mut self, id: ConsumerId) {
        if let Some((_, record)) = self.shared.statistics.consumers.remove(&id) {
            self.tell_consumer("consumer.deleted", &record);
        }
        self.tally.tell_soon();
    }

    /// A publish was taken, routed like this.
    pub(super) fn count_publish(&mut self, publish: &Publish<'_>, route: &Routed) {
        let Self { channels, tally, .. } = self;
        let Some(channel) = channels.get_mut(&publish.channel) else { return };
        let parts = route.parts(&channel.routes);
        let (copies, is_unroutable) = (parts.targets.len() + parts.delays.len(), parts.is_unroutable);
        let exchange = tally.exchange(publish.exchange);
        exchange.publish_in += 1;
        exchange.publish_out += copies as u64;
        tally.counts.routed += u64::from(copies > 0);
        tally.counts.received_confirm += u64::from(channel.ledger.is_some());
        tally.counts.sized(publish.body.len(), 1);
        tally.has_counted = true;
        count(channel, &mut tally.counts, |counts| {
            counts.publish += 1;
            if is_unroutable {
                *(if publish.mandatory {
                    &mut counts.return_unroutable
                } else {
                    &mut counts.drop_unroutable
                }) += 1;
            }
        });
    }

    /// So many publishes like the one before had bodies of this size.
    pub(super) fn count_sizes(&mut self, bytes: usize, count: u64) {
        self.tally.counts.sized(bytes, count);
    }

    /// So many publishes were like the one before.
    pub(super) fn count_repeated(&mut self, count_repeated: u64) {
        let Some((number, copies, confirms)) = self.repeat.as_ref().map(|repeat| repeat.facts()) else {
            return;
        };
        let Self { channels, tally, .. } = self;
        let Some(channel) = channels.get_mut(&number) else { return };
        if let Some((_, exchange)) = tally.exchanges.get_mut(tally.last) {
            exchange.publish_in += count_repeated;
            exchange.publish_out += count_repeated * copies as u64;
        }
        tally.counts.routed += count_repeated;
        tally.counts.received_confirm += if confirms { count_repeated } else { 0 };
        tally.has_counted = true;
        count(channel, &mut tally.counts, |counts| counts.publish += count_repeated);
    }

    /// Messages of a channel.
    pub(super) fn count_messages(&mut self, number: u16, change: impl Fn(&mut MessageCounts)) {
        let Self { channels, tally, .. } = self;
        if let Some(channel) = channels.get_mut(&number) {
            tally.has_counted = true;
            count(channel, &mut tally.counts, change);
        }
    }

    /// Deliveries were settled.
    pub(super) fn count_settled(&mut self, number: u16, settled: u64, verdict: Verdict) {
        if verdict == Verdict::Ack {
            self.count_messages(number, |counts| counts.ack += settled);
        }
    }

    /// Tells the node what has been counted, if it is time for that.
    #[inline]
    pub(super) fn tell_numbers_if_due(&mut self) {
        if self.now_ms >= self.tally.due_ms {
            self.tell_numbers();
        }
    }

    /// Tells the node what has been counted.
    pub(super) fn tell_numbers(&mut self) {
        self.tally.due_ms = self.now_ms + TELL_EVERY_MS;
        let statistics = &self.shared.statistics;
        let counts = std::mem::take(&mut self.tally.counts);
        statistics.count(&counts);
        for (name, counts) in &mut self.tally.exchanges {
            if !counts.is_zero() {
                let name = std::str::from_utf8(name).unwrap_or_default();
                statistics.passed(&self.vhost, name, &std::mem::take(counts));
            }
        }
        if self.tally.exchanges.len() > EXCHANGES_MAX && self.repeat.is_none() {
            self.tally.exchanges = Vec::new();
        }
        let Some(record) = &self.tally.record else { return };
        let (state, is_new) = (self.state(), std::mem::take(&mut self.tally.has_counted));
        record.tell(|numbers| {
            let traffic = &mut numbers.traffic;
            traffic.recv_oct += counts.traffic.recv_oct;
            traffic.recv_cnt += counts.traffic.recv_cnt;
            traffic.send_oct += counts.traffic.send_oct;
            traffic.send_cnt += counts.traffic.send_cnt;
            numbers.state = state;
            self.tell_channels(numbers, is_new);
        });
    }

    fn state(&self) -> ConnectionState {
        if !self.connection.is_running() {
            ConnectionState::Closing
        } else if matches!(self.block, Block::Blocked { .. }) {
            ConnectionState::Blocked
        } else if self.full.is_some() || self.waits_for_turn() {
            ConnectionState::Flow
        } else {
            ConnectionState::Running
        }
    }

    fn tell_channels(&self, numbers: &mut ConnectionNumbers, is_new: bool) {
        numbers.channels.retain(|known| self.channels.contains_key(&known.number));
        let are_all_known = numbers.channels.len() == self.channels.len();
        if !are_all_known {
            let known: std::collections::BTreeSet<_> =
                numbers.channels.iter().map(|known| known.number).collect();
            let unknown = self.channels.keys().filter(|number| !known.contains(number));
            let new = unknown.map(|number| ChannelNumbers { number: *number, ..ChannelNumbers::default() });
            numbers.channels.reserve_exact(self.channels.len() - numbers.channels.len());
            numbers.channels.extend(new);
            numbers.channels.sort_unstable_by_key(|known| known.number);
        }
        for told in &mut numbers.channels {
            let Some(channel) = self.channels.get(&told.number) else { continue };
            let transaction = channel.transaction.as_deref();
            let is_active = told.active_ms == 0 || is_new && told.counts != channel.counts;
            *told = ChannelNumbers {
                number: told.number,
                confirm: channel.ledger.is_some(),
                transactional: transaction.is_some(),
                consumer_count: (channel.consumers.len() + usize::from(channel.replies.is_some())) as u64,
                unacked: channel.unacked.count(),
                unconfirmed: channel.ledger.as_ref().map_or(0, |ledger| ledger.waiting()),
                uncommitted: transaction.map_or(0, |transaction| transaction.messages()),
                acks_uncommitted: channel.unacked.uncommitted(),
                prefetch: channel.prefetch,
                global_prefetch: channel.shared_prefetch.limit(),
                counts: channel.counts,
                active_ms: if is_active { self.now_ms } else { told.active_ms },
                rates: None,
            };
        }
    }
}
