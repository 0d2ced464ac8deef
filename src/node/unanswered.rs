//! What a client hears when the owner of a queue does not answer.

use super::shared::{Shared, stopping};
use crate::broker::arguments::object_text;
use crate::broker::ids::{Home, QueueId};
use crate::broker::topology::QueueEntry;
use crate::protocol::error::Refusal;
use crate::protocol::reply_code::ReplyCode;

impl Shared {
    /// Why a question about this queue has no answer: this node is stopping, or who owns the queue cannot be reached.
    pub(crate) fn unanswered(&self, queue: &QueueEntry) -> Refusal {
        if self.is_stopping() {
            return stopping();
        }
        let name = object_text("queue", &queue.name, &queue.vhost);
        let text = match queue.home {
            Home::Node(node) => {
                let node = self.node_name(node);
                format!("home node '{node}' of durable {name} is down or inaccessible")
            }
            Home::Group(_) => format!("failed to perform operation on {name} due to timeout"),
        };
        Refusal::channel(ReplyCode::NotFound, text)
    }

    /// The same for a queue that may be gone.
    pub(crate) fn unanswered_for(&self, queue: QueueId) -> Refusal {
        let entry = self.topology().queue_by_id(queue).cloned();
        entry.map_or_else(
            || Refusal::channel(ReplyCode::NotFound, "the queue is gone"),
            |entry| self.unanswered(&entry),
        )
    }
}
