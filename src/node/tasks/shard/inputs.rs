//! What others ask of a shard.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::reconfigure::Pending;
use super::{Shard, Slot};
use crate::broker::batch::Batch;
use crate::broker::ids::{Home, QueueId};
use crate::broker::queue::{Command, ConsumerSpec, Counts, Options, Queue};
use crate::broker::topology::QueueEntry;
use crate::node::links::{ClientInput, ClientLink, DeleteIf, NotConsuming, NotDeleted, ShardInput, Waiter};
use crate::node::statistics::Came;

impl Shard {
    /// Does what one input asks for.
    pub(crate) fn handle(&mut self, input: ShardInput, now_ms: u64) {
        match input {
            ShardInput::Publish(id, batch, waiter) => self.publish(id, batch, waiter, now_ms),
            ShardInput::Offer(id, offer) => self.offer(id, *offer, now_ms),
            ShardInput::Passed(ticket) => self.passed(&ticket, now_ms),
            ShardInput::Recall(id, to, reply) => self.recall(id, to, reply, now_ms),
            ShardInput::Command(id, command) => {
                if matches!(command, Command::DeadLettered(_)) {
                    self.shared.statistics.buried(1);
                }
                self.apply(id, command, now_ms);
            }
            ShardInput::Reserve(reserve) => self.reserve(&reserve, now_ms),
            ShardInput::Apply(commands, answer) => {
                for (id, command) in commands {
                    self.apply(id, command, now_ms);
                }
                if let Some(answer) = answer {
                    self.tell_commit_when_synced(answer);
                }
            }
            ShardInput::Create(entry) => {
                let queue = Queue::new(options_of(&entry), now_ms);
                self.insert(entry, queue);
                self.shared.statistics.churned(Came::QueueCreated, 1);
            }
            ShardInput::Reconfigure(entries) => self.pending.extend(entries.into_iter().map(Pending::Queue)),
            ShardInput::Reconfigured(reply) => self.pending.push_back(Pending::Asked(reply)),
            ShardInput::Statistics(ask) => self.tell_statistics(*ask),
            ShardInput::Stat(id, reply) => answer(reply, self.stat(id, now_ms)),
            ShardInput::Consume(id, spec, client, reply) => {
                answer(reply, self.consume(id, *spec, client, now_ms));
            }
            ShardInput::Suspend(id, consumer, reply) => {
                self.apply(id, Command::Suspend(consumer), now_ms);
                answer(reply, ());
            }
            ShardInput::Cancel(id, consumer, reply) => {
                self.apply(id, Command::Cancel(consumer), now_ms);
                self.consumers.remove(&consumer);
                answer(reply, ());
            }
            ShardInput::Get(id, no_ack, reply) => match self.slots.get_mut(&id) {
                Some(slot) => {
                    slot.gets.push_back(reply);
                    self.apply(id, Command::Get { no_ack }, now_ms);
                }
                None => answer(reply, None),
            },
            ShardInput::Look(id, look, reply) => {
                answer(reply, self.slots.get(&id).map(|slot| slot.queue.look(look)));
            }
            ShardInput::LookAt(id, seqs, reply) => {
                answer(reply, self.slots.get(&id).map(|slot| slot.queue.look_at(&seqs)));
            }
            ShardInput::Hold(id, seqs, reply) => {
                answer(reply, self.slots.get_mut(&id).map(|slot| slot.queue.hold(&seqs)));
                self.note(id);
            }
            ShardInput::ReadChunk(id, first, reply) => self.cold.read(id, first, reply),
            ShardInput::Purge(id, reply) => answer(reply, self.purge(id, now_ms)),
            ShardInput::Delete(id, condition, reply) => answer(reply, self.delete(id, condition)),
            ShardInput::Synced(index) => self.synced(index),
            ShardInput::ChunkStored(id, first, spilling) => self.chunk_stored(id, first, spilling, now_ms),
            ShardInput::ChunkLoaded(id, first, chunk) => self.chunk_loaded(id, first, chunk, now_ms),
            ShardInput::DueLoaded(id, dues, next) => {
                self.apply(id, Command::DueLoaded(dues, next), now_ms);
            }
            ShardInput::Checkpoint(reply) => self.begin_checkpoint(reply),
            ShardInput::Stop(reply) => self.stop = Some(reply),
        }
    }

    fn publish(&mut self, id: QueueId, batch: Batch, waiter: Waiter, now_ms: u64) {
        // A queue that was deleted meanwhile takes its messages with it: nobody is owed anything.
        let count = batch.count;
        self.memory.taken(batch.records.len());
        let command = match waiter {
            Waiter::DeadLetters(_) => Command::EnqueueLetters(batch),
            _ => Command::Enqueue(batch),
        };
        let index = self.apply(id, command, now_ms).unwrap_or(0);
        let waiter = if self.refused.is_empty() { waiter } else { self.refuse(id, waiter, count, now_ms) };
        match waiter {
            Waiter::Nobody => {}
            Waiter::Publisher(client, confirm) if index > self.synced => {
                self.is_awaited = true;
                self.unsynced.push_back((index, client, confirm));
            }
            Waiter::Publisher(client, confirm) => self.confirmed.push((client, confirm, true)),
            Waiter::DeadLetters(tickets) => self.letters.arrived(index, tickets),
            Waiter::Offers(tickets) => self.offers_arrived(index, tickets),
        }
    }

    /// Everything up to this index is safe: whoever waited for it is told.
    pub(crate) fn synced(&mut self, index: u64) {
        self.synced = self.synced.max(index);
        self.memory.synced(self.synced);
        while self.unsynced.front().is_some_and(|(index, ..)| *index <= self.synced) {
            if let Some((_, client, confirm)) = self.unsynced.pop_front() {
                self.confirmed.push((client, confirm, true));
            }
        }
        while self.commits.front().is_some_and(|(index, _)| *index <= self.synced) {
            self.commits.pop_front();
        }
    }

    fn stat(&mut self, id: QueueId, now_ms: u64) -> Option<Counts> {
        self.apply(id, Command::Touch, now_ms)?;
        self.slots.get(&id).map(|slot| slot.queue.counts())
    }

    fn consume(
        &mut self,
        id: QueueId,
        spec: ConsumerSpec,
        client: Arc<ClientLink>,
        now_ms: u64,
    ) -> Result<(), NotConsuming> {
        let slot = self.slots.get(&id).ok_or(NotConsuming::Gone)?;
        if !slot.queue.may_consume(spec.exclusive) {
            return Err(NotConsuming::Exclusive);
        }
        self.consumers.insert(spec.id, client);
        self.apply(id, Command::Consume(spec), now_ms);
        Ok(())
    }

    fn purge(&mut self, id: QueueId, now_ms: u64) -> Option<u64> {
        let counts = self.slots.get(&id)?.queue.counts();
        self.apply(id, Command::Purge, now_ms);
        // The client is told that they are gone.
        self.is_awaited = true;
        Some(counts.ready + counts.delayed)
    }

    fn delete(&mut self, id: QueueId, condition: DeleteIf) -> Result<u64, NotDeleted> {
        let ready = self.may_delete(id, condition)?;
        if condition.only_checks {
            return Ok(ready);
        }
        if let Some(slot) = self.slots.remove(&id) {
            self.keep_counts(&slot);
            self.shared.statistics.churned(Came::QueueDeleted, 1);
            self.removed(id, slot);
        }
        Ok(ready)
    }

    /// Whether a queue may be deleted; gives its ready messages.
    pub(crate) fn may_delete(&self, id: QueueId, condition: DeleteIf) -> Result<u64, NotDeleted> {
        let Some(slot) = self.slots.get(&id) else { return Ok(0) };
        let counts = slot.queue.counts();
        let was_used = condition.idle_since_ms.is_some_and(|since_ms| slot.queue.last_used_ms() > since_ms);
        if was_used || condition.unused && counts.consumers > 0 {
            return Err(NotDeleted::InUse);
        }
        if condition.empty && counts.ready + counts.delayed > 0 {
            return Err(NotDeleted::NotEmpty);
        }
        Ok(counts.ready)
    }

    fn removed(&mut self, id: QueueId, slot: Slot) {
        if let Some(due_ms) = slot.due_ms {
            self.timers.remove(&(due_ms, id));
        }
        self.memory.changed(id, slot.hot_bytes, 0);
        self.cold.delete_queue(id);
        self.drop_pending(id);
        self.drop_recalls(id);
        self.drop_letters(id);
        for consumer in slot.queue.consumer_ids() {
            if let Some(client) = self.consumers.remove(&consumer) {
                client.mailbox.push(ClientInput::ConsumerCancelled(consumer));
            }
        }
        slot.gets.into_iter().for_each(|reply| answer(reply, None));
    }
}

/// What a queue must know of its declaration.
pub(crate) fn options_of(entry: &QueueEntry) -> Options {
    Options {
        durable: entry.durable,
        replicated: matches!(entry.home, Home::Group(_)),
        auto_delete: entry.auto_delete,
        message_ttl_ms: entry.settings.message_ttl_ms,
        expires_ms: entry.settings.expires_ms,
        dead_letters: entry.settings.dead_letter_exchange.is_some() || entry.delays_for.is_some(),
        delays: entry.delays_for.is_some(),
        single_active_consumer: entry.settings.single_active_consumer,
        max_length: entry.settings.max_length,
        max_length_bytes: entry.settings.max_length_bytes,
        overflow: entry.settings.overflow,
        delivery_limit: entry.settings.delivery_limit,
        retry: entry.settings.retry.retry(),
        max_priority: entry.settings.max_priority,
        deduplication: entry.settings.deduplication.clone(),
        ids_kept: entry.settings.ids_kept,
    }
}

/// Whoever asked may have gone; then nobody is to be told.
pub(super) fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    let _ = reply.send(value);
}
