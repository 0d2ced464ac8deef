//! Many seeds of everything that can go wrong, and mistakes that must be found.

use super::cluster::{Cluster, Faults};
use super::member::Bug;

const STEPS: usize = 300;
const SETTLE_STEPS: usize = 4000;

/// One run: trouble, then peace; what the checker found.
fn run(seed: u64, faults: &Faults, bug: Bug) -> Cluster {
    let voters = [1, 2, 3];
    let mut cluster = Cluster::new(seed, 5, &voters, bug);
    for _ in 0..STEPS {
        cluster.step(faults);
        if cluster.checker.problem.is_some() {
            return cluster;
        }
    }
    cluster.heal();
    let mut is_done = false;
    for step in 0..SETTLE_STEPS {
        // Nothing new near the end.
        cluster.quiet = step > 100;
        cluster.step(&Faults::NONE);
        let are_members = cluster.set_members(&voters, &[]) && cluster.has_settled(&voters);
        is_done = are_members && cluster.have_left(&voters);
        if cluster.checker.problem.is_some() || (is_done && cluster.quiet) {
            break;
        }
    }
    if !is_done {
        let groups = cluster.members.iter().filter_map(|member| member.group.as_ref());
        let stand =
            groups.map(|group| format!("{group:?} {:?} {:?}", group.members(), group.member_progress()));
        let stand: Vec<_> = stand.collect();
        cluster.checker.fail(format!("the members do not come together again: {stand:#?}"));
    }
    cluster.check_end(&voters);
    cluster
}

fn seeds(count: u64, faults: &Faults) {
    let mut confirms = 0;
    for seed in 0..count {
        let cluster = run(seed, faults, Bug::None);
        assert_eq!(cluster.checker.problem, None, "seed {seed}");
        confirms += cluster.checker.confirms();
    }
    assert!(confirms as u64 > count * 10, "hardly anything was confirmed: {confirms}");
}

/// The first of some seeds with which the checker finds a mistake.
fn found(bug: Bug, faults: &Faults) -> Option<u64> {
    (0..3000).find(|seed| run(*seed, faults, bug).checker.problem.is_some())
}

#[test]
fn nothing_is_lost_whatever_goes_wrong() {
    seeds(1000, &Faults::ALL);
}

#[test]
fn nothing_is_lost_on_a_network_that_is_only_slow() {
    seeds(100, &Faults { delay_ms: 300, sync_ms: 300, ..Faults::NONE });
}

#[test]
fn nothing_is_lost_when_members_change_all_the_time() {
    seeds(200, &Faults { members: 100, crash: 20, checkpoint: 60, ..Faults::ALL });
}

#[test]
fn a_run_repeats_from_its_seed() {
    let told = |seed| format!("{:?}", run(seed, &Faults::ALL, Bug::None).members);
    assert_eq!(told(7), told(7));
}

#[test]
fn syncs_told_too_early_are_found() {
    assert!(found(Bug::TellsSyncedTooEarly, &Faults { crash: 40, ..Faults::ALL }).is_some());
}

#[test]
fn a_forgotten_vote_is_found() {
    let faults = Faults { crash: 60, delay_ms: 700, members: 0, ..Faults::ALL };
    assert!(found(Bug::ForgetsVote, &faults).is_some());
}

#[test]
fn a_leader_that_delivers_without_its_lease_is_found() {
    assert!(found(Bug::DeliversWithoutLease, &Faults::ALL).is_some());
}

#[test]
fn a_copy_taken_for_complete_is_found() {
    assert!(found(Bug::ForgetsRestoring, &Faults { crash: 40, checkpoint: 80, ..Faults::ALL }).is_some());
}

#[test]
fn confirms_that_nobody_agreed_to_are_found() {
    assert!(found(Bug::ConfirmsProposals, &Faults::ALL).is_some());
}
