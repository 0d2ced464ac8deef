//! Torn tails: whatever a crash leaves behind the synced records, recovery finds a prefix and goes on.

use proptest::prelude::*;

use super::*;
use crate::storage::log::{record::record_size, segment::HEADER_LEN};

const SEGMENT: u64 = 4096;

/// The image of a crash behind three groups, and where each of its records ends in the one segment.
fn crashed() -> (Image, Vec<Owned>, Vec<u64>) {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(recover(dir.path(), &options(SEGMENT), false).unwrap().1);
    let (mut all, mut ends, mut at) = (Vec::new(), Vec::new(), HEADER_LEN);
    for group in 0..3 {
        let records = records(group * 4 + 1, 4);
        at += if group == 0 { 0 } else { record_size(0) };
        for entry in records.iter().map(owned) {
            at += record_size(entry.3.len() as u64);
            ends.push(at);
            all.push(entry);
        }
        running.append(records);
    }
    assert_eq!(running.handle.live_bytes(), at);
    (Image::take(dir.path()), all, ends)
}

/// Recovers, appends, crashes and recovers again, twice; every time nothing but what must be there.
fn goes_on(dir: &Path, expected: &[Owned], context: &str) {
    let mut expected = expected.to_vec();
    for round in 0..3 {
        let (found, writer) = recover(dir, &options(SEGMENT), false).unwrap();
        assert_eq!(found, expected, "{context}, round {round}");
        let running = Running::start(writer);
        let more = records(100 + round, 1);
        expected.extend(more.iter().map(owned));
        running.append(more);
        let image = Image::take(dir);
        drop(running);
        image.restore(dir);
    }
}

/// For every offset of the log: what `tear` makes of the bytes from there on.
fn cut_everywhere(tear: impl Fn(&mut Vec<u8>, usize)) {
    let (image, all, ends) = crashed();
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("log");
    let written = *ends.last().unwrap();
    for cut in HEADER_LEN..=written + 16 {
        let mut image = image.clone();
        tear(image.last(), cut as usize);
        image.restore(&dir);
        let whole = ends.iter().filter(|end| **end <= cut).count();
        let found = entries_of(&dir, &options(SEGMENT));
        // A cut in padding alone may leave the record whole.
        assert!(found.len() == whole || found.len() == whole + 1, "cut at {cut}");
        assert_eq!(found, all[..found.len()], "cut at {cut}");
        if cut % 29 == 0 {
            image.restore(&dir);
            goes_on(&dir, &found, &format!("cut at {cut}"));
        }
    }
}

#[test]
fn cut_short_at_every_offset() {
    cut_everywhere(|segment, cut| segment.truncate(cut));
}

#[test]
fn zeros_from_every_offset() {
    cut_everywhere(|segment, cut| segment[cut..].fill(0));
}

#[test]
fn garbage_from_every_offset() {
    cut_everywhere(|segment, cut| {
        let mut state = cut as u64 + 1;
        for byte in &mut segment[cut..] {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (state >> 56) as u8;
        }
    });
}

#[test]
fn older_records_from_every_offset() {
    let (mut other, ..) = crashed();
    let other = other.last().clone();
    cut_everywhere(|segment, cut| segment[cut..].copy_from_slice(&other[cut..]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The last group's blocks reach the disk in any order: those before it are there, it is there in part.
    #[test]
    fn any_blocks_of_the_last_group_lost(lost in proptest::collection::vec(any::<bool>(), 64)) {
        let (mut image, all, ends) = crashed();
        let (synced, written) = (ends[7] as usize, ends[11] as usize);
        for (at, lost) in (synced..written).step_by(32).zip(lost.iter().cycle()) {
            if *lost {
                image.last()[at..written.min(at + 32)].fill(0);
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("log");
        image.restore(&dir);
        let found = entries_of(&dir, &options(SEGMENT));
        prop_assert!(found.len() >= 8);
        prop_assert_eq!(&found[..], &all[..found.len()]);
        goes_on(&dir, &found, "lost blocks");
    }
}

#[test]
fn an_unfinished_segment_without_a_name_is_removed() {
    let (image, all, _) = crashed();
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("log");
    image.restore(&dir);
    fs::write(dir.join("0000000000000002.tmp"), b"half a header").unwrap();
    goes_on(&dir, &all, "draft");
}

#[test]
fn restarts_do_not_pile_up_segments() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..10 {
        recover(dir.path(), &options(SEGMENT), false).unwrap();
    }
    let segments = Image::take(dir.path()).0;
    assert!(segments.iter().filter(|(name, _)| name.ends_with(".log")).count() == 1, "{}", segments.len());
}
