//! Kills and stops: what was confirmed is there afterwards, delays included (behaviours 33, 84, 118, 135, 189).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::wire::*;

const KILLS: u64 = 20;
const PUBLISHERS: u64 = 3;

/// What the threads of a kill loop share.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    confirmed: AtomicU64,
    delivered: AtomicU64,
}

/// A delivery as the consumer saw it: publisher, sequence number, redelivered.
type Seen = (u64, u64, bool);

// behaviours 118, 129, 135, 179
#[test]
fn confirmed_messages_survive_being_killed_twenty_times() {
    let _alone = alone();
    let Some(mut broker) = Broker::own() else { return };
    let queue = unique("survive");
    broker.connect().channel(1).queue_declare(&queue).durable().ok();
    let address = broker.address().to_owned();
    let load = Load::default();
    let (confirmed, seen) = std::thread::scope(|scope| {
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|id| {
                scope.spawn({
                    let (a, q, l) = (&address, &queue, &load);
                    move || publish(a, q, id, l)
                })
            })
            .collect();
        let consumer = scope.spawn(|| consume(&address, &queue, &load));
        for round in 0..KILLS {
            progress(&load, 200);
            std::thread::sleep(Duration::from_millis(round * 13 % 70)); // a different moment each
            broker.kill();
            broker.restart();
        }
        progress(&load, 200);
        load.stop.store(true, Ordering::Relaxed);
        let confirmed: Vec<_> = publishers.into_iter().map(|p| p.join().expect("a publisher")).collect();
        (confirmed, consumer.join().expect("the consumer"))
    });
    check_nothing_missing(&confirmed, &seen);
    check_order_of_first_deliveries(&seen);
    check_duplicates_are_marked(&seen);
}

/// Waits until this many more messages have been confirmed, and some delivered.
fn progress(load: &Load, more: u64) {
    let now = || (load.confirmed.load(Ordering::Relaxed), load.delivered.load(Ordering::Relaxed));
    let (confirmed, delivered) = now();
    eventually("the load to go on", || (now().0 >= confirmed + more && now().1 > delivered).then_some(()));
}

/// Publishes each number once, over as many connections as it takes; gives the confirmed ones.
fn publish(address: &str, queue: &str, id: u64, load: &Load) -> BTreeSet<u64> {
    let (mut confirmed, mut next) = (BTreeSet::new(), 0);
    while !load.stop.load(Ordering::Relaxed) {
        let Some(conn) = reconnect(address) else { continue };
        let ch = conn.unopened(1);
        if !ch.open().try_ok() || !ch.confirm_select().try_ok() {
            continue;
        }
        let (base, mut open) = (next, BTreeSet::new());
        loop {
            let stop = load.stop.load(Ordering::Relaxed);
            while open.len() < 64 && !stop {
                ch.publish("", queue, format!("{id} {next} {:200}", "")).persistent().send();
                open.insert(next);
                next += 1;
            }
            if open.is_empty() {
                break;
            }
            let Event::Method(m) = ch.next() else { break };
            if m.ids == (10, 50) {
                break;
            }
            let c = m.confirm();
            assert!(c.acked, "the broker refused a message: {c:?}");
            let last = base + c.number - 1;
            let done: Vec<_> = if c.multiple { open.range(..=last).copied().collect() } else { vec![last] };
            for number in done {
                assert!(open.remove(&number), "{number} was confirmed twice");
                confirmed.insert(number);
                load.confirmed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    confirmed
}

/// Consumes with manual acks until the load has stopped and the queue is empty.
fn consume(address: &str, queue: &str, load: &Load) -> Vec<Seen> {
    let mut seen = Vec::new();
    loop {
        let Some(conn) = reconnect(address) else { continue };
        let ch = conn.unopened(1);
        if !ch.open().try_ok() || !ch.qos(0, 100, false).try_ok() || !ch.consume(queue, "t").try_ok() {
            continue;
        }
        loop {
            match conn.next_within(1, Duration::from_millis(500)) {
                Event::Method(m) if m.ids == (60, 60) => {
                    let d = m.delivery();
                    seen.push(parse(&d));
                    load.delivered.fetch_add(1, Ordering::Relaxed);
                    if d.tag.is_multiple_of(16) {
                        ch.ack(d.tag).multiple().send();
                    }
                }
                Event::Nothing => {
                    ch.ack(0).multiple().send();
                    if load.stop.load(Ordering::Relaxed) && conn.channel(2).counts(queue).0 == 0 {
                        return seen;
                    }
                }
                _ => break,
            }
        }
    }
}

fn reconnect(address: &str) -> Option<Conn> {
    let conn = Dial::to(address).try_open();
    if conn.is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    conn
}

fn parse(d: &Delivery) -> Seen {
    let text = d.text();
    let mut words = text.split(' ').map_while(|word| word.parse().ok());
    let (id, number) = words.next().zip(words.next()).expect("publisher and number");
    (id, number, d.redelivered)
}

fn check_nothing_missing(confirmed: &[BTreeSet<u64>], seen: &[Seen]) {
    let all: u64 = confirmed.iter().map(|numbers| numbers.len() as u64).sum();
    assert!(all >= KILLS * 200, "only {all} messages were confirmed");
    for (id, numbers) in (0..).zip(confirmed) {
        let came: BTreeSet<_> = seen.iter().filter(|s| s.0 == id).map(|s| s.1).collect();
        let lost: Vec<_> = numbers.difference(&came).take(10).collect();
        assert!(lost.is_empty(), "publisher {id}: confirmed and lost, the first of them: {lost:?}");
    }
}

fn check_order_of_first_deliveries(seen: &[Seen]) {
    let (mut came, mut last) = (BTreeSet::new(), BTreeMap::new());
    for &(id, number, _) in seen {
        if came.insert((id, number)) {
            let before = last.insert(id, number);
            assert!(before < Some(number), "publisher {id}: {number} came after {before:?}");
        }
    }
}

fn check_duplicates_are_marked(seen: &[Seen]) {
    let mut came = BTreeSet::new();
    for &(id, number, redelivered) in seen {
        assert!(came.insert((id, number)) || redelivered, "publisher {id}: {number} came again unmarked");
    }
}

// behaviours 118, 189
#[test]
fn waiting_messages_survive_kills_and_come_at_their_time() {
    let _alone = alone();
    let Some(mut broker) = Broker::own() else { return };
    let (wait, target) = (unique("wait"), unique("target"));
    let conn = broker.connect();
    let ch = conn.channel(1);
    ch.queue_declare(&target).durable().ok();
    ch.queue_declare(&wait)
        .durable()
        .arg("x-dead-letter-exchange", "")
        .arg("x-dead-letter-routing-key", &target)
        .ok();
    ch.confirm_select().ok();
    let mut sent = HashMap::new();
    for n in 0..300_u64 {
        let delay_ms = 500 + n * 691 % 4000;
        sent.insert(n, (Instant::now(), Duration::from_millis(delay_ms)));
        ch.publish("", &wait, n.to_string()).persistent().expiration(&delay_ms.to_string()).send();
    }
    assert!(ch.confirms(1, 300).iter().all(|acked| *acked));
    let all_sent = Instant::now();
    for _ in 0..3 {
        broker.kill();
        broker.restart();
        std::thread::sleep(Duration::from_millis(300)); // some fall due between the kills
    }
    let up = Instant::now();
    let conn = broker.connect();
    let ch = conn.channel(1);
    ch.consume(&target, "t").ok();
    while !sent.is_empty() {
        let d = ch.delivery();
        ch.ack(d.tag).send();
        let Some((at, delay)) = sent.remove(&d.text().parse().expect("a number")) else {
            assert!(d.redelivered || up.elapsed() < Duration::from_secs(1), "{} came twice", d.text());
            continue;
        };
        assert!(at.elapsed() + Duration::from_millis(3) >= delay, "{} of {delay:?} came early", d.text());
        let due = (all_sent + delay).max(up);
        assert!(
            due.elapsed() < Duration::from_millis(600),
            "{} of {delay:?} is late by {:?}",
            d.text(),
            due.elapsed()
        );
        assert_eq!(
            d.props.deaths()[0].len(),
            7,
            "count, reason, queue, time, exchange, keys, original expiration"
        );
    }
    ch.quiet();
    assert_eq!((ch.counts(&wait).0, ch.counts(&target).0), (0, 0));
}

// behaviours 84, 118
#[test]
fn durable_things_are_there_after_a_kill_and_transient_ones_are_not() {
    let _alone = alone();
    let Some(mut broker) = Broker::own() else { return };
    let conn = broker.connect();
    let ch = conn.channel(1);
    ch.exchange_declare("kept", "topic").durable().arg("alternate-exchange", "amq.fanout").ok();
    ch.exchange_declare("kept too", "headers").durable().ok();
    ch.exchange_declare("gone", "fanout").ok();
    ch.exchange_declare("deleted", "fanout").durable().ok();
    ch.queue_declare("kept").durable().arg("x-message-ttl", 3_600_000).ok();
    ch.queue_declare("gone").ok();
    ch.queue_declare("exclusive").exclusive().durable().ok();
    ch.queue_declare("deleted").durable().ok();
    ch.queue_bind("kept", "kept", "a.*").ok();
    ch.queue_bind("kept", "kept", "unbound").ok();
    ch.queue_bind("kept", "kept too", "").arg("x-match", "any").arg("h", 1).ok();
    ch.exchange_bind("kept", "amq.direct", "through").ok();
    ch.queue_bind("gone", "kept", "to the gone").ok();
    ch.queue_unbind("kept", "kept", "unbound").ok();
    ch.exchange_delete("deleted").ok();
    ch.queue_delete("deleted").ok();
    ch.confirm_select().ok();
    for n in 0..100 {
        let publish = ch.publish("kept", "a.b", n.to_string()).header("n", n);
        if n % 2 == 0 { publish.persistent().send() } else { publish.send() }
    }
    ch.confirms(1, 100);
    broker.kill();
    broker.restart();

    let conn = broker.connect();
    let ch = conn.channel(1);
    let gone = |exchange: bool, name: &str| {
        let other = conn.channel(2);
        if exchange {
            other.exchange_declare(name, "fanout").passive().expect_close(404, (40, 10), "NOT_FOUND - ...");
        } else {
            other.queue_declare(name).passive().expect_close(404, (50, 10), "NOT_FOUND - ...");
        }
    };
    for (exchange, name) in
        [(true, "gone"), (true, "deleted"), (false, "gone"), (false, "exclusive"), (false, "deleted")]
    {
        gone(exchange, name);
    }
    let (_, ready, _) = ch.queue_declare("kept").durable().arg("x-message-ttl", 3_600_000).ok().declare_ok();
    assert_eq!(ready, 50, "the persistent half");
    ch.exchange_declare("kept", "topic").durable().arg("alternate-exchange", "amq.fanout").ok();
    for n in (0..100).step_by(2) {
        let d = ch.pull("kept").expect("a persistent message");
        assert_eq!((d.text(), d.props.header("n")), (n.to_string(), &Value::I32(n)));
        assert_eq!((&*d.exchange, &*d.routing_key), ("kept", "a.b"));
    }
    for (exchange, key) in [("kept", "a.c"), ("kept too", "any"), ("amq.direct", "through")] {
        ch.publish(exchange, key, exchange).header("h", 1).mandatory().send();
    }
    ch.publish("kept", "unbound", "m").mandatory().send();
    ch.publish("kept", "to the gone", "m").mandatory().send();
    for _ in 0..3 {
        ch.method().is((60, 50));
    }
    assert_eq!(ch.pull_all("kept"), ["kept", "kept too"]);
}

// behaviour 33
#[test]
fn a_graceful_stop_tells_clients_and_keeps_everything() {
    let _alone = alone();
    let Some(mut broker) = Broker::own() else { return };
    let conn = broker.connect();
    let ch = conn.channel(1);
    ch.queue_declare("q").durable().ok();
    ch.confirm_select().ok();
    for n in 0..500 {
        ch.publish("", "q", n.to_string()).persistent().send();
    }
    ch.confirms(1, 500);
    for _ in 0..100 {
        let tag = ch.get("q").expect("a message").tag;
        ch.ack(tag).send();
    }
    let held = ch.get("q").expect("a message");
    ch.sync();
    let idle = broker.connect();
    broker.terminate();
    let text = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";
    conn.expect_close(320, (0, 0), text);
    idle.expect_close(320, (0, 0), text);
    assert!(broker.await_end(), "it ends with success");
    broker.restart();
    let conn = broker.connect();
    let ch = conn.channel(1);
    assert_eq!(ch.counts("q"), (400, 0));
    let first = ch.pull("q").expect("the message that was held");
    assert_eq!((first.text(), first.redelivered), (held.text(), true));
    assert_eq!(ch.pull_all("q"), (101..500).map(|n| n.to_string()).collect::<Vec<_>>());
}

// behaviour 118: what was acked before a stop does not come back, purged and deleted neither
#[test]
fn settled_messages_do_not_come_back() {
    let _alone = alone();
    let Some(mut broker) = Broker::own() else { return };
    for stop in ["kill", "terminate", "kill"] {
        let conn = broker.connect();
        let ch = conn.channel(1);
        for queue in ["acked", "purged", "remade"] {
            ch.queue_declare(queue).durable().ok();
        }
        ch.confirm_select().ok();
        for n in 0..300 {
            for queue in ["acked", "purged", "remade"] {
                ch.publish("", queue, n.to_string()).persistent().send();
            }
        }
        ch.confirms(1, 900);
        ch.consume("acked", "t").ok();
        let last = ch.deliveries(300).pop().expect("300 deliveries");
        ch.ack(last.tag).multiple().send();
        ch.sync();
        assert_eq!(ch.queue_purge("purged").ok().count(), 300);
        ch.queue_delete("remade").ok();
        ch.queue_declare("remade").durable().ok();
        // A confirm behind the settlements means that they, too, are on disk.
        ch.publish("", "acked", "last").persistent().send();
        while ch.method().ids != (60, 80) {}
        if stop == "kill" {
            broker.kill();
        } else {
            broker.terminate();
            broker.await_end();
        }
        broker.restart();
        let conn = broker.connect();
        let ch = conn.channel(1);
        assert_eq!(["purged", "remade"].map(|queue| ch.counts(queue).0), [0, 0]);
        assert_eq!(ch.pull_all("acked"), ["last"]);
    }
}
