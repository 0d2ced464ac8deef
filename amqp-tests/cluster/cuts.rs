//! Cables that are cut, or slow.

use std::io::Write;
use std::time::Duration;

use super::load::Load;
use super::network::Network;
use super::nodes::Nodes;
use super::{alone, rounds};

/// How long a cut lasts: longer than any node waits for another one.
const CUT: Duration = Duration::from_secs(4);

/// A cluster on a network of its own; `None` with a note where that cannot be had.
pub(super) fn nodes_on_a_network(count: usize) -> Option<Nodes> {
    let network = Network::new(count);
    if let Err(reason) = &network {
        // Not by a macro: those of a test that passes are not shown.
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let _ = writeln!(std::io::stderr(), "left out: {test} needs network namespaces ({reason})");
    }
    network.ok().map(Nodes::on)
}

/// Its name, and what is done to the network.
type Fault<'a> = (&'static str, &'a dyn Fn(&Network));

/// Goes through faults, each of which is undone and got over before the next.
fn go_through(nodes: &mut Nodes, faults: &[Fault<'_>]) {
    let mut load = Load::on(nodes);
    for (name, fault) in std::iter::repeat_n(faults, rounds()).flatten() {
        load.fault(name);
        fault(nodes.network());
        load.await_progress();
        std::thread::sleep(CUT);
        nodes.network().heal().expect("the network heals");
        load.await_progress();
        load.await_whole(nodes);
    }
    load.finish();
}

#[test]
fn nothing_confirmed_is_lost_when_a_node_is_cut_off() {
    let _alone = alone();
    let Some(mut nodes) = nodes_on_a_network(3) else { return };
    go_through(
        &mut nodes,
        &[
            ("node 1 is unplugged", &|network| network.unplug(0)),
            ("node 2 is unplugged", &|network| network.unplug(1)),
            // Its clients still reach it.
            ("node 3 is cut off from the others", &|network| network.cut(&[2], &[0, 1])),
            ("node 1 is cut off from the others", &|network| network.cut(&[0], &[1, 2])),
        ],
    );
}

#[test]
fn nothing_confirmed_is_lost_when_single_cables_are_cut() {
    let _alone = alone();
    let Some(mut nodes) = nodes_on_a_network(3) else { return };
    let one_way = |network: &Network, from, to: &[usize]| {
        to.iter().for_each(|to| network.cut_way(from, *to).expect("a cut"));
    };
    go_through(
        &mut nodes,
        &[
            ("nodes 1 and 2 do not reach each other", &|network| network.cut(&[0], &[1])),
            ("nodes 2 and 3 do not reach each other", &|network| network.cut(&[1], &[2])),
            ("node 1 is not heard", &|network| one_way(network, 0, &[1, 2])),
            ("node 2 does not hear", &|network| {
                one_way(network, 0, &[1]);
                one_way(network, 2, &[1]);
            }),
            ("node 3 is not heard by node 1", &|network| one_way(network, 2, &[0])),
        ],
    );
}

#[test]
fn nothing_confirmed_is_lost_when_a_cable_flaps() {
    let _alone = alone();
    let Some(mut nodes) = nodes_on_a_network(3) else { return };
    let flap = |network: &Network, place: usize| {
        let others: Vec<_> = (0..3).filter(|other| *other != place).collect();
        for times in 1..12 {
            network.cut(&[place], &others);
            std::thread::sleep(Duration::from_millis(150 * times % 900));
            network.heal().expect("the network heals");
            std::thread::sleep(Duration::from_millis(250 * times % 700));
        }
    };
    go_through(
        &mut nodes,
        &[
            ("the cable of node 1 flaps", &|network| flap(network, 0)),
            ("the cable of node 3 flaps", &|network| flap(network, 2)),
        ],
    );
}

#[test]
fn nothing_confirmed_is_lost_when_a_cable_is_slow() {
    let _alone = alone();
    let Some(mut nodes) = nodes_on_a_network(3) else { return };
    go_through(
        &mut nodes,
        &[
            ("the cable of node 1 is slow", &|network| network.slow(0)),
            ("the cable of node 2 is slow", &|network| network.slow(1)),
            ("all cables are slow", &|network| (0..3).for_each(|place| network.slow(place))),
        ],
    );
}

#[test]
fn nothing_confirmed_is_lost_when_five_nodes_fall_into_halves() {
    let _alone = alone();
    let Some(mut nodes) = nodes_on_a_network(5) else { return };
    go_through(
        &mut nodes,
        &[
            ("nodes 1 and 2 are one half", &|network| network.cut(&[0, 1], &[2, 3, 4])),
            ("nodes 4 and 5 are one half", &|network| network.cut(&[3, 4], &[0, 1, 2])),
        ],
    );
}
