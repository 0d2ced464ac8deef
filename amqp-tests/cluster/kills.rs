//! Processes that end, or stand still.

use std::time::{Duration, Instant};

use super::load::Load;
use super::nodes::Nodes;
use super::{alone, is_thorough, rounds};

/// What a publish may have to wait after a kill, on a machine that does nothing else: one second. Here others may be at work.
const GAP_MAX: Duration = Duration::from_secs(5);

#[test]
fn nothing_confirmed_is_lost_when_nodes_are_killed() {
    let _alone = alone();
    let mut nodes = Nodes::on_loopback(3);
    let mut load = Load::on(&mut nodes);
    for round in 0..rounds() * 6 {
        let place = round % nodes.count();
        load.survive_kill(&mut nodes, place);
    }
    let gaps = load.finish();
    assert!(gaps.iter().all(|(_, gap)| *gap < GAP_MAX), "{gaps:?}");
}

/// Seconds; the longest is for those who have time.
fn standstills() -> Vec<u64> {
    let longest = is_thorough().then_some(30);
    std::iter::repeat_n([1, 2, 4, 8], rounds()).flatten().chain(longest).collect()
}

#[test]
fn nothing_confirmed_is_lost_when_nodes_stand_still() {
    let _alone = alone();
    let mut nodes = Nodes::on_loopback(3);
    let mut load = Load::on(&mut nodes);
    for (round, seconds) in standstills().into_iter().enumerate() {
        let place = round % nodes.count();
        load.fault("standstill");
        nodes.signal(place, "STOP");
        let begun = Instant::now();
        if seconds > 4 {
            // Long enough for others to have taken over.
            load.await_progress();
        }
        std::thread::sleep(Duration::from_secs(seconds).saturating_sub(begun.elapsed()));
        nodes.signal(place, "CONT");
        load.await_progress();
        load.await_whole(&mut nodes);
    }
    load.finish();
}

#[test]
fn nothing_confirmed_is_lost_when_all_nodes_are_killed_at_once() {
    let _alone = alone();
    let mut nodes = Nodes::on_loopback(3);
    let mut load = Load::on(&mut nodes);
    for _ in 0..rounds() {
        load.await_progress();
        load.fault("power");
        (0..nodes.count()).for_each(|place| nodes.kill(place));
        (0..nodes.count()).for_each(|place| nodes.begin(place));
        load.await_whole(&mut nodes);
    }
    load.finish();
}

#[test]
fn a_rolling_restart_loses_nothing() {
    let _alone = alone();
    let mut nodes = Nodes::on_loopback(3);
    let mut load = Load::on(&mut nodes);
    for place in 0..nodes.count() {
        load.fault("restart");
        nodes.stop(place);
        nodes.begin(place);
        load.await_whole(&mut nodes);
    }
    let gaps = load.finish();
    assert!(gaps.iter().all(|(_, gap)| *gap < GAP_MAX), "{gaps:?}");
}
