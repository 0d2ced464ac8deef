//! A copy of some queues, to be sent elsewhere: all their rows as of one moment, in pieces, while the store goes on.
//!
//! A piece is rows end to end, little endian; a long value is in several rows, each with a part of it, in order:
//!
//! ```text
//!  0 family u8 | 1 key length u8 | 2 length of the whole value u64 | 10 offset of the part u64 | 18 its length u32
//! 22 key, part
//! ```
//! Of each queue come its large chunks, which are files, then its rows, its own row last; behind all queues the rows of
//! the group, and how many rows that were: a piece that is missing is noticed.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read},
};

use rocksdb::{DB, IteratorMode, ReadOptions, SnapshotWithThreadMode};

use super::{ColdStore, batch::Family, keys, large::Pinned, refused};
#[cfg(test)]
use super::{Engine, memory::Rows};
use crate::storage::error::StorageError;

/// Bytes of a piece; one row more at most.
pub const PIECE_BYTES: usize = 256 << 10;
/// Bytes in front of a row's key.
pub(super) const ROW_HEAD: usize = 22;
/// In place of a family: a large chunk, key as of a chunk, value the file.
pub(super) const LARGE: u8 = 0xff;

/// In place of a family: the end, key empty, value the number of rows before it, u64.
pub(super) const END: u8 = 0xfe;

/// Of a queue, in this order; its own row comes last.
const FAMILIES: [Family; 4] = [Family::Data, Family::Chunks, Family::Due, Family::Queues];

/// What a snapshot is of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotOf {
    /// Queues, with all that is theirs.
    pub queues: Vec<u64>,
    /// A group.
    pub group: u16,
    /// The names of its rows that are wanted too.
    pub names: Vec<&'static str>,
}

/// A snapshot being read.
pub struct ColdSnapshot<'s> {
    store: &'s ColdStore,
    view: View<'s>,
    of: SnapshotOf,
    large: VecDeque<Pinned>,
    /// The queue (by its place in `of`) and the family being read.
    queue: usize,
    family: usize,
    /// Behind the last key that was read of these.
    from: Vec<u8>,
    /// Rows that were read and are in no piece.
    rows: VecDeque<Row>,
    /// Rows put into pieces.
    put: u64,
    stage: Stage,
}

/// What is read next.
enum Stage {
    Queues,
    Group,
    End,
    Nothing,
}

enum View<'s> {
    Rocks(SnapshotWithThreadMode<'s, DB>),
    #[cfg(test)]
    Memory(Box<[Rows; Family::ALL.len()]>),
}

/// A row on its way out.
struct Row {
    family: u8,
    key: Box<[u8]>,
    value: Value,
    /// Bytes of the value.
    total: u64,
    /// Bytes of it that are in earlier pieces.
    at: u64,
}

enum Value {
    Bytes(Box<[u8]>),
    /// Read front to back.
    File(File),
}

impl std::fmt::Debug for ColdSnapshot<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ColdSnapshot").field("of", &self.of).finish_non_exhaustive()
    }
}

impl ColdStore {
    /// A snapshot as of now: of every batch all or nothing. Until it is dropped, what is deleted keeps its space.
    ///
    /// # Errors
    /// When files cannot be kept.
    pub fn snapshot(&self, of: SnapshotOf) -> Result<ColdSnapshot<'_>, StorageError> {
        let standstill = self.large.standstill();
        let large = self.large.pin(&of.queues)?.into();
        let view = self.view()?;
        drop(standstill);
        let from = of.queues.first().map_or_else(Vec::new, |queue| keys::queue(*queue).to_vec());
        Ok(ColdSnapshot {
            store: self,
            view,
            of,
            large,
            queue: 0,
            family: 0,
            from,
            rows: VecDeque::new(),
            put: 0,
            stage: Stage::Queues,
        })
    }

    fn view(&self) -> Result<View<'_>, StorageError> {
        #[cfg(test)]
        if let Engine::Memory(memory) = &self.engine {
            return Ok(View::Memory(Box::new(memory.copy())));
        }
        Ok(View::Rocks(self.db()?.snapshot()))
    }
}

impl ColdSnapshot<'_> {
    /// The next piece; none behind the last one.
    ///
    /// # Errors
    /// When something cannot be read.
    pub fn next_piece(&mut self) -> Result<Option<Vec<u8>>, StorageError> {
        let store = self.store;
        let mut piece = Vec::new();
        while let Some(row) = self.next_row()? {
            let left = usize::try_from(row.total - row.at).unwrap_or(usize::MAX);
            let len = left.min(PIECE_BYTES);
            if !piece.is_empty() && piece.len() + len > PIECE_BYTES {
                break;
            }
            row.put(&mut piece, len).map_err(StorageError::io("read a chunk of", &store.dir))?;
            let is_whole = row.at == row.total;
            if is_whole {
                self.rows.pop_front();
            }
            self.put += 1;
        }
        Ok((!piece.is_empty()).then_some(piece))
    }

    fn next_row(&mut self) -> Result<Option<&mut Row>, StorageError> {
        while self.rows.is_empty() {
            match self.stage {
                Stage::Queues => self.read_queues()?,
                Stage::Group => self.read_group()?,
                Stage::End => {
                    self.rows.push_back(Row::of(END, Box::default(), self.put.to_le_bytes().into()));
                    self.stage = Stage::Nothing;
                }
                Stage::Nothing => return Ok(None),
            }
        }
        Ok(self.rows.front_mut())
    }

    fn read_queues(&mut self) -> Result<(), StorageError> {
        if let Some(pinned) = self.large.pop_front() {
            self.rows.push_back(open(&pinned)?);
        } else if let Some(queue) = self.of.queues.get(self.queue).copied() {
            self.read_more(queue)?;
        } else {
            self.stage = Stage::Group;
        }
        Ok(())
    }

    /// Reads rows of a queue and family, and goes on to the next when there are no more.
    fn read_more(&mut self, queue: u64) -> Result<(), StorageError> {
        let family = FAMILIES[self.family];
        let end = keys::queue_end(queue);
        let mut bytes = 0;
        let mut is_end = true;
        for row in self.view.rows(self.store, family, &self.from, &end)? {
            let (key, value) = row?;
            if bytes >= PIECE_BYTES {
                (self.from, is_end) = (key.into_vec(), false);
                break;
            }
            bytes += ROW_HEAD + key.len() + value.len();
            self.rows.push_back(Row::of(family as u8, key, value));
        }
        if is_end {
            self.family += 1;
            if self.family == FAMILIES.len() {
                self.family = 0;
                self.queue += 1;
            }
            let queue = self.of.queues.get(self.queue).copied();
            self.from = queue.map_or_else(Vec::new, |queue| keys::queue(queue).to_vec());
        }
        Ok(())
    }

    fn read_group(&mut self) -> Result<(), StorageError> {
        for name in &self.of.names {
            let key = keys::group(self.of.group, name);
            let end = [key.as_slice(), &[0]].concat();
            for row in self.view.rows(self.store, Family::Default, &key, &end)? {
                let (key, value) = row?;
                self.rows.push_back(Row::of(Family::Default as u8, key, value));
            }
        }
        self.stage = Stage::End;
        Ok(())
    }
}

type Found<'v> = Box<dyn Iterator<Item = Result<(Box<[u8]>, Box<[u8]>), StorageError>> + 'v>;

impl View<'_> {
    /// Rows from a key up to another.
    fn rows(
        &self,
        store: &ColdStore,
        family: Family,
        from: &[u8],
        to: &[u8],
    ) -> Result<Found<'_>, StorageError> {
        match self {
            Self::Rocks(snapshot) => {
                let mut options = ReadOptions::default();
                options.set_iterate_range(from.to_vec()..to.to_vec());
                options.fill_cache(false);
                let rows = snapshot.iterator_cf_opt(store.family(family)?, options, IteratorMode::Start);
                Ok(Box::new(rows.map(|row| row.map_err(refused("read")))))
            }
            #[cfg(test)]
            Self::Memory(families) => {
                let rows = families[family as usize].range(from.to_vec()..to.to_vec());
                Ok(Box::new(rows.map(|(key, value)| Ok((key.as_slice().into(), value.as_slice().into())))))
            }
        }
    }
}

fn open(pinned: &Pinned) -> Result<Row, StorageError> {
    let file = File::open(pinned.path()).map_err(StorageError::io("open", pinned.path()))?;
    let total = file.metadata().map_err(StorageError::io("look at", pinned.path()))?.len();
    let (queue, first) = pinned.key();
    Ok(Row { family: LARGE, key: keys::chunk(queue, first).into(), value: Value::File(file), total, at: 0 })
}

impl Row {
    fn of(family: u8, key: Box<[u8]>, value: Box<[u8]>) -> Self {
        let total = value.len() as u64;
        Self { family, key, value: Value::Bytes(value), total, at: 0 }
    }

    /// Adds the next `len` bytes of the value to a piece.
    fn put(&mut self, piece: &mut Vec<u8>, len: usize) -> io::Result<()> {
        let too_long = |_| io::Error::from(io::ErrorKind::InvalidData);
        piece.reserve(ROW_HEAD + self.key.len() + len);
        piece.push(self.family);
        piece.push(u8::try_from(self.key.len()).map_err(too_long)?);
        piece.extend_from_slice(&self.total.to_le_bytes());
        piece.extend_from_slice(&self.at.to_le_bytes());
        piece.extend_from_slice(&u32::try_from(len).map_err(too_long)?.to_le_bytes());
        piece.extend_from_slice(&self.key);
        let start = piece.len();
        match &mut self.value {
            Value::Bytes(value) => {
                let from = usize::try_from(self.at).map_err(too_long)?;
                piece.extend_from_slice(&value[from..from + len]);
            }
            Value::File(file) => {
                piece.resize(start + len, 0);
                file.read_exact(&mut piece[start..])?;
            }
        }
        self.at += len as u64;
        Ok(())
    }
}
