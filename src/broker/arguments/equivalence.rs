//! Declaring again: what must be equal, and the refusal that names what is not.

use amq_protocol::types::{AMQPValue, FieldTable};

use crate::protocol::error::Refusal;
use crate::protocol::reply_code::ReplyCode;

use super::validate::KNOWN;
use super::value::{integer, plain_text, type_name};

/// One object that is declared again; `object` is its wording, as [`object_text`](super::object_text) makes it.
#[derive(Clone, Copy, Debug)]
pub struct Comparison<'a> {
    /// `queue 'q' in vhost '/'` or the like.
    pub object: &'a str,
}

impl Comparison<'_> {
    /// Compares a property, such as `durable`.
    ///
    /// # Errors
    /// 406, when they differ.
    pub fn flag(&self, property: &str, current: bool, asked: bool) -> Result<(), Refusal> {
        if current == asked {
            return Ok(());
        }
        Err(self.refusal(property, &format!("'{asked}'"), &format!("'{current}'")))
    }

    /// Compares a property that is a word, such as the type of an exchange.
    ///
    /// # Errors
    /// 406, when they differ.
    pub fn word(&self, property: &str, current: &str, asked: &str) -> Result<(), Refusal> {
        if current == asked {
            return Ok(());
        }
        Err(self.refusal(property, &format!("'{asked}'"), &format!("'{current}'")))
    }

    /// Compares one argument; integers of other widths are equal.
    ///
    /// # Errors
    /// 406, when they differ.
    pub fn argument(&self, name: &str, current: &FieldTable, asked: &FieldTable) -> Result<(), Refusal> {
        let (current, asked) = (current.inner().get(name), asked.inner().get(name));
        let (received, is) = match (current, asked) {
            (None, None) => return Ok(()),
            (Some(current), Some(asked)) if same(current, asked) => return Ok(()),
            (Some(current), Some(asked)) => {
                (format!("'{}'", plain_text(asked)), format!("'{}'", plain_text(current)))
            }
            (current, asked) => (presence(asked), presence(current)),
        };
        Err(self.refusal(name, &received, &is))
    }

    fn refusal(&self, name: &str, received: &str, current: &str) -> Refusal {
        let text = format!(
            "inequivalent arg '{name}' for {}: received {received} but current is {current}",
            self.object
        );
        Refusal::channel(ReplyCode::PreconditionFailed, text)
    }
}

/// Compares the known arguments of a queue that is declared again; unknown ones are not compared, and the queue
/// type `classic` equals none.
///
/// # Errors
/// 406 "inequivalent arg", for the first argument that differs.
pub fn equivalence(current: &FieldTable, asked: &FieldTable, object: &str) -> Result<(), Refusal> {
    let comparison = Comparison { object };
    KNOWN
        .iter()
        .filter(|known| known.name != "x-queue-type" || !same_type(current, asked))
        .try_for_each(|known| comparison.argument(known.name, current, asked))
}

fn same_type(current: &FieldTable, asked: &FieldTable) -> bool {
    fn type_of(arguments: &FieldTable) -> &[u8] {
        match arguments.inner().get("x-queue-type") {
            Some(AMQPValue::LongString(name)) => name.as_bytes(),
            _ => b"classic",
        }
    }
    type_of(current) == type_of(asked)
}

fn same(current: &AMQPValue, asked: &AMQPValue) -> bool {
    match (integer(current), integer(asked)) {
        (Some(current), Some(asked)) => current == asked,
        _ => current == asked,
    }
}

fn presence(value: Option<&AMQPValue>) -> String {
    value.map_or_else(
        || "none".to_owned(),
        |value| format!("the value '{}' of type '{}'", plain_text(value), type_name(value)),
    )
}

#[cfg(test)]
mod tests {
    use amq_protocol::types::LongString;

    use super::*;

    const NAME: &str = "x-message-ttl";

    fn table(name: &str, value: Option<AMQPValue>) -> FieldTable {
        let mut table = FieldTable::default();
        if let Some(value) = value {
            table.insert(name.into(), value);
        }
        table
    }

    fn text(name: &str, current: Option<AMQPValue>, asked: Option<AMQPValue>) -> Option<String> {
        equivalence(&table(name, current), &table(name, asked), "queue 'q' in vhost '/'")
            .err()
            .map(|refusal| refusal.reply_text())
    }

    #[test]
    fn integers_of_other_widths_are_equal() {
        assert_eq!(text(NAME, Some(AMQPValue::LongInt(5)), Some(AMQPValue::LongLongInt(5))), None);
    }

    #[test]
    fn unknown_arguments_are_not_compared() {
        assert_eq!(text("x-nonsense", Some(AMQPValue::LongInt(5)), None), None);
    }

    #[test]
    fn classic_equals_no_type() {
        let classic = || Some(AMQPValue::LongString(LongString::from("classic")));
        assert_eq!(text("x-queue-type", classic(), None), None);
        assert_eq!(text("x-queue-type", None, classic()), None);
    }

    #[test]
    fn differences_are_worded_as_by_rabbitmq() {
        let head = "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': ";
        let cases = [
            (
                Some(AMQPValue::LongInt(1000)),
                Some(AMQPValue::LongInt(2000)),
                "received '2000' but current is '1000'",
            ),
            (
                Some(AMQPValue::LongInt(1000)),
                None,
                "received none but current is the value '1000' of type 'signedint'",
            ),
            (
                None,
                Some(AMQPValue::LongInt(1000)),
                "received the value '1000' of type 'signedint' but current is none",
            ),
        ];
        for (current, asked, tail) in cases {
            assert_eq!(text(NAME, current, asked), Some(format!("{head}{tail}")));
        }
    }
}
