//! Queues: declare, find, delete, and what each is.

use std::collections::BTreeSet;
use std::sync::Arc;

use amq_protocol::types::{AMQPValue, FieldTable};

use crate::broker::arguments::{Comparison, QueueSettings, QueueType, equivalence, object_text};
use crate::broker::exchange::Map;
use crate::broker::ids::{ConnectionId, FIRST_NODE, Home, NodeId, Placement, QueueId, Target};
use crate::broker::policy::{Applied, ObjectKind};
use crate::protocol::error::Refusal;

use super::refusals::{self, failed, stripped};
use super::{Change, Outcome, Row, Topology};

/// So many numbers are set aside by one row, so that declaring a transient queue seldom has to keep anything.
const IDS_PER_ROW: u64 = 1024;

const QUEUE_TYPE: &str = "x-queue-type";
/// The key of a policy that has durable queues mirrored (RabbitMQ: Classic Queue Mirroring).
const HA_MODE: &str = "ha-mode";

/// One queue as declared; its messages and consumers are elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueEntry {
    /// The number, never used again.
    pub id: QueueId,
    /// Who orders what happens to it.
    pub home: Home,
    /// The mailbox for it on this node: the shard that owns it, or the way to its owner.
    pub shard: u16,
    /// The vhost it is in.
    pub vhost: Arc<str>,
    /// The name, unique in its vhost.
    pub name: Arc<str>,
    /// Whether it survives a restart; never with `exclusive`.
    pub durable: bool,
    /// The only connection that may use it.
    pub exclusive: Option<ConnectionId>,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// The arguments as declared.
    pub arguments: FieldTable,
    /// The arguments as understood, under the policies that hold for it.
    pub settings: QueueSettings,
    /// The exchange whose messages wait here for their delays to end. Such a queue belongs to its exchange: no client
    /// finds it by a name.
    pub delays_for: Option<Arc<str>>,
    /// The policies that hold for it.
    pub applied: Option<Arc<Applied>>,
}

impl QueueEntry {
    /// Where messages for this queue go.
    #[must_use]
    pub fn target(&self) -> Target {
        Target { id: self.id, shard: self.shard, durable: self.durable }
    }

    pub(super) fn row(&self, queues: &Queues) -> Row {
        Row::Queue {
            id: self.id,
            vhost: self.vhost.to_string(),
            name: self.name.to_string(),
            durable: self.durable,
            exclusive: self.exclusive,
            auto_delete: self.auto_delete,
            arguments: self.arguments.clone(),
            home: queues.kept_home(self.home),
        }
    }

    /// Lets through whoever may use the queue: all, or its owner.
    pub(super) fn check_lock(&self, asking: ConnectionId) -> Result<(), Refusal> {
        match self.exclusive {
            Some(owner) if owner != asking => Err(refusals::locked(&self.name, &self.vhost)),
            _ => Ok(()),
        }
    }

    fn same(&self, asked: &Asked) -> Result<(), Refusal> {
        if self.exclusive != asked.exclusive {
            return Err(refusals::locked(&self.name, &self.vhost));
        }
        let object = object_text("queue", &self.name, &self.vhost);
        let comparison = Comparison { object: &object };
        comparison.flag("durable", self.durable, asked.is_durable())?;
        comparison.flag("auto_delete", self.auto_delete, asked.auto_delete)?;
        equivalence(&self.arguments, &asked.arguments, &object)
    }
}

/// What a declare asks for.
pub(super) struct Asked {
    pub(super) generated: bool,
    pub(super) durable: bool,
    pub(super) exclusive: Option<ConnectionId>,
    pub(super) auto_delete: bool,
    pub(super) arguments: FieldTable,
}

impl Asked {
    /// An exclusive queue never survives its connection, so `durable` says nothing.
    fn is_durable(&self) -> bool {
        self.durable && self.exclusive.is_none()
    }

    /// Without a type the vhost's default is taken, if the queue can be of that type (RabbitMQ: Virtual Hosts).
    fn with_type(mut self, default: Option<&str>) -> Self {
        let fits = self.is_durable() && !self.auto_delete && !self.generated;
        if let Some(name) = default.filter(|_| fits && !self.arguments.contains_key(QUEUE_TYPE)) {
            self.arguments.insert(QUEUE_TYPE.into(), AMQPValue::LongString(name.into()));
        }
        self
    }

    fn settings(&self, name: &str, vhost: &str) -> Result<QueueSettings, Refusal> {
        let settings = QueueSettings::parse(&self.arguments, name, vhost)?;
        if self.generated && settings.queue_type == QueueType::Quorum {
            return Err(failed("Cannot declare a server-named queue for type rabbit_quorum_queue"));
        }
        let exclusive = self.exclusive.is_some();
        settings.check_properties(name, vhost, self.is_durable(), exclusive, self.auto_delete)?;
        Ok(settings)
    }
}

/// What stands against deleting a queue.
pub(super) struct Used {
    pub(super) consumers: bool,
    pub(super) messages: bool,
}

impl Topology {
    pub(super) fn declare_queue(
        &mut self,
        vhost: &str,
        name: String,
        asked: Asked,
        asking: NodeId,
    ) -> Result<Outcome, Refusal> {
        let name = stripped(name);
        if !asked.generated && refusals::is_reserved(&name) {
            return Err(refusals::reserved("queue", &name));
        }
        let vhost = self.vhosts.get_mut(vhost).ok_or_else(|| refusals::no_vhost(vhost))?;
        let asked = asked.with_type(vhost.settings.default_queue_type.as_deref());
        if let Some(existing) = vhost.queues.get(name.as_str()) {
            existing.same(&asked)?;
            return Ok(Outcome { queue: Some(Arc::clone(existing)), ..Outcome::default() });
        }
        let mut settings = asked.settings(&name, &vhost.name)?;
        vhost.check_queue_limit(&name)?;
        let applied = vhost.policies.applied(ObjectKind::Queue(settings.queue_type), &name);
        if let Some(applied) = &applied {
            settings = settings.under_policy(&asked.arguments, &applied.definition);
        }
        let mut changes = Vec::new();
        let id = self.queues.next_id(&mut changes);
        let is_replicated = is_replicated(&settings, asked.is_durable(), applied.as_deref());
        let home = self.queues.home_of(id, is_replicated, asking);
        let queue = Arc::new(QueueEntry {
            id,
            home,
            shard: self.queues.shard_of(home, id),
            vhost: Arc::clone(&vhost.name),
            name: name.into(),
            durable: asked.is_durable(),
            exclusive: asked.exclusive,
            auto_delete: asked.auto_delete,
            arguments: asked.arguments,
            settings,
            delays_for: None,
            applied,
        });
        if self.queues.keeps(queue.durable) {
            changes.push(Change::Put(queue.row(&self.queues)));
        }
        vhost.queues.insert(Arc::clone(&queue.name), Arc::clone(&queue));
        self.queues.insert(&queue);
        self.version += 1;
        Ok(Outcome { queue: Some(queue), created: true, changes, ..Outcome::default() })
    }

    /// Whether a connection has queues of its own.
    #[must_use]
    pub fn owns_queues(&self, owner: ConnectionId) -> bool {
        self.queues.by_owner.contains_key(&owner)
    }

    /// Finds a queue that `owner` may use.
    ///
    /// # Errors
    /// 404 when it is not there, 405 when another connection holds it.
    pub fn check_queue(&self, vhost: &str, name: String, owner: ConnectionId) -> Result<Outcome, Refusal> {
        let name = stripped(name);
        let vhost = self.vhost(vhost)?;
        let queue = vhost.queues.get(name.as_str()).ok_or_else(|| refusals::no_queue(&name, &vhost.name))?;
        queue.check_lock(owner)?;
        Ok(Outcome { queue: Some(Arc::clone(queue)), ..Outcome::default() })
    }

    /// A queue that is not there is as good as deleted.
    pub(super) fn delete_queue(
        &mut self,
        vhost: &str,
        name: String,
        owner: ConnectionId,
        used: Used,
    ) -> Result<Outcome, Refusal> {
        let name = stripped(name);
        let Some(queue) = self.vhost(vhost)?.queues.get(name.as_str()).cloned() else {
            return Ok(Outcome::default());
        };
        queue.check_lock(owner)?;
        let object = || object_text("queue", &name, vhost);
        if used.messages {
            return Err(failed(format!("{} not empty", object())));
        }
        if used.consumers {
            return Err(failed(format!("{} in use", object())));
        }
        Ok(self.drop_queue(queue.id))
    }

    pub(super) fn drop_queue(&mut self, id: QueueId) -> Outcome {
        let mut outcome = Outcome::default();
        self.remove_queue(id, &mut outcome);
        outcome.queue = outcome.deleted_queues.first().cloned();
        outcome
    }

    pub(super) fn drop_owner(&mut self, owner: ConnectionId) -> Outcome {
        let mut outcome = Outcome::default();
        for id in self.queues.owned_by(owner) {
            self.remove_queue(id, &mut outcome);
        }
        outcome
    }

    pub(super) fn remove_queue(&mut self, id: QueueId, outcome: &mut Outcome) {
        // One that belongs to an exchange goes with that alone.
        let has_name = |queue: &QueueEntry| self.queue(&queue.vhost, &queue.name).is_some();
        let found = self.queues.get(id).filter(|queue| queue.delays_for.is_none() && has_name(queue));
        let Some(queue) = found.cloned() else { return };
        outcome.deleted_queues.push(Arc::clone(&queue));
        if let Some(vhost) = self.vhosts.get_mut(&queue.vhost) {
            vhost.remove_queue(&queue, &self.queues, outcome);
        }
        self.forget_deleted(outcome);
        self.version += 1;
    }

    /// Queues that are gone, be it with their exchanges, have no number any more.
    pub(super) fn forget_deleted(&mut self, outcome: &Outcome) {
        outcome.deleted_queues.iter().for_each(|queue| self.queues.remove(queue));
    }
}

/// Whether a queue is to have copies on several nodes, when there are several.
pub(super) fn is_replicated(settings: &QueueSettings, durable: bool, applied: Option<&Applied>) -> bool {
    let is_mirrored = || applied.is_some_and(|applied| applied.definition.contains_key(HA_MODE));
    settings.queue_type == QueueType::Quorum || (durable && is_mirrored())
}

/// The queues of all vhosts by number and by owner, and the numbers to come.
#[derive(Debug)]
pub(super) struct Queues {
    placement: Placement,
    by_id: Map<QueueId, Arc<QueueEntry>>,
    by_owner: Map<ConnectionId, BTreeSet<QueueId>>,
    next_id: u64,
    /// Numbers below are kept as given; the next row moves it.
    kept_below: u64,
}

impl Queues {
    pub(super) fn new(placement: Placement) -> Self {
        let (by_id, by_owner) = (Map::default(), Map::default());
        Self { placement, by_id, by_owner, next_id: 1, kept_below: 1 }
    }

    pub(super) fn node(&self) -> NodeId {
        self.placement.node
    }

    /// Whether rows are kept of what is durable, or is not. Nodes of a cluster go on when one restarts: it has to come
    /// back with all that they know.
    pub(super) fn keeps(&self, durable: bool) -> bool {
        durable || self.is_shared()
    }

    fn is_shared(&self) -> bool {
        self.placement.groups > 0
    }

    /// The home of a new queue.
    pub(super) fn home_of(&self, id: QueueId, is_replicated: bool, asking: NodeId) -> Home {
        match (is_replicated, id.0.checked_rem(u64::from(self.placement.groups))) {
            (true, Some(group)) => Home::Group(1 + u16::try_from(group).unwrap_or_default()),
            _ => Home::Node(asking),
        }
    }

    /// The home of a queue that a row tells of. Rows of a node by itself say nothing: all is on the first node, but what
    /// is to have copies, once there are groups.
    pub(super) fn home_of_kept(&self, id: QueueId, kept: Option<Home>, is_replicated: bool) -> Home {
        match kept {
            Some(home) if self.is_shared() => home,
            _ if self.is_shared() => self.home_of(id, is_replicated, FIRST_NODE),
            _ => Home::Node(self.placement.node),
        }
    }

    /// A home as a row tells it.
    pub(super) fn kept_home(&self, home: Home) -> Option<Home> {
        self.is_shared().then_some(home)
    }

    /// The row of the numbers to come.
    pub(super) fn counter_row(&self) -> Row {
        Row::Counter { next_queue: self.kept_below }
    }

    /// The number of the queue that is declared next.
    pub(super) fn next(&self) -> QueueId {
        QueueId(self.next_id)
    }

    pub(super) fn get(&self, id: QueueId) -> Option<&Arc<QueueEntry>> {
        self.by_id.get(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<QueueEntry>> {
        self.by_id.values()
    }

    pub(super) fn insert(&mut self, queue: &Arc<QueueEntry>) {
        self.by_id.insert(queue.id, Arc::clone(queue));
        if let Some(owner) = queue.exclusive {
            self.by_owner.entry(owner).or_default().insert(queue.id);
        }
    }

    /// Adds the queue where messages of this exchange wait for their delays to end.
    pub(super) fn add_delays(
        &mut self,
        id: QueueId,
        vhost: &Arc<str>,
        exchange: &str,
        (durable, home): (bool, Home),
    ) -> Arc<QueueEntry> {
        let name: Arc<str> = exchange.into();
        let queue = Arc::new(QueueEntry {
            id,
            home,
            shard: self.shard_of(home, id),
            vhost: Arc::clone(vhost),
            name: Arc::clone(&name),
            durable,
            exclusive: None,
            auto_delete: false,
            arguments: FieldTable::default(),
            settings: QueueSettings::default(),
            applied: None,
            delays_for: Some(name),
        });
        self.insert(&queue);
        // Covers a counter row that is missing; with one this changes nothing.
        if id.0 >= self.next_id {
            self.resume_at(id.0 + 1);
        }
        queue
    }

    /// Puts another entry in the place of the one with its number, which is given back.
    pub(super) fn replace(&mut self, queue: &Arc<QueueEntry>) -> Option<Arc<QueueEntry>> {
        self.by_id.insert(queue.id, Arc::clone(queue))
    }

    pub(super) fn remove(&mut self, queue: &QueueEntry) {
        self.by_id.remove(&queue.id);
        let Some(owner) = queue.exclusive else { return };
        let Some(owned) = self.by_owner.get_mut(&owner) else { return };
        owned.remove(&queue.id);
        if owned.is_empty() {
            self.by_owner.remove(&owner);
        }
    }

    pub(super) fn shard_of(&self, home: Home, id: QueueId) -> u16 {
        self.placement.mailbox(home, id)
    }

    /// Numbers go on from here: nothing below is given again.
    pub(super) fn resume_at(&mut self, next_id: u64) {
        self.next_id = self.next_id.max(next_id);
        self.kept_below = self.next_id;
    }

    fn owned_by(&self, owner: ConnectionId) -> BTreeSet<QueueId> {
        self.by_owner.get(&owner).cloned().unwrap_or_default()
    }

    pub(super) fn next_id(&mut self, changes: &mut Vec<Change>) -> QueueId {
        let id = self.next_id;
        self.next_id += 1;
        if id >= self.kept_below {
            // All nodes go on from the same number, whichever of them restart.
            self.kept_below = id + if self.is_shared() { 1 } else { IDS_PER_ROW };
            changes.push(Change::Put(Row::Counter { next_queue: self.kept_below }));
        }
        QueueId(id)
    }
}
