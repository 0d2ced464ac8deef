//! The fourteen properties of a message and the content header that carries them.

use super::codec::{Decoder, Encoder, Table, Value, lookup};

/// Basic's properties; `None` is a property that is absent, which is not the same as empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Props {
    pub(crate) content_type: Option<String>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) headers: Option<Table>,
    pub(crate) delivery_mode: Option<u8>,
    pub(crate) priority: Option<u8>,
    pub(crate) correlation_id: Option<String>,
    pub(crate) reply_to: Option<String>,
    pub(crate) expiration: Option<String>,
    pub(crate) message_id: Option<String>,
    pub(crate) timestamp: Option<u64>,
    pub(crate) kind: Option<String>,
    pub(crate) user_id: Option<String>,
    pub(crate) app_id: Option<String>,
    pub(crate) cluster_id: Option<String>,
}

impl Props {
    /// The header `key`; the test fails when it is not there.
    pub(crate) fn header(&self, key: &str) -> &Value {
        let headers = self.headers.as_ref().expect("the message has headers");
        lookup(headers, key).unwrap_or_else(|| panic!("no header {key} in {headers:?}"))
    }

    /// Whether the header `key` is there.
    pub(crate) fn has_header(&self, key: &str) -> bool {
        self.headers.as_ref().is_some_and(|h| lookup(h, key).is_some())
    }

    /// The entries of `x-death`, latest first.
    pub(crate) fn deaths(&self) -> Vec<&Table> {
        self.header("x-death").items().iter().map(Value::fields).collect()
    }

    /// The payload of a content header frame for a body of `size` octets.
    pub(crate) fn encode(&self, class: u16, size: u64) -> Vec<u8> {
        let mut flags = 0_u16;
        let mut fields = Encoder::default();
        let texts = |at: usize| match at {
            0 => &self.content_type,
            1 => &self.content_encoding,
            5 => &self.correlation_id,
            6 => &self.reply_to,
            7 => &self.expiration,
            8 => &self.message_id,
            10 => &self.kind,
            11 => &self.user_id,
            12 => &self.app_id,
            _ => &self.cluster_id,
        };
        for at in 0..14 {
            let before = fields.0.len();
            fields = match at {
                2 => self.headers.iter().fold(fields, Encoder::table),
                3 => self.delivery_mode.iter().fold(fields, |f, v| f.u8(*v)),
                4 => self.priority.iter().fold(fields, |f, v| f.u8(*v)),
                9 => self.timestamp.iter().fold(fields, |f, v| f.u64(*v)),
                _ => texts(at).iter().fold(fields, Encoder::short),
            };
            if fields.0.len() > before {
                flags |= 1 << (15 - at);
            }
        }
        Encoder::method(class, 0).u64(size).u16(flags).raw(&fields.0).0
    }

    /// The body size and the properties in a content header's payload.
    pub(crate) fn decode(payload: &[u8]) -> (u64, Self) {
        let mut d = Decoder(payload);
        assert_eq!((d.u16(), d.u16()), (60, 0), "a content header is of class 60, weight 0");
        let size = d.u64();
        let flags = d.u16();
        assert_eq!(flags & 3, 0, "no flag beyond the fourteen properties");
        let on = |at: u16| flags >> (15 - at) & 1 == 1;
        let props = Self {
            content_type: on(0).then(|| d.short()),
            content_encoding: on(1).then(|| d.short()),
            headers: on(2).then(|| d.table()),
            delivery_mode: on(3).then(|| d.u8()),
            priority: on(4).then(|| d.u8()),
            correlation_id: on(5).then(|| d.short()),
            reply_to: on(6).then(|| d.short()),
            expiration: on(7).then(|| d.short()),
            message_id: on(8).then(|| d.short()),
            timestamp: on(9).then(|| d.u64()),
            kind: on(10).then(|| d.short()),
            user_id: on(11).then(|| d.short()),
            app_id: on(12).then(|| d.short()),
            cluster_id: on(13).then(|| d.short()),
        };
        assert!(d.0.is_empty(), "nothing behind the last property");
        (size, props)
    }
}
