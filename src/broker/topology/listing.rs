//! Everything that is declared, in order, for people and for starting up.

use std::sync::Arc;

use amq_protocol::types::FieldTable;

use crate::protocol::table;

use super::{Destination, ExchangeEntry, QueueEntry, Row, Topology, User};

/// A binding as it was made.
#[derive(Clone, Debug, PartialEq)]
pub struct BindingEntry {
    /// The exchange it is from.
    pub source: Arc<str>,
    /// What it leads to.
    pub destination: Destination,
    /// The binding key.
    pub routing_key: String,
    /// The arguments.
    pub arguments: FieldTable,
}

impl Topology {
    /// Everything that is kept, as rows: the same for equal topologies.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = vec![self.queues.counter_row()];
        for user in self.users.values() {
            rows.push(user.row());
            rows.extend(user.limits_row());
            rows.extend(user.rights_rows());
        }
        let parameter =
            |(name, value): (&str, &str)| Row::Parameter { name: name.to_owned(), value: value.to_owned() };
        rows.extend(self.parameters().map(parameter));
        self.vhosts.values().for_each(|vhost| vhost.put_rows(&self.queues, &mut rows));
        rows.sort_by_cached_key(Row::key);
        rows
    }

    /// The names of all vhosts, sorted.
    #[must_use]
    pub fn vhosts(&self) -> Vec<Arc<str>> {
        let mut names: Vec<_> = self.vhosts.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// All users, by name.
    #[must_use]
    pub fn users(&self) -> Vec<&User> {
        let mut users: Vec<_> = self.users.values().collect();
        users.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        users
    }

    /// All queues of all vhosts, by number.
    #[must_use]
    pub fn all_queues(&self) -> Vec<Arc<QueueEntry>> {
        let mut queues: Vec<_> = self.queues.iter().cloned().collect();
        queues.sort_unstable_by_key(|queue| queue.id);
        queues
    }

    /// The queues of a vhost, by name; none when it is not there.
    #[must_use]
    pub fn queues(&self, vhost: &str) -> Vec<Arc<QueueEntry>> {
        let queues = self.vhosts.get(vhost).map(|vhost| vhost.queues.values().cloned());
        let mut queues: Vec<_> = queues.into_iter().flatten().collect();
        queues.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        queues
    }

    /// The exchanges of a vhost, by name, without the default exchange; none when the vhost is not there.
    #[must_use]
    pub fn exchanges(&self, vhost: &str) -> Vec<&ExchangeEntry> {
        let exchanges = self.vhosts.get(vhost).map(|vhost| vhost.exchanges.iter());
        let mut exchanges: Vec<_> = exchanges.into_iter().flatten().collect();
        exchanges.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        exchanges
    }

    /// The bindings of a vhost by source, destination and key, without those of the default exchange; none when the
    /// vhost is not there.
    #[must_use]
    pub fn bindings(&self, vhost: &str) -> Vec<BindingEntry> {
        let Some(vhost) = self.vhosts.get(vhost) else { return Vec::new() };
        let entries = vhost.bindings.iter().map(|binding| BindingEntry {
            source: Arc::clone(&vhost.exchanges.get(binding.source).name),
            destination: vhost.destination_name(binding.destination, &self.queues),
            routing_key: binding.key.to_string(),
            arguments: table::to_field_table(&binding.arguments).unwrap_or_default(),
        });
        let mut entries: Vec<_> =
            entries.zip(vhost.bindings.iter().map(|binding| &binding.arguments)).collect();
        entries.sort_by(|(a, a_arguments), (b, b_arguments)| {
            let order = a.source.cmp(&b.source).then_with(|| a.destination.cmp(&b.destination));
            order.then_with(|| a.routing_key.cmp(&b.routing_key)).then_with(|| a_arguments.cmp(b_arguments))
        });
        entries.into_iter().map(|(entry, _)| entry).collect()
    }
}
