//! Telling a client that its publishes wait (RabbitMQ: Blocked Connection Notifications).

use amq_protocol::protocol::AMQPClass;
use amq_protocol::protocol::connection::{AMQPMethod, Blocked, Unblocked};
use amq_protocol::types::ShortString;

use super::Connection;
use crate::protocol::outbound::Outbound;

impl Connection {
    /// Sends `connection.blocked`, if the client said that it understands it; whether it did.
    pub fn tell_blocked(&self, reason: &str, out: &mut Outbound) -> bool {
        if !self.has_capability("connection.blocked") {
            return false;
        }
        let reason = ShortString::try_new(reason).unwrap_or_default();
        out.method(0, &AMQPClass::Connection(AMQPMethod::Blocked(Blocked { reason })));
        true
    }

    /// Sends `connection.unblocked`, for a client that was told before.
    pub fn tell_unblocked(&self, out: &mut Outbound) {
        out.method(0, &AMQPClass::Connection(AMQPMethod::Unblocked(Unblocked {})));
    }
}
