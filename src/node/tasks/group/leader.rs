//! A group's queues on the member that leads: a shard, whose clients are the sessions of all nodes.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::attaching::Attaching;
use super::entry;
use super::held::{Held, Told};
use super::replica::TakenOver;
use super::row::GroupRow;
use crate::broker::batch;
use crate::broker::ids::{GroupId, NodeId, QueueId};
use crate::broker::topology::QueueEntry;
use crate::node::cluster::forward::{Forward, Owner};
use crate::node::cluster::session::Sessions;
use crate::node::links::{DeleteIf, QueueAsk, ShardInput};
use crate::node::mailbox::Mailbox;
use crate::node::shared::Shared;
use crate::node::tasks::shard::{Records, Shard, Start, record};
use crate::replication::{Group, shard_of};

/// One leadership.
pub(super) struct Leader {
    pub(super) term: u64,
    pub(super) mailbox: Arc<Mailbox<ShardInput>>,
    shard: Shard,
    pub(super) sessions: Sessions,
    /// Consumers may still come back that were there before this lead.
    attaching: Option<Attaching>,
    /// What the store would know if it had everything that was proposed.
    row: GroupRow,
    /// Entries that the group has not taken yet, each with the shard's index that it ends with.
    backlog: VecDeque<(Bytes, u64)>,
    /// Entries that are not committed: their index, and the shard's.
    proposed: VecDeque<(u64, u64)>,
    /// The shard's records up to this index are committed.
    synced: u64,
    held: Held,
    inputs: Vec<ShardInput>,
    checkpoint: Option<Checkpoint>,
}

struct Checkpoint {
    row: GroupRow,
    done: oneshot::Receiver<u64>,
}

impl Leader {
    /// A replica takes over.
    pub(super) fn new(
        shared: Arc<Shared>,
        group: GroupId,
        term: u64,
        from: TakenOver,
        attaching: Attaching,
    ) -> Self {
        let TakenOver { row, mailbox, cold, queues, spilling } = from;
        let start = Start {
            shared,
            mailbox: Arc::clone(&mailbox),
            log_shard: shard_of(group),
            records: Records::Group(Vec::new()),
            cold,
            index: 0,
            spilling,
            queues,
        };
        Self {
            term,
            mailbox,
            shard: Shard::new(start),
            sessions: Sessions::new(Owner::Group(group), row.table.clone()),
            attaching: Some(attaching),
            row,
            backlog: VecDeque::new(),
            proposed: VecDeque::new(),
            synced: 0,
            held: Held::default(),
            inputs: Vec::new(),
            checkpoint: None,
        }
    }

    #[cfg(test)]
    pub(super) fn with_planted(mut self, planted: super::Planted) -> Self {
        self.held.tells_early = planted.tells_early;
        self
    }

    /// A session asks.
    pub(super) fn forward(&mut self, forward: Forward) {
        self.sessions.forward(forward);
    }

    /// The group has committed entries up to this one.
    pub(super) fn committed(&mut self, index: u64) {
        while self.proposed.front().is_some_and(|(proposed, _)| *proposed <= index)
            && let Some((_, shard_index)) = self.proposed.pop_front()
        {
            self.synced = shard_index;
        }
        // What was not proposed here holds nothing for the store: a change of the members. Left out, it would keep the log from
        // being released for as long as nothing else is proposed.
        self.row.applied = self.row.applied.max(index);
        self.shard.synced(self.synced);
    }

    /// One round: what is asked, what is due, what became of it. Proposes what was recorded.
    pub(super) fn round(&mut self, group: &mut Group, meta_index: u64, now_ms: u64, out: &mut Vec<Told>) {
        self.serve_until(group.lease_until_ms(now_ms));
        self.sessions.set_room(!self.shard.is_paused() && self.backlog.is_empty());
        let mut inputs = std::mem::take(&mut self.inputs);
        self.mailbox.take(&mut inputs);
        self.take_from_sessions(meta_index, now_ms, &mut inputs);
        self.shard.take_in(&mut inputs, now_ms);
        self.inputs = inputs;
        // What was refused is part of what the group remembers.
        self.shard.tell_publishers();
        if let Some(marks) = self.sessions.marks() {
            // It has written these rows itself.
            let _ = self.row.table.apply(&marks);
            self.shard.append(record::SESSION, marks, Bytes::new());
        }
        self.shard.finish(now_ms);
        self.sessions.logged(self.shard.index());
        self.tell(out);
        if self.held.last_index().is_some_and(|index| index > self.synced) {
            // Somebody waits for it.
            self.shard.send_gathered();
        }
        self.propose(group, meta_index);
    }

    fn take_from_sessions(&mut self, meta_index: u64, now_ms: u64, inputs: &mut Vec<ShardInput>) {
        let Self { shard, sessions, attaching, .. } = self;
        sessions.take(meta_index, &mut |input| {
            let input = match attaching {
                Some(attaching) => attaching.pass(input),
                None => Some(input),
            };
            inputs.extend(input.and_then(|input| for_group(shard, input)));
        });
        if let Some(attaching) = attaching.take_if(|attaching| attaching.is_over(sessions, now_ms)) {
            let waited = attaching.end(shard.ids());
            inputs.extend(waited.filter_map(|input| for_group(shard, input)));
        }
    }

    /// The link to a node is down.
    pub(super) fn node_down(&mut self, node: NodeId) {
        self.sessions.node_down(node);
        if let Some(attaching) = &mut self.attaching {
            attaching.node_down(node);
        }
    }

    fn tell(&mut self, out: &mut Vec<Told>) {
        let mut told = Vec::new();
        self.sessions.answers(self.synced, &mut told);
        let index = self.shard.index();
        self.held.add(index, told, out);
    }

    /// Tells what is certain by now, as long as nobody else leads.
    pub(super) fn release(&mut self, lease_until_ms: u64, now_ms: u64, out: &mut Vec<Told>) {
        self.serve_until(lease_until_ms);
        self.held.set_lease(now_ms < lease_until_ms);
        if now_ms < lease_until_ms {
            self.held.release(self.synced, out);
        }
    }

    fn serve_until(&mut self, lease_until_ms: u64) {
        self.shard.serve_until(lease_until_ms);
    }

    fn propose(&mut self, group: &mut Group, meta_index: u64) {
        // One entry: what sessions brought about is there together with the mark of it, or neither is.
        let appends = self.shard.take_appends();
        self.row.meta_index = self.row.meta_index.max(meta_index);
        if let Some(last) = appends.last() {
            self.backlog.push_back((entry::encode(meta_index, &appends), last.index));
        }
        while let Some((entry, shard_index)) = self.backlog.front() {
            match group.propose(entry.clone()) {
                Ok(index) => {
                    self.row.applied = index;
                    self.proposed.push_back((index, *shard_index));
                    self.backlog.pop_front();
                }
                Err(_) => return,
            }
        }
    }

    /// Everything up to here is to be in the cold store. False when that cannot begin yet.
    pub(super) fn begin_checkpoint(&mut self, group: &mut Group, meta_index: u64, now_ms: u64) -> bool {
        self.shard.send_gathered();
        // At once: with much to do, each round gathers something.
        self.propose(group, meta_index);
        if !self.backlog.is_empty() || self.shard.has_appends() {
            return false;
        }
        let (reply, done) = oneshot::channel();
        self.shard.handle(ShardInput::Checkpoint(reply), now_ms);
        self.checkpoint = Some(Checkpoint { row: self.row.clone(), done });
        true
    }

    /// Gives what the store has when the checkpoint is done: its row must follow.
    pub(super) fn work_on_checkpoint(&mut self) -> Option<GroupRow> {
        let checkpoint = self.checkpoint.as_mut()?;
        checkpoint.done.try_recv().ok()?;
        self.checkpoint.take().map(|checkpoint| checkpoint.row)
    }

    /// A queue is new, or works by other settings.
    pub(super) fn change(&mut self, entry: Arc<QueueEntry>, now_ms: u64) {
        let input = if self.shard.has(entry.id) {
            ShardInput::Reconfigure(vec![entry])
        } else {
            ShardInput::Create(entry)
        };
        self.shard.handle(input, now_ms);
    }

    /// A queue is gone.
    pub(super) fn delete(&mut self, id: QueueId, now_ms: u64) {
        let (reply, _) = oneshot::channel();
        self.shard.handle(ShardInput::Delete(id, DeleteIf::default(), reply), now_ms);
    }

    /// Numbers of queues are asked for.
    pub(super) fn tell_statistics(&mut self, ask: Box<QueueAsk>, now_ms: u64) {
        self.shard.handle(ShardInput::Statistics(ask), now_ms);
    }

    /// The leadership is over.
    pub(super) fn end(self, out: &mut Vec<Told>) {
        self.shard.keep_all_counts();
        self.sessions.give_up(out);
    }

    /// When a round is due although nothing comes in; 0 when there is more to do at once.
    pub(super) fn next_due_ms(&mut self, now_ms: u64) -> Option<u64> {
        if self.sessions.wants_round() {
            return Some(0);
        }
        let attaching = self.attaching.as_ref().map(Attaching::until_ms);
        self.shard.next_due_ms(now_ms).into_iter().chain(attaching).min()
    }

    /// Whether everything that was recorded is committed.
    pub(super) fn is_settled(&mut self) -> bool {
        self.shard.send_gathered();
        self.backlog.is_empty() && self.proposed.is_empty() && !self.shard.has_appends()
    }

    /// How many queues it has.
    pub(super) fn queues(&self) -> usize {
        self.shard.queues()
    }

    /// What its queues hold, in order; `read` gives chunks that are in the cold store only.
    #[cfg(test)]
    pub(super) fn digests(
        &self,
        read: &dyn Fn(QueueId, u64) -> Option<Bytes>,
    ) -> std::collections::BTreeMap<QueueId, Option<crate::broker::queue::Digest>> {
        self.shard.digests(read)
    }
}

/// What a session asks, as the shard of a group may do it. A queue is deleted by its declaration alone, which all members
/// hear of: here it is only asked whether it may be. And all messages are kept.
fn for_group(shard: &Shard, input: ShardInput) -> Option<ShardInput> {
    match input {
        ShardInput::Delete(id, condition, reply) => {
            // Whoever asked may have gone.
            let _ = reply.send(shard.may_delete(id, condition));
            None
        }
        ShardInput::Publish(id, mut messages, waiter) if messages.persistent < messages.count => {
            let mut records = messages.records.to_vec();
            batch::persist(&mut records);
            (messages.records, messages.persistent) = (records.into(), messages.count);
            Some(ShardInput::Publish(id, messages, waiter))
        }
        input => Some(input),
    }
}
