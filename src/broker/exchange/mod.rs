//! The types of exchange: each turns a routing key, or headers, into the bindings that match.
//!
//! - `direct`, `fanout`, `topic`, `headers`: one matcher each
//! - `consistent_hash`, `modulus_hash`, `random`: one destination for each message, out of `destinations`, by `hash`
//! - `bucket`: the destinations that one key, pattern or condition leads to

mod bucket;
mod consistent_hash;
mod destinations;
mod direct;
mod fanout;
mod hash;
mod headers;
mod modulus_hash;
mod random;
mod topic;

use std::collections::HashMap;

use amq_protocol::types::FieldTable;

use crate::broker::ids::Target;
use crate::protocol::properties::Properties;

pub(crate) use bucket::Bucket;
pub(crate) use consistent_hash::{
    validate as validate_consistent_hash, validate_binding as validate_consistent_hash_binding,
};
pub(crate) use headers::validate as validate_headers_binding;
pub(crate) use random::validate_local_binding as validate_local_random_binding;

use consistent_hash::ConsistentHash;
use direct::Direct;
use fanout::Fanout;
use headers::Headers;
use modulus_hash::ModulusHash;
use random::Random;
use topic::Topic;

/// A hash map whose order never shows.
pub(crate) type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// The type of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExchangeKind {
    /// Bindings whose key is the routing key.
    Direct,
    /// All bindings.
    Fanout,
    /// Bindings whose pattern fits the routing key's words.
    Topic,
    /// Bindings whose arguments fit the message's headers.
    Headers,
    /// One binding, by a hash that moves few messages when bindings change.
    ConsistentHash,
    /// One binding, by the hash of the routing key modulo the number of destinations.
    ModulusHash,
    /// One binding at random.
    Random,
    /// One binding to a queue of this node at random.
    LocalRandom,
    /// All bindings; new ones get the latest messages.
    RecentHistory,
    /// All bindings, for messages that did not come before.
    Deduplication,
}

impl ExchangeKind {
    /// The kind of that name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "direct" => Some(Self::Direct),
            "fanout" => Some(Self::Fanout),
            "topic" => Some(Self::Topic),
            "headers" => Some(Self::Headers),
            "x-consistent-hash" => Some(Self::ConsistentHash),
            "x-modulus-hash" => Some(Self::ModulusHash),
            "x-random" => Some(Self::Random),
            "x-local-random" => Some(Self::LocalRandom),
            "x-recent-history" => Some(Self::RecentHistory),
            "x-message-deduplication" => Some(Self::Deduplication),
            _ => None,
        }
    }

    /// The name in `exchange.declare`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
            Self::ConsistentHash => "x-consistent-hash",
            Self::ModulusHash => "x-modulus-hash",
            Self::Random => "x-random",
            Self::LocalRandom => "x-local-random",
            Self::RecentHistory => "x-recent-history",
            Self::Deduplication => "x-message-deduplication",
        }
    }
}

/// An exchange's place in its vhost; used again when the exchange is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot(pub(crate) u32);

/// Where a binding leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Hop {
    Queue(Target),
    Exchange(Slot),
}

/// What an exchange needs to see of one binding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound<'a> {
    pub(crate) key: &'a str,
    /// The raw argument table, its fields sorted by name.
    pub(crate) arguments: &'a [u8],
    pub(crate) hop: Hop,
}

/// All bindings of one exchange, arranged for matching.
#[derive(Debug)]
pub(crate) enum Matcher {
    Direct(Direct),
    Fanout(Fanout),
    Topic(Topic),
    Headers(Headers),
    ConsistentHash(ConsistentHash),
    ModulusHash(ModulusHash),
    Random(Random),
}

impl Matcher {
    /// For an exchange of that name, with these arguments.
    pub(crate) fn new(kind: ExchangeKind, name: &str, arguments: &FieldTable) -> Self {
        match kind {
            ExchangeKind::Direct => Self::Direct(Direct::default()),
            ExchangeKind::Fanout | ExchangeKind::RecentHistory | ExchangeKind::Deduplication => {
                Self::Fanout(Fanout::default())
            }
            ExchangeKind::Topic => Self::Topic(Topic::default()),
            ExchangeKind::Headers => Self::Headers(Headers::default()),
            ExchangeKind::ConsistentHash => Self::ConsistentHash(ConsistentHash::new(arguments)),
            ExchangeKind::ModulusHash => Self::ModulusHash(ModulusHash::default()),
            ExchangeKind::Random | ExchangeKind::LocalRandom => Self::Random(Random::new(name)),
        }
    }

    /// Adds a binding that is not there yet, to a destination of that name.
    pub(crate) fn add(&mut self, bound: Bound<'_>, name: &str) {
        match self {
            Self::Direct(direct) => direct.add(bound),
            Self::Fanout(fanout) => fanout.add(bound),
            Self::Topic(topic) => topic.add(bound),
            Self::Headers(headers) => headers.add(bound),
            Self::ConsistentHash(hash) => hash.add(bound, name),
            Self::ModulusHash(hash) => hash.add(bound, name),
            Self::Random(random) => random.add(bound, name),
        }
    }

    /// Removes a binding that is there.
    pub(crate) fn remove(&mut self, bound: Bound<'_>) {
        match self {
            Self::Direct(direct) => direct.remove(bound),
            Self::Fanout(fanout) => fanout.remove(bound),
            Self::Topic(topic) => topic.remove(bound),
            Self::Headers(headers) => headers.remove(bound),
            Self::ConsistentHash(hash) => hash.remove(bound),
            Self::ModulusHash(hash) => hash.remove(bound),
            Self::Random(random) => random.remove(bound),
        }
    }

    /// Shows every bucket that matches; one may be shown twice.
    pub(crate) fn visit(
        &self,
        keys: &[&str],
        properties: Option<&Properties<'_>>,
        mut show: impl FnMut(&Bucket),
    ) {
        match self {
            Self::Direct(direct) => keys.iter().filter_map(|key| direct.matching(key)).for_each(show),
            Self::Fanout(fanout) => show(fanout.matching()),
            Self::Topic(topic) => keys.iter().for_each(|key| topic.visit(key, &mut show)),
            Self::Headers(headers) => {
                headers.visit(properties.and_then(|properties| properties.headers).unwrap_or_default(), show);
            }
            Self::ConsistentHash(hash) => hash.matching(keys, properties).into_iter().for_each(show),
            Self::ModulusHash(hash) => hash.matching(keys).into_iter().for_each(show),
            Self::Random(random) => random.matching().into_iter().for_each(show),
        }
    }

    /// Whether more than the routing key decides.
    pub(crate) fn looks_beyond_keys(&self) -> bool {
        match self {
            Self::Direct(_) | Self::Fanout(_) | Self::Topic(_) | Self::ModulusHash(_) => false,
            Self::Headers(_) | Self::Random(_) => true,
            Self::ConsistentHash(hash) => hash.looks_beyond_keys(),
        }
    }

    /// All hops, sorted, each once.
    pub(crate) fn hops(&self) -> Vec<Hop> {
        let mut hops = Vec::new();
        let mut take = |bucket: &Bucket| hops.extend(bucket.hops());
        match self {
            Self::Direct(direct) => direct.buckets().for_each(&mut take),
            Self::Fanout(fanout) => take(fanout.matching()),
            Self::Topic(topic) => topic.buckets().for_each(&mut take),
            Self::Headers(headers) => headers.buckets().for_each(&mut take),
            Self::ConsistentHash(hash) => hash.buckets().for_each(&mut take),
            Self::ModulusHash(hash) => hash.buckets().for_each(&mut take),
            Self::Random(random) => random.buckets().for_each(&mut take),
        }
        hops.sort_unstable();
        hops.dedup();
        hops
    }
}
