//! Copies of queues: the same there as here at one moment, whatever happens here meanwhile; nothing else gets in.

use std::{fs, process::Command, sync::Arc};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

const LARGE: usize = 4 << 20;

fn open(dir: &Path) -> ColdStore {
    ColdStore::open(dir, &ColdOptions::default()).unwrap()
}

/// Both kinds of store.
fn stores(dir: &Path) -> [ColdStore; 2] {
    [open(&dir.join("rocks")), ColdStore::in_memory(Arc::default(), &dir.join("memory")).unwrap()]
}

fn bytes(seed: u64, len: usize) -> Bytes {
    let mut state = seed.wrapping_mul(2) + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

/// A queue with chunks of these sizes, and a due time for each.
fn put_queue(store: &ColdStore, queue: u64, sizes: &[usize], seed: u64) {
    let mut batch = ColdBatch::new();
    batch.put_queue(queue, &seed.to_be_bytes());
    for (first, size) in (0..).step_by(100).zip(sizes) {
        let descriptor = [seed.to_be_bytes(), queue.to_be_bytes()].concat();
        batch.put_records(queue, first, &descriptor, b"front".to_vec(), bytes(seed + first, *size));
        batch.put_due(queue, seed + first, first);
    }
    store.write(batch).unwrap();
}

/// All that a store has of some queues.
type Dump = Vec<(u64, Option<Box<[u8]>>, Vec<(u64, Box<[u8]>, Bytes)>, Vec<(u64, u64)>)>;

fn dump(store: &ColdStore, queues: impl Iterator<Item = u64>) -> Dump {
    let of = |queue| {
        let chunks = store.chunks(queue).map(|chunk| {
            let (first, descriptor) = chunk.unwrap();
            (first, descriptor, store.get_chunk(queue, first).unwrap().unwrap())
        });
        (
            queue,
            store.queue_row(queue).unwrap(),
            chunks.collect(),
            store.due(queue, 0, u64::MAX, 1000).unwrap(),
        )
    };
    queues.map(of).collect()
}

fn of(queues: &[u64]) -> SnapshotOf {
    SnapshotOf { queues: queues.to_vec(), group: 3, names: vec!["state", "sessions"] }
}

fn pieces(mut snapshot: ColdSnapshot<'_>) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| snapshot.next_piece().unwrap()).collect()
}

fn restore(store: &ColdStore, pieces: &[Vec<u8>]) -> bool {
    let mut restore = Restore::default();
    pieces.iter().all(|piece| restore.write(store, piece).unwrap()) && restore.finish(store).unwrap()
}

fn large_files(dir: &Path) -> usize {
    fs::read_dir(dir.join("large")).unwrap().count()
}

/// Sizes around every border: empty, inline, a blob, a piece, several, and files.
const SIZES: [usize; 9] = [0, 10, 5000, 262_122, 262_144, 700_000, LARGE - 1, LARGE, LARGE + 300_001];

#[test]
fn a_copy_is_the_store_as_it_was_when_the_snapshot_was_taken() {
    let dir = tempfile::tempdir().unwrap();
    for store in &stores(dir.path()) {
        put_queue(store, 1, &SIZES, 7);
        put_queue(store, 2, &[LARGE, 20], 8);
        put_queue(store, 3, &SIZES[..4], 9);
        put_queue(store, u64::MAX, &[1], 10);
        put_queue(store, 5, &[LARGE, 20], 11);
        let mut batch = ColdBatch::new();
        batch.put_group(3, "state", b"of the snapshot");
        batch.put_group(3, "restoring", b"local");
        batch.put_group(4, "state", b"of another");
        batch.put_meta(b"meta", b"of the node");
        store.write(batch).unwrap();
        let wanted = [1, 2, 4, 5, u64::MAX];
        let expected = dump(store, wanted.into_iter());
        let mut snapshot = store.snapshot(of(&wanted)).unwrap();
        let mut pieces = vec![snapshot.next_piece().unwrap().unwrap()];
        // The store goes on.
        let mut batch = ColdBatch::new();
        batch.delete_queue_all(2);
        batch.delete_chunks(1, 500..u64::MAX);
        batch.put_group(3, "state", b"of later");
        store.write(batch).unwrap();
        put_queue(store, 5, &[LARGE + 5, 30], 12);
        put_queue(store, 4, &[30], 13);
        store.flush().unwrap();
        store.compact_deleted().unwrap();
        while let Some(piece) = snapshot.next_piece().unwrap() {
            pieces.push(piece);
        }
        assert_eq!(snapshot.next_piece().unwrap(), None);
        drop(snapshot);
        assert!(pieces.iter().all(|piece| piece.len() <= 2 * PIECE_BYTES));
        assert!(pieces.len() > 4 * LARGE / PIECE_BYTES);
        for copy in &stores(&tempfile::tempdir().unwrap().keep()) {
            assert!(restore(copy, &pieces));
            assert_eq!(dump(copy, wanted.into_iter()), expected);
            assert_eq!(copy.queues().count(), 4);
            assert_eq!(copy.metas().count(), 0);
            assert_eq!(copy.get_group(3, "state").unwrap().unwrap().as_ref(), b"of the snapshot");
            assert_eq!(copy.get_group(3, "restoring").unwrap(), None);
            assert_eq!(copy.groups("state").count(), 1);
            let copy_dir = copy.dir.clone();
            assert_eq!(large_files(&copy_dir), 4);
            fs::remove_dir_all(copy_dir).unwrap();
        }
        assert_eq!(large_files(&store.dir), 1);
    }
}

#[test]
fn a_restored_copy_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("a"));
    put_queue(&store, 1, &SIZES, 7);
    let copied = pieces(store.snapshot(of(&[1])).unwrap());
    let copy = open(&dir.path().join("b"));
    // What was there before is deleted first, as a member does it.
    put_queue(&copy, 1, &[LARGE, 9, LARGE], 100);
    let mut batch = ColdBatch::new();
    batch.delete_queue_all(1);
    copy.write(batch).unwrap();
    assert!(restore(&copy, &copied));
    drop(copy);
    let copy = open(&dir.path().join("b"));
    assert_eq!(dump(&copy, 1..2), dump(&store, 1..2));
    assert_eq!(pieces(copy.snapshot(of(&[1])).unwrap()), copied);
}

#[test]
fn a_snapshot_of_nothing_has_only_an_end() {
    let dir = tempfile::tempdir().unwrap();
    for store in &stores(dir.path()) {
        for nothing in [of(&[1, 2]), SnapshotOf::default()] {
            let copied = pieces(store.snapshot(nothing).unwrap());
            assert_eq!(copied.len(), 1);
            assert!(restore(store, &copied) && !restore(store, &[]));
        }
    }
}

#[test]
fn what_is_not_the_next_piece_is_refused_and_nothing_follows_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("a"));
    put_queue(&store, 1, &[10, 700_000, LARGE], 7);
    let copied = pieces(store.snapshot(of(&[1])).unwrap());
    let copy = open(&dir.path().join("b"));
    for skipped in 0..copied.len() {
        let mut left = copied.clone();
        left.remove(skipped);
        assert!(!restore(&copy, &left), "without piece {skipped}");
        assert!(!restore(&copy, &copied[..skipped]), "up to piece {skipped}");
        let doubled = [&copied[..=skipped], &copied[skipped..]].concat();
        assert!(!restore(&copy, &doubled), "piece {skipped} twice");
    }
    let mut damaged = copied.clone();
    damaged[3][5000] ^= 1;
    assert!(!restore(&copy, &damaged), "a damaged file");
    let mut cut = copied.clone();
    cut[0].pop();
    let mut restoring = Restore::default();
    assert!(!restoring.write(&copy, &cut[0]).unwrap() && !restoring.write(&copy, &copied[0]).unwrap());
    assert!(!restoring.finish(&copy).unwrap());
    // No draft is left of what was given up.
    assert_eq!(large_files(&dir.path().join("b")), 1);
}

/// A row as a peer would send it.
fn row(family: u8, key: &[u8], total: u64, at: u64, part: &[u8]) -> Vec<u8> {
    let mut row = vec![family, u8::try_from(key.len()).unwrap()];
    row.extend_from_slice(&total.to_le_bytes());
    row.extend_from_slice(&at.to_le_bytes());
    row.extend_from_slice(&u32::try_from(part.len()).unwrap().to_le_bytes());
    [row.as_slice(), key, part].concat()
}

#[test]
fn rows_that_belong_in_no_snapshot_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (default, meta, due) = (Family::Default as u8, Family::Meta as u8, Family::Due as u8);
    let (queues, data) = (Family::Queues as u8, Family::Data as u8);
    let refused = [
        row(default, FORMAT_KEY, 1, 0, b"9"),
        row(default, b"applied/\0\x01", 8, 0, &[0xff; 8]),
        row(meta, b"user", 1, 0, b"x"),
        row(due, &[0; 24], 1, 0, b"x"),
        row(queues, &[0; 9], 0, 0, b""),
        row(data, &[0; 8], 0, 0, b""),
        row(data, &[0; 16], 5, 0, b"more than five"),
        row(data, &[0; 16], 5, 3, b"part"),
        row(data, &[0; 16], 5, 1, b"part"),
        row(data, &[0; 16], u64::MAX, 0, b"part"),
        row(data, &[0; 16], u64::MAX, u64::MAX, b"part"),
        row(data, &[0; 16], 5, 0, b""),
        row(200, &[0; 16], 0, 0, b""),
        row(0xff, &[0; 8], 20, 0, &[0; 20]),
        row(0xff, &[0; 17], 20, 0, &[0; 20]),
        row(0xff, &[0; 16], 20, 0, &[0; 20]),
        row(0xff, &[0; 16], 4, 0, &[0; 4]),
        row(0xfe, b"", 8, 0, &[1; 8]),
        row(0xfe, b"k", 8, 0, &[0; 8]),
    ];
    for (number, piece) in refused.iter().enumerate() {
        assert!(!Restore::default().write(&store, piece).unwrap(), "row {number}");
    }
    assert_eq!((large_files(dir.path()), store.queues().count(), store.metas().count()), (0, 0, 0));
    assert_eq!(store.applied().unwrap(), []);
    drop(store);
    open(dir.path());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_of_a_peer_do_harm(
        garbage in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..4),
        flipped in any::<(usize, u8)>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let store = ColdStore::in_memory(Arc::default(), dir.path()).unwrap();
        restore(&store, &garbage);
        put_queue(&store, 1, &[10, 400], 7);
        let mut copied = pieces(store.snapshot(of(&[1])).unwrap());
        let at = flipped.0 % copied[0].len();
        copied[0][at] ^= flipped.1;
        restore(&store, &copied);
        prop_assert_eq!(store.metas().count(), 0);
        prop_assert!(store.applied().unwrap().is_empty());
    }
}

/// Names the folder the child process crashes in.
const CRASH_DIR: &str = "WARREN_TEST_RESTORE_CRASH_DIR";

/// Runs in a process of its own: dies with a snapshot half written, and another half read.
#[test]
fn restore_crash_child() {
    let Some(dir) = std::env::var_os(CRASH_DIR) else { return };
    let source = open(&Path::new(&dir).join("a"));
    let copy = open(&Path::new(&dir).join("b"));
    let mut batch = ColdBatch::new();
    batch.put_group(3, "restoring", b"yes");
    copy.write(batch).unwrap();
    copy.flush().unwrap();
    let mut snapshot = source.snapshot(of(&[1])).unwrap();
    let mut restore = Restore::default();
    for _ in 0..20 {
        let piece = snapshot.next_piece().unwrap().unwrap();
        assert!(restore.write(&copy, &piece).unwrap());
    }
    std::process::abort();
}

#[test]
fn a_crash_in_the_middle_is_noted_and_the_copy_can_be_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("a"));
    put_queue(&store, 1, &SIZES, 7);
    store.flush().unwrap();
    drop(store);
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["storage::cold::snapshot_tests::restore_crash_child", "--exact"])
        .env(CRASH_DIR, dir.path())
        .output()
        .unwrap();
    assert!(!child.status.success());
    let store = open(&dir.path().join("a"));
    let copy = open(&dir.path().join("b"));
    // Names that only keep, and drafts, are gone.
    assert_eq!((large_files(&dir.path().join("a")), large_files(&dir.path().join("b"))), (2, 0));
    assert_eq!(copy.get_group(3, "restoring").unwrap().unwrap().as_ref(), b"yes");
    assert!(restore(&copy, &pieces(store.snapshot(of(&[1])).unwrap())));
    assert_eq!(dump(&copy, 1..2), dump(&store, 1..2));
}
