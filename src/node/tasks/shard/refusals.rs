//! Messages for which a full queue has no place: their publishers are told, their dead letters are sent.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::Shard;
use crate::broker::arguments::Overflow;
use crate::broker::batch;
use crate::broker::ids::QueueId;
use crate::broker::queue::DeathReason;
use crate::node::links::{DeadLetterTicket, Waiter};

type Ticket = Option<Arc<DeadLetterTicket>>;

/// Messages of one batch that were refused, side by side.
pub(super) struct Refused {
    /// Place of the first one in the batch.
    pub(super) place: u32,
    pub(super) count: u32,
    pub(super) records: Bytes,
}

impl Shard {
    /// Settles what the queue has just refused of a batch of so many messages. Gives who waits for the others.
    pub(super) fn refuse(&mut self, id: QueueId, waiter: Waiter, batch_count: u32, now_ms: u64) -> Waiter {
        let refused = std::mem::take(&mut self.refused);
        let (waiter, tickets) = match waiter {
            Waiter::Nobody => (Waiter::Nobody, Vec::new()),
            Waiter::Publisher(client, confirm) => {
                let places: Vec<_> = refused.iter().map(|run| (run.place, run.count)).collect();
                let (taken, nacked) = confirm.part(batch_count, &places);
                self.confirmed.push((Arc::clone(&client), nacked, false));
                (Waiter::Publisher(client, taken), Vec::new())
            }
            Waiter::Offers(tickets) => {
                let (taken, nacked) = part_tickets(tickets, &refused);
                nacked.iter().for_each(|ticket| ticket.done(false));
                (Waiter::Offers(taken), Vec::new())
            }
            Waiter::DeadLetters(tickets) => {
                let (taken, let_go) = part_tickets(tickets, &refused);
                (Waiter::DeadLetters(taken), let_go)
            }
        };
        self.let_go(id, &refused, tickets, now_ms);
        waiter
    }

    /// Sends refused messages to the dead-letter exchange, if the queue wants that. One that is a dead letter already
    /// is settled at its source when its next targets have it, or at once when there are none.
    fn let_go(&mut self, id: QueueId, refused: &[Refused], tickets: Vec<Ticket>, now_ms: u64) {
        tickets.iter().flatten().for_each(|ticket| ticket.is_let_go.store(true, Ordering::Release));
        let mut tickets = tickets.into_iter();
        let slot = self.slots.get(&id);
        if slot.is_some_and(|slot| slot.entry.settings.overflow == Overflow::RejectPublishDlx) {
            for run in refused {
                let mut records: &[u8] = &run.records;
                while let Some((_, length)) = batch::read(records) {
                    let ticket = tickets.next().flatten();
                    self.pass_on(id, DeathReason::MaxLength, records, ticket, false, now_ms);
                    records = records.get(length..).unwrap_or_default();
                }
            }
        }
        tickets.flatten().for_each(|ticket| ticket.done());
    }
}

/// The tickets of messages that were taken in, and of those that were refused.
fn part_tickets<T>(tickets: Vec<T>, refused: &[Refused]) -> (Vec<T>, Vec<T>) {
    let (mut taken, mut let_go) = (Vec::new(), Vec::new());
    let mut runs = refused.iter().peekable();
    for (place, ticket) in (0..).zip(tickets) {
        while runs.next_if(|run| run.place + run.count <= place).is_some() {}
        let is_refused = runs.peek().is_some_and(|run| run.place <= place);
        if is_refused { let_go.push(ticket) } else { taken.push(ticket) }
    }
    (taken, let_go)
}
