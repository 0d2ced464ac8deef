//! AMQP 0-9-1 on the wire: bytes in, events out, bytes back; no I/O, no clock.
//!
//! - `wire`, `table`, `properties`: the data types, read in place and kept verbatim
//! - `frame`, `method`, `hot`, `repeat`, `content`: frames, methods, and publishes put together from their frames
//! - `inbound`: the bytes of a socket to [`inbound::Input`]; `outbound`: answers and deliveries to bytes
//! - `connection`: the state machine of one connection, with `negotiation`, `sasl` and `heartbeat`
//! - `error`, `reply_code`: how a request is refused

pub mod connection;
mod content;
pub mod error;
pub mod frame;
mod heartbeat;
mod hot;
pub mod inbound;
pub mod method;
pub mod negotiation;
pub mod outbound;
pub mod properties;
mod repeat;
pub mod reply_code;
pub mod sasl;
pub mod table;
#[cfg(test)]
mod tests;
pub mod wire;
