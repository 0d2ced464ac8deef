//! Messages for exchanges that look for duplicates: the companion's shard lets each id pass once.
//!
//! An id is pending until all queues have its message safely; a repeat that comes meanwhile shares its fate. Then the
//! id is noted, and the publishers are told when the note is safe too. After a crash in between, an id may be unknown
//! whose message is there; its publisher was not told, so nothing that was confirmed comes twice or is lost.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::Shard;
use crate::broker::batch::Batch;
use crate::broker::deduplication::Id;
use crate::broker::ids::{QueueId, Target};
use crate::broker::queue::Command;
use crate::node::links::{ShardInput, Waiter};
use crate::node::offers::{Offer, OfferTicket, Publisher, ReturnTo, Way};

/// A batch is closed at this size.
const BATCH_BYTES: usize = 256 * 1024;

/// Offered messages that are on their way.
#[derive(Default)]
pub(super) struct Offers {
    /// By companion: publishers of repeats of a message whose fate is not known yet.
    pending: HashMap<QueueId, HashMap<Id, Vec<Publisher>>>,
    /// Messages of this round, by target.
    open: Vec<Open>,
    /// Offered messages that are in a queue here, and the log index that must be synced before that is told.
    arrived: VecDeque<(u64, Vec<Arc<OfferTicket>>)>,
}

struct Open {
    target: Target,
    records: Vec<u8>,
    persistent: u32,
    tickets: Vec<Arc<OfferTicket>>,
}

impl Offers {
    /// Tells of messages that are safe here.
    pub(super) fn tell(&mut self, synced: u64) {
        while self.arrived.front().is_some_and(|(index, _)| *index <= synced) {
            let (_, tickets) = self.arrived.pop_front().unwrap_or_default();
            tickets.iter().for_each(|ticket| ticket.done(true));
        }
    }

    fn put(&mut self, target: Target, way: &Way, ticket: &Arc<OfferTicket>) {
        let fits = |open: &Open| open.target.id == target.id && open.records.len() < BATCH_BYTES;
        let at = self.open.iter().rposition(fits).unwrap_or_else(|| {
            self.open.push(Open { target, records: Vec::new(), persistent: 0, tickets: Vec::new() });
            self.open.len() - 1
        });
        let open = &mut self.open[at];
        open.records.extend_from_slice(&way.record);
        open.persistent += u32::from(way.persistent);
        open.tickets.push(Arc::clone(ticket));
    }
}

impl Shard {
    /// Lets a message go on unless it came before.
    pub(super) fn offer(&mut self, companion: QueueId, offer: Offer, now_ms: u64) {
        // When the exchange is gone, nobody will send the message to it again.
        let slot = self.slots.get(&companion);
        if let (Some(id), Some(slot)) = (&offer.id, slot) {
            if slot.queue.has_seen(id, now_ms) {
                // Its note is logged: what is synced up to here covers it.
                return self.tell_when_synced(self.index, offer.publisher);
            }
            let pending = self.offers.pending.entry(companion).or_default();
            if let Some(waiting) = pending.get_mut(id) {
                return waiting.extend(offer.publisher);
            }
            if !offer.ways.is_empty() {
                pending.insert(Arc::clone(id), Vec::new());
            }
        }
        let ticket = Arc::new(OfferTicket::new(Arc::clone(&self.mailbox), companion, &offer));
        for way in &offer.ways {
            way.targets.iter().for_each(|target| self.offers.put(*target, way, &ticket));
        }
        offer.returned_to.into_iter().for_each(ReturnTo::send);
        if offer.ways.is_empty() {
            // A message that nobody has leaves no trace: it may come again when somebody wants it.
            self.tell_when_synced(0, offer.publisher);
        }
    }

    /// Hands the messages of this round to their queues.
    pub(super) fn send_offers(&mut self) {
        for open in self.offers.open.drain(..) {
            let count = u32::try_from(open.tickets.len()).unwrap_or(u32::MAX);
            let batch = Batch::of(open.records, count, open.persistent);
            let bytes = batch.records.len();
            let input = ShardInput::Publish(open.target.id, batch, Waiter::Offers(open.tickets));
            self.shared.shard(open.target).push_bulk(input, bytes);
        }
    }

    /// Offered messages are in a queue of this shard, safe when the log is synced up to this index.
    pub(super) fn offers_arrived(&mut self, index: u64, tickets: Vec<Arc<OfferTicket>>) {
        self.is_awaited |= index > self.synced;
        self.offers.arrived.push_back((index, tickets));
    }

    /// All queues have answered for an offered message.
    pub(super) fn passed(&mut self, ticket: &OfferTicket, now_ms: u64) {
        let (mut index, is_refused) = (0, ticket.is_refused());
        let mut publishers: Vec<_> = ticket.publisher.clone().into_iter().collect();
        if let Some(id) = &ticket.id {
            let pending = self.offers.pending.get_mut(&ticket.companion);
            publishers.extend(pending.and_then(|pending| pending.remove(id)).unwrap_or_default());
            if !is_refused {
                let note = Command::NoteId(Arc::clone(id), ticket.until_ms, ticket.is_durable);
                index = self.apply(ticket.companion, note, now_ms).unwrap_or(0);
            }
        }
        for publisher in publishers {
            if is_refused {
                self.confirmed.push((publisher.client, publisher.confirm, false));
            } else {
                self.tell_when_synced(index, Some(publisher));
            }
        }
    }

    /// The exchange is gone: whoever repeated a message cannot be told any more what became of the first.
    pub(super) fn drop_pending(&mut self, companion: QueueId) {
        let pending = self.offers.pending.remove(&companion).unwrap_or_default();
        for publisher in pending.into_values().flatten() {
            self.confirmed.push((publisher.client, publisher.confirm, false));
        }
    }

    /// Tells a publisher when the log is synced up to an index.
    pub(super) fn tell_when_synced(&mut self, index: u64, publisher: Option<Publisher>) {
        let Some(Publisher { client, confirm }) = publisher else { return };
        if index > self.synced {
            self.is_awaited = true;
            self.unsynced.push_back((index, client, confirm));
        } else {
            self.confirmed.push((client, confirm, true));
        }
    }
}
