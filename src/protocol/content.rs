//! Contents whose frames did not come all at once, gathered per channel.

use std::collections::BTreeMap;

use super::error::{MethodId, Refusal};
use super::hot::PublishMethod;
use super::inbound::Publish;
use super::method::BASIC_PUBLISH;
use super::reply_code::ReplyCode;
use super::wire::Reader;

const BASIC_CLASS: u16 = 60;

/// The largest body that a header may announce, in bytes; RabbitMQ's bound, whatever is configured.
const BODY_MAX: u64 = 512 * 1024 * 1024;

/// A gathering buffer of more bytes than this is given back after use instead of being kept for the next content.
const KEPT_CAPACITY_MAX: usize = 256 * 1024;

/// A content with a body of so many bytes or more is handed over with the memory it was gathered in.
pub const LARGE_BODY_BYTES: usize = 256 * 1024;

/// So many bytes are left free in front of what is gathered, for whoever it is handed over to.
pub const GATHERED_ROOM: usize = 32;

/// Memory set aside is at most so many times what has arrived: few copies while it grows, and no belief in what a peer
/// only declares.
const GROWTH: usize = 8;
/// Less than this is not worth growing step by step, in bytes.
const GROWN_FROM: usize = 8 * 1024;

/// The contents under way, at most one per channel.
#[derive(Debug, Default)]
pub(super) struct Contents {
    under_way: BTreeMap<u16, Content>,
    /// Bytes of bodies under way.
    body_bytes: usize,
    spare: Vec<u8>,
}

impl Contents {
    /// Whether no content is under way on the channel.
    #[inline]
    pub(super) fn is_free(&self, channel: u16) -> bool {
        self.under_way.is_empty() || !self.under_way.contains_key(&channel)
    }

    /// Gives back what is kept for the next content.
    pub(super) fn rest(&mut self) {
        self.spare = Vec::new();
    }

    /// Begins a content; there must be none under way on the channel.
    pub(super) fn start(&mut self, channel: u16, method: &PublishMethod<'_>) {
        self.under_way.insert(channel, Content::start(std::mem::take(&mut self.spare), method));
    }

    /// Forgets what is under way on the channel.
    pub(super) fn drop_channel(&mut self, channel: u16) {
        let dropped = self.under_way.remove(&channel).unwrap_or_default();
        self.body_bytes -= dropped.body_length();
    }

    /// # Errors
    /// 505 when a content is under way: its frames come without a method in between.
    pub(super) fn check_method(&self, channel: u16) -> Result<(), (Refusal, MethodId)> {
        match self.under_way.get(&channel) {
            None => Ok(()),
            Some(Content { body_left: None, .. }) => Err(header_expected("non content header frame")),
            Some(_) => {
                Err(unexpected("expected content body, got non content body frame instead", BASIC_PUBLISH))
            }
        }
    }

    /// Takes a content header; gives the body's size when it is over `body_max`, and then does not keep the body.
    ///
    /// # Errors
    /// 505 when none is expected or it is for another class; 501 when it declares a body that nobody takes.
    pub(super) fn take_header(
        &mut self,
        channel: u16,
        payload: &[u8],
        body_max: u64,
    ) -> Result<Option<u64>, (Refusal, MethodId)> {
        let content = self.under_way.get_mut(&channel).ok_or_else(method_expected)?;
        if content.body_left.is_some() {
            return Err(unexpected(
                "expected content body, got non content body frame instead",
                BASIC_PUBLISH,
            ));
        }
        let mut reader = Reader::new(payload);
        let (Some(class), Some(weight), Some(body_size)) = (reader.u16(), reader.u16(), reader.u64()) else {
            return Err(header_expected("non content header frame"));
        };
        if class != BASIC_CLASS {
            return Err(header_expected(&format!("one for class {class}")));
        }
        if weight != 0 {
            return Err(header_expected("non content header frame"));
        }
        if body_size > BODY_MAX {
            let text = format!("content body size {body_size} exceeds maximum allowed size {BODY_MAX}");
            return Err((Refusal::connection(ReplyCode::FrameError, text), BASIC_PUBLISH));
        }
        content.take_header(payload, body_size);
        content.is_refused = body_size > body_max;
        Ok(content.is_refused.then_some(body_size))
    }

    /// # Errors
    /// 505 when no body frame is expected, unless it is empty, as some clients end a body; 501 when it is longer than
    /// what is missing.
    pub(super) fn check_body(&self, channel: u16, length: usize) -> Result<(), (Refusal, MethodId)> {
        let Some(content) = self.under_way.get(&channel) else {
            return if length == 0 { Ok(()) } else { Err(method_expected()) };
        };
        let left = content.body_left.ok_or_else(|| header_expected("non content header frame"))?;
        if length as u64 <= left {
            return Ok(());
        }
        let text = "content body frame exceeds remaining content size";
        Err((Refusal::connection(ReplyCode::FrameError, text), BASIC_PUBLISH))
    }

    /// Whether a body frame of that length is expected.
    pub(super) fn fits(&self, channel: u16, length: usize) -> bool {
        self.check_body(channel, length).is_ok()
    }

    /// Marks where the payload of a body frame begins that will be appended in pieces.
    pub(super) fn begin_body_frame(&mut self, channel: u16) {
        if let Some(content) = self.under_way.get_mut(&channel) {
            content.frame_at = content.bytes.len();
        }
    }

    /// What has been appended since the mark.
    pub(super) fn body_frame(&self, channel: u16) -> &[u8] {
        let content = self.under_way.get(&channel);
        content.and_then(|content| content.bytes.get(content.frame_at..)).unwrap_or_default()
    }

    /// Appends a part of the body that was checked before.
    pub(super) fn append(&mut self, channel: u16, piece: &[u8]) {
        let Some(content) = self.under_way.get_mut(&channel) else { return };
        let Some(left) = &mut content.body_left else { return };
        *left = left.saturating_sub(piece.len() as u64);
        if !content.is_refused {
            content.grow_for(piece.len());
            content.bytes.extend_from_slice(piece);
            self.body_bytes += piece.len();
        }
    }

    /// Bytes gathered of bodies that are not complete.
    pub(super) fn body_bytes(&self) -> usize {
        self.body_bytes
    }

    /// Whether header and body are complete.
    pub(super) fn is_whole(&self, channel: u16) -> bool {
        self.under_way.get(&channel).is_some_and(|content| content.body_left == Some(0))
    }

    /// Whether the content of the channel was refused at its header, so that nobody wants it.
    pub(super) fn is_refused(&self, channel: u16) -> bool {
        self.under_way.get(&channel).is_some_and(|content| content.is_refused)
    }

    /// Takes the whole content of the channel out; `old` is one that was taken out before and is read no more.
    pub(super) fn finish(&mut self, channel: u16, old: Content) -> Content {
        self.keep_spare(old);
        let whole = self.under_way.remove(&channel).unwrap_or_default();
        self.body_bytes -= whole.body_length();
        whole
    }

    /// Keeps the memory of a content that is read no more for the next one, unless it is large.
    pub(super) fn keep_spare(&mut self, mut old: Content) {
        if (1..=KEPT_CAPACITY_MAX).contains(&old.bytes.capacity()) {
            old.bytes.clear();
            self.spare = old.bytes;
        }
    }
}

/// One content: free room, then exchange, routing key, header and body one behind the other, grown as they arrive and
/// never sized by what the peer declares alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    bytes: Vec<u8>,
    exchange_length: usize,
    key_length: usize,
    header_length: usize,
    mandatory: bool,
    immediate: bool,
    /// Its body is too large: the frames are still to come, and are dropped.
    is_refused: bool,
    /// How much of the body is missing, in bytes; `None` before the header.
    body_left: Option<u64>,
    frame_at: usize,
}

impl Content {
    fn start(mut bytes: Vec<u8>, method: &PublishMethod<'_>) -> Self {
        bytes.clear();
        bytes.resize(GATHERED_ROOM, 0);
        bytes.extend_from_slice(method.exchange);
        bytes.extend_from_slice(method.routing_key);
        Self {
            bytes,
            exchange_length: method.exchange.len(),
            key_length: method.routing_key.len(),
            header_length: 0,
            mandatory: method.mandatory,
            immediate: method.immediate,
            is_refused: false,
            body_left: None,
            frame_at: 0,
        }
    }

    fn take_header(&mut self, payload: &[u8], body_size: u64) {
        self.bytes.extend_from_slice(payload);
        self.header_length = payload.len();
        self.body_left = Some(body_size);
    }

    /// Makes room for more of the body, at the end for exactly what is still missing.
    fn grow_for(&mut self, more: usize) {
        let needed = self.bytes.len().saturating_add(more);
        if needed <= self.bytes.capacity() {
            return;
        }
        let left = usize::try_from(self.body_left.unwrap_or(0)).unwrap_or(usize::MAX);
        let mut target = needed.saturating_add(left);
        while target / GROWTH >= needed.max(GROWN_FROM) {
            target = target.div_ceil(GROWTH);
        }
        self.bytes.reserve_exact(target - self.bytes.len());
    }

    /// Bytes of the body that are here.
    fn body_length(&self) -> usize {
        let front = GATHERED_ROOM + self.exchange_length + self.key_length + self.header_length;
        self.bytes.len().saturating_sub(front)
    }

    /// The publish with all that was gathered for it, if it is large.
    pub(super) fn take_large(&mut self, channel: u16) -> Option<Gathered> {
        (self.body_length() >= LARGE_BODY_BYTES).then(|| Gathered { channel, content: std::mem::take(self) })
    }

    /// The publish, lent out from here.
    pub(super) fn publish(&self, channel: u16) -> Publish<'_> {
        let mut reader = Reader::new(self.bytes.get(GATHERED_ROOM..).unwrap_or_default());
        Publish {
            channel,
            exchange: reader.take(self.exchange_length).unwrap_or_default(),
            routing_key: reader.take(self.key_length).unwrap_or_default(),
            mandatory: self.mandatory,
            immediate: self.immediate,
            header: reader.take(self.header_length).unwrap_or_default(),
            body: reader.rest(),
        }
    }
}

/// A large publish, with the memory that it was gathered in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gathered {
    channel: u16,
    content: Content,
}

impl Gathered {
    /// The channel it came on; never 0.
    #[must_use]
    pub fn channel(&self) -> u16 {
        self.channel
    }

    /// The publish.
    #[must_use]
    pub fn publish(&self) -> Publish<'_> {
        self.content.publish(self.channel)
    }

    /// [`GATHERED_ROOM`] bytes without meaning, then exchange, routing key, header and body.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.content.bytes
    }
}

fn header_expected(got: &str) -> (Refusal, MethodId) {
    unexpected(&format!("expected content header for class {BASIC_CLASS}, got {got} instead"), BASIC_PUBLISH)
}

fn method_expected() -> (Refusal, MethodId) {
    unexpected("expected method frame, got non method frame instead", (0, 0))
}

fn unexpected(text: &str, cause: MethodId) -> (Refusal, MethodId) {
    (Refusal::connection(ReplyCode::UnexpectedFrame, text), cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLAIMED: usize = 64 << 20;

    fn contents(body_size: usize) -> Contents {
        let mut contents = Contents::default();
        let method = PublishMethod { exchange: b"x", routing_key: b"key", mandatory: true, immediate: false };
        contents.start(1, &method);
        let header = [&[0, 60, 0, 0][..], &(body_size as u64).to_be_bytes(), &[0, 0]].concat();
        assert_eq!(contents.take_header(1, &header, u64::MAX), Ok(None));
        contents
    }

    #[test]
    fn memory_follows_what_has_arrived_and_not_what_was_declared() {
        let mut contents = contents(CLAIMED);
        for arrived in (1..).map(|pieces| pieces * 4096).take_while(|arrived| *arrived <= CLAIMED) {
            contents.append(1, &[7; 4096]);
            let set_aside = contents.under_way[&1].bytes.capacity();
            assert!(set_aside <= 8 * arrived.max(GROWN_FROM) + 1024, "{set_aside} for {arrived}");
            assert_eq!(contents.body_bytes(), arrived);
        }
        assert!(contents.is_whole(1));
        let mut whole = contents.finish(1, Content::default());
        assert_eq!((contents.body_bytes(), whole.bytes.capacity()), (0, whole.bytes.len()));
        let gathered = whole.take_large(1).unwrap();
        let publish = gathered.publish();
        assert_eq!(
            (publish.exchange, publish.routing_key, publish.header.len()),
            (&b"x"[..], &b"key"[..], 14)
        );
        assert_eq!((publish.mandatory, publish.body.len(), publish.body[CLAIMED - 1]), (true, CLAIMED, 7));
        let bytes = gathered.into_bytes();
        assert!(bytes[GATHERED_ROOM..].starts_with(b"xkey\0\x3c"));
    }

    #[test]
    fn what_is_dropped_or_small_is_not_gathered_any_more() {
        let mut contents = contents(LARGE_BODY_BYTES - 1);
        contents.append(1, &[7; LARGE_BODY_BYTES - 1]);
        assert!(contents.finish(1, Content::default()).take_large(1).is_none());
        let mut contents = self::contents(10);
        contents.append(1, &[7; 9]);
        assert_eq!(contents.body_bytes(), 9);
        contents.drop_channel(1);
        contents.drop_channel(2);
        assert_eq!(contents.body_bytes(), 0);
    }
}
