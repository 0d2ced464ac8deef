//! Health checks for load balancers and monitoring: 200 when all is well, 503 with what is not.
//!
//! - `expiry`: certificates that end soon

mod expiry;

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use hyper::StatusCode;
use serde_json::{Map, Value, json};

use crate::management::http::{Api, Failure, Manager, Monitoring, Outcome, reply};
use crate::node::statistics::NodeNumbers;
use crate::node::{AckMode, GroupOverview, MessageProperties, Publication, QueueOverview, QueueSpec};

pub(super) fn routes() -> Router<Api> {
    let check = |path: &str| format!("/api/health/checks/{path}");
    Router::new()
        .route(&check("alarms"), get(alarms))
        .route(&check("local-alarms"), get(local_alarms))
        .route(&check("certificate-expiration/{within}/{unit}"), get(certificate_expiration))
        .route(&check("port-listener/{port}"), get(port_listener))
        .route(&check("protocol-listener/{protocol}"), get(protocol_listener))
        .route(&check("virtual-hosts"), get(well))
        .route(&check("node-is-quorum-critical"), get(node_is_quorum_critical))
        .route(&check("node-is-mirror-sync-critical"), get(node_is_quorum_critical))
        .route(&check("quorum-queues-without-elected-leaders/all-vhosts"), get(without_leaders))
        .route(
            &check("quorum-queues-without-elected-leaders/all-vhosts/pattern/{pattern}"),
            get(without_leaders),
        )
        .route(&check("quorum-queues-without-elected-leaders/vhost/{vhost}"), get(without_leaders_in))
        .route(
            &check("quorum-queues-without-elected-leaders/vhost/{vhost}/pattern/{pattern}"),
            get(without_leaders_in),
        )
        .route(&check("metadata-store/initialized"), get(metadata_store))
        .route(&check("metadata-store/initialized/with-data"), get(metadata_store))
        .route(&check("is-in-service"), get(is_in_service))
        .route(&check("ready-to-serve-clients"), get(ready_to_serve_clients))
        .route(&check("below-node-connection-limit"), get(below_connection_limit))
        .route("/api/aliveness-test/{vhost}", get(aliveness))
        .route("/api/healthchecks/node", get(local_alarms))
        .route("/api/healthchecks/node/{node}", get(node_by_name))
}

fn ok() -> Response {
    reply::json(&json!({"status": "ok"}))
}

fn failed(reason: &str, more: Value) -> Response {
    let mut body =
        Map::from_iter([("status".to_owned(), "failed".into()), ("reason".to_owned(), reason.into())]);
    if let Value::Object(more) = more {
        body.extend(more);
    }
    reply::with_status(StatusCode::SERVICE_UNAVAILABLE, &body)
}

/// What this node could not do without, it would not have started without.
async fn well(Monitoring(_): Monitoring) -> Response {
    ok()
}

fn alarms_of(node: &NodeNumbers) -> impl Iterator<Item = Value> {
    let all =
        [(node.memory_alarm, "memory"), (node.disk_alarm, "disk"), (node.majority_alarm, "cluster_majority")];
    let name = node.name.clone();
    all.into_iter().filter(|(is_on, _)| *is_on).map(move |(_, what)| json!({"node": name, "resource": what}))
}

async fn alarms(Monitoring(_): Monitoring, State(api): State<Api>) -> Response {
    let nodes = api.control.node_list().await.all;
    let alarms: Vec<_> = nodes.iter().flat_map(alarms_of).collect();
    if alarms.is_empty() {
        return ok();
    }
    failed("There are alarms in effect in the cluster", json!({"alarms": alarms}))
}

async fn local_alarms(Monitoring(_): Monitoring, State(api): State<Api>) -> Response {
    let alarms: Vec<_> = alarms_of(&api.control.own_node().await).collect();
    if alarms.is_empty() {
        return ok();
    }
    failed("There are alarms in effect on the node", json!({"alarms": alarms}))
}

async fn node_by_name(
    Monitoring(_): Monitoring,
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Outcome {
    let nodes = api.control.node_list().await.all;
    let node = nodes.iter().find(|node| node.name == name).ok_or_else(Failure::no_object)?;
    let alarms: Vec<_> = alarms_of(node).collect();
    if alarms.is_empty() {
        return Ok(ok());
    }
    Ok(failed("There are alarms in effect on the node", json!({"alarms": alarms})))
}

async fn certificate_expiration(
    Monitoring(_): Monitoring,
    State(api): State<Api>,
    Path((within, unit)): Path<(String, String)>,
) -> Outcome {
    let within: i64 = within
        .parse()
        .ok()
        .filter(|within| *within >= 0)
        .ok_or_else(|| Failure::bad_request("Invalid expiration value."))?;
    let days = match unit.as_str() {
        "days" => 1,
        "weeks" => 7,
        "months" => 30,
        "years" => 365,
        _ => {
            let reason = "Time unit not recognised. Supported units: days, weeks, months, years.";
            return Err(Failure::bad_request(reason));
        }
    };
    let expired = expiry::within(&api.config, within.saturating_mul(days));
    if expired.is_empty() {
        return Ok(ok());
    }
    Ok(failed("Certificates expiring", json!({"expired": expired})))
}

/// Where the node listens, by protocol.
fn listeners(api: &Api) -> Vec<(&'static str, SocketAddr)> {
    let config = &api.config;
    let mut all = vec![("amqp", config.listener.bind)];
    all.extend(config.listener.further_binds.iter().map(|bind| ("amqp", *bind)));
    let optional = [
        ("amqp/ssl", config.tls.as_ref().and_then(|tls| tls.bind)),
        ("http", config.management.bind),
        ("https", config.management.tls_bind),
        ("http/prometheus", config.metrics.bind),
        ("https/prometheus", config.metrics.tls_bind),
        ("clustering", config.cluster.as_ref().map(|cluster| cluster.bind)),
    ];
    all.extend(optional.into_iter().filter_map(|(protocol, bind)| Some((protocol, bind?))));
    all
}

async fn port_listener(
    Monitoring(_): Monitoring,
    State(api): State<Api>,
    Path(port): Path<String>,
) -> Outcome {
    let port: u16 = port.parse().map_err(|_| Failure::bad_request("Invalid port"))?;
    let ports: Vec<u16> = listeners(&api).into_iter().map(|(_, address)| address.port()).collect();
    if ports.contains(&port) {
        return Ok(reply::json(&json!({"status": "ok", "port": port})));
    }
    Ok(failed("No active listener", json!({"missing": port, "ports": ports})))
}

async fn protocol_listener(
    Monitoring(_): Monitoring,
    State(api): State<Api>,
    Path(asked): Path<String>,
) -> Response {
    let wanted = match asked.to_ascii_lowercase().as_str() {
        "amqp" | "amqp091" | "amqp0-9-1" | "amqp0.9.1" | "amqp091/0-9-1" => "amqp".to_owned(),
        "amqps" | "amqp-ssl" | "amqp_ssl" => "amqp/ssl".to_owned(),
        other => other.to_owned(),
    };
    let mut protocols: Vec<_> = listeners(&api).into_iter().map(|(protocol, _)| protocol).collect();
    protocols.dedup();
    if protocols.contains(&wanted.as_str()) {
        return reply::json(&json!({"status": "ok", "protocol": wanted}));
    }
    failed("No active listener", json!({"missing": asked, "protocols": protocols}))
}

/// Whether groups would lose their majority with this node.
async fn node_is_quorum_critical(Monitoring(_): Monitoring, State(api): State<Api>) -> Outcome {
    let Some(status) = api.control.cluster_status(true).await? else {
        return Ok(reply::json(&json!({"status": "ok", "reason": "single node cluster"})));
    };
    if status.nodes.len() < 2 {
        return Ok(reply::json(&json!({"status": "ok", "reason": "single node cluster"})));
    }
    let is_up = |number| status.nodes.iter().any(|node| node.node == number && node.is_up);
    let is_critical = |group: &GroupOverview| {
        let is_member = group.members.iter().any(|member| member.node == status.asked);
        let others =
            group.members.iter().filter(|member| member.node != status.asked && is_up(member.node)).count();
        is_member && group.members.len() > 1 && others < group.members.len() / 2 + 1
    };
    let groups: Vec<_> = status.groups.iter().filter(|group| is_critical(group)).collect();
    if groups.is_empty() {
        return Ok(ok());
    }
    let queues: Vec<_> = status
        .queues
        .iter()
        .filter(|queue| groups.iter().any(|group| group.group == queue.group))
        .map(|queue| json!({"name": queue.name, "virtual_host": queue.vhost, "type": "quorum"}))
        .collect();
    let reason = "There are quorum queues that would lose their quorum if the target node is shut down";
    Ok(failed(reason, json!({"queues": queues})))
}

async fn without_leaders(
    Monitoring(_): Monitoring,
    State(api): State<Api>,
    pattern: Option<Path<String>>,
) -> Outcome {
    leaderless(&api, None, pattern.as_ref().map(|Path(pattern)| pattern.as_str())).await
}

async fn without_leaders_in(
    Monitoring(_): Monitoring,
    State(api): State<Api>,
    Path(path): Path<Vec<String>>,
) -> Outcome {
    let vhost = path.first().map(String::as_str);
    if vhost.is_none_or(|vhost| api.control.vhost(vhost).is_none()) {
        return Err(Failure::no_object());
    }
    leaderless(&api, vhost, path.get(1).map(String::as_str)).await
}

async fn leaderless(api: &Api, vhost: Option<&str>, pattern: Option<&str>) -> Outcome {
    let pattern = fancy_regex::Regex::new(pattern.unwrap_or(""))
        .map_err(|error| Failure::bad_request(error.to_string()))?;
    let Some(status) = api.control.cluster_status(true).await? else { return Ok(ok()) };
    let leads = |group| status.groups.iter().any(|known| known.group == group && known.leader != 0);
    let is_meant = |queue: &&QueueOverview| {
        vhost.is_none_or(|vhost| *queue.vhost == *vhost) && pattern.is_match(&queue.name).unwrap_or(false)
    };
    let queues: Vec<_> = status
        .queues
        .iter()
        .filter(|queue| !leads(queue.group))
        .filter(is_meant)
        .map(|queue| json!({"name": queue.name, "virtual_host": queue.vhost, "type": "quorum"}))
        .collect();
    if queues.is_empty() {
        return Ok(ok());
    }
    Ok(failed("There are quorum queues without an elected leader", json!({"queues": queues})))
}

/// A node that answers has read all that was declared; in a cluster somebody must lead the group that orders it.
async fn metadata_store(Monitoring(_): Monitoring, State(api): State<Api>) -> Outcome {
    let status = api.control.cluster_status(false).await?;
    let is_led =
        status.is_none_or(|status| status.groups.iter().any(|known| known.group == 0 && known.leader != 0));
    if is_led {
        return Ok(ok());
    }
    Ok(failed("Metadata store has not been initialized", json!({})))
}

/// Whether it is meant to serve clients: not when it is drained or leaves.
async fn is_in_service(Monitoring(_): Monitoring, State(api): State<Api>) -> Outcome {
    if is_drained(&api).await? {
        return Ok(failed("this node is in maintenance mode", json!({})));
    }
    Ok(ok())
}

async fn ready_to_serve_clients(Monitoring(_): Monitoring, State(api): State<Api>) -> Outcome {
    if is_drained(&api).await? {
        return Ok(failed("this node is in maintenance mode", json!({})));
    }
    let node = api.control.own_node().await;
    Ok(connections(&node))
}

async fn below_connection_limit(Monitoring(_): Monitoring, State(api): State<Api>) -> Response {
    connections(&api.control.own_node().await)
}

fn connections(node: &NodeNumbers) -> Response {
    if node.connections_max == 0 || node.connections < node.connections_max {
        return reply::json(
            &json!({"status": "ok", "current": node.connections, "limit": node.connections_max}),
        );
    }
    let numbers = json!({"current": node.connections, "limit": node.connections_max});
    failed("node connection limit is reached", numbers)
}

async fn is_drained(api: &Api) -> Result<bool, Failure> {
    let Some(status) = api.control.cluster_status(false).await? else { return Ok(false) };
    let own = status.nodes.iter().find(|node| node.node == status.asked);
    Ok(own.is_some_and(|node| node.is_draining || node.is_leaving))
}

/// A message goes through a queue of the vhost and out again, as this user may.
async fn aliveness(Manager(caller): Manager, State(api): State<Api>, Path(vhost): Path<String>) -> Outcome {
    caller.enters(&api, &vhost)?;
    let queue = "aliveness-test";
    api.control.declare_queue(&vhost, queue, QueueSpec::default()).await?;
    let publication = Publication {
        vhost: vhost.clone(),
        exchange: String::new(),
        routing_key: queue.to_owned(),
        properties: MessageProperties::default(),
        body: b"test_message".to_vec(),
    };
    api.control.publish(caller.name(), &publication).await?;
    let got = api.control.get(caller.name(), (&vhost, queue), 1, AckMode::AckRequeueFalse, None).await?;
    if got.is_empty() {
        return Ok(failed("the message did not come out of the queue", json!({})));
    }
    Ok(ok())
}
