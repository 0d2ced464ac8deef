//! Frames: type, channel, size, payload, end octet (AMQP 0-9-1, section 2.3.5), and what is said of a bad one.

use std::fmt::Write as _;

use super::error::{MethodId, Refusal};
use super::reply_code::ReplyCode;

/// A method frame.
pub const METHOD: u8 = 1;
/// A content header frame.
pub const HEADER: u8 = 2;
/// A content body frame.
pub const BODY: u8 = 3;
/// A heartbeat frame.
pub const HEARTBEAT: u8 = 8;
/// The octet behind every payload.
pub const END: u8 = 0xCE;

/// Type, channel and size in front of a payload, in bytes.
pub const HEAD_LENGTH: usize = 7;
/// What a frame is longer than its payload, in bytes.
pub const OVERHEAD: usize = HEAD_LENGTH + 1;

/// The front of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The frame's type, known or not.
    pub kind: u8,
    /// The channel number.
    pub channel: u16,
    /// The payload's length in bytes.
    pub size: u32,
}

impl Head {
    /// Reads a head; `None` when `bytes` are too few.
    #[inline]
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let &[kind, c0, c1, s0, s1, s2, s3] = bytes.first_chunk::<HEAD_LENGTH>()?;
        Some(Self { kind, channel: u16::from_be_bytes([c0, c1]), size: u32::from_be_bytes([s0, s1, s2, s3]) })
    }

    /// The payload's length.
    #[inline]
    #[must_use]
    pub fn length(&self) -> usize {
        self.size as usize
    }
}

/// Splits the frame whose head stands at the beginning of `bytes`: payload and end octet; `None` when it is not whole.
#[inline]
#[must_use]
pub fn payload<'a>(bytes: &'a [u8], head: &Head) -> Option<(&'a [u8], u8)> {
    let (payload, rest) = bytes.get(HEAD_LENGTH..)?.split_at_checked(head.length())?;
    Some((payload, *rest.first()?))
}

/// 501: the frame cannot be what it says it is.
pub(super) fn frame_error(kind: u8, payload: &[u8], reason: &str) -> Refusal {
    Refusal::connection(ReplyCode::FrameError, format!("type {kind}, {}: {reason}", snippet(payload)))
}

/// 505: the frame is well formed and not expected.
pub(super) fn unexpected_frame(kind: u8, payload: &[u8]) -> Refusal {
    Refusal::connection(ReplyCode::UnexpectedFrame, format!("type {kind}, {}", snippet(payload)))
}

/// 501 naming the method: its arguments do not fit its definition.
pub(super) fn cannot_decode(cause: MethodId, arguments: &[u8]) -> (Refusal, MethodId) {
    // A reply text has 255 octets at most, which 128 octets written as numbers always fill.
    let shown = arguments.get(..128).unwrap_or(arguments);
    (Refusal::connection(ReplyCode::FrameError, format!("cannot decode {}", numbers(shown))), cause)
}

fn snippet(payload: &[u8]) -> String {
    match payload.get(..16) {
        Some(first) if payload.len() > 16 => format!("first 16 octets = {}", erlang_binary(first)),
        _ => format!("all octets = {}", erlang_binary(payload)),
    }
}

/// Erlang's way to print octets, which is part of the texts that RabbitMQ sends.
fn erlang_binary(octets: &[u8]) -> String {
    let is_text = |octet: &u8| matches!(octet, b' '..=b'~') && !matches!(octet, b'"' | b'\\');
    if octets.is_empty() || !octets.iter().all(is_text) {
        return numbers(octets);
    }
    format!("<<\"{}\">>", String::from_utf8_lossy(octets))
}

fn numbers(octets: &[u8]) -> String {
    let mut text = String::from("<<");
    for (n, octet) in octets.iter().enumerate() {
        let comma = if n == 0 { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}{octet}");
    }
    text + ">>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_from_seven_octets() {
        let bytes = [1, 0, 7, 0, 0, 0, 2, b'a', b'b', END];
        let head = Head::parse(&bytes).unwrap();
        assert_eq!(head, Head { kind: METHOD, channel: 7, size: 2 });
        assert_eq!(payload(&bytes, &head), Some((&b"ab"[..], END)));
        assert_eq!(payload(&bytes[..9], &head), None);
        assert_eq!(Head::parse(&bytes[..6]), None);
    }

    #[test]
    fn texts_print_octets_as_erlang_does() {
        assert_eq!(snippet(&[]), "all octets = <<>>");
        assert_eq!(snippet(&[0, 50]), "all octets = <<0,50>>");
        assert_eq!(snippet(b"xyz"), "all octets = <<\"xyz\">>");
        assert_eq!(snippet(&[120; 20]), "first 16 octets = <<\"xxxxxxxxxxxxxxxx\">>");
        assert_eq!(cannot_decode((50, 10), &[0, 0, 200]).0.text, "cannot decode <<0,0,200>>");
    }
}
