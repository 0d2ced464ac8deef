//! A request under construction: then sent, awaited, or expected to fail.

use super::channel::Channel;
use super::codec::{Encoder, Table, Value};
use super::conn::frame;
use super::event::{Delivery, Event, Ids, Method};

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

impl<'c> Call<'c> {
    /// A method with these flags in its one octet of bits; its answer is the next method id of the class.
    pub(crate) fn new(channel: Channel<'c>, ids: Ids, flags: &'static [&'static str]) -> Self {
        let ok = (ids.0, if ids == (40, 40) { 51 } else { ids.1 + 1 });
        Self { channel, ids, ok, head: Encoder::method(ids.0, ids.1), flags, bits: 0, table: None }
    }

    /// Appends to the fields before the flags.
    pub(crate) fn head(mut self, build: impl FnOnce(Encoder) -> Encoder) -> Self {
        self.head = build(self.head);
        self
    }

    /// With an empty table of arguments behind the flags.
    pub(crate) fn with_table(mut self) -> Self {
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

    /// The method's frame.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        frame(1, self.channel.number, &self.encode().0)
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

    /// The message of a Basic.Get, if there was one.
    pub(crate) fn got(self) -> Option<Delivery> {
        let answer = self.reply().method();
        if answer.ids == (60, 72) { None } else { Some(answer.is((60, 71)).delivery()) }
    }
}
