//! The firehose: copies of all that is published and delivered in a vhost (behaviour 222).

use serde_json::json;

use crate::support::wire::*;

// behaviour 222
#[test]
fn with_tracing_on_the_trace_exchange_gets_what_is_published_and_delivered() {
    let Some(broker) = Broker::own() else { return };
    let (conn, operator) = (broker.connect(), Operator::of(&broker));
    let ch = conn.channel(3);
    ch.queue_declare("watched").ok();
    ch.queue_declare("copies").ok();
    ch.queue_bind("copies", "amq.rabbitmq.trace", "#").ok();
    ch.exchange_declare("x", "direct").ok();
    ch.queue_bind("watched", "x", "k").ok();
    for _ in 0..3 {
        ch.publish("x", "k", "before").send();
    }
    ch.await_ready("watched", 3);
    assert_eq!(operator.put("/vhosts/%2F", &json!({"tracing": true})).0, 204);
    assert_eq!(operator.get("/vhosts/%2F").1["tracing"], true);
    ch.queue_purge("watched").ok();
    assert_eq!(ch.counts("copies").0, 0, "what was before is not copied");
    let props = Props { content_type: Some("text/plain".into()), priority: Some(3), ..Props::default() };
    ch.publish("x", "k", "hello").props(props).header("h", 7).send();
    ch.publish("", "nowhere", "lost").send();
    ch.await_ready("copies", 2);
    let copy = ch.pull("copies").expect("a copy");
    assert_eq!((copy.exchange.as_str(), copy.routing_key.as_str()), ("amq.rabbitmq.trace", "publish.x"));
    assert_eq!(copy.text(), "hello");
    let header = |name: &str| copy.props.header(name);
    assert_eq!(header("exchange_name").text(), "x");
    assert_eq!(header("routing_keys").items().iter().map(Value::text).collect::<Vec<_>>(), ["k"]);
    assert_eq!((header("vhost").text(), header("user").text(), header("channel").int()), ("/", "guest", 3));
    assert!(header("connection").text().contains(" -> ") && !header("node").text().is_empty());
    assert_eq!(header("routed_queues").items().iter().map(Value::text).collect::<Vec<_>>(), ["watched"]);
    let properties = header("properties").fields();
    let property = |name: &str| lookup(properties, name).expect(name);
    assert_eq!(property("content_type").text(), "text/plain");
    assert_eq!(
        (property("priority").int(), lookup(property("headers").fields(), "h").expect("h").int()),
        (3, 7)
    );
    assert!(!copy.props.has_header("redelivered"));
    let copy = ch.pull("copies").expect("a copy");
    assert_eq!((copy.routing_key.as_str(), copy.text()), ("publish.", "lost".to_owned()));
    assert!(copy.props.header("routed_queues").items().is_empty());
    ch.consume("watched", "t").no_ack().ok();
    assert_eq!(ch.delivery().text(), "hello");
    ch.cancel("t").ok();
    ch.await_ready("copies", 1);
    let copy = ch.pull("copies").expect("a copy");
    assert_eq!((copy.routing_key.as_str(), copy.text()), ("deliver.watched", "hello".to_owned()));
    assert_eq!(copy.props.header("redelivered").int(), 0);
    assert_eq!(copy.props.header("exchange_name").text(), "x");
    assert!(!copy.props.has_header("routed_queues"));
    assert_eq!(ch.counts("copies").0, 0, "copies that are delivered are not copied");
    assert_eq!(operator.put("/vhosts/%2F", &json!({"tracing": false})).0, 204);
    ch.publish("x", "k", "after").send();
    ch.await_ready("watched", 1);
    assert_eq!(ch.counts("copies").0, 0);
}

#[test]
fn a_publisher_that_repeats_itself_is_traced_from_the_next_read_on() {
    let Some(broker) = Broker::own() else { return };
    let (conn, operator) = (broker.connect(), Operator::of(&broker));
    let ch = conn.channel(1);
    ch.queue_declare("same").ok();
    ch.queue_declare("copies").ok();
    ch.queue_bind("copies", "amq.rabbitmq.trace", "publish.#").ok();
    let publish = |count: u32| (0..count).for_each(|_| ch.publish("", "same", "again").send());
    publish(100);
    ch.await_ready("same", 100);
    operator.put("/vhosts/%2F", &json!({"tracing": true}));
    publish(100);
    ch.await_ready("same", 200);
    ch.await_ready("copies", 100);
    operator.put("/vhosts/%2F", &json!({"tracing": false}));
    publish(100);
    ch.await_ready("same", 300);
    assert_eq!(ch.counts("copies").0, 100);
}
