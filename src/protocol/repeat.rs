//! Publishes that repeat the one before in all but the body: recognised by their bytes, not decoded again.
//!
//! Publishers tend to send to one exchange with one key and the same properties. Two comparisons then replace
//! decoding, checking and routing.

use super::frame::{BODY, END, HEADER, Head, METHOD};
use super::hot::Frames;

/// Class and weight stand before the body size in a content header.
const SIZE_OFFSET: usize = 4;
const SIZE_LENGTH: usize = 8;

/// The bytes of a publish that are the same in the next one like it.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// The method frame and the content header frame up to the body size; empty when nothing is remembered.
    front: Vec<u8>,
    /// What is behind the body size, up to the channel of the body frame.
    back: Vec<u8>,
    /// The longest body that fits one frame and is allowed, in bytes.
    body_max: usize,
}

impl Shape {
    /// Remembers the publish whose frames are `frames`, or nothing when it has not exactly one body frame.
    pub(super) fn remember(&mut self, frames: &[u8], payload_max: usize, body_max: u64) {
        self.front.clear();
        self.back.clear();
        self.body_max = usize::try_from(body_max).unwrap_or(usize::MAX).min(payload_max);
        if let Some((front, back)) = split(frames, payload_max) {
            self.front.extend_from_slice(front);
            self.back.extend_from_slice(back);
        }
    }

    /// The channel of the publish that is remembered.
    pub(super) fn channel(&self) -> Option<u16> {
        Head::parse(&self.front).map(|head| head.channel)
    }

    /// The body of the publish at the beginning of `bytes`, and its length in all, when it is whole and has this shape.
    #[inline]
    pub(super) fn body<'a>(&self, bytes: &'a [u8]) -> Option<(usize, &'a [u8])> {
        if self.front.is_empty() {
            return None;
        }
        let rest = bytes.strip_prefix(self.front.as_slice())?;
        let (size, rest) = rest.split_first_chunk::<SIZE_LENGTH>()?;
        let rest = rest.strip_prefix(self.back.as_slice())?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = u32::from_be_bytes(*length);
        if u64::from_be_bytes(*size) != u64::from(length) || length as usize > self.body_max {
            return None;
        }
        let (body, rest) = rest.split_at_checked(length as usize)?;
        let (&end, rest) = rest.split_first()?;
        (end == END).then_some((bytes.len() - rest.len(), body))
    }
}

/// Parts the frames of a publish with one body frame into what is before and what is behind the body size, the latter
/// up to the body frame's channel.
fn split(frames: &[u8], payload_max: usize) -> Option<(&[u8], &[u8])> {
    let mut rest = Frames { rest: frames, payload_max };
    rest.next(METHOD)?;
    let header_at = frames.len() - rest.rest.len();
    rest.next(HEADER)?;
    let body_at = frames.len() - rest.rest.len();
    rest.next(BODY)?;
    if !rest.rest.is_empty() {
        return None;
    }
    let size_at = header_at + super::frame::HEAD_LENGTH + SIZE_OFFSET;
    let kind_and_channel = 3;
    Some((frames.get(..size_at)?, frames.get(size_at + SIZE_LENGTH..body_at + kind_and_channel)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX: usize = 4096;

    fn publish(channel: u16, key: &[u8], properties: &[u8], body: &[u8]) -> Vec<u8> {
        let mut method = vec![0, 60, 0, 40, 0, 0, 0, u8::try_from(key.len()).unwrap()];
        method.extend_from_slice(key);
        method.push(0);
        let mut header = vec![0, 60, 0, 0];
        header.extend_from_slice(&(body.len() as u64).to_be_bytes());
        header.extend_from_slice(properties);
        [(METHOD, method), (HEADER, header), (BODY, body.to_vec())]
            .iter()
            .flat_map(|(kind, payload)| {
                let [c0, c1] = channel.to_be_bytes();
                let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
                [&[*kind, c0, c1], &size[..], payload, &[END]].concat()
            })
            .collect()
    }

    proptest! {
        #[test]
        fn only_the_same_publish_with_another_body_is_recognised(
            channels in (1u16..3, 1u16..3), keys in ("[ab]{0,2}", "[ab]{0,2}"), sizes in (1usize..40, 0usize..40),
            flags in (0u8..2, 0u8..2), behind in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let first = publish(channels.0, keys.0.as_bytes(), &[flags.0, 0], &vec![7; sizes.0]);
            let second = publish(channels.1, keys.1.as_bytes(), &[flags.1, 0], &vec![8; sizes.1]);
            let mut shape = Shape::default();
            prop_assert_eq!(shape.body(&first), None);
            shape.remember(&first, MAX, MAX as u64);
            prop_assert_eq!(shape.channel(), Some(channels.0));
            let bytes = [second.as_slice(), &behind].concat();
            let is_same = channels.0 == channels.1 && keys.0 == keys.1 && flags.0 == flags.1;
            let expected = vec![8; sizes.1];
            prop_assert_eq!(shape.body(&bytes), is_same.then_some((second.len(), expected.as_slice())));
            for cut in 0..second.len() {
                prop_assert_eq!(shape.body(&second[..cut]), None);
            }
        }

        #[test]
        fn any_bytes_are_looked_at_without_a_panic(
            frames in prop::collection::vec(any::<u8>(), 0..80), bytes in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let mut shape = Shape::default();
            shape.remember(&frames, MAX, MAX as u64);
            let _ = shape.body(&bytes);
        }
    }

    #[test]
    fn what_is_too_long_or_wrong_is_left_to_the_decoder() {
        let first = publish(1, b"q", &[0, 0], b"body");
        let mut shape = Shape::default();
        shape.remember(&first, MAX, 5);
        assert!(shape.body(&publish(1, b"q", &[0, 0], b"12345")).is_some());
        assert_eq!(shape.body(&publish(1, b"q", &[0, 0], b"123456")), None, "longer than is allowed");
        let mut wrong = first.clone();
        *wrong.last_mut().unwrap() = 0;
        assert_eq!(shape.body(&wrong), None, "no end octet");
        shape.remember(&publish(1, b"q", &[0, 0], b"")[..40.min(first.len() - 12)], MAX, 5);
        assert_eq!(shape.body(&first), None, "nothing is remembered of what is not whole");
    }
}
