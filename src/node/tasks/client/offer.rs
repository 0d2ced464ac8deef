//! Publishes to exchanges that look for duplicates: each asks the exchange's companion before it goes on.

use std::sync::Arc;

use super::publish::Once;
use super::room::Full;
use super::session::{Session, not_open};
use crate::broker::batch::{self, Message};
use crate::broker::channel::outgoing::Confirm;
use crate::node::links::ShardInput;
use crate::node::offers::{Offer, Publisher, ReturnTo, Way};
use crate::protocol::error::Refusal;
use crate::protocol::inbound::Publish;
use crate::protocol::properties::Properties;

impl Session {
    /// Sends a message by way of the companion; also one without an id, so that all keep their order.
    pub(super) fn offer(
        &mut self,
        publish: &Publish<'_>,
        message: &Message<'_>,
        held: &Message<'_>,
        once: &Once,
    ) -> Result<(), Refusal> {
        let Some(gate) = &once.gate else { return Ok(()) };
        let channel = self.channels.get_mut(&publish.channel).ok_or_else(not_open)?;
        let (number, epoch) = (publish.channel, channel.epoch);
        let confirm = channel.ledger.as_mut().map(|ledger| ledger.publish(1));
        let confirm = confirm.map(|confirm| Confirm { channel: number, epoch, ranges: vec![(confirm, 1)] });
        let publisher = confirm.map(|confirm| Publisher { client: Arc::clone(&self.link), confirm });
        let is_returned = publish.mandatory && once.is_unroutable();
        let headers = Properties::parse(message.header).ok().and_then(|properties| properties.headers);
        let ways = [(message, &*once.route), (held, &*once.delays)];
        let ways = ways.map(|(message, targets)| Way::of(message, targets));
        let bytes = ways.iter().map(|way| way.record.len()).sum();
        let offer = Offer {
            id: gate.deduplication.id(headers),
            until_ms: gate.deduplication.until_ms(headers, self.now_ms),
            ways: ways.into_iter().filter(|way| !way.targets.is_empty()).collect(),
            publisher,
            returned_to: is_returned.then(|| ReturnTo::of(&self.link, (number, epoch), message)),
        };
        let shard = self.shared.shard(gate.companion);
        shard.push_bulk(ShardInput::Offer(gate.companion.id, Box::new(offer)), bytes);
        // The companion does not wait for its targets: those who publish do.
        let ways = once.route.iter().chain(&once.delays).chain([&gate.companion]);
        if let Some(full) = ways.copied().find(|target| !self.shared.shard(*target).has_room()) {
            self.full = Some(Full::Shard(full));
        }
        Ok(())
    }

    /// A mandatory message comes back: it was new, and nobody wants it.
    pub(super) fn give_back(&mut self, number: u16, epoch: u32, record: &[u8]) {
        let Some((message, _)) = batch::read(record) else { return };
        if self.channels.get(&number).is_none_or(|channel| channel.epoch != epoch) {
            return;
        }
        self.return_unroutable(number, &message);
    }
}
