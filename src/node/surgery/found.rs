//! A message as it was found in its queue.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::broker::queue::Standing;
use crate::node::control::MessageProperties;

/// A message, or what is shown of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct FoundMessage {
    /// Its number in the queue: by this it can be asked for again.
    pub number: u64,
    /// What it does: `ready`, `unacknowledged`, `delayed` or `leaving`.
    pub state: String,
    /// Whether its next delivery says that it was delivered before.
    pub redelivered: bool,
    /// How often it came back, where that is counted.
    pub returns: u32,
    /// The exchange that it came through.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
    /// When it arrived, Unix milliseconds.
    pub arrived_ms: u64,
    /// When it expires by its own `expiration`, Unix milliseconds.
    pub due_ms: Option<u64>,
    /// Its content header.
    #[serde(serialize_with = "put_bytes", deserialize_with = "take_bytes")]
    pub(crate) header: Vec<u8>,
    /// Its body, cut to what was asked for.
    #[serde(serialize_with = "put_bytes", deserialize_with = "take_bytes")]
    pub body: Vec<u8>,
    /// The length of the whole body.
    pub body_bytes: u64,
}

impl FoundMessage {
    /// Its properties.
    #[must_use]
    pub fn properties(&self) -> MessageProperties {
        MessageProperties::of_header(&self.header)
    }
}

/// The word for what a message does.
pub(crate) fn state_of(standing: Standing) -> &'static str {
    match standing {
        Standing::Ready => "ready",
        Standing::Unacked => "unacknowledged",
        Standing::Delayed => "delayed",
        Standing::Leaving => "leaving",
    }
}

fn put_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn take_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(serde::de::Error::custom)
}
