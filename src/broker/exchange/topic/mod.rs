//! Topic exchanges (AMQP 0-9-1, section 3.1.3.3): patterns of words, `*` for one word, `#` for any number.
//!
//! - `words`: the words of all patterns, numbered
//! - `node_set`: the places in the trie where a key may stand

mod node_set;
mod words;

use super::{Bound, Bucket, Map};

use node_set::NodeSet;
use words::{Word, Words};

/// A node's number; `NONE` is no node.
type NodeId = u32;

const ROOT: NodeId = 0;
const NONE: NodeId = NodeId::MAX;

/// The bindings of a topic exchange: a trie over the words of their patterns.
///
/// Nodes stand in one list and edges in one map, so a pattern of its own costs few small allocations.
#[derive(Debug)]
pub(crate) struct Topic {
    words: Words,
    nodes: Vec<Node>,
    free: Vec<NodeId>,
    edges: Map<Edge, NodeId>,
}

#[derive(Debug)]
struct Node {
    /// The child behind `*`.
    star: NodeId,
    /// The child behind `#`.
    hash: NodeId,
    /// How many children stand behind plain words.
    plain: u32,
    /// Whether this node stands behind a `#`, and so takes any further word.
    repeats: bool,
    bucket: Bucket,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Edge {
    from: NodeId,
    word: Word,
}

impl Default for Topic {
    fn default() -> Self {
        Self {
            words: Words::default(),
            nodes: vec![Node::new(false)],
            free: Vec::new(),
            edges: Map::default(),
        }
    }
}

impl Topic {
    pub(crate) fn add(&mut self, bound: Bound<'_>) {
        let end = split(bound.key).fold(ROOT, |node, word| self.child_or_new(node, word));
        self.nodes[end as usize].bucket.add(bound.hop);
    }

    pub(crate) fn remove(&mut self, bound: Bound<'_>) {
        let mut path = Vec::new();
        let mut node = ROOT;
        for word in split(bound.key) {
            let Some(child) = self.child(node, word) else { return };
            path.push((node, word, child));
            node = child;
        }
        self.nodes[node as usize].bucket.remove(bound.hop);
        for (parent, word, child) in path.into_iter().rev() {
            if !self.nodes[child as usize].is_unused() {
                break;
            }
            self.cut(parent, word, child);
        }
    }

    /// Shows the bucket of every pattern that fits the key, word by word for all patterns at once: the work is
    /// bounded by words times nodes, whatever the patterns.
    pub(crate) fn visit(&self, key: &str, mut show: impl FnMut(&Bucket)) {
        let mut current = NodeSet::new();
        let mut next = NodeSet::new();
        self.enter(ROOT, &mut current);
        for word in split(key) {
            let number = self.words.find(word);
            next.clear();
            for &node in current.as_slice() {
                self.step(node, number, &mut next);
            }
            next.deduplicate();
            std::mem::swap(&mut current, &mut next);
            if current.as_slice().is_empty() {
                return;
            }
        }
        let buckets = current.as_slice().iter().map(|&node| &self.nodes[node as usize].bucket);
        buckets.filter(|bucket| !bucket.is_empty()).for_each(&mut show);
    }

    pub(crate) fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        self.nodes.iter().map(|node| &node.bucket)
    }

    /// Adds the nodes that one more word leads to.
    fn step(&self, node: NodeId, word: Option<Word>, next: &mut NodeSet) {
        let place = &self.nodes[node as usize];
        if place.repeats {
            // What is behind it without a word is in the set already.
            next.push(node);
        }
        if place.star != NONE {
            self.enter(place.star, next);
        }
        if place.plain == 0 {
            return;
        }
        if let Some(&child) = word.and_then(|word| self.edges.get(&Edge { from: node, word })) {
            self.enter(child, next);
        }
    }

    /// Adds a node and, as `#` also stands for no word, what its `#` leads to.
    fn enter(&self, mut node: NodeId, set: &mut NodeSet) {
        while node != NONE {
            set.push(node);
            node = self.nodes[node as usize].hash;
        }
    }

    fn child(&self, node: NodeId, word: &str) -> Option<NodeId> {
        let place = &self.nodes[node as usize];
        match word {
            "*" => Some(place.star).filter(|&child| child != NONE),
            "#" => Some(place.hash).filter(|&child| child != NONE),
            word => {
                self.words.find(word).and_then(|word| self.edges.get(&Edge { from: node, word }).copied())
            }
        }
    }

    fn child_or_new(&mut self, node: NodeId, word: &str) -> NodeId {
        if let Some(child) = self.child(node, word) {
            return child;
        }
        let child = self.new_node(word == "#");
        let place = &mut self.nodes[node as usize];
        match word {
            "*" => place.star = child,
            "#" => place.hash = child,
            word => {
                place.plain += 1;
                let word = self.words.take(word);
                self.edges.insert(Edge { from: node, word }, child);
            }
        }
        child
    }

    fn new_node(&mut self, repeats: bool) -> NodeId {
        if let Some(id) = self.free.pop() {
            self.nodes[id as usize] = Node::new(repeats);
            return id;
        }
        let id = NodeId::try_from(self.nodes.len()).expect("fewer nodes than memory could hold");
        self.nodes.push(Node::new(repeats));
        id
    }

    fn cut(&mut self, parent: NodeId, word: &str, child: NodeId) {
        let place = &mut self.nodes[parent as usize];
        match word {
            "*" => place.star = NONE,
            "#" => place.hash = NONE,
            word => {
                place.plain -= 1;
                if let Some(word) = self.words.give_back(word) {
                    self.edges.remove(&Edge { from: parent, word });
                }
            }
        }
        self.free.push(child);
    }
}

impl Node {
    fn new(repeats: bool) -> Self {
        Self { star: NONE, hash: NONE, plain: 0, repeats, bucket: Bucket::default() }
    }

    fn is_unused(&self) -> bool {
        self.bucket.is_empty() && self.plain == 0 && self.star == NONE && self.hash == NONE
    }
}

/// The words of a key or pattern: an empty one has none, else dots separate them and empty words count.
fn split(key: &str) -> impl Iterator<Item = &str> {
    Some(key).filter(|key| !key.is_empty()).into_iter().flat_map(|key| key.split('.'))
}

#[cfg(test)]
mod tests;
