//! Prefetch (behaviours 165-171).

use crate::support::wire::*;

fn fill(ch: Channel<'_>, queue: &str, n: usize) {
    for m in 1..=n {
        ch.put(queue, m.to_string());
    }
}

/// Takes all deliveries there will be.
fn drain(ch: Channel<'_>) -> Vec<Delivery> {
    ch.sync();
    std::iter::from_fn(|| match ch.conn.next_within(ch.number, crate::support::wait::QUIET) {
        Event::Nothing => None,
        event => Some(event.method().is((60, 60)).delivery()),
    })
    .collect()
}

// behaviour 165
#[test]
fn a_prefetch_size_is_not_implemented() {
    let conn = Conn::open();
    conn.channel(1).qos(1, 0, false).expect_conn_close(
        540,
        (60, 10),
        "NOT_IMPLEMENTED - prefetch_size!=0 (1)",
    );
}

// behaviour 166
#[test]
fn a_limit_holds_for_each_consumer_started_after_it() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.qos(0, 2, false).ok();
    ch.consume(&queue, "a").ok();
    ch.qos(0, 3, false).ok();
    ch.consume(&queue, "b").ok();
    fill(ch, &queue, 20);
    let got = drain(ch);
    let of = |tag: &str| got.iter().filter(|d| d.consumer_tag == tag).count();
    assert_eq!((of("a"), of("b")), (2, 3));
}

// behaviours 166, 168
#[test]
fn earlier_consumers_keep_their_limit() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.consume(&queue, "a").ok();
    ch.qos(0, 1, false).ok();
    fill(ch, &queue, 10);
    assert_eq!(drain(ch).len(), 10);
}

// behaviour 167
#[test]
fn a_global_limit_is_shared_and_holds_for_existing_consumers() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.consume(&queue, "a").ok();
    ch.qos(0, 3, true).ok();
    ch.consume(&queue, "b").ok();
    fill(ch, &queue, 10);
    assert_eq!(drain(ch).len(), 3);
}

// behaviour 167
#[test]
fn of_both_kinds_the_tighter_wins() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.qos(0, 2, false).ok();
    ch.qos(0, 3, true).ok();
    ch.consume(&queue, "a").ok();
    fill(ch, &queue, 10);
    assert_eq!(drain(ch).len(), 2);
    ch.consume(&queue, "b").ok();
    assert_eq!(drain(ch).len(), 1);
}

// behaviour 168
#[test]
fn zero_no_ack_and_get_know_no_limit() {
    let conn = Conn::open();
    let queue = conn.channel(1).temp_queue();
    let unlimited = conn.channel(2);
    unlimited.qos(0, 0, false).ok();
    unlimited.consume(&queue, "a").ok();
    fill(unlimited, &queue, 300);
    assert_eq!(drain(unlimited).len(), 300);
    unlimited.ack(0).multiple().send();
    unlimited.cancel("a").ok();

    let automatic = conn.channel(3);
    automatic.qos(0, 1, false).ok();
    automatic.consume(&queue, "b").no_ack().ok();
    fill(automatic, &queue, 50);
    assert_eq!(drain(automatic).len(), 50);
    automatic.cancel("b").ok();

    let getter = conn.channel(4);
    getter.qos(0, 1, false).ok();
    fill(getter, &queue, 3);
    assert_eq!([(); 3].map(|()| getter.get_soon(&queue).text()), ["1", "2", "3"]);
}

// behaviour 168
#[test]
fn unacked_gets_count_towards_a_global_limit() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    fill(ch, &queue, 5);
    ch.get_soon(&queue);
    ch.qos(0, 2, true).ok();
    ch.consume(&queue, "t").ok();
    assert_eq!(drain(ch).len(), 1);
}

// behaviour 172: as RabbitMQ 4 does
#[test]
fn a_global_limit_holds_for_quorum_queues_too() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = unique("q");
    ch.queue_declare(&queue).durable().arg("x-queue-type", "quorum").ok();
    ch.qos(0, 2, true).ok();
    ch.consume(&queue, "a").ok();
    ch.consume(&queue, "b").ok();
    fill(ch, &queue, 5);
    assert_eq!(drain(ch).len(), 2);
    ch.queue_delete(&queue).ok();
}

// behaviour 169
#[test]
fn settling_frees_a_place() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.qos(0, 1, false).ok();
    ch.consume(&queue, "t").ok();
    fill(ch, &queue, 4);
    let first = ch.delivery();
    ch.quiet();
    ch.ack(first.tag).send();
    let second = ch.delivery();
    ch.quiet();
    ch.nack(second.tag).send();
    let third = ch.delivery();
    ch.reject(third.tag).send();
    assert_eq!(ch.delivery().text(), "4");
}

// behaviour 169
#[test]
fn raising_the_global_limit_sends_more_and_lowering_takes_nothing() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.qos(0, 1, true).ok();
    ch.consume(&queue, "t").ok();
    fill(ch, &queue, 10);
    assert_eq!(drain(ch).len(), 1);
    ch.qos(0, 3, true).ok();
    assert_eq!(drain(ch).len(), 2);
    ch.qos(0, 1, true).ok();
    ch.ack(2).multiple().send();
    assert_eq!(drain(ch).len(), 0);
    ch.ack(3).send();
    assert_eq!(drain(ch).len(), 1);
    ch.qos(0, 0, true).ok();
    assert_eq!(drain(ch).len(), 6);
}

// behaviour 170
#[test]
fn a_requeued_message_comes_back_before_the_next() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.qos(0, 1, false).ok();
    ch.consume(&queue, "t").ok();
    fill(ch, &queue, 2);
    for tag in 1..=5 {
        let d = ch.delivery();
        assert_eq!((d.tag, &*d.text(), d.redelivered), (tag, "1", tag > 1));
        ch.nack(tag).requeue().send();
    }
    ch.delivery();
    ch.ack(6).send();
    assert_eq!(ch.delivery().text(), "2");
}

// behaviour 171
#[test]
fn a_cancelled_consumers_messages_do_not_block_a_new_one() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.qos(0, 2, false).ok();
    ch.consume(&queue, "a").ok();
    fill(ch, &queue, 4);
    assert_eq!(ch.texts(2), ["1", "2"]);
    ch.cancel("a").ok();
    ch.consume(&queue, "b").ok();
    assert_eq!(ch.texts(2), ["3", "4"]);
    ch.quiet();
}

// behaviour 166: a limit given while consuming is for later consumers; 265: clients that raise it begin anew
#[test]
fn a_multiple_ack_frees_as_many_places() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.qos(0, 10, false).ok();
    ch.consume(&queue, "t").ok();
    fill(ch, &queue, 25);
    assert_eq!(drain(ch).len(), 10);
    ch.ack(7).multiple().send();
    assert_eq!(drain(ch).len(), 7);
    ch.ack(0).multiple().send();
    assert_eq!(drain(ch).len(), 8);
}
