//! Who belongs to the group, how far each has come, and changing it.
//!
//! A node comes in as a learner, gets what it lacks, and only then votes; voters change together, through a state in which both
//! the old and the new ones must agree (joint consensus). A leader that is to go hands over first.

use std::collections::BTreeSet;

use bytes::Bytes;
use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState};
use raft::{Progress, ProgressState};
use serde::{Deserialize, Serialize};

use super::group::{Group, Refused};
use super::record::Membership;
use crate::broker::ids::NodeId;

/// A learner is far enough to vote when it lacks less than this.
const LAG_BYTES_MAX: u64 = 1 << 20;

/// The members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Their majority decides. In order.
    pub voters: Vec<NodeId>,
    /// They get everything and decide nothing. In order.
    pub learners: Vec<NodeId>,
    /// A change is under way that needs majorities of the old and of the new voters.
    pub is_changing: bool,
    /// The entry that made them the members.
    pub version: u64,
}

/// Who is to belong to the group, and which members that was planned from.
///
/// Whoever plans sees the group from outside, maybe late or in part: so a voter goes only when it is named, and nothing is
/// done when the members are not those any more that the plan is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct MembersChange {
    /// [`Members::version`] of the members that it was planned from.
    pub from: u64,
    /// Their majority is to decide.
    pub voters: Vec<NodeId>,
    /// They are to get everything and decide nothing.
    pub learners: Vec<NodeId>,
    /// Members that are to be voters no longer, or to go. Those of them that are not named as learners go.
    pub leaving: Vec<NodeId>,
}

impl Members {
    /// The change from these to others: who is not among them leaves.
    #[must_use]
    pub fn change_to(&self, voters: &[NodeId], learners: &[NodeId]) -> MembersChange {
        let members = self.voters.iter().chain(&self.learners);
        let leaving = members.filter(|node| !voters.contains(node)).copied().collect();
        MembersChange { from: self.version, voters: voters.to_vec(), learners: learners.to_vec(), leaving }
    }
}

/// How far a member has come, as the leader knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberProgress {
    /// Which node.
    pub node: NodeId,
    /// Whether it counts for majorities.
    pub is_voter: bool,
    /// It has synced entries up to this one.
    pub matched: u64,
    /// Entries it lacks.
    pub lag_entries: u64,
    /// Bytes of these.
    pub lag_bytes: u64,
    /// It was heard of lately.
    pub is_active: bool,
    /// It is active and lacks nothing but what is on its way.
    pub is_in_sync: bool,
    /// A copy of everything is on its way to it.
    pub gets_snapshot: bool,
}

/// Who is to belong to the group.
#[derive(Clone, Debug, Default)]
pub(super) struct Target {
    voters: BTreeSet<u64>,
    learners: BTreeSet<u64>,
    leaving: BTreeSet<u64>,
}

impl Group {
    /// Who belongs to the group, as far as this node knows.
    #[must_use]
    pub fn members(&self) -> Members {
        let Membership { index, state } = &self.raw.store().members;
        let learners = [&state.learners[..], &state.learners_next[..]].concat();
        Members {
            voters: in_order(&state.voters),
            learners: in_order(&learners),
            is_changing: !state.voters_outgoing.is_empty(),
            version: *index,
        }
    }

    /// How far the members have come, in order; empty when this member does not lead.
    #[must_use]
    pub fn member_progress(&self) -> Vec<MemberProgress> {
        if !self.leads() {
            return Vec::new();
        }
        let mut all: Vec<_> =
            self.raw.raft.prs().iter().filter_map(|(id, _)| self.progress_of(*id)).collect();
        all.sort_unstable_by_key(|member| member.node);
        all
    }

    fn progress_of(&self, id: u64) -> Option<MemberProgress> {
        let progress = self.raw.raft.prs().get(id)?;
        let node = NodeId::try_from(id).ok()?;
        let last = self.last_index();
        let lag_bytes = self.raw.store().entries.bytes_between(progress.matched, last);
        let is_me = id == self.me();
        let is_active = is_me || self.is_active(node);
        let gets_snapshot = self.copies.is_under_way(node);
        let follows = self.keeps_up(progress);
        Some(MemberProgress {
            node,
            is_voter: is_voter(&self.raw.store().members.state, id),
            matched: progress.matched,
            lag_entries: last.saturating_sub(progress.matched),
            lag_bytes,
            is_active,
            is_in_sync: is_me || (is_active && follows && !gets_snapshot),
            gets_snapshot,
        })
    }

    /// These are to be the members; `true`: they are. Otherwise the change goes on step by step as long as this member leads;
    /// asking again, of the leader of the day, does no harm.
    ///
    /// # Errors
    /// When this member does not lead, nobody would be left to vote, a voter is neither kept nor named as leaving, or the members
    /// are others than those that it was planned from.
    pub fn set_members(&mut self, change: &MembersChange) -> Result<bool, Refused> {
        if !self.leads() {
            return Err(Refused::NotLeader);
        }
        let Membership { index, state } = &self.raw.store().members;
        if change.from != *index || !state.voters_outgoing.is_empty() || self.raw.raft.has_pending_conf() {
            return Err(Refused::Outdated);
        }
        let target = Target::of(change, state);
        if target.voters.is_empty() || target.voters.contains(&0) || !target.names_all_of(&state.voters) {
            return Err(Refused::NoSuch);
        }
        self.target = Some(target);
        self.drive_members();
        Ok(self.target.is_none())
    }

    /// The next step of a change.
    pub(super) fn drive_members(&mut self) {
        let raft = &self.raw.raft;
        if !self.leads() || raft.lead_transferee.is_some() || raft.has_pending_conf() {
            return;
        }
        let state = &self.raw.store().members.state;
        if !state.voters_outgoing.is_empty() {
            self.propose_change(ConfChangeV2::default());
            return;
        }
        let Some(target) = self.target.clone() else { return };
        let step = self.next_step(state, &target);
        match step {
            Step::Done => self.target = None,
            Step::Wait => {}
            Step::Change(changes) => self.propose_change(change(changes)),
            Step::HandOver(to) => self.raw.transfer_leader(to),
        }
    }

    /// Whether a change of the members is wanted, proposed or half done here.
    #[cfg(test)]
    pub(crate) fn is_changing(&self) -> bool {
        let Membership { index, state } = &self.raw.store().members;
        let is_proposed = self.raw.store().entries.last_change() > *index;
        self.target.is_some() || is_proposed || !state.voters_outgoing.is_empty()
    }

    fn next_step(&self, state: &ConfState, target: &Target) -> Step {
        let voters: BTreeSet<_> = state.voters.iter().copied().collect();
        let learners: BTreeSet<_> = state.learners.iter().copied().collect();
        if voters == target.voters && learners == target.learners {
            return Step::Done;
        }
        let wanted = target.voters.union(&target.learners);
        let new: Vec<_> = wanted.filter(|node| !voters.contains(node) && !learners.contains(node)).collect();
        if !new.is_empty() {
            return Step::Change(
                new.into_iter().map(|node| single(*node, ConfChangeType::AddLearnerNode)).collect(),
            );
        }
        if target.voters.difference(&voters).any(|node| !self.has_caught_up(*node)) {
            return Step::Wait;
        }
        let mut future = target.voters.clone();
        if !future.contains(&self.me()) {
            if let Some(best) = self.best_of(target.voters.intersection(&voters)) {
                return Step::HandOver(best);
            }
            future.insert(self.me());
        }
        let mut changes = Vec::new();
        for node in voters.union(&learners) {
            let kind = match (future.contains(node), target.learners.contains(node)) {
                (true, _) if voters.contains(node) => continue,
                (true, _) => ConfChangeType::AddNode,
                (false, true) if learners.contains(node) => continue,
                (false, true) => ConfChangeType::AddLearnerNode,
                (false, false) => ConfChangeType::RemoveNode,
            };
            changes.push(single(*node, kind));
        }
        if changes.is_empty() || !self.may_become(&voters, &future, target) {
            return Step::Wait;
        }
        Step::Change(changes)
    }

    /// Only who is named goes, and a majority of those that are left has everything.
    fn may_become(&self, voters: &BTreeSet<u64>, future: &BTreeSet<u64>, target: &Target) -> bool {
        let ready = future.iter().filter(|node| **node == self.me() || self.has_caught_up(**node)).count();
        voters.difference(future).all(|node| target.leaving.contains(node)) && ready > future.len() / 2
    }

    fn best_of<'a>(&self, nodes: impl Iterator<Item = &'a u64>) -> Option<u64> {
        let known = nodes.filter_map(|node| NodeId::try_from(*node).ok());
        known.filter(|node| self.is_active(*node)).max_by_key(|node| self.matched(*node)).map(u64::from)
    }

    pub(super) fn has_caught_up(&self, id: u64) -> bool {
        let Some(progress) = self.raw.raft.prs().get(id) else { return false };
        NodeId::try_from(id).is_ok_and(|node| self.is_active(node)) && self.keeps_up(progress)
    }

    /// Who has everything is sent nothing after a lost link, so the leader goes on probing it until the next entry.
    fn keeps_up(&self, progress: &Progress) -> bool {
        let last = self.last_index();
        let lag_bytes = self.raw.store().entries.bytes_between(progress.matched, last);
        progress.matched == last || (progress.state == ProgressState::Replicate && lag_bytes < LAG_BYTES_MAX)
    }

    fn propose_change(&mut self, change: ConfChangeV2) {
        self.refill_budget();
        if self.raw.propose_conf_change(Vec::new(), change).is_ok() {
            // In case the crate makes an empty entry of it.
            self.incoming.push((self.last_index(), self.term(), Bytes::new()));
        }
    }

    pub(super) fn is_member(&self) -> bool {
        let state = &self.raw.store().members.state;
        let lists = [&state.voters, &state.learners, &state.voters_outgoing, &state.learners_next];
        lists.iter().any(|list| list.contains(&self.me()))
    }
}

impl Target {
    /// Learners of which nothing is said stay.
    fn of(change: &MembersChange, state: &ConfState) -> Self {
        let of = |nodes: &[NodeId]| nodes.iter().map(|node| u64::from(*node)).collect::<BTreeSet<_>>();
        let (voters, leaving) = (of(&change.voters), of(&change.leaving));
        let staying = state.learners.iter().copied().filter(|node| !leaving.contains(node));
        let mut learners = of(&change.learners);
        learners.extend(staying);
        learners.retain(|node| !voters.contains(node));
        Self { voters, learners, leaving }
    }

    fn names_all_of(&self, voters: &[u64]) -> bool {
        voters.iter().all(|node| self.voters.contains(node) || self.leaving.contains(node))
    }
}

enum Step {
    Done,
    Wait,
    Change(Vec<ConfChangeSingle>),
    HandOver(u64),
}

fn single(node: u64, kind: ConfChangeType) -> ConfChangeSingle {
    let mut single = ConfChangeSingle { node_id: node, ..ConfChangeSingle::default() };
    single.set_change_type(kind);
    single
}

/// Several at once only through the state in which both sides agree; this leader ends that state.
fn change(changes: Vec<ConfChangeSingle>) -> ConfChangeV2 {
    let several = changes.len() > 1;
    let mut change = ConfChangeV2 { changes, ..ConfChangeV2::default() };
    if several {
        change.set_transition(ConfChangeTransition::Explicit);
    }
    change
}

fn is_voter(state: &ConfState, id: u64) -> bool {
    state.voters.contains(&id) || state.voters_outgoing.contains(&id)
}

fn in_order(ids: &[u64]) -> Vec<NodeId> {
    let mut nodes: Vec<_> = ids.iter().filter_map(|id| NodeId::try_from(*id).ok()).collect();
    nodes.sort_unstable();
    nodes
}
