//! What was seen from outside, in the order in which it happened.

use std::collections::BTreeMap;
use std::fmt;

use crate::broker::ids::{GroupId, NodeId, QueueId};
use crate::broker::queue::ConsumerId;

/// A message: what its body says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct MessageId {
    pub(super) publisher: u32,
    pub(super) number: u32,
    /// A publisher that heard nothing, or a refusal, sends it again: a message of its own, with the next attempt.
    pub(super) attempt: u32,
}

impl MessageId {
    pub(super) const BYTES: usize = 12;

    pub(super) fn body(self) -> [u8; Self::BYTES] {
        let mut body = [0; Self::BYTES];
        for (at, field) in [self.publisher, self.number, self.attempt].into_iter().enumerate() {
            body[at * 4..at * 4 + 4].copy_from_slice(&field.to_le_bytes());
        }
        body
    }

    pub(super) fn of_body(body: &[u8]) -> Option<Self> {
        let field = |at: usize| Some(u32::from_le_bytes(*body.get(at * 4..)?.first_chunk()?));
        Some(Self { publisher: field(0)?, number: field(1)?, attempt: field(2)? })
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}#{}", self.publisher, self.number)?;
        if self.attempt > 0 { write!(f, "'{}", self.attempt) } else { Ok(()) }
    }
}

/// One place in a queue.
pub(super) type Place = (QueueId, u64);

#[derive(Clone, Debug)]
pub(super) enum Fact {
    /// A publisher sent a message, over one of its connections.
    Sent {
        message: MessageId,
        queue: QueueId,
        connection: u64,
    },
    Confirmed(MessageId),
    Refused(MessageId),
    /// A consumer or getter has it.
    Delivered {
        message: MessageId,
        place: Place,
        consumer: ConsumerId,
        emitted_us: u64,
        redelivered: bool,
    },
    /// Its owner gave it to a consumer that need not acknowledge: it may be gone from now on.
    GivenAway(MessageId),
    /// It was acknowledged: it may be gone from now on.
    AckSent(Place),
    /// The acknowledgement is safe: it is gone.
    AckDone(Place),
    /// Everything ready in a queue may be gone from now on, until the answer; a purge without one lasts for ever.
    PurgeBegun(QueueId),
    PurgeDone(QueueId),
    /// A leader gave messages out.
    Emitted {
        group: GroupId,
        term: u64,
        node: NodeId,
    },
    /// A node says that it leads.
    Leads {
        group: GroupId,
        term: u64,
        node: NodeId,
    },
    /// What a queue counts at the end, when all is said and done.
    Left {
        queue: QueueId,
        ready: u64,
        unacked: u64,
    },
}

#[derive(Debug, Default)]
pub(super) struct History {
    /// Where dead letters of a queue go.
    pub(super) letters_to: BTreeMap<QueueId, QueueId>,
    pub(super) facts: Vec<(u64, Fact)>,
}

impl History {
    pub(super) fn note(&mut self, at_us: u64, fact: Fact) {
        self.facts.push((at_us, fact));
    }

    /// One number for all of it: equal when a seed is replayed.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for (at_us, fact) in &self.facts {
            for byte in format!("{at_us} {fact:?}").bytes() {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
        hash
    }
}

#[test]
fn a_message_is_known_by_its_body() {
    let message = MessageId { publisher: 7, number: 70_000, attempt: 2 };
    assert_eq!(MessageId::of_body(&message.body()), Some(message));
    assert_eq!(MessageId::of_body(&message.body()[..11]), None);
}
