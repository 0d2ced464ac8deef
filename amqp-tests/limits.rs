//! Length limits (behaviours 136, 201, 205-208).

use crate::support::wire::*;

fn limited(ch: Channel<'_>, limits: Table) -> String {
    let queue = unique("q");
    ch.queue_declare(&queue).exclusive().args(limits).ok();
    queue
}

fn refusing(ch: Channel<'_>, max: i32) -> String {
    limited(ch, table([("x-max-length", max.into()), ("x-overflow", "reject-publish".into())]))
}

/// Publishes bodies of these sizes, told apart by their letters.
fn put_sizes(ch: Channel<'_>, queue: &str, sizes: &[usize]) {
    for (letter, size) in ('a'..).zip(sizes) {
        ch.put(queue, letter.to_string().repeat(*size));
    }
}

/// The answers to as many publishes, each sent when the one before was answered.
fn answers<const N: usize>(ch: Channel<'_>, queue: &str, first: u64) -> [bool; N] {
    std::array::from_fn(|at| {
        ch.put(queue, "m");
        let confirm = ch.confirm();
        assert_eq!(confirm.number, first + at as u64);
        confirm.acked
    })
}

// behaviour 205
#[test]
fn the_oldest_go_and_the_newest_stay() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = limited(ch, table([("x-max-length", 3.into())]));
    for n in 0..10 {
        ch.put(&queue, n.to_string());
    }
    assert_eq!(ch.pull_all(&queue), ["7", "8", "9"]);
    let queue = limited(ch, table([("x-max-length", 2.into()), ("x-overflow", "drop-head".into())]));
    ch.confirm_select().ok();
    (0..1000).for_each(|n| ch.put(&queue, n.to_string()));
    assert!(ch.confirms(1, 1000).iter().all(|acked| *acked), "what is dropped later was taken in");
    assert_eq!(ch.pull_all(&queue), ["998", "999"]);
}

// behaviour 205
#[test]
fn bytes_count_bodies_only() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = limited(ch, table([("x-max-length-bytes", 10.into())]));
    for body in ["aaaa", "bbbb", "cc", "", ""] {
        ch.publish("", &queue, body).header("large", "x".repeat(1000).as_str()).send();
    }
    assert_eq!(ch.counts(&queue).0, 5, "ten bytes and no more");
    ch.put(&queue, "d");
    assert_eq!(ch.pull_all(&queue), ["bbbb", "cc", "", "", "d"]);
    ch.put(&queue, "m");
    ch.put(&queue, "x".repeat(11));
    assert_eq!(ch.counts(&queue).0, 0, "one that is too large takes all with it");
}

// behaviour 205
#[test]
fn a_length_of_0_keeps_nothing_unless_a_consumer_waits() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = limited(ch, table([("x-max-length", 0.into())]));
    ch.put(&queue, "nobody");
    assert_eq!(ch.counts(&queue).0, 0);
    ch.qos(0, 1, false).ok();
    ch.consume(&queue, "t").ok();
    ch.put(&queue, "taken");
    ch.put(&queue, "in vain");
    let taken = ch.delivery();
    assert_eq!(taken.text(), "taken");
    ch.ack(taken.tag).send();
    ch.quiet();
}

// behaviour 206
#[test]
fn what_is_not_acknowledged_does_not_count_until_it_is_requeued() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = limited(ch, table([("x-max-length", 2.into())]));
    put_sizes(ch, &queue, &[1, 1]);
    let (a, b) = (ch.get_soon(&queue), ch.get_soon(&queue));
    ch.put(&queue, "c");
    ch.put(&queue, "d");
    assert_eq!(ch.counts(&queue).0, 2);
    ch.nack(b.tag).requeue().send();
    assert_eq!(ch.counts(&queue).0, 2, "it was the oldest");
    assert_eq!(ch.pull(&queue).map(|m| m.text()).as_deref(), Some("c"));
    ch.nack(a.tag).requeue().send();
    assert_eq!(ch.pull_all(&queue), ["a", "d"]);
}

// behaviours 191, 205, 206
#[test]
fn what_is_dropped_is_dead_lettered() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let target = ch.temp_queue();
    let dying = table([
        ("x-max-length", 1.into()),
        ("x-dead-letter-exchange", "".into()),
        ("x-dead-letter-routing-key", (&target).into()),
    ]);
    let queue = limited(ch, dying);
    (0..5).for_each(|n| ch.put(&queue, n.to_string()));
    for n in 0..4 {
        let dead = ch.pull_soon(&target);
        assert_eq!(dead.text(), n.to_string());
        let death = dead.props.deaths()[0];
        assert_eq!(lookup(death, "reason").map(Value::text), Some("maxlen"));
        assert_eq!(lookup(death, "queue").map(Value::text), Some(&*queue));
    }
    assert_eq!(ch.pull_all(&queue), ["4"]);
}

// behaviours 198, 205
#[test]
fn a_cycle_of_full_queues_ends() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (one, two) = (unique("one"), unique("two"));
    for (queue, next) in [(&one, &two), (&two, &one)] {
        let call = ch.queue_declare(queue).exclusive().arg("x-max-length", 1);
        call.arg("x-dead-letter-exchange", "").arg("x-dead-letter-routing-key", next).ok();
    }
    (0..50).for_each(|n| ch.put(&one, n.to_string()));
    eventually("the dead letters to settle", || {
        (ch.counts(&one).0 == 1 && ch.counts(&two).0 == 1).then_some(())
    });
    assert_eq!(ch.pull(&one).map(|m| m.text()).as_deref(), Some("49"));
}

// behaviours 136, 207
#[test]
fn a_full_queue_refuses_and_the_publisher_is_told() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    ch.confirm_select().ok();
    let queue = refusing(ch, 2);
    assert_eq!(answers(ch, &queue, 1), [true, true, false, false]);
    assert_eq!(ch.get_soon(&queue).text(), "m");
    assert_eq!(answers(ch, &queue, 5), [true, false]);
    ch.quiet();
    assert_eq!(ch.counts(&queue).0, 2);
}

// behaviours 136, 207: exactly as many as fit, whatever comes together
#[test]
fn of_many_at_once_the_first_ones_are_taken() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    ch.confirm_select().ok();
    let name = unique("durable");
    let call = ch.queue_declare(&name).durable().arg("x-expires", 60_000);
    call.arg("x-max-length", 700).arg("x-overflow", "reject-publish").ok();
    for n in 0..2000 {
        ch.publish("", &name, n.to_string()).persistent().send();
    }
    let answers = ch.confirms(1, 2000);
    assert!(answers.iter().enumerate().all(|(n, acked)| *acked == (n < 700)));
    assert_eq!(ch.pull_all(&name), (0..700).map(|n| n.to_string()).collect::<Vec<_>>());
    ch.queue_delete(&name).ok();
}

// behaviour 207
#[test]
fn without_confirms_what_is_refused_is_dropped_in_silence() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = refusing(ch, 1);
    ch.put(&queue, "taken");
    ch.publish("", &queue, "refused").mandatory().send();
    ch.quiet();
    assert_eq!(ch.pull_all(&queue), ["taken"]);
    // Numbers begin with the confirm mode, in the middle of what is sent at once.
    ch.put(&queue, "taken");
    ch.confirm_select().nowait().send();
    ch.put(&queue, "refused");
    assert_eq!(ch.confirm(), Confirm { number: 1, multiple: false, acked: false });
}

// behaviour 207
#[test]
fn what_is_refused_by_one_queue_is_nacked_though_another_has_it() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    ch.confirm_select().ok();
    let exchange = ch.temp_exchange("fanout");
    let (full, free) = (refusing(ch, 1), ch.temp_queue());
    [&full, &free].into_iter().for_each(|queue| drop(ch.queue_bind(queue, &exchange, "").ok()));
    (0..3).for_each(|_| ch.publish(&exchange, "", "m").send());
    assert_eq!(ch.confirms(1, 3), [true, false, false]);
    assert_eq!((ch.counts(&full).0, ch.counts(&free).0), (1, 3));
    ch.exchange_delete(&exchange).ok();
}

// behaviours 136, 207
#[test]
fn a_consumer_makes_room() {
    let conn = Conn::open();
    let (ch, consumer) = (conn.channel(1), conn.channel(2));
    ch.confirm_select().ok();
    let queue = refusing(ch, 1);
    consumer.consume(&queue, "t").no_ack().ok();
    (0..100).for_each(|n| ch.put(&queue, n.to_string()));
    assert!(ch.confirms(1, 100).iter().all(|acked| *acked));
    assert_eq!(consumer.texts(100), (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
}

// behaviour 201
#[test]
fn what_is_refused_may_be_dead_lettered() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let target = ch.temp_queue();
    let dying = table([
        ("x-max-length", 1.into()),
        ("x-overflow", "reject-publish-dlx".into()),
        ("x-dead-letter-exchange", "".into()),
        ("x-dead-letter-routing-key", (&target).into()),
    ]);
    let queue = limited(ch, dying);
    ch.put(&queue, "taken");
    ch.put(&queue, "without confirms");
    ch.confirm_select().ok();
    ch.put(&queue, "with confirms");
    assert!(!ch.confirm().acked);
    for body in ["without confirms", "with confirms"] {
        let dead = ch.pull_soon(&target);
        assert_eq!(dead.text(), body);
        let death = dead.props.deaths()[0];
        assert_eq!(lookup(death, "reason").map(Value::text), Some("maxlen"));
        assert_eq!(lookup(death, "queue").map(Value::text), Some(&*queue));
    }
    assert_eq!(ch.pull_all(&queue), ["taken"]);
}

// behaviours 199, 207: a dead letter that finds its target full is dropped, or goes on; its source is rid of it
#[test]
fn a_full_target_does_not_hold_dead_letters_back() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let last = ch.temp_queue();
    for overflow in ["reject-publish", "reject-publish-dlx"] {
        let full = limited(
            ch,
            table([
                ("x-max-length", 1.into()),
                ("x-overflow", overflow.into()),
                ("x-dead-letter-exchange", "".into()),
                ("x-dead-letter-routing-key", (&last).into()),
            ]),
        );
        let source = limited(
            ch,
            table([
                ("x-message-ttl", 1.into()),
                ("x-dead-letter-exchange", "".into()),
                ("x-dead-letter-routing-key", (&full).into()),
            ]),
        );
        (0..5).for_each(|n| ch.put(&source, n.to_string()));
        ch.await_ready(&source, 0);
        ch.await_ready(&full, 1);
        let further = if overflow == "reject-publish" { 0 } else { 4 };
        ch.await_ready(&last, further);
        assert_eq!((ch.pull_all(&full).len(), ch.pull_all(&last).len()), (1, further as usize));
    }
}

// behaviour 208
#[test]
fn whichever_limit_is_hit_first_holds() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let both = || table([("x-max-length", 3.into()), ("x-max-length-bytes", 10.into())]);
    let queue = limited(ch, both());
    put_sizes(ch, &queue, &[1, 1, 1, 1]);
    assert_eq!(ch.counts(&queue).0, 3);
    ch.put(&queue, "x".repeat(9));
    assert_eq!(ch.counts(&queue).0, 2);
    let mut refusing = both();
    refusing.push(("x-overflow".to_owned(), "reject-publish".into()));
    let queue = limited(ch, refusing);
    ch.confirm_select().ok();
    put_sizes(ch, &queue, &[9, 2, 1, 0, 0]);
    assert_eq!(ch.confirms(1, 5), [true, false, true, true, false]);
}

// behaviours 129, 205, 207: the limits hold after a restart, for what was on disk too
#[test]
fn limits_hold_after_a_restart() {
    let Some(mut broker) = Broker::own() else { return };
    let (dropping, refusing) = (unique("dropping"), unique("refusing"));
    let conn = broker.connect();
    let ch = conn.channel(1);
    ch.confirm_select().ok();
    for (queue, overflow) in [(&dropping, "drop-head"), (&refusing, "reject-publish")] {
        let call = ch.queue_declare(queue).durable().arg("x-max-length-bytes", 100);
        call.arg("x-overflow", overflow).ok();
        for n in 0..30 {
            ch.publish("", queue, format!("{n:010}")).persistent().send();
        }
    }
    let answers = ch.confirms(1, 60);
    assert!(answers.iter().enumerate().all(|(n, acked)| *acked == (n < 40)), "{answers:?}");
    broker.kill();
    broker.restart();
    let conn = broker.connect();
    let ch = conn.channel(1);
    assert_eq!((ch.counts(&dropping).0, ch.counts(&refusing).0), (10, 10));
    ch.confirm_select().ok();
    for (queue, acked) in [(&dropping, true), (&refusing, false)] {
        ch.publish("", queue, "x").persistent().send();
        assert_eq!(ch.confirm().acked, acked);
    }
    let texts = |from: u32, to: u32| (from..to).map(|n| format!("{n:010}")).collect::<Vec<_>>();
    assert_eq!(ch.pull_all(&dropping), [texts(21, 30), vec!["x".to_owned()]].concat());
    assert_eq!(ch.pull_all(&refusing), texts(0, 10));
}
