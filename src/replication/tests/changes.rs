//! Who belongs to a group, and that nobody is dropped who is not meant.

use super::cluster::{Cluster, Faults};
use super::member::Bug;
use crate::broker::ids::NodeId;
use crate::replication::{Group, MembersChange, Refused};

const QUIET: Faults = Faults { checkpoint: 0, ..Faults::NONE };

fn pass(cluster: &mut Cluster, steps: usize) {
    (0..steps).for_each(|_| cluster.step(&QUIET));
    assert_eq!(cluster.checker.problem, None);
}

/// Three voters of four nodes, and their leader.
fn three() -> (Cluster, NodeId) {
    let mut cluster = Cluster::new(11, 4, &[1, 2, 3], Bug::None);
    cluster.quiet = true;
    pass(&mut cluster, 400);
    let leader = (1..=4).find(|node| group(&mut cluster, *node).is_some_and(|group| group.is_leader()));
    (cluster, leader.unwrap())
}

fn group(cluster: &mut Cluster, node: NodeId) -> Option<&mut Group> {
    cluster.members[usize::from(node) - 1].group.as_mut()
}

fn voters(cluster: &mut Cluster, node: NodeId) -> Vec<NodeId> {
    group(cluster, node).unwrap().members().voters
}

fn ask(cluster: &mut Cluster, leader: NodeId, change: &MembersChange) -> Result<bool, Refused> {
    group(cluster, leader).unwrap().set_members(change)
}

#[test]
fn a_voter_that_a_plan_merely_lacks_is_not_dropped() {
    let (mut cluster, leader) = three();
    let from = group(&mut cluster, leader).unwrap().members().version;
    // As planned from the report of a leader that took itself for all of the group.
    for learners in [vec![], (1..=4).filter(|node| *node != leader).collect()] {
        let change = MembersChange { from, voters: vec![leader], learners, leaving: Vec::new() };
        assert_eq!(ask(&mut cluster, leader, &change), Err(Refused::NoSuch));
    }
    pass(&mut cluster, 100);
    assert_eq!(voters(&mut cluster, leader), [1, 2, 3]);
}

#[test]
fn a_change_that_was_planned_from_other_members_is_refused() {
    let (mut cluster, leader) = three();
    let stale = group(&mut cluster, leader).unwrap().members();
    let grown = stale.change_to(&[1, 2, 3, 4], &[]);
    assert_eq!(ask(&mut cluster, leader, &grown), Ok(false));
    assert_eq!(ask(&mut cluster, leader, &grown), Err(Refused::Outdated), "a change is under way");
    pass(&mut cluster, 400);
    assert_eq!(voters(&mut cluster, leader), [1, 2, 3, 4]);
    let other = if leader == 1 { 2 } else { 1 };
    let shrunk = stale.change_to(&[leader, other], &[]);
    assert_eq!(ask(&mut cluster, leader, &shrunk), Err(Refused::Outdated));
    pass(&mut cluster, 100);
    assert_eq!(voters(&mut cluster, leader), [1, 2, 3, 4]);
}

#[test]
fn a_voter_goes_only_when_a_majority_of_those_that_stay_has_everything() {
    let (mut cluster, leader) = three();
    let others: Vec<_> = (1..=3).filter(|node| *node != leader).collect();
    let (down, leaving) = (others[0], others[1]);
    cluster.crash_dead(usize::from(down) - 1);
    pass(&mut cluster, 100);
    let mut staying = vec![leader, down];
    staying.sort_unstable();
    let change = group(&mut cluster, leader).unwrap().members().change_to(&staying, &[]);
    assert_eq!(change.leaving, [leaving]);
    assert_eq!(ask(&mut cluster, leader, &change), Ok(false));
    pass(&mut cluster, 400);
    assert_eq!(voters(&mut cluster, leader), [1, 2, 3], "the other one that stays is down");
    cluster.start(usize::from(down) - 1);
    pass(&mut cluster, 400);
    assert_eq!(voters(&mut cluster, leader), staying);
}

#[test]
fn learners_of_which_nothing_is_said_stay() {
    let (mut cluster, leader) = three();
    let change = group(&mut cluster, leader).unwrap().members().change_to(&[1, 2, 3], &[4]);
    assert!(ask(&mut cluster, leader, &change).is_ok());
    pass(&mut cluster, 200);
    let from = group(&mut cluster, leader).unwrap().members().version;
    let change = MembersChange { from, voters: vec![1, 2, 3], ..MembersChange::default() };
    assert_eq!(ask(&mut cluster, leader, &change), Ok(true));
    pass(&mut cluster, 100);
    assert_eq!(group(&mut cluster, leader).unwrap().members().learners, [4]);
}
