//! Until when a leader knows that nobody else leads, and whom a member has promised not to vote for another.

use std::collections::BTreeMap;

use raft::eraftpb::ConfState;

use crate::broker::ids::NodeId;

/// A leader's side: when, by its own clock, it sent the newest heartbeat that each member has answered.
#[derive(Debug, Default)]
pub(super) struct Lease {
    term: u64,
    answered_ms: BTreeMap<u64, u64>,
}

impl Lease {
    /// A leadership begins; answers to another one's heartbeats do not count.
    pub(super) fn begin(&mut self, term: u64) {
        self.term = term;
        self.answered_ms.clear();
    }

    pub(super) fn answered(&mut self, node: u64, mark: Mark) {
        if mark.term == self.term {
            let newest = self.answered_ms.entry(node).or_default();
            *newest = mark.sent_ms.max(*newest);
        }
    }

    /// When the newest heartbeat was sent that a majority has answered; in a change of members, of both sets.
    pub(super) fn answered_by_majority_ms(&self, me: u64, members: &ConfState, now_ms: u64) -> Option<u64> {
        let both = [&members.voters, &members.voters_outgoing];
        both.iter()
            .filter(|voters| !voters.is_empty())
            .map(|voters| self.majority_ms(me, voters, now_ms))
            .min()?
    }

    fn majority_ms(&self, me: u64, voters: &[u64], now_ms: u64) -> Option<u64> {
        let of = |node: &u64| if *node == me { Some(now_ms) } else { self.answered_ms.get(node).copied() };
        let mut times: Vec<_> = voters.iter().map(of).collect();
        times.sort_unstable_by(|a, b| b.cmp(a));
        times.get(voters.len() / 2).copied().flatten()
    }
}

/// What a leader writes into a heartbeat and a member sends back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) term: u64,
    pub(super) sent_ms: u64,
}

impl Mark {
    pub(super) fn encode(self) -> Vec<u8> {
        [self.term.to_be_bytes(), self.sent_ms.to_be_bytes()].concat()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (term, rest) = bytes.split_first_chunk()?;
        let sent_ms = rest.try_into().ok()?;
        Some(Self { term: u64::from_be_bytes(*term), sent_ms: u64::from_be_bytes(sent_ms) })
    }
}

/// A member's side.
#[derive(Debug, Default)]
pub(super) struct Promise {
    leader: NodeId,
    until_ms: u64,
}

impl Promise {
    /// To a leader (0: to whoever it was before a restart).
    pub(super) fn new(leader: NodeId, until_ms: u64) -> Self {
        Self { leader, until_ms }
    }

    /// May this member vote for a node?
    pub(super) fn allows(&self, candidate: NodeId, now_ms: u64) -> bool {
        now_ms >= self.until_ms || (candidate == self.leader && candidate != 0)
    }

    /// The leader's process is gone: it delivers nothing any more.
    pub(super) fn ends_with(&mut self, leader: NodeId) {
        if leader != 0 && self.leader == leader {
            self.until_ms = 0;
        }
    }
}
