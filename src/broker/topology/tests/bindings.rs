//! Binding and unbinding, and what goes with the ends of a binding.

use super::*;

#[test]
fn refused_bindings() {
    let mut scene = Scene::new();
    scene.apply(queue("q"));
    let default = "Channel 403 ACCESS_REFUSED - operation not permitted on the default exchange";
    let no_exchange = "Channel 404 NOT_FOUND - no exchange 'nox' in vhost '/'";
    let mode = table(&[("x-match", string("some"))]);
    let cases = [
        (bind("", to_queue("q"), ""), default),
        (unbind("", to_queue("q"), ""), default),
        (bind("amq.direct", to_exchange(""), ""), default),
        (bind("nox", to_queue("q"), ""), no_exchange),
        (bind("nox", to_queue("none"), ""), no_exchange),
        (bind("nox", to_exchange("amq.direct"), ""), no_exchange),
        (bind("amq.direct", to_exchange("nox"), ""), no_exchange),
        (bind("amq.direct", to_queue("none"), ""), "Channel 404 NOT_FOUND - no queue 'none' in vhost '/'"),
        (
            bind_with("amq.headers", to_queue("q"), "", mode),
            "Channel 406 PRECONDITION_FAILED - Invalid x-match field value <<\"some\">>; expected all, any, \
             all-with-x, or any-with-x",
        ),
    ];
    for (command, expected) in cases {
        assert_eq!(scene.refused(command), expected);
    }
}

#[test]
fn unbinding_what_is_not_bound_is_fine() {
    let mut scene = Scene::new();
    scene.apply(queue("q"));
    scene.apply(and(queue("ex"), "exclusive"));
    scene.apply(unbind("amq.direct", to_queue("q"), "k"));
    scene.apply(unbind("nox", to_queue("q"), "k"));
    scene.apply(unbind("amq.direct", to_queue("none"), "k"));
    scene.apply(by_other(unbind("amq.direct", to_queue("ex"), "k")));
}

#[test]
fn bindings_are_told_apart_by_key_and_arguments() {
    let mut scene = Scene::new();
    let (one, two) = (table(&[("a", AMQPValue::LongInt(1))]), table(&[("a", AMQPValue::LongInt(2))]));
    scene.apply(queue("q"));
    assert!(scene.apply(bind_with("amq.direct", to_queue("q"), "k", one.clone())).created);
    assert!(!scene.apply(bind_with("amq.direct", to_queue("q"), "k", one.clone())).created);
    assert!(scene.apply(bind_with("amq.direct", to_queue("q"), "k", two.clone())).created);
    assert_eq!(scene.targets("amq.direct", "k"), ["q"]);
    scene.apply(unbind_with("amq.direct", to_queue("q"), "k", one));
    assert_eq!(scene.targets("amq.direct", "k"), ["q"]);
    scene.apply(unbind_with("amq.direct", to_queue("q"), "k", two));
    assert!(scene.targets("amq.direct", "k").is_empty());
}

#[test]
fn only_durable_ends_make_a_durable_binding() {
    let mut scene = Scene::new();
    scene.apply(and(queue("durable"), "durable"));
    scene.apply(queue("transient"));
    scene.apply(exchange("e", "fanout"));
    assert_eq!(scene.apply(bind("amq.fanout", to_queue("durable"), "")).changes.len(), 1);
    assert_eq!(scene.apply(bind("amq.fanout", to_exchange("amq.direct"), "")).changes.len(), 1);
    for (source, destination) in
        [("amq.fanout", to_queue("transient")), ("e", to_queue("durable")), ("amq.fanout", to_exchange("e"))]
    {
        assert!(scene.apply(bind(source, destination, "")).changes.is_empty());
    }
}

#[test]
fn an_exchange_in_use_has_bindings_from_it() {
    let mut scene = Scene::new();
    scene.apply(queue("q"));
    scene.apply(exchange("e", "direct"));
    scene.apply(bind("amq.direct", to_exchange("e"), "k"));
    scene.apply(bind("e", to_queue("q"), "k"));
    let text = "Channel 406 PRECONDITION_FAILED - exchange 'e' in vhost '/' in use";
    assert_eq!(scene.refused(delete_exchange("e", true)), text);
    scene.apply(unbind("e", to_queue("q"), "k"));
    scene.apply(delete_exchange("e", true));
    assert!(scene.topology.bindings("/").is_empty());
}

#[test]
fn an_auto_delete_exchange_goes_with_its_last_binding() {
    let mut scene = Scene::new();
    scene.apply(queue("q"));
    scene.apply(and(exchange("e", "direct"), "auto_delete"));
    assert!(scene.has_exchange("e"));
    scene.apply(bind("e", to_queue("q"), "1"));
    scene.apply(bind("e", to_queue("q"), "2"));
    scene.apply(unbind("e", to_queue("q"), "1"));
    assert!(scene.has_exchange("e"));
    scene.apply(unbind("e", to_queue("q"), "2"));
    assert!(!scene.has_exchange("e"));
}

#[test]
fn auto_delete_runs_up_the_chain() {
    let mut scene = Scene::new();
    scene.apply(queue("q"));
    for name in ["a", "b", "c"] {
        scene.apply(and(and(exchange(name, "fanout"), "auto_delete"), "durable"));
    }
    scene.apply(exchange("stays", "fanout"));
    scene.apply(bind("a", to_exchange("b"), ""));
    scene.apply(bind("b", to_exchange("c"), ""));
    scene.apply(bind("c", to_queue("q"), ""));
    scene.apply(bind("stays", to_exchange("a"), ""));
    scene.apply(bind("c", to_exchange("c"), ""));
    scene.apply(unbind("c", to_exchange("c"), ""));
    let outcome = scene.apply(delete_queue("q"));
    assert_eq!(outcome.changes.len(), 5, "three exchanges, two bindings between them");
    assert_eq!(["a", "b", "c", "stays"].map(|name| scene.has_exchange(name)), [false, false, false, true]);
    assert!(scene.topology.bindings("/").is_empty());
}

#[test]
fn exchanges_that_go_leave_nothing_in_others() {
    let mut scene = Scene::new();
    scene.apply(queue("q"));
    scene.apply(exchange("e", "topic"));
    scene.apply(bind("amq.direct", to_exchange("e"), "k"));
    scene.apply(bind("e", to_queue("q"), "#"));
    scene.apply(bind("e", to_queue("q"), "a"));
    scene.apply(bind("e", to_exchange("amq.fanout"), "a.b"));
    assert_eq!(scene.targets("amq.direct", "k"), ["q"]);
    scene.apply(delete_exchange("e", false));
    assert!(scene.topology.bindings("/").is_empty());
    assert!(scene.targets("amq.direct", "k").is_empty());
    // The next exchange takes the slot of the one that is gone, and none of its bindings.
    scene.apply(exchange("next", "fanout"));
    scene.apply(bind("next", to_queue("q"), ""));
    assert!(scene.targets("amq.direct", "k").is_empty());
}

#[test]
fn bindings_are_listed_in_order() {
    let mut scene = Scene::new();
    for name in ["z", "y"] {
        scene.apply(queue(name));
        scene.apply(bind("amq.topic", to_queue(name), "k"));
        scene.apply(bind("amq.direct", to_queue(name), "k"));
    }
    let listed: Vec<_> =
        scene.topology.bindings("/").into_iter().map(|b| (b.source, b.destination)).collect();
    let expected = [("amq.direct", "y"), ("amq.direct", "z"), ("amq.topic", "y"), ("amq.topic", "z")];
    assert_eq!(listed, expected.map(|(source, name)| (source.into(), to_queue(name))));
}
