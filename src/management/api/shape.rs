//! Forms that several kinds of objects have in common.

use amq_protocol::types::FieldTable;
use serde::{Serialize, Serializer};

use crate::management::json::table_to_json;
use crate::node::statistics::ConnectionFacts;

/// An argument table as an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a>(pub(super) &'a FieldTable);

impl Serialize for Table<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.inner().is_empty() {
            return serializer.collect_map(std::iter::empty::<(&str, ())>());
        }
        table_to_json(self.0).serialize(serializer)
    }
}

/// The client's end of a connection.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Peer {
    name: String,
    peer_host: String,
    peer_port: u16,
}

impl Peer {
    pub(super) fn of(facts: &ConnectionFacts) -> Self {
        Self { name: facts.name(), peer_host: facts.peer.ip().to_string(), peer_port: facts.peer.port() }
    }
}

/// What RabbitMQ tells of its runtime's memory; there is nothing like it here.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Collection {
    fullsweep_after: i64,
    max_heap_size: i64,
    min_bin_vheap_size: i64,
    min_heap_size: i64,
    minor_gcs: i64,
}

impl Default for Collection {
    fn default() -> Self {
        Self {
            fullsweep_after: -1,
            max_heap_size: -1,
            min_bin_vheap_size: -1,
            min_heap_size: -1,
            minor_gcs: 0,
        }
    }
}

/// The rate of what RabbitMQ counts of its runtime.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Reductions {
    rate: f64,
}

/// The name that paths give the default exchange, whose own is empty.
const DEFAULT_EXCHANGE: &str = "amq.default";

/// An exchange's name by its place in a path.
#[must_use]
pub(super) fn exchange_name(in_path: String) -> String {
    if in_path == DEFAULT_EXCHANGE { String::new() } else { in_path }
}

/// Words with commas between them.
#[must_use]
pub(super) fn words(text: &str) -> Vec<&str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty()).collect()
}

/// A text percent-encoded as a query's value: letters, digits, `-`, `_` and `.` stay, a blank becomes `+`.
#[must_use]
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => out.push(char::from(octet)),
            b' ' => out.push('+'),
            _ => {
                let digit =
                    |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0').to_ascii_uppercase();
                out.extend(['%', digit(octet >> 4), digit(octet & 15)]);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_as_in_a_query() {
        assert_eq!(quoted("a.b_c-1 /ä~"), "a.b_c-1+%2F%C3%A4%7E");
    }

    #[test]
    fn the_default_exchange_has_a_name_in_paths() {
        assert_eq!(exchange_name("amq.default".to_owned()), "");
        assert_eq!(exchange_name("amq.topic".to_owned()), "amq.topic");
    }
}
