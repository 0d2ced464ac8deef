//! Frames that came in.

use bytes::Bytes;

/// Bytes that are no message of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Reads a frame's content from its front.
#[derive(Debug)]
pub(crate) struct Take<'a> {
    frame: &'a Bytes,
    at: usize,
    /// How large the buffer is that `frame` is a part of.
    pub(crate) backing: usize,
}

impl<'a> Take<'a> {
    pub(crate) fn new(frame: &'a Bytes, backing: usize) -> Self {
        Self { frame, at: 0, backing }
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (value, _) =
            self.frame.get(self.at..).and_then(|rest| rest.split_first_chunk::<N>()).ok_or(Malformed)?;
        self.at += N;
        Ok(*value)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.fixed::<1>().map(u8::from_le_bytes)
    }

    pub(crate) fn bool(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.fixed().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.fixed().map(u32::from_le_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Malformed> {
        self.fixed().map(i32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.fixed().map(u64::from_le_bytes)
    }

    /// Bytes, as a part of the frame.
    pub(crate) fn bytes(&mut self) -> Result<Bytes, Malformed> {
        let length = usize::try_from(self.u32()?).map_err(|_| Malformed)?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.frame.len()).ok_or(Malformed)?;
        let bytes = self.frame.slice(self.at..end);
        self.at = end;
        Ok(bytes)
    }

    /// A list of what has at least `bytes_min` bytes each.
    pub(crate) fn list<T>(
        &mut self,
        bytes_min: usize,
        mut one: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = usize::try_from(self.u32()?).map_err(|_| Malformed)?;
        if count > (self.frame.len() - self.at) / bytes_min.max(1) {
            return Err(Malformed);
        }
        let mut list = Vec::with_capacity(count);
        for _ in 0..count {
            list.push(one(self)?);
        }
        Ok(list)
    }

    pub(crate) fn option<T>(
        &mut self,
        one: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        if self.bool()? { one(self).map(Some) } else { Ok(None) }
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.at == self.frame.len() { Ok(()) } else { Err(Malformed) }
    }
}
