//! Delayed retry: messages that come back wait, longer each time, before they are delivered again.

use std::time::{Duration, Instant};

use crate::support::wire::*;

/// Clocks are read in milliseconds on both sides.
const GRAIN: Duration = Duration::from_millis(2);

/// How late a message may come.
const LATE_MAX: Duration = Duration::from_millis(100);

fn retrying(ch: Channel<'_>, arguments: &[(&str, Value)]) -> String {
    let queue = unique("retry");
    let pairs = arguments.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
    ch.queue_declare(&queue).durable().args(pairs.collect()).ok();
    queue
}

fn linear(ch: Channel<'_>, kind: &str, min_ms: i32, max_ms: i32) -> String {
    let pairs = [
        ("x-delayed-retry-type", kind.into()),
        ("x-delayed-retry-min", min_ms.into()),
        ("x-delayed-retry-max", max_ms.into()),
    ];
    retrying(ch, &pairs)
}

/// The count that a message came with; none is 0.
fn count_of(delivery: &Delivery) -> i64 {
    let props = &delivery.props;
    if props.has_header("x-delivery-count") { props.header("x-delivery-count").int() } else { 0 }
}

/// Rejects the message whenever it comes; gives how late each of these delays was.
fn lateness(ch: Channel<'_>, delays_ms: &[u64]) -> Vec<Duration> {
    let mut delivery = ch.delivery();
    let mut late = Vec::new();
    for (count, delay_ms) in (1..).zip(delays_ms) {
        let start = Instant::now();
        ch.reject(delivery.tag).requeue().send();
        delivery = ch.delivery();
        let (came, due) = (start.elapsed(), Duration::from_millis(*delay_ms));
        assert!(came + GRAIN >= due, "early: after {came:?} instead of {due:?}");
        assert_eq!((count_of(&delivery), delivery.redelivered), (count, true));
        late.push(came.saturating_sub(due));
    }
    ch.ack(delivery.tag).send();
    late
}

/// Runs a measurement up to three times: on a busy machine one run may be late, the broker may not be.
fn in_time(mut measure: impl FnMut() -> Vec<Duration>) {
    let _alone = alone();
    let runs: Vec<_> = (0..3)
        .map(|_| measure().into_iter().max().unwrap_or_default())
        .scan(false, |done, late| (!std::mem::replace(done, late <= LATE_MAX)).then_some(late))
        .collect();
    assert!(runs.last().is_some_and(|late| *late <= LATE_MAX), "retries were late by {runs:?}");
}

#[test]
fn each_retry_waits_longer_up_to_the_most() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = linear(ch, "all", 100, 250);
    ch.consume(&queue, "t").ok();
    in_time(|| {
        ch.put(&queue, "m");
        lateness(ch, &[100, 200, 250, 250])
    });
    ch.queue_delete(&queue).ok();
}

#[test]
fn with_a_multiplier_delays_grow_by_it() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = retrying(
        ch,
        &[
            ("x-delayed-retry-type", "failed".into()),
            ("x-delayed-retry-min", 60.into()),
            ("x-delayed-retry-max", 300.into()),
            ("x-delayed-retry-multiplier", Value::F64(2.5)),
        ],
    );
    ch.consume(&queue, "t").ok();
    in_time(|| {
        ch.put(&queue, "m");
        lateness(ch, &[60, 150, 300])
    });
    ch.queue_delete(&queue).ok();
}

#[test]
fn jitter_spreads_messages_that_failed_together() {
    let _alone = alone();
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = retrying(
        ch,
        &[
            ("x-delayed-retry-type", "all".into()),
            ("x-delayed-retry-min", 400.into()),
            ("x-delayed-retry-jitter", 50.into()),
        ],
    );
    for n in 0..40 {
        ch.put(&queue, n.to_string());
    }
    ch.consume(&queue, "t").ok();
    let last = ch.deliveries(40).pop().expect("40 deliveries");
    let start = Instant::now();
    ch.nack(last.tag).multiple().requeue().send();
    let came: Vec<_> = (0..40).map(|_| (ch.delivery().text(), start.elapsed())).collect();
    let (first, last) = (came[0].1, came[39].1);
    assert!(first + GRAIN >= Duration::from_millis(200) && first < Duration::from_millis(350), "{first:?}");
    assert!(last > Duration::from_millis(450) && last < Duration::from_millis(900), "{last:?}");
    assert_ne!(
        came.iter().map(|(text, _)| text.clone()).collect::<Vec<_>>(),
        (0..40).map(|n| n.to_string()).collect::<Vec<_>>()
    );
    ch.queue_delete(&queue).ok();
}

#[test]
fn a_type_says_which_returns_wait() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    for (kind, failed, returned) in [
        ("failed", true, false),
        ("returned", false, true),
        ("disabled", false, false),
        ("other", false, false),
    ] {
        let queue = linear(ch, kind, 60_000, 60_000);
        for (is_reject, waits) in [(true, failed), (false, returned)] {
            ch.put(&queue, "m");
            let tag = ch.get_soon(&queue).tag;
            let settle = if is_reject { ch.reject(tag) } else { ch.nack(tag) };
            settle.requeue().send();
            assert_eq!(ch.counts(&queue).0, u32::from(!waits), "{kind}, reject {is_reject}");
            assert_eq!(ch.queue_purge(&queue).ok().count(), 1);
        }
        ch.put(&queue, "m");
        ch.get_soon(&queue);
        ch.recover(true).ok();
        assert_eq!(ch.counts(&queue).0, u32::from(!returned), "{kind}, recover");
        assert_eq!(ch.queue_purge(&queue).ok().count(), 1);
        ch.put(&queue, "m");
        ch.get_soon(&queue);
        ch.close().ok();
        ch.open().ok();
        assert_eq!(ch.counts(&queue).0, u32::from(!failed), "{kind}, the channel closed");
        ch.queue_delete(&queue).ok();
    }
}

#[test]
fn what_waits_is_neither_ready_nor_unacknowledged_and_others_pass_it() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = linear(ch, "all", 300, 300);
    ch.put(&queue, "waits");
    let tag = ch.get_soon(&queue).tag;
    ch.reject(tag).requeue().send();
    ch.put(&queue, "passes");
    ch.await_ready(&queue, 1);
    let passes = ch.get(&queue).expect("it is ready");
    assert_eq!((passes.text().as_str(), passes.left), ("passes", 0));
    assert!(ch.get(&queue).is_none());
    ch.queue_delete(&queue).if_empty().expect_close(406, (50, 40), "PRECONDITION_FAILED - queue...");
    ch.open().ok();
    let came = ch.get_soon(&queue);
    assert!(came.redelivered);
    ch.queue_delete(&queue).ok();
}

#[test]
fn after_the_delivery_limit_it_is_dead_lettered() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let target = ch.temp_queue();
    let queue = retrying(
        ch,
        &[
            ("x-delayed-retry-type", "all".into()),
            ("x-delayed-retry-min", 50.into()),
            ("x-delivery-limit", 2.into()),
            ("x-dead-letter-exchange", "".into()),
            ("x-dead-letter-routing-key", (&target).into()),
        ],
    );
    ch.put(&queue, "poison");
    ch.consume(&queue, "t").ok();
    for count in 0..=2 {
        let delivery = ch.delivery();
        assert_eq!(count_of(&delivery), count);
        ch.reject(delivery.tag).requeue().send();
    }
    let dead = ch.pull_soon(&target);
    assert_eq!(lookup(dead.props.deaths()[0], "reason").map(Value::text), Some("delivery_limit"));
    ch.quiet();
    ch.queue_delete(&queue).ok();
}

#[test]
fn a_time_to_live_that_ends_while_it_waits_acts_when_it_is_ready() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let target = ch.temp_queue();
    let queue = retrying(
        ch,
        &[
            ("x-delayed-retry-type", "all".into()),
            ("x-delayed-retry-min", 300.into()),
            ("x-dead-letter-exchange", "".into()),
            ("x-dead-letter-routing-key", (&target).into()),
        ],
    );
    ch.publish("", &queue, "m").expiration("100").send();
    let tag = ch.get_soon(&queue).tag;
    let start = Instant::now();
    ch.reject(tag).requeue().send();
    assert_eq!(ch.pull_soon(&target).text(), "m");
    assert!(start.elapsed() + GRAIN >= Duration::from_millis(300));
    assert_eq!(ch.counts(&queue).0, 0);
    ch.queue_delete(&queue).ok();
}

#[test]
fn quorum_queues_have_it_as_well_and_our_own_arguments_are_checked() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = retrying(
        ch,
        &[
            ("x-queue-type", "quorum".into()),
            ("x-delayed-retry-type", "all".into()),
            ("x-delayed-retry-min", 60_000.into()),
        ],
    );
    ch.put(&queue, "m");
    let tag = ch.get_soon(&queue).tag;
    ch.nack(tag).requeue().send();
    assert_eq!(ch.counts(&queue).0, 0);
    ch.queue_delete(&queue).ok();
    for (name, value, reason) in [
        ("x-delayed-retry-multiplier", Value::I32(1), "invalid_multiplier"),
        ("x-delayed-retry-jitter", Value::I32(101), "invalid_percentage"),
    ] {
        let text =
            format!("PRECONDITION_FAILED - invalid arg '{name}' for queue 'new' in vhost '/': {reason}");
        ch.queue_declare("new").arg(name, value).expect_close(406, (50, 10), &text);
        ch.open().ok();
    }
}

#[test]
fn the_wait_survives_being_killed() {
    let _alone = alone();
    let Some(mut broker) = Broker::own() else { return };
    let (queue, start) = {
        let conn = broker.connect();
        let ch = conn.channel(1);
        let queue = linear(ch, "all", 3000, 3000);
        ch.confirm_select().ok();
        ch.publish("", &queue, "waits").persistent().send();
        ch.confirms(1, 1);
        let tag = ch.get_soon(&queue).tag;
        let start = Instant::now();
        ch.reject(tag).requeue().send();
        ch.sync();
        // What is written behind the return is on disk, so the return is.
        ch.publish("", &queue, "behind").persistent().send();
        ch.confirms(2, 2);
        (queue, start)
    };
    broker.kill();
    broker.restart();
    let conn = broker.connect();
    let ch = conn.channel(1);
    assert_eq!(ch.counts(&queue).0, 1, "one waits");
    ch.consume(&queue, "t").no_ack().ok();
    assert_eq!(ch.delivery().text(), "behind");
    let came = ch.delivery();
    assert_eq!((came.text().as_str(), count_of(&came), came.redelivered), ("waits", 1, true));
    let due = Duration::from_millis(3000);
    assert!(start.elapsed() + GRAIN >= due && start.elapsed() < due + LATE_MAX * 3, "{:?}", start.elapsed());
    ch.queue_delete(&queue).ok();
}
