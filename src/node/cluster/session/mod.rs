//! Sessions as their owner has them: the leader of a group, or a node with its shards.
//!
//! To the shard a session is a client. What it asks is handed over in the order of its numbers, each number once; what the
//! shard has to tell the client is told to the session. Nothing here looks at a clock or waits.
//!
//! A session's **attempt** ends with the link to it. Then its consumers end, and what they held goes back to its queues; the
//! next attempt brings the consumers again. What was published and settled before stays what it is: numbers already known are
//! answered, and not carried out again.
//!
//! - `one`: a single session; `closing`: the end of an attempt
//! - `publishes`, `asks`: what waits for the shard
//! - `letters`: dead letters among it
//! - `held`: what consumers have not settled
//! - `table`: what a group remembers of sessions

mod asks;
mod closing;
mod held;
mod letters;
mod one;
mod publishes;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::task::{Context, Poll};

use super::forward::{Answer, Answers, Forward, Owner};
use crate::broker::ids::NodeId;
use crate::node::links::ShardInput;
#[cfg(test)]
pub(crate) use one::GIVEN_AWAY;
use one::Session;
pub(crate) use table::SessionTable;

/// All sessions with one owner: each node has one at a time.
#[derive(Debug)]
pub(crate) struct Sessions {
    owner: Owner,
    by_node: BTreeMap<NodeId, Session>,
    /// What was known of sessions before this owner began.
    table: SessionTable,
    has_room: bool,
}

impl Sessions {
    /// An owner that begins, with what its group remembers of sessions; a node remembers nothing.
    pub(crate) fn new(owner: Owner, table: SessionTable) -> Self {
        Self { owner, by_node: BTreeMap::new(), table, has_room: true }
    }

    /// A session asks. [`Self::take`] gives what follows from it.
    pub(crate) fn forward(&mut self, forward: Forward) {
        let (node, id) = (forward.from, forward.session);
        let session = self.by_node.entry(node).or_insert_with(|| Session::new(self.owner, node));
        if session.id != id {
            session.renew(id, self.table.row(node, id));
        }
        session.forward(forward);
    }

    /// Gives everything whose turn it is, in order. What needs declarations waits until they are applied here, up to their
    /// index of the meta group.
    pub(crate) fn take(&mut self, meta_index: u64, each: &mut dyn FnMut(ShardInput)) {
        let has_room = self.has_room;
        self.by_node.values_mut().for_each(|session| session.take(meta_index, has_room, each));
    }

    /// What a group must remember of all that was taken since the last call, in the same entry as what that brought about.
    /// The shard must have told its clients of refusals before.
    pub(crate) fn marks(&mut self) -> Option<Vec<u8>> {
        let mut marks = Vec::new();
        self.by_node.values_mut().for_each(|session| session.mark(&mut marks));
        (!marks.is_empty()).then_some(marks)
    }

    /// What was taken since the last call is safe when the log is synced up to this index.
    pub(crate) fn logged(&mut self, index: u64) {
        self.by_node.values_mut().for_each(|session| session.logged(index));
    }

    /// What is to be told by now, the log being synced up to this index: to which nodes, and what.
    pub(crate) fn answers(&mut self, synced: u64, out: &mut Vec<(NodeId, Answers)>) {
        out.extend(self.by_node.values_mut().filter_map(|session| session.answers(synced)));
    }

    /// A node went away: the consumers of its session end, and what they held comes back, by what [`Self::take`] gives.
    pub(crate) fn node_down(&mut self, node: NodeId) {
        if let Some(session) = self.by_node.get_mut(&node) {
            session.close();
        }
    }

    /// Whether all consumers that a node had with the owner before were handed over.
    pub(crate) fn is_back(&self, node: NodeId) -> bool {
        self.by_node.get(&node).is_some_and(|session| session.is_back)
    }

    /// Whether the shard wants more messages.
    pub(crate) fn set_room(&mut self, has_room: bool) {
        if self.has_room != has_room {
            self.has_room = has_room;
            self.by_node.values_mut().for_each(|session| session.tell_room(has_room));
        }
    }

    /// The owner is not the owner any more: all sessions are told.
    pub(crate) fn give_up(self, out: &mut Vec<(NodeId, Answers)>) {
        let told = self.by_node.into_values().filter(Session::is_open);
        out.extend(told.map(|session| (session.node, session.answer_with(vec![Answer::NotOwner]))));
    }

    /// Whether [`Self::take`] or [`Self::answers`] have something to give that came by itself.
    pub(crate) fn wants_round(&mut self) -> bool {
        self.by_node.values_mut().any(Session::wants_round)
    }

    /// Ready when [`Self::wants_round`]; whoever asks is woken then.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut poll = Poll::Pending;
        for session in self.by_node.values_mut() {
            if session.poll(cx).is_ready() {
                poll = Poll::Ready(());
            }
        }
        poll
    }
}

/// What one who is not the owner answers, and to which node.
pub(crate) fn not_owner(forward: &Forward) -> (NodeId, Answers) {
    let Forward { session, owner, attempt, .. } = *forward;
    (forward.from, Answers { session, owner, attempt, answers: vec![Answer::NotOwner] })
}
