//! A message under construction.

use super::channel::Channel;
use super::codec::{Encoder, Value};
use super::conn::frame;
use super::props::Props;

/// A message not yet published.
#[must_use]
pub(crate) struct Publish<'c> {
    channel: Channel<'c>,
    head: Encoder,
    bits: u8,
    props: Props,
    body: Vec<u8>,
}

impl<'c> Publish<'c> {
    pub(crate) fn new(channel: Channel<'c>, exchange: &str, key: &str, body: &[u8]) -> Self {
        let head = Encoder::method(60, 40).u16(0).short(exchange).short(key);
        Self { channel, head, bits: 0, props: Props::default(), body: body.to_vec() }
    }

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

    /// Sends method, header and body in one write.
    pub(crate) fn send(self) {
        let conn = self.channel.conn;
        conn.raw(&self.bytes());
    }

    /// The frames of method, header and body, the latter cut to the negotiated frame size.
    pub(crate) fn bytes(self) -> Vec<u8> {
        let number = self.channel.number;
        let mut out = frame(1, number, &self.head.u8(self.bits).0);
        out.extend(frame(2, number, &self.props.encode(60, self.body.len() as u64)));
        let piece = usize::try_from(self.channel.conn.frame_max).expect("a size fits") - 8;
        for part in self.body.chunks(piece) {
            out.extend(frame(3, number, part));
        }
        out
    }

    /// Sends and is refused by Channel.Close.
    pub(crate) fn expect_close(self, code: u16, text: &str) {
        let channel = self.channel;
        self.send();
        channel.expect_close(code, (60, 40), text);
    }
}
