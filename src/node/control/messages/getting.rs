//! Messages that are taken from a queue as `basic.get` does, and kept, given back or refused.

use std::sync::Arc;

use super::{Control, ControlError, MessageProperties};
use crate::broker::batch;
use crate::broker::delivery_count;
use crate::broker::ids::Target;
use crate::broker::queue::{Command, GETTER, GetReply};
use crate::node::links::ShardInput;
use crate::node::shared::Shared;

/// So many messages are taken at most, and so many bytes: they are all in memory.
const GET_MAX: usize = 10_000;
const GET_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What becomes of messages that were shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckMode {
    /// They go back as from a channel that is closed.
    AckRequeueTrue,
    /// They are gone when they are shown.
    AckRequeueFalse,
    /// They are rejected, and go back.
    RejectRequeueTrue,
    /// They are rejected: dead-lettered, or dropped.
    RejectRequeueFalse,
}

impl AckMode {
    /// By RabbitMQ's name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "ack_requeue_true" => Some(Self::AckRequeueTrue),
            "ack_requeue_false" => Some(Self::AckRequeueFalse),
            "reject_requeue_true" => Some(Self::RejectRequeueTrue),
            "reject_requeue_false" => Some(Self::RejectRequeueFalse),
            _ => None,
        }
    }
}

/// A message that was got.
#[derive(Clone, Debug)]
pub struct GotMessage {
    /// The exchange that it came through.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
    /// It may have been delivered before.
    pub redelivered: bool,
    /// Messages that were ready behind it.
    pub message_count: u64,
    /// Its properties.
    pub properties: MessageProperties,
    /// Its body, cut if that was asked for.
    pub body: Vec<u8>,
    /// The length of the whole body.
    pub body_bytes: u64,
}

impl Control {
    /// Takes up to so many messages from a queue, and does with them what the mode says. Bodies are cut to `truncate`.
    ///
    /// # Errors
    /// When there is no such queue, or who owns it does not answer.
    pub async fn get(
        &self,
        user: &str,
        (vhost, queue): (&str, &str),
        count: usize,
        mode: AckMode,
        truncate: Option<usize>,
    ) -> Result<Vec<GotMessage>, ControlError> {
        let entry = self.queue_for_messages(vhost, queue)?;
        self.may_read(user, vhost, queue)?;
        let no_ack = mode == AckMode::AckRequeueFalse;
        let mut held =
            Held { shared: Arc::clone(&self.shared), target: entry.target(), mode, seqs: Vec::new() };
        let (mut got, mut bytes) = (Vec::new(), 0);
        while got.len() < count.min(GET_MAX) && bytes < GET_BYTES_MAX {
            let answer =
                self.shared.ask(entry.target(), |reply| ShardInput::Get(entry.id, no_ack, reply)).await;
            let GetReply::Message { seq, record, redelivered, returns, ready } =
                self.answered(&entry, answer)?
            else {
                break;
            };
            if !no_ack {
                held.seqs.push(seq);
            }
            let Some((message, _)) = batch::read(&record) else { continue };
            let counted = delivery_count::header_if(message.header, returns);
            let shown = truncate.unwrap_or(usize::MAX).min(message.body.len());
            bytes += shown;
            got.push(GotMessage {
                exchange: String::from_utf8_lossy(message.exchange).into_owned(),
                routing_key: String::from_utf8_lossy(message.routing_key).into_owned(),
                redelivered,
                message_count: ready,
                properties: MessageProperties::of_header(counted.as_deref().unwrap_or(message.header)),
                body: message.body.get(..shown).unwrap_or_default().to_vec(),
                body_bytes: message.body.len() as u64,
            });
        }
        Ok(got)
    }
}

/// Messages that were taken: settled when this goes, also when nobody waits for the answer any more.
struct Held {
    shared: Arc<Shared>,
    target: Target,
    mode: AckMode,
    seqs: Vec<u64>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.seqs.is_empty() {
            return;
        }
        self.seqs.sort_unstable();
        let ranges: Vec<_> = self
            .seqs
            .chunk_by(|one, other| one + 1 == *other)
            .filter_map(|run| Some((*run.first()?, run.len() as u64)))
            .collect();
        let command = match self.mode {
            AckMode::AckRequeueTrue => Command::Requeue(GETTER, ranges),
            AckMode::AckRequeueFalse => Command::Ack(GETTER, ranges),
            AckMode::RejectRequeueTrue => Command::Fail(GETTER, ranges),
            AckMode::RejectRequeueFalse => Command::Reject(GETTER, ranges),
        };
        self.shared.shard(self.target).push(ShardInput::Command(self.target.id, command));
    }
}
