//! This node is no member of the group any more: what it has of it goes.
//!
//! As with a copy, a note in the store says first that the group's queues are incomplete, so that a restart in the middle
//! neither promises nor campaigns; it is withdrawn when the log says that the group is none of this node's.

use std::sync::Arc;

use super::copies::CopyDone;
use super::row::{GroupRow, RESTORING, STATE};
use super::{GroupTask, Stage};
use crate::node::cluster::inputs::GroupInput;

/// How often who leads tells nodes that are no members so.
const GREET_EVERY_MS: u64 = 5_000;

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// A restart would know that it was begun.
    Noted,
    /// The store has nothing of the group.
    Cleared,
    /// Neither has the log, and the note is gone.
    Done,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    Store,
    /// The log, up to this index.
    Log(u64),
}

impl GroupTask {
    pub(super) fn dismissed(&mut self) {
        if self.leaving.is_some() || self.group.restore_begins().is_err() {
            return;
        }
        tracing::info!(group = self.number, "this node is no member of the group any more: its copy goes");
        self.leaving = Some(Leaving::Store);
        self.drop_queues();
        self.copies.refuse_received(self.number, &self.cluster);
        self.cold.batch().put_group(self.number, RESTORING, &[1]);
        self.tell_when_durable(Left::Noted);
    }

    fn tell_when_durable(&mut self, left: Left) {
        self.cold.send();
        let mailbox = Arc::clone(&self.mailbox);
        self.cold.flush(move || mailbox.push(GroupInput::Copy(CopyDone::Left(left))));
    }

    /// What it has of the queues in memory is of no use any more.
    pub(super) fn drop_queues(&mut self) {
        if matches!(self.stage, Stage::Leader(_)) {
            self.end_lead();
        }
        self.reading += 1;
        self.stage = Stage::Waits(0);
        self.checkpoints.are_over();
    }

    pub(super) fn has_left(&mut self, left: Left) {
        match left {
            Left::Noted => {
                self.entries.keys().for_each(|id| self.cold.delete_queue(*id));
                self.cold.batch().put_group(self.number, STATE, &GroupRow::default().encode());
                self.cold.send();
                self.delete_remains();
                self.tell_when_durable(Left::Cleared);
            }
            Left::Cleared => {
                if let Err(error) = self.group.forget() {
                    return self.fail(&error);
                }
                self.carry_out();
                self.leaving = Some(Leaving::Log(self.last_append));
            }
            Left::Done => {
                self.leaving = None;
                self.group.forgotten();
                self.read_store();
            }
        }
    }

    pub(super) fn go_on_leaving(&mut self) {
        if let Some(Leaving::Log(index)) = self.leaving
            && self.log_synced >= index
        {
            self.leaving = Some(Leaving::Store);
            self.cold.batch().delete_group(self.number, RESTORING);
            self.tell_when_durable(Left::Done);
        }
    }

    /// As the leader: whoever was a member and did not hear that it is none any more, hears it now.
    pub(super) fn greet_outsiders(&mut self) {
        if !matches!(self.stage, Stage::Leader(_)) || self.now_ms < self.greet_at_ms {
            return;
        }
        self.greet_at_ms = self.now_ms + GREET_EVERY_MS;
        let nodes = self.cluster.members().nodes.keys().copied().collect::<Vec<_>>();
        for node in nodes.into_iter().filter(|node| self.cluster.peers.is_up(*node)) {
            self.group.greet(node);
        }
    }
}
