//! Bindings: bind, unbind, and what goes with them when a queue or an exchange goes.

use std::sync::Arc;

use amq_protocol::types::FieldTable;

use crate::broker::exchange::{
    Bound, ExchangeKind, Hop, Slot, validate_consistent_hash_binding, validate_headers_binding,
    validate_local_random_binding,
};
use crate::broker::ids::ConnectionId;
use crate::protocol::error::Refusal;
use crate::protocol::table;

use super::companions::{Recall, RecallTo};
use super::queues::Queues;
use super::refusals::{self, stripped};
use super::vhost::Vhost;
use super::{Change, Destination, Outcome, QueueEntry, Row, Topology};

/// One binding. The destination comes first, so that all bindings to one destination are a range.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Binding {
    pub(super) destination: Hop,
    pub(super) source: Slot,
    pub(super) key: Box<str>,
    /// The raw argument table, its fields sorted by name: equal tables are equal bytes.
    pub(super) arguments: Box<[u8]>,
}

impl Binding {
    /// The least binding to this destination.
    fn first_to(destination: Hop) -> Self {
        Self { destination, source: Slot(0), key: Box::default(), arguments: Box::default() }
    }

    fn bound(&self) -> Bound<'_> {
        Bound { key: &self.key, arguments: &self.arguments, hop: self.destination }
    }
}

/// What a bind or unbind names.
pub(super) struct Asked {
    pub(super) source: String,
    pub(super) destination: Destination,
    pub(super) routing_key: String,
    pub(super) arguments: FieldTable,
    pub(super) owner: ConnectionId,
}

impl Asked {
    fn stripped(self) -> Result<Self, Refusal> {
        let source = stripped(self.source);
        refusals::not_on_default_exchange(&source)?;
        let destination = match self.destination {
            Destination::Queue(name) => Destination::Queue(stripped(name)),
            Destination::Exchange(name) => {
                let name = stripped(name);
                refusals::not_on_default_exchange(&name)?;
                Destination::Exchange(name)
            }
        };
        Ok(Self { source, destination, ..self })
    }

    /// What the type of the source asks of its bindings.
    fn check_for(&self, kind: ExchangeKind, queue: Option<&QueueEntry>) -> Result<(), Refusal> {
        match kind {
            ExchangeKind::Headers => validate_headers_binding(&self.arguments),
            ExchangeKind::ConsistentHash => validate_consistent_hash_binding(&self.routing_key),
            ExchangeKind::LocalRandom => {
                validate_local_random_binding(&self.routing_key, queue.map(|queue| queue.settings.queue_type))
            }
            ExchangeKind::Direct
            | ExchangeKind::Fanout
            | ExchangeKind::Topic
            | ExchangeKind::ModulusHash
            | ExchangeKind::Random
            | ExchangeKind::RecentHistory
            | ExchangeKind::Deduplication => Ok(()),
        }
    }

    fn binding(&self, source: Slot, destination: Hop) -> Binding {
        let arguments = table::from_field_table(&self.arguments).into();
        Binding { destination, source, key: self.routing_key.as_str().into(), arguments }
    }
}

impl Topology {
    pub(super) fn bind(&mut self, vhost: &str, asked: Asked) -> Result<Outcome, Refusal> {
        let asked = asked.stripped()?;
        let vhost = self.vhosts.get_mut(vhost).ok_or_else(|| refusals::no_vhost(vhost))?;
        let source = vhost.exchange_slot(&asked.source)?;
        let (destination, queue) = vhost.destination(&asked.destination)?;
        if let Some(queue) = &queue {
            queue.check_lock(asked.owner)?;
        }
        asked.check_for(vhost.exchanges.get(source).kind, queue.as_deref())?;
        let mut outcome = Outcome { queue, ..Outcome::default() };
        let binding = asked.binding(source, destination);
        if vhost.bindings.contains(&binding) {
            return Ok(outcome);
        }
        if self.queues.keeps(vhost.is_durable(&binding)) {
            outcome.changes.push(Change::Put(vhost.binding_row(&binding, &self.queues)));
        }
        vhost.link(binding, asked.destination.name());
        outcome.recall = vhost.recall(source, &asked.destination, outcome.queue.as_deref());
        outcome.created = true;
        self.version += 1;
        Ok(outcome)
    }

    /// What is not bound is as good as unbound, whatever is missing.
    pub(super) fn unbind(&mut self, vhost: &str, asked: Asked) -> Result<Outcome, Refusal> {
        let asked = asked.stripped()?;
        let vhost = self.vhosts.get_mut(vhost).ok_or_else(|| refusals::no_vhost(vhost))?;
        let mut outcome = Outcome::default();
        let Some(source) = vhost.exchanges.find(&asked.source) else { return Ok(outcome) };
        let Ok((destination, queue)) = vhost.destination(&asked.destination) else { return Ok(outcome) };
        let binding = asked.binding(source, destination);
        if !vhost.bindings.contains(&binding) {
            return Ok(outcome);
        }
        if let Some(queue) = &queue {
            queue.check_lock(asked.owner)?;
        }
        let idle = vhost.unlink(&binding, &self.queues, &mut outcome.changes);
        vhost.remove_exchanges(idle.into_iter().collect(), &self.queues, &mut outcome);
        self.forget_deleted(&outcome);
        outcome.queue = queue;
        self.version += 1;
        Ok(outcome)
    }
}

impl Vhost {
    /// Removes a queue with its bindings, and the auto-delete exchanges that are idle without them.
    pub(super) fn remove_queue(&mut self, queue: &QueueEntry, queues: &Queues, outcome: &mut Outcome) {
        let idle = self.unlink_all_to(Hop::Queue(queue.target()), queues, &mut outcome.changes);
        if queues.keeps(queue.durable) {
            outcome.changes.push(Change::delete(&queue.row(queues)));
        }
        self.queues.remove(&queue.name);
        self.remove_exchanges(idle, queues, outcome);
    }

    /// Removes exchanges with all their bindings, companions and what waits in them, and the auto-delete exchanges that
    /// are idle without them.
    pub(super) fn remove_exchanges(&mut self, mut doomed: Vec<Slot>, queues: &Queues, outcome: &mut Outcome) {
        while let Some(slot) = doomed.pop() {
            self.unlink_all_from(slot, queues, &mut outcome.changes);
            doomed.extend(self.unlink_all_to(Hop::Exchange(slot), queues, &mut outcome.changes));
            let exchange = self.exchanges.remove(slot);
            outcome.deleted_queues.extend(exchange.delays.clone());
            outcome.deleted_queues.extend(exchange.companion.clone());
            let rows = exchange.rows(&self.name, queues).rev();
            outcome.changes.extend(rows.map(|row| Change::delete(&row)));
        }
    }

    /// Whether the binding survives a restart: when both its ends do.
    pub(super) fn is_durable(&self, binding: &Binding) -> bool {
        let destination = match binding.destination {
            Hop::Queue(target) => target.durable,
            Hop::Exchange(slot) => self.exchanges.get(slot).durable,
        };
        destination && self.exchanges.get(binding.source).durable
    }

    pub(super) fn binding_row(&self, binding: &Binding, queues: &Queues) -> Row {
        Row::Binding {
            vhost: self.name.to_string(),
            source: self.exchanges.get(binding.source).name.to_string(),
            destination: self.destination_name(binding.destination, queues),
            routing_key: binding.key.to_string(),
            arguments: table::to_field_table(&binding.arguments).unwrap_or_default(),
        }
    }

    /// What a new binding from this exchange is to be given.
    fn recall(&self, source: Slot, to: &Destination, queue: Option<&QueueEntry>) -> Option<Recall> {
        let companion = self.exchanges.get(source).history_for(None)?;
        let to = match (to, queue) {
            (_, Some(queue)) => RecallTo::Queue(queue.target()),
            (to, None) => RecallTo::Exchange { vhost: Arc::clone(&self.name), name: to.name().to_owned() },
        };
        Some(Recall { companion, to })
    }

    /// Adds a binding, to a destination of that name.
    pub(super) fn link(&mut self, binding: Binding, destination: &str) {
        let source = self.exchanges.get_mut(binding.source);
        source.matcher.add(binding.bound(), destination);
        source.bindings_from += 1;
        self.bindings.insert(binding);
    }

    pub(super) fn exchange_slot(&self, name: &str) -> Result<Slot, Refusal> {
        self.exchanges.find(name).ok_or_else(|| refusals::no_exchange(name, &self.name))
    }

    pub(super) fn destination(
        &self,
        destination: &Destination,
    ) -> Result<(Hop, Option<Arc<QueueEntry>>), Refusal> {
        match destination {
            Destination::Exchange(name) => Ok((Hop::Exchange(self.exchange_slot(name)?), None)),
            Destination::Queue(name) => {
                let queue = self.queues.get(name.as_str());
                let queue = queue.ok_or_else(|| refusals::no_queue(name, &self.name))?;
                Ok((Hop::Queue(queue.target()), Some(Arc::clone(queue))))
            }
        }
    }

    pub(super) fn destination_name(&self, hop: Hop, queues: &Queues) -> Destination {
        match hop {
            Hop::Exchange(slot) => Destination::Exchange(self.exchanges.get(slot).name.to_string()),
            Hop::Queue(target) => {
                let name = queues.get(target.id).map(|queue| queue.name.to_string());
                Destination::Queue(name.unwrap_or_default())
            }
        }
    }

    /// Takes a binding out; the source is returned when it is to go as well.
    fn unlink(&mut self, binding: &Binding, queues: &Queues, changes: &mut Vec<Change>) -> Option<Slot> {
        if queues.keeps(self.is_durable(binding)) {
            changes.push(Change::delete(&self.binding_row(binding, queues)));
        }
        self.unlink_alone(binding);
        let source = self.exchanges.get(binding.source);
        (source.auto_delete && source.bindings_from == 0).then_some(binding.source)
    }

    fn unlink_all_to(&mut self, destination: Hop, queues: &Queues, changes: &mut Vec<Change>) -> Vec<Slot> {
        let bindings = self.bindings_to(destination);
        bindings.iter().filter_map(|binding| self.unlink(binding, queues, changes)).collect()
    }

    pub(super) fn bindings_to(&self, destination: Hop) -> Vec<Binding> {
        let range = self.bindings.range(Binding::first_to(destination)..);
        range.take_while(|binding| binding.destination == destination).cloned().collect()
    }

    /// Takes a binding out, whatever that means for its ends.
    pub(super) fn unlink_alone(&mut self, binding: &Binding) {
        self.bindings.remove(binding);
        let source = self.exchanges.get_mut(binding.source);
        source.matcher.remove(binding.bound());
        source.bindings_from -= 1;
    }

    fn unlink_all_from(&mut self, source: Slot, queues: &Queues, changes: &mut Vec<Change>) {
        for destination in self.exchanges.get(source).matcher.hops() {
            let first = Binding { source, ..Binding::first_to(destination) };
            let range = self.bindings.range(first..);
            let ours = |binding: &&Binding| (binding.destination, binding.source) == (destination, source);
            let bindings: Vec<_> = range.take_while(ours).cloned().collect();
            for binding in bindings {
                self.unlink(&binding, queues, changes);
            }
        }
    }
}
