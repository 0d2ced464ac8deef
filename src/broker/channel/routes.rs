//! Routes that a channel has found before; valid for one version of the topology.

use std::collections::HashMap;
use std::sync::Arc;

use crate::broker::ids::Target;

const ROUTES_MAX: usize = 4096;

/// The queues for an exchange and a routing key.
pub type Route = Arc<[Target]>;

/// A route's place in the cache; good until the next lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(usize);

/// Routes by exchange and routing key.
#[derive(Debug, Default)]
pub struct RouteCache {
    version: u64,
    places: HashMap<Vec<u8>, Place, foldhash::fast::RandomState>,
    routes: Vec<Route>,
    /// The last one found: publishers tend to repeat themselves.
    last: Option<Place>,
    last_key: Vec<u8>,
    key: Vec<u8>,
}

impl RouteCache {
    /// Looks a route up. Everything is forgotten when the topology has moved on.
    pub fn find(&mut self, version: u64, exchange: &[u8], routing_key: &[u8]) -> Option<Place> {
        if self.version != version {
            self.version = version;
            self.clear();
        }
        if self.last.is_some() && is_key_of(&self.last_key, exchange, routing_key) {
            return self.last;
        }
        self.set_key(exchange, routing_key);
        let place = *self.places.get(&self.key)?;
        std::mem::swap(&mut self.last_key, &mut self.key);
        self.last = Some(place);
        self.last
    }

    /// The route at a place that was just found.
    #[must_use]
    pub fn at(&self, place: Place) -> Option<&Route> {
        self.routes.get(place.0)
    }

    /// The version that the routes were found in.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Remembers the route that the last [`Self::find`] did not find.
    pub fn put(&mut self, route: Route) -> Place {
        if self.routes.len() >= ROUTES_MAX {
            self.clear();
        }
        let place = Place(self.routes.len());
        self.routes.push(route);
        self.places.insert(self.key.clone(), place);
        place
    }

    fn clear(&mut self) {
        self.places.clear();
        self.routes.clear();
        self.last = None;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::ids::QueueId;

    fn route(number: u64) -> Route {
        Arc::from([Target { shard: 0, id: QueueId(number), durable: false }])
    }

    #[test]
    fn a_route_is_found_by_exchange_and_key_until_the_topology_changes() {
        let mut cache = RouteCache::default();
        let names: [(&[u8], &[u8]); 4] = [(b"ab", b"c"), (b"a", b"bc"), (b"", b"abc"), (b"abc", b"")];
        for (number, (exchange, key)) in (0..).zip(names) {
            assert_eq!(cache.find(7, exchange, key), None);
            cache.put(route(number));
        }
        for (number, (exchange, key)) in (0..).zip(names).chain((0..).zip(names)) {
            for _ in 0..2 {
                let place = cache.find(7, exchange, key).unwrap();
                assert_eq!(cache.at(place), Some(&route(number)));
            }
        }
        assert_eq!(cache.find(8, b"abc", b""), None);
        assert_eq!(cache.version(), 8);
    }

    #[test]
    fn a_full_cache_begins_anew() {
        let mut cache = RouteCache::default();
        for number in 0..=ROUTES_MAX as u64 {
            assert_eq!(cache.find(1, b"", &number.to_le_bytes()), None);
            cache.put(route(number));
        }
        assert_eq!(cache.find(1, b"", &0_u64.to_le_bytes()), None);
        let place = cache.find(1, b"", &(ROUTES_MAX as u64).to_le_bytes()).unwrap();
        assert_eq!(cache.at(place), Some(&route(ROUTES_MAX as u64)));
    }
}
