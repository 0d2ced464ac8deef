//! Big-endian reading with bounds, and writing (AMQP 0-9-1, section 4.2.5).

/// Reads from the front of a slice; every read is `None` when too little is left.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from their beginning.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything has been read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `length` bytes.
    #[inline]
    pub fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    /// The next octet.
    #[inline]
    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(u8::from_be_bytes)
    }

    /// The next short integer.
    #[inline]
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// The next long integer.
    #[inline]
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// The next long long integer.
    #[inline]
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// The next short string, without its length.
    #[inline]
    pub fn short_str(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    /// The next long string or raw table, without its length.
    #[inline]
    pub fn long_str(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        self.take(length)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }
}

/// Writes an octet.
#[inline]
pub fn put_u8(out: &mut Vec<u8>, value: u8) {
    out.push(value);
}

/// Writes a short integer.
#[inline]
pub fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Writes a long integer.
#[inline]
pub fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Writes a long long integer.
#[inline]
pub fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Writes a short string; what is beyond 255 octets is cut off.
#[inline]
pub fn put_short_str(out: &mut Vec<u8>, value: &[u8]) {
    let (value, length) = short(value);
    out.push(length);
    out.extend_from_slice(value);
}

/// Writes a long string; what is beyond 4 GiB is cut off.
#[inline]
pub fn put_long_str(out: &mut Vec<u8>, value: &[u8]) {
    let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
    put_u32(out, length);
    out.extend_from_slice(value.get(..length as usize).unwrap_or(value));
}

/// The part of `value` that fits a short string, and its length.
#[inline]
pub(super) fn short(value: &[u8]) -> (&[u8], u8) {
    match u8::try_from(value.len()) {
        Ok(length) => (value, length),
        Err(_) => (value.get(..255).unwrap_or(value), 255),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut out = Vec::new();
        put_u8(&mut out, 1);
        put_u16(&mut out, 2);
        put_u32(&mut out, 3);
        put_u64(&mut out, 4);
        put_short_str(&mut out, b"short");
        put_long_str(&mut out, b"long");
        let mut reader = Reader::new(&out);
        assert_eq!(
            (reader.u8(), reader.u16(), reader.u32(), reader.u64()),
            (Some(1), Some(2), Some(3), Some(4))
        );
        assert_eq!((reader.short_str(), reader.long_str()), (Some(&b"short"[..]), Some(&b"long"[..])));
        assert!(reader.is_empty());
        assert_eq!(reader.u8(), None);
    }

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        assert_eq!(Reader::new(&[3, 1, 2]).short_str(), None);
        assert_eq!(Reader::new(&[255, 255, 255, 255, 1]).long_str(), None);
    }

    #[test]
    fn a_long_short_string_is_cut() {
        let mut out = Vec::new();
        put_short_str(&mut out, &[7; 300]);
        assert_eq!((out.len(), out.first()), (256, Some(&255)));
    }
}
