//! Exchanges that pick one of their queues for each message: by hash or at random (behaviour 86).

use std::collections::BTreeMap;

use crate::support::wire::*;

const MESSAGES: usize = 300;

/// An exchange of this type with three queues of this connection bound to it.
fn exchange_with_queues(ch: Channel<'_>, kind: &str, key: &str) -> (String, Vec<String>) {
    let exchange = ch.temp_exchange(kind);
    (exchange.clone(), bound_queues(ch, &exchange, key))
}

fn bound_queues(ch: Channel<'_>, exchange: &str, key: &str) -> Vec<String> {
    let queues: Vec<_> = (0..3).map(|_| ch.temp_queue()).collect();
    queues.iter().for_each(|queue| drop(ch.queue_bind(queue, exchange, key).ok()));
    queues
}

/// What each queue holds, once there is so much in all of them.
fn contents(ch: Channel<'_>, queues: &[String], messages: usize) -> Vec<Vec<String>> {
    let ready = |queue: &String| usize::try_from(ch.counts(queue).0).expect("few");
    eventually("all messages in the queues", || {
        (queues.iter().map(ready).sum::<usize>() == messages).then_some(())
    });
    queues.iter().map(|queue| ch.pull_all(queue)).collect()
}

/// Checks that every message is in one queue, and that every queue has its part.
fn assert_spread(contents: &[Vec<String>], messages: usize) {
    let mut all: Vec<_> = contents.concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), messages, "each message once");
    let sizes: Vec<_> = contents.iter().map(Vec::len).collect();
    assert!(sizes.iter().all(|size| *size > messages / 8), "{sizes:?}");
}

/// Checks that messages with one key are in one queue; `key` tells the key out of a body.
fn assert_together(contents: &[Vec<String>], key: impl Fn(&str) -> String) {
    let mut homes = BTreeMap::new();
    for (queue, bodies) in contents.iter().enumerate() {
        for body in bodies {
            assert_eq!(*homes.entry(key(body)).or_insert(queue), queue, "{body}");
        }
    }
}

#[test]
fn equal_routing_keys_stay_together() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    for (kind, weight) in [("x-consistent-hash", "10"), ("x-modulus-hash", "any")] {
        let (exchange, queues) = exchange_with_queues(ch, kind, weight);
        for n in 0..MESSAGES {
            ch.publish(&exchange, &format!("key {}", n % 100), format!("{} {n}", n % 100)).send();
        }
        let contents = contents(ch, &queues, MESSAGES);
        assert_spread(&contents, MESSAGES);
        assert_together(&contents, |body| body.split(' ').next().unwrap_or_default().to_owned());
        ch.exchange_delete(&exchange).ok();
    }
}

// The publishes are alike but for their bodies: each is to be routed on its own all the same.
#[test]
fn random_exchanges_spread_publishes_that_repeat_themselves() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    for kind in ["x-random", "x-local-random"] {
        let (exchange, queues) = exchange_with_queues(ch, kind, "");
        let publishes = (0..MESSAGES).flat_map(|n| ch.publish(&exchange, "k", n.to_string()).bytes());
        conn.raw(&publishes.collect::<Vec<_>>());
        assert_spread(&contents(ch, &queues, MESSAGES), MESSAGES);
        ch.exchange_delete(&exchange).ok();
    }
}

// One routing key throughout: a cached route would keep them in one queue.
#[test]
fn headers_and_properties_are_hashed_for_each_message() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let arguments =
        [("hash-header", "h"), ("hash-property", "message_id"), ("hash-property", "correlation_id")];
    for (argument, value) in arguments.into_iter().chain([("hash-property", "timestamp")]) {
        let exchange = unique("x");
        ch.exchange_declare(&exchange, "x-consistent-hash").arg(argument, value).ok();
        let queues = bound_queues(ch, &exchange, "1");
        for n in 0..MESSAGES {
            let id = (n / 3).to_string();
            let props = Props {
                headers: (value == "h").then(|| table([("h", Value::from(&id))])),
                message_id: (value == "message_id").then(|| id.clone()),
                correlation_id: (value == "correlation_id").then(|| id.clone()),
                timestamp: (value == "timestamp").then(|| u64::try_from(n / 3).expect("small")),
                ..Props::default()
            };
            ch.publish(&exchange, "k", format!("{id} {n}")).props(props).send();
        }
        let contents = contents(ch, &queues, MESSAGES);
        assert_spread(&contents, MESSAGES);
        assert_together(&contents, |body| body.split(' ').next().unwrap_or_default().to_owned());
        ch.exchange_delete(&exchange).ok();
    }
}

#[test]
fn further_keys_make_no_further_copies() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    for (kind, key) in [("x-consistent-hash", "1"), ("x-modulus-hash", ""), ("x-random", "")] {
        let (exchange, queues) = exchange_with_queues(ch, kind, key);
        let more = Value::from(vec![Value::from("l"), Value::from("m")]);
        ch.publish(&exchange, "k", "m").header("CC", more).send();
        assert_eq!(contents(ch, &queues, 1).concat(), ["m"], "{kind}");
        ch.exchange_delete(&exchange).ok();
    }
}

#[test]
fn dead_letters_and_other_exchanges_are_spread_as_well() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let exchange = unique("x");
    ch.exchange_declare(&exchange, "x-consistent-hash").internal().arg("hash-property", "message_id").ok();
    let queues = bound_queues(ch, &exchange, "1");
    let (source, dying) = (ch.temp_exchange("fanout"), unique("q"));
    ch.exchange_bind(&exchange, &source, "").ok();
    ch.queue_declare(&dying)
        .exclusive()
        .arg("x-dead-letter-exchange", &exchange)
        .arg("x-message-ttl", 0)
        .ok();
    for target in [(&*source, ""), ("", &*dying)] {
        for n in 0..MESSAGES {
            let props = Props { message_id: Some(n.to_string()), ..Props::default() };
            ch.publish(target.0, target.1, n.to_string()).props(props).send();
        }
        assert_spread(&contents(ch, &queues, MESSAGES), MESSAGES);
    }
    ch.exchange_delete(&source).ok();
    ch.exchange_delete(&exchange).ok();
}

#[test]
fn unbinding_moves_only_what_was_there_and_an_empty_exchange_returns() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (exchange, mut queues) = exchange_with_queues(ch, "x-consistent-hash", "1");
    let publish = || (0..MESSAGES).for_each(|n| ch.publish(&exchange, &n.to_string(), n.to_string()).send());
    publish();
    let before = contents(ch, &queues, MESSAGES);
    let gone = queues.remove(1);
    ch.queue_unbind(&gone, &exchange, "1").ok();
    publish();
    let after = contents(ch, &queues, MESSAGES);
    for (old, new) in [(&before[0], &after[0]), (&before[2], &after[1])] {
        assert!(old.iter().all(|body| new.contains(body)), "what did not go with the queue stays");
    }
    for queue in queues {
        ch.queue_delete(&queue).ok();
    }
    ch.publish(&exchange, "k", "lost").mandatory().send();
    assert_eq!(ch.method().is((60, 50)).delivery().reply.0, 312);
    ch.exchange_delete(&exchange).ok();
}

// behaviour 86
#[test]
fn what_cannot_be_is_refused() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (hash, queue) = (ch.temp_exchange("x-consistent-hash"), ch.temp_queue());
    let refused = |text: &str| format!("PRECONDITION_FAILED - {text}");
    let text = refused("The binding key must be an integer: <<\"many\">>");
    ch.queue_bind(&queue, &hash, "many").expect_close(406, (50, 20), &text);
    ch.open().ok();
    let text = refused("The binding key must be greater than 0");
    ch.queue_bind(&queue, &hash, "0").expect_close(406, (50, 20), &text);
    ch.open().ok();
    let text = refused("hash-header and hash-property are mutually exclusive");
    ch.exchange_declare(&unique("x"), "x-consistent-hash")
        .arg("hash-header", "h")
        .arg("hash-property", "message_id")
        .expect_close(406, (40, 10), &text);
    ch.open().ok();
    let text = refused("Unsupported property: app_id");
    let call = ch.exchange_declare(&unique("x"), "x-consistent-hash").arg("hash-property", "app_id");
    call.expect_close(406, (40, 10), &text);
    ch.open().ok();
    let local = ch.temp_exchange("x-local-random");
    let text = refused("Non empty binding 'k' key not permitted");
    ch.queue_bind(&queue, &local, "k").expect_close(406, (50, 20), &text);
    ch.open().ok();
    ch.exchange_delete(&hash).ok();
    ch.exchange_delete(&local).ok();
}

#[test]
fn a_restart_moves_no_key() {
    let Some(mut broker) = Broker::own() else { return };
    let kinds =
        [("x-consistent-hash", "5"), ("x-modulus-hash", ""), ("x-random", ""), ("x-local-random", "")];
    let queues = |kind: &str| ["a", "b", "c"].map(|name| format!("{kind} {name}"));
    let conn = broker.connect();
    let ch = conn.channel(1);
    for (kind, key) in kinds {
        ch.exchange_declare(kind, kind).durable().ok();
        for queue in queues(kind) {
            ch.queue_declare(&queue).durable().ok();
            ch.queue_bind(&queue, kind, key).ok();
        }
    }
    let spread = |ch: Channel<'_>, kind: &str| {
        (0..MESSAGES).for_each(|n| ch.publish(kind, &n.to_string(), n.to_string()).send());
        contents(ch, &queues(kind), MESSAGES)
    };
    let before = kinds.map(|(kind, _)| spread(ch, kind));
    drop(conn);
    broker.kill();
    broker.restart();
    let conn = broker.connect();
    let ch = conn.channel(1);
    let after = kinds.map(|(kind, _)| spread(ch, kind));
    assert_eq!(after[..2], before[..2], "hashes");
    after.iter().for_each(|contents| assert_spread(contents, MESSAGES));
}
