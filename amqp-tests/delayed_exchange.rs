//! Exchanges of the type `x-delayed-message`: messages that wait before they are routed.

use std::time::{Duration, Instant};

use crate::support::wire::*;

/// Clocks are read in milliseconds on both sides.
const GRAIN: Duration = Duration::from_millis(2);

/// How late a message may come.
const LATE_MAX: Duration = Duration::from_millis(100);

const YEAR_MS: i64 = 365 * 24 * 3600 * 1000;

/// An exchange that goes when it has no bindings any more.
fn delayed(ch: Channel<'_>, inner: &str) -> String {
    let name = unique("delayed");
    ch.exchange_declare(&name, "x-delayed-message").auto_delete().arg("x-delayed-type", inner).ok();
    name
}

/// A delayed direct exchange with a queue bound by `k`.
fn direct(ch: Channel<'_>) -> (String, String) {
    let (exchange, queue) = (delayed(ch, "direct"), ch.temp_queue());
    ch.queue_bind(&queue, &exchange, "k").ok();
    (exchange, queue)
}

#[test]
fn each_message_comes_at_its_own_time() {
    let _alone = alone();
    let conn = Conn::open();
    let ch = conn.channel(1);
    let mut runs = Vec::new();
    // On a busy machine one run may be late, the broker may not be.
    while runs.len() < 3 && runs.last().is_none_or(|late| *late > LATE_MAX) {
        let (exchange, queue) = direct(ch);
        ch.consume(&queue, &exchange).no_ack().ok();
        let start = Instant::now();
        let delays_ms = [900, 300, 600, 0, 150];
        for delay_ms in delays_ms {
            ch.publish(&exchange, "k", delay_ms.to_string()).header("x-delay", delay_ms).send();
        }
        let mut worst = Duration::ZERO;
        for expected in [0, 150, 300, 600, 900] {
            let text = ch.delivery().text();
            let (came, due) = (start.elapsed(), Duration::from_millis(expected));
            assert_eq!(text, expected.to_string());
            assert!(came + GRAIN >= due, "{expected} came early, after {came:?}");
            worst = worst.max(came.saturating_sub(due));
        }
        runs.push(worst);
    }
    assert!(runs.last().is_some_and(|late| *late <= LATE_MAX), "delays were late by {runs:?}");
}

#[test]
fn the_delay_is_any_number_and_without_one_a_message_passes_at_once() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (exchange, queue) = direct(ch);
    ch.consume(&queue, "t").no_ack().ok();
    for (text, delay) in [
        ("negative", Value::I32(-5000)),
        ("zero", Value::I64(0)),
        ("no number", Value::from("soon")),
        ("bool", Value::Bool(true)),
    ] {
        ch.publish(&exchange, "k", text).header("x-delay", delay).send();
        assert_eq!(ch.delivery().text(), text);
    }
    ch.publish(&exchange, "k", "none").send();
    assert_eq!(ch.delivery().text(), "none");
    for delay in [
        Value::I64(150),
        Value::I32(150),
        Value::U32(150),
        Value::I16(150),
        Value::U8(150),
        Value::F64(150.9),
        Value::from("150"),
    ] {
        let start = Instant::now();
        ch.publish(&exchange, "k", format!("{delay:?}")).header("x-delay", delay.clone()).send();
        let came = ch.delivery();
        assert!(start.elapsed() + GRAIN >= Duration::from_millis(150), "{delay:?}");
        assert_eq!((came.text(), came.props.header("x-delay")), (format!("{delay:?}"), &Value::I64(-150)));
    }
}

#[test]
fn messages_due_together_keep_their_order() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (exchange, queue) = direct(ch);
    ch.consume(&queue, "t").no_ack().ok();
    let burst: Vec<u8> = (0..2000)
        .flat_map(|n| ch.publish(&exchange, "k", n.to_string()).header("x-delay", 200).bytes())
        .collect();
    conn.raw(&burst);
    assert_eq!(ch.texts(2000), (0..2000).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_message_arrives_as_it_was_published() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (exchange, queue) = direct(ch);
    let props = Props {
        content_type: Some("text/plain".to_owned()),
        headers: Some(table([("mine", 7.into()), ("x-delay", 100.into()), ("behind", "b".into())])),
        delivery_mode: Some(1),
        priority: Some(3),
        correlation_id: Some("c".to_owned()),
        reply_to: Some("r".to_owned()),
        message_id: Some("m".to_owned()),
        timestamp: Some(9),
        kind: Some("k".to_owned()),
        user_id: Some("guest".to_owned()),
        app_id: Some("a".to_owned()),
        ..Props::default()
    };
    ch.publish(&exchange, "k", "body").props(props.clone()).send();
    let came = ch.pull_soon(&queue);
    let headers = table([("mine", 7.into()), ("x-delay", Value::I64(-100)), ("behind", "b".into())]);
    assert_eq!(came.props, Props { headers: Some(headers), ..props });
    assert_eq!((came.text(), came.exchange, came.routing_key), ("body".into(), exchange, "k".into()));
    assert!(!came.redelivered);
}

#[test]
fn expiration_begins_when_the_delay_is_over() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (exchange, queue) = direct(ch);
    ch.publish(&exchange, "k", "short").header("x-delay", 200).expiration("150").send();
    ch.publish(&exchange, "k", "long").header("x-delay", 200).expiration("60000").send();
    ch.await_ready(&queue, 2);
    ch.await_ready(&queue, 1);
    let came = ch.pull_soon(&queue);
    assert_eq!((came.text().as_str(), came.props.expiration.as_deref()), ("long", Some("60000")));
}

#[test]
fn it_routes_as_its_inner_type_by_the_bindings_at_the_time() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (exchange, early, late) = (delayed(ch, "topic"), ch.temp_queue(), ch.temp_queue());
    ch.queue_bind(&early, &exchange, "a.*").ok();
    ch.publish(&exchange, "a.b", "m").header("x-delay", 300).send();
    ch.publish(&exchange, "other", "lost").header("x-delay", 100).send();
    ch.queue_bind(&late, &exchange, "#.b").ok();
    ch.queue_unbind(&early, &exchange, "a.*").ok();
    assert_eq!(ch.pull_soon(&late).text(), "m");
    assert_eq!((ch.counts(&early).0, ch.counts(&late).0), (0, 0));

    let (headers, queue) = (delayed(ch, "headers"), ch.temp_queue());
    ch.queue_bind(&queue, &headers, "").arg("x-match", "all").arg("kind", "tea").ok();
    ch.publish(&headers, "", "no").header("x-delay", 50).header("kind", "mud").send();
    ch.publish(&headers, "", "yes").header("x-delay", 100).header("kind", "tea").send();
    assert_eq!(ch.pull_soon(&queue).text(), "yes");

    let hash = unique("delayed");
    ch.exchange_declare(&hash, "x-delayed-message")
        .auto_delete()
        .args(table([("x-delayed-type", "x-consistent-hash".into()), ("hash-header", "h".into())]))
        .ok();
    let queues = [ch.temp_queue(), ch.temp_queue()];
    queues.iter().for_each(|queue| drop(ch.queue_bind(queue, &hash, "1").ok()));
    for n in 0..20 {
        ch.publish(&hash, "same", "m").header("x-delay", 50).header("h", &n.to_string()).send();
    }
    eventually("all to be routed", || {
        let counts = queues.each_ref().map(|queue| ch.counts(queue).0);
        (counts[0] + counts[1] == 20).then(|| assert!(counts[0] > 0 && counts[1] > 0, "{counts:?}"))
    });
}

#[test]
fn further_keys_count_when_it_is_due_and_bcc_is_not_shown() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (exchange, main) = direct(ch);
    let (copy, blind) = (ch.temp_queue(), ch.temp_queue());
    ch.queue_bind(&copy, &exchange, "cc").ok();
    ch.queue_bind(&blind, &exchange, "bcc").ok();
    ch.publish(&exchange, "k", "m")
        .header("CC", vec![Value::from("cc")])
        .header("BCC", vec![Value::from("bcc")])
        .header("x-delay", 100)
        .send();
    for queue in [&main, &copy, &blind] {
        let came = ch.pull_soon(queue);
        assert!(came.props.has_header("CC") && !came.props.has_header("BCC"));
        assert_eq!(came.routing_key, "k");
    }
}

#[test]
fn mandatory_is_decided_when_it_is_published() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (exchange, queue) = direct(ch);
    ch.confirm_select().ok();
    ch.publish(&exchange, "nobody", "back").header("x-delay", 100).mandatory().send();
    let back = ch.method().is((60, 50)).delivery();
    assert_eq!((back.text(), &back.reply), ("back".to_owned(), &(312, "NO_ROUTE".to_owned())));
    assert_eq!(back.props.header("x-delay"), &Value::I32(100));
    assert!(ch.confirm().acked);
    ch.publish(&exchange, "k", "kept").header("x-delay", 100).mandatory().send();
    assert!(ch.confirm().acked);
    assert_eq!(ch.pull_soon(&queue).text(), "kept");
    // What came back does not wait, though somebody would take it later.
    ch.queue_bind(&queue, &exchange, "nobody").ok();
    ch.quiet();
    assert_eq!(ch.counts(&queue).0, 0);
}

#[test]
fn unroutable_at_its_time_it_goes_to_the_alternate_exchange() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (exchange, alternate, queue) = (unique("delayed"), ch.temp_exchange("fanout"), ch.temp_queue());
    ch.queue_bind(&queue, &alternate, "").ok();
    ch.exchange_declare(&exchange, "x-delayed-message")
        .args(table([("x-delayed-type", "direct".into()), ("alternate-exchange", (&alternate).into())]))
        .ok();
    let start = Instant::now();
    ch.publish(&exchange, "nobody", "m").header("x-delay", 150).mandatory().send();
    assert_eq!(ch.pull_soon(&queue).text(), "m");
    assert!(start.elapsed() + GRAIN >= Duration::from_millis(150), "not before its time");
    ch.exchange_delete(&exchange).ok();
    ch.exchange_delete(&alternate).ok();
    ch.quiet();
}

#[test]
fn behind_other_exchanges_and_as_a_dead_letter_it_is_delayed_once() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (exchange, queue) = direct(ch);
    let front = ch.temp_exchange("fanout");
    ch.exchange_bind(&exchange, &front, "").ok();
    let start = Instant::now();
    ch.publish(&front, "k", "m").header("x-delay", 150).send();
    let came = ch.pull_soon(&queue);
    assert!(start.elapsed() + GRAIN >= Duration::from_millis(150));
    assert_eq!((came.exchange.as_str(), came.props.header("x-delay")), (front.as_str(), &Value::I64(-150)));
    ch.exchange_delete(&front).ok();

    let dying = unique("q");
    ch.queue_declare(&dying)
        .exclusive()
        .args(table([
            ("x-dead-letter-exchange", (&exchange).into()),
            ("x-dead-letter-routing-key", "k".into()),
            ("x-message-ttl", 0.into()),
        ]))
        .ok();
    let start = Instant::now();
    ch.publish("", &dying, "dead").header("x-delay", 150).send();
    let came = ch.pull_soon(&queue);
    assert!(start.elapsed() + GRAIN >= Duration::from_millis(150));
    assert_eq!((came.text().as_str(), came.props.deaths().len()), ("dead", 1), "a delay is no death");
    assert_eq!(came.exchange, exchange);
}

#[test]
fn deleting_the_exchange_drops_what_waits() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (exchange, queue) = direct(ch);
    ch.confirm_select().ok();
    ch.publish(&exchange, "k", "gone").header("x-delay", 200).send();
    ch.confirms(1, 1);
    ch.exchange_delete(&exchange).ok();
    ch.exchange_declare(&exchange, "x-delayed-message").auto_delete().arg("x-delayed-type", "direct").ok();
    ch.queue_bind(&queue, &exchange, "k").ok();
    ch.publish(&exchange, "k", "new").header("x-delay", 400).send();
    assert_eq!(ch.pull_soon(&queue).text(), "new");
}

#[test]
fn what_waits_is_in_no_queue_that_a_client_can_name() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (exchange, _queue) = direct(ch);
    ch.publish(&exchange, "k", "m").header("x-delay", 60_000).send();
    ch.queue_declare(&exchange).passive().expect_close(404, (50, 10), "NOT_FOUND - no queue...");
    ch.open().ok();
    ch.consume(&exchange, "t").expect_close(404, (60, 20), "NOT_FOUND - no queue...");
    ch.open().ok();
    ch.queue_declare(&exchange).exclusive().ok();
    assert_eq!(ch.counts(&exchange), (0, 0), "a queue of the same name is another one");
}

#[test]
fn the_inner_type_must_be_another_one_that_exists() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let refused = |call: fn(&str, Channel<'_>), text: &str| {
        call(text, ch);
        ch.open().ok();
    };
    let none = "PRECONDITION_FAILED - Invalid argument, 'x-delayed-type' must be an existing exchange type";
    refused(|text, ch| ch.exchange_declare("x", "x-delayed-message").expect_close(406, (40, 10), text), none);
    let number = |text: &str, ch: Channel<'_>| {
        ch.exchange_declare("x", "x-delayed-message").arg("x-delayed-type", 1).expect_close(
            406,
            (40, 10),
            text,
        );
    };
    refused(number, none);
    let itself = |text: &str, ch: Channel<'_>| {
        let declare =
            ch.exchange_declare("x", "x-delayed-message").arg("x-delayed-type", "x-delayed-message");
        declare.expect_close(406, (40, 10), text);
    };
    let text =
        "PRECONDITION_FAILED - Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'";
    refused(itself, text);
    let unknown = |text: &str, ch: Channel<'_>| {
        ch.exchange_declare("x", "x-delayed-message").arg("x-delayed-type", "nox").expect_close(
            406,
            (40, 10),
            text,
        );
    };
    refused(unknown, "PRECONDITION_FAILED - unknown exchange type 'nox'");
}

/// Publishes with confirms: delays that end soon, and one that is years ahead.
fn publish_delays(ch: Channel<'_>, exchange: &str, delays_ms: &[i32]) {
    ch.confirm_select().ok();
    for delay_ms in delays_ms {
        // Transient: while it waits it is on disk all the same.
        ch.publish(exchange, "k", delay_ms.to_string()).header("x-delay", *delay_ms).send();
    }
    ch.publish(exchange, "k", "years").persistent().header("x-delay", Value::I64(20 * YEAR_MS)).send();
    assert!(ch.confirms(1, delays_ms.len() as u64 + 1).iter().all(|acked| *acked));
}

#[test]
fn delays_survive_being_killed_and_end_at_their_time() {
    let _alone = alone();
    let Some(mut broker) = Broker::own() else { return };
    let (exchange, queue) = (unique("delayed"), unique("q"));
    let start = {
        let conn = broker.connect();
        let ch = conn.channel(1);
        ch.exchange_declare(&exchange, "x-delayed-message").durable().arg("x-delayed-type", "direct").ok();
        ch.queue_declare(&queue).durable().ok();
        ch.queue_bind(&queue, &exchange, "k").ok();
        let start = Instant::now();
        publish_delays(ch, &exchange, &[4000, 1, 3000]);
        assert_eq!(ch.pull_soon(&queue).text(), "1");
        // That it has left is written within 5 ms; after a kill before that it would come again.
        std::thread::sleep(Duration::from_millis(200));
        start
    };
    broker.kill();
    broker.restart();
    let conn = broker.connect();
    let ch = conn.channel(1);
    ch.consume(&queue, "t").no_ack().ok();
    for delay_ms in [3000, 4000] {
        assert_eq!(ch.delivery().text(), delay_ms.to_string());
        let (came, due) = (start.elapsed(), Duration::from_millis(delay_ms));
        assert!(came + GRAIN >= due, "{delay_ms} came early, after {came:?}");
        assert!(came <= due + LATE_MAX * 3, "{delay_ms} came after {came:?}");
    }
    ch.quiet();
    // A clean stop, and then what is due already when the broker comes back.
    ch.cancel("t").ok();
    ch.publish(&exchange, "k", "due meanwhile").persistent().header("x-delay", 500).send();
    ch.sync();
    drop(conn);
    broker.terminate();
    assert!(broker.await_end());
    std::thread::sleep(Duration::from_millis(500));
    broker.restart();
    let conn = broker.connect();
    let ch = conn.channel(1);
    assert_eq!(ch.pull_soon(&queue).text(), "due meanwhile");
    ch.exchange_delete(&exchange).ok();
}

#[test]
fn a_hundred_thousand_wait_in_little_memory_and_none_is_lost() {
    let _alone = alone();
    let Some(mut broker) = Broker::own_with(
        "[memory]\nmessages_bytes = 16_777_216\n[log]\nsegment_bytes = 4_194_304\nbudget_bytes = 33_554_432\n",
    ) else {
        return;
    };
    let (exchange, queue) = (unique("delayed"), unique("q"));
    let count = 100_000_u64;
    {
        let conn = broker.connect();
        let ch = conn.channel(1);
        ch.exchange_declare(&exchange, "x-delayed-message").durable().arg("x-delayed-type", "direct").ok();
        ch.queue_declare(&queue).durable().ok();
        ch.queue_bind(&queue, &exchange, "k").ok();
        ch.confirm_select().ok();
        let body = [b'.'; 400];
        for chunk in 0..count / 1000 {
            let burst: Vec<u8> = (chunk * 1000..(chunk + 1) * 1000)
                .flat_map(|n| {
                    let delay_ms = i32::try_from(3000 + n * 7919 % 3000).expect("a few seconds");
                    let text = [n.to_string().as_bytes(), &body].concat();
                    ch.publish(&exchange, "k", text).persistent().header("x-delay", delay_ms).bytes()
                })
                .collect();
            conn.raw(&burst);
            ch.confirms(chunk * 1000 + 1, (chunk + 1) * 1000);
        }
    }
    broker.kill();
    broker.restart();
    let conn = broker.connect();
    let ch = conn.channel(1);
    ch.qos(0, 5000, false).ok();
    ch.consume(&queue, "t").ok();
    let mut seen = vec![false; usize::try_from(count).expect("a size")];
    for place in 1..=count {
        let delivery = ch.delivery();
        let number: usize = delivery.text().trim_end_matches('.').parse().expect("a number");
        seen[number] = true;
        if place % 1000 == 0 {
            ch.ack(delivery.tag).multiple().send();
        }
    }
    assert!(seen.iter().all(|seen| *seen), "each came");
}
