//! A producer's side of publisher confirms: what is safe, and whether there is room for more.

use crate::connection::{Connection, error, refuse};
use crate::error::Result;
use crate::method::{BASIC_ACK, BASIC_NACK};
use crate::wire::Decoder;

/// The messages that wait for their confirm; numbers begin at 1.
pub(crate) struct Confirms {
    window: u64,
    sent: u64,
    /// Everything up to here is settled.
    settled: u64,
    /// Settled ahead of others, at number modulo length.
    ahead: Vec<bool>,
    pub(crate) refused: u64,
}

impl Confirms {
    /// At most `window` messages may wait; 0 means that nothing is confirmed.
    pub(crate) fn new(window: u64) -> Self {
        let length = usize::try_from(window).unwrap_or(usize::MAX).clamp(1, 1 << 24);
        Self { window, sent: 0, settled: 0, ahead: vec![false; length], refused: 0 }
    }

    pub(crate) fn note_sent(&mut self, count: u64) {
        self.sent += count;
    }

    /// How many more may be sent.
    pub(crate) fn room(&self) -> u64 {
        if self.window == 0 { u64::MAX } else { self.window - self.waiting() }
    }

    pub(crate) fn waiting(&self) -> u64 {
        if self.window == 0 { 0 } else { self.sent - self.settled }
    }

    /// Takes in what the connection has read.
    pub(crate) fn take_all(&mut self, connection: &mut Connection) -> Result<()> {
        let broker = connection.broker();
        while let Some(frame) = connection.input.next().map_err(|why| error(&broker, why))? {
            refuse(&broker, &frame)?;
            let Some(method @ (BASIC_ACK | BASIC_NACK)) = frame.method() else { continue };
            if !self.settle(method, frame.payload.get(4..).unwrap_or_default()) {
                return Err(error(&broker, "it confirmed a message that did not wait for it"));
            }
        }
        Ok(())
    }

    /// Takes in a basic.ack or basic.nack; false when it settles what was never sent.
    fn settle(&mut self, method: u32, arguments: &[u8]) -> bool {
        let mut from = Decoder(arguments);
        let (Some(tag), Some(bits)) = (from.u64(), from.u8()) else { return false };
        let multiple = bits & 1 == 1;
        debug_assert!(method == BASIC_ACK || method == BASIC_NACK);
        let before = self.settled;
        let known = if multiple { self.settle_up_to(tag) } else { self.settle_one(tag) };
        if method == BASIC_NACK && known {
            self.refused += if multiple { self.settled - before } else { 1 };
        }
        known
    }

    fn settle_up_to(&mut self, tag: u64) -> bool {
        let up_to = if tag == 0 { self.sent } else { tag };
        while self.settled < up_to.min(self.sent) {
            self.settled += 1;
            *self.mark(self.settled) = false;
        }
        self.skip_settled();
        up_to <= self.sent
    }

    fn settle_one(&mut self, tag: u64) -> bool {
        if tag > self.sent || tag <= self.settled {
            return false;
        }
        *self.mark(tag) = true;
        self.skip_settled();
        true
    }

    fn skip_settled(&mut self) {
        while self.settled < self.sent && *self.mark(self.settled + 1) {
            self.settled += 1;
            *self.mark(self.settled) = false;
        }
    }

    fn mark(&mut self, number: u64) -> &mut bool {
        let length = self.ahead.len() as u64;
        let at = usize::try_from(number % length).unwrap_or(0);
        &mut self.ahead[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(confirms: &mut Confirms, tag: u64, multiple: u8) -> bool {
        let mut arguments = tag.to_be_bytes().to_vec();
        arguments.push(multiple);
        confirms.settle(BASIC_ACK, &arguments)
    }

    #[test]
    fn room_comes_back_from_the_oldest_on() {
        let mut confirms = Confirms::new(4);
        confirms.note_sent(4);
        assert_eq!((confirms.room(), confirms.waiting()), (0, 4));
        assert!(ack(&mut confirms, 2, 0));
        assert_eq!(confirms.room(), 0);
        assert!(ack(&mut confirms, 1, 0));
        assert_eq!(confirms.room(), 2);
        confirms.note_sent(2);
        assert!(ack(&mut confirms, 6, 1));
        assert_eq!((confirms.room(), confirms.refused), (4, 0));
    }

    #[test]
    fn what_was_never_sent_cannot_be_confirmed() {
        let mut confirms = Confirms::new(2);
        confirms.note_sent(1);
        assert!(!ack(&mut confirms, 2, 0));
        assert!(ack(&mut confirms, 1, 0));
        assert!(!ack(&mut confirms, 1, 0));
    }

    #[test]
    fn refusals_are_counted() {
        let mut confirms = Confirms::new(8);
        confirms.note_sent(5);
        assert!(confirms.settle(BASIC_NACK, &[0, 0, 0, 0, 0, 0, 0, 3, 1]));
        assert_eq!((confirms.refused, confirms.waiting()), (3, 2));
    }
}
