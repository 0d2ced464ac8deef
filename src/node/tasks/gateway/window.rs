//! Everything that the owner has not done, by number.

use std::collections::VecDeque;

use tokio::sync::oneshot::Sender;

use crate::broker::ids::QueueId;
use crate::broker::queue::{ConsumerId, Counts, GetReply};
use crate::node::cluster::forward::{Item, Request};
use crate::node::links::{CommitPart, NotConsuming, NotDeleted, Waiter};

/// What an item costs beside its messages, about.
const ITEM_BYTES: usize = 128;
/// What is sent at once, unless a single item is larger.
const SENT_BYTES_MAX: usize = 1024 * 1024;
const SENT_ITEMS_MAX: usize = 1024;

/// Who waits for an item.
#[derive(Debug)]
pub(super) enum Wait {
    Nobody,
    /// For so many messages, of which these places were refused.
    Publish(Waiter, u32, Vec<(u32, u32)>),
    /// A commit; these places were refused.
    Commit(CommitPart, Vec<(u32, u32)>),
    Stat(Sender<Option<Counts>>),
    Consume(Sender<Result<(), NotConsuming>>, ConsumerId),
    /// A consumer that was there before.
    Back(ConsumerId),
    Unit(Sender<()>),
    /// One message; whether it counts as acknowledged at once.
    Get(Sender<Option<GetReply>>, bool),
    Purge(Sender<Option<u64>>),
    Delete(Sender<Result<u64, NotDeleted>>),
}

/// An item that is not done.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) item: Item,
    pub(super) wait: Wait,
    bytes: usize,
}

impl Kept {
    pub(super) fn new(queue: QueueId, request: Request, wait: Wait) -> Self {
        let bytes = match &request {
            Request::Publish { batch, .. } => batch.records.len(),
            Request::Settle { ranges, .. } => size_of_val(ranges.as_slice()),
            _ => 0,
        };
        Self { item: Item { queue, request }, wait, bytes: bytes + ITEM_BYTES }
    }

    /// Whether an owner remembers for ever that it took place, so that it keeps its number when it is asked again.
    fn is_remembered(&self) -> bool {
        matches!(self.item.request, Request::Publish { .. } | Request::Settle { .. })
    }

    /// Whether nobody waits any more for the answer to a question that only its asker has use for.
    pub(super) fn is_unheard(&self) -> bool {
        match &self.wait {
            Wait::Get(asker, _) => asker.is_closed(),
            Wait::Consume(asker, _) => asker.is_closed(),
            _ => false,
        }
    }

    fn letter_bytes(&self) -> usize {
        if matches!(self.item.request, Request::Publish { letters: true, .. }) { self.bytes } else { 0 }
    }

    pub(super) fn has_messages(&self) -> bool {
        matches!(self.item.request, Request::Publish { letters: false, .. })
    }
}

/// Items by number; done ones leave gaps.
#[derive(Debug)]
pub(super) struct Window {
    /// The number of the first slot.
    base: u64,
    slots: VecDeque<Option<Kept>>,
    /// The next to be sent.
    next: u64,
    bytes: usize,
    /// Those of dead letters among them.
    letter_bytes: usize,
}

impl Window {
    pub(super) fn new() -> Self {
        Self { base: 1, slots: VecDeque::new(), next: 1, bytes: 0, letter_bytes: 0 }
    }

    /// What became of everything below this number is known.
    pub(super) fn answered(&self) -> u64 {
        self.base
    }

    /// The number that the next item gets.
    pub(super) fn end(&self) -> u64 {
        self.base + self.slots.len() as u64
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What dead letters have of them.
    pub(super) fn letter_bytes(&self) -> usize {
        self.letter_bytes
    }

    pub(super) fn push(&mut self, kept: Kept) {
        self.bytes += kept.bytes;
        self.letter_bytes += kept.letter_bytes();
        self.slots.push_back(Some(kept));
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Kept> {
        self.slots.get_mut(self.at(number)?)?.as_mut()
    }

    /// An item is done.
    pub(super) fn take(&mut self, number: u64) -> Option<Kept> {
        let kept = self.slots.get_mut(self.at(number)?)?.take()?;
        self.bytes -= kept.bytes;
        self.letter_bytes -= kept.letter_bytes();
        self.trim();
        Some(kept)
    }

    /// Takes these numbers out as far as they are there.
    pub(super) fn take_range(&mut self, first: u64, last: u64) -> Vec<Kept> {
        let end = self.base + self.slots.len() as u64;
        let numbers = first.max(self.base)..last.saturating_add(1).min(end);
        numbers.filter_map(|number| self.take(number)).collect()
    }

    /// Takes out what fits, in order.
    pub(super) fn take_if(&mut self, fits: impl Fn(&Kept) -> bool) -> Vec<Kept> {
        let mut taken = Vec::new();
        for slot in &mut self.slots {
            if let Some(kept) = slot.take_if(|kept| fits(kept)) {
                self.bytes -= kept.bytes;
                self.letter_bytes -= kept.letter_bytes();
                taken.push(kept);
            }
        }
        self.trim();
        taken
    }

    /// Everything is to be sent once more. Gives what has to be asked anew, with numbers of its own: what an owner does not
    /// remember.
    pub(super) fn rewind(&mut self) -> Vec<Kept> {
        let taken = self.take_if(|kept| !kept.is_remembered());
        self.next = self.base;
        taken
    }

    pub(super) fn any(&self, fits: impl Fn(&Kept) -> bool) -> bool {
        self.all().any(fits)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Kept> {
        self.slots.iter().flatten()
    }

    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Kept> {
        self.slots.iter_mut().flatten()
    }

    /// What is to be sent next: the first number, and the items.
    pub(super) fn send(&mut self) -> (u64, Vec<Item>) {
        let first = self.next;
        let from = self.at(first).unwrap_or(usize::MAX);
        let (mut bytes, mut items) = (0, Vec::new());
        for slot in self.slots.iter().skip(from).take(SENT_ITEMS_MAX) {
            bytes += slot.as_ref().map_or(0, |kept| kept.bytes);
            if bytes > SENT_BYTES_MAX && !items.is_empty() {
                break;
            }
            let nothing = || Item { queue: QueueId(0), request: Request::Nothing };
            items.push(slot.as_ref().map_or_else(nothing, |kept| kept.item.clone()));
        }
        self.next += items.len() as u64;
        (first, items)
    }

    fn at(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.base)?).ok()
    }

    /// Gaps in front are forgotten, sent or not: the owner is told up to which number there is nothing more.
    fn trim(&mut self) {
        while self.slots.front().is_some_and(Option::is_none) {
            self.slots.pop_front();
            self.base += 1;
        }
        self.next = self.next.max(self.base);
    }
}
