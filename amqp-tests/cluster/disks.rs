//! Disks that are lost, or full.

use super::alone;
use super::load::Load;
use super::nodes::Nodes;
use super::small_disk::SmallDisk;

#[test]
fn a_node_whose_disk_was_wiped_is_filled_again() {
    let _alone = alone();
    let mut nodes = Nodes::on_loopback(3);
    let mut load = Load::start(nodes.addresses());
    load.check_each_node();
    nodes.await_whole();
    load.fault("wiped disk");
    // Not the one that founded the cluster: it would found another.
    nodes.kill(2);
    nodes.wipe(2);
    load.await_progress();
    nodes.begin(2);
    load.check_each_node();
    nodes.await_whole();
    // The others may go now, one after the other: what they had is there.
    for place in [0, 1] {
        load.fault("kill");
        nodes.kill(place);
        load.await_progress();
        nodes.begin(place);
        load.check_each_node();
        nodes.await_whole();
    }
    load.finish();
}

#[test]
fn nothing_confirmed_is_lost_when_a_disk_is_full() {
    let _alone = alone();
    let Some(disk) = SmallDisk::new() else { return };
    let mut nodes = Nodes::on_disk(3, 1, disk.path());
    let mut load = Load::start(nodes.addresses());
    load.check_each_node();
    nodes.await_whole();
    load.fault("full disk");
    disk.fill();
    // A node that cannot write any more ends, and the others go on.
    nodes.await_end(1);
    load.await_progress();
    disk.make_room();
    nodes.begin(1);
    load.check_each_node();
    nodes.await_whole();
    // What it has now is whole: it is one of the majority.
    load.fault("kill");
    nodes.kill(0);
    load.await_progress();
    nodes.begin(0);
    load.check_each_node();
    nodes.await_whole();
    load.finish();
}
