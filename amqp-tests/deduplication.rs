//! Messages that repeat an id are dropped, and confirmed when the first one is safe.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::event::Method;
use crate::support::wire::*;

const HEADER: &str = "x-deduplication-header";

/// Where a test publishes, and the queue where it looks.
struct Place {
    exchange: String,
    key: String,
    queue: String,
}

/// A queue that looks for duplicates, and an exchange of each kind that does, each with a queue behind it.
fn places(ch: Channel<'_>, arguments: &Table) -> Vec<Place> {
    let queue = unique("dedup");
    ch.queue_declare(&queue).exclusive().arg("x-message-deduplication", true).args(arguments.clone()).ok();
    let mut places = vec![Place { exchange: String::new(), key: queue.clone(), queue }];
    for kind in ["direct", "topic", "x-message-deduplication"] {
        let exchange = unique("dedup");
        let declare = ch.exchange_declare(&exchange, kind).args(arguments.clone());
        declare.arg("x-message-deduplication", true).auto_delete().ok();
        let queue = ch.temp_queue();
        ch.queue_bind(&queue, &exchange, "k").ok();
        places.push(Place { exchange, key: "k".to_owned(), queue });
    }
    places
}

fn argument(name: &str, value: impl Into<Value>) -> Table {
    vec![(name.to_owned(), value.into())]
}

impl Place {
    fn put(&self, ch: Channel<'_>, id: impl Into<Value>, body: &str) {
        ch.publish(&self.exchange, &self.key, body).header(HEADER, id).send();
    }

    fn all(&self, ch: Channel<'_>) -> Vec<String> {
        ch.pull_all(&self.queue)
    }
}

#[test]
fn a_repeat_is_dropped_and_acknowledged() {
    let conn = Conn::open();
    for place in places(conn.channel(1), &Table::new()) {
        let ch = conn.channel(2);
        ch.confirm_select().ok();
        for (id, body) in [("a", "1"), ("a", "2"), ("b", "3"), ("a", "4")] {
            place.put(ch, id, body);
        }
        place.put(ch, 5, "5");
        place.put(ch, Value::I64(5), "6");
        ch.publish(&place.exchange, &place.key, "7").send();
        ch.publish(&place.exchange, &place.key, "8").send();
        assert_eq!(ch.confirms(1, 8), [true; 8]);
        assert_eq!(place.all(ch), ["1", "3", "5", "7", "8"]);
        place.put(ch, "a", "9");
        assert_eq!(ch.confirms(9, 9), [true]);
        assert_eq!(place.all(ch), [""; 0], "taken messages came before, too");
        ch.close().ok();
    }
}

#[test]
fn publishes_that_repeat_in_all_but_the_body_are_looked_at_each_time() {
    let conn = Conn::open();
    for place in places(conn.channel(1), &Table::new()) {
        let ch = conn.channel(2);
        ch.confirm_select().ok();
        let bytes: Vec<u8> = (0..100)
            .flat_map(|n: u32| {
                ch.publish(&place.exchange, &place.key, n.to_string()).header(HEADER, "same").bytes()
            })
            .collect();
        conn.raw(&bytes);
        assert_eq!(ch.confirms(1, 100), [true; 100]);
        assert_eq!(place.all(ch), ["0"]);
        ch.close().ok();
    }
}

#[test]
fn ids_are_kept_for_their_time() {
    let conn = Conn::open();
    for place in places(conn.channel(1), &argument("x-cache-ttl", 300)) {
        let ch = conn.channel(2);
        ch.confirm_select().ok();
        place.put(ch, "short", "1");
        ch.publish(&place.exchange, &place.key, "2")
            .header(HEADER, "long")
            .header("x-cache-ttl", 60_000)
            .send();
        place.put(ch, "short", "3");
        assert_eq!(ch.confirms(1, 3), [true; 3]);
        std::thread::sleep(Duration::from_millis(400));
        place.put(ch, "short", "4");
        place.put(ch, "long", "5");
        assert_eq!(ch.confirms(4, 5), [true; 2]);
        assert_eq!(place.all(ch), ["1", "2", "4"]);
        ch.close().ok();
    }
}

#[test]
fn the_oldest_ids_give_way_to_new_ones() {
    let conn = Conn::open();
    for place in places(conn.channel(1), &argument("x-cache-size", 2)) {
        let ch = conn.channel(2);
        ch.confirm_select().ok();
        for (number, id) in (1..).zip(["a", "b", "c", "c", "b", "a"]) {
            place.put(ch, id, id);
            assert_eq!(ch.confirms(number, number), [true]);
        }
        assert_eq!(place.all(ch), ["a", "b", "c", "a"]);
        ch.close().ok();
    }
}

#[test]
fn the_header_may_have_another_name() {
    let conn = Conn::open();
    for place in places(conn.channel(1), &argument(HEADER, "message")) {
        let ch = conn.channel(2);
        ch.confirm_select().ok();
        place.put(ch, "a", "1");
        place.put(ch, "a", "2");
        ch.publish(&place.exchange, &place.key, "3").header("message", "a").send();
        ch.publish(&place.exchange, &place.key, "4").header("message", "a").send();
        assert_eq!(ch.confirms(1, 4), [true; 4]);
        assert_eq!(place.all(ch), ["1", "2", "3"]);
        ch.close().ok();
    }
}

#[test]
fn arguments_that_are_not_good_are_refused_by_name() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (queue, exchange) = (unique("dedup"), unique("dedup"));
    let cases: [(&str, Value, &str); 6] = [
        ("x-message-deduplication", "true".into(), "{unacceptable_type,longstr}"),
        ("x-cache-size", 0.into(), "{value_zero,0}"),
        ("x-cache-size", "many".into(), "\"expected integer, got longstr\""),
        ("x-cache-ttl", (-5).into(), "{value_negative,-5}"),
        ("x-cache-ttl", true.into(), "\"expected integer, got bool\""),
        (HEADER, 1.into(), "{unacceptable_type,signedint}"),
    ];
    for (name, value, reason) in cases {
        let text = |object: &str| {
            format!("PRECONDITION_FAILED - invalid arg '{name}' for {object} in vhost '/': {reason}")
        };
        let declare = ch.queue_declare(&queue).arg(name, value.clone());
        declare.expect_close(406, (50, 10), &text(&format!("queue '{queue}'")));
        ch.open().ok();
        let declare = ch.exchange_declare(&exchange, "direct").arg(name, value);
        declare.expect_close(406, (40, 10), &text(&format!("exchange '{exchange}'")));
        ch.open().ok();
    }
    ch.queue_declare(&queue).exclusive().arg("x-message-deduplication", true).arg("x-cache-size", 5).ok();
    let other =
        ch.queue_declare(&queue).exclusive().arg("x-message-deduplication", true).arg("x-cache-size", 6);
    other.expect_close(406, (50, 10), "PRECONDITION_FAILED - inequivalent arg 'x-cache-size' for queue ...");
    ch.open().ok();
    ch.exchange_declare(&exchange, "topic").arg("x-message-deduplication", true).ok();
    let other = ch.exchange_declare(&exchange, "topic");
    other.expect_close(406, (40, 10), "PRECONDITION_FAILED - inequivalent arg 'x-message-deduplication' ...");
    ch.open().ok();
    ch.exchange_delete(&exchange).ok();
}

#[test]
fn a_mandatory_repeat_is_not_returned_and_a_returned_message_may_come_again() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let exchange = unique("dedup");
    ch.exchange_declare(&exchange, "direct").arg("x-message-deduplication", true).ok();
    ch.confirm_select().ok();
    let put = |body: &str| ch.publish(&exchange, "k", body).header(HEADER, "id").mandatory().send();
    for number in 1..=2 {
        put("nobody is there");
        assert_eq!(ch.method().is((60, 50)).delivery().text(), "nobody is there");
        assert_eq!(ch.confirm(), Confirm { number, multiple: false, acked: true });
    }
    let queue = ch.temp_queue();
    ch.queue_bind(&queue, &exchange, "k").ok();
    put("first");
    assert_eq!(ch.confirms(3, 3), [true]);
    ch.queue_unbind(&queue, &exchange, "k").ok();
    put("repeat");
    assert_eq!(ch.confirm(), Confirm { number: 4, multiple: false, acked: true });
    ch.quiet();
    assert_eq!(ch.pull_all(&queue), ["first"]);
    ch.exchange_delete(&exchange).ok();
}

#[test]
fn a_message_that_was_refused_may_come_again() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (exchange, behind, looking) = (unique("dedup"), unique("q"), unique("q"));
    ch.exchange_declare(&exchange, "fanout").arg("x-message-deduplication", true).ok();
    let full =
        || ch.queue_declare(&behind).exclusive().arg("x-max-length", 1).arg("x-overflow", "reject-publish");
    full().ok();
    ch.queue_bind(&behind, &exchange, "").ok();
    let declare =
        ch.queue_declare(&looking).exclusive().arg("x-max-length", 1).arg("x-overflow", "reject-publish");
    declare.arg("x-message-deduplication", true).ok();
    ch.confirm_select().ok();
    let mut number = 0;
    for (exchange, key, queue) in [(&*exchange, "", &behind), ("", &*looking, &looking)] {
        let mut put = |id: &str| {
            ch.publish(exchange, key, id).header(HEADER, id).send();
            number += 1;
            ch.confirms(number, number)[0]
        };
        assert_eq!([put("a"), put("b"), put("a"), put("b")], [true, false, true, false]);
        assert_eq!(ch.pull_all(queue), ["a"]);
        assert_eq!([put("b"), put("b")], [true, true]);
        assert_eq!(ch.pull_all(queue), ["b"]);
    }
    ch.exchange_delete(&exchange).ok();
}

#[test]
fn a_dead_letter_that_comes_back_is_no_repeat() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (work, wait) = (unique("work"), unique("wait"));
    ch.queue_declare(&work)
        .exclusive()
        .arg("x-message-deduplication", true)
        .arg("x-dead-letter-exchange", "")
        .arg("x-dead-letter-routing-key", &*wait)
        .ok();
    ch.queue_declare(&wait)
        .exclusive()
        .arg("x-message-ttl", 20)
        .arg("x-dead-letter-exchange", "")
        .arg("x-dead-letter-routing-key", &*work)
        .ok();
    ch.publish("", &work, "m").header(HEADER, "id").send();
    for _ in 0..3 {
        let delivery = ch.get_soon(&work);
        assert_eq!(delivery.text(), "m");
        ch.reject(delivery.tag).send();
    }
    let delivery = ch.get_soon(&work);
    ch.nack(delivery.tag).requeue().send();
    assert_eq!(ch.pull_soon(&work).text(), "m");
}

#[test]
fn a_purge_lets_messages_come_again() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = unique("dedup");
    ch.queue_declare(&queue).exclusive().arg("x-message-deduplication", true).ok();
    for _ in 0..2 {
        ch.publish("", &queue, "m").header(HEADER, "id").send();
        ch.await_ready(&queue, 1);
        assert_eq!(ch.queue_purge(&queue).ok().count(), 1);
    }
}

// Messages of one channel through one exchange keep their order, with an id or without.
#[test]
fn the_order_is_kept() {
    let conn = Conn::open();
    for place in places(conn.channel(1), &Table::new()) {
        let ch = conn.channel(2);
        ch.confirm_select().ok();
        for n in 0..300_i32 {
            let publish = ch.publish(&place.exchange, &place.key, n.to_string());
            if n % 3 == 0 { publish.send() } else { publish.header(HEADER, n).send() }
        }
        assert_eq!(ch.confirms(1, 300), [true; 300]);
        assert_eq!(place.all(ch), (0..300).map(|n| n.to_string()).collect::<Vec<_>>());
        ch.close().ok();
    }
}

// All publishers send the same ids; whoever comes first, one copy arrives, and everybody is told that it is safe.
#[test]
fn concurrent_publishers_of_the_same_ids_leave_one_copy_of_each() {
    const IDS: i32 = 500;
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (queue, exchange, behind) = (unique("dedup"), unique("dedup"), unique("behind"));
    ch.queue_declare(&queue).durable().arg("x-message-deduplication", true).arg("x-expires", 60_000).ok();
    ch.exchange_declare(&exchange, "fanout").durable().arg("x-message-deduplication", true).ok();
    ch.queue_declare(&behind).durable().arg("x-expires", 60_000).ok();
    ch.queue_bind(&behind, &exchange, "").ok();
    for (to, key, queue) in [("", &*queue, &*queue), (&*exchange, "", &*behind)] {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let conn = Conn::open();
                    let ch = conn.channel(1);
                    ch.confirm_select().ok();
                    for id in 0..IDS {
                        ch.publish(to, key, id.to_string()).header(HEADER, id).persistent().send();
                    }
                    assert!(ch.confirms(1, 500).iter().all(|acked| *acked));
                });
            }
        });
        let mut bodies = ch.pull_all(queue);
        bodies.sort_by_key(|body| body.parse::<i32>().expect("a number"));
        assert_eq!(bodies, (0..IDS).map(|id| id.to_string()).collect::<Vec<_>>());
        ch.queue_delete(queue).ok();
    }
    ch.exchange_delete(&exchange).ok();
}

#[test]
fn an_exchange_that_delays_messages_looks_for_repeats_when_they_are_published() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (exchange, queue) = (unique("dedup"), ch.temp_queue());
    let declare = ch.exchange_declare(&exchange, "x-delayed-message").arg("x-delayed-type", "fanout");
    declare.arg("x-message-deduplication", true).ok();
    ch.queue_bind(&queue, &exchange, "").ok();
    ch.confirm_select().ok();
    for (id, delay_ms) in [("a", 200), ("a", 1), ("b", 0), ("b", 100)] {
        let body = format!("{id}{delay_ms}");
        ch.publish(&exchange, "", body).header(HEADER, id).header("x-delay", delay_ms).send();
    }
    assert_eq!(ch.confirms(1, 4), [true; 4]);
    ch.await_ready(&queue, 2);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(ch.pull_all(&queue), ["b0", "a200"]);
    ch.exchange_delete(&exchange).ok();
}

#[test]
fn an_exchange_may_keep_a_history_without_repeats() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let exchange = unique("dedup");
    ch.exchange_declare(&exchange, "x-recent-history").arg("x-message-deduplication", true).ok();
    ch.confirm_select().ok();
    for (id, body) in [("a", "1"), ("b", "2"), ("a", "3")] {
        ch.publish(&exchange, "", body).header(HEADER, id).mandatory().send();
    }
    for body in ["1", "2"] {
        let is_return = |method: &Method| method.ids == (60, 50);
        let returned = std::iter::repeat_with(|| ch.method()).find(is_return).expect("a return");
        assert_eq!(returned.delivery().text(), body, "kept is not received");
    }
    let queue = ch.temp_queue();
    ch.queue_bind(&queue, &exchange, "").ok();
    ch.await_ready(&queue, 2);
    assert_eq!(ch.pull_all(&queue), ["1", "2"]);
    ch.exchange_delete(&exchange).ok();
}

/// A durable queue that looks for duplicates, and a durable exchange that does with a queue behind it; as (exchange,
/// key, queue).
fn durable_places(ch: Channel<'_>) -> [(&'static str, &'static str, &'static str); 2] {
    ch.queue_declare("looking").durable().arg("x-message-deduplication", true).ok();
    ch.exchange_declare("x", "direct").durable().arg("x-message-deduplication", true).ok();
    ch.queue_declare("behind").durable().ok();
    ch.queue_bind("behind", "x", "k").ok();
    [("", "looking", "looking"), ("x", "k", "behind")]
}

#[test]
fn ids_of_confirmed_messages_are_known_after_kills_stops_and_checkpoints() {
    let _alone = alone();
    let Some(mut broker) = Broker::checkpointing() else { return };
    let mut sent = 0;
    for (round, (is_pressed, is_killed)) in
        [(false, true), (true, true), (false, false), (true, false), (false, true)].into_iter().enumerate()
    {
        let conn = broker.connect();
        let ch = conn.channel(1);
        for (exchange, key, queue) in durable_places(ch) {
            let ch = conn.channel(2);
            ch.confirm_select().ok();
            // Everything that was ever sent, and some more.
            for id in 0..sent + 20 {
                ch.publish(exchange, key, id.to_string()).header(HEADER, id).persistent().send();
            }
            let last = u64::try_from(sent + 20).expect("positive");
            assert!(ch.confirms(1, last).iter().all(|acked| *acked));
            let expected: Vec<_> = (sent..sent + 20).map(|id| id.to_string()).collect();
            assert_eq!(ch.pull_all(queue), expected, "round {round}, {queue}");
            // A confirm behind the settlements means that they, too, are on disk.
            ch.publish("", queue, "behind").persistent().expiration("0").send();
            assert_eq!(ch.confirms(last + 1, last + 1), [true]);
            ch.close().ok();
        }
        sent += 20;
        if is_pressed {
            conn.channel(3).fill_log();
            std::thread::sleep(Duration::from_millis(700)); // and what waits for it is confirmed
        }
        if is_killed {
            broker.kill();
        } else {
            broker.terminate();
            assert!(broker.await_end());
        }
        broker.restart();
    }
}

#[test]
fn a_transient_message_may_come_again_after_a_restart() {
    let _alone = alone();
    let Some(mut broker) = Broker::own() else { return };
    for _ in 0..2 {
        let conn = broker.connect();
        let ch = conn.channel(1);
        for (exchange, key, queue) in durable_places(ch) {
            let ch = conn.channel(2);
            ch.confirm_select().ok();
            for _ in 0..2 {
                ch.publish(exchange, key, "m").header(HEADER, "id").send();
            }
            ch.confirms(1, 2);
            assert_eq!(ch.counts(queue).0, 1);
            ch.close().ok();
        }
        broker.kill();
        broker.restart();
    }
}

// A publisher sends each message until it is confirmed, over as many kills as it takes.
#[test]
fn nothing_confirmed_is_lost_or_doubled_by_kills() {
    let _alone = alone();
    let Some(mut broker) = Broker::checkpointing() else { return };
    let setup = broker.connect();
    let places = durable_places(setup.channel(1));
    let address = broker.address().to_owned();
    let stop = AtomicBool::new(false);
    let confirmed: Vec<Vec<String>> = std::thread::scope(|scope| {
        let publishers: Vec<_> = places
            .iter()
            .map(|(exchange, key, _)| scope.spawn(|| publish_until_confirmed(&address, exchange, key, &stop)))
            .collect();
        for round in 0..6_u64 {
            std::thread::sleep(Duration::from_millis(300 + round * 37 % 90));
            broker.kill();
            broker.restart();
        }
        std::thread::sleep(Duration::from_millis(300));
        stop.store(true, Ordering::Relaxed);
        publishers.into_iter().map(|publisher| publisher.join().expect("a publisher")).collect()
    });
    let conn = broker.connect();
    let ch = conn.channel(1);
    for ((exchange, key, queue), confirmed) in places.into_iter().zip(confirmed) {
        assert!(confirmed.len() > 100, "only {} were confirmed", confirmed.len());
        let mut copies: BTreeMap<String, u32> = BTreeMap::new();
        for body in ch.pull_all(queue) {
            *copies.entry(body).or_default() += 1;
        }
        let lost: Vec<_> = confirmed.iter().filter(|id| !copies.contains_key(*id)).take(9).collect();
        assert!(lost.is_empty(), "{queue}: confirmed and lost: {lost:?}");
        if exchange.is_empty() {
            // A queue notes the id with the message: they are there together or not at all.
            let doubled: Vec<_> = copies.iter().filter(|(_, count)| **count > 1).take(9).collect();
            assert!(doubled.is_empty(), "{queue}: doubled: {doubled:?}");
        }
        let again = conn.channel(2);
        again.confirm_select().ok();
        for id in confirmed.iter().rev().take(200) {
            again.publish(exchange, key, id).header(HEADER, &**id).persistent().send();
        }
        let last = confirmed.len().min(200) as u64;
        assert!(again.confirms(1, last).iter().all(|acked| *acked));
        assert_eq!(ch.pull_all(queue), [""; 0], "{queue}: a repeat of a confirmed message");
        again.close().ok();
    }
}

/// Sends numbers in turn, sixteen at a time, each until it is confirmed; gives the confirmed ones.
fn publish_until_confirmed(address: &str, exchange: &str, key: &str, stop: &AtomicBool) -> Vec<String> {
    let mut confirmed: Vec<String> = Vec::new();
    let mut next = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let Some(conn) = Dial::to(address).try_open() else {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        let ch = conn.unopened(1);
        if !ch.open().try_ok() || !ch.confirm_select().try_ok() {
            continue;
        }
        let mut base = 1;
        'connected: while !stop.load(Ordering::Relaxed) {
            for id in next..next + 16 {
                let id = id.to_string();
                ch.publish(exchange, key, &id).header(HEADER, &*id).persistent().send();
            }
            let mut open: std::collections::BTreeSet<u64> = (base..base + 16).collect();
            while !open.is_empty() {
                let Event::Method(method) = ch.next() else { break 'connected };
                if method.ids == (10, 50) {
                    break 'connected;
                }
                let confirm = method.confirm();
                assert!(confirm.acked, "the broker refused a message: {confirm:?}");
                if confirm.multiple {
                    open = open.split_off(&(confirm.number + 1));
                } else {
                    open.remove(&confirm.number);
                }
            }
            confirmed.extend((next..next + 16).map(|id| id.to_string()));
            base += 16;
            next += 16;
        }
    }
    confirmed
}
