//! What a message costs in its queue: enqueued, delivered, acknowledged, expired; with few and with many waiting.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail where it stands")]

use std::sync::Arc;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use warren::broker::batch::{Batch, Message};
use warren::broker::queue::{Command, ConsumerSpec, Effect, Options, Queue, SeqRange, SharedPrefetch};
use warren::protocol::properties::{self, Properties};

/// As in the program: a queue allocates what it hands out.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONSUMER: u64 = 1;
const NOW_MS: u64 = 1_800_000_000_000;
const HOUR_MS: u64 = 3_600_000;
const BATCHES: [u16; 3] = [1, 8, 500];
/// Messages waiting in front of those that are measured: a thousand times as many cost a deeper search, no more.
const BACKLOGS: [u64; 2] = [1_000, 1_000_000];
/// The batch that is measured with a backlog.
const STEP: u16 = 8;
/// Fixed, as the first call, which finds nothing in the cache, would be taken for the size of all.
const CALLS_PER_SAMPLE: u32 = 100;

fn main() {
    divan::Divan::default().sample_size(CALLS_PER_SAMPLE).config_with_args().main();
}

#[divan::bench(args = BATCHES)]
fn deliver_no_ack(bencher: Bencher<'_, '_>, count: u16) {
    let mut scene = Scene::new();
    scene.consume(true, 0);
    let batch = batch(count, |_| None);
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        scene.apply(Command::Enqueue(batch.clone()));
    });
    scene.check(0, 0);
}

#[divan::bench(args = BATCHES)]
fn deliver_and_ack(bencher: Bencher<'_, '_>, count: u16) {
    let mut scene = Scene::new();
    scene.consume(false, 0);
    let batch = batch(count, |_| None);
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        scene.apply(Command::Enqueue(batch.clone()));
        let delivered = scene.delivered();
        scene.apply(Command::Ack(CONSUMER, vec![delivered]));
    });
    scene.check(0, 0);
}

/// Batches of so many messages in so many levels of a queue with 256; 0 is a queue without levels.
#[divan::bench(args = [(0, 8), (1, 8), (10, 8), (0, 500), (1, 500), (10, 500)])]
fn deliver_and_ack_by_level(bencher: Bencher<'_, '_>, (levels, count): (u8, u16)) {
    let mut scene = Scene::of(Options { max_priority: (levels > 0).then_some(255), ..Options::default() });
    scene.consume(false, 0);
    let batch = batch_of(count, |_| None, |place| u8::try_from(place % u64::from(levels.max(1))).unwrap());
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        scene.apply(Command::Enqueue(batch.clone()));
        let delivered = scene.delivered_ranges();
        scene.apply(Command::Ack(CONSUMER, delivered));
    });
    scene.check(0, 0);
}

#[divan::bench(args = BATCHES)]
fn enqueue_and_expire(bencher: Bencher<'_, '_>, count: u16) {
    expire(bencher, count, 0);
}

/// Messages with a due time far ahead stay where they are while others expire behind them.
#[divan::bench(args = BACKLOGS)]
fn expire_behind_backlog(bencher: Bencher<'_, '_>, waiting: u64) {
    expire(bencher, STEP, waiting);
}

/// A consumer takes from the front what is enqueued at the end.
#[divan::bench(args = BACKLOGS)]
fn deliver_and_ack_from_backlog(bencher: Bencher<'_, '_>, waiting: u64) {
    let mut scene = Scene::new();
    scene.fill(waiting, |_| None);
    scene.consume(false, STEP);
    let mut delivered = scene.delivered();
    let batch = batch(STEP, |_| None);
    bencher.counter(ItemsCount::new(STEP)).bench_local(|| {
        scene.apply(Command::Enqueue(batch.clone()));
        scene.apply(Command::Ack(CONSUMER, vec![delivered]));
        delivered = scene.delivered();
    });
    scene.check(waiting - u64::from(STEP), u64::from(STEP));
}

/// Batches arrive and expire behind messages that wait.
fn expire(bencher: Bencher<'_, '_>, count: u16, waiting: u64) {
    let mut scene = Scene::new();
    scene.fill(waiting, |place| Some(NOW_MS + HOUR_MS + place));
    let batch = batch(count, |place| Some(NOW_MS + place));
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        scene.now_ms = NOW_MS - 1;
        scene.apply(Command::Enqueue(batch.clone()));
        scene.now_ms = NOW_MS + u64::from(count);
        scene.apply(Command::Tick);
    });
    scene.check(waiting, 0);
}

/// A queue and the effects of the command before.
struct Scene {
    queue: Queue,
    effects: Vec<Effect>,
    now_ms: u64,
}

impl Scene {
    fn new() -> Self {
        Self::of(Options::default())
    }

    fn of(options: Options) -> Self {
        Self { queue: Queue::new(options, NOW_MS), effects: Vec::new(), now_ms: NOW_MS }
    }

    fn apply(&mut self, command: Command) {
        self.effects.clear();
        self.queue.apply(command, self.now_ms, &mut self.effects);
        black_box(&self.effects);
    }

    fn consume(&mut self, no_ack: bool, prefetch: u16) {
        let spec = ConsumerSpec {
            id: CONSUMER,
            no_ack,
            exclusive: false,
            prefetch,
            priority: 0,
            window_bytes: u64::MAX,
            shared: Arc::new(SharedPrefetch::default()),
            is_back: false,
            was_served: false,
        };
        self.apply(Command::Consume(spec));
    }

    /// The numbers that the command before delivered, which are consecutive.
    fn delivered(&self) -> SeqRange {
        let entries = self.effects.iter().flat_map(|effect| match effect {
            Effect::Deliver(delivery) => delivery.entries.as_slice(),
            _ => &[],
        });
        entries.fold((0, 0), |(_, count), entry| (entry.seq - count, count + 1))
    }

    /// The same in ranges, where they need not be consecutive.
    fn delivered_ranges(&self) -> Vec<SeqRange> {
        let mut ranges: Vec<SeqRange> = Vec::new();
        for effect in &self.effects {
            let Effect::Deliver(delivery) = effect else { continue };
            for entry in &delivery.entries {
                match ranges.last_mut() {
                    Some((first, count)) if *first + *count == entry.seq => *count += 1,
                    Some(_) | None => ranges.push((entry.seq, 1)),
                }
            }
        }
        ranges
    }

    fn fill(&mut self, count: u64, due_ms: impl Fn(u64) -> Option<u64>) {
        for place in 0..count {
            self.apply(Command::Enqueue(batch(1, |_| due_ms(place))));
        }
    }

    /// What was measured left the queue as it was.
    fn check(&self, ready: u64, unacked: u64) {
        let counts = self.queue.counts();
        assert_eq!((counts.ready, counts.unacked), (ready, unacked));
    }
}

/// So many messages with 16 bytes of body, each with the due time of its place.
fn batch(count: u16, due_ms: impl Fn(u64) -> Option<u64>) -> Batch {
    batch_of(count, due_ms, |_| 0)
}

/// The same, each with the priority of its place.
fn batch_of(count: u16, due_ms: impl Fn(u64) -> Option<u64>, priority: impl Fn(u64) -> u8) -> Batch {
    let body = [b'x'; 16];
    let header = properties::with_fields(body.len() as u64, &Properties::default());
    let message = Message {
        exchange: b"amq.topic",
        routing_key: b"device.77.up",
        header: &header,
        body: &body,
        enqueued_ms: NOW_MS,
        ..Message::default()
    };
    let mut records = Vec::new();
    for place in 0..u64::from(count) {
        Message { due_ms: due_ms(place), priority: priority(place), ..message }.put(&mut records);
    }
    Batch::check(records.into()).unwrap()
}
