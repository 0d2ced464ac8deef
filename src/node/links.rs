//! What the tasks send each other.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::cluster::inputs::GroupControl;
use super::cluster::meta::{MetaAnswer, MetaCommand};
use super::cluster::peer::{LinkState, PeerMessage};
use super::mailbox::Mailbox;
use super::offers::{Offer, OfferTicket};
use super::shared::stopping;
use super::statistics::{QueueNumbers, TotalsByType};
use crate::broker::batch::Batch;
use crate::broker::channel::outgoing::Confirm;
use crate::broker::channel::transaction::Publishes;
use crate::broker::channel::unacked::{Settled, Verdict};
use crate::broker::ids::{ConnectionId, NodeId, QueueId};
use crate::broker::queue::{
    self, ConsumerId, ConsumerSpec, Counts, Delivery, GetReply, Look, Sighting, Sightings,
};
use crate::broker::topology::{self, Outcome, QueueEntry, RecallTo};
use crate::protocol::error::Refusal;

/// A client task, for those who send to it.
#[derive(Debug)]
pub(crate) struct ClientLink {
    /// Its number.
    pub(crate) id: ConnectionId,
    /// Its mailbox.
    pub(crate) mailbox: Mailbox<ClientInput>,
}

/// What a client task is told.
#[derive(Debug)]
pub(crate) enum ClientInput {
    /// Messages for a consumer.
    Deliver(Delivery),
    /// A queue has these publishes, or refuses them.
    Confirmed(Confirm, bool),
    /// A consumer's queue is gone.
    ConsumerCancelled(ConsumerId),
    /// A reply for the reply consumer of a channel: its record.
    Reply { channel: u16, consumer: ConsumerId, record: Vec<u8> },
    /// No queue wants this message, which was mandatory: its record.
    Returned { channel: u16, epoch: u32, record: Vec<u8> },
    /// Declarations became durable.
    MetaSynced,
    /// Others gather less: a large message may go on, or has its turn.
    MayGather,
    /// The machine is short of nothing any more.
    AlarmsOver,
    /// What the connection has published waits for a majority of the nodes.
    MajorityMissing,
    /// The connection has to end, for this reason.
    Close(Box<Refusal>),
    /// The node stops.
    Stopping,
}

/// Who waits until a batch is safe.
#[derive(Debug)]
pub(crate) enum Waiter {
    /// Nobody.
    Nobody,
    /// A publisher.
    Publisher(Arc<ClientLink>, Confirm),
    /// The queues that messages were dead-lettered from: for each message its ticket, if a queue waits for it.
    DeadLetters(Vec<Option<Arc<DeadLetterTicket>>>),
    /// The exchange that let these messages pass.
    Offers(Vec<Arc<OfferTicket>>),
}

/// A dead letter on its way to several queues; the last one to have it tells its source.
#[derive(Debug)]
pub(crate) struct DeadLetterTicket {
    /// The source's shard.
    pub(crate) shard: Arc<Mailbox<ShardInput>>,
    /// The source.
    pub(crate) queue: QueueId,
    /// The message's number there.
    pub(crate) seq: u64,
    /// Targets that have not answered.
    pub(crate) open: AtomicU32,
    /// A target had no place for it, and has sent it on or dropped it.
    pub(crate) is_let_go: AtomicBool,
}

impl DeadLetterTicket {
    /// A letter for one target so far.
    pub(crate) fn new(shard: Arc<Mailbox<ShardInput>>, queue: QueueId, seq: u64) -> Self {
        Self { shard, queue, seq, open: AtomicU32::new(1), is_let_go: AtomicBool::new(false) }
    }

    /// One of the open targets stands for so many, at least one.
    pub(crate) fn spread(&self, targets: usize) {
        let more = u32::try_from(targets.saturating_sub(1)).unwrap_or(u32::MAX);
        self.open.fetch_add(more, Ordering::AcqRel);
    }

    /// One target has the message, or will never take it.
    pub(crate) fn done(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            let command = queue::Command::DeadLettered(self.seq);
            self.shard.push(ShardInput::Command(self.queue, command));
        }
    }
}

/// Under which condition a queue is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeleteIf {
    /// Only without consumers.
    pub(crate) unused: bool,
    /// Only without ready messages.
    pub(crate) empty: bool,
    /// Only when it was not used after this, Unix milliseconds.
    pub(crate) idle_since_ms: Option<u64>,
    /// The queue is not deleted yet: it goes when its declaration does.
    pub(crate) only_checks: bool,
}

/// Why a queue was not deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotDeleted {
    /// It has consumers.
    InUse,
    /// It has messages.
    NotEmpty,
}

/// Why a consumer was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotConsuming {
    /// The queue is gone.
    Gone,
    /// Somebody consumes exclusively, or the asker would and others are there.
    Exclusive,
}

/// Which queues are asked for their numbers, and how.
#[derive(Debug)]
pub(crate) struct QueueAsk {
    pub(crate) queues: Vec<QueueId>,
    pub(crate) with_consumers: bool,
    pub(crate) reply: QueueAskReply,
}

/// How the numbers of queues are told.
#[derive(Debug)]
pub(crate) enum QueueAskReply {
    Each(oneshot::Sender<Vec<QueueNumbers>>),
    Sums(oneshot::Sender<TotalsByType>),
}

/// What a shard is told.
#[derive(Debug)]
pub(crate) enum ShardInput {
    /// Messages for a queue.
    Publish(QueueId, Batch, Waiter),
    /// A message for an exchange with this companion: it goes on unless it came before.
    Offer(QueueId, Box<Offer>),
    /// All queues have answered for a message that was let pass.
    Passed(Arc<OfferTicket>),
    /// What a companion keeps goes to a new binding of its exchange; answered when it is on its way.
    Recall(QueueId, RecallTo, oneshot::Sender<()>),
    /// A command for a queue, without an answer.
    Command(QueueId, queue::Command),
    /// Numbers are wanted for messages of a transaction; the transactions task is answered.
    Reserve(Box<Reserve>),
    /// Commands for queues, one after the other with nothing in between; and who waits until all that the log is to have
    /// of that is safe.
    Apply(Vec<(QueueId, queue::Command)>, Option<Arc<CommitAnswer>>),
    /// A queue exists from now on.
    Create(Arc<QueueEntry>),
    /// Queues work by these entries from now on.
    Reconfigure(Vec<Arc<QueueEntry>>),
    /// Answered when all queues of earlier [`Self::Reconfigure`] do.
    Reconfigured(oneshot::Sender<()>),
    /// Numbers of queues.
    Statistics(Box<QueueAsk>),
    /// Counts of a queue, for a declare: that is a use of the queue.
    Stat(QueueId, oneshot::Sender<Option<Counts>>),
    /// A consumer begins.
    Consume(QueueId, Box<ConsumerSpec>, Arc<ClientLink>, oneshot::Sender<Result<(), NotConsuming>>),
    /// A consumer is given nothing more; answered when that is so.
    Suspend(QueueId, ConsumerId, oneshot::Sender<()>),
    /// A consumer ends; answered when no more deliveries will be sent to it.
    Cancel(QueueId, ConsumerId, oneshot::Sender<()>),
    /// One message is asked for (`no_ack` as in `basic.get`); `None` when the queue is gone.
    Get(QueueId, bool, oneshot::Sender<Option<GetReply>>),
    /// Messages are looked at; the queue stays as it is. `None` when it is gone, here and below.
    Look(QueueId, Look, oneshot::Sender<Option<Sightings>>),
    /// Messages with these numbers are looked at.
    LookAt(QueueId, Vec<u64>, oneshot::Sender<Option<Vec<Sighting>>>),
    /// Ready messages with these numbers are held; answers with those that are now.
    Hold(QueueId, Vec<u64>, oneshot::Sender<Option<Vec<u64>>>),
    /// A chunk is read for somebody else than its queue; `None` also when it is not in the cold store any more.
    ReadChunk(QueueId, u64, oneshot::Sender<Option<Bytes>>),
    /// Everything ready goes; answers with how many. `None` when the queue is gone.
    Purge(QueueId, oneshot::Sender<Option<u64>>),
    /// The queue goes; answers with its ready messages.
    Delete(QueueId, DeleteIf, oneshot::Sender<Result<u64, NotDeleted>>),
    /// The log is synced up to this index of this shard.
    Synced(u64),
    /// A chunk was written; `true` when its memory is wanted back.
    ChunkStored(QueueId, u64, bool),
    /// A chunk was read; `None` when it is missing.
    ChunkLoaded(QueueId, u64, Option<Bytes>),
    /// Due times were read.
    DueLoaded(QueueId, Vec<(u64, u64)>, Option<u64>),
    /// Everything that a restart needs goes to the cold store; answers with the log index up to which that is so.
    Checkpoint(oneshot::Sender<u64>),
    /// The node stops: note what a restart should know, then answer.
    Stop(oneshot::Sender<()>),
}

/// What the meta task is told.
#[derive(Debug)]
pub(crate) enum MetaInput {
    /// Another node says something that is for this task.
    Peer(NodeId, PeerMessage),
    /// What becomes of the link to another node.
    Link(NodeId, LinkState),
    /// A change of the topology.
    Apply(Box<topology::Command>, oneshot::Sender<Result<Applied, Refusal>>),
    /// `queue.delete`: vhost, name, asking connection, condition; answers with the ready messages.
    DeleteQueue(DeleteQueue, oneshot::Sender<Result<(u64, Applied), Refusal>>),
    /// A shard found that a queue has to go: unused (auto-delete), or expired by not being used up to this time.
    Drop(QueueId, Option<u64>),
    /// A change of what all nodes of a cluster know; answered when it has taken place on this one.
    Propose(Box<MetaCommand>, oneshot::Sender<Result<MetaAnswer, Refusal>>),
    /// Orders and questions for the group that orders declarations.
    Control(GroupControl),
    /// The log is synced up to this index of the topology's own records.
    Synced(u64),
    /// The log is synced up to this index of the records of the group that orders declarations.
    GroupSynced(u64),
    /// Answers with the log index up to which all rows are with the cold store's writer.
    Checkpoint(oneshot::Sender<u64>),
    /// What a checkpoint handed over is durable: answers with the index up to which the log may forget the group's records.
    Flushed(oneshot::Sender<u64>),
    /// A snapshot of this number is durable here.
    Installed(u64),
}

/// What the transactions task is told.
#[derive(Debug)]
pub(crate) enum TransactionInput {
    /// Everything in here, or nothing; answered when it is safe.
    Commit(Box<Commit>, oneshot::Sender<Result<(), Refusal>>),
    /// A shard's answer for a part of a transaction: which transaction, which part.
    Reserved(u64, usize, Result<Reserved, Refusal>),
    /// The log is synced up to this index.
    Synced(u64),
    /// Answers with the log index up to which the shards were told of all commits.
    Checkpoint(oneshot::Sender<u64>),
}

/// A `tx.commit`.
#[derive(Debug)]
pub(crate) struct Commit {
    /// Messages by queue.
    pub(crate) publishes: Vec<Publishes>,
    /// Deliveries that end with it.
    pub(crate) settled: Vec<Settled>,
}

/// What a transaction needs of one shard.
#[derive(Debug)]
pub(crate) struct Reserve {
    /// Which transaction.
    pub(crate) transaction: u64,
    /// Which part of it.
    pub(crate) part: usize,
    /// Queues, messages, bytes of their bodies.
    pub(crate) publishes: Vec<(QueueId, Batch, u64)>,
    /// What becomes of deliveries of these queues.
    pub(crate) settled: Vec<(QueueId, Verdict)>,
}

/// What a shard answers.
#[derive(Debug, Default)]
pub(crate) struct Reserved {
    /// Each queue's messages with their first numbers; none where the queue is gone.
    pub(crate) numbered: Vec<Vec<(u64, Batch)>>,
    /// For each settlement whether the log has to know it.
    pub(crate) are_final: Vec<bool>,
    /// Some queue looks for duplicates: what it notes of ids is in the log behind the commit.
    pub(crate) notes_ids: bool,
}

/// The answer to a `tx.commit`: goes out when nobody holds it back any more.
#[derive(Debug)]
pub(crate) struct CommitAnswer {
    reply: Option<oneshot::Sender<Result<(), Refusal>>>,
    /// Why a part of it did not take place that is decided elsewhere.
    refused: OnceLock<Refusal>,
}

impl CommitAnswer {
    pub(crate) fn new(reply: oneshot::Sender<Result<(), Refusal>>) -> Self {
        Self { reply: Some(reply), refused: OnceLock::new() }
    }

    /// A part of the commit does not take place; the first reason is told.
    pub(crate) fn refuse(&self, refusal: Refusal) {
        self.refused.get_or_init(|| refusal);
    }
}

impl Drop for CommitAnswer {
    fn drop(&mut self) {
        // The client may have gone; the commit is what it is.
        let result = self.refused.take().map_or(Ok(()), Err);
        let _ = self.reply.take().map(|reply| reply.send(result));
    }
}

/// One of those that a commit waits for: refuses the commit when it goes away without being done.
#[derive(Debug)]
pub(crate) struct CommitPart(Option<Arc<CommitAnswer>>);

impl CommitPart {
    pub(crate) fn new(answer: &Arc<CommitAnswer>) -> Self {
        Self(Some(Arc::clone(answer)))
    }

    /// It is safe.
    pub(crate) fn done(mut self) {
        self.0 = None;
    }

    /// It does not take place.
    pub(crate) fn refuse(mut self, refusal: Refusal) {
        if let Some(answer) = self.0.take() {
            answer.refuse(refusal);
        }
    }
}

impl Drop for CommitPart {
    fn drop(&mut self) {
        if let Some(answer) = self.0.take() {
            answer.refuse(stopping());
        }
    }
}

/// A `queue.delete`.
#[derive(Clone, Debug)]
pub(crate) struct DeleteQueue {
    /// The vhost.
    pub(crate) vhost: String,
    /// The queue's name.
    pub(crate) name: String,
    /// The asking connection.
    pub(crate) owner: ConnectionId,
    /// The condition.
    pub(crate) condition: DeleteIf,
}

/// A change that has been made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Applied {
    /// What came of it.
    pub(crate) outcome: Outcome,
    /// The log index that must be synced before the client may be told; 0 when nothing durable changed.
    pub(crate) index: u64,
}
