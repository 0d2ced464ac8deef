//! Dead letters (behaviours 191-203).

use std::time::SystemTime;

use crate::support::wire::*;

/// A queue with a dead-letter exchange and key, and further arguments.
fn dying_queue(ch: Channel<'_>, exchange: &str, key: Option<&str>, more: Table) -> String {
    let queue = unique("q");
    let call = ch.queue_declare(&queue).exclusive().arg("x-dead-letter-exchange", exchange).args(more);
    match key {
        Some(key) => call.arg("x-dead-letter-routing-key", key).ok(),
        None => call.ok(),
    };
    queue
}

fn text<'t>(death: &'t Table, key: &str) -> &'t str {
    lookup(death, key).unwrap_or_else(|| panic!("no {key} in {death:?}")).text()
}

/// Queue, reason and count of a death.
fn summary(death: &Table) -> (String, String, i64) {
    let count = lookup(death, "count").expect("a count");
    assert!(matches!(count, Value::I64(_)), "count is a long: {count:?}");
    (text(death, "queue").to_owned(), text(death, "reason").to_owned(), count.int())
}

fn death_of(queue: &str, reason: &str, count: i64) -> (String, String, i64) {
    (queue.to_owned(), reason.to_owned(), count)
}

// behaviours 191-193, 196, 197
#[test]
fn a_rejected_message_carries_its_death() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    for nack in [false, true] {
        let target = ch.temp_queue();
        let queue = dying_queue(ch, "", Some(&target), Table::new());
        let props = Props {
            message_id: Some("id".to_owned()),
            delivery_mode: Some(2),
            headers: Some(table([("mine", 1.into())])),
            ..Props::default()
        };
        ch.publish("", &queue, "m").props(props).send();
        let tag = ch.get_soon(&queue).tag;
        if nack {
            ch.nack(tag).send();
        } else {
            ch.reject(tag).send();
        }
        let dead = ch.pull_soon(&target);
        assert_eq!((&*dead.text(), &*dead.exchange, &*dead.routing_key), ("m", "", &*target));
        assert!(!dead.redelivered || !nack);
        assert_eq!((dead.props.message_id.as_deref(), dead.props.delivery_mode), (Some("id"), Some(2)));
        assert_eq!(dead.props.header("mine"), &Value::I32(1));
        let deaths = dead.props.deaths();
        assert_eq!(deaths.len(), 1);
        assert_eq!(summary(deaths[0]), death_of(&queue, "rejected", 1));
        assert_eq!(text(deaths[0], "exchange"), "");
        assert_eq!(lookup(deaths[0], "routing-keys"), Some(&vec![Value::from(&queue)].into()));
        assert_eq!(lookup(deaths[0], "original-expiration"), None);
        let Some(Value::Time(at)) = lookup(deaths[0], "time") else { panic!("no time in {deaths:?}") };
        let now = SystemTime::UNIX_EPOCH.elapsed().expect("a clock").as_secs();
        assert!(now.abs_diff(*at) < 120, "died at {at}, now {now}");
        for (key, value) in [("exchange", ""), ("queue", &*queue), ("reason", "rejected")] {
            assert_eq!(dead.props.header(&format!("x-first-death-{key}")).text(), value);
        }
    }
}

// behaviours 191, 193, 195
#[test]
fn an_expired_message_loses_its_expiration_and_remembers_it() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let target = ch.temp_queue();
    let queue = dying_queue(ch, "", Some(&target), Table::new());
    ch.publish("", &queue, "m").expiration("50").send();
    let dead = ch.pull_soon(&target);
    assert_eq!((dead.props.expiration.as_deref(), dead.redelivered), (None, false));
    let deaths = dead.props.deaths();
    assert_eq!(summary(deaths[0]), death_of(&queue, "expired", 1));
    assert_eq!(text(deaths[0], "original-expiration"), "50");
    assert_eq!(dead.props.header("x-first-death-reason").text(), "expired");
}

// behaviours 191, 193
#[test]
fn a_message_expired_by_its_queue_has_no_original_expiration() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let target = ch.temp_queue();
    let queue = dying_queue(ch, "", Some(&target), table([("x-message-ttl", 50.into())]));
    ch.put(&queue, "m");
    let dead = ch.pull_soon(&target);
    assert_eq!(summary(dead.props.deaths()[0]), death_of(&queue, "expired", 1));
    assert_eq!(lookup(dead.props.deaths()[0], "original-expiration"), None);
}

// behaviour 195: rejection does not touch it
#[test]
fn a_rejected_message_loses_its_expiration_too() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let target = ch.temp_queue();
    let queue = dying_queue(ch, "", Some(&target), Table::new());
    ch.publish("", &queue, "m").expiration("60000").send();
    ch.reject(ch.get_soon(&queue).tag).send();
    let dead = ch.pull_soon(&target);
    assert_eq!(dead.props.expiration, None);
    assert_eq!(text(dead.props.deaths()[0], "original-expiration"), "60000");
}

// behaviours 192, 196
#[test]
fn without_a_dead_letter_key_the_original_one_stays() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let exchange = ch.temp_exchange("direct");
    let (target, key) = (ch.temp_queue(), unique("k"));
    ch.queue_bind(&target, &exchange, &key).ok();
    let queue = dying_queue(ch, &exchange, None, Table::new());
    ch.queue_bind(&queue, "amq.direct", &key).ok();
    ch.publish("amq.direct", &key, "m").send();
    let got = ch.get_soon(&queue);
    assert_eq!(got.exchange, "amq.direct");
    ch.reject(got.tag).send();
    let dead = ch.pull_soon(&target);
    assert_eq!((&dead.exchange, &dead.routing_key), (&exchange, &key));
    assert_eq!(text(dead.props.deaths()[0], "exchange"), "amq.direct");
    assert_eq!(dead.props.header("x-first-death-exchange").text(), "amq.direct");
    ch.exchange_delete(&exchange).ok();
}

// behaviour 194
#[test]
fn the_latest_death_is_first_and_the_first_is_remembered() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let target = ch.temp_queue();
    let second = dying_queue(ch, "", Some(&target), table([("x-message-ttl", 50.into())]));
    let first = dying_queue(ch, "", Some(&second), Table::new());
    ch.put(&first, "m");
    ch.reject(ch.get_soon(&first).tag).send();
    let dead = ch.pull_soon(&target);
    let deaths: Vec<_> = dead.props.deaths().into_iter().map(summary).collect();
    assert_eq!(deaths, [death_of(&second, "expired", 1), death_of(&first, "rejected", 1)]);
    assert_eq!(dead.props.header("x-first-death-queue").text(), first);
    assert_eq!(dead.props.header("x-first-death-reason").text(), "rejected");
    if dead.props.has_header("x-last-death-queue") {
        assert_eq!(dead.props.header("x-last-death-queue").text(), second);
        assert_eq!(dead.props.header("x-last-death-reason").text(), "expired");
    }
}

// behaviours 194, 198
#[test]
fn a_cycle_with_a_rejection_goes_on_and_counts() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (work, wait) = (unique("work"), unique("wait"));
    for (queue, next) in [(&work, &wait), (&wait, &work)] {
        let call = ch.queue_declare(queue).exclusive();
        let call = call.arg("x-dead-letter-exchange", "").arg("x-dead-letter-routing-key", next);
        if queue == &wait {
            call.arg("x-message-ttl", 30).ok()
        } else {
            call.ok()
        };
    }
    ch.put(&work, "m");
    for round in 0..5_i64 {
        let got = ch.get_soon(&work);
        if round > 0 {
            let deaths: Vec<_> = got.props.deaths().into_iter().map(summary).collect();
            assert_eq!(deaths, [death_of(&wait, "expired", round), death_of(&work, "rejected", round)]);
        }
        ch.reject(got.tag).send();
    }
}

// behaviour 198
#[test]
fn a_cycle_of_expiry_alone_is_cut() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (one, two, own) = (unique("one"), unique("two"), unique("own"));
    for (queue, next) in [(&one, &two), (&two, &one), (&own, &own)] {
        ch.queue_declare(queue)
            .exclusive()
            .arg("x-message-ttl", 30)
            .arg("x-dead-letter-exchange", "")
            .arg("x-dead-letter-routing-key", next)
            .ok();
    }
    ch.put(&one, "m");
    ch.put(&own, "m");
    eventually("both cycles to end", || {
        let calm = || [&one, &two, &own].iter().all(|queue| ch.counts(queue).0 == 0);
        (0..10)
            .all(|_| {
                conn.heartbeats_within(std::time::Duration::from_millis(10));
                calm()
            })
            .then_some(())
    });
}

// behaviour 198: only a rejection within the round keeps it going. RabbitMQ 3 lists three deaths out of order, finds the
// rejection within and goes on.
#[test]
fn a_rejection_before_the_cycle_does_not_keep_it_going() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (one, two, seen) = (unique("one"), unique("two"), ch.temp_queue());
    let exchange = ch.temp_exchange("fanout");
    ch.queue_bind(&seen, &exchange, "").ok();
    let first = dying_queue(ch, "", Some(&one), Table::new());
    let ttl = || table([("x-message-ttl", 30.into())]);
    ch.queue_declare(&one).exclusive().args(ttl()).arg("x-dead-letter-exchange", &exchange).ok();
    ch.queue_declare(&two)
        .exclusive()
        .args(ttl())
        .arg("x-dead-letter-exchange", "")
        .arg("x-dead-letter-routing-key", &one)
        .ok();
    ch.queue_bind(&two, &exchange, "").ok();
    ch.put(&first, "m");
    ch.reject(ch.get_soon(&first).tag).send();
    let deaths: Vec<_> = ch.pull_soon(&seen).props.deaths().into_iter().map(summary).collect();
    assert_eq!(deaths, [death_of(&one, "expired", 1), death_of(&first, "rejected", 1)]);
    ch.await_ready(&two, 0);
    conn.heartbeats_within(std::time::Duration::from_millis(300));
    assert!(ch.pull(&seen).is_none(), "it went round again");
    ch.exchange_delete(&exchange).ok();
}

// behaviour 199
#[test]
fn a_missing_dead_letter_exchange_drops_in_silence() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = dying_queue(ch, &unique("missing"), None, Table::new());
    ch.put(&queue, "m");
    ch.reject(ch.get_soon(&queue).tag).send();
    ch.quiet();
    assert_eq!(ch.counts(&queue).0, 0);
}

// behaviour 199
#[test]
fn an_unroutable_dead_letter_takes_the_alternate_or_is_dropped() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (alternate, exchange, target) = (ch.temp_exchange("fanout"), unique("x"), ch.temp_queue());
    ch.exchange_declare(&exchange, "direct").arg("alternate-exchange", &alternate).ok();
    let queue = dying_queue(ch, &exchange, Some("nobody"), Table::new());
    ch.put(&queue, "dropped");
    ch.reject(ch.get_soon(&queue).tag).send();
    ch.quiet();
    ch.queue_bind(&target, &alternate, "").ok();
    ch.put(&queue, "kept");
    ch.reject(ch.get_soon(&queue).tag).send();
    let kept = ch.pull_soon(&target);
    assert_eq!((&*kept.text(), &*kept.routing_key), ("kept", "nobody"));
    ch.exchange_delete(&exchange).ok();
    ch.exchange_delete(&alternate).ok();
}

// behaviour 200
#[test]
fn purge_and_delete_kill_nobody_and_order_is_kept() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let target = ch.temp_queue();
    let queue = dying_queue(ch, "", Some(&target), Table::new());
    ch.put(&queue, "purged");
    assert_eq!(ch.queue_purge(&queue).ok().count(), 1);
    for n in 0..200 {
        ch.put(&queue, n.to_string());
    }
    ch.consume(&queue, "t").ok();
    let last = ch.deliveries(200).pop().expect("200 deliveries");
    ch.nack(last.tag).multiple().send();
    ch.await_ready(&target, 200);
    ch.put(&queue, "deleted");
    ch.queue_delete(&queue).ok();
    assert_eq!(ch.pull_all(&target), (0..200).map(|n| n.to_string()).collect::<Vec<_>>());
}

// behaviours 192, 202
#[test]
fn cc_keys_route_dead_letters_only_without_a_key_of_the_queues_own() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let exchange = ch.temp_exchange("direct");
    let (by_key, by_cc) = (ch.temp_queue(), ch.temp_queue());
    let (key, cc, bcc) = (unique("key"), unique("cc"), unique("bcc"));
    ch.queue_bind(&by_key, &exchange, &key).ok();
    ch.queue_bind(&by_cc, &exchange, &cc).ok();
    for own_key in [false, true] {
        let queue = dying_queue(ch, &exchange, own_key.then_some(&*key), Table::new());
        ch.queue_bind(&queue, "amq.direct", &key).ok();
        ch.publish("amq.direct", &key, "m")
            .header("CC", Value::Array(vec![(&cc).into()]))
            .header("BCC", Value::Array(vec![(&bcc).into()]))
            .send();
        ch.reject(ch.get_soon(&queue).tag).send();
        let dead = ch.pull_soon(&by_key);
        let keys = lookup(dead.props.deaths()[0], "routing-keys").expect("keys").items().to_vec();
        assert_eq!(keys, [Value::from(&key), Value::from(&cc)]);
        if own_key {
            assert_eq!(ch.counts(&by_cc).0, 0);
            assert!(!dead.props.has_header("CC"), "RabbitMQ 4 keeps it");
        } else {
            assert!(dead.props.has_header("CC"));
            assert_eq!(ch.pull_soon(&by_cc).text(), "m");
        }
        ch.queue_delete(&queue).ok();
    }
    ch.exchange_delete(&exchange).ok();
}

// behaviour 203: taken over as in 3.10 or ignored as in 4
#[test]
fn an_x_death_of_the_clients_own_is_taken_over_or_ignored() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let target = ch.temp_queue();
    let queue = dying_queue(ch, "", Some(&target), Table::new());
    let forged = table([
        ("count", Value::I64(5)),
        ("reason", "rejected".into()),
        ("queue", (&queue).into()),
        ("time", Value::Time(1)),
        ("exchange", "".into()),
        ("routing-keys", Value::Array(vec![(&queue).into()])),
    ]);
    ch.publish("", &queue, "m").header("x-death", Value::Array(vec![forged.into()])).send();
    ch.nack(ch.get_soon(&queue).tag).send();
    let dead = ch.pull_soon(&target);
    let latest = summary(dead.props.deaths()[0]);
    assert!(
        latest == death_of(&queue, "rejected", 6) || latest == death_of(&queue, "rejected", 1),
        "{latest:?}"
    );
}

// behaviour 203: RabbitMQ 3.10 loses such a message
#[test]
fn a_malformed_x_death_does_no_harm() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let target = ch.temp_queue();
    for forged in [Value::from("nonsense"), Value::Array(vec![1.into()]), Value::Array(vec![]), Value::Void] {
        let queue = dying_queue(ch, "", Some(&target), Table::new());
        ch.publish("", &queue, "m").header("x-death", forged).send();
        ch.nack(ch.get_soon(&queue).tag).send();
        let dead = ch.pull_soon(&target);
        let deaths = dead.props.header("x-death").items();
        assert_eq!(summary(deaths[0].fields()), death_of(&queue, "rejected", 1));
    }
}

// behaviours 200, 263: what a consumer held is requeued, not dead-lettered, when it goes
#[test]
fn a_lost_consumer_does_not_dead_letter() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let target = ch.temp_queue();
    let queue = dying_queue(ch, "", Some(&target), Table::new());
    let other = conn.channel(2);
    ch.put(&queue, "m");
    other.consume(&queue, "t").ok();
    other.delivery();
    other.close().ok();
    ch.await_ready(&queue, 1);
    assert_eq!(ch.counts(&target).0, 0);
}

// behaviour 192: several targets, through a fanout
#[test]
fn a_dead_letter_reaches_every_queue_of_its_exchange() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let exchange = ch.temp_exchange("fanout");
    let targets = [(); 3].map(|()| ch.temp_queue());
    targets.iter().for_each(|target| drop(ch.queue_bind(target, &exchange, "").ok()));
    let queue = dying_queue(ch, &exchange, None, table([("x-message-ttl", 20.into())]));
    ch.put(&queue, "m");
    for target in &targets {
        assert_eq!(summary(ch.pull_soon(target).props.deaths()[0]), death_of(&queue, "expired", 1));
    }
    ch.exchange_delete(&exchange).ok();
}
