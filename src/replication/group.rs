//! A member's part in a group.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use raft::{Config, RawNode, StateRole};

use super::entries::Entries;
use super::lease::{Lease, Promise};
use super::members::Target;
use super::options::GroupOptions;
use super::record::shard_of;
use super::snapshot::Copies;
use super::stored::Stored;
use super::view::View;
use crate::broker::ids::NodeId;
use crate::storage::StorageError;
use crate::storage::log::ReadableLog;

/// A member of a group, or a node that may become one: no I/O, no clock.
///
/// The task that owns it calls [`tick`](Self::tick) every tick, tells it what happens, and after that calls
/// [`work`](Self::work) and carries out what comes out of it, in this order: appends to the node's log, messages,
/// committed entries, the role.
pub struct Group {
    pub(super) options: GroupOptions,
    pub(super) raw: RawNode<View>,
    pub(super) next_log_index: u64,
    /// The node's log is synced up to this index of the group.
    pub(super) synced: u64,
    pub(super) states: StateRecords,
    /// What the `raft` crate waits to hear of: its number, and the log index at which it is kept.
    pub(super) unsynced: VecDeque<(u64, u64)>,
    /// Messages that leave when the log is synced up to an index.
    pub(super) held: VecDeque<(u64, NodeId, Bytes)>,
    /// Data of entries that the `raft` crate has not handed over to be kept yet: index, term, data.
    pub(super) incoming: Vec<(u64, u64, Bytes)>,
    /// Entries up to this one were handed out as committed.
    pub(super) handed: u64,
    /// Entries up to this one may be.
    pub(super) ready: u64,
    pub(super) applied: u64,
    pub(super) role: Role,
    /// The role that was last told.
    pub(super) role_told: Role,
    pub(super) lease: Lease,
    pub(super) promise: Promise,
    /// The term in which a member was told to take over at once.
    pub(super) relinquished: u64,
    pub(super) led_term: u64,
    pub(super) restoring: bool,
    /// The host takes no committed entries for now.
    pub(super) holds: bool,
    pub(super) copies: Copies,
    pub(super) target: Option<Target>,
    /// Nodes that may take themselves for members.
    pub(super) outsiders: BTreeSet<NodeId>,
    /// See `State::floor`.
    pub(super) floor: (u64, u64),
    /// This node is no member any more.
    pub(super) is_dismissed: bool,
    /// Nodes whose process is gone.
    pub(super) dead: BTreeSet<NodeId>,
    pub(super) campaign_at_ms: Option<u64>,
    pub(super) stalled: bool,
    pub(super) heard_ms: BTreeMap<NodeId, u64>,
    pub(super) now_ms: u64,
    pub(super) ticked_ms: u64,
    pub(super) draws: Draws,
    pub(super) failure: Option<StorageError>,
}

/// What a node is to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Role {
    /// Not a member, as far as it knows.
    #[default]
    Outside,
    /// Follows, or would if there were a leader.
    Follower,
    /// Leads, and was handed everything that was committed before. Another term is another leadership: between them it was none.
    Leader {
        /// Since when.
        term: u64,
    },
}

/// What becomes of the link to another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It works.
    Up,
    /// It does not.
    Down,
    /// And the node's process is gone for certain.
    Dead,
}

/// Why a group does not do what it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// This member does not lead.
    NotLeader,
    /// Too much is not committed yet.
    Full,
    /// Leadership is on its way to another member.
    Transferring,
    /// It is no voter, or there is no such entry.
    NoSuch,
    /// It was planned from members that are not those of the group any more, or another change is under way.
    Outdated,
}

/// Where the group's state is in the log.
#[derive(Debug, Default)]
pub(super) struct StateRecords {
    /// It must be written again.
    pub(super) is_due: bool,
    /// Entries in front of it will be void.
    pub(super) resets: bool,
    /// The term and vote that were written.
    pub(super) written: (u64, u64),
    /// Records written: log index, and from where on entries are needed beside them. The first is synced, or none is.
    pub(super) records: VecDeque<(u64, u64)>,
}

impl StateRecords {
    /// The log index of the last one.
    pub(super) fn last(&self) -> u64 {
        self.records.back().map_or(0, |(log_index, _)| *log_index)
    }
}

/// Election timeouts that a seed decides.
#[derive(Debug, Default)]
pub(super) struct Draws {
    seen: (u64, u8),
    count: u64,
    pub(super) timeout: usize,
}

impl Draws {
    /// Draws again when the term or the role is another one than before.
    pub(super) fn look(&mut self, options: &GroupOptions, term: u64, state: StateRole) -> usize {
        let seen = (term, state as u8);
        if seen != self.seen || self.timeout == 0 {
            self.seen = seen;
            self.count += 1;
            let node = u64::from(options.node) << 32 | u64::from(options.group);
            let number = mix(options.seed ^ mix(node) ^ mix(self.count) ^ term);
            let range = options.election_ticks as u64;
            self.timeout = options.election_ticks + usize::try_from(number % range).unwrap_or(0);
        }
        self.timeout
    }
}

/// The finalizer of SplitMix64.
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

impl Group {
    /// A group as a restart found it.
    ///
    /// # Errors
    /// When the settings or what was found make no sense.
    pub fn new(
        options: GroupOptions,
        stored: Stored,
        log: Arc<dyn ReadableLog>,
        now_ms: u64,
    ) -> Result<Self, StorageError> {
        let shard = shard_of(options.group);
        let is_new = stored.state_log_index == 0;
        let hard_state = stored.hard_state();
        let (base, last) = (stored.found.base_index, stored.found.last_index());
        let entries = Entries::new(shard, log, stored.found);
        let first_entry = entries.first_log_index().unwrap_or(u64::MAX);
        let floor = stored.state.floor;
        let view = View::new(entries, hard_state, stored.state.members);
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&config(&options, base), view, &logger)
            .map_err(|problem| StorageError::entry(shard, stored.next_log_index, problem.to_string()))?;
        // Whom it promised its vote before a restart is forgotten, that it may have done so is not.
        let promise = Promise::new(0, now_ms + options.election_ms());
        let states = StateRecords {
            is_due: is_new && last > 0,
            written: (stored.state.term, stored.state.vote),
            records: (!is_new).then_some((stored.state_log_index, first_entry)).into_iter().collect(),
            ..StateRecords::default()
        };
        let mut group = Self {
            options,
            raw,
            next_log_index: stored.next_log_index.max(1),
            synced: stored.next_log_index.saturating_sub(1),
            states,
            unsynced: VecDeque::new(),
            held: VecDeque::new(),
            incoming: Vec::new(),
            handed: stored.applied.clamp(base, last),
            ready: base,
            applied: stored.applied,
            role: Role::Outside,
            role_told: Role::Outside,
            lease: Lease::default(),
            promise,
            relinquished: 0,
            led_term: 0,
            restoring: stored.restoring,
            holds: false,
            copies: Copies::default(),
            target: None,
            outsiders: BTreeSet::new(),
            floor,
            is_dismissed: false,
            dead: BTreeSet::new(),
            campaign_at_ms: None,
            stalled: false,
            heard_ms: BTreeMap::new(),
            now_ms,
            ticked_ms: now_ms,
            draws: Draws::default(),
            failure: None,
        };
        group.align_timeout();
        if group.is_sole_voter() {
            group.campaign(now_ms);
        }
        Ok(group)
    }

    /// Adds data to the group's log; says under which index. It counts when it comes back as committed.
    ///
    /// Refused for the reasons that [`can_propose`](Self::can_propose) tells.
    ///
    /// # Errors
    /// When this member does not lead, or takes nothing for the moment.
    pub fn propose(&mut self, data: impl Into<Bytes>) -> Result<u64, Refused> {
        self.can_propose()?;
        self.refill_budget();
        self.raw.propose(Vec::new(), Vec::new()).map_err(|_| Refused::NotLeader)?;
        let index = self.raw.raft.raft_log.last_index();
        self.incoming.push((index, self.raw.raft.term, data.into()));
        self.limit_inflight();
        Ok(index)
    }

    /// Whether a proposal made now is taken, whatever its size.
    ///
    /// # Errors
    /// As for [`propose`](Self::propose).
    pub fn can_propose(&self) -> Result<(), Refused> {
        if !self.leads() {
            Err(Refused::NotLeader)
        } else if self.raw.raft.lead_transferee.is_some() {
            Err(Refused::Transferring)
        } else if self.uncommitted_bytes() >= self.options.uncommitted_bytes_max {
            Err(Refused::Full)
        } else {
            Ok(())
        }
    }

    /// Bytes of entries that are not committed.
    #[must_use]
    pub fn uncommitted_bytes(&self) -> u64 {
        let entries = &self.raw.store().entries;
        let kept = entries.bytes_between(self.commit(), entries.last_index());
        kept + self.incoming.iter().map(|(.., data)| data.len() as u64).sum::<u64>()
    }

    /// What this node is to the group.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether this member leads, and was handed all that was committed before.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader { .. })
    }

    /// It leads in its role, and has not lost that since it was told so.
    pub(super) fn leads(&self) -> bool {
        let raft = &self.raw.raft;
        raft.state == StateRole::Leader && self.role == Role::Leader { term: raft.term }
    }

    /// Who leads, as far as this member knows; 0: nobody.
    #[must_use]
    pub fn leader(&self) -> NodeId {
        NodeId::try_from(self.raw.raft.leader_id).unwrap_or(0)
    }

    /// The current term.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.raw.raft.term
    }

    /// Entries up to this one are committed.
    #[must_use]
    pub fn commit(&self) -> u64 {
        self.raw.raft.raft_log.committed
    }

    /// The last entry, committed or not.
    #[must_use]
    pub fn last_index(&self) -> u64 {
        self.raw.raft.raft_log.last_index()
    }

    /// The first entry that the log still has, or will have.
    #[must_use]
    pub fn first_index(&self) -> u64 {
        self.raw.store().entries.base().0 + 1
    }

    /// Entries up to this one were handed out as committed.
    #[must_use]
    pub fn handed(&self) -> u64 {
        self.handed
    }

    /// Bytes of recent entries in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.raw.store().entries.recent_bytes()
    }

    /// Until when nobody else leads for certain; 0 when that is not known. Asked for again in every round, behind
    /// [`work`](Self::work) and before its messages are sent: it may end early.
    #[must_use]
    pub fn lease_until_ms(&self, now_ms: u64) -> u64 {
        if !self.leads() || self.raw.raft.lead_transferee.is_some() || self.stalled {
            return 0;
        }
        if self.is_sole_voter() {
            return u64::MAX;
        }
        if self.relinquished == self.term() {
            return 0;
        }
        // A tick less: the first one may come right behind the heartbeat; a tenth less: clocks differ.
        let length_ms = (self.options.election_ms() - self.options.tick_ms) * 9 / 10;
        let members = &self.raw.store().members.state;
        let sent_ms = self.lease.answered_by_majority_ms(self.me(), members, now_ms);
        sent_ms.map(|sent_ms| sent_ms + length_ms).filter(|until_ms| *until_ms > now_ms).unwrap_or(0)
    }

    /// The host has applied entries up to this one.
    pub fn applied(&mut self, index: u64) {
        self.applied = index.min(self.handed);
    }

    /// Entries behind this one are to be handed out again: the host begins again from what it had kept of them.
    pub fn rewind(&mut self, applied: u64) {
        self.handed = applied.clamp(self.first_index() - 1, self.handed.max(self.first_index() - 1));
        self.applied = self.handed;
    }

    /// Whether the host takes no committed entries for now: work hands out none, and no lead begins as long as there are some.
    pub fn hold_committed(&mut self, holds: bool) {
        self.holds = holds;
    }

    /// When the next tick is due; none as long as the passing of time changes nothing.
    #[must_use]
    pub fn next_tick_ms(&self) -> Option<u64> {
        let is_alone = self.is_sole_voter() && self.is_leader() && self.raw.raft.prs().iter().count() == 1;
        let rests = is_alone || self.raw.raft.prs().iter().all(|(id, _)| *id != self.me());
        (!rests).then(|| self.ticked_ms + self.options.tick_ms)
    }

    pub(super) fn me(&self) -> u64 {
        u64::from(self.options.node)
    }

    /// Whether this member alone decides.
    #[must_use]
    pub fn is_sole_voter(&self) -> bool {
        let members = &self.raw.store().members.state;
        members.voters == [self.me()] && members.voters_outgoing.is_empty()
    }

    /// The `raft` crate draws its timeouts at random: replaces them by those of the seed.
    pub(super) fn align_timeout(&mut self) {
        let raft = &mut self.raw.raft;
        let timeout = self.draws.look(&self.options, raft.term, raft.state);
        if raft.randomized_election_timeout() != timeout {
            raft.set_randomized_election_timeout(timeout);
        }
        if raft.state == StateRole::Leader && self.led_term != raft.term {
            self.led_term = raft.term;
            self.lease.begin(raft.term);
            // A leader's first entry, by which it finds out what is committed.
            self.incoming.push((raft.raft_log.last_index(), raft.term, Bytes::new()));
        }
    }

    pub(super) fn refill_budget(&self) {
        self.raw.store().budget_bytes.set(self.options.inflight_bytes_max);
    }
}

fn config(options: &GroupOptions, base: u64) -> Config {
    Config {
        id: u64::from(options.node),
        election_tick: options.election_ticks,
        heartbeat_tick: options.heartbeat_ticks,
        min_election_tick: options.election_ticks,
        max_election_tick: options.election_ticks * 2,
        // Entries without data cost nothing, so it goes over all it has; what the host has applied is skipped here.
        applied: base,
        max_size_per_msg: options.message_bytes_max,
        max_inflight_msgs: options.inflight_messages_max,
        check_quorum: true,
        pre_vote: true,
        max_committed_size_per_ready: 1 << 20,
        ..Config::default()
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group")
            .field("group", &self.options.group)
            .field("node", &self.options.node)
            .field("role", &self.role)
            .field("term", &self.term())
            .field("commit", &self.commit())
            .field("last", &self.last_index())
            .finish_non_exhaustive()
    }
}
