//! The nodes of the cluster.

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use serde_json::{Map, Value, json};

use super::numbers::{Histories, spans};
use super::overview::{contexts, exchange_types, with_rates};
use crate::management::http::{Api, Failure, ListQuery, Monitoring, Outcome, Parameters, reply};
use crate::node::statistics::NodeNumbers;

const MECHANISMS: [(&str, &str); 2] =
    [("AMQPLAIN", "QPid AMQPLAIN mechanism"), ("PLAIN", "SASL PLAIN authentication mechanism")];

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/nodes", get(list))
        .route("/api/nodes/{node}", get(show))
        .route("/api/nodes/{node}/memory", get(memory))
        .route("/api/nodes/{node}/memory/relative", get(relative_memory))
}

/// All nodes: those that do not answer are not running.
async fn rows(api: &Api, parameters: &Parameters) -> Vec<Value> {
    let mut histories = match spans(parameters) {
        Some((lengths, rates)) => api.control.node_histories(lengths, rates).await.all,
        None => Vec::new(),
    };
    let nodes = api.control.node_list().await;
    let mut rows: Vec<_> = nodes
        .all
        .iter()
        .map(|node| {
            let own = histories.iter().position(|(name, _)| *name == node.name);
            let history = own.map(|at| Histories(histories.swap_remove(at).1.0)).unwrap_or_default();
            Value::Object(row(api, node, &history))
        })
        .collect();
    rows.extend(nodes.silent.into_iter().map(|name| json!({"name": name, "running": false, "type": "disc"})));
    rows.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    rows
}

fn row(api: &Api, node: &NodeNumbers, histories: &Histories) -> Map<String, Value> {
    let about = json!({
        "partitions": [],
        "os_pid": node.process_id.to_string(),
        "fd_total": node.fds_max,
        "sockets_total": node.connections_max,
        "mem_limit": node.memory_limit_bytes,
        "mem_alarm": node.memory_alarm,
        "disk_free_limit": node.disk_free_limit_bytes,
        "disk_free_alarm": node.disk_alarm,
        "proc_total": 1_048_576,
        "rates_mode": "basic",
        "uptime": node.now_ms.saturating_sub(node.started_ms),
        "run_queue": 0,
        "processors": node.processors,
        "exchange_types": exchange_types(),
        "auth_mechanisms": MECHANISMS
            .map(|(name, about)| json!({"name": name, "description": about, "enabled": true})),
        "applications": [{"name": "warren", "description": "Warren", "version": node.version}],
        "contexts": contexts(api, &node.name),
        "log_files": ["<stderr>"],
        "db_dir": api.config.node.data_dir.display().to_string(),
        "config_files": [],
        "net_ticktime": 60,
        "enabled_plugins": ["rabbitmq_management", "rabbitmq_prometheus"],
        "mem_calculation_strategy": "rss",
        "ra_open_file_metrics": {"ra_log_wal": 1, "ra_log_segment_writer": 0},
        "name": node.name,
        "running": true,
        "type": "disc",
        "being_drained": false,
        "cluster_links": [],
        "metrics_gc_queue_length": {},
        "io_read_avg_time": 0.0,
        "io_read_avg_time_details": {"rate": 0.0},
        "io_write_avg_time": 0.0,
        "io_write_avg_time_details": {"rate": 0.0},
        "io_sync_avg_time": average_ms(node.storage.log_sync_us, node.storage.log_syncs),
        "io_sync_avg_time_details": {"rate": 0.0},
        "io_seek_avg_time": 0.0,
        "io_seek_avg_time_details": {"rate": 0.0},
    });
    let counts = [
        ("mem_used", node.memory_bytes),
        ("fd_used", node.fds),
        ("sockets_used", node.connections),
        ("proc_used", node.connections + node.channels),
        ("disk_free", node.disk_free_bytes),
        ("gc_num", 0),
        ("gc_bytes_reclaimed", 0),
        ("context_switches", 0),
        ("io_read_count", 0),
        ("io_read_bytes", 0),
        ("io_write_count", node.storage.log_syncs),
        ("io_write_bytes", node.storage.log_written_bytes),
        ("io_sync_count", node.storage.log_syncs),
        ("io_seek_count", 0),
        ("io_reopen_count", 0),
        ("mnesia_ram_tx_count", 0),
        ("mnesia_disk_tx_count", 0),
        ("msg_store_read_count", 0),
        ("msg_store_write_count", 0),
        ("queue_index_write_count", 0),
        ("queue_index_read_count", 0),
        ("connection_created", node.churn.connection_created),
        ("connection_closed", node.churn.connection_closed),
        ("channel_created", node.churn.channel_created),
        ("channel_closed", node.churn.channel_closed),
        ("queue_declared", node.churn.queue_declared),
        ("queue_created", node.churn.queue_created),
        ("queue_deleted", node.churn.queue_deleted),
    ];
    let mut row = with_rates(&counts, histories);
    if let Value::Object(about) = about {
        row.extend(about);
    }
    row
}

#[expect(clippy::cast_precision_loss, reason = "a mean is for people")]
fn average_ms(us: u64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { us as f64 / count as f64 / 1000.0 }
}

async fn list(
    State(api): State<Api>,
    Monitoring(_): Monitoring,
    parameters: Parameters,
    query: ListQuery,
) -> Outcome {
    query.reply(rows(&api, &parameters).await)
}

async fn show(
    State(api): State<Api>,
    Monitoring(_): Monitoring,
    Path(name): Path<String>,
    parameters: Parameters,
    query: ListQuery,
) -> Outcome {
    let found = rows(&api, &parameters).await.into_iter().find(|row| row["name"] == *name);
    found.map(|row| query.show(&row)).ok_or_else(Failure::no_object)
}

/// What a node's memory goes to: messages, and the rest.
async fn parts(api: &Api, name: &str) -> Result<[(&'static str, u64); 4], Failure> {
    let nodes = api.control.node_list().await.all;
    let node = nodes.into_iter().find(|node| node.name == name).ok_or_else(Failure::no_object)?;
    let (classic, quorum) = (node.classic.in_memory_bytes, node.quorum.in_memory_bytes);
    let rest = node.memory_bytes.saturating_sub(classic + quorum);
    Ok([
        ("total", node.memory_bytes),
        ("queue_procs", classic),
        ("quorum_queue_procs", quorum),
        ("other_system", rest),
    ])
}

/// RabbitMQ's parts that have no counterpart.
const NOTHING: [&str; 20] = [
    "connection_readers",
    "connection_writers",
    "connection_channels",
    "connection_other",
    "queue_slave_procs",
    "quorum_queue_dlx_procs",
    "stream_queue_procs",
    "stream_queue_replica_reader_procs",
    "stream_queue_coordinator_procs",
    "plugins",
    "other_proc",
    "metrics",
    "mgmt_db",
    "mnesia",
    "quorum_ets",
    "other_ets",
    "binary",
    "msg_index",
    "code",
    "atom",
];

async fn memory(State(api): State<Api>, Monitoring(_): Monitoring, Path(name): Path<String>) -> Outcome {
    let [(_, total), parts @ ..] = parts(&api, &name).await?;
    let mut memory: Map<_, _> = NOTHING.iter().map(|part| ((*part).to_owned(), Value::from(0))).collect();
    memory.extend(parts.map(|(part, bytes)| (part.to_owned(), Value::from(bytes))));
    memory.insert("allocated_unused".to_owned(), 0.into());
    memory.insert("reserved_unallocated".to_owned(), 0.into());
    memory.insert("strategy".to_owned(), "rss".into());
    memory.insert("total".to_owned(), json!({"erlang": total, "rss": total, "allocated": total}));
    Ok(reply::json(&json!({"memory": memory})))
}

async fn relative_memory(
    State(api): State<Api>,
    Monitoring(_): Monitoring,
    Path(name): Path<String>,
) -> Outcome {
    let [(_, total), parts @ ..] = parts(&api, &name).await?;
    let mut memory: Map<_, _> = NOTHING.iter().map(|part| ((*part).to_owned(), Value::from(0))).collect();
    let percent = |bytes: u64| bytes * 100 / total.max(1);
    memory.extend(parts.map(|(part, bytes)| (part.to_owned(), Value::from(percent(bytes)))));
    memory.insert("total".to_owned(), 100.into());
    Ok(reply::json(&json!({"memory": memory})))
}
