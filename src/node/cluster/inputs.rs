//! What the tasks of a cluster are told.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::forward::{Answers, Forward};
use super::peer::{LinkState, SnapshotPiece};
use super::questions::{Answer, Question};
use super::status::Member;
use crate::broker::ids::{GroupId, NodeId, QueueId};
use crate::broker::topology::QueueEntry;
use crate::node::links::{QueueAsk, ShardInput};
use crate::node::tasks::group::Read;
use crate::node::tasks::group::copies::CopyDone;
use crate::replication::MembersChange;

/// What a group's task (`tasks/group`) is told.
#[derive(Debug)]
pub(crate) enum GroupInput {
    /// A session asks, on this node or another.
    Forward(Forward),
    /// Raft messages of another member.
    Raft(NodeId, Vec<Bytes>),
    /// The log is synced up to this index of the group's records.
    LogSynced(u64),
    Snapshot(NodeId, SnapshotPiece),
    Link(NodeId, LinkState),
    /// Declarations changed on this node: queues of this group that are new or work by other settings, and those that are
    /// gone.
    Topology {
        changed: Vec<Arc<QueueEntry>>,
        deleted: Vec<QueueId>,
    },
    /// Everything that a restart needs goes to the cold store; answered when that was handed over. When it is flushed:
    /// [`Self::Flushed`].
    Checkpoint(oneshot::Sender<u64>),
    /// What was handed over at the last [`Self::Checkpoint`] is durable; answers with the index of the group's log records up
    /// to which none is needed any more.
    Flushed(oneshot::Sender<u64>),
    /// The cold store was read for the group.
    Read(Box<Read>),
    /// The cold store has done something for a copy.
    Copy(CopyDone),
    /// Orders and questions.
    Control(GroupControl),
    /// For the shard of the group, if this node leads; otherwise whoever waits for an answer hears that there is none.
    Inspect(Box<ShardInput>),
    /// Leads are to be given up, then the node stops: answered when all that is to be noted is with the log.
    Stop(oneshot::Sender<()>),
}

#[derive(Debug)]
pub(crate) enum GroupControl {
    /// Another member is to lead.
    Transfer(NodeId),
    /// The group is to have these members; answered at once with whether this node leads and has begun.
    SetMembers(MembersChange, oneshot::Sender<bool>),
    Status(oneshot::Sender<GroupStatus>),
    /// Numbers of queues; answered by the leader only.
    Statistics(Box<QueueAsk>),
    /// The disk does not answer (true), or does again.
    DiskStalls(bool),
}

/// How a group stands, as one of its members sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupStatus {
    pub(crate) group: GroupId,
    /// 0 when nobody is known to lead.
    pub(crate) leader: NodeId,
    pub(crate) term: u64,
    pub(crate) commit: u64,
    pub(crate) applied: u64,
    pub(crate) queues: u64,
    /// Known to the leader only; a member that does not lead names itself alone.
    pub(crate) members: Vec<Member>,
    /// Which members these are: a change of them says what it was planned from. 0 while they change.
    pub(crate) members_version: u64,
}

/// What the manager (`tasks/manager`) is told.
#[derive(Debug)]
pub(crate) enum ManagerInput {
    /// Another node asks, by a number of its own.
    Ask(NodeId, u64, Bytes),
    /// The answer to what was asked under this number.
    Answer(u64, Bytes),
    /// Somebody asks who is no node of the cluster: one that wants to join, or who runs it.
    Request(Bytes, oneshot::Sender<Bytes>),
    /// All other members are asked; answers with what they say, in a short time.
    AskAll(Question, oneshot::Sender<Vec<(NodeId, Option<Answer>)>>),
    Link(NodeId, LinkState),
    /// The node is to stop: what it leads is handed over first. Answers with how many groups it still leads.
    Drain(oneshot::Sender<usize>),
}

/// What a gateway (`tasks/gateway`), the way of this node's clients to one owner, is told beside what its mailbox
/// of [`crate::node::links::ShardInput`] brings.
#[derive(Debug)]
pub(crate) enum GatewayInput {
    Answers(Answers),
    /// Who owns the queues now: the leader of the group (0: unknown) and its term, or for a node whether it is reachable.
    Leader(NodeId, u64),
    Link(NodeId, LinkState),
}
