//! Events as messages of `amq.rabbitmq.event`: the name is the routing key, the rest stands in the headers.

use std::time::Duration;

use serde_json::json;

use crate::support::wire::*;

/// A queue that gets these events.
fn listen(ch: Channel<'_>, queue: &str, pattern: &str) {
    ch.queue_declare(queue).ok();
    ch.queue_bind(queue, "amq.rabbitmq.event", pattern).ok();
}

/// The next event of this name.
fn next(ch: Channel<'_>, queue: &str, name: &str) -> Delivery {
    eventually("an event", || ch.pull(queue).filter(|event| event.routing_key == name))
}

#[test]
fn declarations_are_told_to_who_is_bound() {
    let Some(broker) = Broker::own() else { return };
    let (conn, operator) = (broker.connect(), Operator::of(&broker));
    let ch = conn.channel(1);
    ch.queue_declare("untold").ok();
    listen(ch, "events", "#");
    ch.queue_declare("new").durable().arg("x-max-length", 9).ok();
    let event = next(ch, "events", "queue.created");
    assert_eq!((event.exchange.as_str(), event.text()), ("amq.rabbitmq.event", String::new()));
    assert_eq!((event.props.header("name").text(), event.props.header("vhost").text()), ("new", "/"));
    assert_eq!(lookup(event.props.header("arguments").fields(), "x-max-length").map(Value::int), Some(9));
    assert_eq!(event.props.delivery_mode, Some(2));
    assert!(event.props.header("timestamp_in_ms").int() > 1_500_000_000_000);
    ch.queue_declare("new").durable().arg("x-max-length", 9).ok();
    ch.exchange_declare("x", "topic").ok();
    let event = next(ch, "events", "exchange.created");
    assert_eq!((event.props.header("name").text(), event.props.header("type").text()), ("x", "topic"));
    ch.queue_bind("new", "x", "a.b").ok();
    let event = next(ch, "events", "binding.created");
    let fact = |name: &str| event.props.header(name).text().to_owned();
    let facts =
        ["source_name", "source_kind", "destination_name", "destination_kind", "routing_key"].map(fact);
    assert_eq!(facts, ["x", "exchange", "new", "queue", "a.b"]);
    ch.queue_unbind("new", "x", "a.b").ok();
    next(ch, "events", "binding.deleted");
    ch.exchange_delete("x").ok();
    assert_eq!(next(ch, "events", "exchange.deleted").props.header("name").text(), "x");
    ch.queue_delete("new").ok();
    assert_eq!(next(ch, "events", "queue.deleted").props.header("name").text(), "new");
    assert_eq!(operator.put("/vhosts/told", &json!({})).0, 201);
    assert_eq!(next(ch, "events", "vhost.created").props.header("name").text(), "told");
    assert_eq!(operator.delete("/vhosts/told").0, 204);
    next(ch, "events", "vhost.deleted");
}

#[test]
fn connections_channels_and_consumers_are_told_of() {
    let Some(broker) = Broker::own() else { return };
    let conn = broker.connect();
    let ch = conn.channel(1);
    for (queue, pattern) in
        [("users", "user.#"), ("conns", "connection.#"), ("chans", "channel.#"), ("cons", "consumer.#")]
    {
        listen(ch, queue, pattern);
    }
    let other = broker.connect();
    let event = next(ch, "users", "user.authentication.success");
    assert_eq!(event.props.header("name").text(), "guest");
    let created = next(ch, "conns", "connection.created");
    let name = created.props.header("name").text().to_owned();
    assert_eq!((created.props.header("user").text(), created.props.header("vhost").text()), ("guest", "/"));
    assert!(name.contains(" -> ") && created.props.has_header("client_properties"));
    let second = other.channel(5);
    let event = next(ch, "chans", "channel.created");
    assert_eq!(event.props.header("name").text(), format!("{name} (5)"));
    second.queue_declare("quiet").ok();
    second.consume("quiet", "tag").ok();
    second.cancel("tag").ok();
    second.close().ok();
    next(ch, "chans", "channel.closed");
    drop(other);
    let event = next(ch, "conns", "connection.closed");
    assert_eq!(event.props.header("name").text(), name);
    let created = next(ch, "cons", "consumer.created");
    assert_eq!(
        (created.props.header("consumer_tag").text(), created.props.header("queue").text()),
        ("tag", "quiet")
    );
    next(ch, "cons", "consumer.deleted");
}

#[test]
fn nothing_is_told_when_nobody_is_bound_any_more() {
    let Some(broker) = Broker::own() else { return };
    let conn = broker.connect();
    let ch = conn.channel(1);
    listen(ch, "events", "queue.#");
    ch.queue_declare("one").ok();
    next(ch, "events", "queue.created");
    ch.queue_unbind("events", "amq.rabbitmq.event", "queue.#").ok();
    ch.queue_declare("two").ok();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(ch.counts("events").0, 0);
}
