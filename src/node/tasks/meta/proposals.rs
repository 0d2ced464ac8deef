//! What this node asks of the group, and who waits for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tokio::sync::oneshot;

use crate::broker::topology::Outcome;
use crate::node::cluster::meta::{MetaAnswer, MetaCommand, MetaEntry, Origin};
use crate::node::links::Applied;
use crate::protocol::error::Refusal;
use crate::protocol::reply_code::ReplyCode;

/// How long an asker waits for a majority.
const PATIENCE_MS: u64 = 10_000;
/// When nothing was heard for so long, everything is asked again.
const AGAIN_MS: u64 = 1_000;
/// Bytes of commands that are sent together, but at least one command.
const BATCH_BYTES: usize = 256 * 1024;

/// Who waits for a command.
#[derive(Debug)]
pub(super) enum Reply {
    Nobody,
    Applied(oneshot::Sender<Result<Applied, Refusal>>),
    /// A deleted queue had so many messages.
    Deleted(u64, oneshot::Sender<Result<(u64, Applied), Refusal>>),
    Answer(oneshot::Sender<Result<MetaAnswer, Refusal>>),
}

impl Reply {
    /// Whoever asked may have gone.
    pub(super) fn send(self, answer: Result<MetaAnswer, Refusal>, outcome: Outcome) {
        match self {
            Self::Nobody => {}
            // The group has it: there is nothing to wait for on this node.
            Self::Applied(reply) => drop(reply.send(answer.map(|_| Applied { outcome, index: 0 }))),
            Self::Deleted(ready, reply) => {
                drop(reply.send(answer.map(|_| (ready, Applied { outcome, index: 0 }))));
            }
            Self::Answer(reply) => drop(reply.send(answer)),
        }
    }
}

#[derive(Debug)]
struct Waiting {
    command: MetaCommand,
    reply: Reply,
    /// It is asked for until it takes place, also when nobody waits any more.
    lasts: bool,
}

/// Commands that have not taken place, by number.
#[derive(Debug)]
pub(super) struct Proposals {
    origin: Origin,
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
    unsent: BTreeSet<u64>,
    /// When askers lose their patience: ascending.
    ends: VecDeque<(u64, u64)>,
    /// When everything is asked again.
    again_ms: u64,
}

impl Proposals {
    pub(super) fn new(origin: Origin) -> Self {
        let (waiting, unsent, ends) = Default::default();
        Self { origin, next: 1, waiting, unsent, ends, again_ms: 0 }
    }

    pub(super) fn add(&mut self, command: MetaCommand, reply: Reply, lasts: bool, now_ms: u64) {
        let number = self.next;
        self.next += 1;
        if !lasts || !matches!(reply, Reply::Nobody) {
            self.ends.push_back((now_ms + PATIENCE_MS, number));
        }
        self.waiting.insert(number, Waiting { command, reply, lasts });
        self.unsent.insert(number);
    }

    /// Whether such a command waits already.
    pub(super) fn has(&self, command: &MetaCommand) -> bool {
        self.waiting.values().any(|waiting| waiting.command == *command)
    }

    /// A command took place, or was refused: who waits for it. None when nobody does any more.
    pub(super) fn take(&mut self, number: u64, now_ms: u64) -> Option<Reply> {
        self.again_ms = now_ms + AGAIN_MS;
        self.unsent.remove(&number);
        self.waiting.remove(&number).map(|waiting| waiting.reply)
    }

    pub(super) fn numbers(&self) -> Vec<u64> {
        self.waiting.keys().copied().collect()
    }

    /// Who orders commands is somebody else now, or did not take them.
    pub(super) fn ask_again(&mut self) {
        self.unsent = self.waiting.keys().copied().collect();
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// The next commands to send, as entries end to end.
    pub(super) fn batch(&mut self, now_ms: u64) -> Option<Vec<u8>> {
        let settled_below = self.waiting.keys().next().copied().unwrap_or(self.next);
        let mut out = Vec::new();
        while out.len() < BATCH_BYTES
            && let Some(number) = self.unsent.pop_first()
        {
            if let Some(waiting) = self.waiting.get(&number) {
                let command = waiting.command.clone();
                MetaEntry { origin: self.origin, number, settled_below, command }.put(&mut out);
            }
        }
        self.again_ms = now_ms + AGAIN_MS;
        (!out.is_empty()).then_some(out)
    }

    /// Time passes: who has waited too long is told, and what may be lost is sent again.
    pub(super) fn look(&mut self, now_ms: u64) {
        while self.ends.front().is_some_and(|(at_ms, _)| *at_ms <= now_ms)
            && let Some((_, number)) = self.ends.pop_front()
        {
            let Some(waiting) = self.waiting.get_mut(&number) else { continue };
            let reply = std::mem::replace(&mut waiting.reply, Reply::Nobody);
            if !waiting.lasts {
                self.waiting.remove(&number);
                self.unsent.remove(&number);
            }
            reply.send(Err(no_majority()), Outcome::default());
        }
        if !self.waiting.is_empty() && now_ms >= self.again_ms {
            self.again_ms = now_ms + AGAIN_MS;
            self.ask_again();
        }
    }

    pub(super) fn next_due_ms(&self) -> Option<u64> {
        let ends_ms = self.ends.front().map(|(at_ms, _)| *at_ms);
        ends_ms.into_iter().chain((!self.waiting.is_empty()).then_some(self.again_ms)).min()
    }
}

/// RabbitMQ ends the connection when its metadata store times out: clients then look for another node.
pub(super) fn no_majority() -> Refusal {
    Refusal::connection(
        ReplyCode::InternalError,
        "no majority of the cluster's nodes has agreed within 10 seconds; try another node, or again later",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::topology::Command;

    const ORIGIN: Origin = Origin { node: 2, run: 3 };

    fn command(owner: u64) -> MetaCommand {
        MetaCommand::Topology(Command::DropOwner { owner })
    }

    fn sent(proposals: &mut Proposals, now_ms: u64) -> Vec<(u64, u64)> {
        let batch = proposals.batch(now_ms).unwrap_or_default();
        let entries = MetaEntry::read_all(&batch).unwrap();
        entries.into_iter().map(|entry| (entry.number, entry.settled_below)).collect()
    }

    #[test]
    fn what_is_not_heard_of_is_sent_again() {
        let mut proposals = Proposals::new(ORIGIN);
        (0..3).for_each(|owner| proposals.add(command(owner), Reply::Nobody, true, 0));
        assert_eq!(sent(&mut proposals, 0), [(1, 1), (2, 1), (3, 1)]);
        assert!(sent(&mut proposals, 500).is_empty());
        assert!(proposals.take(1, 500).is_some() && proposals.take(1, 500).is_none());
        proposals.look(1400);
        assert!(!proposals.has_unsent(), "something was heard");
        proposals.look(1500);
        assert_eq!(sent(&mut proposals, 1500), [(2, 2), (3, 2)]);
        proposals.ask_again();
        assert_eq!(sent(&mut proposals, 1501), [(2, 2), (3, 2)]);
    }

    #[test]
    fn patience_ends_and_what_lasts_goes_on() {
        let mut proposals = Proposals::new(ORIGIN);
        let (reply, mut answer) = oneshot::channel();
        let (lasting, mut lasting_answer) = oneshot::channel();
        proposals.add(command(1), Reply::Applied(reply), false, 0);
        proposals.add(command(2), Reply::Applied(lasting), true, 0);
        proposals.look(9_999);
        assert!(answer.try_recv().is_err());
        proposals.look(10_000);
        assert_eq!(answer.try_recv().unwrap().unwrap_err(), no_majority());
        assert!(lasting_answer.try_recv().unwrap().is_err());
        assert_eq!(sent(&mut proposals, 10_000), [(2, 2)], "the first will not take place any more");
    }
}
