//! AMQP 0-9-1 as octets, written apart from the broker's own code: frames and arguments out, arguments in.

/// What is written around a frame's payload: type, channel and size before it, 0xCE behind it.
pub(crate) const FRAME_HEADER: usize = 7;
pub(crate) const FRAME_AROUND: usize = FRAME_HEADER + 1;
pub(crate) const FRAME_END: u8 = 0xce;

pub(crate) const METHOD: u8 = 1;
pub(crate) const HEADER: u8 = 2;
pub(crate) const BODY: u8 = 3;

pub(crate) const PROTOCOL_HEADER: &[u8] = b"AMQP\0\0\x09\x01";

/// Flags of the properties that are sent, in the content header.
pub(crate) const FLAG_DELIVERY_MODE: u16 = 1 << 12;
pub(crate) const FLAG_EXPIRATION: u16 = 1 << 8;

/// An argument of a declaration.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Number(i64),
    Flag(bool),
    Table(Table),
}

/// Arguments of a declaration, or a client's properties.
pub(crate) type Table = Vec<(String, Value)>;

/// Frames under construction.
#[derive(Default)]
pub(crate) struct Encoder {
    pub(crate) bytes: Vec<u8>,
}

impl Encoder {
    /// A frame around what `fill` writes.
    pub(crate) fn frame(&mut self, kind: u8, channel: u16, fill: impl FnOnce(&mut Self)) {
        self.u8(kind);
        self.u16(channel);
        self.sized(fill);
        self.u8(FRAME_END);
    }

    /// A method's frame; `fill` writes the arguments.
    pub(crate) fn method(&mut self, channel: u16, id: u32, fill: impl FnOnce(&mut Self)) {
        self.frame(METHOD, channel, |to| {
            to.u32(id);
            fill(to);
        });
    }

    /// A length of 32 bits and what `fill` writes.
    fn sized(&mut self, fill: impl FnOnce(&mut Self)) {
        let at = self.bytes.len();
        self.u32(0);
        fill(self);
        let size = u32::try_from(self.bytes.len() - at - 4).unwrap_or(u32::MAX);
        self.bytes[at..at + 4].copy_from_slice(&size.to_be_bytes());
    }

    pub(crate) fn u8(&mut self, v: u8) {
        self.bytes.push(v);
    }

    pub(crate) fn u16(&mut self, v: u16) {
        self.raw(&v.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, v: u32) {
        self.raw(&v.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, v: u64) {
        self.raw(&v.to_be_bytes());
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// A short string; what is longer than 255 octets is cut.
    pub(crate) fn short(&mut self, text: &str) {
        let octets = &text.as_bytes()[..text.len().min(255)];
        self.u8(u8::try_from(octets.len()).unwrap_or(u8::MAX));
        self.raw(octets);
    }

    pub(crate) fn long(&mut self, octets: &[u8]) {
        self.sized(|to| to.raw(octets));
    }

    pub(crate) fn table(&mut self, table: &Table) {
        self.sized(|to| {
            for (key, value) in table {
                to.short(key);
                to.value(value);
            }
        });
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Text(text) => {
                self.u8(b'S');
                self.long(text.as_bytes());
            }
            Value::Number(number) => {
                self.u8(b'l');
                self.raw(&number.to_be_bytes());
            }
            Value::Flag(flag) => {
                self.u8(b't');
                self.u8(u8::from(*flag));
            }
            Value::Table(table) => {
                self.u8(b'F');
                self.table(table);
            }
        }
    }
}

/// Octets being read; `None` when they end too early.
pub(crate) struct Decoder<'b>(pub(crate) &'b [u8]);

impl<'b> Decoder<'b> {
    pub(crate) fn take(&mut self, n: usize) -> Option<&'b [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk()?;
        self.0 = tail;
        Some(*head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// A short string's octets.
    pub(crate) fn short(&mut self) -> Option<&'b [u8]> {
        let n = self.u8()?;
        self.take(usize::from(n))
    }

    /// A short string as text.
    pub(crate) fn text(&mut self) -> Option<String> {
        self.short().map(|octets| String::from_utf8_lossy(octets).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_frame_has_its_octets() {
        let mut to = Encoder::default();
        to.method(3, crate::method::BASIC_ACK, |to| {
            to.u64(7);
            to.u8(1);
        });
        let expected = [1, 0, 3, 0, 0, 0, 13, 0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 7, 1, 0xce];
        assert_eq!(to.bytes, expected);
    }

    #[test]
    fn tables_nest_and_strings_come_back() {
        let mut to = Encoder::default();
        let inner = vec![("on".to_owned(), Value::Flag(true))];
        to.table(&vec![("n".to_owned(), Value::Number(5)), ("t".to_owned(), Value::Table(inner))]);
        to.short("key");
        let mut from = Decoder(&to.bytes);
        assert_eq!(from.u32(), Some(23));
        assert_eq!(from.take(23).unwrap(), b"\x01nl\0\0\0\0\0\0\0\x05\x01tF\0\0\0\x05\x02ont\x01");
        assert_eq!(from.text().unwrap(), "key");
        assert!(from.u8().is_none());
    }
}
