//! One queue as a state machine: commands in, effects out.
//!
//! A message has a number. Numbers below the cursor were delivered at least once, or left out of turn; with priorities
//! this is so in each lane:
//!
//! ```text
//!    settled | returned (ready again) | unacknowledged | dead-lettering     cursor     ready
//! ---------------------------------------------------------------------------^----------------- next_seq
//! ```
//!
//! `alive` = `ready` + `unacked` + `dead_lettering` holds after every command. Those that came back and wait before they are
//! ready again count as dead-lettering there: both are out of turn.
//!
//! - `effect`: what it asks of its owner
//! - `messages`, `segment`, `bits`, `returns`: the messages in memory, and how often they came back
//! - `lanes`, `levels`: a lane of them for each priority, and which lane an arriving message takes
//! - `storing`, `chunk`, `row`, `recovery`: the cold store, and the way back from it
//! - `consumers`, `turns`, `prefetch`: who can take a message, and whose turn it is
//! - `delivery`, `settling`, `expiry`, `dues`: what happens to a message
//! - `retries`: messages that wait before they are delivered again
//! - `duplicates`: messages that came before
//! - `recall`: messages that are handed out once more
//! - `looking`, `holding`: messages that an operator looks at, and moves
//! - `counters`, `sizes`: what is counted, and how much is here, for people
//! - `limits`, `lengths`: how many messages and bytes may be ready
//! - `live`: options that change while it works, and large work in steps
//! - `replica`: a queue that follows another one, until it takes over
//! - `reservation`: numbers for the messages of a transaction that is not decided yet

mod attendance;
mod bits;
mod chunk;
mod consumers;
mod counters;
mod delivery;
mod dues;
mod duplicates;
mod effect;
mod expiry;
mod holding;
mod lanes;
mod lengths;
mod levels;
mod limits;
mod live;
mod looking;
mod messages;
mod order;
mod prefetch;
mod recall;
mod recovery;
mod replica;
mod reservation;
mod retries;
mod returns;
mod row;
mod segment;
mod settling;
mod sizes;
mod storing;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

pub use chunk::ChunkData;
pub use chunk::records_in_chunk;
pub use consumers::{ConsumerId, ConsumerSpec};
pub use effect::{DeathReason, Delivery, Effect, Entry, GetReply, RetryRun, ReturnRun, SeqRange};
pub use looking::{Look, RecordAt, Sighting, Sightings, Standing, is_before_ends};
pub use prefetch::SharedPrefetch;
pub use replica::Digest;
pub use sizes::Sizes;
pub use storing::{ChunkWrite, Pressure};

use super::arguments::{Cause, Overflow, Retry};
use super::batch::Batch;
use super::deduplication::{Deduplication, Id, Seen};
use counters::Counters;
use dues::Dues;
use limits::Limits;
use messages::Messages;
use recall::Recall;
use reservation::Reservation;
use retries::Retries;
use segment::Stored;

/// The consumer of messages that were fetched by `basic.get`.
pub const GETTER: ConsumerId = 0;

/// What a queue must know of its declaration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Persistent messages survive a restart.
    pub durable: bool,
    /// Other nodes have the same messages, by the same records, and may take over: numbers come from records alone, and
    /// whoever holds a message may have got it from an owner before this one.
    pub replicated: bool,
    /// It goes with its last consumer.
    pub auto_delete: bool,
    /// Time to live of its messages, milliseconds.
    pub message_ttl_ms: Option<u64>,
    /// Time without use after which it goes, milliseconds.
    pub expires_ms: Option<u64>,
    /// Whether dead letters are wanted; where they go is the owner's business.
    pub dead_letters: bool,
    /// Its messages wait for their due time only, and leave as dead letters do: as many at a time as their targets take.
    pub delays: bool,
    /// Only the oldest consumer is served.
    pub single_active_consumer: bool,
    /// Messages that may be ready.
    pub max_length: Option<u64>,
    /// Bytes of bodies that may be ready.
    pub max_length_bytes: Option<u64>,
    /// What gives way at these limits.
    pub overflow: Overflow,
    /// How often a message may come back; with the largest number it is only counted, without one it is not.
    pub delivery_limit: Option<u64>,
    /// How long messages that came back wait before they are delivered again.
    pub retry: Option<Retry>,
    /// The highest priority; none keeps all messages in the order of their arrival.
    pub max_priority: Option<u8>,
    /// Whether messages are dropped whose id came before.
    pub deduplication: Option<Deduplication>,
    /// How many ids an owner keeps here that looks for duplicates itself.
    pub ids_kept: Option<usize>,
}

/// What can happen to a queue.
#[derive(Debug)]
pub enum Command {
    /// Messages arrive.
    Enqueue(Batch),
    /// Dead letters arrive: they may come back as often as they like.
    EnqueueLetters(Batch),
    /// An id is noted: until when it is kept, and whether it survives a restart.
    NoteId(Id, u64, bool),
    /// Everything ready is asked for once more, under this number.
    Recall(u64),
    /// The messages arrive that [`Queue::reserve`] gave this first number to; the log has them.
    Fill(u64, Batch),
    /// The messages with this first number will not come.
    Release(u64),
    /// Deliveries are done with.
    Ack(ConsumerId, Vec<SeqRange>),
    /// Deliveries were given back, and are ready again, at their old place.
    Requeue(ConsumerId, Vec<SeqRange>),
    /// Deliveries come back as well, since their consumer failed.
    Fail(ConsumerId, Vec<SeqRange>),
    /// Deliveries are refused: dead-lettered, or dropped.
    Reject(ConsumerId, Vec<SeqRange>),
    /// A consumer begins; the owner has checked [`Queue::may_consume`].
    Consume(ConsumerSpec),
    /// A consumer gets nothing more, and keeps its place: what it held comes back before it ends and another takes over.
    Suspend(ConsumerId),
    /// A consumer ends; what it holds stays with its channel.
    Cancel(ConsumerId),
    /// A dead letter could not be sent on when it was asked for: it is asked for again.
    SendLetter(u64, DeathReason),
    /// All consumers that were there before the queue changed its owner are back, as far as they will ever be.
    AreBack,
    /// Bytes reached a consumer's socket.
    Credit(ConsumerId, u64),
    /// A limit outside this queue has changed: look again whether the consumer can take more.
    Resume(ConsumerId),
    /// One message is asked for; `no_ack` as in `basic.get`.
    Get {
        /// It counts as acknowledged at once.
        no_ack: bool,
    },
    /// Everything ready goes.
    Purge,
    /// It was declared again, or looked at: its `x-expires` starts anew.
    Touch,
    /// A policy has changed what it is to do.
    SetOptions(Box<Options>),
    /// Time has passed.
    Tick,
    /// The targets of a dead letter have it.
    DeadLettered(u64),
    /// Messages that [`Queue::hold`] took are elsewhere, or are to go.
    SettleHeld(Vec<u64>),
    /// Messages that [`Queue::hold`] took are to be ready again.
    GiveHeldBack(Vec<u64>),
    /// A chunk that [`Effect::Load`] asked for.
    ChunkLoaded(u64, Bytes),
    /// Due times that [`Effect::LoadDue`] asked for as (due, number), and the first one behind them.
    DueLoaded(Vec<(u64, u64)>, Option<u64>),
}

/// A queue.
#[derive(Debug, Default)]
pub struct Queue {
    options: Options,
    messages: Messages,
    consumers: consumers::Consumers,
    /// Ready again, by number.
    returned: BTreeSet<u64>,
    /// Those of `returned` that were never delivered: they came when others behind them had been.
    late: BTreeSet<u64>,
    /// Numbers of messages that may still come.
    reserved: Vec<Reservation>,
    /// Out of turn: on their way to the dead-letter exchange, or about to be; waiting for a retry; or held.
    taken: BTreeSet<u64>,
    retries: Retries,
    /// Those of `taken` that an operator moves.
    held: holding::Held,
    /// Dead letters that their targets do not have yet.
    letters_out: usize,
    /// Taken messages whose record must be read first, by chunk.
    waiting: BTreeMap<u64, Vec<(u64, DeathReason)>>,
    ready: u64,
    unacked: u64,
    limits: Limits,
    /// The limits were lowered: what that asks for is done in steps, of which some are left.
    is_catching_up: bool,
    /// Messages are due for which a step had no place: nobody is served before they are gone.
    is_behind: bool,
    /// Ids that came lately, where they are wanted.
    seen: Option<Box<Seen>>,
    recalls: VecDeque<Recall>,
    /// Due times in memory.
    due: Dues,
    /// The first due time that is in the cold store only.
    due_far_ms: Option<u64>,
    due_loading: bool,
    /// How badly memory was needed when it was last asked for.
    pressure: Pressure,
    last_used_ms: u64,
    /// A consumer has ended while others may still come back.
    has_ended_early: bool,
    /// Gets that wait for a chunk.
    gets: VecDeque<bool>,
    /// Memory for the slots served in a round.
    served: Vec<usize>,
    counters: Counters,
}

/// Counts of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that could be delivered now.
    pub ready: u64,
    /// Came back, and wait before they are delivered again.
    pub delayed: u64,
    /// Delivered and not acknowledged.
    pub unacked: u64,
    /// Consumers.
    pub consumers: u32,
}

impl Queue {
    /// An empty queue.
    #[must_use]
    pub fn new(options: Options, now_ms: u64) -> Self {
        let mut queue = Self { last_used_ms: now_ms, ..Self::default() };
        queue.set_options(options);
        queue
    }

    /// Gives the queue its declaration (also after [`Self::default`], which recovery fills first); before
    /// [`Self::recovered`], and before anything is delivered.
    pub fn set_options(&mut self, options: Options) {
        if options.max_priority.is_some() {
            self.messages.lanes.split();
        }
        self.messages.lanes.keep_all(options.replicated);
        self.consumers.set_single_active(options.single_active_consumer);
        self.limits = Limits::of(&options);
        self.count_all();
        self.is_catching_up = true;
        self.keep_ids_for(&options);
        self.options = options;
    }

    /// Its counts.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            ready: self.ready,
            delayed: self.retries.len(),
            unacked: self.unacked,
            consumers: u32::try_from(self.consumers.len()).unwrap_or(u32::MAX),
        }
    }

    /// When it was last used, Unix milliseconds (RabbitMQ: Time-To-Live, Queue TTL).
    #[must_use]
    pub fn last_used_ms(&self) -> u64 {
        self.last_used_ms
    }

    /// All its consumers, oldest first.
    #[must_use]
    pub fn consumer_ids(&self) -> Vec<ConsumerId> {
        self.consumers.ids()
    }

    /// Whether a new consumer would be allowed in (AMQP 0-9-1, basic.consume, exclusive).
    #[must_use]
    pub fn may_consume(&self, exclusive: bool) -> bool {
        let others = self.consumers.len() > 0;
        !(self.consumers.has_exclusive() || exclusive && (others || self.options.single_active_consumer))
    }

    /// Carries out one command at a time in Unix milliseconds.
    pub fn apply(&mut self, command: Command, now_ms: u64, effects: &mut Vec<Effect>) {
        let mut arrived = 0;
        let is_tick = matches!(command, Command::Tick);
        if let Command::Enqueue(batch) = command {
            arrived = batch.count.into();
            self.counters.messages.publish += arrived;
            self.expire(now_ms, effects);
            if self.options.deduplication.is_some() {
                self.take_in_what_is_new(&batch, now_ms, effects);
            } else {
                self.take_in_what_may(&batch, 0, now_ms, effects);
            }
        } else if let Command::EnqueueLetters(batch) = command {
            arrived = batch.count.into();
            self.counters.messages.publish += arrived;
            self.expire(now_ms, effects);
            self.take_in_what_may(&batch, 0, now_ms, effects);
        } else {
            self.carry_out(command, now_ms, effects);
            self.expire(now_ms, effects);
            self.hand_out(effects);
        }
        // Whoever waits gets a message before the limits are looked at: they may be 0.
        if self.is_catching_up {
            self.catch_up(arrived, effects);
        } else {
            self.drop_excess(u64::MAX, effects);
        }
        if !self.recalls.is_empty() {
            // What it waited for may be gone.
            self.go_on_recalling(effects);
        }
        self.report(effects);
        if !is_tick {
            self.counters.note(self.consumers.any_ready(), now_ms);
        }
        debug_assert_eq!(
            self.messages.alive,
            self.ready + self.unacked + self.taken.len() as u64,
            "every message is ready, unacknowledged or on its way to the dead-letter exchange"
        );
    }

    /// `place` is that of the first message in the batch that came.
    fn take_in_what_may(&mut self, batch: &Batch, place: u32, now_ms: u64, effects: &mut Vec<Effect>) {
        if self.limits.may_refuse() {
            self.take_in_what_fits(batch, place, now_ms, effects);
        } else {
            self.take_in(batch, now_ms, effects);
        }
    }

    fn take_in(&mut self, batch: &Batch, now_ms: u64, effects: &mut Vec<Effect>) {
        if let Some(max) = self.options.max_priority {
            self.take_in_by_level(batch, max, now_ms, effects);
        } else {
            let first = self.enqueue(0, batch, now_ms, effects);
            // Whoever waits gets a message before its time to live is looked at: it may be 0.
            self.hand_out(effects);
            self.note_dues(first, batch);
        }
        self.expire(now_ms, effects);
    }

    fn carry_out(&mut self, command: Command, now_ms: u64, effects: &mut Vec<Effect>) {
        match command {
            Command::Enqueue(_) | Command::EnqueueLetters(_) | Command::Tick => {}
            Command::Fill(first, batch) => {
                self.counters.messages.publish += u64::from(batch.count);
                self.fill(first, &batch, now_ms, effects);
            }
            Command::Release(first) => drop(self.take_reservation(first)),
            Command::Ack(consumer, ranges) => self.counters.messages.ack += self.ack(consumer, &ranges),
            Command::Requeue(consumer, ranges) => {
                self.requeue(consumer, &ranges, (Cause::Returned, now_ms), effects);
            }
            Command::Fail(consumer, ranges) => {
                self.requeue(consumer, &ranges, (Cause::Failed, now_ms), effects);
            }
            Command::Reject(consumer, ranges) => self.reject(consumer, &ranges, effects),
            Command::Consume(spec) => self.consumers.add(spec),
            Command::Suspend(consumer) => self.consumers.suspend(consumer),
            Command::Cancel(consumer) => self.cancel(consumer, now_ms, effects),
            Command::AreBack => self.are_back(now_ms, effects),
            Command::Credit(consumer, bytes) => self.consumers.credit(consumer, bytes),
            Command::Resume(consumer) => self.consumers.release(consumer, 0),
            Command::Get { no_ack } => {
                self.last_used_ms = now_ms;
                self.gets.push_back(no_ack);
            }
            Command::NoteId(id, until_ms, is_durable) => self.note_id(id, until_ms, is_durable, effects),
            Command::Recall(number) => self.recall(number, effects),
            Command::Purge => {
                self.purge();
                self.forget_ids(effects);
            }
            Command::Touch => self.last_used_ms = now_ms,
            Command::SetOptions(options) => self.change_options(*options, now_ms),
            Command::SendLetter(seq, reason) => self.send_letter_again(seq, reason, effects),
            Command::DeadLettered(seq) => self.dead_lettered(seq, effects),
            Command::SettleHeld(seqs) => self.settle_held(&seqs),
            Command::GiveHeldBack(seqs) => self.give_held_back(&seqs, effects),
            Command::ChunkLoaded(first, chunk) => self.chunk_loaded(first, &chunk, now_ms, effects),
            Command::DueLoaded(entries, next) => self.due_loaded(&entries, next),
        }
    }

    fn hand_out(&mut self, effects: &mut Vec<Effect>) {
        if self.is_behind {
            return;
        }
        self.answer_gets(effects);
        self.pump(effects);
    }

    /// What was settled goes to the log, and chunks without messages out of the cold store.
    fn report(&mut self, effects: &mut Vec<Effect>) {
        if !self.messages.settled.is_empty() {
            let ranges = std::mem::take(&mut self.messages.settled);
            if self.options.durable {
                effects.push(Effect::LogSettle(ranges));
            }
        }
        effects.extend(self.messages.forgotten.drain(..).map(Effect::Forget));
        self.messages.drop_idle_lanes();
    }

    fn enqueue(&mut self, lane: usize, batch: &Batch, now_ms: u64, effects: &mut Vec<Effect>) -> u64 {
        let ids = self.note_ids(batch, now_ms);
        let passing = self.ready == 0 && self.consumers.any_ready();
        let first = self.messages.push(lane, batch, passing);
        self.ready += u64::from(batch.count);
        if self.limits.counts_bytes() {
            self.count_batch(batch);
        }
        if self.options.durable && batch.persistent > 0 {
            let records = batch.records.clone();
            effects.push(Effect::LogEnqueue { first, count: batch.count, records, ids });
        }
        first
    }
}
