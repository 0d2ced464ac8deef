//! Dead letters: routed like publishes, and settled at their source only when every target has them.
//!
//! The targets' records are synced before the source's settlement is written, so a crash at any moment leaves the
//! message in its source, in its targets, or in both; never in none.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::Shard;
use crate::broker::batch::{self, Batch, Message};
use crate::broker::dead_letter::{Death, header_after, is_cycle};
use crate::broker::delay;
use crate::broker::ids::{QueueId, Target};
use crate::broker::queue::{Command, DeathReason};
use crate::broker::topology::{QueueEntry, RouteQuery};
use crate::node::links::{DeadLetterTicket, ShardInput, Waiter};
use crate::node::shared::Shared;
use crate::protocol::properties::Properties;
use crate::protocol::table;

/// A batch of letters is closed at this size.
const BATCH_BYTES: usize = 256 * 1024;
/// How long it lasts until it is looked again for room for letters, and how many of a queue are then sent at once.
const LOOK_AGAIN_MS: u64 = 20;
const STEP_LETTERS: usize = 1024;

/// Dead letters of this round, by target.
#[derive(Default)]
pub(super) struct OpenLetters {
    open: Vec<Open>,
    /// Of a group: letters that may not leave before the records up to this index are committed.
    held: VecDeque<(u64, Open)>,
    /// By source: letters that nobody could take.
    postponed: BTreeMap<QueueId, Postponed>,
    /// Letters that are in a queue here, and the log index that must be synced before their sources are told.
    arrived: VecDeque<(u64, Arc<DeadLetterTicket>)>,
    targets: Vec<Target>,
}

/// Letters of a queue that stay there, since there was no room on the way to a target.
struct Postponed {
    blocked_by: Target,
    letters: VecDeque<(u64, DeathReason)>,
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

    pub(super) fn put(
        &mut self,
        target: Target,
        message: &Message<'_>,
        ticket: Option<Arc<DeadLetterTicket>>,
    ) {
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
        let blocked_by = self.letters.postponed.get(&id).map(|postponed| postponed.blocked_by);
        if blocked_by.is_some_and(|target| !self.shared.takes_letters(target)) {
            return self.postpone(id, blocked_by, (seq, reason));
        }
        let ticket = Arc::new(DeadLetterTicket::new(Arc::clone(&self.mailbox), id, seq));
        let blocked_by = self.pass_on(id, reason, record, Some(ticket), true, now_ms);
        self.postpone(id, blocked_by, (seq, reason));
    }

    fn postpone(&mut self, id: QueueId, blocked_by: Option<Target>, letter: (u64, DeathReason)) {
        let Some(blocked_by) = blocked_by else { return };
        let new = || Postponed { blocked_by, letters: VecDeque::new() };
        let postponed = self.letters.postponed.entry(id).or_insert_with(new);
        postponed.blocked_by = blocked_by;
        postponed.letters.push_back(letter);
    }

    /// When it is looked again for room.
    pub(super) fn letters_due_ms(&self) -> Option<u64> {
        (!self.letters.postponed.is_empty()).then_some(self.now_ms + LOOK_AGAIN_MS)
    }

    /// Sends letters for which there is room by now.
    pub(super) fn send_postponed(&mut self, now_ms: u64) {
        let has_room =
            |(_, postponed): &(&QueueId, &Postponed)| self.shared.takes_letters(postponed.blocked_by);
        let sources: Vec<_> = self.letters.postponed.iter().filter(has_room).map(|(id, _)| *id).collect();
        for id in sources {
            let Some(Postponed { blocked_by, mut letters }) = self.letters.postponed.remove(&id) else {
                continue;
            };
            let mut left = STEP_LETTERS;
            while left > 0
                && !self.letters.postponed.contains_key(&id)
                && let Some((seq, reason)) = letters.pop_front()
            {
                left -= 1;
                self.apply(id, Command::SendLetter(seq, reason), now_ms);
            }
            if !letters.is_empty() {
                let new = || Postponed { blocked_by, letters: VecDeque::new() };
                self.letters.postponed.entry(id).or_insert_with(new).letters.append(&mut letters);
            }
        }
    }

    /// A queue is gone.
    pub(super) fn drop_letters(&mut self, id: QueueId) {
        self.letters.postponed.remove(&id);
    }

    /// Sends a message of this queue on. Its ticket, of which one target stands for all of these, is answered when
    /// they have it. If it `may_stay` where it is and there is no room on the way to a target, gives that, and nothing is sent.
    pub(super) fn pass_on(
        &mut self,
        id: QueueId,
        reason: DeathReason,
        record: &[u8],
        ticket: Option<Arc<DeadLetterTicket>>,
        may_stay: bool,
        now_ms: u64,
    ) -> Option<Target> {
        let mut targets = std::mem::take(&mut self.letters.targets);
        targets.clear();
        let entry = self.slots.get(&id).map(|slot| Arc::clone(&slot.entry));
        let letter = entry.as_deref().and_then(|entry| match &entry.delays_for {
            Some(exchange) => self.due_letter(entry, exchange, record, &mut targets),
            None => self.letter(entry, reason, record, now_ms, &mut targets),
        });
        let all = targets.iter().chain(letter.iter().flat_map(|letter| &letter.delays));
        let blocked_by = all.copied().find(|target| may_stay && !self.shared.takes_letters(*target));
        match letter {
            Some(_) if blocked_by.is_some() => {}
            Some(letter) if !targets.is_empty() || !letter.delays.is_empty() => {
                ticket.iter().for_each(|ticket| ticket.spread(targets.len() + letter.delays.len()));
                let message = letter.message(now_ms);
                targets.iter().for_each(|target| self.letters.put(*target, &message, ticket.clone()));
                for target in &letter.delays {
                    self.letters.put(*target, &letter.held(&message), ticket.clone());
                }
            }
            // Nobody wants it (RabbitMQ: a missing exchange or route drops it in silence).
            Some(_) | None => ticket.iter().for_each(|ticket| ticket.done()),
        }
        self.letters.targets = targets;
        blocked_by
    }

    /// A message whose delay is over, as it goes on from the exchange that held it back, and where.
    fn due_letter<'a>(
        &self,
        entry: &QueueEntry,
        exchange: &str,
        record: &'a [u8],
        targets: &mut Vec<Target>,
    ) -> Option<Letter<'a>> {
        let (old, _) = batch::read(record)?;
        let header = delay::header_when_due(old.header)?;
        // The keys in BCC count, and are not in the new header.
        let delays = self.route_letter(entry, exchange, old.routing_key, old.header, true, targets);
        Some(Letter { exchange: old.exchange, key: old.routing_key, old, header, delays, is_due: true })
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
        let delays = self.route_letter(entry, exchange, key, &header, false, targets);
        if reason != DeathReason::Rejected {
            let topology = self.shared.topology();
            targets.retain(|target| {
                topology.queue_by_id(target.id).is_some_and(|queue| !is_cycle(&header, &queue.name))
            });
        }
        Some(Letter { exchange: exchange.as_bytes(), key, old, header, delays, is_due: false })
    }

    fn route_letter(
        &self,
        entry: &QueueEntry,
        exchange: &str,
        key: &[u8],
        header: &[u8],
        is_due: bool,
        targets: &mut Vec<Target>,
    ) -> Vec<Target> {
        let properties = Properties::parse(header).unwrap_or_default();
        let mut keys = vec![std::str::from_utf8(key).unwrap_or_default()];
        let lists = [&b"CC"[..], b"BCC"].map(|name| table::find(properties.headers?, name));
        for (kind, item) in lists.iter().flatten().flat_map(|list| list.items()) {
            keys.extend(item.get(4..).filter(|_| kind == b'S').and_then(|key| std::str::from_utf8(key).ok()));
        }
        let properties = Some(&properties);
        let query = RouteQuery {
            vhost: &entry.vhost,
            exchange,
            keys: &keys,
            properties,
            allow_internal: true,
            is_due,
        };
        // A missing exchange leaves no targets.
        self.shared.topology().route_dead_letter(&query, targets).unwrap_or_default().delays
    }

    pub(super) fn send_letters(&mut self) {
        if self.records.are_of_group() {
            return self.send_safe_letters();
        }
        for open in self.letters.open.drain(..) {
            open.send(&self.shared);
        }
    }

    /// Sends what nothing can undo: letters of messages whose fate is committed, as long as nobody else decides it.
    fn send_safe_letters(&mut self) {
        let index = self.index;
        let open = self.letters.open.drain(..).map(|open| (index, open));
        self.letters.held.extend(open);
        let is_owner = self.now_ms < self.serving_until_ms;
        while is_owner && self.letters.held.front().is_some_and(|(index, _)| *index <= self.synced) {
            if let Some((_, open)) = self.letters.held.pop_front() {
                open.send(&self.shared);
            }
        }
        self.is_awaited |= !self.letters.held.is_empty();
    }
}

impl Open {
    fn send(self, shared: &Shared) {
        let count = u32::try_from(self.tickets.len()).unwrap_or(u32::MAX);
        let batch = Batch::of(self.records, count, self.persistent);
        let bytes = batch.records.len();
        let input = ShardInput::Publish(self.target.id, batch, Waiter::DeadLetters(self.tickets));
        shared.shard(self.target).push_bulk(input, bytes);
    }
}

struct Letter<'a> {
    exchange: &'a [u8],
    key: &'a [u8],
    old: Message<'a>,
    header: Vec<u8>,
    /// Where it waits for a delay that it asks for.
    delays: Vec<Target>,
    /// It did not die: a delay of its own is over.
    is_due: bool,
}

impl Letter<'_> {
    fn message(&self, now_ms: u64) -> Message<'_> {
        if self.is_due {
            return delay::when_due(&self.old, &self.header, now_ms);
        }
        Message {
            exchange: self.exchange,
            routing_key: self.key,
            header: &self.header,
            enqueued_ms: now_ms,
            due_ms: None,
            ..self.old
        }
    }

    fn held<'a>(&self, message: &Message<'a>) -> Message<'a> {
        let headers = Properties::parse(&self.header).unwrap_or_default().headers;
        delay::held(message, headers.and_then(delay::delay_ms).unwrap_or(0))
    }
}
