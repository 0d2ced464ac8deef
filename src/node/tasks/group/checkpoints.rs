//! Everything of the group to the cold store, so that the log can go.
//!
//! First the queues' rows and chunks, then the row of the group; when that is flushed the group's own log is cut, and says so
//! in a record of its own; when this is synced too, the node's log may let go of what is in front.

use tokio::sync::oneshot;

use super::row::{GroupRow, STATE};
use super::{GroupTask, Stage};

/// Checkpoints that are asked for or under way.
#[derive(Default)]
pub(super) struct Checkpoints {
    waiting: Vec<oneshot::Sender<u64>>,
    /// Who waits for the one that is under way.
    running: Option<Vec<oneshot::Sender<u64>>>,
    /// The last one that was handed over, and whose flush nobody has told of: up to which entry.
    handed_over: Option<u64>,
    /// Who waits until the log is synced up to an index, to let go of what is not needed then.
    releases: Vec<(u64, oneshot::Sender<u64>)>,
}

impl Checkpoints {
    pub(super) fn ask(&mut self, reply: oneshot::Sender<u64>) {
        self.waiting.push(reply);
    }

    /// What was under way comes to nothing: it begins anew with what the group has then.
    pub(super) fn are_over(&mut self) {
        self.waiting.extend(self.running.take().into_iter().flatten());
    }

    pub(super) fn next_due_ms(&self) -> Option<u64> {
        (!self.waiting.is_empty() && self.running.is_none()).then_some(0)
    }
}

impl GroupTask {
    pub(super) fn work_on_checkpoint(&mut self) {
        self.begin_checkpoint();
        if self.checkpoints.running.is_none() {
            return;
        }
        let done = match &mut self.stage {
            Stage::Waits(_) | Stage::Reads => None,
            Stage::Replica(replica) => {
                let done = replica.work_on_checkpoint();
                replica.cold.send();
                done
            }
            Stage::Leader(leader) => leader.work_on_checkpoint(),
        };
        if let Some(mut row) = done {
            // Queues that were declared since it began may be in the store too: who reads it must know of them.
            row.meta_index = row.meta_index.max(self.meta_index);
            self.end_checkpoint(&row);
        }
    }

    fn begin_checkpoint(&mut self) {
        let is_wanted = !self.checkpoints.waiting.is_empty() || self.copies.wait();
        if !is_wanted || self.checkpoints.running.is_some() {
            return;
        }
        let has_begun = match &mut self.stage {
            // The store has all that there is of it, and no more is needed.
            Stage::Waits(_) | Stage::Reads => {
                let needed_from = self.group.needed_from();
                self.checkpoints.waiting.drain(..).for_each(|reply| answer(reply, needed_from));
                false
            }
            Stage::Replica(replica) => {
                replica.begin_checkpoint();
                true
            }
            Stage::Leader(leader) => leader.begin_checkpoint(&mut self.group, self.meta_index, self.now_ms),
        };
        if has_begun {
            self.checkpoints.running = Some(std::mem::take(&mut self.checkpoints.waiting));
        }
    }

    fn end_checkpoint(&mut self, row: &GroupRow) {
        self.cold.batch().put_group(self.number, STATE, &row.encode());
        self.cold.send();
        let replies = self.checkpoints.running.take().unwrap_or_default();
        if !replies.is_empty() {
            self.checkpoints.handed_over = Some(row.applied);
        }
        let needed_from = self.group.needed_from();
        replies.into_iter().for_each(|reply| answer(reply, needed_from));
        self.begin_copies(row);
    }

    /// The last checkpoint that was answered is durable. `reply` hears up to which index the group's records may go.
    pub(super) fn flushed(&mut self, reply: oneshot::Sender<u64>) {
        if let Some(applied) = self.checkpoints.handed_over.take() {
            self.group.checkpointed(applied);
            self.carry_out();
        }
        self.checkpoints.releases.push((self.last_append, reply));
        self.release_log();
    }

    /// Tells those who wait for the log.
    pub(super) fn release_log(&mut self) {
        if self.checkpoints.releases.is_empty() {
            return;
        }
        let (synced, needed_from) = (self.log_synced, self.group.needed_from());
        for (_, reply) in self.checkpoints.releases.extract_if(.., |(index, _)| *index <= synced) {
            answer(reply, needed_from);
        }
    }
}

/// Says up to which index nothing is needed. Whoever asked may have gone.
fn answer(reply: oneshot::Sender<u64>, needed_from: u64) {
    let _ = reply.send(needed_from.saturating_sub(1));
}
