//! Copies of messages, brought to queues and waited for until they are safe there.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::letters::Letter;
use crate::broker::batch::Batch;
use crate::broker::channel::confirm::{Answer, Ledger};
use crate::broker::channel::outgoing::Confirm;
use crate::broker::ids::Target;
use crate::broker::queue::SeqRange;
use crate::node::links::{ClientInput, ClientLink, ShardInput, Waiter};
use crate::node::mailbox::Mailbox;
use crate::node::shared::Shared;
use crate::node::surgery::jobs::Job;

/// What became of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// All its queues have it.
    Safe,
    /// A queue has no place for it, or cannot be reached.
    Refused,
    /// Nobody waits for it any more.
    Unknown,
}

/// A publisher of its own, without a connection.
pub(super) struct Carrier {
    shared: Arc<Shared>,
    link: Arc<ClientLink>,
    ledger: Ledger,
    heard: Vec<ClientInput>,
}

#[derive(Default)]
struct Open {
    records: Vec<u8>,
    count: u32,
    persistent: u32,
    ranges: Vec<SeqRange>,
}

impl Carrier {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        let link = Arc::new(ClientLink { id: shared.next_id(), mailbox: Mailbox::new(usize::MAX) });
        Self { shared: Arc::clone(shared), link, ledger: Ledger::default(), heard: Vec::new() }
    }

    /// Brings letters to their queues, in this order, and waits until they are safe. Each has a target.
    pub(super) async fn carry(&mut self, letters: &[Letter], job: &Job) -> Vec<Fate> {
        let mut open: BTreeMap<_, (Target, Open)> = BTreeMap::new();
        let mut first = None;
        for letter in letters {
            let number = self.ledger.publish(letter.targets.len());
            first.get_or_insert(number);
            for target in &letter.targets {
                let (_, open) = open.entry(target.id).or_insert_with(|| (*target, Open::default()));
                open.records.extend_from_slice(&letter.record);
                open.count += 1;
                open.persistent += u32::from(letter.persistent);
                open.ranges.push((number, 1));
            }
        }
        let mut fates = vec![Fate::Unknown; letters.len()];
        for (target, open) in open.into_values() {
            let shard = self.shared.shard(target);
            tokio::select! {
                () = shard.room() => {}
                () = job.until_cancelled() => return self.given_up(fates),
                () = self.shared.stopped() => return self.given_up(fates),
            }
            let confirm = Confirm { channel: 1, epoch: 1, ranges: open.ranges };
            let batch = Batch::of(open.records, open.count, open.persistent);
            let bytes = batch.records.len();
            let waiter = Waiter::Publisher(Arc::clone(&self.link), confirm);
            shard.push_bulk(ShardInput::Publish(target.id, batch, waiter), bytes);
        }
        self.wait(&mut fates, first.unwrap_or(1), job).await;
        fates
    }

    async fn wait(&mut self, fates: &mut [Fate], first: u64, job: &Job) {
        let mut known = 0;
        while known < fates.len() {
            while let Some(answer) = self.ledger.answer() {
                let (last, fate) = match answer {
                    Answer::Ack(last, _) => (last, Fate::Safe),
                    Answer::Nack(last, _) => (last, Fate::Refused),
                };
                let end = usize::try_from((last + 1).saturating_sub(first)).unwrap_or(usize::MAX);
                let end = end.min(fates.len());
                fates.iter_mut().take(end).skip(known).for_each(|it| *it = fate);
                known = end.max(known);
            }
            if known == fates.len() {
                return;
            }
            tokio::select! {
                () = self.link.mailbox.filled() => {}
                () = job.until_cancelled() => break,
                () = self.shared.stopped() => break,
            }
            self.link.mailbox.take(&mut self.heard);
            for input in self.heard.drain(..) {
                if let ClientInput::Confirmed(confirm, accepted) = input {
                    self.ledger.complete(&confirm.ranges, accepted);
                }
            }
        }
        // What is answered later is of another life.
        self.begin_anew();
    }

    fn given_up(&mut self, fates: Vec<Fate>) -> Vec<Fate> {
        self.begin_anew();
        fates
    }

    fn begin_anew(&mut self) {
        self.link = Arc::new(ClientLink { id: self.shared.next_id(), mailbox: Mailbox::new(usize::MAX) });
        self.ledger = Ledger::default();
    }
}
