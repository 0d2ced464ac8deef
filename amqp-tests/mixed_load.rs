//! Publishes of all kinds at full speed: each arrives once, unchanged and in order, and has one confirm.
//!
//! Runs of publishes that are alike but for their bodies are mixed with publishes that differ in everything else, on
//! two channels of each connection, while another client changes the topology.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::wire::*;

/// Messages of each source.
const COUNT: u32 = 6000;
/// Connections that publish, each on two channels.
const PUBLISHERS: u16 = 4;
/// Publishes of a channel that may be unconfirmed.
const UNCONFIRMED_MAX: usize = 1500;

/// The names of one run.
struct Place {
    exchange: String,
    queues: [String; 2],
}

/// A message as it is published, and what is to become of it.
struct Planned {
    exchange: String,
    key: &'static str,
    mandatory: bool,
    props: Props,
    body: Vec<u8>,
    /// Whether each of the queues gets it.
    reaches: [bool; 2],
}

/// What one channel publishes: the same for the same source each time.
struct Plan<'p> {
    place: &'p Place,
    source: u16,
    random: u64,
    n: u32,
    kind: u32,
    size: usize,
    left: u32,
}

impl<'p> Plan<'p> {
    fn new(place: &'p Place, source: u16) -> Self {
        let random = 0x9E37_79B9_7F4A_7C15 ^ (u64::from(source) << 32);
        Self { place, source, random, n: 0, kind: 0, size: 0, left: 0 }
    }

    /// A number below `end`, from a xorshift generator.
    fn below(&mut self, end: u32) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        u32::try_from((self.random >> 16) % u64::from(end)).expect("below a number of 32 bits")
    }

    /// Mostly as long as the last one; sometimes empty, tiny, of any size, or of several frames.
    fn next_size(&mut self) -> usize {
        match self.below(40) {
            0 => 0,
            1 => 1,
            2 => self.below(300) as usize,
            3 => 4088 + self.below(3) as usize,
            4 => self.below(20_000) as usize,
            5..8 => self.below(16) as usize,
            _ => self.size,
        }
    }

    fn props(&self) -> Props {
        let mut props = Props { app_id: Some(self.source.to_string()), ..Props::default() };
        let list = |keys: &[&str]| Value::Array(keys.iter().map(|key| Value::from(*key)).collect());
        match self.kind {
            4 => props.delivery_mode = Some(2),
            5 => props.expiration = Some("3600000".to_owned()),
            6 => props.message_id = Some(self.n.to_string()),
            7 => props.headers = Some(table([("CC", list(&["b"]))])),
            8 => props.headers = Some(table([("own", 1.into()), ("BCC", list(&["a"]))])),
            9 => props.headers = Some(table([("n", self.n.is_multiple_of(3).into())])),
            10 => props.priority = Some(self.n.to_be_bytes()[3] / 128),
            _ => {}
        }
        props
    }
}

impl Iterator for Plan<'_> {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        if self.n == COUNT {
            return None;
        }
        if self.left == 0 {
            (self.kind, self.left) = (self.below(15), 1 + self.below(60));
        }
        self.left -= 1;
        self.size = self.next_size();
        let body = [self.n.to_be_bytes(), [b'.'; 4]].concat().repeat(self.size / 8 + 1);
        let (key, reaches) = match self.kind {
            1 | 8 => ("b", [self.kind == 8, true]),
            2 => ("ab", [true; 2]),
            3 | 11 => ("none", [false; 2]),
            _ => ("a", [true, self.kind == 7]),
        };
        let planned = Planned {
            exchange: self.place.exchange.clone(),
            key,
            mandatory: matches!(self.kind, 2 | 3),
            props: self.props(),
            body: body[..self.size].to_vec(),
            reaches,
        };
        self.n += 1;
        Some(planned)
    }
}

/// One channel that publishes its plan with confirms.
struct Publisher<'c, 'p> {
    ch: Channel<'c>,
    plan: Plan<'p>,
    number: u64,
    open: BTreeSet<u64>,
    /// What is to be returned, with its publish number.
    returns: VecDeque<(u64, Planned)>,
}

impl<'c, 'p> Publisher<'c, 'p> {
    fn new(ch: Channel<'c>, plan: Plan<'p>) -> Self {
        ch.confirm_select().ok();
        Self { ch, plan, number: 0, open: BTreeSet::new(), returns: VecDeque::new() }
    }

    /// Publishes some in one write; false when there are no more.
    fn publish(&mut self, some: usize) -> bool {
        let mut bytes = Vec::new();
        for planned in self.plan.by_ref().take(some) {
            let publish = self.ch.publish(&planned.exchange, planned.key, &planned.body);
            let publish = publish.props(planned.props.clone());
            bytes.extend(if planned.mandatory { publish.mandatory() } else { publish }.bytes());
            self.number += 1;
            self.open.insert(self.number);
            if planned.mandatory && planned.reaches == [false; 2] {
                self.returns.push_back((self.number, planned));
            }
        }
        self.ch.conn.raw(&bytes);
        !bytes.is_empty()
    }

    /// Reads returns and confirms until no more than that many publishes wait for theirs.
    fn settle(&mut self, open_max: usize) {
        while self.open.len() > open_max {
            let method = self.ch.method();
            if method.ids == (60, 50) {
                let (_, planned) = self.returns.pop_front().expect("a return that is due");
                assert_same(&method.delivery(), &planned);
                continue;
            }
            let confirm = method.confirm();
            assert!(confirm.acked, "{confirm:?}");
            if confirm.multiple {
                self.open = self.open.split_off(&(confirm.number + 1));
            } else {
                assert!(self.open.remove(&confirm.number), "{confirm:?} was not open");
            }
            let due = self.returns.front().map_or(u64::MAX, |(number, _)| *number);
            assert!(due == u64::MAX || self.open.contains(&due), "{due} was acked before its return");
        }
    }
}

/// Everything came as it was published, but for BCC, which does not show.
fn assert_same(d: &Delivery, planned: &Planned) {
    let mut props = planned.props.clone();
    if let Some(headers) = &mut props.headers {
        headers.retain(|(name, _)| name != "BCC");
    }
    let (exchange, key) = (&*planned.exchange, planned.key);
    assert_eq!((&*d.exchange, &*d.routing_key, &d.props), (exchange, key, &props));
    assert!(d.body == planned.body, "a body of {} octets came as {}", planned.body.len(), d.body.len());
}

/// Publishes two plans on two channels, a few of one, then a few of the other.
fn publish_plans(place: &Place, connection: u16) {
    let frame_max = if connection.is_multiple_of(2) { 4096 } else { 131_072 };
    let conn = Dial { frame_max, ..Dial::shared() }.open();
    let mut publishers =
        [1, 2].map(|n| Publisher::new(conn.channel(n), Plan::new(place, connection * 2 + n - 1)));
    let mut busy = true;
    let mut some = 0;
    while busy {
        some = some % 90 + 1;
        busy = false;
        for publisher in &mut publishers {
            busy |= publisher.publish(some);
            publisher.settle(UNCONFIRMED_MAX);
        }
    }
    for mut publisher in publishers {
        publisher.settle(0);
        assert!(publisher.returns.is_empty());
        publisher.ch.quiet();
    }
}

/// Takes what all plans send to a queue, each in its order, and nothing else.
fn consume_plans(place: &Place, at: usize) {
    let conn = Conn::open();
    let ch = conn.channel(1);
    ch.qos(0, 500, false).ok();
    ch.consume(&place.queues[at], "t").ok();
    let plan = |source| Plan::new(place, source).filter(move |planned| planned.reaches[at]);
    let count = (0..PUBLISHERS * 2).map(|source| plan(source).count()).sum::<usize>();
    let mut plans: Vec<_> = (0..PUBLISHERS * 2).map(plan).collect();
    let (mut first, mut last) = (1, 0);
    while last < count as u64 {
        let d = ch.delivery();
        last += 1;
        assert_eq!((d.tag, d.redelivered), (last, false));
        let source: usize = d.props.app_id.as_ref().expect("a source").parse().expect("a number");
        assert_same(&d, &plans[source].next().expect("no more than was published"));
        if last - first == 60 || last == count as u64 {
            settle(ch, first, last);
            first = last + 1;
        }
    }
    ch.quiet();
    assert_eq!(ch.counts(&place.queues[at]), (0, 1));
}

/// Acks the tags from `first` to `last`, sometimes together, sometimes one by one and out of order.
fn settle(ch: Channel<'_>, first: u64, last: u64) {
    if last.is_multiple_of(3) {
        let acks = (first..=last).rev().map(|tag| ch.ack(tag).bytes());
        ch.conn.raw(&acks.collect::<Vec<_>>().concat());
    } else {
        ch.ack(last).multiple().send();
    }
}

/// Changes the topology again and again, also at the exchange that is published to; nobody's route changes.
fn change_topology(place: &Place, done: &AtomicBool) {
    let conn = Conn::open();
    let ch = conn.channel(1);
    while !done.load(Ordering::Relaxed) {
        let queue = ch.temp_queue();
        let exchange = ch.temp_exchange("fanout");
        ch.queue_bind(&queue, &place.exchange, "nobody's").ok();
        ch.exchange_bind(&exchange, &place.exchange, "nobody's").ok();
        ch.queue_unbind(&queue, &place.exchange, "nobody's").ok();
        ch.queue_delete(&queue).ok();
        ch.exchange_delete(&exchange).ok();
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

#[test]
fn publishes_of_all_kinds_arrive_once_and_in_order() {
    let _alone = alone();
    let conn = Conn::open();
    let ch = conn.channel(1);
    let place = &Place { exchange: ch.temp_exchange("direct"), queues: ["a", "b"].map(unique) };
    for (queue, key) in place.queues.iter().zip(["a", "b"]) {
        ch.queue_declare(queue).durable().arg("x-expires", 120_000).ok();
        ch.queue_bind(queue, &place.exchange, key).ok();
        ch.queue_bind(queue, &place.exchange, "ab").ok();
    }
    let done = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        let consumers = [0, 1].map(|at| scope.spawn(move || consume_plans(place, at)));
        scope.spawn(move || change_topology(place, done));
        let publishers: Vec<_> =
            (0..PUBLISHERS).map(|n| scope.spawn(move || publish_plans(place, n))).collect();
        let results: Vec<_> = publishers.into_iter().chain(consumers).map(|thread| thread.join()).collect();
        done.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok), "a publisher or a consumer failed");
    });
    place.queues.iter().for_each(|queue| drop(ch.queue_delete(queue).ok()));
    ch.exchange_delete(&place.exchange).ok();
}
