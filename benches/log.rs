//! What the log needs to make records safe: from the append to the report, one append at a time.
//!
//! Each append pays for two changes of thread, which many appenders would share, as they would the sync. The log is
//! where temporary files go: `TMPDIR` chooses the disk.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail where it stands")]

use std::cell::Cell;
use std::sync::mpsc::{Receiver, channel};

use bytes::Bytes;
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use tempfile::TempDir;
use warren::storage::{Append, Log, LogHandle, LogOptions, SyncPolicy, Synced};

const SHARD: u16 = 0;
const RECORD_BYTES: usize = 1024;
const GROUPS: [u64; 3] = [1, 10, 100];

fn main() {
    divan::main();
}

#[divan::bench(args = GROUPS)]
fn append_and_sync(bencher: Bencher<'_, '_>, count: u64) {
    append(bencher, SyncPolicy::Always, count);
}

#[divan::bench(args = GROUPS)]
fn append_without_sync(bencher: Bencher<'_, '_>, count: u64) {
    append(bencher, SyncPolicy::Os, count);
}

fn append(bencher: Bencher<'_, '_>, sync: SyncPolicy, count: u64) {
    let log = Running::start(sync);
    let next = Cell::new(1);
    bencher
        .counter(ItemsCount::new(count))
        .counter(BytesCount::new(RECORD_BYTES as u64 * count))
        .with_inputs(|| {
            log.forget_below(next.get());
            records(next.replace(next.get() + count), count)
        })
        .bench_local_values(|group| log.append(group));
}

/// Records with these numbers, which share their bytes.
fn records(first: u64, count: u64) -> Vec<Append> {
    let body = Bytes::from_static(&[b'x'; RECORD_BYTES]);
    let record = |index| Append { shard: SHARD, index, kind: 1, head: Vec::new(), body: body.clone() };
    (first..first + count).map(record).collect()
}

/// A log in a folder of its own, and what it reports.
struct Running {
    handle: LogHandle,
    synced: Receiver<u64>,
    _dir: TempDir,
}

impl Running {
    fn start(sync: SyncPolicy) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = LogOptions { sync, ..LogOptions::default() };
        let writer = Log::recover(dir.path(), &options, &mut |_| Ok(()), false).unwrap();
        let (report, synced) = channel();
        let on_synced = Box::new(move |group: &[Synced]| {
            group.iter().for_each(|synced| report.send(synced.index).unwrap());
        });
        let handle = writer.start(on_synced, Box::new(|error| panic!("{error}")));
        Self { handle, synced, _dir: dir }
    }

    /// Appends a group and waits until it is safe.
    fn append(&self, group: Vec<Append>) {
        let last = group.last().map(|append| append.index);
        self.handle.append(group);
        while Some(self.synced.recv().unwrap()) != last {}
    }

    /// Lets segments be written anew instead of filling the disk.
    fn forget_below(&self, index: u64) {
        self.handle.release(&[Synced { shard: SHARD, index: index - 1 }]);
    }
}
