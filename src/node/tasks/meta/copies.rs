//! Copies of everything that is declared, for members that lack too much of the group's log.
//!
//! A copy is small enough for memory. It travels in pieces, is put in place of what the receiver had as one batch of the cold
//! store, and counts when that is durable. Until then, also behind a restart, a note says that the group's log does not fit.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::effects::Effects;
use super::group::MetaGroup;
use crate::broker::ids::{META_GROUP, NodeId};
use crate::broker::topology::{Change, Outcome, Row, RowKey};
use crate::node::cluster::meta::{MetaAnswer, MetaState};
use crate::node::cluster::peer::{PeerMessage, SnapshotPiece};
use crate::node::links::MetaInput;
use crate::node::shared::META_SHARD;
use crate::replication::SnapshotMeta;

const PIECE_BYTES: usize = 256 * 1024;
/// Pieces on their way.
const AHEAD: u64 = 16;

#[derive(Debug, Default)]
pub(super) struct Copies {
    next_number: u64,
    outgoing: BTreeMap<NodeId, Outgoing>,
    incoming: Option<Incoming>,
    arrived: Option<Arrived>,
    /// A note says that the group's log does not fit the rows.
    is_noted: bool,
}

#[derive(Debug)]
struct Outgoing {
    number: u64,
    bytes: Bytes,
    sent: u64,
}

#[derive(Debug)]
struct Incoming {
    from: NodeId,
    number: u64,
    meta: SnapshotMeta,
    bytes: Vec<u8>,
    pieces: u64,
}

/// A copy that is complete.
#[derive(Debug)]
struct Arrived {
    from: NodeId,
    number: u64,
    meta: SnapshotMeta,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// It waits until the log has all rows so far: they must be in the store before the copy is.
    Waits(Vec<Row>),
    /// The store makes it durable.
    Stores,
    /// The group's log begins behind it.
    Counts,
    /// The note is withdrawn when the log has this index.
    Ends(u64),
}

impl Copies {
    pub(super) fn new(is_noted: bool) -> Self {
        Self { is_noted, ..Self::default() }
    }
}

impl MetaGroup {
    pub(super) fn begin_copy(&mut self, to: NodeId) {
        let index = self.state.applied();
        let Some(meta) = self.group.snapshot_meta(index) else { return self.group.snapshot_failed(to) };
        self.group.snapshot_begun(to, index);
        let bytes = Bytes::from(self.state.snapshot(&self.shared.topology()));
        self.copies.next_number += 1;
        let number = self.copies.next_number;
        tracing::info!(to, index, bytes = bytes.len(), "a node gets a copy of all declarations");
        let SnapshotMeta { index, term, members } = meta;
        let begin = SnapshotPiece::Begin { group: META_GROUP, number, index, term, members };
        self.send_piece(to, begin);
        self.copies.outgoing.insert(to, Outgoing { number, bytes, sent: 0 });
        self.send_pieces(to, 0);
    }

    fn send_piece(&self, to: NodeId, piece: SnapshotPiece) {
        self.cluster.peers.send(to, PeerMessage::Snapshot(piece));
    }

    fn send_pieces(&mut self, to: NodeId, taken: u64) {
        let Some(outgoing) = self.copies.outgoing.get_mut(&to) else { return };
        let (number, group) = (outgoing.number, META_GROUP);
        let mut pieces = Vec::new();
        while outgoing.sent < taken + AHEAD {
            outgoing.sent += 1;
            if outgoing.bytes.is_empty() {
                pieces.push(SnapshotPiece::End { group, number });
                outgoing.sent = u64::MAX;
            } else {
                let rows = outgoing.bytes.split_to(PIECE_BYTES.min(outgoing.bytes.len()));
                pieces.push(SnapshotPiece::Rows { group, number, rows });
            }
        }
        pieces.into_iter().for_each(|piece| self.send_piece(to, piece));
    }

    fn takes_out(&mut self, to: NodeId, number: u64) -> bool {
        let is_it = self.copies.outgoing.get(&to).is_some_and(|outgoing| outgoing.number == number);
        is_it && self.copies.outgoing.remove(&to).is_some()
    }

    pub(super) fn copy_piece(&mut self, from: NodeId, piece: SnapshotPiece) {
        match piece {
            SnapshotPiece::Begin { number, index, term, members, .. } => {
                // Out of the buffer that it came in.
                let members = Bytes::copy_from_slice(&members);
                let meta = SnapshotMeta { index, term, members };
                self.copies.incoming = Some(Incoming { from, number, meta, bytes: Vec::new(), pieces: 0 });
            }
            SnapshotPiece::Rows { number, rows, .. } => {
                let Some(incoming) = self.incoming(from, number) else { return };
                incoming.bytes.extend_from_slice(&rows);
                incoming.pieces += 1;
                let pieces = incoming.pieces;
                self.send_piece(from, SnapshotPiece::Taken { group: META_GROUP, number, pieces });
            }
            SnapshotPiece::End { number, .. } => {
                if self.incoming(from, number).is_some()
                    && let Some(incoming) = self.copies.incoming.take()
                {
                    self.has_arrived(incoming);
                }
            }
            SnapshotPiece::Taken { number, pieces, .. } => {
                if self.copies.outgoing.get(&from).is_some_and(|outgoing| outgoing.number == number) {
                    self.send_pieces(from, pieces);
                }
            }
            SnapshotPiece::Done { number, .. } => {
                if self.takes_out(from, number) {
                    self.group.snapshot_done(from);
                }
            }
            SnapshotPiece::Failed { number, .. } => {
                if self.takes_out(from, number) {
                    self.group.snapshot_failed(from);
                }
                if self.incoming(from, number).is_some() {
                    self.copies.incoming = None;
                }
            }
        }
    }

    fn incoming(&mut self, from: NodeId, number: u64) -> Option<&mut Incoming> {
        self.copies.incoming.as_mut().filter(|incoming| (incoming.from, incoming.number) == (from, number))
    }

    fn has_arrived(&mut self, incoming: Incoming) {
        let Incoming { from, number, meta, bytes, .. } = incoming;
        let failed = SnapshotPiece::Failed { group: META_GROUP, number };
        // A late one must not make what is here useless.
        if !self.group.wants_copy(meta.index) {
            return self.send_piece(from, SnapshotPiece::Done { group: META_GROUP, number });
        }
        // One after the other.
        if self.copies.arrived.is_some() {
            return self.send_piece(from, failed);
        }
        match MetaState::snapshot_rows(&bytes) {
            Ok(rows) if self.group.restore_begins().is_ok() => {
                self.copies.arrived = Some(Arrived { from, number, meta, stage: Stage::Waits(rows) });
            }
            Ok(_) | Err(_) => self.send_piece(from, failed),
        }
    }

    /// Goes on with a copy that has arrived.
    pub(super) fn go_on_copying(&mut self) {
        let Some(arrived) = &mut self.copies.arrived else { return };
        match &mut arrived.stage {
            Stage::Waits(rows) if self.synced >= self.index => {
                let rows = std::mem::take(rows);
                let number = arrived.number;
                arrived.stage = Stage::Stores;
                if !self.put_in_place(rows, number) {
                    self.give_up();
                }
            }
            Stage::Ends(index) if self.synced >= *index => {
                self.group.restored();
                self.copies.is_noted = false;
                if let Some(Arrived { from, number, .. }) = self.copies.arrived.take() {
                    self.send_piece(from, SnapshotPiece::Done { group: META_GROUP, number });
                }
            }
            Stage::Waits(_) | Stage::Stores | Stage::Counts | Stage::Ends(_) => {}
        }
    }

    /// What the copy says takes the place of what this node knew.
    fn put_in_place(&mut self, rows: Vec<Row>, number: u64) -> bool {
        let kept: BTreeSet<RowKey> = rows.iter().map(Row::key).collect();
        let Ok((state, mut after)) = MetaState::from_rows(self.cluster.placement, rows.clone()) else {
            return false;
        };
        self.cold.send_up_to(self.index);
        let (shared, cluster) = (self.shared.clone(), self.cluster.clone());
        let mut topology = shared.topology_mut();
        let gone = topology.rows().into_iter().chain(self.state.rows());
        gone.map(|row| row.key()).filter(|key| !kept.contains(key)).for_each(|key| {
            self.cold.batch().delete_meta(&key.0);
        });
        for row in rows.iter().chain([&MetaState::restoring_row()]) {
            self.cold.batch().put_meta(&row.key().0, &row.value());
        }
        // What the log has of rows is older than this.
        self.cold.batch().put_applied(META_SHARD, self.index);
        self.cold.send();
        let told = self.shared.clone();
        self.cold.flush(move || told.meta.push(MetaInput::Installed(number)));
        after.follow(&topology);
        let mut effects = Effects { shared: &shared, cluster: &cluster, for_groups: &mut self.for_groups };
        effects.replace(&topology, &after);
        self.state = state;
        self.spread.changed(self.state.applied());
        self.tell_groups();
        shared.set_version(after.version());
        *topology = after;
        drop(topology);
        self.copies.is_noted = true;
        self.members_changed();
        self.answer_from_copy();
        true
    }

    /// What took place meanwhile is answered by what is still known of it.
    fn answer_from_copy(&mut self) {
        for number in self.proposals.numbers() {
            let Some(answer) = self.state.answer(self.origin, number).cloned() else { continue };
            let MetaAnswer { created, queue, .. } = answer.clone().unwrap_or_default();
            let queue = queue.and_then(|id| self.shared.topology().queue_by_id(id).cloned());
            self.answer(number, answer, Outcome { queue, created, ..Outcome::default() }, None);
        }
    }

    /// The store has it.
    pub(super) fn copy_is_durable(&mut self, number: u64) {
        let Some(arrived) = self.copies.arrived.as_mut().filter(|arrived| arrived.number == number) else {
            return;
        };
        match self.group.install(&arrived.meta) {
            Ok(()) => arrived.stage = Stage::Counts,
            Err(_) => self.give_up(),
        }
    }

    /// The group's log begins behind it: the note may go.
    pub(super) fn copy_counts(&mut self) {
        self.keep(&[Change::Delete(MetaState::restoring_row().key())]);
        if let Some(arrived) = &mut self.copies.arrived {
            arrived.stage = Stage::Ends(self.index);
        }
    }

    /// Another copy is needed.
    fn give_up(&mut self) {
        if let Some(Arrived { from, number, .. }) = self.copies.arrived.take() {
            self.send_piece(from, SnapshotPiece::Failed { group: META_GROUP, number });
        }
    }

    /// Who does not lead sends no copies.
    pub(super) fn copies_are_over(&mut self) {
        for (to, Outgoing { number, .. }) in std::mem::take(&mut self.copies.outgoing) {
            self.send_piece(to, SnapshotPiece::Failed { group: META_GROUP, number });
            self.group.snapshot_failed(to);
        }
    }

    pub(super) fn copies_with_are_over(&mut self, node: NodeId) {
        if self.copies.outgoing.remove(&node).is_some() {
            self.group.snapshot_failed(node);
        }
        self.copies.incoming.take_if(|incoming| incoming.from == node);
    }
}
