//! Field values in the words of RabbitMQ's refusals: its type names, its Erlang terms.

use std::fmt::Write as _;

use amq_protocol::types::AMQPValue;

/// RabbitMQ's name of a field value's type.
pub(crate) fn type_name(value: &AMQPValue) -> &'static str {
    match value {
        AMQPValue::Boolean(_) => "bool",
        AMQPValue::ShortShortInt(_) => "byte",
        AMQPValue::ShortShortUInt(_) => "unsignedbyte",
        AMQPValue::ShortInt(_) => "short",
        AMQPValue::ShortUInt(_) => "unsignedshort",
        AMQPValue::LongInt(_) => "signedint",
        AMQPValue::LongUInt(_) => "unsignedint",
        AMQPValue::LongLongInt(_) => "long",
        AMQPValue::Float(_) => "float",
        AMQPValue::Double(_) => "double",
        AMQPValue::DecimalValue(_) => "decimal",
        AMQPValue::ShortString(_) => "shortstr",
        AMQPValue::LongString(_) => "longstr",
        AMQPValue::FieldArray(_) => "array",
        AMQPValue::Timestamp(_) => "timestamp",
        AMQPValue::FieldTable(_) => "table",
        AMQPValue::ByteArray(_) => "binary",
        AMQPValue::Void => "void",
    }
}

/// The value of any integer type; a timestamp is none.
pub(crate) fn integer(value: &AMQPValue) -> Option<i64> {
    match *value {
        AMQPValue::ShortShortInt(n) => Some(i64::from(n)),
        AMQPValue::ShortShortUInt(n) => Some(i64::from(n)),
        AMQPValue::ShortInt(n) => Some(i64::from(n)),
        AMQPValue::ShortUInt(n) => Some(i64::from(n)),
        AMQPValue::LongInt(n) => Some(i64::from(n)),
        AMQPValue::LongUInt(n) => Some(i64::from(n)),
        AMQPValue::LongLongInt(n) => Some(n),
        _ => None,
    }
}

/// The value of any integer type, or of a string of digits.
pub(crate) fn number_or_digits(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok()?.parse().ok(),
        other => integer(other),
    }
}

/// A value as refusals show it: strings bare, everything else as an Erlang term.
pub(crate) fn plain_text(value: &AMQPValue) -> String {
    match value {
        AMQPValue::LongString(text) => text.to_string(),
        AMQPValue::ByteArray(bytes) => String::from_utf8_lossy(bytes.as_slice()).into_owned(),
        other => erlang_term(other),
    }
}

/// A value as an Erlang term, such as `<<"text">>`, `5` or `[{longstr,<<"a">>}]`; tables and arrays nested deeper
/// than a few levels are shown as `...`.
pub(crate) fn erlang_term(value: &AMQPValue) -> String {
    let mut out = String::new();
    put_term(&mut out, value, 4);
    out
}

fn put_term(out: &mut String, value: &AMQPValue, depth: usize) {
    match value {
        AMQPValue::LongString(text) => put_binary(out, text.as_bytes()),
        AMQPValue::ShortString(text) => put_binary(out, text.as_str().as_bytes()),
        AMQPValue::ByteArray(bytes) => put_binary(out, bytes.as_slice()),
        AMQPValue::FieldArray(_) | AMQPValue::FieldTable(_) if depth == 0 => out.push_str("..."),
        AMQPValue::FieldArray(items) => put_list(out, items.as_slice().iter(), |out, item| {
            let _ = write!(out, "{{{},", type_name(item));
            put_term(out, item, depth - 1);
            out.push('}');
        }),
        AMQPValue::FieldTable(table) => put_list(out, table.inner().iter(), |out, (name, item)| {
            out.push('{');
            put_binary(out, name.as_str().as_bytes());
            let _ = write!(out, ",{},", type_name(item));
            put_term(out, item, depth - 1);
            out.push('}');
        }),
        scalar => put_scalar(out, scalar),
    }
}

fn put_list<T>(out: &mut String, items: impl Iterator<Item = T>, put: impl Fn(&mut String, T)) {
    out.push('[');
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(',');
        }
        put(out, item);
    }
    out.push(']');
}

fn put_scalar(out: &mut String, value: &AMQPValue) {
    let _ = match value {
        AMQPValue::Boolean(flag) => write!(out, "{flag}"),
        AMQPValue::Float(number) => write!(out, "{number:?}"),
        AMQPValue::Double(number) => write!(out, "{number:?}"),
        AMQPValue::DecimalValue(number) => write!(out, "{{{},{}}}", number.scale, number.value),
        AMQPValue::Timestamp(time) => write!(out, "{time}"),
        AMQPValue::Void => out.write_str("undefined"),
        other => write!(out, "{}", integer(other).unwrap_or_default()),
    };
}

fn put_binary(out: &mut String, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok("") => out.push_str("<<>>"),
        Ok(text) => {
            let _ = write!(out, "<<\"{text}\">>");
        }
        Err(_) => {
            let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
            let _ = write!(out, "<<{}>>", numbers.join(","));
        }
    }
}

#[cfg(test)]
mod tests {
    use amq_protocol::types::{FieldArray, FieldTable, LongString};

    use super::*;

    #[test]
    fn terms_look_like_erlang() {
        let mut table = FieldTable::default();
        table.insert("a".into(), AMQPValue::LongInt(1));
        let cases = [
            (AMQPValue::LongInt(-5), "-5"),
            (AMQPValue::Boolean(true), "true"),
            (AMQPValue::Double(1.0), "1.0"),
            (AMQPValue::LongString(LongString::from("some")), "<<\"some\">>"),
            (AMQPValue::LongString(LongString::from(vec![255u8, 1])), "<<255,1>>"),
            (AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::LongUInt(7)])), "[{unsignedint,7}]"),
            (AMQPValue::FieldTable(table), "[{<<\"a\">>,signedint,1}]"),
            (AMQPValue::Void, "undefined"),
        ];
        for (value, expected) in cases {
            assert_eq!(erlang_term(&value), expected);
        }
    }
}
