//! Argument tables and other field values as JSON, and back, as RabbitMQ's management plugin turns them.

use amq_protocol::types::{AMQPValue, FieldArray, FieldTable, ShortString};
use serde_json::{Map, Number, Value};

/// JSON nests so deep at most, as tables of the protocol do.
const DEPTH_MAX: usize = 64;

/// A table as a JSON object.
#[must_use]
pub fn table_to_json(table: &FieldTable) -> Value {
    let fields = table.inner().iter();
    Value::Object(fields.map(|(name, value)| (name.as_str().to_owned(), value_to_json(value))).collect())
}

/// A field value as JSON. Bytes that are no text are shown with replacement characters.
#[must_use]
pub fn value_to_json(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(flag) => Value::Bool(*flag),
        AMQPValue::ShortShortInt(number) => Value::from(*number),
        AMQPValue::ShortShortUInt(number) => Value::from(*number),
        AMQPValue::ShortInt(number) => Value::from(*number),
        AMQPValue::ShortUInt(number) => Value::from(*number),
        AMQPValue::LongInt(number) => Value::from(*number),
        AMQPValue::LongUInt(number) => Value::from(*number),
        AMQPValue::LongLongInt(number) => Value::from(*number),
        AMQPValue::Float(number) => float(f64::from(*number)),
        AMQPValue::Double(number) => float(*number),
        AMQPValue::DecimalValue(decimal) => {
            float(f64::from(decimal.value) / 10f64.powi(i32::from(decimal.scale)))
        }
        AMQPValue::ShortString(text) => Value::from(text.as_str()),
        AMQPValue::LongString(text) => Value::from(String::from_utf8_lossy(text.as_bytes())),
        AMQPValue::ByteArray(bytes) => Value::from(String::from_utf8_lossy(bytes.as_slice())),
        AMQPValue::FieldArray(items) => Value::Array(items.as_slice().iter().map(value_to_json).collect()),
        AMQPValue::Timestamp(seconds) => Value::from(*seconds),
        AMQPValue::FieldTable(table) => table_to_json(table),
        AMQPValue::Void => Value::Null,
    }
}

/// A JSON object as a table; an empty list and null count as an empty table, as some clients write it.
///
/// # Errors
/// What is wrong with it.
pub fn table_from_json(value: &Value) -> Result<FieldTable, String> {
    match value {
        Value::Object(fields) => table(fields, DEPTH_MAX),
        Value::Null => Ok(FieldTable::default()),
        Value::Array(items) if items.is_empty() => Ok(FieldTable::default()),
        _ => Err("arguments must be a JSON object".to_owned()),
    }
}

/// A JSON value as a field value: whole numbers as 64 bits, others as doubles, texts as long strings.
///
/// # Errors
/// What is wrong with it.
pub fn value_from_json(value: &Value) -> Result<AMQPValue, String> {
    of_depth(value, DEPTH_MAX)
}

fn of_depth(value: &Value, depth: usize) -> Result<AMQPValue, String> {
    let deeper = depth.checked_sub(1).ok_or_else(|| "arguments are nested too deep".to_owned());
    Ok(match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(flag) => AMQPValue::Boolean(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(number) => AMQPValue::LongLongInt(number),
            None => AMQPValue::Double(number.as_f64().unwrap_or(f64::MAX)),
        },
        Value::String(text) => AMQPValue::LongString(text.as_str().into()),
        Value::Array(items) => {
            let depth = deeper?;
            let items: Result<Vec<_>, _> = items.iter().map(|item| of_depth(item, depth)).collect();
            AMQPValue::FieldArray(FieldArray::from(items?))
        }
        Value::Object(fields) => AMQPValue::FieldTable(table(fields, deeper?)?),
    })
}

fn table(fields: &Map<String, Value>, depth: usize) -> Result<FieldTable, String> {
    let mut out = FieldTable::default();
    for (name, value) in fields {
        let short = ShortString::try_new(name.as_str())
            .map_err(|_| format!("the name of an argument is longer than 255 bytes: '{name}'"))?;
        out.insert(short, of_depth(value, depth)?);
    }
    Ok(out)
}

/// What is no number has no JSON.
fn float(number: f64) -> Value {
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_and_texts_become_the_widest_types() {
        let table = table_from_json(&json!({"a": 1, "b": "x", "c": 1.5, "d": true, "e": null})).unwrap();
        let fields = table.inner();
        assert_eq!(fields.get("a"), Some(&AMQPValue::LongLongInt(1)));
        assert_eq!(fields.get("b"), Some(&AMQPValue::LongString("x".into())));
        assert_eq!(fields.get("c"), Some(&AMQPValue::Double(1.5)));
        assert_eq!(fields.get("d"), Some(&AMQPValue::Boolean(true)));
        assert_eq!(fields.get("e"), Some(&AMQPValue::Void));
    }

    #[test]
    fn an_empty_list_is_an_empty_table_and_other_values_are_none() {
        assert_eq!(table_from_json(&json!([])), Ok(FieldTable::default()));
        assert!(table_from_json(&json!([1])).is_err());
        assert!(table_from_json(&json!("x")).is_err());
    }

    #[test]
    fn what_is_nested_too_deep_is_refused() {
        let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
        assert!(value_from_json(&deep).is_err());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(".{0,10}", inner, 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn json_comes_back_as_it_was(json in any_json()) {
            let value = value_from_json(&json).unwrap();
            prop_assert_eq!(value_to_json(&value), json);
        }
    }
}
