//! `warren delete`, `purge` and `close`: what cannot be taken back is asked for once more.

use std::io::{IsTerminal, Write};

use clap::{Args, Subcommand};
use serde_json::Value;

use super::access::Access;
use super::declare::To;
use super::failure::Failure;
use super::http::{Node, part};
use super::output::{field, told};

/// Deletes an object.
#[derive(Args, Debug)]
pub(crate) struct Delete {
    #[command(subcommand)]
    what: What,
    /// The vhost it is in
    #[arg(long, short = 'V', global = true, value_name = "VHOST", default_value = "/")]
    vhost: String,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Subcommand)]
enum What {
    /// A queue with its messages
    Queue {
        name: String,
        /// Only without messages
        #[arg(long)]
        if_empty: bool,
        /// Only without consumers
        #[arg(long)]
        if_unused: bool,
    },
    /// An exchange with its bindings
    Exchange {
        name: String,
        /// Only without bindings
        #[arg(long)]
        if_unused: bool,
    },
    /// The bindings with this key between an exchange and a queue or another exchange
    Binding {
        source: String,
        destination: String,
        /// The binding key
        #[arg(long, short, default_value = "")]
        key: String,
        /// What the destination is
        #[arg(long, value_enum, default_value = "queue")]
        to: To,
    },
    /// A virtual host with all that is in it
    #[command(name = "vhost")]
    Virtual { name: String },
    /// A user
    User { name: String },
    /// What a user may do in the vhost
    Permissions { user: String },
    /// Topic permissions of a user in the vhost
    TopicPermissions { user: String },
    /// A policy
    Policy { name: String },
    /// An operator's policy
    OperatorPolicy { name: String },
    /// A limit of the vhost
    VhostLimit { limit: String },
    /// A limit of a user
    UserLimit { user: String, limit: String },
    /// A parameter of a component of the vhost
    Parameter { component: String, name: String },
    /// A global parameter
    GlobalParameter { name: String },
}

/// A queue that is to be emptied.
#[derive(Args, Debug)]
pub(crate) struct Purge {
    queue: String,
    /// The vhost it is in
    #[arg(long, short = 'V', value_name = "VHOST", default_value = "/")]
    vhost: String,
    #[command(flatten)]
    access: Access,
}

/// What is to be closed.
#[derive(Args, Debug)]
pub(crate) struct Close {
    #[command(subcommand)]
    what: Closed,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Subcommand)]
enum Closed {
    /// A client's connection, by the name that `warren list connections` shows
    Connection {
        name: String,
        /// What the client is told
        #[arg(long, default_value = "Closed by the operator")]
        reason: String,
    },
}

pub(crate) fn run(delete: Delete) -> Result<(), Failure> {
    let Delete { what, vhost, access } = delete;
    let node = Node::new(access.target()?);
    let v = part(&vhost);
    if let What::Binding { source, destination, key, to } = &what {
        return unbind(&node, &access, &v, [source, destination, key], *to);
    }
    let (path, text) = path(what, &vhost, &v);
    confirm(&access, &format!("delete {text}"))?;
    node.done("DELETE", &path, None)?;
    told(&format!("{text} is deleted"), access.output);
    Ok(())
}

fn path(what: What, vhost: &str, v: &str) -> (String, String) {
    let in_vhost = |kind: &str, name: &str| format!("{kind} '{name}' in vhost '{vhost}'");
    match what {
        What::Queue { name, if_empty, if_unused } => {
            let path = format!("queues/{v}/{}?if-empty={if_empty}&if-unused={if_unused}", part(&name));
            (path, in_vhost("queue", &name))
        }
        What::Exchange { name, if_unused } => {
            (format!("exchanges/{v}/{}?if-unused={if_unused}", part(&name)), in_vhost("exchange", &name))
        }
        // Bindings have names of the node's making: they are looked for first.
        What::Binding { source, .. } => (String::new(), source),
        What::Virtual { name } => {
            (format!("vhosts/{}", part(&name)), format!("vhost '{name}' with all that is in it"))
        }
        What::User { name } => (format!("users/{}", part(&name)), format!("user '{name}'")),
        What::Permissions { user } => {
            (format!("permissions/{v}/{}", part(&user)), in_vhost("what may be done by user", &user))
        }
        What::TopicPermissions { user } => {
            (format!("topic-permissions/{v}/{}", part(&user)), in_vhost("topic permissions of user", &user))
        }
        What::Policy { name } => (format!("policies/{v}/{}", part(&name)), in_vhost("policy", &name)),
        What::OperatorPolicy { name } => {
            (format!("operator-policies/{v}/{}", part(&name)), in_vhost("operator policy", &name))
        }
        What::VhostLimit { limit } => {
            (format!("vhost-limits/{v}/{}", part(&limit)), format!("limit {limit} of vhost '{vhost}'"))
        }
        What::UserLimit { user, limit } => (
            format!("user-limits/{}/{}", part(&user), part(&limit)),
            format!("limit {limit} of user '{user}'"),
        ),
        What::Parameter { component, name } => {
            let path = format!("parameters/{}/{v}/{}", part(&component), part(&name));
            (path, in_vhost(&format!("parameter of {component}"), &name))
        }
        What::GlobalParameter { name } => {
            (format!("global-parameters/{}", part(&name)), format!("global parameter '{name}'"))
        }
    }
}

fn unbind(node: &Node, access: &Access, v: &str, names: [&String; 3], to: To) -> Result<(), Failure> {
    let [source, destination, key] = names;
    let path = format!("bindings/{v}/e/{}/{}/{}", part(source), to.letter(), part(destination));
    let found = super::list::all(node, &path, false)?;
    let ours: Vec<_> = found.iter().filter(|binding| field(binding, "routing_key") == key.as_str()).collect();
    if ours.is_empty() {
        let text = format!("there is no binding from '{source}' to '{destination}' with the key '{key}'");
        return Err(Failure::new(Failure::NOT_FOUND, text));
    }
    confirm(access, &format!("delete {} binding(s) from '{source}' to '{destination}'", ours.len()))?;
    for binding in ours {
        let name = field(binding, "properties_key").as_str().unwrap_or("~");
        node.done("DELETE", &format!("{path}/{}", part(name)), None)?;
    }
    told(&format!("'{source}' is no longer bound to '{destination}' with the key '{key}'"), access.output);
    Ok(())
}

pub(crate) fn purge(purge: &Purge) -> Result<(), Failure> {
    let Purge { queue, vhost, access } = purge;
    let node = Node::new(access.target()?);
    confirm(access, &format!("drop all messages of queue '{queue}' in vhost '{vhost}'"))?;
    node.done("DELETE", &format!("queues/{}/{}/contents", part(vhost), part(queue)), None)?;
    told(&format!("queue '{queue}' in vhost '{vhost}' has no ready messages any more"), access.output);
    Ok(())
}

pub(crate) fn close(close: &Close) -> Result<(), Failure> {
    let Close { what: Closed::Connection { name, reason }, access } = close;
    let node = Node::new(access.target()?);
    confirm(access, &format!("close connection '{name}'"))?;
    node.done("DELETE", &format!("connections/{}?reason={}", part(name), part(reason)), None::<&Value>)?;
    told(&format!("connection '{name}' is closed"), access.output);
    Ok(())
}

/// Asks whoever sits at a terminal; programs are taken at their word.
pub(crate) fn confirm(access: &Access, what: &str) -> Result<(), Failure> {
    if access.yes || !std::io::stdin().is_terminal() {
        return Ok(());
    }
    let mut err = std::io::stderr();
    let _ = write!(err, "Really {what}? [y/N] ").and_then(|()| err.flush());
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line);
    if read.is_ok() && ["y", "yes"].contains(&line.trim().to_ascii_lowercase().as_str()) {
        return Ok(());
    }
    Err(Failure::usage("nothing was done; --yes answers in advance"))
}
