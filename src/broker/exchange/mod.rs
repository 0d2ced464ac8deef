//! The types of exchange: each turns a routing key, or headers, into the bindings that match.
//!
//! - `direct`, `fanout`, `topic`, `headers`: one matcher each
//! - `bucket`: the destinations that one key, pattern or condition leads to

mod bucket;
mod direct;
mod fanout;
mod headers;
mod topic;

use std::collections::HashMap;

use crate::broker::ids::Target;

pub(crate) use bucket::Bucket;
pub(crate) use headers::validate as validate_headers_binding;

use direct::Direct;
use fanout::Fanout;
use headers::Headers;
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
}

impl Matcher {
    pub(crate) fn new(kind: ExchangeKind) -> Self {
        match kind {
            ExchangeKind::Direct => Self::Direct(Direct::default()),
            ExchangeKind::Fanout => Self::Fanout(Fanout::default()),
            ExchangeKind::Topic => Self::Topic(Topic::default()),
            ExchangeKind::Headers => Self::Headers(Headers::default()),
        }
    }

    /// Adds a binding that is not there yet.
    pub(crate) fn add(&mut self, bound: Bound<'_>) {
        match self {
            Self::Direct(direct) => direct.add(bound),
            Self::Fanout(fanout) => fanout.add(bound),
            Self::Topic(topic) => topic.add(bound),
            Self::Headers(headers) => headers.add(bound),
        }
    }

    /// Removes a binding that is there.
    pub(crate) fn remove(&mut self, bound: Bound<'_>) {
        match self {
            Self::Direct(direct) => direct.remove(bound),
            Self::Fanout(fanout) => fanout.remove(bound),
            Self::Topic(topic) => topic.remove(bound),
            Self::Headers(headers) => headers.remove(bound),
        }
    }

    /// Shows every bucket that matches; one may be shown twice.
    pub(crate) fn visit(&self, keys: &[&str], table: Option<&[u8]>, mut show: impl FnMut(&Bucket)) {
        match self {
            Self::Direct(direct) => keys.iter().filter_map(|key| direct.matching(key)).for_each(show),
            Self::Fanout(fanout) => show(fanout.matching()),
            Self::Topic(topic) => keys.iter().for_each(|key| topic.visit(key, &mut show)),
            Self::Headers(headers) => headers.visit(table.unwrap_or_default(), show),
        }
    }

    /// Whether more than the routing key decides.
    pub(crate) fn looks_at_headers(&self) -> bool {
        matches!(self, Self::Headers(_))
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
        }
        hops.sort_unstable();
        hops.dedup();
        hops
    }
}
