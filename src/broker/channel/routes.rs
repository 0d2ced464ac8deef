//! Routes that a channel has found before; valid for one version of the topology.

use std::collections::HashMap;
use std::sync::Arc;

use crate::broker::ids::Target;

const ROUTES_MAX: usize = 4096;

/// The queues for an exchange and a routing key.
pub type Route = Arc<[Target]>;

/// Routes by exchange and routing key.
#[derive(Debug, Default)]
pub struct RouteCache {
    version: u64,
    routes: HashMap<Vec<u8>, Route, foldhash::fast::RandomState>,
    /// The last one asked for: publishers tend to repeat themselves.
    last: Option<(Vec<u8>, Route)>,
    key: Vec<u8>,
}

impl RouteCache {
    /// Looks a route up. Everything is forgotten when the topology has moved on.
    pub fn get(&mut self, version: u64, exchange: &[u8], routing_key: &[u8]) -> Option<Route> {
        if self.version != version {
            self.version = version;
            self.routes.clear();
            self.last = None;
        }
        if let Some((key, route)) = &self.last
            && is_key_of(key, exchange, routing_key)
        {
            return Some(Arc::clone(route));
        }
        self.set_key(exchange, routing_key);
        let route = self.routes.get(&self.key)?;
        let last = self.last.insert((Vec::new(), Arc::clone(route)));
        last.0.clone_from(&self.key);
        Some(Arc::clone(route))
    }

    /// The version that the routes were found in.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Remembers the route that the last [`Self::get`] did not find.
    pub fn put(&mut self, route: &Route) {
        if self.routes.len() >= ROUTES_MAX {
            self.routes.clear();
        }
        self.routes.insert(self.key.clone(), Arc::clone(route));
    }

    fn set_key(&mut self, exchange: &[u8], routing_key: &[u8]) {
        self.key.clear();
        self.key.push(length(exchange));
        self.key.extend_from_slice(exchange);
        self.key.extend_from_slice(routing_key);
    }
}

/// Whether that is the key for this exchange and routing key.
fn is_key_of(key: &[u8], exchange: &[u8], routing_key: &[u8]) -> bool {
    let Some((&first, names)) = key.split_first() else { return false };
    first == length(exchange) && names.strip_prefix(exchange) == Some(routing_key)
}

fn length(name: &[u8]) -> u8 {
    u8::try_from(name.len()).unwrap_or(u8::MAX)
}
