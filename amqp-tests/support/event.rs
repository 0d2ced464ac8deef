//! What comes from the broker: methods with their content, silence, or the end of the socket.

use super::codec::Decoder;
use super::props::Props;

/// Class and method id.
pub(crate) type Ids = (u16, u16);

/// One thing seen on a connection.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub(crate) enum Event {
    Method(Method),
    /// The broker answered with a protocol header: these eight octets.
    ProtocolHeader(Vec<u8>),
    SocketClosed,
    /// The time to wait went by.
    Nothing,
}

/// A method, with its content where the method has one.
pub(crate) struct Method {
    pub(crate) ids: Ids,
    pub(crate) args: Vec<u8>,
    pub(crate) props: Props,
    pub(crate) body: Vec<u8>,
}

impl std::fmt::Debug for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = String::from_utf8_lossy(self.body.get(..40).unwrap_or(&self.body));
        let args = String::from_utf8_lossy(&self.args);
        write!(f, "method {:?} args {args:?} body {body:?}", self.ids)
    }
}

/// The fields of Channel.Close and Connection.Close.
#[derive(Debug, PartialEq)]
pub(crate) struct Close {
    pub(crate) code: u16,
    pub(crate) text: String,
    pub(crate) ids: Ids,
}

/// A Basic.Ack or Basic.Nack of the broker's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Confirm {
    pub(crate) number: u64,
    pub(crate) multiple: bool,
    pub(crate) acked: bool,
}

/// A message as Basic.Deliver, Basic.GetOk or Basic.Return brought it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Delivery {
    pub(crate) consumer_tag: String,
    pub(crate) tag: u64,
    pub(crate) redelivered: bool,
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    /// Messages left behind a Get.
    pub(crate) left: u32,
    pub(crate) reply: (u16, String),
    pub(crate) props: Props,
    pub(crate) body: Vec<u8>,
}

impl Delivery {
    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Event {
    /// The method; the test fails on anything else.
    pub(crate) fn method(self) -> Method {
        match self {
            Self::Method(m) => m,
            other => panic!("expected a method, got {other:?}"),
        }
    }

    /// Checks that nothing came.
    pub(crate) fn nothing(self) {
        assert!(matches!(self, Self::Nothing), "expected silence, got {self:?}");
    }
}

impl Method {
    /// A method that comes unasked, between a request and its answer.
    pub(crate) fn is_async(&self) -> bool {
        matches!(self.ids, (60, 30 | 50 | 60 | 80 | 120))
    }

    pub(crate) fn is(self, ids: Ids) -> Self {
        assert_eq!(self.ids, ids, "expected method {ids:?}, got {self:?}{}", self.close_text());
        self
    }

    fn close_text(&self) -> String {
        if matches!(self.ids, (20, 40) | (10, 50)) { format!(" = {:?}", self.close()) } else { String::new() }
    }

    pub(crate) fn close(&self) -> Close {
        assert!(matches!(self.ids, (20, 40) | (10, 50)), "expected a close, got {self:?}");
        let mut d = Decoder(&self.args);
        Close { code: d.u16(), text: d.short(), ids: (d.u16(), d.u16()) }
    }

    pub(crate) fn confirm(&self) -> Confirm {
        assert!(matches!(self.ids, (60, 80 | 120)), "expected a confirm, got {self:?}");
        let mut d = Decoder(&self.args);
        Confirm { number: d.u64(), multiple: d.u8() & 1 == 1, acked: self.ids.1 == 80 }
    }

    /// The message of a Deliver, GetOk or Return.
    pub(crate) fn delivery(self) -> Delivery {
        let mut d = Decoder(&self.args);
        let mut out = Delivery::default();
        match self.ids {
            (60, 50) => out.reply = (d.u16(), d.short()),
            (60, 60) => {
                out.consumer_tag = d.short();
                (out.tag, out.redelivered) = (d.u64(), d.u8() & 1 == 1);
            }
            (60, 71) => (out.tag, out.redelivered) = (d.u64(), d.u8() & 1 == 1),
            _ => panic!("expected a message, got {self:?}{}", self.close_text()),
        }
        (out.exchange, out.routing_key) = (d.short(), d.short());
        if self.ids == (60, 71) {
            out.left = d.u32();
        }
        (out.props, out.body) = (self.props, self.body);
        out
    }

    /// Queue.DeclareOk: name, ready messages, consumers.
    pub(crate) fn declare_ok(&self) -> (String, u32, u32) {
        assert_eq!(self.ids, (50, 11), "expected Queue.DeclareOk, got {self:?}");
        let mut d = Decoder(&self.args);
        (d.short(), d.u32(), d.u32())
    }

    /// The single count in PurgeOk and DeleteOk.
    pub(crate) fn count(&self) -> u32 {
        Decoder(&self.args).u32()
    }

    /// The single short string in ConsumeOk, CancelOk, OpenOk, GetEmpty and Cancel.
    pub(crate) fn short(&self) -> String {
        Decoder(&self.args).short()
    }
}

/// Compares a close's text: whole, or its beginning when `wanted` ends in "...", or a part when it begins so.
pub(crate) fn text_matches(text: &str, wanted: &str) -> bool {
    match (wanted.strip_prefix("..."), wanted.strip_suffix("...")) {
        (Some(part), _) => text.contains(part.trim_end_matches("...")),
        (None, Some(head)) => text.starts_with(head),
        (None, None) => text == wanted,
    }
}
