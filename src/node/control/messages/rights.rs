//! Whether a user may do something with messages: as the same over AMQP.

use super::{Control, ControlError};
use crate::node::surgery::order::{Action, Destination, JobSpec};

impl Control {
    /// Whether a user may see and take messages of a queue.
    pub(super) fn may_read(&self, user: &str, vhost: &str, _queue: &str) -> Result<(), ControlError> {
        self.may_use(user, vhost)
    }

    /// Whether a user may do this with messages: take them from the queue, and publish them where they go.
    pub(super) fn may_begin(&self, spec: &JobSpec) -> Result<(), ControlError> {
        let (user, vhost) = (&spec.user, &spec.name.vhost);
        self.may_read(user, vhost, &spec.name.queue)?;
        match &spec.action {
            Action::Delete => Ok(()),
            Action::Move(Destination::Exchange(_, _)) | Action::Copy(Destination::Exchange(_, _)) => {
                self.may_use(user, vhost)
            }
            Action::Move(_) | Action::Copy(_) => self.may_use(user, vhost),
        }
    }

    fn may_use(&self, user: &str, _vhost: &str) -> Result<(), ControlError> {
        let is_known = self.shared.topology().user(user).is_some();
        if is_known { Ok(()) } else { Err(ControlError::Invalid(format!("no user '{user}'"))) }
    }
}
