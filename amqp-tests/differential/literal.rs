//! Values as the scripts write them and as answers are shown: one notation for both.
//!
//! `5` is a signed 32-bit integer, `true` a boolean, `"text"` or a bare `word` a long string, `{a=1, b=x}` a table,
//! `[1, x]` an array, `void` nothing. Other types carry their letter: `l:5` (64 bits), `b:` `B:` `s:` `u:` `i:` `f:` `d:`,
//! `D:2.314` (a decimal: scale, value), `T:` a timestamp, `x:00ff` a byte array, `raw:5a` octets with the type's letter.

use std::fmt::Write;
use std::iter::Peekable;
use std::str::Chars;

use crate::support::codec::{Table, Value};

/// A value in a script.
#[derive(Clone, Debug)]
pub(crate) struct Literal(Value);

impl Literal {
    /// For a field that is a bit.
    pub(crate) fn bit(&self) -> bool {
        matches!(self.0, Value::Bool(true))
    }

    /// For a field that is an unsigned number.
    pub(crate) fn number(&self) -> u64 {
        u64::try_from(self.0.int()).expect("a number that is not negative")
    }

    /// For a field that is a string.
    pub(crate) fn octets(&self) -> Vec<u8> {
        match &self.0 {
            Value::Str(text) => text.clone().into_bytes(),
            Value::Bytes(octets) => octets.clone(),
            other => show(other).into_bytes(),
        }
    }

    /// The same where it must be text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.octets()).expect("text is UTF-8")
    }

    /// For a field that is a table.
    pub(crate) fn table(&self) -> Table {
        self.0.fields().clone()
    }
}

impl From<Value> for Literal {
    fn from(value: Value) -> Self {
        Self(value)
    }
}

impl From<String> for Literal {
    fn from(text: String) -> Self {
        Self(Value::Str(text))
    }
}

impl From<i32> for Literal {
    fn from(number: i32) -> Self {
        Self(Value::I32(number))
    }
}

/// Reads the values of a line, one after the other.
pub(crate) struct Reader<'l> {
    line: &'l str,
    rest: Peekable<Chars<'l>>,
}

impl<'l> Reader<'l> {
    pub(crate) fn new(line: &'l str) -> Self {
        Self { line, rest: line.chars().peekable() }
    }

    /// The next word, which ends at a blank, a comma, `=` or a bracket; empty at the end of the line.
    pub(crate) fn word(&mut self) -> String {
        self.blanks();
        let mut word = String::new();
        while let Some(c) = self.rest.next_if(|c| !" ,=[]{}\"".contains(*c)) {
            word.push(c);
        }
        word
    }

    /// Takes `wanted` if it is next.
    pub(crate) fn sign(&mut self, wanted: char) -> bool {
        self.rest.next_if_eq(&wanted).is_some()
    }

    /// Whether nothing but blanks is left.
    pub(crate) fn at_end(&mut self) -> bool {
        self.blanks();
        self.rest.peek().is_none()
    }

    /// One value.
    pub(crate) fn literal(&mut self) -> Literal {
        Literal(self.value())
    }

    fn value(&mut self) -> Value {
        self.blanks();
        match self.rest.peek() {
            Some('"') => Value::Str(self.quoted()),
            Some('{') => {
                let mut table = Table::new();
                self.members('}', |reader| {
                    let key = reader.key();
                    assert!(reader.sign('='), "no = behind {key:?} in: {}", reader.line);
                    table.push((key, reader.value()));
                });
                Value::Table(table)
            }
            Some('[') => {
                let mut array = Vec::new();
                self.members(']', |reader| array.push(reader.value()));
                Value::Array(array)
            }
            _ => {
                let word = self.word();
                value_of(&word).unwrap_or(Value::Str(word))
            }
        }
    }

    fn key(&mut self) -> String {
        if self.rest.peek() == Some(&'"') { self.quoted() } else { self.word() }
    }

    fn members(&mut self, close: char, mut member: impl FnMut(&mut Self)) {
        self.rest.next();
        loop {
            self.blanks();
            if self.sign(close) {
                return;
            }
            assert!(self.rest.peek().is_some(), "no {close} in: {}", self.line);
            member(self);
            self.blanks();
            self.sign(',');
        }
    }

    fn quoted(&mut self) -> String {
        self.rest.next();
        let mut text = String::new();
        loop {
            match self.rest.next().unwrap_or_else(|| panic!("an open quotation mark in: {}", self.line)) {
                '"' => return text,
                '\\' => text.push(match self.rest.next() {
                    Some('n') => '\n',
                    Some('r') => '\r',
                    Some('0') => '\0',
                    other => other.unwrap_or('\\'),
                }),
                other => text.push(other),
            }
        }
    }

    fn blanks(&mut self) {
        while self.sign(' ') {}
    }
}

/// A word that is not text: a number, a boolean, or something behind a type's letter.
fn value_of(word: &str) -> Option<Value> {
    match word {
        "true" | "false" => return Some(Value::Bool(word == "true")),
        "void" => return Some(Value::Void),
        _ => {}
    }
    if let Ok(number) = word.parse() {
        return Some(Value::I32(number));
    }
    let (letter, rest) = word.split_once(':')?;
    Some(match letter {
        "b" => Value::I8(rest.parse().ok()?),
        "B" => Value::U8(rest.parse().ok()?),
        "s" => Value::I16(rest.parse().ok()?),
        "u" => Value::U16(rest.parse().ok()?),
        "i" => Value::U32(rest.parse().ok()?),
        "l" => Value::I64(rest.parse().ok()?),
        "f" => Value::F32(rest.parse().ok()?),
        "d" => Value::F64(rest.parse().ok()?),
        "T" => Value::Time(rest.parse().ok()?),
        "x" => Value::Bytes(unhex(rest)),
        "raw" => Value::Raw(unhex(rest)),
        "D" => {
            let (scale, value) = rest.split_once('.')?;
            Value::Decimal(scale.parse().ok()?, value.parse().ok()?)
        }
        _ => return None,
    })
}

/// The value in the notation of the scripts; a table's fields in the order of their names.
pub(crate) fn show(value: &Value) -> String {
    match value {
        Value::Bool(v) => v.to_string(),
        Value::I8(v) => format!("b:{v}"),
        Value::U8(v) => format!("B:{v}"),
        Value::I16(v) => format!("s:{v}"),
        Value::U16(v) => format!("u:{v}"),
        Value::I32(v) => v.to_string(),
        Value::U32(v) => format!("i:{v}"),
        Value::I64(v) => format!("l:{v}"),
        Value::F32(v) => format!("f:{v}"),
        Value::F64(v) => format!("d:{v}"),
        Value::Decimal(scale, v) => format!("D:{scale}.{v}"),
        Value::Str(v) => format!("{v:?}"),
        Value::Bytes(v) => format!("x:{}", hex(v)),
        Value::Time(v) => format!("T:{v}"),
        Value::Void => "void".to_owned(),
        Value::Raw(v) => format!("raw:{}", hex(v)),
        Value::Array(v) => format!("[{}]", v.iter().map(show).collect::<Vec<_>>().join(", ")),
        Value::Table(v) => {
            let mut fields: Vec<_> = v.iter().map(|(key, value)| format!("{key}={}", show(value))).collect();
            fields.sort();
            format!("{{{}}}", fields.join(", "))
        }
    }
}

pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

/// Octets from pairs of digits.
pub(crate) fn unhex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).ok());
    let octets: Option<Vec<u8>> = pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect();
    octets.unwrap_or_else(|| panic!("{digits:?} is not hexadecimal"))
}
