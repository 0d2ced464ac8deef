//! Groups, order, sync policies, stopping.

use std::{sync::Mutex, thread, time::Duration};

use super::*;

#[test]
fn many_threads_keep_their_order_and_all_is_synced() {
    const THREADS: u16 = 8;
    const CALLS: u64 = 400;
    let dir = tempfile::tempdir().unwrap();
    let options = options(1 << 16);
    let running = Running::start(recover(dir.path(), &options, false).unwrap().1);
    thread::scope(|scope| {
        for shard in 0..THREADS {
            let handle = running.handle.clone();
            scope.spawn(move || {
                for call in 0..CALLS {
                    handle.append(vec![record(shard, call * 2 + 1), record(shard, call * 2 + 2)]);
                }
            });
        }
    });
    running.handle.stop();
    let mut synced = vec![0; usize::from(THREADS)];
    for at in running.synced.try_iter().flatten() {
        assert!(synced[usize::from(at.shard)] < at.index);
        synced[usize::from(at.shard)] = at.index;
    }
    assert!(synced.iter().all(|index| *index == CALLS * 2));
    let found = entries_of(dir.path(), &options);
    for shard in 0..THREADS {
        let of_shard: Vec<_> = found.iter().filter(|entry| entry.0 == shard).cloned().collect();
        let expected: Vec<_> = (1..=CALLS * 2).map(|index| owned(&record(shard, index))).collect();
        assert_eq!(of_shard, expected);
    }
}

#[test]
fn the_other_policies_write_and_sync_too() {
    for sync in [SyncPolicy::Os, SyncPolicy::Interval { ms: 5 }] {
        let dir = tempfile::tempdir().unwrap();
        let options = LogOptions { segment_bytes: 2048, sync, spare_segments: 0 };
        let running = Running::start(recover(dir.path(), &options, false).unwrap().1);
        for index in 1..=50 {
            running.append(records(index, 1));
        }
        thread::sleep(Duration::from_millis(20));
        running.append(records(51, 1));
        let image = Image::take(dir.path());
        drop(running);
        let expected: Vec<_> = records(1, 51).iter().map(owned).collect();
        assert_eq!(entries_of(dir.path(), &options), expected);
        image.restore(dir.path());
        assert_eq!(entries_of(dir.path(), &options), expected);
    }
}

#[test]
fn a_stopped_log_drops_appends_and_stops_twice() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(recover(dir.path(), &options(4096), false).unwrap().1);
    running.handle.append(records(1, 2));
    running.handle.stop();
    running.handle.append(records(3, 1));
    running.handle.stop();
    assert_eq!(running.synced.try_iter().flatten().last(), Some(Synced { shard: 1, index: 2 }));
    assert_eq!(entries_of(dir.path(), &options(4096)).len(), 2);
}

#[test]
fn stopping_from_the_writers_own_callback_does_not_hang() {
    let dir = tempfile::tempdir().unwrap();
    let writer = recover(dir.path(), &options(4096), false).unwrap().1;
    let (report, synced) = channel();
    let shared: &'static Mutex<Option<LogHandle>> = Box::leak(Box::default());
    let on_synced = Box::new(move |_: &[Synced]| {
        let handle = shared.lock().unwrap().take();
        handle.inspect(LogHandle::stop);
        report.send(()).unwrap();
    });
    let handle = writer.start(on_synced, Box::new(|error| panic!("{error}")));
    *shared.lock().unwrap() = Some(handle.clone());
    handle.append(records(1, 1));
    synced.recv().unwrap();
    handle.stop();
}

#[test]
fn an_error_of_the_replay_is_passed_on() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(recover(dir.path(), &options(4096), false).unwrap().1);
    running.append(records(1, 2));
    drop(running);
    let mut replay = |entry: Entry<'_>| Err(StorageError::entry(entry.shard, entry.index, "no such kind"));
    let error = Log::recover(dir.path(), &options(4096), &mut replay, false).unwrap_err();
    assert_eq!(error.to_string(), "log entry 1 of shard 1 cannot be replayed: no such kind");
}
