//! What a session asked of a queue and waits to hear.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot::Receiver;
use tokio::sync::oneshot::error::TryRecvError;

use crate::broker::ids::QueueId;
use crate::broker::queue::{Command, ConsumerId, ConsumerSpec, Counts, GetReply, SeqRange};
use crate::node::cluster::forward::{Consumer, Reply, Settle};
use crate::node::links::{NotConsuming, NotDeleted};

/// A question, until it is answered and the answer is taken.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) number: u64,
    pub(super) queue: QueueId,
    waits_for: Question,
    /// The answer came: `None` within when there will never be one.
    answer: Option<Option<Reply>>,
}

#[derive(Debug)]
pub(super) enum Question {
    Stat(Receiver<Option<Counts>>),
    Consume(Receiver<Result<(), NotConsuming>>, ConsumerId),
    Suspend(Receiver<()>),
    Cancel(Receiver<()>, ConsumerId),
    Get(Receiver<Option<GetReply>>, bool),
    Purge(Receiver<Option<u64>>),
    Delete(Receiver<Result<u64, NotDeleted>>),
}

impl Ask {
    pub(super) fn new(number: u64, queue: QueueId, waits_for: Question) -> Self {
        Self { number, queue, waits_for, answer: None }
    }

    /// Whether it is to be given a message that must be settled.
    pub(super) fn takes_a_message(&self) -> bool {
        matches!(self.waits_for, Question::Get(_, false))
    }

    /// Whether the answer is there; looks for it.
    pub(super) fn is_answered(&mut self) -> bool {
        if self.answer.is_none() {
            self.answer = match self.look(None) {
                Poll::Ready(answer) => Some(answer),
                Poll::Pending => None,
            };
        }
        self.answer.is_some()
    }

    /// Ready when the answer is there; whoever asks is woken then.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.answer.is_none() {
            match self.look(Some(cx)) {
                Poll::Ready(answer) => self.answer = Some(answer),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }

    /// The answer, once [`Self::is_answered`].
    pub(super) fn take(self) -> (Question, Option<Reply>) {
        (self.waits_for, self.answer.flatten())
    }

    fn look(&mut self, cx: Option<&mut Context<'_>>) -> Poll<Option<Reply>> {
        match &mut self.waits_for {
            Question::Stat(answer) => look(answer, cx, Reply::Stat),
            Question::Consume(answer, _) => look(answer, cx, Reply::Consume),
            Question::Suspend(answer) | Question::Cancel(answer, _) => look(answer, cx, |()| Reply::Unit),
            Question::Get(answer, _) => look(answer, cx, Reply::Get),
            Question::Purge(answer) => look(answer, cx, Reply::Purge),
            Question::Delete(answer) => look(answer, cx, Reply::Delete),
        }
    }
}

fn look<T>(
    answer: &mut Receiver<T>,
    cx: Option<&mut Context<'_>>,
    reply: impl FnOnce(T) -> Reply,
) -> Poll<Option<Reply>> {
    if let Some(cx) = cx {
        return Pin::new(answer).poll(cx).map(|answer| answer.ok().map(reply));
    }
    match answer.try_recv() {
        Ok(answer) => Poll::Ready(Some(reply(answer))),
        Err(TryRecvError::Empty) => Poll::Pending,
        Err(TryRecvError::Closed) => Poll::Ready(None),
    }
}

/// A settlement as a queue is told.
pub(super) fn settlement(consumer: ConsumerId, how: Settle, ranges: Vec<SeqRange>) -> Command {
    match how {
        Settle::Ack => Command::Ack(consumer, ranges),
        Settle::Requeue => Command::Requeue(consumer, ranges),
        Settle::Fail => Command::Fail(consumer, ranges),
        Settle::Reject => Command::Reject(consumer, ranges),
    }
}

/// A consumer as a queue is told of it.
pub(super) fn spec(consumer: &Consumer) -> ConsumerSpec {
    ConsumerSpec {
        id: consumer.id,
        no_ack: consumer.no_ack,
        exclusive: consumer.exclusive,
        prefetch: consumer.prefetch,
        priority: consumer.priority,
        window_bytes: consumer.window_bytes,
        shared: Arc::default(),
        is_back: consumer.is_back,
        was_served: consumer.was_served,
    }
}
