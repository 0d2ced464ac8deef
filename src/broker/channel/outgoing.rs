//! Messages on their way from one connection to queues: one open batch for each channel and queue.

use crate::broker::batch::{Batch, Message};
use crate::broker::ids::Target;
use crate::broker::queue::SeqRange;

/// Publishes whose confirm waits for a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confirm {
    /// The channel.
    pub channel: u16,
    /// Which use of the channel's number.
    pub epoch: u32,
    /// The publish numbers.
    pub ranges: Vec<SeqRange>,
}

/// A batch that is complete.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Where it goes.
    pub target: Target,
    /// The messages.
    pub batch: Batch,
    /// Who waits for it.
    pub confirm: Option<Confirm>,
}

#[derive(Debug)]
struct Open {
    target: Target,
    channel: u16,
    epoch: u32,
    records: Vec<u8>,
    count: u32,
    persistent: u32,
    ranges: Vec<SeqRange>,
}

/// The open batches of a connection.
#[derive(Debug, Default)]
pub struct Outgoing {
    open: Vec<Open>,
    bytes: usize,
}

impl Outgoing {
    /// Appends a message; `number` is its publish number when the channel wants confirms.
    pub fn append(
        &mut self,
        (channel, epoch): (u16, u32),
        target: Target,
        message: &Message<'_>,
        number: Option<u64>,
    ) {
        let at = self.position(channel, epoch, target);
        let Some(open) = self.open.get_mut(at) else { return };
        let before = open.records.len();
        message.put(&mut open.records);
        self.bytes += open.records.len() - before;
        open.count += 1;
        open.persistent += u32::from(message.persistent);
        if let Some(number) = number {
            match open.ranges.last_mut() {
                Some((first, count)) if *first + *count == number => *count += 1,
                Some(_) | None => open.ranges.push((number, 1)),
            }
        }
    }

    fn position(&mut self, channel: u16, epoch: u32, target: Target) -> usize {
        let same =
            |open: &Open| open.target.id == target.id && open.channel == channel && open.epoch == epoch;
        self.open.iter().rposition(same).unwrap_or_else(|| {
            self.open.push(Open {
                target,
                channel,
                epoch,
                records: Vec::new(),
                count: 0,
                persistent: 0,
                ranges: Vec::new(),
            });
            self.open.len() - 1
        })
    }

    /// Bytes in open batches.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Closes all batches, in the order in which they were begun.
    pub fn take(&mut self) -> impl Iterator<Item = Ready> + '_ {
        self.bytes = 0;
        self.open.drain(..).map(|open| {
            let confirm = (!open.ranges.is_empty()).then_some(Confirm {
                channel: open.channel,
                epoch: open.epoch,
                ranges: open.ranges,
            });
            let batch =
                Batch { records: open.records.into(), count: open.count, persistent: open.persistent };
            Ready { target: open.target, batch, confirm }
        })
    }
}
