//! From the files of a log to its entries, and to a writer that continues behind them.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

use super::{
    Entry, LogOptions, LogWriter, READABLE_SHARDS,
    highest::Highest,
    readback::Place,
    scan::Scan,
    segment::{self, Files, HEADER_LEN, Header, segment_path, spare_path},
    table::{Closed, Table},
};
use crate::storage::{error::StorageError, lock::create_dir};

/// Segments that are fetched from the disk ahead of the one that is replayed.
const AHEAD: usize = 3;

type Replay<'r> = &'r mut dyn FnMut(Entry<'_>) -> Result<(), StorageError>;

/// See [`super::Log::recover`].
pub(super) fn recover(
    dir: &Path,
    options: &LogOptions,
    replay: Replay<'_>,
    salvage: bool,
) -> Result<LogWriter, StorageError> {
    create_dir(dir)?;
    let files = Files::list(dir)?;
    let table = Table::new(dir.to_path_buf(), options);
    let next = if files.segments.is_empty() {
        first_header(dir, &files)?
    } else {
        table.adopt_spares(&files)?;
        Recovery { dir, table: &table, replay, salvage, last: Highest::default() }.run(&files)?
    };
    let writer = LogWriter::begin(options, table, next)?;
    // Segments without records go at once, so that restarts do not pile them up.
    writer.release(&[]);
    Ok(writer)
}

/// The header of a new log. Spares of a lost one go: its salt is lost too, so they could be taken for records.
fn first_header(dir: &Path, files: &Files) -> Result<Header, StorageError> {
    for number in &files.spares {
        segment::remove(&spare_path(dir, *number))?;
    }
    let salt =
        getrandom::u32().map_err(io::Error::other).map_err(StorageError::io("draw a salt for", dir))?;
    Ok(Header { number: files.next_number(), salt, previous_end: 0 })
}

struct Recovery<'r> {
    dir: &'r Path,
    table: &'r Table,
    replay: Replay<'r>,
    salvage: bool,
    /// The highest index of each readable shard.
    last: Highest,
}

/// What reading one segment found.
struct Found {
    highest: Highest,
    /// Where its records end.
    end: u64,
    /// Up to where its marks say it was synced.
    vouched: u64,
}

impl Recovery<'_> {
    /// Replays all segments; returns the header of the one to continue with.
    fn run(mut self, files: &Files) -> Result<Header, StorageError> {
        self.check_gaps(&files.segments)?;
        let headers = self.headers(&files.segments)?;
        let Some(salt) = headers.iter().flatten().next().map(|header| header.salt) else {
            // Without the salt nothing can be told from garbage, and nothing must be cut off.
            let reason = "no segment has a readable header".to_owned();
            return Err(corrupt(&segment_path(self.dir, files.next_number() - 1), 0, reason));
        };
        let mut previous_end = 0;
        files.segments.iter().take(AHEAD).for_each(|number| self.announce(*number));
        for (position, number) in files.segments.iter().enumerate() {
            files.segments.get(position + AHEAD).into_iter().for_each(|number| self.announce(*number));
            let header = Header { number: *number, salt, previous_end: 0 };
            let next = headers.get(position + 1);
            let end = next.and_then(|next| next.as_ref().map(|next| next.previous_end));
            self.table.readable.begin(&header);
            let found = self.segment(&header, end, next.is_none())?;
            self.table.add_live(found.end);
            self.table.push_closed(Closed { number: *number, end: found.end, highest: found.highest });
            previous_end = found.end;
        }
        Ok(Header { number: files.next_number(), salt, previous_end })
    }

    /// A segment is read soon. Mostly written past the page cache, it has to come from the disk, which is faster when it has
    /// much to do at once.
    fn announce(&self, number: u64) {
        #[cfg(target_os = "linux")]
        if let Ok(file) = File::open(segment_path(self.dir, number)) {
            // Without it reading is slower, no more.
            let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::WillNeed);
        }
        #[cfg(not(target_os = "linux"))]
        let _ = number;
    }

    fn check_gaps(&self, numbers: &[u64]) -> Result<(), StorageError> {
        for pair in numbers.windows(2) {
            let expected = pair[0] + 1;
            if pair[1] != expected {
                self.tolerate(StorageError::MissingSegment { path: segment_path(self.dir, expected) })?;
            }
        }
        Ok(())
    }

    /// All headers; `None` for a damaged one that salvaging passes over.
    fn headers(&self, numbers: &[u64]) -> Result<Vec<Option<Header>>, StorageError> {
        let mut headers = Vec::with_capacity(numbers.len());
        for number in numbers {
            headers.push(match Header::read(&segment_path(self.dir, *number), *number) {
                Ok(header) => Some(header),
                Err(error @ StorageError::Corrupt { .. }) => {
                    self.tolerate(error)?;
                    None
                }
                Err(error) => return Err(error),
            });
        }
        Ok(headers)
    }

    /// Replays one segment, which ends at `end` if the one behind it says so.
    fn segment(&mut self, header: &Header, end: Option<u64>, is_last: bool) -> Result<Found, StorageError> {
        let path = segment_path(self.dir, header.number);
        let file = File::options().read(true).write(true).open(&path);
        let file = file.map_err(StorageError::io("open", &path))?;
        let size = file.metadata().map_err(StorageError::io("look at", &path))?.len();
        if let Some(end) = end.filter(|end| *end > size) {
            self.tolerate(corrupt(&path, size, format!("the file ends here, its records end at {end}")))?;
        }
        let limit = end.map_or(size, |end| end.min(size));
        let scan = Scan::new(&file, header.seed(), limit);
        let found = self.records(&path, header.number, scan, limit, end.is_some())?;
        if is_last {
            settle(&file, &found).map_err(StorageError::io("write", &path))?;
        }
        Ok(found)
    }

    fn records(
        &mut self,
        path: &Path,
        segment: u64,
        mut scan: Scan<'_>,
        limit: u64,
        is_closed: bool,
    ) -> Result<Found, StorageError> {
        let mut found = Found { highest: Highest::default(), end: HEADER_LEN, vouched: HEADER_LEN };
        // Up to where damage is damage; behind it, it is a tail nobody was told is safe.
        let mut claimed = is_closed.then_some(limit);
        while found.end < limit {
            if let Some((head, payload)) = scan.record(found.end).map_err(StorageError::io("read", path))? {
                let offset = found.end;
                found.end += head.size();
                if head.is_mark {
                    found.vouched = found.vouched.max(head.index);
                } else {
                    found.highest.raise(head.shard, head.index);
                    (self.replay)(head.entry(payload))?;
                    if READABLE_SHARDS.contains(&head.shard) {
                        self.readable(Place { segment, shard: head.shard, index: head.index, offset })?;
                    }
                }
                if head.is_last_mark() && !is_closed {
                    break;
                }
                continue;
            }
            let claimed = match claimed {
                Some(claimed) => claimed,
                None => {
                    *claimed.insert(scan.highest_claim(found.end).map_err(StorageError::io("read", path))?)
                }
            };
            if found.end >= claimed {
                break;
            }
            found.end = self.skip(path, &mut scan, found.end)?.min(claimed);
        }
        Ok(found)
    }

    fn readable(&mut self, place: Place) -> Result<(), StorageError> {
        let Place { shard, index, .. } = place;
        if let Some(last) = self.last.get(shard).filter(|last| *last >= index) {
            return self.tolerate(StorageError::NotRising { shard, index, last });
        }
        self.last.raise(shard, index);
        self.table.readable.add(&[place]);
        Ok(())
    }

    /// Where to go on behind the damage at `at`.
    fn skip(&self, path: &Path, scan: &mut Scan<'_>, at: u64) -> Result<u64, StorageError> {
        let reason = "a record that was synced does not match its checksum";
        self.tolerate(corrupt(path, at, reason.to_owned()))?;
        let next = scan.next_record(at).map_err(StorageError::io("read", path))?;
        tracing::warn!("'{}': skipped offsets {at} to {next}", path.display());
        Ok(next)
    }

    fn tolerate(&self, error: StorageError) -> Result<(), StorageError> {
        if !self.salvage {
            return Err(error);
        }
        tracing::warn!("salvage: {error}");
        Ok(())
    }
}

fn corrupt(path: &Path, offset: u64, reason: String) -> StorageError {
    StorageError::Corrupt { path: path.to_path_buf(), offset, reason }
}

/// Cuts the tail off the last segment and makes the rest durable.
///
/// What no mark vouches for is written once more: after a failed sync the page cache may hold, as clean, what
/// never reached the disk, and a sync alone would do nothing for it.
fn settle(file: &File, found: &Found) -> io::Result<()> {
    file.set_len(found.end)?;
    let mut buffer = vec![0; 1 << 16];
    let mut at = found.vouched;
    while at < found.end {
        let len = usize::try_from(found.end - at).map_or(buffer.len(), |left| left.min(buffer.len()));
        let part = &mut buffer[..len];
        file.read_exact_at(part, at)?;
        file.write_all_at(part, at)?;
        at += len as u64;
    }
    file.sync_all()
}
