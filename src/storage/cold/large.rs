//! Large chunks: each is a file of its own, since RocksDB would hold several copies in memory to write it.
//!
//! `QQQQQQQQQQQQQQQQ-SSSSSSSSSSSSSSSS.chunk`: queue and first sequence number, in hexadecimal. Little endian:
//!
//! ```text
//!  0 magic | 8 CRC32C of the rest u32 | 12 zero u32 | 16 the chunk
//! ```
//! A file is synced before RocksDB gets the chunk's descriptor, and removed after RocksDB has forgotten it: a crash leaves
//! at most files without a descriptor, which are removed at the next start.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use crc32c::{crc32c, crc32c_append};

use crate::storage::{
    error::StorageError,
    lock::{create_dir, sync_dir},
};

/// Chunks from this size on, in bytes, get a file.
pub(super) const LARGE_BYTES: usize = 4 << 20;
const MAGIC: [u8; 8] = *b"WRNCHK\r\n";
const HEADER_BYTES: usize = 16;

/// A large chunk to be written.
#[derive(Clone, Debug)]
pub(super) struct Large {
    pub(super) queue: u64,
    pub(super) first: u64,
    pub(super) front: Vec<u8>,
    pub(super) records: Bytes,
    /// How many deletions of its batch came before it.
    pub(super) deletions: usize,
}

/// The files of large chunks.
#[derive(Debug)]
pub(super) struct LargeChunks {
    dir: PathBuf,
    /// Queue and first sequence number of each.
    known: Mutex<BTreeSet<(u64, u64)>>,
    /// Held shared while a batch is written: files and rows change together for who stops that.
    moving: RwLock<()>,
    /// How many were pinned so far.
    pins: AtomicU64,
}

/// A second name of a file, which is kept under it whatever becomes of the chunk. Files with such names go at the next
/// start.
#[derive(Debug)]
pub(super) struct Pinned {
    key: (u64, u64),
    path: PathBuf,
}

impl Pinned {
    pub(super) fn key(&self) -> (u64, u64) {
        self.key
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // What is left behind goes at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

/// A file that comes from elsewhere, in parts.
#[derive(Debug)]
pub(super) struct LargeDraft {
    key: (u64, u64),
    path: PathBuf,
    file: File,
    len: u64,
    header: [u8; HEADER_BYTES],
    crc: u32,
    is_adopted: bool,
}

impl LargeDraft {
    /// Bytes that are written.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn write(&mut self, part: &[u8]) -> Result<(), StorageError> {
        self.file.write_all(part).map_err(StorageError::io("write", &self.path))?;
        let in_header = HEADER_BYTES.saturating_sub(usize::try_from(self.len).unwrap_or(HEADER_BYTES));
        let (front, chunk) = part.split_at(part.len().min(in_header));
        let start = HEADER_BYTES - in_header;
        self.header[start..start + front.len()].copy_from_slice(front);
        self.crc = crc32c_append(self.crc, chunk);
        self.len += part.len() as u64;
        Ok(())
    }

    fn is_whole(&self) -> bool {
        self.len >= HEADER_BYTES as u64
            && self.header[..8] == MAGIC
            && self.header[8..12] == self.crc.to_le_bytes()
    }
}

impl Drop for LargeDraft {
    fn drop(&mut self) {
        if !self.is_adopted {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl LargeChunks {
    /// Lists the files in `dir`, and removes those that nobody wants.
    pub(super) fn open(
        dir: PathBuf,
        is_wanted: impl Fn(u64, u64) -> Result<bool, StorageError>,
    ) -> Result<Self, StorageError> {
        create_dir(&dir)?;
        let mut known = BTreeSet::new();
        for file in fs::read_dir(&dir).map_err(StorageError::io("list", &dir))? {
            let path = file.map_err(StorageError::io("list", &dir))?.path();
            match key_of(&path) {
                Some(key) if is_wanted(key.0, key.1)? => drop(known.insert(key)),
                Some(_) | None => remove(&path)?,
            }
        }
        Ok(Self { dir, known: Mutex::new(known), moving: RwLock::default(), pins: AtomicU64::new(0) })
    }

    /// Held while a batch is written.
    pub(super) fn moving(&self) -> RwLockReadGuard<'_, ()> {
        self.moving.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// No batch is written while this is held.
    pub(super) fn standstill(&self) -> RwLockWriteGuard<'_, ()> {
        self.moving.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the files of these queues as they are now.
    pub(super) fn pin(&self, queues: &[u64]) -> Result<Vec<Pinned>, StorageError> {
        let known = self.known();
        let of = |queue: &u64| known.range((*queue, 0)..=(*queue, u64::MAX));
        let keys: Vec<_> = queues.iter().flat_map(of).copied().collect();
        drop(known);
        keys.into_iter().map(|key| self.pin_one(key)).collect()
    }

    fn pin_one(&self, key: (u64, u64)) -> Result<Pinned, StorageError> {
        let path = self.path(key.0, key.1);
        let number = self.pins.fetch_add(1, Ordering::Relaxed);
        let pin = path.with_extension(format!("{number}.pin"));
        fs::hard_link(&path, &pin).map_err(StorageError::io("link", &path))?;
        Ok(Pinned { key, path: pin })
    }

    /// A file to be written in parts, without its name.
    pub(super) fn draft(&self, queue: u64, first: u64) -> Result<LargeDraft, StorageError> {
        let path = self.path(queue, first).with_extension("draft");
        let file = File::create(&path).map_err(StorageError::io("create", &path))?;
        Ok(LargeDraft {
            key: (queue, first),
            path,
            file,
            len: 0,
            header: [0; HEADER_BYTES],
            crc: crc32c(&[]),
            is_adopted: false,
        })
    }

    /// Makes a draft a chunk, which is on disk when this returns. False when it is none.
    pub(super) fn adopt(&self, mut draft: LargeDraft) -> Result<bool, StorageError> {
        if !draft.is_whole() {
            return Ok(false);
        }
        let path = self.path(draft.key.0, draft.key.1);
        draft.file.sync_data().map_err(StorageError::io("sync", &draft.path))?;
        fs::rename(&draft.path, &path).map_err(StorageError::io("create", &path))?;
        draft.is_adopted = true;
        sync_dir(&self.dir)?;
        self.known().insert(draft.key);
        Ok(true)
    }

    /// Writes these chunks; they are on disk when this returns.
    pub(super) fn write(&self, chunks: &[Large]) -> Result<(), StorageError> {
        for chunk in chunks {
            let path = self.path(chunk.queue, chunk.first);
            let draft = path.with_extension("tmp");
            write_file(&draft, chunk).map_err(StorageError::io("write", &draft))?;
            fs::rename(&draft, &path).map_err(StorageError::io("create", &path))?;
        }
        if chunks.is_empty() {
            return Ok(());
        }
        sync_dir(&self.dir)?;
        self.known().extend(chunks.iter().map(|chunk| (chunk.queue, chunk.first)));
        Ok(())
    }

    /// Removes what a batch deleted and did not write again.
    pub(super) fn remove(
        &self,
        deleted: &[(u64, Range<u64>)],
        written: &[Large],
    ) -> Result<(), StorageError> {
        if deleted.is_empty() || self.known().is_empty() {
            return Ok(());
        }
        for (at, (queue, firsts)) in deleted.iter().enumerate() {
            let within = (*queue, firsts.start)..(*queue, firsts.end);
            let gone: Vec<_> = self.known().range(within).copied().collect();
            for key in gone {
                let is_new = |chunk: &Large| (chunk.queue, chunk.first) == key && chunk.deletions > at;
                if !written.iter().any(is_new) {
                    remove(&self.path(key.0, key.1))?;
                    self.known().remove(&key);
                }
            }
        }
        Ok(())
    }

    /// A chunk, if it is one of these.
    pub(super) fn get(&self, queue: u64, first: u64) -> Result<Option<Bytes>, StorageError> {
        if !self.known().contains(&(queue, first)) {
            return Ok(None);
        }
        let path = self.path(queue, first);
        let bytes = read_file(&path).map_err(StorageError::io("read", &path))?;
        let is_whole = bytes.split_at_checked(HEADER_BYTES).is_some_and(|(header, chunk)| {
            header[..8] == MAGIC && header[8..12] == crc32c(chunk).to_le_bytes()
        });
        if !is_whole {
            let reason = "the chunk does not match its checksum".to_owned();
            return Err(StorageError::Corrupt { path, offset: 0, reason });
        }
        Ok(Some(Bytes::from(bytes).slice(HEADER_BYTES..)))
    }

    fn path(&self, queue: u64, first: u64) -> PathBuf {
        self.dir.join(format!("{queue:016x}-{first:016x}.chunk"))
    }

    fn known(&self) -> MutexGuard<'_, BTreeSet<(u64, u64)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key_of(path: &Path) -> Option<(u64, u64)> {
    let name = path.file_name()?.to_str()?.strip_suffix(".chunk")?;
    let (queue, first) = name.split_once('-')?;
    Some((u64::from_str_radix(queue, 16).ok()?, u64::from_str_radix(first, 16).ok()?))
}

fn write_file(path: &Path, chunk: &Large) -> io::Result<()> {
    let mut file = File::create(path)?;
    let crc = crc32c_append(crc32c(&chunk.front), &chunk.records);
    let mut front = Vec::with_capacity(HEADER_BYTES + chunk.front.len());
    front.extend_from_slice(&MAGIC);
    front.extend_from_slice(&crc.to_le_bytes());
    front.extend_from_slice(&[0; 4]);
    front.extend_from_slice(&chunk.front);
    file.write_all(&front)?;
    file.write_all(&chunk.records)?;
    file.sync_data()
}

/// Read into one buffer of the file's size.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(0);
    let mut bytes = Vec::with_capacity(length);
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn remove(path: &Path) -> Result<(), StorageError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StorageError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::cold::{ColdBatch, ColdOptions, ColdStore};

    fn open(dir: &Path) -> ColdStore {
        ColdStore::open(dir, &ColdOptions::default()).unwrap()
    }

    fn records(seed: u8) -> Bytes {
        (0..=250).cycle().take(LARGE_BYTES).map(|n: u8| seed.wrapping_add(n)).collect::<Vec<_>>().into()
    }

    fn put(batch: &mut ColdBatch, queue: u64, first: u64, seed: u8) {
        batch.put_records(queue, first, b"descriptor", b"front".to_vec(), records(seed));
    }

    fn found(store: &ColdStore, queue: u64, first: u64) -> Option<u8> {
        let chunk = store.get_chunk(queue, first).unwrap()?;
        assert!(chunk.starts_with(b"front") && chunk.len() == 5 + LARGE_BYTES);
        assert!(chunk[5..] == records(chunk[5]));
        Some(chunk[5])
    }

    fn files(dir: &Path) -> usize {
        fs::read_dir(dir.join("large")).unwrap().count()
    }

    #[test]
    fn a_large_chunk_is_a_file_until_it_is_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let mut batch = ColdBatch::new();
        (0..).zip(10..14).for_each(|(first, seed)| put(&mut batch, 1, first, seed));
        put(&mut batch, 2, 0, 20);
        batch.put_records(2, 1, b"descriptor", b"front".to_vec(), Bytes::from_static(b"small"));
        store.write(batch).unwrap();
        assert_eq!((files(dir.path()), found(&store, 1, 3), found(&store, 2, 0)), (5, Some(13), Some(20)));
        assert_eq!(store.get_chunk(2, 1).unwrap().unwrap(), b"frontsmall".as_slice());
        let mut batch = ColdBatch::new();
        batch.delete_chunk(1, 0);
        batch.delete_chunks(1, 2..4);
        put(&mut batch, 1, 3, 99);
        batch.delete_queue_all(2);
        store.write(batch).unwrap();
        store.flush().unwrap();
        drop(store);
        let store = open(dir.path());
        let all = [(1, 0), (1, 1), (1, 2), (1, 3), (2, 0)].map(|(queue, first)| found(&store, queue, first));
        assert_eq!((files(dir.path()), all), (2, [None, Some(11), None, Some(99), None]));
    }

    #[test]
    fn files_without_a_descriptor_go_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let mut batch = ColdBatch::new();
        put(&mut batch, 1, 1, 1);
        let store = open(dir.path());
        store.write(batch).unwrap();
        store.flush().unwrap();
        drop(store);
        for name in ["0000000000000001-0000000000000002.chunk", "0000000000000001-0000000000000003.tmp"] {
            fs::write(dir.path().join("large").join(name), b"torn").unwrap();
        }
        let store = open(dir.path());
        assert_eq!((files(dir.path()), found(&store, 1, 1)), (1, Some(1)));
        assert_eq!(store.get_chunk(1, 2).unwrap(), None);
    }

    #[test]
    fn damage_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let mut batch = ColdBatch::new();
        put(&mut batch, 1, 1, 1);
        let store = open(dir.path());
        store.write(batch).unwrap();
        let path = dir.path().join("large/0000000000000001-0000000000000001.chunk");
        let whole = fs::read(&path).unwrap();
        for damaged in
            [&whole[..whole.len() - 1], &whole[..10], &[&whole[..100], b"x", &whole[101..]].concat()]
        {
            fs::write(&path, damaged).unwrap();
            let error = store.get_chunk(1, 1).unwrap_err().to_string();
            assert!(error.contains("does not match its checksum") && error.contains(".chunk"), "{error}");
        }
    }
}
