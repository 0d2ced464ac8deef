//! A tiny encoder and decoder of AMQP 0-9-1 fields, written apart from the broker's own.

/// A field table: order and repeated keys are kept, so that a round trip can be compared.
pub(crate) type Table = Vec<(String, Value)>;

/// A field value, in RabbitMQ's reading of the type letters.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Bool(bool),
    I8(i8),
    U8(u8),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    F32(f32),
    F64(f64),
    Decimal(u8, u32),
    Str(String),
    Bytes(Vec<u8>),
    Array(Vec<Self>),
    Time(u64),
    Table(Table),
    Void,
    /// Octets put in as they are, letter included: for values no client should send.
    Raw(Vec<u8>),
}

impl Value {
    /// The value as a number, whatever its width.
    pub(crate) fn int(&self) -> i64 {
        match self {
            Self::I8(v) => i64::from(*v),
            Self::U8(v) => i64::from(*v),
            Self::I16(v) => i64::from(*v),
            Self::U16(v) => i64::from(*v),
            Self::I32(v) => i64::from(*v),
            Self::U32(v) => i64::from(*v),
            Self::I64(v) => *v,
            other => panic!("expected an integer, got {other:?}"),
        }
    }

    /// The value as text.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Str(v) => v,
            other => panic!("expected a long string, got {other:?}"),
        }
    }

    /// The value as a table.
    pub(crate) fn fields(&self) -> &Table {
        match self {
            Self::Table(v) => v,
            other => panic!("expected a table, got {other:?}"),
        }
    }

    /// The value as an array.
    pub(crate) fn items(&self) -> &[Self] {
        match self {
            Self::Array(v) => v,
            other => panic!("expected an array, got {other:?}"),
        }
    }
}

impl From<i32> for Value {
    fn from(v: i32) -> Self {
        Self::I32(v)
    }
}

impl From<bool> for Value {
    fn from(v: bool) -> Self {
        Self::Bool(v)
    }
}

impl From<&str> for Value {
    fn from(v: &str) -> Self {
        Self::Str(v.to_owned())
    }
}

impl From<&String> for Value {
    fn from(v: &String) -> Self {
        Self::Str(v.clone())
    }
}

impl From<Table> for Value {
    fn from(v: Table) -> Self {
        Self::Table(v)
    }
}

impl From<Vec<Self>> for Value {
    fn from(v: Vec<Self>) -> Self {
        Self::Array(v)
    }
}

/// A table from pairs.
pub(crate) fn table<const N: usize>(pairs: [(&str, Value); N]) -> Table {
    pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
}

/// The value of `key`.
pub(crate) fn lookup<'t>(table: &'t Table, key: &str) -> Option<&'t Value> {
    table.iter().find(|(k, _)| k == key).map(|(_, v)| v)
}

/// Octets under construction.
#[derive(Clone, Default)]
pub(crate) struct Encoder(pub(crate) Vec<u8>);

impl Encoder {
    /// A method's payload, begun with its class and method ids.
    pub(crate) fn method(class: u16, id: u16) -> Self {
        Self::default().u16(class).u16(id)
    }

    pub(crate) fn u8(self, v: u8) -> Self {
        self.raw(&[v])
    }

    pub(crate) fn u16(self, v: u16) -> Self {
        self.raw(&v.to_be_bytes())
    }

    pub(crate) fn u32(self, v: u32) -> Self {
        self.raw(&v.to_be_bytes())
    }

    pub(crate) fn u64(self, v: u64) -> Self {
        self.raw(&v.to_be_bytes())
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A short string.
    pub(crate) fn short(self, v: impl AsRef<[u8]>) -> Self {
        let v = v.as_ref();
        self.u8(u8::try_from(v.len()).expect("a short string is at most 255 octets")).raw(v)
    }

    /// A long string.
    pub(crate) fn long(self, v: impl AsRef<[u8]>) -> Self {
        let v = v.as_ref();
        self.u32(u32::try_from(v.len()).expect("a length of 32 bits")).raw(v)
    }

    pub(crate) fn table(self, v: &Table) -> Self {
        let inner = v.iter().fold(Self::default(), |out, (key, value)| out.short(key).value(value));
        self.long(inner.0)
    }

    fn value(self, v: &Value) -> Self {
        match v {
            Value::Bool(v) => self.u8(b't').u8(u8::from(*v)),
            Value::I8(v) => self.u8(b'b').raw(&v.to_be_bytes()),
            Value::U8(v) => self.u8(b'B').u8(*v),
            Value::I16(v) => self.u8(b's').raw(&v.to_be_bytes()),
            Value::U16(v) => self.u8(b'u').u16(*v),
            Value::I32(v) => self.u8(b'I').raw(&v.to_be_bytes()),
            Value::U32(v) => self.u8(b'i').u32(*v),
            Value::I64(v) => self.u8(b'l').raw(&v.to_be_bytes()),
            Value::F32(v) => self.u8(b'f').raw(&v.to_be_bytes()),
            Value::F64(v) => self.u8(b'd').raw(&v.to_be_bytes()),
            Value::Decimal(scale, v) => self.u8(b'D').u8(*scale).u32(*v),
            Value::Str(v) => self.u8(b'S').long(v),
            Value::Bytes(v) => self.u8(b'x').long(v),
            Value::Array(v) => {
                let inner = v.iter().fold(Self::default(), Self::value);
                self.u8(b'A').long(inner.0)
            }
            Value::Time(v) => self.u8(b'T').u64(*v),
            Value::Table(v) => self.u8(b'F').table(v),
            Value::Void => self.u8(b'V'),
            Value::Raw(v) => self.raw(v),
        }
    }
}

/// Octets being read; anything malformed fails the test.
pub(crate) struct Decoder<'b>(pub(crate) &'b [u8]);

impl<'b> Decoder<'b> {
    pub(crate) fn take(&mut self, n: usize) -> &'b [u8] {
        let (head, tail) = self.0.split_at_checked(n).expect("the broker's method is cut short");
        self.0 = tail;
        head
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        self.take(N).try_into().expect("take gives N octets")
    }

    pub(crate) fn u8(&mut self) -> u8 {
        u8::from_be_bytes(self.array())
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.array())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.array())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.array())
    }

    pub(crate) fn short(&mut self) -> String {
        let n = usize::from(self.u8());
        String::from_utf8(self.take(n).to_vec()).expect("short strings are UTF-8")
    }

    pub(crate) fn long(&mut self) -> &'b [u8] {
        let n = usize::try_from(self.u32()).expect("a length fits");
        self.take(n)
    }

    pub(crate) fn text(&mut self) -> String {
        String::from_utf8_lossy(self.long()).into_owned()
    }

    pub(crate) fn table(&mut self) -> Table {
        let mut inner = Decoder(self.long());
        let mut out = Table::new();
        while !inner.0.is_empty() {
            out.push((inner.short(), inner.value()));
        }
        out
    }

    fn value(&mut self) -> Value {
        match self.u8() {
            b't' => Value::Bool(self.u8() != 0),
            b'b' => Value::I8(i8::from_be_bytes(self.array())),
            b'B' => Value::U8(self.u8()),
            b's' => Value::I16(i16::from_be_bytes(self.array())),
            b'u' => Value::U16(self.u16()),
            b'I' => Value::I32(i32::from_be_bytes(self.array())),
            b'i' => Value::U32(self.u32()),
            b'l' | b'L' => Value::I64(i64::from_be_bytes(self.array())),
            b'f' => Value::F32(f32::from_be_bytes(self.array())),
            b'd' => Value::F64(f64::from_be_bytes(self.array())),
            b'D' => Value::Decimal(self.u8(), self.u32()),
            b'S' => Value::Str(self.text()),
            b'x' => Value::Bytes(self.long().to_vec()),
            b'A' => {
                let mut inner = Decoder(self.long());
                let mut out = Vec::new();
                while !inner.0.is_empty() {
                    out.push(inner.value());
                }
                Value::Array(out)
            }
            b'T' => Value::Time(self.u64()),
            b'F' => Value::Table(self.table()),
            b'V' => Value::Void,
            letter => panic!("the broker sent an unknown field type {:?}", char::from(letter)),
        }
    }
}
