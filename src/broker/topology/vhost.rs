//! Vhosts: each a world of its own, with exchanges that are always there.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::broker::exchange::{ExchangeKind, Map};
use crate::protocol::error::Refusal;

use super::bindings::Binding;
use super::exchanges::{ExchangeEntry, Exchanges};
use super::policies::Policies;
use super::queues::Queues;
use super::settings::VhostSettings;
use super::{Change, Outcome, QueueEntry, Row, Topology, refusals};

/// Name, type and whether clients may publish to it; the default exchange is built into routing.
const PREDECLARED: [(&str, ExchangeKind, bool); 6] = [
    ("amq.direct", ExchangeKind::Direct, false),
    ("amq.fanout", ExchangeKind::Fanout, false),
    ("amq.topic", ExchangeKind::Topic, false),
    ("amq.headers", ExchangeKind::Headers, false),
    ("amq.match", ExchangeKind::Headers, false),
    ("amq.rabbitmq.trace", ExchangeKind::Topic, true),
];

/// The vhost of the exchanges in which the node tells of itself.
pub const EVENT_VHOST: &str = "/";
/// Where it tells what happens (RabbitMQ: Event Exchange).
pub const EVENT_EXCHANGE: &str = "amq.rabbitmq.event";

/// What is declared in one vhost.
#[derive(Debug)]
pub(super) struct Vhost {
    pub(super) name: Arc<str>,
    pub(super) exchanges: Exchanges,
    pub(super) queues: Map<Arc<str>, Arc<QueueEntry>>,
    /// In the order of their destinations: those of one destination stand side by side.
    pub(super) bindings: BTreeSet<Binding>,
    pub(super) policies: Policies,
    pub(super) settings: VhostSettings,
}

impl Vhost {
    pub(super) fn new(name: &str) -> Self {
        let mut exchanges = Exchanges::default();
        for (exchange, kind, internal) in PREDECLARED {
            exchanges.insert(ExchangeEntry::predeclared(exchange, kind, internal));
        }
        if name == EVENT_VHOST {
            exchanges.insert(ExchangeEntry::predeclared(EVENT_EXCHANGE, ExchangeKind::Topic, true));
        }
        Self {
            name: name.into(),
            exchanges,
            queues: Map::default(),
            bindings: BTreeSet::new(),
            policies: Policies::default(),
            settings: VhostSettings::default(),
        }
    }

    fn row(&self) -> Row {
        Row::Vhost { name: self.name.to_string() }
    }

    /// Everything in it that is kept.
    pub(super) fn put_rows(&self, queues: &Queues, out: &mut Vec<Row>) {
        out.push(self.row());
        out.extend(self.settings_row());
        out.extend(self.policies.rows(&self.name));
        out.extend(self.exchanges.iter().flat_map(|exchange| exchange.rows(&self.name, queues)));
        let kept = self.queues.values().filter(|queue| queues.keeps(queue.durable));
        out.extend(kept.map(|queue| queue.row(queues)));
        let kept = self.bindings.iter().filter(|binding| queues.keeps(self.is_durable(binding)));
        out.extend(kept.map(|binding| self.binding_row(binding, queues)));
    }
}

impl Topology {
    pub(super) fn create_vhost(&mut self, name: &str) -> Outcome {
        if self.has_vhost(name) {
            return Outcome::default();
        }
        let vhost = Vhost::new(name);
        let changes = vec![Change::Put(vhost.row())];
        self.vhosts.insert(Arc::clone(&vhost.name), vhost);
        self.version += 1;
        Outcome { created: true, changes, ..Outcome::default() }
    }

    pub(super) fn delete_vhost(&mut self, name: &str) -> Result<Outcome, Refusal> {
        let vhost = self.vhosts.remove(name).ok_or_else(|| refusals::no_vhost(name))?;
        let mut changes = Vec::new();
        let kept = vhost.bindings.iter().filter(|binding| self.queues.keeps(vhost.is_durable(binding)));
        changes.extend(kept.map(|binding| Change::delete(&vhost.binding_row(binding, &self.queues))));
        let mut deleted_queues: Vec<_> = vhost.queues.values().cloned().collect();
        deleted_queues.sort_unstable_by_key(|queue| queue.id);
        let kept = deleted_queues.iter().filter(|queue| self.queues.keeps(queue.durable));
        changes.extend(kept.map(|queue| Change::delete(&queue.row(&self.queues))));
        let hidden = vhost.exchanges.iter().flat_map(|exchange| [&exchange.delays, &exchange.companion]);
        deleted_queues.extend(hidden.flatten().cloned());
        deleted_queues.iter().for_each(|queue| self.queues.remove(queue));
        for exchange in vhost.exchanges.iter() {
            let rows = exchange.rows(&vhost.name, &self.queues).rev();
            changes.extend(rows.map(|row| Change::delete(&row)));
        }
        changes.extend(vhost.policies.rows(name).map(|row| Change::delete(&row)));
        changes.extend(self.remove_rights(name));
        changes.extend(vhost.settings_row().map(|row| Change::delete(&row)));
        changes.push(Change::delete(&vhost.row()));
        self.version += 1;
        Ok(Outcome { changes, deleted_queues, ..Outcome::default() })
    }
}
