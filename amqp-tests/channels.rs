//! Opening, closing and erring on channels (behaviours 55-65).

use crate::support::wire::*;

const NOT_OPEN: &str = "CHANNEL_ERROR - expected 'channel.open'";

// behaviour 55
#[test]
fn opening_an_open_channel_is_a_channel_error() {
    let conn = Conn::open();
    conn.channel(1).open().expect_conn_close(504, (20, 10), "CHANNEL_ERROR - second 'channel.open' seen");
}

// behaviour 56
#[test]
fn methods_on_a_channel_that_is_not_open_are_a_channel_error() {
    Conn::open().unopened(7).qos(0, 1, false).expect_conn_close(504, (60, 10), NOT_OPEN);
    Conn::open().unopened(7).close().expect_conn_close(504, (20, 40), NOT_OPEN);
    Conn::open().unopened(7).close_ok().expect_conn_close(504, (20, 41), NOT_OPEN);
    let conn = Conn::open();
    conn.channel(1).close().ok();
    conn.unopened(1).qos(0, 1, false).expect_conn_close(504, (60, 10), NOT_OPEN);
}

// behaviour 57
#[test]
fn after_an_error_frames_are_dropped_until_close_ok() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (missing, late) = (unique("missing"), unique("late"));
    ch.queue_declare(&missing).passive().send();
    let close = ch.method().is((20, 40)).close();
    assert_eq!(close.code, 404);
    ch.queue_declare(&late).exclusive().send();
    ch.put(&late, "dropped");
    ch.close_ok().send();
    ch.open().ok();
    let text = format!("NOT_FOUND - no queue '{late}' in vhost '/'");
    ch.queue_declare(&late).passive().expect_close(404, (50, 10), &text);
}

// behaviour 58
#[test]
fn a_close_crossing_the_brokers_close_is_answered() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    ch.queue_declare(unique("missing")).passive().send();
    ch.close().send();
    assert_eq!(ch.method().is((20, 40)).close().code, 404);
    ch.close_ok().send();
    ch.method().is((20, 41));
    ch.open().ok();
}

// behaviour 59
#[test]
fn a_closed_number_may_be_opened_again_at_once() {
    let conn = Conn::open();
    for _ in 0..20 {
        conn.channel(1).close().ok();
    }
    conn.channel(1).sync();
}

// behaviour 60
#[test]
fn an_error_on_one_channel_leaves_the_others_alone() {
    let conn = Conn::open();
    let (bad, good) = (conn.channel(1), conn.channel(2));
    let queue = good.temp_queue();
    good.consume(&queue, "t").no_ack().ok();
    bad.publish(&unique("missing"), "k", "m").expect_close(404, "NOT_FOUND - no exchange...");
    good.put(&queue, "still here");
    assert_eq!(good.delivery().text(), "still here");
}

// behaviour 61
#[test]
fn flow_can_be_asked_on_but_not_off() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    assert_eq!(ch.flow(true).ok().args, [1]);
    ch.flow(false).expect_conn_close(540, (20, 20), "NOT_IMPLEMENTED - active=false");
}

// behaviour 62
#[test]
fn access_request_gets_ticket_1() {
    assert_eq!(Conn::open().channel(1).access_request().ok().args, [0, 1]);
}

// behaviour 63
#[test]
fn delivery_tags_belong_to_their_channel() {
    let conn = Conn::open();
    let (one, two) = (conn.channel(1), conn.channel(2));
    let queue = one.temp_queue();
    one.put(&queue, "a");
    one.put(&queue, "b");
    assert_eq!(one.get_soon(&queue).tag, 1);
    assert_eq!(one.get_soon(&queue).tag, 2);
    two.ack(1).expect_close(406, (60, 80), "PRECONDITION_FAILED - unknown delivery tag 1");
}

// behaviours 64, 179
#[test]
fn a_closed_channel_requeues_what_it_held_in_order() {
    let conn = Conn::open();
    let (holder, other) = (conn.channel(1), conn.channel(2));
    let queue = other.temp_queue();
    for m in ["1", "2", "3", "4", "5"] {
        other.put(&queue, m);
    }
    for _ in 0..3 {
        holder.get_soon(&queue);
    }
    holder.close().ok();
    other.await_ready(&queue, 5);
    let back: Vec<_> = (0..5).map(|_| other.pull_soon(&queue)).map(|d| (d.text(), d.redelivered)).collect();
    let wanted = [("1", true), ("2", true), ("3", true), ("4", false), ("5", false)];
    assert_eq!(back, wanted.map(|(m, again)| (m.to_owned(), again)));
}

// behaviour 65
#[test]
fn replies_come_in_the_order_of_pipelined_requests() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = unique("q");
    ch.queue_declare(&queue).exclusive().send();
    ch.queue_bind(&queue, "amq.direct", &queue).send();
    ch.publish("amq.direct", &queue, "m").send();
    ch.basic_get(&queue).no_ack().send();
    ch.queue_purge(&queue).send();
    ch.queue_delete(&queue).send();
    ch.flow(true).send();
    for ids in [(50, 11), (50, 21), (60, 71), (50, 31), (50, 41), (20, 21)] {
        ch.method().is(ids);
    }
}

// behaviour 262
#[test]
fn hundreds_of_channels_open_work_and_close() {
    let conn = Conn::open();
    let queue = conn.channel(1).temp_queue();
    for round in 0..2 {
        for n in 2..302 {
            conn.unopened(n).open().send();
            conn.unopened(n).put(&queue, "m");
        }
        for n in 2..302 {
            conn.unopened(n).method().is((20, 11));
            conn.unopened(n).close().send();
        }
        for n in 2..302 {
            conn.unopened(n).method().is((20, 41));
        }
        conn.unopened(1).await_ready(&queue, 300 * (round + 1));
    }
}
