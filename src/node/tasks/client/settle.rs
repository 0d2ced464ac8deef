//! `basic.ack`, `basic.nack`, `basic.reject`, `basic.recover`.

use super::session::Session;
use crate::broker::channel::Channel;
use crate::broker::channel::unacked::Verdict;
use crate::broker::queue::Command;
use crate::node::links::ShardInput;
use crate::node::shared::Shared;
use crate::protocol::error::Refusal;
use crate::protocol::reply_code::ReplyCode;

impl Session {
    pub(super) fn ack(&mut self, number: u16, tag: u64, multiple: bool) -> Result<(), Refusal> {
        self.settle(number, tag, multiple, Verdict::Ack)
    }

    pub(super) fn nack(
        &mut self,
        number: u16,
        tag: u64,
        multiple: bool,
        requeue: bool,
    ) -> Result<(), Refusal> {
        self.settle(number, tag, multiple, if requeue { Verdict::Requeue } else { Verdict::Reject })
    }

    /// Unlike a nack, a reject says that the consumer failed (RabbitMQ: Quorum Queues, Delayed Retry).
    pub(super) fn reject(&mut self, number: u16, tag: u64, requeue: bool) -> Result<(), Refusal> {
        self.settle(number, tag, false, if requeue { Verdict::Fail } else { Verdict::Reject })
    }

    fn settle(&mut self, number: u16, tag: u64, multiple: bool, verdict: Verdict) -> Result<(), Refusal> {
        let channel = self.channel(number)?;
        let unknown =
            || Refusal::channel(ReplyCode::PreconditionFailed, format!("unknown delivery tag {tag}"));
        if channel.transaction.is_some() {
            // Its place in the prefetch is free when it is committed.
            let count = channel.unacked.settle_later(tag, multiple, verdict).ok_or_else(unknown)?;
            self.count_settled(number, count, verdict);
            return Ok(());
        }
        let count = channel.unacked.settle(tag, multiple, verdict).ok_or_else(unknown)?;
        channel.shared_prefetch.give_back(count);
        self.count_settled(number, count, verdict);
        Ok(())
    }

    /// `basic.recover`: everything unacknowledged goes back to its queue.
    pub(super) fn recover(&mut self, number: u16, requeue: bool) -> Result<(), Refusal> {
        if !requeue {
            return Err(Refusal::connection(ReplyCode::NotImplemented, "requeue=false"));
        }
        let channel = self.channel(number)?;
        let count = channel.unacked.settle_all(Verdict::Requeue);
        channel.shared_prefetch.give_back(count);
        Ok(())
    }

    /// Tells the queues what was settled, on all channels.
    pub(super) fn send_settled(&mut self) {
        let Self { channels, shared, .. } = self;
        for channel in channels.values_mut().filter(|channel| channel.unacked.has_settled()) {
            for settled in channel.unacked.take_settled() {
                let shard = shared.shard(settled.source.target);
                let (id, command) = settled.into_command();
                shard.push(ShardInput::Command(id, command));
            }
            resume(channel, shared);
        }
    }

    /// Hands over what the inputs so far have brought: messages first, then settlements.
    pub(super) fn hand_over(&mut self) {
        if !self.outgoing.is_empty() {
            self.send_batches();
        }
        self.send_settled();
    }
}

/// Places in the channel's shared prefetch are free again: its consumers may go on.
pub(super) fn resume(channel: &Channel, shared: &Shared) {
    if channel.shared_prefetch.is_limited() {
        for consumer in channel.consumers.iter() {
            let command = Command::Resume(consumer.id);
            shared.shard(consumer.target).push(ShardInput::Command(consumer.target.id, command));
        }
    }
}
