//! Methods: all but the hot ones through amq-protocol, after their fields were walked and found whole.

use amq_protocol::protocol::{AMQPClass, gen_class, parse_class};

use super::error::{MethodId, Refusal};
use super::frame::{self, cannot_decode};
use super::reply_code::ReplyCode;
use super::table::{self, TableError};
use super::wire::{Reader, put_u16, put_u32};

pub(super) const CONNECTION_CLOSE: MethodId = (10, 50);
pub(super) const CHANNEL_CLOSE_OK: MethodId = (20, 41);
pub(super) const BASIC_QOS: MethodId = (60, 10);
pub(super) const BASIC_PUBLISH: MethodId = (60, 40);
pub(super) const BASIC_ACK: MethodId = (60, 80);
pub(super) const BASIC_REJECT: MethodId = (60, 90);
pub(super) const BASIC_NACK: MethodId = (60, 120);

/// Why a method's payload is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MethodError {
    /// Too short for a class and a method id.
    NoId,
    /// No such class or method.
    Unknown(MethodId),
    /// Known, and answered by this hard error with these ids.
    Refused(Refusal, MethodId),
}

/// Decodes the payload of a method frame.
///
/// # Errors
/// Unknown ids; fields that do not fit the method's definition exactly; names that are not UTF-8; tables nested deeper
/// than [`table::DEPTH_MAX`]; `basic.qos` with a prefetch size, which the decoded method could not show.
pub fn decode(payload: &[u8]) -> Result<AMQPClass, MethodError> {
    let (id, arguments) = split(payload).ok_or(MethodError::NoId)?;
    let signature = signature(id).ok_or(MethodError::Unknown(id))?;
    walk(signature, arguments).map_err(|fault| fault.refused(id, arguments))?;
    if id == BASIC_QOS {
        refuse_prefetch_size(arguments)?;
    }
    match parse_class(payload) {
        Ok((_, class)) => Ok(class),
        Err(_) => Err(Fault::Malformed.refused(id, arguments)),
    }
}

/// Appends a whole method frame.
pub fn put_method(out: &mut Vec<u8>, channel: u16, method: &AMQPClass) {
    let Ok(written) = gen_class(method)(Vec::<u8>::new().into()) else {
        // Writing to memory fails for nothing but lengths that no constructor lets through.
        debug_assert!(false, "method cannot be written: {method:?}");
        return;
    };
    let (payload, _) = written.into_inner();
    out.reserve(payload.len() + frame::OVERHEAD);
    out.push(frame::METHOD);
    put_u16(out, channel);
    put_u32(out, u32::try_from(payload.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(&payload);
    out.push(frame::END);
}

/// The ids by which a close names this method.
#[must_use]
pub fn method_id(method: &AMQPClass) -> MethodId {
    (method.get_amqp_class_id(), method.get_amqp_method_id())
}

/// Class and method id, and what stands behind them.
#[inline]
pub(super) fn split(payload: &[u8]) -> Option<(MethodId, &[u8])> {
    let (&[c0, c1, m0, m1], arguments) = payload.split_first_chunk::<4>()?;
    Some(((u16::from_be_bytes([c0, c1]), u16::from_be_bytes([m0, m1])), arguments))
}

/// 501 for a name that is not UTF-8; as in RabbitMQ it does not say in which method.
pub(super) fn malformed_utf8() -> (Refusal, MethodId) {
    (Refusal::connection(ReplyCode::FrameError, "Malformed UTF-8 in shortstr"), (0, 0))
}

fn refuse_prefetch_size(arguments: &[u8]) -> Result<(), MethodError> {
    match Reader::new(arguments).u32() {
        None | Some(0) => Ok(()),
        Some(size) => {
            let text = format!("prefetch_size!=0 ({size})");
            Err(MethodError::Refused(Refusal::connection(ReplyCode::NotImplemented, text), BASIC_QOS))
        }
    }
}

enum Fault {
    Malformed,
    NotUtf8,
    Table(TableError),
}

impl Fault {
    fn refused(self, id: MethodId, arguments: &[u8]) -> MethodError {
        let (refusal, id) = match self {
            Self::Malformed | Self::Table(TableError::Truncated) => cannot_decode(id, arguments),
            Self::NotUtf8 => malformed_utf8(),
            Self::Table(error) => (Refusal::connection(ReplyCode::SyntaxError, error.to_string()), id),
        };
        MethodError::Refused(refusal, id)
    }
}

/// Checks that `arguments` are these fields and nothing more, so that no recursive parser meets an unchecked table.
fn walk(signature: &[u8], arguments: &[u8]) -> Result<(), Fault> {
    let mut reader = Reader::new(arguments);
    for field in signature {
        match field {
            b's' => {
                let text = reader.short_str().ok_or(Fault::Malformed)?;
                std::str::from_utf8(text).map_err(|_| Fault::NotUtf8)?;
            }
            b't' => {
                let raw = reader.long_str().ok_or(Fault::Malformed)?;
                table::validate(raw, table::DEPTH_MAX).map_err(Fault::Table)?;
            }
            b'S' => drop(reader.long_str().ok_or(Fault::Malformed)?),
            b'H' => drop(reader.take(2).ok_or(Fault::Malformed)?),
            b'L' => drop(reader.take(4).ok_or(Fault::Malformed)?),
            b'Q' => drop(reader.take(8).ok_or(Fault::Malformed)?),
            _ => drop(reader.take(1).ok_or(Fault::Malformed)?),
        }
    }
    if reader.is_empty() { Ok(()) } else { Err(Fault::Malformed) }
}

/// The fields of each method: o octet, b up to eight bits, H short, L long, Q long long, s short string, S long string,
/// t table (AMQP 0-9-1, section 1 of the classes, with RabbitMQ's extensions).
fn signature(id: MethodId) -> Option<&'static [u8]> {
    Some(match id {
        (10, method) => return connection_signature(method),
        (60, method) => return basic_signature(method),
        (20, 10) => b"s",
        (20, 11) => b"S",
        (20, 20 | 21) => b"b",
        (20, 40) => b"HsHH",
        (20, 41) => b"",
        (30, 10) => b"sb",
        (30, 11) => b"H",
        (40, 10) => b"Hssbt",
        (40, 20) => b"Hsb",
        (40, 30 | 40) | (50, 20) => b"Hsssbt",
        (40, 11 | 21 | 31 | 51) | (50, 21 | 51) => b"",
        (50, 10) => b"Hsbt",
        (50, 11) => b"sLL",
        (50, 30 | 40) => b"Hsb",
        (50, 31 | 41) => b"L",
        (50, 50) => b"Hssst",
        (85, 10) => b"b",
        (85, 11) | (90, 10 | 11 | 20 | 21 | 30 | 31) => b"",
        _ => return None,
    })
}

fn connection_signature(method: u16) -> Option<&'static [u8]> {
    Some(match method {
        10 => b"ootSS",
        11 => b"tsSs",
        20 | 21 => b"S",
        30 | 31 => b"HLH",
        40 => b"ssb",
        41 | 60 => b"s",
        50 => b"HsHH",
        51 | 61 | 71 => b"",
        70 => b"Ss",
        _ => return None,
    })
}

fn basic_signature(method: u16) -> Option<&'static [u8]> {
    Some(match method {
        10 => b"LHb",
        20 => b"Hssbt",
        30 => b"sb",
        21 | 31 | 72 => b"s",
        40 => b"Hssb",
        50 => b"Hsss",
        60 => b"sQbss",
        70 => b"Hsb",
        71 => b"QbssL",
        80 | 90 | 120 => b"Qb",
        100 | 110 => b"b",
        11 | 111 => b"",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use amq_protocol::protocol::{basic, queue};

    use super::*;

    fn payload(method: &AMQPClass) -> Vec<u8> {
        let mut out = Vec::new();
        put_method(&mut out, 3, method);
        let head = frame::Head::parse(&out).unwrap();
        assert_eq!((head.kind, head.channel), (frame::METHOD, 3));
        let (payload, end) = frame::payload(&out, &head).unwrap();
        assert_eq!(end, frame::END);
        payload.to_vec()
    }

    fn refused(payload: &[u8]) -> (String, MethodId) {
        match decode(payload) {
            Err(MethodError::Refused(refusal, id)) => (refusal.reply_text(), id),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn arguments_must_fit_exactly() {
        let text = "FRAME_ERROR - cannot decode <<0,0,200>>".to_owned();
        assert_eq!(refused(&[0, 50, 0, 10, 0, 0, 200]), (text, (50, 10)));
        let text = "FRAME_ERROR - cannot decode <<0>>".to_owned();
        assert_eq!(refused(&[0, 90, 0, 10, 0]), (text, (90, 10)));
    }

    #[test]
    fn ids_must_be_known() {
        assert_eq!(decode(&[0, 50, 0]), Err(MethodError::NoId));
        assert_eq!(decode(&[0, 50, 0, 99]), Err(MethodError::Unknown((50, 99))));
        assert_eq!(decode(&[0, 77, 0, 10]), Err(MethodError::Unknown((77, 10))));
    }

    #[test]
    fn names_are_utf8() {
        let text = "FRAME_ERROR - Malformed UTF-8 in shortstr".to_owned();
        assert_eq!(refused(&[0, 50, 0, 30, 0, 0, 1, 0xFF, 0]), (text, (0, 0)));
    }

    #[test]
    fn a_prefetch_size_is_refused() {
        let text = "NOT_IMPLEMENTED - prefetch_size!=0 (1)".to_owned();
        assert_eq!(refused(&[0, 60, 0, 10, 0, 0, 0, 1, 0, 5, 0]), (text, (60, 10)));
        let qos = basic::Qos { prefetch_count: 5, global: true };
        let qos = AMQPClass::Basic(basic::AMQPMethod::Qos(qos));
        assert_eq!(decode(&payload(&qos)), Ok(qos));
    }

    #[test]
    fn tables_nested_by_the_thousand_are_refused() {
        let mut raw: Vec<u8> = Vec::new();
        for inner in (0..3000_u32).rev() {
            raw.extend_from_slice(b"\x01nF");
            put_u32(&mut raw, inner * 7);
        }
        let mut declare = vec![0, 50, 0, 10, 0, 0, 1, b'q', 0];
        crate::protocol::wire::put_long_str(&mut declare, &raw);
        assert_eq!(refused(&declare).0, "SYNTAX_ERROR - field table is nested too deep");
    }

    #[test]
    fn a_method_comes_back() {
        let declare = queue::Declare { queue: "q".into(), durable: true, nowait: true, ..Default::default() };
        let declare = AMQPClass::Queue(queue::AMQPMethod::Declare(declare));
        assert_eq!(decode(&payload(&declare)), Ok(declare.clone()));
        assert_eq!(method_id(&declare), (50, 10));
    }
}
