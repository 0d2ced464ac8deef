//! Get, ack, nack, reject and recover (behaviours 173-182).

use crate::support::wire::*;

fn unknown(tag: u64) -> String {
    format!("PRECONDITION_FAILED - unknown delivery tag {tag}")
}

/// A queue with these messages.
fn queue_of(ch: Channel<'_>, messages: &[&str]) -> String {
    let queue = ch.temp_queue();
    messages.iter().for_each(|m| ch.put(&queue, m));
    ch.await_ready(&queue, u32::try_from(messages.len()).expect("few messages"));
    queue
}

fn got(d: Delivery) -> (String, bool) {
    (d.text(), d.redelivered)
}

fn all(ch: Channel<'_>, queue: &str) -> Vec<(String, bool)> {
    std::iter::from_fn(|| ch.pull(queue)).map(got).collect()
}

fn pairs<const N: usize>(list: [(&str, bool); N]) -> Vec<(String, bool)> {
    list.map(|(m, again)| (m.to_owned(), again)).to_vec()
}

// behaviours 173, 174
#[test]
fn get_counts_what_is_left_and_tags_count_everything() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = queue_of(ch, &["1", "2", "3"]);
    let list = [ch.get(&queue), ch.pull(&queue), ch.get(&queue)].map(|d| d.expect("a message"));
    assert_eq!(
        list.each_ref().map(|d| (d.tag, d.left, d.redelivered)),
        [(1, 2, false), (2, 1, false), (3, 0, false)]
    );
    assert_eq!(ch.basic_get(&queue).reply().method().is((60, 72)).short(), "");
    ch.consume(&queue, "t").no_ack().ok();
    ch.put(&queue, "4");
    assert_eq!(ch.delivery().tag, 4);
    ch.ack(3).send();
    ch.ack(2).expect_close(406, (60, 80), &unknown(2));
}

// behaviours 175, 176
#[test]
fn unknown_delivery_tags_close_the_channel() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    ch.ack(1).expect_close(406, (60, 80), &unknown(1));
    ch.open().ok();
    ch.ack(0).expect_close(406, (60, 80), &unknown(0));
    ch.open().ok();
    ch.ack(5).multiple().expect_close(406, (60, 80), &unknown(5));
    ch.open().ok();
    ch.nack(5).requeue().expect_close(406, (60, 120), &unknown(5));
    ch.open().ok();
    ch.reject(5).requeue().expect_close(406, (60, 90), &unknown(5));
    ch.open().ok();
    ch.ack(u64::MAX).expect_close(406, (60, 80), &unknown(u64::MAX));
}

// behaviour 175
#[test]
fn settling_twice_closes_the_channel() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    for second in [80, 90, 120] {
        let queue = queue_of(ch, &["m"]);
        let tag = ch.get_soon(&queue).tag;
        ch.ack(tag).send();
        match second {
            80 => ch.ack(tag).expect_close(406, (60, 80), &unknown(tag)),
            90 => ch.reject(tag).expect_close(406, (60, 90), &unknown(tag)),
            _ => ch.nack(tag).expect_close(406, (60, 120), &unknown(tag)),
        }
        ch.open().ok();
    }
    let queue = queue_of(ch, &["m"]);
    let tag = ch.pull(&queue).expect("a message").tag;
    ch.ack(tag).expect_close(406, (60, 80), &unknown(tag));
}

// behaviour 176
#[test]
fn multiple_with_tag_zero_is_everything() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    ch.ack(0).multiple().send();
    ch.nack(0).multiple().send();
    ch.quiet();
    let queue = queue_of(ch, &["1", "2", "3"]);
    for _ in 0..2 {
        ch.get_soon(&queue);
    }
    ch.ack(0).multiple().send();
    ch.close().ok();
    ch.open().ok();
    assert_eq!(all(ch, &queue), pairs([("3", false)]));
}

// behaviour 176
#[test]
fn multiple_up_to_a_settled_tag_is_an_error() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = queue_of(ch, &["1", "2", "3"]);
    (0..3).for_each(|_| drop(ch.get_soon(&queue)));
    ch.ack(2).send();
    ch.ack(2).multiple().expect_close(406, (60, 80), &unknown(2));
}

// behaviour 177
#[test]
fn multiple_acks_all_up_to_its_tag_over_consumers_and_gets() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (one, two) = (queue_of(ch, &["1", "2"]), queue_of(ch, &["a", "b"]));
    ch.get_soon(&one);
    ch.qos(0, 1, false).ok();
    ch.consume(&two, "t").ok();
    assert_eq!(ch.delivery().tag, 2);
    assert_eq!(ch.get_soon(&one).tag, 3);
    ch.ack(2).multiple().send();
    assert_eq!(ch.delivery().text(), "b");
    ch.close().ok();
    ch.open().ok();
    ch.await_ready(&two, 1);
    assert_eq!(all(ch, &one), pairs([("2", true)]));
    assert_eq!(all(ch, &two), pairs([("b", true)]));
}

// behaviour 178
#[test]
fn a_requeued_message_takes_its_old_place() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = queue_of(ch, &["1", "2", "3", "4"]);
    (0..3).for_each(|_| drop(ch.get_soon(&queue)));
    ch.nack(2).requeue().send();
    assert_eq!(all(ch, &queue), pairs([("2", true), ("4", false)]));
}

// behaviours 178, 179
#[test]
fn messages_requeued_together_keep_their_order() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = queue_of(ch, &["1", "2", "3", "4"]);
    (0..3).for_each(|_| drop(ch.get_soon(&queue)));
    ch.nack(3).multiple().requeue().send();
    assert_eq!(all(ch, &queue), pairs([("1", true), ("2", true), ("3", true), ("4", false)]));
}

// behaviour 178
#[test]
fn messages_requeued_one_by_one_in_any_order_come_back_in_order() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = queue_of(ch, &["1", "2", "3", "4", "5", "6"]);
    (0..5).for_each(|_| drop(ch.get_soon(&queue)));
    for tag in [4, 2, 5, 1, 3] {
        ch.reject(tag).requeue().send();
    }
    let wanted = pairs([("1", true), ("2", true), ("3", true), ("4", true), ("5", true), ("6", false)]);
    assert_eq!(all(ch, &queue), wanted);
}

// behaviour 180
#[test]
fn a_rejected_message_returns_to_the_only_consumer() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = queue_of(ch, &["m"]);
    ch.consume(&queue, "t").ok();
    for tag in 1..=20 {
        let d = ch.delivery();
        assert_eq!((d.tag, d.redelivered), (tag, tag > 1));
        ch.reject(tag).requeue().send();
    }
}

// behaviours 175, 200
#[test]
fn rejecting_without_requeue_drops() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = queue_of(ch, &["1", "2", "3", "4"]);
    (0..3).for_each(|_| drop(ch.get_soon(&queue)));
    ch.reject(1).send();
    ch.nack(3).multiple().send();
    ch.close().ok();
    ch.open().ok();
    assert_eq!(all(ch, &queue), pairs([("4", false)]));
}

// behaviour 181
#[test]
fn recover_requeues_everything_unacked() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = queue_of(ch, &["1", "2", "3"]);
    (0..3).for_each(|_| drop(ch.get_soon(&queue)));
    ch.ack(2).send();
    ch.recover(true).ok();
    ch.await_ready(&queue, 2);
    assert_eq!(all(ch, &queue), pairs([("1", true), ("3", true)]));
    ch.recover_async(true).send();
    ch.put(&queue, "4");
    assert_eq!(ch.get_soon(&queue).text(), "4");
    ch.recover_async(true).send();
    ch.quiet();
    assert_eq!(all(ch, &queue), pairs([("4", true)]));
}

// behaviour 181
#[test]
fn recover_redelivers_to_consumers() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = queue_of(ch, &["1", "2"]);
    ch.consume(&queue, "t").ok();
    assert_eq!(ch.texts(2), ["1", "2"]);
    ch.recover(true).ok();
    let again: Vec<_> = ch.deliveries(2).into_iter().map(|d| (d.tag, d.text(), d.redelivered)).collect();
    assert_eq!(again, [(3, "1".to_owned(), true), (4, "2".to_owned(), true)]);
}

// behaviour 181
#[test]
fn recover_without_requeue_is_not_implemented() {
    let conn = Conn::open();
    conn.channel(1).recover(false).expect_conn_close(540, (60, 110), "NOT_IMPLEMENTED - requeue=false");
}

// behaviours 64, 179, 263
#[test]
fn a_broken_connection_gives_its_messages_back() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = unique("q");
    ch.queue_declare(&queue).arg("x-expires", 60_000).ok();
    for n in 0..100 {
        ch.put(&queue, n.to_string());
    }
    for end in ["close", "vanish"] {
        let other = Conn::open();
        let theirs = other.channel(1);
        theirs.consume(&queue, "t").ok();
        theirs.deliveries(100);
        if end == "close" {
            other.close();
        } else {
            other.vanish();
        }
        ch.await_ready(&queue, 100);
    }
    let wanted: Vec<_> = (0..100).map(|n| (n.to_string(), true)).collect();
    assert_eq!(all(ch, &queue), wanted);
    ch.queue_delete(&queue).ok();
}

// behaviour 182
#[test]
fn acking_into_a_deleted_queue_does_nothing() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = queue_of(ch, &["1", "2"]);
    let tags = [ch.get_soon(&queue).tag, ch.get_soon(&queue).tag];
    ch.queue_delete(&queue).ok();
    ch.ack(tags[0]).send();
    ch.nack(tags[1]).requeue().send();
    ch.quiet();
}

// behaviour 179
#[test]
fn a_message_never_delivered_is_not_marked() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.qos(0, 1, false).ok();
    ch.consume(&queue, "t").ok();
    ch.put(&queue, "1");
    ch.put(&queue, "2");
    ch.delivery();
    ch.close().ok();
    ch.open().ok();
    ch.await_ready(&queue, 2);
    assert_eq!(all(ch, &queue), pairs([("1", true), ("2", false)]));
}
