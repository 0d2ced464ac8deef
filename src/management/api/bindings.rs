//! Bindings: lists of them, making one, and finding one by its key and arguments.

use std::sync::Arc;

use amq_protocol::types::FieldTable;
use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::Value;

use super::rights::Rights;
use super::shape::{Table, exchange_name, quoted};
use crate::broker::topology::{BindingEntry, Destination};
use crate::management::http::{Api, Body, Caller, Failure, ListQuery, Manager, Outcome, reply};
use crate::management::json::{table_from_json, table_to_json};
use crate::node::BindingSpec;

pub(super) fn routes() -> Router<Api> {
    let all = "/api/bindings/{vhost}/e/{source}/{kind}/{destination}";
    let one = "/api/bindings/{vhost}/e/{source}/{kind}/{destination}/{key}";
    Router::new()
        .route("/api/bindings", get(list_all))
        .route("/api/bindings/{vhost}", get(list))
        .route(all, get(between).post(create))
        .route(one, get(show).delete(delete))
        .route("/api/exchanges/{vhost}/{exchange}/bindings/source", get(from_exchange))
        .route("/api/exchanges/{vhost}/{exchange}/bindings/destination", get(to_exchange))
        .route("/api/queues/{vhost}/{queue}/bindings", get(to_queue))
}

/// A binding as it is shown.
#[derive(Serialize)]
struct Shown<'a> {
    source: &'a str,
    vhost: &'a str,
    destination: &'a str,
    destination_type: &'static str,
    routing_key: &'a str,
    arguments: Table<'a>,
    properties_key: String,
}

struct Row {
    vhost: Arc<str>,
    binding: BindingEntry,
}

impl Serialize for Row {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let BindingEntry { source, destination, routing_key, arguments } = &self.binding;
        let shown = Shown {
            source,
            vhost: &self.vhost,
            destination: destination.name(),
            destination_type: match destination {
                Destination::Queue(_) => "queue",
                Destination::Exchange(_) => "exchange",
            },
            routing_key,
            arguments: Table(arguments),
            properties_key: properties_key(routing_key, arguments),
        };
        shown.serialize(serializer)
    }
}

/// What tells the bindings between the same two ends apart in a path: the key, and a hash of the arguments.
pub(in crate::management) fn properties_key(routing_key: &str, arguments: &FieldTable) -> String {
    let key = quoted(routing_key);
    if arguments.inner().is_empty() {
        return if key.is_empty() { "~".to_owned() } else { key };
    }
    let hash = crc32c::crc32c(table_to_json(arguments).to_string().as_bytes());
    format!("{key}~{}", URL_SAFE_NO_PAD.encode(hash.to_be_bytes()))
}

/// The bindings of a vhost that are wanted; those of the default exchange are among them, first.
fn bindings(api: &Api, vhost: &Arc<str>, wanted: impl Fn(&BindingEntry) -> bool) -> Vec<Row> {
    let queues = api.control.queue_names(vhost);
    let default = queues.into_iter().map(|queue| BindingEntry {
        source: "".into(),
        routing_key: queue.to_string(),
        destination: Destination::Queue(queue.to_string()),
        arguments: FieldTable::default(),
    });
    let all = default.chain(api.control.bindings(vhost)).filter(|binding| wanted(binding));
    all.map(|binding| Row { vhost: Arc::clone(vhost), binding }).collect()
}

async fn list_all(State(api): State<Api>, Manager(caller): Manager, query: ListQuery) -> Outcome {
    let vhosts = caller.vhosts(&api);
    query.reply(vhosts.iter().flat_map(|vhost| bindings(&api, vhost, |_| true)).collect())
}

async fn list(
    State(api): State<Api>,
    Manager(caller): Manager,
    Path(vhost): Path<String>,
    query: ListQuery,
) -> Outcome {
    caller.sees(&api, &vhost)?;
    query.reply(bindings(&api, &vhost.into(), |_| true))
}

async fn from_exchange(
    State(api): State<Api>,
    Manager(caller): Manager,
    Path((vhost, exchange)): Path<(String, String)>,
    query: ListQuery,
) -> Outcome {
    caller.sees(&api, &vhost)?;
    let source = existing_exchange(&api, &vhost, exchange)?;
    query.reply(bindings(&api, &vhost.into(), |binding| *binding.source == source))
}

async fn to_exchange(
    State(api): State<Api>,
    Manager(caller): Manager,
    Path((vhost, exchange)): Path<(String, String)>,
    query: ListQuery,
) -> Outcome {
    caller.sees(&api, &vhost)?;
    let wanted = Destination::Exchange(existing_exchange(&api, &vhost, exchange)?);
    query.reply(bindings(&api, &vhost.into(), |binding| binding.destination == wanted))
}

async fn to_queue(
    State(api): State<Api>,
    Manager(caller): Manager,
    Path((vhost, queue)): Path<(String, String)>,
    query: ListQuery,
) -> Outcome {
    caller.sees(&api, &vhost)?;
    if !api.control.has_queue(&vhost, &queue) {
        return Err(Failure::no_object());
    }
    let wanted = Destination::Queue(queue);
    query.reply(bindings(&api, &vhost.into(), |binding| binding.destination == wanted))
}

fn existing_exchange(api: &Api, vhost: &str, in_path: String) -> Result<String, Failure> {
    let name = exchange_name(in_path);
    if name.is_empty() || api.control.exchange(vhost, &name).is_some() {
        return Ok(name);
    }
    Err(Failure::no_object())
}

/// Two ends of bindings, as a path names them: vhost, source, `q` or `e`, destination.
struct Ends {
    vhost: String,
    source: String,
    destination: Destination,
}

impl Ends {
    fn new(
        api: &Api,
        caller: &Caller,
        (vhost, source, kind, destination): (String, String, String, String),
    ) -> Result<Self, Failure> {
        caller.enters(api, &vhost)?;
        let destination = match kind.as_str() {
            "q" => Destination::Queue(destination),
            "e" => Destination::Exchange(exchange_name(destination)),
            _ => return Err(Failure::no_object()),
        };
        Ok(Self { vhost, source: exchange_name(source), destination })
    }

    fn is_of(&self, binding: &BindingEntry) -> bool {
        *binding.source == self.source && binding.destination == self.destination
    }

    fn found(&self, api: &Api) -> Vec<Row> {
        bindings(api, &self.vhost.as_str().into(), |binding| self.is_of(binding))
    }

    /// The binding that a path names; its key may come with or without its own escapes.
    fn one(&self, api: &Api, key: &str) -> Result<Row, Failure> {
        let is_meant = |row: &Row| {
            let BindingEntry { routing_key, arguments, .. } = &row.binding;
            let exact = properties_key(routing_key, arguments);
            let hash = exact.rsplit_once('~').map_or(String::new(), |(_, hash)| format!("~{hash}"));
            let bare = if arguments.inner().is_empty() {
                routing_key.clone()
            } else {
                format!("{routing_key}{hash}")
            };
            exact == key || bare == key
        };
        self.found(api).into_iter().find(is_meant).ok_or_else(Failure::no_object)
    }
}

async fn between(
    State(api): State<Api>,
    Manager(caller): Manager,
    Path(ends): Path<(String, String, String, String)>,
    query: ListQuery,
) -> Outcome {
    let ends = Ends::new(&api, &caller, ends)?;
    query.reply(ends.found(&api))
}

async fn create(
    State(api): State<Api>,
    Manager(caller): Manager,
    Path(ends): Path<(String, String, String, String)>,
    body: Body,
) -> Outcome {
    let Ends { vhost, source, destination } = Ends::new(&api, &caller, ends)?;
    let routing_key = match body.get("routing_key") {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(_) => return Err(Failure::bad_request("routing_key should be a string")),
    };
    let arguments = body.object("arguments")?;
    let arguments = table_from_json(&Value::Object(arguments)).map_err(Failure::bad_request)?;
    Rights::new(&api, &caller, &vhost).bind(&source, &destination)?;
    let location = format!("{}/{}", quoted(destination.name()), properties_key(&routing_key, &arguments));
    api.control.bind(&vhost, BindingSpec { source, destination, routing_key, arguments }).await?;
    Ok(reply::created_at(&location))
}

async fn show(
    State(api): State<Api>,
    Manager(caller): Manager,
    Path((vhost, source, kind, destination, key)): Path<(String, String, String, String, String)>,
    query: ListQuery,
) -> Outcome {
    let ends = Ends::new(&api, &caller, (vhost, source, kind, destination))?;
    Ok(query.show(&ends.one(&api, &key)?))
}

async fn delete(
    State(api): State<Api>,
    Manager(caller): Manager,
    Path((vhost, source, kind, destination, key)): Path<(String, String, String, String, String)>,
) -> Outcome {
    let ends = Ends::new(&api, &caller, (vhost, source, kind, destination))?;
    let BindingEntry { source, destination, routing_key, arguments } = ends.one(&api, &key)?.binding;
    Rights::new(&api, &caller, &ends.vhost).bind(&source, &destination)?;
    if source.is_empty() {
        return Err(Failure::not_authorised("Access refused."));
    }
    let source = source.to_string();
    api.control.unbind(&ends.vhost, BindingSpec { source, destination, routing_key, arguments }).await?;
    Ok(reply::no_content())
}
