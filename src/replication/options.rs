//! How a group works.

use crate::broker::ids::{GroupId, NodeId};

/// Settings of a group; all its members must have the same times.
#[derive(Clone, Debug)]
pub struct GroupOptions {
    /// Which group.
    pub group: GroupId,
    /// This node.
    pub node: NodeId,
    /// Length of a tick; the others are counted in ticks.
    pub tick_ms: u64,
    /// A follower that hears nothing for this long, and up to twice as long, campaigns. Also the base of the lease.
    pub election_ticks: usize,
    /// A leader says this often that it leads.
    pub heartbeat_ticks: usize,
    /// Entries in one message, but at least one entry.
    pub message_bytes_max: u64,
    /// Messages with entries on their way to one member.
    pub inflight_messages_max: usize,
    /// Bytes of entries on their way to one member, but at least one entry.
    pub inflight_bytes_max: u64,
    /// A leader takes no more proposals while this much is not committed.
    pub uncommitted_bytes_max: u64,
    /// Recent entries kept in memory; older ones are read back.
    pub memory_bytes_max: usize,
    /// Committed entries handed out by one call for work, but at least one entry.
    pub committed_bytes_max: u64,
    /// What is not needed any more but by a member that lags is kept up to this much.
    pub lag_bytes_max: u64,
    /// The same for a member that gets a copy, until it has caught up. It lags by what comes in while the copy is on its way:
    /// with less than that it would need one copy after the other.
    pub copy_lag_bytes_max: u64,
    /// Makes the election timeouts of nodes differ; the same seed gives the same timeouts.
    pub seed: u64,
}

impl GroupOptions {
    /// The usual settings.
    #[must_use]
    pub fn new(group: GroupId, node: NodeId, seed: u64) -> Self {
        Self {
            group,
            node,
            tick_ms: 50,
            election_ticks: 8,
            heartbeat_ticks: 2,
            message_bytes_max: 256 << 10,
            inflight_messages_max: 128,
            inflight_bytes_max: 8 << 20,
            uncommitted_bytes_max: 16 << 20,
            memory_bytes_max: 4 << 20,
            committed_bytes_max: 1 << 20,
            lag_bytes_max: 512 << 20,
            copy_lag_bytes_max: 4 << 30,
            seed,
        }
    }

    /// The shortest time without a leader before somebody campaigns.
    pub(super) fn election_ms(&self) -> u64 {
        self.tick_ms * self.election_ticks as u64
    }
}
