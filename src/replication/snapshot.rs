//! Cutting the log, and members that start from a copy.
//!
//! The copy itself travels apart, as rows of the cold store: the `raft` crate never sends one. A leader names who needs one; the
//! host brings it there; the receiver installs what the copy stands for, and says by its commit index that it goes on behind it.

use std::collections::BTreeMap;

use bytes::Bytes;
use raft::StateRole;
use raft::eraftpb::{Snapshot, SnapshotMetadata};

use super::group::{Group, Refused};
use super::record::Membership;
use crate::broker::ids::NodeId;

/// What a copy stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// It holds what entries up to this one brought about; more does no harm.
    pub index: u64,
    /// The term of that entry.
    pub term: u64,
    /// Who belongs to the group, encoded.
    pub members: Bytes,
}

/// Copies on their way.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// As leader: to whom, and the entry behind which the log is kept for it.
    under_way: BTreeMap<NodeId, u64>,
    /// The same for copies that arrived: until the member answers, it is not known to have any entry.
    arrived: BTreeMap<NodeId, u64>,
    not_before_ms: BTreeMap<NodeId, u64>,
    /// As receiver: what was installed, and at which index of the node's log that is kept.
    pub(super) installing: Option<Installing>,
}

#[derive(Debug)]
pub(super) struct Installing {
    pub(super) index: u64,
    pub(super) members: Membership,
    /// The log index; none as long as it is not with the log.
    pub(super) log_index: Option<u64>,
    pub(super) is_told: bool,
}

impl Copies {
    /// What the copy stands for that a member gets, or has got and not caught up behind.
    fn index_of(&self, to: NodeId) -> Option<u64> {
        self.under_way.get(&to).or_else(|| self.arrived.get(&to)).copied()
    }

    pub(super) fn is_under_way(&self, to: NodeId) -> bool {
        self.under_way.contains_key(&to)
    }

    pub(super) fn failed(&mut self, to: NodeId, not_before_ms: u64) {
        if self.under_way.remove(&to).is_some() {
            self.not_before_ms.insert(to, not_before_ms);
        }
    }

    pub(super) fn begin(&mut self, to: NodeId, now_ms: u64) -> bool {
        let is_early = self.not_before_ms.get(&to).is_some_and(|not_before_ms| *not_before_ms > now_ms);
        if is_early || self.is_under_way(to) {
            return false;
        }
        self.not_before_ms.remove(&to);
        self.arrived.remove(&to);
        self.under_way.insert(to, 0);
        true
    }

    /// Nobody but a leader sends copies.
    pub(super) fn stop(&mut self) {
        self.under_way.clear();
        self.arrived.clear();
        self.not_before_ms.clear();
    }
}

impl Group {
    /// What a copy stands for that holds what entries up to `index` brought about, for a member that needs one.
    #[must_use]
    pub fn snapshot_meta(&self, index: u64) -> Option<SnapshotMeta> {
        let view = self.raw.store();
        let term = view.entries.term(index).filter(|_| index <= self.handed)?;
        let mut members = Vec::new();
        view.members.encode(&mut members);
        Some(SnapshotMeta { index, term, members: Bytes::from(members) })
    }

    /// A copy that stands for entries up to `index` goes to a member: what is behind is kept for it (see
    /// `GroupOptions::copy_lag_bytes_max`).
    pub fn snapshot_begun(&mut self, to: NodeId, index: u64) {
        if let Some(held) = self.copies.under_way.get_mut(&to) {
            *held = index;
        }
    }

    /// The member has it all.
    pub fn snapshot_done(&mut self, to: NodeId) {
        if let Some(held) = self.copies.under_way.get(&to) {
            self.copies.arrived.insert(to, *held);
        }
        // What it said before that must not make another one necessary.
        let not_before_ms = self.now_ms + 2 * self.options.election_ms();
        self.copies.failed(to, not_before_ms);
    }

    /// One of the two gave up; it is asked for again after a while.
    pub fn snapshot_failed(&mut self, to: NodeId) {
        self.copies.failed(to, self.now_ms + self.options.election_ms());
    }

    /// A member says that it needs a copy.
    pub(super) fn note_need(&self, from: NodeId) {
        let view = self.raw.store();
        let mut wanting = view.wanting.borrow_mut();
        let id = u64::from(from);
        let is_member = self.raw.raft.prs().get(id).is_some();
        if self.raw.raft.state == StateRole::Leader && is_member && !wanting.contains(&id) {
            wanting.push(id);
        }
    }

    /// Whether a copy that stands for entries up to `index` brings anything. One that does not must not begin to be taken in: it
    /// would make this member useless for a while. It counts as done.
    #[must_use]
    pub fn wants_copy(&self, index: u64) -> bool {
        self.restoring || index > self.handed
    }

    /// What this node has of the group is about to be replaced by a copy. The host has noted that durably: until
    /// [`restored`](Self::restored), also across restarts, this member neither stands for election nor acknowledges anything. It
    /// does vote: a leader may need its vote to be one, and be the only one to have a copy.
    ///
    /// # Errors
    /// When it leads.
    pub fn restore_begins(&mut self) -> Result<(), Refused> {
        match self.raw.raft.state {
            StateRole::Leader => return Err(Refused::NoSuch),
            StateRole::Candidate | StateRole::PreCandidate => {
                let term = self.term();
                self.raw.raft.become_follower(term, 0);
                self.align_timeout();
            }
            StateRole::Follower => {}
        }
        self.restoring = true;
        self.copies.installing = None;
        self.held.clear();
        Ok(())
    }

    /// The copy is complete, and durable. When the log has it, `Work::installed` names its index: then the host withdraws its
    /// note, and calls [`restored`](Self::restored).
    ///
    /// # Errors
    /// When none was begun, or it is of no use: the log begins behind it.
    pub fn install(&mut self, meta: &SnapshotMeta) -> Result<(), Refused> {
        let members = Membership::decode(&meta.members).ok_or(Refused::NoSuch)?;
        if !self.restoring || meta.index == 0 {
            return Err(Refused::NoSuch);
        }
        let log = &mut self.raw.raft.raft_log;
        let log_index = if meta.index <= log.committed || log.match_term(meta.index, meta.term) {
            if meta.index + 1 < log.first_index() {
                return Err(Refused::NoSuch);
            }
            log.commit_to(meta.index);
            Some(self.next_log_index - 1)
        } else {
            let mut snapshot = Snapshot::default();
            let mut metadata = SnapshotMetadata::default();
            (metadata.index, metadata.term) = (meta.index, meta.term);
            metadata.conf_state = Some(members.state.clone());
            snapshot.metadata = Some(metadata);
            if !self.raw.raft.restore(snapshot) {
                return Err(Refused::NoSuch);
            }
            None
        };
        self.copies.installing = Some(Installing { index: meta.index, members, log_index, is_told: false });
        Ok(())
    }

    /// The copy is in force, and the host's note withdrawn: this member takes part again. Entries behind the copy are handed out
    /// from here on.
    pub fn restored(&mut self) {
        let Some(installing) = self.copies.installing.take_if(|installing| installing.is_told) else {
            return;
        };
        self.restoring = false;
        self.handed = installing.index;
        self.applied = installing.index;
    }

    /// Whether a copy is being brought in.
    #[must_use]
    pub fn is_restoring(&self) -> bool {
        self.restoring
    }

    /// The host needs entries up to this one no more, not even after a restart. They are kept some while for members that lag.
    pub fn checkpointed(&mut self, index: u64) {
        let mut arrived = std::mem::take(&mut self.copies.arrived);
        arrived.retain(|node, _| !self.has_caught_up(u64::from(*node)));
        self.copies.arrived = arrived;
        let index = index.min(self.handed).min(self.raw.raft.raft_log.applied);
        let cut = self.cut_at(index);
        if cut > self.raw.store().entries.base().0 {
            self.raw.mut_store().entries.compact(cut);
        }
        self.states.is_due = true;
    }

    fn cut_at(&self, index: u64) -> u64 {
        if self.raw.raft.state != StateRole::Leader {
            return index;
        }
        let entries = &self.raw.store().entries;
        let others = self.raw.raft.prs().iter().filter(|(id, _)| **id != self.me());
        let needed = others.filter_map(|(id, progress)| {
            let node = NodeId::try_from(*id).ok().filter(|node| self.is_active(*node))?;
            let copied = self.copies.index_of(node);
            let (behind, bytes_max) = match copied {
                Some(copied) => (progress.matched.max(copied), self.options.copy_lag_bytes_max),
                None => (progress.matched, self.options.lag_bytes_max),
            };
            (entries.bytes_between(behind, index) <= bytes_max).then_some(behind)
        });
        needed.chain([index]).min().unwrap_or(index)
    }

    /// The group's records in the node's log below this index are not needed any more.
    #[must_use]
    pub fn needed_from(&self) -> u64 {
        match self.states.records.front() {
            Some((log_index, _)) if *log_index > self.synced => 0,
            Some((log_index, first_entry)) => (*log_index).min(*first_entry),
            None => self.next_log_index,
        }
    }
}
