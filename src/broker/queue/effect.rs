//! What a queue asks its owner to do.

use bytes::Bytes;

use super::consumers::ConsumerId;

/// Consecutive message numbers: the first, and how many.
pub type SeqRange = (u64, u64);

/// Consecutive messages that came back equally often: the first number, how many, how often.
pub type ReturnRun = (u64, u64, u32);

/// Consecutive messages that wait until the same time: the first number, how many, Unix milliseconds.
pub type RetryRun = (u64, u64, u64);

/// Why a message is dead-lettered, as `x-death` names it (RabbitMQ: Dead Letter Exchanges).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeathReason {
    /// Its time was over.
    Expired,
    /// A consumer refused it without requeue.
    Rejected,
    /// A length limit left no place for it.
    MaxLength,
    /// It came back more often than its queue allows.
    DeliveryLimit,
}

impl DeathReason {
    /// The word in the header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Rejected => "rejected",
            Self::MaxLength => "maxlen",
            Self::DeliveryLimit => "delivery_limit",
        }
    }
}

/// One message of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number in the queue.
    pub seq: u64,
    /// Where its record begins in the delivery's data.
    pub offset: u32,
    /// It was delivered before, or may have been.
    pub redelivered: bool,
    /// How often it came back, where that is counted; 65,535 also stands for more.
    pub returns: u16,
}

/// Messages for one consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Who gets them.
    pub consumer: ConsumerId,
    /// The bytes that the records are in, shared with others.
    pub data: Bytes,
    /// The messages, in order.
    pub entries: Vec<Entry>,
}

/// The answer to a `basic.get`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GetReply {
    /// A message, and how many are ready behind it.
    Message {
        /// Its number in the queue.
        seq: u64,
        /// Its record.
        record: Bytes,
        /// It was delivered before.
        redelivered: bool,
        /// How often it came back, where that is counted.
        returns: u32,
        /// Messages ready behind it.
        ready: u64,
    },
    /// Nothing is ready.
    Empty,
}

/// What follows from a command; carried out by the queue's owner, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send messages to a consumer.
    Deliver(Delivery),
    /// Answer the oldest unanswered get.
    Got(GetReply),
    /// Append to the log: messages that must survive.
    LogEnqueue {
        /// Number of the first message.
        first: u64,
        /// How many messages.
        count: u32,
        /// The records.
        records: Bytes,
        /// Their ids, for [`super::Queue::replay_ids`]; mostly none.
        ids: Bytes,
    },
    /// Append to the log: what has become of ids.
    LogIds(Vec<u8>),
    /// Messages were dropped that came before: they are as safe as everything logged so far.
    Duplicates,
    /// Append to the log: messages that are done with.
    LogSettle(Vec<SeqRange>),
    /// Append to the log: how often messages have come back by now.
    LogReturns(Vec<ReturnRun>),
    /// Append to the log: until when messages that came back wait.
    LogRetries(Vec<RetryRun>),
    /// Publish a message to the dead-letter exchange; then say [`super::Command::DeadLettered`].
    DeadLetter {
        /// The message's number here.
        seq: u64,
        /// Why.
        reason: DeathReason,
        /// Its record.
        record: Bytes,
    },
    /// Messages of the batch that came last were not taken in: the queue is full.
    Refused {
        /// Place of the first one in the batch.
        place: u32,
        /// How many, side by side.
        count: u32,
        /// Their records.
        records: Bytes,
    },
    /// A message that [`super::Command::Recall`] asked for: the asking's number, the record.
    Recalled(u64, Bytes),
    /// The recall of this number has given everything.
    RecallDone(u64),
    /// Read the chunk that begins with this number; then say [`super::Command::ChunkLoaded`].
    Load(u64),
    /// The chunk that begins with this number is not needed any more.
    Forget(u64),
    /// Read due times between these two; then say [`super::Command::DueLoaded`].
    LoadDue(u64, u64),
    /// The queue is auto-delete and lost its last consumer.
    Unused,
    /// The queue was not used for its `x-expires`.
    Expired,
}
