//! The transactions task: makes every commit one record of the log, so that a crash leaves all of it or nothing.
//!
//! 1. The shards concerned are asked for numbers for the messages ([`ShardInput::Reserve`]). One that has no place for
//!    them refuses the commit: numbers are given back, settled deliveries go back to their queues.
//! 2. Messages and settlements go into one log record, the messages with their numbers. Commits of several clients
//!    share a sync.
//! 3. When it is synced the shards are told ([`ShardInput::Apply`]), then the client. Whoever asks a shard after the
//!    client was told finds all of it. Queues that look for duplicates note ids, and drop repeats, only now: then the
//!    client is told when the log has that too.
//!
//! Queues of groups and other nodes have no part in that record. They are told with the shards, by way of their gateways, and the
//! client when they are safe too: so a commit that reaches them is atomic for each queue, and not for all of them together.
//!
//! Nothing of a commit is in a queue, or in the cold store, before the log has it. A commit that has begun does not
//! need its client any more.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::shard::record;
use crate::broker::batch::Batch;
use crate::broker::channel::transaction::Publishes;
use crate::broker::channel::unacked::{Settled, Verdict};
use crate::broker::ids::QueueId;
use crate::broker::queue::Command;
use crate::node::links::{Commit, CommitAnswer, Reserve, Reserved, ShardInput, TransactionInput};
use crate::node::shared::{Shared, TRANSACTIONS_SHARD};
use crate::protocol::error::Refusal;
use crate::protocol::reply_code::ReplyCode;
use crate::storage::{Append, LogHandle, PAYLOAD_MAX};

type Reply = oneshot::Sender<Result<(), Refusal>>;

/// The transactions task's state.
pub(crate) struct Transactions {
    shared: Arc<Shared>,
    log: LogHandle,
    /// The last log index given out.
    index: u64,
    /// The shards were told of everything up to this index.
    told: u64,
    /// Commits begun so far.
    begun: u64,
    /// Commits that wait for shards.
    asking: HashMap<u64, Asking, foldhash::fast::RandomState>,
    /// Commits that wait for the log, by index.
    logged: VecDeque<(u64, Vec<Part>, Reply)>,
    appends: Vec<Append>,
}

struct Asking {
    parts: Vec<Part>,
    /// Shards that have not answered.
    open: usize,
    refused: Option<Refusal>,
    reply: Reply,
}

/// What one shard has to do for a commit.
#[derive(Default)]
struct Part {
    shard: usize,
    publishes: Vec<Publishes>,
    settled: Vec<Settled>,
    /// What the shard said.
    reserved: Reserved,
}

impl Transactions {
    /// `index`: the last one in the log.
    pub(crate) fn new(shared: Arc<Shared>, log: LogHandle, index: u64) -> Self {
        Self {
            shared,
            log,
            index,
            told: index,
            begun: 0,
            asking: HashMap::default(),
            logged: VecDeque::new(),
            appends: Vec::new(),
        }
    }

    /// Runs until the node's runtime ends.
    pub(crate) async fn run(mut self) {
        let mailbox = Arc::clone(&self.shared.transactions);
        let mut inputs = Vec::new();
        loop {
            mailbox.filled().await;
            mailbox.take(&mut inputs);
            for input in inputs.drain(..) {
                self.handle(input);
            }
            self.log.append(std::mem::take(&mut self.appends));
            tokio::task::consume_budget().await;
        }
    }

    fn handle(&mut self, input: TransactionInput) {
        match input {
            TransactionInput::Commit(commit, reply) => self.begin(*commit, reply),
            TransactionInput::Reserved(number, at, answer) => self.reserved(number, at, answer),
            TransactionInput::Synced(index) => self.synced(index),
            TransactionInput::Checkpoint(reply) => drop(reply.send(self.told)),
        }
    }

    /// Asks the shards for numbers.
    fn begin(&mut self, commit: Commit, reply: Reply) {
        self.begun += 1;
        let parts = part(commit);
        let is_local = |part: &Part| part.shard < self.shared.own_shards().len();
        let open = parts.iter().filter(|part| is_local(part)).count();
        for (at, part) in parts.iter().enumerate().filter(|(_, part)| is_local(part)) {
            let publishes = part
                .publishes
                .iter()
                .map(|publishes| (publishes.target.id, publishes.batch.clone(), publishes.body_bytes));
            let reserve = Reserve {
                transaction: self.begun,
                part: at,
                publishes: publishes.collect(),
                settled: part
                    .settled
                    .iter()
                    .map(|settled| (settled.source.target.id, settled.verdict))
                    .collect(),
            };
            self.shared.shards[part.shard].push(ShardInput::Reserve(Box::new(reserve)));
        }
        let asking = Asking { parts, open, refused: None, reply };
        if open == 0 {
            return self.decide(asking);
        }
        self.asking.insert(self.begun, asking);
    }

    fn reserved(&mut self, number: u64, at: usize, answer: Result<Reserved, Refusal>) {
        let Some(asking) = self.asking.get_mut(&number) else { return };
        match answer {
            Ok(reserved) => {
                if let Some(part) = asking.parts.get_mut(at) {
                    part.reserved = reserved;
                }
            }
            Err(refusal) => asking.refused = Some(refusal),
        }
        asking.open -= 1;
        if asking.open == 0
            && let Some(asking) = self.asking.remove(&number)
        {
            self.decide(asking);
        }
    }

    /// All shards have answered.
    fn decide(&mut self, Asking { mut parts, refused, reply, .. }: Asking) {
        if let Some(refusal) = refused {
            return self.refuse(parts, refusal, reply);
        }
        let (publishes, settled) = durable(&parts);
        if publishes.is_empty() && settled.is_empty() {
            return self.tell(&mut parts, reply);
        }
        let (head, body) = record::transaction(&publishes, &settled);
        if head.len() + body.len() > PAYLOAD_MAX {
            let text = format!("a transaction of {} bytes is too large", head.len() + body.len());
            let refusal = Refusal::channel(ReplyCode::PreconditionFailed, text);
            return self.refuse(parts, refusal, reply);
        }
        self.index += 1;
        let (shard, index) = (TRANSACTIONS_SHARD, self.index);
        self.appends.push(Append { shard, index, kind: record::TRANSACTION, head, body });
        self.logged.push_back((index, parts, reply));
    }

    /// The log is synced up to this index: what it has is committed.
    fn synced(&mut self, index: u64) {
        while self.logged.front().is_some_and(|(logged, ..)| *logged <= index) {
            if let Some((index, mut parts, reply)) = self.logged.pop_front() {
                self.tell(&mut parts, reply);
                self.told = index;
            }
        }
    }

    /// Has the shards do it: messages first, then settlements. Then the client is told.
    fn tell(&self, parts: &mut Vec<Part>, reply: Reply) {
        let answer = Arc::new(CommitAnswer::new(reply));
        for part in parts.drain(..) {
            if part.shard >= self.shared.own_shards().len() {
                self.tell_elsewhere(part, &answer);
                continue;
            }
            let waits = part.reserved.notes_ids.then(|| Arc::clone(&answer));
            let bytes = part.publishes.iter().map(|publishes| publishes.batch.records.len()).sum();
            let ids = part.publishes.iter().map(|publishes| publishes.target.id);
            let filled = ids.zip(part.reserved.numbered).flat_map(|(id, batches)| {
                batches.into_iter().map(move |(first, batch)| (id, Command::Fill(first, batch)))
            });
            let mut commands: Vec<_> = filled.collect();
            commands.extend(part.settled.into_iter().map(Settled::into_command));
            self.shared.shards[part.shard].push_bulk(ShardInput::Apply(commands, waits), bytes);
        }
    }

    /// An owner elsewhere gives the numbers itself.
    fn tell_elsewhere(&self, part: Part, answer: &Arc<CommitAnswer>) {
        let bytes = part.publishes.iter().map(|publishes| publishes.batch.records.len()).sum();
        let enqueue = |publishes: Publishes| (publishes.target.id, Command::Enqueue(publishes.batch));
        let mut commands: Vec<_> = part.publishes.into_iter().map(enqueue).collect();
        commands.extend(part.settled.into_iter().map(Settled::into_command));
        let input = ShardInput::Apply(commands, Some(Arc::clone(answer)));
        self.shared.shards[part.shard].push_bulk(input, bytes);
    }

    /// Nothing of the commit takes place, and its channel ends: the deliveries it would have settled go back.
    fn refuse(&self, parts: Vec<Part>, refusal: Refusal, reply: Reply) {
        for part in parts {
            let ids = part.publishes.iter().map(|publishes| publishes.target.id);
            let released = ids.zip(&part.reserved.numbered).flat_map(|(id, batches)| {
                batches.iter().map(move |(first, _)| (id, Command::Release(*first)))
            });
            let mut commands: Vec<_> = released.collect();
            let back = |settled| Settled { verdict: Verdict::Fail, ..settled };
            commands.extend(part.settled.into_iter().map(back).map(Settled::into_command));
            self.shared.shards[part.shard].push(ShardInput::Apply(commands, None));
        }
        // The client may have gone.
        let _ = reply.send(Err(refusal));
    }
}

/// Parts a commit by shard, everything in its order.
fn part(commit: Commit) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for publishes in commit.publishes {
        part_of(&mut parts, publishes.target.shard).publishes.push(publishes);
    }
    for settled in commit.settled {
        part_of(&mut parts, settled.source.target.shard).settled.push(settled);
    }
    parts
}

fn part_of(parts: &mut Vec<Part>, shard: u16) -> &mut Part {
    let shard = usize::from(shard);
    let at = parts.iter().position(|part| part.shard == shard).unwrap_or_else(|| {
        parts.push(Part { shard, ..Part::default() });
        parts.len() - 1
    });
    &mut parts[at]
}

type Logged<'a> = (Vec<(QueueId, u64, &'a Batch)>, Vec<(QueueId, &'a [(u64, u64)])>);

/// What of a commit must survive.
fn durable(parts: &[Part]) -> Logged<'_> {
    let (mut publishes, mut settled) = (Vec::new(), Vec::new());
    for part in parts {
        for (one, batches) in part.publishes.iter().zip(&part.reserved.numbered) {
            let durable = batches.iter().filter(|(_, batch)| one.target.durable && batch.persistent > 0);
            publishes.extend(durable.map(|(first, batch)| (one.target.id, *first, batch)));
        }
        let logged = part.settled.iter().zip(&part.reserved.are_final).filter(|(_, is_final)| **is_final);
        settled.extend(logged.map(|(one, _)| (one.source.target.id, one.ranges.as_slice())));
    }
    (publishes, settled)
}
