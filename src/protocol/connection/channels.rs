//! The channels of a running connection: which are open, and what the machine answers itself (AMQP 0-9-1, section 2.2.5).

use amq_protocol::protocol::AMQPClass;
use amq_protocol::protocol::access::{AMQPMethod as AccessMethod, RequestOk};
use amq_protocol::protocol::basic::AMQPMethod as BasicMethod;
use amq_protocol::protocol::channel::{AMQPMethod, Close, CloseOk, FlowOk, OpenOk};
use amq_protocol::protocol::confirm::AMQPMethod as ConfirmMethod;
use amq_protocol::protocol::exchange::AMQPMethod as ExchangeMethod;
use amq_protocol::protocol::queue::AMQPMethod as QueueMethod;
use amq_protocol::protocol::tx::AMQPMethod as TxMethod;

use super::closing::short_text;
use super::{Connection, Event};
use crate::protocol::error::{MethodId, Refusal};
use crate::protocol::inbound::Input;
use crate::protocol::outbound::Outbound;
use crate::protocol::reply_code::ReplyCode;

impl Connection {
    /// Closes the channel with a soft error; what comes on it is dropped in silence until the client's
    /// `channel.close-ok`, then its number is free. Without effect when the channel is not open.
    pub fn fail_channel(&mut self, channel: u16, refusal: &Refusal, cause: MethodId, out: &mut Outbound) {
        if !self.is_channel_open(channel) {
            return;
        }
        let close = Close {
            reply_code: refusal.code.id(),
            reply_text: short_text(refusal),
            class_id: cause.0,
            method_id: cause.1,
        };
        put(out, channel, AMQPMethod::Close(close));
        self.channels.set(channel, State::ClosedByUs);
    }

    /// Answers the client's `channel.close`; its number is free at once.
    pub fn channel_close_ok(&mut self, channel: u16, out: &mut Outbound) {
        if self.is_running() && self.channels.state(channel) == State::ClosedByClient {
            put(out, channel, AMQPMethod::CloseOk(CloseOk {}));
            self.channels.set(channel, State::Free);
        }
    }

    #[inline(always)]
    pub(super) fn on_channel<'a>(
        &mut self,
        channel: u16,
        input: Input<'a>,
        out: &mut Outbound,
        now_ms: u64,
    ) -> Option<Event<'a>> {
        if self.channels.is_open(channel) && !matches!(input, Input::Method { .. }) {
            return Some(Event::Channel(channel, input));
        }
        self.on_channel_method(channel, input, out, now_ms)
    }

    #[inline(never)]
    fn on_channel_method<'a>(
        &mut self,
        channel: u16,
        input: Input<'a>,
        out: &mut Outbound,
        now_ms: u64,
    ) -> Option<Event<'a>> {
        match self.channels.state(channel) {
            State::Open => self.on_open_channel(channel, input, out, now_ms),
            State::Free => self.on_free_channel(channel, &input, out, now_ms),
            State::ClosedByClient => None,
            State::ClosedByUs => {
                self.on_closed_channel(channel, &input, out);
                None
            }
        }
    }

    fn on_free_channel(
        &mut self,
        channel: u16,
        input: &Input<'_>,
        out: &mut Outbound,
        now_ms: u64,
    ) -> Option<Event<'static>> {
        let (used, most) = (self.channels.used, usize::from(self.tuned.channel_max));
        if most != 0 && used >= most {
            let text =
                format!("number of channels opened ({used}) has reached the negotiated channel_max ({most})");
            return self.refuse(ReplyCode::NotAllowed, &text, (0, 0), out, now_ms);
        }
        let is_open = |method: &AMQPClass| matches!(method, AMQPClass::Channel(AMQPMethod::Open(_)));
        if !matches!(input, Input::Method { method, .. } if is_open(method)) {
            let text = "expected 'channel.open'";
            return self.refuse(ReplyCode::ChannelError, text, input.method_id(), out, now_ms);
        }
        self.channels.set(channel, State::Open);
        put(out, channel, AMQPMethod::OpenOk(OpenOk {}));
        Some(Event::ChannelOpened(channel))
    }

    fn on_open_channel<'a>(
        &mut self,
        channel: u16,
        input: Input<'a>,
        out: &mut Outbound,
        now_ms: u64,
    ) -> Option<Event<'a>> {
        let cause = input.method_id();
        let Input::Method { method, .. } = &input else { return Some(Event::Channel(channel, input)) };
        let refusal = match &**method {
            AMQPClass::Channel(AMQPMethod::Open(_)) => {
                (ReplyCode::ChannelError, "second 'channel.open' seen")
            }
            AMQPClass::Channel(AMQPMethod::Close(_)) => {
                self.channels.set(channel, State::ClosedByClient);
                return Some(Event::ChannelClosing(channel));
            }
            AMQPClass::Channel(AMQPMethod::Flow(flow)) if flow.active => {
                put(out, channel, AMQPMethod::FlowOk(FlowOk { active: true }));
                return None;
            }
            AMQPClass::Channel(AMQPMethod::Flow(_)) => (ReplyCode::NotImplemented, "active=false"),
            AMQPClass::Access(AccessMethod::Request(_)) => {
                out.method(channel, &AMQPClass::Access(AccessMethod::RequestOk(RequestOk {})));
                return None;
            }
            // The answer of a client that takes the broker's cancel for a question.
            AMQPClass::Basic(BasicMethod::CancelOk(_)) => return None,
            method if is_request(method) => return Some(Event::Channel(channel, input)),
            _ => (ReplyCode::CommandInvalid, "unimplemented method"),
        };
        self.refuse(refusal.0, refusal.1, cause, out, now_ms)
    }

    fn on_closed_channel(&mut self, channel: u16, input: &Input<'_>, out: &mut Outbound) {
        let Input::Method { method, .. } = input else { return };
        let AMQPClass::Channel(method) = &**method else { return };
        match method {
            AMQPMethod::CloseOk(_) => self.channels.set(channel, State::Free),
            // Both sides closed at once: each answers the other.
            AMQPMethod::Close(_) => put(out, channel, AMQPMethod::CloseOk(CloseOk {})),
            _ => {}
        }
    }
}

/// What is known of a channel number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Free,
    Open,
    /// The client closed it; the owner gives back what it held.
    ClosedByClient,
    /// The broker closed it; the client's answer is awaited.
    ClosedByUs,
}

/// The state of every channel number used so far, by number.
#[derive(Debug, Default)]
pub(super) struct Channels {
    states: Vec<State>,
    /// How many are not free.
    used: usize,
}

impl Channels {
    #[inline]
    pub(super) fn is_open(&self, channel: u16) -> bool {
        self.state(channel) == State::Open
    }

    pub(super) fn is_free(&self, channel: u16) -> bool {
        self.state(channel) == State::Free
    }

    #[inline]
    fn state(&self, channel: u16) -> State {
        self.states.get(usize::from(channel)).copied().unwrap_or_default()
    }

    fn set(&mut self, channel: u16, state: State) {
        let at = usize::from(channel);
        if self.states.len() <= at {
            self.states.resize(at + 1, State::Free);
        }
        let Some(entry) = self.states.get_mut(at) else { return };
        match (*entry, state) {
            (State::Free, State::Free) => {}
            (State::Free, _) => self.used += 1,
            (_, State::Free) => self.used -= 1,
            _ => {}
        }
        *entry = state;
    }
}

/// Whether a client may send the method on an open channel, to be answered by the channel.
fn is_request(method: &AMQPClass) -> bool {
    match method {
        AMQPClass::Basic(method) => matches!(
            method,
            BasicMethod::Qos(_)
                | BasicMethod::Consume(_)
                | BasicMethod::Cancel(_)
                | BasicMethod::Get(_)
                | BasicMethod::RecoverAsync(_)
                | BasicMethod::Recover(_)
        ),
        AMQPClass::Exchange(method) => matches!(
            method,
            ExchangeMethod::Declare(_)
                | ExchangeMethod::Delete(_)
                | ExchangeMethod::Bind(_)
                | ExchangeMethod::Unbind(_)
        ),
        AMQPClass::Queue(method) => matches!(
            method,
            QueueMethod::Declare(_)
                | QueueMethod::Bind(_)
                | QueueMethod::Purge(_)
                | QueueMethod::Delete(_)
                | QueueMethod::Unbind(_)
        ),
        AMQPClass::Tx(method) => {
            matches!(method, TxMethod::Select(_) | TxMethod::Commit(_) | TxMethod::Rollback(_))
        }
        AMQPClass::Confirm(method) => matches!(method, ConfirmMethod::Select(_)),
        AMQPClass::Connection(_) | AMQPClass::Channel(_) | AMQPClass::Access(_) => false,
    }
}

fn put(out: &mut Outbound, channel: u16, method: AMQPMethod) {
    out.method(channel, &AMQPClass::Channel(method));
}
