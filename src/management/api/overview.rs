//! The cluster at a glance.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::numbers::{Histories, MessageStats, Rate, spans};
use super::parameters::cluster_name;
use crate::broker::counts::MessageCounts;
use crate::management::http::{Api, ListQuery, Manager, Parameters, reply};
use crate::node::statistics::{Churn, NodeNumbers};

/// The release of RabbitMQ whose API this is: tools look at it before they use what came later.
pub(super) const COMPATIBLE: &str = "3.10.8";

const EXCHANGE_TYPES: [(&str, &str); 9] = [
    ("direct", "AMQP direct exchange, as per the AMQP specification"),
    ("fanout", "AMQP fanout exchange, as per the AMQP specification"),
    ("headers", "AMQP headers exchange, as per the AMQP specification"),
    ("topic", "AMQP topic exchange, as per the AMQP specification"),
    ("x-consistent-hash", "Consistent hashing exchange"),
    ("x-delayed-message", "Delayed message exchange"),
    ("x-modulus-hash", "Modulus hashing exchange"),
    ("x-random", "Random exchange"),
    ("x-recent-history", "Recent history exchange"),
];

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/api/overview", get(overview)).route("/api/version", get(version))
}

#[derive(Serialize)]
struct Shown {
    management_version: &'static str,
    rates_mode: &'static str,
    sample_retention_policies: Value,
    exchange_types: Vec<ExchangeType>,
    product_version: &'static str,
    product_name: &'static str,
    rabbitmq_version: &'static str,
    cluster_name: String,
    erlang_version: &'static str,
    erlang_full_version: &'static str,
    release_series_support_status: &'static str,
    disable_stats: bool,
    enable_queue_totals: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_stats: Option<MessageStats>,
    churn_rates: Map<String, Value>,
    queue_totals: Map<String, Value>,
    object_totals: ObjectTotals,
    statistics_db_event_queue: u64,
    node: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    listeners: Option<Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contexts: Option<Vec<Value>>,
}

#[derive(Serialize)]
struct ExchangeType {
    name: &'static str,
    description: &'static str,
    enabled: bool,
}

#[derive(Serialize)]
struct ObjectTotals {
    channels: u64,
    connections: u64,
    consumers: u64,
    exchanges: u64,
    queues: u64,
}

/// All types of exchanges.
pub(super) fn exchange_types() -> Value {
    let types = EXCHANGE_TYPES.iter();
    types.map(|(name, about)| json!({"name": name, "description": about, "enabled": true})).collect()
}

async fn overview(
    State(api): State<Api>,
    Manager(caller): Manager,
    parameters: Parameters,
    query: ListQuery,
) -> Response {
    let all = api.control.overview().await.all;
    let histories = match spans(&parameters) {
        Some((lengths, rates)) => {
            let mut sum = Histories::default();
            for (_, series) in api.control.node_histories(lengths, rates).await.all {
                sum.add(Histories(series.0));
            }
            sum
        }
        None => Histories::default(),
    };
    let sum = |of: fn(&NodeNumbers) -> u64| all.nodes.iter().map(of).sum::<u64>();
    let watches = caller.is_monitoring();
    let shown = Shown {
        management_version: COMPATIBLE,
        rates_mode: "basic",
        sample_retention_policies: json!({"global": [60, 3600, 28800], "basic": [60, 3600, 28800], "detailed": []}),
        exchange_types: EXCHANGE_TYPES
            .map(|(name, description)| ExchangeType { name, description, enabled: true })
            .into(),
        product_version: env!("CARGO_PKG_VERSION"),
        product_name: "Warren",
        rabbitmq_version: COMPATIBLE,
        cluster_name: cluster_name(&api),
        erlang_version: "",
        erlang_full_version: "",
        release_series_support_status: "supported",
        disable_stats: false,
        enable_queue_totals: false,
        message_stats: Some(message_stats(&all.nodes, &histories)),
        churn_rates: churn(&all.nodes, &histories),
        queue_totals: queue_totals(&all.nodes, &histories),
        object_totals: ObjectTotals {
            channels: sum(|node| node.channels),
            connections: sum(|node| node.connections),
            consumers: sum(|node| node.consumers),
            exchanges: all.exchanges,
            queues: all.queues,
        },
        statistics_db_event_queue: 0,
        node: all.node.clone(),
        listeners: watches.then(|| listeners(&api, &all.node)),
        contexts: watches.then(|| contexts(&api, &all.node)),
    };
    query.show(&shown)
}

fn message_stats(nodes: &[NodeNumbers], histories: &Histories) -> MessageStats {
    let mut counts = MessageCounts::default();
    let mut rates = [0.0; MessageCounts::COUNT];
    for node in nodes {
        counts.add(&node.messages);
        rates.iter_mut().zip(&node.message_rates).for_each(|(sum, rate)| *sum += rate);
    }
    let writes = nodes.iter().map(|node| node.storage.log_syncs).sum();
    MessageStats::new(&counts, &rates).with_disk(0, writes).with(histories)
}

fn churn(nodes: &[NodeNumbers], histories: &Histories) -> Map<String, Value> {
    let sum = |of: fn(&Churn) -> u64| nodes.iter().map(|node| of(&node.churn)).sum::<u64>();
    let counts = [
        ("channel_closed", sum(|churn| churn.channel_closed)),
        ("channel_created", sum(|churn| churn.channel_created)),
        ("connection_closed", sum(|churn| churn.connection_closed)),
        ("connection_created", sum(|churn| churn.connection_created)),
        ("queue_created", sum(|churn| churn.queue_created)),
        ("queue_declared", sum(|churn| churn.queue_declared)),
        ("queue_deleted", sum(|churn| churn.queue_deleted)),
    ];
    with_rates(&counts, histories)
}

fn queue_totals(nodes: &[NodeNumbers], histories: &Histories) -> Map<String, Value> {
    let ready: u64 = nodes.iter().map(|node| node.classic.ready + node.quorum.ready).sum();
    let unacked: u64 = nodes.iter().map(|node| node.classic.unacked + node.quorum.unacked).sum();
    let counts = [("messages_ready", ready), ("messages_unacknowledged", unacked)];
    let mut totals = with_rates(&counts, histories);
    let both = histories.sum(&["messages_ready", "messages_unacknowledged"]);
    totals.insert("messages".to_owned(), (ready + unacked).into());
    let rate = both.map_or_else(Rate::default, Rate::History);
    totals.insert("messages_details".to_owned(), json!(rate));
    totals
}

/// Counts, each with its rate.
pub(super) fn with_rates(counts: &[(&str, u64)], histories: &Histories) -> Map<String, Value> {
    let mut map = Map::new();
    for (name, count) in counts {
        map.insert((*name).to_owned(), (*count).into());
        map.insert(format!("{name}_details"), json!(histories.rate(name, 0.0)));
    }
    map
}

/// Where this node listens.
pub(super) fn listeners(api: &Api, node: &str) -> Vec<Value> {
    let listener = |protocol: &str, address: std::net::SocketAddr| {
        json!({
            "node": node,
            "protocol": protocol,
            "ip_address": address.ip().to_string(),
            "port": address.port(),
            "socket_opts": {"nodelay": true},
        })
    };
    api.control.listeners().into_iter().map(|(protocol, address)| listener(protocol, address)).collect()
}

/// What this node serves over HTTP.
pub(super) fn contexts(api: &Api, node: &str) -> Vec<Value> {
    let http = api.control.listeners().into_iter().filter(|(protocol, _)| protocol.starts_with("http"));
    let context = |(protocol, address): (&str, std::net::SocketAddr)| {
        let about = if protocol == "http/prometheus" { "Warren metrics" } else { "Warren management" };
        json!({
            "node": node,
            "description": about,
            "path": "/",
            "ip": address.ip().to_string(),
            "port": address.port().to_string(),
        })
    };
    http.map(context).collect()
}

async fn version(Manager(_): Manager) -> Response {
    reply::json(&json!(COMPATIBLE))
}
