//! What clients ask of queues elsewhere, as a shard is asked.

use std::sync::Arc;

use super::consumers::State;
use super::window::{Kept, Wait};
use super::{Gateway, Request};
use crate::broker::batch::{self, Batch};
use crate::broker::ids::QueueId;
use crate::broker::queue::{Command, ConsumerId, GETTER, SeqRange};
use crate::node::cluster::forward::{Owner, Settle};
use crate::node::links::{ClientInput, CommitAnswer, CommitPart, ShardInput, TransactionInput, Waiter};
use crate::node::offers::Publisher;

impl Gateway {
    pub(super) fn ask(&mut self, input: ShardInput) {
        match input {
            ShardInput::Publish(queue, batch, waiter) => self.publish(queue, batch, waiter),
            ShardInput::Command(queue, command) => self.command(queue, command, None),
            ShardInput::Apply(commands, answer) => {
                for (queue, command) in commands {
                    self.command(queue, command, answer.as_ref());
                }
            }
            ShardInput::Stat(queue, reply) => self.put(queue, Request::Stat, Wait::Stat(reply)),
            ShardInput::Consume(queue, spec, client, reply) => {
                let consumer = self.consumers.begin(queue, &spec, client);
                self.put(queue, Request::Consume(consumer), Wait::Consume(reply, spec.id));
            }
            ShardInput::Suspend(queue, consumer, reply) => {
                if let Some(attached) = self.consumers.get_mut(consumer) {
                    attached.stands(State::Suspended);
                }
                self.end(queue, consumer, Request::Suspend(consumer), Wait::Unit(reply));
            }
            ShardInput::Cancel(queue, consumer, reply) => {
                self.cancel(queue, consumer, Wait::Unit(reply));
            }
            ShardInput::Get(queue, no_ack, reply) => {
                // What is acknowledged only when it is here cannot be lost on its way.
                self.put(queue, Request::Get { no_ack: false }, Wait::Get(reply, no_ack));
            }
            ShardInput::Purge(queue, reply) => self.put(queue, Request::Purge, Wait::Purge(reply)),
            ShardInput::Delete(queue, condition, reply) => {
                self.put(queue, Request::Delete(condition), Wait::Delete(reply));
            }
            other => self.cannot_ask(other),
        }
    }

    /// What has to be decided where the queue is, or is meant for shards of this node.
    fn cannot_ask(&self, input: ShardInput) {
        match input {
            ShardInput::Offer(_, offer) => {
                if let Some(Publisher { client, confirm }) = offer.publisher {
                    client.mailbox.push(ClientInput::Confirmed(confirm, false));
                }
            }
            ShardInput::Reserve(reserve) => {
                let queue = reserve.publishes.first().map_or(QueueId(0), |(queue, ..)| *queue);
                let refused = Err(self.shared.unanswered_for(queue));
                let answer = TransactionInput::Reserved(reserve.transaction, reserve.part, refused);
                self.shared.transactions.push(answer);
            }
            ShardInput::Reconfigured(reply) | ShardInput::Stop(reply) => {
                // Whoever asked may have gone.
                let _ = reply.send(());
            }
            // Whoever waits for a reply hears that there will be none.
            _ => {}
        }
    }

    fn publish(&mut self, queue: QueueId, batch: Batch, waiter: Waiter) {
        let (count, letters) = (batch.count, matches!(waiter, Waiter::DeadLetters(_)));
        let batch = self.as_owner_keeps_it(batch);
        self.put(queue, Request::Publish { batch, letters }, Wait::Publish(waiter, count, Vec::new()));
    }

    /// A group keeps all its messages, whatever their senders asked for.
    fn as_owner_keeps_it(&self, batch: Batch) -> Batch {
        if batch.persistent == batch.count || matches!(self.owner, Owner::Node(_)) {
            return batch;
        }
        let mut records = Vec::from(batch.records);
        batch::persist(&mut records);
        Batch::of(records, batch.count, batch.count)
    }

    fn command(&mut self, queue: QueueId, command: Command, commit: Option<&Arc<CommitAnswer>>) {
        match command {
            Command::Enqueue(batch) => {
                let batch = self.as_owner_keeps_it(batch);
                let wait =
                    commit.map_or(Wait::Nobody, |answer| Wait::Commit(CommitPart::new(answer), Vec::new()));
                self.put(queue, Request::Publish { batch, letters: false }, wait);
            }
            Command::Ack(consumer, ranges) => self.settle(queue, (consumer, Settle::Ack, ranges), commit),
            Command::Requeue(consumer, ranges) => {
                self.settle(queue, (consumer, Settle::Requeue, ranges), commit);
            }
            Command::Fail(consumer, ranges) => self.settle(queue, (consumer, Settle::Fail, ranges), commit),
            Command::Reject(consumer, ranges) => {
                self.settle(queue, (consumer, Settle::Reject, ranges), commit);
            }
            Command::Cancel(consumer) => {
                self.cancel(queue, consumer, Wait::Nobody);
            }
            Command::Credit(consumer, bytes) => {
                self.consumers.credit(consumer, bytes);
                if self.is_connected {
                    self.put(queue, Request::Credit(consumer, bytes), Wait::Nobody);
                }
            }
            // What consumers of a channel share is no limit for the owner; all else is for shards of this node.
            _ => {}
        }
    }

    pub(super) fn settle(
        &mut self,
        queue: QueueId,
        (consumer, how, ranges): (ConsumerId, Settle, Vec<SeqRange>),
        commit: Option<&Arc<CommitAnswer>>,
    ) {
        let wait = commit.map_or(Wait::Nobody, |answer| Wait::Commit(CommitPart::new(answer), Vec::new()));
        self.put(queue, Request::Settle { consumer, how, ranges }, wait);
    }

    /// A message came that is acknowledged already, or that nobody waits for any more.
    pub(super) fn settle_got(&mut self, queue: QueueId, seq: u64, how: Settle) {
        self.settle(queue, (GETTER, how, vec![(seq, 1)]), None);
    }

    /// What its owner has sent meanwhile still comes: to its client if that waits for the end, otherwise it goes back.
    pub(super) fn cancel(&mut self, queue: QueueId, consumer: ConsumerId, wait: Wait) {
        let is_gone = matches!(wait, Wait::Nobody);
        if is_gone {
            self.give_back_early(consumer);
        }
        if let Some(attached) = self.consumers.get_mut(consumer)
            && attached.state != State::Gone
        {
            attached.stands(if is_gone { State::Gone } else { State::Suspended });
        }
        self.end(queue, consumer, Request::Cancel(consumer), wait);
    }

    /// Nobody waits any more for what a consumer was given before it was known to be one.
    fn give_back_early(&mut self, consumer: ConsumerId) {
        let Some(attached) = self.consumers.get_mut(consumer) else { return };
        let (queue, early) = (attached.queue, std::mem::take(&mut attached.early));
        let entries = early.iter().flat_map(|delivery| &delivery.entries);
        let ranges: Vec<SeqRange> = entries.map(|entry| (entry.seq, 1)).collect();
        if !ranges.is_empty() {
            self.settle(queue, (consumer, Settle::Requeue, ranges), None);
        }
    }

    /// A consumer gets nothing more. An owner that cannot be asked hears of it by not being told of the consumer; also when
    /// it was asked for, and that was never answered.
    fn end(&mut self, queue: QueueId, consumer: ConsumerId, request: Request, wait: Wait) {
        let kept = Kept::new(queue, request, wait);
        if self.has_owner() {
            return self.window.push(kept);
        }
        let begins =
            |kept: &Kept| matches!(&kept.item.request, Request::Consume(begun) if begun.id == consumer);
        self.window.take_if(begins).into_iter().for_each(|kept| self.fail(kept));
        self.fail(kept);
    }

    fn put(&mut self, queue: QueueId, request: Request, wait: Wait) {
        let kept = Kept::new(queue, request, wait);
        if self.refuses(&kept) {
            self.fail(kept);
        } else {
            self.window.push(kept);
        }
    }

    /// Asks once more what an owner was asked, or was about to be.
    pub(super) fn ask_anew(&mut self, kept: Kept) {
        match &kept.item.request {
            // Consumers come back as they are by now.
            Request::Credit(..) | Request::Nothing | Request::Resume(_) => {}
            Request::Suspend(_) | Request::Cancel(_) => self.fail(kept),
            Request::Consume(_) if matches!(kept.wait, Wait::Back(_)) => {}
            // It ended before its owner had answered.
            Request::Consume(consumer) if !self.consumers.is_asked(consumer.id) => self.fail(kept),
            _ if kept.is_unheard() => self.fail(kept),
            _ => self.window.push(kept),
        }
    }
}
