//! Transactions: publishes and settlements that count at the commit, all of them or none (AMQP 0-9-1, class tx).

use std::collections::HashMap;
use std::sync::Arc;

use amq_protocol::protocol::{AMQPClass, tx};

use super::declare::unimplemented;
use super::publish::{Parts, Routed, precondition, reply};
use super::room::Full;
use super::session::{Session, not_open};
use super::settle::resume;
use crate::broker::batch::{self, Message};
use crate::node::links::Commit;
use crate::node::replies::Requester;
use crate::protocol::error::Refusal;
use crate::protocol::inbound::Publish;
use crate::protocol::reply_code::ReplyCode;

/// The record of a reply, and who waits for it.
type Reply = (Vec<u8>, Arc<Requester>);

/// Direct replies that are sent at the commit, and what all that is held back takes.
#[derive(Default)]
pub(super) struct OpenTransactions {
    /// Of all channels, in bytes.
    bytes: usize,
    /// By channel.
    replies: HashMap<u16, Vec<Reply>>,
}

impl Session {
    pub(super) async fn on_tx(&mut self, number: u16, method: tx::AMQPMethod) -> Result<(), Refusal> {
        use tx::AMQPMethod as Tx;
        let ok = match method {
            Tx::Select(_) => {
                self.begin_transactions(number)?;
                Tx::SelectOk(tx::SelectOk {})
            }
            Tx::Commit(_) => {
                self.commit(number).await?;
                Tx::CommitOk(tx::CommitOk {})
            }
            Tx::Rollback(_) => {
                self.rollback(number)?;
                Tx::RollbackOk(tx::RollbackOk {})
            }
            Tx::SelectOk(_) | Tx::CommitOk(_) | Tx::RollbackOk(_) => {
                return Err(unimplemented(&AMQPClass::Tx(method)));
            }
        };
        self.reply(number, false, AMQPClass::Tx(ok));
        Ok(())
    }

    fn begin_transactions(&mut self, number: u16) -> Result<(), Refusal> {
        let channel = self.channel(number)?;
        if channel.ledger.is_some() {
            return Err(precondition("cannot switch from confirm to tx mode".to_owned()));
        }
        channel.transaction.get_or_insert_default();
        Ok(())
    }

    /// Keeps a publish until the commit. It was checked and routed like any other; `held` is what it looks like where it
    /// waits for a delay.
    pub(super) fn gather(
        &mut self,
        publish: &Publish<'_>,
        message: &Message<'_>,
        held: &Message<'_>,
        route: &Routed,
    ) -> Result<(), Refusal> {
        let channel = self.channels.get_mut(&publish.channel).ok_or_else(not_open)?;
        let Some(transaction) = channel.transaction.as_deref_mut() else { return Ok(()) };
        let Parts { targets, requesters, delays, is_unroutable } = route.parts(&channel.routes);
        let is_returned = is_unroutable && publish.mandatory;
        let copies = targets.len() + requesters.len() + usize::from(is_returned);
        let bytes = message.length().saturating_mul(copies);
        let bytes = bytes.saturating_add(held.length().saturating_mul(delays.len()));
        let bytes_max = self.shared.config.limits.transaction_bytes_max;
        if bytes > bytes_max.saturating_sub(self.transactions.bytes) {
            return Err(too_large(bytes_max));
        }
        self.transactions.bytes += bytes;
        let put = |records: &mut Vec<u8>| message.put(records);
        for target in delays {
            transaction.append(*target, held.persistent, held.body.len(), |records| held.put(records));
        }
        for target in targets {
            transaction.append(*target, message.persistent, message.body.len(), put);
        }
        if is_returned {
            transaction.append_unroutable(put);
        }
        for requester in requesters {
            let mut record = Vec::new();
            put(&mut record);
            let replies = self.transactions.replies.entry(publish.channel).or_default();
            replies.push((record, Arc::clone(requester)));
        }
        Ok(())
    }

    /// When this returns, everything is safe, and whoever asks finds it; or nothing took place.
    async fn commit(&mut self, number: u16) -> Result<(), Refusal> {
        let now_ms = self.shared.clock.now_ms();
        let replies = self.take_held(number)?;
        let channel = self.channel(number)?;
        let ended = channel.transaction.as_deref_mut().map(|transaction| transaction.take(now_ms));
        let (ended, (settled, count)) = (ended.unwrap_or_default(), channel.unacked.commit());
        let targets: Vec<_> = ended.publishes.iter().map(|publishes| publishes.target).collect();
        if !targets.is_empty() || !settled.is_empty() {
            self.shared.commit(Commit { publishes: ended.publishes, settled }).await?;
        }
        self.return_all(number, &ended.unroutable);
        for (record, requester) in replies {
            if let Some(full) = reply(&[requester], now_ms, |out| out.extend_from_slice(&record)) {
                self.full.get_or_insert(full);
            }
        }
        if let Some(target) = targets.into_iter().find(|target| !self.shared.shard(*target).has_room()) {
            self.full.get_or_insert(Full::Shard(target));
        }
        if count > 0
            && let Some(channel) = self.channels.get(&number)
        {
            channel.shared_prefetch.give_back(count);
            resume(channel, &self.shared);
        }
        Ok(())
    }

    /// Tells the publisher of mandatory messages that no queue takes.
    fn return_all(&mut self, number: u16, unroutable: &[Vec<u8>]) {
        for (message, _) in unroutable.iter().filter_map(|record| batch::read(record)) {
            self.return_unroutable(number, &message);
        }
    }

    fn rollback(&mut self, number: u16) -> Result<(), Refusal> {
        self.take_held(number)?;
        let channel = self.channel(number)?;
        channel.transaction = Some(Box::default());
        channel.unacked.rollback();
        Ok(())
    }

    /// Drops what the transaction of a channel that ends holds, if it has one.
    pub(super) fn drop_transaction(&mut self, number: u16) {
        // Without one there is nothing to drop.
        let _ = self.take_held(number);
    }

    /// The replies of a transaction that ends. What it holds does not count any more.
    fn take_held(&mut self, number: u16) -> Result<Vec<Reply>, Refusal> {
        let transaction = self.channel(number)?.transaction.as_deref();
        let held = transaction.map(|transaction| transaction.bytes());
        let held = held.ok_or_else(|| precondition("channel is not transactional".to_owned()))?;
        let replies = self.transactions.replies.remove(&number).unwrap_or_default();
        let replied: usize = replies.iter().map(|(record, _)| record.len()).sum();
        self.transactions.bytes -= held + replied;
        Ok(replies)
    }
}

fn too_large(bytes_max: usize) -> Refusal {
    let text =
        format!("transactions of a connection may hold {bytes_max} bytes (limits.transaction_bytes_max)");
    Refusal::channel(ReplyCode::PreconditionFailed, text)
}
