//! From the protocol header to `connection.open-ok` (AMQP 0-9-1, section 2.2.4).

use amq_protocol::protocol::AMQPClass;
use amq_protocol::protocol::connection::{AMQPMethod, OpenOk, Start, StartOk, Tune, TuneOk, UpdateSecretOk};

use super::{Connection, Event, Phase, Tuned};
use crate::protocol::inbound::Input;
use crate::protocol::outbound::Outbound;
use crate::protocol::{negotiation, sasl};

impl Connection {
    /// The login is right: the tuning is offered.
    pub fn login_ok(&mut self, out: &mut Outbound, _now_ms: u64) {
        if self.phase != Phase::Login {
            return;
        }
        let Tuned { frame_max, channel_max, heartbeat_s } = self.tuned;
        let tune = Tune { channel_max, frame_max, heartbeat: heartbeat_s };
        out.method(0, &AMQPClass::Connection(AMQPMethod::Tune(tune)));
        self.phase = Phase::Tune;
    }

    /// The new secret is taken.
    pub fn update_secret_ok(&mut self, out: &mut Outbound) {
        if self.phase == Phase::Running {
            out.method(0, &AMQPClass::Connection(AMQPMethod::UpdateSecretOk(UpdateSecretOk {})));
        }
    }

    /// The virtual host is there and open to the user.
    pub fn open_ok(&mut self, out: &mut Outbound) {
        if self.phase != Phase::Opening {
            return;
        }
        out.method(0, &AMQPClass::Connection(AMQPMethod::OpenOk(OpenOk {})));
        self.phase = Phase::Running;
    }

    /// Inputs while the client has the next step to do. What does not belong to that step ends the connection without
    /// a method: the peer is not trusted yet.
    pub(super) fn on_handshake(
        &mut self,
        input: Input<'_>,
        out: &mut Outbound,
        now_ms: u64,
    ) -> Option<Event<'static>> {
        let method = match input {
            Input::Preamble(header) => return self.on_preamble(&header, out),
            Input::Heartbeat => return None,
            Input::Method { channel: 0, method } => *method,
            _ => return self.end_silently("unexpected frame in the handshake", now_ms),
        };
        let AMQPClass::Connection(method) = method else {
            return self.end_silently("unexpected method in the handshake", now_ms);
        };
        match (&self.phase, method) {
            (Phase::Start, AMQPMethod::StartOk(start_ok)) => self.on_start_ok(start_ok, now_ms),
            (Phase::Tune, AMQPMethod::TuneOk(tune_ok)) => self.on_tune_ok(&tune_ok, now_ms),
            (Phase::Open, AMQPMethod::Open(open)) => {
                self.phase = Phase::Opening;
                Some(Event::Open { vhost: open.virtual_host.into() })
            }
            _ => self.end_silently("unexpected method in the handshake", now_ms),
        }
    }

    fn on_preamble(&mut self, header: &[u8; 8], out: &mut Outbound) -> Option<Event<'static>> {
        if !negotiation::is_supported(header) {
            out.buf.extend_from_slice(&negotiation::PROTOCOL_HEADER);
            return Some(self.closed(format!("bad protocol header {header:?}")));
        }
        let start = Start {
            version_major: 0,
            version_minor: 9,
            server_properties: std::mem::take(&mut self.server_properties),
            mechanisms: self.mechanisms.as_str().into(),
            locales: negotiation::LOCALES.into(),
        };
        out.method(0, &AMQPClass::Connection(AMQPMethod::Start(start)));
        self.phase = Phase::Start;
        None
    }

    fn on_start_ok(&mut self, start_ok: StartOk, now_ms: u64) -> Option<Event<'static>> {
        let StartOk { client_properties, mechanism, response, .. } = start_ok;
        self.client_properties = client_properties.into();
        let is_offered = self.mechanisms.split(' ').any(|offered| offered == mechanism.as_str());
        let credentials = sasl::credentials(mechanism.as_str(), response.as_bytes());
        let Some((mechanism, credentials)) = credentials.filter(|_| is_offered) else {
            return self.end_silently("SASL mechanism not offered, or its response malformed", now_ms);
        };
        self.phase = Phase::Login;
        Some(Event::Login { mechanism, user: credentials.user, password: credentials.password })
    }

    fn on_tune_ok(&mut self, tune_ok: &TuneOk, now_ms: u64) -> Option<Event<'static>> {
        let TuneOk { channel_max, frame_max, heartbeat } = *tune_ok;
        let asked = Tuned { frame_max, channel_max, heartbeat_s: heartbeat };
        match negotiation::check_tuning(asked, &self.limits) {
            Ok(tuned) => {
                self.tuned = tuned;
                self.heartbeat.start(heartbeat, now_ms);
                self.phase = Phase::Open;
                Some(Event::Tuned)
            }
            Err(reason) => self.end_silently(&reason, now_ms),
        }
    }
}
