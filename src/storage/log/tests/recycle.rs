//! Releasing segments, and reusing their files.

use super::*;

fn segments(dir: &Path, suffix: &str) -> usize {
    Image::take(dir).0.iter().filter(|(name, _)| name.ends_with(suffix)).count()
}

#[test]
fn released_segments_are_reused_and_the_old_content_never_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(2048);
    let running = Running::start(recover(dir.path(), &options, false).unwrap().1);
    let mut spares_seen = 0;
    for index in 1..=300 {
        running.append(records(index, 1));
        running.handle.release(&[Synced { shard: 1, index: index.saturating_sub(3) }]);
        assert!(running.handle.live_bytes() < 3 * 2048);
        spares_seen = spares_seen.max(segments(dir.path(), ".spare"));
        if index % 7 == 0 {
            let crash = tempfile::tempdir().unwrap();
            let crash = crash.path().join("log");
            Image::take(dir.path()).restore(&crash);
            let found = entries_of(&crash, &options);
            let expected: Vec<_> = records(found[0].1, index - found[0].1 + 1).iter().map(owned).collect();
            assert!(found[0].1 <= index.saturating_sub(2).max(1));
            assert_eq!(found, expected);
        }
    }
    assert!((1..=2).contains(&spares_seen));
}

#[test]
fn a_shard_never_named_keeps_its_segment() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(recover(dir.path(), &options(512), false).unwrap().1);
    running.append(vec![record(7, 1)]);
    for index in 1..=40 {
        running.append(records(index, 1));
    }
    let before = running.handle.live_bytes();
    running.handle.release(&[Synced { shard: 1, index: 40 }]);
    assert_eq!(running.handle.live_bytes(), before);
    // What was released before is remembered.
    running.handle.release(&[Synced { shard: 7, index: 1 }]);
    assert!(running.handle.live_bytes() < 1024);
    assert_eq!(segments(dir.path(), ".log"), 1);
}

#[test]
fn a_record_larger_than_a_segment_gets_one_of_its_own_size() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(1024);
    let running = Running::start(recover(dir.path(), &options, false).unwrap().1);
    let large = Append { shard: 1, index: 2, body: vec![7; 5000].into(), ..Append::default() };
    running.append(vec![record(1, 1), large.clone(), record(1, 3)]);
    running.handle.stop();
    let expected: Vec<_> = [record(1, 1), large, record(1, 3)].iter().map(owned).collect();
    assert_eq!(entries_of(dir.path(), &options), expected);

    let (_, writer) = recover(dir.path(), &options, false).unwrap();
    writer.release(&[Synced { shard: 1, index: 3 }]);
    assert_eq!(entries_of(dir.path(), &options), []);
    assert!(Image::take(dir.path()).0.iter().all(|(_, content)| content.len() <= 1024));
}

#[test]
fn spares_of_another_size_fit_after_a_change_of_options() {
    let dir = tempfile::tempdir().unwrap();
    for segment_bytes in [4096, 1024, 8192] {
        let options = options(segment_bytes);
        let (_, writer) = recover(dir.path(), &options, false).unwrap();
        let running = Running::start(writer);
        for index in 1..=100 {
            running.append(records(index, 1));
            running.handle.release(&[Synced { shard: 1, index }]);
        }
        running.handle.stop();
        running.handle.release(&[Synced { shard: 1, index: 100 }]);
    }
    assert!(entries_of(dir.path(), &options(1024)).len() < 100);
}

#[test]
fn spares_of_a_lost_log_are_not_used() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("0000000000000009.spare"), [1; 1024]).unwrap();
    recover(dir.path(), &options(1024), false).unwrap();
    assert_eq!(segments(dir.path(), ".spare"), 0);
    assert!(dir.path().join("0000000000000010.log").exists());
}
