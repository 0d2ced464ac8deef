//! The two operations a confirm rests on, apart so that tests can make them fail.

use std::{
    fs::File,
    io::{self, ErrorKind, IoSlice, Write},
};

use super::{SyncPolicy, direct::Direct};

/// A segment file as the writer sees it: written front to back.
pub(super) trait Medium: Send {
    /// Writes some of `parts` behind what was written before; as `Write::write_vectored`.
    fn write(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize>;
    /// Returns when all that was written is durable.
    fn sync(&mut self) -> io::Result<()>;
}

impl Medium for File {
    fn write(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_vectored(parts)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// How a segment's file becomes a medium; the file stands behind what is written, as many bytes as the number says.
pub(super) type Wrap = Box<dyn Fn(File, u64) -> io::Result<Box<dyn Medium>> + Send>;

/// Past the page cache where each group is synced at once and the file system can; through it otherwise.
pub(super) fn choose(sync: SyncPolicy) -> Wrap {
    Box::new(move |file, at| {
        if sync != SyncPolicy::Always {
            return Ok(Box::new(file));
        }
        Ok(match Direct::open(file, at)? {
            Ok(direct) => Box::new(direct),
            Err(file) => Box::new(file),
        })
    })
}

/// Writes all of `parts`.
pub(super) fn write_all(medium: &mut dyn Medium, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        match medium.write(parts) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut parts, written),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
