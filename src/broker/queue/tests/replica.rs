//! Followers: what the owner's records say is all they know, and it is enough to take over.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::model::{Step, options, step};
use super::world::{Event, State, Told, Verdict, World, message, split};
use super::{Options, bodies, world};
use crate::broker::arguments::{RetrySettings, RetryType};
use crate::broker::batch::{Batch, Message};
use crate::broker::queue::{ChunkWrite, Command, Counts, DeathReason, Digest, Pressure, Queue};

/// A queue that follows another, and its cold store.
struct Follower {
    queue: Queue,
    row: Option<Vec<u8>>,
    chunks: BTreeMap<u64, ChunkWrite>,
    dues: BTreeSet<(u64, u64)>,
    /// Events of the owner that it has replayed, and those of them that its cold store covers.
    replayed: usize,
    covered: usize,
}

impl Follower {
    fn new(options: &Options) -> Self {
        let queue = Queue::new(options.clone(), 0);
        let (chunks, dues) = (BTreeMap::new(), BTreeSet::new());
        Self { queue, row: None, chunks, dues, replayed: 0, covered: 0 }
    }

    fn follow(&mut self, events: &[Event]) {
        self.follow_some(events, usize::MAX);
    }

    /// Replays so many records, or as many as there are.
    fn follow_some(&mut self, events: &[Event], most: usize) {
        let end = self.replayed.saturating_add(most).min(events.len());
        for event in &events[self.replayed..end] {
            match event {
                Event::Enqueue(first, records) => {
                    self.queue.replay_enqueue(*first, &Batch::check(records.clone()).unwrap());
                }
                Event::Settle(ranges) => self.queue.replay_settle(ranges),
                Event::Returns(runs) => self.queue.replay_returns(runs),
                Event::Retries(runs) => self.queue.replay_retries(runs),
                Event::Transaction(..) => panic!("there are no transactions here"),
                Event::Chunk(_) | Event::Checkpoint(..) | Event::Forget(_) => {}
            }
        }
        self.replayed = end;
        for first in self.queue.replayed() {
            self.chunks.remove(&first);
        }
    }

    fn spill(&mut self, wanted: usize, now_ms: u64) {
        for write in self.queue.spill(wanted, Pressure::High, now_ms) {
            self.write(&write);
            self.queue.chunk_stored(write.first, true, now_ms);
        }
    }

    fn checkpoint(&mut self) {
        self.row = Some(self.queue.row_of_follower());
        for write in self.queue.checkpoint() {
            self.write(&write);
            self.queue.chunk_stored(write.first, false, 0);
        }
        self.queue.drop_empty();
        self.covered = self.replayed;
    }

    fn write(&mut self, write: &ChunkWrite) {
        self.dues.extend(write.dues.iter().copied());
        let data = write.data.clone().or_else(|| self.chunks[&write.first].data.clone());
        self.chunks.insert(write.first, ChunkWrite { data, ..write.clone() });
    }

    /// Forgets everything but its cold store. The records that this does not have are to be read again.
    fn rebuild(&mut self, options: &Options) {
        self.queue = Queue::default();
        if let Some(row) = &self.row {
            self.queue.restore_row(row).unwrap();
        }
        for (first, chunk) in &self.chunks {
            self.queue.restore_chunk(*first, &chunk.descriptor).unwrap();
        }
        self.queue.set_options(options.clone());
        self.replayed = self.covered;
    }

    fn digest(&self) -> Digest {
        let read = |first| Some(self.chunks.get(&first)?.data.as_ref()?.whole());
        self.queue.digest(read).unwrap()
    }

    /// Takes over from an owner that is gone.
    fn take_over(mut self, owner: &World) -> World {
        let far_ms = self.dues.first().map(|(due_ms, _)| *due_ms);
        assert!(
            far_ms.is_none() || self.queue.may_have_stored_dues() || self.queue.counts().ready == 0 || {
                // Those of chunks that are gone tell nobody anything.
                self.dues.iter().all(|(_, seq)| !self.queue.is_ready(*seq))
            }
        );
        self.queue.take_over(None, far_ms, owner.now_ms);
        let mut world = World::with(self.queue, owner.options.clone(), owner.now_ms);
        (world.cold, world.dues, world.was_limited) = (self.chunks, self.dues, owner.was_limited);
        for (seq, told) in owner.model.iter().filter(|(_, told)| told.state != State::Settled) {
            let waits = matches!(told.state, State::Waiting(due_ms) if due_ms > world.now_ms);
            let state = if waits { told.state } else { State::Ready };
            // The last time is not counted for one that came back too often.
            let returns =
                if told.state == State::Taken { world.queue.messages.returns(*seq) } else { told.returns };
            world.model.insert(*seq, Told { state, returns, was_delivered: true, ..told.clone() });
        }
        world
    }
}

fn digest(owner: &World) -> Digest {
    owner.queue.digest(|first| Some(owner.cold.get(&first)?.data.as_ref()?.whole())).unwrap()
}

fn replicated() -> impl Strategy<Value = Options> {
    options(true).prop_map(|options| Options { replicated: true, ..options })
}

/// Replicated queues keep all messages, and take part in no transaction.
fn replicated_step() -> impl Strategy<Value = Step> {
    step().prop_map(|step| match step {
        Step::Publish { count, size, after_ms, priorities, .. } => {
            Step::Publish { count, size, persistent: u8::MAX, after_ms, priorities }
        }
        Step::Reserve { .. } | Step::Decide(_) | Step::Fill | Step::Release(_) => Step::Load,
        step => step,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn followers_have_what_the_owner_has_and_may_take_over(
        options in replicated(),
        steps in prop::collection::vec((replicated_step(), 0u8..10), 1..120),
    ) {
        let mut owner = World::new(options.clone(), 1000);
        let mut followers = [Follower::new(&options), Follower::new(&options)];
        let mut covered = None;
        for (step, what) in steps {
            owner.step(step, &mut covered);
            followers[0].follow(&owner.events);
            let second = &mut followers[1];
            match what {
                0 => second.spill(usize::MAX, owner.now_ms),
                1 => second.checkpoint(),
                2 => second.rebuild(&options),
                3 | 4 => second.follow(&owner.events),
                5..8 => second.follow_some(&owner.events, 3),
                _ => {}
            }
        }
        for follower in &mut followers {
            follower.follow(&owner.events);
            prop_assert_eq!(follower.digest(), digest(&owner));
        }
        for follower in followers {
            let mut next = follower.take_over(&owner);
            next.check();
            next.come_to_rest();
            next.drain();
        }
    }
}

fn plain() -> Options {
    Options { durable: true, replicated: true, ..Options::default() }
}

/// A follower of this owner that has taken over.
fn successor(owner: &World) -> World {
    let mut follower = Follower::new(&owner.options);
    follower.follow(&owner.events);
    follower.take_over(owner)
}

#[test]
fn an_acknowledgement_of_what_the_owner_before_delivered_settles_it() {
    let mut owner = world(plain());
    owner.put(&[1, 2, 3, 4]);
    owner.consume(7, |spec| spec.prefetch = 3);
    let mut next = successor(&owner);
    assert_eq!(next.queue.counts(), Counts { ready: 4, ..Counts::default() });
    next.model.values_mut().take(2).for_each(|told| told.state = State::Settled);
    next.apply(Command::Ack(7, vec![(0, 2)]));
    assert_eq!(next.queue.counts(), Counts { ready: 2, ..Counts::default() });
    assert!(matches!(&next.events[..], [Event::Settle(ranges)] if *ranges == [(0, 2)]));
    next.consume(8, |_| {});
    assert_eq!(bodies(&next.take_delivered()), [3, 4]);
    // Somebody else has it by now.
    next.model.get_mut(&2).unwrap().state = State::Settled;
    next.apply(Command::Ack(7, vec![(2, 1)]));
    assert_eq!(next.queue.counts(), Counts { unacked: 1, consumers: 1, ..Counts::default() });
}

/// A queue with letters and retries, and what comes back waits for a second; three messages that an owner before delivered.
fn late_owner() -> World {
    let settings =
        RetrySettings { kind: Some(RetryType::All), min_ms: Some(1000), ..RetrySettings::default() };
    let options =
        Options { dead_letters: true, message_ttl_ms: Some(500), retry: settings.retry(), ..plain() };
    let mut owner = world(options);
    owner.put_segments(&[1, 2, 3]);
    owner.consume(7, |_| {});
    let mut next = successor(&owner);
    next.events = owner.events;
    next
}

/// Nothing is left, here and for whoever follows.
fn nobody_has_it_again(next: &World) {
    assert_eq!(next.queue.counts(), Counts::default());
    assert_eq!(successor(next).queue.counts(), Counts::default());
}

fn settled(next: &mut World) {
    next.model.values_mut().for_each(|told| told.state = State::Settled);
}

#[test]
fn an_acknowledgement_of_what_the_owner_before_delivered_settles_what_has_expired_since() {
    let mut next = late_owner();
    next.model.values_mut().for_each(|told| told.state = State::Taken);
    next.pass(501);
    assert_eq!(next.letters.len(), 3);
    settled(&mut next);
    next.apply(Command::Ack(7, vec![(0, 3)]));
    assert!(matches!(next.events.last(), Some(Event::Settle(ranges)) if *ranges == [(0, 3)]));
    // The letters arrive all the same, or find nobody: both tell the queue nothing new.
    next.apply(Command::DeadLettered(0));
    next.apply(Command::SendLetter(1, DeathReason::Expired));
    assert_eq!((next.letters.len(), next.queue.letters_out), (3, 0));
    nobody_has_it_again(&next);
}

#[test]
fn an_acknowledgement_settles_what_must_be_read_first_for_its_letter() {
    let mut next = late_owner();
    next.spill_under(Pressure::High, usize::MAX);
    next.stored(usize::MAX);
    next.model.values_mut().for_each(|told| told.state = State::Taken);
    next.apply(Command::Reject(7, vec![(0, 3)]));
    let waiting: usize = next.queue.waiting.values().map(Vec::len).sum();
    assert_eq!((next.letters.len(), waiting), (0, 3));
    settled(&mut next);
    // Somebody else had it from an owner before this one.
    next.apply(Command::Ack(6, vec![(0, 3)]));
    next.load_all();
    assert_eq!((next.letters.len(), next.queue.letters_out), (0, 0));
    nobody_has_it_again(&next);
}

#[test]
fn what_waits_for_its_retry_may_be_acknowledged_or_refused_by_whom_the_owner_before_gave_it() {
    let mut next = late_owner();
    next.consume(8, |_| {});
    next.settle(Verdict::Fail, 8, &[0, 1, 2]);
    assert_eq!(next.queue.counts().delayed, 3);
    next.model.get_mut(&0).unwrap().state = State::Settled;
    next.apply(Command::Ack(7, vec![(0, 1)]));
    next.model.get_mut(&1).unwrap().state = State::Taken;
    next.apply(Command::Reject(7, vec![(1, 1)]));
    assert_eq!(next.queue.counts().delayed, 1);
    assert_eq!(next.letters, [(1, DeathReason::Rejected)]);
    next.pass(1000);
    assert_eq!(next.take_delivered().last().unwrap().1[0], 3);
}

#[test]
fn a_consumer_whose_message_somebody_else_has_settled_gets_the_next_one() {
    let mut owner = world(plain());
    owner.put(&[1, 2]);
    owner.consume(7, |spec| spec.prefetch = 1);
    let mut next = successor(&owner);
    next.consume(8, |spec| spec.prefetch = 1);
    next.model.get_mut(&0).unwrap().state = State::Settled;
    next.apply(Command::Ack(7, vec![(0, 1)]));
    next.apply(Command::Ack(8, vec![(0, 1)]));
    assert_eq!(bodies(&next.take_delivered()), [1, 2]);
}

#[test]
fn what_the_owner_before_delivered_may_be_given_back_or_refused() {
    let mut owner = world(Options { dead_letters: true, delivery_limit: Some(9), ..plain() });
    owner.put(&[1, 2]);
    owner.consume(7, |_| {});
    let mut next = successor(&owner);
    next.apply(Command::Requeue(7, vec![(0, 1)]));
    assert_eq!(next.queue.counts().ready, 2);
    next.model.get_mut(&1).unwrap().state = State::Taken;
    next.apply(Command::Reject(7, vec![(1, 1)]));
    assert_eq!(next.letters, [(1, DeathReason::Rejected)]);
    assert_eq!(next.queue.counts().ready, 1);
}

#[test]
fn a_successor_counts_on_where_the_records_end() {
    let mut owner = world(plain());
    owner.put(&[1, 2]);
    let mut next = successor(&owner);
    next.put(&[3]);
    assert_eq!(next.model.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
    // With all priorities too, also when they were not in use for a while.
    let mut owner = world(Options { max_priority: Some(255), ..plain() });
    for priority in 0..40 {
        owner.publish(&[Message { priority, ..message(&[priority], 1000) }]);
    }
    owner.consume(7, |spec| spec.no_ack = true);
    let mut next = successor(&owner);
    next.publish(&[Message { priority: 3, ..message(&[3], 1000) }]);
    owner.cancel(7);
    owner.publish(&[Message { priority: 3, ..message(&[3], 1000) }]);
    assert_eq!(next.seqs(State::Ready), owner.seqs(State::Ready));
}

#[test]
fn a_follower_of_a_long_history_stays_small() {
    let mut owner = world(plain());
    owner.consume(7, |spec| spec.no_ack = true);
    let mut follower = Follower::new(&owner.options);
    for body in 0..200 {
        owner.put_expiring(body, 1_000_000);
        owner.put_segments(&[body]);
        follower.follow(&owner.events);
    }
    assert_eq!(follower.digest(), Digest::default());
    assert!(follower.queue.hot_bytes() < 64 * 1024, "{}", follower.queue.hot_bytes());
    assert!(follower.queue.messages.settled.is_empty() && follower.queue.messages.segments().count() <= 1);
    assert_eq!(follower.queue.due.len(), 0);
}

#[test]
fn digests_tell_different_queues_apart() {
    let mut owner = world(plain());
    owner.put(&[1, 2]);
    let two = digest(&owner);
    owner.get();
    assert_eq!(digest(&owner), two, "a delivery settles nothing");
    owner.settle(Verdict::Ack, 0, &[0]);
    let one = digest(&owner);
    assert_ne!(two, one);
    owner.checkpoint(owner.events.len());
    owner.stored(usize::MAX);
    owner.spill_under(Pressure::High, usize::MAX);
    assert_eq!(digest(&owner), one, "where the bytes are makes no difference");
    assert_eq!(split(&owner.model[&1].record).len(), 1);
    assert_eq!(owner.queue.digest(|_| None), None);
}
