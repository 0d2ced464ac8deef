//! Peers and disks that are slower than publishers: memory stays bounded, and what was taken in arrives in the end.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::support::wire::*;

const MIB: u64 = 1 << 20;
/// Little memory for messages, so that what else grows shows.
const SMALL: &str = "[memory]\nmessages_bytes = 16777216\n[node]\nshards = 2\n";
/// The most a broker may grow by, buffers and caches of its store included.
const GROWTH_MAX: u64 = 300 * MIB;
/// Messages of 1 KiB: twice as much as it may grow by.
const COUNT: u32 = 600 * 1024;

fn body(n: u32, size: usize) -> Vec<u8> {
    n.to_be_bytes().repeat(size / 4)
}

/// Publishes these bodies to `queue` at full speed, without confirms, and waits until all are taken in.
fn flood(ch: Channel<'_>, queue: &str, count: u32, size: usize) {
    let group = u32::try_from(100_000 / size + 1).expect("a few");
    for first in (0..count).step_by(group as usize) {
        let bodies = (first..count.min(first + group)).map(|n| body(n, size));
        let publishes = bodies.map(|body| ch.publish("", queue, body));
        let frames =
            publishes.map(|publish| if size > 1024 { publish.persistent() } else { publish }.bytes());
        ch.conn.raw(&frames.collect::<Vec<_>>().concat());
    }
    ch.sync();
}

/// Runs `work`, in which the broker must not grow by more than [`GROWTH_MAX`].
fn within_bounds<T>(broker: &Broker, before: u64, work: impl FnOnce() -> T) -> T {
    let (running, is_running) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let watching = scope.spawn(move || {
            let mut most = 0;
            while is_running.recv_timeout(Duration::from_millis(5)) == Err(RecvTimeoutError::Timeout) {
                most = most.max(broker.resident_bytes().saturating_sub(before));
            }
            most
        });
        // Gone at the end and when the work fails, so that the watching ends too.
        let running = running;
        let out = work();
        drop(running);
        let most = watching.join().expect("the broker was there");
        assert!(most < GROWTH_MAX, "grew by {} MiB", most / MIB);
        out
    })
}

/// A consumer that reads nothing until all is published gets all of it, in order.
fn deaf_consumer_gets_all(no_ack: bool) {
    let _alone = alone();
    let Some(broker) = Broker::own_with(SMALL) else { return };
    let (deaf, publisher) = (broker.connect(), broker.connect());
    let ch = deaf.channel(1);
    ch.queue_declare("q").ok();
    let call = ch.consume("q", "deaf");
    if no_ack {
        call.no_ack().ok()
    } else {
        call.ok()
    };
    let before = broker.resident_bytes();
    within_bounds(&broker, before, || flood(publisher.channel(1), "q", COUNT, 1024));
    let (ready, _) = broker.connect().channel(1).counts("q");
    assert!(ready > COUNT / 2, "only {ready} of {COUNT} were not sent");
    within_bounds(&broker, before, move || {
        let ch = deaf.unopened(1);
        for n in 0..COUNT {
            let d = ch.delivery();
            assert!(d.body == body(n, 1024) && !d.redelivered, "message {n}");
            if !no_ack && (n % 500 == 499 || n + 1 == COUNT) {
                ch.ack(d.tag).multiple().send();
            }
        }
        ch.quiet();
        assert_eq!(ch.counts("q"), (0, 1));
    });
}

#[test]
fn a_consumer_without_acks_that_reads_late_gets_all() {
    deaf_consumer_gets_all(true);
}

#[test]
fn a_consumer_without_a_limit_that_reads_late_gets_all() {
    deaf_consumer_gets_all(false);
}

// What is delivered and not acknowledged must not stay in memory either.
#[test]
fn a_consumer_that_reads_all_and_acks_nothing_takes_little_memory() {
    let _alone = alone();
    let Some(broker) = Broker::own_with(SMALL) else { return };
    let (hoarder, publisher) = (broker.connect(), broker.connect());
    let ch = hoarder.channel(1);
    ch.queue_declare("q").ok();
    ch.consume("q", "hoarder").ok();
    let before = broker.resident_bytes();
    within_bounds(&broker, before, || {
        std::thread::scope(|scope| {
            scope.spawn(move || flood(publisher.channel(1), "q", COUNT, 1024));
            let ch = hoarder.unopened(1);
            (0..COUNT).for_each(|n| assert!(ch.delivery().body == body(n, 1024), "message {n}"));
            hoarder.vanish();
        });
    });
    let conn = broker.connect();
    let ch = conn.channel(1);
    ch.await_ready("q", COUNT);
    for n in 0..1000 {
        let d = ch.pull("q").expect("a message");
        assert!(d.body == body(n, 1024) && d.redelivered, "message {n} that came back");
    }
}

#[test]
fn a_publisher_faster_than_the_disk_is_slowed_and_loses_nothing() {
    const SIZE: usize = 64 << 10;
    const LARGE: u32 = COUNT / 64;
    let _alone = alone();
    let Some(broker) = Broker::own_with(SMALL) else { return };
    let publisher = broker.connect();
    let ch = publisher.channel(1);
    ch.queue_declare("q").durable().ok();
    let before = broker.resident_bytes();
    within_bounds(&broker, before, move || flood(publisher.unopened(1), "q", LARGE, SIZE));
    within_bounds(&broker, before, || {
        let conn = broker.connect();
        let ch = conn.channel(1);
        ch.qos(0, 50, false).ok();
        ch.consume("q", "t").ok();
        for n in 0..LARGE {
            let d = ch.delivery();
            assert!(d.body == body(n, SIZE), "message {n}");
            ch.ack(d.tag).send();
        }
        ch.quiet();
    });
}

/// Publishes numbered messages; gives the bodies of those that were acked, and how many were nacked.
fn publish_what_fits(ch: Channel<'_>, queue: &str, source: u32) -> (BTreeSet<Vec<u8>>, usize) {
    ch.confirm_select().ok();
    let (mut acked, mut nacked) = (BTreeSet::new(), 0);
    for group in 0..40 {
        let numbers = group * 250..(group + 1) * 250;
        let bodies: Vec<Vec<u8>> =
            numbers.map(|n: u32| [source.to_be_bytes(), n.to_be_bytes()].concat()).collect();
        let frames = bodies.iter().map(|body| ch.publish("", queue, body).bytes());
        ch.conn.raw(&frames.collect::<Vec<_>>().concat());
        let first = u64::from(group) * 250 + 1;
        for (body, is_acked) in bodies.into_iter().zip(ch.confirms(first, first + 249)) {
            if is_acked {
                acked.insert(body);
            } else {
                nacked += 1;
            }
        }
    }
    ch.quiet();
    (acked, nacked)
}

#[test]
fn a_full_queue_has_all_that_it_acked_and_nothing_that_it_nacked() {
    const LENGTH_MAX: usize = 100;
    let _alone = alone();
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = &unique("full");
    let call = ch.queue_declare(queue).arg("x-expires", 120_000).arg("x-overflow", "reject-publish");
    call.arg("x-max-length", i32::try_from(LENGTH_MAX).expect("small")).ok();
    ch.qos(0, 20, false).ok();
    ch.consume(queue, "t").ok();
    let done = &AtomicBool::new(false);
    let (acked, nacked, got) = std::thread::scope(|scope| {
        let publishers = [1, 2, 3]
            .map(|source| scope.spawn(move || publish_what_fits(Conn::open().channel(1), queue, source)));
        let taking = scope.spawn(move || take_slowly(conn.unopened(1), done));
        let mut all = (BTreeSet::new(), 0);
        for (acked, nacked) in publishers.map(|publisher| publisher.join().expect("a publisher")) {
            all.0.extend(acked);
            all.1 += nacked;
        }
        done.store(true, Ordering::Relaxed);
        (all.0, all.1, taking.join().expect("a consumer"))
    });
    assert_eq!(acked.len() + nacked, 30_000);
    assert!(nacked > 0 && acked.len() > 2 * LENGTH_MAX, "{} acked, {nacked} nacked", acked.len());
    let set: BTreeSet<_> = got.iter().cloned().collect();
    assert_eq!(set.len(), got.len(), "nothing comes twice");
    assert!(set == acked, "{} arrived of {} that were acked", set.len(), acked.len());
    Conn::open().channel(1).queue_delete(queue).ok();
}

/// Acks one by one, with rests in between, until publishers are done and nothing comes.
fn take_slowly(ch: Channel<'_>, done: &AtomicBool) -> Vec<Vec<u8>> {
    let mut got = Vec::new();
    loop {
        let is_done = done.load(Ordering::Relaxed);
        match ch.conn.next_within(ch.number, Duration::from_millis(300)) {
            Event::Nothing if is_done => return got,
            Event::Nothing => {}
            event => {
                let d = event.method().is((60, 60)).delivery();
                ch.ack(d.tag).send();
                got.push(d.body);
                if got.len().is_multiple_of(20) && !is_done {
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
        }
    }
}

/// Publishes a message and gets it.
fn pass_one(conn: &Conn, size: usize) {
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.put(&queue, vec![0; size]);
    assert_eq!(ch.pull_soon(&queue).body.len(), size);
    ch.queue_delete(&queue).ok();
    ch.close().ok();
}

// Large messages go in and out of many connections; after that these are still, and hold no more than before. Another
// one goes on a little, since the allocator gives free memory back only when it has something to do.
#[test]
fn still_connections_give_their_buffers_back() {
    const CONNECTIONS: usize = 24;
    const SIZE: usize = 8 << 20;
    const KEPT_MAX: u64 = 48 * MIB;
    let _alone = alone();
    let Some(broker) = Broker::own_with("[memory]\nmessages_bytes = 1073741824\n") else { return };
    let conns: Vec<_> = (0..CONNECTIONS).map(|_| broker.connect()).collect();
    let channels: Vec<_> = conns.iter().map(|conn| conn.channel(1)).collect();
    let queues: Vec<_> = channels.iter().map(|ch| ch.temp_queue()).collect();
    let other = broker.connect();
    pass_one(&other, SIZE / 4);
    let before = broker.resident_bytes();
    let grown = || broker.resident_bytes().saturating_sub(before);
    let large = vec![1; SIZE];
    let last: Vec<_> = channels
        .iter()
        .zip(&queues)
        .map(|(ch, queue)| {
            let mut frames = ch.publish("", queue, &large).bytes();
            let last = frames.split_off(frames.len() - 1);
            ch.conn.raw(&frames);
            last
        })
        .collect();
    let burst = (CONNECTIONS * SIZE) as u64 / 2;
    eventually("all contents but their last octets to be taken in", || (grown() > burst).then_some(()));
    conns.iter().zip(&last).for_each(|(conn, last)| conn.raw(last));
    channels.iter().zip(&queues).for_each(|(ch, queue)| ch.await_ready(queue, 1));
    channels.iter().zip(&queues).for_each(|(ch, queue)| drop(ch.consume(queue, "t").no_ack().ok()));
    channels.iter().for_each(|ch| assert_eq!(ch.delivery().body.len(), SIZE));
    let end = Instant::now() + Duration::from_secs(15);
    while grown() > KEPT_MAX {
        assert!(Instant::now() < end, "{} MiB are kept by connections that are still", grown() / MIB);
        pass_one(&other, SIZE / 4);
        std::thread::sleep(Duration::from_millis(100));
    }
    channels.iter().zip(&queues).for_each(|(ch, queue)| assert_eq!(ch.counts(queue), (0, 1)));
}
