//! Consumers (behaviours 147-163).

use std::time::Duration;

use crate::support::wire::*;

fn in_exclusive_use(queue: &str) -> String {
    format!("ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use")
}

// behaviour 147
#[test]
fn the_server_makes_consumer_tags() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    let tags = [(); 2].map(|()| ch.consume(&queue, "").ok().short());
    for tag in &tags {
        assert_eq!(tag.strip_prefix("amq.ctag-").map(str::len), Some(22), "{tag}");
    }
    assert_ne!(tags[0], tags[1]);
}

// behaviours 147, 160
#[test]
fn consume_ok_comes_before_the_first_delivery() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    for n in 0..100 {
        ch.put(&queue, n.to_string());
    }
    ch.consume(&queue, "mine").send();
    assert_eq!(ch.method().is((60, 21)).short(), "mine");
    for (n, d) in ch.deliveries(100).iter().enumerate() {
        assert_eq!((&*d.consumer_tag, d.tag, d.redelivered), ("mine", n as u64 + 1, false));
        assert_eq!((&*d.exchange, &d.routing_key, d.text()), ("", &queue, n.to_string()));
    }
}

// behaviour 148
#[test]
fn a_consumer_tag_is_unique_on_its_channel() {
    let conn = Conn::open();
    let (one, two) = (conn.channel(1), conn.channel(2));
    let queue = one.temp_queue();
    one.consume(&queue, "t").ok();
    two.consume(&queue, "t").ok();
    two.cancel("t").ok();
    two.consume(&queue, "t").ok();
    one.consume(&queue, "t").expect_conn_close(
        530,
        (60, 20),
        "NOT_ALLOWED - attempt to reuse consumer tag 't'",
    );
}

// behaviour 150
#[test]
fn an_exclusive_consumer_is_alone() {
    let conn = Conn::open();
    let (ch, other) = (conn.channel(1), conn.channel(2));
    let queue = ch.temp_queue();
    ch.consume(&queue, "a").exclusive().ok();
    other.consume(&queue, "b").expect_close(403, (60, 20), &in_exclusive_use(&queue));
    other.open().ok();
    other.consume(&queue, "b").exclusive().expect_close(403, (60, 20), &in_exclusive_use(&queue));
    other.open().ok();
    ch.cancel("a").ok();
    other.consume(&queue, "b").ok();
    ch.consume(&queue, "a").exclusive().expect_close(403, (60, 20), &in_exclusive_use(&queue));
}

// behaviour 158
#[test]
fn get_is_served_beside_an_exclusive_consumer() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.qos(0, 1, false).ok();
    ch.consume(&queue, "a").exclusive().ok();
    assert!(ch.get(&queue).is_none());
    ch.put(&queue, "consumed");
    ch.put(&queue, "got");
    assert_eq!(ch.delivery().text(), "consumed");
    assert_eq!(conn.channel(2).get_soon(&queue).text(), "got");
}

// behaviour 151
#[test]
fn cancel_stops_deliveries_and_keeps_what_was_delivered() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    assert_eq!(ch.cancel("unknown").ok().short(), "unknown");
    ch.consume(&queue, "t").ok();
    ch.put(&queue, "held");
    let held = ch.delivery();
    ch.cancel("t").ok();
    ch.put(&queue, "later");
    ch.quiet();
    assert_eq!(ch.counts(&queue), (1, 0));
    ch.ack(held.tag).send();
    ch.close().ok();
    ch.open().ok();
    assert_eq!(ch.pull_all(&queue), ["later"]);
}

// behaviour 151
#[test]
fn nothing_is_delivered_after_cancel_ok() {
    let conn = Conn::open();
    let (ch, publisher) = (conn.channel(1), Conn::open());
    let queue = ch.temp_queue();
    ch.consume(&queue, "t").no_ack().ok();
    let out = publisher.channel(1);
    for n in 0..2000 {
        out.put(&queue, n.to_string());
    }
    ch.cancel("t").send();
    let mut seen = 0;
    loop {
        let m = ch.method();
        if m.ids == (60, 31) {
            break;
        }
        assert_eq!(m.delivery().text(), seen.to_string());
        seen += 1;
    }
    out.sync();
    ch.quiet();
    ch.await_ready(&queue, 2000 - seen);
}

// behaviour 152
#[test]
fn a_client_without_the_capability_is_not_told_of_the_end() {
    let conn = Dial { capabilities: Table::new(), ..Dial::shared() }.open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.consume(&queue, "t").ok();
    ch.queue_delete(&queue).ok();
    ch.quiet();
}

// behaviour 164
#[test]
fn consumers_over_the_configured_number_are_refused() {
    let Some(broker) = Broker::own_with("[limits]\nchannel_consumers_max = 2\n") else { return };
    let conn = broker.connect();
    let (ch, other) = (conn.channel(1), conn.channel(2));
    let queue = ch.temp_queue();
    for tag in ["a", "b"] {
        ch.consume(&queue, tag).ok();
        other.consume(&queue, tag).ok();
    }
    ch.cancel("a").ok();
    ch.consume(&queue, "c").ok();
    let text = "NOT_ALLOWED - reached maximum (2) of consumers per channel";
    ch.consume(&queue, "d").expect_conn_close(530, (60, 20), text);
}

// behaviour 153
#[test]
fn no_local_is_ignored() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.consume(&queue, "t").no_local().no_ack().ok();
    ch.put(&queue, "own");
    assert_eq!(ch.delivery().text(), "own");
}

// behaviour 154
#[test]
fn deliveries_go_round_robin() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    for tag in ["a", "b", "c"] {
        ch.consume(&queue, tag).no_ack().ok();
    }
    let mut tags = Vec::new();
    for n in 0..9 {
        ch.put(&queue, n.to_string());
        tags.push(ch.delivery().consumer_tag);
    }
    for window in tags.windows(3) {
        let mut three = window.to_vec();
        three.sort();
        assert_eq!(three, ["a", "b", "c"], "{tags:?}");
    }
}

// behaviour 155
#[test]
fn a_higher_consumer_priority_is_served_first() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.qos(0, 2, false).ok();
    ch.consume(&queue, "low").arg("x-priority", -5).ok();
    ch.consume(&queue, "none").ok();
    ch.consume(&queue, "high").arg("x-priority", 10).ok();
    for n in 0..6 {
        ch.put(&queue, n.to_string());
    }
    let tags: Vec<_> = ch.deliveries(6).into_iter().map(|d| d.consumer_tag).collect();
    assert_eq!(tags, ["high", "high", "none", "none", "low", "low"]);
}

// behaviour 155
#[test]
fn a_consumer_priority_must_be_an_integer() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    let text = format!(
        "PRECONDITION_FAILED - invalid arg 'x-priority' for queue '{queue}' in vhost '/': \
         \"expected integer, got longstr\""
    );
    ch.consume(&queue, "t").arg("x-priority", "high").expect_close(406, (60, 20), &text);
}

// behaviours 156, 157
#[test]
fn a_single_active_consumer_has_a_successor() {
    let conn = Conn::open();
    let (ch, other) = (conn.channel(1), conn.channel(2));
    let queue = unique("q");
    ch.queue_declare(&queue).exclusive().arg("x-single-active-consumer", true).ok();
    ch.put(&queue, "got");
    assert_eq!(ch.pull_soon(&queue).text(), "got");
    ch.consume(&queue, "a").no_ack().ok();
    other.consume(&queue, "b").no_ack().ok();
    ch.consume(&queue, "c").no_ack().ok();
    let served_by = |ch: Channel<'_>, tag: &str| {
        for m in ["1", "2", "3"] {
            ch.put(&queue, m);
            assert_eq!(ch.delivery().consumer_tag, tag);
        }
    };
    served_by(ch, "a");
    ch.cancel("a").ok();
    served_by(other, "b");
    other.close().ok();
    served_by(ch, "c");
    let text = in_exclusive_use(&queue);
    ch.consume(&queue, "x").exclusive().expect_close(403, (60, 20), &text);
}

// behaviour 156: as RabbitMQ 4 does
#[test]
fn the_successor_of_a_single_active_consumer_has_the_highest_priority() {
    let conn = Conn::open();
    let (ch, other) = (conn.channel(1), Conn::open());
    let queue = unique("q");
    ch.queue_declare(&queue).auto_delete().arg("x-single-active-consumer", true).ok();
    other.channel(1).consume(&queue, "first").ok();
    ch.consume(&queue, "low").arg("x-priority", 1).ok();
    ch.consume(&queue, "high").arg("x-priority", 5).ok();
    ch.consume(&queue, "high too").arg("x-priority", 5).ok();
    ch.put(&queue, "m");
    assert_eq!(other.unopened(1).delivery().consumer_tag, "first");
    other.vanish();
    for tag in ["high", "high too", "low"] {
        let got = ch.delivery();
        assert_eq!((&*got.consumer_tag, got.redelivered), (tag, true));
        ch.cancel(tag).ok();
        ch.reject(got.tag).requeue().send();
    }
}

// behaviour 157
#[test]
fn get_is_not_served_by_a_quorum_queue_with_a_single_active_consumer() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = unique("q");
    let declare = ch.queue_declare(&queue).durable().arg("x-queue-type", "quorum");
    declare.arg("x-single-active-consumer", true).ok();
    let text = format!(
        "RESOURCE_LOCKED - cannot obtain access to locked queue '{queue}' in vhost '/'. basic.get operations are \
         not supported by quorum queues with single active consumer"
    );
    ch.basic_get(&queue).expect_close(405, (60, 70), &text);
    ch.open().ok();
    ch.queue_delete(&queue).ok();
}

// behaviour 159
#[test]
fn nowait_consume_starts_without_a_word() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.put(&queue, "m");
    ch.consume(&queue, "t").no_ack().nowait().send();
    assert_eq!(ch.delivery().text(), "m");
    ch.cancel("t").nowait().send();
    ch.quiet();
    assert_eq!(ch.counts(&queue), (0, 0));
}

// behaviour 161
#[test]
fn a_client_that_does_not_read_stalls_nobody_else() {
    let slow = Conn::open();
    let slow_queue = unique("q");
    let ch = slow.channel(1);
    ch.queue_declare(&slow_queue).auto_delete().ok();
    ch.consume(&slow_queue, "slow").ok();
    let conn = Conn::open();
    let ch = conn.channel(1);
    let body = vec![0; 100_000];
    for _ in 0..200 {
        ch.put(&slow_queue, &body);
    }
    let queue = ch.temp_queue();
    ch.consume(&queue, "quick").no_ack().ok();
    for n in 0..100 {
        ch.put(&queue, n.to_string());
        assert_eq!(ch.delivery().text(), n.to_string());
    }
    assert_eq!(slow.unopened(1).deliveries(200).len(), 200);
}

// behaviour 163
#[test]
fn a_queue_declared_again_has_no_ghosts() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = unique("q");
    for round in 0..20 {
        ch.queue_declare(&queue).exclusive().ok();
        ch.put(&queue, "left behind");
        ch.put(&queue, "left behind too");
        ch.queue_delete(&queue).ok();
        ch.queue_declare(&queue).exclusive().ok();
        let tag = format!("t{round}");
        ch.consume(&queue, &tag).no_ack().ok();
        ch.put(&queue, &tag);
        let got = ch.delivery();
        assert_eq!((got.text(), &got.consumer_tag), (tag.clone(), &tag));
        ch.cancel(&tag).ok();
        ch.queue_delete(&queue).ok();
    }
    assert!(matches!(conn.next_within(1, Duration::from_millis(50)), Event::Nothing));
}
