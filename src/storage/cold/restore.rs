//! Writing a snapshot that was made elsewhere (see `snapshot`), piece by piece.
//!
//! Pieces come over a network: what does not look like one is refused, and says nothing about this store.

use std::mem;

use super::{
    ColdBatch, ColdStore,
    batch::Family,
    keys,
    large::{LARGE_BYTES, LargeDraft},
    snapshot::{END, LARGE, ROW_HEAD},
};
use crate::storage::error::StorageError;

/// A value in memory is not longer; chunks above [`LARGE_BYTES`] are files.
const VALUE_MAX: u64 = 8 * LARGE_BYTES as u64;

/// A snapshot on its way in.
#[derive(Debug, Default)]
pub struct Restore {
    open: Open,
    /// Rows that came.
    taken: u64,
    is_broken: bool,
    is_whole: bool,
}

/// The value whose parts are coming.
#[derive(Debug, Default)]
enum Open {
    #[default]
    Nothing,
    Value {
        family: Family,
        key: Vec<u8>,
        total: u64,
        value: Vec<u8>,
    },
    Large {
        key: Vec<u8>,
        total: u64,
        draft: LargeDraft,
    },
}

/// A row, or a part of one.
struct Part<'p> {
    family: u8,
    key: &'p [u8],
    total: u64,
    at: u64,
    bytes: &'p [u8],
}

impl Restore {
    /// Writes a piece. False when it is not one, or not the next: then no row of it is written, and nothing more is taken.
    ///
    /// # Errors
    /// When the store fails.
    pub fn write(&mut self, store: &ColdStore, piece: &[u8]) -> Result<bool, StorageError> {
        let mut batch = ColdBatch::new();
        let mut rest = piece;
        while !rest.is_empty() && !self.is_broken {
            let taken = match Part::next(&mut rest) {
                Some(part) => self.part(store, &part, &mut batch)?,
                None => false,
            };
            self.is_broken = !taken;
        }
        if self.is_broken {
            self.open = Open::Nothing;
            return Ok(false);
        }
        store.write(batch).map(|()| true)
    }

    /// The last piece was written: makes all of it durable. False when it is not whole.
    ///
    /// # Errors
    /// When the store fails.
    pub fn finish(&mut self, store: &ColdStore) -> Result<bool, StorageError> {
        if self.is_broken || !self.is_whole {
            return Ok(false);
        }
        store.flush().map(|()| true)
    }

    fn part(
        &mut self,
        store: &ColdStore,
        part: &Part<'_>,
        batch: &mut ColdBatch,
    ) -> Result<bool, StorageError> {
        if self.is_whole {
            return Ok(false);
        }
        if part.family == END {
            let is_whole = part.key.is_empty() && part.bytes == self.taken.to_le_bytes();
            self.is_whole = is_whole && matches!(self.open, Open::Nothing);
            return Ok(self.is_whole);
        }
        self.taken += 1;
        if part.family == LARGE {
            return self.large(store, part);
        }
        let Some(family) = part.family() else { return Ok(false) };
        let whole = match mem::take(&mut self.open) {
            Open::Nothing if part.is_whole() => {
                batch.put_row(family, part.key, part.bytes);
                return Ok(true);
            }
            Open::Nothing if part.at == 0 && part.total <= VALUE_MAX => {
                Open::Value { family, key: part.key.to_vec(), total: part.total, value: part.bytes.to_vec() }
            }
            Open::Value { family: of, key, total, mut value }
                if of == family
                    && key == part.key
                    && total == part.total
                    && value.len() as u64 == part.at =>
            {
                value.extend_from_slice(part.bytes);
                Open::Value { family, key, total, value }
            }
            _ => return Ok(false),
        };
        match whole {
            Open::Value { family, key, total, value } if value.len() as u64 == total => {
                batch.put_row(family, &key, &value);
            }
            more => self.open = more,
        }
        Ok(true)
    }

    fn large(&mut self, store: &ColdStore, part: &Part<'_>) -> Result<bool, StorageError> {
        let (Some(queue), Some(first)) = (keys::number(part.key, 0), keys::number(part.key, 1)) else {
            return Ok(false);
        };
        let mut draft = match mem::take(&mut self.open) {
            Open::Nothing if part.at == 0 && part.key.len() == 16 => store.large.draft(queue, first)?,
            Open::Large { key, total, draft }
                if key == part.key && total == part.total && draft.len() == part.at =>
            {
                draft
            }
            _ => return Ok(false),
        };
        draft.write(part.bytes)?;
        if draft.len() == part.total {
            return store.large.adopt(draft);
        }
        self.open = Open::Large { key: part.key.to_vec(), total: part.total, draft };
        Ok(true)
    }
}

impl<'p> Part<'p> {
    /// Takes a row from the front of `rest`; nothing when there is no whole one.
    fn next(rest: &mut &'p [u8]) -> Option<Self> {
        let (head, behind) = rest.split_at_checked(ROW_HEAD)?;
        let u64_at = |at: usize| Some(u64::from_le_bytes(*head.get(at..)?.first_chunk()?));
        let len = u32::from_le_bytes(*head.get(18..)?.first_chunk()?);
        let (key, behind) = behind.split_at_checked(usize::from(*head.get(1)?))?;
        let (bytes, behind) = behind.split_at_checked(usize::try_from(len).ok()?)?;
        *rest = behind;
        let part = Self { family: *head.first()?, key, total: u64_at(2)?, at: u64_at(10)?, bytes };
        let fits = part.at.checked_add(u64::from(len)).is_some_and(|end| end <= part.total);
        // An empty part brings nothing on, but for an empty value.
        (fits && (len > 0 || part.total == 0)).then_some(part)
    }

    fn is_whole(&self) -> bool {
        self.at == 0 && self.bytes.len() as u64 == self.total
    }

    /// The family, if such a key may be in it and it may be in a snapshot.
    fn family(&self) -> Option<Family> {
        let family = Family::ALL.into_iter().find(|family| *family as u8 == self.family)?;
        let fits = match family {
            Family::Default => keys::group_of(self.key).is_some(),
            Family::Queues => self.key.len() == 8,
            Family::Chunks | Family::Data => self.key.len() == 16,
            Family::Due => self.key.len() == 24 && self.total == 0,
            Family::Meta => false,
        };
        fits.then_some(family)
    }
}
