//! A channel of the raw client: each request is a [`Call`] that is then sent, awaited, or expected to fail.

use super::codec::{Encoder, Table, Value};
use super::conn::{Conn, frame};
use super::event::{Confirm, Delivery, Event, Ids, Method, text_matches};
use super::props::Props;
use super::wait::{QUIET, eventually, unique};

/// One channel of a connection.
#[derive(Clone, Copy)]
pub(crate) struct Channel<'c> {
    pub(crate) conn: &'c Conn,
    pub(crate) number: u16,
}

/// A request not yet sent.
#[must_use]
pub(crate) struct Call<'c> {
    channel: Channel<'c>,
    ids: Ids,
    ok: Ids,
    head: Encoder,
    flags: &'static [&'static str],
    bits: u8,
    table: Option<Table>,
}

impl<'c> Channel<'c> {
    fn call(self, ids: Ids, flags: &'static [&'static str]) -> Call<'c> {
        let ok = (ids.0, if ids == (40, 40) { 51 } else { ids.1 + 1 });
        let head = Encoder::method(ids.0, ids.1);
        Call { channel: self, ids, ok, head, flags, bits: 0, table: None }
    }

    pub(crate) fn open(self) -> Call<'c> {
        self.call((20, 10), &[]).head(|h| h.short(""))
    }

    pub(crate) fn flow(self, active: bool) -> Call<'c> {
        self.call((20, 20), &[]).head(|h| h.u8(u8::from(active)))
    }

    pub(crate) fn close(self) -> Call<'c> {
        self.call((20, 40), &[]).head(|h| h.u16(200).short("").u16(0).u16(0))
    }

    pub(crate) fn close_ok(self) -> Call<'c> {
        self.call((20, 41), &[])
    }

    pub(crate) fn access_request(self) -> Call<'c> {
        self.call((30, 10), &[]).head(|h| h.short("/data").u8(0b11101))
    }

    pub(crate) fn exchange_declare(self, name: &str, kind: &str) -> Call<'c> {
        self.call((40, 10), &["passive", "durable", "auto_delete", "internal", "nowait"])
            .head(|h| h.u16(0).short(name).short(kind))
            .with_table()
    }

    pub(crate) fn exchange_delete(self, name: &str) -> Call<'c> {
        self.call((40, 20), &["if_unused", "nowait"]).head(|h| h.u16(0).short(name))
    }

    pub(crate) fn exchange_bind(self, destination: &str, source: &str, key: &str) -> Call<'c> {
        self.call((40, 30), &["nowait"])
            .head(|h| h.u16(0).short(destination).short(source).short(key))
            .with_table()
    }

    pub(crate) fn exchange_unbind(self, destination: &str, source: &str, key: &str) -> Call<'c> {
        self.call((40, 40), &["nowait"])
            .head(|h| h.u16(0).short(destination).short(source).short(key))
            .with_table()
    }

    pub(crate) fn queue_declare(self, name: impl AsRef<[u8]>) -> Call<'c> {
        self.call((50, 10), &["passive", "durable", "exclusive", "auto_delete", "nowait"])
            .head(|h| h.u16(0).short(name))
            .with_table()
    }

    pub(crate) fn queue_bind(self, queue: &str, exchange: &str, key: &str) -> Call<'c> {
        self.call((50, 20), &["nowait"])
            .head(|h| h.u16(0).short(queue).short(exchange).short(key))
            .with_table()
    }

    pub(crate) fn queue_unbind(self, queue: &str, exchange: &str, key: &str) -> Call<'c> {
        self.call((50, 50), &[]).head(|h| h.u16(0).short(queue).short(exchange).short(key)).with_table()
    }

    pub(crate) fn queue_purge(self, queue: &str) -> Call<'c> {
        self.call((50, 30), &["nowait"]).head(|h| h.u16(0).short(queue))
    }

    pub(crate) fn queue_delete(self, queue: &str) -> Call<'c> {
        self.call((50, 40), &["if_unused", "if_empty", "nowait"]).head(|h| h.u16(0).short(queue))
    }

    pub(crate) fn qos(self, size: u32, count: u16, global: bool) -> Call<'c> {
        self.call((60, 10), &[]).head(|h| h.u32(size).u16(count).u8(u8::from(global)))
    }

    pub(crate) fn consume(self, queue: &str, tag: &str) -> Call<'c> {
        self.call((60, 20), &["no_local", "no_ack", "exclusive", "nowait"])
            .head(|h| h.u16(0).short(queue).short(tag))
            .with_table()
    }

    pub(crate) fn cancel(self, tag: &str) -> Call<'c> {
        self.call((60, 30), &["nowait"]).head(|h| h.short(tag))
    }

    /// Basic.Get as a request; [`Self::get`] and [`Self::pull`] give the message.
    pub(crate) fn basic_get(self, queue: &str) -> Call<'c> {
        self.call((60, 70), &["no_ack"]).head(|h| h.u16(0).short(queue))
    }

    pub(crate) fn ack(self, tag: u64) -> Call<'c> {
        self.call((60, 80), &["multiple"]).head(|h| h.u64(tag))
    }

    pub(crate) fn reject(self, tag: u64) -> Call<'c> {
        self.call((60, 90), &["requeue"]).head(|h| h.u64(tag))
    }

    pub(crate) fn nack(self, tag: u64) -> Call<'c> {
        self.call((60, 120), &["multiple", "requeue"]).head(|h| h.u64(tag))
    }

    pub(crate) fn recover(self, requeue: bool) -> Call<'c> {
        self.call((60, 110), &[]).head(|h| h.u8(u8::from(requeue)))
    }

    pub(crate) fn recover_async(self, requeue: bool) -> Call<'c> {
        self.call((60, 100), &[]).head(|h| h.u8(u8::from(requeue)))
    }

    pub(crate) fn confirm_select(self) -> Call<'c> {
        self.call((85, 10), &["nowait"])
    }

    pub(crate) fn tx_select(self) -> Call<'c> {
        self.call((90, 10), &[])
    }

    /// Any method at all, with its fields as octets.
    pub(crate) fn any(self, ids: Ids, fields: &[u8]) -> Call<'c> {
        self.call(ids, &[]).head(|h| h.raw(fields))
    }

    pub(crate) fn publish(self, exchange: &str, key: &str, body: impl AsRef<[u8]>) -> Publish<'c> {
        Publish {
            channel: self,
            head: Encoder::method(60, 40).u16(0).short(exchange).short(key),
            bits: 0,
            props: Props::default(),
            body: body.as_ref().to_vec(),
        }
    }

    /// Publishes `body` to `queue` through the default exchange.
    pub(crate) fn put(self, queue: &str, body: impl AsRef<[u8]>) {
        self.publish("", queue, body).send();
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

impl<'c> Call<'c> {
    fn head(mut self, build: impl FnOnce(Encoder) -> Encoder) -> Self {
        self.head = build(self.head);
        self
    }

    fn with_table(mut self) -> Self {
        self.table = Some(Table::new());
        self
    }

    fn flag(mut self, name: &str) -> Self {
        let at = self.flags.iter().position(|f| *f == name);
        self.bits |= 1 << at.unwrap_or_else(|| panic!("method {:?} has no flag {name}", self.ids));
        self
    }

    pub(crate) fn passive(self) -> Self {
        self.flag("passive")
    }

    pub(crate) fn durable(self) -> Self {
        self.flag("durable")
    }

    pub(crate) fn exclusive(self) -> Self {
        self.flag("exclusive")
    }

    pub(crate) fn auto_delete(self) -> Self {
        self.flag("auto_delete")
    }

    pub(crate) fn internal(self) -> Self {
        self.flag("internal")
    }

    pub(crate) fn nowait(self) -> Self {
        self.flag("nowait")
    }

    pub(crate) fn no_ack(self) -> Self {
        self.flag("no_ack")
    }

    pub(crate) fn no_local(self) -> Self {
        self.flag("no_local")
    }

    pub(crate) fn multiple(self) -> Self {
        self.flag("multiple")
    }

    pub(crate) fn requeue(self) -> Self {
        self.flag("requeue")
    }

    pub(crate) fn if_unused(self) -> Self {
        self.flag("if_unused")
    }

    pub(crate) fn if_empty(self) -> Self {
        self.flag("if_empty")
    }

    pub(crate) fn arg(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.table.as_mut().expect("the method has arguments").push((key.to_owned(), value.into()));
        self
    }

    pub(crate) fn args(mut self, args: Table) -> Self {
        self.table.as_mut().expect("the method has arguments").extend(args);
        self
    }

    /// The method's payload.
    pub(crate) fn encode(&self) -> Encoder {
        let bits = if self.flags.is_empty() { self.head.clone() } else { self.head.clone().u8(self.bits) };
        self.table.iter().fold(bits, Encoder::table)
    }

    /// Sends and does not wait.
    pub(crate) fn send(self) {
        self.channel.conn.send(self.channel.number, self.encode());
    }

    /// Sends; the next answer, whatever it is. Deliveries, returns and confirms stay for later.
    pub(crate) fn reply(self) -> Event {
        let channel = self.channel;
        self.send();
        channel.conn.answer(channel.number)
    }

    /// Sends; whether the method's own answer came, which it does not when the broker went away.
    pub(crate) fn try_ok(self) -> bool {
        let ok = self.ok;
        matches!(self.reply(), Event::Method(m) if m.ids == ok)
    }

    /// Sends and awaits the method's own answer.
    pub(crate) fn ok(self) -> Method {
        let ok = self.ok;
        self.reply().method().is(ok)
    }

    /// Sends and is refused by Channel.Close with exactly these fields; a text ending in "..." is a beginning.
    pub(crate) fn expect_close(self, code: u16, ids: Ids, text: &str) {
        let channel = self.channel;
        self.send();
        channel.expect_close(code, ids, text);
    }

    /// Sends and is refused by Connection.Close.
    pub(crate) fn expect_conn_close(self, code: u16, ids: Ids, text: &str) {
        let conn = self.channel.conn;
        self.send();
        conn.expect_close(code, ids, text);
    }

    fn got(self) -> Option<Delivery> {
        let answer = self.reply().method();
        if answer.ids == (60, 72) { None } else { Some(answer.is((60, 71)).delivery()) }
    }
}

/// A message not yet published.
#[must_use]
pub(crate) struct Publish<'c> {
    channel: Channel<'c>,
    head: Encoder,
    bits: u8,
    props: Props,
    body: Vec<u8>,
}

impl Publish<'_> {
    pub(crate) const fn mandatory(mut self) -> Self {
        self.bits |= 1;
        self
    }

    pub(crate) const fn immediate(mut self) -> Self {
        self.bits |= 2;
        self
    }

    pub(crate) const fn persistent(mut self) -> Self {
        self.props.delivery_mode = Some(2);
        self
    }

    pub(crate) fn expiration(mut self, value: &str) -> Self {
        self.props.expiration = Some(value.to_owned());
        self
    }

    pub(crate) fn header(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.props.headers.get_or_insert_default().push((key.to_owned(), value.into()));
        self
    }

    pub(crate) fn props(mut self, props: Props) -> Self {
        self.props = props;
        self
    }

    /// Sends method, header and body in one write, the body cut to the negotiated frame size.
    pub(crate) fn send(self) {
        let number = self.channel.number;
        let mut out = frame(1, number, &self.head.u8(self.bits).0);
        out.extend(frame(2, number, &self.props.encode(60, self.body.len() as u64)));
        let piece = usize::try_from(self.channel.conn.frame_max).expect("a size fits") - 8;
        for part in self.body.chunks(piece) {
            out.extend(frame(3, number, part));
        }
        self.channel.conn.raw(&out);
    }

    /// Sends and is refused by Channel.Close.
    pub(crate) fn expect_close(self, code: u16, text: &str) {
        let channel = self.channel;
        self.send();
        channel.expect_close(code, (60, 40), text);
    }
}
