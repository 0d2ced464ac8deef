//! Who has to take what this connection published before more is read from it.

use std::sync::Arc;

use super::session::Session;
use crate::broker::ids::Target;
use crate::node::replies::Requester;

/// One that has more than it should.
pub(super) enum Full {
    /// A queue's shard.
    Shard(Target),
    /// A requester, which is waited for until a time in Unix milliseconds.
    Requester(Arc<Requester>, u64),
}

impl Session {
    /// Reading goes on once the one that was full has room, or is waited for no longer.
    pub(super) fn look_for_room(&mut self) {
        let is_over = match &self.full {
            Some(Full::Shard(target)) => self.shared.shard(*target).has_room(),
            Some(Full::Requester(requester, until_ms)) => requester.has_room() || *until_ms <= self.now_ms,
            None => return,
        };
        if is_over {
            self.full = None;
        }
    }

    /// Waits until the one that was full has room; for ever when none was.
    pub(super) async fn room(&self) {
        match &self.full {
            Some(Full::Shard(target)) => self.shared.shard(*target).room().await,
            Some(Full::Requester(requester, _)) => requester.room().await,
            None => std::future::pending().await,
        }
    }

    /// When waiting for room ends without it.
    pub(super) fn room_timeout_ms(&self) -> Option<u64> {
        match &self.full {
            Some(Full::Requester(_, until_ms)) => Some(*until_ms),
            Some(Full::Shard(_)) | None => None,
        }
    }
}
