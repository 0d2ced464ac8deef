//! Publishes that repeat the one before in all but the body: neither decoded, checked nor routed again.

use super::publish::OPEN_BYTES_MAX;
use super::session::Session;
use crate::broker::batch::{Message, Template};
use crate::broker::channel::routes::{Place, Route};

/// So many publishes in a row that nothing repeated, and remembering them is hardly worth it any more.
const MISSES_MAX: u32 = 4;
/// One of so many is remembered nevertheless.
const RETRY_EVERY: u32 = 128;

/// What was found out about the last publish; forgotten with every method but publishes and settlements.
pub(super) struct Repeat {
    place: (u16, u32),
    /// The version of the topology that the route was found in.
    version: u64,
    route: Route,
    record: Template,
    persistent: bool,
    confirms: bool,
    /// Not told to the protocol layer yet.
    is_new: bool,
}

impl Repeat {
    /// The channel, to how many queues it goes, and whether it is confirmed.
    pub(super) fn facts(&self) -> (u16, usize, bool) {
        (self.place.0, self.route.len(), self.confirms)
    }
}

impl Session {
    /// Keeps what was found out about a publish, if the next one may be like it. Its route must follow from exchange and
    /// key alone.
    pub(super) fn remember(&mut self, number: u16, message: &Message<'_>, place: Place) {
        self.repeat_misses = self.repeat_misses.saturating_add(1);
        self.repeat = None;
        if self.repeat_misses > MISSES_MAX && !self.repeat_misses.is_multiple_of(RETRY_EVERY) {
            return;
        }
        // In a transaction messages are gathered elsewhere.
        let channel = self.channels.get(&number).filter(|channel| channel.transaction.is_none());
        let Some(channel) = channel else { return };
        let Some(route) = channel.routes.at(place).filter(|route| !route.is_empty()) else { return };
        let Some(record) = Template::of(message) else { return };
        self.repeat = Some(Repeat {
            place: (number, channel.epoch),
            version: channel.routes.version(),
            route: route.clone(),
            record,
            persistent: message.persistent,
            confirms: channel.ledger.is_some(),
            is_new: true,
        });
    }

    /// Whether the publish just handled is one to recognise the next by.
    pub(super) fn has_new_repeat(&mut self) -> bool {
        self.repeat.as_mut().is_some_and(|repeat| std::mem::take(&mut repeat.is_new))
    }

    /// Whether a publish like the last one may be taken without a second look.
    #[inline]
    pub(super) fn may_repeat(&self) -> bool {
        self.repeat.as_ref().is_some_and(|repeat| repeat.version == self.shared.version())
    }

    /// Publishes once more what was published last, with another body.
    #[inline]
    pub(super) fn publish_repeated(&mut self, body: &[u8]) {
        let Some(repeat) = &mut self.repeat else { return };
        self.repeat_misses = 0;
        let mut number = None;
        if repeat.confirms {
            let ledger = self.channels.get_mut(&repeat.place.0).and_then(|channel| channel.ledger.as_mut());
            number = ledger.map(|ledger| ledger.publish(repeat.route.len()));
        }
        for target in &*repeat.route {
            self.outgoing.append(repeat.place, *target, repeat.persistent, number, |records| {
                repeat.record.put(body, self.now_ms, records);
            });
        }
        if self.outgoing.bytes() > OPEN_BYTES_MAX {
            self.send_batches();
        }
    }
}
