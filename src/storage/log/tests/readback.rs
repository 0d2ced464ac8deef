//! Reading back while the log runs: what was synced, whatever is written, released or recycled meanwhile.

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use proptest::prelude::*;

use super::*;

/// The first and the second shard that can be read.
const A: u16 = READABLE_SHARDS.start;
const B: u16 = A + 1;

fn of_shard(shard: u16, from: u64, count: u64) -> Vec<Append> {
    (from..from + count).map(|index| record(shard, index)).collect()
}

fn read(handle: &LogHandle, shard: u16, indexes: RangeInclusive<u64>) -> Vec<Owned> {
    let found = handle.read(shard, indexes, usize::MAX).unwrap();
    found.into_iter().map(|found| (shard, found.index, found.kind, found.payload.to_vec())).collect()
}

fn expected(shard: u16, indexes: RangeInclusive<u64>) -> Vec<Owned> {
    indexes.map(|index| owned(&record(shard, index))).collect()
}

fn refusal(handle: &LogHandle, shard: u16, indexes: RangeInclusive<u64>) -> String {
    handle.read(shard, indexes, usize::MAX).unwrap_err().to_string()
}

#[test]
fn what_was_synced_is_read_back_from_closed_segments_and_the_active_one() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(recover(dir.path(), &options(4096), false).unwrap().1);
    for round in 0..40 {
        running.append(of_shard(1, round * 5 + 1, 5));
        running.append([of_shard(A, round * 3 + 1, 3), of_shard(B, round + 1, 1)].concat());
        assert_eq!(read(&running.handle, A, 1..=round * 3 + 3), expected(A, 1..=round * 3 + 3));
        assert_eq!(read(&running.handle, B, round + 1..=round + 1), expected(B, round + 1..=round + 1));
    }
    assert!(Image::take(dir.path()).0.len() > 3);
    assert_eq!(refusal(&running.handle, A, 119..=121), "log record 121 of shard 16384 is not in the log");
    assert!(refusal(&running.handle, 1, 1..=1).contains("is not in the log"));
    assert_eq!(running.handle.read(A, RangeInclusive::new(5, 4), 1).unwrap(), []);
}

#[test]
fn as_many_as_fit_are_read_and_at_least_one() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(recover(dir.path(), &options(1 << 20), false).unwrap().1);
    let of = |index| Append { shard: A, index, body: vec![7; 1000].into(), ..Append::default() };
    running.append((1..=10).map(of).collect());
    let count = |bytes_max| running.handle.read(A, 2..=10, bytes_max).unwrap().len();
    assert_eq!([count(0), count(999), count(1999), count(2000), count(1 << 20)], [1, 1, 1, 2, 9]);
}

#[test]
fn what_is_not_synced_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let writer = recover(dir.path(), &options(4096), false).unwrap().1;
    let (report, synced) = channel();
    let (go_on, wait) = channel::<()>();
    let shared: std::sync::Arc<std::sync::Mutex<Option<LogHandle>>> = std::sync::Arc::default();
    let inner = shared.clone();
    let handle = writer.start(
        Box::new(move |group: &[Synced]| {
            // A second group waits while the first is reported.
            let handle = inner.lock().unwrap().take().unwrap();
            let second = handle.read(A, 2..=2, 1).is_err();
            report.send((group.to_vec(), handle.read(A, 1..=1, 1).is_ok(), second)).unwrap();
            wait.recv().unwrap();
        }),
        Box::new(|error| panic!("{error}")),
    );
    *shared.lock().unwrap() = Some(handle.clone());
    handle.append(of_shard(A, 1, 1));
    let first = synced.recv().unwrap();
    assert_eq!(first, (vec![Synced { shard: A, index: 1 }], true, true));
    handle.append(of_shard(A, 2, 1));
    assert!(handle.read(A, 2..=2, 1).is_err());
    *shared.lock().unwrap() = Some(handle.clone());
    go_on.send(()).unwrap();
    synced.recv().unwrap();
    go_on.send(()).unwrap();
    assert_eq!(read(&handle, A, 1..=2), expected(A, 1..=2));
}

#[test]
fn a_restart_knows_the_places_of_all_it_recovered() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(2048);
    let mut last = 0;
    for _ in 0..4 {
        let (found, writer) = recover(dir.path(), &options, false).unwrap();
        let running = Running::start(writer);
        assert_eq!(found.iter().filter(|entry| entry.0 == A).count() as u64, last);
        assert_eq!(read(&running.handle, A, 1..=last), expected(A, 1..=last));
        for _ in 0..10 {
            running.append([of_shard(A, last + 1, 2), vec![record(9, last + 1)]].concat());
            last += 2;
        }
        assert_eq!(read(&running.handle, A, 1..=last), expected(A, 1..=last));
        // Not the end of a clean stop.
        let image = Image::take(dir.path());
        drop(running);
        image.restore(dir.path());
    }
}

#[test]
fn what_is_released_is_not_read_and_the_rest_is() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(recover(dir.path(), &options(2048), false).unwrap().1);
    for index in 1..=100 {
        running.append(of_shard(A, index, 1));
    }
    running.handle.release(&[Synced { shard: A, index: 50 }]);
    assert_eq!(read(&running.handle, A, 51..=100), expected(A, 51..=100));
    assert!(refusal(&running.handle, A, 1..=60).contains("log record 1 of"));
}

#[test]
fn an_index_that_does_not_rise_ends_the_log() {
    for (index, last) in [(5, 5), (4, 5)] {
        let dir = tempfile::tempdir().unwrap();
        let running = Running::start(recover(dir.path(), &options(4096), false).unwrap().1);
        running.append(vec![record(A, 5)]);
        drop(running);
        let writer = recover(dir.path(), &options(4096), false).unwrap().1;
        let (report, failures) = channel();
        let handle =
            writer.start(Box::new(|_| {}), Box::new(move |error| report.send(error.to_string()).unwrap()));
        handle.append(vec![record(B, index), record(A, index)]);
        let text = format!("log record {index} of shard {A} comes after record {last}");
        assert_eq!(failures.recv().unwrap(), text);
        handle.stop();
        assert_eq!(entries_of(dir.path(), &options(4096)).len(), 1);
    }
}

#[test]
fn damage_in_a_segment_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(recover(dir.path(), &options(4096), false).unwrap().1);
    running.append(vec![Append { shard: A, index: 1, body: vec![7; 100].into(), ..Append::default() }]);
    let path = dir.path().join("0000000000000001.log");
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    fs::write(&path, bytes).unwrap();
    let text = refusal(&running.handle, A, 1..=1);
    assert!(text.contains("is damaged at offset 40: record 1 of shard 16384"), "{text}");
}

#[test]
fn readers_that_recycling_overtakes_find_nothing_and_never_something_else() {
    const LAST: u64 = 3000;
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(recover(dir.path(), &options(2048), false).unwrap().1);
    let (synced, handle) = (AtomicU64::new(0), running.handle.clone());
    let (mut read_back, mut lost) = (0u64, 0u64);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while synced.load(Ordering::Acquire) < LAST {
                let last = synced.load(Ordering::Acquire);
                let first = last.saturating_sub(40).max(1);
                match handle.read(A, first..=last, usize::MAX) {
                    Ok(found) => {
                        let owned = |found: ReadBack| (A, found.index, found.kind, found.payload.to_vec());
                        let found: Vec<_> = found.into_iter().map(owned).collect();
                        assert_eq!(found, expected(A, first..=last));
                        read_back += 1;
                    }
                    Err(StorageError::NotInLog { .. }) => lost += 1,
                    Err(error) => panic!("{error}"),
                }
            }
        });
        for index in 1..=LAST {
            running.append(of_shard(A, index, 1));
            synced.store(index, Ordering::Release);
            running.handle.release(&[Synced { shard: A, index: index.saturating_sub(20) }]);
        }
        reader.join().unwrap();
    });
    assert!(read_back > 0 && lost > 0, "{read_back} read, {lost} lost");
}

/// What happens to a log.
#[derive(Clone, Debug)]
enum Step {
    /// So many records of each of three shards, the first of which cannot be read; with gaps of so much.
    Append([u64; 3], u64),
    /// Of the second shard, all but so many.
    Release(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => ([0u64..6, 0u64..6, 0u64..6], prop_oneof![3 => Just(0u64), 1 => 1u64..9])
            .prop_map(|(counts, gap)| Step::Append(counts, gap)),
        2 => (0u64..40).prop_map(Step::Release),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn reads_like_a_map_of_what_was_appended(steps in prop::collection::vec(step(), 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        let options = options(2048);
        let mut running = Running::start(recover(dir.path(), &options, false).unwrap().1);
        let mut model: BTreeMap<(u16, u64), Owned> = BTreeMap::new();
        let mut next = [1u64; 3];
        let mut kept_from = 0;
        for step in steps {
            match step {
                Step::Append(counts, gap) => {
                    let mut group = Vec::new();
                    for (at, shard) in [1, A, B].into_iter().enumerate() {
                        group.extend(of_shard(shard, next[at] + gap, counts[at]));
                        next[at] += gap + counts[at];
                    }
                    model.extend(group.iter().map(|append| ((append.shard, append.index), owned(append))));
                    if !group.is_empty() {
                        running.append(group);
                    }
                }
                Step::Release(left) => {
                    kept_from = kept_from.max(next[1].saturating_sub(left));
                    let up_to = |at: usize| next[at].saturating_sub(1);
                    running.handle.release(&[
                        Synced { shard: 1, index: up_to(0) },
                        Synced { shard: A, index: kept_from.saturating_sub(1) },
                        Synced { shard: B, index: up_to(2) },
                    ]);
                }
                Step::Restart => {
                    drop(running);
                    running = Running::start(recover(dir.path(), &options, false).unwrap().1);
                }
            }
            for index in kept_from..next[1] {
                let found = running.handle.read(A, index..=index, 0);
                match model.get(&(A, index)) {
                    Some(expected) => {
                        let found = found.unwrap().remove(0);
                        prop_assert_eq!(&(A, found.index, found.kind, found.payload.to_vec()), expected);
                    }
                    None => {
                        let is_missing = matches!(found, Err(StorageError::NotInLog { .. }));
                        prop_assert!(is_missing);
                    }
                }
            }
            prop_assert!(running.handle.read(1, 1..=1, 0).is_err());
        }
    }
}
