//! What must hold whatever happens; looks at the members from outside only.

use std::collections::{BTreeMap, BTreeSet};

use crate::broker::ids::NodeId;

/// What an entry says: the term of the leader that took it, and its data.
pub(super) type Said = (u64, Vec<u8>);

/// Collects what the members say and do over a run; the first contradiction is kept.
#[derive(Debug, Default)]
pub(super) struct Checker {
    committed: BTreeMap<u64, Said>,
    leaders: BTreeMap<u64, NodeId>,
    /// Until when members may act as the only leader.
    leases: BTreeMap<NodeId, f64>,
    confirmed: BTreeSet<Vec<u8>>,
    pub(super) problem: Option<String>,
}

impl Checker {
    pub(super) fn fail(&mut self, problem: String) {
        self.problem.get_or_insert(problem);
    }

    /// A member was handed an entry as committed.
    pub(super) fn committed(&mut self, node: NodeId, index: u64, said: Said) {
        let known = self.committed.entry(index).or_insert_with(|| said.clone());
        if *known != said {
            let short = |said: &Said| format!("({}, {:?})", said.0, said.1.first_chunk::<8>());
            let problem =
                format!("node {node} has {} as entry {index}, others {}", short(&said), short(known));
            self.fail(problem);
        }
    }

    /// A member says that it leads.
    pub(super) fn leads(&mut self, node: NodeId, term: u64) {
        let known = *self.leaders.entry(term).or_insert(node);
        if known != node {
            self.fail(format!("nodes {known} and {node} lead in term {term}"));
        }
    }

    /// A member may deliver until then, as the only one.
    pub(super) fn lease(&mut self, node: NodeId, now: f64, until: f64) {
        self.leases.insert(node, until);
        let other = self.leases.iter().find(|(other, end)| **other != node && **end > now);
        if let Some((other, end)) = other.filter(|_| until > now) {
            let problem =
                format!("at {now} nodes {other} (until {end}) and {node} (until {until}) have leases");
            self.fail(problem);
        }
    }

    pub(super) fn no_lease(&mut self, node: NodeId) {
        self.leases.remove(&node);
    }

    /// A publisher was told that this is safe.
    pub(super) fn confirmed(&mut self, data: &[u8]) {
        self.confirmed.insert(data.to_vec());
    }

    pub(super) fn confirms(&self) -> usize {
        self.confirmed.len()
    }

    /// At the end: what a member has in its store.
    pub(super) fn has_all(&mut self, node: NodeId, content: &BTreeMap<u64, Said>) {
        let all: BTreeSet<_> = content.values().map(|(_, data)| data).collect();
        let lost = self.confirmed.iter().find(|data| !all.contains(data)).cloned();
        if let Some(lost) = lost {
            self.fail(format!("node {node} does not have {lost:?}, which was confirmed"));
        }
        let other = content.iter().find(|(index, said)| self.committed.get(index) != Some(said));
        if let Some((index, _)) = other {
            self.fail(format!("node {node} has something else as entry {index} in the end"));
        }
    }
}

/// Numbers from a seed (SplitMix64).
#[derive(Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let number = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(super) fn per_mille(&mut self, chance: u64) -> bool {
        self.below(1000) < chance
    }
}
