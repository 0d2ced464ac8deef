//! Routing over several exchanges; what one exchange matches is tested beside it.

use crate::protocol::properties::Properties;

use super::*;

#[test]
fn the_default_exchange_knows_every_queue() {
    let mut scene = Scene::new();
    scene.apply(queue("q"));
    assert_eq!(scene.targets("", "q"), ["q"]);
    assert!(scene.targets("", "none").is_empty());
}

#[test]
fn a_queue_gets_one_copy() {
    let mut scene = Scene::new();
    scene.apply(queue("q"));
    scene.apply(queue("r"));
    for key in ["a.b", "a.*", "#"] {
        scene.apply(bind("amq.topic", to_queue("q"), key));
    }
    scene.apply(bind("amq.topic", to_queue("r"), "#.b"));
    assert_eq!(scene.targets("amq.topic", "a.b"), ["q", "r"]);
    let query =
        RouteQuery { vhost: "/", exchange: "", keys: &["q", "r", "q", "none"], ..RouteQuery::default() };
    assert_eq!(scene.route(&query).unwrap(), ["q", "r"]);
}

#[test]
fn further_keys_route_as_well() {
    let mut scene = Scene::new();
    for name in ["q", "r", "s"] {
        scene.apply(queue(name));
        scene.apply(bind("amq.direct", to_queue(name), name));
    }
    let query = RouteQuery { vhost: "/", exchange: "amq.direct", keys: &["q", "s"], ..RouteQuery::default() };
    assert_eq!(scene.route(&query).unwrap(), ["q", "s"]);
}

#[test]
fn targets_are_appended() {
    let mut scene = Scene::new();
    let q = scene.apply(queue("q")).queue.unwrap().target();
    scene.apply(bind("amq.topic", to_queue("q"), "#"));
    scene.apply(bind("amq.topic", to_queue("q"), "a"));
    let mut out = vec![q];
    let query = RouteQuery { vhost: "/", exchange: "amq.topic", keys: &["a"], ..RouteQuery::default() };
    scene.topology.route(&query, &mut out).unwrap();
    assert_eq!(out, [q, q]);
}

#[test]
fn cycles_end() {
    let mut scene = Scene::new();
    scene.apply(queue("q"));
    for name in ["a", "b"] {
        scene.apply(exchange(name, "fanout"));
        scene.apply(bind(name, to_queue("q"), ""));
    }
    scene.apply(bind("a", to_exchange("b"), ""));
    scene.apply(bind("b", to_exchange("a"), ""));
    assert_eq!(scene.targets("a", "k"), ["q"]);
}

#[test]
fn alternates_take_what_is_unroutable() {
    let mut scene = Scene::new();
    let with_alternate =
        |name, other| exchange_with(name, "direct", table(&[("alternate-exchange", string(other))]));
    scene.apply(queue("q"));
    scene.apply(queue("k"));
    scene.apply(with_alternate("a", "b"));
    assert!(scene.targets("a", "k").is_empty(), "a missing alternate is none");
    scene.apply(with_alternate("b", "a"));
    assert!(scene.targets("a", "k").is_empty(), "a cycle ends");
    scene.apply(bind("b", to_queue("q"), "k"));
    assert_eq!(scene.targets("a", "k"), ["q"]);
    scene.apply(exchange("nowhere", "fanout"));
    scene.apply(bind("a", to_exchange("nowhere"), "k"));
    assert!(scene.targets("a", "k").is_empty(), "a binding matched, though it leads to no queue");
    scene.apply(with_alternate("to-default", ""));
    assert_eq!(scene.targets("to-default", "k"), ["k"]);
}

#[test]
fn internal_exchanges_are_for_exchanges_and_dead_letters() {
    let mut scene = Scene::new();
    scene.apply(queue("q"));
    scene.apply(and(exchange("i", "fanout"), "internal"));
    scene.apply(bind("i", to_queue("q"), ""));
    scene.apply(bind("amq.fanout", to_exchange("i"), ""));
    assert_eq!(scene.targets("amq.fanout", ""), ["q"]);
    let query = RouteQuery { vhost: "/", exchange: "i", keys: &[""], ..RouteQuery::default() };
    assert_eq!(scene.route(&query), Err(RouteError::Internal));
    let mut out = Vec::new();
    assert!(scene.topology.route_dead_letter(&query, &mut out).is_ok());
    assert_eq!(out.len(), 1);
    let missing = RouteQuery { exchange: "nox", ..query };
    assert_eq!(scene.route(&missing), Err(RouteError::NoExchange));
}

#[test]
fn only_headers_make_a_route_uncacheable() {
    let mut scene = Scene::new();
    scene.apply(queue("q"));
    scene.apply(bind_with("amq.headers", to_queue("q"), "", table(&[("a", AMQPValue::LongInt(1))])));
    scene.apply(bind("amq.fanout", to_exchange("amq.headers"), ""));
    let headers = crate::protocol::table::from_field_table(&table(&[("a", AMQPValue::ShortShortInt(1))]));
    let cacheable = |exchange, headers| {
        let properties = Some(&Properties { headers, ..Properties::default() });
        let query = RouteQuery { vhost: "/", exchange, keys: &["k"], properties, ..RouteQuery::default() };
        let mut out = Vec::new();
        (scene.topology.route(&query, &mut out).unwrap().cacheable, out.len())
    };
    assert_eq!(cacheable("amq.direct", Some(&headers)), (true, 0));
    assert_eq!(cacheable("amq.headers", Some(&headers)), (false, 1));
    assert_eq!(cacheable("amq.fanout", Some(&headers)), (false, 1));
    assert_eq!(cacheable("amq.fanout", None), (false, 0));
}

#[test]
fn the_version_moves_with_what_alters_routes() {
    let mut scene = Scene::new();
    let mut version = scene.topology.version();
    let commands = [
        queue("q"),
        exchange("e", "direct"),
        bind("e", to_queue("q"), "k"),
        unbind("e", to_queue("q"), "k"),
        delete_exchange("e", false),
        delete_queue("q"),
    ];
    for command in commands {
        scene.apply(command.clone());
        assert!(scene.topology.version() > version, "{command:?}");
        version = scene.topology.version();
    }
    scene.apply(delete_queue("q"));
    assert_eq!(scene.topology.version(), version);
}
