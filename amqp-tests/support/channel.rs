//! A channel of the raw client: shortcuts, and waiting for what comes on it.

use super::conn::Conn;
use super::event::{Confirm, Delivery, Event, Ids, Method, text_matches};
use super::wait::{QUIET, eventually, unique};

/// One channel of a connection.
#[derive(Clone, Copy)]
pub(crate) struct Channel<'c> {
    pub(crate) conn: &'c Conn,
    pub(crate) number: u16,
}

impl<'c> Channel<'c> {
    /// Publishes `body` to `queue` through the default exchange.
    pub(crate) fn put(self, queue: &str, body: impl AsRef<[u8]>) {
        self.publish("", queue, body).send();
    }

    /// Writes 16 MiB to the log: more than the budget of [`Broker::checkpointing`](super::broker::Broker::checkpointing).
    pub(crate) fn fill_log(self) {
        self.queue_declare("bulk").durable().arg("x-max-length", 1).ok();
        (0..64).for_each(|_| self.publish("", "bulk", [7; 256 * 1024]).persistent().send());
        self.sync();
    }

    /// A new exclusive queue of this connection.
    pub(crate) fn temp_queue(self) -> String {
        let name = unique("q");
        self.queue_declare(&name).exclusive().ok();
        name
    }

    /// A new auto-delete-free exchange, to be deleted by the test (they are few and empty).
    pub(crate) fn temp_exchange(self, kind: &str) -> String {
        let name = unique("x");
        self.exchange_declare(&name, kind).ok();
        name
    }

    /// Basic.Get to be settled.
    pub(crate) fn get(self, queue: &str) -> Option<Delivery> {
        self.basic_get(queue).got()
    }

    /// Basic.Get without acknowledgement.
    pub(crate) fn pull(self, queue: &str) -> Option<Delivery> {
        self.basic_get(queue).no_ack().got()
    }

    /// [`Self::pull`], waiting for a message to be there.
    pub(crate) fn pull_soon(self, queue: &str) -> Delivery {
        eventually("a message in the queue", || self.pull(queue))
    }

    /// [`Self::get`], waiting for a message to be there.
    pub(crate) fn get_soon(self, queue: &str) -> Delivery {
        eventually("a message in the queue", || self.get(queue))
    }

    /// Takes all messages that are ready, without acknowledgement, as text.
    pub(crate) fn pull_all(self, queue: &str) -> Vec<String> {
        std::iter::from_fn(|| self.pull(queue)).map(|d| d.text()).collect()
    }

    /// Messages ready and consumers, by a passive declare.
    pub(crate) fn counts(self, queue: &str) -> (u32, u32) {
        let (_, ready, consumers) = self.queue_declare(queue).passive().ok().declare_ok();
        (ready, consumers)
    }

    /// Waits until `queue` has this many ready messages.
    pub(crate) fn await_ready(self, queue: &str, ready: u32) {
        eventually(&format!("{ready} ready messages"), || (self.counts(queue).0 == ready).then_some(()));
    }

    /// Checks that `queue` is gone, or waits until it is; the channel is open again afterwards.
    pub(crate) fn await_gone(self, queue: &str) {
        eventually("the queue to be gone", || {
            let answer = self.queue_declare(queue).passive().reply().method();
            (answer.ids == (20, 40)).then(|| {
                assert_eq!(answer.close().code, 404, "{:?}", answer.close());
                self.close_ok().send();
                self.open().ok();
            })
        });
    }

    /// All requests before this one have been handled when it returns.
    pub(crate) fn sync(self) {
        self.flow(true).ok();
    }

    /// The next event, in the order it came.
    pub(crate) fn next(self) -> Event {
        self.conn.next(self.number)
    }

    /// The next event, which is a method.
    pub(crate) fn method(self) -> Method {
        self.next().method()
    }

    /// The next event, which is a delivery.
    pub(crate) fn delivery(self) -> Delivery {
        self.method().is((60, 60)).delivery()
    }

    /// The next `n` events, which are deliveries.
    pub(crate) fn deliveries(self, n: usize) -> Vec<Delivery> {
        (0..n).map(|_| self.delivery()).collect()
    }

    /// The next `n` deliveries as text.
    pub(crate) fn texts(self, n: usize) -> Vec<String> {
        self.deliveries(n).iter().map(Delivery::text).collect()
    }

    /// The next event, which is a confirm.
    pub(crate) fn confirm(self) -> Confirm {
        self.method().confirm()
    }

    /// Reads confirms until all up to `last` are answered once; gives them in order of number, true for ack.
    pub(crate) fn confirms(self, first: u64, last: u64) -> Vec<bool> {
        let mut open: std::collections::BTreeMap<u64, Option<bool>> =
            (first..=last).map(|n| (n, None)).collect();
        while open.values().any(Option::is_none) {
            let c = self.confirm();
            let numbers = if c.multiple { first..=c.number } else { c.number..=c.number };
            for n in numbers {
                let state = open.get_mut(&n).unwrap_or_else(|| panic!("confirm {n} was not asked for"));
                assert!(c.multiple || state.is_none(), "number {n} was confirmed twice");
                state.get_or_insert(c.acked);
            }
        }
        open.into_values().flatten().collect()
    }

    /// Nothing comes for this channel, neither now nor after all it asked for has been handled.
    pub(crate) fn quiet(self) {
        self.sync();
        self.conn.next_within(self.number, QUIET).nothing();
    }

    /// The next answer is a Channel.Close like this; it is answered, so the number may be opened again.
    pub(crate) fn expect_close(self, code: u16, ids: Ids, text: &str) {
        let close = self.conn.answer(self.number).method().is((20, 40)).close();
        assert_eq!((close.code, close.ids), (code, ids), "wrong close: {close:?}");
        assert!(text_matches(&close.text, text), "wrong text: {:?}, wanted {text:?}", close.text);
        self.close_ok().send();
    }
}
