//! Direct reply-to: requests and replies without a queue for the replies (behaviours 223, 224).

use std::time::{Duration, Instant};

use crate::support::wire::*;

const REPLY_TO: &str = "amq.rabbitmq.reply-to";
const PREFIX: &str = "amq.rabbitmq.reply-to.";

/// A request's properties.
fn request(id: &str) -> Props {
    let text = |value: &str| Some(value.to_owned());
    Props { reply_to: text(REPLY_TO), correlation_id: text(id), ..Props::default() }
}

/// The name that a request carries.
fn name_of(request: &Delivery) -> String {
    let name = request.props.reply_to.clone().expect("a request says where to reply to");
    assert!(name.len() >= PREFIX.len() + 22 && name.starts_with(PREFIX), "{name}");
    name
}

/// A name to reply to, as it comes out of `queue`.
fn ask(ch: Channel<'_>, queue: &str) -> String {
    ch.publish("", queue, "request").props(request("1")).send();
    name_of(&ch.pull_soon(queue))
}

#[test]
fn a_reply_goes_straight_to_the_channel_that_asked() {
    let (asking, answering) = (Conn::open(), Conn::open());
    let (ch, other) = (asking.channel(1), answering.channel(5));
    let queue = other.queue_declare(unique("rpc")).auto_delete().ok().declare_ok().0;
    other.consume(&queue, "server").no_ack().ok();
    assert_eq!(ch.consume(REPLY_TO, "replies").no_ack().ok().short(), "replies");
    let mut names = Vec::new();
    for n in 1..=3_u64 {
        let id = n.to_string();
        ch.publish("", &queue, "question").props(Props { kind: Some("t".to_owned()), ..request(&id) }).send();
        let asked = other.delivery();
        assert_eq!(
            (asked.text(), asked.props.correlation_id.clone()),
            ("question".to_owned(), Some(id.clone()))
        );
        assert_eq!(asked.props.kind.as_deref(), Some("t"));
        let name = name_of(&asked);
        let props = Props { correlation_id: Some(id), delivery_mode: Some(2), ..Props::default() };
        other.publish("", &name, "answer").props(props.clone()).mandatory().send();
        let got = ch.delivery();
        assert_eq!((got.text(), got.props, got.tag, got.redelivered), ("answer".to_owned(), props, n, false));
        assert_eq!(
            (got.consumer_tag.as_str(), got.exchange.as_str(), got.routing_key),
            ("replies", "", name.clone())
        );
        names.push(name);
    }
    names.dedup();
    assert_eq!(names.len(), 1, "one consumer has one name");
    other.quiet();
    ch.quiet();
}

#[test]
fn delivery_tags_are_those_of_the_channel_and_large_replies_pass() {
    let conn = Dial { frame_max: 8192, ..Dial::shared() }.open();
    let (ch, other) = (conn.channel(1), conn.channel(2));
    let queue = ch.temp_queue();
    ch.consume(REPLY_TO, "").no_ack().ok();
    let name = ask(ch, &queue);
    ch.consume(&queue, "own").ok();
    ch.put(&queue, "m");
    assert_eq!(ch.delivery().tag, 2, "the get before was the first");
    let body = vec![7; 100_000];
    other.publish("", &name, &body).send();
    let got = ch.delivery();
    assert_eq!((got.tag, got.body == body), (3, true));
    ch.ack(2).send();
    ch.ack(3).expect_close(406, (60, 80), "PRECONDITION_FAILED - unknown delivery tag 3");
}

// behaviour 223
#[test]
fn a_channel_has_one_reply_consumer_which_takes_no_acks() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let text = "PRECONDITION_FAILED - reply consumer cannot acknowledge";
    ch.consume(REPLY_TO, "a").expect_close(406, (60, 20), text);
    ch.open().ok();
    ch.consume(REPLY_TO, "a").no_ack().ok();
    conn.channel(2).consume(REPLY_TO, "a").no_ack().ok();
    for tag in ["a", "b"] {
        let text = "PRECONDITION_FAILED - reply consumer already set";
        ch.consume(REPLY_TO, tag).no_ack().expect_close(406, (60, 20), text);
        ch.open().ok();
        ch.consume(REPLY_TO, "a").no_ack().ok();
    }
    ch.cancel("a").ok();
    ch.consume(REPLY_TO, "b").no_ack().ok();
    assert_eq!(ch.cancel("b").ok().short(), "b");
    assert!(ch.consume(REPLY_TO, "").no_ack().ok().short().starts_with("amq.ctag-"));
    let queue = ch.temp_queue();
    ch.consume(&queue, "own").ok();
    let third = conn.channel(3);
    third.consume(REPLY_TO, "taken").no_ack().ok();
    let text = "NOT_ALLOWED - attempt to reuse consumer tag 'taken'";
    third.consume(&queue, "taken").expect_conn_close(530, (60, 20), text);
}

// behaviour 224
#[test]
fn a_request_needs_a_reply_consumer_on_its_channel() {
    let conn = Conn::open();
    let (ch, other) = (conn.channel(1), conn.channel(2));
    other.consume(REPLY_TO, "").no_ack().ok();
    let queue = other.temp_queue();
    let text = "PRECONDITION_FAILED - fast reply consumer does not exist";
    ch.publish("", &queue, "m").props(request("1")).expect_close(406, text);
    ch.open().ok();
    ch.consume(REPLY_TO, "a").no_ack().ok();
    let first = ask(ch, &queue);
    // Cancelled between requests that are alike to the octet.
    let same = |body: &str| ch.publish("", &queue, body).props(request("1")).bytes();
    let all = [same("1"), same("2"), same("3"), ch.cancel("a").bytes(), same("4")];
    conn.raw(&all.concat());
    ch.method().is((60, 31));
    ch.expect_close(406, (60, 40), text);
    for body in ["1", "2", "3"] {
        let got = other.pull_soon(&queue);
        assert_eq!((got.text(), name_of(&got)), (body.to_owned(), first.clone()));
    }
    assert!(other.pull(&queue).is_none());
}

#[test]
fn a_new_reply_consumer_has_a_new_name_even_for_the_same_request() {
    let conn = Conn::open();
    let (ch, other) = (conn.channel(1), conn.channel(2));
    let queue = other.temp_queue();
    let same = |body: &str| ch.publish("", &queue, body).props(request("1")).bytes();
    let consume = |tag: &str| ch.consume(REPLY_TO, tag).no_ack().nowait().bytes();
    let cancel = |tag: &str| ch.cancel(tag).nowait().bytes();
    let all = [consume("a"), same("1"), same("2"), cancel("a"), consume("b"), same("3"), same("4")];
    conn.raw(&all.concat());
    let names: Vec<_> = (0..4).map(|_| name_of(&other.pull_soon(&queue))).collect();
    assert_eq!((&names[0], &names[2]), (&names[1], &names[3]));
    assert_ne!(names[0], names[2]);
    other.publish("", &names[1], "old").mandatory().send();
    assert_eq!(other.method().is((60, 50)).delivery().reply, (312, "NO_ROUTE".to_owned()));
    other.put(&names[2], "new");
    assert_eq!((ch.delivery().consumer_tag, other.pull(&queue).is_none()), ("b".to_owned(), true));
}

#[test]
fn a_reply_to_nobody_is_unroutable() {
    let (asking, conn) = (Conn::open(), Conn::open());
    let (ch, replier) = (asking.channel(1), conn.channel(1));
    let queue = ch.temp_queue();
    replier.confirm_select().ok();
    for gone in 0..3_u64 {
        ch.consume(REPLY_TO, "a").no_ack().ok();
        let name = ask(ch, &queue);
        // Alike to the octet, so that the first one's route might be taken for the others'.
        let same = replier.publish("", &name, "r").mandatory().bytes();
        conn.raw(&same.repeat(3));
        assert_eq!(ch.texts(3), ["r", "r", "r"]);
        replier.confirms(gone * 6 + 1, gone * 6 + 3);
        match gone {
            0 => drop(ch.cancel("a").ok()),
            1 => {
                ch.close().ok();
                ch.open().ok();
            }
            _ => asking.close(),
        }
        conn.raw(&same.repeat(2));
        for n in 4..=5 {
            let returned = replier.method().is((60, 50)).delivery();
            assert_eq!((returned.reply, returned.routing_key), ((312, "NO_ROUTE".to_owned()), name.clone()));
            assert_eq!(replier.confirms(gone * 6 + n, gone * 6 + n), [true]);
        }
        replier.put(&name, "not mandatory");
        assert_eq!(replier.confirms(gone * 6 + 6, gone * 6 + 6), [true]);
    }
    replier.publish("", &format!("{PREFIX}g1h2AA5yZXBseUA"), "x").mandatory().send();
    replier.method().is((60, 50));
    replier.publish("", REPLY_TO, "x").mandatory().send();
    assert_eq!(replier.confirm().number, 19);
    replier.method().is((60, 50));
}

#[test]
fn a_declare_tells_whether_somebody_waits() {
    let (asking, conn) = (Conn::open(), Conn::open());
    let (ch, other) = (asking.channel(1), conn.channel(1));
    let declared = |name: &str| (name.to_owned(), 0, 1);
    assert_eq!(other.queue_declare(REPLY_TO).passive().ok().declare_ok(), declared(REPLY_TO));
    assert_eq!(other.queue_declare(REPLY_TO).ok().declare_ok(), declared(REPLY_TO));
    let queue = ch.temp_queue();
    ch.consume(REPLY_TO, "").no_ack().ok();
    let name = ask(ch, &queue);
    assert_eq!(other.queue_declare(&name).passive().ok().declare_ok(), declared(&name));
    asking.vanish();
    other.await_gone(&name);
    let text = format!("NOT_FOUND - no queue '{PREFIX}nosuch' in vhost '/'");
    other.queue_declare(format!("{PREFIX}nosuch")).passive().expect_close(404, (50, 10), &text);
}

#[test]
fn cc_keys_and_other_exchanges() {
    let conn = Conn::open();
    let (ch, other) = (conn.channel(1), conn.channel(2));
    let queue = ch.temp_queue();
    ch.consume(REPLY_TO, "").no_ack().ok();
    let name = ask(ch, &queue);
    let keys = Value::Array(vec![name.as_str().into(), name.as_str().into()]);
    other.publish("", &queue, "both").header("CC", keys).mandatory().send();
    assert_eq!(ch.delivery().text(), "both");
    assert_eq!(other.pull_soon(&queue).text(), "both");
    other.publish("amq.direct", &name, "m").mandatory().send();
    other.method().is((60, 50));
    ch.quiet();
    other.quiet();
}

#[test]
fn a_request_keeps_its_name_when_it_is_dead_lettered() {
    let conn = Conn::open();
    let (ch, other) = (conn.channel(1), conn.channel(2));
    let (queue, dead) = (unique("dying"), other.temp_queue());
    let declare =
        other.queue_declare(&queue).durable().arg("x-dead-letter-exchange", "").arg("x-expires", 60_000);
    declare.arg("x-dead-letter-routing-key", dead.as_str()).ok();
    ch.consume(REPLY_TO, "").no_ack().ok();
    let props = Props { delivery_mode: Some(2), expiration: Some("1".to_owned()), ..request("9") };
    ch.publish("", &queue, "m").props(props).send();
    let got = other.pull_soon(&dead);
    assert_eq!((got.props.delivery_mode, got.props.expiration.as_deref()), (Some(2), None));
    other.put(&name_of(&got), "late");
    assert_eq!(ch.delivery().text(), "late");
    other.queue_delete(&queue).ok();
}

// Guards: who does not read its replies costs bounded memory and holds nobody up for long.
#[test]
fn a_requester_that_does_not_read_loses_replies_and_harms_nobody() {
    let _alone = alone();
    let Some(broker) = Broker::own() else { return };
    let (asking, slow, conn) = (broker.connect(), broker.connect(), broker.connect());
    let (ch, theirs, replier) = (asking.channel(1), slow.channel(1), conn.channel(1));
    let [queue, their_queue] = [ch.temp_queue(), theirs.temp_queue()];
    ch.consume(REPLY_TO, "").no_ack().ok();
    theirs.consume(REPLY_TO, "").no_ack().ok();
    let (good, bad) = (ask(ch, &queue), ask(theirs, &their_queue));
    let before = broker.resident_bytes();
    let begun = Instant::now();
    let body = vec![1; 64 << 10];
    let round =
        [replier.publish("", &bad, &body).bytes(), replier.publish("", &good, "good").bytes()].concat();
    for n in 0..4000 {
        conn.raw(&round);
        if n % 100 == 99 {
            assert_eq!(ch.texts(100).len(), 100);
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    let grown = broker.resident_bytes().saturating_sub(before) >> 20;
    assert!(grown < 50, "{grown} MiB for replies that nobody reads");
    // It reads what was kept, and then gets replies again.
    replier.sync();
    let kept = std::iter::from_fn(|| match slow.next_within(1, Duration::from_millis(300)) {
        Event::Method(reply) => Some(reply.delivery()),
        _ => None,
    });
    let tags: Vec<_> = kept.map(|reply| reply.tag).collect();
    assert!((10..4000).contains(&tags.len()), "{} kept", tags.len());
    replier.put(&bad, "again");
    assert_eq!(theirs.delivery().text(), "again");
}

// Guards: a requester that reads gets everything, however far its replier is ahead of it.
#[test]
fn a_requester_that_reads_gets_all_replies() {
    let _alone = alone();
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.consume(REPLY_TO, "").no_ack().ok();
    let name = ask(ch, &queue);
    let count = 2000;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let answering = Conn::open();
            let (replier, body) = (answering.channel(1), vec![1; 32 << 10]);
            (0..count).for_each(|_| replier.put(&name, &body));
            replier.sync();
        });
        for n in 0..count {
            if n % 100 == 0 {
                std::thread::sleep(Duration::from_millis(20));
            }
            assert_eq!(ch.delivery().body.len(), 32 << 10);
        }
    });
    ch.quiet();
}
