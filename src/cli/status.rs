//! `warren status` and `warren health`: how a node stands.

use clap::Args;
use serde_json::{Value, json};

use super::access::{Access, Output};
use super::failure::Failure;
use super::http::{Node, part, reason};
use super::output::{cell, field, json as show_json, say, show_one};

/// How the node and its broker stand.
#[derive(Args, Debug)]
pub(crate) struct Status {
    #[command(flatten)]
    access: Access,
}

/// Health checks of a node.
#[derive(Args, Debug)]
pub(crate) struct Health {
    /// Checks such as alarms, local-alarms, virtual-hosts, port-listener/5672, certificate-expiration/4/weeks; without
    /// any: alarms, virtual-hosts, node-is-quorum-critical, is-in-service
    checks: Vec<String>,
    #[command(flatten)]
    access: Access,
}

const USUAL_CHECKS: [&str; 4] = ["alarms", "virtual-hosts", "node-is-quorum-critical", "is-in-service"];

pub(crate) fn status(status: &Status) -> Result<(), Failure> {
    let node = Node::new(status.access.target()?);
    let overview = node.get("overview")?;
    let get = |path: &str| cell(field(&overview, path));
    let mut pairs = vec![("address", node.address().to_owned())];
    for (name, path) in [
        ("product", "product_name"),
        ("version", "product_version"),
        ("cluster", "cluster_name"),
        ("node", "node"),
        ("connections", "object_totals.connections"),
        ("channels", "object_totals.channels"),
        ("exchanges", "object_totals.exchanges"),
        ("queues", "object_totals.queues"),
        ("consumers", "object_totals.consumers"),
        ("messages ready", "queue_totals.messages_ready"),
        ("messages unacknowledged", "queue_totals.messages_unacknowledged"),
        ("publish rate", "message_stats.publish_details.rate"),
        ("deliver rate", "message_stats.deliver_get_details.rate"),
    ] {
        pairs.push((name, get(path)));
    }
    show_one(&pairs, &overview, status.access.output);
    Ok(())
}

pub(crate) fn health(health: &Health) -> Result<(), Failure> {
    let node = Node::new(health.access.target()?);
    let usual = || USUAL_CHECKS.iter().map(|check| (*check).to_owned()).collect();
    let checks: Vec<String> = if health.checks.is_empty() { usual() } else { health.checks.clone() };
    let mut results = Vec::new();
    let mut failed = Vec::new();
    for check in checks {
        let path: Vec<_> = check.split('/').map(part).collect();
        let path = format!("health/checks/{}", path.join("/"));
        let answer = node.ask("GET", &path, None)?;
        let is_well = answer.status.is_success();
        if !is_well && answer.status.as_u16() != 503 {
            return Err(node.refusal("GET", &path, &answer));
        }
        let why = if is_well { String::new() } else { format!(": {}", reason(&answer.body)) };
        if health.access.output != Output::Json {
            say(&format!("{}\t{check}{why}", if is_well { "ok" } else { "failed" }));
        }
        results.push(json!({"check": check, "ok": is_well, "answer": answer.body}));
        if !is_well {
            failed.push(check);
        }
    }
    if health.access.output == Output::Json {
        show_json(&Value::Array(results));
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Failure::UNHEALTHY, format!("{} is not well: {}", node.address(), failed.join(", "))))
}
