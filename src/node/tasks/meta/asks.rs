//! Answers that come from queues: whether one may be deleted, and that a new binding was given what its exchange keeps.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use std::future::Future;
use std::pin::Pin;

use tokio::sync::oneshot;

use super::proposals::Reply;
use crate::broker::ids::QueueId;
use crate::broker::topology::{Outcome, QueueEntry};
use crate::node::links::{Applied, NotDeleted};
use crate::protocol::error::Refusal;

/// A store that cannot be read must not keep a declaration waiting for longer.
const RECALL_MS: u64 = 5_000;

/// How long a queue that nobody uses is left alone when its owner did not answer.
const DROP_AGAIN_MS: u64 = 1_000;

/// Who wants a queue deleted.
#[derive(Debug)]
pub(super) enum Asker {
    Client(oneshot::Sender<Result<(u64, Applied), Refusal>>),
    /// Its shard, if it was not used since then.
    Shard(Option<u64>),
}

/// A queue that was asked whether it may be deleted; none answers for one that cannot be reached.
#[derive(Debug)]
pub(super) struct MayDelete {
    pub(super) queue: Arc<QueueEntry>,
    pub(super) asker: Asker,
    pub(super) answer: Answer<Result<u64, NotDeleted>>,
}

/// A binding that is made, and whose asker hears of it when it was given everything.
#[derive(Debug)]
struct Recalled {
    done: Answer<()>,
    reply: Reply,
    outcome: Outcome,
    until_ms: u64,
}

/// An answer on its way.
#[derive(Debug)]
pub(super) struct Answer<T> {
    receiver: oneshot::Receiver<T>,
    /// It came; `Some(None)`: it will not.
    came: Option<Option<T>>,
}

impl<T> Answer<T> {
    pub(super) fn new(receiver: oneshot::Receiver<T>) -> Self {
        Self { receiver, came: None }
    }

    fn look(&mut self) -> bool {
        if self.came.is_none() {
            match self.receiver.try_recv() {
                Ok(answer) => self.came = Some(Some(answer)),
                Err(oneshot::error::TryRecvError::Closed) => self.came = Some(None),
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
        }
        self.came.is_some()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.came.is_none() {
            match Pin::new(&mut self.receiver).poll(cx) {
                Poll::Ready(answer) => self.came = Some(answer.ok()),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }
}

#[derive(Debug, Default)]
pub(super) struct Asks {
    deletes: Vec<MayDelete>,
    recalls: Vec<Recalled>,
    /// Queues that nobody uses, whose owners did not answer: when they are asked again.
    unanswered: VecDeque<(u64, QueueId, Option<u64>)>,
}

impl Asks {
    pub(super) fn ask(&mut self, ask: MayDelete) {
        self.deletes.push(ask);
    }

    pub(super) fn recall(
        &mut self,
        done: oneshot::Receiver<()>,
        reply: Reply,
        outcome: Outcome,
        now_ms: u64,
    ) {
        let (done, until_ms) = (Answer::new(done), now_ms + RECALL_MS);
        self.recalls.push(Recalled { done, reply, outcome, until_ms });
    }

    /// Bindings that were given everything.
    pub(super) fn recalled(&mut self, now_ms: u64) -> Vec<(Reply, Outcome)> {
        // When the exchange is deleted meanwhile, nobody answers.
        let is_done = |recalled: &mut Recalled| recalled.done.look() || recalled.until_ms <= now_ms;
        let done = self.recalls.extract_if(.., is_done);
        done.map(|Recalled { reply, outcome, .. }| (reply, outcome)).collect()
    }

    /// Deletes that were answered.
    pub(super) fn answered(&mut self) -> Vec<(MayDelete, Option<Result<u64, NotDeleted>>)> {
        let answered = self.deletes.extract_if(.., |ask| ask.answer.look());
        answered
            .map(|mut ask| {
                let answer = ask.answer.came.take().flatten();
                (ask, answer)
            })
            .collect()
    }

    /// Nobody answered for a queue that is to go: without that it would stay for ever.
    pub(super) fn drop_later(&mut self, id: QueueId, idle_since_ms: Option<u64>, now_ms: u64) {
        self.unanswered.push_back((now_ms + DROP_AGAIN_MS, id, idle_since_ms));
    }

    /// The next queue whose owner is to be asked again whether it may go.
    pub(super) fn drop_again(&mut self, now_ms: u64) -> Option<(QueueId, Option<u64>)> {
        self.unanswered.front().filter(|(at_ms, ..)| *at_ms <= now_ms)?;
        self.unanswered.pop_front().map(|(_, id, idle_since_ms)| (id, idle_since_ms))
    }

    /// Ready when something came.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut is_ready = false;
        for ask in &mut self.deletes {
            is_ready |= ask.answer.poll(cx).is_ready();
        }
        for recalled in &mut self.recalls {
            is_ready |= recalled.done.poll(cx).is_ready();
        }
        if is_ready { Poll::Ready(()) } else { Poll::Pending }
    }

    pub(super) fn next_due_ms(&self) -> Option<u64> {
        let recalls = self.recalls.iter().map(|recalled| recalled.until_ms).min();
        recalls.into_iter().chain(self.unanswered.front().map(|(at_ms, ..)| *at_ms)).min()
    }
}
