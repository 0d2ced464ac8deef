//! Delivery limits: messages that come back too often (behaviours 183, 191).

use crate::support::wire::*;

/// A queue of this connection with this limit.
fn limited(ch: Channel<'_>, limit: i32) -> String {
    let queue = unique("limit");
    ch.queue_declare(&queue).exclusive().arg("x-delivery-limit", limit).ok();
    queue
}

/// The count that came with a message; none is 0, and is not sent.
fn count_of(delivery: &Delivery) -> i64 {
    if !delivery.props.has_header("x-delivery-count") {
        return 0;
    }
    let count = delivery.props.header("x-delivery-count");
    assert!(matches!(count, Value::I64(1..)), "the count is a long and not 0: {count:?}");
    count.int()
}

fn counts_of(deliveries: &[Delivery]) -> Vec<(String, i64)> {
    deliveries.iter().map(|delivery| (delivery.text(), count_of(delivery))).collect()
}

/// Gets a message and returns it; gives the count that it came with.
fn bounce(ch: Channel<'_>, queue: &str) -> i64 {
    let delivery = ch.get_soon(queue);
    let count = count_of(&delivery);
    assert_eq!(delivery.redelivered, count > 0);
    ch.nack(delivery.tag).requeue().send();
    count
}

// behaviour 183
#[test]
fn a_message_that_comes_back_too_often_is_dead_lettered() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (queue, target) = (unique("limit"), ch.temp_queue());
    ch.queue_declare(&queue)
        .exclusive()
        .arg("x-delivery-limit", 2)
        .arg("x-dead-letter-exchange", "")
        .arg("x-dead-letter-routing-key", &target)
        .ok();
    ch.publish("", &queue, "poison").header("mine", 7).persistent().send();
    ch.consume(&queue, "t").ok();
    for count in 0..=2 {
        let delivery = ch.delivery();
        assert_eq!((delivery.text().as_str(), count_of(&delivery)), ("poison", count));
        assert_eq!((delivery.redelivered, delivery.props.header("mine")), (count > 0, &Value::I32(7)));
        assert_eq!(delivery.props.delivery_mode, Some(2));
        if count % 2 == 0 {
            ch.nack(delivery.tag).requeue().send();
        } else {
            ch.reject(delivery.tag).requeue().send();
        }
    }
    let dead = ch.pull_soon(&target);
    assert_eq!((dead.text().as_str(), dead.props.header("mine")), ("poison", &Value::I32(7)));
    assert!(!dead.props.has_header("x-delivery-count"), "it was counted where it was delivered");
    let deaths = dead.props.deaths();
    let fact = |key| lookup(deaths[0], key).unwrap_or_else(|| panic!("no {key} in {deaths:?}"));
    assert_eq!((deaths.len(), fact("count").int()), (1, 1));
    assert_eq!((fact("reason").text(), fact("queue").text()), ("delivery_limit", queue.as_str()));
    for kind in ["first", "last"] {
        assert_eq!(dead.props.header(&format!("x-{kind}-death-reason")).text(), "delivery_limit");
    }
    ch.quiet();
}

#[test]
fn without_a_dead_letter_exchange_it_is_dropped() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = limited(ch, 0);
    ch.put(&queue, "first");
    ch.put(&queue, "second");
    assert_eq!(bounce(ch, &queue), 0);
    let second = ch.get_soon(&queue);
    assert_eq!((second.text().as_str(), second.redelivered, count_of(&second)), ("second", false, 0));
    ch.ack(second.tag).send();
    assert_eq!(ch.counts(&queue).0, 0);
}

#[test]
fn what_comes_back_with_its_channel_connection_or_consumer_counts() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = unique("limit");
    ch.queue_declare(&queue).durable().arg("x-delivery-limit", 5).ok();
    for text in ["a", "b", "c"] {
        ch.put(&queue, text);
    }
    let all = |count| ["a", "b", "c"].map(|text| (text.to_owned(), count));
    ch.consume(&queue, "t").ok();
    assert_eq!(counts_of(&ch.deliveries(3)), all(0));
    ch.cancel("t").ok();
    assert_eq!(ch.counts(&queue), (0, 0), "a cancelled consumer's deliveries stay with their channel");
    ch.close().ok();
    ch.open().ok();
    ch.consume(&queue, "t").ok();
    assert_eq!(counts_of(&ch.deliveries(3)), all(1));
    ch.recover(true).send();
    let mut again = std::iter::repeat_with(|| ch.next().method()).filter(|method| method.ids == (60, 60));
    let again: Vec<_> = again.by_ref().take(3).map(|method| method.delivery()).collect();
    assert_eq!(counts_of(&again), all(2));
    conn.vanish();
    let conn = Conn::open();
    let ch = conn.channel(1);
    ch.await_ready(&queue, 3);
    ch.consume(&queue, "t").ok();
    let last = ch.deliveries(3);
    assert_eq!(counts_of(&last), all(3));
    ch.nack(last[2].tag).multiple().requeue().send();
    assert_eq!(counts_of(&ch.deliveries(3)), all(4));
    ch.queue_delete(&queue).ok();
}

#[test]
fn only_queues_with_a_limit_count() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (plain, unlimited) = (ch.temp_queue(), limited(ch, -1));
    ch.publish("", &plain, "m").header("x-delivery-count", 9).send();
    for _ in 0..3 {
        let delivery = ch.get_soon(&plain);
        assert_eq!(delivery.props.header("x-delivery-count"), &Value::I32(9), "the message's own");
        ch.nack(delivery.tag).requeue().send();
    }
    ch.put(&unlimited, "m");
    for count in 0..30 {
        assert_eq!(bounce(ch, &unlimited), count);
    }
}

#[test]
fn a_quorum_queue_gives_up_after_20_returns() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = unique("limit");
    ch.queue_declare(&queue).durable().arg("x-queue-type", "quorum").ok();
    ch.put(&queue, "m");
    for count in 0..=20 {
        assert_eq!(bounce(ch, &queue), count);
    }
    ch.sync();
    assert_eq!(ch.counts(&queue).0, 0);
    ch.queue_delete(&queue).ok();
}

#[test]
fn the_limit_is_an_integer_and_part_of_the_declaration() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = unique("limit");
    let text = "PRECONDITION_FAILED - invalid arg 'x-delivery-limit' for queue '{}' in vhost '/': \"expected integer, \
                got longstr\"";
    ch.queue_declare(&queue).arg("x-delivery-limit", "2").expect_close(
        406,
        (50, 10),
        &text.replace("{}", &queue),
    );
    ch.open().ok();
    let queue = limited(ch, 2);
    ch.queue_declare(&queue).exclusive().arg("x-delivery-limit", 2).ok();
    let text = format!(
        "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue '{queue}' in vhost '/': received '3' but \
         current is '2'"
    );
    ch.queue_declare(&queue).exclusive().arg("x-delivery-limit", 3).expect_close(406, (50, 10), &text);
}

#[test]
fn counts_survive_a_restart() {
    let _alone = alone();
    let Some(mut broker) = Broker::checkpointing() else { return };
    let conn = broker.connect();
    let ch = conn.channel(1);
    ch.queue_declare("q").durable().arg("x-delivery-limit", 7).ok();
    ch.queue_declare("bulk").durable().arg("x-max-length", 1).ok();
    for text in ["poison", "held"] {
        ch.publish("", "q", text).persistent().send();
    }
    let mut expected = 0;
    for (stop, is_checkpointed) in [("kill", false), ("terminate", false), ("kill", true), ("kill", false)] {
        let conn = broker.connect();
        let ch = conn.channel(1);
        ch.confirm_select().ok();
        assert_eq!(bounce(ch, "q"), expected);
        let poison = ch.get_soon("q");
        let held = ch.get_soon("q");
        // A killed broker cannot know who held what; a stopped one can.
        assert_eq!(
            counts_of(&[poison.clone(), held]),
            [("poison".to_owned(), expected + 1), ("held".to_owned(), i64::from(expected > 2))]
        );
        ch.nack(poison.tag).requeue().send();
        // A confirm behind the returns means that they, too, are on disk.
        ch.publish("", "q", "behind").persistent().expiration("0").send();
        ch.confirms(1, 1);
        if is_checkpointed {
            (0..64).for_each(|_| ch.publish("", "bulk", [7; 256 * 1024]).persistent().send());
            ch.confirms(2, 65);
        }
        expected += 2;
        if stop == "kill" {
            broker.kill();
        } else {
            // What the connections of a stopping broker held has come back, and counts.
            broker.terminate();
            conn.expect_close(
                320,
                (0, 0),
                "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'",
            );
            assert!(broker.await_end(), "it ends with success");
        }
        broker.restart();
        if expected == 8 {
            break;
        }
    }
    let conn = broker.connect();
    let ch = conn.channel(1);
    assert_eq!(counts_of(&[ch.get_soon("q")]), [("held".to_owned(), 1)], "the poison is gone");
}
