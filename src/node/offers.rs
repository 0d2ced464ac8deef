//! Messages that are looked at before they may go on, and who waits for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::links::{ClientInput, ClientLink, ShardInput};
use super::mailbox::Mailbox;
use crate::broker::batch::Message;
use crate::broker::channel::outgoing::Confirm;
use crate::broker::deduplication::Id;
use crate::broker::ids::{QueueId, Target};

/// A publisher that waits to hear what became of its message.
#[derive(Clone, Debug)]
pub(crate) struct Publisher {
    pub(crate) client: Arc<ClientLink>,
    pub(crate) confirm: Confirm,
}

/// A message for the queues that it was routed to, unless it came before.
#[derive(Debug)]
pub(crate) struct Offer {
    /// What it is known by; one without an id goes on in any case.
    pub(crate) id: Option<Id>,
    /// Until when the id is kept, Unix milliseconds.
    pub(crate) until_ms: u64,
    /// Where it goes; none when no queue wants it.
    pub(crate) ways: Vec<Way>,
    /// Who wants to know.
    pub(crate) publisher: Option<Publisher>,
    /// Who gets it back when it is new.
    pub(crate) returned_to: Option<ReturnTo>,
}

/// One form of a message, and the queues that get it in this form.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) record: Vec<u8>,
    pub(crate) persistent: bool,
    pub(crate) targets: Vec<Target>,
}

impl Way {
    pub(crate) fn of(message: &Message<'_>, targets: &[Target]) -> Self {
        let mut record = Vec::new();
        if !targets.is_empty() {
            message.put(&mut record);
        }
        Self { record, persistent: message.persistent, targets: targets.to_vec() }
    }
}

/// A mandatory message that no queue wants, and who sent it.
#[derive(Debug)]
pub(crate) struct ReturnTo {
    client: Arc<ClientLink>,
    input: ClientInput,
}

impl ReturnTo {
    /// The message goes back to a channel, in this use of its number.
    pub(crate) fn of(client: &Arc<ClientLink>, (channel, epoch): (u16, u32), message: &Message<'_>) -> Self {
        let mut record = Vec::new();
        message.put(&mut record);
        Self { client: Arc::clone(client), input: ClientInput::Returned { channel, epoch, record } }
    }

    /// Sends it back.
    pub(crate) fn send(self) {
        self.client.mailbox.push(self.input);
    }
}

/// An offered message on its way to its queues; the last one to have it tells.
#[derive(Debug)]
pub(crate) struct OfferTicket {
    /// The shard of the companion.
    pub(crate) shard: Arc<Mailbox<ShardInput>>,
    /// Where its id is kept.
    pub(crate) companion: QueueId,
    pub(crate) id: Option<Id>,
    pub(crate) until_ms: u64,
    /// Whether the message survives a restart in some queue, and its id therefore has to.
    pub(crate) is_durable: bool,
    pub(crate) publisher: Option<Publisher>,
    /// Targets that have not answered.
    open: AtomicU32,
    is_refused: AtomicBool,
}

impl OfferTicket {
    pub(crate) fn new(shard: Arc<Mailbox<ShardInput>>, companion: QueueId, offer: &Offer) -> Self {
        let targets: usize = offer.ways.iter().map(|way| way.targets.len()).sum();
        Self {
            shard,
            companion,
            id: offer.id.clone(),
            until_ms: offer.until_ms,
            is_durable: offer
                .ways
                .iter()
                .any(|way| way.persistent && way.targets.iter().any(|to| to.durable)),
            publisher: offer.publisher.clone(),
            open: AtomicU32::new(u32::try_from(targets).unwrap_or(u32::MAX)),
            is_refused: AtomicBool::new(false),
        }
    }

    /// Whether some queue had no place for it.
    pub(crate) fn is_refused(&self) -> bool {
        self.is_refused.load(Ordering::Acquire)
    }

    /// One target has the message, or refuses it.
    pub(crate) fn done(self: &Arc<Self>, accepted: bool) {
        if !accepted {
            self.is_refused.store(true, Ordering::Release);
        }
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shard.push(ShardInput::Passed(Arc::clone(self)));
        }
    }
}
