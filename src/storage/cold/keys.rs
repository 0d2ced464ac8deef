//! Keys of the cold store, big endian, so that their order is the order of what they stand for.

/// One more than the longest key.
const BEHIND_ANY: usize = 25;

/// The key of a queue's row.
pub(super) fn queue(queue: u64) -> [u8; 8] {
    queue.to_be_bytes()
}

/// The key of a chunk, in `chunks` and `data`.
pub(super) fn chunk(queue: u64, first_seq: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&queue.to_be_bytes());
    key[8..].copy_from_slice(&first_seq.to_be_bytes());
    key
}

/// The key of a due time.
pub(super) fn due(queue: u64, due_ms: u64, seq: u64) -> [u8; 24] {
    let mut key = [0; 24];
    key[..8].copy_from_slice(&queue.to_be_bytes());
    key[8..16].copy_from_slice(&due_ms.to_be_bytes());
    key[16..].copy_from_slice(&seq.to_be_bytes());
    key
}

/// Behind every key of a queue.
pub(super) fn queue_end(queue: u64) -> [u8; BEHIND_ANY] {
    let mut key = [0xff; BEHIND_ANY];
    key[..8].copy_from_slice(&queue.to_be_bytes());
    key
}

/// In front of all keys that say up to where a shard is applied.
pub(super) const APPLIED: &[u8; 8] = b"applied/";
/// Behind all of them: the slash is followed by the zero.
pub(super) const APPLIED_END: &[u8; 8] = b"applied0";

/// The key of a shard's applied index.
pub(super) fn applied(shard: u16) -> [u8; 10] {
    let mut key = [0; 10];
    key[..8].copy_from_slice(APPLIED);
    key[8..].copy_from_slice(&shard.to_be_bytes());
    key
}

/// In front of all keys of groups' rows.
pub(super) const GROUPS: &[u8; 6] = b"group/";
/// Behind all of them: the slash is followed by the zero.
pub(super) const GROUPS_END: &[u8; 6] = b"group0";

/// The key of a group's row of this name.
pub(super) fn group(group: u16, name: &str) -> Vec<u8> {
    [GROUPS, group.to_be_bytes().as_slice(), name.as_bytes()].concat()
}

/// The group and the name in the key of a group's row.
pub(super) fn group_of(key: &[u8]) -> Option<(u16, &[u8])> {
    let (group, name) = key.strip_prefix(GROUPS)?.split_first_chunk()?;
    Some((u16::from_be_bytes(*group), name))
}

/// The `index`-th eight bytes of a key or value.
pub(super) fn number(bytes: &[u8], index: usize) -> Option<u64> {
    let number = bytes.get(index * 8..)?.first_chunk()?;
    Some(u64::from_be_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_numbers_and_end_behind_all() {
        assert!(chunk(1, 255) < chunk(1, 256));
        assert!(due(1, 2, u64::MAX) < due(1, 3, 0));
        assert!(due(u64::MAX, u64::MAX, u64::MAX).as_slice() < queue_end(u64::MAX).as_slice());
        assert!(queue_end(7).as_slice() < queue(8).as_slice());
        assert_eq!(number(&due(1, 2, 3), 2), Some(3));
        assert_eq!(number(&chunk(1, 2), 2), None);
        let key = group(258, "state");
        assert_eq!(group_of(&key), Some((258, b"state".as_slice())));
        assert!(
            key.as_slice() > GROUPS.as_slice() && group(u16::MAX, "z").as_slice() < GROUPS_END.as_slice()
        );
    }
}
