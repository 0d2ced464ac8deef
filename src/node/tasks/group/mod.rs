//! A group of nodes that owns queues, on one node: member or not, leader or not.
//!
//! The task drives the group's consensus (`replication`) and does with the queues what that says: as a member it replays the
//! entries that are committed, as the leader it runs a shard whose records become entries. When a lead begins, the queues of
//! the replica begin to work; when it ends, all that may come to nothing is forgotten, and the replica is built anew from the
//! cold store and the entries behind it.
//!
//! - `replica`, `leader`: the two ways to have the group's queues
//! - `entry`: what one entry holds; `row`: what the cold store knows of the group
//! - `attaching`: consumers that come back to a new leader
//! - `held`: what sessions are told, as long as it may come to nothing
//! - `inputs`: what others ask for; `roles`: leads that begin and end
//! - `leaving`: it is no member any more
//! - `checkpoints`: everything to the cold store, so that the log can go; `copies`: the same for a member that lacks too much
//! - `status`: how it stands
//!
//! Nothing here looks at a clock or waits, but for [`GroupTask::run`]: a simulation calls [`GroupTask::round`].

mod attaching;
mod checkpoints;
pub(crate) mod copies;
mod entry;
mod held;
mod inputs;
mod leader;
mod leaving;
mod replica;
mod roles;
pub(crate) mod row;
mod status;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::oneshot;

use self::checkpoints::Checkpoints;
use self::copies::Copies;
use self::held::Told;
use self::leader::Leader;
use self::leaving::Leaving;
use self::replica::{Entries, Replica};
use self::row::GroupRow;
use crate::broker::ids::{GroupId, NodeId, QueueId};
use crate::broker::queue::Queue;
use crate::broker::topology::QueueEntry;
use crate::node::alarm::Alarm;
use crate::node::cluster::forward::Owner;
use crate::node::cluster::handle::Cluster;
use crate::node::cluster::inputs::{GatewayInput, GroupInput};
use crate::node::cluster::peer::PeerMessage;
use crate::node::links::ShardInput;
use crate::node::mailbox::Mailbox;
use crate::node::shared::Shared;
use crate::node::tasks::cold::ColdLink;
use crate::replication::{Group, GroupOptions, Stored, Work};
use crate::storage::StorageError;
use crate::storage::log::ReadableLog;

/// How soon it is looked again for declarations that others know already.
const LOOK_AGAIN_MS: u64 = 5;

/// What the node does when a group cannot go on.
pub(crate) type OnFailure = Box<dyn Fn(&StorageError) + Send>;

/// One group on this node.
pub(crate) struct GroupTask {
    shared: Arc<Shared>,
    cluster: Arc<Cluster>,
    number: GroupId,
    node: NodeId,
    tick_ms: u64,
    group: Group,
    log: Arc<dyn ReadableLog>,
    /// For what belongs to the group as a whole; its queues have a link of their own.
    cold: ColdLink,
    mailbox: Arc<Mailbox<GroupInput>>,
    entries: Entries,
    stage: Stage,
    /// Ascends with each reading of the store: what an earlier one found is of no use.
    reading: u64,
    /// Queues that are declared up to this index of the meta group are among the entries.
    meta_index: u64,
    /// The leader that was told last, and its term.
    told_leader: (NodeId, u64),
    checkpoints: Checkpoints,
    copies: Copies,
    /// This node leaves the group.
    leaving: Option<Leaving>,
    greet_at_ms: u64,
    /// The last index of the group's records that the log was given, and up to which it has synced them.
    last_append: u64,
    log_synced: u64,
    on_failure: OnFailure,
    has_failed: bool,
    /// Declarations that sessions need to be known.
    forwards_need: u64,
    stops: VecDeque<oneshot::Sender<()>>,
    stop_by_ms: Option<u64>,
    alarm: Alarm,
    work: Work,
    out: Vec<Told>,
    inputs: Vec<GroupInput>,
    now_ms: u64,
    #[cfg(test)]
    pub(crate) planted: Planted,
}

/// Faults that a simulation must find.
#[cfg(test)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Planted {
    /// A lead begins without what is known of sessions.
    pub(crate) forgets_sessions: bool,
    /// What is not committed is told.
    pub(crate) tells_early: bool,
}

/// What the task has of the queues.
enum Stage {
    /// Nothing: the cold store is to be read when declarations up to this index are known.
    Waits(u64),
    /// Nothing yet: it is being read.
    Reads,
    Replica(Box<Replica>),
    Leader(Box<Leader>),
}

/// What was found in the cold store.
#[derive(Debug)]
pub(crate) struct Read {
    number: u64,
    /// Queues that were declared behind this index of the meta group were not looked for.
    meta_index: u64,
    row: GroupRow,
    queues: Vec<(QueueId, Queue)>,
}

/// What a group's task begins with.
pub(crate) struct Start {
    pub(crate) shared: Arc<Shared>,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) options: GroupOptions,
    pub(crate) stored: Stored,
    pub(crate) log: Arc<dyn ReadableLog>,
    pub(crate) cold: ColdLink,
    /// The group's queues, as far as they are declared.
    pub(crate) queues: Vec<Arc<QueueEntry>>,
    /// Declarations up to this index of the meta group must be known to read the group's queues: see [`GroupRow`].
    pub(crate) meta_index: u64,
    pub(crate) on_failure: OnFailure,
}

impl GroupTask {
    /// A group as a restart found it.
    ///
    /// # Errors
    /// When what was found makes no sense, or there is no such group.
    pub(crate) fn new(start: Start, now_ms: u64) -> Result<Self, StorageError> {
        let (number, node) = (start.options.group, start.options.node);
        let tick_ms = start.options.tick_ms.max(1);
        let mailbox = start.cluster.group(number).cloned().ok_or_else(|| no_such_group(number))?;
        let group = Group::new(start.options, start.stored, Arc::clone(&start.log), now_ms)?;
        Ok(Self {
            shared: start.shared,
            cluster: start.cluster,
            number,
            node,
            tick_ms,
            group,
            log: start.log,
            cold: start.cold,
            mailbox,
            entries: start.queues.into_iter().map(|entry| (entry.id, entry)).collect(),
            stage: Stage::Waits(start.meta_index),
            reading: 0,
            meta_index: 0,
            told_leader: (0, 0),
            checkpoints: Checkpoints::default(),
            copies: Copies::default(),
            leaving: None,
            greet_at_ms: 0,
            last_append: 0,
            log_synced: 0,
            on_failure: start.on_failure,
            has_failed: false,
            forwards_need: 0,
            stops: VecDeque::new(),
            stop_by_ms: None,
            alarm: Alarm::default(),
            work: Work::default(),
            out: Vec::new(),
            inputs: Vec::new(),
            now_ms,
            #[cfg(test)]
            planted: Planted::default(),
        })
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
        let due_ms = self.next_due_ms(self.shared.clock.now_ms());
        if due_ms == Some(0) {
            return tokio::task::yield_now().await;
        }
        let due = due_ms.map(|due_ms| self.shared.clock.instant_of(due_ms));
        poll_fn(|cx| {
            let mut is_ready = self.mailbox.poll_filled(cx).is_ready();
            match &mut self.stage {
                Stage::Leader(leader) => {
                    is_ready |= leader.mailbox.poll_filled(cx).is_ready();
                    is_ready |= leader.sessions.poll(cx).is_ready();
                }
                Stage::Replica(replica) => is_ready |= replica.mailbox.poll_filled(cx).is_ready(),
                Stage::Waits(_) | Stage::Reads => {}
            }
            if is_ready { Poll::Ready(()) } else { self.alarm.poll(due, cx) }
        })
        .await;
    }

    /// Does all that is to be done now.
    pub(crate) fn round(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        // Before the inputs: what is known up to here is among them.
        let meta_index = self.cluster.meta_index();
        let mut inputs = std::mem::take(&mut self.inputs);
        self.mailbox.take(&mut inputs);
        for input in inputs.drain(..) {
            self.handle(input);
        }
        self.inputs = inputs;
        self.meta_index = meta_index;
        if self.has_failed {
            return;
        }
        self.group.tick(now_ms);
        self.carry_out();
        self.change_stage(meta_index);
        self.go_on(meta_index);
        // A replica may have come to where its lead begins.
        self.change_stage(meta_index);
        self.work_on_checkpoint();
        self.go_on_leaving();
        self.greet_outsiders();
        self.carry_out();
        self.tell_answers();
        self.release_log();
        self.go_on_stopping();
    }

    /// One round of what it has of the queues.
    fn go_on(&mut self, meta_index: u64) {
        let result = match &mut self.stage {
            Stage::Waits(_) | Stage::Reads => Ok(()),
            Stage::Replica(replica) => {
                let result = replica.round(&self.entries, meta_index, self.now_ms);
                self.group.applied(replica.row.applied);
                result
            }
            Stage::Leader(leader) => {
                leader.round(&mut self.group, meta_index, self.now_ms, &mut self.out);
                Ok(())
            }
        };
        if let Err(error) = result {
            self.fail(&error);
        }
    }

    /// Does what the group wants done, and takes in what it has committed.
    fn carry_out(&mut self) {
        let mut work = std::mem::take(&mut self.work);
        loop {
            let is_behind = match &self.stage {
                Stage::Waits(_) | Stage::Reads => true,
                Stage::Replica(replica) => replica.is_behind(),
                Stage::Leader(_) => false,
            };
            self.group.hold_committed(is_behind);
            work.clear();
            self.group.work(self.now_ms, &mut work);
            if let Some(failure) = work.failure.take() {
                self.fail(&failure);
                break;
            }
            if let Some(last) = work.appends.last() {
                self.last_append = last.index;
                self.log.append(std::mem::take(&mut work.appends));
            }
            // Told before the messages: one of them may end the lead.
            self.release_held();
            self.cluster.send_raft(self.number, &mut work.messages);
            self.take_committed(&mut work);
            self.note_copies(&mut work);
            if work.dismissed {
                self.dismissed();
            }
            if !work.more || is_behind {
                break;
            }
        }
        self.work = work;
    }

    fn take_committed(&mut self, work: &mut Work) {
        match &mut self.stage {
            Stage::Waits(_) | Stage::Reads => {}
            Stage::Replica(replica) => replica.take(work.committed.drain(..)),
            Stage::Leader(leader) => {
                // Entries of another term are another leader's, and may stand where those of this one did.
                let own = work.committed.iter().rev().find(|entry| entry.term == leader.term);
                if let Some(own) = own {
                    leader.committed(own.index);
                    self.group.applied(own.index);
                }
            }
        }
    }

    fn release_held(&mut self) {
        if let Stage::Leader(leader) = &mut self.stage {
            let lease_until_ms = self.group.lease_until_ms(self.now_ms);
            leader.release(lease_until_ms, self.now_ms, &mut self.out);
            self.tell_answers();
        }
    }

    fn tell_answers(&mut self) {
        for (node, answers) in self.out.drain(..) {
            if node == self.node {
                tell_gateway(&self.cluster, self.number, GatewayInput::Answers(answers));
            } else {
                self.cluster.peers.send(node, PeerMessage::Answers(answers));
            }
        }
    }

    /// When a round is due although nothing comes in, Unix milliseconds; 0 when there is more to do at once.
    pub(crate) fn next_due_ms(&mut self, now_ms: u64) -> Option<u64> {
        if self.has_failed {
            return None;
        }
        let stage = match &mut self.stage {
            Stage::Waits(_) | Stage::Reads => None,
            Stage::Replica(replica) => replica.next_due_ms(),
            Stage::Leader(leader) => leader.next_due_ms(now_ms),
        };
        // All groups at once: what they have for a node then goes in one piece.
        let tick = self.group.next_tick_ms().map(|due_ms| due_ms.next_multiple_of(self.tick_ms));
        let is_behind = match &self.stage {
            Stage::Waits(_) => !self.is_restoring(),
            Stage::Reads => false,
            Stage::Replica(replica) => replica.is_behind(),
            Stage::Leader(_) => self.forwards_need > self.cluster.meta_index(),
        };
        // Nobody tells when declarations are known that are of no concern to this group.
        let look_again = is_behind.then_some(now_ms + LOOK_AGAIN_MS);
        let all = [stage, tick, look_again, self.stop_by_ms, self.checkpoints.next_due_ms()];
        let due_ms = all.into_iter().flatten().min();
        due_ms.map(|due_ms| if due_ms <= now_ms { 0 } else { due_ms })
    }

    fn fail(&mut self, error: &StorageError) {
        if !std::mem::replace(&mut self.has_failed, true) {
            (self.on_failure)(error);
        }
    }

    /// What its queues hold, in order; `read` gives chunks that are in the cold store only. None while it has no queues.
    #[cfg(test)]
    pub(crate) fn digests(
        &self,
        read: &dyn Fn(QueueId, u64) -> Option<bytes::Bytes>,
    ) -> Option<std::collections::BTreeMap<QueueId, Option<crate::broker::queue::Digest>>> {
        let mut digests = match &self.stage {
            Stage::Waits(_) | Stage::Reads => return None,
            Stage::Replica(replica) => replica.digests(read),
            Stage::Leader(leader) => leader.digests(read),
        };
        // A replica makes a queue when something comes for it.
        digests.retain(|_, digest| digest.is_none_or(|digest| digest.alive > 0));
        Some(digests)
    }
}

/// Tells the gateway of this node's clients to the group.
fn tell_gateway(cluster: &Cluster, group: GroupId, input: GatewayInput) {
    if let Some(gateway) = cluster.gateways.get(&Owner::Group(group)) {
        gateway.push(input);
    }
}

fn no_such_group(group: GroupId) -> StorageError {
    StorageError::Cold { action: "start", reason: format!("there is no group {group}") }
}

/// A mailbox for a shard, and a way to the cold store that tells it.
fn links(cold: &ColdLink) -> (Arc<Mailbox<ShardInput>>, ColdLink) {
    let mailbox = Arc::new(Mailbox::new(usize::MAX));
    let link = cold.for_mailbox(Arc::clone(&mailbox));
    (mailbox, link)
}
