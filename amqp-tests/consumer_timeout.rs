//! Consumers that do not acknowledge in time: their messages go back, and they are cancelled (behaviour 162).

use std::time::{Duration, Instant};

use crate::support::wire::*;

/// Clocks are read in milliseconds on both sides.
const GRAIN: Duration = Duration::from_millis(2);

/// How late it may be noticed.
const LATE_MAX: Duration = Duration::from_millis(100);

fn timing(ch: Channel<'_>, timeout_ms: i32) -> String {
    let queue = unique("timeout");
    ch.queue_declare(&queue).exclusive().arg("x-consumer-timeout", timeout_ms).ok();
    queue
}

/// The broker's Basic.Cancel comes next; gives its tag.
fn cancelled(ch: Channel<'_>) -> String {
    ch.method().is((60, 30)).short()
}

fn timed_out(timeout_ms: u64) -> String {
    format!(
        "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: {timeout_ms} ms. \
         This timeout value can be configured, see consumers doc guide to learn more"
    )
}

#[test]
fn the_consumer_is_cancelled_and_all_it_holds_goes_back_in_order() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = timing(ch, 300);
    for text in ["a", "b", "c", "d"] {
        ch.put(&queue, text);
    }
    ch.qos(0, 3, false).ok();
    ch.consume(&queue, "slow").ok();
    let held = ch.deliveries(3);
    ch.ack(held[1].tag).send();
    assert_eq!(ch.delivery().text(), "d");
    assert_eq!(cancelled(ch), "slow");
    assert_eq!(ch.counts(&queue), (3, 0), "the channel stays open");
    let again: Vec<_> = (0..3).map(|_| ch.pull_soon(&queue)).collect();
    let told: Vec<_> = again.iter().map(|message| (message.text(), message.redelivered)).collect();
    assert_eq!(told, ["a", "c", "d"].map(|text| (text.to_owned(), true)));
    ch.consume(&queue, "slow").ok();
    ch.put(&queue, "e");
    assert_eq!(ch.delivery().text(), "e", "its tag is free, its prefetch too");
}

#[test]
fn it_is_noticed_in_time_and_never_early() {
    let _alone = alone();
    let conn = Conn::open();
    let ch = conn.channel(1);
    let mut runs = Vec::new();
    // On a busy machine one run may be late, the broker may not be.
    while runs.len() < 3 && runs.last().is_none_or(|late| *late > LATE_MAX) {
        let queue = timing(ch, 400);
        ch.consume(&queue, "t").ok();
        ch.put(&queue, "first");
        let first = ch.delivery();
        std::thread::sleep(Duration::from_millis(250));
        ch.put(&queue, "second");
        ch.ack(first.tag).send();
        let sent = Instant::now();
        ch.delivery();
        assert_eq!(cancelled(ch), "t");
        let (came, due) = (sent.elapsed(), Duration::from_millis(400));
        assert!(came + GRAIN >= due, "it was early, after {came:?}");
        runs.push(came.saturating_sub(due));
    }
    assert!(runs.last().is_some_and(|late| *late <= LATE_MAX), "it was late by {runs:?}");
}

#[test]
fn who_acknowledges_in_time_goes_on() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = timing(ch, 300);
    ch.consume(&queue, "t").ok();
    for n in 0..8 {
        ch.put(&queue, n.to_string());
        let delivery = ch.delivery();
        std::thread::sleep(Duration::from_millis(100));
        ch.ack(delivery.tag).send();
    }
    ch.quiet();
    assert_eq!(ch.counts(&queue), (0, 1));
}

#[test]
fn a_late_acknowledgement_is_taken_once_and_settles_nothing() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = timing(ch, 200);
    ch.put(&queue, "a");
    ch.put(&queue, "b");
    ch.consume(&queue, "t").ok();
    let held = ch.deliveries(2);
    assert_eq!(cancelled(ch), "t");
    let other = ch.get_soon(&queue);
    assert_eq!(other.text(), "a");
    ch.ack(held[0].tag).send();
    ch.nack(held[1].tag).requeue().send();
    ch.sync();
    assert_eq!(ch.counts(&queue).0, 1);
    ch.nack(other.tag).requeue().send();
    ch.await_ready(&queue, 2);
    ch.ack(held[0].tag).expect_close(
        406,
        (60, 80),
        &format!("PRECONDITION_FAILED - unknown delivery tag {}", held[0].tag),
    );
}

#[test]
fn a_consumer_has_a_timeout_of_its_own_before_that_of_the_queue() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (quick, slow) = (timing(ch, 200), timing(ch, 60_000));
    ch.put(&quick, "kept");
    ch.put(&slow, "given up");
    ch.consume(&quick, "patient").arg("x-consumer-timeout", 60_000).ok();
    ch.delivery();
    ch.consume(&slow, "hasty").arg("x-consumer-timeout", 250).ok();
    ch.delivery();
    assert_eq!(cancelled(ch), "hasty");
    ch.quiet();
    assert_eq!((ch.counts(&quick), ch.counts(&slow)), ((0, 1), (1, 0)));
    ch.cancel("patient").ok();
    ch.consume(&slow, "for ever").arg("x-consumer-timeout", 0).ok();
    ch.delivery();
    ch.quiet();
}

#[test]
fn the_configuration_has_one_for_all_and_a_queue_may_have_none() {
    let Some(broker) = Broker::own_with("[limits]\nconsumer_timeout_ms = 250\n") else { return };
    let conn = broker.connect();
    let ch = conn.channel(1);
    let (plain, unlimited) = (ch.temp_queue(), timing(ch, 0));
    ch.put(&unlimited, "kept");
    ch.consume(&unlimited, "unlimited").ok();
    ch.delivery();
    ch.put(&plain, "m");
    ch.consume(&plain, "plain").ok();
    ch.delivery();
    assert_eq!(cancelled(ch), "plain");
    ch.quiet();
    assert_eq!(ch.counts(&unlimited), (0, 1));
}

#[test]
fn the_next_one_takes_over_as_single_active_consumer() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = unique("timeout");
    ch.queue_declare(&queue)
        .exclusive()
        .args(table([("x-consumer-timeout", 250.into()), ("x-single-active-consumer", true.into())]))
        .ok();
    ch.qos(0, 2, false).ok();
    ch.consume(&queue, "first").ok();
    ch.consume(&queue, "second").ok();
    for text in ["a", "b", "c"] {
        ch.put(&queue, text);
    }
    assert_eq!(ch.texts(2), ["a", "b"]);
    // The order of the two is free.
    let events: Vec<_> = (0..3).map(|_| ch.method()).collect();
    let cancel = events.iter().position(|event| event.ids == (60, 30)).expect("a cancel");
    assert_eq!(events[cancel].short(), "first");
    let next = events.into_iter().filter(|event| event.ids == (60, 60)).map(|event| event.delivery());
    let told: Vec<_> = next.map(|message| (message.consumer_tag.clone(), message.text())).collect();
    assert_eq!(told, ["a", "b"].map(|text| ("second".to_owned(), text.to_owned())));
}

#[test]
fn who_cannot_be_told_loses_the_channel() {
    let conn = Dial { capabilities: Table::new(), ..Dial::shared() }.open();
    let ch = conn.channel(1);
    let queue = timing(ch, 200);
    ch.put(&queue, "m");
    ch.consume(&queue, "t").ok();
    ch.delivery();
    ch.expect_close(406, (0, 0), &timed_out(200));
    ch.open().ok();
    assert_eq!(ch.counts(&queue), (1, 0));
}

#[test]
fn a_message_that_was_got_closes_the_channel() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = timing(ch, 200);
    ch.put(&queue, "m");
    ch.get_soon(&queue);
    ch.expect_close(406, (0, 0), &timed_out(200));
    ch.open().ok();
    ch.await_ready(&queue, 1);
}

#[test]
fn quorum_queues_have_it_as_well_and_a_return_counts() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = unique("timeout");
    ch.queue_declare(&queue)
        .durable()
        .args(table([
            ("x-queue-type", "quorum".into()),
            ("x-consumer-timeout", 200.into()),
            ("x-delayed-retry-type", "returned".into()),
            ("x-delayed-retry-min", 300.into()),
        ]))
        .ok();
    ch.put(&queue, "m");
    ch.consume(&queue, "t").ok();
    ch.delivery();
    assert_eq!(cancelled(ch), "t");
    let start = Instant::now();
    let again = ch.pull_soon(&queue);
    assert!(start.elapsed() > Duration::from_millis(200), "it waits as what was given back does");
    assert_eq!(again.props.header("x-delivery-count"), &Value::I64(1));
    ch.queue_delete(&queue).ok();
}

#[test]
fn the_timeout_is_an_integer_that_is_not_negative() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let head = |queue: &str| {
        format!("PRECONDITION_FAILED - invalid arg 'x-consumer-timeout' for queue '{queue}' in vhost '/': ")
    };
    let text = format!("{}{{value_negative,-1}}", head("new"));
    ch.queue_declare("new").arg("x-consumer-timeout", -1).expect_close(406, (50, 10), &text);
    ch.open().ok();
    let queue = ch.temp_queue();
    for (value, reason) in
        [(Value::I32(-1), "{value_negative,-1}"), (Value::from("1"), "\"expected integer, got longstr\"")]
    {
        let text = format!("{}{reason}", head(&queue));
        ch.consume(&queue, "t").arg("x-consumer-timeout", value).expect_close(406, (60, 20), &text);
        ch.open().ok();
    }
}
