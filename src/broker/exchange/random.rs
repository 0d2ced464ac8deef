//! Exchanges of types `x-random` and `x-local-random`: any of the destinations, another one for each message. As in
//! <https://github.com/rabbitmq/rabbitmq-server/tree/main/deps/rabbitmq_random_exchange> and
//! <https://www.rabbitmq.com/docs/local-random-exchange>. All queues of one node are local.

use crate::broker::arguments::QueueType;
use crate::protocol::error::Refusal;
use crate::protocol::reply_code::ReplyCode;

use super::destinations::Destinations;
use super::hash::{Numbers, hash, place};
use super::{Bound, Bucket};

/// The bindings of a random exchange.
#[derive(Debug)]
pub(crate) struct Random {
    destinations: Destinations,
    /// Seeded by the exchange's name, so that two of them do not keep in step.
    numbers: Numbers,
}

/// Checks a binding from a local random exchange; the queue's type is none when the destination is an exchange.
///
/// # Errors
/// 406, when the key is not empty or the destination is not a classic queue.
pub(crate) fn validate_local_binding(key: &str, queue: Option<QueueType>) -> Result<(), Refusal> {
    let text = match queue {
        _ if !key.is_empty() => format!("Non empty binding '{key}' key not permitted"),
        None => "Destination not found".to_owned(),
        Some(QueueType::Classic) => return Ok(()),
        Some(other) => format!("Queue type rabbit_{}_queue not valid for this exchange type", other.name()),
    };
    Err(Refusal::channel(ReplyCode::PreconditionFailed, text))
}

impl Random {
    pub(crate) fn new(name: &str) -> Self {
        Self { destinations: Destinations::default(), numbers: Numbers::new(hash(name.as_bytes())) }
    }

    pub(crate) fn add(&mut self, bound: Bound<'_>, name: &str) {
        self.destinations.add(bound, name, 1);
    }

    pub(crate) fn remove(&mut self, bound: Bound<'_>) {
        self.destinations.remove(bound, 1);
    }

    /// The destination of one message.
    pub(crate) fn matching(&self) -> Option<&Bucket> {
        let index = place(self.numbers.next(), self.destinations.len())?;
        self.destinations.get(index).map(|destination| &destination.bucket)
    }

    pub(crate) fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        self.destinations.iter().map(|destination| &destination.bucket)
    }
}
