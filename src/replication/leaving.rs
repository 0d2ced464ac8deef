//! A node that was a member and is none any more hears of it, and forgets what it had of the group.
//!
//! Whoever leaves a group may be away then, or be cut off from what commits it: nobody replicates it to a node that is no
//! member. So who leads tells nodes that speak as members and are none, and those to which a link comes up. What it says is
//! void when the receiver has entries of a later leader, or knows of a later change of the members: it may have come in again
//! since.

use std::sync::Arc;

use raft::StateRole;
use raft::eraftpb::{Message, MessageType};

use super::group::Group;
use super::record::State;
use super::stored::Stored;
use super::wire;
use super::work::Work;
use crate::broker::ids::NodeId;
use crate::storage::StorageError;

impl Group {
    /// A node is there that may take itself for a member: it is told if it is none. Only by who leads.
    pub fn greet(&mut self, node: NodeId) {
        if node != self.options.node && self.leads() {
            self.outsiders.insert(node);
        }
    }

    /// As [`greet`](Self::greet), when a message says that the node takes itself for one.
    pub(super) fn hear_outsider(&mut self, from: NodeId) {
        if self.raw.raft.state == StateRole::Leader && self.raw.raft.prs().get(u64::from(from)).is_none() {
            self.greet(from);
        }
    }

    pub(super) fn tell_outsiders(&mut self, out: &mut Work) {
        let outsiders = std::mem::take(&mut self.outsiders);
        if !self.leads() {
            return;
        }
        let version = self.raw.store().members.index;
        for node in outsiders.into_iter().filter(|node| self.raw.raft.prs().get(u64::from(*node)).is_none()) {
            let mut message = Message::default();
            message.set_msg_type(MessageType::MsgHeartbeat);
            (message.from, message.to) = (self.me(), u64::from(node));
            (message.term, message.index) = (self.term(), version);
            out.messages.push((node, wire::encode_dismissal(&message)));
        }
    }

    /// A leader says that this node is no member behind that change of them.
    pub(super) fn hear_dismissal(&mut self, term: u64, version: u64) {
        let entries = &self.raw.store().entries;
        let last = entries.last_index();
        let has_nothing = last == 0 && !self.restoring;
        let heard_later = entries.term(last).is_some_and(|last_term| last_term > term);
        let known = self.raw.store().members.index.max(entries.last_change());
        if has_nothing || heard_later || known > version {
            return;
        }
        let term = term.max(self.term());
        if term > self.term() || self.raw.raft.state != StateRole::Follower {
            self.raw.raft.become_follower(term, 0);
            self.align_timeout();
        }
        self.is_dismissed = true;
    }

    /// What this node has of the group is gone from its store, and it is noted durably that this was begun: as for a copy
    /// ([`restore_begins`](Self::restore_begins)). The group begins again as one that this node has never been in, but for its
    /// term, its vote, and how far its log went: members that have not heard of the change yet may still ask for its vote, and
    /// must not get it with less. When what work then brings is synced, the note may go: [`forgotten`](Self::forgotten).
    ///
    /// # Errors
    /// When the settings make no sense.
    pub fn forget(&mut self) -> Result<(), StorageError> {
        let (raft, entries) = (&self.raw.raft, &self.raw.store().entries);
        let last = entries.last_index();
        let floor = self.floor.max((entries.term(last).unwrap_or(0), last));
        let state = State { term: raft.term, vote: raft.vote, floor, ..State::default() };
        let log = self.raw.store().entries.log();
        let stored = Stored::empty(state, self.next_log_index, self.states.last());
        let mut new = Self::new(self.options.clone(), stored, Arc::clone(&log), self.now_ms)?;
        new.synced = self.synced;
        new.states.records = std::mem::take(&mut self.states.records);
        (new.states.is_due, new.states.resets) = (true, true);
        (new.promise, new.ticked_ms) = (std::mem::take(&mut self.promise), self.ticked_ms);
        (new.dead, new.heard_ms) = (std::mem::take(&mut self.dead), std::mem::take(&mut self.heard_ms));
        (new.stalled, new.role_told, new.restoring) = (self.stalled, self.role_told, true);
        *self = new;
        Ok(())
    }

    /// The last index of the node's log that was given to the group's records.
    #[must_use]
    pub fn last_log_index(&self) -> u64 {
        self.next_log_index - 1
    }

    /// The note is withdrawn.
    pub fn forgotten(&mut self) {
        self.restoring = false;
    }
}
