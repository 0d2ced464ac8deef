//! Deliveries that nobody acknowledges in time: they go back, and their consumer is cancelled (RabbitMQ: Consumers,
//! Delivery Acknowledgement Timeout).

use super::session::Session;
use crate::broker::channel::unacked::{Age, Source};
use crate::broker::topology::QueueEntry;
use crate::node::links::ShardInput;
use crate::protocol::error::Refusal;
use crate::protocol::reply_code::ReplyCode;

/// A queue's limit may change while its deliveries are out: they are looked at so often at least.
const LOOK_EVERY_MS: u64 = 60_000;

impl Session {
    /// Something is out that must be acknowledged within so many milliseconds, as far as is known now.
    pub(super) fn look_at_deliveries_within(&mut self, after_ms: u64) {
        let at_ms = self.now_ms.saturating_add(after_ms.min(LOOK_EVERY_MS));
        self.look_at_deliveries_ms =
            Some(self.look_at_deliveries_ms.map_or(at_ms, |old_ms| old_ms.min(at_ms)));
    }

    /// Takes back what is out for too long, if it is time to look for that.
    pub(super) async fn look_at_deliveries(&mut self) {
        if self.look_at_deliveries_ms.is_none_or(|at_ms| at_ms > self.now_ms) {
            return;
        }
        self.look_at_deliveries_ms = None;
        for number in self.channels.keys().copied().collect::<Vec<_>>() {
            while let Some((source, limit_ms)) = self.overdue(number) {
                self.time_out(number, source, limit_ms).await;
            }
        }
    }

    /// The source of an overdue delivery, and its limit; notes when to look again when there is none.
    fn overdue(&mut self, number: u16) -> Option<(Source, u64)> {
        let unacked = &self.channels.get(&number)?.unacked;
        let limits_ms: Vec<_> = unacked.sources().iter().map(|source| self.limit_ms(source)).collect();
        match unacked.age(self.now_ms, &limits_ms)? {
            Age::Overdue(source) => Some((source, self.limit_ms(&source))),
            Age::Fine(left_ms) => {
                self.look_at_deliveries_within(left_ms);
                None
            }
        }
    }

    /// How long its deliveries may be out: the consumer's word comes first, then the queue's, then the node's.
    pub(super) fn limit_ms(&self, source: &Source) -> u64 {
        let topology = self.shared.topology();
        // What a deleted queue had sent belongs nowhere.
        let queue = topology.queue_by_id(source.target.id);
        queue.map_or(u64::MAX, |queue| self.limit_in(queue, source.timeout_ms))
    }

    /// The same for a queue that was looked up, and what the consumer says.
    pub(super) fn limit_in(&self, queue: &QueueEntry, own_ms: Option<u64>) -> u64 {
        let limit_ms = own_ms.or(queue.settings.consumer_timeout_ms);
        let limit_ms = limit_ms.unwrap_or_else(|| self.shared.live.load().limits.consumer_timeout_ms);
        if limit_ms == 0 { u64::MAX } else { limit_ms }
    }

    /// Everything from this source goes back. Its consumer is told; who cannot be told that way loses the channel.
    async fn time_out(&mut self, number: u16, source: Source, limit_ms: u64) {
        let consumer = self.channels.get(&number).and_then(|channel| channel.consumers.get(source.consumer));
        let tag = consumer.map(|consumer| consumer.tag.clone());
        let tag = tag.filter(|_| self.connection.has_capability("consumer_cancel_notify"));
        let Some(tag) = tag else {
            return self.refuse(number, &timed_out(number, limit_ms), (0, 0)).await;
        };
        let (consumer, target) = (source.consumer, source.target);
        tracing::warn!(
            connection = self.link.id,
            channel = number,
            limit_ms,
            "a consumer did not acknowledge in time"
        );
        self.hand_over();
        // What comes back is older than what is next in turn: no other consumer takes over before it is there.
        let _ = self.shared.ask(target, |reply| ShardInput::Suspend(target.id, consumer, reply)).await;
        self.hear();
        if let Some(channel) = self.channels.get_mut(&number) {
            let count = channel.unacked.take_back(source);
            channel.shared_prefetch.give_back(count);
        }
        self.send_settled();
        self.end_consumer(number, consumer, target).await;
        self.out.cancel(number, &tag, true);
    }
}

fn timed_out(number: u16, limit_ms: u64) -> Refusal {
    let text = format!(
        "delivery acknowledgement on channel {number} timed out. Timeout value used: {limit_ms} ms. This timeout \
         value can be configured, see consumers doc guide to learn more"
    );
    Refusal::channel(ReplyCode::PreconditionFailed, text)
}
