//! Publishes that are alike but for their bodies, sent one behind the other, while something changes between them.

use std::time::Duration;

use crate::support::conn::frame;
use crate::support::wire::*;

/// Three publishes with one exchange and key, the bodies told apart by a letter.
fn three(ch: Channel<'_>, exchange: &str, key: &str, letter: char) -> Vec<u8> {
    (1..=3).flat_map(|n| ch.publish(exchange, key, format!("{letter}{n}")).bytes()).collect()
}

/// What [`three`] publishes for each of these letters.
fn threes(letters: &str) -> Vec<String> {
    letters.chars().flat_map(|letter| (1..=3).map(move |n| format!("{letter}{n}"))).collect()
}

/// Checks what is in the queue, and that is all.
fn assert_holds(ch: Channel<'_>, queue: &str, letters: &str) {
    let wanted = threes(letters);
    ch.await_ready(queue, u32::try_from(wanted.len()).expect("few"));
    assert_eq!(ch.pull_all(queue), wanted);
}

// All in one write, so that nothing but the order of the methods says which publish is routed how.
#[test]
fn methods_between_publishes_change_the_route_of_the_next() {
    let conn = Conn::open();
    let (ch, other) = (conn.channel(1), conn.channel(2));
    let fanout = ch.temp_exchange("fanout");
    let [first, second, third] = [(); 3].map(|()| ch.temp_queue());
    ch.queue_bind(&first, &fanout, "").ok();
    let all = [
        three(ch, &fanout, "k", 'a'),
        ch.queue_bind(&second, &fanout, "").nowait().bytes(),
        three(ch, &fanout, "k", 'b'),
        ch.queue_unbind(&first, &fanout, "").bytes(),
        three(ch, &fanout, "k", 'c'),
        ch.queue_bind(&third, &fanout, "").nowait().bytes(),
        ch.queue_delete(&second).nowait().bytes(),
        three(ch, &fanout, "k", 'd'),
        ch.exchange_delete(&fanout).nowait().bytes(),
        three(ch, &fanout, "k", 'e'),
    ];
    conn.raw(&all.concat());
    ch.method().is((50, 51));
    let text = format!("NOT_FOUND - no exchange '{fanout}' in vhost '/'");
    ch.expect_close(404, (60, 40), &text);
    assert_holds(other, &first, "ab");
    assert_holds(other, &third, "d");
    other.queue_declare(&second).passive().expect_close(404, (50, 10), "NOT_FOUND...");
    ch.open().ok();
    ch.quiet();
}

// The publisher itself sends nothing but publishes, so that only the topology tells it.
#[test]
fn another_connection_changes_the_route_of_the_next_publish() {
    let (conn, others) = (Conn::open(), Conn::open());
    let (ch, other) = (conn.channel(1), others.channel(1));
    let exchange = other.temp_exchange("direct");
    let [first, second] = [(); 2].map(|()| other.temp_queue());
    other.queue_bind(&first, &exchange, "k").ok();
    let put = |letter| conn.raw(&three(ch, &exchange, "k", letter));
    for _ in 0..20 {
        put('a');
        assert_holds(other, &first, "a");
        other.queue_bind(&second, &exchange, "k").ok();
        put('b');
        assert_holds(other, &second, "b");
        other.queue_unbind(&first, &exchange, "k").ok();
        put('c');
        assert_holds(other, &second, "c");
        other.queue_delete(&second).ok();
        put('d'); // nowhere
        ch.sync();
        // Another queue of the same name, and one that is bound through a second exchange.
        other.queue_declare(&second).exclusive().ok();
        other.queue_bind(&second, "amq.fanout", "").ok();
        other.exchange_bind("amq.fanout", &exchange, "k").ok();
        put('e');
        other.await_ready(&second, 3);
        other.exchange_unbind("amq.fanout", &exchange, "k").ok();
        put('f'); // nowhere
        ch.sync();
        other.queue_unbind(&second, "amq.fanout", "").ok();
        assert_holds(other, &second, "e");
        assert_holds(other, &first, "b");
        other.queue_bind(&first, &exchange, "k").ok();
    }
    put('a');
    ch.sync();
    other.exchange_delete(&exchange).ok();
    put('b');
    ch.expect_close(404, (60, 40), &format!("NOT_FOUND - no exchange '{exchange}' in vhost '/'"));
    assert_holds(other, &first, "a");
}

// A queue that ends with its consumer, its connection or its time is no longer a target.
#[test]
fn mandatory_publishes_come_back_once_their_queue_has_ended() {
    let (conn, others) = (Conn::open(), Conn::open());
    let (ch, other) = (conn.channel(1), others.channel(1));
    let owner = Conn::open();
    let owned = owner.channel(1).temp_queue();
    let [auto, timed] = ["auto", "timed"].map(unique);
    other.queue_declare(&auto).auto_delete().ok();
    other.consume(&auto, "t").no_ack().ok();
    other.queue_declare(&timed).arg("x-expires", 1000).ok();
    let ends: [(&str, &dyn Fn()); 3] = [
        (&timed, &|| std::thread::sleep(Duration::from_millis(1500))),
        (&owned, &|| owner.close()),
        (&auto, &|| drop(other.cancel("t").ok())),
    ];
    for (queue, end) in ends {
        let put = || conn.raw(&ch.publish("", queue, "m").mandatory().bytes().repeat(3));
        put();
        ch.quiet();
        end();
        others.channel(2).await_gone(queue);
        others.unopened(2).close().ok();
        put();
        for _ in 0..3 {
            let returned = ch.method().is((60, 50)).delivery();
            assert_eq!((returned.reply.0, &*returned.routing_key), (312, queue));
        }
    }
}

#[test]
fn confirm_select_in_mid_stream_numbers_what_follows() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    let all = [
        three(ch, "", &queue, 'a'),
        ch.confirm_select().nowait().bytes(),
        three(ch, "", &queue, 'b'),
        ch.confirm_select().nowait().bytes(),
        three(ch, "", &queue, 'c'),
    ];
    conn.raw(&all.concat());
    assert_eq!(ch.confirms(1, 6), [true; 6]);
    ch.quiet();
    assert_holds(ch, &queue, "abc");
}

// The second use of a number knows nothing of the first: no confirms, no half a content.
#[test]
fn a_channel_opened_again_begins_anew() {
    let conn = Conn::open();
    let queue = conn.channel(1).temp_queue();
    let ch = conn.unopened(2);
    let one = ch.publish("", &queue, "half").bytes();
    for rounds in [1, 30] {
        let round = [
            ch.open().bytes(),
            ch.confirm_select().nowait().bytes(),
            three(ch, "", &queue, 'a'),
            ch.close().bytes(),
            ch.open().bytes(),
            three(ch, "", &queue, 'b'),
            ch.close().bytes(),
        ];
        conn.raw(&round.concat().repeat(rounds));
        let mut answers = Vec::new();
        while answers.len() < rounds * 4 {
            let m = ch.method();
            if m.ids == (60, 80) {
                // A confirm may be late for its channel, never early or for the wrong use.
                assert!(answers.len() % 4 == 1 && m.confirm().number <= 3, "after {answers:?}");
            } else {
                answers.push(m.ids);
            }
        }
        assert_eq!(answers, [(20, 11), (20, 41), (20, 11), (20, 41)].repeat(rounds));
        assert_holds(conn.unopened(1), &queue, &"ab".repeat(rounds));
    }
    ch.open().ok();
    conn.raw(&[&one[..], &one[..], &one[..one.len() - 12]].concat());
    ch.close().send(); // inside a content
    conn.expect_close_code(&[501, 505]);
}

#[test]
fn a_publish_like_the_last_needs_its_channel_open() {
    let conn = Conn::open();
    let queue = conn.channel(1).temp_queue();
    let ch = conn.channel(2);
    let put = three(ch, "", &queue, 'a');
    conn.raw(&[&put[..], &ch.close().bytes(), &put].concat());
    ch.method().is((20, 41));
    conn.expect_close(504, (60, 40), "CHANNEL_ERROR - expected 'channel.open'");
}

// What comes on a channel between the broker's close and the answer to it is dropped.
#[test]
fn publishes_on_a_channel_that_was_refused_are_dropped() {
    let conn = Conn::open();
    let (ch, other) = (conn.channel(1), conn.channel(2));
    let queue = ch.temp_queue();
    let all = [
        three(ch, "", &queue, 'a'),
        three(other, "", &queue, 'b'),
        ch.publish(&unique("missing"), "k", "m").bytes(),
        three(ch, "", &queue, 'c'),
        three(other, "", &queue, 'd'),
        three(ch, "", &queue, 'e'),
        ch.close_ok().bytes(),
        ch.open().bytes(),
        three(ch, "", &queue, 'f'),
    ];
    conn.raw(&all.concat());
    assert_eq!(ch.method().is((20, 40)).close().code, 404);
    ch.method().is((20, 11));
    other.await_ready(&queue, 12);
    let mut got = other.pull_all(&queue);
    got.sort_unstable();
    assert_eq!(got, threes("abdf"));
}

// The two cuts of a publish in three, at each place and the same place further on.
#[test]
fn publishes_are_whole_wherever_the_stream_is_cut() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.confirm_select().ok();
    let bodies = ["first", "second", "", "x", "the last"];
    let whole: Vec<u8> =
        bodies.iter().flat_map(|body| ch.publish("", &queue, body).header("h", "v").bytes()).collect();
    let (mut rounds, mut confirmed) = (0, 0);
    for step in [0, 1, 13] {
        for at in 1..whole.len() - step {
            let (front, rest) = whole.split_at(at);
            let (middle, back) = rest.split_at(step);
            for piece in [front, middle, back] {
                conn.raw(piece);
                std::thread::sleep(Duration::from_micros(300)); // so that it is read by itself, mostly
            }
            rounds += 1;
        }
        let published = rounds * bodies.len() as u64;
        assert!(ch.confirms(confirmed + 1, published).iter().all(|acked| *acked));
        confirmed = published;
    }
    ch.consume(&queue, "t").no_ack().ok();
    for round in 0..rounds {
        assert_eq!(ch.texts(bodies.len()), bodies, "round {round}");
    }
    ch.quiet();
}

// Between any two frames of a content there may be whole publishes of another channel, also the same ones again.
#[test]
fn publishes_of_two_channels_interleave_at_every_frame() {
    let conn = Dial { frame_max: 4096, ..Dial::shared() }.open();
    let (ch, other) = (conn.channel(1), conn.channel(2));
    let queue = ch.temp_queue();
    let large = "l".repeat(4088 * 2 + 5);
    let frames = cut(&ch.publish("", &queue, &large).bytes());
    assert_eq!(frames.len(), 5);
    let mut all = Vec::new();
    for frame in &frames {
        all.extend(three(other, "", &queue, 'o'));
        all.extend_from_slice(frame);
        all.extend(three(other, "", &queue, 'p'));
    }
    all.extend(three(ch, "", &queue, 'c'));
    conn.raw(&all);
    ch.await_ready(&queue, 34);
    let got = ch.pull_all(&queue);
    assert_eq!(got.iter().filter(|text| **text == large).count(), 1);
    let of =
        |letters: [char; 2]| got.iter().filter(|text| text.starts_with(letters)).cloned().collect::<Vec<_>>();
    assert_eq!(of(['o', 'p']), threes(&"op".repeat(5)));
    assert_eq!(of(['c', 'l'])[1..], threes("c"));
}

/// The frames of these octets.
fn cut(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let size = u32::from_be_bytes([bytes[3], bytes[4], bytes[5], bytes[6]]) as usize;
        let (frame, rest) = bytes.split_at(size + 8);
        frames.push(frame.to_vec());
        bytes = rest;
    }
    frames
}

// What is wrong with a publish is wrong with one that is like the last, too.
#[test]
fn wrong_frames_are_refused_behind_publishes_that_are_right() {
    for before in [0, 1, 5] {
        for (what, code) in [("inside", 505), ("end", 501), ("long", 501), ("header", 505)] {
            let conn = Conn::open();
            let ch = conn.channel(1);
            let queue = ch.temp_queue();
            let right = ch.publish("", &queue, "body").bytes();
            let frames = cut(&right);
            let wrong = match what {
                "inside" => [&frames[0], &frames[1], &right[..]].concat(),
                "end" => [&right[..right.len() - 1], &[0]].concat(),
                "long" => [&frames[0], &frames[1], &frame(3, 1, b"longer")[..]].concat(),
                _ => [&frames[0], &frames[2][..]].concat(),
            };
            conn.raw(&[&right.repeat(before), &wrong[..]].concat());
            let close = conn.expect_close_code(&[501, 505]);
            assert_eq!(close.code, code, "{what} behind {before}: {close:?}");
        }
    }
}

#[test]
fn bodies_of_all_sizes_follow_each_other() {
    let conn = Dial { frame_max: 4096, ..Dial::shared() }.open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.confirm_select().ok();
    let sizes = [5, 0, 5, 1, 0, 0, 4088, 4089, 4088, 4087, 30_000, 5, 5, 300_000, 1, 8176, 8177, 0, 255, 256];
    let bodies: Vec<Vec<u8>> =
        (b'a'..).zip(sizes.into_iter().chain(0..200)).map(|(letter, size)| vec![letter; size]).collect();
    let mut all: Vec<u8> = bodies.iter().flat_map(|body| ch.publish("", &queue, body).bytes()).collect();
    // An empty body may have a frame nevertheless (behaviour 47), and a body any frames, one of them empty.
    let bear = [ch.publish("", &queue, "").bytes(), frame(3, 1, &[])].concat();
    all.extend([bear.repeat(3), ch.publish("", &queue, "1").bytes(), bear].concat());
    all.extend(cut(&ch.publish("", &queue, "12345678").bytes())[..2].concat());
    all.extend([&b"123"[..], b"", b"45678"].iter().flat_map(|part| frame(3, 1, part)));
    conn.raw(&all);
    assert!(ch.confirms(1, bodies.len() as u64 + 6).iter().all(|acked| *acked));
    for body in &bodies {
        let d = ch.pull(&queue).expect("a message");
        assert!(d.body == *body, "{} octets came as {}", body.len(), d.body.len());
    }
    assert_eq!(ch.pull_all(&queue), ["", "", "", "1", "", "12345678"]);
}

// Each message has its own time of arrival, also when nothing else tells it from the last. The broker is the test's own,
// so that nobody else's declarations make it look at the route anew.
#[test]
fn a_publish_like_an_expired_one_has_its_own_time() {
    let Some(broker) = Broker::own() else { return };
    let conn = broker.connect();
    let ch = conn.channel(1);
    let queue = unique("ttl");
    ch.queue_declare(&queue).exclusive().arg("x-message-ttl", 2000).ok();
    conn.raw(&three(ch, "", &queue, 'a'));
    std::thread::sleep(Duration::from_millis(1000));
    conn.raw(&three(ch, "", &queue, 'b'));
    std::thread::sleep(Duration::from_millis(1200));
    conn.raw(&three(ch, "", &queue, 'c'));
    std::thread::sleep(Duration::from_millis(300)); // what was old when it came would go now
    assert!(ch.pull_all(&queue).ends_with(&threes("c")));
}
