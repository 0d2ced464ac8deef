//! What happens to a member: time passes, messages come, links go up and down.

use bytes::Bytes;
use raft::eraftpb::{Message, MessageType};
use raft::{CAMPAIGN_TRANSFER, ProgressState, StateRole};

use super::group::{Group, Link, Refused};
use super::lease::{Mark, Promise};
use super::wire::{self, Received};
use crate::broker::ids::NodeId;

/// Ticks made up for at once; what was slept through beyond that is nobody's silence.
const TICKS_AT_ONCE: u64 = 2;

/// A message that no member sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unusable;

impl Group {
    /// Time passes. Called about every tick; more often does no harm.
    pub fn tick(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        let due = self.now_ms.saturating_sub(self.ticked_ms) / self.options.tick_ms;
        if due == 0 {
            return;
        }
        self.ticked_ms =
            if due > TICKS_AT_ONCE { self.now_ms } else { self.ticked_ms + due * self.options.tick_ms };
        self.refill_budget();
        for _ in 0..due.min(TICKS_AT_ONCE) {
            self.tick_once();
        }
        self.campaign_for_the_dead();
        self.drive_members();
        self.limit_inflight();
    }

    fn tick_once(&mut self) {
        let leads = self.raw.raft.state == StateRole::Leader;
        if !leads && (self.restoring || self.stalled || !self.may_campaign()) {
            // The silence of the leader counts for its vote, not for standing itself.
            self.raw.raft.election_elapsed += 1;
            return;
        }
        self.raw.tick();
        self.align_timeout();
        self.end_transfer();
    }

    /// A member that was told to take over and did not may still do so when the message reaches it: a new term makes that void.
    fn end_transfer(&mut self) {
        let raft = &self.raw.raft;
        let is_over = raft.state == StateRole::Leader && raft.lead_transferee.is_none();
        // Alone it gives the vote that the other would need itself.
        if !is_over || self.is_sole_voter() || (self.relinquished != raft.term && !self.stalled) {
            return;
        }
        let (term, me) = (raft.term, raft.id);
        self.raw.raft.become_follower(term, 0);
        if !self.stalled {
            let mut message = Message::default();
            message.set_msg_type(MessageType::MsgTimeoutNow);
            (message.from, message.to, message.term) = (me, me, term);
            let _ = self.raw.raft.step(message);
        }
        self.align_timeout();
    }

    /// The only voter wins at once, so all it has must be kept by then.
    fn may_campaign(&self) -> bool {
        let log = &self.raw.raft.raft_log;
        !self.is_sole_voter() || log.persisted == log.last_index()
    }

    /// Asks for the votes of the others; not while it has promised its own to a leader.
    pub fn campaign(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        let may = self.is_sole_voter() || self.promise.allows(0, self.now_ms);
        let can =
            self.raw.raft.promotable() && self.raw.raft.state != StateRole::Leader && self.may_campaign();
        if may && can && !self.restoring && !self.stalled {
            let _ = self.raw.campaign();
            self.align_timeout();
        }
    }

    /// A message of another member.
    ///
    /// # Errors
    /// When it is none, or not for this node.
    pub fn step(&mut self, from: NodeId, bytes: &Bytes, now_ms: u64) -> Result<(), Unusable> {
        self.now_ms = self.now_ms.max(now_ms);
        let mut received = wire::decode(bytes).ok_or(Unusable)?;
        let message = &received.message;
        if message.from != u64::from(from) || message.to != self.me() || message.term == 0 {
            return Err(Unusable);
        }
        self.heard_ms.insert(from, self.now_ms);
        self.dead.remove(&from);
        if received.dismisses {
            self.hear_dismissal(received.message.term, received.message.index);
            return Ok(());
        }
        self.hear_outsider(from);
        if !self.is_welcome(from, &mut received) {
            return Ok(());
        }
        if received.needs_copy {
            self.note_need(from);
        }
        self.refill_budget();
        let (kind, term) = (received.message.get_msg_type(), received.message.term);
        self.keep_data(&received);
        let mark = self.take_mark(&mut received.message);
        let _ = self.raw.step(received.message);
        match mark {
            Some(mark) if kind == MessageType::MsgHeartbeatResponse && term == self.term() => {
                self.lease.answered(u64::from(from), mark);
            }
            _ => {}
        }
        if kind == MessageType::MsgHeartbeat && self.raw.raft.leader_id == u64::from(from) {
            self.promise = Promise::new(from, self.now_ms + self.options.election_ms());
        }
        self.align_timeout();
        self.limit_inflight();
        Ok(())
    }

    /// Whether a message may reach the `raft` crate.
    fn is_welcome(&mut self, from: NodeId, received: &mut Received) -> bool {
        let message = &mut received.message;
        match message.get_msg_type() {
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote => {
                let is_transfer = message.context == CAMPAIGN_TRANSFER;
                if (message.log_term, message.index) < self.floor {
                    return false;
                }
                // Its log is whole while a copy comes in, so it can tell whether the candidate has everything.
                !self.stalled && (is_transfer || self.promise.allows(from, self.now_ms))
            }
            MessageType::MsgTimeoutNow => !self.restoring && !self.stalled && self.may_campaign(),
            MessageType::MsgAppend => !self.restoring && self.agrees(message),
            MessageType::MsgHeartbeat => {
                // A leader that takes this node for one with a longer log must not bring it down.
                message.commit = message.commit.min(self.last_index());
                true
            }
            MessageType::MsgHeartbeatResponse | MessageType::MsgAppendResponse => {
                self.skip_ahead(message);
                true
            }
            _ => true,
        }
    }

    /// Committed entries are the same everywhere; a message that says otherwise is no leader's.
    fn agrees(&self, message: &Message) -> bool {
        let commit = self.commit();
        let log = &self.raw.raft.raft_log;
        let known = message.entries.iter().take_while(|entry| entry.index <= commit);
        known
            .filter(|entry| entry.index >= log.first_index())
            .all(|entry| log.match_term(entry.index, entry.term))
    }

    /// A member whose log ends before ours begins, and that has a copy now, says so by its commit index: goes on from there.
    fn skip_ahead(&mut self, message: &Message) {
        let last = self.last_index();
        if self.raw.raft.state != StateRole::Leader || message.term != self.term() {
            return;
        }
        let Some(progress) = self.raw.raft.mut_prs().get_mut(message.from) else { return };
        if message.commit >= progress.next_idx && message.commit <= last {
            progress.become_probe();
            progress.next_idx = message.commit + 1;
        }
    }

    fn keep_data(&mut self, received: &Received) {
        for (entry, data) in received.message.entries.iter().zip(&received.data) {
            self.incoming.push((entry.index, entry.term, data.clone()));
        }
    }

    /// What a leader gets back of its heartbeat is not for the `raft` crate.
    fn take_mark(&self, message: &mut Message) -> Option<Mark> {
        if message.get_msg_type() != MessageType::MsgHeartbeatResponse {
            return None;
        }
        Mark::decode(&std::mem::take(&mut message.context))
    }

    /// The link to a node changes.
    pub fn link(&mut self, node: NodeId, link: Link, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        match link {
            Link::Up => {
                self.dead.remove(&node);
            }
            Link::Down => self.unreachable(node),
            Link::Dead => {
                self.unreachable(node);
                self.dead.insert(node);
                self.leader_died(node);
            }
        }
    }

    fn unreachable(&mut self, node: NodeId) {
        self.raw.report_unreachable(u64::from(node));
        self.copies.failed(node, self.now_ms + self.options.election_ms());
    }

    /// Votes are given at once; the voter with the lowest number asks for them at once, each next one a tick later.
    fn leader_died(&mut self, node: NodeId) {
        if self.raw.raft.leader_id != u64::from(node) {
            return;
        }
        self.promise.ends_with(node);
        self.raw.raft.election_elapsed = self.options.election_ticks;
        let voters = &self.raw.store().members.state.voters;
        let before = voters.iter().filter(|voter| **voter < self.me() && **voter != u64::from(node)).count();
        self.campaign_at_ms = Some(self.now_ms + before as u64 * self.options.tick_ms);
        self.campaign_for_the_dead();
    }

    fn campaign_for_the_dead(&mut self) {
        if self.campaign_at_ms.is_none_or(|at_ms| at_ms > self.now_ms) {
            return;
        }
        let leader = self.leader();
        if leader != 0 && !self.dead.contains(&leader) {
            self.campaign_at_ms = None;
            return;
        }
        self.campaign_at_ms = Some(self.now_ms + 2 * self.options.tick_ms);
        self.campaign(self.now_ms);
    }

    /// Another member is to lead. Nothing is taken, and nothing delivered, until it does or an election's time has passed.
    ///
    /// # Errors
    /// When this member does not lead, or the other is no voter.
    pub fn transfer(&mut self, to: NodeId) -> Result<(), Refused> {
        if !self.leads() {
            return Err(Refused::NotLeader);
        }
        let is_voter = self.raw.store().members.state.voters.contains(&u64::from(to));
        if !is_voter || to == self.options.node {
            return Err(Refused::NoSuch);
        }
        self.raw.transfer_leader(u64::from(to));
        Ok(())
    }

    /// The node's disk does not answer (or does again): it gives up leading and stands for nothing until then.
    pub fn disk_stalls(&mut self, stalls: bool) {
        self.stalled = stalls;
        if stalls && self.raw.raft.state == StateRole::Leader {
            match self.best_voter() {
                Some(best) => self.raw.transfer_leader(u64::from(best)),
                None => {
                    let term = self.term();
                    self.raw.raft.become_follower(term, 0);
                    self.align_timeout();
                }
            }
        }
    }

    /// The voter with the longest log that was heard of lately.
    pub(super) fn best_voter(&self) -> Option<NodeId> {
        let members = &self.raw.store().members.state;
        let voters = members.voters.iter().filter(|voter| **voter != self.me());
        let nodes =
            voters.filter_map(|voter| NodeId::try_from(*voter).ok()).filter(|node| self.is_active(*node));
        nodes.max_by_key(|node| (self.matched(*node), *node))
    }

    pub(super) fn matched(&self, node: NodeId) -> u64 {
        self.raw.raft.prs().get(u64::from(node)).map_or(0, |progress| progress.matched)
    }

    /// Whether something was heard of a node lately.
    pub(super) fn is_active(&self, node: NodeId) -> bool {
        let lately_ms = self.now_ms.saturating_sub(2 * self.options.election_ms());
        self.heard_ms.get(&node).is_some_and(|heard_ms| *heard_ms >= lately_ms)
    }

    /// Members with too many bytes on their way get no more for now; the window opens again when they have answered.
    pub(super) fn limit_inflight(&mut self) {
        if self.raw.raft.state != StateRole::Leader {
            return;
        }
        let (bytes_max, me, last) = (self.options.inflight_bytes_max, self.me(), self.last_index());
        let ids: Vec<_> = self.raw.raft.prs().iter().map(|(id, _)| *id).filter(|id| *id != me).collect();
        for id in ids {
            let Some(progress) = self.raw.raft.prs().get(id) else { continue };
            if progress.state != ProgressState::Replicate {
                continue;
            }
            let (matched, next, was_full) = (progress.matched, progress.next_idx, progress.ins.full());
            let on_their_way = self.raw.store().entries.bytes_between(matched, next.saturating_sub(1));
            let is_over = on_their_way >= bytes_max;
            let messages_max = if is_over { 1 } else { self.options.inflight_messages_max };
            self.raw.raft.adjust_max_inflight_msgs(id, messages_max);
            if was_full && !is_over && next <= last {
                self.raw.raft.send_append(id);
            }
        }
    }
}
