//! What must stay bounded, and what single rules promise.

use std::sync::Arc;

use bytes::Bytes;

use super::checker::Dice;
use super::cluster::{Cluster, Faults};
use super::disk::Disk;
use super::member::Bug;
use crate::replication::lease::{Lease, Mark, Promise};
use crate::replication::record::Membership;
use crate::replication::{Group, GroupOptions, Refused, Role, Stored, Unusable, Work};
use crate::storage::log::ReadableLog;

/// Three founders, the first of which leads.
fn three() -> Cluster {
    let mut cluster = Cluster::new(11, 3, &[1, 2, 3], Bug::None);
    for _ in 0..2000 {
        cluster.quiet = true;
        cluster.step(&Faults::NONE);
        let first = cluster.members[0].group.as_mut().unwrap();
        if first.is_leader() && first.lease_until_ms(0) != 0 {
            return cluster;
        }
        if first.leader() > 1 {
            let _ = cluster
                .members
                .iter_mut()
                .filter_map(|member| member.group.as_mut())
                .any(|group| group.transfer(1).is_ok());
        }
    }
    panic!("node 1 does not come to lead: {cluster:?}");
}

#[test]
fn an_absent_majority_does_not_grow_memory() {
    let mut cluster = three();
    cluster.crash(1);
    cluster.crash(2);
    let first = cluster.members[0].group.as_mut().unwrap();
    let taken = (0..100_000).take_while(|_| first.propose(Bytes::from(vec![7; 100])).is_ok()).count();
    assert_eq!(first.can_propose(), Err(Refused::Full));
    assert!((20..40).contains(&taken), "{taken} proposals of 100 bytes fit 3000 bytes");
}

#[test]
fn a_leader_without_its_majority_loses_its_lease_and_its_place() {
    let mut cluster = three();
    cluster.crash(1);
    cluster.crash(2);
    for _ in 0..100 {
        let now = cluster.now + 10.0;
        cluster.now = now;
        let clock = cluster.members[0].clock(now);
        let mut dice = Dice(1);
        cluster.members[0].round(now, &mut dice, 1, &mut cluster.checker);
        let first = cluster.members[0].group.as_ref().unwrap();
        if first.lease_until_ms(clock) == 0 && first.role() == Role::Follower {
            return;
        }
    }
    panic!("it still leads after a second");
}

#[test]
fn a_leader_that_hands_over_has_no_lease_from_then_on() {
    let mut cluster = three();
    let clock = cluster.members[0].clock(cluster.now);
    let first = cluster.members[0].group.as_mut().unwrap();
    assert!(first.lease_until_ms(clock) > clock);
    first.transfer(2).unwrap();
    assert_eq!(first.lease_until_ms(clock), 0);
    assert_eq!(first.can_propose(), Err(Refused::Transferring));
    for _ in 0..100 {
        cluster.step(&Faults::NONE);
    }
    assert!(cluster.members[1].group.as_ref().unwrap().is_leader());
}

#[test]
fn a_dead_leader_is_replaced_at_once() {
    let mut cluster = three();
    cluster.crash_dead(0);
    let begun = cluster.now;
    while !cluster.members.iter().skip(1).any(|member| member.group.as_ref().unwrap().is_leader()) {
        cluster.step(&Faults { crash: 0, ..Faults::NONE });
        assert!(cluster.now < begun + 250.0, "an election by timeout takes 400 ms at least");
    }
    assert_eq!(cluster.checker.problem, None);
}

#[test]
fn what_is_on_its_way_to_a_slow_member_is_bounded() {
    let mut cluster = three();
    cluster.crash(2);
    cluster.quiet = false;
    for _ in 0..200 {
        cluster.step(&Faults { checkpoint: 0, ..Faults::NONE });
    }
    let first = cluster.members[0].group.as_ref().unwrap();
    let progress = first.raw.raft.prs().get(3).unwrap();
    let bytes = first.raw.store().entries.bytes_between(progress.matched, progress.next_idx - 1);
    assert!(bytes <= 900 + 300 + 450, "{bytes} bytes are on their way to a node that is gone");
    assert!(first.memory_bytes() <= 700 + 3500, "{} bytes in memory", first.memory_bytes());
}

#[test]
fn what_comes_in_while_a_member_gets_a_copy_is_kept_for_it_up_to_a_limit() {
    let mut cluster = three();
    let begun = cluster.members[0].group.as_ref().unwrap().commit();
    let group = cluster.members[0].group.as_mut().unwrap();
    assert!(group.copies.begin(3, u64::MAX));
    group.snapshot_begun(3, begun);
    let mut kept = Vec::new();
    for _ in 0..60 {
        let group = cluster.members[0].group.as_mut().unwrap();
        let _ = group.propose(Bytes::from(vec![7; 100]));
        // As if the copy had made it lag.
        group.raw.raft.mut_prs().get_mut(3).unwrap().matched = begun;
        group.checkpointed(group.commit());
        let entries = &group.raw.store().entries;
        kept.push(entries.bytes_between(entries.base().0, group.commit()));
        cluster.step(&Faults { checkpoint: 0, ..Faults::NONE });
    }
    let most = kept.iter().copied().max().unwrap();
    assert!((1500..=4500).contains(&most), "{most} bytes are kept");
}

#[test]
fn a_group_of_one_grows_to_three_and_its_leader_can_be_taken_out() {
    let mut cluster = Cluster::new(5, 3, &[1], Bug::None);
    let mut reached = 0;
    for _ in 0..3000 {
        cluster.step(&Faults::NONE);
        let wanted: &[u16] = if reached == 0 { &[1, 2, 3] } else { &[2, 3] };
        reached += usize::from(cluster.set_members(wanted, &[]));
        if reached == 2 {
            break;
        }
    }
    for _ in 0..50 {
        cluster.step(&Faults::NONE);
    }
    assert_eq!((reached, &cluster.checker.problem), (2, &None));
    assert_eq!(cluster.members[1].group.as_ref().unwrap().members().voters, [2, 3]);
}

#[test]
fn bytes_that_are_no_message_are_refused() {
    let disk = Arc::new(Disk::default());
    let mut group = Group::new(GroupOptions::new(1, 1, 0), Stored::bootstrap(&[1, 2, 3]), disk, 0).unwrap();
    let mut dice = Dice(3);
    for length in 0..200 {
        let bytes: Vec<_> = (0..length).map(|_| dice.next() as u8).collect();
        assert_eq!(group.step(2, &Bytes::from(bytes), 1), Err(Unusable));
    }
}

#[test]
fn a_damaged_message_never_brings_a_member_down() {
    let disk = Arc::new(Disk::default());
    let mut leader =
        Group::new(GroupOptions::new(1, 1, 0), Stored::bootstrap(&[1]), disk.clone(), 0).unwrap();
    let mut work = Work::default();
    let mut messages = Vec::new();
    for now_ms in (0..3000).step_by(50) {
        work.clear();
        leader.tick(now_ms);
        let _ = leader.set_members(&leader.members().change_to(&[1], &[2]));
        let _ = leader.propose(vec![1; 50]);
        leader.work(now_ms, &mut work);
        disk.append(std::mem::take(&mut work.appends));
        disk.sync_to(disk.last());
        leader.synced(disk.last());
        messages.append(&mut work.messages);
    }
    assert!(messages.len() > 10);
    let mut dice = Dice(4);
    for (_, message) in &messages {
        for _ in 0..50 {
            let mut damaged = message.to_vec();
            let at = dice.below(damaged.len() as u64) as usize;
            damaged[at] ^= 1 << dice.below(8);
            let disk = Arc::new(Disk::default());
            let mut group = Group::new(GroupOptions::new(1, 2, 0), Stored::default(), disk, 0).unwrap();
            let _ = group.step(1, &Bytes::from(damaged), 1);
            group.work(1, &mut Work::default());
        }
    }
}

#[test]
fn a_lease_counts_from_what_a_majority_of_both_sets_has_answered() {
    let mut lease = Lease::default();
    lease.begin(4);
    let mut members = Membership::of_voters(&[1, 2, 3]).state;
    let mark = |sent_ms| Mark { term: 4, sent_ms };
    assert_eq!(lease.answered_by_majority_ms(1, &members, 900), None);
    lease.answered(2, mark(500));
    lease.answered(3, Mark { term: 3, sent_ms: 800 });
    assert_eq!(lease.answered_by_majority_ms(1, &members, 900), Some(500));
    lease.answered(3, mark(700));
    lease.answered(3, mark(600));
    assert_eq!(lease.answered_by_majority_ms(1, &members, 900), Some(700));
    members.voters_outgoing = vec![1, 4];
    assert_eq!(lease.answered_by_majority_ms(1, &members, 900), None);
    lease.answered(4, mark(100));
    assert_eq!(lease.answered_by_majority_ms(1, &members, 900), Some(100));
    assert_eq!(Mark::decode(&mark(77).encode()), Some(mark(77)));
}

#[test]
fn a_promise_binds_until_its_time_but_not_towards_the_leader_itself() {
    let mut promise = Promise::new(2, 1000);
    assert!(promise.allows(2, 10) && !promise.allows(3, 999) && promise.allows(3, 1000));
    promise.ends_with(3);
    assert!(!promise.allows(3, 10));
    promise.ends_with(2);
    assert!(promise.allows(3, 10));
    assert!(!Promise::new(0, 1000).allows(0, 10), "behind a restart nobody knows to whom it was given");
}

#[test]
fn a_member_that_comes_back_to_a_quiet_group_is_in_sync_again() {
    let mut cluster = three();
    for _ in 0..200 {
        cluster.step(&Faults::NONE);
    }
    cluster.crash(1);
    cluster.start(1);
    for _ in 0..300 {
        cluster.step(&Faults::NONE);
    }
    let first = cluster.members[0].group.as_ref().unwrap();
    let progress = first.member_progress();
    assert!(progress.iter().all(|member| member.lag_entries == 0), "{progress:?}");
    assert!(progress.iter().all(|member| member.is_in_sync), "{progress:?}");
}
