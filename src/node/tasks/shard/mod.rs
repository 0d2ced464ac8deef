//! A shard: owns queues, their consumers and timers, and applies their commands in one order.
//!
//! - `inputs`: what others ask for
//! - `effects`: what the queues ask for
//! - `dead_letters`: routing messages that died
//! - `reconfigure`: other settings for queues
//! - `refusals`: messages for which a full queue has no place
//! - `offers`: exchanges that look for duplicates
//! - `recall`: messages for new bindings
//! - `statistics`: numbers of queues, for people
//! - `transactions`: numbers for messages that may come
//! - `memory`: spilling to the cold store, checkpoints
//! - `record`: the queue records of the log
//! - `records`: where they go: the node's log, or the task of a group

mod dead_letters;
mod effects;
mod inputs;
mod memory;
mod offers;
mod recall;
mod reconfigure;
pub(crate) mod record;
mod records;
mod refusals;
mod statistics;
mod transactions;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::oneshot;

use super::cold::ColdLink;
use crate::broker::channel::outgoing::Confirm;
use crate::broker::ids::QueueId;
use crate::broker::queue::{Command, ConsumerId, Effect, GetReply, Queue};
use crate::broker::topology::QueueEntry;
use crate::node::alarm::Alarm;
use crate::node::links::{ClientInput, ClientLink, CommitAnswer, ShardInput};
use crate::node::mailbox::Mailbox;
use crate::node::shared::Shared;
use crate::storage::Append;
use dead_letters::OpenLetters;
pub(crate) use inputs::options_of;
use memory::Memory;
use offers::Offers;
use recall::Recall;
use reconfigure::Pending;
pub(crate) use records::Records;
use refusals::Refused;

/// How long appends that nobody waits for may gather, in milliseconds, and how many bytes of them.
const GATHER_MS: u64 = 5;
const GATHER_BYTES_MAX: usize = 1024 * 1024;

/// A queue and what its shard notes about it.
struct Slot {
    entry: Arc<QueueEntry>,
    queue: Queue,
    /// When the queue wants to be looked at, as entered in the shard's timers.
    due_ms: Option<u64>,
    hot_bytes: usize,
    gets: VecDeque<oneshot::Sender<Option<GetReply>>>,
    /// The queue's row as last written.
    row: Vec<u8>,
}

/// One shard.
pub(crate) struct Shard {
    shared: Arc<Shared>,
    mailbox: Arc<Mailbox<ShardInput>>,
    /// Its number in the log.
    log_shard: u16,
    records: Records,
    cold: ColdLink,
    /// When the round began.
    now_ms: u64,
    slots: HashMap<QueueId, Slot, foldhash::fast::RandomState>,
    consumers: HashMap<ConsumerId, Arc<ClientLink>, foldhash::fast::RandomState>,
    timers: BTreeSet<(u64, QueueId)>,
    alarm: Alarm,
    /// The last log index given out.
    index: u64,
    synced: u64,
    appends: Vec<Append>,
    /// What they hold, in bytes.
    append_bytes: usize,
    /// When the first of them came.
    appends_since_ms: Option<u64>,
    /// Somebody waits for some of them to be safe.
    is_awaited: bool,
    /// Publishers whose batches wait for the log, in the order of their index.
    unsynced: VecDeque<(u64, Arc<ClientLink>, Confirm)>,
    /// Commits that wait for the log, likewise.
    commits: VecDeque<(u64, Arc<CommitAnswer>)>,
    /// Publishers to be told, and whether their messages were taken in.
    confirmed: Vec<(Arc<ClientLink>, Confirm, bool)>,
    /// What the command just applied had no place for.
    refused: Vec<Refused>,
    /// Of a group's shard: until when nobody else can own its queues, Unix milliseconds.
    serving_until_ms: u64,
    letters: OpenLetters,
    offers: Offers,
    recalls: Vec<Recall>,
    last_recall: u64,
    memory: Memory,
    effects: Vec<Effect>,
    /// Queues that are to work by other settings.
    pending: VecDeque<Pending>,
    /// Memory for the queues of a round whose time has come.
    due: Vec<QueueId>,
    stop: Option<oneshot::Sender<()>>,
}

/// What a shard begins with.
pub(crate) struct Start {
    pub(crate) shared: Arc<Shared>,
    pub(crate) mailbox: Arc<Mailbox<ShardInput>>,
    pub(crate) log_shard: u16,
    pub(crate) records: Records,
    pub(crate) cold: ColdLink,
    /// The last index in the log.
    pub(crate) index: u64,
    /// Chunks of the queues that are on their way out of memory.
    pub(crate) spilling: usize,
    pub(crate) queues: Vec<(Arc<QueueEntry>, Queue)>,
}

impl Shard {
    pub(crate) fn new(start: Start) -> Self {
        let share = start.shared.share_bytes();
        let mut shard = Self {
            shared: start.shared,
            mailbox: start.mailbox,
            log_shard: start.log_shard,
            records: start.records,
            cold: start.cold,
            now_ms: 0,
            slots: HashMap::default(),
            consumers: HashMap::default(),
            timers: BTreeSet::new(),
            alarm: Alarm::default(),
            index: start.index,
            synced: start.index,
            appends: Vec::new(),
            append_bytes: 0,
            appends_since_ms: None,
            is_awaited: false,
            unsynced: VecDeque::new(),
            commits: VecDeque::new(),
            confirmed: Vec::new(),
            refused: Vec::new(),
            serving_until_ms: 0,
            letters: OpenLetters::default(),
            offers: Offers::default(),
            recalls: Vec::new(),
            last_recall: 0,
            memory: Memory::new(share, start.spilling),
            effects: Vec::new(),
            pending: VecDeque::new(),
            due: Vec::new(),
            stop: None,
        };
        for (entry, queue) in start.queues {
            shard.insert(entry, queue);
        }
        shard
    }

    fn insert(&mut self, entry: Arc<QueueEntry>, queue: Queue) {
        let id = entry.id;
        let slot = Slot { entry, queue, due_ms: None, hot_bytes: 0, gets: VecDeque::new(), row: Vec::new() };
        self.slots.insert(id, slot);
        self.note(id);
    }

    /// Runs until the node stops.
    pub(crate) async fn run(mut self) {
        self.append(record::STARTED, Vec::new(), bytes::Bytes::new());
        self.send_appends();
        let mut inputs = Vec::new();
        while self.stop.is_none() {
            self.wait().await;
            self.mailbox.take(&mut inputs);
            let now_ms = self.shared.clock.now_ms();
            self.round(&mut inputs, now_ms);
            tokio::task::consume_budget().await;
        }
        self.note_clean_stop();
    }

    /// Does all that is to be done now.
    pub(crate) fn round(&mut self, inputs: &mut Vec<ShardInput>, now_ms: u64) {
        self.take_in(inputs, now_ms);
        self.finish(now_ms);
    }

    /// The first part of a round: what others ask for, and what is due.
    pub(crate) fn take_in(&mut self, inputs: &mut Vec<ShardInput>, now_ms: u64) {
        self.now_ms = now_ms;
        for input in inputs.drain(..) {
            self.handle(input, now_ms);
        }
        self.reconfigure(now_ms);
        self.send_postponed(now_ms);
        self.tick(now_ms);
    }

    /// When a round is due although nothing comes in, Unix milliseconds; 0 when there is more to do at once.
    pub(crate) fn next_due_ms(&self, now_ms: u64) -> Option<u64> {
        let timer_ms = self.timers.first().map(|(due_ms, _)| *due_ms);
        let is_behind = timer_ms.is_some_and(|due_ms| due_ms <= self.now_ms);
        if is_behind || !self.pending.is_empty() || self.memory.is_checkpointing() {
            return Some(0);
        }
        let memory_ms = self.memory.look_again_ms(now_ms);
        let appends_ms = self.appends_since_ms.map(|since_ms| since_ms + GATHER_MS);
        timer_ms.into_iter().chain(memory_ms).chain(appends_ms).chain(self.letters_due_ms()).min()
    }

    async fn wait(&mut self) {
        let due_ms = self.next_due_ms(self.shared.clock.now_ms());
        if due_ms == Some(0) {
            return tokio::task::yield_now().await;
        }
        let due = due_ms.map(|due_ms| self.shared.clock.instant_of(due_ms));
        let Self { mailbox, alarm, .. } = self;
        poll_fn(|cx| match mailbox.poll_filled(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => alarm.poll(due, cx),
        })
        .await;
    }

    /// Lets every queue whose time has come look at it, once: with much to do it has its next turn in the next round.
    fn tick(&mut self, now_ms: u64) {
        let mut due = std::mem::take(&mut self.due);
        due.extend(self.timers.iter().take_while(|(due_ms, _)| *due_ms <= now_ms).map(|(_, id)| *id));
        for id in due.drain(..) {
            self.apply(id, Command::Tick, now_ms);
        }
        self.due = due;
    }

    /// Applies one command and carries out its effects. `None` when the queue is gone; otherwise the log index of
    /// messages that it made durable, or 0.
    fn apply(&mut self, id: QueueId, command: Command, now_ms: u64) -> Option<u64> {
        let slot = self.slots.get_mut(&id)?;
        let mut effects = std::mem::take(&mut self.effects);
        slot.queue.apply(command, now_ms, &mut effects);
        let index = self.carry_out(id, &mut effects, now_ms);
        self.effects = effects;
        self.note(id);
        Some(index)
    }

    /// Keeps timers and the memory account in step with a queue.
    fn note(&mut self, id: QueueId) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let due_ms = slot.queue.next_due();
        if due_ms != slot.due_ms {
            if let Some(old) = slot.due_ms {
                self.timers.remove(&(old, id));
            }
            self.timers.extend(due_ms.map(|due_ms| (due_ms, id)));
            slot.due_ms = due_ms;
        }
        let hot_bytes = slot.queue.hot_bytes();
        if hot_bytes != slot.hot_bytes {
            self.memory.changed(id, slot.hot_bytes, hot_bytes);
            slot.hot_bytes = hot_bytes;
        }
    }

    /// Ends a round: what must be logged goes to the log, what was waited for is told.
    pub(crate) fn finish(&mut self, now_ms: u64) {
        self.send_letters();
        self.send_offers();
        self.send_due_appends(now_ms);
        self.letters.tell_sources(self.synced);
        self.offers.tell(self.synced);
        self.tell_publishers();
        self.work_on_checkpoint(now_ms);
        self.spill(now_ms);
        self.forget_synced();
        self.send_cold();
    }

    /// Tells publishers whose messages are safe, or were refused.
    pub(crate) fn tell_publishers(&mut self) {
        for (client, confirm, accepted) in self.confirmed.drain(..) {
            client.mailbox.push(ClientInput::Confirmed(confirm, accepted));
        }
    }

    /// Has a record logged behind what was done so far.
    pub(crate) fn append(&mut self, kind: u8, head: Vec<u8>, body: bytes::Bytes) -> u64 {
        self.index += 1;
        self.append_bytes += body.len();
        self.appends.push(Append { shard: self.log_shard, index: self.index, kind, head, body });
        self.index
    }

    /// Hands over what must be logged. What nobody waits for may gather for a moment: one sync then serves more.
    fn send_due_appends(&mut self, now_ms: u64) {
        if self.appends.is_empty() {
            self.is_awaited = false;
            return;
        }
        let since_ms = *self.appends_since_ms.get_or_insert(now_ms);
        if self.is_awaited || now_ms >= since_ms + GATHER_MS || self.append_bytes >= GATHER_BYTES_MAX {
            self.send_appends();
        }
    }

    /// Hands messages over that nobody waits for; settlements and the like go on gathering when they are alone.
    fn send_gathered_messages(&mut self) {
        let is_message = |append: &Append| [record::ENQUEUE, record::ENQUEUE_WITH_IDS].contains(&append.kind);
        if self.appends.iter().any(is_message) {
            self.send_appends();
        }
    }

    fn send_appends(&mut self) {
        self.memory.logged(self.index, std::mem::take(&mut self.append_bytes));
        self.is_awaited = false;
        self.appends_since_ms = None;
        self.records.append(&mut self.appends);
    }

    /// After a clean stop a restart knows what was never delivered.
    fn note_clean_stop(&mut self) {
        let marks: Vec<_> = self.slots.iter().map(|(id, slot)| (*id, slot.queue.delivered_below())).collect();
        for (id, below) in marks {
            if self.slots.get(&id).is_some_and(|slot| slot.entry.durable) {
                self.append(record::DELIVERED, record::delivered(id, &below), bytes::Bytes::new());
            }
        }
        self.append(record::CLEAN_STOP, Vec::new(), bytes::Bytes::new());
        self.send_appends();
        if let Some(reply) = self.stop.take() {
            // The stopping task may have given up waiting.
            let _ = reply.send(());
        }
    }
}
