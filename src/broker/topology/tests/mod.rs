//! Topology: what each command answers, what survives, where messages go.

mod bindings;
mod commands;
mod companions;
mod declare;
mod delays;
mod homes;
mod parameters;
mod picking;
mod policies;
mod rights;
mod routing;
mod rows;
mod scale;

use amq_protocol::types::{AMQPValue, FieldTable, LongString};

use crate::broker::ids::ConnectionId;
use crate::broker::policy::{PolicyScope, PolicySpec};

use super::*;

const ME: ConnectionId = 1;
const OTHER: ConnectionId = 2;

fn string(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

fn table(pairs: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in pairs {
        table.insert((*name).into(), value.clone());
    }
    table
}

/// A topology with the vhost `/`, and short ways to ask it.
struct Scene {
    topology: Topology,
}

impl Scene {
    fn new() -> Self {
        let mut topology = Topology::new(Placement::alone(4));
        topology.apply(Command::CreateVhost { name: "/".to_owned() }).unwrap();
        Self { topology }
    }

    fn apply(&mut self, command: Command) -> Outcome {
        self.topology.apply(command).unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    /// The refusal as scope, code and text; panics when there is none.
    fn refused(&mut self, command: Command) -> String {
        let version = self.topology.version();
        let refusal = self.topology.apply(command.clone()).expect_err(&format!("{command:?}"));
        assert_eq!(self.topology.version(), version, "nothing changes");
        format!("{:?} {} {}", refusal.scope, refusal.code.id(), refusal.reply_text())
    }

    fn targets(&self, exchange: &str, key: &str) -> Vec<String> {
        self.route(&RouteQuery { vhost: "/", exchange, keys: &[key], ..RouteQuery::default() }).unwrap()
    }

    /// The names of the queues, sorted.
    fn route(&self, query: &RouteQuery<'_>) -> Result<Vec<String>, RouteError> {
        let mut out = Vec::new();
        self.topology.route(query, &mut out)?;
        let name = |target: &crate::broker::ids::Target| {
            let queue = self.topology.queue_by_id(target.id).unwrap();
            assert_eq!(*target, queue.target());
            queue.name.to_string()
        };
        let mut names: Vec<String> = out.iter().map(name).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn has_exchange(&self, name: &str) -> bool {
        self.topology.exchange("/", name).is_some()
    }
}

/// A declare to be changed where it matters.
fn exchange(name: &str, kind: &str) -> Command {
    exchange_with(name, kind, FieldTable::default())
}

fn exchange_with(name: &str, kind: &str, arguments: FieldTable) -> Command {
    Command::DeclareExchange {
        vhost: "/".to_owned(),
        name: name.to_owned(),
        kind: kind.to_owned(),
        passive: false,
        durable: false,
        auto_delete: false,
        internal: false,
        arguments,
    }
}

fn queue(name: &str) -> Command {
    queue_with(name, FieldTable::default())
}

fn queue_with(name: &str, arguments: FieldTable) -> Command {
    Command::DeclareQueue {
        vhost: "/".to_owned(),
        name: name.to_owned(),
        generated: false,
        passive: false,
        durable: false,
        exclusive: false,
        auto_delete: false,
        arguments,
        owner: ME,
    }
}

/// The declare with one of its flags turned on.
fn and(mut command: Command, flag: &str) -> Command {
    match &mut command {
        Command::DeclareExchange { passive, durable, auto_delete, internal, .. } => match flag {
            "passive" => *passive = true,
            "durable" => *durable = true,
            "auto_delete" => *auto_delete = true,
            "internal" => *internal = true,
            _ => panic!("{flag}"),
        },
        Command::DeclareQueue { generated, passive, durable, exclusive, auto_delete, .. } => match flag {
            "generated" => *generated = true,
            "passive" => *passive = true,
            "durable" => *durable = true,
            "exclusive" => *exclusive = true,
            "auto_delete" => *auto_delete = true,
            _ => panic!("{flag}"),
        },
        _ => panic!("{command:?}"),
    }
    command
}

/// The command asked by another connection.
fn by_other(mut command: Command) -> Command {
    match &mut command {
        Command::DeclareQueue { owner, .. }
        | Command::DeleteQueue { owner, .. }
        | Command::CheckQueue { owner, .. }
        | Command::Bind { owner, .. }
        | Command::Unbind { owner, .. } => *owner = OTHER,
        _ => panic!("{command:?}"),
    }
    command
}

fn delete_exchange(name: &str, if_unused: bool) -> Command {
    Command::DeleteExchange { vhost: "/".to_owned(), name: name.to_owned(), if_unused }
}

fn delete_queue(name: &str) -> Command {
    Command::DeleteQueue {
        vhost: "/".to_owned(),
        name: name.to_owned(),
        owner: ME,
        if_unused: true,
        consumers: 0,
        if_empty: true,
        messages: 0,
    }
}

fn to_queue(name: &str) -> Destination {
    Destination::Queue(name.to_owned())
}

fn to_exchange(name: &str) -> Destination {
    Destination::Exchange(name.to_owned())
}

fn bind(source: &str, destination: Destination, key: &str) -> Command {
    bind_with(source, destination, key, FieldTable::default())
}

fn bind_with(source: &str, destination: Destination, key: &str, arguments: FieldTable) -> Command {
    Command::Bind {
        vhost: "/".to_owned(),
        source: source.to_owned(),
        destination,
        routing_key: key.to_owned(),
        arguments,
        owner: ME,
    }
}

fn unbind(source: &str, destination: Destination, key: &str) -> Command {
    unbind_with(source, destination, key, FieldTable::default())
}

fn unbind_with(source: &str, destination: Destination, key: &str, arguments: FieldTable) -> Command {
    Command::Unbind {
        vhost: "/".to_owned(),
        source: source.to_owned(),
        destination,
        routing_key: key.to_owned(),
        arguments,
        owner: ME,
    }
}
