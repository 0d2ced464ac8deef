//! Disks that are lost, or full.

use std::time::Duration;

use super::alone;
use super::load::Load;
use super::nodes::Nodes;
use super::small_disk::SmallDisk;

/// A node loses its disk, comes back, and is given copies.
fn a_disk_is_wiped(wiped: usize) {
    let _alone = alone();
    let mut nodes = Nodes::on_loopback(3);
    let mut load = Load::on(&mut nodes);
    load.fault("wiped disk");
    nodes.kill(wiped);
    nodes.wipe(wiped);
    load.await_progress();
    nodes.begin(wiped);
    load.await_whole(&mut nodes);
    // The others may go now, one after the other: what they had is there.
    for place in (0..nodes.count()).filter(|place| *place != wiped) {
        load.survive_kill(&mut nodes, place);
    }
    load.finish();
}

#[test]
fn a_node_whose_disk_was_wiped_is_filled_again() {
    a_disk_is_wiped(2);
}

#[test]
fn the_founder_is_filled_again_too_when_its_disk_was_wiped() {
    a_disk_is_wiped(0);
}

#[test]
fn a_founder_with_an_empty_disk_waits_for_its_cluster() {
    let _alone = alone();
    let mut nodes = Nodes::on_loopback(3);
    let mut load = Load::on(&mut nodes);
    load.fault("power, and a wiped disk");
    (0..nodes.count()).for_each(|place| nodes.kill(place));
    nodes.wipe(0);
    nodes.begin(0);
    // Long enough to found another cluster, and to confirm into that.
    std::thread::sleep(Duration::from_secs(5));
    nodes.begin(1);
    nodes.begin(2);
    load.await_whole(&mut nodes);
    load.finish();
}

#[test]
fn a_node_that_was_forgotten_does_not_come_back_with_its_old_disk() {
    let _alone = alone();
    let mut nodes = Nodes::on_loopback(3);
    let mut load = Load::on(&mut nodes);
    load.fault("forgotten");
    nodes.kill(2);
    load.await_progress();
    nodes.forget(2);
    nodes.begin(2);
    assert!(!nodes.await_end(2).success(), "it ends as one that has failed");
    load.await_progress();
    nodes.wipe(2);
    nodes.begin(2);
    load.await_whole(&mut nodes);
    load.finish();
}

#[test]
fn nothing_confirmed_is_lost_when_a_disk_is_full() {
    let _alone = alone();
    let Some(disk) = SmallDisk::new() else { return };
    let mut nodes = Nodes::on_disk(3, 1, disk.path());
    let mut load = Load::on(&mut nodes);
    load.fault("full disk");
    disk.fill();
    // A node that cannot write any more ends, and the others go on.
    nodes.await_end(1);
    load.await_progress();
    disk.make_room();
    nodes.begin(1);
    load.await_whole(&mut nodes);
    // What it has now is whole: it is one of the majority.
    load.survive_kill(&mut nodes, 0);
    load.finish();
}
