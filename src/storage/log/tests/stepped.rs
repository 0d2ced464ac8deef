//! The stepped log and its disk: what is lost, what stays, what a fault ends.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::*;
use crate::storage::log::stepped::{SimulatedDisk, Steps};

struct Stepped {
    handle: LogHandle,
    steps: Steps,
    synced: Arc<Mutex<Vec<Synced>>>,
}

fn start(dir: &Path, disk: &SimulatedDisk) -> (Vec<Owned>, Stepped) {
    let (found, writer) = recover(dir, &options(2048), false).unwrap();
    let synced = Arc::new(Mutex::new(Vec::new()));
    let told = synced.clone();
    let on_synced = Box::new(move |group: &[Synced]| told.lock().unwrap().extend_from_slice(group));
    let (handle, steps) = writer.stepwise(on_synced, disk);
    (found, Stepped { handle, steps, synced })
}

const A: u16 = READABLE_SHARDS.start;

fn group(from: u64, count: u64) -> Vec<Append> {
    (from..from + count).map(|index| record(A, index)).collect()
}

#[test]
fn a_step_writes_and_another_syncs_and_reports() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), SimulatedDisk::default());
    let (_, mut log) = start(dir.path(), &disk);
    assert!(!log.steps.write().unwrap() && !log.steps.sync().unwrap() && !log.steps.has_work());
    for from in [1, 4] {
        log.handle.append(group(from, 3));
        assert!(log.steps.has_work() && log.steps.write().unwrap() && log.steps.awaits_sync());
    }
    assert!(log.handle.read(A, 1..=1, 0).is_err());
    assert!(log.synced.lock().unwrap().is_empty() && disk.unsynced_bytes() > 0);
    assert!(log.steps.sync().unwrap() && !log.steps.awaits_sync() && disk.unsynced_bytes() == 0);
    assert_eq!(*log.synced.lock().unwrap(), [Synced { shard: A, index: 6 }]);
    assert_eq!(log.handle.read(A, 1..=6, usize::MAX).unwrap().len(), 6);
    log.handle.append(group(7, 1));
    log.steps.stop().unwrap();
    assert_eq!(log.synced.lock().unwrap().len(), 2);
    assert_eq!(entries_of(dir.path(), &options(2048)).len(), 7);
}

#[test]
fn a_failed_sync_or_write_ends_the_log_and_reports_nothing() {
    for faults in [1, 2] {
        let (dir, disk) = (tempfile::tempdir().unwrap(), SimulatedDisk::default());
        let (_, mut log) = start(dir.path(), &disk);
        log.handle.append(group(1, 1));
        if faults == 1 {
            disk.fail_sync();
            assert!(log.steps.write().unwrap() && log.steps.sync().is_err());
        } else {
            disk.fail_write_after(50);
            assert!(log.steps.write().is_err());
        }
        log.handle.append(group(2, 1));
        assert!(!log.steps.has_work() && !log.steps.write().unwrap() && !log.steps.sync().unwrap());
        assert!(log.synced.lock().unwrap().is_empty());
    }
}

#[test]
fn a_disk_that_lies_loses_what_was_reported() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), SimulatedDisk::default());
    let (_, mut log) = start(dir.path(), &disk);
    disk.lie();
    log.handle.append(group(1, 3));
    assert!(log.steps.write().unwrap() && log.steps.sync().unwrap());
    drop(log);
    disk.crash(&mut || false);
    assert_eq!(start(dir.path(), &disk).0, []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn crashes_lose_nothing_synced_and_keep_a_prefix(
        rounds in prop::collection::vec((prop::collection::vec((1u64..6, any::<bool>()), 0..8), any::<u64>()), 1..6),
    ) {
        let (dir, disk) = (tempfile::tempdir().unwrap(), SimulatedDisk::default());
        let (mut safe, mut next) = (0, 1);
        for (groups, seed) in rounds {
            let (found, mut log) = start(dir.path(), &disk);
            prop_assert!(found.len() as u64 >= safe, "{} found, {safe} are safe", found.len());
            next = found.len() as u64 + 1;
            prop_assert_eq!(found, (1..next).map(|index| owned(&record(A, index))).collect::<Vec<_>>());
            for (count, sync) in groups {
                log.handle.append(group(next, count));
                next += count;
                log.steps.write().unwrap();
                if sync {
                    log.steps.sync().unwrap();
                }
            }
            safe = log.synced.lock().unwrap().last().map_or(safe, |synced| synced.index);
            drop(log);
            let mut state = seed | 1;
            disk.crash(&mut || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                seed % 3 == 0 || (seed % 3 == 1 && state >> 63 == 1)
            });
        }
        prop_assert!(next > 0);
    }
}
