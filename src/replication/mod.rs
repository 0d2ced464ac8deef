//! Keeping the same state on several nodes: groups of nodes, each with one log that a majority agrees on (Raft).
//!
//! No I/O, no clock, no task: what is to be written and sent comes out as [`Work`], and whoever carries it out says when it is
//! done. The agreement itself is the `raft` crate's; it sees entries without their data, which is kept beside it and never copied
//! but into messages.
//!
//! - `group`: a member's part in a group, for the task that runs it
//! - `step`: what happens to it: time, messages, links; `work`: what is to be done then
//! - `entries`: the group's log as the member has it; `view`: as the `raft` crate sees it
//! - `record`: its records in the node's log; `stored`: what a restart finds of them
//! - `wire`: messages between members
//! - `lease`: until when a leader knows that nobody else leads
//! - `members`: changing who belongs to the group; `leaving`: who does not any more hears of it; `snapshot`: cutting the log, and members that start from a copy
//!
//! Five rules carry the safety:
//! 1. A message that promises that something is kept leaves when the node's log has synced it.
//! 2. What is appended for a change of members has the commit index known then in front of it.
//! 3. A node that answered a leader's heartbeat votes for nobody else for the length of the lease, also not behind a restart.
//! 4. A leader that told another member to take over at once claims no lease in that term any more.
//! 5. A member that is being replaced by a copy neither campaigns nor acknowledges.

mod entries;
mod group;
mod lease;
mod leaving;
mod members;
mod options;
pub mod record;
mod snapshot;
mod step;
mod stored;
#[cfg(test)]
mod tests;
mod view;
mod wire;
mod work;

pub use group::{Group, Link, Refused, Role};
pub use members::{MemberProgress, Members, MembersChange};
pub use options::GroupOptions;
pub use record::{RAFT_ENTRY, RAFT_STATE, shard_of};
pub use snapshot::SnapshotMeta;
pub use step::Unusable;
pub use stored::{Stored, StoredBuilder};
pub use work::{Committed, Work};
