//! Much of everything, and strange things: channels, consumers, bindings, names, tables, ends (behaviours 14-16, 49, 262-264).

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::support::conn::frame;
use crate::support::wire::*;

/// Answers of this kind, so many, on one channel.
fn answers(ch: Channel<'_>, ids: (u16, u16), count: usize) {
    (0..count).for_each(|_| drop(ch.conn.answer(ch.number).method().is(ids)));
}

// behaviours 14, 15, 262
#[test]
fn a_connection_may_have_65535_channels() {
    let _alone = alone();
    let Some(broker) = Broker::own_with("[limits]\nchannel_max = 65535\n") else { return };
    let before = broker.resident_bytes();
    let begun = Instant::now();
    let conn = Dial { channel_max: 65_535, ..Dial::to(broker.address()) }.open();
    let all = 1..=65_535_u16;
    for group in all.collect::<Vec<_>>().chunks(4096) {
        let opens = group.iter().flat_map(|n| frame(1, *n, &conn.unopened(*n).open().encode().0));
        conn.raw(&opens.collect::<Vec<_>>());
        group.iter().for_each(|n| drop(conn.next(*n).method().is((20, 11))));
    }
    let grown = broker.resident_bytes().saturating_sub(before);
    assert!(grown < 65_535 * 3072, "{} bytes for each channel", grown / 65_535);
    let queue = conn.unopened(65_535).temp_queue();
    for n in [1, 32_768, 65_535] {
        conn.unopened(n).put(&queue, n.to_string());
        assert_eq!(conn.unopened(n).pull_soon(&queue).text(), n.to_string());
    }
    conn.unopened(1).open().send();
    conn.expect_close(504, (20, 10), "CHANNEL_ERROR - second 'channel.open' seen");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    broker.connect().channel(1).sync();
}

// behaviours 166, 264
#[test]
fn ten_thousand_consumers_share_one_queue() {
    const COUNT: usize = 10_000;
    let _alone = alone();
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    let other = Conn::open();
    let begun = Instant::now();
    let tags: Vec<_> = (0..COUNT).map(|n| format!("consumer {n}")).collect();
    for group in tags.chunks(500) {
        group.iter().for_each(|tag| ch.consume(&queue, tag).no_ack().send());
        answers(ch, (60, 21), group.len());
    }
    assert_eq!(ch.counts(&queue).1 as usize, COUNT);
    let consumed = begun.elapsed();
    // Each gets one in its turn, and then the first one again.
    for round in 0..2 {
        (0..COUNT).for_each(|n| ch.put(&queue, n.to_string()));
        let served: HashSet<_> = ch.deliveries(COUNT).into_iter().map(|d| d.consumer_tag).collect();
        assert_eq!(served.len(), COUNT, "somebody was left out in round {round}");
    }
    let delivered = begun.elapsed() - consumed;
    for group in tags.chunks(500) {
        group.iter().for_each(|tag| ch.cancel(tag).send());
        answers(ch, (60, 31), group.len());
    }
    assert_eq!(ch.counts(&queue).1, 0);
    let took = [consumed, delivered, begun.elapsed() - consumed - delivered];
    assert!(took.iter().sum::<Duration>() < Duration::from_secs(15), "consume, deliver, cancel: {took:?}");
    other.channel(1).sync();
}

// behaviours 78, 264
#[test]
fn a_thousand_bindings_between_two_exchanges_give_one_copy() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (source, target) = (ch.temp_exchange("topic"), ch.temp_exchange("fanout"));
    let queues = [ch.temp_queue(), ch.temp_queue()];
    queues.iter().for_each(|queue| drop(ch.queue_bind(queue, &target, "").ok()));
    let begun = Instant::now();
    for n in 0..1000 {
        // Half of them match each of the keys below.
        let key = format!("#.{}.#", if n % 2 == 0 { n } else { n - 1 });
        ch.exchange_bind(&target, &source, &key).arg("n", n).send();
    }
    answers(ch, (40, 31), 1000);
    let key = (0..60).map(|n| (n * 2).to_string()).collect::<Vec<_>>().join(".");
    (0..100).for_each(|n| ch.publish(&source, &key, n.to_string()).send());
    for queue in &queues {
        ch.await_ready(queue, 100);
        assert_eq!(ch.pull_all(queue), (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
    }
    let before = Instant::now();
    ch.exchange_delete(&source).ok();
    assert!(before.elapsed() < Duration::from_secs(1), "the delete took {:?}", before.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // Nothing is left of them: the target is unused again, and a new source of the name has no binding.
    ch.exchange_declare(&source, "topic").ok();
    ch.publish(&source, &key, "nobody").mandatory().send();
    assert_eq!(ch.method().is((60, 50)).delivery().reply.0, 312);
    ch.exchange_delete(&target).ok();
    ch.exchange_delete(&source).if_unused().ok();
}

// behaviour 49: reply texts have 255 octets at most, and end with a whole character
#[test]
fn names_of_255_octets_beyond_ascii_are_served_and_refused_in_whole_characters() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    for (character, left) in [("é", 1), ("兔", 0), ("🐇", 3)] {
        let stem = unique("");
        let fits = (255 - stem.len() - left.min(1)) / character.len();
        let mut name = stem + &character.repeat(fits);
        name += &"x".repeat(255 - name.len());
        let missing = format!("y{}", &name[1..]);
        assert_eq!((name.len(), missing.len()), (255, 255));
        assert_eq!(ch.queue_declare(&name).exclusive().ok().declare_ok().0, name);
        ch.put(&name, "by the default exchange");
        assert_eq!(ch.pull_soon(&name).routing_key, name);
        ch.exchange_declare(&name, "direct").ok();
        ch.queue_bind(&name, &name, &name).ok();
        ch.publish(&name, &name, "by its own").send();
        let d = ch.pull_soon(&name);
        assert_eq!((d.exchange, d.routing_key), (name.clone(), name.clone()));
        ch.consume(&name, &name).ok();
        ch.put(&name, "consumed");
        assert_eq!(ch.delivery().consumer_tag, name);
        // The text names the object as far as it goes.
        let (begin, _) = name.split_at(name.floor_char_boundary(150));
        for (refused, code) in [
            (ch.queue_declare(&missing).passive(), 404),
            (ch.queue_declare(&name).exclusive().arg("x-max-length", 5), 406),
            (ch.exchange_declare(&name, "fanout"), 406),
            (ch.queue_bind(&name, &missing, ""), 404),
        ] {
            let close = refused.reply().method().is((20, 40)).close();
            assert_eq!((close.code, close.text.len() <= 255), (code, true), "{close:?}");
            let named = if code == 404 { &missing[..begin.len()] } else { begin };
            assert!(close.text.contains(named), "{close:?}");
            assert!(!close.text.contains('\u{fffd}'), "a character was cut: {close:?}");
            ch.close_ok().send();
            ch.open().ok();
        }
        ch.exchange_delete(&name).ok();
        ch.queue_delete(&name).ok();
    }
}

/// A table so many tables deep.
fn nested(depth: usize) -> Table {
    (1..depth).fold(table([("innermost", 1.into())]), |inner, _| table([("in", inner.into())]))
}

// Guards: tables are read to a depth that is told, and what is deeper harms nobody.
#[test]
fn tables_are_nested_64_deep_and_no_deeper() {
    const DEPTH_MAX: usize = 64;
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    // The table of headers is the first.
    let headers = nested(DEPTH_MAX);
    ch.publish("", &queue, "m").props(Props { headers: Some(headers.clone()), ..Props::default() }).send();
    assert_eq!(ch.pull_soon(&queue).props.headers, Some(headers));
    ch.queue_declare(unique("deep")).exclusive().args(nested(DEPTH_MAX)).ok();
    let too_deep = Props { headers: Some(nested(DEPTH_MAX + 1)), ..Props::default() };
    ch.publish("", &queue, "m").props(too_deep).send();
    let close = conn.next(0).method().is((10, 50)).close();
    assert!(matches!(close.code, 501 | 502), "{close:?}");
    let conn = Conn::open();
    conn.channel(1).queue_declare(unique("deep")).exclusive().args(nested(DEPTH_MAX + 1)).send();
    let close = conn.next(0).method().is((10, 50)).close();
    assert!(matches!(close.code, 501 | 502), "{close:?}");
    Conn::open().channel(1).sync();
}

// behaviour 263: a socket closed over unread data is reset by the system
#[test]
fn a_reset_frees_all_that_the_client_held_at_once() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let shared = unique("shared");
    ch.queue_declare(&shared).arg("x-expires", 60_000).ok();
    let doomed = Conn::open();
    let theirs = doomed.channel(1);
    let owned = theirs.temp_queue();
    let auto = unique("auto");
    theirs.queue_declare(&auto).auto_delete().ok();
    theirs.consume(&auto, "auto").ok();
    theirs.qos(0, 50, false).ok();
    theirs.consume(&shared, "doomed").ok();
    (0..50).for_each(|n| ch.put(&shared, n.to_string()));
    ch.await_ready(&shared, 0);
    std::thread::sleep(Duration::from_millis(100)); // what is delivered lies in the socket
    doomed.vanish();
    let begun = Instant::now();
    ch.await_ready(&shared, 50);
    assert_eq!(ch.counts(&shared), (50, 0));
    ch.await_gone(&auto);
    ch.await_gone(&owned);
    assert!(begun.elapsed() < Duration::from_secs(2), "it took {:?}", begun.elapsed());
    let back = ch.get_soon(&shared);
    assert_eq!((back.text(), back.redelivered), ("0".to_owned(), true));
    ch.queue_delete(&shared).ok();
}

// behaviours 21, 263: a peer that is still there but says nothing
#[test]
fn a_silent_peer_frees_all_that_it_held_within_its_heartbeat() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let shared = unique("shared");
    ch.queue_declare(&shared).arg("x-expires", 60_000).ok();
    let silent = Dial { heartbeat_s: 1, ..Dial::shared() }.open();
    let theirs = silent.channel(1);
    let owned = theirs.temp_queue();
    theirs.consume(&shared, "silent").exclusive().ok();
    (0..3).for_each(|n| ch.put(&shared, n.to_string()));
    theirs.deliveries(3);
    // Half a message does not keep it.
    theirs.conn.raw(&theirs.publish("", &shared, "half").bytes()[..60]);
    let begun = Instant::now();
    ch.await_ready(&shared, 3);
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
    ch.await_gone(&owned);
    ch.consume(&shared, "heir").exclusive().ok();
    assert_eq!(ch.texts(3), ["0", "1", "2"]);
    ch.queue_delete(&shared).ok();
    drop(silent);
}
