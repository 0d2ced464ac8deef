//! Where a message goes: through bindings, exchanges behind exchanges, and alternates, to queues.

use std::collections::BTreeSet;

use crate::broker::delay;
use crate::broker::exchange::{Bucket, Hop, Slot};
use crate::broker::ids::Target;
use crate::protocol::properties::Properties;

use super::Topology;
use super::companions::Gate;
use super::exchanges::ExchangeEntry;
use super::vhost::Vhost;

/// One message's way to be found.
#[derive(Clone, Copy, Debug, Default)]
pub struct RouteQuery<'a> {
    /// The vhost it is published in.
    pub vhost: &'a str,
    /// The exchange it is published to.
    pub exchange: &'a str,
    /// The routing key, then the keys of CC and BCC.
    pub keys: &'a [&'a str],
    /// Its properties, headers among them.
    pub properties: Option<&'a Properties<'a>>,
    /// Whether an internal exchange takes it: so for dead letters, not for clients.
    pub allow_internal: bool,
    /// Whether no exchange may hold it back any more: its delay is over.
    pub is_due: bool,
}

/// What is known of a route beyond its targets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routed {
    /// Whether exchange and keys alone decided, so that the targets hold for the topology's version.
    pub cacheable: bool,
    /// Where it waits for its delay to end: the queues of exchanges that hold it back, beside the targets.
    pub delays: Vec<Target>,
    /// Targets that keep the message for queues to come: it is not routed by being there.
    pub kept: usize,
    /// Where the message is looked at before it may go on. Only the exchange that it is published to asks for that.
    pub gate: Option<Gate>,
}

/// Why nothing was routed at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteError {
    /// There is no such exchange (or vhost).
    NoExchange,
    /// The exchange is internal.
    Internal,
}

impl Topology {
    /// Appends the queues that the message goes to, each once; none when it is unroutable.
    ///
    /// # Errors
    /// When the exchange does not exist, or is internal and the query does not allow that.
    pub fn route(&self, query: &RouteQuery<'_>, out: &mut Vec<Target>) -> Result<Routed, RouteError> {
        let vhost = self.vhosts.get(query.vhost).ok_or(RouteError::NoExchange)?;
        let mut walk = Walk::new(vhost, query, out);
        if query.exchange.is_empty() {
            walk.visit_default();
            return Ok(walk.finish());
        }
        let slot = vhost.exchanges.find(query.exchange).ok_or(RouteError::NoExchange)?;
        if vhost.exchanges.get(slot).internal && !query.allow_internal {
            return Err(RouteError::Internal);
        }
        walk.gate = vhost.exchanges.get(slot).gate();
        walk.visit(slot);
        if !walk.waiting.is_empty() {
            walk.visit_waiting(slot);
        }
        Ok(walk.finish())
    }

    /// [`route`](Self::route) for a dead letter, which internal exchanges take.
    ///
    /// # Errors
    /// When the exchange does not exist.
    pub fn route_dead_letter(
        &self,
        query: &RouteQuery<'_>,
        out: &mut Vec<Target>,
    ) -> Result<Routed, RouteError> {
        self.route(&RouteQuery { allow_internal: true, ..*query }, out)
    }
}

/// One walk through the exchanges of a vhost.
struct Walk<'a, 'out> {
    vhost: &'a Vhost,
    query: &'a RouteQuery<'a>,
    out: &'out mut Vec<Target>,
    /// What of `out` was there before.
    start: usize,
    /// How many buckets gave targets: with one alone, no target is there twice.
    buckets: usize,
    cacheable: bool,
    delays: Vec<Target>,
    /// Exchanges that a binding or an alternate leads to; some may have been seen.
    waiting: Vec<Slot>,
    kept: usize,
    gate: Option<Gate>,
}

impl<'a, 'out> Walk<'a, 'out> {
    fn new(vhost: &'a Vhost, query: &'a RouteQuery<'a>, out: &'out mut Vec<Target>) -> Self {
        let start = out.len();
        Self {
            vhost,
            query,
            out,
            start,
            buckets: 0,
            cacheable: true,
            delays: Vec::new(),
            waiting: Vec::new(),
            kept: 0,
            gate: None,
        }
    }

    /// The default exchange: every queue is bound to it by its name.
    fn visit_default(&mut self) {
        for key in self.query.keys {
            if let Some(queue) = self.vhost.queues.get(*key) {
                self.out.push(queue.target());
                self.buckets += 1;
            }
        }
    }

    fn visit(&mut self, slot: Slot) {
        let exchange = self.vhost.exchanges.get(slot);
        if let Some(delays) = &exchange.delays {
            self.cacheable = false;
            if self.is_delayed() {
                return self.delays.push(delays.target());
            }
        }
        self.cacheable &= !exchange.matcher.looks_beyond_keys();
        let mut matched = false;
        exchange.matcher.visit(self.query.keys, self.query.properties, |bucket| {
            matched |= !bucket.is_empty();
            self.take(bucket);
        });
        if exchange.keeps_history() {
            self.keep(exchange);
        }
        if let Some(alternate) = exchange.alternate.as_ref().filter(|_| !matched) {
            self.visit_alternate(alternate);
        }
    }

    fn is_delayed(&self) -> bool {
        let headers = self.query.properties.and_then(|properties| properties.headers);
        !self.query.is_due && headers.and_then(delay::delay_ms).is_some()
    }

    fn take(&mut self, bucket: &Bucket) {
        self.buckets += 1;
        for hop in bucket.hops() {
            match hop {
                Hop::Queue(target) => self.out.push(target),
                Hop::Exchange(slot) => self.waiting.push(slot),
            }
        }
    }

    /// Whether a message is kept is for its headers to say.
    fn keep(&mut self, exchange: &ExchangeEntry) {
        self.cacheable = false;
        if let Some(target) = exchange.history_for(self.query.properties) {
            self.out.push(target);
            self.buckets += 1;
            self.kept += 1;
        }
    }

    /// A missing alternate is none.
    fn visit_alternate(&mut self, name: &str) {
        if name.is_empty() {
            self.visit_default();
        } else {
            self.waiting.extend(self.vhost.exchanges.find(name));
        }
    }

    /// Visits each exchange once, so that cycles end.
    fn visit_waiting(&mut self, first: Slot) {
        let mut seen = BTreeSet::from([first]);
        while let Some(slot) = self.waiting.pop() {
            if seen.insert(slot) {
                self.visit(slot);
            }
        }
    }

    fn finish(self) -> Routed {
        if self.buckets > 1 {
            deduplicate(self.out, self.start);
        }
        let cacheable = self.cacheable && self.gate.is_none();
        Routed { cacheable, delays: self.delays, kept: self.kept, gate: self.gate }
    }
}

/// Sorts what stands behind `start` and keeps each target once.
fn deduplicate(out: &mut Vec<Target>, start: usize) {
    out[start..].sort_unstable();
    let mut kept = start;
    for index in start..out.len() {
        if kept == start || out[index] != out[kept - 1] {
            out[kept] = out[index];
            kept += 1;
        }
    }
    out.truncate(kept);
}
