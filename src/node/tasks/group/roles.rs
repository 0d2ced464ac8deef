//! Leads that begin and end, and what this node has of the queues then.

use std::sync::Arc;

use super::attaching::Attaching;
use super::leader::Leader;
use super::replica::Replica;
use super::row::{GroupRow, STATE};
use super::{GroupTask, Read, Stage, links, tell_gateway};
use crate::broker::ids::{NODES_MAX, NodeId, QueueId};
use crate::node::cluster::inputs::{GatewayInput, GroupInput};
use crate::node::cluster::peer::PeerMessage;
use crate::node::recover::restore_queue;
use crate::replication::Role;
use crate::storage::{ColdStore, StorageError};

impl GroupTask {
    /// Has of the queues what its role asks for.
    pub(super) fn change_stage(&mut self, meta_index: u64) {
        match &self.stage {
            Stage::Waits(needed) if *needed <= meta_index && !self.is_restoring() => self.read_store(),
            Stage::Waits(_) | Stage::Reads => {}
            Stage::Replica(replica) => {
                // What is committed in front of the lead was handed out before it began.
                if let Role::Leader { term } = self.group.role()
                    && !replica.is_behind()
                    && replica.row.applied >= self.group.commit()
                {
                    self.begin_lead(term);
                }
            }
            Stage::Leader(leader) => {
                if self.group.role() != (Role::Leader { term: leader.term }) {
                    self.end_lead();
                }
            }
        }
    }

    fn begin_lead(&mut self, term: u64) {
        let Stage::Replica(replica) = std::mem::replace(&mut self.stage, Stage::Reads) else { return };
        let taken_over = replica.take_over(&self.entries, self.now_ms);
        #[cfg(test)]
        let taken_over = self.with_planted(taken_over);
        let others: Vec<_> = self.reachable().collect();
        let attaching = Attaching::new(others.iter().copied().chain([self.node]).collect(), self.now_ms);
        let leader = Leader::new(Arc::clone(&self.shared), self.number, term, taken_over, attaching);
        #[cfg(test)]
        let leader = leader.with_planted(self.planted);
        self.stage = Stage::Leader(Box::new(leader));
        self.checkpoints.are_over();
        tracing::info!(group = self.number, term, queues = self.entries.len(), "leads");
        self.tell_leader((self.node, term));
        others.into_iter().for_each(|node| self.tell_node(node));
    }

    fn reachable(&self) -> impl Iterator<Item = NodeId> {
        (1..NODES_MAX).filter(|node| *node != self.node && self.cluster.peers.is_up(*node))
    }

    #[cfg(test)]
    fn with_planted(&self, mut taken_over: super::replica::TakenOver) -> super::replica::TakenOver {
        if self.planted.forgets_sessions {
            taken_over.row.table = crate::node::cluster::session::SessionTable::default();
        }
        taken_over
    }

    /// What was not committed may come to nothing: the replica begins again from what is certain.
    pub(super) fn end_lead(&mut self) {
        let Stage::Leader(leader) = std::mem::replace(&mut self.stage, Stage::Reads) else { return };
        tracing::info!(group = self.number, term = leader.term, "leads no more");
        leader.end(&mut self.out);
        self.tell_answers();
        self.checkpoints.are_over();
        self.tell_leader((0, self.group.term()));
        self.read_store();
    }

    fn tell_leader(&mut self, leader: (NodeId, u64)) {
        self.told_leader = leader;
        tell_gateway(&self.cluster, self.number, GatewayInput::Leader(leader.0, leader.1));
    }

    /// Tells a node that this one leads, if it does.
    pub(super) fn tell_node(&mut self, node: NodeId) {
        if let Stage::Leader(leader) = &self.stage {
            self.group.greet(node);
            self.cluster.peers.send(node, PeerMessage::Leads(vec![(self.number, leader.term)]));
        }
    }

    /// Has the cold store read, behind everything that was handed over to it.
    pub(super) fn read_store(&mut self) {
        self.stage = Stage::Reads;
        self.reading += 1;
        let (number, group, meta_index) = (self.reading, self.number, self.meta_index);
        let queues: Vec<_> = self.entries.keys().copied().collect();
        let mailbox = Arc::clone(&self.mailbox);
        self.cold.behind(move |store| {
            let (row, queues) = read(store, group, &queues)?;
            mailbox.push(GroupInput::Read(Box::new(Read { number, meta_index, row, queues })));
            Ok(())
        });
    }

    /// The cold store was read.
    pub(super) fn has_read(&mut self, read: Read) {
        if read.number != self.reading || !matches!(self.stage, Stage::Reads) {
            return;
        }
        if read.row.meta_index > read.meta_index {
            // It holds queues that were not declared here yet when it was read.
            self.stage = Stage::Waits(read.row.meta_index);
            return;
        }
        let Read { row, mut queues, .. } = read;
        queues.retain_mut(|(id, queue)| {
            let entry = self.entries.get(id);
            entry.map(|entry| queue.set_options(crate::node::tasks::shard::options_of(entry))).is_some()
        });
        if row.applied + 1 < self.group.first_index() && self.group.first_index() > FIRST_INDEX {
            return self.fail(&missing(self.number, row.applied));
        }
        self.group.rewind(row.applied);
        let replica = Replica::new(row, queues, links(&self.cold), self.shared.share_bytes());
        self.stage = Stage::Replica(Box::new(replica));
    }
}

/// The first entry that a group's log has when it begins: what the members have at this moment needs none.
const FIRST_INDEX: u64 = 2;

type Found = (GroupRow, Vec<(QueueId, crate::broker::queue::Queue)>);

fn read(store: &ColdStore, group: u16, queues: &[QueueId]) -> Result<Found, StorageError> {
    let row = match store.get_group(group, STATE)? {
        Some(row) => GroupRow::decode(&row).ok_or_else(|| damaged(group))?,
        None => GroupRow::default(),
    };
    let mut found = Vec::new();
    for id in queues {
        let row = store.queue_row(id.0)?;
        if row.is_none() && store.chunks(id.0).next().is_none() {
            continue;
        }
        found.push((*id, restore_queue(store, id.0, row.as_deref())?));
    }
    Ok((row, found))
}

fn missing(group: u16, applied: u64) -> StorageError {
    let reason = format!("group {group}: the entries behind {applied} are in neither store nor log");
    StorageError::Cold { action: "read", reason }
}

fn damaged(group: u16) -> StorageError {
    StorageError::Cold { action: "read", reason: format!("the row of group {group} is malformed") }
}
