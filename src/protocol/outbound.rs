//! To the bytes of a socket: methods, and by hand what goes out with every message.

use std::collections::VecDeque;

use amq_protocol::protocol::AMQPClass;
use bytes::Bytes;

use super::frame::{self, BODY, END, HEADER, METHOD, OVERHEAD};
use super::method::put_method;
use super::reply_code::ReplyCode;
use super::wire::short;

/// A body frame never gets smaller than this, whatever frame-max says, in bytes.
const BODY_FRAME_MIN: usize = 1024;

/// So much of a large body is cut into frames at once, in bytes.
const CUT_BYTES: usize = 256 * 1024;

/// The bytes to be written to one connection, in order: first the parts, then the buffer.
#[derive(Debug)]
pub struct Outbound {
    /// What is not written yet; the owner takes it from here when there are no parts.
    pub buf: Vec<u8>,
    /// The longest body frame payload, in bytes.
    body_max: usize,
    parts: VecDeque<Part>,
    /// Bytes that the parts will have on the wire.
    parts_bytes: usize,
}

/// What goes out before the buffer.
#[derive(Debug)]
enum Part {
    Frames(Vec<u8>),
    /// The rest of a large body, shared with its queue until it is written.
    Body {
        channel: u16,
        rest: Bytes,
    },
}

impl Outbound {
    /// Empty, for a peer that takes frames of at most `frame_max` bytes.
    #[must_use]
    pub fn new(frame_max: u32) -> Self {
        Self { buf: Vec::new(), body_max: body_max(frame_max), parts: VecDeque::new(), parts_bytes: 0 }
    }

    /// Bytes to be written.
    #[inline]
    #[must_use]
    pub fn length(&self) -> usize {
        self.parts_bytes + self.buf.len()
    }

    /// Whether something goes out before the buffer.
    #[inline]
    #[must_use]
    pub fn has_parts(&self) -> bool {
        !self.parts.is_empty()
    }

    /// What is written first.
    pub fn first(&mut self) -> &[u8] {
        if let Some(Part::Body { channel, rest }) = self.parts.front_mut() {
            let frames = CUT_BYTES / self.body_max + 1;
            let taken = rest.split_to(rest.len().min(frames * self.body_max));
            let cut = Part::Frames(body_frames(*channel, &taken, self.body_max));
            if rest.is_empty() {
                self.parts.pop_front();
            }
            self.parts.push_front(cut);
        }
        match self.parts.front() {
            Some(Part::Frames(frames)) => frames,
            Some(Part::Body { .. }) | None => &self.buf,
        }
    }

    /// What [`Self::first`] gave is written: the next part follows, or the buffer.
    pub fn drop_first(&mut self) {
        if let Some(Part::Frames(frames)) = self.parts.pop_front() {
            self.parts_bytes -= frames.len();
        }
    }

    /// A body behind the content header that was written last, without a copy.
    pub fn large_body(&mut self, channel: u16, body: Bytes) {
        self.parts_bytes += self.buf.len() + body.len() + OVERHEAD * body.len().div_ceil(self.body_max);
        self.parts.push_back(Part::Frames(std::mem::take(&mut self.buf)));
        self.parts.push_back(Part::Body { channel, rest: body });
    }

    /// The negotiated frame-max, in bytes.
    pub fn set_frame_max(&mut self, frame_max: u32) {
        self.body_max = body_max(frame_max);
    }

    /// Any method that carries no content.
    pub fn method(&mut self, channel: u16, method: &AMQPClass) {
        put_method(&mut self.buf, channel, method);
    }

    /// `basic.deliver` with its content; `header` is a content header payload, verbatim.
    #[expect(clippy::too_many_arguments, reason = "they are the fields of the method")]
    #[inline]
    pub fn deliver(
        &mut self,
        channel: u16,
        consumer_tag: &[u8],
        delivery_tag: u64,
        redelivered: bool,
        exchange: &[u8],
        routing_key: &[u8],
        header: &[u8],
        body: &[u8],
    ) {
        let (consumer_tag, tag_length) = short(consumer_tag);
        let (exchange, exchange_length) = short(exchange);
        let (routing_key, key_length) = short(routing_key);
        let names = consumer_tag.len() + exchange.len() + routing_key.len();
        let size = 4 + 1 + 8 + 1 + 1 + 1 + names;
        self.reserve(size, header, body);
        self.method_head(channel, size, 60);
        self.buf.push(tag_length);
        self.buf.extend_from_slice(consumer_tag);
        let [t0, t1, t2, t3, t4, t5, t6, t7] = delivery_tag.to_be_bytes();
        self.buf.extend_from_slice(&[t0, t1, t2, t3, t4, t5, t6, t7, u8::from(redelivered), exchange_length]);
        self.buf.extend_from_slice(exchange);
        self.buf.push(key_length);
        self.buf.extend_from_slice(routing_key);
        self.content(channel, header, body);
    }

    /// `basic.get-ok` with its content; `message_count` is what is left ready behind it.
    #[expect(clippy::too_many_arguments, reason = "they are the fields of the method")]
    pub fn get_ok(
        &mut self,
        channel: u16,
        delivery_tag: u64,
        redelivered: bool,
        exchange: &[u8],
        routing_key: &[u8],
        message_count: u32,
        header: &[u8],
        body: &[u8],
    ) {
        let (exchange, exchange_length) = short(exchange);
        let (routing_key, key_length) = short(routing_key);
        let size = 4 + 8 + 1 + 1 + exchange.len() + 1 + routing_key.len() + 4;
        self.reserve(size, header, body);
        self.method_head(channel, size, 71);
        self.buf.extend_from_slice(&delivery_tag.to_be_bytes());
        self.buf.extend_from_slice(&[u8::from(redelivered), exchange_length]);
        self.buf.extend_from_slice(exchange);
        self.buf.push(key_length);
        self.buf.extend_from_slice(routing_key);
        self.buf.extend_from_slice(&message_count.to_be_bytes());
        self.content(channel, header, body);
    }

    /// `basic.return` with its content; `text` is the whole reply text, such as `NO_ROUTE`.
    #[expect(clippy::too_many_arguments, reason = "they are the fields of the method")]
    pub fn returned(
        &mut self,
        channel: u16,
        code: ReplyCode,
        text: &str,
        exchange: &[u8],
        routing_key: &[u8],
        header: &[u8],
        body: &[u8],
    ) {
        let (text, text_length) = short(text.as_bytes());
        let (exchange, exchange_length) = short(exchange);
        let (routing_key, key_length) = short(routing_key);
        let size = 4 + 2 + 3 + text.len() + exchange.len() + routing_key.len();
        self.reserve(size, header, body);
        self.method_head(channel, size, 50);
        self.buf.extend_from_slice(&code.id().to_be_bytes());
        self.buf.push(text_length);
        self.buf.extend_from_slice(text);
        self.buf.push(exchange_length);
        self.buf.extend_from_slice(exchange);
        self.buf.push(key_length);
        self.buf.extend_from_slice(routing_key);
        self.content(channel, header, body);
    }

    /// `basic.ack` of publishes.
    #[inline]
    pub fn ack(&mut self, channel: u16, tag: u64, multiple: bool) {
        self.settle(channel, 80, tag, multiple);
    }

    /// `basic.nack` of publishes; requeue has no meaning in this direction and is left false.
    #[inline]
    pub fn nack(&mut self, channel: u16, tag: u64, multiple: bool) {
        self.settle(channel, 120, tag, multiple);
    }

    /// `basic.cancel`: the broker ends a consumer.
    pub fn cancel(&mut self, channel: u16, consumer_tag: &[u8], nowait: bool) {
        let (consumer_tag, tag_length) = short(consumer_tag);
        self.method_head(channel, 4 + 1 + consumer_tag.len() + 1, 30);
        self.buf.push(tag_length);
        self.buf.extend_from_slice(consumer_tag);
        self.buf.extend_from_slice(&[u8::from(nowait), END]);
    }

    /// A heartbeat.
    pub fn heartbeat(&mut self) {
        self.buf.extend_from_slice(&[frame::HEARTBEAT, 0, 0, 0, 0, 0, 0, END]);
    }

    #[inline]
    fn settle(&mut self, channel: u16, method: u8, tag: u64, multiple: bool) {
        let [c0, c1] = channel.to_be_bytes();
        let [t0, t1, t2, t3, t4, t5, t6, t7] = tag.to_be_bytes();
        let bits = u8::from(multiple);
        self.buf.extend_from_slice(&[
            METHOD, c0, c1, 0, 0, 0, 13, 0, 60, 0, method, t0, t1, t2, t3, t4, t5, t6, t7, bits, END,
        ]);
    }

    /// Makes room for everything at once: method, header and body with what stands around them.
    #[inline]
    fn reserve(&mut self, method_size: usize, header: &[u8], body: &[u8]) {
        let body_frames = 1 + body.len() / self.body_max;
        self.buf.reserve(method_size + header.len() + body.len() + OVERHEAD * (2 + body_frames));
    }

    /// The frame head and ids of a method of class basic; `size` is its payload's, which is under 1 KiB.
    #[inline]
    fn method_head(&mut self, channel: u16, size: usize, method: u8) {
        let [c0, c1] = channel.to_be_bytes();
        let [_, _, s0, s1] = length(size);
        self.buf.extend_from_slice(&[METHOD, c0, c1, 0, 0, s0, s1, 0, 60, 0, method]);
    }

    /// Ends the method's frame and appends header and body, cut to the peer's frame-max.
    #[inline]
    fn content(&mut self, channel: u16, header: &[u8], body: &[u8]) {
        self.next_frame(HEADER, channel, header);
        if body.len() <= self.body_max {
            if !body.is_empty() {
                self.next_frame(BODY, channel, body);
            }
        } else {
            for piece in body.chunks(self.body_max) {
                self.next_frame(BODY, channel, piece);
            }
        }
        self.buf.push(END);
    }

    /// Ends the frame before and opens another, which the caller ends.
    #[inline]
    fn next_frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let [c0, c1] = channel.to_be_bytes();
        let [s0, s1, s2, s3] = length(payload.len());
        self.buf.extend_from_slice(&[END, kind, c0, c1, s0, s1, s2, s3]);
        self.buf.extend_from_slice(payload);
    }
}

/// The body frames of a piece of a body.
fn body_frames(channel: u16, piece: &[u8], body_max: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(piece.len() + OVERHEAD * piece.len().div_ceil(body_max));
    let [c0, c1] = channel.to_be_bytes();
    for payload in piece.chunks(body_max) {
        let [s0, s1, s2, s3] = length(payload.len());
        out.extend_from_slice(&[BODY, c0, c1, s0, s1, s2, s3]);
        out.extend_from_slice(payload);
        out.push(END);
    }
    out
}

fn body_max(frame_max: u32) -> usize {
    (frame_max as usize).saturating_sub(OVERHEAD).max(BODY_FRAME_MIN)
}

/// Payloads stay under 4 GiB: bodies are cut, headers came in frames themselves.
#[inline]
fn length(payload: usize) -> [u8; 4] {
    u32::try_from(payload).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use amq_protocol::protocol::basic;

    use super::*;
    use crate::protocol::frame::Head;
    use crate::protocol::method;

    const CONTENT_HEADER: &[u8] = &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0];

    /// Type and payload of each frame, all on channel 9.
    fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut frames = Vec::new();
        while let Some(head) = Head::parse(bytes) {
            let (payload, end) = frame::payload(bytes, &head).unwrap();
            assert_eq!((head.channel, end), (9, END));
            frames.push((head.kind, payload.to_vec()));
            bytes = &bytes[payload.len() + OVERHEAD..];
        }
        assert!(bytes.is_empty());
        frames
    }

    fn written(frame_max: u32, write: impl Fn(&mut Outbound)) -> Vec<(u8, Vec<u8>)> {
        let mut out = Outbound::new(frame_max);
        write(&mut out);
        frames(&out.buf)
    }

    #[test]
    fn a_large_body_goes_out_in_frames_between_what_stands_around_it() {
        for length in [1, 4088, 4089, 300_000, 1_000_000] {
            let body: Vec<u8> = (0..length).map(|n: u32| n.to_le_bytes()[0]).collect();
            let mut whole = Outbound::new(4096);
            let mut parted = Outbound::new(4096);
            for out in [&mut whole, &mut parted] {
                out.ack(1, 1, false);
            }
            whole.deliver(2, b"t", 1, false, b"", b"q", b"a content header", &body);
            parted.deliver(2, b"t", 1, false, b"", b"q", b"a content header", &[]);
            parted.large_body(2, Bytes::from(body));
            for out in [&mut whole, &mut parted] {
                out.heartbeat();
            }
            let mut written = Vec::new();
            while parted.has_parts() {
                assert_eq!(parted.length() + written.len(), whole.length());
                written.extend_from_slice(parted.first());
                parted.drop_first();
            }
            written.extend_from_slice(parted.first());
            assert!(written == whole.buf, "a body of {length} bytes goes out as another");
        }
    }

    fn method_of(frames: &[(u8, Vec<u8>)]) -> AMQPClass {
        assert_eq!(frames[0].0, METHOD);
        method::decode(&frames[0].1).unwrap()
    }

    #[test]
    fn a_delivery_is_method_header_and_body() {
        let frames =
            written(4096, |out| out.deliver(9, b"tag", 77, true, b"ex", b"key", CONTENT_HEADER, b"abc"));
        let deliver = basic::Deliver {
            consumer_tag: "tag".into(),
            delivery_tag: 77,
            redelivered: true,
            exchange: "ex".into(),
            routing_key: "key".into(),
        };
        assert_eq!(method_of(&frames), AMQPClass::Basic(basic::AMQPMethod::Deliver(deliver)));
        assert_eq!(frames[1..], [(HEADER, CONTENT_HEADER.to_vec()), (BODY, b"abc".to_vec())]);
    }

    #[test]
    fn a_body_is_cut_to_frame_max() {
        for length in [0, 1, 4087, 4088, 4089, 8176, 8177, 20_000] {
            let body: Vec<u8> = (0..length).map(|n: usize| n.to_le_bytes()[0]).collect();
            let frames = written(4096, |out| out.deliver(9, b"", 1, false, b"", b"", CONTENT_HEADER, &body));
            assert!(
                frames[2..].iter().all(|(kind, piece)| *kind == BODY && (1..=4088).contains(&piece.len()))
            );
            let pieces: Vec<u8> = frames[2..].iter().flat_map(|(_, piece)| piece.clone()).collect();
            assert_eq!((pieces, frames.len() - 2), (body, length.div_ceil(4088)));
        }
    }

    #[test]
    fn get_ok_and_return_carry_their_fields() {
        let frames = written(4096, |out| out.get_ok(9, 5, false, b"ex", b"key", 12, CONTENT_HEADER, b"abc"));
        let get_ok = basic::GetOk {
            delivery_tag: 5,
            redelivered: false,
            exchange: "ex".into(),
            routing_key: "key".into(),
            message_count: 12,
        };
        assert_eq!(method_of(&frames), AMQPClass::Basic(basic::AMQPMethod::GetOk(get_ok)));
        let frames = written(4096, |out| {
            out.returned(9, ReplyCode::NoRoute, "NO_ROUTE", b"ex", b"key", CONTENT_HEADER, b"abc");
        });
        let returned = basic::Return {
            reply_code: 312,
            reply_text: "NO_ROUTE".into(),
            exchange: "ex".into(),
            routing_key: "key".into(),
        };
        assert_eq!(method_of(&frames), AMQPClass::Basic(basic::AMQPMethod::Return(returned)));
    }

    #[test]
    fn settlements_and_cancel_are_methods() {
        let ack = basic::Ack { delivery_tag: 1 << 40, multiple: true };
        let nack = basic::Nack { delivery_tag: 2, multiple: false, requeue: false };
        let cancel = basic::Cancel { consumer_tag: "tag".into(), nowait: true };
        for (frames, expected) in [
            (written(4096, |out| out.ack(9, 1 << 40, true)), basic::AMQPMethod::Ack(ack)),
            (written(4096, |out| out.nack(9, 2, false)), basic::AMQPMethod::Nack(nack)),
            (written(4096, |out| out.cancel(9, b"tag", true)), basic::AMQPMethod::Cancel(cancel)),
        ] {
            assert_eq!(method_of(&frames), AMQPClass::Basic(expected));
        }
    }
}
