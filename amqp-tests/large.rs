//! Large messages: whole, few at a time, and in little more memory than they have bytes (behaviours 48, 267).

use std::time::{Duration, Instant};

use crate::support::wire::*;

const MIB: usize = 1 << 20;
/// What a broker has resident beside messages, with room for its allocator.
const BASE: u64 = 120 << 20;

/// Sends a message of so many octets, the number again and again, without having it in memory.
fn put_large(ch: Channel<'_>, queue: &str, number: u32, length: usize, persistent: bool) {
    begin_large(ch, queue, length, persistent);
    send_body(ch, number, length);
}

/// Method and header; the body is still to come.
fn begin_large(ch: Channel<'_>, queue: &str, length: usize, persistent: bool) {
    let props = Props { delivery_mode: Some(1 + u8::from(persistent)), ..Props::default() };
    ch.conn.send(ch.number, Encoder::method(60, 40).u16(0).short("").short(queue).u8(0));
    ch.conn.frame(2, ch.number, &props.encode(60, length as u64));
}

/// So many octets of a body, in frames of 128 KiB less 8 octets.
fn send_body(ch: Channel<'_>, number: u32, length: usize) {
    let piece = number.to_be_bytes().repeat((131_072 - 8) / 4);
    let mut left = length;
    while left > 0 {
        let taken = left.min(piece.len());
        ch.conn.frame(3, ch.number, &piece[..taken]);
        left -= taken;
    }
}

/// The number that a message is made of, when it is whole.
fn number_of(d: &Delivery, length: usize) -> u32 {
    let number: [u8; 4] = d.body[..4].try_into().expect("four octets");
    assert_eq!(d.body.len(), length);
    assert!(d.body.chunks_exact(4).all(|four| four == number), "a message is not whole");
    u32::from_be_bytes(number)
}

/// The most memory the process ever had resident.
fn peak_bytes(broker: &Broker) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", broker.pid())).expect("the broker runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

// behaviours 48, 267
#[test]
fn a_message_of_128_mib_is_in_memory_once() {
    const LENGTH: usize = 128 * MIB;
    let _alone = alone();
    let Some(broker) = Broker::own() else { return };
    let (conn, other) = (broker.connect(), broker.connect());
    let (ch, theirs) = (conn.channel(1), other.channel(1));
    ch.queue_declare("q").durable().ok();
    ch.confirm_select().ok();
    theirs.consume("q", "t").ok();
    put_large(ch, "q", 7, LENGTH, true);
    let d = theirs.delivery();
    assert_eq!(number_of(&d, LENGTH), 7);
    theirs.ack(d.tag).send();
    assert!(ch.confirm().acked);
    theirs.quiet();
    let peak = peak_bytes(&broker);
    assert!(peak < LENGTH as u64 + BASE, "{} MiB for a message of 128 MiB", peak >> 20);
}

// behaviour 267: what publishers send at once is not gathered at once
#[test]
fn publishers_of_large_messages_take_turns() {
    const LENGTH: usize = 24 * MIB;
    const PUBLISHERS: u32 = 8;
    let _alone = alone();
    let config = "[memory]\nmessages_bytes = 50331648\ngathering_bytes = 8388608\n";
    let Some(broker) = Broker::own_with(config) else { return };
    for durable in [false, true] {
        let conn = broker.connect();
        let ch = conn.channel(1);
        let queue = unique("q");
        let declare = ch.queue_declare(&queue);
        if durable {
            declare.durable().ok()
        } else {
            declare.ok()
        };
        std::thread::scope(|scope| {
            for publisher in 0..PUBLISHERS {
                let (broker, queue) = (&broker, &queue);
                scope.spawn(move || {
                    let conn = broker.connect();
                    let ch = conn.channel(1);
                    ch.confirm_select().ok();
                    for n in 0..2 {
                        put_large(ch, queue, publisher * 2 + n, LENGTH, durable);
                    }
                    assert_eq!(ch.confirms(1, 2), [true, true]);
                });
            }
        });
        let mut got: Vec<_> = (0..PUBLISHERS * 2).map(|_| number_of(&ch.pull_soon(&queue), LENGTH)).collect();
        for publisher in 0..PUBLISHERS {
            assert!(got.iter().filter(|n| **n / 2 == publisher).is_sorted(), "out of order: {got:?}");
        }
        got.sort_unstable();
        assert!(got.iter().copied().eq(0..PUBLISHERS * 2), "{got:?}");
        let peak = peak_bytes(&broker) >> 20;
        assert!(peak < 300, "{peak} MiB for 384 MiB of messages, durable: {durable}");
    }
}

// Guards: a turn is lost by who brings nothing; what it has brought is kept.
#[test]
fn a_publisher_that_stops_within_a_large_message_stops_nobody() {
    let _alone = alone();
    let Some(broker) = Broker::own_with("[memory]\ngathering_bytes = 1048576\n") else { return };
    let (stopped, gone, other) = (broker.connect(), broker.connect(), broker.connect());
    let (slow, lost, ch) = (stopped.channel(1), gone.channel(1), other.channel(1));
    ch.queue_declare("q").ok();
    ch.confirm_select().ok();
    for half_sent in [slow, lost] {
        begin_large(half_sent, "q", 16 * MIB, false);
        send_body(half_sent, 1, 4 * (131_072 - 8));
    }
    gone.vanish();
    let begun = Instant::now();
    for n in 1..=4 {
        put_large(ch, "q", 10, 8 * MIB, false);
        assert_eq!(ch.confirm().number, n);
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "waited {:?}", begun.elapsed());
    send_body(slow, 1, 16 * MIB - 4 * (131_072 - 8));
    ch.await_ready("q", 5);
    let mut all: Vec<_> = (0..5).map(|_| ch.pull_soon("q")).collect();
    assert_eq!(number_of(&all.pop().expect("the fifth"), 16 * MIB), 1);
    assert!(all.iter().all(|d| number_of(d, 8 * MIB) == 10));
}

// Guards: large messages that memory cannot hold survive a kill, also those that were moved out of the log.
#[test]
fn large_messages_survive_a_kill() {
    const LENGTH: usize = 6 * MIB;
    let config =
        "[memory]\nmessages_bytes = 1048576\n[log]\nsegment_bytes = 4194304\nbudget_bytes = 8388608\n";
    let Some(mut broker) = Broker::own_with(config) else { return };
    {
        let conn = broker.connect();
        let ch = conn.channel(1);
        ch.queue_declare("q").durable().ok();
        ch.confirm_select().ok();
        for n in 0..8 {
            put_large(ch, "q", n, LENGTH, true);
            assert!(ch.confirm().acked);
        }
        let d = ch.get("q").expect("a message");
        assert_eq!(number_of(&d, LENGTH), 0);
        ch.ack(d.tag).send();
        ch.quiet();
        std::thread::sleep(Duration::from_millis(500)); // a checkpoint or two
        put_large(ch, "q", 8, LENGTH, true);
        assert!(ch.confirm().acked);
    }
    for _ in 0..2 {
        broker.kill();
        broker.restart();
        let conn = broker.connect();
        let ch = conn.channel(1);
        let held: Vec<_> = (1..9).map(|n| (n, ch.get_soon("q"))).collect();
        for (n, d) in &held {
            assert_eq!(number_of(d, LENGTH), *n);
        }
        assert!(ch.get("q").is_none());
    }
}

// Guards: a body cut into frames while it is written stands between what was written before and after it.
#[test]
fn what_stands_around_a_large_message_stays_in_order() {
    let conn = Dial { frame_max: 5000, ..Dial::shared() }.open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    let sizes = [1, 3 * MIB, 10, 256 * 1024, 256 * 1024 - 1, 0, 1_000_003];
    for (n, size) in (0..).zip(sizes) {
        ch.publish("", &queue, [n].repeat(size)).send();
    }
    ch.consume(&queue, "t").ok();
    // A declaration's answer waits for the disk, and holds back what comes behind it.
    let durable = unique("durable");
    ch.queue_declare(&durable).durable().send();
    ch.conn.answer(1).method().is((50, 11));
    for (n, size) in (0..).zip(sizes) {
        let d = ch.delivery();
        assert!(d.body == [n].repeat(size), "message {n} is another");
    }
    for (n, size) in (0..).zip(sizes) {
        ch.publish("", &queue, [n].repeat(size)).mandatory().send();
        assert_eq!(ch.delivery().body.len(), size);
    }
    assert!(conn.frame_size_max_seen() <= 5000, "a frame of {}", conn.frame_size_max_seen());
    ch.queue_delete(&durable).ok();
}
