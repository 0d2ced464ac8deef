//! Headers exchanges (AMQP 0-9-1, section 3.1.3.4): the arguments of the binding against the message's headers.
//! `x-match` as in <https://www.rabbitmq.com/docs/exchanges#headers>.

use std::collections::BTreeMap;

use amq_protocol::types::{AMQPValue, FieldTable};

use crate::broker::arguments::{erlang_term, type_name};
use crate::protocol::error::Refusal;
use crate::protocol::reply_code::ReplyCode;
use crate::protocol::table::{self, Field};

use super::{Bound, Bucket};

/// The bindings of a headers exchange, by their raw arguments.
#[derive(Debug, Default)]
pub(crate) struct Headers {
    groups: BTreeMap<Box<[u8]>, Group>,
}

/// All bindings with the same arguments.
#[derive(Debug)]
struct Group {
    condition: Condition,
    bucket: Bucket,
}

/// What the arguments ask of a message.
#[derive(Debug)]
struct Condition {
    /// Whether one of the wanted headers is enough.
    any: bool,
    wanted: Vec<(Box<[u8]>, Wanted)>,
}

/// What one header must be. Types count as little as in RabbitMQ: integers of all widths are one type, both kinds of
/// strings are one, both kinds of floating-point numbers are one.
#[derive(Debug)]
enum Wanted {
    Present,
    Integer(i64),
    Float(f64),
    Bytes(Box<[u8]>),
    Other(AMQPValue),
}

/// Checks the arguments of a binding from a headers exchange.
///
/// # Errors
/// 406, when `x-match` is not one of the four words.
pub(crate) fn validate(arguments: &FieldTable) -> Result<(), Refusal> {
    let text = match arguments.inner().get("x-match") {
        None => return Ok(()),
        Some(AMQPValue::LongString(mode)) if Mode::from_name(mode.as_bytes()).is_some() => return Ok(()),
        Some(value @ AMQPValue::LongString(_)) => format!(
            "Invalid x-match field value {}; expected all, any, all-with-x, or any-with-x",
            erlang_term(value)
        ),
        Some(value) => format!(
            "Invalid x-match field type {} (value {}); expected longstr",
            type_name(value),
            erlang_term(value)
        ),
    };
    Err(Refusal::channel(ReplyCode::PreconditionFailed, text))
}

impl Headers {
    pub(crate) fn add(&mut self, bound: Bound<'_>) {
        let group = self.groups.entry(bound.arguments.into()).or_insert_with(|| Group {
            condition: Condition::new(bound.arguments),
            bucket: Bucket::default(),
        });
        group.bucket.add(bound.hop);
    }

    pub(crate) fn remove(&mut self, bound: Bound<'_>) {
        let Some(group) = self.groups.get_mut(bound.arguments) else { return };
        group.bucket.remove(bound.hop);
        if group.bucket.is_empty() {
            self.groups.remove(bound.arguments);
        }
    }

    /// Shows the bucket of every condition that the headers meet; an absent table is an empty one.
    pub(crate) fn visit(&self, headers: &[u8], show: impl FnMut(&Bucket)) {
        let meeting = self.groups.values().filter(|group| group.condition.is_met(headers));
        meeting.map(|group| &group.bucket).for_each(show);
    }

    pub(crate) fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        self.groups.values().map(|group| &group.bucket)
    }
}

impl Condition {
    fn new(arguments: &[u8]) -> Self {
        let mode = table::find(arguments, b"x-match")
            .and_then(|field| Mode::from_name(field.as_bytes()?))
            .unwrap_or(Mode { any: false, with_x: false });
        let wanted = table::fields(arguments)
            .map_while(Result::ok)
            .filter(|field| field.name != b"x-match")
            .filter(|field| mode.with_x || !field.name.starts_with(b"x-"))
            .map(|field| (field.name.into(), Wanted::new(&field)))
            .collect();
        Self { any: mode.any, wanted }
    }

    fn is_met(&self, headers: &[u8]) -> bool {
        let mut wanted = self.wanted.iter();
        let found = |(name, wanted): &(Box<[u8]>, Wanted)| {
            table::find(headers, name).is_some_and(|field| wanted.is_met(&field))
        };
        if self.any { wanted.any(found) } else { wanted.all(found) }
    }
}

impl Wanted {
    fn new(field: &Field<'_>) -> Self {
        if field.kind == b'V' {
            Self::Present
        } else if let Some(number) = integer(field) {
            Self::Integer(number)
        } else if let Some(number) = float(field) {
            Self::Float(number)
        } else if let Some(bytes) = field.as_bytes() {
            Self::Bytes(bytes.into())
        } else {
            Self::Other(field.to_value().unwrap_or(AMQPValue::Void))
        }
    }

    fn is_met(&self, field: &Field<'_>) -> bool {
        match self {
            Self::Present => true,
            Self::Integer(wanted) => integer(field) == Some(*wanted),
            Self::Float(wanted) => float(field) == Some(*wanted),
            Self::Bytes(wanted) => field.as_bytes() == Some(wanted),
            Self::Other(wanted) => field.to_value().as_ref() == Some(wanted),
        }
    }
}

/// A timestamp counts as an integer too.
fn integer(field: &Field<'_>) -> Option<i64> {
    if field.kind == b'T' {
        return Some(i64::from_be_bytes(field.value.try_into().ok()?));
    }
    field.as_i64()
}

fn float(field: &Field<'_>) -> Option<f64> {
    match field.kind {
        b'f' => Some(f64::from(f32::from_be_bytes(field.value.try_into().ok()?))),
        b'd' => Some(f64::from_be_bytes(field.value.try_into().ok()?)),
        _ => None,
    }
}

/// What `x-match` says.
#[derive(Clone, Copy)]
struct Mode {
    any: bool,
    with_x: bool,
}

impl Mode {
    fn from_name(name: &[u8]) -> Option<Self> {
        match name {
            b"all" => Some(Self { any: false, with_x: false }),
            b"any" => Some(Self { any: true, with_x: false }),
            b"all-with-x" => Some(Self { any: false, with_x: true }),
            b"any-with-x" => Some(Self { any: true, with_x: true }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use amq_protocol::types::{FieldArray, LongString};

    use crate::broker::exchange::Hop;
    use crate::broker::ids::{QueueId, Target};

    use super::*;

    type Pairs<'a> = &'a [(&'a str, AMQPValue)];

    fn raw(pairs: Pairs<'_>) -> Vec<u8> {
        table::from_field_table(&field_table(pairs))
    }

    fn field_table(pairs: Pairs<'_>) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in pairs {
            table.insert((*name).into(), value.clone());
        }
        table
    }

    fn int(number: i32) -> AMQPValue {
        AMQPValue::LongInt(number)
    }

    fn string(text: &str) -> AMQPValue {
        AMQPValue::LongString(LongString::from(text))
    }

    fn messages() -> Vec<(&'static str, Vec<u8>)> {
        let long = AMQPValue::LongLongInt(1);
        vec![
            ("none", Vec::new()),
            ("a", raw(&[("a", int(1))])),
            ("a-long", raw(&[("a", long)])),
            ("a-str", raw(&[("a", string("1"))])),
            ("a-float", raw(&[("a", AMQPValue::Double(1.0))])),
            ("ab", raw(&[("a", int(1)), ("b", int(2))])),
            ("ab-x", raw(&[("a", int(1)), ("b", int(2)), ("x-c", int(3))])),
            ("a-wrong", raw(&[("a", int(9))])),
            ("b", raw(&[("b", int(2))])),
            ("x", raw(&[("x-c", int(3))])),
            ("a-void", raw(&[("a", AMQPValue::Void)])),
        ]
    }

    fn meeting(pairs: Pairs<'_>) -> String {
        let condition = Condition::new(&raw(pairs));
        let all = messages();
        let names: Vec<&str> =
            all.iter().filter(|(_, headers)| condition.is_met(headers)).map(|(name, _)| *name).collect();
        names.join(" ")
    }

    #[test]
    fn conditions_match_as_in_rabbitmq() {
        let mode = |name: &str| ("x-match", string(name));
        let (a, b, c) = (("a", int(1)), ("b", int(2)), ("x-c", int(3)));
        let all = "none a a-long a-str a-float ab ab-x a-wrong b x a-void";
        assert_eq!(meeting(&[mode("all"), a.clone(), b.clone()]), "ab ab-x");
        assert_eq!(meeting(&[mode("any"), a.clone(), b.clone()]), "a a-long ab ab-x b");
        assert_eq!(meeting(&[a.clone(), b]), "ab ab-x");
        assert_eq!(meeting(&[mode("all"), a.clone(), c.clone()]), "a a-long ab ab-x");
        assert_eq!(meeting(&[mode("all-with-x"), a, c.clone()]), "ab-x");
        assert_eq!(meeting(&[mode("any"), c.clone()]), "");
        assert_eq!(meeting(&[mode("any-with-x"), c]), "ab-x x");
        assert_eq!(meeting(&[]), all);
        assert_eq!(meeting(&[mode("any")]), "");
        assert_eq!(meeting(&[mode("all")]), all);
        assert_eq!(meeting(&[("a", AMQPValue::Void)]), "a a-long a-str a-float ab ab-x a-wrong a-void");
    }

    #[test]
    fn nested_values_are_compared_whole() {
        let array = |last| AMQPValue::FieldArray(FieldArray::from(vec![int(1), int(last)]));
        let condition = Condition::new(&raw(&[("a", array(2))]));
        assert!(condition.is_met(&raw(&[("a", array(2))])));
        assert!(!condition.is_met(&raw(&[("a", array(3))])));
    }

    #[test]
    fn damaged_headers_match_no_wish() {
        let condition = Condition::new(&raw(&[("a", int(1))]));
        assert!(!condition.is_met(&[1, b'a', b'I', 0]));
    }

    #[test]
    fn bindings_with_the_same_arguments_share_a_condition() {
        let hop = |id| Hop::Queue(Target { id: QueueId(id), shard: 0, durable: false });
        let arguments = raw(&[("a", int(1))]);
        let bound = |id| Bound { key: "", arguments: &arguments, hop: hop(id) };
        let mut headers = Headers::default();
        headers.add(bound(1));
        headers.add(bound(2));
        assert_eq!(headers.groups.len(), 1);
        headers.remove(bound(1));
        let mut found = Vec::new();
        headers.visit(&arguments, |bucket| found.extend(bucket.hops()));
        assert_eq!(found, [hop(2)]);
        headers.remove(bound(2));
        assert!(headers.groups.is_empty());
    }

    #[test]
    fn a_wrong_mode_is_refused() {
        let text = |value| validate(&field_table(&[("x-match", value)])).err().map(|refusal| refusal.text);
        let value = "Invalid x-match field value <<\"some\">>; expected all, any, all-with-x, or any-with-x";
        assert_eq!(text(string("some")).as_deref(), Some(value));
        let kind = "Invalid x-match field type signedint (value 5); expected longstr";
        assert_eq!(text(int(5)).as_deref(), Some(kind));
        assert_eq!(text(string("any-with-x")), None);
    }
}
