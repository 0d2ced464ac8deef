//! Writing to the socket, as far as it takes, and as far as what was promised is synced.

use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::session::Session;
use super::socket::Socket;
use crate::node::links::ShardInput;

/// A smaller or larger buffer is given back when it is empty: one costs little to get anew, the other much to keep.
const KEEP_BYTES: RangeInclusive<usize> = 4 * 1024..=256 * 1024;
/// So many outboxes may wait before the peer's requests do.
const CLOGGED: usize = 4;
/// What was written is cut off the front of the buffer when it is this much, and more than what is left.
const CUT_BYTES: usize = 1024 * 1024;

impl Session {
    /// Holds back what is written from here on until the topology's log is synced up to `index`.
    pub(super) fn hold_until_synced(&mut self, index: u64) {
        if index > self.shared.meta_synced.load(Ordering::SeqCst) {
            self.barriers.push_back((self.end(), index));
            self.shared.wait_for_meta(index, Arc::clone(&self.link));
        }
    }

    /// Bytes that wait.
    #[inline]
    fn waiting(&self) -> usize {
        self.out.length() - self.written
    }

    /// Where the output ends, in bytes since its beginning.
    fn end(&self) -> u64 {
        self.sent_bytes + self.waiting() as u64
    }

    /// Whether bytes wait.
    pub(super) fn has_output(&self) -> bool {
        self.waiting() > 0
    }

    /// Whether bytes wait that may go.
    pub(super) fn wants_to_write(&self) -> bool {
        self.sent_bytes < self.limit()
    }

    /// Whether the peer takes so little that it must not ask for more.
    pub(super) fn is_clogged(&self) -> bool {
        self.waiting() > CLOGGED * self.shared.config.limits.outbox_bytes
    }

    /// Gives back the buffers that a still connection does not need.
    pub(super) fn rest(&mut self) {
        self.tell_numbers();
        if !self.has_output() {
            self.out.buf = Vec::new();
        }
        self.outgoing.rest();
        self.repeat = None;
        self.heard = Vec::new();
        self.link.mailbox.rest();
    }

    fn limit(&self) -> u64 {
        self.barriers.front().map_or_else(|| self.end(), |(end, _)| *end)
    }

    /// Writes without waiting.
    pub(super) fn flush(&mut self, socket: &mut Socket) -> io::Result<()> {
        let synced = self.shared.meta_synced.load(Ordering::SeqCst);
        while self.barriers.front().is_some_and(|(_, index)| *index <= synced) {
            self.barriers.pop_front();
        }
        let limit = self.limit();
        while self.sent_bytes < limit {
            let first = self.out.first();
            let length = first.len();
            let allowed = usize::try_from(limit - self.sent_bytes).unwrap_or(usize::MAX);
            let end = length.min(self.written.saturating_add(allowed));
            match socket.try_write(first.get(self.written..end).unwrap_or_default()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    if self.is_clogged() {
                        // It is not read from until it takes more, so taking is its sign of life.
                        self.connection.on_bytes_received(self.now_ms);
                    }
                    self.written += count;
                    self.sent_bytes += count as u64;
                    self.tally.sent(count);
                    self.connection.on_bytes_sent(self.now_ms);
                    if self.written == length && self.out.has_parts() {
                        self.out.drop_first();
                        self.written = 0;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.tidy();
        if self.takes_replies {
            // Repliers wait while the peer does not read.
            self.link.mailbox.set_paused(self.is_clogged());
        }
        Ok(())
    }

    fn tidy(&mut self) {
        if self.out.has_parts() {
            return;
        }
        if self.written == self.out.buf.len() {
            self.written = 0;
            self.out.buf.clear();
            if !KEEP_BYTES.contains(&self.out.buf.capacity()) {
                self.out.buf = Vec::new();
            }
            self.credit_consumers();
        } else if self.written > CUT_BYTES && self.written * 2 > self.out.buf.len() {
            let cut = std::mem::take(&mut self.written);
            self.out.buf.drain(..cut);
        }
    }

    /// Everything is with the socket: consumers that have used much of their window get it back.
    fn credit_consumers(&mut self) {
        let Self { uncredited, consumers, channels, shared, .. } = self;
        uncredited.retain(|id| {
            let channel = consumers.get(id).and_then(|number| channels.get_mut(number));
            let Some(consumer) = channel.and_then(|channel| channel.consumers.get_mut(*id)) else {
                return false;
            };
            if consumer.uncredited_bytes < consumer.window_bytes / 4 {
                return true;
            }
            let bytes = std::mem::take(&mut consumer.uncredited_bytes);
            let command = crate::broker::queue::Command::Credit(*id, bytes);
            shared.shard(consumer.target).push(ShardInput::Command(consumer.target.id, command));
            false
        });
    }
}
