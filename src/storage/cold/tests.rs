//! Batches, deletions, restarts with and without a flush, blobs byte for byte.

use std::{fs, process::Command, sync::Arc, thread, time::Duration};

use super::*;

fn open(dir: &Path) -> ColdStore {
    ColdStore::open(dir, &ColdOptions::default()).unwrap()
}

/// Bytes that do not compress, different for each `seed`.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2) + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

fn chunks(store: &ColdStore, queue: u64) -> Vec<(u64, Vec<u8>)> {
    store
        .chunks(queue)
        .map(|chunk| chunk.map(|(seq, descriptor)| (seq, descriptor.into_vec())).unwrap())
        .collect()
}

fn metas(store: &ColdStore) -> Vec<(Vec<u8>, Vec<u8>)> {
    store.metas().map(|row| row.map(|(key, value)| (key.into_vec(), value.into_vec())).unwrap()).collect()
}

fn queues(store: &ColdStore) -> Vec<u64> {
    store.queues().map(|row| row.unwrap().0).collect()
}

#[test]
fn reads_what_batches_wrote_also_after_a_flush_and_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut batch = ColdBatch::new();
    batch.put_meta(b"b", b"2");
    batch.put_meta(b"a", b"1");
    batch.put_meta(b"c", b"3");
    batch.delete_meta(b"c");
    for queue in [300, 2, u64::MAX] {
        batch.put_queue(queue, b"row");
        for seq in [0, 256, 255, u64::MAX] {
            batch.put_chunk(queue, seq, &seq.to_be_bytes(), &noise(seq, 10));
        }
    }
    batch.put_descriptor(2, 255, b"new");
    batch.put_applied(0, 7);
    batch.put_applied(u16::MAX, 9);
    assert!(!batch.is_empty());
    store.write(batch).unwrap();
    let check = |store: &ColdStore| {
        let pair = |key: &[u8], value: &[u8]| (key.to_vec(), value.to_vec());
        assert_eq!(metas(store), [pair(b"a", b"1"), pair(b"b", b"2")]);
        assert_eq!(queues(store), [2, 300, u64::MAX]);
        let found = chunks(store, 2);
        assert_eq!(found.iter().map(|chunk| chunk.0).collect::<Vec<_>>(), [0, 255, 256, u64::MAX]);
        assert_eq!(found[1].1, b"new");
        assert_eq!(store.chunks_from(2, 255).next().unwrap().unwrap().0, 255);
        assert_eq!(store.get_chunk(2, 255).unwrap().unwrap(), noise(255, 10));
        assert_eq!(store.get_chunk(2, 1).unwrap(), None);
        assert_eq!(store.applied().unwrap(), [(0, 7), (u16::MAX, 9)]);
    };
    check(&store);
    store.flush().unwrap();
    check(&store);
    drop(store);
    check(&open(dir.path()));
}

#[test]
fn deletes_chunks_and_whole_queues_and_nothing_beside_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut batch = ColdBatch::new();
    for queue in 1..=3 {
        batch.put_queue(queue, b"");
        for seq in 0..10 {
            batch.put_chunk(queue, seq * 100, b"d", b"data");
            batch.put_due(queue, seq, seq);
        }
    }
    store.write(batch).unwrap();
    store.flush().unwrap();
    let mut batch = ColdBatch::new();
    batch.delete_queue_all(2);
    batch.delete_chunk(1, 900);
    batch.delete_chunks(1, 0..300);
    batch.delete_chunks(1, 700..700);
    store.write(batch).unwrap();
    let check = |store: &ColdStore| {
        assert_eq!(queues(store), [1, 3]);
        let left: Vec<_> = chunks(store, 1).iter().map(|chunk| chunk.0).collect();
        assert_eq!(left, [300, 400, 500, 600, 700, 800]);
        assert_eq!(store.get_chunk(1, 200).unwrap(), None);
        assert_eq!(store.get_chunk(1, 300).unwrap().unwrap(), b"data".as_slice());
        assert_eq!((chunks(store, 2).len(), store.first_due(2).unwrap()), (0, None));
        assert_eq!(store.get_chunk(2, 0).unwrap(), None);
        assert_eq!((chunks(store, 3).len(), store.first_due(3).unwrap()), (10, Some(0)));
    };
    check(&store);
    store.flush().unwrap();
    store.compact_deleted().unwrap();
    check(&store);
}

#[test]
fn a_queue_deleted_and_written_again_in_one_batch_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut batch = ColdBatch::new();
    batch.put_chunk(1, 1, b"old", b"old");
    batch.delete_queue_all(1);
    batch.put_chunk(1, 2, b"new", b"new");
    store.write(batch).unwrap();
    assert_eq!(chunks(&store, 1), [(2, b"new".to_vec())]);
}

#[test]
fn a_batch_behind_another_keeps_the_order_of_both() {
    let large = |byte: u8| bytes::Bytes::from(vec![byte; 4 << 20]);
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut first = ColdBatch::new();
    first.put_chunk(1, 1, b"first", b"1");
    first.put_records(1, 2, b"first", Vec::new(), large(1));
    first.put_records(1, 3, b"first", Vec::new(), large(1));
    let mut second = ColdBatch::new();
    second.put_chunk(2, 1, b"second", b"2");
    second.delete_queue_all(1);
    second.put_records(1, 3, b"second", Vec::new(), large(2));
    second.put_group(7, "state", b"second");
    first.append(second);
    store.write(first).unwrap();
    assert_eq!(chunks(&store, 1), [(3, b"second".to_vec())]);
    assert_eq!(chunks(&store, 2), [(1, b"second".to_vec())]);
    assert_eq!(store.get_chunk(1, 2).unwrap(), None);
    assert_eq!(store.get_chunk(1, 3).unwrap().unwrap(), large(2));
    assert_eq!(store.get_group(7, "state").unwrap().unwrap().as_ref(), b"second");
}

#[test]
fn rows_of_groups_are_found_by_group_and_by_name() {
    let dir = tempfile::tempdir().unwrap();
    for store in [open(dir.path()), ColdStore::in_memory(Arc::default(), &dir.path().join("m")).unwrap()] {
        let mut batch = ColdBatch::new();
        batch.put_applied(1, 1);
        for group in [0, 1, 255, 256, u16::MAX] {
            batch.put_group(group, "state", &group.to_le_bytes());
        }
        batch.put_group(1, "restoring", b"yes");
        batch.put_group(2, "restoring", b"yes");
        batch.delete_group(2, "restoring");
        batch.put_queue(9, b"row");
        store.write(batch).unwrap();
        let all = |name| store.groups(name).map(Result::unwrap).collect::<Vec<_>>();
        let expected = [0, 1, 255, 256, u16::MAX].map(|group: u16| (group, group.to_le_bytes().into()));
        assert_eq!(all("state"), expected);
        assert_eq!(all("restoring"), [(1, b"yes".as_slice().into())]);
        assert_eq!(all("rest"), []);
        assert_eq!(store.get_group(2, "restoring").unwrap(), None);
        assert_eq!(store.get_group(256, "state").unwrap().unwrap().as_ref(), 256u16.to_le_bytes());
        assert_eq!(store.applied().unwrap(), [(1, 1)]);
        assert_eq!(store.queue_row(9).unwrap().unwrap().as_ref(), b"row");
        assert_eq!(store.queue_row(8).unwrap(), None);
    }
}

#[test]
fn due_times_come_in_order_and_within_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut batch = ColdBatch::new();
    for (due_ms, seq) in [(300, 1), (100, 9), (100, 2), (u64::MAX, 3), (0, 4)] {
        batch.put_due(5, due_ms, seq);
    }
    batch.put_due(6, 50, 1);
    store.write(batch).unwrap();
    assert_eq!(store.due(5, 0, u64::MAX, 10).unwrap(), [(0, 4), (100, 2), (100, 9), (300, 1)]);
    assert_eq!(store.due(5, 100, 300, 10).unwrap(), [(100, 2), (100, 9)]);
    assert_eq!(store.due(5, 1, 1000, 2).unwrap(), [(100, 2), (100, 9)]);
    assert_eq!(store.due(5, 9, 9, 2).unwrap(), []);
    assert_eq!(store.due(5, 10, 9, 2).unwrap(), []);
    let mut batch = ColdBatch::new();
    batch.delete_due_before(5, 100);
    store.write(batch).unwrap();
    assert_eq!(store.first_due(5).unwrap(), Some(100));
    let mut batch = ColdBatch::new();
    batch.delete_due_before(5, u64::MAX);
    store.write(batch).unwrap();
    assert_eq!(store.first_due(5).unwrap(), Some(u64::MAX));
    assert_eq!((store.first_due(6).unwrap(), store.first_due(4).unwrap()), (Some(50), None));
}

#[test]
fn blobs_come_back_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let sizes = [0, 1, 4095, 4096, 4097, 65_536, 262_144, 3_000_000];
    let mut batch = ColdBatch::new();
    for (seq, size) in (0..).zip(sizes) {
        batch.put_chunk(1, seq, b"noise", &noise(seq, size));
        batch.put_chunk(2, seq, b"zeros", &vec![0; size]);
    }
    store.write(batch).unwrap();
    store.flush().unwrap();
    drop(store);
    let store = open(dir.path());
    assert!(blob_bytes(dir.path()) > 3_000_000);
    for (seq, size) in (0..).zip(sizes) {
        assert_eq!(store.get_chunk(1, seq).unwrap().unwrap(), noise(seq, size));
        assert_eq!(store.get_chunk(2, seq).unwrap().unwrap(), vec![0; size]);
    }
}

fn blob_bytes(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap());
    let blobs = files.filter(|file| file.file_name().to_string_lossy().ends_with(".blob"));
    blobs.map(|file| file.metadata().map_or(0, |data| data.len())).sum()
}

#[test]
fn blob_files_are_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for round in 0..8 {
        let mut batch = ColdBatch::new();
        (0..4).for_each(|seq| batch.put_chunk(round % 2, round * 4 + seq, b"", &noise(seq, 1 << 18)));
        store.write(batch).unwrap();
        store.flush().unwrap();
    }
    assert!(blob_bytes(dir.path()) > 8 << 20);
    let mut batch = ColdBatch::new();
    batch.delete_queue_all(0);
    batch.delete_chunks(1, 0..28);
    store.write(batch).unwrap();
    store.flush().unwrap();
    store.compact_deleted().unwrap();
    // RocksDB removes files in the background.
    let is_small = || blob_bytes(dir.path()) < 2 << 20;
    (0..500).take_while(|_| !is_small()).for_each(|_| thread::sleep(Duration::from_millis(10)));
    assert!(is_small(), "{} bytes", blob_bytes(dir.path()));
    assert_eq!(chunks(&store, 1).len(), 4);
    assert_eq!(store.get_chunk(1, 31).unwrap().unwrap(), noise(3, 1 << 18));
}

#[test]
fn an_unknown_format_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut batch = ColdBatch::new();
    batch.put_default(FORMAT_KEY, b"2");
    store.write(batch).unwrap();
    drop(store);
    let text = ColdStore::open(dir.path(), &ColdOptions::default()).unwrap_err().to_string();
    assert!(text.contains("'cold store format 2'") && text.contains("'cold store format 1'"), "{text}");
}

#[test]
fn several_threads_write_and_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    thread::scope(|scope| {
        for queue in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for seq in 0..100 {
                    let mut batch = ColdBatch::new();
                    batch.put_chunk(queue, seq, b"d", &noise(seq, 5000));
                    store.write(batch).unwrap();
                    assert_eq!(store.get_chunk(queue, seq).unwrap().unwrap(), noise(seq, 5000));
                }
            });
        }
    });
    assert!((0..4).all(|queue| chunks(&store, queue).len() == 100));
}

/// Names the folder the child process crashes in.
const CRASH_DIR: &str = "WARREN_TEST_COLD_CRASH_DIR";
const BATCHES: u64 = 400;
const FLUSHED: u64 = 50;

/// Runs in a process of its own: writes batches over all families, flushes one, and dies.
#[test]
fn crash_child() {
    let Some(dir) = std::env::var_os(CRASH_DIR) else { return };
    let options = ColdOptions { write_buffer_bytes: 1 << 20, ..ColdOptions::default() };
    let store = ColdStore::open(Path::new(&dir), &options).unwrap();
    for number in 1..=BATCHES {
        let mut batch = ColdBatch::new();
        batch.put_meta(&number.to_be_bytes(), b"row");
        batch.put_chunk(1, number, b"descriptor", &noise(number, 20_000));
        batch.put_due(1, number, number);
        batch.put_applied(3, number);
        store.write(batch).unwrap();
        if number == FLUSHED {
            store.flush().unwrap();
        }
    }
    std::process::abort();
}

#[test]
fn a_crash_leaves_a_prefix_of_whole_batches() {
    let dir = tempfile::tempdir().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["storage::cold::tests::crash_child", "--exact"])
        .env(CRASH_DIR, dir.path())
        .output()
        .unwrap();
    assert!(!child.status.success());
    let store = open(dir.path());
    let applied = store.applied().unwrap();
    let [(3, last)] = applied[..] else { panic!("{applied:?}") };
    assert!((FLUSHED..=BATCHES).contains(&last));
    let numbers: Vec<_> = (1..=last).collect();
    assert_eq!(chunks(&store, 1).iter().map(|chunk| chunk.0).collect::<Vec<_>>(), numbers);
    assert_eq!(metas(&store).len() as u64, last);
    let dues: Vec<_> = numbers.iter().map(|number| (*number, *number)).collect();
    assert_eq!(store.due(1, 0, u64::MAX, usize::MAX).unwrap(), dues);
    assert!(
        numbers.iter().all(|number| store.get_chunk(1, *number).unwrap().unwrap() == noise(*number, 20_000))
    );
    assert_eq!(store.get_chunk(1, last + 1).unwrap(), None);
}

#[test]
fn scattered_garbage_is_given_back_too() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let size = 1 << 18;
    for round in 0..11 {
        let mut batch = ColdBatch::new();
        (0..64).for_each(|seq| batch.put_chunk(1, round * 64 + seq, b"", &noise(round * 64 + seq, size)));
        store.write(batch).unwrap();
        store.flush().unwrap();
    }
    // One chunk in 16 stays: every file holds some.
    for seq in (0..11 * 64).filter(|seq| seq % 16 != 0) {
        let mut batch = ColdBatch::new();
        batch.delete_chunk(1, seq);
        store.write(batch).unwrap();
    }
    store.flush().unwrap();
    let is_small = || blob_bytes(dir.path()) < 140 << 20;
    for _ in 0..20 {
        store.compact_deleted().unwrap();
        (0..20).take_while(|_| !is_small()).for_each(|_| thread::sleep(Duration::from_millis(10)));
    }
    assert!(is_small(), "{} bytes", blob_bytes(dir.path()));
    for seq in (0..11 * 64).step_by(16) {
        assert_eq!(store.get_chunk(1, seq).unwrap().unwrap(), noise(seq, size));
    }
}
