//! Damage to what was synced is told apart from a torn tail, named, and skipped only when asked to.

use super::*;
use crate::storage::log::record::{HEAD_LEN, record_size};

/// A cleanly stopped log of several small segments.
fn stopped(dir: &Path) -> Vec<Owned> {
    let (found, writer) = recover(dir, &options(1024), false).unwrap();
    assert_eq!(found, []);
    let running = Running::start(writer);
    let mut all = Vec::new();
    for group in 0..10 {
        let records = records(group * 3 + 1, 3);
        all.extend(records.iter().map(owned));
        running.append(records);
    }
    running.handle.stop();
    all
}

/// Where the payload of `entry` stands: file number and offset.
fn find(image: &Image, entry: &Owned) -> (usize, usize) {
    let mut hits = image.0.iter().enumerate().filter_map(|(file, (_, content))| {
        let at = content.windows(entry.3.len()).position(|window| window == entry.3)?;
        Some((file, at))
    });
    hits.next_back().unwrap()
}

#[test]
fn a_flipped_byte_is_reported_and_salvaged() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("log");
    let all = stopped(&dir);
    let image = Image::take(&dir);
    assert!(image.0.len() > 3);
    for (victim, entry) in all.iter().enumerate().filter(|(_, entry)| entry.3.len() > 30) {
        let (file, at) = find(&image, entry);
        for flipped in [at, at + entry.3.len() - 1, at - HEAD_LEN, at - 1] {
            let mut image = image.clone();
            image.0[file].1[flipped] ^= 0x10;
            image.restore(&dir);
            check_damage(&dir, &dir.join(&image.0[file].0), (at - HEAD_LEN) as u64);

            image.restore(&dir);
            let (salvaged, writer) = recover(&dir, &options(1024), true).unwrap();
            let mut expected = all.clone();
            expected.remove(victim);
            assert_eq!(salvaged, expected);
            Running::start(writer).append(records(1000, 1));
        }
    }
}

#[test]
fn no_flipped_byte_gives_other_entries() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("log");
    let all = stopped(&dir);
    let image = Image::take(&dir);
    let mut unseen = 0;
    for file in [1, image.0.len() - 1] {
        for flipped in 0..image.0[file].1.len() {
            let mut image = image.clone();
            image.0[file].1[flipped] ^= 0x80;
            image.restore(&dir);
            match recover(&dir, &options(1024), false) {
                Err(StorageError::Corrupt { .. }) => {}
                Err(other) => panic!("{other}"),
                Ok((found, _)) => {
                    assert_eq!(found, all);
                    unseen += 1;
                }
            }
        }
    }
    // Padding, and what lies behind the records.
    assert!(unseen < 1500, "{unseen}");
}

fn check_damage(dir: &Path, damaged: &Path, damaged_at: u64) {
    match recover(dir, &options(1024), false).unwrap_err() {
        StorageError::Corrupt { path, offset, .. } => {
            assert_eq!((path.as_path(), offset), (damaged, damaged_at));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn damage_before_the_last_group_of_a_crash_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("log");
    let running = Running::start(recover(&dir, &options(1 << 16), false).unwrap().1);
    running.append(records(1, 3));
    running.append(records(4, 3));
    let mut image = Image::take(&dir);
    let first = record_size(owned(&record(1, 1)).3.len() as u64);
    image.last()[40 + first as usize] ^= 1;
    image.restore(&dir);
    check_damage(&dir, &dir.join("0000000000000001.log"), 40 + first);
}

#[test]
fn a_missing_segment_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("log");
    stopped(&dir);
    let path = dir.join("0000000000000002.log");
    fs::remove_file(&path).unwrap();
    match recover(&dir, &options(1024), false).unwrap_err() {
        StorageError::MissingSegment { path: named } => assert_eq!(named, path),
        other => panic!("{other}"),
    }
    recover(&dir, &options(1024), true).unwrap();
}

#[test]
fn a_shortened_segment_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("log");
    stopped(&dir);
    let mut image = Image::take(&dir);
    image.0[0].1.truncate(500);
    image.restore(&dir);
    check_damage(&dir, &dir.join(&image.0[0].0), 500);
}

#[test]
fn a_damaged_header_is_damage_and_its_records_are_salvaged() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("log");
    let all = stopped(&dir);
    let image = Image::take(&dir);
    for file in 0..image.0.len() {
        for flipped in [0, 20, 26, 33] {
            let mut image = image.clone();
            image.0[file].1[flipped] ^= 1;
            image.restore(&dir);
            check_damage(&dir, &dir.join(&image.0[file].0), 0);
            image.restore(&dir);
            assert_eq!(recover(&dir, &options(1024), true).unwrap().0, all);
        }
    }
}

#[test]
fn with_no_header_left_nothing_is_salvaged_and_nothing_cut() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("log");
    let running = Running::start(recover(&dir, &options(1024), false).unwrap().1);
    running.append(records(1, 2));
    drop(running);
    let mut image = Image::take(&dir);
    image.last()[13] ^= 1;
    image.restore(&dir);
    assert!(matches!(recover(&dir, &options(1024), true), Err(StorageError::Corrupt { offset: 0, .. })));
    assert_eq!(Image::take(&dir).0, image.0);
}

#[test]
fn a_newer_version_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("log");
    stopped(&dir);
    let mut image = Image::take(&dir);
    let header = image.last();
    header[8] = 2;
    let crc = crc32c::crc32c(&header[..32]);
    header[32..36].copy_from_slice(&crc.to_le_bytes());
    image.restore(&dir);
    let text = recover(&dir, &options(1024), false).unwrap_err().to_string();
    assert!(text.contains("'log version 2'") && text.contains("'log version 1'"), "{text}");
}

#[test]
fn a_copy_of_a_record_inside_a_body_is_never_taken_for_one() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("log");
    let other = tempfile::tempdir().unwrap();
    // A log with another salt stands for what a client can know.
    let forged = {
        stopped(&other.path().join("log"));
        Image::take(&other.path().join("log")).0.remove(0).1
    };
    let running = Running::start(recover(&dir, &options(1 << 16), false).unwrap().1);
    running.append(vec![Append { shard: 1, index: 1, body: forged.into(), ..Append::default() }]);
    let mut image = Image::take(&dir);
    image.last()[40] ^= 1;
    image.restore(&dir);
    assert_eq!(entries_of(&dir, &options(1 << 16)), []);
}
