//! Peers that do not read, or go silent, and memory that is short: nobody else waits or loses (behaviours 262-268).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::conn::frame;
use crate::support::wire::*;

const MIB: u64 = 1 << 20;
const KIB_64: usize = 64 << 10;
/// The most a broker may grow by for one peer that does not read.
const GROWTH_MAX: u64 = 150 * MIB;
/// The same when the store's buffers and caches are part of the growth.
const GROWTH_MAX_STORING: u64 = 250 * MIB;
/// Little memory for messages, so that what else grows shows.
const SMALL: &str = "[memory]\nmessages_bytes = 16777216\n";

/// Watches memory for as long, while another client does whole rounds that must not take long.
fn watch(broker: &Broker, resident_max: u64, time: Duration) {
    let conn = broker.connect();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.confirm_select().ok();
    let end = Instant::now() + time;
    while Instant::now() < end {
        let begun = Instant::now();
        ch.put(&queue, "round");
        ch.confirm();
        assert_eq!(ch.pull_soon(&queue).text(), "round");
        assert!(begun.elapsed() < Duration::from_secs(2), "another client waited {:?}", begun.elapsed());
        let resident = broker.resident_bytes() / MIB;
        assert!(resident < resident_max / MIB, "{resident} MiB for a peer that does not read");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Publishes transient messages of 64 KiB to `queue`, a few at a time.
fn fill(ch: Channel<'_>, queue: &str, count: u64) {
    ch.confirm_select().ok();
    for group in 0..count / 40 {
        (0..40).for_each(|_| ch.put(queue, [0; KIB_64]));
        ch.confirms(group * 40 + 1, group * 40 + 40);
    }
}

/// Waits until an exclusive queue of somebody else is there no more.
fn await_owner_gone(ch: Channel<'_>, queue: &str, end: Instant) {
    loop {
        let close = ch.queue_declare(queue).passive().reply().method().is((20, 40)).close();
        ch.close_ok().send();
        ch.open().ok();
        if close.code == 404 {
            return;
        }
        assert_eq!(close.code, 405, "{close:?}");
        assert!(Instant::now() < end, "{queue} still belongs to a peer that is gone");
        std::thread::sleep(Duration::from_millis(10));
    }
}

// Guards: a peer that missed its heartbeats is given up although it has not taken what is written (behaviours 28, 268).
#[test]
fn a_silent_consumer_that_does_not_read_is_given_up() {
    silent_peer_is_given_up(|theirs, queue| {
        theirs.consume(queue, "hung").ok();
    });
}

// Guards: the same when so much is written that its requests wait: that it is not read from must not keep it for ever.
#[test]
fn a_silent_peer_whose_requests_wait_is_given_up() {
    silent_peer_is_given_up(|theirs, queue| {
        let get = frame(1, theirs.number, &theirs.basic_get(queue).encode().0);
        theirs.conn.raw(&get.repeat(1500));
    });
}

/// `take` asks for 24 MB of messages; nothing is read or written after it.
fn silent_peer_is_given_up(take: impl Fn(Channel<'_>, &str)) {
    let _alone = alone();
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = unique("hung");
    ch.queue_declare(&queue).arg("x-expires", 60_000).ok();
    for n in 0..1500 {
        ch.put(&queue, format!("{n} {:16000}", ""));
    }
    ch.await_ready(&queue, 1500);
    let hung = Dial { heartbeat_s: 1, ..Dial::shared() }.open();
    let theirs = hung.channel(1);
    let owned = theirs.temp_queue();
    take(theirs, &queue);
    let end = Instant::now() + Duration::from_secs(6);
    std::thread::sleep(Duration::from_millis(700)); // the socket and the broker's buffer fill
    let ready = ch.queue_purge(&queue).ok().count();
    assert!((1..1500).contains(&ready), "{ready} messages did not fit, of 1500");
    ch.qos(0, 10, false).ok();
    ch.consume(&queue, "heir").ok();
    for n in 0..1500 - ready {
        let d = ch.delivery();
        assert!(Instant::now() < end, "{n} came after the time");
        assert_eq!((d.text().split(' ').next(), d.redelivered), (Some(&*n.to_string()), true));
        ch.ack(d.tag).send();
    }
    ch.quiet();
    await_owner_gone(conn.channel(2), &owned, end + Duration::from_secs(1));
    ch.queue_delete(&queue).ok();
    drop(hung);
}

// Guards: what a peer holds comes free when its frame is refused, not when it answers connection.close, which it never
// does here; and so do its exclusive queues, though it has no channel open.
#[test]
fn a_refused_frame_frees_what_the_peer_held_at_once() {
    let _alone = alone();
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = unique("held");
    ch.queue_declare(&queue).arg("x-expires", 60_000).ok();
    let unknown_kind = frame(7, 1, &[]);
    let no_end = [1, 0, 1, 0, 0, 0, 4, 0, 20, 0, 20, 0].to_vec();
    let too_large = [3, 0, 1, 0x7F, 0xFF, 0xFF, 0xFF].to_vec();
    let unknown_method = frame(1, 1, &[0, 60, 0, 200]);
    for (bad, what) in
        [(unknown_kind, "kind"), (no_end, "end"), (too_large, "size"), (unknown_method, "method")]
    {
        let (victim, closed) = (Conn::open(), Conn::open());
        let theirs = victim.channel(1);
        theirs.consume(&queue, "victim").ok();
        (0..10).for_each(|n| ch.put(&queue, n.to_string()));
        theirs.deliveries(10);
        let owner = closed.channel(1);
        let owned = owner.temp_queue();
        owner.close().ok();
        ch.consume(&queue, "heir").ok();
        let end = Instant::now() + Duration::from_secs(2);
        victim.raw(&bad);
        closed.raw(&bad);
        for n in 0..10 {
            let d = ch.delivery();
            assert!(Instant::now() < end, "{what}: {n} came after the time");
            assert_eq!((d.text(), d.redelivered), (n.to_string(), true), "{what}");
            ch.ack(d.tag).send();
        }
        await_owner_gone(conn.channel(2), &owned, end);
        conn.unopened(2).close().ok();
        ch.cancel("heir").ok();
    }
    ch.queue_delete(&queue).ok();
}

// Guards: memory that cannot be moved to disk, many small rests of queues or one large message, stops no publisher for
// ever.
#[test]
fn what_cannot_be_moved_out_of_memory_does_not_stop_publishers() {
    let _alone = alone();
    let config = "[memory]\nmessages_bytes = 1048576\n[node]\nshards = 1\n";
    let Some(broker) = Broker::own_with(config) else { return };
    let conn = broker.connect();
    let ch = conn.channel(1);
    let queues: Vec<_> = (0..60).map(|n| format!("q{n}")).collect();
    for queue in &queues {
        ch.queue_declare(queue).durable().send();
    }
    queues.iter().for_each(|_| assert!(ch.method().ids == (50, 11)));
    ch.confirm_select().ok();
    let begun = Instant::now();
    let mut published = 0;
    let mut publish = |rounds: u64| {
        for _ in 0..rounds {
            for queue in &queues {
                ch.publish("", queue, [0; 1024]).persistent().send();
            }
        }
        let first = published + 1;
        published += rounds * 60;
        assert!(ch.confirms(first, published).iter().all(|acked| *acked));
    };
    (0..10).for_each(|_| publish(20));
    assert!(begun.elapsed() < Duration::from_secs(15), "small rests: {:?}", begun.elapsed());

    let other = broker.connect();
    let large = other.channel(1);
    for kept in [false, true] {
        let queue = format!("large {kept}");
        let declare = large.queue_declare(&queue);
        if kept {
            declare.durable().ok()
        } else {
            declare.ok()
        };
        let message = large.publish("", &queue, vec![0; 8 << 20]);
        if kept {
            message.persistent().send();
        } else {
            message.send();
        }
        large.await_ready(&queue, 1);
        let begun = Instant::now();
        (0..5).for_each(|_| publish(2));
        assert!(begun.elapsed() < Duration::from_secs(10), "a large message: {:?}", begun.elapsed());
        assert_eq!(large.pull(&queue).expect("the large message").body.len(), 8 << 20);
    }
    for queue in &queues {
        assert_eq!(ch.counts(queue).0, 220);
    }
}

// Guards: a chunk read back for a get stays in memory until the get has its message, though there is no consumer.
#[test]
fn messages_on_disk_are_got_without_a_consumer() {
    let _alone = alone();
    let config = "[memory]\nmessages_bytes = 1048576\n[node]\nshards = 1\n";
    let Some(broker) = Broker::own_with(config) else { return };
    let conn = broker.connect();
    let ch = conn.channel(1);
    ch.queue_declare("q").ok();
    fill(ch, "q", 200);
    std::thread::sleep(Duration::from_millis(200)); // what is written goes out of memory
    (0..200).for_each(|n| assert!(ch.pull("q").is_some_and(|d| d.body.len() == KIB_64), "message {n}"));
    assert!(ch.pull("q").is_none());
}

// Guards: requests of a peer that does not take the answers wait, and are answered once it does.
#[test]
fn pipelined_gets_that_are_not_read_take_little_memory() {
    const COUNT: u32 = 4000;
    let _alone = alone();
    let Some(broker) = Broker::own_with(SMALL) else { return };
    let (conn, greedy) = (broker.connect(), broker.connect());
    let ch = conn.channel(1);
    ch.queue_declare("q").ok();
    fill(ch, "q", u64::from(COUNT));
    let theirs = greedy.channel(1);
    let before = broker.resident_bytes();
    let get = frame(1, 1, &theirs.basic_get("q").encode().0);
    greedy.raw(&get.repeat(COUNT as usize));
    watch(&broker, before + GROWTH_MAX, Duration::from_millis(1500));
    let left = ch.counts("q").0;
    assert!(left > COUNT / 2, "only {left} of {COUNT} messages were not fetched");
    for tag in 1..=u64::from(COUNT) {
        let d = theirs.method().is((60, 71)).delivery();
        assert_eq!((d.tag, d.body.len(), d.redelivered), (tag, KIB_64, false));
    }
    assert_eq!(ch.counts("q").0, 0);
}

// Guards: a publisher that does not take back what is returned to it is not read from.
#[test]
fn returns_that_are_not_read_take_little_memory() {
    const COUNT: u64 = 4800;
    let _alone = alone();
    let Some(broker) = Broker::own_with(SMALL) else { return };
    let before = broker.resident_bytes();
    let deaf = broker.connect();
    let sent = Arc::new(AtomicU64::new(0));
    std::thread::spawn({
        let sent = Arc::clone(&sent);
        // It ends with the broker.
        move || {
            let ch = deaf.channel(1);
            for _ in 0..COUNT {
                ch.publish("", "nowhere", [0; KIB_64]).mandatory().send();
                sent.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    watch(&broker, before + GROWTH_MAX, Duration::from_millis(2000));
    let sent = sent.load(Ordering::Relaxed);
    assert!((1..COUNT).contains(&sent), "{sent} of {COUNT} were taken, and no return read");
}

// Guards: a reply that waits for the log is not forgotten when an earlier sync wakes its connection.
#[test]
fn concurrent_declares_and_deletes_are_all_answered() {
    let _alone = alone();
    let Some(broker) = Broker::own() else { return };
    std::thread::scope(|scope| {
        for client in ["a", "b"] {
            let conn = broker.connect();
            scope.spawn(move || {
                let ch = conn.channel(1);
                for group in 0..40 {
                    let names: [String; 5] = std::array::from_fn(|n| format!("{client} {group} {n}"));
                    names.iter().for_each(|name| ch.queue_declare(name).durable().send());
                    answers(ch, (50, 11));
                    names.iter().for_each(|name| ch.queue_delete(name).send());
                    answers(ch, (50, 41));
                }
            });
        }
    });
}

/// Five answers come, each in time: a forgotten one would not come at all.
fn answers(ch: Channel<'_>, ids: (u16, u16)) {
    for n in 0..5 {
        match ch.conn.next_within(ch.number, Duration::from_secs(5)) {
            Event::Method(m) => drop(m.is(ids)),
            other => panic!("no answer {n} of 5 to {ids:?}: {other:?}"),
        }
    }
}

// Guards: a consumer that does not read gets no more than its window, also without acknowledgements.
#[test]
fn a_consumer_without_acks_that_does_not_read_takes_little_memory() {
    const COUNT: u64 = 6000;
    let _alone = alone();
    let Some(broker) = Broker::own_with(SMALL) else { return };
    let deaf = broker.connect();
    let theirs = deaf.channel(1);
    theirs.queue_declare("q").ok();
    theirs.consume("q", "deaf").no_ack().ok();
    let resident_max = broker.resident_bytes() + GROWTH_MAX_STORING;
    let publisher = broker.connect();
    std::thread::scope(|scope| {
        let filling = scope.spawn(move || fill(publisher.channel(1), "q", COUNT));
        while !filling.is_finished() {
            watch(&broker, resident_max, Duration::from_millis(200));
        }
    });
    let (ready, _) = broker.connect().channel(1).counts("q");
    assert!(u64::from(ready) > COUNT / 2, "only {ready} of {COUNT} messages were not sent");
}

// Guards: names that do not fit a short string are refused when the queue is declared, not met at the first death.
#[test]
fn dead_letter_names_hold_255_octets_and_no_more() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (exchange, key) = (format!("{:x<255}", unique("x")), "k".repeat(253) + "é");
    let long = "é".repeat(128);
    for (name, exchange, key) in [("exchange", &*long, &*key), ("routing-key", &*exchange, &*long)] {
        let queue = unique("q");
        let argument = format!("x-dead-letter-{name}");
        let refused = format!(
            "PRECONDITION_FAILED - invalid arg '{argument}' for queue '{queue}' in vhost '/': {{max_length_exceeded,256}}..."
        );
        ch.queue_declare(&queue)
            .exclusive()
            .arg("x-dead-letter-exchange", exchange)
            .arg("x-dead-letter-routing-key", key)
            .expect_close(406, (50, 10), &refused);
        ch.open().ok();
    }
    ch.exchange_declare(&exchange, "direct").ok();
    let (source, target) = (unique("q"), ch.temp_queue());
    ch.queue_bind(&target, &exchange, &key).ok();
    ch.queue_declare(&source)
        .exclusive()
        .arg("x-dead-letter-exchange", &*exchange)
        .arg("x-dead-letter-routing-key", &*key)
        .ok();
    ch.put(&source, "m");
    let tag = ch.get_soon(&source).tag;
    ch.reject(tag).send();
    let dead = ch.pull_soon(&target);
    assert_eq!((dead.text(), dead.exchange, dead.routing_key), ("m".to_owned(), exchange.clone(), key));
    assert_eq!(dead.props.header("x-first-death-queue").text(), source);
    ch.exchange_delete(&exchange).ok();
}
