//! Identities that the broker's parts share.

/// A queue's number: unique on this node for ever, never given to another queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub u64);

/// A connection's number: names the owner of exclusive queues. In a cluster it begins with node and run, see
/// [`first_connection`].
pub type ConnectionId = u64;

/// Where a routed message goes: a queue, and what a publisher needs to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The queue.
    pub id: QueueId,
    /// The shard that owns the queue.
    pub shard: u16,
    /// Whether the queue survives a restart: only then a persistent message waits for the log.
    pub durable: bool,
}

/// A node of a cluster; numbers are given out when nodes join, from 1 on, and never again.
pub type NodeId = u16;

/// The number of a node that is no member of a cluster with others.
pub const FIRST_NODE: NodeId = 1;

/// Nodes have smaller numbers than this.
pub const NODES_MAX: u16 = 256;

/// A group of nodes that keeps the same state by one log (Raft): 0 orders declarations, those from 1 on own queues.
pub type GroupId = u16;

/// The group that orders declarations.
pub const META_GROUP: GroupId = 0;

/// Who orders what happens to a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Home {
    /// One node, by its own log: the queue has one copy.
    Node(NodeId),
    /// A group: every member has a copy.
    Group(GroupId),
}

/// A node that starts has a higher run than before; counted from 1 on.
pub type Run = u64;

const COUNTER_BITS: u32 = 40;
const RUN_BITS: u32 = 16;

/// The number that those of a node's connections and consumers begin behind: unique in the cluster, and never again
/// those of another run (of the last 65,536).
#[must_use]
pub fn first_connection(node: NodeId, run: Run) -> ConnectionId {
    let run = run & ((1 << RUN_BITS) - 1);
    (u64::from(node) << (COUNTER_BITS + RUN_BITS)) | (run << COUNTER_BITS)
}

/// The node that a connection or consumer is on, by its number.
#[must_use]
pub fn node_of(connection: ConnectionId) -> NodeId {
    NodeId::try_from(connection >> (COUNTER_BITS + RUN_BITS)).unwrap_or(NodeId::MAX)
}

/// Where a node stands: from this it finds the mailbox for a queue.
///
/// A node has a mailbox for each of its own shards, behind them one for each group, behind them one for each node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// This node.
    pub node: NodeId,
    /// Its shards.
    pub shards: u16,
    /// Groups that own queues; none without a cluster.
    pub groups: u16,
}

impl Placement {
    /// A node by itself.
    #[must_use]
    pub fn alone(shards: u16) -> Self {
        Self { node: FIRST_NODE, shards, groups: 0 }
    }

    /// The mailbox for a queue.
    #[must_use]
    pub fn mailbox(&self, home: Home, id: QueueId) -> u16 {
        match home {
            Home::Node(node) if node == self.node => {
                u16::try_from(id.0 % u64::from(self.shards.max(1))).unwrap_or(0)
            }
            Home::Group(group) => self.shards + group.saturating_sub(1),
            Home::Node(node) => self.shards + self.groups + node,
        }
    }

    /// How many mailboxes there are.
    #[must_use]
    pub fn mailboxes(&self) -> u16 {
        if self.groups == 0 { self.shards } else { self.shards + self.groups + NODES_MAX }
    }
}
