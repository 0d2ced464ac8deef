//! What one node asks of a queue's owner, wherever that is, and the answers.
//!
//! A **session** is the way of one node's clients to one owner: a group, or the local shards of another node. It numbers what
//! it asks; the owner of a replicated queue notes the highest number with the state itself, so that what is asked again after
//! a change of the leader takes place once.

use crate::broker::batch::Batch;
use crate::broker::ids::{GroupId, NodeId, QueueId};
use crate::broker::queue::{ConsumerId, Counts, Delivery, GetReply, SeqRange};
use crate::node::links::{DeleteIf, NotConsuming, NotDeleted};

/// The way of one node's clients to one owner: node, run of the node, and which owner; unique for ever.
pub(crate) type SessionId = u64;

/// Who owns the queues that a session asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// The leader of a group.
    Group(GroupId),
    /// The shards of a node.
    Node(NodeId),
}

/// What a session asks, in order.
#[derive(Clone, Debug)]
pub(crate) struct Forward {
    pub(crate) session: SessionId,
    /// Where the session is: answers go there.
    pub(crate) from: NodeId,
    pub(crate) owner: Owner,
    /// Ascends with each owner, and each link to it: what an earlier attempt brought to this owner's memory is to be dropped first.
    /// A `Forward` of an earlier attempt than the last is dropped.
    pub(crate) attempt: u64,
    /// The session knows what became of all items below this number.
    pub(crate) answered: u64,
    /// Declarations that the asker knows of (index of the meta group): the owner must know them first.
    pub(crate) meta_index: u64,
    /// Number of the first item; they ascend by one. Numbers begin with 1.
    pub(crate) first: u64,
    /// All consumers that were there before this attempt are among the items below this number.
    pub(crate) back_below: u64,
    pub(crate) items: Vec<Item>,
}

impl Forward {
    /// Bytes of all messages in it.
    pub(crate) fn message_bytes(&self) -> usize {
        let of = |item: &Item| match &item.request {
            Request::Publish { batch, .. } => batch.records.len(),
            _ => 0,
        };
        self.items.iter().map(of).sum()
    }
}

/// One thing that is asked.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) queue: QueueId,
    pub(crate) request: Request,
}

#[derive(Clone, Debug)]
pub(crate) enum Request {
    /// Messages; dead letters when `letters`.
    Publish {
        batch: Batch,
        letters: bool,
    },
    /// Deliveries are settled.
    Settle {
        consumer: ConsumerId,
        how: Settle,
        ranges: Vec<SeqRange>,
    },
    /// A consumer begins, or is attached again after the owner changed.
    Consume(Consumer),
    Suspend(ConsumerId),
    Cancel(ConsumerId),
    Credit(ConsumerId, u64),
    Resume(ConsumerId),
    Get {
        no_ack: bool,
    },
    Purge,
    Delete(DeleteIf),
    Stat,
    /// Nothing: the owner has forgotten it, or it was given up.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settle {
    Ack,
    Requeue,
    Fail,
    Reject,
}

/// A consumer as it travels; see [`crate::broker::queue::ConsumerSpec`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Consumer {
    pub(crate) id: ConsumerId,
    pub(crate) no_ack: bool,
    pub(crate) exclusive: bool,
    pub(crate) prefetch: u16,
    pub(crate) priority: i32,
    pub(crate) window_bytes: u64,
    /// It was there before the owner changed: others wait for it.
    pub(crate) is_back: bool,
    /// It was given messages then.
    pub(crate) was_served: bool,
}

/// What an owner tells a session, in order.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    pub(crate) session: SessionId,
    pub(crate) owner: Owner,
    /// The session's attempt that is answered.
    pub(crate) attempt: u64,
    pub(crate) answers: Vec<Answer>,
}

#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Messages (first place, how many) of the publish of this number were not taken in. Comes before [`Self::Done`].
    Refused(u64, Vec<(u32, u32)>),
    /// The items from the first number to the last have taken place and are safe; what is refused or wants a reply was told
    /// before. Others in front of them may still be open.
    Done(u64, u64),
    /// The reply to the item of this number.
    Reply(u64, Reply),
    Deliver(Delivery),
    ConsumerCancelled(ConsumerId),
    /// The owner is not the owner (any more): ask the leader. Everything not done is to be asked again.
    NotOwner,
    /// The owner expects this number next: everything from it on is to be asked again.
    Expects(u64),
    /// Whether the owner has room for more messages: publishers have to wait as long as it has none.
    Room(bool),
}

#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Stat(Option<Counts>),
    Consume(Result<(), NotConsuming>),
    /// Of suspend and cancel.
    Unit,
    Get(Option<GetReply>),
    Purge(Option<u64>),
    Delete(Result<u64, NotDeleted>),
}
