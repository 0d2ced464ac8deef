//! Changes to the cold store that are made together or not at all.

use std::ops::Range;

use bytes::Bytes;

use super::keys;
use super::large::{LARGE_BYTES, Large};

/// A column family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Format version, applied indexes.
    Default,
    Meta,
    Queues,
    /// Chunk descriptors.
    Chunks,
    /// Chunk bytes.
    Data,
    Due,
}

/// Changes in the order they were added; all keys and values but large chunks are copied into one buffer.
#[derive(Clone, Debug, Default)]
pub struct ColdBatch {
    bytes: Vec<u8>,
    changes: Vec<Change>,
    deleted: Vec<(u64, Range<u64>)>,
    large: Vec<Large>,
}

#[derive(Clone, Debug)]
struct Change {
    kind: Kind,
    family: Family,
    /// Where the key, and behind it the second part, lie in the buffer.
    start: usize,
    middle: usize,
    end: usize,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Put,
    Delete,
    DeleteRange,
}

/// One change as the store carries it out.
pub(super) enum Step<'b> {
    Put(&'b [u8], &'b [u8]),
    Delete(&'b [u8]),
    /// From the first key up to the second, which stays.
    DeleteRange(&'b [u8], &'b [u8]),
}

impl ColdBatch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Bytes of keys and values gathered so far, without large chunks.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Writes a row of the broker's topology.
    pub fn put_meta(&mut self, key: &[u8], value: &[u8]) {
        self.push(Kind::Put, Family::Meta, key, value);
    }

    /// Deletes a row of the broker's topology.
    pub fn delete_meta(&mut self, key: &[u8]) {
        self.push(Kind::Delete, Family::Meta, key, &[]);
    }

    /// Writes a queue's own row.
    pub fn put_queue(&mut self, queue: u64, value: &[u8]) {
        self.push(Kind::Put, Family::Queues, &keys::queue(queue), value);
    }

    /// Deletes a queue's row, chunks and due times.
    pub fn delete_queue_all(&mut self, queue: u64) {
        self.push(Kind::Delete, Family::Queues, &keys::queue(queue), &[]);
        for family in [Family::Chunks, Family::Data, Family::Due] {
            self.push(Kind::DeleteRange, family, &keys::queue(queue), &keys::queue_end(queue));
        }
        self.deleted.push((queue, 0..u64::MAX));
    }

    /// Writes a chunk: its descriptor and its bytes.
    pub fn put_chunk(&mut self, queue: u64, first_seq: u64, descriptor: &[u8], data: &[u8]) {
        self.put_descriptor(queue, first_seq, descriptor);
        self.push(Kind::Put, Family::Data, &keys::chunk(queue, first_seq), data);
    }

    /// Writes a chunk whose bytes are in two parts; a large one is shared, not copied.
    pub fn put_records(
        &mut self,
        queue: u64,
        first_seq: u64,
        descriptor: &[u8],
        front: Vec<u8>,
        records: Bytes,
    ) {
        self.put_descriptor(queue, first_seq, descriptor);
        if records.len() >= LARGE_BYTES {
            let deletions = self.deleted.len();
            self.large.push(Large { queue, first: first_seq, front, records, deletions });
            return;
        }
        self.push(Kind::Put, Family::Data, &keys::chunk(queue, first_seq), &front);
        self.bytes.extend_from_slice(&records);
        if let Some(change) = self.changes.last_mut() {
            change.end = self.bytes.len();
        }
    }

    /// Writes a chunk's descriptor anew and leaves its bytes.
    pub fn put_descriptor(&mut self, queue: u64, first_seq: u64, descriptor: &[u8]) {
        self.push(Kind::Put, Family::Chunks, &keys::chunk(queue, first_seq), descriptor);
    }

    /// Deletes one chunk.
    pub fn delete_chunk(&mut self, queue: u64, first_seq: u64) {
        let key = keys::chunk(queue, first_seq);
        self.push(Kind::Delete, Family::Chunks, &key, &[]);
        self.push(Kind::Delete, Family::Data, &key, &[]);
        self.deleted.push((queue, first_seq..first_seq.saturating_add(1)));
    }

    /// Deletes the chunks whose first sequence number is in `seqs`.
    pub fn delete_chunks(&mut self, queue: u64, seqs: Range<u64>) {
        if seqs.is_empty() {
            return;
        }
        let (from, to) = (keys::chunk(queue, seqs.start), keys::chunk(queue, seqs.end));
        self.push(Kind::DeleteRange, Family::Chunks, &from, &to);
        self.push(Kind::DeleteRange, Family::Data, &from, &to);
        self.deleted.push((queue, seqs));
    }

    /// Notes that message `seq` of the queue is due at `due_ms`, in Unix milliseconds.
    pub fn put_due(&mut self, queue: u64, due_ms: u64, seq: u64) {
        self.push(Kind::Put, Family::Due, &keys::due(queue, due_ms, seq), &[]);
    }

    /// Forgets the queue's due times before `due_ms`.
    pub fn delete_due_before(&mut self, queue: u64, due_ms: u64) {
        self.push(Kind::DeleteRange, Family::Due, &keys::queue(queue), &keys::due(queue, due_ms, 0));
    }

    /// Notes that everything of the shard up to log index `index` is in the store.
    pub fn put_applied(&mut self, shard: u16, index: u64) {
        self.push(Kind::Put, Family::Default, &keys::applied(shard), &index.to_be_bytes());
    }

    /// Writes a row of a group; a name says what it is.
    pub fn put_group(&mut self, group: u16, name: &str, value: &[u8]) {
        self.push(Kind::Put, Family::Default, &keys::group(group, name), value);
    }

    /// Deletes a row of a group.
    pub fn delete_group(&mut self, group: u16, name: &str) {
        self.push(Kind::Delete, Family::Default, &keys::group(group, name), &[]);
    }

    /// Adds the changes of another batch behind these.
    pub fn append(&mut self, later: Self) {
        let (bytes, deletions) = (self.bytes.len(), self.deleted.len());
        self.bytes.extend_from_slice(&later.bytes);
        self.changes.extend(later.changes.into_iter().map(|change| Change {
            start: change.start + bytes,
            middle: change.middle + bytes,
            end: change.end + bytes,
            ..change
        }));
        self.deleted.extend(later.deleted);
        let moved = |large: Large| Large { deletions: large.deletions + deletions, ..large };
        self.large.extend(later.large.into_iter().map(moved));
    }

    /// Writes a row as it is in the store.
    pub(super) fn put_row(&mut self, family: Family, key: &[u8], value: &[u8]) {
        self.push(Kind::Put, family, key, value);
    }

    pub(super) fn put_default(&mut self, key: &[u8], value: &[u8]) {
        self.push(Kind::Put, Family::Default, key, value);
    }

    /// The chunks that become files.
    pub(super) fn large(&self) -> &[Large] {
        &self.large
    }

    pub(super) fn steps(&self) -> impl Iterator<Item = (Family, Step<'_>)> {
        self.changes.iter().map(|change| {
            let first = &self.bytes[change.start..change.middle];
            let second = &self.bytes[change.middle..change.end];
            let step = match change.kind {
                Kind::Put => Step::Put(first, second),
                Kind::Delete => Step::Delete(first),
                Kind::DeleteRange => Step::DeleteRange(first, second),
            };
            (change.family, step)
        })
    }

    /// The chunks deleted: queue and first sequence numbers.
    pub(super) fn deleted(&self) -> &[(u64, Range<u64>)] {
        &self.deleted
    }

    fn push(&mut self, kind: Kind, family: Family, first: &[u8], second: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(first);
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(second);
        self.changes.push(Change { kind, family, start, middle, end: self.bytes.len() });
    }
}
