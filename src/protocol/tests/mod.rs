//! Properties of the whole layer: any cut of the bytes gives the same inputs, what is written is read back, and no
//! bytes at all make it panic. `frames` has single cases.

mod frames;

use amq_protocol::protocol::{AMQPClass, basic, exchange, queue};
use amq_protocol::types::{AMQPValue, ByteArray, DecimalValue, FieldTable, ShortString};
use proptest::collection::vec;
use proptest::prelude::*;

use super::connection::{Connection, Limits};
use super::frame::{self, BODY, END, HEADER, METHOD};
use super::inbound::Inbound;
use super::method::{self, put_method};
use super::negotiation::{self, PROTOCOL_HEADER};
use super::outbound::Outbound;
use super::properties::{self, Edit, Properties};
use super::table;
use super::wire::put_short_str;

const FRAME_MAX: u32 = 131_072;

/// Feeds the bytes cut at these places, as a socket would, and prints each input; the last entry is the error, if any.
fn inputs(bytes: &[u8], cuts: &[usize]) -> Vec<String> {
    let mut inbound = Inbound::new(&Limits::default());
    inbound.set_frame_max(FRAME_MAX);
    let (mut seen, mut unread) = (Vec::new(), Vec::new());
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    for window in cuts.windows(2) {
        unread.extend_from_slice(&bytes[window[0]..window[1]]);
        let mut at = 0;
        loop {
            match inbound.next(&unread[at..]) {
                Err(error) => {
                    seen.push(format!("{error:?}"));
                    return seen;
                }
                Ok(step) => {
                    if let Some(input) = step.input {
                        seen.push(format!("{input:?}"));
                    }
                    if step.consumed == 0 {
                        break;
                    }
                    at += step.consumed;
                }
            }
        }
        unread.drain(..at);
    }
    seen
}

fn put_frame(out: &mut Vec<u8>, kind: u8, channel: u16, payload: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&channel.to_be_bytes());
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
    out.extend_from_slice(payload);
    out.push(END);
}

fn put_publish(out: &mut Vec<u8>, channel: u16, key: &str, body: &[u8], body_frame: usize) {
    let mut method = vec![0, 60, 0, 40, 0, 0];
    put_short_str(&mut method, b"exchange");
    put_short_str(&mut method, key.as_bytes());
    method.push(1);
    put_frame(out, METHOD, channel, &method);
    let properties = Properties { delivery_mode: Some(2), ..Properties::default() };
    put_frame(out, HEADER, channel, &properties::with_fields(body.len() as u64, &properties));
    body.chunks(body_frame).for_each(|piece| put_frame(out, BODY, channel, piece));
}

/// What a client may send in one go.
#[derive(Clone, Debug)]
enum Sent {
    Publish { channel: u16, key: String, body_length: usize, body_frame: usize },
    Ack { channel: u16, tag: u64, multiple: bool },
    Method(AMQPClass),
    Heartbeat,
    Raw(Vec<u8>),
}

impl Sent {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Publish { channel, key, body_length, body_frame } => {
                let body: Vec<u8> = (0..*body_length).map(|n| n.to_le_bytes()[0]).collect();
                put_publish(out, *channel, key, &body, *body_frame);
            }
            Self::Ack { channel, tag, multiple } => {
                let ack = basic::Ack { delivery_tag: *tag, multiple: *multiple };
                put_method(out, *channel, &AMQPClass::Basic(basic::AMQPMethod::Ack(ack)));
            }
            Self::Method(method) => put_method(out, 1, method),
            Self::Heartbeat => put_frame(out, frame::HEARTBEAT, 0, &[]),
            Self::Raw(bytes) => out.extend_from_slice(bytes),
        }
    }
}

fn right() -> impl Strategy<Value = Sent> {
    let body_length = prop_oneof![0..40_usize, 8180..8200_usize, 0..60_000_usize];
    let body_frame = prop_oneof![Just(1000_usize), Just(65_536), Just(9000)];
    prop_oneof![
        4 => (1..4_u16, "[a-z.é]{0,20}", body_length, body_frame).prop_map(
            |(channel, key, body_length, body_frame)| Sent::Publish { channel, key, body_length, body_frame }
        ),
        2 => (1..4_u16, any::<u64>(), any::<bool>())
            .prop_map(|(channel, tag, multiple)| Sent::Ack { channel, tag, multiple }),
        2 => a_method().prop_map(Sent::Method),
        1 => Just(Sent::Heartbeat),
    ]
}

fn wrong() -> impl Strategy<Value = Sent> {
    let loose = |kind, payload: &[u8]| {
        let mut bytes = Vec::new();
        put_frame(&mut bytes, kind, 1, payload);
        Just(Sent::Raw(bytes))
    };
    let bad_end = |payload: &[u8]| {
        let mut bytes = Vec::new();
        put_publish(&mut bytes, 1, "k", payload, 100_000);
        bytes.pop();
        bytes.push(0xCD);
        Just(Sent::Raw(bytes))
    };
    prop_oneof![
        vec(any::<u8>(), 1..40).prop_map(Sent::Raw),
        loose(BODY, b"x"),
        loose(HEADER, &[0; 14]),
        loose(METHOD, &[0, 60, 0, 40, 0, 0, 0, 0, 0]),
        loose(4, b""),
        bad_end(&[7; 10]),
        bad_end(&[7; 20_000]),
    ]
}

fn a_method() -> impl Strategy<Value = AMQPClass> {
    let declare = (short(), any::<[bool; 5]>(), a_table()).prop_map(|(queue, bits, arguments)| {
        let [passive, durable, exclusive, auto_delete, nowait] = bits;
        let declare = queue::Declare { queue, passive, durable, exclusive, auto_delete, nowait, arguments };
        AMQPClass::Queue(queue::AMQPMethod::Declare(declare))
    });
    let bind = (short(), short(), short(), any::<bool>(), a_table()).prop_map(
        |(destination, source, routing_key, nowait, arguments)| {
            let bind = exchange::Bind { destination, source, routing_key, nowait, arguments };
            AMQPClass::Exchange(exchange::AMQPMethod::Bind(bind))
        },
    );
    let consume = (short(), short(), any::<[bool; 4]>(), a_table()).prop_map(
        |(queue, consumer_tag, bits, arguments)| {
            let [no_local, no_ack, exclusive, nowait] = bits;
            let consume =
                basic::Consume { queue, consumer_tag, no_local, no_ack, exclusive, nowait, arguments };
            AMQPClass::Basic(basic::AMQPMethod::Consume(consume))
        },
    );
    prop_oneof![declare, bind, consume]
}

fn short() -> impl Strategy<Value = ShortString> {
    "\\PC{0,60}".prop_map(ShortString::from)
}

fn a_table() -> impl Strategy<Value = FieldTable> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(AMQPValue::Boolean),
        any::<i8>().prop_map(AMQPValue::ShortShortInt),
        any::<u8>().prop_map(AMQPValue::ShortShortUInt),
        any::<i16>().prop_map(AMQPValue::ShortInt),
        any::<u16>().prop_map(AMQPValue::ShortUInt),
        any::<i32>().prop_map(AMQPValue::LongInt),
        any::<u32>().prop_map(AMQPValue::LongUInt),
        any::<i64>().prop_map(AMQPValue::LongLongInt),
        any::<i32>().prop_map(|v| AMQPValue::Double(f64::from(v) / 8.0)),
        any::<i16>().prop_map(|v| AMQPValue::Float(f32::from(v) / 8.0)),
        any::<(u8, u32)>().prop_map(|(scale, value)| AMQPValue::DecimalValue(DecimalValue { scale, value })),
        vec(any::<u8>(), 0..30).prop_map(|v| AMQPValue::LongString(v.into())),
        vec(any::<u8>(), 0..30).prop_map(|v| AMQPValue::ByteArray(ByteArray::from(v))),
        any::<u64>().prop_map(AMQPValue::Timestamp),
        Just(AMQPValue::Void),
    ];
    let value = leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(|items| AMQPValue::FieldArray(items.into())),
            vec((short(), inner), 0..6).prop_map(|fields| AMQPValue::FieldTable(table_of(fields))),
        ]
    });
    vec((short(), value), 0..6).prop_map(table_of)
}

fn table_of(fields: Vec<(ShortString, AMQPValue)>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in fields {
        table.insert(name, value);
    }
    table
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_gives_the_same_inputs(
        sent in vec(prop_oneof![12 => right(), 1 => wrong()], 1..12),
        cuts in vec(any::<usize>(), 0..40),
    ) {
        let mut bytes = PROTOCOL_HEADER.to_vec();
        sent.iter().for_each(|sent| sent.put(&mut bytes));
        prop_assert_eq!(inputs(&bytes, &cuts), inputs(&bytes, &[]));
    }

    #[test]
    fn one_octet_at_a_time_gives_the_same_inputs(sent in vec(right(), 1..3)) {
        let mut bytes = PROTOCOL_HEADER.to_vec();
        sent.iter().for_each(|sent| sent.put(&mut bytes));
        bytes.truncate(20_000);
        let everywhere: Vec<usize> = (0..bytes.len()).collect();
        prop_assert_eq!(inputs(&bytes, &everywhere), inputs(&bytes, &[]));
    }

    #[test]
    fn a_stream_of_right_things_has_no_error(sent in vec(right(), 1..12)) {
        let mut bytes = PROTOCOL_HEADER.to_vec();
        sent.iter().for_each(|sent| sent.put(&mut bytes));
        prop_assert_eq!(inputs(&bytes, &[]).len(), sent.len() + 1);
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..400), cut in any::<usize>()) {
        inputs(&bytes, &[cut]);
        let _ = method::decode(&bytes);
        let _ = table::validate(&bytes, table::DEPTH_MAX);
        let _ = table::to_field_table(&bytes);
        let _ = Properties::parse(&bytes);
    }

    #[test]
    fn damaged_bytes_never_panic(sent in vec(right(), 1..4), at in any::<usize>(), octet in any::<u8>()) {
        let mut bytes = PROTOCOL_HEADER.to_vec();
        sent.iter().for_each(|sent| sent.put(&mut bytes));
        let at = at % bytes.len();
        bytes[at] = octet;
        prop_assert_eq!(inputs(&bytes, &[at, at + 3]), inputs(&bytes, &[]));
    }

    #[test]
    fn a_method_is_read_back(method in a_method()) {
        let mut out = Vec::new();
        put_method(&mut out, 1, &method);
        prop_assert_eq!(method::decode(&out[frame::HEAD_LENGTH..out.len() - 1]), Ok(method));
    }

    #[test]
    fn a_table_is_read_back(fields in a_table()) {
        let raw = table::from_field_table(&fields);
        prop_assert_eq!(table::validate(&raw, table::DEPTH_MAX), Ok(()));
        prop_assert_eq!(table::to_field_table(&raw), Ok(fields));
    }

    #[test]
    fn properties_are_read_back(
        texts in vec(proptest::option::of(vec(any::<u8>(), 0..255)), 9),
        octets in any::<(Option<u8>, Option<u8>, Option<u64>)>(),
        headers in proptest::option::of(a_table()),
    ) {
        let raw = headers.as_ref().map(table::from_field_table);
        let text = |n: usize| texts[n].as_deref();
        let properties = Properties {
            content_type: text(0), content_encoding: text(1), headers: raw.as_deref(),
            delivery_mode: octets.0, priority: octets.1, correlation_id: text(2), reply_to: text(3),
            expiration: text(4), message_id: text(5), timestamp: octets.2, kind: text(6), user_id: text(7),
            app_id: text(8), cluster_id: None,
        };
        let header = properties::with_fields(1, &properties);
        prop_assert_eq!(Properties::parse(&header), Ok(properties));
        prop_assert_eq!(properties::rewrite(&header, &Edit::default()), Ok(header.clone()));
        let edited = properties::rewrite(&header, &Edit { drop_expiration: true, ..Edit::default() }).unwrap();
        prop_assert_eq!(Properties::parse(&edited), Ok(Properties { expiration: None, ..properties }));
    }

    #[test]
    fn a_connection_survives_any_inputs(
        sent in vec(prop_oneof![3 => right(), 1 => wrong()], 0..20),
        handshake in 0..4_usize,
        times in vec(0..20_000_u64, 1..20),
    ) {
        let mut out = Outbound::new(4096);
        let mut inbound = Inbound::new(&Limits::default());
        let mut connection = Connection::new(Limits::default(), negotiation::server_properties("n"), 0);
        inbound.set_frame_max(FRAME_MAX);
        let mut bytes = PROTOCOL_HEADER[..8 - handshake % 2].to_vec();
        sent.iter().for_each(|sent| sent.put(&mut bytes));
        let mut at = 0;
        for now_ms in times.iter().scan(0, |now_ms, by_ms| { *now_ms += by_ms; Some(*now_ms) }) {
            match inbound.next(&bytes[at..]) {
                Err(error) => drop(connection.fail_inbound(&error, &mut out, now_ms)),
                Ok(step) => {
                    at += step.consumed;
                    if let Some(input) = step.input {
                        let is_closed = connection.is_closed();
                        let event = connection.handle(input, &mut out, now_ms);
                        prop_assert!(!is_closed || event.is_none());
                    }
                }
            }
            let _ = connection.handle_timeout(now_ms, &mut out);
        }
    }
}
