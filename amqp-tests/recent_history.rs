//! Exchanges of type x-recent-history: new bindings get the latest messages.

use crate::support::wire::*;

fn history(ch: Channel<'_>, length: Option<i32>) -> String {
    let exchange = unique("history");
    let declare = ch.exchange_declare(&exchange, "x-recent-history");
    match length {
        Some(length) => declare.arg("x-recent-history-length", length).ok(),
        None => declare.ok(),
    };
    exchange
}

/// A new queue bound to this exchange.
fn bound(ch: Channel<'_>, exchange: &str) -> String {
    let queue = ch.temp_queue();
    ch.queue_bind(&queue, exchange, "").ok();
    queue
}

fn numbers(range: std::ops::RangeInclusive<u32>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

#[test]
fn a_new_binding_gets_the_last_messages_in_order_and_then_the_new_ones() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let exchange = history(ch, Some(3));
    let early = bound(ch, &exchange);
    (1..=5).for_each(|n| ch.publish(&exchange, "any key", n.to_string()).send());
    let late = bound(ch, &exchange);
    ch.publish(&exchange, "", "6").send();
    ch.await_ready(&late, 4);
    assert_eq!(ch.pull_all(&late), numbers(3..=6));
    assert_eq!(ch.pull_all(&early), numbers(1..=6));
    ch.queue_bind(&late, &exchange, "").ok();
    ch.sync();
    assert_eq!(ch.pull_all(&late), [""; 0], "the binding was there");
    ch.queue_bind(&late, &exchange, "another").ok();
    ch.await_ready(&late, 3);
    assert_eq!(ch.pull_all(&late), numbers(4..=6));
    ch.exchange_delete(&exchange).ok();
}

#[test]
fn twenty_messages_are_kept_unless_the_exchange_says_how_many() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let exchange = history(ch, None);
    (1..=50).for_each(|n| ch.publish(&exchange, "", n.to_string()).send());
    let queue = bound(ch, &exchange);
    ch.await_ready(&queue, 20);
    assert_eq!(ch.pull_all(&queue), numbers(31..=50));
    ch.exchange_delete(&exchange).ok();
}

#[test]
fn a_message_may_ask_not_to_be_kept() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let exchange = history(ch, Some(9));
    let early = bound(ch, &exchange);
    for (text, no_store) in
        [("kept", Value::Bool(false)), ("not kept", Value::Bool(true)), ("last", Value::I32(1))]
    {
        ch.publish(&exchange, "", text).header("x-recent-history-no-store", no_store).send();
    }
    ch.await_ready(&early, 3);
    let late = bound(ch, &exchange);
    ch.await_ready(&late, 2);
    assert_eq!(ch.pull_all(&late), ["kept", "last"]);
    ch.exchange_delete(&exchange).ok();
}

#[test]
fn a_bound_exchange_passes_the_last_messages_on() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let exchange = history(ch, Some(9));
    (1..=4)
        .for_each(|n| ch.publish(&exchange, if n % 2 == 0 { "even" } else { "odd" }, n.to_string()).send());
    let direct = ch.temp_exchange("direct");
    let queue = ch.temp_queue();
    ch.queue_bind(&queue, &direct, "even").ok();
    ch.exchange_bind(&direct, &exchange, "").ok();
    ch.await_ready(&queue, 2);
    assert_eq!(ch.pull_all(&queue), ["2", "4"]);
    ch.exchange_delete(&direct).ok();
    ch.exchange_delete(&exchange).ok();
}

#[test]
fn a_kept_message_is_confirmed_and_yet_returned_when_no_queue_is_bound() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let exchange = history(ch, Some(9));
    ch.confirm_select().ok();
    ch.publish(&exchange, "k", "m").mandatory().send();
    let returned = ch.method().is((60, 50));
    assert_eq!(returned.delivery().text(), "m");
    assert!(ch.confirm().acked);
    assert_eq!(ch.pull_soon(&bound(ch, &exchange)).text(), "m");
    ch.exchange_delete(&exchange).ok();
}

#[test]
fn the_length_is_a_positive_integer_and_part_of_the_declaration() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let exchange = history(ch, Some(3));
    for (value, text) in
        [(Value::I32(0), "0"), (Value::I32(-1), "-1"), (Value::Str("5".to_owned()), "<<\"5\">>")]
    {
        let text = format!(
            "PRECONDITION_FAILED - Invalid argument {text}, 'x-recent-history-length' must be a positive integer"
        );
        let declare = ch.exchange_declare(&unique("history"), "x-recent-history");
        declare.arg("x-recent-history-length", value).expect_close(406, (40, 10), &text);
        ch.open().ok();
    }
    ch.exchange_declare(&exchange, "x-recent-history").arg("x-recent-history-length", 3).ok();
    let again = ch.exchange_declare(&exchange, "x-recent-history").arg("x-recent-history-length", 4);
    again.expect_close(406, (40, 10), "PRECONDITION_FAILED - inequivalent arg 'x-recent-history-length' ...");
    ch.open().ok();
    ch.exchange_delete(&exchange).ok();
}

#[test]
fn messages_are_forgotten_with_their_exchange() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let exchange = history(ch, Some(3));
    ch.publish(&exchange, "", "old").send();
    ch.exchange_delete(&exchange).ok();
    ch.exchange_declare(&exchange, "x-recent-history").ok();
    let queue = bound(ch, &exchange);
    ch.publish(&exchange, "", "new").send();
    ch.await_ready(&queue, 1);
    assert_eq!(ch.pull_all(&queue), ["new"]);
    ch.exchange_delete(&exchange).ok();
}

#[test]
fn a_durable_exchange_keeps_persistent_messages_over_restarts() {
    let _alone = alone();
    let Some(mut broker) = Broker::checkpointing() else { return };
    let mut expected = Vec::new();
    for round in 0..4 {
        let conn = broker.connect();
        let ch = conn.channel(1);
        ch.exchange_declare("h", "x-recent-history").durable().arg("x-recent-history-length", 5).ok();
        ch.exchange_declare("gone", "x-recent-history").ok();
        let queue = bound(ch, "h");
        ch.await_ready(&queue, u32::try_from(expected.len()).expect("few"));
        assert_eq!(ch.pull_all(&queue), expected, "round {round}");
        ch.queue_delete(&queue).ok();
        ch.confirm_select().ok();
        for n in 0..3 {
            let text = format!("{round}.{n}");
            ch.publish("h", "", &text).persistent().send();
            ch.publish("gone", "", &text).persistent().send();
            expected.push(text);
        }
        expected.drain(..expected.len().saturating_sub(5));
        assert!(ch.confirms(1, 6).iter().all(|acked| *acked));
        if round % 2 == 1 {
            conn.channel(2).fill_log();
            // The checkpoint follows within a moment; either way nothing may be missing.
            std::thread::sleep(std::time::Duration::from_millis(700));
        }
        if round == 2 {
            broker.terminate();
            assert!(broker.await_end());
        } else {
            broker.kill();
        }
        broker.restart();
        let conn = broker.connect();
        let text = "NOT_FOUND - no exchange 'gone' in vhost '/'";
        conn.channel(1).exchange_declare("gone", "fanout").passive().expect_close(404, (40, 10), text);
    }
}
