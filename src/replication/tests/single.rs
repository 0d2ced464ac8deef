//! A group of one.

use std::sync::Arc;

use super::disk::Disk;
use crate::replication::{Group, GroupOptions, Refused, Role, Stored, Work};
use crate::storage::log::ReadableLog;

/// Works until nothing is left to do, syncing all; returns the data of what was committed.
fn settle(group: &mut Group, disk: &Disk, now_ms: u64) -> Vec<String> {
    let (mut work, mut committed) = (Work::default(), Vec::new());
    loop {
        work.clear();
        group.work(now_ms, &mut work);
        if work.is_empty() {
            return committed;
        }
        assert!(work.failure.is_none(), "{:?}", work.failure);
        disk.append(std::mem::take(&mut work.appends));
        disk.sync_to(disk.last());
        group.synced(disk.last());
        let data = work.committed.iter().filter(|entry| !entry.data.is_empty());
        committed.extend(data.map(|entry| String::from_utf8_lossy(&entry.data).into_owned()));
    }
}

fn alone(disk: &Arc<Disk>, stored: Stored) -> Group {
    Group::new(GroupOptions::new(3, 1, 7), stored, disk.clone(), 1000).unwrap()
}

#[test]
fn a_sole_voter_leads_at_once_and_commits_what_it_has_synced() {
    let disk = Arc::new(Disk::default());
    let mut group = alone(&disk, Stored::bootstrap(&[1]));
    let mut work = Work::default();
    group.work(1000, &mut work);
    assert_eq!(group.propose("early"), Err(Refused::NotLeader));
    disk.append(std::mem::take(&mut work.appends));
    assert_eq!(settle(&mut group, &disk, 1000), Vec::<String>::new());
    assert!(matches!(group.role(), Role::Follower), "its first entry is not synced");
    disk.sync_to(disk.last());
    group.synced(disk.last());
    settle(&mut group, &disk, 1000);
    assert!(group.is_leader());
    assert_eq!(group.lease_until_ms(1000), u64::MAX);

    let index = group.propose("one").unwrap();
    work.clear();
    group.work(1001, &mut work);
    assert!(work.committed.is_empty(), "nothing is committed that is not synced");
    disk.append(std::mem::take(&mut work.appends));
    disk.sync_to(disk.last());
    group.synced(disk.last());
    assert_eq!(settle(&mut group, &disk, 1001), ["one"]);
    assert_eq!(group.commit(), index);
}

#[test]
fn a_restart_hands_out_what_the_store_does_not_have() {
    let disk = Arc::new(Disk::default());
    let mut group = alone(&disk, Stored::bootstrap(&[1]));
    settle(&mut group, &disk, 1000);
    for number in 0..10 {
        group.propose(format!("number {number}")).unwrap();
        assert_eq!(settle(&mut group, &disk, 1000).len(), 1);
    }
    let applied = group.handed() - 3;
    drop(group);
    let stored = disk.recover(3, applied, false).unwrap();
    let mut group = alone(&disk, stored);
    assert_eq!(settle(&mut group, &disk, 5000), ["number 7", "number 8", "number 9"]);
    assert!(group.is_leader());
}

#[test]
fn a_checkpoint_lets_the_log_go() {
    let disk = Arc::new(Disk::default());
    let mut group = alone(&disk, Stored::bootstrap(&[1]));
    settle(&mut group, &disk, 1000);
    for number in 0..10 {
        group.propose(format!("number {number}")).unwrap();
        settle(&mut group, &disk, 1000);
    }
    let applied = group.handed() - 2;
    group.checkpointed(applied);
    assert!(group.needed_from() < 5, "the new beginning is not synced yet");
    settle(&mut group, &disk, 1000);
    disk.release(group.needed_from());
    drop(group);
    let stored = disk.recover(3, applied, false).unwrap();
    let mut group = alone(&disk, stored);
    assert_eq!(settle(&mut group, &disk, 1000), ["number 8", "number 9"]);
    assert_eq!(group.first_index(), applied + 1);
}
