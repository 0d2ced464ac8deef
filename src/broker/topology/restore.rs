//! A topology out of its rows, after a restart.

use std::fmt;
use std::sync::Arc;

use amq_protocol::types::FieldTable;

use crate::broker::arguments::QueueSettings;
use crate::broker::ids::{Home, Placement, QueueId};
use crate::broker::policy::{ObjectKind, Policy};
use crate::protocol::error::Refusal;
use crate::protocol::table;

use super::bindings::Binding;
use super::exchanges::ExchangeEntry;
use super::queues::{Asked, is_replicated};
use super::vhost::Vhost;
use super::{Destination, QueueEntry, Row, Topology, User, refusals};

/// A row that does not fit the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreError {
    /// Which row, and what is wrong with it.
    pub text: String,
}

impl RestoreError {
    fn new(row: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self { text: format!("{row} cannot be restored: {reason}") }
    }
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for RestoreError {}

impl Topology {
    /// Brings back what the rows say, in whatever order they come, for a node that stands there.
    ///
    /// # Errors
    /// When a row refers to something that has no row, or holds arguments that are not taken.
    pub fn restore(placement: Placement, rows: impl Iterator<Item = Row>) -> Result<Self, RestoreError> {
        let mut rows: Vec<Row> = rows.collect();
        rows.sort_by_key(Row::rank);
        let mut topology = Self::new(placement);
        rows.into_iter().try_for_each(|row| topology.restore_row(row))?;
        for vhost in topology.vhosts() {
            topology.apply_policies(&vhost);
        }
        topology.give_unsettled_everything();
        Ok(topology)
    }

    fn restore_row(&mut self, row: Row) -> Result<(), RestoreError> {
        match row {
            Row::Counter { next_queue } => self.queues.resume_at(next_queue),
            Row::User { name, password_hash, tags, is_settled } => {
                let user = User { is_settled, ..User::new(&name, password_hash, tags) };
                self.users.insert(Arc::clone(&user.name), user);
            }
            Row::Permission { user, vhost, spec } => {
                let what = format!("the permissions of user '{user}' in vhost '{vhost}'");
                let restored = self.set_permissions(&user, &vhost, spec);
                restored.map_err(|refusal| RestoreError::new(what, refusal))?;
            }
            Row::TopicPermission { user, vhost, exchange, spec } => {
                let what = format!("the topic permissions of user '{user}' in vhost '{vhost}'");
                let restored = self.set_topic_permissions(&user, &vhost, exchange, spec);
                restored.map_err(|refusal| RestoreError::new(what, refusal))?;
            }
            Row::Vhost { name } => {
                let vhost = Vhost::new(&name);
                self.vhosts.insert(Arc::clone(&vhost.name), vhost);
            }
            Row::Exchange { vhost, name, kind, durable, auto_delete, internal, delays, arguments } => {
                let what = format!("exchange '{name}'");
                if self.exchange(&vhost, &name).is_some() {
                    return Err(RestoreError::new(what, "it is there already"));
                }
                if delays.is_some_and(|(id, _)| self.queues.get(id).is_some()) {
                    return Err(RestoreError::new(what, "the number of its queue is in use"));
                }
                let vhost_name = Arc::clone(&self.vhost_of(&vhost, &what)?.name);
                let delays = delays.map(|(id, home)| {
                    let home = self.queues.home_of_kept(id, home, durable);
                    self.queues.add_delays(id, &vhost_name, &name, (durable, home))
                });
                let exchange = ExchangeEntry::new(&name, kind, arguments);
                let exchange = ExchangeEntry { durable, auto_delete, internal, delays, ..exchange };
                self.vhost_of(&vhost, &what)?.exchanges.insert(exchange);
            }
            Row::Queue { id, vhost, name, durable, exclusive, auto_delete, arguments, home } => {
                let asked = Asked { generated: true, durable, exclusive, auto_delete, arguments };
                self.restore_queue(id, &vhost, &name, asked, home)?;
            }
            Row::Companion { vhost, exchange, id, home } => {
                self.restore_companion(&vhost, &exchange, id, home)?;
            }
            Row::Parameter { name, value } => drop(self.parameters.insert(name, value)),
            Row::Binding { vhost, source, destination, routing_key, arguments } => {
                self.restore_binding(&vhost, &source, &destination, &routing_key, &arguments)?;
            }
            Row::Policy { vhost, scope, name, spec } => {
                let what = format!("policy '{name}'");
                let policy =
                    Policy::new(&name, scope, spec).map_err(|reason| RestoreError::new(&what, reason))?;
                self.vhost_of(&vhost, &what)?.policies.of_mut(scope).put(policy);
            }
            Row::VhostSettings { vhost, settings } => {
                self.vhost_of(&vhost, "a setting")?.settings = settings;
            }
            Row::UserLimits { user, limits } => {
                let found = self.users.get_mut(user.as_str());
                let missing =
                    || RestoreError::new(format!("the limits of user '{user}'"), "there is no such user");
                found.ok_or_else(missing)?.limits = limits;
            }
            Row::Cluster { .. } => {}
        }
        Ok(())
    }

    fn restore_queue(
        &mut self,
        id: QueueId,
        vhost: &str,
        name: &str,
        asked: Asked,
        home: Option<Home>,
    ) -> Result<(), RestoreError> {
        let what = format!("queue '{name}'");
        if self.queues.get(id).is_some() || self.queue(vhost, name).is_some() {
            return Err(RestoreError::new(what, "its number or name is in use"));
        }
        let Asked { durable, exclusive, auto_delete, arguments, .. } = asked;
        let mut settings = QueueSettings::parse(&arguments, name, vhost)
            .map_err(|refusal| RestoreError::new(&what, refusal))?;
        let fail = |refusal: Refusal| RestoreError::new(&what, refusal);
        let vhost = self.vhosts.get_mut(vhost).ok_or_else(|| fail(refusals::no_vhost(vhost)))?;
        let applied = vhost.policies.applied(ObjectKind::Queue(settings.queue_type), name);
        if let Some(applied) = &applied {
            settings = settings.under_policy(&arguments, &applied.definition);
        }
        let is_replicated = is_replicated(&settings, durable, applied.as_deref());
        let home = self.queues.home_of_kept(id, home, is_replicated);
        let queue = Arc::new(QueueEntry {
            id,
            home,
            shard: self.queues.shard_of(home, id),
            vhost: Arc::clone(&vhost.name),
            name: name.into(),
            durable,
            exclusive,
            auto_delete,
            arguments,
            settings,
            delays_for: None,
            applied,
        });
        vhost.queues.insert(Arc::clone(&queue.name), Arc::clone(&queue));
        self.queues.insert(&queue);
        // Covers a counter row that is missing; with one this changes nothing.
        self.queues.resume_at(id.0 + 1);
        Ok(())
    }

    fn restore_companion(
        &mut self,
        vhost: &str,
        exchange: &str,
        id: QueueId,
        home: Option<Home>,
    ) -> Result<(), RestoreError> {
        let what = format!("the companion of exchange '{exchange}'");
        if self.queues.get(id).is_some() {
            return Err(RestoreError::new(what, "its number is in use"));
        }
        let vhost = self.vhosts.get_mut(vhost).ok_or_else(|| RestoreError::new(&what, "it has no vhost"))?;
        let slot = vhost.exchange_slot(exchange).map_err(|refusal| RestoreError::new(&what, refusal))?;
        let home = self.queues.home_of_kept(id, home, false);
        self.queues.add_companion(id, &vhost.name, vhost.exchanges.get_mut(slot), home);
        self.queues.resume_at(id.0 + 1);
        Ok(())
    }

    fn restore_binding(
        &mut self,
        vhost: &str,
        source: &str,
        destination: &Destination,
        routing_key: &str,
        arguments: &FieldTable,
    ) -> Result<(), RestoreError> {
        let what = format!("binding from '{source}' to '{}'", destination.name());
        let vhost = self.vhost_of(vhost, &what)?;
        let fail = |refusal: Refusal| RestoreError::new(&what, refusal);
        let source = vhost.exchange_slot(source).map_err(fail)?;
        let name = destination.name();
        let (destination, _) = vhost.destination(destination).map_err(fail)?;
        let arguments = table::from_field_table(arguments).into();
        let binding = Binding { destination, source, key: routing_key.into(), arguments };
        if !vhost.bindings.contains(&binding) {
            vhost.link(binding, name);
        }
        Ok(())
    }

    fn vhost_of(&mut self, name: &str, what: &str) -> Result<&mut Vhost, RestoreError> {
        self.vhost_mut(name).map_err(|refusal| RestoreError::new(what, refusal))
    }
}
