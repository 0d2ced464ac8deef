//! What a message costs on the wire: read buffers of publishes and acks to inputs, deliveries to bytes.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail where it stands")]

use amq_protocol::protocol::{AMQPClass, basic};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use warren::protocol::connection::Limits;
use warren::protocol::frame::{BODY, END, HEADER};
use warren::protocol::inbound::Inbound;
use warren::protocol::method::put_method;
use warren::protocol::negotiation::PROTOCOL_HEADER;
use warren::protocol::outbound::Outbound;
use warren::protocol::properties::{self, Properties};

/// What one read of a socket brings, in bytes.
const READ_BYTES: usize = 64 * 1024;
const FRAME_MAX: u32 = 131_072;
const CHANNEL: u16 = 1;
const BODY_LENGTHS: [usize; 2] = [16, 1024];
/// Deliveries that are encoded before the buffer is written to the socket.
const DELIVERIES: u64 = 64;

fn main() {
    divan::main();
}

#[divan::bench(args = BODY_LENGTHS)]
fn read_publishes(bencher: Bencher<'_, '_>, body_length: usize) {
    let mut publish = Vec::new();
    put_publish(&mut publish, &vec![b'x'; body_length]);
    read(bencher, &publish);
}

/// As above, but recognised as the same publish with another body.
#[divan::bench(args = BODY_LENGTHS)]
fn read_repeated_publishes(bencher: Bencher<'_, '_>, body_length: usize) {
    let mut publish = Vec::new();
    put_publish(&mut publish, &vec![b'x'; body_length]);
    let count = READ_BYTES / publish.len();
    let buffer = publish.repeat(count);
    let mut inbound = running();
    inbound.remember(&publish);
    let take_all = || {
        let mut rest = black_box(buffer.as_slice());
        let mut taken = 0;
        while let Some((length, body)) = inbound.next_repeated(rest) {
            taken += usize::from(black_box(body).len() == body_length);
            rest = &rest[length..];
        }
        taken
    };
    assert_eq!(take_all(), count);
    bencher.counter(ItemsCount::new(count)).counter(BytesCount::new(buffer.len())).bench_local(take_all);
}

#[divan::bench]
fn read_acks(bencher: Bencher<'_, '_>) {
    let mut ack = Vec::new();
    put_basic(&mut ack, basic::AMQPMethod::Ack(basic::Ack { delivery_tag: 1 << 40, multiple: false }));
    read(bencher, &ack);
}

#[divan::bench(args = BODY_LENGTHS)]
fn write_deliveries(bencher: Bencher<'_, '_>, body_length: usize) {
    let body = vec![b'x'; body_length];
    let header = content_header(&body);
    let mut out = Outbound::new(FRAME_MAX);
    let mut deliver_all = || {
        out.buf.clear();
        for tag in 1..=DELIVERIES {
            let (header, body) = (black_box(&header), black_box(&body));
            out.deliver(CHANNEL, b"ctag-1", tag, false, b"amq.topic", b"device.77.up", header, body);
        }
        black_box(&out.buf).len()
    };
    let bytes = deliver_all();
    bencher.counter(ItemsCount::new(DELIVERIES)).counter(BytesCount::new(bytes)).bench_local(deliver_all);
}

/// Reads a buffer that is full of one input.
fn read(bencher: Bencher<'_, '_>, input: &[u8]) {
    let count = READ_BYTES / input.len();
    let buffer = input.repeat(count);
    let mut inbound = running();
    assert_eq!(take_all(&mut inbound, &buffer), count);
    bencher
        .counter(ItemsCount::new(count))
        .counter(BytesCount::new(buffer.len()))
        .bench_local(|| take_all(&mut inbound, black_box(&buffer)));
}

/// Behind the protocol header and the tuning.
fn running() -> Inbound {
    let mut inbound = Inbound::new(&Limits::default());
    inbound.next(&PROTOCOL_HEADER).unwrap();
    inbound.set_frame_max(FRAME_MAX);
    inbound
}

/// Takes inputs until the bytes are used up; gives their number.
fn take_all(inbound: &mut Inbound, mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while !bytes.is_empty() {
        let step = inbound.next(bytes).unwrap();
        count += usize::from(black_box(&step.input).is_some());
        bytes = &bytes[step.consumed..];
    }
    count
}

fn put_publish(out: &mut Vec<u8>, body: &[u8]) {
    let method = basic::Publish {
        exchange: "amq.topic".into(),
        routing_key: "device.77.up".into(),
        mandatory: false,
        immediate: false,
    };
    put_basic(out, basic::AMQPMethod::Publish(method));
    put_frame(out, HEADER, &content_header(body));
    put_frame(out, BODY, body);
}

fn put_basic(out: &mut Vec<u8>, method: basic::AMQPMethod) {
    put_method(out, CHANNEL, &AMQPClass::Basic(method));
}

fn put_frame(out: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&CHANNEL.to_be_bytes());
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
    out.extend_from_slice(payload);
    out.push(END);
}

fn content_header(body: &[u8]) -> Vec<u8> {
    let persistent = Properties { delivery_mode: Some(2), ..Properties::default() };
    properties::with_fields(body.len() as u64, &persistent)
}
