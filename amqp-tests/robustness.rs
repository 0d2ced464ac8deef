//! What clients do when things go wrong, and what must not harm anybody else (behaviours 262-268).

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::wire::*;

/// The broker still serves a whole round.
fn alive() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.put(&queue, "alive");
    assert_eq!(ch.pull_soon(&queue).text(), "alive");
}

// behaviour 268
#[test]
fn half_a_frame_harms_nobody_and_ends_by_heartbeat() {
    let conn = Dial { heartbeat_s: 1, ..Dial::shared() }.open();
    conn.channel(1);
    conn.raw(&[1, 0, 1, 0, 0, 1]);
    alive();
    conn.heartbeats_within(Duration::from_secs(6));
    conn.expect_socket_closed();
}

// behaviour 263
#[test]
fn clients_that_vanish_mid_publish_leave_nothing_behind() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    for cut in [1, 7, 12, 30, 45, 50] {
        let victim = Conn::open();
        victim.channel(1);
        let mut bytes = crate::support::conn::frame(
            1,
            1,
            &Encoder::method(60, 40).u16(0).short("").short(&queue).u8(0).0,
        );
        bytes.extend(crate::support::conn::frame(2, 1, &Props::default().encode(60, 1000)));
        bytes.extend(crate::support::conn::frame(3, 1, &[0; 500]));
        victim.raw(&bytes[..bytes.len() * cut / 50]);
        victim.vanish();
    }
    ch.put(&queue, "whole");
    assert_eq!(ch.pull_soon(&queue).text(), "whole");
    assert_eq!(ch.counts(&queue).0, 0);
}

// "No byte from the network makes the node panic": junk instead of frames
#[test]
fn random_octets_harm_nobody() {
    let keeper = Conn::open();
    let ch = keeper.channel(1);
    let mut runner = TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&proptest::collection::vec(any::<u8>(), 0..300), |junk| {
        let conn = Conn::open();
        conn.channel(1);
        conn.raw(&junk);
        conn.vanish();
        ch.sync();
        Ok(())
    });
    outcome.expect("the other connection goes on");
    alive();
}

// "No byte from the network makes the node panic": whole frames with damaged contents
#[test]
fn damaged_methods_harm_nobody() {
    let keeper = Conn::open();
    let ch = keeper.channel(1);
    let ids = prop_oneof![
        Just((50_u16, 10_u16)),
        Just((40, 10)),
        Just((50, 20)),
        Just((60, 20)),
        Just((60, 40)),
        Just((60, 80)),
        Just((60, 10)),
        Just((20, 40)),
        Just((10, 50)),
        Just((10, 11)),
        Just((60, 70)),
        Just((85, 10))
    ];
    let fields = proptest::collection::vec(any::<u8>(), 0..60);
    let mut runner = TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&(ids, fields, 0..3_u16, 1..4_u8), |(ids, fields, channel, kind)| {
        let conn = Conn::open();
        conn.channel(1);
        conn.frame(kind, channel, &Encoder::method(ids.0, ids.1).raw(&fields).0);
        conn.frame(2, channel, &fields);
        let close = Encoder::method(10, 50).u16(200).short("").u16(0).u16(0);
        conn.send(0, close);
        while matches!(conn.next(0), Event::Method(m) if m.ids != (10, 51) && m.ids != (10, 50)) {}
        conn.vanish();
        ch.sync();
        Ok(())
    });
    outcome.expect("the other connection goes on");
    alive();
}

// "No byte from the network makes the node panic": deep and broken tables
#[test]
fn deep_and_lying_tables_harm_nobody() {
    let mut deep = b"V".to_vec();
    for _ in 0..3000 {
        deep = Encoder::default().u8(b'F').long(Encoder::default().short("t").raw(&deep).0).0;
    }
    let conn = Conn::open();
    conn.channel(1).queue_declare(unique("deep")).exclusive().arg("deep", Value::Raw(deep)).send();
    conn.heartbeats_within(Duration::from_millis(100));
    let conn = Conn::open();
    let head = Encoder::default().u16(0).short(unique("lie")).u8(4);
    for lie in [u32::MAX, 1000, 5] {
        conn.unopened(1).open().send();
        conn.unopened(1).any((50, 10), &head.clone().u32(lie).short("k").raw(b"S").u32(u32::MAX).0).send();
    }
    conn.heartbeats_within(Duration::from_millis(100));
    alive();
}

// behaviours 16, 262
#[test]
fn the_highest_channel_number_works() {
    let conn = Conn::open();
    conn.channel(2047).sync();
}

// behaviour 262
#[test]
fn hundreds_of_connections_come_and_go() {
    for _ in 0..3 {
        let conns: Vec<_> = (0..100).map(|_| Conn::open()).collect();
        for conn in &conns {
            conn.channel(1).temp_queue();
        }
        for (n, conn) in conns.into_iter().enumerate() {
            if n % 2 == 0 { conn.close() } else { conn.vanish() }
        }
    }
    alive();
}

// behaviour 265
#[test]
fn a_killed_workers_tasks_go_to_the_other_worker() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = unique("tasks");
    ch.queue_declare(&queue).arg("x-expires", 60_000).ok();
    let doomed = Conn::open();
    let theirs = doomed.channel(1);
    theirs.qos(0, 4, false).ok();
    theirs.consume(&queue, "doomed").ok();
    for n in 0..4 {
        ch.put(&queue, n.to_string());
    }
    theirs.deliveries(4);
    ch.qos(0, 4, false).ok();
    ch.consume(&queue, "heir").ok();
    doomed.vanish();
    for n in 0..4 {
        let d = ch.delivery();
        assert_eq!((d.text(), d.redelivered), (n.to_string(), true));
        ch.ack(d.tag).send();
    }
    ch.queue_delete(&queue).ok();
}

// behaviour 265
#[test]
fn a_global_prefetch_may_be_raised_while_consuming() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.qos(0, 1, true).ok();
    ch.consume(&queue, "t").ok();
    for n in 1..=30_u16 {
        ch.put(&queue, n.to_string());
        assert_eq!(ch.delivery().text(), n.to_string());
        ch.qos(0, n + 1, true).ok();
    }
}

// behaviour 265: how Celery asks all its workers
#[test]
fn a_broadcast_reaches_every_worker_and_their_answers_come_back() {
    let asking = Conn::open();
    let ch = asking.channel(1);
    let (control, answers) = (unique("pidbox"), unique("reply.pidbox"));
    ch.exchange_declare(&control, "fanout").auto_delete().ok();
    ch.exchange_declare(&answers, "direct").auto_delete().ok();
    let inbox = |ch: Channel<'_>, exchange: &str, key: &str| {
        let queue = unique("inbox");
        ch.queue_declare(&queue).auto_delete().arg("x-expires", 10_000).arg("x-message-ttl", 300_000).ok();
        ch.queue_bind(&queue, exchange, key).ok();
        ch.consume(&queue, "t").no_ack().ok();
        queue
    };
    let key = unique("ticket");
    let reply_queue = inbox(ch, &answers, &key);
    let workers: Vec<_> = (0..3).map(|_| Conn::open()).collect();
    let inboxes: Vec<_> = workers.iter().map(|conn| inbox(conn.channel(1), &control, "")).collect();
    ch.publish(&control, "", "ping").send();
    for (n, conn) in workers.iter().enumerate() {
        let worker = conn.unopened(1);
        assert_eq!(worker.delivery().text(), "ping");
        worker.publish(&answers, &key, format!("pong {n}")).send();
    }
    let mut pongs = ch.texts(3);
    pongs.sort();
    assert_eq!(pongs, ["pong 0", "pong 1", "pong 2"]);
    workers.into_iter().for_each(Conn::vanish);
    let observer = asking.channel(2);
    inboxes.iter().for_each(|queue| observer.await_gone(queue));
    let text = format!("NOT_FOUND - no exchange '{control}' in vhost '/'");
    observer.exchange_declare(&control, "fanout").passive().expect_close(404, (40, 10), &text);
    assert_eq!(ch.counts(&reply_queue), (0, 1));
}

// behaviour 264
#[test]
fn ten_thousand_queues_that_came_and_went_leave_nothing() {
    let Some(broker) = Broker::own() else { return };
    let conn = broker.connect();
    let ch = conn.channel(1);
    let round = || {
        let names: Vec<_> = (0..1000).map(|n| format!("queue {n}")).collect();
        for (n, name) in names.iter().enumerate() {
            let call = ch.queue_declare(name).nowait();
            let call = if n % 10 == 0 { call.durable() } else { call };
            call.send();
            ch.queue_bind(name, "amq.topic", &format!("{n}.#")).nowait().send();
            ch.put(name, "m");
        }
        ch.sync();
        names.iter().for_each(|name| ch.queue_delete(name).nowait().send());
        ch.sync();
        ch.publish("amq.topic", "7.x", "m").mandatory().send();
        ch.method().is((60, 50));
    };
    (0..3).for_each(|_| round());
    let before = broker.resident_bytes();
    (0..7).for_each(|_| round());
    let grown = broker.resident_bytes().saturating_sub(before) >> 20;
    assert!(grown < 10, "{grown} MiB more after 7000 more queues");
}

// behaviour 266
#[test]
fn names_freed_by_a_close_are_free_at_once() {
    let queue = unique("mine");
    for _ in 0..20 {
        let conn = Conn::open();
        let ch = conn.channel(1);
        ch.queue_declare(&queue).exclusive().ok();
        ch.consume(&queue, "t").exclusive().ok();
        ch.consume(&queue, "t").send();
        conn.expect_close(530, (60, 20), "NOT_ALLOWED - ...");
    }
}

// behaviours 161, 267
#[test]
fn a_flood_with_a_consumer_that_acks_drains() {
    let conn = Conn::open();
    let publisher = Conn::open();
    let (ch, out) = (conn.channel(1), publisher.channel(1));
    let queue = ch.temp_queue();
    ch.qos(0, 50, false).ok();
    ch.consume(&queue, "t").ok();
    for n in 0..20_000 {
        out.put(&queue, n.to_string());
    }
    for n in 0..20_000_u64 {
        let d = ch.delivery();
        assert_eq!(d.text(), n.to_string());
        if n % 25 == 24 {
            ch.ack(d.tag).multiple().send();
        }
    }
}
