//! Whether a user may do something with messages: as the same over AMQP.

use super::{Control, ControlError};
use crate::broker::rights::Right;
use crate::node::auth::{Identity, ObjectKind};
use crate::node::surgery::order::{Action, Destination, JobSpec};

impl Control {
    /// Whether a user may see and take messages of a queue.
    pub(super) fn may_read(&self, user: &str, vhost: &str, queue: &str) -> Result<(), ControlError> {
        self.authorize(&Identity::named(user), Right::Read, ObjectKind::Queue, vhost, queue)
    }

    /// Whether a user may do this with messages: take them from the queue, and publish them where they go. Who sends them
    /// back to where they died publishes as through the default exchange.
    pub(super) fn may_begin(&self, spec: &JobSpec) -> Result<(), ControlError> {
        let (user, vhost) = (&spec.user, &spec.name.vhost);
        self.may_read(user, vhost, &spec.name.queue)?;
        let exchange = match &spec.action {
            Action::Delete => return Ok(()),
            Action::Move(Destination::Exchange(name, _)) | Action::Copy(Destination::Exchange(name, _)) => {
                name
            }
            Action::Move(_) | Action::Copy(_) => "",
        };
        self.authorize(&Identity::named(user), Right::Write, ObjectKind::Exchange, vhost, exchange)
    }
}
