//! Many producers and consumers at full speed: fair shares, order, redelivery at its place.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::support::call::Call;
use crate::support::wire::*;

/// Messages in one write of a producer.
const GROUP: u32 = 250;
/// Deliveries that one ack settles.
const ACK_EVERY: usize = 100;
/// How long a whole load may take on a slow machine.
const LOAD_TIME_MAX: Duration = Duration::from_secs(60);

/// Which producer, and its how manieth message.
type Stamp = (u32, u32);

fn body((producer, n): Stamp) -> Vec<u8> {
    [producer.to_be_bytes(), n.to_be_bytes()].concat()
}

fn stamp(d: &Delivery) -> Stamp {
    let (producer, n) = d.body.split_first_chunk::<4>().expect("a producer");
    (u32::from_be_bytes(*producer), u32::from_be_bytes(n.try_into().expect("a number")))
}

/// How far a load has come.
#[derive(Default)]
struct Progress {
    sent: AtomicU32,
    taken: AtomicU32,
}

/// How much a load brings.
#[derive(Clone, Copy)]
struct Size {
    producers: u32,
    consumers: u32,
    count: u32,
    /// Messages that may be under way; producers wait for consumers beyond it.
    window: u32,
}

/// Publishes this many messages at full speed; all are handled when it returns.
fn produce(conn: &Conn, queue: &str, producer: u32, count: u32) {
    produce_within(conn, queue, producer, (count, u32::MAX), &Progress::default());
}

fn produce_within(conn: &Conn, queue: &str, producer: u32, (count, window): (u32, u32), progress: &Progress) {
    let ch = conn.channel(1);
    let group = GROUP.min(window / 8);
    for first in (0..count).step_by(group as usize) {
        let numbers = first..count.min(first + group);
        progress.sent.fetch_add(group, Ordering::Relaxed);
        while progress.sent.load(Ordering::Relaxed).saturating_sub(progress.taken.load(Ordering::Relaxed))
            > window
        {
            std::thread::sleep(Duration::from_micros(50));
        }
        let bytes: Vec<u8> =
            numbers.flat_map(|n| ch.publish("", queue, body((producer, n))).bytes()).collect();
        conn.raw(&bytes);
    }
    ch.sync();
}

/// One queue for the connections of a test.
fn shared_queue(conn: &Conn) -> String {
    let queue = unique("load");
    conn.channel(1).queue_declare(&queue).arg("x-expires", 120_000).ok();
    queue
}

/// Consumes until all consumers together took `wanted` messages; gives those of this one.
fn take_share(conn: &Conn, queue: &str, taken: &AtomicU32, wanted: u32) -> Vec<Stamp> {
    let ch = conn.unopened(1);
    let end = Instant::now() + LOAD_TIME_MAX;
    let (mut share, mut tag) = (Vec::new(), None);
    while taken.load(Ordering::Relaxed) < wanted {
        assert!(Instant::now() < end, "{} of {wanted} came from {queue}", taken.load(Ordering::Relaxed));
        let event = conn.next_within(1, Duration::from_millis(20));
        let is_pause = matches!(event, Event::Nothing);
        if !is_pause {
            let d = event.method().is((60, 60)).delivery();
            taken.fetch_add(1, Ordering::Relaxed);
            tag = Some(d.tag);
            share.push(stamp(&d));
        }
        if is_pause || share.len().is_multiple_of(ACK_EVERY) {
            tag.take().into_iter().for_each(|tag| ch.ack(tag).multiple().send());
        }
    }
    tag.into_iter().for_each(|tag| ch.ack(tag).multiple().send());
    ch.sync();
    share
}

/// Runs producers and consumers; gives what each consumer took until `wanted` messages were taken.
fn shares(queue: &str, size: Size, wanted: u32) -> Vec<Vec<Stamp>> {
    let Size { producers, consumers, count, window } = size;
    let takers = (0..consumers).map(|_| consumer(queue, 1000)).collect::<Vec<_>>();
    let progress = &Progress::default();
    std::thread::scope(|scope| {
        let takers: Vec<_> = takers
            .into_iter()
            .map(|conn| scope.spawn(move || take_share(&conn, queue, &progress.taken, wanted)))
            .collect();
        for producer in 0..producers {
            let part = (count / producers, window);
            scope.spawn(move || produce_within(&Conn::open(), queue, producer, part, progress));
        }
        takers.into_iter().map(|taker| taker.join().expect("a consumer")).collect()
    })
}

/// A connection that consumes on channel 1, with acknowledgements.
fn consumer(queue: &str, prefetch: u16) -> Conn {
    let conn = Conn::open();
    let ch = conn.channel(1);
    ch.qos(0, prefetch, false).ok();
    ch.consume(queue, "t").ok();
    conn
}

/// Each message once.
fn assert_whole(mut got: Vec<Stamp>, producers: u32, count: u32) {
    got.sort_unstable();
    let wanted = (0..producers).flat_map(|producer| (0..count / producers).map(move |n| (producer, n)));
    assert!(got.iter().copied().eq(wanted), "{} messages came, not each once of {count}", got.len());
}

/// The smallest and the largest share in percent of the mean; each message came once.
fn share_percents(size: Size) -> (u32, u32) {
    let conn = Conn::open();
    let queue = shared_queue(&conn);
    let shares = shares(&queue, size, size.count);
    let percent = |share: &Vec<Stamp>| {
        u32::try_from(share.len()).expect("a count") * 100 / (size.count / size.consumers)
    };
    let percents = shares.iter().map(percent);
    let (low, high) = (percents.clone().min(), percents.max());
    assert_whole(shares.concat(), size.producers, size.count);
    conn.unopened(1).queue_delete(&queue).ok();
    (low.expect("a consumer"), high.expect("a consumer"))
}

// As long as nobody lacks room, all take turns, however the machine shares out its time.
#[test]
fn consumers_with_room_get_equal_shares() {
    let _alone = alone();
    let size = Size { producers: 8, consumers: 8, count: 200_000, window: 800 };
    let (low, high) = share_percents(size);
    assert!(low >= 80 && high <= 120, "shares from {low} % to {high} % of the mean");
}

// With a backlog each takes what it can settle; how much that is depends on the machine, yet nobody starves.
#[test]
fn no_consumer_starves_behind_a_backlog() {
    let _alone = alone();
    let size = Size { producers: 8, consumers: 8, count: 400_000, window: u32::MAX };
    let (low, high) = share_percents(size);
    assert!(low >= 33 && high <= 300, "shares from {low} % to {high} % of the mean");
}

// One consumer reads and never acks, another does not even read.
#[test]
fn a_consumer_that_stands_still_does_not_stop_the_others() {
    const COUNT: u32 = 100_000;
    const HELD: [u16; 2] = [500, 300];
    let _alone = alone();
    let conn = Conn::open();
    let queue = shared_queue(&conn);
    let [silent, deaf] = HELD.map(|prefetch| consumer(&queue, prefetch));
    let held = HELD.iter().copied().map(u32::from).sum::<u32>();
    let size = Size { producers: 4, consumers: 3, count: COUNT, window: u32::MAX };
    let mut got = shares(&queue, size, COUNT - held).concat();
    let kept = silent.unopened(1).deliveries(HELD[0].into());
    assert!(kept.iter().all(|d| !d.redelivered));
    drop((silent, deaf));
    let ch = conn.channel(2);
    ch.consume(&queue, "heir").no_ack().ok();
    let rest = ch.deliveries(held as usize);
    assert!(rest.iter().all(|d| d.redelivered), "what they held comes back as redelivered");
    got.extend(rest.iter().map(stamp));
    assert_whole(got, 4, COUNT);
    ch.quiet();
    ch.queue_delete(&queue).ok();
}

/// What a single consumer saw of several producers.
struct Order {
    next: Vec<u32>,
    /// What was given back and did not return yet, with the fresh deliveries since.
    back: VecDeque<(Stamp, usize)>,
}

impl Order {
    fn new(producers: usize) -> Self {
        Self { next: vec![0; producers], back: VecDeque::new() }
    }

    /// Checks that a delivery is the next of its producer, or the first of those given back.
    fn see(&mut self, d: &Delivery, overtaken_max: usize) {
        let (producer, n) = stamp(d);
        if d.redelivered {
            let first = self.back.pop_front();
            assert_eq!(first.map(|(stamp, _)| stamp), Some((producer, n)), "came back out of turn");
            return;
        }
        let next = &mut self.next[producer as usize];
        assert_eq!(n, *next, "of producer {producer}");
        *next += 1;
        for (stamp, overtaken) in &mut self.back {
            *overtaken += 1;
            assert!(*overtaken <= overtaken_max, "{stamp:?} was overtaken by {overtaken} messages");
        }
    }
}

// A message given back is the next to be sent: only what was on its way already comes before it, and what is sent for
// acks that the broker handles together with it.
#[test]
fn messages_stay_in_order_and_come_back_at_their_place() {
    const COUNT: u32 = 120_000;
    const PREFETCH: u16 = 1000;
    let _alone = alone();
    let conn = Conn::open();
    let queue = shared_queue(&conn);
    let ch = conn.channel(2);
    ch.qos(0, PREFETCH, false).ok();
    ch.consume(&queue, "t").ok();
    std::thread::scope(|scope| {
        let queue = &*queue;
        for producer in 0..4 {
            scope.spawn(move || produce(&Conn::open(), queue, producer, COUNT / 4));
        }
        let mut order = Order::new(4);
        let (mut settled, mut run) = (0, Vec::new());
        while settled < COUNT {
            let d = ch.delivery();
            order.see(&d, 2 * usize::from(PREFETCH));
            run.push(d);
            if run.len() < 50 && settled + 50 < COUNT {
                continue;
            }
            settled += settle(ch, &mut order, std::mem::take(&mut run));
        }
        assert!(order.back.is_empty() && order.next == [COUNT / 4; 4]);
    });
    ch.quiet();
    assert_eq!(ch.counts(&queue), (0, 1));
    ch.queue_delete(&queue).ok();
}

/// Acks a run of deliveries, or gives its fresh messages back: a few, or all from one on. Gives the number of acks.
fn settle(ch: Channel<'_>, order: &mut Order, run: Vec<Delivery>) -> u32 {
    let is_fresh = run.iter().all(|d| !d.redelivered);
    let tag = run.last().expect("a run").tag;
    let mut acks = run.len();
    let mut back: &[Delivery] = &[];
    if is_fresh && tag.is_multiple_of(3) && run.len() > 10 {
        let (acked, rest) = run.split_at(if tag.is_multiple_of(2) { 3 } else { run.len() - 4 });
        ch.ack(acked[acked.len() - 1].tag).multiple().send();
        (acks, back) = (acked.len(), rest);
        if tag.is_multiple_of(2) {
            ch.nack(tag).multiple().requeue().send();
        } else {
            rest.iter().for_each(|d| ch.reject(d.tag).requeue().send());
        }
    } else {
        ch.ack(tag).multiple().send();
    }
    order.back.extend(back.iter().map(|d| (stamp(d), 0)));
    u32::try_from(acks).expect("a few")
}

// What a lost connection held comes before everything else, in the old order, while producers go on.
#[test]
fn what_a_lost_consumer_held_comes_first_and_in_order() {
    const COUNT: u32 = 40_000;
    const HELD: u16 = 3000;
    let _alone = alone();
    let conn = Conn::open();
    let queue = shared_queue(&conn);
    std::thread::scope(|scope| {
        let queue = &*queue;
        for producer in 0..4 {
            scope.spawn(move || produce(&Conn::open(), queue, producer, COUNT / 4));
        }
        let mut held: Vec<Stamp> = Vec::new();
        for round in 0..3 {
            let lost = consumer(queue, HELD);
            let got = lost.unopened(1).deliveries(HELD.into());
            assert!(got.iter().all(|d| d.redelivered == (round > 0)), "round {round}");
            let got: Vec<_> = got.iter().map(stamp).collect();
            assert!(held.is_empty() || got == held, "round {round} began with other messages");
            held = got;
            lost.vanish();
            eventually("the lost consumer to be gone", || {
                (conn.unopened(1).counts(queue).1 == 0).then_some(())
            });
        }
        let ch = conn.channel(2);
        ch.qos(0, HELD, false).ok();
        ch.consume(queue, "heir").ok();
        let mut order = Order::new(4);
        for n in 0..COUNT {
            let d = ch.delivery();
            let was_held = held.get(n as usize);
            assert_eq!(d.redelivered, was_held.is_some(), "message {n}");
            assert!(was_held.is_none_or(|held| *held == stamp(&d)), "message {n}");
            order.see(&Delivery { redelivered: false, ..d.clone() }, 0);
            if n % 100 == 99 {
                ch.ack(d.tag).multiple().send();
            }
        }
        ch.quiet();
    });
    conn.unopened(1).queue_delete(&queue).ok();
}

// Each settlement acts before the next: what it makes room for is sent before what the next one brings back.
#[test]
fn settlements_in_one_write_act_in_their_order() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    (1..=9).for_each(|n: u32| ch.put(&queue, n.to_string()));
    ch.await_ready(&queue, 9);
    ch.qos(0, 4, false).ok();
    ch.consume(&queue, "t").ok();
    assert_eq!(ch.texts(4), ["1", "2", "3", "4"]);
    let settled = [ch.ack(1), ch.nack(2).requeue(), ch.ack(3), ch.reject(4).requeue()];
    conn.raw(&settled.iter().flat_map(Call::bytes).collect::<Vec<u8>>());
    assert_eq!(ch.texts(4), ["5", "2", "6", "4"]);
}
