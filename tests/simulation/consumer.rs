//! Consumers: they take messages, acknowledge them, give them back, and die. One always comes back.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::clients::{Broker, Client, Connection, Outside, Settlements, Standing, note_delivery};
use super::history::Fact;
use super::random::Random;
use super::world::World;
use crate::broker::ids::QueueId;
use crate::broker::queue::{Command, ConsumerId, ConsumerSpec, Delivery, SeqRange};
use crate::node::links::{ClientInput, NotConsuming, ShardInput};

pub(super) struct Consumer {
    queue: QueueId,
    prefetch: u16,
    no_ack: bool,
    pause_us: u64,
    /// Of a thousand: how often it gives back, fails, and dies.
    requeues: u64,
    rejects: u64,
    dies: u64,
    attached: Option<Attached>,
    held: VecDeque<u64>,
    settlements: Settlements,
    random: Random,
}

struct Attached {
    connection: Connection,
    id: ConsumerId,
    reply: Option<oneshot::Receiver<Result<(), NotConsuming>>>,
    /// It ends: answered when nothing more will be given to it.
    suspended: Option<oneshot::Receiver<()>>,
}

impl Consumer {
    pub(super) fn new(queue: QueueId, mut random: Random) -> Self {
        Self {
            queue,
            prefetch: u16::try_from(random.skewed(1, 100)).unwrap(),
            no_ack: random.per_mille(200),
            pause_us: random.skewed(2_000, 500_000),
            rejects: random.below(60),
            requeues: random.below(150),
            dies: random.below(10),
            attached: None,
            held: VecDeque::new(),
            settlements: Settlements::default(),
            random,
        }
    }

    fn attach<M: Broker>(&mut self, world: &mut World<M>, outside: &mut Outside) {
        let Some(connection) = outside.connect(world, &mut self.random) else { return };
        let (reply, answer) = oneshot::channel();
        let id = connection.shared.next_id();
        let spec = ConsumerSpec {
            id,
            no_ack: self.no_ack,
            exclusive: false,
            prefetch: self.prefetch,
            priority: 0,
            window_bytes: 1 << 40,
            shared: Arc::default(),
            is_back: false,
            was_served: false,
        };
        let input = ShardInput::Consume(self.queue, Box::new(spec), Arc::clone(&connection.link), reply);
        world.note(|| format!("consumer {id} begins, connection {}", connection.number));
        connection.ask(world, self.queue, input);
        self.attached = Some(Attached { connection, id, reply: Some(answer), suspended: None });
    }

    fn is_dying(&self) -> bool {
        self.attached.as_ref().is_some_and(|attached| attached.suspended.is_some())
    }

    /// Its node is gone, and all it held with it.
    fn detach(&mut self) {
        self.attached = None;
        self.held.clear();
        self.settlements.forget();
    }

    fn hear<M: Broker>(&mut self, world: &mut World<M>, outside: &mut Outside) {
        let Some(attached) = &mut self.attached else { return };
        let mut is_refused = false;
        if let Some(reply) = &mut attached.reply {
            match reply.try_recv() {
                Ok(taken) => (attached.reply, is_refused) = (None, taken.is_err()),
                Err(oneshot::error::TryRecvError::Empty) => {}
                Err(oneshot::error::TryRecvError::Closed) => is_refused = true,
            }
        }
        let id = attached.id;
        for input in attached.connection.hear() {
            match input {
                ClientInput::Deliver(delivery) if delivery.consumer == id => {
                    self.take(world.now_us, &delivery, outside);
                }
                ClientInput::ConsumerCancelled(consumer) => is_refused |= consumer == id,
                _ => {}
            }
        }
        if is_refused {
            self.die(world);
        }
    }

    fn take(&mut self, now_us: u64, delivery: &Delivery, outside: &mut Outside) {
        // A consumer has its number from its node; over all nodes and runs that of its connection tells it apart.
        let attached = self.attached.as_ref();
        let consumer = attached.map_or(0, |attached| attached.connection.number);
        for entry in &delivery.entries {
            let at = usize::try_from(entry.offset).unwrap();
            let record = delivery.data.get(at..).unwrap_or_default();
            let emitted_us = attached.and_then(|attached| outside.left_at_us(attached.id, entry.seq));
            let given = (consumer, emitted_us.unwrap_or(now_us));
            note_delivery(now_us, outside, (self.queue, entry.seq), record, given, entry.redelivered);
            if self.no_ack {
                // It was gone before it left its owner.
                let place = (self.queue, entry.seq);
                outside.history.note(now_us, Fact::AckSent(place));
                outside.history.note(now_us, Fact::AckDone(place));
            } else {
                self.held.push_back(entry.seq);
            }
        }
    }

    fn settle<M: Broker>(&mut self, world: &mut World<M>, outside: &mut Outside) {
        let Some(attached) = &self.attached else { return };
        self.settlements.look(world, attached.connection.node, outside);
        let most = if outside.is_over { self.held.len() } else { self.random.index(self.held.len() + 1) };
        let mut acked: Vec<SeqRange> = Vec::new();
        for _ in 0..most {
            let Some(seq) = self.held.pop_front() else { break };
            if !outside.is_over && self.random.per_mille(self.requeues) {
                let back = vec![(seq, 1)];
                let command = if self.random.per_mille(500) {
                    Command::Requeue(attached.id, back)
                } else {
                    Command::Fail(attached.id, back)
                };
                attached.connection.ask(world, self.queue, ShardInput::Command(self.queue, command));
                continue;
            }
            let has_letters = outside.history.letters_to.contains_key(&self.queue);
            if has_letters && !outside.is_over && self.random.per_mille(self.rejects) {
                let command = Command::Reject(attached.id, vec![(seq, 1)]);
                attached.connection.ask(world, self.queue, ShardInput::Command(self.queue, command));
                continue;
            }
            self.settlements.sent(world.now_us, (self.queue, seq), outside);
            acked.push((seq, 1));
        }
        if !acked.is_empty() {
            let command = Command::Ack(attached.id, acked);
            attached.connection.ask(world, self.queue, ShardInput::Command(self.queue, command));
        }
    }

    /// As a client task ends a channel: nothing more comes in, then what it holds goes back, then the consumer.
    fn die<M: Broker>(&mut self, world: &mut World<M>) {
        let Some(attached) = &mut self.attached else { return };
        let (reply, answer) = oneshot::channel();
        world.note(|| format!("consumer {} ends", attached.id));
        attached.suspended = Some(answer);
        let input = ShardInput::Suspend(self.queue, attached.id, reply);
        attached.connection.ask(world, self.queue, input);
    }

    fn go_on_dying<M: Broker>(&mut self, world: &mut World<M>) {
        let Some(attached) = &mut self.attached else { return };
        let is_waiting = |answer: &mut oneshot::Receiver<()>| {
            answer.try_recv() == Err(oneshot::error::TryRecvError::Empty)
        };
        if attached.suspended.as_mut().is_some_and(is_waiting) {
            return;
        }
        let mut held: Vec<SeqRange> = self.held.iter().map(|seq| (*seq, 1)).collect();
        for input in attached.connection.hear() {
            if let ClientInput::Deliver(delivery) = input {
                held.extend(delivery.entries.iter().map(|entry| (entry.seq, 1)));
            }
        }
        let (queue, id) = (self.queue, attached.id);
        world.note(|| format!("consumer {id} has ended, and gives back {held:?}"));
        if !held.is_empty() && !self.no_ack {
            let back = ShardInput::Command(queue, Command::Requeue(id, held));
            attached.connection.ask(world, queue, back);
        }
        // Nobody waits for the answer.
        let (reply, _) = oneshot::channel();
        attached.connection.ask(world, queue, ShardInput::Cancel(queue, id, reply));
        self.detach();
    }
}

impl<M: Broker> Client<M> for Consumer {
    fn act(&mut self, world: &mut World<M>, outside: &mut Outside) -> u64 {
        match self.attached.as_ref().map(|attached| attached.connection.standing(world)) {
            None => self.attach(world, outside),
            Some(Standing::Lost) => self.detach(),
            Some(Standing::Paused) => {}
            Some(Standing::Well) if self.is_dying() => self.go_on_dying(world),
            Some(Standing::Well) => {
                self.hear(world, outside);
                self.settle(world, outside);
                if !self.is_dying() && !outside.is_over && self.random.per_mille(self.dies) {
                    self.die(world);
                }
            }
        }
        self.random.skewed(self.pause_us / 4 + 1, self.pause_us * 2)
    }

    fn is_done(&self) -> bool {
        self.held.is_empty() && !self.is_dying()
    }

    fn state(&self) -> Option<String> {
        (!Client::<M>::is_done(self)).then(|| format!("consumer of {} holds {:?}", self.queue.0, self.held))
    }
}
