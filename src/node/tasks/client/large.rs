//! Large messages: taken over in the memory that they were gathered in, and gathered a few at a time.

use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;

use super::Client;
use super::publish::send;
use super::session::Session;
use crate::broker::batch::{Batch, FRONT_BYTES_MAX, Message};
use crate::broker::channel::outgoing::{Confirm, Ready};
use crate::broker::ids::Target;
use crate::protocol::error::Refusal;
use crate::protocol::inbound::{GATHERED_ROOM, Gathered, LARGE_BODY_BYTES};

const _: () = assert!(FRONT_BYTES_MAX <= GATHERED_ROOM, "a record's front fits in front of what is gathered");

/// A large publish that was checked and routed; its body is where it was gathered.
#[derive(Debug)]
pub(super) struct Whole {
    /// The channel, and which use of its number.
    place: (u16, u32),
    targets: Vec<Target>,
    persistent: bool,
    number: Option<u64>,
    front: Vec<u8>,
}

impl Whole {
    pub(super) fn of(
        message: &Message<'_>,
        place: (u16, u32),
        targets: &[Target],
        number: Option<u64>,
    ) -> Self {
        let mut front = Vec::with_capacity(FRONT_BYTES_MAX);
        message.put_front(&mut front);
        Self { place, targets: targets.to_vec(), persistent: message.persistent, number, front }
    }
}

/// What becomes of the publish that is handled now.
#[derive(Debug, Default)]
pub(super) enum Large {
    /// It is copied into batches.
    #[default]
    No,
    /// It is large: its record is made where it was gathered, if its header stays as it is.
    Expected,
    Checked(Whole),
}

impl Session {
    pub(super) fn publish_gathered(&mut self, gathered: Gathered) -> Result<(), Refusal> {
        self.large = Large::Expected;
        let result = self.publish(&gathered.publish());
        if let Large::Checked(whole) = std::mem::take(&mut self.large) {
            self.send_whole(whole, gathered.into_bytes());
        }
        result
    }

    fn send_whole(&mut self, whole: Whole, mut bytes: Vec<u8>) {
        let start = GATHERED_ROOM.saturating_sub(whole.front.len());
        if let Some(room) = bytes.get_mut(start..GATHERED_ROOM) {
            room.copy_from_slice(&whole.front);
        }
        let records = Bytes::from(bytes).slice(start..);
        self.handed_bytes += records.len();
        // What was published before comes first.
        self.send_batches();
        for target in whole.targets {
            let (channel, epoch) = whole.place;
            let confirm = whole.number.map(|number| Confirm { channel, epoch, ranges: vec![(number, 1)] });
            let persistent = u32::from(whole.persistent);
            let batch = Batch { records: records.clone(), count: 1, persistent, is_loose: false };
            send(&self.shared, &self.link, &mut self.full, Ready { target, batch, confirm });
        }
    }

    /// The connection is over: what it gathered is nobody's any more.
    pub(super) fn end_gathering(&mut self) {
        if !self.charge.is_empty() {
            self.shared.gathering.set(&mut self.charge, 0);
            self.shared.gathering.leave(&self.link);
        }
    }

    /// Whether this connection has to wait until others have handed over what they gather.
    pub(super) fn waits_for_turn(&self) -> bool {
        self.turn_timeout_ms.is_some()
    }
}

impl Client {
    /// Tells how much this connection gathers, and asks whether it may go on; once for each round.
    pub(super) async fn look_at_gathering(&mut self) {
        let session = &mut self.session;
        if session.full.is_none() {
            session.handed_bytes = 0;
        }
        let gathered = self.inbound.gathered_bytes();
        if gathered < LARGE_BODY_BYTES && session.handed_bytes == 0 && session.charge.is_empty() {
            return;
        }
        // Who has nothing to bring does not stand in line.
        let has_input = poll_fn(|cx| Poll::Ready(self.socket.poll_read_ready(cx).is_ready())).await;
        let bytes = if gathered < LARGE_BODY_BYTES { 0 } else { gathered } + session.handed_bytes;
        let gathering = &session.shared.gathering;
        gathering.set(&mut session.charge, bytes);
        session.turn_timeout_ms = if bytes == 0 {
            gathering.leave(&session.link);
            None
        } else if session.full.is_some() {
            // It waits for a shard already, and keeps its turn.
            gathering.hold(&session.link);
            None
        } else if !has_input {
            gathering.step_aside(&session.link, session.now_ms);
            None
        } else {
            gathering.ask(&session.link, bytes, session.now_ms).err()
        };
    }
}
