//! Giving everything back: consumers, unacknowledged messages, exclusive queues.

use tokio::sync::oneshot;

use super::session::Session;
use crate::broker::channel::Channel;
use crate::broker::queue;
use crate::broker::topology::Command;
use crate::node::links::{MetaInput, ShardInput};
use crate::node::statistics::Came;

impl Session {
    /// Ends a channel: what it held goes back to the queues, in the old order.
    pub(super) async fn release_channel(&mut self, number: u16) {
        // What was published before the end counts; what comes behind is dropped by the protocol machine.
        self.hand_over();
        let Some(channel) = self.channels.get(&number) else { return };
        let consumers: Vec<_> =
            channel.consumers.iter().map(|consumer| (consumer.id, consumer.target)).collect();
        for (id, target) in consumers.iter().copied() {
            let _ = self.shared.ask(target, |reply| ShardInput::Suspend(target.id, id, reply)).await;
        }
        self.hear();
        self.end_replies(number);
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.unacked.release_all();
        }
        self.drop_transaction(number);
        self.send_settled();
        // Only now may another consumer take over: what comes back is older than what is next in turn.
        for (id, target) in consumers {
            self.end_consumer(number, id, target).await;
        }
        self.channels.remove(&number);
        self.tell_channel("channel.closed", number);
        self.shared.statistics.churned(Came::ChannelClosed, 1);
        self.tally.tell_soon();
        self.shared.presence.close_channel(self.link.id);
    }

    /// Ends the connection: all channels, then the exclusive queues. Does nothing the second time.
    pub(super) async fn release(&mut self) {
        if std::mem::replace(&mut self.released, true) {
            return;
        }
        self.release_without_consumers();
        let numbers: Vec<_> = self.channels.keys().copied().collect();
        for number in numbers {
            self.release_channel(number).await;
        }
        self.hide();
        // The exclusive queues go even when the answer cannot come any more.
        let _ = self.shared.apply(Command::DropOwner { owner: self.link.id }).await;
        self.shared.presence.leave(self.link.id);
        self.shared.clients.remove(&self.link.id);
    }
}

impl Session {
    /// Most of very many channels have no consumer: they go all at once, since each end looks at all that are left.
    fn release_without_consumers(&mut self) {
        self.hand_over();
        let is_idle =
            |channel: &Channel| channel.consumers.iter().next().is_none() && channel.replies.is_none();
        for channel in self.channels.values_mut().filter(|channel| is_idle(channel)) {
            channel.unacked.release_all();
        }
        self.send_settled();
        let before = self.channels.len();
        if self.shared.tells_events() {
            let idle = self.channels.iter().filter(|(_, channel)| is_idle(channel));
            idle.for_each(|(number, _)| self.tell_channel("channel.closed", *number));
        }
        self.channels.retain(|_, channel| !is_idle(channel));
        self.shared.statistics.churned(Came::ChannelClosed, (before - self.channels.len()) as u64);
        (self.channels.len()..before).for_each(|_| self.shared.presence.close_channel(self.link.id));
    }
}

/// A task that ends by a panic must not keep messages, consumers or its share of what is gathered.
impl Drop for Session {
    fn drop(&mut self) {
        if self.released {
            return;
        }
        if std::thread::panicking() {
            tracing::error!(connection = self.link.id, peer = %self.peer, "a client task panicked: its connection ends");
        }
        self.end_gathering();
        // Cancelled here, deliveries under way still count as this client's; so they are taken in first.
        self.hear();
        for channel in self.channels.values_mut() {
            channel.unacked.release_all();
        }
        self.shared.statistics.churned(Came::ChannelClosed, self.channels.len() as u64);
        self.hide();
        for consumer in self.channels.values().flat_map(|channel| channel.consumers.iter()) {
            self.shared.statistics.consumers.remove(&consumer.id);
            self.command(consumer.target, queue::Command::Cancel(consumer.id));
        }
        for replies in self.channels.values().filter_map(|channel| channel.replies.as_ref()) {
            self.shared.replies.remove(&replies.name);
        }
        self.send_settled();
        let (reply, _) = oneshot::channel();
        let command = Command::DropOwner { owner: self.link.id };
        self.shared.meta.push(MetaInput::Apply(Box::new(command), reply));
        self.shared.presence.leave(self.link.id);
        self.shared.clients.remove(&self.link.id);
    }
}
