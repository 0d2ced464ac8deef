//! What a socket brought: whole frames are looked at where they lie.

use std::io::{self, Read};

use crate::wire::{FRAME_AROUND, FRAME_END, FRAME_HEADER};

const CAPACITY: usize = 256 * 1024;
const FRAME_MAX: usize = 64 << 20;

/// A frame in the buffer.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'b> {
    pub(crate) kind: u8,
    pub(crate) channel: u16,
    pub(crate) payload: &'b [u8],
}

impl Frame<'_> {
    /// Class and method number of a method's frame.
    pub(crate) fn method(&self) -> Option<u32> {
        self.payload.first_chunk().map(|id| u32::from_be_bytes(*id))
    }
}

/// A receive buffer.
pub(crate) struct Input {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    pub(crate) fn new() -> Self {
        Self { buffer: vec![0; 16 * 1024], start: 0, end: 0 }
    }

    /// Makes room for reads of 256 KiB; connections that only wait do without.
    pub(crate) fn enlarge(&mut self) {
        self.buffer.resize(self.buffer.len().max(CAPACITY), 0);
    }

    /// The next whole frame; `None` when more has to be read first.
    pub(crate) fn next(&mut self) -> Result<Option<Frame<'_>>, &'static str> {
        let Some((frame, length)) = cut(&self.buffer[self.start..self.end])? else { return Ok(None) };
        self.start += length;
        Ok(Some(frame))
    }

    /// What was read and not yet taken.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Takes `length` octets off the front.
    pub(crate) fn consume(&mut self, length: usize) {
        self.start = (self.start + length).min(self.end);
    }

    /// Reads once behind what is there; 0 means that the peer has closed.
    pub(crate) fn fill(&mut self, from: &mut impl Read) -> io::Result<usize> {
        self.compact();
        let read = from.read(&mut self.buffer[self.end..])?;
        self.end += read;
        Ok(read)
    }

    /// Moves the rest to the front; a rest that fills the buffer gets a larger one.
    fn compact(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
    }
}

/// The frame at the beginning of `bytes` and its length on the wire.
pub(crate) fn cut(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, &'static str> {
    let Some(&[kind, c1, c0, s3, s2, s1, s0]) = bytes.first_chunk() else { return Ok(None) };
    let size = usize::try_from(u32::from_be_bytes([s3, s2, s1, s0])).unwrap_or(usize::MAX);
    if kind > 8 || kind == 0 || size > FRAME_MAX {
        return Err("what it sends is not AMQP 0-9-1");
    }
    let Some(payload) = bytes.get(FRAME_HEADER..FRAME_HEADER + size) else { return Ok(None) };
    match bytes.get(FRAME_HEADER + size) {
        None => Ok(None),
        Some(&FRAME_END) => {
            let channel = u16::from_be_bytes([c1, c0]);
            Ok(Some((Frame { kind, channel, payload }, size + FRAME_AROUND)))
        }
        Some(_) => Err("it sent a frame without its end mark"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Encoder;

    #[test]
    fn frames_come_whole_however_they_arrive() {
        let mut sent = Encoder::default();
        for size in [0_usize, 5, 40_000] {
            sent.frame(3, 9, |to| to.raw(&vec![7; size]));
        }
        for step in [1, 8, 1000, 100_000] {
            let mut input = Input::new();
            let mut sizes = Vec::new();
            for piece in sent.bytes.chunks(step) {
                let mut piece = piece;
                while !piece.is_empty() {
                    input.fill(&mut piece).unwrap();
                    while let Some(frame) = input.next().unwrap() {
                        assert_eq!((frame.kind, frame.channel), (3, 9));
                        sizes.push(frame.payload.len());
                    }
                }
            }
            assert_eq!(sizes, [0, 5, 40_000], "in steps of {step}");
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        assert!(cut(b"HTTP/1.1 400").is_err());
        assert!(cut(&[8, 0, 0, 0, 0, 0, 0, 0]).is_err());
        assert!(matches!(cut(&[8, 0, 0, 0, 0, 0, 0, FRAME_END]), Ok(Some((_, 8)))));
    }
}
