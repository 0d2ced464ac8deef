//! A queue and everything around it, in memory.

use crate::broker::queue::Pressure;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::reservation::Transactions;
use crate::broker::arguments::{Cause, Overflow};
use crate::broker::batch::{self, Batch, Message};
use crate::broker::queue::{
    ChunkWrite, Command, ConsumerId, ConsumerSpec, DeathReason, Delivery, Effect, GETTER, GetReply, Options,
    Queue, RetryRun, ReturnRun, SeqRange, SharedPrefetch,
};

/// What the queue wrote, in order.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Enqueue(u64, Bytes),
    Settle(Vec<SeqRange>),
    Returns(Vec<ReturnRun>),
    Retries(Vec<RetryRun>),
    /// A transaction is decided: these messages are in the queue, or will be.
    Transaction(u64, Bytes),
    Chunk(ChunkWrite),
    /// Row, chunks, how many events the checkpoint's log position covers, and how many transactions.
    Checkpoint(Vec<u8>, Vec<ChunkWrite>, usize, usize),
    Forget(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Ready,
    Held(ConsumerId),
    /// It came back, and waits until then.
    Waiting(u64),
    Taken,
    Settled,
}

#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) state: State,
    pub(super) record: Bytes,
    pub(super) due_ms: Option<u64>,
    pub(super) was_delivered: bool,
    pub(super) returns: u32,
}

impl Told {
    pub(super) fn new(record: Bytes, due_ms: Option<u64>) -> Self {
        Self { state: State::Ready, record, due_ms, was_delivered: false, returns: 0 }
    }
}

pub(super) struct World {
    pub(super) queue: Queue,
    pub(super) options: Options,
    pub(super) now_ms: u64,
    /// What the effects say of each message.
    pub(super) model: BTreeMap<u64, Told>,
    pub(super) specs: BTreeMap<ConsumerId, ConsumerSpec>,
    pub(super) shared: Arc<SharedPrefetch>,
    pub(super) events: Vec<Event>,
    /// Chunks as the running node sees them.
    pub(super) cold: BTreeMap<u64, ChunkWrite>,
    pub(super) dues: BTreeSet<(u64, u64)>,
    pub(super) writing: VecDeque<(u64, bool)>,
    pub(super) loads: VecDeque<u64>,
    pub(super) due_loads: VecDeque<(u64, u64)>,
    /// Since the last look: consumer, body, redelivered.
    pub(super) delivered: Vec<(ConsumerId, Vec<u8>, bool)>,
    /// Numbers delivered by the last command.
    pub(super) moved: Vec<u64>,
    pub(super) got: Vec<GetReply>,
    pub(super) letters: Vec<(u64, DeathReason)>,
    pub(super) ends: Vec<Effect>,
    /// Bodies that were refused.
    pub(super) refused: Vec<Vec<u8>>,
    /// It has, or had, a length limit.
    pub(super) was_limited: bool,
    pub(super) transactions: Transactions,
}

impl World {
    pub(super) fn new(options: Options, now_ms: u64) -> Self {
        Self::with(Queue::new(options.clone(), now_ms), options, now_ms)
    }

    pub(super) fn with(queue: Queue, options: Options, now_ms: u64) -> Self {
        Self {
            queue,
            was_limited: is_limited(&options),
            options,
            now_ms,
            model: BTreeMap::new(),
            specs: BTreeMap::new(),
            shared: Arc::default(),
            events: Vec::new(),
            cold: BTreeMap::new(),
            dues: BTreeSet::new(),
            writing: VecDeque::new(),
            loads: VecDeque::new(),
            due_loads: VecDeque::new(),
            delivered: Vec::new(),
            moved: Vec::new(),
            got: Vec::new(),
            letters: Vec::new(),
            ends: Vec::new(),
            refused: Vec::new(),
            transactions: Transactions::default(),
        }
    }

    /// Applies a command, carries its effects out and checks what must hold.
    pub(super) fn apply(&mut self, command: Command) {
        let mut effects = Vec::new();
        self.moved.clear();
        self.queue.apply(command, self.now_ms, &mut effects);
        effects.into_iter().for_each(|effect| self.carry_out(effect));
        self.check();
        self.check_limits();
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Deliver(delivery) => self.deliver(&delivery),
            Effect::Got(reply) => self.got(reply),
            Effect::LogEnqueue { first, count, records, ids } => {
                assert!(ids.is_empty(), "only queues that look for duplicates have ids");
                assert_eq!(Batch::check(records.clone()).map(|batch| batch.count), Some(count));
                self.events.push(Event::Enqueue(first, records));
            }
            Effect::LogSettle(ranges) => self.events.push(Event::Settle(ranges)),
            Effect::LogReturns(runs) => self.events.push(Event::Returns(runs)),
            Effect::LogRetries(runs) => self.events.push(Event::Retries(runs)),
            Effect::DeadLetter { seq, reason, record } => {
                assert_eq!(self.model[&seq].record, record);
                self.letters.push((seq, reason));
            }
            Effect::Load(first) => self.loads.push_back(first),
            Effect::Forget(first) => {
                self.cold.remove(&first);
                self.events.push(Event::Forget(first));
            }
            Effect::LoadDue(from_ms, to_ms) => self.due_loads.push_back((from_ms, to_ms)),
            Effect::Unused | Effect::Expired => self.ends.push(effect),
            Effect::Refused { .. } => panic!("only publishes are refused"),
            Effect::LogIds(_) | Effect::Duplicates | Effect::Recalled(..) | Effect::RecallDone(_) => {
                panic!("nobody asked for that: {effect:?}")
            }
        }
    }

    fn deliver(&mut self, delivery: &Delivery) {
        let no_ack = self.specs[&delivery.consumer].no_ack;
        for entry in &delivery.entries {
            let (message, length) = batch::read(&delivery.data[entry.offset as usize..]).unwrap();
            let record = &delivery.data[entry.offset as usize..entry.offset as usize + length];
            self.delivered.push((delivery.consumer, message.body.to_vec(), entry.redelivered));
            let was = (entry.redelivered, u32::from(entry.returns));
            self.hand_over(entry.seq, record, was, (delivery.consumer, no_ack));
        }
    }

    fn got(&mut self, reply: GetReply) {
        if let GetReply::Message { seq, record, redelivered, returns, .. } = &reply {
            self.hand_over(*seq, record, (*redelivered, *returns), (GETTER, false));
        }
        self.got.push(reply);
    }

    fn hand_over(&mut self, seq: u64, record: &[u8], was: (bool, u32), to: (ConsumerId, bool)) {
        let told = self.model.get_mut(&seq).unwrap();
        assert_eq!(told.record, record, "message {seq}");
        let waited = matches!(told.state, State::Waiting(due_ms) if due_ms <= self.now_ms);
        assert!(
            waited || told.state == State::Ready,
            "message {seq} is delivered while it is {:?}",
            told.state
        );
        assert_eq!((told.was_delivered, told.returns), was, "redelivered flag and returns of message {seq}");
        told.was_delivered = true;
        told.state = if to.1 { State::Settled } else { State::Held(to.0) };
        self.moved.push(seq);
    }

    pub(super) fn publish(&mut self, messages: &[Message<'_>]) {
        if self.options.overflow != Overflow::DropHead {
            // What is left is what the messages must find a place beside.
            self.apply(Command::Tick);
        }
        let mut records = Vec::new();
        messages.iter().for_each(|message| message.put(&mut records));
        let batch = Batch::check(records.into()).unwrap();
        let before = self.places();
        let level = |message: &Message<'_>| message.priority.min(self.options.max_priority.unwrap_or(0));
        let levels = messages.iter().map(level);
        let mut next: BTreeMap<_, _> =
            levels.map(|level| (level, self.queue.messages.lanes.next_seq(level))).collect();
        let mut taken = Vec::new();
        let was_at_rest = !self.queue.is_catching_up && !self.queue.is_behind;
        self.moved.clear();
        let mut effects = Vec::new();
        self.queue.apply(Command::Enqueue(batch.clone()), self.now_ms, &mut effects);
        let refused = take_refused(&mut effects, &batch);
        for (message, record) in messages.iter().zip(split(&batch.records)) {
            if refused.contains(&record.as_ptr()) {
                self.refused.push(message.body.to_vec());
                continue;
            }
            let next = next.get_mut(&message.priority.min(self.options.max_priority.unwrap_or(0))).unwrap();
            self.model.insert(*next, Told::new(record, message.due_ms));
            taken.push(*next);
            *next += 1;
        }
        effects.into_iter().for_each(|effect| self.carry_out(effect));
        if was_at_rest && !self.queue.is_behind {
            self.check_refusals(messages, before, &taken);
        }
        if self.options.max_priority.is_some() && self.options.overflow != Overflow::DropHead {
            // Taken in bit by bit: the first may have been delivered before higher ones behind them came in.
            self.moved.clear();
        }
        self.check();
        self.check_limits();
    }

    /// Publishes one batch of persistent messages with these bytes as bodies.
    pub(super) fn put(&mut self, bodies: &[u8]) {
        let bodies: Vec<_> = bodies.iter().map(|body| [*body]).collect();
        let now_ms = self.now_ms;
        let messages: Vec<_> = bodies.iter().map(|body| message(body, now_ms)).collect();
        self.publish(&messages);
    }

    /// Publishes one message that expires after this time.
    pub(super) fn put_expiring(&mut self, body: u8, after_ms: u64) {
        let due_ms = Some(self.now_ms + after_ms);
        self.publish(&[Message { due_ms, ..message(&[body], self.now_ms) }]);
    }

    /// Publishes this many segments of one message of 17 KiB each, with these bytes in front.
    pub(super) fn put_segments(&mut self, bodies: &[u8]) {
        for body in bodies {
            let now_ms = self.now_ms;
            self.publish(&[message(&[*body; 17 * 1024], now_ms)]);
        }
    }

    pub(super) fn consume(&mut self, id: ConsumerId, change: impl FnOnce(&mut ConsumerSpec)) {
        let mut spec = ConsumerSpec {
            id,
            no_ack: false,
            exclusive: false,
            prefetch: 0,
            priority: 0,
            window_bytes: 1 << 40,
            shared: Arc::default(),
            is_back: false,
            was_served: false,
        };
        change(&mut spec);
        self.specs.insert(id, spec.clone());
        self.apply(Command::Consume(spec));
    }

    pub(super) fn get(&mut self) -> GetReply {
        self.apply(Command::Get { no_ack: false });
        self.got.pop().unwrap()
    }

    /// Settles what a consumer holds, as its channel would.
    pub(super) fn settle(&mut self, verdict: Verdict, consumer: ConsumerId, seqs: &[u64]) {
        for seq in seqs {
            let told = self.model.get_mut(seq).unwrap();
            assert_eq!(told.state, State::Held(consumer));
            told.state = match verdict {
                Verdict::Ack => State::Settled,
                Verdict::Requeue | Verdict::Fail => {
                    let (limit, retry) = (self.options.delivery_limit, self.options.retry);
                    told.returns += u32::from(limit.is_some() || retry.is_some());
                    let cause = if verdict == Verdict::Fail { Cause::Failed } else { Cause::Returned };
                    let delay_ms = retry.and_then(|retry| retry.delay_ms(cause, *seq, told.returns));
                    match limit.is_some_and(|limit| u64::from(told.returns) > limit) {
                        false => delay_ms.map_or(State::Ready, |ms| State::Waiting(self.now_ms + ms)),
                        true if self.options.dead_letters => State::Taken,
                        true => State::Settled,
                    }
                }
                Verdict::Reject if self.options.dead_letters => State::Taken,
                Verdict::Reject => State::Settled,
            };
        }
        if let Some(spec) = self.specs.get(&consumer) {
            spec.shared.give_back(seqs.len() as u64);
        }
        let ranges = seqs.iter().map(|seq| (*seq, 1)).collect();
        self.apply(match verdict {
            Verdict::Ack => Command::Ack(consumer, ranges),
            Verdict::Requeue => Command::Requeue(consumer, ranges),
            Verdict::Fail => Command::Fail(consumer, ranges),
            Verdict::Reject => Command::Reject(consumer, ranges),
        });
    }

    pub(super) fn cancel(&mut self, consumer: ConsumerId) {
        self.apply(Command::Cancel(consumer));
    }

    /// A policy changes the options.
    pub(super) fn change(&mut self, options: Options) {
        self.was_limited |= is_limited(&options);
        self.options = options.clone();
        self.apply(Command::SetOptions(Box::new(options)));
    }

    pub(super) fn purge(&mut self) {
        let goes = |told: &&mut Told| matches!(told.state, State::Ready | State::Waiting(_));
        self.model.values_mut().filter(goes).for_each(|told| {
            told.state = State::Settled;
        });
        self.apply(Command::Purge);
    }

    /// The targets of the oldest letters have them.
    pub(super) fn letters_arrive(&mut self, count: usize) {
        for (seq, _) in self.letters.drain(..count.min(self.letters.len())).collect::<Vec<_>>() {
            self.model.get_mut(&seq).unwrap().state = State::Settled;
            self.apply(Command::DeadLettered(seq));
        }
    }

    pub(super) fn pass(&mut self, time_ms: u64) {
        self.now_ms += time_ms;
        self.apply(Command::Tick);
    }

    /// The numbers in this state.
    pub(super) fn seqs(&self, state: State) -> Vec<u64> {
        self.model.iter().filter(|(_, told)| told.state == state).map(|(seq, _)| *seq).collect()
    }

    pub(super) fn take_delivered(&mut self) -> Vec<(ConsumerId, Vec<u8>, bool)> {
        std::mem::take(&mut self.delivered)
    }

    pub(super) fn spill(&mut self, wanted: usize) {
        self.spill_under(Pressure::Normal, wanted);
    }

    pub(super) fn spill_under(&mut self, pressure: Pressure, wanted: usize) {
        for write in self.queue.spill(wanted, pressure, self.now_ms) {
            self.writing.push_back((write.first, true));
            self.events.push(Event::Chunk(write.clone()));
            self.write(write);
        }
        self.check();
    }

    /// `covered`: the events that the checkpoint's log position covers.
    pub(super) fn checkpoint(&mut self, covered: usize) {
        let row = self.queue.row();
        let writes = self.queue.checkpoint();
        for write in writes.clone() {
            if write.data.is_some() {
                self.writing.push_back((write.first, false));
            }
            self.write(write);
        }
        assert!(!self.queue.needs_checkpoint());
        let filled = self.transactions.covered();
        self.events.push(Event::Checkpoint(row, writes, covered, filled));
        if let Some(due_ms) = self.queue.dues_done_before(self.now_ms) {
            self.dues.retain(|due| due.0 >= due_ms);
        }
        self.check();
    }

    fn write(&mut self, mut write: ChunkWrite) {
        self.dues.extend(write.dues.iter().copied());
        if write.data.is_none() {
            write.data.clone_from(&self.cold[&write.first].data);
        }
        self.cold.insert(write.first, write);
    }

    /// The cold store has written this many chunks.
    pub(super) fn stored(&mut self, count: usize) {
        for (first, spilling) in self.writing.drain(..count.min(self.writing.len())).collect::<Vec<_>>() {
            self.queue.chunk_stored(first, spilling, self.now_ms);
            self.check();
        }
    }

    /// The cold store answers the oldest question for a chunk.
    pub(super) fn load(&mut self) -> bool {
        let Some(first) = self.loads.pop_front() else { return false };
        if let Some(data) = self.cold.get(&first).and_then(|chunk| chunk.data.clone()) {
            self.apply(Command::ChunkLoaded(first, data.whole()));
        }
        true
    }

    /// The cold store answers the oldest question for due times.
    pub(super) fn load_due(&mut self) -> bool {
        let Some((from_ms, to_ms)) = self.due_loads.pop_front() else { return false };
        let window = self.dues.range((from_ms, 0)..=(to_ms, u64::MAX)).copied().collect();
        let next = self.dues.range((to_ms + 1, 0)..).next().map(|(due_ms, _)| *due_ms);
        self.apply(Command::DueLoaded(window, next));
        true
    }

    /// The cold store answers until the queue asks nothing.
    pub(super) fn load_all(&mut self) {
        while self.load() || self.load_due() {}
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Ack,
    Requeue,
    Fail,
    Reject,
}

fn is_limited(options: &Options) -> bool {
    options.max_length.is_some() || options.max_length_bytes.is_some()
}

/// The records of a batch.
pub(super) fn split(records: &Bytes) -> Vec<Bytes> {
    let (mut at, mut split) = (0, Vec::new());
    while let Some((_, length)) = batch::read(&records[at..]) {
        split.push(records.slice(at..at + length));
        at += length;
    }
    split
}

/// Takes the refusals out; gives where in the batch the refused records are.
fn take_refused(effects: &mut Vec<Effect>, batch: &Batch) -> Vec<*const u8> {
    let mut refused = Vec::new();
    for effect in effects.extract_if(.., |effect| matches!(effect, Effect::Refused { .. })) {
        let Effect::Refused { place, count, records } = effect else { continue };
        let (all, these) = (split(&batch.records), split(&records));
        let place = place as usize;
        assert_eq!(these, all[place..place + count as usize]);
        refused.extend(these.iter().map(|record| record.as_ptr()));
    }
    refused
}

pub(super) fn message(body: &[u8], enqueued_ms: u64) -> Message<'_> {
    Message { exchange: b"x", routing_key: b"k", body, enqueued_ms, persistent: true, ..Message::default() }
}
