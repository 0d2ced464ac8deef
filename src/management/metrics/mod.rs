//! Prometheus: RabbitMQ's paths and names of families, and some of our own.
//!
//! - `node`, `queues`, `clients`: the families
//! - `text`: how they are written
//! - `stream`: long answers, written as they are taken

mod clients;
mod node;
mod queues;
mod stream;
mod text;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use super::Management;
use crate::broker::topology::QueueEntry;
use crate::node::statistics::QueueNumbers;
use crate::node::{Control, Door};
use stream::Writer;
use text::Text;

/// Queues asked for their numbers at once.
const QUEUES_AT_ONCE: usize = 4096;
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves metrics to those who come through these doors until [`Management::stop`].
#[must_use]
pub fn start(control: Control, doors: Vec<Door>) -> Management {
    let router = Router::new()
        .route("/", get(index))
        .route("/metrics", get(aggregated))
        .route("/metrics/per-object", get(per_object))
        .route("/metrics/detailed", get(detailed))
        .with_state(control);
    Management::start(router, doors)
}

async fn index() -> Html<&'static str> {
    Html(
        "<!doctype html><title>Metrics</title><ul><li><a href=\"/metrics\">metrics</a>\
         <li><a href=\"/metrics/per-object\">metrics/per-object</a>\
         <li><a href=\"/metrics/detailed?family=queue_coarse_metrics\">metrics/detailed</a></ul>",
    )
}

/// The node as a whole.
async fn aggregated(State(control): State<Control>) -> Response {
    let node = control.own_node().await;
    let mut text = Text::default();
    node::put_identity(&mut text, &node, &control.cluster_name(), "aggregated");
    node::put(&mut text, &node, |_| false);
    queues::put_totals(&mut text, &node);
    node::put_own(&mut text, &node);
    ([("content-type", CONTENT_TYPE)], text.out).into_response()
}

/// Each queue, connection and channel of the node.
async fn per_object(State(control): State<Control>) -> Response {
    stream::answer(CONTENT_TYPE, |writer| async move {
        let node = control.own_node().await;
        let mut text = Text::default();
        node::put_identity(&mut text, &node, &control.cluster_name(), "per-object");
        node::put(&mut text, &node, clients::has_family);
        node::put_own(&mut text, &node);
        writer.write(&mut text).await?;
        drop(node);
        let asked = Asked { families: None, vhosts: BTreeSet::new() };
        put_objects(&control, "rabbitmq_", &asked, &writer).await
    })
}

/// What is asked for in `/metrics/detailed`.
struct Asked {
    /// None for all.
    families: Option<BTreeSet<String>>,
    /// Empty for all.
    vhosts: BTreeSet<String>,
}

impl Asked {
    fn of(query: &str) -> Self {
        let (mut families, mut vhosts) = (BTreeSet::new(), BTreeSet::new());
        for (name, value) in query.split('&').filter_map(|part| part.split_once('=')) {
            let value = percent_decoded(value);
            match name {
                "family" => drop(families.insert(value)),
                "vhost" => drop(vhosts.insert(value)),
                _ => {}
            }
        }
        Self { families: Some(families), vhosts }
    }

    fn wants(&self, group: &str) -> bool {
        self.families.as_ref().is_none_or(|families| families.contains(group))
    }

    fn has_vhost(&self, vhost: &str) -> bool {
        self.vhosts.is_empty() || self.vhosts.contains(vhost)
    }

    fn wants_queues(&self) -> bool {
        let groups = self.families.as_ref();
        groups.is_none_or(|groups| {
            groups
                .iter()
                .any(|group| group.starts_with("queue_") || group == "channel_queue_exchange_metrics")
        })
    }
}

/// The families and vhosts that are asked for.
async fn detailed(State(control): State<Control>, RawQuery(query): RawQuery) -> Response {
    let asked = Asked::of(&query.unwrap_or_default());
    stream::answer(CONTENT_TYPE, |writer| async move {
        let mut text = Text::default();
        let node = control.own_node().await;
        node::put_identity(&mut text, &node, &control.cluster_name(), "detailed");
        writer.write(&mut text).await?;
        put_objects(&control, "rabbitmq_detailed_", &asked, &writer).await
    })
}

async fn put_objects(control: &Control, prefix: &str, asked: &Asked, writer: &Writer) -> Option<()> {
    let mut text = Text::default();
    if asked.wants_queues() {
        let queues = queues_of(control, asked).await;
        for at in 0..queues::count() {
            queues::put(&mut text, at, prefix, |group| asked.wants(group), &queues);
            writer.write(&mut text).await?;
        }
        if asked.wants("queue_metrics") {
            queues::put_ages(&mut text, &queues, control.now_ms());
            writer.write(&mut text).await?;
        }
    }
    let mut connections = control.own_connections();
    connections.retain(|connection| asked.has_vhost(&connection.facts.vhost));
    clients::put(&mut text, prefix, |group| asked.wants(group), &connections);
    if asked.wants("exchange_metrics") {
        let mut exchanges = control.own_exchanges();
        exchanges.retain(|exchange| asked.has_vhost(&exchange.vhost));
        clients::put_exchanges(&mut text, prefix, &exchanges);
    }
    writer.write(&mut text).await
}

async fn queues_of(control: &Control, asked: &Asked) -> Vec<(Arc<QueueEntry>, QueueNumbers)> {
    let mut entries = control.declared_queues();
    entries.retain(|entry| asked.has_vhost(&entry.vhost));
    let mut queues = Vec::with_capacity(entries.len());
    for part in entries.chunks(QUEUES_AT_ONCE) {
        let numbers = control.own_queue_numbers(part).await;
        let by_id: std::collections::HashMap<u64, &Arc<QueueEntry>> =
            part.iter().map(|entry| (entry.id.0, entry)).collect();
        let with_entry = |numbers: QueueNumbers| Some((Arc::clone(by_id.get(&numbers.id)?), numbers));
        queues.extend(numbers.into_iter().filter_map(with_entry));
    }
    queues
}

fn percent_decoded(text: &str) -> String {
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((first, behind)) = rest.split_first() {
        let code = behind.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                out.push(byte);
                rest = behind.get(2..).unwrap_or_default();
            }
            None => {
                out.push(if *first == b'+' { b' ' } else { *first });
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_and_vhosts_are_taken_from_the_query() {
        let asked = Asked::of("family=queue_metrics&vhost=%2F&vhost=a+b%zz&other=1&family=channel_metrics");
        assert!(asked.wants("queue_metrics") && asked.wants("channel_metrics"));
        assert!(!asked.wants("connection_metrics") && asked.wants_queues());
        assert!(asked.has_vhost("/") && asked.has_vhost("a b%zz") && !asked.has_vhost("b"));
        let nothing = Asked::of("");
        assert!(!nothing.wants("queue_metrics") && !nothing.wants_queues() && nothing.has_vhost("any"));
    }
}
