//! The one way in which tasks talk: a mailbox whose owner takes everything that waits at once.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

/// A mailbox. Whoever brings bulk asks for room first with [`Self::room`]; small things always fit.
#[derive(Debug)]
pub(crate) struct Mailbox<T> {
    waiting: Mutex<Waiting<T>>,
    bytes: AtomicUsize,
    bytes_max: usize,
    paused: AtomicBool,
    emptied: Notify,
}

#[derive(Debug)]
struct Waiting<T> {
    items: Vec<T>,
    /// The owner, while it sleeps because nothing is there.
    owner: Option<Waker>,
}

impl<T> Mailbox<T> {
    /// An empty mailbox; publishers wait while more than `bytes_max` bytes are in it.
    #[must_use]
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            waiting: Mutex::new(Waiting { items: Vec::new(), owner: None }),
            bytes: AtomicUsize::new(0),
            bytes_max,
            paused: AtomicBool::new(false),
            emptied: Notify::new(),
        }
    }

    /// Puts something in and wakes the owner.
    pub(crate) fn push(&self, item: T) {
        let owner = {
            let mut waiting = self.lock();
            waiting.items.push(item);
            waiting.owner.take()
        };
        if let Some(owner) = owner {
            owner.wake();
        }
    }

    /// Puts bulk in, counted until the owner takes it.
    pub(crate) fn push_bulk(&self, item: T, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
        self.push(item);
    }

    /// Waits until there is room for more bulk.
    pub(crate) async fn room(&self) {
        while !self.has_room() {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            emptied.as_mut().enable();
            if self.has_room() {
                return;
            }
            emptied.await;
        }
    }

    /// Whether bulk may come in without waiting.
    #[must_use]
    pub(crate) fn has_room(&self) -> bool {
        !self.paused.load(Ordering::Acquire) && self.bytes.load(Ordering::Acquire) <= self.bytes_max
    }

    /// Keeps bulk out, or lets it in again.
    pub(crate) fn set_paused(&self, paused: bool) {
        if self.paused.swap(paused, Ordering::AcqRel) && !paused {
            self.emptied.notify_waiters();
        }
    }

    /// Takes all that waits. `into` must be empty.
    pub(crate) fn take(&self, into: &mut Vec<T>) {
        std::mem::swap(&mut self.lock().items, into);
        if self.bytes.swap(0, Ordering::AcqRel) > 0 {
            self.emptied.notify_waiters();
        }
    }

    /// Whether nothing waits.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().items.is_empty()
    }

    /// Gives back the memory of a burst, if nothing waits.
    pub(crate) fn rest(&self) {
        let mut waiting = self.lock();
        if waiting.items.is_empty() {
            waiting.items = Vec::new();
        }
    }

    /// Waits until something is in.
    pub(crate) async fn filled(&self) {
        poll_fn(|cx| self.poll_filled(cx)).await;
    }

    /// Ready when something is in; otherwise the owner, which is the only one to ask, is woken then.
    pub(crate) fn poll_filled(&self, cx: &Context<'_>) -> Poll<()> {
        let mut waiting = self.lock();
        if !waiting.items.is_empty() {
            return Poll::Ready(());
        }
        if !waiting.owner.as_ref().is_some_and(|owner| owner.will_wake(cx.waker())) {
            waiting.owner = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn bulk_waits_for_room_and_small_things_do_not() {
        let mailbox = Arc::new(Mailbox::new(10));
        mailbox.push_bulk(1, 11);
        mailbox.push(2);
        let waiting = {
            let mailbox = Arc::clone(&mailbox);
            async move { mailbox.room().await }
        };
        tokio::pin!(waiting);
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        let mut taken = Vec::new();
        mailbox.take(&mut taken);
        assert_eq!(taken, [1, 2]);
        waiting.await;
        mailbox.set_paused(true);
        assert!(!mailbox.has_room());
    }
}
