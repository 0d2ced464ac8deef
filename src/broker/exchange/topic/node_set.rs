//! A set of nodes that needs no memory of its own while it is small.

use super::NodeId;

/// How many nodes fit without an allocation.
const INLINE: usize = 16;

pub(super) struct NodeSet {
    inline: [NodeId; INLINE],
    inline_len: usize,
    /// Takes everything over once the inline part is full.
    spilled: Vec<NodeId>,
}

impl NodeSet {
    pub(super) fn new() -> Self {
        Self { inline: [0; INLINE], inline_len: 0, spilled: Vec::new() }
    }

    #[inline]
    pub(super) fn push(&mut self, node: NodeId) {
        match self.inline.get_mut(self.inline_len) {
            Some(place) if self.spilled.is_empty() => {
                *place = node;
                self.inline_len += 1;
            }
            _ => self.spill(node),
        }
    }

    fn spill(&mut self, node: NodeId) {
        self.spilled.extend_from_slice(&self.inline[..self.inline_len]);
        self.inline_len = 0;
        self.spilled.push(node);
    }

    pub(super) fn clear(&mut self) {
        self.inline_len = 0;
        self.spilled.clear();
    }

    pub(super) fn as_slice(&self) -> &[NodeId] {
        if self.spilled.is_empty() { &self.inline[..self.inline_len] } else { &self.spilled }
    }

    /// Takes out what is in it twice.
    pub(super) fn deduplicate(&mut self) {
        if self.spilled.is_empty() {
            self.deduplicate_inline();
        } else {
            self.spilled.sort_unstable();
            self.spilled.dedup();
        }
    }

    fn deduplicate_inline(&mut self) {
        let mut kept = 0;
        for index in 0..self.inline_len {
            let node = self.inline[index];
            if !self.inline[..kept].contains(&node) {
                self.inline[kept] = node;
                kept += 1;
            }
        }
        self.inline_len = kept;
    }
}
