//! What signatures of tokens are checked with: keys from files, and from a server that is asked again when a token names one
//! that is not known.

use std::sync::Arc;

use jsonwebtoken::DecodingKey;
use tokio::sync::Mutex;

use super::fetch::{Fetcher, fetch};
use crate::config::Oauth2;

/// Keys that are tried for a token that names none.
const TRIED_MAX: usize = 16;
/// Fetched keys are fetched again after this long, for those that were taken back.
const FRESH_MS: u64 = 60 * 60 * 1000;

/// A key and its number.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) id: Option<String>,
    pub(super) key: DecodingKey,
}

pub(super) struct Keys {
    own: Vec<Key>,
    fetcher: Option<Arc<Fetcher>>,
    interval_ms: u64,
    fetched: Mutex<Fetched>,
}

#[derive(Default)]
struct Fetched {
    keys: Vec<Key>,
    /// When they were last asked for, whether that was answered or not.
    asked_ms: Option<u64>,
    /// When they came.
    came_ms: u64,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("own", &self.own.len()).finish_non_exhaustive()
    }
}

impl Keys {
    pub(super) fn new(config: &Oauth2) -> Self {
        let own =
            config.keys.iter().filter_map(|key| Some(Key { id: key.id.clone(), key: key.decoding_key()? }));
        Self {
            own: own.collect(),
            fetcher: Fetcher::new(config).map(Arc::new),
            interval_ms: config.fetch_interval_s * 1000,
            fetched: Mutex::default(),
        }
    }

    /// The keys that a token may be signed with.
    pub(super) async fn find(&self, id: Option<&str>, now_ms: u64) -> Vec<DecodingKey> {
        let own = matching(&self.own, id);
        let Some(fetcher) = self.fetcher.as_ref().filter(|_| id.is_none() || own.is_empty()) else {
            return own;
        };
        // Others wait for the one who fetches, and find what it found.
        let mut fetched = self.fetched.lock().await;
        let known = matching(&fetched.keys, id);
        let is_stale = fetched.came_ms + FRESH_MS <= now_ms;
        let is_early = fetched.asked_ms.is_some_and(|asked_ms| now_ms < asked_ms + self.interval_ms);
        if is_early || !known.is_empty() && !is_stale {
            return first(own, known);
        }
        fetched.asked_ms = Some(now_ms);
        match fetch(fetcher).await {
            Ok(keys) => (fetched.keys, fetched.came_ms) = (keys, now_ms),
            Err(error) => tracing::warn!(error, url = fetcher.url(), "cannot fetch the keys of tokens"),
        }
        first(own, matching(&fetched.keys, id))
    }
}

/// Keys of that number; for a token that names none, all.
fn matching(keys: &[Key], id: Option<&str>) -> Vec<DecodingKey> {
    let is_meant = |key: &&Key| id.is_none_or(|id| key.id.as_deref().is_none_or(|own| own == id));
    keys.iter().filter(is_meant).map(|key| key.key.clone()).take(TRIED_MAX).collect()
}

fn first(own: Vec<DecodingKey>, fetched: Vec<DecodingKey>) -> Vec<DecodingKey> {
    own.into_iter().chain(fetched).take(TRIED_MAX).collect()
}
