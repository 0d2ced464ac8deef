//! Copies of the group's queues for members that lack more than the log still has.
//!
//! The leader makes a checkpoint and sends what the cold store has behind it, a few pieces ahead of what the other has taken.
//! The other notes durably that its queues are incomplete, deletes what it had, writes the pieces, and goes on from there.

use bytes::Bytes;

use super::GroupTask;
use super::leaving::Left;
use super::row::{GroupRow, RESTORING, STATE};
use crate::broker::ids::{GroupId, NodeId};
use crate::node::cluster::handle::Cluster;
use crate::node::cluster::inputs::GroupInput;
use crate::node::cluster::peer::{PeerMessage, SnapshotPiece};
use crate::node::tasks::snapshots::{Piece, RestoreLink, SnapshotLink};
use crate::replication::{SnapshotMeta, Work};
use crate::storage::{ColdBatch, SnapshotOf};

/// Pieces on their way to a member.
const AHEAD: u64 = 4;

/// Copies that are sent, and the one that is received.
#[derive(Default)]
pub(super) struct Copies {
    /// Who is to get one when the next checkpoint is done.
    wanted: Vec<NodeId>,
    sent: Vec<Sent>,
    received: Option<Received>,
    last_number: u64,
}

struct Sent {
    to: NodeId,
    number: u64,
    link: SnapshotLink,
    asked: u64,
    has_ended: bool,
}

struct Received {
    from: NodeId,
    number: u64,
    meta: SnapshotMeta,
    /// There is one when what was here before is gone.
    link: Option<RestoreLink>,
    pieces: u64,
}

/// What the cold store says of copies.
#[derive(Debug)]
pub(crate) enum CopyDone {
    /// A piece of the copy with this number was read.
    Read(u64, Piece),
    /// It is noted that the queues are incomplete.
    Noted(u64),
    /// A piece was written, or was none.
    Written(u64, bool),
    /// The copy is whole and durable, or is none.
    Whole(u64, bool),
    /// The note is withdrawn.
    Withdrawn(u64),
    /// The same for a copy that is not replaced: this node leaves the group.
    Left(Left),
}

impl Copies {
    /// Whether somebody waits for a checkpoint.
    pub(super) fn wait(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Somebody else leads.
    fn stop_sending(&mut self) {
        self.wanted.clear();
        self.sent.clear();
    }
}

impl GroupTask {
    /// Takes in what the group's work says of copies. The majority that makes this node lead may need one: it is sent of what
    /// the replica has then.
    pub(super) fn note_copies(&mut self, work: &mut Work) {
        self.copies.wanted.append(&mut work.wants_snapshot);
        if self.group.leader() != self.node {
            self.copies.stop_sending();
        }
        if work.installed.take().is_some() {
            let number = self.copies.received.as_ref().map_or(0, |received| received.number);
            let mailbox = std::sync::Arc::clone(&self.mailbox);
            self.cold.batch().delete_group(self.number, RESTORING);
            self.cold.send();
            self.cold.flush(move || mailbox.push(GroupInput::Copy(CopyDone::Withdrawn(number))));
        }
    }

    /// Whether what it has of the queues is incomplete.
    pub(super) fn is_restoring(&self) -> bool {
        self.group.is_restoring()
    }

    /// The store has everything up to this row: copies of that may be sent.
    pub(super) fn begin_copies(&mut self, row: &GroupRow) {
        for to in std::mem::take(&mut self.copies.wanted) {
            match self.group.snapshot_meta(row.applied) {
                Some(meta) => self.begin_copy(to, meta),
                None => self.group.snapshot_failed(to),
            }
        }
    }

    fn begin_copy(&mut self, to: NodeId, meta: SnapshotMeta) {
        let SnapshotMeta { index, term, members } = meta;
        self.copies.last_number += 1;
        // Those of another leader, or of another run, have other numbers.
        let number = self.group.term() << 24 | self.copies.last_number;
        self.group.snapshot_begun(to, index);
        let queues = self.entries.keys().map(|id| id.0).collect();
        let of = SnapshotOf { queues, group: self.number, names: vec![STATE] };
        let mailbox = std::sync::Arc::clone(&self.mailbox);
        let on_piece = move |piece| mailbox.push(GroupInput::Copy(CopyDone::Read(number, piece)));
        let link = self.cold.snapshot(of, on_piece);
        tracing::info!(group = self.number, to, index, "sends a copy of its queues");
        self.send_piece(to, SnapshotPiece::Begin { group: self.number, number, index, term, members });
        self.copies.sent.retain(|sent| sent.to != to);
        self.copies.sent.push(Sent { to, number, link, asked: 0, has_ended: false });
    }

    fn send_piece(&self, to: NodeId, piece: SnapshotPiece) {
        self.cluster.peers.send(to, PeerMessage::Snapshot(piece));
    }

    /// A node says something of a copy.
    pub(super) fn copy_piece(&mut self, from: NodeId, piece: SnapshotPiece) {
        match piece {
            SnapshotPiece::Begin { number, index, term, members, .. } => {
                self.begin_to_receive(from, number, SnapshotMeta { index, term, members });
            }
            SnapshotPiece::Rows { number, rows, .. } => self.receive(from, number, rows),
            SnapshotPiece::End { number, .. } => self.receive_end(from, number),
            SnapshotPiece::Taken { number, pieces, .. } => self.has_taken(from, number, pieces),
            SnapshotPiece::Done { number, .. } => {
                if self.end_sending(from, number) {
                    tracing::info!(group = self.number, to = from, "a copy has arrived");
                    self.group.snapshot_done(from);
                }
            }
            SnapshotPiece::Failed { number, .. } => {
                if self.end_sending(from, number) {
                    self.group.snapshot_failed(from);
                }
                self.copies.received.take_if(|received| received.from == from && received.number == number);
            }
        }
    }

    fn end_sending(&mut self, to: NodeId, number: u64) -> bool {
        let before = self.copies.sent.len();
        self.copies.sent.retain(|sent| sent.to != to || sent.number != number);
        self.copies.sent.len() < before
    }

    /// The other one has so many pieces: a few more are on their way to it.
    fn has_taken(&mut self, from: NodeId, number: u64, pieces: u64) {
        let sent = self.copies.sent.iter_mut().find(|sent| sent.to == from && sent.number == number);
        if let Some(sent) = sent.filter(|sent| !sent.has_ended) {
            while sent.asked < pieces.saturating_add(AHEAD) {
                sent.asked += 1;
                sent.link.next();
            }
        }
    }

    /// The link to a node is down.
    pub(super) fn copies_to_are_over(&mut self, node: NodeId) {
        self.copies.sent.retain(|sent| sent.to != node);
        self.copies.wanted.retain(|to| *to != node);
        self.copies.received.take_if(|received| received.from == node);
    }

    fn begin_to_receive(&mut self, from: NodeId, number: u64, meta: SnapshotMeta) {
        if !self.group.wants_copy(meta.index) {
            // It came late: what is here is as good, and must not go for it.
            return self.send_piece(from, SnapshotPiece::Done { group: self.number, number });
        }
        if self.leaving.is_some() || self.group.restore_begins().is_err() {
            return self.send_piece(from, SnapshotPiece::Failed { group: self.number, number });
        }
        tracing::info!(group = self.number, from, index = meta.index, "gets a copy of its queues");
        self.drop_queues();
        self.copies.received = Some(Received { from, number, meta, link: None, pieces: 0 });
        self.cold.batch().put_group(self.number, RESTORING, &[1]);
        self.cold.send();
        let mailbox = std::sync::Arc::clone(&self.mailbox);
        self.cold.flush(move || mailbox.push(GroupInput::Copy(CopyDone::Noted(number))));
    }

    fn receive(&mut self, from: NodeId, number: u64, rows: Bytes) {
        let Some(received) = self.copies.of(number).filter(|received| received.from == from) else { return };
        let Some(link) = &received.link else { return };
        let mailbox = std::sync::Arc::clone(&self.mailbox);
        link.write(rows, move |is_taken| {
            mailbox.push(GroupInput::Copy(CopyDone::Written(number, is_taken)));
        });
    }

    fn receive_end(&mut self, from: NodeId, number: u64) {
        let Some(received) = self.copies.of(number).filter(|received| received.from == from) else { return };
        let Some(link) = &received.link else { return };
        let mailbox = std::sync::Arc::clone(&self.mailbox);
        link.finish(move |is_whole| mailbox.push(GroupInput::Copy(CopyDone::Whole(number, is_whole))));
    }

    /// The cold store says something of a copy.
    pub(super) fn copied(&mut self, done: CopyDone) {
        match done {
            CopyDone::Read(number, piece) => self.pass_on(number, piece),
            CopyDone::Noted(number) => self.make_room(number),
            CopyDone::Written(number, true) => {
                let group = self.number;
                let Some(received) = self.copies.of(number) else { return };
                received.pieces += 1;
                let (to, pieces) = (received.from, received.pieces);
                self.send_piece(to, SnapshotPiece::Taken { group, number, pieces });
            }
            CopyDone::Whole(number, true) => {
                let Some(meta) = self.copies.of(number).map(|received| received.meta.clone()) else { return };
                if self.group.install(&meta).is_err() {
                    self.give_up(number);
                }
            }
            CopyDone::Written(number, false) | CopyDone::Whole(number, false) => self.give_up(number),
            CopyDone::Left(left) => self.has_left(left),
            CopyDone::Withdrawn(number) => {
                self.group.restored();
                if let Some(received) = self.copies.received.take_if(|received| received.number == number) {
                    let piece = SnapshotPiece::Done { group: self.number, number };
                    self.send_piece(received.from, piece);
                }
                if !self.is_restoring() {
                    self.read_store();
                }
            }
        }
    }

    fn pass_on(&mut self, number: u64, piece: Piece) {
        let group = self.number;
        let Some(sent) = self.copies.sent.iter_mut().find(|sent| sent.number == number) else { return };
        let to = sent.to;
        let piece = match piece {
            Piece::Rows(rows) => SnapshotPiece::Rows { group, number, rows },
            Piece::End => {
                sent.has_ended = true;
                SnapshotPiece::End { group, number }
            }
            Piece::Failed(reason) => {
                tracing::error!(group, to, reason, "a copy cannot be read");
                self.end_sending(to, number);
                self.group.snapshot_failed(to);
                SnapshotPiece::Failed { group, number }
            }
        };
        self.send_piece(to, piece);
    }

    /// What is here goes, now that a restart would know that it is incomplete.
    fn make_room(&mut self, number: u64) {
        if self.copies.of(number).is_none() {
            return;
        }
        self.entries.keys().for_each(|id| self.cold.delete_queue(*id));
        self.cold.batch().delete_group(self.number, STATE);
        self.cold.send();
        self.delete_remains();
        let link = self.cold.restore();
        let group = self.number;
        let Some(received) = self.copies.of(number) else { return };
        received.link = Some(link);
        let to = received.from;
        self.send_piece(to, SnapshotPiece::Taken { group, number, pieces: 0 });
    }

    /// What an earlier copy has left that was cut off: queues of which this node has not heard, and which it knows by their
    /// numbers. (Of a queue that was declared here the store is told when it goes.)
    pub(super) fn delete_remains(&self) {
        let (group, groups) = (u64::from(self.number), u64::from(self.cluster.placement.groups));
        let mut number = self.shared.topology().next_queue().0;
        self.cold.behind(move |store| {
            let mut batch = ColdBatch::new();
            while let Some(found) = store.queue_from(number)? {
                if 1 + found % groups.max(1) == group {
                    batch.delete_queue_all(found);
                }
                number = found.saturating_add(1);
            }
            store.write(batch)
        });
    }

    /// A copy is of no use; another one will come.
    fn give_up(&mut self, number: u64) {
        if let Some(received) = self.copies.received.take_if(|received| received.number == number) {
            let piece = SnapshotPiece::Failed { group: self.number, number };
            self.send_piece(received.from, piece);
        }
    }
}

impl Copies {
    /// What comes in is of no use any more.
    pub(super) fn refuse_received(&mut self, group: GroupId, cluster: &Cluster) {
        if let Some(Received { from, number, .. }) = self.received.take() {
            let piece = SnapshotPiece::Failed { group, number };
            cluster.peers.send(from, PeerMessage::Snapshot(piece));
        }
    }

    fn of(&mut self, number: u64) -> Option<&mut Received> {
        self.received.as_mut().filter(|received| received.number == number)
    }
}
