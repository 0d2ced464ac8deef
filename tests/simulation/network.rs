//! The simulated network: which way is open, how long things take, what gets lost.
//!
//! Datagrams (Raft's messages) may be lost, doubled, late and out of order. Everything else goes over links, which keep the order
//! and lose nothing until they break; then everything on its way is gone, and both ends are told, each at its time.

use std::collections::BTreeMap;

use super::random::Random;
use crate::broker::ids::NodeId;

/// How the network is at the moment.
#[derive(Clone, Debug)]
pub(super) struct Weather {
    /// Datagrams lost and doubled, of a thousand.
    pub(super) loss: u64,
    pub(super) double: u64,
    /// Microseconds on the way.
    pub(super) delay_us: (u64, u64),
}

impl Weather {
    pub(super) fn fair() -> Self {
        Self { loss: 0, double: 0, delay_us: (50, 2_000) }
    }
}

/// The link between two nodes, as one of its ends sees it.
#[derive(Clone, Copy, Debug, Default)]
struct End {
    /// Which connection it is; none while it is down.
    connection: Option<u64>,
    /// When what was last sent arrives.
    last_us: u64,
}

#[derive(Debug)]
pub(super) struct Network {
    pub(super) weather: Weather,
    /// Ways that are cut.
    cut: BTreeMap<(NodeId, NodeId), ()>,
    /// Ways that are slow: microseconds on top.
    slow: BTreeMap<(NodeId, NodeId), u64>,
    /// Sending ends of links.
    ends: BTreeMap<(NodeId, NodeId), End>,
    connections: u64,
    random: Random,
}

impl Network {
    pub(super) fn new(random: Random) -> Self {
        Self {
            weather: Weather::fair(),
            cut: BTreeMap::new(),
            slow: BTreeMap::new(),
            ends: BTreeMap::new(),
            connections: 0,
            random,
        }
    }

    pub(super) fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cut.insert((from, to), ());
    }

    pub(super) fn slow(&mut self, from: NodeId, to: NodeId, us: u64) {
        self.slow.insert((from, to), us);
    }

    /// Every way is open and quick.
    pub(super) fn heal(&mut self) {
        self.cut.clear();
        self.slow.clear();
    }

    pub(super) fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.cut.contains_key(&(from, to))
    }

    /// When a datagram that is sent now arrives: never, once or twice.
    pub(super) fn datagram(&mut self, now_us: u64, from: NodeId, to: NodeId) -> Vec<u64> {
        if self.is_cut(from, to) || self.random.per_mille(self.weather.loss) {
            return Vec::new();
        }
        let copies = if self.random.per_mille(self.weather.double) { 2 } else { 1 };
        (0..copies).map(|_| now_us + self.delay_us(from, to)).collect()
    }

    /// When what is sent over a link now arrives, and over which connection; `None` when the link is down. What is sent into a
    /// cut cable counts as sent.
    pub(super) fn link(&mut self, now_us: u64, from: NodeId, to: NodeId) -> Option<(u64, u64)> {
        let connection = self.ends.get(&(from, to))?.connection?;
        let at_us = now_us + self.delay_us(from, to);
        let end = self.ends.get_mut(&(from, to))?;
        end.last_us = end.last_us.max(at_us);
        Some((end.last_us, connection))
    }

    /// Both ends are connected from now on.
    pub(super) fn connect(&mut self, one: NodeId, other: NodeId) -> u64 {
        self.connections += 1;
        for way in [(one, other), (other, one)] {
            let end = self.ends.entry(way).or_default();
            end.connection = Some(self.connections);
        }
        self.connections
    }

    /// The link breaks: what is on its way is lost. Gives which connection it was, if it was up.
    pub(super) fn disconnect(&mut self, one: NodeId, other: NodeId) -> Option<u64> {
        let mut connection = None;
        for way in [(one, other), (other, one)] {
            connection = self.ends.get_mut(&way).and_then(|end| end.connection.take()).or(connection);
        }
        connection
    }

    pub(super) fn connection(&self, from: NodeId, to: NodeId) -> Option<u64> {
        self.ends.get(&(from, to))?.connection
    }

    fn delay_us(&mut self, from: NodeId, to: NodeId) -> u64 {
        let (least, most) = self.weather.delay_us;
        self.random.skewed(least, most) + self.slow.get(&(from, to)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_keeps_the_order_and_a_cut_is_one_way() {
        let mut network = Network::new(Random::new(1));
        network.weather = Weather { loss: 500, double: 100, delay_us: (1, 100_000) };
        assert_eq!(network.link(0, 1, 2), None);
        let connection = network.connect(1, 2);
        let sent: Vec<_> = (0..100).filter_map(|now_us| network.link(now_us, 1, 2)).collect();
        assert!(sent.len() == 100 && sent.is_sorted() && sent.iter().all(|(_, over)| *over == connection));
        network.cut(1, 2);
        assert!((0..100).all(|now_us| network.datagram(now_us, 1, 2).is_empty()));
        let back: usize = (0..1000).map(|now_us| network.datagram(now_us, 2, 1).len()).sum();
        assert!((400..700).contains(&back), "{back} of 1000 came");
        assert_eq!((network.disconnect(2, 1), network.disconnect(2, 1)), (Some(connection), None));
        assert_eq!(network.link(0, 2, 1), None);
    }
}
