//! Exchanges that pick one of their destinations: what they refuse, what they remember, how they work with others.

use std::collections::{BTreeMap, BTreeSet};

use crate::protocol::properties::Properties;

use super::*;

const TYPES: [&str; 4] = ["x-consistent-hash", "x-modulus-hash", "x-random", "x-local-random"];

/// A key that a binding of this type may have.
fn key_for(kind: &str) -> &'static str {
    if kind == "x-consistent-hash" { "1" } else { "" }
}

/// A durable exchange `x` of this type and durable queues bound to it, one for each letter.
fn scene(kind: &str, queues: &str) -> (Scene, Vec<Change>) {
    let mut scene = Scene::new();
    let mut changes = vec![Change::Put(Row::Vhost { name: "/".to_owned() })];
    changes.extend(scene.apply(and(exchange("x", kind), "durable")).changes);
    for name in queues.chars().map(String::from) {
        changes.extend(scene.apply(and(queue(&name), "durable")).changes);
        changes.extend(scene.apply(bind("x", to_queue(&name), key_for(kind))).changes);
    }
    (scene, changes)
}

/// Where 200 keys go; each must go to one queue.
fn spread(scene: &Scene, exchange: &str) -> Vec<String> {
    let one = |n: u32| match &scene.targets(exchange, &format!("k{n}"))[..] {
        [one] => one.clone(),
        other => panic!("key {n} goes to {other:?}"),
    };
    (0..200).map(one).collect()
}

fn used(scene: &Scene, exchange: &str) -> String {
    BTreeSet::from_iter(spread(scene, exchange)).into_iter().collect()
}

#[test]
fn one_queue_gets_a_message_and_every_queue_gets_some() {
    for kind in TYPES {
        let (mut scene, _) = scene(kind, "abcde");
        assert_eq!(used(&scene, "x"), "abcde", "{kind}");
        scene.apply(unbind("x", to_queue("b"), key_for(kind)));
        scene.apply(delete_queue("d"));
        assert_eq!(used(&scene, "x"), "ace", "{kind}");
        for name in ["a", "c", "e"] {
            scene.apply(delete_queue(name));
        }
        assert!(scene.targets("x", "k").is_empty(), "{kind}");
    }
}

#[test]
fn hashes_stay_where_they_are_over_a_restart() {
    for kind in ["x-consistent-hash", "x-modulus-hash"] {
        let (mut before, mut changes) = scene(kind, "abc");
        for command in [
            delete_queue("a"),
            and(queue("z"), "durable"),
            bind("x", to_queue("z"), "2"),
            bind("x", to_queue("z"), "3"),
            and(exchange("other", "fanout"), "durable"),
            bind("x", to_exchange("other"), "3"),
            bind("other", to_queue("b"), ""),
        ] {
            changes.extend(before.apply(command).changes);
        }
        let mut rows = BTreeMap::new();
        for change in changes {
            match change {
                Change::Put(row) => drop(rows.insert(row.key(), row)),
                Change::Delete(key) => drop(rows.remove(&key)),
            }
        }
        let after =
            Scene { topology: Topology::restore(Placement::alone(3), rows.into_values().rev()).unwrap() };
        assert_eq!(spread(&after, "x"), spread(&before, "x"), "{kind}");
        assert_eq!(after.topology.exchange("/", "x").unwrap().kind.name(), kind);
    }
}

#[test]
fn only_what_the_key_alone_decides_is_cacheable() {
    let cacheable = |scene: &Scene, exchange| {
        let query = RouteQuery { vhost: "/", exchange, keys: &["k"], ..RouteQuery::default() };
        scene.topology.route(&query, &mut Vec::new()).unwrap().cacheable
    };
    for (kind, expected) in TYPES.into_iter().zip([true, true, false, false]) {
        let (mut scene, _) = scene(kind, "ab");
        assert_eq!(cacheable(&scene, "x"), expected, "{kind}");
        scene.apply(bind("amq.fanout", to_exchange("x"), ""));
        assert_eq!(cacheable(&scene, "amq.fanout"), expected, "{kind} behind another");
        scene.apply(exchange_with("first", "direct", table(&[("alternate-exchange", string("x"))])));
        assert_eq!(cacheable(&scene, "first"), expected, "{kind} as an alternate");
    }
    let mut scene = Scene::new();
    scene.apply(exchange_with("h", "x-consistent-hash", table(&[("hash-header", string("h"))])));
    scene.apply(exchange_with("p", "x-consistent-hash", table(&[("hash-property", string("timestamp"))])));
    assert!(!cacheable(&scene, "h") && !cacheable(&scene, "p"));
}

#[test]
fn headers_reach_an_exchange_behind_another() {
    let mut scene = Scene::new();
    scene.apply(exchange_with("x", "x-consistent-hash", table(&[("hash-property", string("message_id"))])));
    scene.apply(bind("amq.fanout", to_exchange("x"), ""));
    for name in ["a", "b", "c"] {
        scene.apply(queue(name));
        scene.apply(bind("x", to_queue(name), "1"));
    }
    let found: BTreeSet<_> = (0..50_u8)
        .flat_map(|id| {
            let id = [id];
            let properties = Some(&Properties { message_id: Some(&id), ..Properties::default() });
            let query = RouteQuery {
                vhost: "/",
                exchange: "amq.fanout",
                keys: &["k"],
                properties,
                ..RouteQuery::default()
            };
            scene.route(&query).unwrap()
        })
        .collect();
    assert_eq!(found.len(), 3);
}

#[test]
fn further_keys_do_not_make_further_copies() {
    for kind in TYPES {
        let (scene, _) = scene(kind, "abcde");
        let keys: &[&str] = &["k", "l", "m", "n"];
        let query = RouteQuery { vhost: "/", exchange: "x", keys, ..RouteQuery::default() };
        assert_eq!(scene.route(&query).unwrap().len(), 1, "{kind}");
    }
}

#[test]
fn a_destination_bound_twice_is_still_one() {
    let (mut scene, _) = scene("x-modulus-hash", "ab");
    let before = spread(&scene, "x");
    scene.apply(bind("x", to_queue("a"), "another"));
    assert_eq!(spread(&scene, "x"), before);
    scene.apply(unbind("x", to_queue("a"), "another"));
    assert_eq!(spread(&scene, "x"), before);
}

#[test]
fn an_alternate_takes_over_while_nothing_is_bound() {
    for kind in TYPES {
        let mut scene = Scene::new();
        scene.apply(exchange_with("x", kind, table(&[("alternate-exchange", string("amq.fanout"))])));
        for name in ["a", "b"] {
            scene.apply(queue(name));
        }
        scene.apply(bind("amq.fanout", to_queue("a"), ""));
        assert_eq!(used(&scene, "x"), "a", "{kind}");
        scene.apply(bind("x", to_queue("b"), key_for(kind)));
        assert_eq!(used(&scene, "x"), "b", "{kind}");
    }
}

#[test]
fn two_random_exchanges_do_not_keep_in_step() {
    let mut scene = Scene::new();
    for source in ["one", "two"] {
        scene.apply(exchange(source, "x-random"));
        scene.apply(bind("amq.fanout", to_exchange(source), ""));
        for number in ["1", "2"] {
            let name = format!("{source} {number}");
            scene.apply(queue(&name));
            scene.apply(bind(source, to_queue(&name), ""));
        }
    }
    let pairs: BTreeSet<_> = (0..100).map(|_| scene.targets("amq.fanout", "k")).collect();
    assert_eq!(pairs.len(), 4, "{pairs:?}");
}

#[test]
fn what_is_not_taken_is_refused_as_by_rabbitmq() {
    let head = "Channel 406 PRECONDITION_FAILED - ";
    let mut scene = Scene::new();
    for kind in TYPES {
        scene.apply(exchange(kind, kind));
        scene.apply(exchange(kind, kind));
    }
    scene.apply(queue("q"));
    let quorum = queue_with("quorum", table(&[("x-queue-type", string("quorum"))]));
    scene.apply(and(quorum, "durable"));
    let both = table(&[("hash-header", string("h")), ("hash-property", string("message_id"))]);
    let cases = [
        (exchange_with("c", TYPES[0], both), "hash-header and hash-property are mutually exclusive"),
        (bind(TYPES[0], to_queue("q"), "many"), "The binding key must be an integer: <<\"many\">>"),
        (bind(TYPES[0], to_queue("q"), "0"), "The binding key must be greater than 0"),
        (bind(TYPES[3], to_queue("q"), "k"), "Non empty binding 'k' key not permitted"),
        (bind(TYPES[3], to_exchange("amq.fanout"), ""), "Destination not found"),
        (
            bind(TYPES[3], to_queue("quorum"), ""),
            "Queue type rabbit_quorum_queue not valid for this exchange type",
        ),
    ];
    for (command, text) in cases {
        assert_eq!(scene.refused(command), format!("{head}{text}"));
    }
    assert!(!scene.has_exchange("c"));
}
