//! Exchanges that hold messages back: what they are declared with, and where their messages wait.

use crate::protocol::properties::Properties;
use crate::protocol::table as raw;

use super::*;

fn delayed(name: &str, kind: AMQPValue) -> Command {
    exchange_with(name, "x-delayed-message", table(&[("x-delayed-type", kind)]))
}

/// Where a message with this `x-delay` goes now, and how many queues hold it back.
fn route(scene: &Scene, exchange: &str, delay_ms: i32, is_due: bool) -> (Vec<String>, usize) {
    let mut headers = Vec::new();
    raw::put_field(&mut headers, b"x-delay", &AMQPValue::LongInt(delay_ms));
    let properties = Properties { headers: Some(&headers), ..Properties::default() };
    let query = RouteQuery {
        vhost: "/",
        exchange,
        keys: &["k"],
        properties: Some(&properties),
        is_due,
        ..RouteQuery::default()
    };
    let routed = scene.topology.route(&query, &mut Vec::new()).unwrap();
    (scene.route(&query).unwrap(), routed.delays.len())
}

#[test]
fn the_inner_type_is_any_other_that_there_is() {
    let mut scene = Scene::new();
    let head = "Channel 406 PRECONDITION_FAILED - ";
    let must = format!("{head}Invalid argument, 'x-delayed-type' must be an existing exchange type");
    let itself = format!("{head}Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'");
    for (command, expected) in [
        (exchange("x", "x-delayed-message"), must.clone()),
        (delayed("x", AMQPValue::LongInt(1)), must),
        (delayed("x", string("x-delayed-message")), itself),
        (delayed("x", string("nonsense")), format!("{head}unknown exchange type 'nonsense'")),
    ] {
        assert_eq!(scene.refused(command), expected);
    }
    for kind in ["direct", "fanout", "topic", "headers", "x-consistent-hash", "x-modulus-hash", "x-random"] {
        let declared = scene.apply(delayed(kind, string(kind)));
        assert!(declared.created);
        assert_eq!(scene.topology.exchange("/", kind).unwrap().type_name(), "x-delayed-message");
    }
    let wrong = table(&[
        ("x-delayed-type", string("x-consistent-hash")),
        ("hash-header", string("h")),
        ("hash-property", string("message_id")),
    ]);
    assert!(scene.refused(exchange_with("x", "x-delayed-message", wrong)).contains("406"));
}

#[test]
fn declaring_again_compares_the_types() {
    let mut scene = Scene::new();
    scene.apply(delayed("x", string("topic")));
    scene.apply(exchange("plain", "topic"));
    assert!(!scene.apply(delayed("x", string("topic"))).created);
    assert!(!scene.apply(exchange("x", "x-delayed-message")).created);
    let head = "Channel 406 PRECONDITION_FAILED - inequivalent arg";
    let inner = "for exchange 'x' in vhost '/': received 'direct' but current is 'topic'";
    assert_eq!(scene.refused(delayed("x", string("direct"))), format!("{head} 'x-delayed-type' {inner}"));
    let outer = "for exchange 'x' in vhost '/': received 'topic' but current is 'x-delayed-message'";
    assert_eq!(scene.refused(exchange("x", "topic")), format!("{head} 'type' {outer}"));
    let plain = "for exchange 'plain' in vhost '/': received 'x-delayed-message' but current is 'topic'";
    assert_eq!(scene.refused(delayed("plain", string("topic"))), format!("{head} 'type' {plain}"));
}

#[test]
fn a_delayed_message_waits_and_others_pass() {
    let mut scene = Scene::new();
    scene.apply(delayed("x", string("topic")));
    scene.apply(exchange("front", "fanout"));
    scene.apply(queue("q"));
    scene.apply(queue("side"));
    scene.apply(bind("x", to_queue("q"), "*"));
    scene.apply(bind("front", to_exchange("x"), ""));
    scene.apply(bind("front", to_queue("side"), ""));
    assert_eq!(route(&scene, "x", 5, false), (vec![], 1));
    for (delay_ms, is_due) in [(0, false), (-5, false), (5, true)] {
        assert_eq!(route(&scene, "x", delay_ms, is_due), (vec!["q".to_owned()], 0));
    }
    assert_eq!(route(&scene, "front", 5, false), (vec!["side".to_owned()], 1));
    assert_eq!(scene.targets("x", "k"), ["q"]);
    let query = RouteQuery { vhost: "/", exchange: "x", keys: &["k"], ..RouteQuery::default() };
    assert!(!scene.topology.route(&query, &mut Vec::new()).unwrap().cacheable, "each may have a delay");
}

#[test]
fn its_queue_comes_and_goes_with_the_exchange_and_clients_do_not_find_it() {
    let mut scene = Scene::new();
    let declared = scene.apply(and(delayed("x", string("direct")), "durable"));
    let waiting = declared.queue.unwrap();
    assert!(waiting.durable && waiting.delays_for.as_deref() == Some("x"));
    assert!(scene.topology.queues("/").is_empty() && scene.topology.queue("/", "x").is_none());
    scene.apply(queue("x"));
    scene.apply(bind("x", to_queue("x"), "k"));
    scene.apply(Command::DropQueue { id: waiting.id });
    assert!(scene.topology.queue("/", "x").is_some() && scene.topology.queue_by_id(waiting.id).is_some());
    let deleted = scene.apply(delete_exchange("x", false));
    assert!(deleted.deleted_queues.len() == 1 && deleted.deleted_queues[0] == waiting);
    assert!(scene.topology.queue_by_id(waiting.id).is_none() && scene.topology.queue("/", "x").is_some());

    let declared = scene.apply(and(delayed("auto", string("direct")), "auto_delete"));
    let waiting = declared.queue.unwrap();
    assert!(!waiting.durable);
    scene.apply(bind("auto", to_queue("x"), "k"));
    let unbound = scene.apply(unbind("auto", to_queue("x"), "k"));
    assert_eq!(unbound.deleted_queues, [waiting]);

    let in_vhost = scene.apply(delayed("y", string("direct"))).queue.unwrap();
    let deleted = scene.apply(Command::DeleteVhost { name: "/".to_owned() });
    assert!(deleted.deleted_queues.contains(&in_vhost));
    assert!(scene.topology.all_queues().is_empty());
}
