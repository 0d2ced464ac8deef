//! Every way to an end: the client's close, the broker's close, and the silent end (AMQP 0-9-1, section 2.2.4).

use amq_protocol::protocol::AMQPClass;
use amq_protocol::protocol::connection::{AMQPMethod, Close, CloseOk};
use amq_protocol::types::ShortString;

use super::{Connection, Event, Phase};
use crate::protocol::error::{MethodId, Refusal};
use crate::protocol::inbound::{InboundError, Input};
use crate::protocol::outbound::Outbound;
use crate::protocol::reply_code::ReplyCode;

/// How long `connection.close-ok` is waited for, in milliseconds.
const CLOSE_OK_TIMEOUT_MS: u64 = 10_000;

/// How long a peer that is not logged in waits for the end of its connection, in milliseconds: guessing is slow then.
const SILENT_CLOSE_DELAY_MS: u64 = 1_000;

impl Connection {
    /// Closes the connection with a hard error. From now on everything is ignored until `connection.close-ok` or a
    /// time limit, then [`Event::Closed`] follows.
    ///
    /// A peer that has not come as far as `connection.open` gets no method, as from RabbitMQ. Without effect when the
    /// connection is ending already.
    pub fn fail(&mut self, refusal: &Refusal, cause: MethodId, out: &mut Outbound, now_ms: u64) {
        match self.phase {
            Phase::Closing | Phase::Failed { .. } | Phase::Silent { .. } | Phase::Closed => {}
            Phase::Preamble | Phase::Start | Phase::Login | Phase::Tune | Phase::Open => {
                self.end_silently(&refusal.to_string(), now_ms);
            }
            Phase::Opening | Phase::Running => {
                put_close(refusal, cause, out);
                let until_ms = now_ms.saturating_add(CLOSE_OK_TIMEOUT_MS);
                self.phase = Phase::Failed { until_ms, reason: refusal.to_string() };
            }
        }
    }

    /// Ends the connection for an error of the inbound stream: with a close, or at once without a method.
    pub fn fail_inbound(
        &mut self,
        error: &InboundError,
        out: &mut Outbound,
        now_ms: u64,
    ) -> Option<Event<'static>> {
        match error {
            InboundError::Refused(refusal, cause) => {
                self.fail(refusal, *cause, out, now_ms);
                None
            }
            InboundError::Silent(reason) if self.phase != Phase::Closed => {
                Some(self.closed((*reason).to_owned()))
            }
            InboundError::Silent(_) => None,
        }
    }

    /// The login is wrong: 403 if the client understands that, otherwise silence; the socket is closed after a second.
    pub fn login_refused(&mut self, mechanism: &str, out: &mut Outbound, now_ms: u64) {
        if self.phase != Phase::Login {
            return;
        }
        let text = format!(
            "Login was refused using authentication mechanism {mechanism}. For details see the broker logfile."
        );
        let refusal = Refusal::connection(ReplyCode::AccessRefused, text);
        if !self.has_capability("authentication_failure_close") {
            self.end_silently(&refusal.to_string(), now_ms);
            return;
        }
        put_close(&refusal, (0, 0), out);
        let until_ms = now_ms.saturating_add(SILENT_CLOSE_DELAY_MS);
        self.phase = Phase::Failed { until_ms, reason: refusal.to_string() };
    }

    /// Answers the client's close; what is in `out` is then flushed and the socket closed.
    pub fn close_ok(&mut self, out: &mut Outbound) {
        if self.phase == Phase::Closing {
            put_close_ok(out);
            self.phase = Phase::Closed;
        }
    }

    /// After the broker's close only the client's answer counts; a close that crossed it is answered as well.
    pub(super) fn on_failed(&mut self, input: &Input<'_>, out: &mut Outbound) -> Option<Event<'static>> {
        let Input::Method { channel: 0, method } = input else { return None };
        let AMQPClass::Connection(method) = &**method else { return None };
        match method {
            AMQPMethod::Close(_) => {
                put_close_ok(out);
                None
            }
            AMQPMethod::CloseOk(_) => {
                let Phase::Failed { reason, .. } = &self.phase else { return None };
                let reason = reason.clone();
                Some(self.closed(reason))
            }
            _ => None,
        }
    }

    /// Ends a connection that is not trusted yet.
    pub(super) fn end_silently(&mut self, reason: &str, now_ms: u64) -> Option<Event<'static>> {
        let until_ms = now_ms.saturating_add(SILENT_CLOSE_DELAY_MS);
        self.phase = Phase::Silent { until_ms, reason: reason.to_owned() };
        None
    }

    pub(super) fn closed(&mut self, reason: String) -> Event<'static> {
        self.phase = Phase::Closed;
        Event::Closed(reason)
    }
}

fn put_close(refusal: &Refusal, cause: MethodId, out: &mut Outbound) {
    let close = Close {
        reply_code: refusal.code.id(),
        reply_text: short_text(refusal),
        class_id: cause.0,
        method_id: cause.1,
    };
    out.method(0, &AMQPClass::Connection(AMQPMethod::Close(close)));
}

/// The reply text of a refusal as amq-protocol wants it.
pub(super) fn short_text(refusal: &Refusal) -> ShortString {
    // A reply text is cut to a short string where it is made.
    ShortString::try_new(refusal.reply_text()).unwrap_or_default()
}

fn put_close_ok(out: &mut Outbound) {
    out.method(0, &AMQPClass::Connection(AMQPMethod::CloseOk(CloseOk {})));
}
