//! What is declared is known everywhere before its asker hears of it: its next publish may go through another node, which
//! would confirm what it has no queue for.
//!
//! Each node tells the others how far it has carried out what the group has committed, and an asker is answered when all have
//! come that far. A node that cannot be reached, or does not get on, is waited for as long as it may take itself for informed:
//! so long after it asked the leader how far declarations were, and has come that far. From then on it says of nothing that
//! there is no queue for it.

use std::collections::{BTreeMap, VecDeque};

use super::group::MetaGroup;
use super::proposals::Reply;
use crate::broker::ids::NodeId;
use crate::broker::topology::Outcome;
use crate::node::cluster::meta::MetaAnswer;
use crate::node::cluster::peer::{Declared, LinkState, PeerMessage};
use crate::protocol::error::Refusal;

/// How long a node is informed after it has asked.
const INFORMED_MS: u64 = 800;
/// How often it asks.
const ASK_MS: u64 = 200;
/// Nobody is waited for longer: what was committed before a node asks is part of the answer. A little longer than that, since
/// clocks differ.
const PATIENCE_MS: u64 = 900;

/// Who knows how much of what is declared.
#[derive(Debug, Default)]
pub(super) struct Spread {
    nodes: BTreeMap<NodeId, Known>,
    /// What the other nodes were told of this one.
    told: u64,
    /// Nothing has changed behind this index.
    changed: u64,
    /// Askers, by the index that their command took place at.
    waiting: VecDeque<Waiting>,
    asked_ms: u64,
    /// Nobody else could decide anything when it was looked at last.
    is_alone: bool,
    /// The leader's answers: when was asked, and how far declarations were.
    heard: VecDeque<(u64, u64)>,
}

/// What is known of another node.
#[derive(Clone, Copy, Debug)]
struct Known {
    applied: u64,
    /// It counts until then.
    until_ms: u64,
}

#[derive(Debug)]
struct Waiting {
    index: u64,
    until_ms: u64,
    reply: Reply,
    answer: Result<MetaAnswer, Refusal>,
    outcome: Outcome,
}

impl Spread {
    /// What took place at this index makes a difference.
    pub(super) fn changed(&mut self, index: u64) {
        self.changed = index;
    }

    /// When an asker is answered although nothing comes in.
    pub(super) fn next_due_ms(&self) -> Option<u64> {
        let first = self.waiting.front()?;
        let lingering = self.nodes.values().map(|known| known.until_ms).min();
        Some(lingering.unwrap_or(u64::MAX).min(first.until_ms))
    }

    fn link(&mut self, node: NodeId, state: LinkState, now_ms: u64) {
        match state {
            LinkState::Up => {
                // It may be another run, which lacks what the one before had not synced.
                self.nodes.insert(node, Known { applied: 0, until_ms: u64::MAX });
            }
            LinkState::Down => {
                if let Some(known) = self.nodes.get_mut(&node) {
                    known.until_ms = known.until_ms.min(now_ms + PATIENCE_MS);
                }
            }
            LinkState::Dead => drop(self.nodes.remove(&node)),
        }
    }
}

impl MetaGroup {
    pub(super) fn link_of_spread(&mut self, node: NodeId, state: LinkState) {
        if state == LinkState::Up {
            let applied = Declared::Applied(self.state.applied());
            self.cluster.peers.send(node, PeerMessage::Declared(applied));
            // At once, if it leads.
            self.spread.asked_ms = 0;
        }
        self.spread.link(node, state, self.now_ms);
    }

    /// Answers when all nodes know what there is by now.
    pub(super) fn answer_when_spread(
        &mut self,
        reply: Reply,
        answer: Result<MetaAnswer, Refusal>,
        outcome: Outcome,
    ) {
        let (index, until_ms) = (self.spread.changed, self.now_ms + PATIENCE_MS);
        self.spread.waiting.push_back(Waiting { index, until_ms, reply, answer, outcome });
    }

    /// A node says how far it is, or asks how far declarations are.
    pub(super) fn hear_declared(&mut self, from: NodeId, declared: Declared) {
        match declared {
            Declared::Applied(applied) => {
                if let Some(known) = self.spread.nodes.get_mut(&from) {
                    known.applied = known.applied.max(applied);
                }
            }
            Declared::Asks(asked_ms) => {
                if self.group.lease_until_ms(self.now_ms) > self.now_ms {
                    let answer = Declared::UpTo(asked_ms, self.group.commit());
                    self.cluster.peers.send(from, PeerMessage::Declared(answer));
                }
            }
            Declared::UpTo(asked_ms, commit) => self.spread.heard.push_back((asked_ms, commit)),
        }
    }

    /// Tells others how far this node is, and askers what all know.
    pub(super) fn spread(&mut self) {
        self.tell_applied();
        self.stay_informed();
        self.answer_what_is_spread();
    }

    fn tell_applied(&mut self) {
        let applied = self.state.applied();
        if std::mem::replace(&mut self.spread.told, applied) == applied {
            return;
        }
        for node in self.spread.nodes.keys().filter(|node| self.cluster.peers.is_up(**node)) {
            self.cluster.peers.send(*node, PeerMessage::Declared(Declared::Applied(applied)));
        }
    }

    fn stay_informed(&mut self) {
        let leads = self.group.lease_until_ms(self.now_ms) > self.now_ms;
        let is_alone = leads && self.group.is_sole_voter();
        // What others decide without it they decide from now on.
        let was_alone = std::mem::replace(&mut self.spread.is_alone, is_alone);
        if is_alone {
            self.cluster.set_informed_until_ms(u64::MAX);
        } else if leads || was_alone {
            self.cluster.set_informed_until_ms(self.now_ms + INFORMED_MS);
        }
        if leads {
            return;
        }
        let leader = self.leader();
        if self.now_ms >= self.spread.asked_ms + ASK_MS && self.cluster.peers.is_up(leader) {
            self.spread.asked_ms = self.now_ms;
            self.cluster.peers.send(leader, PeerMessage::Declared(Declared::Asks(self.now_ms)));
        }
        let applied = self.state.applied();
        while let Some((asked_ms, _)) = self.spread.heard.front().filter(|(_, commit)| *commit <= applied) {
            self.cluster.set_informed_until_ms(asked_ms + INFORMED_MS);
            self.spread.heard.pop_front();
        }
    }

    fn answer_what_is_spread(&mut self) {
        let (now_ms, members) = (self.now_ms, &self.state.members.nodes);
        let Spread { waiting, nodes, .. } = &mut self.spread;
        nodes.retain(|_, known| known.until_ms > now_ms);
        let of_members = nodes.iter().filter(|(node, _)| members.contains_key(node));
        let spread = of_members.map(|(_, known)| known.applied).min().unwrap_or(u64::MAX);
        let is_due = |waiting: &Waiting| waiting.index <= spread || waiting.until_ms <= now_ms;
        while waiting.front().is_some_and(is_due)
            && let Some(Waiting { reply, answer, outcome, .. }) = waiting.pop_front()
        {
            reply.send(answer, outcome);
        }
    }
}
