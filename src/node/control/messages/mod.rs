//! Messages: publishing and getting them for an operator.
//!
//! - `tracing`: copies of all messages of a vhost
//! - `operating`: looking at messages in queues, and jobs on them
//! - `properties`: a message's properties as typed values
//! - `getting`: messages that are taken from a queue, and given back

mod getting;
mod operating;
mod properties;
mod rights;
mod tracing;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

pub use getting::{AckMode, GotMessage};
pub use properties::MessageProperties;

use super::{Control, ControlError};
use crate::broker::topology::QueueEntry;
use crate::node::tasks::client::internal::{self, Fate};
use crate::protocol::error::Refusal;
use crate::protocol::inbound::Publish;
use crate::protocol::reply_code::ReplyCode;

/// A message to be published.
#[derive(Clone, Debug, Default)]
pub struct Publication {
    /// The vhost.
    pub vhost: String,
    /// The exchange; empty for the default exchange.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
    /// The properties.
    pub properties: MessageProperties,
    /// The body.
    pub body: Vec<u8>,
}

impl Control {
    /// Publishes a message as this user, and waits until it is safe, like a mandatory publish with a confirm. False when
    /// no queue wants it.
    ///
    /// # Errors
    /// What a client would be refused with, or that a queue refuses the message.
    pub async fn publish(&self, user: &str, publication: &Publication) -> Result<bool, ControlError> {
        let Publication { vhost, exchange, routing_key, properties, body } = publication;
        if exchange.len() > 255 || routing_key.len() > 255 {
            return Err(ControlError::Invalid("a name or routing key is longer than 255 bytes".to_owned()));
        }
        let most = self.shared.config.limits.message_bytes_max;
        if body.len() as u64 > most {
            let text = format!("message size {} is larger than configured max size {most}", body.len());
            return Err(told(&Refusal::channel(ReplyCode::PreconditionFailed, text)));
        }
        let header = properties.to_header(body.len() as u64)?;
        let message = Publish {
            channel: 0,
            exchange: exchange.as_bytes(),
            routing_key: routing_key.as_bytes(),
            mandatory: true,
            immediate: false,
            header: &header,
            body,
        };
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let fate = internal::publish(&self.shared, peer, (vhost, user), &message).await;
        match fate.map_err(|refusal| told(&refusal))? {
            Fate::Routed => Ok(true),
            Fate::Unroutable => Ok(false),
            Fate::Refused => {
                let text = "rejected Unable to publish message. Check queue limits.";
                Err(ControlError::Invalid(text.to_owned()))
            }
        }
    }

    /// A queue that no connection has for itself.
    fn queue_for_messages(&self, vhost: &str, queue: &str) -> Result<Arc<QueueEntry>, ControlError> {
        let missing = || ControlError::NotFound(format!("no queue '{queue}' in vhost '{vhost}'"));
        let found = self.shared.topology().check_queue(vhost, queue.to_owned(), 0);
        found.map_err(|refusal| told(&refusal))?.queue.ok_or_else(missing)
    }

    /// What a queue's owner said: nothing when it cannot be asked, `None` when the queue is gone.
    fn answered<T>(&self, entry: &QueueEntry, answer: Option<Option<T>>) -> Result<T, ControlError> {
        let gone = || {
            let text = format!("no queue '{}' in vhost '{}'", entry.name, entry.vhost);
            ControlError::NotFound(text)
        };
        answer.ok_or_else(|| told(&self.shared.unanswered(entry)))?.ok_or_else(gone)
    }
}

/// A refusal with its code and name, as RabbitMQ's HTTP API words it.
fn told(refusal: &Refusal) -> ControlError {
    match ControlError::from(refusal.clone()) {
        ControlError::Invalid(_) => ControlError::Invalid(refusal.to_string()),
        other => other,
    }
}
