//! Field tables, read in place and written in order (AMQP 0-9-1, section 4.2.5.5; letters as RabbitMQ uses them).
//!
//! A raw table is what stands behind the table's 4-byte length. `value` goes to and from decoded values.

mod value;

use std::fmt;

use amq_protocol::types::AMQPValue;

pub use self::value::{from_field_table, put_field, put_raw, put_value, put_without, to_field_table};
use super::wire::Reader;

/// How deep tables and arrays may nest in anything a peer sends.
pub const DEPTH_MAX: usize = 64;

/// Why a raw table cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableError {
    /// A name, a value or a length reaches beyond the end.
    Truncated,
    /// A field has a type that is not known.
    UnknownKind(u8),
    /// Tables and arrays nest deeper than allowed.
    TooDeep,
    /// A field's name is not UTF-8.
    NotUtf8,
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("field table is truncated"),
            Self::UnknownKind(kind) => write!(f, "field table has a field of unknown type {kind}"),
            Self::TooDeep => f.write_str("field table is nested too deep"),
            Self::NotUtf8 => f.write_str("field table has a name that is not UTF-8"),
        }
    }
}

impl std::error::Error for TableError {}

/// Checks that a raw table can be read to its end, nested ones included; `depth_max` counts the table itself.
///
/// # Errors
/// The first fault found, from the beginning.
pub fn validate(raw: &[u8], depth_max: usize) -> Result<(), TableError> {
    let mut outer: Vec<Level> = Vec::new();
    let mut level = Level { end: raw.len(), is_array: false };
    let mut at = 0;
    loop {
        while at == level.end {
            let Some(around) = outer.pop() else { return Ok(()) };
            level = around;
        }
        let mut reader = Reader::new(raw.get(at..level.end).ok_or(TableError::Truncated)?);
        if !level.is_array {
            reader.short_str().ok_or(TableError::Truncated)?;
        }
        let kind = reader.u8().ok_or(TableError::Truncated)?;
        let value = reader.take(value_length(kind, reader.rest())?).ok_or(TableError::Truncated)?;
        let end = level.end - reader.rest().len();
        if !matches!(kind, b'F' | b'A') {
            at = end;
            continue;
        }
        if outer.len() + 2 > depth_max {
            return Err(TableError::TooDeep);
        }
        at = end - value.len() + 4;
        outer.push(level);
        level = Level { end, is_array: kind == b'A' };
    }
}

/// A table or array that is being walked.
struct Level {
    end: usize,
    is_array: bool,
}

/// The fields of a raw table, in order; ends after the first fault.
#[must_use]
pub fn fields(raw: &[u8]) -> Fields<'_> {
    Fields { reader: Reader::new(raw) }
}

/// The first field of that name; `None` also when the table is damaged before it.
#[must_use]
pub fn find<'a>(raw: &'a [u8], name: &[u8]) -> Option<Field<'a>> {
    fields(raw).map_while(Result::ok).find(|field| field.name == name)
}

/// One field of a raw table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The field's name, of at most 255 octets.
    pub name: &'a [u8],
    /// The type's letter.
    pub kind: u8,
    /// The value's bytes, for `S`, `x`, `A` and `F` with their 4-byte length.
    pub value: &'a [u8],
}

impl<'a> Field<'a> {
    /// The value decoded; `None` when something nested in it is damaged or nested too deep.
    #[must_use]
    pub fn to_value(&self) -> Option<AMQPValue> {
        value::decode_value(self.kind, self.value, DEPTH_MAX).ok()
    }

    /// A long string that is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&'a str> {
        if self.kind != b'S' {
            return None;
        }
        std::str::from_utf8(self.value.get(4..)?).ok()
    }

    /// The bytes of a long string or a byte array.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        if matches!(self.kind, b'S' | b'x') { self.value.get(4..) } else { None }
    }

    /// An integer of any width.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        integer(self.kind, self.value)
    }

    /// The raw table of a nested table.
    #[must_use]
    pub fn as_table(&self) -> Option<&'a [u8]> {
        if self.kind == b'F' { self.value.get(4..) } else { None }
    }

    /// The items of an array as type letter and value; nothing for other types.
    #[must_use]
    pub fn items(&self) -> Items<'a> {
        let raw = if self.kind == b'A' { self.value.get(4..) } else { None };
        Items { reader: Reader::new(raw.unwrap_or_default()) }
    }
}

/// Iterates over the fields of a raw table.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<Field<'a>, TableError> {
        let name = self.reader.short_str().ok_or(TableError::Truncated)?;
        let (kind, value) = item(&mut self.reader)?;
        Ok(Field { name, kind, value })
    }
}

/// Iterates over the items of an array; ends at the first fault.
#[derive(Clone, Debug)]
pub struct Items<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for Items<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        item(&mut self.reader).ok()
    }
}

fn item<'a>(reader: &mut Reader<'a>) -> Result<(u8, &'a [u8]), TableError> {
    let kind = reader.u8().ok_or(TableError::Truncated)?;
    let length = value_length(kind, reader.rest())?;
    Ok((kind, reader.take(length).ok_or(TableError::Truncated)?))
}

/// How long the value of that type at the beginning of `rest` is, its own length field included.
fn value_length(kind: u8, rest: &[u8]) -> Result<usize, TableError> {
    Ok(match kind {
        b'V' => 0,
        b't' | b'b' | b'B' => 1,
        b's' | b'u' | b'U' => 2,
        b'I' | b'i' | b'f' => 4,
        b'D' => 5,
        b'l' | b'L' | b'd' | b'T' => 8,
        b'S' | b'x' | b'A' | b'F' => {
            let length = Reader::new(rest).u32().ok_or(TableError::Truncated)?;
            usize::try_from(length)
                .ok()
                .and_then(|length| length.checked_add(4))
                .ok_or(TableError::Truncated)?
        }
        unknown => return Err(TableError::UnknownKind(unknown)),
    })
}

fn integer(kind: u8, value: &[u8]) -> Option<i64> {
    Some(match kind {
        b'b' => i64::from(i8::from_be_bytes(value.try_into().ok()?)),
        b'B' => i64::from(u8::from_be_bytes(value.try_into().ok()?)),
        b's' | b'U' => i64::from(i16::from_be_bytes(value.try_into().ok()?)),
        b'u' => i64::from(u16::from_be_bytes(value.try_into().ok()?)),
        b'I' => i64::from(i32::from_be_bytes(value.try_into().ok()?)),
        b'i' => i64::from(u32::from_be_bytes(value.try_into().ok()?)),
        b'l' | b'L' => i64::from_be_bytes(value.try_into().ok()?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] =
        b"\x01aI\0\0\0\x07\x01bS\0\0\0\x02hi\x01cF\0\0\0\x04\x01dt\x01\x01eA\0\0\0\x03Vb\xFF";

    /// A table of tables, `depth` levels in all: each level but the last is one field of 7 bytes around the next.
    fn nested(depth: u32) -> Vec<u8> {
        let mut raw = Vec::new();
        for inner in (0..depth - 1).rev() {
            raw.extend_from_slice(b"\x01nF");
            raw.extend_from_slice(&(inner * 7).to_be_bytes());
        }
        raw
    }

    #[test]
    fn fields_are_read_in_place() {
        validate(TABLE, DEPTH_MAX).unwrap();
        let names: Vec<&[u8]> = fields(TABLE).map(|field| field.unwrap().name).collect();
        assert_eq!(names, [b"a", b"b", b"c", b"e"]);
        assert_eq!(find(TABLE, b"a").unwrap().as_i64(), Some(7));
        assert_eq!(find(TABLE, b"b").unwrap().as_str(), Some("hi"));
        let inner = find(TABLE, b"c").unwrap().as_table().unwrap();
        assert_eq!(find(inner, b"d").unwrap().to_value(), Some(AMQPValue::Boolean(true)));
        let items: Vec<(u8, &[u8])> = find(TABLE, b"e").unwrap().items().collect();
        assert_eq!(items, [(b'V', &[][..]), (b'b', &[0xFF][..])]);
        assert_eq!(find(TABLE, b"z"), None);
    }

    #[test]
    fn every_cut_is_refused() {
        let whole: Vec<usize> =
            (0..TABLE.len()).filter(|&cut| validate(&TABLE[..cut], DEPTH_MAX).is_ok()).collect();
        assert_eq!(whole, [0, 7, 16, 27]);
        assert_eq!(fields(&TABLE[..5]).last(), Some(Err(TableError::Truncated)));
    }

    #[test]
    fn nesting_is_bounded() {
        assert_eq!(validate(&nested(64), 64), Ok(()));
        assert_eq!(validate(&nested(65), 64), Err(TableError::TooDeep));
        let deep = nested(50_000);
        assert_eq!(validate(&deep, 64), Err(TableError::TooDeep));
        assert_eq!(validate(&deep, usize::MAX), Ok(()));
        assert_eq!(to_field_table(&deep), Err(TableError::TooDeep));
        assert_eq!(find(&deep, b"n").unwrap().to_value(), None);
        assert!(to_field_table(&nested(64)).is_ok());
    }

    #[test]
    fn an_unknown_type_is_refused() {
        assert_eq!(validate(b"\x01az", DEPTH_MAX), Err(TableError::UnknownKind(b'z')));
        assert_eq!(find(b"\x01az", b"a"), None);
    }

    #[test]
    fn a_length_beyond_its_container_is_refused() {
        // The inner table claims the field that stands behind it.
        let raw = b"\x01aF\0\0\0\x04\x01bt";
        assert_eq!(validate(raw, DEPTH_MAX), Err(TableError::Truncated));
    }
}
