//! Copies of all messages of a vhost, for those who listen.

use super::{Control, ControlError};

impl Control {
    /// Has this node copy the messages of a vhost to its trace exchange from now on, or not any more (RabbitMQ: Firehose
    /// Tracer). It is off after a restart.
    ///
    /// # Errors
    /// When there is no such vhost.
    pub fn set_tracing(&self, vhost: &str, is_on: bool) -> Result<(), ControlError> {
        if !self.shared.topology().has_vhost(vhost) {
            return Err(ControlError::NotFound(format!("no vhost '{vhost}'")));
        }
        self.shared.tracing.set(vhost, is_on);
        Ok(())
    }

    /// Whether this node copies the messages of a vhost.
    #[must_use]
    pub fn is_traced(&self, vhost: &str) -> bool {
        self.shared.tracing.is_on(vhost)
    }
}
