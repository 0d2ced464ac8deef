//! Dead letters: routed like publishes, and settled at their source only when every target has them.
//!
//! The targets' records are synced before the source's settlement is written, so a crash at any moment leaves the
//! message in its source, in its targets, or in both; never in none.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use super::Shard;
use crate::broker::batch::{self, Batch, Message};
use crate::broker::dead_letter::{Death, header_after, is_cycle};
use crate::broker::ids::{QueueId, Target};
use crate::broker::queue::DeathReason;
use crate::broker::topology::{QueueEntry, RouteQuery};
use crate::node::links::{DeadLetterTicket, ShardInput, Waiter};
use crate::protocol::properties::Properties;
use crate::protocol::table;

/// A batch of letters is closed at this size.
const BATCH_BYTES: usize = 256 * 1024;

/// Dead letters of this round, by target.
#[derive(Default)]
pub(super) struct OpenLetters {
    open: Vec<Open>,
    /// Letters that are in a queue here, and the log index that must be synced before their sources are told.
    arrived: VecDeque<(u64, Arc<DeadLetterTicket>)>,
    targets: Vec<Target>,
}

struct Open {
    target: Target,
    records: Vec<u8>,
    persistent: u32,
    tickets: Vec<Option<Arc<DeadLetterTicket>>>,
}

impl OpenLetters {
    pub(super) fn arrived(&mut self, index: u64, tickets: Vec<Option<Arc<DeadLetterTicket>>>) {
        self.arrived.extend(tickets.into_iter().flatten().map(|ticket| (index, ticket)));
    }

    /// Tells the sources of letters that are safe here.
    pub(super) fn tell_sources(&mut self, synced: u64) {
        while self.arrived.front().is_some_and(|(index, _)| *index <= synced) {
            if let Some((_, ticket)) = self.arrived.pop_front() {
                ticket.done();
            }
        }
    }

    fn put(&mut self, target: Target, message: &Message<'_>, ticket: Option<Arc<DeadLetterTicket>>) {
        let fits = |open: &Open| open.target.id == target.id && open.records.len() < BATCH_BYTES;
        let at = self.open.iter().rposition(fits).unwrap_or_else(|| {
            self.open.push(Open { target, records: Vec::new(), persistent: 0, tickets: Vec::new() });
            self.open.len() - 1
        });
        let open = &mut self.open[at];
        message.put(&mut open.records);
        open.persistent += u32::from(message.persistent);
        open.tickets.push(ticket);
    }
}

impl Shard {
    pub(super) fn dead_letter(
        &mut self,
        id: QueueId,
        seq: u64,
        reason: DeathReason,
        record: &[u8],
        now_ms: u64,
    ) {
        let (shard, open) = (Arc::clone(&self.mailbox), AtomicU32::new(1));
        let ticket = Arc::new(DeadLetterTicket { shard, queue: id, seq, open });
        self.pass_on(id, reason, record, Some(ticket), now_ms);
    }

    /// Sends a message of this queue on. Its ticket, of which one target stands for all of these, is answered when
    /// they have it.
    pub(super) fn pass_on(
        &mut self,
        id: QueueId,
        reason: DeathReason,
        record: &[u8],
        ticket: Option<Arc<DeadLetterTicket>>,
        now_ms: u64,
    ) {
        let mut targets = std::mem::take(&mut self.letters.targets);
        targets.clear();
        let entry = self.slots.get(&id).map(|slot| Arc::clone(&slot.entry));
        let letter =
            entry.as_deref().and_then(|entry| self.letter(entry, reason, record, now_ms, &mut targets));
        match letter {
            Some(letter) if !targets.is_empty() => {
                ticket.iter().for_each(|ticket| ticket.spread(targets.len()));
                let message = letter.message(now_ms);
                targets.iter().for_each(|target| self.letters.put(*target, &message, ticket.clone()));
            }
            // Nobody wants it (RabbitMQ: a missing exchange or route drops it in silence).
            Some(_) | None => ticket.iter().for_each(|ticket| ticket.done()),
        }
        self.letters.targets = targets;
    }

    /// The message as it goes on, and where.
    fn letter<'a>(
        &self,
        entry: &'a QueueEntry,
        reason: DeathReason,
        record: &'a [u8],
        now_ms: u64,
        targets: &mut Vec<Target>,
    ) -> Option<Letter<'a>> {
        let exchange = entry.settings.dead_letter_exchange.as_deref()?;
        let routing_key = entry.settings.dead_letter_routing_key.as_deref();
        let (old, _) = batch::read(record)?;
        let death = Death { queue: &entry.name, reason, at_ms: now_ms, routing_key };
        let header = header_after(&old, &death)?;
        let key = routing_key.map_or(old.routing_key, str::as_bytes);
        self.route_letter(entry, exchange, key, &header, targets);
        if reason != DeathReason::Rejected {
            let topology = self.shared.topology();
            targets.retain(|target| {
                topology.queue_by_id(target.id).is_some_and(|queue| !is_cycle(&header, &queue.name))
            });
        }
        Some(Letter { exchange, key, old, header })
    }

    fn route_letter(
        &self,
        entry: &QueueEntry,
        exchange: &str,
        key: &[u8],
        header: &[u8],
        targets: &mut Vec<Target>,
    ) {
        let properties = Properties::parse(header).unwrap_or_default();
        let mut keys = vec![std::str::from_utf8(key).unwrap_or_default()];
        let cc = properties.headers.and_then(|headers| table::find(headers, b"CC"));
        for (kind, item) in cc.iter().flat_map(|cc| cc.items()) {
            keys.extend(item.get(4..).filter(|_| kind == b'S').and_then(|key| std::str::from_utf8(key).ok()));
        }
        let properties = Some(&properties);
        let query =
            RouteQuery { vhost: &entry.vhost, exchange, keys: &keys, properties, allow_internal: true };
        // A missing exchange leaves no targets.
        let _ = self.shared.topology().route_dead_letter(&query, targets);
    }

    pub(super) fn send_letters(&mut self) {
        for open in self.letters.open.drain(..) {
            let count = u32::try_from(open.tickets.len()).unwrap_or(u32::MAX);
            let batch = Batch::of(open.records, count, open.persistent);
            let bytes = batch.records.len();
            let input = ShardInput::Publish(open.target.id, batch, Waiter::DeadLetters(open.tickets));
            self.shared.shard(open.target).push_bulk(input, bytes);
        }
    }
}

struct Letter<'a> {
    exchange: &'a str,
    key: &'a [u8],
    old: Message<'a>,
    header: Vec<u8>,
}

impl Letter<'_> {
    fn message(&self, now_ms: u64) -> Message<'_> {
        Message {
            exchange: self.exchange.as_bytes(),
            routing_key: self.key,
            header: &self.header,
            enqueued_ms: now_ms,
            due_ms: None,
            ..self.old
        }
    }
}
