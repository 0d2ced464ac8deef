//! Priorities of messages: queues with `x-max-priority` (behaviours 102, 210-212).

use std::time::Duration;

use crate::support::wire::*;

/// A queue of this connection with this maximum and these arguments.
fn prioritized(ch: Channel<'_>, max: i32, arguments: Table) -> String {
    let queue = unique("prio");
    ch.queue_declare(&queue).exclusive().arg("x-max-priority", max).args(arguments).ok();
    queue
}

fn priority(priority: impl Into<Option<u8>>) -> Props {
    Props { priority: priority.into(), ..Props::default() }
}

fn put(ch: Channel<'_>, queue: &str, body: &str, of: impl Into<Option<u8>>) {
    ch.publish("", queue, body).props(priority(of)).send();
}

/// Publishes a message of each of these priorities, told apart by its place: "0:5" came first.
fn put_all(ch: Channel<'_>, queue: &str, priorities: &[u8]) {
    for (at, of) in priorities.iter().enumerate() {
        put(ch, queue, &format!("{at}:{of}"), *of);
    }
}

// behaviour 210
#[test]
fn higher_priorities_come_first_and_equal_ones_in_the_order_of_their_arrival() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = prioritized(ch, 5, Table::new());
    for (at, of) in [Some(1), Some(5), None, Some(3), Some(5), Some(9), Some(0)].into_iter().enumerate() {
        put(ch, &queue, &format!("{at}:{of:?}"), of);
    }
    let order = ["1:Some(5)", "4:Some(5)", "5:Some(9)", "3:Some(3)", "0:Some(1)", "2:None", "6:Some(0)"];
    assert_eq!(ch.pull_all(&queue), order, "none is 0, more than the maximum is the maximum");
}

// behaviour 210
#[test]
fn a_queue_without_the_argument_ignores_priorities() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let plain = ch.temp_queue();
    put_all(ch, &plain, &[1, 5, 3]);
    assert_eq!(ch.pull_all(&plain), ["0:1", "1:5", "2:3"]);
    let one_level = prioritized(ch, 0, Table::new());
    put_all(ch, &one_level, &[1, 5, 3]);
    assert_eq!(ch.pull_all(&one_level), ["0:1", "1:5", "2:3"], "a maximum of 0 leaves one level");
}

// behaviour 102
#[test]
fn all_256_levels_keep_their_order() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = prioritized(ch, 255, Table::new());
    for round in 0..2 {
        for of in (0..=255_u8).map(|n| n.wrapping_mul(37)) {
            put(ch, &queue, &format!("{of} {round}"), of);
        }
    }
    let expected: Vec<_> = (0..512).map(|at| format!("{} {}", 255 - at / 2, at % 2)).collect();
    assert_eq!(ch.pull_all(&queue), expected);
}

// behaviour 210
#[test]
fn a_consumer_gets_the_highest_of_what_waits_and_is_not_pre_empted() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = prioritized(ch, 10, Table::new());
    ch.qos(0, 2, false).ok();
    ch.consume(&queue, "t").ok();
    put_all(ch, &queue, &[0, 0]);
    let held = ch.deliveries(2);
    put_all(ch, &queue, &[1, 10, 4]);
    ch.quiet();
    ch.ack(held[0].tag).send();
    assert_eq!(ch.texts(1), ["1:10"]);
    ch.ack(held[1].tag).send();
    assert_eq!(ch.texts(1), ["2:4"]);
}

// behaviour 211
#[test]
fn what_comes_back_takes_its_place_by_priority_and_age() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = prioritized(ch, 5, table([("x-delivery-limit", 5.into())]));
    put_all(ch, &queue, &[1, 5, 1]);
    let held = [ch.get_soon(&queue), ch.get_soon(&queue)];
    assert_eq!([held[0].text(), held[1].text()], ["1:5", "0:1"]);
    put_all(ch, &queue, &[3, 5, 0]);
    ch.nack(held[1].tag).multiple().requeue().send();
    let again: Vec<_> = std::iter::from_fn(|| ch.pull(&queue)).collect();
    let texts: Vec<_> = again.iter().map(Delivery::text).collect();
    assert_eq!(texts, ["1:5", "1:5", "0:3", "0:1", "2:1", "2:0"]);
    let redelivered: Vec<_> = again.iter().map(|delivery| delivery.redelivered).collect();
    assert_eq!(redelivered, [true, false, false, true, false, false]);
}

// behaviour 212
#[test]
fn a_length_limit_drops_the_oldest_of_the_highest_priority() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let dead = ch.temp_queue();
    let limits = table([
        ("x-max-length", 3.into()),
        ("x-dead-letter-exchange", "".into()),
        ("x-dead-letter-routing-key", dead.as_str().into()),
    ]);
    let queue = prioritized(ch, 5, limits);
    put_all(ch, &queue, &[0, 5, 5, 0, 0]);
    assert_eq!([ch.pull_soon(&dead).text(), ch.pull_soon(&dead).text()], ["1:5", "2:5"]);
    assert_eq!(ch.pull_all(&queue), ["0:0", "3:0", "4:0"]);
}

#[test]
fn a_full_queue_refuses_whatever_the_priority() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue =
        prioritized(ch, 5, table([("x-max-length", 2.into()), ("x-overflow", "reject-publish".into())]));
    ch.confirm_select().ok();
    put_all(ch, &queue, &[1, 0, 5, 3]);
    assert_eq!(ch.confirms(1, 4), [true, true, false, false]);
    assert_eq!(ch.pull_all(&queue), ["0:1", "1:0"]);
}

// behaviour 212
#[test]
fn a_message_expires_at_its_time_behind_higher_ones() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let dead = ch.temp_queue();
    let letters =
        [("x-dead-letter-exchange", "".into()), ("x-dead-letter-routing-key", dead.as_str().into())];
    let queue = prioritized(ch, 5, table(letters));
    put(ch, &queue, "stays", 5);
    ch.publish("", &queue, "leaves").expiration("100").send();
    let letter = ch.pull_soon(&dead);
    assert_eq!(letter.text(), "leaves");
    assert_eq!(lookup(letter.props.deaths()[0], "reason").map(Value::text), Some("expired"));
    assert_eq!(ch.pull_all(&queue), ["stays"]);
}

#[test]
fn a_queue_time_to_live_reaches_the_oldest_of_each_level() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = prioritized(ch, 5, table([("x-message-ttl", 600.into())]));
    put_all(ch, &queue, &[0, 2]);
    std::thread::sleep(Duration::from_millis(400));
    put(ch, &queue, "new", 5);
    ch.await_ready(&queue, 1);
    assert_eq!(ch.pull_all(&queue), ["new"]);
}

#[test]
fn dead_letters_keep_their_priority() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let target = prioritized(ch, 9, Table::new());
    let letters =
        [("x-dead-letter-exchange", "".into()), ("x-dead-letter-routing-key", target.as_str().into())];
    let queue = prioritized(ch, 9, table(letters));
    put_all(ch, &queue, &[2, 7, 5]);
    for _ in 0..3 {
        let delivery = ch.get_soon(&queue);
        ch.reject(delivery.tag).send();
    }
    ch.await_ready(&target, 3);
    put(ch, &target, "6", 6);
    assert_eq!(ch.pull_all(&target), ["1:7", "6", "2:5", "0:2"]);
}

#[test]
fn a_single_active_consumer_and_consumer_priorities_work_as_without_levels() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = prioritized(ch, 5, table([("x-single-active-consumer", Value::Bool(true))]));
    put_all(ch, &queue, &[1, 4]);
    ch.qos(0, 1, false).ok();
    ch.consume(&queue, "first").ok();
    ch.consume(&queue, "second").ok();
    let first = ch.delivery();
    assert_eq!((first.consumer_tag.as_str(), first.text().as_str()), ("first", "1:4"));
    ch.cancel("first").ok();
    let second = ch.delivery();
    assert_eq!((second.consumer_tag.as_str(), second.text().as_str()), ("second", "0:1"));
    let queue = prioritized(ch, 5, Table::new());
    ch.consume(&queue, "low").arg("x-priority", -1).ok();
    ch.consume(&queue, "high").arg("x-priority", 10).ok();
    put_all(ch, &queue, &[0, 3]);
    let tags = ch.deliveries(2).into_iter().map(|delivery| delivery.consumer_tag).collect::<Vec<_>>();
    assert_eq!(tags, ["high", "low"]);
}

#[test]
fn a_purge_takes_all_levels() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = prioritized(ch, 5, Table::new());
    put_all(ch, &queue, &[0, 1, 2, 3, 3]);
    let held = ch.get_soon(&queue);
    assert_eq!(ch.queue_purge(&queue).ok().count(), 4);
    ch.nack(held.tag).requeue().send();
    put(ch, &queue, "new", 4);
    assert_eq!(ch.pull_all(&queue), ["new", "3:3"]);
}

const MESSAGES: u32 = 24 * 1024;
const LEVELS: u32 = 10;
const CONFIG: &str = "[memory]\nmessages_bytes = 4194304\n\
                      [log]\nsegment_bytes = 4194304\nbudget_bytes = 8388608\n";

fn level_of(n: u32) -> u8 {
    u8::try_from(n * 7 % LEVELS).expect("a level")
}

fn body(n: u32) -> Vec<u8> {
    let mut body = format!("{n} ").into_bytes();
    body.resize(1024, b'.');
    body
}

fn fill(ch: Channel<'_>) {
    ch.confirm_select().ok();
    let mut confirmed = 0;
    for n in 0..MESSAGES {
        let props = Props { delivery_mode: Some(2), ..priority(level_of(n)) };
        ch.publish("", "backlog", body(n)).props(props).send();
        while confirmed + 500 < n {
            confirmed = u32::try_from(ch.confirm().number).expect("a number");
        }
    }
    while confirmed < MESSAGES {
        confirmed = u32::try_from(ch.confirm().number).expect("a number");
    }
}

/// Takes messages with acknowledgement on a channel of its own, and checks that they are these.
fn take(conn: &Conn, expected: &[u32], redelivered: bool) {
    let ch = conn.channel(2);
    ch.qos(0, 100, false).ok();
    ch.consume("backlog", "t").ok();
    for n in expected {
        let delivery = ch.delivery();
        assert!(delivery.body == body(*n), "{:.20} is not {n}", delivery.text());
        assert_eq!(delivery.redelivered, redelivered, "message {n}");
        ch.ack(delivery.tag).send();
    }
    ch.close().ok();
}

// behaviour 267
#[test]
fn a_backlog_larger_than_memory_keeps_its_levels_also_over_crashes_and_restarts() {
    let _alone = alone();
    let Some(mut broker) = Broker::own_with(CONFIG) else { return };
    let conn = broker.connect();
    let ch = conn.channel(1);
    ch.queue_declare("backlog").durable().arg("x-max-priority", 200).ok();
    fill(ch);
    let mut expected: Vec<_> = (0..MESSAGES).collect();
    expected.sort_by_key(|n| (std::cmp::Reverse(level_of(*n)), *n));
    let third = expected.len() / 3;
    take(&conn, &expected[..third], false);
    // A confirm behind the acknowledgements means that they, too, are on disk.
    put_persistent(ch, "highest", 150);
    ch.confirms(u64::from(MESSAGES) + 1, u64::from(MESSAGES) + 1);
    conn.close();
    broker.kill();
    broker.restart();

    let conn = broker.connect();
    let ch = conn.channel(1);
    assert_eq!(ch.get_soon("backlog").text(), "highest");
    take(&conn, &expected[third..2 * third], true);
    conn.close();
    broker.terminate();
    assert!(broker.await_end(), "it ends with success");
    broker.restart();

    let conn = broker.connect();
    let ch = conn.channel(1);
    ch.confirm_select().ok();
    put_persistent(ch, "low", 0);
    put_persistent(ch, "high", 11);
    ch.confirms(1, 2);
    assert_eq!(ch.pull_soon("backlog").text(), "highest");
    let high = ch.pull_soon("backlog");
    assert_eq!((high.text().as_str(), high.redelivered), ("high", false));
    take(&conn, &expected[2 * third..], true);
    assert_eq!(ch.pull_all("backlog"), ["low"]);
}

fn put_persistent(ch: Channel<'_>, body: &str, of: u8) {
    let props = Props { delivery_mode: Some(2), ..priority(of) };
    ch.publish("", "backlog", body).props(props).send();
}
