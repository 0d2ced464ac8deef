//! Scenarios of one connection, from bytes to events and answers.

use amq_protocol::protocol::AMQPClass;
use amq_protocol::protocol::channel::{self, AMQPMethod as ChannelMethod};
use amq_protocol::protocol::connection::{self, AMQPMethod};
use amq_protocol::protocol::{access, basic, queue};

use super::*;
use crate::protocol::frame::{self, Head};
use crate::protocol::inbound::{InboundError, Publish};
use crate::protocol::{method, negotiation};

/// A connection with its answers decoded.
struct Peer {
    connection: Connection,
    out: Outbound,
    now_ms: u64,
}

impl Peer {
    fn new() -> Self {
        let connection = Connection::new(Limits::default(), negotiation::server_properties("node"), 0);
        Self { connection, out: Outbound::new(4096), now_ms: 0 }
    }

    /// Logged in, tuned and opened.
    fn running() -> Self {
        let mut peer = Self::tuned(Tuned { frame_max: 131_072, channel_max: 2047, heartbeat_s: 0 });
        assert_eq!(peer.send(0, AMQPMethod::Open(open())), Some(Event::Open { vhost: "/".to_owned() }));
        peer.connection.open_ok(&mut peer.out);
        assert!(peer.connection.is_running());
        peer.answers();
        peer
    }

    /// Running, with channel 1 open.
    fn with_channel() -> Self {
        let mut peer = Self::running();
        assert_eq!(peer.send(1, ChannelMethod::Open(channel::Open {})), Some(Event::ChannelOpened(1)));
        peer.answers();
        peer
    }

    fn tuned(asked: Tuned) -> Self {
        let mut peer = Self::authenticated();
        assert_eq!(peer.tune(asked), Some(Event::Tuned));
        peer
    }

    fn authenticated() -> Self {
        let mut peer = Self::started(true);
        peer.connection.login_ok(&mut peer.out, 0);
        peer.answers();
        peer
    }

    fn started(understands_refusal: bool) -> Self {
        let mut peer = Self::new();
        assert_eq!(peer.input(Input::Preamble(*b"AMQP\0\0\x09\x01")), None);
        assert!(matches!(peer.answers()[..], [(0, AMQPClass::Connection(AMQPMethod::Start(_)))]));
        let event =
            peer.send(0, AMQPMethod::StartOk(start_ok("PLAIN", "\0guest\0secret", understands_refusal)));
        assert!(matches!(event, Some(Event::Login { mechanism: "PLAIN", user, .. }) if user == "guest"));
        assert!(!peer.connection.wants_input());
        peer
    }

    fn tune(&mut self, asked: Tuned) -> Option<Event<'static>> {
        let Tuned { frame_max, channel_max, heartbeat_s } = asked;
        self.send(
            0,
            AMQPMethod::TuneOk(connection::TuneOk { channel_max, frame_max, heartbeat: heartbeat_s }),
        )
    }

    fn input<'a>(&mut self, input: Input<'a>) -> Option<Event<'a>> {
        self.connection.handle(input, &mut self.out, self.now_ms)
    }

    fn send(&mut self, channel: u16, method: impl IntoClass) -> Option<Event<'static>> {
        self.input(Input::Method { channel, method: Box::new(method.into_class()) })
    }

    fn timeout(&mut self, now_ms: u64) -> Option<Event<'static>> {
        self.connection.handle_timeout(now_ms, &mut self.out)
    }

    fn answers(&mut self) -> Vec<(u16, AMQPClass)> {
        let bytes = std::mem::take(&mut self.out.buf);
        let (mut rest, mut methods) = (&bytes[..], Vec::new());
        while let Some(head) = Head::parse(rest) {
            let (payload, _) = frame::payload(rest, &head).unwrap();
            methods.push((head.channel, method::decode(payload).unwrap()));
            rest = &rest[payload.len() + frame::OVERHEAD..];
        }
        methods
    }

    /// The one close that was answered: code, text and ids.
    fn close(&mut self) -> (u16, String, MethodId) {
        match &self.answers()[..] {
            [(0, AMQPClass::Connection(AMQPMethod::Close(close)))] => {
                (close.reply_code, close.reply_text.to_string(), (close.class_id, close.method_id))
            }
            other => panic!("{other:?}"),
        }
    }
}

/// What can be sent as a method.
trait IntoClass {
    fn into_class(self) -> AMQPClass;
}

impl IntoClass for AMQPClass {
    fn into_class(self) -> AMQPClass {
        self
    }
}

impl IntoClass for AMQPMethod {
    fn into_class(self) -> AMQPClass {
        AMQPClass::Connection(self)
    }
}

impl IntoClass for ChannelMethod {
    fn into_class(self) -> AMQPClass {
        AMQPClass::Channel(self)
    }
}

fn start_ok(mechanism: &str, response: &str, understands_refusal: bool) -> connection::StartOk {
    let mut capabilities = FieldTable::default();
    capabilities.insert("authentication_failure_close".into(), AMQPValue::Boolean(understands_refusal));
    let mut client_properties = FieldTable::default();
    client_properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    connection::StartOk {
        client_properties,
        mechanism: mechanism.into(),
        response: response.into(),
        locale: "fr_FR".into(),
    }
}

fn open() -> connection::Open {
    connection::Open { virtual_host: "/".into() }
}

fn close() -> AMQPMethod {
    AMQPMethod::Close(connection::Close::default())
}

fn qos() -> AMQPClass {
    AMQPClass::Basic(basic::AMQPMethod::Qos(basic::Qos { prefetch_count: 1, global: false }))
}

fn refusal() -> Refusal {
    Refusal::channel(ReplyCode::NotFound, "no queue 'q' in vhost '/'")
}

fn wrapped<T>(close: (u16, &str, T)) -> (u16, String, T) {
    (close.0, close.1.to_owned(), close.2)
}

#[test]
fn another_protocol_is_answered_with_the_header() {
    let mut peer = Peer::new();
    assert!(matches!(peer.input(Input::Preamble(*b"GET / HT")), Some(Event::Closed(_))));
    assert_eq!(peer.out.buf, b"AMQP\0\0\x09\x01");
    assert_eq!(peer.input(Input::Heartbeat), None);
}

#[test]
fn a_refused_login_is_told_to_those_who_understand() {
    let mut peer = Peer::started(true);
    peer.connection.login_refused("PLAIN", &mut peer.out, 0);
    let text = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.";
    assert_eq!(peer.close(), wrapped((403, text, (0, 0))));
    assert!(matches!(peer.send(0, AMQPMethod::CloseOk(connection::CloseOk {})), Some(Event::Closed(_))));

    let mut peer = Peer::started(false);
    peer.connection.login_refused("PLAIN", &mut peer.out, 0);
    assert_eq!(peer.answers(), []);
    assert_eq!((peer.connection.next_timeout(), peer.timeout(999)), (Some(1000), None));
    assert!(matches!(peer.timeout(1000), Some(Event::Closed(_))));
}

#[test]
fn what_does_not_belong_to_the_handshake_ends_it_silently() {
    let unknown = AMQPMethod::StartOk(start_ok("NOPE", "x", true));
    let malformed = AMQPMethod::StartOk(start_ok("PLAIN", "garbage", true));
    for method in [unknown, malformed, AMQPMethod::Open(open())] {
        let mut peer = Peer::new();
        peer.input(Input::Preamble(*b"AMQP\0\0\x09\x01"));
        peer.answers();
        assert_eq!(peer.send(0, method), None);
        assert_eq!(peer.answers(), []);
        assert!(matches!(peer.timeout(1000), Some(Event::Closed(_))));
    }
}

#[test]
fn tuning_outside_the_offer_ends_silently() {
    for (frame_max, channel_max) in [(4095, 1), (0, 1), (131_073, 1), (131_072, 0), (131_072, 2048)] {
        let mut peer = Peer::authenticated();
        assert_eq!(peer.tune(Tuned { frame_max, channel_max, heartbeat_s: 0 }), None);
        assert_eq!(peer.send(0, AMQPMethod::Open(open())), None);
        assert_eq!(peer.answers(), []);
        assert!(matches!(peer.timeout(1000), Some(Event::Closed(_))));
    }
}

#[test]
fn a_slow_handshake_is_given_up() {
    let mut peer = Peer::new();
    assert_eq!((peer.connection.next_timeout(), peer.timeout(9_999)), (Some(10_000), None));
    assert!(matches!(peer.timeout(10_000), Some(Event::Closed(_))));
    assert_eq!(peer.connection.next_timeout(), None);
}

#[test]
fn a_missing_vhost_is_refused_by_name() {
    let mut peer = Peer::tuned(Tuned { frame_max: 4096, channel_max: 1, heartbeat_s: 0 });
    peer.send(0, AMQPMethod::Open(open()));
    let missing = Refusal::connection(ReplyCode::NotAllowed, "vhost nosuch not found");
    peer.connection.fail(&missing, (10, 40), &mut peer.out, 0);
    assert_eq!(peer.close(), wrapped((530, "NOT_ALLOWED - vhost nosuch not found", (10, 40))));
}

#[test]
fn heartbeats_go_out_and_a_silent_client_is_dropped() {
    let mut peer = Peer::tuned(Tuned { frame_max: 4096, channel_max: 1, heartbeat_s: 1 });
    peer.send(0, AMQPMethod::Open(open()));
    peer.connection.open_ok(&mut peer.out);
    peer.answers();
    assert_eq!((peer.connection.next_timeout(), peer.timeout(500)), (Some(500), None));
    assert_eq!(std::mem::take(&mut peer.out.buf), [8, 0, 0, 0, 0, 0, 0, 0xCE]);
    peer.connection.on_bytes_received(2000);
    peer.connection.on_bytes_sent(4400);
    assert_eq!((peer.connection.next_timeout(), peer.timeout(4499)), (Some(4500), None));
    assert!(matches!(peer.timeout(4500), Some(Event::Closed(_))));
    assert!(peer.out.buf.is_empty());
}

#[test]
fn wrong_methods_on_channel_0_are_refused() {
    let text = "CHANNEL_ERROR - unexpected method in connection state running";
    for (method, id) in [
        (AMQPClass::Connection(AMQPMethod::Open(open())), (10, 40)),
        (AMQPClass::Channel(ChannelMethod::Open(channel::Open {})), (20, 10)),
        (qos(), (60, 10)),
    ] {
        let mut peer = Peer::running();
        assert_eq!(peer.input(Input::Method { channel: 0, method: Box::new(method) }), None);
        assert_eq!(peer.close(), wrapped((504, text, id)));
    }
    let mut peer = Peer::running();
    assert_eq!(peer.input(Input::Ack { channel: 0, tag: 1, multiple: false }), None);
    assert_eq!(peer.close(), wrapped((504, text, (60, 80))));
}

#[test]
fn the_client_closes() {
    let mut peer = Peer::with_channel();
    assert_eq!(peer.send(0, close()), Some(Event::Closing));
    assert_eq!(peer.send(1, qos()), None);
    peer.connection.close_ok(&mut peer.out);
    assert!(matches!(peer.answers()[..], [(0, AMQPClass::Connection(AMQPMethod::CloseOk(_)))]));
    assert!(peer.connection.is_closed());
}

#[test]
fn after_a_hard_error_all_is_ignored_until_close_ok() {
    let mut peer = Peer::with_channel();
    let forced = Refusal::connection(ReplyCode::ConnectionForced, "vhost 'v' is deleted");
    peer.connection.fail(&forced, (0, 0), &mut peer.out, 7);
    assert_eq!(peer.close(), wrapped((320, "CONNECTION_FORCED - vhost 'v' is deleted", (0, 0))));
    assert!(!peer.connection.is_running());
    assert_eq!(peer.send(1, qos()), None);
    peer.connection.fail(&forced, (0, 0), &mut peer.out, 7);
    assert_eq!(peer.answers(), []);
    assert_eq!(peer.connection.next_timeout(), Some(10_007));
    assert_eq!(peer.send(0, close()), None);
    assert!(matches!(peer.answers()[..], [(0, AMQPClass::Connection(AMQPMethod::CloseOk(_)))]));
    assert!(matches!(peer.send(0, AMQPMethod::CloseOk(connection::CloseOk {})), Some(Event::Closed(_))));
}

#[test]
fn a_stream_that_cannot_be_followed_ends_with_or_without_a_method() {
    let mut peer = Peer::running();
    let error = InboundError::Refused(Refusal::connection(ReplyCode::FrameError, "bad"), (0, 0));
    assert_eq!(peer.connection.fail_inbound(&error, &mut peer.out, 0), None);
    assert_eq!(peer.close(), wrapped((501, "FRAME_ERROR - bad", (0, 0))));
    let mut peer = Peer::running();
    let event = peer.connection.fail_inbound(&InboundError::Silent("unknown"), &mut peer.out, 0);
    assert_eq!(event, Some(Event::Closed("unknown".to_owned())));
    assert_eq!(peer.answers(), []);
}

#[test]
fn a_new_secret_is_answered_and_blocked_ignored() {
    let mut peer = Peer::running();
    let update = connection::UpdateSecret { new_secret: "x".into(), reason: "why".into() };
    let event = peer.send(0, AMQPMethod::UpdateSecret(update));
    assert_eq!(event, Some(Event::UpdateSecret { secret: b"x".to_vec() }));
    assert_eq!(peer.answers(), [], "its owner looks at it first");
    peer.connection.update_secret_ok(&mut peer.out);
    assert!(matches!(peer.answers()[..], [(0, AMQPClass::Connection(AMQPMethod::UpdateSecretOk(_)))]));
    assert_eq!(peer.send(0, AMQPMethod::Blocked(connection::Blocked::default())), None);
    assert_eq!(peer.answers(), []);
}

#[test]
fn a_channel_opens_once() {
    let mut peer = Peer::with_channel();
    assert_eq!(peer.send(1, ChannelMethod::Open(channel::Open {})), None);
    assert_eq!(peer.close(), wrapped((504, "CHANNEL_ERROR - second 'channel.open' seen", (20, 10))));
}

#[test]
fn a_channel_must_be_open() {
    let close = ChannelMethod::Close(channel::Close::default());
    for (method, id) in [
        (qos(), (60, 10)),
        (AMQPClass::Channel(close), (20, 40)),
        (AMQPClass::Channel(ChannelMethod::CloseOk(channel::CloseOk {})), (20, 41)),
        (AMQPClass::Connection(self::close()), (10, 50)),
    ] {
        let mut peer = Peer::running();
        assert_eq!(peer.send(7, method), None);
        assert_eq!(peer.close(), wrapped((504, "CHANNEL_ERROR - expected 'channel.open'", id)));
    }
}

#[test]
fn the_number_of_channels_is_limited() {
    let mut peer = Peer::tuned(Tuned { frame_max: 4096, channel_max: 1, heartbeat_s: 0 });
    peer.send(0, AMQPMethod::Open(open()));
    peer.connection.open_ok(&mut peer.out);
    peer.send(9, ChannelMethod::Open(channel::Open {}));
    peer.answers();
    assert_eq!(peer.send(2, ChannelMethod::Open(channel::Open {})), None);
    let text = "NOT_ALLOWED - number of channels opened (1) has reached the negotiated channel_max (1)";
    assert_eq!(peer.close(), wrapped((530, text, (0, 0))));
}

#[test]
fn a_channel_closed_by_the_client_is_free_at_once() {
    let mut peer = Peer::with_channel();
    let close = || ChannelMethod::Close(channel::Close::default());
    assert_eq!(peer.send(1, close()), Some(Event::ChannelClosing(1)));
    assert!(!peer.connection.is_channel_open(1));
    peer.connection.channel_close_ok(1, &mut peer.out);
    assert!(matches!(peer.answers()[..], [(1, AMQPClass::Channel(ChannelMethod::CloseOk(_)))]));
    assert_eq!(peer.send(1, ChannelMethod::Open(channel::Open {})), Some(Event::ChannelOpened(1)));
}

#[test]
fn a_channel_closed_by_the_broker_is_mute_until_close_ok() {
    let mut peer = Peer::with_channel();
    peer.connection.fail_channel(1, &refusal(), (50, 10), &mut peer.out);
    let answers = peer.answers();
    let [(1, AMQPClass::Channel(ChannelMethod::Close(sent)))] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!((sent.reply_code, sent.reply_text.as_str()), (404, "NOT_FOUND - no queue 'q' in vhost '/'"));
    assert_eq!((sent.class_id, sent.method_id), (50, 10));
    assert_eq!(peer.send(1, qos()), None);
    assert_eq!(peer.input(Input::Ack { channel: 1, tag: 1, multiple: false }), None);
    assert_eq!(peer.answers(), []);
    assert_eq!(peer.send(1, ChannelMethod::Close(channel::Close::default())), None);
    assert!(matches!(peer.answers()[..], [(1, AMQPClass::Channel(ChannelMethod::CloseOk(_)))]));
    assert_eq!(peer.send(1, ChannelMethod::CloseOk(channel::CloseOk {})), None);
    assert_eq!(peer.send(1, ChannelMethod::Open(channel::Open {})), Some(Event::ChannelOpened(1)));
}

#[test]
fn flow_and_access_are_answered_by_the_machine() {
    let mut peer = Peer::with_channel();
    assert_eq!(peer.send(1, ChannelMethod::Flow(channel::Flow { active: true })), None);
    assert_eq!(
        peer.send(1, AMQPClass::Access(access::AMQPMethod::Request(access::Request::default()))),
        None
    );
    assert!(matches!(
        peer.answers()[..],
        [
            (1, AMQPClass::Channel(ChannelMethod::FlowOk(channel::FlowOk { active: true }))),
            (1, AMQPClass::Access(access::AMQPMethod::RequestOk(_)))
        ]
    ));
    assert_eq!(peer.send(1, ChannelMethod::Flow(channel::Flow { active: false })), None);
    assert_eq!(peer.close(), wrapped((540, "NOT_IMPLEMENTED - active=false", (20, 20))));
}

#[test]
fn methods_of_a_server_are_refused() {
    let deliver = AMQPClass::Basic(basic::AMQPMethod::Deliver(basic::Deliver::default()));
    let declare_ok = AMQPClass::Queue(queue::AMQPMethod::DeclareOk(queue::DeclareOk::default()));
    for (method, id) in [(deliver, (60, 60)), (declare_ok, (50, 11))] {
        let mut peer = Peer::with_channel();
        assert_eq!(peer.send(1, method), None);
        assert_eq!(peer.close(), wrapped((503, "COMMAND_INVALID - unimplemented method", id)));
    }
}

#[test]
fn requests_publishes_and_settlements_reach_the_channel() {
    let mut peer = Peer::with_channel();
    let inputs = [
        Input::Method { channel: 1, method: Box::new(qos()) },
        Input::Nack { channel: 1, tag: 3, multiple: false, requeue: true },
        Input::Publish(Publish {
            channel: 1,
            exchange: b"",
            routing_key: b"q",
            mandatory: false,
            immediate: false,
            header: &[0; 14],
            body: b"x",
        }),
    ];
    for input in inputs {
        assert_eq!(peer.connection.passes(&input), !matches!(input, Input::Method { .. }));
        assert_eq!(peer.input(input.clone()), Some(Event::Channel(1, input)));
    }
}
