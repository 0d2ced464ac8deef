//! Dead letters of a session that are not safe yet.
//!
//! A letter that a queue takes in is in the log with the mark of its number: a repeat is answered. One for which a full queue has
//! no place goes on from there, which leaves no record: what a mark says of it is its place, and a repeat sends it again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::table::Places;
use crate::broker::batch::{self, Batch};
use crate::broker::ids::QueueId;
use crate::node::links::{DeadLetterTicket, ShardInput, Waiter};
use crate::node::mailbox::Mailbox;

/// Items with letters, by number.
#[derive(Debug)]
pub(super) struct Letters {
    /// Where it is told that letters have arrived.
    pub(super) mailbox: Arc<Mailbox<ShardInput>>,
    open: BTreeMap<u64, Vec<(u32, Arc<DeadLetterTicket>)>>,
}

impl Letters {
    pub(super) fn new() -> Self {
        Self { mailbox: Arc::new(Mailbox::new(usize::MAX)), open: BTreeMap::new() }
    }

    /// An item begins, whose messages count from `first` on and have these places in its batch. Gives who waits for them.
    pub(super) fn begin(
        &mut self,
        number: u64,
        queue: QueueId,
        first: u64,
        places: impl Iterator<Item = u32>,
    ) -> Waiter {
        let ticket = |(message, place)| {
            (place, Arc::new(DeadLetterTicket::new(Arc::clone(&self.mailbox), queue, message)))
        };
        let tickets: Vec<_> = (first..).zip(places).map(ticket).collect();
        let waiter =
            Waiter::DeadLetters(tickets.iter().map(|(_, ticket)| Some(Arc::clone(ticket))).collect());
        self.open.insert(number, tickets);
        waiter
    }

    /// Places that were not taken in, of each item that is open.
    pub(super) fn let_go(&self) -> impl Iterator<Item = (u64, Places)> {
        self.open.iter().map(|(number, tickets)| {
            let is_let_go =
                |(_, ticket): &&(u32, Arc<DeadLetterTicket>)| ticket.is_let_go.load(Ordering::Acquire);
            (*number, tickets.iter().filter(is_let_go).map(|(place, _)| (*place, 1)).collect())
        })
    }

    /// All letters of an item have arrived. False when it has none.
    pub(super) fn end(&mut self, number: u64) -> bool {
        self.open.remove(&number).is_some()
    }

    /// Nobody waits any more for what is open.
    pub(super) fn forget(&mut self) {
        self.open.clear();
    }
}

/// The messages of a batch that have these places.
pub(super) fn part(batch: &Batch, places: &[u32]) -> Batch {
    let (mut all, mut records, mut persistent) = (&batch.records[..], Vec::new(), 0);
    let mut place = 0;
    while let Some(record) = batch::skim(all) {
        let (one, rest) = all.split_at(record.length.min(all.len()));
        if places.contains(&place) {
            records.extend_from_slice(one);
            persistent += u32::from(batch::read(one).is_some_and(|(message, _)| message.persistent));
        }
        (all, place) = (rest, place + 1);
    }
    let count = u32::try_from(places.len()).unwrap_or(u32::MAX);
    Batch::of(records, count.min(place), persistent)
}
