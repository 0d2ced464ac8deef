//! Exchanges of type `x-consistent-hash`: equal keys go to one destination, and destinations that come or go move only
//! their own share of the keys. As in
//! <https://github.com/rabbitmq/rabbitmq-server/tree/main/deps/rabbitmq_consistent_hash_exchange>.
//!
//! The destination is found by weighted rendezvous: each draws a number from the key and its own name, scaled by its
//! weight, and the least wins. That needs no ring, keeps weights exactly in proportion, and adding or removing one
//! destination cannot change which of two others is less.

use amq_protocol::types::{AMQPValue, FieldTable};

use crate::broker::arguments::{erlang_term, type_name};
use crate::protocol::error::Refusal;
use crate::protocol::properties::Properties;
use crate::protocol::reply_code::ReplyCode;
use crate::protocol::table;

use super::destinations::{Destination, Destinations};
use super::hash::{hash, mix};
use super::{Bound, Bucket};

const HASH_HEADER: &str = "hash-header";
const HASH_PROPERTY: &str = "hash-property";

/// The bindings of a consistent hash exchange.
#[derive(Debug)]
pub(crate) struct ConsistentHash {
    hashed: Hashed,
    destinations: Destinations,
}

/// What of a message is hashed.
#[derive(Debug, PartialEq, Eq)]
enum Hashed {
    RoutingKey,
    Header(Box<[u8]>),
    MessageId,
    CorrelationId,
    Timestamp,
}

/// Checks the arguments of a consistent hash exchange; `object` is its wording in a refusal.
///
/// # Errors
/// 406, when header and property are both named, the property is none that can be hashed, or a name is no string.
pub(crate) fn validate(arguments: &FieldTable, object: &str) -> Result<(), Refusal> {
    Hashed::new(arguments, object).map(|_| ())
}

/// Checks the key of a binding from a consistent hash exchange: its weight.
///
/// # Errors
/// 406, when it is not a positive integer.
pub(crate) fn validate_binding(key: &str) -> Result<(), Refusal> {
    weight(key).map(|_| ())
}

impl ConsistentHash {
    /// Arguments that [`validate`] refuses count as none.
    pub(crate) fn new(arguments: &FieldTable) -> Self {
        let hashed = Hashed::new(arguments, "").unwrap_or(Hashed::RoutingKey);
        Self { hashed, destinations: Destinations::default() }
    }

    pub(crate) fn add(&mut self, bound: Bound<'_>, name: &str) {
        self.destinations.add(bound, name, weight(bound.key).unwrap_or(1));
    }

    pub(crate) fn remove(&mut self, bound: Bound<'_>) {
        self.destinations.remove(bound, weight(bound.key).unwrap_or(1));
    }

    /// The destination of a message. Only its own routing key counts, not those of CC and BCC; messages without the
    /// header or property go all to one destination.
    pub(crate) fn matching(&self, keys: &[&str], properties: Option<&Properties<'_>>) -> Option<&Bucket> {
        let none = Properties::default();
        let hash = self.hashed.hash(keys.first()?, properties.unwrap_or(&none));
        // A score is a number and not NaN: shares are neither zero nor one.
        let scores = self.destinations.iter().map(|destination| (score(hash, destination), destination));
        let least = scores.reduce(|least, next| if next.0 < least.0 { next } else { least });
        least.map(|(_, destination)| &destination.bucket)
    }

    /// Whether more than the routing key decides.
    pub(crate) fn looks_beyond_keys(&self) -> bool {
        self.hashed != Hashed::RoutingKey
    }

    pub(crate) fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        self.destinations.iter().map(|destination| &destination.bucket)
    }
}

impl Hashed {
    fn new(arguments: &FieldTable, object: &str) -> Result<Self, Refusal> {
        let header = name(arguments, HASH_HEADER, object)?;
        let property = name(arguments, HASH_PROPERTY, object)?;
        match (header, property) {
            (None, None) => Ok(Self::RoutingKey),
            (Some(header), None) => Ok(Self::Header(header.into())),
            (Some(_), Some(_)) => {
                Err(precondition("hash-header and hash-property are mutually exclusive".to_owned()))
            }
            (None, Some(b"message_id")) => Ok(Self::MessageId),
            (None, Some(b"correlation_id")) => Ok(Self::CorrelationId),
            (None, Some(b"timestamp")) => Ok(Self::Timestamp),
            (None, Some(other)) => {
                Err(precondition(format!("Unsupported property: {}", String::from_utf8_lossy(other))))
            }
        }
    }

    fn hash(&self, key: &str, properties: &Properties<'_>) -> u64 {
        let bytes = match self {
            Self::RoutingKey => Some(key.as_bytes()),
            Self::Header(name) => return header_hash(name, properties.headers.unwrap_or_default()),
            Self::MessageId => properties.message_id,
            Self::CorrelationId => properties.correlation_id,
            Self::Timestamp => return hash(&properties.timestamp.unwrap_or_default().to_be_bytes()),
        };
        hash(bytes.unwrap_or_default())
    }
}

/// Integers of all widths are alike, and so are both kinds of strings.
fn header_hash(name: &[u8], headers: &[u8]) -> u64 {
    let Some(field) = table::find(headers, name) else { return hash(&[]) };
    match (field.as_i64(), field.as_bytes()) {
        (Some(number), _) => hash(&number.to_be_bytes()),
        (None, bytes) => hash(bytes.unwrap_or(field.value)),
    }
}

/// An exponential variate with the weight as its rate: the chance to be the least of several is in proportion to it.
fn score(hash: u64, destination: &Destination) -> f64 {
    // 53 bits fit a float; the half keeps the share off zero.
    const SHARES: f64 = (1_u64 << 53) as f64;
    let share = ((mix(hash ^ destination.seed) >> 11) as f64 + 0.5) / SHARES;
    -share.ln() / destination.weight as f64
}

/// The weight that a binding key says, as Erlang reads integers; no queue needs more than fits.
fn weight(key: &str) -> Result<u32, Refusal> {
    let digits = key.strip_prefix(['-', '+']).unwrap_or(key);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        let term = erlang_term(&AMQPValue::LongString(key.into()));
        return Err(precondition(format!("The binding key must be an integer: {term}")));
    }
    if key.starts_with('-') || digits.bytes().all(|digit| digit == b'0') {
        return Err(precondition("The binding key must be greater than 0".to_owned()));
    }
    Ok(digits.parse().unwrap_or(u32::MAX))
}

fn name<'a>(arguments: &'a FieldTable, argument: &str, object: &str) -> Result<Option<&'a [u8]>, Refusal> {
    match arguments.inner().get(argument) {
        None => Ok(None),
        Some(AMQPValue::LongString(name)) => Ok(Some(name.as_bytes())),
        Some(other) => {
            Err(precondition(format!("invalid type '{}' for arg '{argument}' in {object}", type_name(other))))
        }
    }
}

fn precondition(text: String) -> Refusal {
    Refusal::channel(ReplyCode::PreconditionFailed, text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use amq_protocol::types::LongString;

    use crate::broker::exchange::Hop;
    use crate::broker::ids::{QueueId, Target};

    use super::*;

    const KEYS: u32 = 10_000;

    fn table(pairs: &[(&str, AMQPValue)]) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in pairs {
            table.insert((*name).into(), value.clone());
        }
        table
    }

    fn string(text: &str) -> AMQPValue {
        AMQPValue::LongString(LongString::from(text))
    }

    fn hop(id: u64) -> Hop {
        Hop::Queue(Target { id: QueueId(id), shard: 0, durable: false })
    }

    fn bound(id: u64, weight: &str) -> Bound<'_> {
        Bound { key: weight, arguments: &[], hop: hop(id) }
    }

    fn add(exchange: &mut ConsistentHash, id: u64, weight: &str) {
        exchange.add(bound(id, weight), &format!("queue {id}"));
    }

    fn with_queues(queues: u64) -> ConsistentHash {
        let mut exchange = ConsistentHash::new(&FieldTable::default());
        (0..queues).for_each(|id| add(&mut exchange, id, "1"));
        exchange
    }

    fn target(exchange: &ConsistentHash, keys: &[&str], properties: &Properties<'_>) -> Hop {
        exchange.matching(keys, Some(properties)).unwrap().hops().next().unwrap()
    }

    /// Where each of many keys goes.
    fn targets(exchange: &ConsistentHash) -> Vec<Hop> {
        let of = |key: u32| target(exchange, &[&format!("key.{key}")], &Properties::default());
        (0..KEYS).map(of).collect()
    }

    fn counts(targets: &[Hop]) -> BTreeMap<Hop, usize> {
        targets.iter().fold(BTreeMap::new(), |mut counts, hop| {
            *counts.entry(*hop).or_default() += 1;
            counts
        })
    }

    #[test]
    fn a_queue_that_comes_or_goes_moves_its_share_and_no_other() {
        let mut exchange = with_queues(10);
        let before = targets(&exchange);
        assert!(counts(&before).values().all(|count| (850..1150).contains(count)), "{:?}", counts(&before));

        exchange.remove(bound(3, "1"));
        let without = targets(&exchange);
        for (old, new) in before.iter().zip(&without) {
            assert_eq!(old != new, *old == hop(3), "{old:?} to {new:?}");
        }

        add(&mut exchange, 3, "1");
        assert_eq!(targets(&exchange), before, "a queue that comes back has its keys again");

        add(&mut exchange, 10, "1");
        let more = targets(&exchange);
        let moved: Vec<_> = before.iter().zip(&more).filter(|(old, new)| old != new).collect();
        assert!(moved.iter().all(|(_, new)| **new == hop(10)));
        assert!((780..1040).contains(&moved.len()), "{} moved", moved.len());
    }

    #[test]
    fn weights_are_kept_in_proportion() {
        let mut exchange = with_queues(0);
        for (id, weight) in [(1, "1"), (2, "2"), (3, "+3"), (4, "004")] {
            add(&mut exchange, id, weight);
        }
        for (hop_counted, count) in counts(&targets(&exchange)) {
            let Hop::Queue(Target { id, .. }) = hop_counted else { panic!("{hop_counted:?}") };
            let expected = usize::try_from(id.0).unwrap() * 1000;
            assert!(count.abs_diff(expected) < 150, "{id:?} has {count}");
        }
    }

    #[test]
    fn bindings_to_one_queue_add_up() {
        let mut exchange = with_queues(3);
        let even = targets(&exchange);
        add(&mut exchange, 0, "2");
        let counted = counts(&targets(&exchange));
        assert!(counted[&hop(0)].abs_diff(6000) < 200, "{counted:?}");
        exchange.remove(bound(0, "2"));
        assert_eq!(targets(&exchange), even);
        exchange.remove(bound(0, "1"));
        assert!(!targets(&exchange).contains(&hop(0)));
    }

    #[test]
    fn the_order_of_bindings_and_their_numbers_do_not_matter() {
        let mut other = with_queues(0);
        (0..10).rev().for_each(|id| other.add(bound(id + 100, "1"), &format!("queue {id}")));
        let renumbered: Vec<Hop> = targets(&with_queues(10))
            .into_iter()
            .map(|old| match old {
                Hop::Queue(target) => hop(target.id.0 + 100),
                Hop::Exchange(_) => old,
            })
            .collect();
        assert_eq!(targets(&other), renumbered);
    }

    #[test]
    fn nothing_bound_is_nothing_found() {
        assert!(with_queues(0).matching(&["k"], None).is_none());
    }

    #[test]
    fn only_the_first_key_counts() {
        let exchange = with_queues(10);
        let none = Properties::default();
        for key in ["a", "b", "c", "d"] {
            assert_eq!(target(&exchange, &[key, "x", "y"], &none), target(&exchange, &[key], &none));
        }
    }

    #[test]
    fn headers_and_properties_decide_where_they_are_asked_for() {
        let spread = |argument: &str, name: &str, make: &dyn Fn(u32) -> Vec<u8>| {
            let mut exchange = ConsistentHash::new(&table(&[(argument, string(name))]));
            (0..10).for_each(|id| add(&mut exchange, id, "1"));
            assert!(exchange.looks_beyond_keys());
            let of = |n: u32| {
                let bytes = make(n);
                let properties = Properties {
                    headers: (argument == HASH_HEADER).then_some(&bytes),
                    message_id: (name == "message_id").then_some(&bytes),
                    correlation_id: (name == "correlation_id").then_some(&bytes),
                    timestamp: (name == "timestamp").then_some(u64::from(n)),
                    ..Properties::default()
                };
                assert_eq!(
                    target(&exchange, &["a"], &properties),
                    target(&exchange, &["b"], &properties),
                    "the routing key does not matter"
                );
                target(&exchange, &[""], &properties)
            };
            counts(&(0..100).map(of).collect::<Vec<_>>()).len()
        };
        let header = |value: AMQPValue| table::from_field_table(&table(&[("h", value)]));
        assert_eq!(spread(HASH_HEADER, "h", &|n| header(AMQPValue::LongUInt(n))), 10);
        assert_eq!(spread(HASH_HEADER, "h", &|n| header(string(&n.to_string()))), 10);
        assert_eq!(spread(HASH_HEADER, "other", &|n| header(AMQPValue::LongUInt(n))), 1);
        for property in ["message_id", "correlation_id", "timestamp"] {
            assert_eq!(spread(HASH_PROPERTY, property, &|n| n.to_string().into_bytes()), 10, "{property}");
        }
    }

    #[test]
    fn integers_of_other_widths_go_the_same_way() {
        let of = |value| header_hash(b"h", &table::from_field_table(&table(&[("h", value)])));
        assert_eq!(of(AMQPValue::LongInt(5)), of(AMQPValue::LongLongInt(5)));
        assert_ne!(of(AMQPValue::LongInt(5)), of(AMQPValue::LongInt(6)));
        assert_ne!(of(AMQPValue::Boolean(true)), of(AMQPValue::Boolean(false)));
    }

    #[test]
    fn keys_of_bindings_are_weights() {
        let text = |key: &str| validate_binding(key).err().map(|refusal| refusal.text);
        assert_eq!((text("1"), text("+7"), text("99999999999999")), (None, None, None));
        assert_eq!(text("0").as_deref(), Some("The binding key must be greater than 0"));
        assert_eq!(text("-3").as_deref(), Some("The binding key must be greater than 0"));
        for key in ["a", "1.5", "1 ", "+"] {
            let expected = format!("The binding key must be an integer: <<\"{key}\">>");
            assert_eq!(text(key), Some(expected));
        }
        assert_eq!(text("").as_deref(), Some("The binding key must be an integer: <<>>"));
    }

    #[test]
    fn arguments_that_contradict_are_refused() {
        let text = |pairs: &[(&str, AMQPValue)]| {
            validate(&table(pairs), "exchange 'x' in vhost '/'").err().map(|refusal| refusal.text)
        };
        assert_eq!(text(&[]), None);
        assert_eq!(text(&[(HASH_HEADER, string("h"))]), None);
        assert_eq!(text(&[(HASH_PROPERTY, string("timestamp"))]), None);
        assert_eq!(
            text(&[(HASH_HEADER, string("h")), (HASH_PROPERTY, string("message_id"))]).as_deref(),
            Some("hash-header and hash-property are mutually exclusive")
        );
        assert_eq!(
            text(&[(HASH_PROPERTY, string("app_id"))]).as_deref(),
            Some("Unsupported property: app_id")
        );
        assert_eq!(
            text(&[(HASH_HEADER, AMQPValue::LongInt(1))]).as_deref(),
            Some("invalid type 'signedint' for arg 'hash-header' in exchange 'x' in vhost '/'")
        );
    }
}
