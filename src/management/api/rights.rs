//! What the caller may do with exchanges and queues: the rights that its user has as a client.

use crate::broker::topology::Destination;
use crate::management::http::{Api, Caller, Failure};

/// Making and deleting an exchange.
pub(super) fn configure_exchange(_: &Api, _: &Caller, _vhost: &str, _name: &str) -> Result<(), Failure> {
    Ok(())
}

/// Making and deleting a queue.
pub(super) fn configure_queue(_: &Api, _: &Caller, _vhost: &str, _name: &str) -> Result<(), Failure> {
    Ok(())
}

/// Emptying a queue.
pub(super) fn read_queue(_: &Api, _: &Caller, _vhost: &str, _name: &str) -> Result<(), Failure> {
    Ok(())
}

/// Binding and unbinding.
pub(super) fn bind(
    _: &Api,
    _: &Caller,
    _vhost: &str,
    _source: &str,
    _destination: &Destination,
    _key: &str,
) -> Result<(), Failure> {
    Ok(())
}
