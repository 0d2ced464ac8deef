//! What others ask of a group's task.

use super::{GroupTask, Stage};
use crate::broker::ids::NodeId;
use crate::node::cluster::inputs::{GroupControl, GroupInput};
use crate::node::cluster::peer::LinkState;
use crate::node::cluster::session::not_owner;
use crate::replication::Link;

/// How long a stop waits until another member leads, and what was recorded is committed.
const STOP_MS: u64 = 3000;

impl GroupTask {
    pub(super) fn handle(&mut self, input: GroupInput) {
        match input {
            GroupInput::Forward(forward) => match &mut self.stage {
                Stage::Leader(leader) => {
                    self.forwards_need = self.forwards_need.max(forward.meta_index);
                    leader.forward(forward);
                }
                Stage::Waits(_) | Stage::Reads | Stage::Replica(_) => self.out.push(not_owner(&forward)),
            },
            GroupInput::Raft(from, messages) => {
                for message in messages {
                    if self.group.step(from, &message, self.now_ms).is_err() {
                        tracing::debug!(group = self.number, from, "a message that no member sends");
                    }
                }
            }
            GroupInput::LogSynced(index) => {
                self.log_synced = self.log_synced.max(index);
                self.group.synced(index);
            }
            GroupInput::Snapshot(from, piece) => self.copy_piece(from, piece),
            GroupInput::Link(node, state) => self.link(node, state),
            GroupInput::Topology { changed, deleted } => {
                changed.into_iter().for_each(|entry| self.change_queue(entry));
                deleted.into_iter().for_each(|id| self.delete_queue(id));
            }
            GroupInput::Checkpoint(reply) => self.checkpoints.ask(reply),
            GroupInput::Flushed(reply) => self.flushed(reply),
            GroupInput::Read(read) => self.has_read(*read),
            GroupInput::Copy(done) => self.copied(done),
            GroupInput::Control(control) => self.control(control),
            GroupInput::Inspect(input) => {
                if let Stage::Leader(leader) = &self.stage {
                    leader.mailbox.push(*input);
                }
            }
            GroupInput::Stop(reply) => {
                self.stops.push_back(reply);
                self.stop_by_ms.get_or_insert(self.now_ms + STOP_MS);
            }
        }
    }

    fn link(&mut self, node: NodeId, state: LinkState) {
        let link = match state {
            LinkState::Up => Link::Up,
            LinkState::Down => Link::Down,
            LinkState::Dead => Link::Dead,
        };
        self.group.link(node, link, self.now_ms);
        match state {
            LinkState::Up => self.tell_node(node),
            LinkState::Down | LinkState::Dead => {
                if let Stage::Leader(leader) = &mut self.stage {
                    leader.node_down(node);
                }
                self.copies_to_are_over(node);
            }
        }
    }

    fn change_queue(&mut self, entry: std::sync::Arc<crate::broker::topology::QueueEntry>) {
        match &mut self.stage {
            Stage::Leader(leader) => leader.change(std::sync::Arc::clone(&entry), self.now_ms),
            Stage::Replica(replica) => replica.reconfigure(&entry),
            Stage::Waits(_) | Stage::Reads => {}
        }
        self.entries.insert(entry.id, entry);
    }

    fn delete_queue(&mut self, id: crate::broker::ids::QueueId) {
        self.entries.remove(&id);
        match &mut self.stage {
            Stage::Leader(leader) => leader.delete(id, self.now_ms),
            Stage::Replica(replica) => replica.delete(id),
            Stage::Waits(_) | Stage::Reads => {
                self.cold.delete_queue(id);
                self.cold.send();
            }
        }
    }

    fn control(&mut self, control: GroupControl) {
        match control {
            GroupControl::Transfer(to) => {
                if let Err(reason) = self.group.transfer(to) {
                    tracing::info!(group = self.number, to, ?reason, "the lead stays where it is");
                }
            }
            GroupControl::SetMembers(change, reply) => {
                let has_begun = self.group.set_members(&change).is_ok();
                // Whoever asked may have gone.
                let _ = reply.send(has_begun);
            }
            GroupControl::Status(reply) => drop(reply.send(self.status())),
            GroupControl::Statistics(ask) => {
                if let Stage::Leader(leader) = &mut self.stage {
                    leader.tell_statistics(ask, self.now_ms);
                }
            }
            GroupControl::DiskStalls(stalls) => self.group.disk_stalls(stalls),
        }
    }

    /// Hands the lead over, or waits until all is committed; then whoever stops the node is told.
    pub(super) fn go_on_stopping(&mut self) {
        let Some(by_ms) = self.stop_by_ms else { return };
        let may_stop = match &mut self.stage {
            Stage::Leader(leader) => {
                let members = self.group.member_progress();
                let best = members.iter().filter(|member| member.is_voter && member.is_in_sync);
                match best.filter(|member| member.node != self.node).max_by_key(|member| member.matched) {
                    Some(best) => {
                        // It may be on its way already.
                        let _ = self.group.transfer(best.node);
                        false
                    }
                    None => leader.is_settled(),
                }
            }
            Stage::Waits(_) | Stage::Reads | Stage::Replica(_) => true,
        };
        if may_stop || self.now_ms >= by_ms {
            self.stop_by_ms = None;
            for reply in self.stops.drain(..) {
                // Whoever stops the node may have given up waiting.
                let _ = reply.send(());
            }
        }
    }
}
