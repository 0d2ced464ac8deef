//! What nodes, and those who run them, ask each other about the cluster itself, and the answers. As JSON: they are rare, and
//! nodes of different releases shall understand what they know of.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::membership::KnownMember;
use super::status::{ClusterStatus, NodeReport};
use crate::broker::ids::{ConnectionId, GroupId, NodeId, Run};
use crate::node::statistics::gather::{Ask, Told};
use crate::node::surgery::order::{SurgeryAnswer, SurgeryOrder};
use crate::replication::MembersChange;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum Question {
    /// Which cluster are you of?
    Who,
    /// Take me in.
    Join(Newcomer),
    /// How do you stand?
    Report,
    /// How does the cluster stand?
    Status { queues: bool },
    /// A node, by its name or number, is to give up all it has and then to be no member.
    Leave { node: String, force: bool },
    /// A node that is gone for good is to be no member.
    Forget { node: String },
    /// That node is to lead the group.
    Transfer { group: GroupId, node: String },
    /// A node is reached at other addresses than before: number, name and where.
    Moved { node: NodeId, name: String, peer_address: String, client_address: String },
    /// Leads are to be evened out now.
    Rebalance,
    /// A node is to lead nothing (true), or its share again.
    Drain { node: Option<String>, on: bool },
    /// To the leader of a group: have these members.
    SetMembers { group: GroupId, change: MembersChange },
    /// To the leader of a group: let that one lead.
    Lead { group: GroupId, to: NodeId },
    /// You are a member no more.
    YouLeft,
    /// To the owner of a queue: look at its messages, or do something with them.
    Surgery { to: NodeId, order: Box<SurgeryOrder> },
    /// What has been counted?
    Statistics(Ask),
    /// One of your connections is to be closed, for a reason.
    CloseConnection { id: ConnectionId, reason: String },
    /// Is this node a member of your cluster, and was this run its last?
    IsMember { cluster: String, node: NodeId, run: Run },
}

/// A node that wants to join.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Newcomer {
    pub(crate) name: String,
    /// Where other nodes reach it.
    pub(crate) peer_address: String,
    /// Where clients reach it.
    pub(crate) client_address: String,
    /// The same each time it asks: it gets one number, however often the answer is lost.
    pub(crate) token: u64,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) enum Answer {
    Who(Option<Who>),
    Joined(Joined),
    Report(NodeReport),
    Status(ClusterStatus),
    Surgery(SurgeryAnswer),
    Standing(Standing),
    Told(Told),
    /// It is done, or has begun; a line for people.
    Done(String),
    Refused(Refused),
}

/// What a node is to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum Standing {
    /// A member, or one that the cluster has not heard of yet.
    Member,
    /// It was a member, and is none any more.
    Gone,
    /// It has run since: who asks has an older copy of its data.
    Older,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Who {
    pub(crate) cluster: String,
    pub(crate) node: NodeId,
    pub(crate) name: String,
}

/// What a newcomer needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Joined {
    pub(crate) cluster: String,
    pub(crate) node: NodeId,
    pub(crate) groups: u16,
    pub(crate) members: Vec<KnownMember>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Refused {
    pub(crate) reason: String,
    /// It may be otherwise in a moment.
    pub(crate) for_now: bool,
}

impl Answer {
    /// Never, unless somebody changes something.
    pub(crate) fn no(reason: impl Into<String>) -> Self {
        Self::Refused(Refused { reason: reason.into(), for_now: false })
    }

    pub(crate) fn not_now(reason: impl Into<String>) -> Self {
        Self::Refused(Refused { reason: reason.into(), for_now: true })
    }

    /// The answer, or the reason why there is none.
    pub(crate) fn granted(self) -> Result<Self, Refused> {
        match self {
            Self::Refused(refused) => Err(refused),
            answer => Ok(answer),
        }
    }
}

pub(crate) fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    serde_json::to_vec(message).unwrap_or_default()
}

/// `None` for what this release does not know.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_answers_are_the_same_at_the_other_end() {
        let newcomer = Newcomer {
            name: "node2".to_owned(),
            peer_address: "127.0.0.1:35673".to_owned(),
            client_address: "127.0.0.1:5673".to_owned(),
            token: u64::MAX,
        };
        for question in [Question::Who, Question::Join(newcomer), Question::Status { queues: true }] {
            assert_eq!(decode(&encode(&question)), Some(question));
        }
        let answer = Answer::not_now("no leader is known");
        assert_eq!(decode::<Answer>(&encode(&answer)), Some(answer));
    }

    #[test]
    fn what_is_not_known_is_no_question() {
        for bytes in [&b""[..], b"{", b"\"Explode\"", b"{\"Join\":{\"name\":1}}", b"[[[[", b"\xff\xfe"] {
            assert_eq!(decode::<Question>(bytes), None);
        }
    }
}
