//! What is there, by name.

use std::sync::Arc;

use super::Control;

impl Control {
    /// Whether there is a queue of that name.
    #[must_use]
    pub fn has_queue(&self, vhost: &str, name: &str) -> bool {
        self.shared.topology().queue(vhost, name).is_some()
    }

    /// The names of the queues of a vhost, sorted; none when it is not there.
    #[must_use]
    pub fn queue_names(&self, vhost: &str) -> Vec<Arc<str>> {
        self.shared.topology().queues(vhost).iter().map(|queue| Arc::clone(&queue.name)).collect()
    }

    /// The names of all users, sorted.
    #[must_use]
    pub fn user_names(&self) -> Vec<Arc<str>> {
        self.shared.topology().users().into_iter().map(|user| Arc::clone(&user.name)).collect()
    }
}
