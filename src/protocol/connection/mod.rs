//! The state machine of one connection: inputs in, events out, answers written as bytes.
//!
//! Before `Running`: `handshake`; methods on channels: `channels`; every way to an end: `closing`;
//! publishes that wait: `blocking`.

mod blocking;
mod channels;
mod closing;
mod handshake;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use amq_protocol::protocol::AMQPClass;
use amq_protocol::protocol::connection::AMQPMethod;
use amq_protocol::types::{AMQPValue, FieldTable};

use self::channels::Channels;
use super::error::{MethodId, Refusal};
use super::heartbeat::Heartbeat;
use super::inbound::Input;
use super::negotiation;
use super::outbound::Outbound;
use super::reply_code::ReplyCode;

/// What a connection is offered and held to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest frame offered, in bytes.
    pub frame_max: u32,
    /// The largest frame taken before the login, in bytes.
    pub pre_login_frame_max: u32,
    /// How many channels are offered.
    pub channel_max: u16,
    /// The heartbeat interval offered, in seconds; 0 offers none.
    pub heartbeat_s: u16,
    /// How long the handshake may take, up to `connection.open-ok`, in milliseconds.
    pub handshake_timeout_ms: u64,
    /// The largest body of a message, in bytes.
    pub body_max: u64,
    /// The smallest frame-max a client may ask for, in bytes.
    pub frame_min: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_max: 131_072,
            pre_login_frame_max: 8192,
            channel_max: 2047,
            heartbeat_s: 60,
            handshake_timeout_ms: 10_000,
            body_max: 128 * 1024 * 1024,
            frame_min: 4096,
        }
    }
}

/// What client and broker agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuned {
    /// The largest frame in either direction, in bytes.
    pub frame_max: u32,
    /// How many channels may be open at once; 0 is no limit.
    pub channel_max: u16,
    /// The heartbeat interval in seconds; 0 is off.
    pub heartbeat_s: u16,
}

/// What the owner of a connection has to act on.
#[derive(Debug, PartialEq)]
pub enum Event<'a> {
    /// The tuning is agreed on: [`Connection::tuned`] goes to inbound and outbound.
    Tuned,
    /// To be answered by `login_ok` or `login_refused`.
    Login {
        /// The SASL mechanism, as `login_refused` wants it.
        mechanism: &'static str,
        /// The user's name.
        user: String,
        /// The password as it was sent.
        password: Vec<u8>,
    },
    /// To be answered by `open_ok`, or by `fail` with 530 and the ids 10/40.
    Open {
        /// The virtual host asked for.
        vhost: String,
    },
    /// A new secret: to be answered by `update_secret_ok`, or by `fail`.
    UpdateSecret {
        /// The secret as it was sent.
        secret: Vec<u8>,
    },
    /// The channel is open and that is already answered.
    ChannelOpened(u16),
    /// A method, publish or settlement on an open channel.
    Channel(u16, Input<'a>),
    /// The client closes the channel: to be answered by `channel_close_ok`, when all it held is given back.
    ChannelClosing(u16),
    /// The client closes the connection: to be answered by `close_ok`, when all it held is given back.
    Closing,
    /// The end, with the reason for the log: what is in `out` is flushed, then the socket is closed.
    Closed(String),
}

/// One connection, from the protocol header to its end.
///
/// The owner feeds inputs to `handle` as long as `wants_input`, calls `handle_timeout` at `next_timeout`, and writes
/// what gathers in the [`Outbound`]. All times are milliseconds of a monotonic clock.
#[derive(Debug)]
pub struct Connection {
    limits: Limits,
    phase: Phase,
    /// When the handshake must be over.
    handshake_until_ms: u64,
    server_properties: FieldTable,
    /// The SASL mechanisms offered, with spaces between them.
    mechanisms: String,
    client_properties: Arc<FieldTable>,
    tuned: Tuned,
    heartbeat: Heartbeat,
    channels: Channels,
}

/// Start -> Login -> Tune -> Open -> Opening -> Running -> Closing or Failed -> Closed; Silent from anything before Opening.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// The protocol header is awaited.
    Preamble,
    /// `connection.start-ok` is awaited.
    Start,
    /// The owner checks the login.
    Login,
    /// `connection.tune-ok` is awaited.
    Tune,
    /// `connection.open` is awaited.
    Open,
    /// The owner checks the virtual host.
    Opening,
    /// Channels may be used.
    Running,
    /// The client has closed the connection; the owner frees what it held.
    Closing,
    /// The broker has closed the connection and awaits `connection.close-ok`.
    Failed { until_ms: u64, reason: String },
    /// The peer did not get as far as to be answered; the socket is closed a little later, without a method.
    Silent { until_ms: u64, reason: String },
    /// Over.
    Closed,
}

impl Connection {
    /// A connection whose protocol header is awaited.
    #[must_use]
    pub fn new(limits: Limits, server_properties: FieldTable, now_ms: u64) -> Self {
        let Limits { frame_max, channel_max, heartbeat_s, .. } = limits;
        Self {
            phase: Phase::Preamble,
            handshake_until_ms: now_ms.saturating_add(limits.handshake_timeout_ms),
            server_properties,
            mechanisms: negotiation::MECHANISMS.to_owned(),
            client_properties: Arc::default(),
            tuned: Tuned { frame_max, channel_max, heartbeat_s },
            heartbeat: Heartbeat::new(now_ms),
            channels: Channels::default(),
            limits,
        }
    }

    /// Offers a SASL mechanism beside those that take names and passwords.
    pub fn offer(&mut self, mechanism: &str) {
        self.mechanisms.push(' ');
        self.mechanisms.push_str(mechanism);
    }

    /// Whether `handle` would hand this publish or settlement on unchanged, as [`Event::Channel`]; the owner may then
    /// spare the call, and with it two copies of the input.
    #[inline]
    #[must_use]
    pub fn passes(&self, input: &Input<'_>) -> bool {
        match input {
            Input::Publish(_)
            | Input::Gathered(_)
            | Input::Ack { .. }
            | Input::Nack { .. }
            | Input::Reject { .. } => self.is_channel_open(input.channel()),
            Input::Preamble(_) | Input::Heartbeat | Input::TooLarge { .. } | Input::Method { .. } => false,
        }
    }

    /// Takes one input; answers that need nobody else are written to `out`.
    // Inlined by force: an input is large to copy.
    #[inline(always)]
    pub fn handle<'a>(&mut self, input: Input<'a>, out: &mut Outbound, now_ms: u64) -> Option<Event<'a>> {
        let channel = input.channel();
        if channel != 0 && self.is_running() {
            return self.on_channel(channel, input, out, now_ms);
        }
        self.on_connection(input, out, now_ms)
    }

    /// What was agreed on; the offer before [`Event::Tuned`].
    #[must_use]
    pub fn tuned(&self) -> Tuned {
        self.tuned
    }

    /// The client properties of `connection.start-ok`, to be kept by somebody else too.
    #[must_use]
    pub fn shared_client_properties(&self) -> Arc<FieldTable> {
        Arc::clone(&self.client_properties)
    }

    /// The client properties of `connection.start-ok`.
    #[must_use]
    pub fn client_properties(&self) -> &FieldTable {
        &self.client_properties
    }

    /// Whether the client said that it has the capability.
    #[must_use]
    pub fn has_capability(&self, name: &str) -> bool {
        let capabilities =
            self.client_properties.inner().get("capabilities").and_then(AMQPValue::as_field_table);
        let value = capabilities.and_then(|capabilities| capabilities.inner().get(name));
        value == Some(&AMQPValue::Boolean(true))
    }

    /// Whether channels may be used: after `connection.open-ok` and before either side closes.
    #[inline]
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    /// Whether the socket is to be closed once everything is written.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// False while the owner owes an answer to `Login`, `Open` or `Closing`; inputs then wait.
    #[inline]
    #[must_use]
    pub fn wants_input(&self) -> bool {
        !matches!(self.phase, Phase::Login | Phase::Opening | Phase::Closing | Phase::Closed)
    }

    /// Whether the channel is open on both sides, so that methods may be sent on it.
    #[inline]
    #[must_use]
    pub fn is_channel_open(&self, channel: u16) -> bool {
        self.is_running() && self.channels.is_open(channel)
    }

    /// Whether a `channel.open` would open the channel: its number is free, so that one is not dropped in silence.
    #[must_use]
    pub fn is_channel_free(&self, channel: u16) -> bool {
        self.is_running() && channel != 0 && self.channels.is_free(channel)
    }

    /// Bytes came from the peer: any count as a heartbeat.
    #[inline]
    pub fn on_bytes_received(&mut self, now_ms: u64) {
        self.heartbeat.on_received(now_ms);
    }

    /// Bytes went out to the peer.
    #[inline]
    pub fn on_bytes_sent(&mut self, now_ms: u64) {
        self.heartbeat.on_sent(now_ms);
    }

    /// When `handle_timeout` is to be called next, unless something happens before.
    #[must_use]
    pub fn next_timeout(&self) -> Option<u64> {
        match &self.phase {
            Phase::Failed { until_ms, .. } | Phase::Silent { until_ms, .. } => Some(*until_ms),
            Phase::Closed => None,
            Phase::Running | Phase::Closing => self.heartbeat.next_timeout(),
            _ => {
                let until_ms = self.handshake_until_ms;
                Some(self.heartbeat.next_timeout().map_or(until_ms, |at_ms| at_ms.min(until_ms)))
            }
        }
    }

    /// Does what is due: a heartbeat, or the end of a peer that is silent or slow.
    pub fn handle_timeout(&mut self, now_ms: u64, out: &mut Outbound) -> Option<Event<'static>> {
        match &self.phase {
            Phase::Failed { until_ms, reason } | Phase::Silent { until_ms, reason } => {
                let reason = reason.clone();
                return if now_ms >= *until_ms { Some(self.closed(reason)) } else { None };
            }
            Phase::Closed => return None,
            Phase::Running | Phase::Closing => {}
            _ if now_ms >= self.handshake_until_ms => {
                return Some(self.closed("handshake timeout".to_owned()));
            }
            _ => {}
        }
        if self.heartbeat.is_dead(now_ms) {
            let interval_s = self.tuned.heartbeat_s;
            return Some(self.closed(format!("missed heartbeats from client, timeout: {interval_s}s")));
        }
        if self.heartbeat.is_due(now_ms) {
            out.heartbeat();
            self.heartbeat.on_sent(now_ms);
        }
        None
    }

    /// Inputs of channel 0, and all inputs while the connection is not running.
    #[inline(never)]
    fn on_connection<'a>(&mut self, input: Input<'a>, out: &mut Outbound, now_ms: u64) -> Option<Event<'a>> {
        match &self.phase {
            Phase::Preamble | Phase::Start | Phase::Tune | Phase::Open => {
                self.on_handshake(input, out, now_ms)
            }
            Phase::Running => self.on_running(input, out, now_ms),
            Phase::Failed { .. } => self.on_failed(&input, out),
            // Inputs that come while the owner owes an answer break the contract of `wants_input`.
            Phase::Login | Phase::Opening | Phase::Closing | Phase::Silent { .. } | Phase::Closed => None,
        }
    }

    /// Channel 0 of a running connection.
    fn on_running<'a>(&mut self, input: Input<'a>, out: &mut Outbound, now_ms: u64) -> Option<Event<'a>> {
        let cause = input.method_id();
        match input {
            Input::Heartbeat => return None,
            Input::Method { method, .. } => match *method {
                AMQPClass::Connection(AMQPMethod::Close(_)) => {
                    self.phase = Phase::Closing;
                    return Some(Event::Closing);
                }
                AMQPClass::Connection(AMQPMethod::UpdateSecret(update)) => {
                    return Some(Event::UpdateSecret { secret: update.new_secret.as_bytes().to_vec() });
                }
                // Only a broker blocks; RabbitMQ lets it pass from a client.
                AMQPClass::Connection(AMQPMethod::Blocked(_) | AMQPMethod::Unblocked(_)) => return None,
                _ => {}
            },
            _ => {}
        }
        let text = "unexpected method in connection state running";
        self.refuse(ReplyCode::ChannelError, text, cause, out, now_ms)
    }

    /// The machine's own hard errors.
    fn refuse(
        &mut self,
        code: ReplyCode,
        text: &str,
        cause: MethodId,
        out: &mut Outbound,
        now_ms: u64,
    ) -> Option<Event<'static>> {
        self.fail(&Refusal::connection(code, text), cause, out, now_ms);
        None
    }
}
