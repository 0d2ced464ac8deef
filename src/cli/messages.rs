//! `warren publish`, `get`, `peek`, `move` and `redrive`: messages by hand.

use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Map, Value, json};

use super::access::{Access, Output};
use super::declare::pair;
use super::delete::confirm;
use super::failure::Failure;
use super::http::{Node, part};
use super::output::{cell, field, json as show_json, say, show, told};

/// A job is looked at so often, and for so long.
const LOOK_EVERY: Duration = Duration::from_millis(200);
const LOOK_FOR: Duration = Duration::from_secs(24 * 3600);

/// A message for an exchange.
#[derive(Args, Debug)]
pub(crate) struct Publish {
    /// The exchange; "" is the default one, whose keys are names of queues
    exchange: String,
    /// The routing key
    key: String,
    /// The body; without it, the standard input
    payload: Option<String>,
    /// The body is this file
    #[arg(long, value_name = "FILE", conflicts_with = "payload")]
    payload_file: Option<PathBuf>,
    /// A property such as content_type=text/plain or delivery_mode=2; headers={"a":1} for headers
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = pair)]
    properties: Vec<(String, Value)>,
    /// The vhost of the exchange
    #[arg(long, short = 'V', value_name = "VHOST", default_value = "/")]
    vhost: String,
    #[command(flatten)]
    access: Access,
}

/// Messages out of a queue.
#[derive(Args, Debug)]
pub(crate) struct Get {
    queue: String,
    /// How many at most
    #[arg(long, short = 'n', default_value_t = 1)]
    count: u32,
    /// Take them out for good; without it they go back, marked as redelivered
    #[arg(long)]
    ack: bool,
    /// The vhost of the queue
    #[arg(long, short = 'V', value_name = "VHOST", default_value = "/")]
    vhost: String,
    #[command(flatten)]
    access: Access,
}

/// Messages of a queue, which stay as they are.
#[derive(Args, Debug)]
pub(crate) struct Peek {
    queue: String,
    /// How many at most
    #[arg(long, short = 'n', default_value_t = 10)]
    count: u32,
    /// How many to pass over
    #[arg(long, default_value_t = 0)]
    offset: u64,
    /// The vhost of the queue
    #[arg(long, short = 'V', value_name = "VHOST", default_value = "/")]
    vhost: String,
    #[command(flatten)]
    access: Access,
}

/// Messages that go to another queue, or exchange.
#[derive(Args, Debug)]
pub(crate) struct Move {
    queue: String,
    /// The queue they go to
    destination: String,
    #[command(flatten)]
    job: Job,
}

/// Dead letters that go back to where they came from.
#[derive(Args, Debug)]
pub(crate) struct Redrive {
    /// The queue with the dead letters
    queue: String,
    #[command(flatten)]
    job: Job,
}

#[derive(Args, Debug)]
struct Job {
    /// Only those with this routing key; * stands for anything
    #[arg(long, value_name = "KEY")]
    routing_key: Option<String>,
    /// Only those with this text in their body
    #[arg(long)]
    text: Option<String>,
    /// How many at most
    #[arg(long)]
    limit: Option<u64>,
    /// How many in a second at most
    #[arg(long)]
    rate: Option<u64>,
    /// Only count them
    #[arg(long)]
    dry_run: bool,
    /// Do not wait for the end
    #[arg(long)]
    no_wait: bool,
    /// The vhost of the queue
    #[arg(long, short = 'V', value_name = "VHOST", default_value = "/")]
    vhost: String,
    #[command(flatten)]
    access: Access,
}

pub(crate) fn publish(publish: Publish) -> Result<(), Failure> {
    let Publish { exchange, key, payload, payload_file, properties, vhost, access } = publish;
    let bytes = match (payload, payload_file) {
        (Some(text), _) => text.into_bytes(),
        (None, Some(file)) => {
            std::fs::read(&file).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?
        }
        (None, None) => {
            let mut bytes = Vec::new();
            let read = std::io::stdin().read_to_end(&mut bytes);
            read.map_err(|error| Failure::usage(format!("the standard input: {error}")))?;
            bytes
        }
    };
    let properties: Map<_, _> = properties.into_iter().collect();
    let body = json!({
        "properties": properties, "routing_key": key, "payload": STANDARD.encode(&bytes),
        "payload_encoding": "base64",
    });
    let node = Node::new(access.target()?);
    // The default exchange has a name in paths.
    let name = if exchange.is_empty() { "amq.default" } else { &exchange };
    let path = format!("exchanges/{}/{}/publish", part(&vhost), part(name));
    let answer = node.done("POST", &path, Some(&body))?;
    if access.output == Output::Json {
        show_json(&answer);
    }
    if answer.get("routed") == Some(&Value::Bool(false)) {
        let text =
            format!("no queue of vhost '{vhost}' wanted it: exchange '{exchange}', routing key '{key}'");
        return Err(Failure::new(Failure::NOT_FOUND, text));
    }
    told("published, and taken by a queue", access.output);
    Ok(())
}

pub(crate) fn get(get: &Get) -> Result<(), Failure> {
    let node = Node::new(get.access.target()?);
    let mode = if get.ack { "ack_requeue_false" } else { "ack_requeue_true" };
    let body = json!({"count": get.count, "ackmode": mode, "encoding": "auto"});
    let path = format!("queues/{}/{}/get", part(&get.vhost), part(&get.queue));
    let answer = node.done("POST", &path, Some(&body))?;
    let columns = ["exchange", "routing_key", "redelivered", "message_count", "payload"];
    show_messages(&answer, &columns, &get.access);
    Ok(())
}

pub(crate) fn peek(peek: &Peek) -> Result<(), Failure> {
    let node = Node::new(peek.access.target()?);
    let queue = format!("queues/{}/{}", part(&peek.vhost), part(&peek.queue));
    let answer = node.get(&format!("{queue}/messages?count={}&offset={}", peek.count, peek.offset))?;
    let columns = ["id", "state", "redelivered", "delivery_count", "exchange", "routing_key", "payload"];
    show_messages(field(&answer, "messages"), &columns, &peek.access);
    Ok(())
}

fn show_messages(messages: &Value, columns: &[&str], access: &Access) {
    let rows = messages.as_array().cloned().unwrap_or_default();
    let columns: Vec<_> = columns.iter().map(|column| (*column).to_owned()).collect();
    show(&rows, &columns, false, access.output);
}

pub(crate) fn move_to(order: &Move) -> Result<(), Failure> {
    let what = format!("move messages of queue '{}' to queue '{}'", order.queue, order.destination);
    let more = [("destination_queue", Value::from(order.destination.as_str()))];
    job(&order.queue, "move", &what, &more, &order.job)
}

pub(crate) fn redrive(order: &Redrive) -> Result<(), Failure> {
    let what = format!("send the dead letters of queue '{}' back to where they came from", order.queue);
    job(&order.queue, "redrive", &what, &[("to", "queue".into())], &order.job)
}

fn job(queue: &str, action: &str, what: &str, more: &[(&str, Value)], job: &Job) -> Result<(), Failure> {
    if !job.dry_run {
        confirm(&job.access, what)?;
    }
    let node = Node::new(job.access.target()?);
    let mut filter = Map::new();
    filter.extend(job.routing_key.as_ref().map(|key| ("routing_key".to_owned(), key.as_str().into())));
    filter.extend(job.text.as_ref().map(|text| ("text".to_owned(), text.as_str().into())));
    let mut body = Map::from_iter([
        ("filter".to_owned(), Value::Object(filter)),
        ("dry_run".to_owned(), job.dry_run.into()),
    ]);
    body.extend(job.limit.map(|limit| ("limit".to_owned(), limit.into())));
    body.extend(job.rate.map(|rate| ("rate".to_owned(), rate.into())));
    body.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    let path = format!("queues/{}/{}/messages/{action}", part(&job.vhost), part(queue));
    let mut state = node.done("POST", &path, Some(&Value::Object(body)))?;
    let id = cell(field(&state, "id"));
    let begun = Instant::now();
    while !job.no_wait && field(&state, "state") == "running" && begun.elapsed() < LOOK_FOR {
        std::thread::sleep(LOOK_EVERY);
        state = node.get(&format!("jobs/{}", part(&id)))?;
    }
    if job.access.output == Output::Json {
        show_json(&state);
    } else {
        let number = |name: &str| cell(field(&state, name));
        say(&format!(
            "job {id} is {}: {} messages match, {} done, {} failed",
            number("state"),
            number("matched"),
            number("done"),
            number("failed")
        ));
    }
    if field(&state, "state") == "failed" {
        return Err(Failure::new(Failure::REFUSED, format!("{what}: {}", cell(field(&state, "reason")))));
    }
    Ok(())
}
