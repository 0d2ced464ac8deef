//! For those who run the node: policies, vhosts, users, limits and the cluster, as typed calls.
//!
//! Each change is on disk, and in force, when its call returns. This is all that the management layer sees of a node.

mod cluster;
mod declarations;
mod definitions;
mod messages;
mod names;
mod parameters;
mod policies;
pub(in crate::node) mod statistics;
mod streams;
mod users;
mod vhosts;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

pub use declarations::{BindingSpec, Exchange, ExchangeSpec, QueueSpec};
pub use messages::{AckMode, GotMessage, MessageProperties, Publication};
pub use policies::EffectivePolicy;
pub use statistics::{ConnectionInfo, ConsumerInfo, Of, Overview, QueueDetail, QueueInfo, QueueState};
pub use users::{NewPassword, PermissionInfo, TopicPermissionInfo, UserInfo};

use super::links::ShardInput;
use super::shared::Shared;
use crate::broker::topology::Command;
use crate::protocol::error::Refusal;
use crate::protocol::reply_code::ReplyCode;

/// A handle on a running node. Cheap to clone.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlError {
    /// What is to be changed is not there.
    NotFound(String),
    /// What is asked for is not valid: the reason in RabbitMQ's words.
    Invalid(String),
    /// What is asked for is reserved, or nobody may do it: the reason in RabbitMQ's words.
    Refused(String),
    /// The node is stopping; whether the change was made shows at its next start.
    Stopping,
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(text) | Self::Invalid(text) | Self::Refused(text) => f.write_str(text),
            Self::Stopping => f.write_str("the node is stopping"),
        }
    }
}

impl std::error::Error for ControlError {}

impl From<Refusal> for ControlError {
    fn from(refusal: Refusal) -> Self {
        match refusal.code {
            // A vhost that is not there is a 530 for clients.
            ReplyCode::NotFound | ReplyCode::NotAllowed => Self::NotFound(refusal.text),
            ReplyCode::AccessRefused => Self::Refused(refusal.text),
            ReplyCode::ConnectionForced => Self::Stopping,
            _ => Self::Invalid(refusal.text),
        }
    }
}

impl Control {
    pub(in crate::node) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Makes a change, and waits until it is on disk and in force. Says whether something is new.
    async fn change(&self, command: Command) -> Result<bool, ControlError> {
        let applied = self.shared.apply(command).await?;
        let shards: BTreeMap<_, _> =
            applied.outcome.changed_queues.iter().map(|queue| (queue.shard, queue.target())).collect();
        for target in shards.into_values() {
            let _ = self.shared.ask(target, ShardInput::Reconfigured).await;
        }
        if self.shared.meta_is_synced_up_to(applied.index).await {
            Ok(applied.outcome.created)
        } else {
            Err(ControlError::Stopping)
        }
    }
}
