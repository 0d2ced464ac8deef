//! What goes wrong: which kinds of faults a seed has, when they strike, and that they end.

use super::network::Weather;
use super::random::Random;
use super::world::{Machine, World};
use crate::broker::ids::NodeId;
use crate::node::cluster::peer::LinkState;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The process is killed; or the machine loses its power.
    Kill,
    PowerCut,
    /// Everything loses its power at once.
    PowerCutOfAll,
    /// A process stands still.
    Pause,
    /// Cables are cut: one node, a part of the nodes, one way, some pairs, one pair again and again.
    Isolate,
    Halve,
    OneWay,
    Pairs,
    Flap,
    /// A node is slow to reach.
    Slow,
    /// A connection breaks.
    Break,
    /// Datagrams get lost, doubled, late.
    Storm,
    /// A disk takes its time; or so long that the node must not lead any more; or fails.
    Stall,
    LongStall,
    DiskFails,
}

const ALL: [Fault; 15] = [
    Fault::Kill,
    Fault::PowerCut,
    Fault::PowerCutOfAll,
    Fault::Pause,
    Fault::Isolate,
    Fault::Halve,
    Fault::OneWay,
    Fault::Pairs,
    Fault::Flap,
    Fault::Slow,
    Fault::Break,
    Fault::Storm,
    Fault::Stall,
    Fault::LongStall,
    Fault::DiskFails,
];

/// How the faults of a seed come.
#[derive(Debug)]
pub(super) struct Faults {
    kinds: Vec<Fault>,
    /// Milliseconds between two.
    every_ms: (u64, u64),
    /// Of a thousand: instead of a new fault all are over.
    relief: u64,
    flapping: Option<(NodeId, NodeId, u32)>,
    random: Random,
    pub(super) count: u64,
}

impl Faults {
    pub(super) fn new(mut random: Random) -> Self {
        let mut kinds = ALL.to_vec();
        random.shuffle(&mut kinds);
        // Few kinds strike harder together than many.
        let number = 1 + random.index(kinds.len());
        kinds.truncate(number);
        let least = random.between(20, 1_500);
        let most = least + random.between(50, 4_000);
        Self {
            kinds,
            every_ms: (least, most),
            relief: random.between(100, 600),
            flapping: None,
            random,
            count: 0,
        }
    }

    /// Something goes wrong, or right; answers with the microseconds until the next.
    pub(super) fn strike<M: Machine>(&mut self, world: &mut World<M>) -> u64 {
        if let Some((one, other, left)) = self.flapping {
            return self.flap(world, one, other, left);
        }
        if self.random.per_mille(self.relief) {
            heal(world);
        } else if let Some(fault) = self.random.pick(&self.kinds) {
            world.note(|| format!("fault: {fault:?}"));
            self.count += 1;
            self.inflict(world, fault);
        }
        self.random.between(self.every_ms.0, self.every_ms.1) * 1000
    }

    fn inflict<M: Machine>(&mut self, world: &mut World<M>, fault: Fault) {
        let mut nodes: Vec<_> =
            world.nodes.iter().filter(|(_, node)| !node.is_gone).map(|(id, _)| *id).collect();
        self.random.shuffle(&mut nodes);
        let Some((node, others)) = nodes.split_first() else { return };
        let node = *node;
        match fault {
            Fault::Kill => world.crash(node, false),
            Fault::PowerCut => world.crash(node, true),
            Fault::PowerCutOfAll => nodes.iter().for_each(|node| world.crash(*node, true)),
            Fault::Pause => world.pause(node, self.random.skewed(10_000, 8_000_000)),
            Fault::Isolate => others.iter().for_each(|other| world.cut_both(node, *other)),
            Fault::Halve => {
                let (some, rest) = nodes.split_at(self.random.index(nodes.len()));
                for one in some {
                    rest.iter().for_each(|other| world.cut_both(*one, *other));
                }
            }
            Fault::OneWay => {
                let outward = self.random.per_mille(500);
                for other in others {
                    let (from, to) = if outward { (node, *other) } else { (*other, node) };
                    world.cut(from, to);
                }
            }
            Fault::Pairs => {
                for (at, one) in nodes.iter().enumerate() {
                    for other in &nodes[at + 1..] {
                        if self.random.per_mille(400) {
                            world.cut_both(*one, *other);
                        }
                    }
                }
            }
            Fault::Flap => {
                self.flapping = others.first().map(|other| (node, *other, 2 + self.random.index(12) as u32));
            }
            Fault::Slow => {
                let us = self.random.between(20_000, 800_000);
                for other in others {
                    world.network.slow(node, *other, us);
                    world.network.slow(*other, node, us);
                }
            }
            Fault::Break => {
                if let Some(other) = others.first() {
                    world.break_link(node, *other, LinkState::Down);
                }
            }
            Fault::Storm => {
                world.network.weather = Weather {
                    loss: self.random.below(400),
                    double: self.random.below(300),
                    delay_us: (50, self.random.between(1_000, 600_000)),
                };
            }
            Fault::Stall => world.stall(node, self.random.between(20_000, 2_500_000)),
            Fault::LongStall => world.stall(node, self.random.between(3_000_000, 9_000_000)),
            Fault::DiskFails => {
                if let Some(found) = world.nodes.get(&node) {
                    match self.random.below(3) {
                        0 => found.place.disk.fail_sync(),
                        1 => found.place.disk.fail_write_after(self.random.index(3000)),
                        _ => found.place.cold.set_failing(true),
                    }
                }
            }
        }
    }

    fn flap<M: Machine>(&mut self, world: &mut World<M>, one: NodeId, other: NodeId, left: u32) -> u64 {
        if left.is_multiple_of(2) {
            world.network.heal();
        } else {
            world.cut_both(one, other);
        }
        self.flapping = left.checked_sub(1).map(|left| (one, other, left));
        self.random.between(20_000, 900_000)
    }
}

/// All faults are over. What is down starts by itself.
pub(super) fn heal<M: Machine>(world: &mut World<M>) {
    world.note(|| "all is well".to_owned());
    world.network.heal();
    world.network.weather = Weather::fair();
    for node in world.nodes.values_mut() {
        node.stalled_until_us = 0;
    }
}
