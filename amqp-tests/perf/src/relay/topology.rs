//! The relay's queues, exchanges and consumers; asked only for keys that a connection meets for the first time.

use std::collections::HashMap;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use crate::relay::lock;

/// What was declared. Every change gets a version, which outdates what was looked up before.
#[derive(Default)]
pub(super) struct Topology {
    state: Mutex<State>,
    version: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Name to type.
    exchanges: HashMap<String, String>,
    bindings: Vec<Binding>,
    queues: HashMap<String, Vec<Arc<Outlet>>>,
}

struct Binding {
    exchange: String,
    key: String,
    queue: String,
}

/// A consumer: where its deliveries go.
pub(super) struct Outlet {
    pub(super) connection: u64,
    pub(super) socket: Arc<Mutex<TcpStream>>,
    pub(super) channel: u16,
    pub(super) name: String,
    pub(super) next_tag: AtomicU64,
}

impl Topology {
    pub(super) fn version(&self) -> u64 {
        self.version.load(Relaxed)
    }

    pub(super) fn declare_exchange(&self, name: String, kind: String) {
        self.change(|state| drop(state.exchanges.insert(name, kind)));
    }

    pub(super) fn delete_exchange(&self, name: &str) {
        self.change(|state| {
            state.exchanges.remove(name);
            state.bindings.retain(|binding| binding.exchange != name);
        });
    }

    pub(super) fn declare_queue(&self, name: String) {
        self.change(|state| {
            state.queues.entry(name).or_default();
        });
    }

    pub(super) fn delete_queue(&self, name: &str) {
        self.change(|state| {
            state.queues.remove(name);
            state.bindings.retain(|binding| binding.queue != name);
        });
    }

    pub(super) fn bind(&self, queue: String, exchange: String, key: String) {
        self.change(|state| state.bindings.push(Binding { exchange, key, queue }));
    }

    pub(super) fn consume(&self, queue: &str, outlet: Outlet) {
        self.change(|state| state.queues.entry(queue.to_owned()).or_default().push(Arc::new(outlet)));
    }

    /// Forgets the consumers of a connection that has ended.
    pub(super) fn forget(&self, connection: u64) {
        let had_any = |state: &State| state.queues.values().flatten().any(|one| one.connection == connection);
        if had_any(&lock(&self.state)) {
            self.change(|state| {
                for outlets in state.queues.values_mut() {
                    outlets.retain(|outlet| outlet.connection != connection);
                }
            });
        }
    }

    /// The consumers of each queue that a message goes to.
    pub(super) fn route(&self, exchange: &str, key: &str) -> Vec<Vec<Arc<Outlet>>> {
        let state = lock(&self.state);
        state
            .targets(exchange, key)
            .into_iter()
            .filter_map(|queue| state.queues.get(queue).cloned())
            .collect()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut lock(&self.state));
        self.version.fetch_add(1, Relaxed);
    }
}

impl State {
    fn targets<'s>(&'s self, exchange: &str, key: &'s str) -> Vec<&'s str> {
        if exchange.is_empty() {
            return vec![key];
        }
        let kind = self.exchanges.get(exchange).map_or("direct", String::as_str);
        let matches = |binding: &&Binding| {
            binding.exchange == exchange
                && match kind {
                    "fanout" => true,
                    "topic" => topic_matches(&binding.key, key),
                    _ => binding.key == key,
                }
        };
        let mut queues: Vec<_> = self.bindings.iter().filter(matches).map(|one| one.queue.as_str()).collect();
        queues.sort_unstable();
        queues.dedup();
        queues
    }
}

/// `*` is one word, `#` any number of them.
fn topic_matches(pattern: &str, key: &str) -> bool {
    fn words_match(pattern: &[&str], key: &[&str]) -> bool {
        match (pattern.split_first(), key.split_first()) {
            (None, None) => true,
            (Some((&"#", rest)), _) => (0..=key.len()).any(|skip| words_match(rest, &key[skip..])),
            (Some((word, rest)), Some((first, others))) => {
                (*word == "*" || word == first) && words_match(rest, others)
            }
            _ => false,
        }
    }
    words_match(&pattern.split('.').collect::<Vec<_>>(), &key.split('.').collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_match_by_words() {
        for (pattern, key, expected) in [
            ("*.g1.#", "k0.g1.used", true),
            ("*.g1.#", "k0.g1", true),
            ("*.g1.#", "k0.g2.used", false),
            ("*.g1.unused.b0", "k0.g1.used", false),
            ("#", "", true),
        ] {
            assert_eq!(topic_matches(pattern, key), expected, "{pattern} {key}");
        }
    }
}
