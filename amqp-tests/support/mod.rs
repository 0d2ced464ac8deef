//! What the tests share: the broker under test, a raw AMQP client of its own, and ways to wait.

pub(crate) mod broker;
pub(crate) mod call;
pub(crate) mod certificates;
pub(crate) mod channel;
pub(crate) mod codec;
pub(crate) mod conn;
pub(crate) mod event;
pub(crate) mod operator;
pub(crate) mod program;
pub(crate) mod props;
pub(crate) mod publish;
pub(crate) mod request;
pub(crate) mod tunnel;
pub(crate) mod wait;

/// The whole raw client, for `use crate::support::wire::*`.
pub(crate) mod wire {
    pub(crate) use super::broker::{Broker, program};
    pub(crate) use super::channel::Channel;
    pub(crate) use super::codec::{Encoder, Table, Value, lookup, table};
    pub(crate) use super::conn::{Conn, Dial};
    pub(crate) use super::event::{Confirm, Delivery, Event};
    pub(crate) use super::operator::Operator;
    pub(crate) use super::props::Props;
    pub(crate) use super::wait::{alone, eventually, unique};
}
