//! Segment files: the header, the names, creating and recycling.
//!
//! `NNNNNNNNNNNNNNNN.log` is a segment, `.spare` a released one kept for reuse, `.tmp` a new one without a name.
//! The header, little endian:
//!
//! ```text
//!  0 magic | 8 version u32 | 12 salt u32 | 16 number u64 | 24 end of the segment before u64 | 32 CRC32C | 36 zeros
//! ```

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use crc32c::crc32c;
use rustix::{fs::FallocateFlags, io::Errno};

use crate::storage::{error::StorageError, lock::sync_dir};

const HEADER_BYTES: usize = 40;
/// Bytes in front of the first record.
pub(super) const HEADER_LEN: u64 = HEADER_BYTES as u64;
const MAGIC: [u8; 8] = *b"WRNLOG\r\n";
const VERSION: u32 = 1;

/// What a segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) number: u64,
    /// Random and the same in all segments of a log: nobody outside can forge a record inside a body.
    pub(super) salt: u32,
    /// Where the records of the segment before end, all of them synced.
    pub(super) previous_end: u64,
}

impl Header {
    /// What every checksum in the segment starts from; differs between any two segments of a log.
    pub(super) fn seed(&self) -> u32 {
        let [a, b, c, d, ..] = self.number.to_le_bytes();
        self.salt ^ u32::from_le_bytes([a, b, c, d])
    }

    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.salt.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.previous_end.to_le_bytes());
        let crc = crc32c(&bytes[..32]);
        bytes[32..36].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header of segment `number`.
    pub(super) fn read(path: &Path, number: u64) -> Result<Self, StorageError> {
        let mut bytes = [0; HEADER_BYTES];
        let file = File::open(path).map_err(StorageError::io("open", path))?;
        match file.read_exact_at(&mut bytes, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(damaged(path, "is cut short")),
            Err(error) => Err(StorageError::io("read", path)(error)),
            Ok(()) => Self::decode(&bytes, path, number),
        }
    }

    fn decode(bytes: &[u8; HEADER_BYTES], path: &Path, number: u64) -> Result<Self, StorageError> {
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        if bytes[..8] != MAGIC || crc32c(&bytes[..32]) != u32_at(32) {
            return Err(damaged(path, "does not match its checksum"));
        }
        if u32_at(8) != VERSION {
            let (found, expected) = (format!("log version {}", u32_at(8)), format!("log version {VERSION}"));
            return Err(StorageError::Format { path: path.to_path_buf(), found, expected });
        }
        if u64_at(16) != number {
            return Err(damaged(path, "belongs to another segment"));
        }
        Ok(Self { number, salt: u32_at(12), previous_end: u64_at(24) })
    }
}

fn damaged(path: &Path, reason: &str) -> StorageError {
    StorageError::Corrupt {
        path: path.to_path_buf(),
        offset: 0,
        reason: format!("the segment header {reason}"),
    }
}

/// The numbers found in a log's folder, sorted.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) segments: Vec<u64>,
    pub(super) spares: Vec<u64>,
}

impl Files {
    /// Lists the folder and removes what never got a name.
    pub(super) fn list(dir: &Path) -> Result<Self, StorageError> {
        let mut files = Self::default();
        let listing = fs::read_dir(dir).map_err(StorageError::io("list", dir))?;
        for file in listing {
            let name = file.map_err(StorageError::io("list", dir))?.file_name();
            files.sort_in(dir, &name.to_string_lossy())?;
        }
        files.segments.sort_unstable();
        files.spares.sort_unstable();
        Ok(files)
    }

    fn sort_in(&mut self, dir: &Path, name: &str) -> Result<(), StorageError> {
        let Some((stem, suffix)) = name.split_once('.') else { return Ok(()) };
        let Some(number) = stem.parse().ok().filter(|_| stem.len() == 16) else { return Ok(()) };
        match suffix {
            "log" => self.segments.push(number),
            "spare" => self.spares.push(number),
            "tmp" => remove(&dir.join(name))?,
            _ => {}
        }
        Ok(())
    }

    /// A number no file here was ever used under.
    pub(super) fn next_number(&self) -> u64 {
        let last = self.segments.last().max(self.spares.last());
        last.map_or(1, |last| last + 1)
    }
}

pub(super) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016}.log"))
}

pub(super) fn spare_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016}.spare"))
}

pub(super) fn remove(path: &Path) -> Result<(), StorageError> {
    fs::remove_file(path).map_err(StorageError::io("remove", path))
}

/// Makes segment `header.number` of `bytes` bytes, out of `spare` if there is one, ready for its first record.
pub(super) fn create(
    dir: &Path,
    header: &Header,
    bytes: u64,
    spare: Option<PathBuf>,
) -> Result<File, StorageError> {
    let path = segment_path(dir, header.number);
    let draft = spare.unwrap_or_else(|| path.with_extension("tmp"));
    let file = write_draft(&draft, header, bytes).map_err(StorageError::io("create", &path))?;
    fs::rename(&draft, &path).map_err(StorageError::io("create", &path))?;
    sync_dir(dir)?;
    Ok(file)
}

/// The returned file stands behind the header.
fn write_draft(draft: &Path, header: &Header, bytes: u64) -> io::Result<File> {
    let mut file = File::options().create(true).truncate(false).read(true).write(true).open(draft)?;
    preallocate(&file, bytes)?;
    io::Write::write_all(&mut file, &header.encode())?;
    file.sync_all()?;
    Ok(file)
}

/// Gives the file its final size, so that a sync later has no size to write.
fn preallocate(file: &File, bytes: u64) -> io::Result<()> {
    if file.metadata()?.len() > bytes {
        file.set_len(bytes)?;
    }
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        // Some file systems cannot; a sparse file is as correct, if slower.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => file.set_len(bytes),
        done => Ok(done?),
    }
}
