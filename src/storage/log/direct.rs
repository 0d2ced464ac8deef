//! Writing a segment past the page cache: each group leaves in whole blocks, straight from one aligned buffer.
//!
//! The page cache costs a second copy, pages that nobody reads again, and a walk over them at each sync.

use std::{
    fs::File,
    io::{self, ErrorKind, IoSlice},
    os::unix::fs::FileExt,
};

use super::medium::Medium;

/// What offsets, lengths and addresses are multiples of; disks with larger blocks are not known.
const BLOCK: usize = 4096;

/// What leaves with one write at most, in bytes.
const BUFFER: usize = 512 * 1024;

/// A segment file that is written directly.
///
/// Its last block is written again, longer, until it is full. Bytes that were written stay the same, so a torn write
/// leaves them as they were.
pub(super) struct Direct {
    file: File,
    memory: Vec<u8>,
    /// Where the aligned part of `memory` begins.
    start: usize,
    /// Where in the file the block at the front of the buffer belongs.
    block_at: u64,
    /// Bytes of that block that are in use.
    used: usize,
}

impl Direct {
    /// Continues `file` behind its first `at` bytes. Gives the file back if it cannot be written directly, or does not
    /// end with a block.
    pub(super) fn open(file: File, at: u64) -> io::Result<Result<Self, File>> {
        if file.metadata()?.len() % BLOCK as u64 != 0 {
            return Ok(Err(file));
        }
        let memory = vec![0; BUFFER + BLOCK];
        let start = memory.as_ptr().align_offset(BLOCK);
        let in_block = at % BLOCK as u64;
        let used = usize::try_from(in_block).unwrap_or(0);
        let mut direct = Self { file, memory, start, block_at: at - in_block, used };
        direct.file.read_exact_at(&mut direct.memory[start..start + used], direct.block_at)?;
        if !set_direct(&direct.file, true) {
            return Ok(Err(direct.file));
        }
        match direct.write_blocks(used) {
            Ok(()) => Ok(Ok(direct)),
            // The file system takes the flag and not the write: blocks of another size, perhaps.
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {
                set_direct(&direct.file, false);
                Ok(Err(direct.file))
            }
            Err(error) => Err(error),
        }
    }

    fn buffer(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + BUFFER]
    }

    /// Writes the buffer's first `len` bytes, filled up with zeros to whole blocks.
    fn write_blocks(&mut self, len: usize) -> io::Result<()> {
        let whole = len.next_multiple_of(BLOCK);
        self.buffer()[len..whole].fill(0);
        let start = self.start;
        self.file.write_all_at(&self.memory[start..start + whole], self.block_at)
    }
}

impl Medium for Direct {
    fn write(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let before = self.used;
        let mut end = before;
        for part in parts {
            let taken = part.len().min(BUFFER - end);
            self.buffer()[end..end + taken].copy_from_slice(&part[..taken]);
            end += taken;
        }
        self.write_blocks(end)?;
        let full = end - end % BLOCK;
        self.buffer().copy_within(full..end, 0);
        self.block_at += full as u64;
        self.used = end - full;
        Ok(end - before)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Turns direct writing on or off; false where the file system does not have it.
#[cfg(target_os = "linux")]
fn set_direct(file: &File, on: bool) -> bool {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    fcntl_getfl(file)
        .and_then(|mut flags| {
            flags.set(OFlags::DIRECT, on);
            fcntl_setfl(file, flags)
        })
        .is_ok()
}

#[cfg(not(target_os = "linux"))]
fn set_direct(_: &File, _: bool) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::log::medium::write_all;
    use proptest::prelude::*;
    use std::io::Write;

    fn file(begin: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(begin).unwrap();
        file.set_len(4 << 20).unwrap();
        file
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn what_is_written_directly_is_what_is_in_the_file(
            begin in prop::collection::vec(any::<u8>(), 0..9000),
            writes in prop::collection::vec(prop::collection::vec((any::<u8>(), 0usize..300_000), 1..5), 1..4),
        ) {
            let original = file(&begin);
            let reader = original.try_clone().unwrap();
            // A file system without direct writing has nothing to test.
            if let Ok(mut direct) = Direct::open(original, begin.len() as u64).unwrap() {
                let mut expected = begin;
                for parts in &writes {
                    let parts: Vec<_> = parts.iter().map(|(byte, len)| vec![*byte; *len]).collect();
                    let mut slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
                    write_all(&mut direct, &mut slices).unwrap();
                    expected.extend(parts.concat());
                }
                direct.sync().unwrap();
                let mut found = vec![0; expected.len()];
                set_direct(&reader, false);
                reader.read_exact_at(&mut found, 0).unwrap();
                prop_assert!(found == expected, "the file differs");
            }
        }
    }
}
