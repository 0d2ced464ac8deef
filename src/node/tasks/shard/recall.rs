//! Messages that an exchange keeps, on their way to a new binding of it.

use tokio::sync::oneshot;

use super::Shard;
use super::inputs::answer;
use crate::broker::batch::{self, Message};
use crate::broker::ids::QueueId;
use crate::broker::queue::Command;
use crate::broker::topology::{RecallTo, RouteQuery};
use crate::protocol::properties::Properties;
use crate::protocol::table;

/// One binding that waits for its messages.
pub(super) struct Recall {
    number: u64,
    companion: QueueId,
    to: RecallTo,
    reply: oneshot::Sender<()>,
}

impl Shard {
    pub(super) fn recall(
        &mut self,
        companion: QueueId,
        to: RecallTo,
        reply: oneshot::Sender<()>,
        now_ms: u64,
    ) {
        self.last_recall += 1;
        let number = self.last_recall;
        self.recalls.push(Recall { number, companion, to, reply });
        if self.apply(companion, Command::Recall(number), now_ms).is_none() {
            self.drop_recalls(companion);
        }
    }

    /// Passes one message on.
    pub(super) fn recalled(&mut self, number: u64, record: &[u8], now_ms: u64) {
        let Some(recall) = self.recalls.iter().find(|recall| recall.number == number) else { return };
        let Some((message, _)) = batch::read(record) else { return };
        let message = Message { enqueued_ms: now_ms, ..message };
        let mut targets = Vec::new();
        match &recall.to {
            RecallTo::Queue(target) => targets.push(*target),
            RecallTo::Exchange { vhost, name } => {
                let properties = Properties::parse(message.header).unwrap_or_default();
                let cc = properties.headers.and_then(|headers| table::find(headers, b"CC"));
                let keys = cc.iter().flat_map(|cc| cc.items()).filter(|(kind, _)| *kind == b'S');
                let keys = keys.filter_map(|(_, key)| std::str::from_utf8(key.get(4..)?).ok());
                let own = std::str::from_utf8(message.routing_key).unwrap_or_default();
                let keys: Vec<_> = std::iter::once(own).chain(keys).collect();
                let properties = Some(&properties);
                let query = RouteQuery {
                    vhost,
                    exchange: name,
                    keys: &keys,
                    properties,
                    allow_internal: true,
                    // What is kept is old already.
                    is_due: true,
                };
                // An exchange that is gone leaves no targets.
                let _ = self.shared.topology().route(&query, &mut targets);
            }
        }
        targets.iter().for_each(|target| self.letters.put(*target, &message, None));
    }

    /// The binding has its messages: what is published from now on comes behind them.
    pub(super) fn recall_done(&mut self, number: u64) {
        let Some(at) = self.recalls.iter().position(|recall| recall.number == number) else { return };
        let recall = self.recalls.remove(at);
        self.send_letters();
        answer(recall.reply, ());
    }

    /// The exchange is gone: nobody waits any more.
    pub(super) fn drop_recalls(&mut self, companion: QueueId) {
        self.recalls.retain(|recall| recall.companion != companion);
    }
}
