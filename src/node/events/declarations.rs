//! What changes of the topology are called, and what is told of each. The node that was asked for the change tells.

use amq_protocol::types::{AMQPValue, FieldTable};

use super::telling::{Facts, text};
use crate::broker::policy::PolicyScope;
use crate::broker::topology::{Command, Destination, Outcome, QueueEntry};
use crate::node::shared::Shared;

/// What is to be told of a change, noted before it is made.
pub(crate) struct Announced {
    command: Command,
    was_there: bool,
}

impl Announced {
    /// What a command may bring about; `None` when nobody listens.
    pub(crate) fn before(shared: &Shared, command: &Command) -> Option<Self> {
        if !shared.tells_events() {
            return None;
        }
        let topology = shared.topology();
        let was_there = match command {
            Command::DeleteExchange { vhost, name, .. } => topology.exchange(vhost, name).is_some(),
            _ => true,
        };
        Some(Self { command: command.clone(), was_there })
    }

    /// It was done.
    pub(crate) fn tell(self, shared: &Shared, outcome: &Outcome) {
        tell_deleted(shared, outcome);
        let Some((name, facts)) = self.named(outcome) else { return };
        shared.tell_event(name, || facts);
    }

    fn named(self, outcome: &Outcome) -> Option<(&'static str, Facts)> {
        let is_new = outcome.created;
        Some(match self.command {
            Command::CreateVhost { name } if is_new => ("vhost.created", vec![("name", text(&name))]),
            Command::DeleteVhost { name } => ("vhost.deleted", vec![("name", text(&name))]),
            Command::LimitVhost { name, .. } => ("vhost.limits.set", vec![("name", text(&name))]),
            Command::PutUser { name, .. } if is_new => ("user.created", vec![("name", text(&name))]),
            Command::PutUser { name, .. } => ("user.password.changed", vec![("name", text(&name))]),
            Command::DeleteUser { name } => ("user.deleted", vec![("name", text(&name))]),
            Command::LimitUser { name, .. } => ("user.limits.set", vec![("name", text(&name))]),
            Command::SetPolicy { vhost, scope, name, spec } => {
                let event = if scope == PolicyScope::Operator { "operator_policy.set" } else { "policy.set" };
                let definition = AMQPValue::FieldTable(spec.definition);
                let facts = vec![
                    ("vhost", text(&vhost)),
                    ("name", text(&name)),
                    ("pattern", text(&spec.pattern)),
                    ("definition", definition),
                ];
                (event, facts)
            }
            Command::ClearPolicy { vhost, scope, name } => {
                let is_operator = scope == PolicyScope::Operator;
                let event = if is_operator { "operator_policy.cleared" } else { "policy.cleared" };
                (event, vec![("vhost", text(&vhost)), ("name", text(&name))])
            }
            Command::DeclareExchange {
                vhost, name, kind, durable, auto_delete, internal, arguments, ..
            } if is_new => {
                let facts = vec![
                    ("name", text(&name)),
                    ("vhost", text(&vhost)),
                    ("type", text(&kind)),
                    ("durable", AMQPValue::Boolean(durable)),
                    ("auto_delete", AMQPValue::Boolean(auto_delete)),
                    ("internal", AMQPValue::Boolean(internal)),
                    ("arguments", AMQPValue::FieldTable(arguments)),
                ];
                ("exchange.created", facts)
            }
            Command::DeleteExchange { vhost, name, .. } if self.was_there => {
                ("exchange.deleted", vec![("name", text(&name)), ("vhost", text(&vhost))])
            }
            Command::DeclareQueue { vhost, name, durable, exclusive, auto_delete, arguments, .. }
                if is_new =>
            {
                let facts = vec![
                    ("name", text(&name)),
                    ("vhost", text(&vhost)),
                    ("durable", AMQPValue::Boolean(durable)),
                    ("auto_delete", AMQPValue::Boolean(auto_delete)),
                    ("exclusive", AMQPValue::Boolean(exclusive)),
                    ("arguments", AMQPValue::FieldTable(arguments)),
                ];
                ("queue.created", facts)
            }
            Command::Bind { vhost, source, destination, routing_key, arguments, .. } if is_new => {
                ("binding.created", binding(&vhost, &source, &destination, &routing_key, arguments))
            }
            Command::Unbind { vhost, source, destination, routing_key, arguments, .. } => {
                ("binding.deleted", binding(&vhost, &source, &destination, &routing_key, arguments))
            }
            _ => return None,
        })
    }
}

fn binding(
    vhost: &str,
    source: &str,
    destination: &Destination,
    routing_key: &str,
    arguments: FieldTable,
) -> Facts {
    let (kind, name) = match destination {
        Destination::Queue(name) => ("queue", name),
        Destination::Exchange(name) => ("exchange", name),
    };
    vec![
        ("source_name", text(source)),
        ("source_kind", text("exchange")),
        ("destination_name", text(name)),
        ("destination_kind", text(kind)),
        ("routing_key", text(routing_key)),
        ("vhost", text(vhost)),
        ("arguments", AMQPValue::FieldTable(arguments)),
    ]
}

/// Tells which queues are gone. Those that exchanges keep for themselves are not told of.
pub(crate) fn tell_deleted(shared: &Shared, outcome: &Outcome) {
    let is_named = |queue: &&std::sync::Arc<QueueEntry>| queue.delays_for.is_none() && !queue.name.is_empty();
    for queue in outcome.deleted_queues.iter().filter(is_named) {
        shared
            .tell_event("queue.deleted", || vec![("name", text(&queue.name)), ("vhost", text(&queue.vhost))]);
    }
}
