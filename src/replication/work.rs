//! What a group wants done.

use bytes::Bytes;
use prost::Message as _;
use raft::StateRole;
use raft::eraftpb::{ConfChangeV2, Entry, EntryType, Message, MessageType};

use super::group::{Group, Role};
use super::lease::Mark;
use super::record::{EntryHead, Kind, Membership, State, shard_of};
use super::wire;
use crate::broker::ids::NodeId;
use crate::storage::{Append, StorageError};

/// What is to be done, in this order. The host empties it and gives it back.
#[derive(Debug, Default)]
pub struct Work {
    /// For the node's log, in order. When it says that they are synced: [`Group::synced`].
    pub appends: Vec<Append>,
    /// To other members; they may be lost.
    pub messages: Vec<(NodeId, Bytes)>,
    /// Entries that are committed, in order and each once; also those without data, that their index is known.
    pub committed: Vec<Committed>,
    /// There is more that is committed: call again.
    pub more: bool,
    /// The role, when it is another one. It holds for what is committed behind this work.
    pub role: Option<Role>,
    /// Members that need a copy of everything. Named once, until `snapshot_done` or `snapshot_failed`. They may be needed for
    /// the majority that makes this member a leader in its role: it copies what it has as a follower.
    pub wants_snapshot: Vec<NodeId>,
    /// The copy that was installed counts: up to this entry.
    pub installed: Option<u64>,
    /// This node is no member any more: what it has of the group may go ([`Group::forget`]). Told again as long as that was
    /// not begun.
    pub dismissed: bool,
    /// The node's log failed: the group does nothing any more.
    pub failure: Option<StorageError>,
}

/// A committed entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its place in the group's log.
    pub index: u64,
    /// The term of the leader that took it.
    pub term: u64,
    /// What was proposed; empty when the group itself wrote it.
    pub data: Bytes,
}

impl Work {
    /// Forgets everything, keeps the room.
    pub fn clear(&mut self) {
        self.appends.clear();
        self.messages.clear();
        self.committed.clear();
        self.wants_snapshot.clear();
        (self.more, self.role, self.installed, self.failure) = (false, None, None, None);
        self.dismissed = false;
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.appends.is_empty()
            && self.messages.is_empty()
            && self.committed.is_empty()
            && self.wants_snapshot.is_empty()
            && self.role.is_none()
            && self.installed.is_none()
            && self.failure.is_none()
            && !self.dismissed
            && !self.more
    }
}

impl Group {
    /// The log has synced the group's records up to this index.
    pub fn synced(&mut self, log_index: u64) {
        self.synced = self.synced.max(log_index);
        while self.states.records.get(1).is_some_and(|(next, _)| *next <= self.synced) {
            self.states.records.pop_front();
        }
        self.tell_persisted();
    }

    fn tell_persisted(&mut self) {
        let mut number = None;
        while let Some((next, _)) = self.unsynced.front().filter(|(_, log_index)| *log_index <= self.synced) {
            number = Some(*next);
            self.unsynced.pop_front();
        }
        if let Some(number) = number {
            self.refill_budget();
            self.raw.on_persist_ready(number);
            self.advance_applied();
        }
    }

    /// Adds to `out` what is to be done now.
    pub fn work(&mut self, now_ms: u64, out: &mut Work) {
        self.now_ms = self.now_ms.max(now_ms);
        while self.failure.is_none() && self.raw.has_ready() {
            self.take_ready(out);
        }
        self.incoming.clear();
        if self.states.is_due {
            self.write_state(out);
        }
        self.release_held(out);
        self.hand_out(out);
        self.tell_role(out);
        self.tell_copies(out);
        self.tell_outsiders(out);
        out.dismissed |= std::mem::take(&mut self.is_dismissed);
        let (synced, handed, memory_max) = (self.synced, self.handed, self.options.memory_bytes_max);
        self.raw.mut_store().entries.evict(memory_max, synced, handed);
        out.failure = self.failure.take();
    }

    fn take_ready(&mut self, out: &mut Work) {
        let mut ready = self.raw.ready();
        if !ready.snapshot().is_empty() {
            let meta = ready.snapshot().get_metadata();
            self.reset_log(meta.index, meta.term);
        }
        let entries = ready.take_entries();
        let raft = &self.raw.raft;
        let is_change = entries.iter().any(|entry| entry.get_entry_type() != EntryType::EntryNormal);
        // In front of the entries: a change of members must not be found without the commit index known by then.
        if is_change || self.states.is_due || self.states.written != (raft.term, raft.vote) {
            self.write_state(out);
        }
        self.keep_entries(entries, out);
        let kept_at = self.next_log_index - 1;
        let now = ready.take_messages();
        let then = ready.take_persisted_messages();
        let committed = ready.take_committed_entries();
        let number = ready.number();
        self.raw.advance_append_async(ready);
        self.unsynced.push_back((number, kept_at));
        for message in self.merge(now) {
            // Nothing of a term leaves before the term is kept.
            self.send(message, self.states.last(), out);
        }
        for message in then {
            let due = if promises_nothing(&message) { 0 } else { kept_at };
            self.send(message, due, out);
        }
        self.tell_persisted();
        self.note_committed(&committed);
        self.align_timeout();
    }

    /// A copy takes the place of the log.
    fn reset_log(&mut self, index: u64, term: u64) {
        let view = self.raw.mut_store();
        view.entries.reset(index, term);
        if let Some(installing) = self.copies.installing.as_ref().filter(|known| known.index == index) {
            view.members = installing.members.clone();
        }
        self.ready = index;
        (self.states.is_due, self.states.resets) = (true, true);
    }

    fn write_state(&mut self, out: &mut Work) {
        let raft = &self.raw.raft;
        let view = self.raw.store();
        let (base_index, base_term) = view.entries.base();
        let state = State {
            term: raft.term,
            vote: raft.vote,
            commit: raft.raft_log.committed,
            base_index,
            base_term,
            resets: self.states.resets,
            floor: self.floor,
            members: view.members.clone(),
        };
        let first_entry = view.entries.first_log_index().unwrap_or(u64::MAX);
        let log_index = self.next_log_index;
        self.next_log_index += 1;
        out.appends.push(state.append(shard_of(self.options.group), log_index));
        if let Some(installing) = self.copies.installing.as_mut().filter(|_| self.states.resets) {
            installing.log_index = Some(log_index);
        }
        self.states.written = (state.term, state.vote);
        (self.states.is_due, self.states.resets) = (false, false);
        self.states.records.push_back((log_index, first_entry));
    }

    fn keep_entries(&mut self, entries: Vec<Entry>, out: &mut Work) {
        let Some(first) = entries.first() else { return };
        let shard = shard_of(self.options.group);
        self.raw.mut_store().entries.truncate(first.index);
        let mut at = 0;
        for entry in entries {
            let is_change = entry.get_entry_type() != EntryType::EntryNormal;
            let kind = if is_change { Kind::Members } else { Kind::Normal };
            let head = EntryHead { index: entry.index, term: entry.term, kind };
            let data = if is_change { Some(Bytes::from(entry.data)) } else { self.take_data(&mut at, head) };
            let Some(data) = data else {
                let reason = format!("the data of entry {} is not there", head.index);
                self.failure = Some(StorageError::entry(shard, self.next_log_index, reason));
                return;
            };
            out.appends.push(head.append(shard, self.next_log_index, data.clone()));
            self.raw.mut_store().entries.push(head, self.next_log_index, data);
            self.next_log_index += 1;
        }
    }

    /// The data that came with an entry; mostly it is where the search for the one before ended.
    fn take_data(&self, at: &mut usize, head: EntryHead) -> Option<Bytes> {
        let is_it = |(index, term, _): &(u64, u64, Bytes)| *index == head.index && *term == head.term;
        let behind =
            self.incoming.get(*at..).and_then(|rest| rest.iter().position(is_it)).map(|found| *at + found);
        let found = behind.or_else(|| self.incoming.iter().position(is_it))?;
        *at = found + 1;
        self.incoming.get(found).map(|(.., data)| data.clone())
    }

    fn send(&mut self, mut message: Message, due: u64, out: &mut Work) {
        let kind = message.get_msg_type();
        let is_restorers = matches!(
            kind,
            MessageType::MsgHeartbeatResponse
                | MessageType::MsgRequestVoteResponse
                | MessageType::MsgRequestPreVoteResponse
        );
        if self.restoring && !is_restorers {
            return;
        }
        match kind {
            MessageType::MsgHeartbeat => {
                message.context = Mark { term: message.term, sent_ms: self.now_ms }.encode();
            }
            MessageType::MsgTimeoutNow => self.relinquished = message.term,
            _ => {}
        }
        let Ok(to) = NodeId::try_from(message.to) else { return };
        match wire::encode(message, &self.raw.store().entries, self.restoring) {
            Ok(Some(bytes)) if due <= self.synced => out.messages.push((to, bytes)),
            Ok(Some(bytes)) => self.held.push_back((due, to, bytes)),
            Ok(None) => {}
            Err(failure) => self.failure = Some(failure),
        }
    }

    /// Joins entries for the same member. (The crate can do that too, but gets it wrong for a member that it sets back.)
    fn merge(&self, messages: Vec<Message>) -> Vec<Message> {
        let entries = &self.raw.store().entries;
        let mut merged: Vec<Message> = Vec::with_capacity(messages.len());
        for mut message in messages {
            let is_append = message.get_msg_type() == MessageType::MsgAppend;
            let earlier = merged.iter_mut().rfind(|earlier| earlier.to == message.to).filter(|earlier| {
                let last = earlier.index + earlier.entries.len() as u64;
                let end = message.index + message.entries.len() as u64;
                let fits = entries.bytes_between(earlier.index, end) <= self.options.message_bytes_max;
                let are_both = is_append && earlier.get_msg_type() == MessageType::MsgAppend;
                are_both && earlier.term == message.term && last == message.index && fits
            });
            match earlier {
                Some(earlier) => {
                    earlier.commit = earlier.commit.max(message.commit);
                    earlier.entries.append(&mut message.entries);
                }
                None => merged.push(message),
            }
        }
        merged
    }

    fn release_held(&mut self, out: &mut Work) {
        while self.held.front().is_some_and(|(due, ..)| *due <= self.synced) {
            out.messages.extend(self.held.pop_front().map(|(_, to, bytes)| (to, bytes)));
        }
    }

    /// Entries that the `raft` crate calls committed: changes of the members count from here on.
    fn note_committed(&mut self, committed: &[Entry]) {
        for entry in committed {
            self.ready = self.ready.max(entry.index);
            if entry.get_entry_type() == EntryType::EntryConfChangeV2
                && entry.index > self.raw.store().members.index
            {
                self.change_members(entry);
            }
        }
        self.advance_applied();
        if !committed.is_empty() {
            self.drive_members();
        }
    }

    /// What is committed counts as applied for the `raft` crate as soon as changes of members are: the host applies later.
    fn advance_applied(&mut self) {
        let log = &self.raw.raft.raft_log;
        let applied = self.ready.min(log.committed).min(log.persisted);
        if applied > log.applied {
            self.raw.advance_apply_to(applied);
        }
    }

    fn change_members(&mut self, entry: &Entry) {
        let Ok(change) = ConfChangeV2::decode(entry.data.as_slice()) else { return };
        let state = self.raw.store().members.state.clone();
        if self.raw.raft.state == StateRole::Leader && self.loses_its_vote(&change) {
            // The crate does not expect a leader that is no member.
            let term = self.term();
            self.raw.raft.become_follower(term, 0);
        }
        let before = [state.voters.clone(), state.learners.clone(), state.voters_outgoing.clone()].concat();
        // What does not fit is refused by all members alike.
        let state = self.raw.apply_conf_change(&change).unwrap_or(state);
        before.into_iter().filter_map(|id| NodeId::try_from(id).ok()).for_each(|node| self.greet(node));
        self.raw.mut_store().members = Membership { index: entry.index, state };
        self.states.is_due = true;
    }

    fn loses_its_vote(&self, change: &ConfChangeV2) -> bool {
        let state = &self.raw.store().members.state;
        if change.leave_joint() {
            return !state.voters.contains(&self.me());
        }
        let mine = change.changes.iter().rfind(|single| single.node_id == self.me());
        change.enter_joint().is_none() && mine.is_some_and(|single| single.change_type != 0)
    }

    fn hand_out(&mut self, out: &mut Work) {
        let up_to = self.ready;
        if self.restoring || self.holds || self.handed >= up_to {
            return;
        }
        let entries = &self.raw.store().entries;
        let mut last = self.handed + 1;
        while last < up_to && entries.bytes_between(self.handed, last + 1) <= self.options.committed_bytes_max
        {
            last += 1;
        }
        let read = entries.read(self.handed + 1, last, &mut |index, data| {
            let term = entries.term(index).unwrap_or(0);
            let data = if entries.kind(index) == Kind::Members { Bytes::new() } else { data };
            out.committed.push(Committed { index, term, data });
        });
        match read {
            Ok(()) => {
                self.handed = last;
                out.more = last < up_to;
            }
            Err(failure) => self.failure = Some(failure),
        }
    }

    fn tell_role(&mut self, out: &mut Work) {
        self.role = self.current_role();
        if self.role != self.role_told {
            self.role_told = self.role;
            out.role = Some(self.role);
        }
        if self.raw.raft.state != StateRole::Leader {
            self.target = None;
            self.copies.stop();
        }
    }

    /// A leader counts as one when all that others left behind is committed, and was handed out.
    fn current_role(&self) -> Role {
        let raft = &self.raw.raft;
        let role = Role::Leader { term: raft.term };
        let is_settled = self.role == role || (self.handed >= self.commit() && raft.commit_to_current_term());
        match raft.state {
            StateRole::Leader if is_settled => role,
            _ if self.is_member() => Role::Follower,
            _ => Role::Outside,
        }
    }

    fn tell_copies(&mut self, out: &mut Work) {
        let wanting = self.raw.mut_store().wanting.take();
        if self.raw.raft.state == StateRole::Leader {
            let nodes = wanting.into_iter().filter_map(|id| NodeId::try_from(id).ok());
            let now_ms = self.now_ms;
            out.wants_snapshot.extend(nodes.filter(|node| self.copies.begin(*node, now_ms)));
        }
        let Some(installing) = self.copies.installing.as_mut().filter(|installing| !installing.is_told)
        else {
            return;
        };
        if installing.log_index.is_some_and(|log_index| log_index <= self.synced) {
            installing.is_told = true;
            out.installed = Some(installing.index);
        }
    }
}

/// Messages that say nothing about what this member keeps.
fn promises_nothing(message: &Message) -> bool {
    match message.get_msg_type() {
        MessageType::MsgHeartbeatResponse
        | MessageType::MsgRequestPreVote
        | MessageType::MsgRequestPreVoteResponse => true,
        MessageType::MsgAppendResponse => message.reject,
        _ => false,
    }
}
