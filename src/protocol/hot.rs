//! The methods that come with every message, decoded by hand: publish, ack, nack, reject.

use super::error::{MethodId, Refusal};
use super::frame::{self, Head};
use super::inbound::{Input, Publish};
use super::method::{self, BASIC_ACK, BASIC_NACK, BASIC_PUBLISH, BASIC_REJECT};
use super::properties::HEADER_MIN;
use super::wire::Reader;

const BASIC_CLASS: u16 = 60;

/// The fields of `basic.publish`.
#[derive(Clone, Copy, Debug)]
pub(super) struct PublishMethod<'a> {
    pub(super) exchange: &'a [u8],
    pub(super) routing_key: &'a [u8],
    pub(super) mandatory: bool,
    pub(super) immediate: bool,
}

/// A publish or settlement whose frames all lie whole and faultless at the beginning of `bytes`, and their length.
///
/// `None` for everything else, right or wrong: the frames are then taken one by one, which finds what is wrong.
// Both are inlined by force, as the result is larger than the work.
#[inline(always)]
pub(super) fn whole_input(bytes: &[u8], payload_max: usize, body_max: u64) -> Option<(usize, Input<'_>)> {
    let mut frames = Frames { rest: bytes, payload_max };
    let (channel, payload) = frames.next(frame::METHOD)?;
    let (id, arguments) = method::split(payload)?;
    if channel == 0 {
        return None;
    }
    let input = if id == BASIC_PUBLISH {
        Input::Publish(whole_publish(channel, arguments, &mut frames, body_max)?)
    } else {
        settle(channel, id, arguments)?
    };
    Some((bytes.len() - frames.rest.len(), input))
}

/// The rest of a publish behind its method.
#[inline(always)]
fn whole_publish<'a>(
    channel: u16,
    arguments: &'a [u8],
    frames: &mut Frames<'a>,
    body_max: u64,
) -> Option<Publish<'a>> {
    let method = publish_fields(arguments)?;
    if !is_utf8(method.exchange) || !is_utf8(method.routing_key) {
        return None;
    }
    let (header_channel, header) = frames.next(frame::HEADER)?;
    let body_size = content_header(header).filter(|&size| size <= body_max)?;
    let (body_channel, body) = if body_size == 0 { (channel, &[][..]) } else { frames.next(frame::BODY)? };
    if header_channel != channel || body_channel != channel || body.len() as u64 != body_size {
        return None;
    }
    let PublishMethod { exchange, routing_key, mandatory, immediate } = method;
    Some(Publish { channel, exchange, routing_key, mandatory, immediate, header, body })
}

/// Decodes the fields of `basic.publish`.
///
/// # Errors
/// 501 when they are cut short or a name is not UTF-8.
#[inline]
pub(super) fn publish_method(arguments: &[u8]) -> Result<PublishMethod<'_>, (Refusal, MethodId)> {
    let Some(publish) = publish_fields(arguments) else {
        return Err(frame::cannot_decode(BASIC_PUBLISH, arguments));
    };
    if is_utf8(publish.exchange) && is_utf8(publish.routing_key) {
        Ok(publish)
    } else {
        Err(method::malformed_utf8())
    }
}

/// `basic.ack`, `basic.nack` and `basic.reject`; `None` for other methods and for wrong lengths.
#[inline]
pub(super) fn settle(channel: u16, id: MethodId, arguments: &[u8]) -> Option<Input<'static>> {
    let &[t0, t1, t2, t3, t4, t5, t6, t7, bits] = <&[u8; 9]>::try_from(arguments).ok()?;
    let tag = u64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]);
    let (first, second) = (bits & 1 != 0, bits & 2 != 0);
    match id {
        BASIC_ACK => Some(Input::Ack { channel, tag, multiple: first }),
        BASIC_NACK => Some(Input::Nack { channel, tag, multiple: first, requeue: second }),
        BASIC_REJECT => Some(Input::Reject { channel, tag, requeue: first }),
        _ => None,
    }
}

/// The body size of a content header for class basic; `None` for any other header.
#[inline]
fn content_header(payload: &[u8]) -> Option<u64> {
    if payload.len() < HEADER_MIN {
        return None;
    }
    let mut reader = Reader::new(payload);
    let (class, weight) = (reader.u16()?, reader.u16()?);
    if class == BASIC_CLASS && weight == 0 { reader.u64() } else { None }
}

#[inline]
fn publish_fields(arguments: &[u8]) -> Option<PublishMethod<'_>> {
    let mut reader = Reader::new(arguments);
    // The access ticket of AMQP 0-8, without meaning today.
    reader.u16()?;
    let exchange = reader.short_str()?;
    let routing_key = reader.short_str()?;
    let bits = reader.u8()?;
    let (mandatory, immediate) = (bits & 1 != 0, bits & 2 != 0);
    reader.is_empty().then_some(PublishMethod { exchange, routing_key, mandatory, immediate })
}

#[inline]
fn is_utf8(name: &[u8]) -> bool {
    name.is_ascii() || std::str::from_utf8(name).is_ok()
}

/// Whole frames, one behind the other.
pub(super) struct Frames<'a> {
    pub(super) rest: &'a [u8],
    pub(super) payload_max: usize,
}

impl<'a> Frames<'a> {
    /// The channel and payload of the next frame if it is whole, faultless and of that type.
    #[inline]
    pub(super) fn next(&mut self, kind: u8) -> Option<(u16, &'a [u8])> {
        let head = Head::parse(self.rest)?;
        if head.kind != kind || head.length() > self.payload_max {
            return None;
        }
        let (payload, end) = frame::payload(self.rest, &head)?;
        if end != frame::END {
            return None;
        }
        self.rest = self.rest.get(head.length() + frame::OVERHEAD..)?;
        Some((head.channel, payload))
    }
}
