//! What the threads of a run share, and how they are started and brought together again.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use crate::clock::now_ns;
use crate::control::Control;
use crate::error::{Error, Result};
use crate::load::consumer::{Consumer, Received};
use crate::load::producer::{Producer, Sent};

const READY_WAIT_NS: u64 = 30_000_000_000;

/// Shared by the threads of a run; counters are written once per read or write.
pub(crate) struct Stage {
    pub(crate) control: Control,
    /// Messages that each producer has sent.
    pub(crate) sent: Vec<AtomicU64>,
    /// Deliveries that each consumer got.
    pub(crate) received: Vec<AtomicU64>,
    /// Consumers (of one queue each) that the broker has confirmed.
    pub(crate) ready: AtomicU64,
    pub(crate) producers_done: AtomicU64,
    /// Latencies count for messages that were due from here on.
    pub(crate) measured_from_ns: AtomicU64,
    pub(crate) measured_until_ns: AtomicU64,
}

/// What the threads bring home.
pub(crate) struct Harvest<T> {
    pub(crate) sent: Vec<Sent>,
    pub(crate) received: Vec<Received>,
    /// What the script found.
    pub(crate) found: T,
}

impl Stage {
    pub(crate) fn new(timeout_ns: u64, producers: usize, consumers: usize) -> Self {
        let counters = |count| (0..count).map(|_| AtomicU64::new(0)).collect();
        Self {
            control: Control::new(timeout_ns),
            sent: counters(producers),
            received: counters(consumers),
            ready: AtomicU64::new(0),
            producers_done: AtomicU64::new(0),
            measured_from_ns: AtomicU64::new(u64::MAX),
            measured_until_ns: AtomicU64::new(u64::MAX),
        }
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.iter().map(|count| count.load(Relaxed)).sum()
    }

    pub(crate) fn received(&self) -> u64 {
        self.received.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// Waits until all producers have ended.
    pub(crate) fn wait_for_producers(&self) -> Result<()> {
        self.control.wait(u64::MAX, || self.producers_done.load(Relaxed) == self.sent.len() as u64)
    }

    /// Waits until `expected` deliveries came, or none for `patience_ns`; gives the time of the last one.
    pub(crate) fn wait_for_deliveries(&self, expected: u64, patience_ns: u64) -> Result<u64> {
        let (mut last, mut last_ns) = (0, now_ns());
        self.control.wait(u64::MAX, || {
            let received = self.received();
            if received != last {
                (last, last_ns) = (received, now_ns());
            }
            received >= expected || now_ns() - last_ns > patience_ns
        })?;
        Ok(last_ns)
    }

    /// Runs consumers, then producers, and the script that watches them and tells them when to end.
    pub(crate) fn run<T>(
        &self,
        consumers: Vec<Consumer>,
        producers: Vec<Producer>,
        script: impl FnOnce(&Self) -> Result<T>,
    ) -> Result<Harvest<T>> {
        let lanes: u64 = consumers.iter().map(Consumer::lanes).sum();
        thread::scope(|scope| {
            let consumers: Vec<_> = consumers
                .into_iter()
                .map(|consumer| scope.spawn(move || self.guard(|| consumer.run(self))))
                .collect();
            let ready = self.wait_until_ready(lanes);
            let producers: Vec<_> = producers
                .into_iter()
                .take(if ready.is_ok() { usize::MAX } else { 0 })
                .map(|producer| scope.spawn(move || self.guard(|| producer.run(self))))
                .collect();
            let found = ready.and_then(|()| script(self));
            if found.is_err() {
                self.control.fail();
            }
            let sent = collect(producers.into_iter().map(|thread| thread.join()));
            let received = collect(consumers.into_iter().map(|thread| thread.join()));
            // A thread knows better what happened than the script, which only saw that nothing came.
            Ok(Harvest { sent: sent?, received: received?, found: found? })
        })
    }

    fn wait_until_ready(&self, lanes: u64) -> Result<()> {
        let is_ready = || self.ready.load(Relaxed) == lanes;
        self.control.wait(now_ns() + READY_WAIT_NS, is_ready)?;
        if is_ready() { Ok(()) } else { Err(Error::new("not all consumers were answered")) }
    }

    /// Ends the whole run when one thread fails.
    fn guard<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let result = work();
        if result.is_err() {
            self.control.fail();
        }
        result
    }
}

fn collect<T>(threads: impl Iterator<Item = thread::Result<Result<T>>>) -> Result<Vec<T>> {
    threads
        .map(|ended| ended.unwrap_or_else(|_| Err(Error::new("a thread of the load generator panicked"))))
        .collect()
}
