//! What a command brought about.

use std::sync::Arc;

use super::Change;
use super::companions::Recall;
use super::queues::QueueEntry;

/// The result of a command that was not refused.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The queue that was declared, found or deleted.
    pub queue: Option<Arc<QueueEntry>>,
    /// Whether the object named in the command is new.
    pub created: bool,
    /// What has to be kept, in order: only what survives a restart.
    pub changes: Vec<Change>,
    /// The queue that came with an exchange.
    pub companion: Option<Arc<QueueEntry>>,
    /// What a new binding is to be given.
    pub recall: Option<Recall>,
    /// Queues that are gone; their shards drop them and tell their consumers.
    pub deleted_queues: Vec<Arc<QueueEntry>>,
    /// Queues that are to work by other settings from now on; their shards tell them.
    pub changed_queues: Vec<Arc<QueueEntry>>,
}
