//! A publisher: sends numbered messages with confirms, and sends again what was refused or never answered.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::clients::{Broker, Client, Connection, Outside, Standing};
use super::history::{Fact, MessageId};
use super::random::Random;
use super::world::World;
use crate::broker::batch::{Batch, Message};
use crate::broker::channel::outgoing::Confirm;
use crate::broker::ids::QueueId;
use crate::node::links::{ClientInput, ShardInput, Waiter};

/// After so long without an answer it goes to another node.
const PATIENCE_US: (u64, u64) = (4_000_000, 15_000_000);
const BATCH_MAX: u64 = 6;

pub(super) struct Publisher {
    number: u32,
    next: u32,
    /// So many messages it sends.
    total: u32,
    /// So many may be without an answer.
    window: usize,
    pause_us: u64,
    body_max: u64,
    connection: Option<Connection>,
    published: u64,
    open: BTreeMap<u64, (MessageId, QueueId)>,
    again: VecDeque<(MessageId, QueueId)>,
    progress_us: u64,
    patience_us: u64,
    random: Random,
}

impl Publisher {
    pub(super) fn new(number: u32, mut random: Random) -> Self {
        Self {
            number,
            next: 0,
            total: u32::try_from(random.between(20, 300)).unwrap(),
            window: 1 + random.index(40),
            pause_us: random.skewed(2_000, 400_000),
            body_max: random.skewed(20, 6_000),
            connection: None,
            published: 0,
            open: BTreeMap::new(),
            again: VecDeque::new(),
            progress_us: 0,
            patience_us: random.between(PATIENCE_US.0, PATIENCE_US.1),
            random,
        }
    }

    /// What has no answer is sent again, to whomever.
    fn disconnect(&mut self) {
        self.connection = None;
        let open = std::mem::take(&mut self.open);
        self.again.extend(open.into_values().map(|(message, queue)| (next_attempt(message), queue)));
    }

    fn hear(&mut self, now_us: u64, outside: &mut Outside) {
        let heard = self.connection.as_ref().map(Connection::hear).unwrap_or_default();
        for input in heard {
            let ClientInput::Confirmed(confirm, accepted) = input else { continue };
            for number in confirm.ranges.iter().flat_map(|(first, count)| *first..first + count) {
                let Some((message, queue)) = self.open.remove(&number) else { continue };
                self.progress_us = now_us;
                if accepted {
                    outside.history.note(now_us, Fact::Confirmed(message));
                } else {
                    outside.history.note(now_us, Fact::Refused(message));
                    self.again.push_back((next_attempt(message), queue));
                }
            }
        }
    }

    fn publish<M: Broker>(&mut self, world: &mut World<M>, outside: &mut Outside) {
        let Some((queue, messages)) = self.pick(outside) else { return };
        let Some(connection) = &self.connection else { return };
        let now_ms = connection.shared.clock.now_ms();
        let (mut records, count) = (Vec::new(), messages.len() as u64);
        for message in &messages {
            let mut body = message.body().to_vec();
            body.resize(MessageId::BYTES + self.random.index(usize::try_from(self.body_max).unwrap()), 0xaa);
            let priority = self.random.below(5) as u8;
            let message = Message {
                exchange: b"",
                routing_key: b"q",
                header: &header_of(priority),
                body: &body,
                priority,
                ..Message::default()
            };
            Message { enqueued_ms: now_ms, persistent: true, ..message }.put(&mut records);
        }
        let count_32 = u32::try_from(count).unwrap();
        let batch = Batch::of(records, count_32, count_32);
        let confirm = Confirm { channel: 1, epoch: 1, ranges: vec![(self.published + 1, count)] };
        let waiter = Waiter::Publisher(Arc::clone(&connection.link), confirm);
        connection.ask(world, queue, ShardInput::Publish(queue, batch, waiter));
        for message in messages {
            self.published += 1;
            self.open.insert(self.published, (message, queue));
            let fact = Fact::Sent { message, queue, connection: connection.number };
            outside.history.note(world.now_us, fact);
        }
    }

    /// The messages to be sent next, all to one queue.
    fn pick(&mut self, outside: &Outside) -> Option<(QueueId, Vec<MessageId>)> {
        let most = self.random.between(1, BATCH_MAX).min(self.window.saturating_sub(self.open.len()) as u64);
        if let Some((_, queue)) = self.again.front().copied() {
            let mut messages = Vec::new();
            while (messages.len() as u64) < most
                && self.again.front().is_some_and(|(_, other)| *other == queue)
            {
                messages.extend(self.again.pop_front().map(|(message, _)| message));
            }
            return (!messages.is_empty()).then_some((queue, messages));
        }
        let queue = self.random.pick(&outside.queues)?;
        let left = u64::from(self.total - self.next);
        let (first, count) = (self.next, u32::try_from(most.min(left)).unwrap());
        self.next += count;
        let message = |number| MessageId { publisher: self.number, number, attempt: 0 };
        (count > 0).then(|| (queue, (first..first + count).map(message).collect()))
    }
}

/// A content header payload: class 60, weight 0, body size (not looked at here), delivery mode 2, a priority.
fn header_of(priority: u8) -> [u8; 16] {
    [0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x18, 0, 2, priority]
}

fn next_attempt(message: MessageId) -> MessageId {
    MessageId { attempt: message.attempt + 1, ..message }
}

impl<M: Broker> Client<M> for Publisher {
    fn act(&mut self, world: &mut World<M>, outside: &mut Outside) -> u64 {
        let now_us = world.now_us;
        match self.connection.as_ref().map(|connection| connection.standing(world)) {
            None | Some(Standing::Lost) => {
                self.disconnect();
                self.connection = outside.connect(world, &mut self.random);
                self.progress_us = now_us;
            }
            Some(Standing::Paused) => {}
            Some(Standing::Well) => {
                self.hear(now_us, outside);
                if !Client::<M>::is_done(self) && self.open.len() < self.window {
                    self.publish(world, outside);
                }
            }
        }
        if self.open.is_empty() {
            self.progress_us = now_us;
        }
        if now_us > self.progress_us + self.patience_us {
            self.disconnect();
        }
        self.random.skewed(self.pause_us / 4 + 1, self.pause_us * 2)
    }

    fn is_done(&self) -> bool {
        self.open.is_empty() && self.again.is_empty() && self.next == self.total
    }

    fn state(&self) -> Option<String> {
        (!Client::<M>::is_done(self)).then(|| {
            format!(
                "publisher {}: next {} of {}, again {:?}, open {:?}",
                self.number, self.next, self.total, self.again, self.open
            )
        })
    }
}
