//! The meta task of a node in a cluster: a member of the group that orders declarations.
//!
//! Whatever changes is proposed to the group's leader, and takes place on every node when the group has committed it, in the
//! order of its log. The asker hears of it from its own node.
//!
//! Nothing here looks at a clock or waits, but for [`MetaGroup::run`]: a simulation calls [`MetaGroup::round`].

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::asks::Asks;
use super::copies::Copies;
use super::effects::ForGroups;
use super::nodes::Nodes;
use super::proposals::{Proposals, Reply};
use super::proposing::PAUSE_MS;
use super::spread::Spread;
use crate::broker::ids::{META_GROUP, NodeId, Run};
use crate::broker::topology::{Change, Outcome};
use crate::node::alarm::Alarm;
use crate::node::cluster::handle::Cluster;
use crate::node::cluster::meta::{MetaState, Origin};
use crate::node::cluster::peer::PeerMessage;
use crate::node::links::MetaInput;
use crate::node::shared::{META_SHARD, Shared};
use crate::node::tasks::cold::ColdLink;
use crate::node::tasks::shard::record;
use crate::protocol::error::Refusal;
use crate::replication::{Group, GroupOptions, Role, Stored, Work};
use crate::storage::log::ReadableLog;
use crate::storage::{Append, StorageError};

/// What the node does when the group cannot go on.
pub(crate) type OnFailure = Box<dyn Fn(&StorageError) + Send>;

/// What the task begins with.
pub(crate) struct Start {
    pub(crate) shared: Arc<Shared>,
    pub(crate) cluster: Arc<Cluster>,
    /// Of [`META_GROUP`].
    pub(crate) options: GroupOptions,
    pub(crate) stored: Stored,
    pub(crate) log: Arc<dyn ReadableLog>,
    pub(crate) cold: ColdLink,
    /// What the rows say beside the topology.
    pub(crate) state: MetaState,
    /// The state is not in the rows yet: this node founds the cluster.
    pub(crate) is_founded: bool,
    pub(crate) run: Run,
    /// The last log index of [`META_SHARD`].
    pub(crate) index: u64,
    pub(crate) on_failure: OnFailure,
}

/// The task.
pub(crate) struct MetaGroup {
    pub(super) shared: Arc<Shared>,
    pub(super) cluster: Arc<Cluster>,
    pub(super) origin: Origin,
    pub(super) group: Group,
    log: Arc<dyn ReadableLog>,
    pub(super) cold: ColdLink,
    pub(super) state: MetaState,
    /// The last log index given out for rows, and up to where the log has them.
    pub(super) index: u64,
    pub(super) synced: u64,
    /// The same for the group's records.
    group_index: u64,
    group_synced: u64,
    /// Up to which index of the group the rows say that they are.
    kept: u64,
    pub(super) proposals: Proposals,
    /// What other nodes ask for: who, under which number, and entries.
    pub(super) forwarded: Vec<(NodeId, u64, Bytes)>,
    /// The leader is not asked before.
    pub(super) pause_until_ms: u64,
    /// Who leads as others say, and in which term.
    pub(super) heard_leader: (NodeId, u64),
    pub(super) asked_leader: (NodeId, u64),
    pub(super) asks: Asks,
    pub(super) for_groups: ForGroups,
    /// The groups were told of the declarations up to here.
    told: u64,
    pub(super) copies: Copies,
    pub(super) nodes: Nodes,
    pub(super) spread: Spread,
    checkpoints: Vec<(u64, oneshot::Sender<u64>)>,
    /// What the last checkpoint has of the group's log.
    checkpointed: u64,
    flushed: Vec<(u64, oneshot::Sender<u64>)>,
    tick_ms: u64,
    on_failure: OnFailure,
    has_failed: bool,
    alarm: Alarm,
    work: Work,
    inputs: Vec<MetaInput>,
    pub(super) now_ms: u64,
}

impl MetaGroup {
    /// The group as a restart found it.
    ///
    /// # Errors
    /// When what was found makes no sense.
    pub(crate) fn new(start: Start, now_ms: u64) -> Result<Self, StorageError> {
        let origin = Origin { node: start.cluster.placement.node, run: start.run };
        let group_index = start.stored.next_log_index().saturating_sub(1);
        let tick_ms = start.options.tick_ms;
        let group = Group::new(start.options, start.stored, Arc::clone(&start.log), now_ms)?;
        let applied = start.state.applied();
        start.cluster.set_members(start.state.members.clone());
        start.cluster.set_meta_index(applied);
        let mut meta = Self {
            shared: start.shared,
            cluster: start.cluster,
            origin,
            group,
            log: start.log,
            cold: start.cold,
            copies: Copies::new(start.state.is_restoring()),
            state: start.state,
            index: start.index,
            synced: start.index,
            group_index,
            group_synced: group_index,
            kept: applied,
            proposals: Proposals::new(origin),
            forwarded: Vec::new(),
            pause_until_ms: 0,
            heard_leader: (0, 0),
            asked_leader: (0, 0),
            asks: Asks::default(),
            for_groups: ForGroups::default(),
            told: applied,
            nodes: Nodes::default(),
            spread: Spread::default(),
            checkpoints: Vec::new(),
            checkpointed: 0,
            flushed: Vec::new(),
            tick_ms,
            on_failure: start.on_failure,
            has_failed: false,
            alarm: Alarm::default(),
            work: Work::default(),
            inputs: Vec::new(),
            now_ms,
        };
        if start.is_founded {
            let rows = meta.shared.topology().rows().into_iter().chain(meta.state.rows());
            let changes: Vec<_> = rows.map(Change::Put).collect();
            meta.keep(&changes);
        }
        meta.say_up();
        Ok(meta)
    }

    /// Runs until the node's runtime ends.
    pub(crate) async fn run(mut self) {
        loop {
            self.wait().await;
            let now_ms = self.shared.clock.now_ms();
            self.round(now_ms);
            tokio::task::consume_budget().await;
        }
    }

    async fn wait(&mut self) {
        let due_ms = self.next_due_ms();
        let due = due_ms.map(|due_ms| self.shared.clock.instant_of(due_ms));
        poll_fn(|cx| {
            let is_filled = self.shared.meta.poll_filled(cx).is_ready();
            if self.asks.poll(cx).is_ready() || is_filled {
                return Poll::Ready(());
            }
            self.alarm.poll(due, cx)
        })
        .await;
    }

    /// When a round is due although nothing comes in, Unix milliseconds.
    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        if self.has_failed {
            return None;
        }
        let pause_ms = self.proposals.has_unsent().then_some(self.pause_until_ms);
        let times = [
            self.next_tick_ms(),
            self.proposals.next_due_ms(),
            self.asks.next_due_ms(),
            pause_ms.filter(|until_ms| *until_ms > self.now_ms),
            self.nodes.next_due_ms(),
            self.spread.next_due_ms(),
        ];
        times.into_iter().flatten().min()
    }

    /// A member alone in its group has nobody to tell that it is there, and nobody to miss.
    fn next_tick_ms(&self) -> Option<u64> {
        let is_alone = self.group.is_leader() && self.group.members().voters == [self.origin.node];
        (!is_alone || self.group.member_progress().len() > 1).then_some(self.now_ms + self.tick_ms)
    }

    /// Does all that is to be done now.
    pub(crate) fn round(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        let mut inputs = std::mem::take(&mut self.inputs);
        self.shared.meta.take(&mut inputs);
        for input in inputs.drain(..) {
            self.handle(input);
        }
        self.inputs = inputs;
        if self.has_failed {
            return;
        }
        self.group.tick(self.now_ms);
        self.hear_owners();
        self.look_after_nodes();
        self.proposals.look(self.now_ms);
        self.send_proposals();
        self.carry_out();
        self.go_on_copying();
        self.carry_out();
        self.tell_groups();
        self.spread();
        self.hand_over_rows();
    }

    fn handle(&mut self, input: MetaInput) {
        match input {
            MetaInput::Peer(from, message) => self.hear(from, message),
            MetaInput::Link(node, state) => self.link(node, state),
            MetaInput::Apply(command, reply) => self.ask(*command, reply),
            MetaInput::DeleteQueue(request, reply) => self.ask_to_delete(request, reply),
            MetaInput::Drop(id, idle_since_ms) => self.ask_to_drop(id, idle_since_ms),
            MetaInput::Propose(command, reply) => {
                self.proposals.add(*command, Reply::Answer(reply), false, self.now_ms);
            }
            MetaInput::Control(control) => self.control(control),
            MetaInput::Synced(index) => {
                self.synced = self.synced.max(index);
                self.shared.meta_is_synced(index);
            }
            MetaInput::GroupSynced(index) => {
                self.group_synced = self.group_synced.max(index);
                self.group.synced(index);
            }
            MetaInput::Checkpoint(reply) => self.begin_checkpoint(reply),
            MetaInput::Flushed(reply) => {
                self.group.checkpointed(self.checkpointed);
                // The next work writes the group's state anew; what is in front of that may go then.
                self.flushed.push((self.group_index + 1, reply));
            }
            MetaInput::Installed(number) => self.copy_is_durable(number),
        }
    }

    fn hear(&mut self, from: NodeId, message: PeerMessage) {
        match message {
            PeerMessage::Raft(_, messages) => {
                for message in messages {
                    if self.group.step(from, &message, self.now_ms).is_err() {
                        tracing::debug!(from, "a message that no member of the meta group sends");
                    }
                }
            }
            PeerMessage::Propose(number, entries) => self.forwarded.push((from, number, entries)),
            PeerMessage::NotProposed(_, leader) => {
                if leader != 0 && leader != self.origin.node {
                    self.heard_leader.0 = leader;
                }
                self.pause_until_ms = self.now_ms + PAUSE_MS;
                self.proposals.ask_again();
            }
            PeerMessage::Leads(leads) => {
                for (_, term) in leads {
                    if term >= self.heard_leader.1 {
                        self.heard_leader = (from, term);
                    }
                }
            }
            PeerMessage::Snapshot(piece) => self.copy_piece(from, piece),
            PeerMessage::Declared(declared) => self.hear_declared(from, declared),
            PeerMessage::Forward(_)
            | PeerMessage::Answers(_)
            | PeerMessage::Ask(..)
            | PeerMessage::Answer(..) => {}
        }
    }

    /// Does what the group wants done, and takes in what it has committed.
    pub(super) fn carry_out(&mut self) {
        let mut work = std::mem::take(&mut self.work);
        loop {
            work.clear();
            self.group.work(self.now_ms, &mut work);
            if let Some(failure) = work.failure.take() {
                self.fail(&failure);
                break;
            }
            if let Some(last) = work.appends.last() {
                self.group_index = last.index;
                self.log.append(std::mem::take(&mut work.appends));
            }
            self.cluster.send_raft(META_GROUP, &mut work.messages);
            for committed in work.committed.drain(..) {
                self.apply(committed.index, &committed.data);
            }
            self.group.applied(self.state.applied());
            if let Some(role) = work.role {
                self.has_role(role);
            }
            work.wants_snapshot.drain(..).for_each(|node| self.begin_copy(node));
            if work.installed.is_some() {
                self.copy_counts();
            }
            if !work.more || self.has_failed {
                break;
            }
        }
        self.work = work;
    }

    fn has_role(&mut self, role: Role) {
        match role {
            Role::Leader { term } => {
                tracing::info!(term, "this node orders the declarations of the cluster");
                for node in self.state.members.nodes.keys().filter(|node| **node != self.origin.node) {
                    self.cluster.peers.send(*node, PeerMessage::Leads(vec![(META_GROUP, term)]));
                }
            }
            Role::Follower | Role::Outside => self.copies_are_over(),
        }
    }

    /// Logs rows that come and go, all or nothing of them, and hands them to the store when the log has them.
    pub(super) fn keep(&mut self, changes: &[Change]) {
        let mut payload = Vec::new();
        for change in changes {
            change.encode(&mut payload);
            match change {
                Change::Put(row) => self.cold.batch().put_meta(&row.key().0, &row.value()),
                Change::Delete(key) => self.cold.batch().delete_meta(&key.0),
            }
        }
        self.index += 1;
        self.kept = self.state.applied();
        let (head, body) = (payload, Bytes::new());
        let append = Append { shard: META_SHARD, index: self.index, kind: record::ROWS, head, body };
        self.log.append(vec![append]);
        self.cold.hold(self.index);
    }

    /// The store must never be ahead of the log: what that loses would be there in parts.
    fn hand_over_rows(&mut self) {
        self.cold.send_up_to(self.synced);
        let (synced, group_synced) = (self.synced, self.group_synced);
        for (index, reply) in self.checkpoints.extract_if(.., |(index, _)| *index <= synced) {
            let _ = reply.send(index);
        }
        let needed_from = self.group.needed_from();
        for (_, reply) in self.flushed.extract_if(.., |(index, _)| *index <= group_synced) {
            let _ = reply.send(needed_from.saturating_sub(1));
        }
    }

    fn begin_checkpoint(&mut self, reply: oneshot::Sender<u64>) {
        if self.kept != self.state.applied() {
            // The group's own entries change no rows, but the log must not begin behind what these say.
            self.keep(&[Change::Put(self.state.applied_row())]);
        }
        self.checkpointed = self.state.applied();
        self.checkpoints.push((self.index, reply));
    }

    pub(super) fn tell_groups(&mut self) {
        let applied = self.state.applied();
        if applied != self.told {
            self.told = applied;
            self.for_groups.tell(&self.cluster, applied);
        }
    }

    pub(super) fn fail(&mut self, error: &StorageError) {
        if !std::mem::replace(&mut self.has_failed, true) {
            (self.on_failure)(error);
        }
    }

    /// An asker hears what came of its command.
    pub(super) fn answer(
        &mut self,
        number: u64,
        answer: Result<crate::node::cluster::meta::MetaAnswer, Refusal>,
        outcome: Outcome,
        recalled: Option<oneshot::Receiver<()>>,
    ) -> bool {
        let Some(reply) = self.proposals.take(number, self.now_ms) else { return false };
        match recalled {
            Some(done) => self.asks.recall(done, reply, outcome, self.now_ms),
            None => self.answer_when_spread(reply, answer, outcome),
        }
        true
    }

    #[cfg(test)]
    pub(crate) fn is_sole_voter(&self) -> bool {
        self.group.is_sole_voter()
    }

    /// Rows for a test to compare.
    #[cfg(test)]
    pub(crate) fn rows(&self) -> Vec<crate::broker::topology::Row> {
        self.shared.topology().rows().into_iter().chain(self.state.rows()).collect()
    }
}
