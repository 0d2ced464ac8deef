//! A client that fetches single messages, purges now and then, and counts at the end.

use tokio::sync::oneshot;

use super::clients::{Broker, Client, Connection, Outside, Settlements, Standing, note_delivery};
use super::history::Fact;
use super::random::Random;
use super::world::World;
use crate::broker::ids::QueueId;
use crate::broker::queue::{Command, GETTER, GetReply};
use crate::node::links::ShardInput;

/// Fetched messages are told apart from those of consumers by this in their consumer's number.
const FETCHED: u64 = 1 << 62;

pub(super) struct Getter {
    pause_us: u64,
    /// Of a thousand.
    purges: u64,
    connection: Option<Connection>,
    asked: Option<Asked>,
    held: Vec<(QueueId, u64)>,
    settlements: Settlements,
    fetched: u64,
    random: Random,
}

enum Asked {
    Get(QueueId, oneshot::Receiver<Option<GetReply>>),
    Purge(QueueId, oneshot::Receiver<Option<u64>>),
}

impl Getter {
    pub(super) fn new(mut random: Random) -> Self {
        Self {
            pause_us: random.skewed(20_000, 2_000_000),
            purges: if random.per_mille(150) { random.below(50) } else { 0 },
            connection: None,
            asked: None,
            held: Vec::new(),
            settlements: Settlements::default(),
            fetched: 0,
            random,
        }
    }

    fn ask<M: Broker>(&mut self, world: &mut World<M>, outside: &mut Outside) {
        let Some(connection) = &self.connection else { return };
        let Some(queue) = self.random.pick(&outside.queues) else { return };
        if self.random.per_mille(self.purges) {
            let (reply, answer) = oneshot::channel();
            outside.history.note(world.now_us, Fact::PurgeBegun(queue));
            connection.ask(world, queue, ShardInput::Purge(queue, reply));
            self.asked = Some(Asked::Purge(queue, answer));
        } else {
            let (reply, answer) = oneshot::channel();
            connection.ask(world, queue, ShardInput::Get(queue, false, reply));
            self.asked = Some(Asked::Get(queue, answer));
        }
    }

    /// The answer, if it is there. A purge that was never answered may yet take place: that stays open in the history.
    fn hear(&mut self, now_us: u64, outside: &mut Outside) {
        use oneshot::error::TryRecvError::Empty;
        match self.asked.take() {
            None => {}
            Some(Asked::Get(queue, mut answer)) => match answer.try_recv() {
                Ok(Some(GetReply::Message { seq, record, redelivered, .. })) => {
                    self.fetched += 1;
                    let connection = self.connection.as_ref().map_or(0, |connection| connection.number);
                    // Each fetch stands for itself: there is no order between them.
                    let consumer = FETCHED | connection << 24 | self.fetched;
                    // When it left its owner is not known: before it was here.
                    note_delivery(now_us, outside, (queue, seq), &record, (consumer, 0), redelivered);
                    self.held.push((queue, seq));
                }
                Ok(Some(GetReply::Empty) | None) => {}
                Err(Empty) => self.asked = Some(Asked::Get(queue, answer)),
                Err(_) => {}
            },
            Some(Asked::Purge(queue, mut answer)) => match answer.try_recv() {
                Ok(Some(_)) => outside.history.note(now_us, Fact::PurgeDone(queue)),
                Err(Empty) => self.asked = Some(Asked::Purge(queue, answer)),
                Ok(None) | Err(_) => {}
            },
        }
    }

    fn settle<M: Broker>(&mut self, world: &mut World<M>, outside: &mut Outside) {
        let Some(connection) = &self.connection else { return };
        self.settlements.look(world, connection.node, outside);
        for (queue, seq) in std::mem::take(&mut self.held) {
            let (ranges, is_acked) = (vec![(seq, 1)], outside.is_over || self.random.per_mille(700));
            let command =
                if is_acked { Command::Ack(GETTER, ranges) } else { Command::Requeue(GETTER, ranges) };
            if is_acked {
                self.settlements.sent(world.now_us, (queue, seq), outside);
            }
            connection.ask(world, queue, ShardInput::Command(queue, command));
        }
    }

    fn detach(&mut self) {
        self.connection = None;
        self.asked = None;
        self.held.clear();
        self.settlements.forget();
    }
}

impl<M: Broker> Client<M> for Getter {
    fn act(&mut self, world: &mut World<M>, outside: &mut Outside) -> u64 {
        match self.connection.as_ref().map(|connection| connection.standing(world)) {
            None => self.connection = outside.connect(world, &mut self.random),
            Some(Standing::Lost) => self.detach(),
            Some(Standing::Paused) => {}
            Some(Standing::Well) => {
                self.hear(world.now_us, outside);
                self.settle(world, outside);
                if self.asked.is_none() && !outside.is_over {
                    self.ask(world, outside);
                }
            }
        }
        self.random.skewed(self.pause_us / 4 + 1, self.pause_us * 2)
    }

    fn is_done(&self) -> bool {
        self.asked.is_none() && self.held.is_empty()
    }

    fn state(&self) -> Option<String> {
        (!Client::<M>::is_done(self))
            .then(|| format!("getter asks {}, holds {:?}", self.asked.is_some(), self.held))
    }
}
