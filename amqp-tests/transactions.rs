//! Transactions (behaviours 66, 139-146).

use crate::support::wait::QUIET;
use crate::support::wire::*;

/// A channel in transaction mode, and another one to look on.
fn transactional(conn: &Conn) -> (Channel<'_>, Channel<'_>) {
    let (ch, other) = (conn.channel(1), conn.channel(2));
    ch.tx_select().ok();
    (ch, other)
}

/// Queues with a message each, fetched on `ch` and not settled: the queue and the tag.
fn fetched(ch: Channel<'_>, bodies: &[&str]) -> (String, Vec<u64>) {
    let queue = ch.temp_queue();
    let other = ch.conn.channel(9);
    bodies.iter().for_each(|body| other.put(&queue, body));
    other.close().ok();
    (queue.clone(), bodies.iter().map(|_| ch.get(&queue).expect("a message").tag).collect())
}

// behaviour 139
#[test]
fn selecting_again_is_fine_and_there_is_nothing_to_end_without() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let text = "PRECONDITION_FAILED - channel is not transactional";
    ch.tx_commit().expect_close(406, (90, 20), text);
    let ch = conn.channel(1);
    ch.tx_rollback().expect_close(406, (90, 30), text);
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.tx_select().ok();
    ch.put(&queue, "a");
    ch.tx_select().ok();
    ch.tx_commit().ok();
    assert_eq!(ch.pull_all(&queue), ["a"], "what was begun goes on");
    ch.tx_commit().ok();
    ch.tx_rollback().ok();
}

// behaviour 140
#[test]
fn publishes_are_seen_at_the_commit_and_not_before() {
    let conn = Conn::open();
    let (ch, other) = transactional(&conn);
    let queues = [ch.temp_queue(), ch.temp_queue(), ch.temp_queue()];
    other.consume(&queues[0], "t").no_ack().ok();
    for n in 0..6 {
        ch.put(&queues[n % 3], n.to_string());
    }
    ch.sync();
    assert!(queues.iter().all(|queue| ch.counts(queue).0 == 0));
    other.quiet();
    ch.tx_commit().ok();
    assert_eq!(other.texts(2), ["0", "3"]);
    assert_eq!(other.pull_all(&queues[1]), ["1", "4"]);
    assert_eq!(ch.pull_all(&queues[2]), ["2", "5"]);
}

// behaviour 140
#[test]
fn a_rollback_drops_publishes() {
    let conn = Conn::open();
    let (ch, _) = transactional(&conn);
    let queue = ch.temp_queue();
    ch.put(&queue, "dropped");
    ch.tx_rollback().ok();
    ch.put(&queue, "kept");
    ch.tx_commit().ok();
    assert_eq!(ch.pull_all(&queue), ["kept"], "a new transaction begins at once");
}

// behaviour 141
#[test]
fn a_missing_exchange_is_told_at_the_publish() {
    let conn = Conn::open();
    let (ch, other) = transactional(&conn);
    let queue = other.temp_queue();
    ch.put(&queue, "m");
    ch.publish("missing", "k", "m").expect_close(404, "NOT_FOUND - no exchange 'missing' in vhost '/'");
    assert_eq!(other.counts(&queue).0, 0, "the channel took its transaction with it");
}

// behaviour 141
#[test]
fn mandatory_messages_are_returned_at_the_commit() {
    let conn = Conn::open();
    let (ch, _) = transactional(&conn);
    ch.publish("amq.direct", "nobody", "one").mandatory().header("h", 1).send();
    ch.publish("amq.direct", "nobody", "never").send();
    ch.publish("", "nobody", "two").mandatory().send();
    ch.quiet();
    ch.tx_commit().send();
    for (exchange, key, body) in [("amq.direct", "nobody", "one"), ("", "nobody", "two")] {
        let d = ch.method().is((60, 50)).delivery();
        assert_eq!((d.reply.clone(), d.text()), ((312, "NO_ROUTE".to_owned()), body.to_owned()));
        assert_eq!((&*d.exchange, &*d.routing_key), (exchange, key));
    }
    ch.method().is((90, 21));
    ch.publish("", "nobody", "forgotten").mandatory().send();
    ch.tx_rollback().ok();
    ch.tx_commit().ok();
    ch.quiet();
}

// behaviour 141: routed when published, whatever happens to bindings until the commit
#[test]
fn messages_are_routed_when_they_are_published() {
    let conn = Conn::open();
    let (ch, other) = transactional(&conn);
    let (queue, gone, exchange) = (other.temp_queue(), other.temp_queue(), other.temp_exchange("fanout"));
    other.queue_bind(&queue, &exchange, "").ok();
    other.queue_bind(&gone, &exchange, "").ok();
    ch.publish(&exchange, "", "before").send();
    ch.sync();
    other.queue_unbind(&queue, &exchange, "").ok();
    ch.publish(&exchange, "", "after").send();
    ch.sync();
    other.queue_delete(&gone).ok();
    other.exchange_delete(&exchange).ok();
    ch.tx_commit().ok();
    assert_eq!(ch.pull_all(&queue), ["before"], "a queue that was deleted takes its copies with it");
}

// behaviour 142
#[test]
fn acks_take_effect_at_the_commit() {
    let conn = Conn::open();
    let (ch, _) = transactional(&conn);
    let (queue, tags) = fetched(ch, &["a", "b"]);
    ch.ack(tags[1]).multiple().send();
    ch.tx_commit().ok();
    ch.recover(true).ok();
    assert_eq!(ch.pull_all(&queue), [""; 0], "nothing is unacknowledged any more");
    ch.tx_commit().ok();
}

// behaviour 142
#[test]
fn rejects_take_effect_at_the_commit() {
    let conn = Conn::open();
    let (ch, other) = transactional(&conn);
    let (target, queue) = (ch.temp_queue(), unique("q"));
    ch.queue_declare(&queue)
        .exclusive()
        .arg("x-dead-letter-exchange", "")
        .arg("x-dead-letter-routing-key", &target)
        .ok();
    ["dead", "again"].iter().for_each(|body| other.put(&queue, body));
    other.sync();
    let tags: Vec<_> = (0..2).map(|_| ch.get(&queue).expect("a message").tag).collect();
    ch.reject(tags[0]).send();
    ch.nack(tags[1]).requeue().send();
    ch.sync();
    assert_eq!([&queue, &target].map(|queue| other.counts(queue).0), [0, 0]);
    ch.tx_commit().ok();
    let again = ch.pull_soon(&queue);
    assert_eq!((again.text(), again.redelivered), ("again".to_owned(), true));
    assert_eq!(ch.pull_soon(&target).text(), "dead");
}

// behaviour 142
#[test]
fn after_a_rollback_deliveries_are_unacknowledged_again() {
    let conn = Conn::open();
    let (ch, other) = transactional(&conn);
    let (queue, tags) = fetched(ch, &["a", "b", "c"]);
    ch.ack(tags[1]).send();
    ch.reject(tags[0]).requeue().send();
    ch.tx_rollback().ok();
    assert_eq!(other.counts(&queue).0, 0, "nothing went back to the queue");
    ch.ack(tags[1]).multiple().send();
    ch.tx_commit().ok();
    ch.recover(true).ok();
    assert_eq!(ch.pull_all(&queue), ["c"]);
}

// behaviour 143
#[test]
fn an_unknown_tag_is_told_at_once() {
    let conn = Conn::open();
    let (ch, _) = transactional(&conn);
    ch.ack(9).expect_close(406, (60, 80), "PRECONDITION_FAILED - unknown delivery tag 9");
    let ch = conn.channel(1);
    ch.tx_select().ok();
    let (_, tags) = fetched(ch, &["m"]);
    ch.ack(tags[0]).send();
    let text = format!("PRECONDITION_FAILED - unknown delivery tag {}", tags[0]);
    ch.ack(tags[0]).expect_close(406, (60, 80), &text);
}

// behaviour 144
#[test]
fn what_was_fetched_without_acknowledgement_stays_fetched() {
    let conn = Conn::open();
    let (ch, other) = transactional(&conn);
    let queue = ch.temp_queue();
    other.put(&queue, "m");
    other.sync();
    assert_eq!(ch.pull(&queue).expect("a message").text(), "m");
    ch.tx_rollback().ok();
    assert!(ch.pull(&queue).is_none());
}

// behaviour 145
#[test]
fn a_channel_that_ends_drops_its_publishes_and_gives_its_deliveries_back() {
    let conn = Conn::open();
    let (ch, other) = transactional(&conn);
    let (queue, tags) = fetched(ch, &["a", "b"]);
    ch.ack(tags[0]).send();
    ch.put(&queue, "never");
    ch.close().ok();
    other.await_ready(&queue, 2);
    let again: Vec<_> = (0..2).map(|_| other.pull(&queue).expect("a message")).collect();
    assert_eq!(again.iter().map(Delivery::text).collect::<Vec<_>>(), ["a", "b"]);
    assert!(again.iter().all(|d| d.redelivered));
}

// behaviour 145
#[test]
fn a_connection_that_vanishes_drops_its_publishes_and_gives_its_deliveries_back() {
    let (conn, watcher) = (Conn::open(), Conn::open());
    let (ch, other) = (conn.channel(1), watcher.channel(1));
    let queue = unique("q");
    other.queue_declare(&queue).arg("x-expires", 60_000).ok();
    other.put(&queue, "a");
    other.sync();
    ch.tx_select().ok();
    let tag = ch.get(&queue).expect("a message").tag;
    ch.ack(tag).send();
    ch.put(&queue, "never");
    ch.sync();
    conn.vanish();
    other.await_ready(&queue, 1);
    assert_eq!(other.pull_all(&queue), ["a"]);
}

// behaviours 140, 142: a move from one queue to another
#[test]
fn a_message_is_moved_whole() {
    let conn = Conn::open();
    let (ch, other) = transactional(&conn);
    let (from, tags) = fetched(ch, &["m"]);
    let to = ch.temp_queue();
    for ends in ["rollback", "commit"] {
        ch.ack(tags[0]).send();
        ch.put(&to, "m");
        if ends == "rollback" {
            ch.tx_rollback().ok();
            assert_eq!(other.counts(&to).0, 0);
        } else {
            ch.tx_commit().ok();
        }
    }
    ch.close().ok();
    assert_eq!(other.pull_all(&to), ["m"]);
    assert_eq!(other.counts(&from).0, 0);
}

// behaviours 142, 165: places in a prefetch are free at the commit
#[test]
fn places_in_the_prefetch_are_free_at_the_commit() {
    for global in [false, true] {
        let conn = Conn::open();
        let (ch, other) = transactional(&conn);
        let queue = ch.temp_queue();
        (0..6).for_each(|n| other.put(&queue, n.to_string()));
        ch.qos(0, 2, global).ok();
        ch.consume(&queue, "t").ok();
        assert_eq!(ch.texts(2), ["0", "1"]);
        ch.ack(1).send();
        ch.quiet();
        ch.tx_rollback().ok();
        ch.quiet();
        ch.ack(2).multiple().send();
        ch.tx_commit().ok();
        assert_eq!(ch.texts(2), ["2", "3"]);
        ch.quiet();
    }
}

// behaviour 142: basic.recover is no part of a transaction, and what was acked in it is not recovered
#[test]
fn recover_takes_back_what_is_not_settled_in_the_transaction() {
    let conn = Conn::open();
    let (ch, _) = transactional(&conn);
    let (queue, tags) = fetched(ch, &["a", "b"]);
    ch.ack(tags[0]).send();
    ch.recover(true).ok();
    assert_eq!(ch.pull_all(&queue), ["b"]);
    ch.tx_commit().ok();
    ch.close().ok();
    let ch = conn.channel(1);
    assert_eq!(ch.pull_all(&queue), [""; 0]);
}

// behaviours 126, 140
#[test]
fn carbon_copies_and_alternate_exchanges_are_part_of_it() {
    let conn = Conn::open();
    let (ch, other) = transactional(&conn);
    let [one, two, three, rest] = [(); 4].map(|()| other.temp_queue());
    let (exchange, alternate) = (unique("x"), other.temp_exchange("fanout"));
    other.exchange_declare(&exchange, "direct").arg("alternate-exchange", &alternate).ok();
    other.queue_bind(&rest, &alternate, "").ok();
    let list = |queue: &String| Value::Array(vec![queue.as_str().into()]);
    ch.publish("", &one, "copied").header("CC", list(&two)).header("BCC", list(&three)).send();
    ch.publish(&exchange, "nobody", "rest").send();
    ch.sync();
    assert!([&one, &two, &three, &rest].iter().all(|queue| other.counts(queue).0 == 0));
    ch.tx_commit().ok();
    for queue in [&one, &two, &three] {
        let d = ch.pull(queue).expect("a copy");
        assert_eq!((d.text(), &*d.routing_key), ("copied".to_owned(), one.as_str()));
        let headers = d.props.headers.as_ref().expect("headers");
        assert!(headers.iter().all(|(name, _)| name != "BCC"));
    }
    assert_eq!(ch.pull_all(&rest), ["rest"]);
    other.exchange_delete(&exchange).ok();
    other.exchange_delete(&alternate).ok();
}

// behaviour 140: direct replies
#[test]
fn direct_replies_are_sent_at_the_commit() {
    let (asking, answering) = (Conn::open(), Conn::open());
    let (ask, (reply, _)) = (asking.channel(1), transactional(&answering));
    let service = unique("service");
    ask.queue_declare(&service).arg("x-expires", 60_000).ok();
    ask.consume("amq.rabbitmq.reply-to", "r").no_ack().ok();
    let props = Props { reply_to: Some("amq.rabbitmq.reply-to".to_owned()), ..Props::default() };
    ask.publish("", &service, "question").props(props).send();
    let name = reply.pull_soon(&service).props.reply_to.expect("a name to reply to");
    reply.publish("", &name, "dropped").mandatory().send();
    reply.tx_rollback().ok();
    reply.publish("", &name, "answer").mandatory().send();
    reply.sync();
    ask.conn.next_within(1, QUIET).nothing();
    reply.tx_commit().ok();
    assert_eq!(ask.delivery().text(), "answer");
    ask.quiet();
}

// a commit takes place as a whole or not at all
#[test]
fn a_full_queue_refuses_the_whole_commit() {
    let conn = Conn::open();
    let (ch, other) = transactional(&conn);
    let (full, free) = (unique("full"), ch.temp_queue());
    other.queue_declare(&full).exclusive().arg("x-max-length", 1).arg("x-overflow", "reject-publish").ok();
    let (source, tags) = fetched(ch, &["m"]);
    ch.put(&free, "a");
    ch.put(&full, "b");
    ch.put(&full, "c");
    ch.ack(tags[0]).send();
    let text = format!(
        "PRECONDITION_FAILED - cannot commit: queue '{full}' in vhost '/' is full and rejects publishes"
    );
    ch.tx_commit().expect_close(406, (90, 20), &text);
    other.await_ready(&source, 1);
    assert_eq!([&free, &full].map(|queue| other.counts(queue).0), [0, 0]);
    let ch = conn.channel(1);
    ch.tx_select().ok();
    ch.put(&free, "a");
    ch.put(&full, "b");
    ch.tx_commit().ok();
    assert_eq!([&free, &full].map(|queue| other.counts(queue).0), [1, 1], "nothing was left behind");
}

#[test]
fn a_transaction_may_not_hold_more_than_its_limit() {
    let Some(broker) = Broker::own_with("[limits]\ntransaction_bytes_max = 65536") else { return };
    let conn = broker.connect();
    let (ch, other) = transactional(&conn);
    let (queue, third) = (other.temp_queue(), conn.channel(3));
    third.tx_select().ok();
    let text = "PRECONDITION_FAILED - transactions of a connection may hold 65536 bytes \
                (limits.transaction_bytes_max)";
    third.put(&queue, vec![0; 30_000]);
    ch.put(&queue, vec![0; 30_000]);
    ch.publish("", &queue, vec![0; 30_000]).expect_close(406, text);
    let ch = conn.channel(1);
    ch.tx_select().ok();
    for _ in 0..5 {
        ch.put(&queue, vec![0; 30_000]);
        ch.tx_commit().ok();
        ch.put(&queue, vec![0; 30_000]);
        ch.tx_rollback().ok();
    }
    third.tx_commit().ok();
    assert_eq!(other.counts(&queue).0, 6, "what ended holds nothing");
}

// behaviour 66: RabbitMQ closes the connection for what is sent before Commit-Ok; here it waits
#[test]
fn what_is_sent_behind_a_commit_waits_for_it() {
    let conn = Conn::open();
    let (ch, _) = transactional(&conn);
    let queue = ch.temp_queue();
    for n in 0..50 {
        ch.publish("", &queue, n.to_string()).persistent().send();
        ch.tx_commit().send();
    }
    for _ in 0..50 {
        ch.method().is((90, 21));
    }
    assert_eq!(ch.pull_all(&queue), (0..50).map(|n| n.to_string()).collect::<Vec<_>>());
}

// a time to live begins at the commit
#[test]
fn messages_arrive_at_the_commit() {
    let conn = Conn::open();
    let (ch, other) = transactional(&conn);
    let queue = unique("q");
    other.queue_declare(&queue).exclusive().arg("x-message-ttl", 400).ok();
    ch.put(&queue, "a");
    ch.publish("", &queue, "b").expiration("400").send();
    std::thread::sleep(std::time::Duration::from_millis(500));
    ch.tx_commit().ok();
    assert_eq!(other.counts(&queue).0, 2);
    other.await_ready(&queue, 0);
}

// behaviour 129, with transactions in it
#[test]
fn many_transactions_at_once_are_each_whole() {
    let setup = Conn::open();
    let ch = setup.channel(1);
    let queues: Vec<_> = (0..3).map(|_| unique("q")).collect();
    queues.iter().for_each(|queue| drop(ch.queue_declare(queue).durable().arg("x-expires", 60_000).ok()));
    std::thread::scope(|scope| {
        for id in 0..4 {
            let queues = &queues;
            scope.spawn(move || {
                let conn = Conn::open();
                let ch = conn.channel(1);
                ch.tx_select().ok();
                for n in 0..100 {
                    for queue in queues {
                        ch.publish("", queue, format!("{id} {n}")).persistent().send();
                    }
                    if n % 10 == 9 {
                        ch.tx_rollback().ok()
                    } else {
                        ch.tx_commit().ok()
                    };
                }
            });
        }
    });
    for queue in &queues {
        let got = ch.pull_all(queue);
        assert_eq!(got.len(), 360);
        for id in 0..4 {
            let own: Vec<_> = got.iter().filter_map(|text| text.strip_prefix(&format!("{id} "))).collect();
            let committed = (0..100).filter(|n| n % 10 != 9).map(|n| n.to_string());
            assert_eq!(own, committed.collect::<Vec<_>>(), "in the order of its publisher");
        }
        ch.queue_delete(queue).ok();
    }
}

#[test]
fn priorities_and_delays_hold_in_a_transaction() {
    let conn = Conn::open();
    let (ch, other) = transactional(&conn);
    let (queue, exchange) = (unique("q"), unique("x"));
    other.queue_declare(&queue).exclusive().arg("x-max-priority", 9).ok();
    other.exchange_declare(&exchange, "x-delayed-message").arg("x-delayed-type", "fanout").ok();
    other.queue_bind(&queue, &exchange, "").ok();
    ch.publish(&exchange, "", "late").header("x-delay", 300).send();
    for priority in [1, 9, 5, 9] {
        let props = Props { priority: Some(priority), ..Props::default() };
        ch.publish("", &queue, format!("{priority}")).props(props).send();
    }
    std::thread::sleep(std::time::Duration::from_millis(400));
    assert_eq!(other.counts(&queue).0, 0);
    let start = std::time::Instant::now();
    ch.tx_commit().ok();
    assert_eq!(other.pull_all(&queue), ["9", "9", "5", "1"]);
    assert_eq!(other.pull_soon(&queue).text(), "late");
    assert!(start.elapsed().as_millis() >= 295, "a delay begins at the commit");
    other.exchange_delete(&exchange).ok();
}
