//! Connections that publish while the machine is short of something are not read from (RabbitMQ: Memory and Disk Alarms).

use super::session::Session;
use super::{Client, READ_BYTES_MAX};

/// How often it is looked whether a peer that is not read from is leaving.
const LOOK_EVERY_MS: u64 = 1000;

/// Whether alarms stop what this connection publishes.
#[derive(Debug, Default)]
pub(super) enum Block {
    /// No publish has met an alarm.
    #[default]
    Free,
    /// A publish waits; `is_told` if the client knows.
    Blocked { is_told: bool, look_at_ms: u64 },
    /// The peer is leaving. The little that is left of it is taken: what it holds may be what the others wait for.
    Leaving,
}

impl Session {
    /// Whether publishes have to wait; to be asked once for each read.
    pub(super) fn heeds_alarms(&self) -> bool {
        self.shared.resource_alarms.are_on() && !matches!(self.block, Block::Leaving)
    }

    /// Whether the peer's next method waits for the end of an alarm. One whose connection is ending may go.
    pub(super) fn is_blocked(&self) -> bool {
        matches!(self.block, Block::Blocked { .. }) && self.connection.is_running()
    }

    /// A publish comes next: if an alarm is still on, nothing is read from here on.
    pub(super) fn block(&mut self) -> bool {
        let Some(reason) = self.shared.resource_alarms.reason() else { return false };
        if !self.connection.is_running() {
            return false;
        }
        tracing::debug!(connection = self.link.id, peer = %self.peer, reason, "blocked");
        let is_told = self.connection.tell_blocked(reason, &mut self.out);
        self.tally.tell_soon();
        self.block = Block::Blocked { is_told, look_at_ms: self.now_ms + LOOK_EVERY_MS };
        true
    }

    /// What was published already waits as well: one that publishes nothing before that is confirmed is told, too.
    pub(super) fn block_waiting(&mut self) {
        if matches!(self.block, Block::Free) {
            self.block();
        }
    }

    /// Ends the block when all alarms are over.
    pub(super) fn look_at_alarms(&mut self) {
        if let Block::Blocked { is_told, .. } = self.block
            && !self.shared.resource_alarms.are_on()
        {
            self.block = Block::Free;
            self.tally.tell_soon();
            if is_told && self.connection.is_running() {
                self.connection.tell_unblocked(&mut self.out);
            }
        }
    }

    pub(super) fn block_timeout_ms(&self) -> Option<u64> {
        match self.block {
            Block::Blocked { look_at_ms, .. } => Some(look_at_ms),
            Block::Free | Block::Leaving => None,
        }
    }
}

impl Client {
    /// Looks from time to time whether a peer that is not read from has closed its socket, or has sent
    /// `connection.close` and waits for the answer.
    pub(super) async fn look_at_blocked_peer(&mut self) {
        let Block::Blocked { look_at_ms, .. } = &mut self.session.block else { return };
        if *look_at_ms > self.session.now_ms {
            return;
        }
        *look_at_ms = self.session.now_ms + LOOK_EVERY_MS;
        if self.socket.is_half_closed().await || self.has_close_coming().await {
            self.session.block = Block::Leaving;
        }
    }

    async fn has_close_coming(&mut self) -> bool {
        let mut coming = self.read.get(self.consumed..).unwrap_or_default().to_vec();
        let known = coming.len();
        coming.resize(known + READ_BYTES_MAX, 0);
        let peeked = self.socket.peek(coming.get_mut(known..).unwrap_or_default()).await;
        coming.truncate(known + peeked);
        self.inbound.close_follows(&coming)
    }
}
