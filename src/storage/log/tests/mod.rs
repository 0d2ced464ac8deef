//! Crash, damage, recycling and failure tests of the log.

mod crash;
mod damage;
mod failure;
mod model;
mod readback;
mod recycle;
mod stall;
mod stepped;
mod writing;

use std::{
    fs,
    path::Path,
    sync::mpsc::{Receiver, channel},
};

use bytes::Bytes;

use super::*;

/// A record read back, owned.
type Owned = (u16, u64, u8, Vec<u8>);

fn options(segment_bytes: u64) -> LogOptions {
    LogOptions { segment_bytes, ..LogOptions::default() }
}

/// A record whose content follows from its number; head and body are each sometimes short, long or empty.
fn record(shard: u16, index: u64) -> Append {
    let fill = |len: u64, salt: u64| -> Vec<u8> {
        let mix = |at: u64| (at + salt + index * 1009).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
        (0..len).map(|at| mix(at) as u8).collect()
    };
    let head = fill(index * 5 % 23, 1);
    let body = Bytes::from(fill(index * index * 31 % 307, 2));
    Append { shard, index, kind: (index % 251) as u8, head, body }
}

fn owned(append: &Append) -> Owned {
    let payload = [append.head.as_slice(), &append.body].concat();
    (append.shard, append.index, append.kind, payload)
}

/// `count` records of shard 1 from index `from` on.
fn records(from: u64, count: u64) -> Vec<Append> {
    (from..from + count).map(|index| record(1, index)).collect()
}

/// A running log that reports its groups here.
struct Running {
    handle: LogHandle,
    synced: Receiver<Vec<Synced>>,
}

impl Running {
    fn start(writer: LogWriter) -> Self {
        let (report, synced) = channel();
        let on_synced = Box::new(move |group: &[Synced]| report.send(group.to_vec()).unwrap());
        let handle = writer.start(on_synced, Box::new(|error| panic!("{error}")));
        Self { handle, synced }
    }

    /// Appends one group and waits for its sync.
    fn append(&self, group: Vec<Append>) {
        let last = group.last().map(|append| Synced { shard: append.shard, index: append.index }).unwrap();
        self.handle.append(group);
        while !self.synced.recv().unwrap().contains(&last) {}
    }
}

fn recover(dir: &Path, options: &LogOptions, salvage: bool) -> Result<(Vec<Owned>, LogWriter), StorageError> {
    let mut entries = Vec::new();
    let mut replay = |entry: Entry<'_>| {
        entries.push((entry.shard, entry.index, entry.kind, entry.payload.to_vec()));
        Ok(())
    };
    let writer = Log::recover(dir, options, &mut replay, salvage)?;
    Ok((entries, writer))
}

fn entries_of(dir: &Path, options: &LogOptions) -> Vec<Owned> {
    recover(dir, options, false).unwrap().0
}

/// The files of a log as they stand.
#[derive(Clone)]
struct Image(Vec<(String, Vec<u8>)>);

impl Image {
    fn take(dir: &Path) -> Self {
        let mut files: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|file| file.unwrap())
            .map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()))
            .collect();
        files.sort();
        Self(files)
    }

    fn restore(&self, dir: &Path) {
        let _ = fs::remove_dir_all(dir);
        fs::create_dir(dir).unwrap();
        for (name, content) in &self.0 {
            fs::write(dir.join(name), content).unwrap();
        }
    }

    /// The content of the last segment.
    fn last(&mut self) -> &mut Vec<u8> {
        let last = self.0.iter_mut().rfind(|(name, _)| name.ends_with(".log"));
        &mut last.unwrap().1
    }
}
