//! What one entry of a group holds: the records that a round of its leader brought about, little endian.
//!
//! Version u8, then up to which index of the meta group the leader knew declarations u64: whoever replays the entry must
//! know them too, or it could not tell a queue that is to come from one that is gone. Then the records: kind u8, length of
//! the head u32, length of the body u32, head, body.

use bytes::Bytes;

use crate::storage::Append;

const VERSION: u8 = 1;
const FRONT: usize = 9;
const RECORD_FRONT: usize = 9;

/// An entry for these records.
pub(super) fn encode(meta_index: u64, appends: &[Append]) -> Bytes {
    let records: usize =
        appends.iter().map(|append| RECORD_FRONT + append.head.len() + append.body.len()).sum();
    let mut entry = Vec::with_capacity(FRONT + records);
    entry.push(VERSION);
    entry.extend_from_slice(&meta_index.to_le_bytes());
    for append in appends {
        entry.push(append.kind);
        entry.extend_from_slice(&length(append.head.len()));
        entry.extend_from_slice(&length(append.body.len()));
        entry.extend_from_slice(&append.head);
        entry.extend_from_slice(&append.body);
    }
    entry.into()
}

/// The declarations that an entry needs, and its records. `None` when it is none.
pub(super) fn decode(entry: &Bytes) -> Option<(u64, Records)> {
    let (front, _) = entry.split_first_chunk::<FRONT>()?;
    let (version, meta_index) = front.split_first()?;
    let meta_index = u64::from_le_bytes(meta_index.try_into().ok()?);
    (*version == VERSION).then(|| (meta_index, Records { rest: entry.slice(FRONT..) }))
}

/// The records of an entry: kind and payload. `None` ends them when they are damaged.
pub(super) struct Records {
    rest: Bytes,
}

impl Iterator for Records {
    type Item = Option<(u8, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let record = take(&mut self.rest);
        if record.is_none() {
            self.rest.clear();
        }
        Some(record)
    }
}

fn take(rest: &mut Bytes) -> Option<(u8, Bytes)> {
    let (front, _) = rest.split_first_chunk::<RECORD_FRONT>()?;
    let [kind, a, b, c, d, e, f, g, h] = *front;
    let head = usize::try_from(u32::from_le_bytes([a, b, c, d])).ok()?;
    let body = usize::try_from(u32::from_le_bytes([e, f, g, h])).ok()?;
    let end = RECORD_FRONT.checked_add(head)?.checked_add(body)?;
    if end > rest.len() {
        return None;
    }
    let payload = rest.slice(RECORD_FRONT..end);
    *rest = rest.slice(end..);
    Some((kind, payload))
}

/// What a shard logs at once is far smaller than 4 GiB.
fn length(length: usize) -> [u8; 4] {
    debug_assert!(u32::try_from(length).is_ok(), "a record's length fits 32 bits");
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_written() {
        let append = |kind, head: &[u8], body: &'static [u8]| Append {
            kind,
            head: head.to_vec(),
            body: Bytes::from_static(body),
            ..Append::default()
        };
        let appends = [append(1, b"head", b"body"), append(2, b"", b""), append(3, b"only a head", b"")];
        let entry = encode(77, &appends);
        let (meta_index, records) = decode(&entry).unwrap();
        let read: Vec<_> = records.map(Option::unwrap).collect();
        let expected = [(1, &b"headbody"[..]), (2, b""), (3, b"only a head")]
            .map(|(kind, all)| (kind, Bytes::from(all)));
        assert_eq!((meta_index, read.as_slice()), (77, &expected[..]));
        let ends = [FRONT, FRONT + 17, FRONT + 26];
        for cut in (0..entry.len()).filter(|cut| !ends.contains(cut)) {
            let cut = decode(&entry.slice(..cut));
            assert!(cut.is_none_or(|(_, mut records)| records.any(|record| record.is_none())));
        }
        assert!(decode(&Bytes::from_static(b"\x02 another version")).is_none());
    }
}
