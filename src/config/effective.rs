//! All values that are in force, to be shown and compared.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use toml::{Table, Value};

/// What is taken over from a changed configuration without a restart; mostly for connections that come later.
const LIVE: [&str; 10] = [
    "limits.channel_max",
    "limits.consumer_timeout_ms",
    "limits.frame_max_bytes",
    "limits.heartbeat_s",
    "limits.message_bytes_max",
    "listener.handshake_timeout_ms",
    "logging.filter",
    "proxy_protocol.trusted",
    "disk.free_bytes_min",
    "security.loopback_users",
];

/// Every key with its value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effective(pub(super) Table);

/// A key that has another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Table and key, joined by a dot.
    pub key: String,
    /// What it was, and what it is; of secrets only that they changed.
    pub from_to: String,
    /// It holds without a restart.
    pub is_live: bool,
}

/// Whether a key's value is for nobody's eyes.
pub(super) fn is_secret(key: &str) -> bool {
    key.ends_with("password") || key.ends_with(".secret") || key.ends_with("_secret")
}

impl Effective {
    /// As a file, without secrets.
    #[must_use]
    pub fn show(&self) -> String {
        let mut text = String::new();
        for (section, keys) in self.0.iter().filter_map(|(name, value)| Some((name, value.as_table()?))) {
            let gap = if text.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}[{section}]");
            for (key, value) in keys {
                let _ = writeln!(text, "{key} = {}", shown(&format!("{section}.{key}"), value));
            }
        }
        text
    }

    /// What is different in another one.
    #[must_use]
    pub fn changes(&self, other: &Self) -> Vec<Change> {
        let (before, after) = (self.flat(), other.flat());
        let mut keys: Vec<_> = before.keys().chain(after.keys()).collect();
        keys.sort();
        keys.dedup();
        let changed = keys.into_iter().filter(|key| before.get(*key) != after.get(*key));
        let told = |key: &str, value: Option<&&Value>| {
            value.map_or_else(|| "nothing".to_owned(), |value| shown(key, value))
        };
        changed
            .map(|key| Change {
                key: key.clone(),
                from_to: format!("{} -> {}", told(key, before.get(key)), told(key, after.get(key))),
                is_live: LIVE.contains(&key.as_str()),
            })
            .collect()
    }

    /// Takes the values over that hold without a restart; the others are told of again next time.
    pub fn take_live(&mut self, other: &Self) {
        for key in LIVE {
            let Some((section, name)) = key.split_once('.') else { continue };
            let value = other.0.get(section).and_then(|keys| keys.get(name));
            if let (Some(value), Some(Value::Table(keys))) = (value, self.0.get_mut(section)) {
                keys.insert(name.to_owned(), value.clone());
            }
        }
    }

    fn flat(&self) -> BTreeMap<String, &Value> {
        let tables = self.0.iter().filter_map(|(name, value)| Some((name, value.as_table()?)));
        tables
            .flat_map(|(name, keys)| keys.iter().map(move |(key, value)| (format!("{name}.{key}"), value)))
            .collect()
    }
}

fn shown(key: &str, value: &Value) -> String {
    let is_empty = value.as_str().is_some_and(str::is_empty);
    if is_secret(key) && !is_empty { "\"********\"".to_owned() } else { value.to_string() }
}
