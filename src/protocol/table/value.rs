//! Raw tables to and from amq-protocol's values, the argument type everywhere in the broker.

use amq_protocol::types::{AMQPValue, ByteArray, DecimalValue, FieldArray, FieldTable, ShortString};

use super::{DEPTH_MAX, Field, TableError, fields, item};
use crate::protocol::wire::{Reader, put_long_str, put_short_str, put_u32};

/// A raw table from the broker's argument type.
#[must_use]
pub fn from_field_table(table: &FieldTable) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in table {
        put_field(&mut out, name.as_str().as_bytes(), value);
    }
    out
}

/// The broker's argument type from a raw table; of equal names the last counts.
///
/// # Errors
/// The first fault found.
pub fn to_field_table(raw: &[u8]) -> Result<FieldTable, TableError> {
    decode_table(raw, DEPTH_MAX)
}

/// Appends a field to a raw table.
pub fn put_field(out: &mut Vec<u8>, name: &[u8], value: &AMQPValue) {
    put_short_str(out, name);
    put_value(out, value);
}

/// Appends a field taken from another raw table.
pub fn put_raw(out: &mut Vec<u8>, field: &Field<'_>) {
    put_short_str(out, field.name);
    out.push(field.kind);
    out.extend_from_slice(field.value);
}

/// Appends the fields of a raw table as they are, except for those of this name.
pub fn put_without(out: &mut Vec<u8>, raw: &[u8], name: &[u8]) {
    fields(raw).flatten().filter(|field| field.name != name).for_each(|field| put_raw(out, &field));
}

/// Appends a value behind its type letter, as an array holds it.
pub fn put_value(out: &mut Vec<u8>, value: &AMQPValue) {
    match value {
        AMQPValue::Boolean(v) => put_kind(out, b't', &[u8::from(*v)]),
        AMQPValue::ShortShortInt(v) => put_kind(out, b'b', &v.to_be_bytes()),
        AMQPValue::ShortShortUInt(v) => put_kind(out, b'B', &v.to_be_bytes()),
        AMQPValue::ShortInt(v) => put_kind(out, b's', &v.to_be_bytes()),
        AMQPValue::ShortUInt(v) => put_kind(out, b'u', &v.to_be_bytes()),
        AMQPValue::LongInt(v) => put_kind(out, b'I', &v.to_be_bytes()),
        AMQPValue::LongUInt(v) => put_kind(out, b'i', &v.to_be_bytes()),
        AMQPValue::LongLongInt(v) => put_kind(out, b'l', &v.to_be_bytes()),
        AMQPValue::Float(v) => put_kind(out, b'f', &v.to_be_bytes()),
        AMQPValue::Double(v) => put_kind(out, b'd', &v.to_be_bytes()),
        AMQPValue::DecimalValue(v) => {
            put_kind(out, b'D', &[v.scale]);
            put_u32(out, v.value);
        }
        AMQPValue::ShortString(v) => put_long(out, b'S', v.as_str().as_bytes()),
        AMQPValue::LongString(v) => put_long(out, b'S', v.as_bytes()),
        AMQPValue::ByteArray(v) => put_long(out, b'x', v.as_slice()),
        AMQPValue::Timestamp(v) => put_kind(out, b'T', &v.to_be_bytes()),
        AMQPValue::FieldTable(v) => put_long(out, b'F', &from_field_table(v)),
        AMQPValue::FieldArray(v) => {
            let mut items = Vec::new();
            v.as_slice().iter().for_each(|item| put_value(&mut items, item));
            put_long(out, b'A', &items);
        }
        AMQPValue::Void => out.push(b'V'),
    }
}

fn put_kind(out: &mut Vec<u8>, kind: u8, value: &[u8]) {
    out.push(kind);
    out.extend_from_slice(value);
}

fn put_long(out: &mut Vec<u8>, kind: u8, value: &[u8]) {
    out.push(kind);
    put_long_str(out, value);
}

/// Recursion is bounded by `depth_left`.
fn decode_table(raw: &[u8], depth_left: usize) -> Result<FieldTable, TableError> {
    let depth_left = depth_left.checked_sub(1).ok_or(TableError::TooDeep)?;
    let mut table = FieldTable::default();
    for field in fields(raw) {
        let field = field?;
        let name = std::str::from_utf8(field.name).map_err(|_| TableError::NotUtf8)?;
        let name = ShortString::try_new(name).map_err(|_| TableError::Truncated)?;
        table.insert(name, decode_value(field.kind, field.value, depth_left)?);
    }
    Ok(table)
}

fn decode_array(raw: &[u8], depth_left: usize) -> Result<FieldArray, TableError> {
    let depth_left = depth_left.checked_sub(1).ok_or(TableError::TooDeep)?;
    let mut reader = Reader::new(raw);
    let mut array = FieldArray::default();
    while !reader.is_empty() {
        let (kind, value) = item(&mut reader)?;
        array.push(decode_value(kind, value, depth_left)?);
    }
    Ok(array)
}

pub(super) fn decode_value(kind: u8, value: &[u8], depth_left: usize) -> Result<AMQPValue, TableError> {
    let long = || value.get(4..).ok_or(TableError::Truncated);
    Ok(match kind {
        b'S' => AMQPValue::LongString(long()?.into()),
        b'x' => AMQPValue::ByteArray(ByteArray::from(long()?)),
        b'F' => AMQPValue::FieldTable(decode_table(long()?, depth_left)?),
        b'A' => AMQPValue::FieldArray(decode_array(long()?, depth_left)?),
        _ => decode_fixed(kind, value).ok_or(TableError::Truncated)?,
    })
}

fn decode_fixed(kind: u8, value: &[u8]) -> Option<AMQPValue> {
    let mut reader = Reader::new(value);
    Some(match kind {
        b't' => AMQPValue::Boolean(reader.u8()? != 0),
        b'b' => AMQPValue::ShortShortInt(reader.u8()?.cast_signed()),
        b'B' => AMQPValue::ShortShortUInt(reader.u8()?),
        b's' | b'U' => AMQPValue::ShortInt(reader.u16()?.cast_signed()),
        b'u' => AMQPValue::ShortUInt(reader.u16()?),
        b'I' => AMQPValue::LongInt(reader.u32()?.cast_signed()),
        b'i' => AMQPValue::LongUInt(reader.u32()?),
        b'l' | b'L' => AMQPValue::LongLongInt(reader.u64()?.cast_signed()),
        b'f' => AMQPValue::Float(f32::from_bits(reader.u32()?)),
        b'd' => AMQPValue::Double(f64::from_bits(reader.u64()?)),
        b'D' => AMQPValue::DecimalValue(DecimalValue { scale: reader.u8()?, value: reader.u32()? }),
        b'T' => AMQPValue::Timestamp(reader.u64()?),
        b'V' => AMQPValue::Void,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::table::{find, validate};

    fn everything() -> FieldTable {
        let mut inner = FieldTable::default();
        inner.insert("deep".into(), AMQPValue::Void);
        let items = vec![AMQPValue::ShortInt(-2), AMQPValue::FieldTable(inner.clone()), AMQPValue::Void];
        let values = [
            AMQPValue::Boolean(true),
            AMQPValue::ShortShortInt(-1),
            AMQPValue::ShortShortUInt(255),
            AMQPValue::ShortInt(i16::MIN),
            AMQPValue::ShortUInt(u16::MAX),
            AMQPValue::LongInt(i32::MIN),
            AMQPValue::LongUInt(u32::MAX),
            AMQPValue::LongLongInt(i64::MIN),
            AMQPValue::Float(1.5),
            AMQPValue::Double(-2.5),
            AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 314 }),
            AMQPValue::LongString("text".into()),
            AMQPValue::ByteArray(ByteArray::from(&[0, 255][..])),
            AMQPValue::Timestamp(u64::MAX),
            AMQPValue::FieldArray(items.into()),
            AMQPValue::FieldTable(inner),
            AMQPValue::Void,
        ];
        let mut table = FieldTable::default();
        for (n, value) in values.into_iter().enumerate() {
            table.insert(format!("field-{n:02}").into(), value);
        }
        table
    }

    #[test]
    fn every_type_comes_back() {
        let raw = from_field_table(&everything());
        validate(&raw, DEPTH_MAX).unwrap();
        assert_eq!(to_field_table(&raw), Ok(everything()));
    }

    #[test]
    fn a_field_is_copied_verbatim() {
        let raw = from_field_table(&everything());
        let mut copy = Vec::new();
        for field in fields(&raw) {
            put_raw(&mut copy, &field.unwrap());
        }
        assert_eq!(copy, raw);
    }

    #[test]
    fn integers_of_all_widths_are_read() {
        let raw = from_field_table(&everything());
        let numbers: Vec<i64> = fields(&raw).filter_map(|field| field.unwrap().as_i64()).collect();
        let smallest = [i64::from(i32::MIN), i64::from(u32::MAX), i64::MIN];
        assert_eq!(numbers, [&[-1, 255, i64::from(i16::MIN), 65_535][..], &smallest[..]].concat());
        assert_eq!(find(b"\x01aU\xFF\xFE", b"a").unwrap().as_i64(), Some(-2));
        assert_eq!(find(b"\x01aL\0\0\0\0\0\0\0\x05", b"a").unwrap().as_i64(), Some(5));
    }

    #[test]
    fn a_name_that_is_not_utf8_is_refused() {
        assert_eq!(to_field_table(b"\x01\xFFV"), Err(TableError::NotUtf8));
    }
}
