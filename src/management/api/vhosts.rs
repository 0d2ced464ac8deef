//! Vhosts.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use serde::Serialize;
use serde_json::Value;

use super::numbers::{MessageStats, Rate, shown as rounded};
use super::shape::words;
use crate::broker::counts::MessageCounts;
use crate::broker::rights::PermissionSpec;
use crate::broker::topology::VhostSettings;
use crate::management::http::{Administrator, Api, Body, Failure, ListQuery, Manager, Outcome, reply};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/vhosts", get(list))
        .route("/api/vhosts/{vhost}", get(show).put(put).delete(delete))
        .route("/api/vhosts/{vhost}/start/{node}", post(start))
}

#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    description: &'a str,
    tags: Vec<&'a str>,
    default_queue_type: &'a str,
    metadata: Metadata<'a>,
    tracing: bool,
    cluster_state: &'a BTreeMap<String, &'static str>,
    messages: u64,
    messages_details: Rate,
    messages_ready: u64,
    messages_ready_details: Rate,
    messages_unacknowledged: u64,
    messages_unacknowledged_details: Rate,
    recv_oct: u64,
    recv_oct_details: Rate,
    send_oct: u64,
    send_oct_details: Rate,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_stats: Option<MessageStats>,
}

/// What the queues and connections of a vhost do.
#[derive(Clone, Debug, Default)]
struct Sums {
    ready: u64,
    unacked: u64,
    counts: MessageCounts,
    rates: [f32; MessageCounts::COUNT],
    recv_oct: u64,
    send_oct: u64,
    recv_rate: f32,
    send_rate: f32,
}

/// The sums of all vhosts, or of one.
async fn sums(api: &Api, vhost: Option<&str>) -> HashMap<String, Sums> {
    let (queues, connections) = tokio::join!(api.control.queue_list(vhost), api.control.connection_list());
    let mut sums: HashMap<String, Sums> = HashMap::new();
    for queue in queues.all {
        let Some(numbers) = queue.numbers else { continue };
        let sum = sums.entry(queue.entry.vhost.to_string()).or_default();
        sum.ready += numbers.ready + numbers.delayed;
        sum.unacked += numbers.unacked;
        sum.counts.add(&numbers.counts);
        let rates = numbers.rates.as_deref().copied().unwrap_or_default();
        sum.rates.iter_mut().zip(rates).for_each(|(sum, rate)| *sum += rate);
    }
    for connection in connections.all {
        let sum = sums.entry(connection.facts.vhost).or_default();
        sum.recv_oct += connection.numbers.traffic.recv_oct;
        sum.send_oct += connection.numbers.traffic.send_oct;
        sum.recv_rate += connection.numbers.rates.recv_oct;
        sum.send_rate += connection.numbers.rates.send_oct;
    }
    sums
}

#[derive(Serialize)]
struct Metadata<'a> {
    description: &'a str,
    tags: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default_queue_type: Option<&'a str>,
}

struct Row {
    name: Arc<str>,
    settings: VhostSettings,
    is_traced: bool,
    nodes: BTreeMap<String, &'static str>,
    sums: Sums,
}

impl Serialize for Row {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let VhostSettings { description, tags, default_queue_type, .. } = &self.settings;
        let sums = &self.sums;
        let shown = Shown {
            name: &self.name,
            description,
            tags: words(tags),
            default_queue_type: default_queue_type.as_deref().unwrap_or("undefined"),
            metadata: Metadata {
                description,
                tags: words(tags),
                default_queue_type: default_queue_type.as_deref(),
            },
            tracing: self.is_traced,
            cluster_state: &self.nodes,
            messages: sums.ready + sums.unacked,
            messages_details: Rate::default(),
            messages_ready: sums.ready,
            messages_ready_details: Rate::default(),
            messages_unacknowledged: sums.unacked,
            messages_unacknowledged_details: Rate::default(),
            recv_oct: sums.recv_oct,
            recv_oct_details: Rate::Now(rounded(sums.recv_rate)),
            send_oct: sums.send_oct,
            send_oct_details: Rate::Now(rounded(sums.send_rate)),
            message_stats: (!sums.counts.is_zero()).then(|| MessageStats::new(&sums.counts, &sums.rates)),
        };
        shown.serialize(serializer)
    }
}

fn nodes(api: &Api) -> BTreeMap<String, &'static str> {
    BTreeMap::from([(api.config.node.name.clone(), "running")])
}

async fn list(State(api): State<Api>, Manager(caller): Manager, query: ListQuery) -> Outcome {
    let nodes = nodes(&api);
    let mut sums = sums(&api, None).await;
    let all = api.control.vhosts().into_iter();
    let seen = all.filter(|(name, _)| caller.is_monitoring() || caller.may_enter(&api, name));
    let row = |(name, settings): (Arc<str>, VhostSettings)| {
        let sums = sums.remove(&*name).unwrap_or_default();
        let is_traced = api.control.is_traced(&name);
        Row { name, settings, is_traced, nodes: nodes.clone(), sums }
    };
    query.reply(seen.map(row).collect())
}

async fn show(
    State(api): State<Api>,
    Manager(caller): Manager,
    Path(vhost): Path<String>,
    query: ListQuery,
) -> Outcome {
    let settings = api.control.vhost(&vhost).ok_or_else(Failure::no_object)?;
    caller.sees(&api, &vhost)?;
    let sums = sums(&api, Some(&vhost)).await.remove(&vhost).unwrap_or_default();
    let is_traced = api.control.is_traced(&vhost);
    Ok(query.show(&Row { name: vhost.into(), settings, is_traced, nodes: nodes(&api), sums }))
}

async fn put(
    State(api): State<Api>,
    Administrator(caller): Administrator,
    Path(vhost): Path<String>,
    body: Body,
) -> Outcome {
    let tracing = body.get("tracing").map(|_| body.flag("tracing")).transpose()?;
    let description = described(&body, "description")?;
    let tags = tags(&body)?;
    let default_queue_type = body.text("default_queue_type")?.filter(|name| *name != "undefined");
    let before = api.control.vhost(&vhost);
    let is_new = before.is_none() && api.control.create_vhost(&vhost).await?;
    let before = before.unwrap_or_default();
    let is_described =
        ["description", "tags", "default_queue_type"].iter().any(|field| body.0.contains_key(*field));
    if is_described {
        let description = description.unwrap_or(before.description);
        let tags = tags.unwrap_or(before.tags);
        let default_queue_type = default_queue_type.map(str::to_owned).or(before.default_queue_type);
        let described =
            api.control.describe_vhost(&vhost, &description, &tags, default_queue_type.as_deref());
        if let Err(error) = described.await {
            if is_new {
                api.control.delete_vhost(&vhost).await?;
            }
            return Err(error.into());
        }
    }
    if is_new {
        // Whoever makes a vhost may work in it, as in RabbitMQ.
        api.control.set_permissions(caller.name(), &vhost, PermissionSpec::all()).await?;
    }
    if let Some(tracing) = tracing {
        api.control.set_tracing(&vhost, tracing)?;
    }
    Ok(reply::put(is_new))
}

fn described(body: &Body, field: &str) -> Result<Option<String>, Failure> {
    Ok(body.text(field)?.map(str::to_owned))
}

/// Words with commas between them, or an array of words.
fn tags(body: &Body) -> Result<Option<String>, Failure> {
    match body.get("tags") {
        None => Ok(None),
        Some(Value::String(words)) => Ok(Some(words.clone())),
        Some(Value::Array(words)) => {
            let words: Option<Vec<_>> = words.iter().map(Value::as_str).collect();
            let words = words.ok_or_else(|| Failure::bad_request("tags should be strings"))?;
            Ok(Some(words.join(",")))
        }
        Some(_) => Err(Failure::bad_request("tags should be strings")),
    }
}

async fn delete(
    State(api): State<Api>,
    Administrator(_): Administrator,
    Path(vhost): Path<String>,
) -> Outcome {
    if api.control.vhost(&vhost).is_none() {
        return Err(Failure::no_object());
    }
    api.control.delete_vhost(&vhost).await?;
    Ok(reply::no_content())
}

/// A vhost runs wherever its node does: there is nothing to start.
async fn start(
    State(api): State<Api>,
    Administrator(_): Administrator,
    Path((vhost, _node)): Path<(String, String)>,
) -> Outcome {
    api.control.vhost(&vhost).map(|_| reply::no_content()).ok_or_else(Failure::no_object)
}
