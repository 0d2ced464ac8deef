//! How many bytes of large messages are gathered at once, over all connections.
//!
//! Up to a limit everybody goes on. Above it one connection at a time has the turn, and the others are not read from: it
//! will hand its message over, which makes room. Who brings nothing loses the turn to the next, so that a client which
//! stops in the middle of a message stops nobody else.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::links::{ClientInput, ClientLink};
use crate::broker::ids::ConnectionId;

/// A turn ends when nothing has come for so long,
const STALLED_MS: u64 = 250;
/// or when less has come than this, over the whole turn.
const BYTES_PER_MS_MIN: u64 = 4096;

/// The bytes gathered, and whose turn it is.
#[derive(Debug)]
pub(crate) struct Gathering {
    bytes: AtomicUsize,
    bytes_max: usize,
    turns: Mutex<Turns>,
}

/// What one connection counts for.
#[derive(Debug, Default)]
pub(crate) struct Charge(usize);

impl Charge {
    pub(crate) fn is_empty(&self) -> bool {
        self.0 == 0
    }
}

#[derive(Debug, Default)]
struct Turns {
    holder: Option<Turn>,
    waiting: VecDeque<Arc<ClientLink>>,
}

#[derive(Debug)]
struct Turn {
    owner: ConnectionId,
    since_ms: u64,
    /// What the owner had gathered when it began.
    from_bytes: usize,
    until_ms: u64,
}

impl Gathering {
    /// Nothing is gathered.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes: AtomicUsize::new(0), bytes_max, turns: Mutex::default() }
    }

    /// Sets what a connection counts for.
    pub(crate) fn set(&self, charge: &mut Charge, bytes: usize) {
        let before = std::mem::replace(&mut charge.0, bytes);
        if bytes >= before {
            self.bytes.fetch_add(bytes - before, Ordering::AcqRel);
        } else {
            let sum = self.bytes.fetch_sub(before - bytes, Ordering::AcqRel) - (before - bytes);
            if sum <= self.bytes_max {
                let mut turns = self.turns();
                turns.holder = None;
                turns.waiting.drain(..).for_each(|link| link.mailbox.push(ClientInput::MayGather));
            }
        }
    }

    /// Whether a connection that has gathered so much may go on.
    ///
    /// # Errors
    /// When it must wait: until it is told, or until the time in Unix milliseconds at which it should ask again.
    pub(crate) fn ask(&self, link: &Arc<ClientLink>, bytes: usize, now_ms: u64) -> Result<(), u64> {
        if self.bytes.load(Ordering::Acquire) <= self.bytes_max {
            return Ok(());
        }
        let mut turns = self.turns();
        let turns = &mut *turns;
        // Once more: whoever makes room looks at the list only after the sum has changed.
        if self.bytes.load(Ordering::Acquire) <= self.bytes_max {
            return Ok(());
        }
        if turns.holder.as_ref().is_some_and(|turn| turn.until_ms <= now_ms) {
            turns.holder = None;
        }
        if turns.holder.is_none() {
            let next = turns.waiting.pop_front().unwrap_or_else(|| Arc::clone(link));
            if next.id != link.id {
                next.mailbox.push(ClientInput::MayGather);
            }
            turns.holder = Some(Turn::new(next.id, now_ms));
        }
        match &mut turns.holder {
            Some(turn) if turn.owner == link.id => {
                turn.go_on(bytes, now_ms);
                Ok(())
            }
            holder => {
                if !turns.waiting.iter().any(|waiting| waiting.id == link.id) {
                    turns.waiting.push_back(Arc::clone(link));
                }
                let until_ms = holder.as_ref().map_or(now_ms, |turn| turn.until_ms);
                Err(until_ms.min(now_ms + STALLED_MS))
            }
        }
    }

    /// A connection whose message waits for its shard keeps the turn, if it has it.
    pub(crate) fn hold(&self, link: &ClientLink) {
        if let Some(turn) = self.turns().holder.as_mut().filter(|turn| turn.owner == link.id) {
            turn.until_ms = u64::MAX;
        }
    }

    /// A connection has nothing to read: it does not wait for the turn, and loses it if that lasts.
    pub(crate) fn step_aside(&self, link: &ClientLink, now_ms: u64) {
        let mut turns = self.turns();
        turns.waiting.retain(|waiting| waiting.id != link.id);
        if let Some(turn) = turns.holder.as_mut().filter(|turn| turn.owner == link.id) {
            // It may have waited for its shard until now.
            turn.until_ms = turn.until_ms.min(now_ms + STALLED_MS);
        }
    }

    /// A connection gathers nothing more.
    pub(crate) fn leave(&self, link: &ClientLink) {
        let mut turns = self.turns();
        turns.waiting.retain(|waiting| waiting.id != link.id);
        if turns.holder.as_ref().is_some_and(|turn| turn.owner == link.id) {
            turns.holder = None;
            // The first to ask takes the turn, or gives it to who has waited longest.
            if let Some(next) = turns.waiting.front() {
                next.mailbox.push(ClientInput::MayGather);
            }
        }
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    fn new(owner: ConnectionId, now_ms: u64) -> Self {
        Self { owner, since_ms: now_ms, from_bytes: usize::MAX, until_ms: now_ms + STALLED_MS }
    }

    fn go_on(&mut self, bytes: usize, now_ms: u64) {
        if self.until_ms == u64::MAX || self.from_bytes == usize::MAX {
            // It begins, or it has waited for its shard.
            (self.since_ms, self.from_bytes) = (now_ms, bytes);
        }
        let come = (bytes.saturating_sub(self.from_bytes)) as u64;
        let paid_ms = self.since_ms + STALLED_MS + come / BYTES_PER_MS_MIN;
        self.until_ms = paid_ms.min(now_ms + STALLED_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::mailbox::Mailbox;

    const MIB: usize = 1 << 20;

    struct Peer {
        link: Arc<ClientLink>,
        charge: Charge,
    }

    impl Peer {
        fn of(id: u64, bytes: usize, gathering: &Gathering) -> Self {
            let link = Arc::new(ClientLink { id, mailbox: Mailbox::new(usize::MAX) });
            let mut peer = Self { link, charge: Charge::default() };
            gathering.set(&mut peer.charge, bytes);
            peer
        }

        fn asks(&self, gathering: &Gathering, now_ms: u64) -> Result<(), u64> {
            gathering.ask(&self.link, self.charge.0, now_ms)
        }

        fn was_told(&self) -> bool {
            let mut told = Vec::new();
            self.link.mailbox.take(&mut told);
            !told.is_empty()
        }
    }

    #[test]
    fn below_the_limit_all_go_on_and_above_it_one_in_turn() {
        let gathering = Gathering::new(10 * MIB);
        let mut peers: Vec<_> = (1..4).map(|id| Peer::of(id, 3 * MIB, &gathering)).collect();
        assert!(peers.iter().all(|peer| peer.asks(&gathering, 0).is_ok()));
        gathering.set(&mut peers[0].charge, 5 * MIB);
        assert_eq!(peers[1].asks(&gathering, 0), Ok(()));
        assert_eq!([0, 2, 0].map(|at| peers[at].asks(&gathering, 1)), [Err(STALLED_MS); 3]);
        gathering.set(&mut peers[1].charge, 8 * MIB);
        assert_eq!(peers[1].asks(&gathering, STALLED_MS - 10), Ok(()), "what comes pays for more time");
        // It hands its message over and is gone: the one who has waited longest is next.
        gathering.set(&mut peers[1].charge, 3 * MIB);
        gathering.leave(&peers[1].link);
        assert_eq!([0, 1, 2].map(|at| peers[at].was_told()), [true, false, false]);
        assert_eq!(
            [2, 0].map(|at| peers[at].asks(&gathering, STALLED_MS - 9)),
            [Err(2 * STALLED_MS - 9), Ok(())]
        );
        gathering.set(&mut peers[0].charge, 0);
        assert_eq!([0, 1, 2].map(|at| peers[at].was_told()), [true, false, true], "all may go on");
        assert!(peers.iter().all(|peer| peer.asks(&gathering, 902).is_ok()));
    }

    #[test]
    fn who_brings_nothing_or_little_loses_the_turn() {
        let gathering = Gathering::new(MIB);
        let (mut slow, other) = (Peer::of(1, 2 * MIB, &gathering), Peer::of(2, 2 * MIB, &gathering));
        assert_eq!((slow.asks(&gathering, 0), other.asks(&gathering, 10)), (Ok(()), Err(STALLED_MS)));
        for now_ms in (25..STALLED_MS).step_by(25) {
            let bytes = slow.charge.0 + 1;
            gathering.set(&mut slow.charge, bytes);
            assert_eq!(slow.asks(&gathering, now_ms), Ok(()));
        }
        assert_eq!((slow.asks(&gathering, STALLED_MS), other.was_told()), (Err(2 * STALLED_MS), true));
        assert_eq!(other.asks(&gathering, STALLED_MS + 1), Ok(()));
        assert_eq!(slow.asks(&gathering, 2 * STALLED_MS + 50), Ok(()), "the other stands still");
        // Who has nothing to read does not stand in the way.
        assert_eq!(other.asks(&gathering, 2 * STALLED_MS + 60), Err(3 * STALLED_MS + 50));
        gathering.step_aside(&other.link, 2 * STALLED_MS + 60);
        assert_eq!(slow.asks(&gathering, 9 * STALLED_MS), Ok(()));
    }

    #[test]
    fn who_waits_for_its_shard_keeps_the_turn() {
        let gathering = Gathering::new(MIB);
        let (holder, other) = (Peer::of(1, 2 * MIB, &gathering), Peer::of(2, 2 * MIB, &gathering));
        assert_eq!((holder.asks(&gathering, 0), other.asks(&gathering, 0)), (Ok(()), Err(STALLED_MS)));
        gathering.hold(&holder.link);
        assert_eq!(other.asks(&gathering, 60_000), Err(60_000 + STALLED_MS));
        assert_eq!(holder.asks(&gathering, 60_001), Ok(()));
        gathering.hold(&holder.link);
        gathering.leave(&holder.link);
        assert!(other.was_told());
        assert_eq!(other.asks(&gathering, 60_002), Ok(()));
    }

    #[test]
    fn who_waited_for_its_shard_and_then_brings_nothing_loses_the_turn() {
        let gathering = Gathering::new(MIB);
        let (holder, other) = (Peer::of(1, 2 * MIB, &gathering), Peer::of(2, 2 * MIB, &gathering));
        assert_eq!((holder.asks(&gathering, 0), other.asks(&gathering, 0)), (Ok(()), Err(STALLED_MS)));
        gathering.hold(&holder.link);
        // Its shard has room again, and another message of its is half gathered.
        gathering.step_aside(&holder.link, 1000);
        assert_eq!(other.asks(&gathering, 1001), Err(1000 + STALLED_MS));
        gathering.step_aside(&holder.link, 1100);
        assert_eq!(other.asks(&gathering, 1000 + STALLED_MS), Ok(()));
    }
}
