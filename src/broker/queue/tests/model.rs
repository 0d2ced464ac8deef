//! Random histories: [`World::apply`] checks after every command what must hold.

use crate::broker::queue::Pressure;
use std::sync::Arc;

use proptest::prelude::*;

use super::world::{State, Verdict, World, message};
use crate::broker::arguments::{Overflow, Retry, RetrySettings, RetryType};
use crate::broker::batch::Message;
use crate::broker::queue::{Command, GETTER, Options};

/// No message of these histories waits longer for a retry.
const RETRY_MAX_MS: u64 = 1000;

/// Something that happens to a queue. Picks are taken modulo what there is.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Publish {
        count: usize,
        size: usize,
        persistent: u8,
        after_ms: Option<u64>,
        priorities: u32,
    },
    Consume {
        prefetch: u16,
        no_ack: bool,
        priority: i32,
        shares: bool,
        window_bytes: u64,
    },
    Cancel(usize),
    Settle {
        pick: usize,
        from: usize,
        count: usize,
        verdict: Verdict,
    },
    Get,
    Purge,
    LettersArrive(usize),
    Credit(usize, u64),
    Reserve {
        count: usize,
        size: usize,
        persistent: u8,
        after_ms: Option<u64>,
        priorities: u32,
    },
    Decide(usize),
    Fill,
    Release(usize),
    Pass(u64),
    Spill(usize),
    Stored(usize),
    Load,
    BeginCheckpoint,
    Checkpoint,
    /// A policy comes, changes or goes.
    Change(Box<Options>),
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let verdict = prop_oneof![
        4 => Just(Verdict::Ack),
        3 => Just(Verdict::Requeue),
        2 => Just(Verdict::Fail),
        2 => Just(Verdict::Reject)
    ];
    let size = prop_oneof![3 => 0usize..200, 1 => 3000usize..9000];
    let after_ms =
        prop_oneof![4 => Just(None), 1 => prop_oneof![0u64..300, 600_000u64..1_500_000].prop_map(Some)];
    prop_oneof![
        12 => (1usize..6, size, any::<u8>(), after_ms, prop_oneof![Just(0), any::<u32>()])
            .prop_map(|(count, size, persistent, after_ms, priorities)| {
                Step::Publish { count, size, persistent, after_ms, priorities }
            }),
        3 => (0u16..4, prop::bool::weighted(0.2), 0i32..2, any::<bool>(), prop_oneof![Just(1 << 40), 1u64..5000])
            .prop_map(|(prefetch, no_ack, priority, shares, window_bytes)| {
                Step::Consume { prefetch, no_ack, priority, shares, window_bytes }
            }),
        1 => any::<usize>().prop_map(Step::Cancel),
        12 => (any::<usize>(), any::<usize>(), 1usize..8, verdict)
            .prop_map(|(pick, from, count, verdict)| Step::Settle { pick, from, count, verdict }),
        3 => Just(Step::Get),
        1 => prop::bool::weighted(0.3).prop_map(|purge| if purge { Step::Purge } else { Step::Get }),
        3 => (1usize..4).prop_map(Step::LettersArrive),
        2 => (any::<usize>(), 1u64..9000).prop_map(|(pick, bytes)| Step::Credit(pick, bytes)),
        3 => (1usize..6, 0usize..200, any::<u8>(), prop::option::weighted(0.2, 0u64..300), prop_oneof![Just(0), any::<u32>()])
            .prop_map(|(count, size, persistent, after_ms, priorities)| {
                Step::Reserve { count, size, persistent, after_ms, priorities }
            }),
        3 => any::<usize>().prop_map(Step::Decide),
        3 => Just(Step::Fill),
        1 => any::<usize>().prop_map(Step::Release),
        4 => prop_oneof![3 => 0u64..120, 1 => 100_000u64..700_000].prop_map(Step::Pass),
        3 => prop_oneof![1usize..50_000, Just(usize::MAX)].prop_map(Step::Spill),
        4 => (1usize..5).prop_map(Step::Stored),
        6 => Just(Step::Load),
        1 => Just(Step::BeginCheckpoint),
        2 => Just(Step::Checkpoint),
    ]
}

/// A step, or a change by a policy.
fn live_step() -> impl Strategy<Value = Step> {
    prop_oneof![12 => step(), 1 => options(false).prop_map(|options| Step::Change(Box::new(options)))]
}

pub(super) fn options(durable: bool) -> impl Strategy<Value = Options> {
    let ttl = prop_oneof![4 => Just(None), 1 => prop_oneof![Just(0u64), 50u64..300].prop_map(Some)];
    let plain = (ttl, any::<bool>(), prop::bool::weighted(0.2), delivery_limit());
    let max_priority =
        prop_oneof![1 => Just(None), 1 => prop_oneof![Just(0u8), 1u8..12, Just(255)].prop_map(Some)];
    (plain, limits(), retry(), max_priority).prop_map(move |(plain, limits, retry, max_priority)| {
        let (message_ttl_ms, dead_letters, single_active_consumer, delivery_limit) = plain;
        let limits = Options { durable, message_ttl_ms, retry, max_priority, ..limits };
        Options { dead_letters, single_active_consumer, delivery_limit, ..limits }
    })
}

fn retry() -> impl Strategy<Value = Option<Retry>> {
    let kind = prop_oneof![Just(RetryType::All), Just(RetryType::Failed), Just(RetryType::Returned)];
    let settings = (kind, 1u64..300, prop::option::of(1u64..500), prop::option::of(1001u64..3000), 0u8..50);
    let retry = settings.prop_map(|(kind, min_ms, max_ms, multiplier_milli, jitter)| {
        let settings = RetrySettings {
            kind: Some(kind),
            min_ms: Some(min_ms),
            max_ms,
            multiplier_milli: multiplier_milli.filter(|_| max_ms.is_some()),
            jitter_percent: Some(jitter),
        };
        settings.retry()
    });
    prop_oneof![1 => Just(None), 1 => retry]
}

fn delivery_limit() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![2 => Just(None), 2 => (0u64..4).prop_map(Some), 1 => Just(Some(u64::MAX))]
}

fn limits() -> impl Strategy<Value = Options> {
    let length = prop_oneof![3 => Just(None), 2 => (0u64..12).prop_map(Some)];
    let bytes =
        prop_oneof![3 => Just(None), 1 => (0u64..600).prop_map(Some), 2 => (5000u64..60_000).prop_map(Some)];
    let overflow = prop_oneof![
        Just(Overflow::DropHead),
        Just(Overflow::RejectPublish),
        Just(Overflow::RejectPublishDlx)
    ];
    (length, bytes, overflow).prop_map(|(max_length, max_length_bytes, overflow)| Options {
        max_length,
        max_length_bytes,
        overflow,
        ..Options::default()
    })
}

impl World {
    /// `covered`: the log position of a checkpoint that has begun.
    pub(super) fn step(&mut self, step: Step, covered: &mut Option<usize>) {
        match step {
            Step::Publish { count, size, persistent, after_ms, priorities } => {
                self.publish_some((count, size), persistent, after_ms, priorities);
            }
            Step::Consume { prefetch, no_ack, priority, shares, window_bytes } => {
                let id = self.specs.len() as u64 + 1;
                let shared = if shares { Arc::clone(&self.shared) } else { Arc::default() };
                self.consume(id, |spec| {
                    (spec.prefetch, spec.no_ack, spec.priority) = (prefetch, no_ack, priority);
                    (spec.shared, spec.window_bytes) = (shared, window_bytes);
                });
            }
            Step::Cancel(pick) if !self.specs.is_empty() => self.cancel(self.pick(pick)),
            Step::Settle { pick, from, count, verdict } => self.settle_some(pick, from, count, verdict),
            Step::Get => self.apply(Command::Get { no_ack: false }),
            Step::Purge => self.purge(),
            Step::LettersArrive(count) => self.letters_arrive(count),
            Step::Credit(pick, bytes) if !self.specs.is_empty() => {
                self.apply(Command::Credit(self.pick(pick), bytes));
            }
            Step::Reserve { count, size, persistent, after_ms, priorities } => {
                self.reserve_some((count, size), persistent, after_ms, priorities);
            }
            Step::Decide(pick) => self.decide(pick),
            Step::Fill => drop(self.fill()),
            Step::Release(pick) => self.release(pick),
            Step::Pass(time_ms) => self.pass(time_ms),
            Step::Spill(wanted) => {
                let pressure = if wanted % 2 == 0 { Pressure::Normal } else { Pressure::High };
                self.spill_under(pressure, wanted);
            }
            Step::Stored(count) => self.stored(count),
            Step::Load => drop(self.load() || self.load_due()),
            Step::BeginCheckpoint if self.options.durable => {
                *covered = Some(self.events.len());
                self.transactions.begin_checkpoint();
            }
            Step::Checkpoint if self.options.durable => {
                self.checkpoint(covered.take().unwrap_or(self.events.len()));
            }
            Step::Change(options) => self.change(Options {
                durable: self.options.durable,
                single_active_consumer: self.options.single_active_consumer,
                delivery_limit: self.options.delivery_limit,
                retry: self.options.retry,
                max_priority: self.options.max_priority,
                ..*options
            }),
            Step::Cancel(_) | Step::Credit(..) | Step::BeginCheckpoint | Step::Checkpoint => {}
        }
    }

    fn pick(&self, pick: usize) -> u64 {
        (pick % self.specs.len()) as u64 + 1
    }

    fn publish_some(
        &mut self,
        (count, size): (usize, usize),
        persistent: u8,
        after_ms: Option<u64>,
        priorities: u32,
    ) {
        let (now_ms, bodies) = (self.now_ms, self.some_bodies(count, size));
        self.publish(&some_messages(&bodies, persistent, after_ms, priorities, now_ms));
    }

    /// Bodies that differ from those around them.
    pub(super) fn some_bodies(&self, count: usize, size: usize) -> Vec<Vec<u8>> {
        let seed = self.model.len() % 200;
        (0..count).map(|at| vec![u8::try_from(seed + at).unwrap(); size + at]).collect()
    }

    fn settle_some(&mut self, pick: usize, from: usize, count: usize, verdict: Verdict) {
        let consumer =
            if self.specs.is_empty() { GETTER } else { pick as u64 % (self.specs.len() as u64 + 1) };
        let held = self.seqs(State::Held(consumer));
        if held.is_empty() {
            return;
        }
        let from = from % held.len();
        self.settle(verdict, consumer, &held[from..held.len().min(from + count)]);
        for id in 1..=self.specs.len() as u64 {
            self.apply(Command::Resume(id));
        }
    }

    /// Lets everything that is under way arrive.
    pub(super) fn come_to_rest(&mut self) {
        self.end_transactions();
        self.stored(usize::MAX);
        self.load_all();
        // What is behind a head that was dropped instead of read, or too much for a step, has its turn later.
        for _ in 0..2 {
            self.pass(0);
            self.load_all();
        }
        let mut turns = 0;
        while self.queue.is_catching_up || self.queue.is_behind {
            assert!(turns < 1000, "it never rests");
            turns += 1;
            if self.queue.waits_for_letters() {
                self.letters_arrive(usize::MAX);
            }
            self.pass(0);
            self.load_all();
        }
        self.check_nothing_overdue();
    }

    /// Takes everything out that is not on its way to the dead-letter exchange: nothing is stuck.
    pub(super) fn drain(&mut self) {
        for consumer in 0..=self.specs.len() as u64 {
            self.cancel(consumer);
            let held = self.seqs(State::Held(consumer));
            self.settle(Verdict::Requeue, consumer, &held);
        }
        self.pass(RETRY_MAX_MS);
        let id = self.specs.len() as u64 + 1;
        self.consume(id, |spec| spec.no_ack = true);
        self.come_to_rest();
        self.letters_arrive(usize::MAX);
        assert_eq!((self.queue.messages.alive, self.seqs(State::Ready)), (0, vec![]));
        assert!(self.cold.is_empty(), "every chunk is forgotten");
    }
}

pub(super) fn some_messages(
    bodies: &[Vec<u8>],
    persistent: u8,
    after_ms: Option<u64>,
    priorities: u32,
    now_ms: u64,
) -> Vec<Message<'_>> {
    let priority = |at: u8| [0, 0, 1, 2, 5, 9, 200, 255][(priorities >> (3 * at) & 7) as usize];
    let messages = (0..8u8).zip(bodies).map(|(at, body)| Message {
        persistent: persistent >> at & 1 == 1,
        priority: priority(at),
        due_ms: after_ms.filter(|_| at % 2 == 0).map(|after_ms| now_ms + after_ms),
        ..message(body, now_ms)
    });
    messages.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn no_message_is_lost_or_doubled(
        options in any::<bool>().prop_flat_map(options),
        limit in 0u16..5,
        steps in prop::collection::vec(live_step(), 1..120),
    ) {
        let mut world = World::new(options, 1000);
        world.shared.set_limit(limit);
        let mut covered = None;
        for step in steps {
            world.step(step, &mut covered);
        }
        world.come_to_rest();
        world.drain();
    }
}
