//! One run: clients at work while faults strike, then peace until everything is answered and drained, then the check.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use super::checker::check;
use super::clients::{Broker, Client, Connection, Outside, Standing};
use super::consumer::Consumer;
use super::faults::{Faults, heal};
use super::getter::Getter;
use super::history::Fact;
use super::publisher::Publisher;
use super::random::Random;
use super::world::{Happened, World};
use crate::broker::ids::QueueId;
use crate::broker::queue::Counts;
use crate::node::links::ShardInput;

const STRIKE: u64 = 0;
const LOOK: u64 = 1;
const CLIENTS: u64 = 2;

/// How often it is looked whether all is done.
const LOOK_US: u64 = 500_000;
/// Nothing may be heard for this long at the end.
const QUIET_US: u64 = 8_000_000;
/// Peace in which everything must be done; more would mean that something is stuck.
const PEACE_US: u64 = 180_000_000;

/// What came of a run.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) problems: Vec<String>,
    pub(super) fingerprint: u64,
    pub(super) sent: usize,
    pub(super) delivered: usize,
    pub(super) faults: u64,
}

/// Who uses the queues.
pub(super) struct Crowd {
    pub(super) publishers: u32,
    pub(super) consumers: u32,
    pub(super) getters: u32,
    /// How long faults strike.
    pub(super) chaos_us: u64,
}

impl Crowd {
    pub(super) fn new(random: &mut Random) -> Self {
        Self {
            publishers: random.between(1, 4) as u32,
            consumers: random.between(1, 3) as u32,
            getters: random.below(3) as u32,
            chaos_us: random.between(2_000_000, 25_000_000),
        }
    }
}

struct Run<M: Broker> {
    world: World<M>,
    outside: Outside,
    clients: Vec<Box<dyn Client<M>>>,
    publishers: usize,
    faults: Faults,
    chaos_us: u64,
    end_us: u64,
    heard: usize,
    quiet_since_us: u64,
    counting: Option<Counting>,
    random: Random,
}

/// The last question: what do the queues count?
struct Counting {
    connection: Connection,
    answers: Vec<(QueueId, oneshot::Receiver<Option<Counts>>)>,
}

pub(super) fn run<M: Broker>(
    mut world: World<M>,
    crowd: &Crowd,
    queues: Vec<QueueId>,
    letters_to: BTreeMap<QueueId, QueueId>,
    watch: &mut dyn FnMut(&mut World<M>, &mut Outside, Happened),
) -> (World<M>, Outcome) {
    let random = world.random.fork();
    let mut outside = Outside::new(queues.clone());
    outside.history.letters_to = letters_to;
    let mut clients: Vec<Box<dyn Client<M>>> = Vec::new();
    for number in 1..=crowd.publishers {
        clients.push(Box::new(Publisher::new(number, world.random.fork())));
    }
    for queue in &queues {
        for _ in 0..crowd.consumers {
            clients.push(Box::new(Consumer::new(*queue, world.random.fork())));
        }
    }
    for _ in 0..crowd.getters {
        clients.push(Box::new(Getter::new(world.random.fork())));
    }
    for at in 0..clients.len() {
        let after_us = world.random.below(1_000_000);
        world.plan(after_us, CLIENTS + at as u64);
    }
    world.plan(1_000_000, STRIKE);
    world.plan(LOOK_US, LOOK);
    let mut run = Run {
        faults: Faults::new(world.random.fork()),
        outside,
        publishers: crowd.publishers as usize,
        chaos_us: crowd.chaos_us,
        end_us: crowd.chaos_us + PEACE_US,
        heard: 0,
        quiet_since_us: 0,
        counting: None,
        clients,
        world,
        random,
    };
    run.go(watch);
    let outcome = run.outcome();
    (run.world, outcome)
}

impl<M: Broker> Run<M> {
    fn go(&mut self, watch: &mut dyn FnMut(&mut World<M>, &mut Outside, Happened)) {
        while let Some(happened) = self.world.step() {
            watch(&mut self.world, &mut self.outside, happened);
            if self.world.broken.is_some() {
                return;
            }
            match happened {
                Happened::Outside(STRIKE) if self.world.now_us < self.chaos_us => {
                    let after_us = self.faults.strike(&mut self.world);
                    self.world.plan(after_us, STRIKE);
                }
                Happened::Outside(STRIKE) => heal(&mut self.world),
                Happened::Outside(LOOK) => {
                    if self.is_finished() {
                        return;
                    }
                    self.world.plan(LOOK_US, LOOK);
                }
                Happened::Outside(client) => {
                    let at = (client - CLIENTS) as usize;
                    let after_us = self.clients[at].act(&mut self.world, &mut self.outside);
                    self.world.plan(after_us, client);
                }
                Happened::Round(_) | Happened::Other => {}
            }
        }
    }

    fn is_finished(&mut self) -> bool {
        let now_us = self.world.now_us;
        if now_us > self.end_us {
            let late: Vec<_> = self.clients.iter().filter_map(|client| client.state()).collect();
            self.world.broken = Some(format!("stuck after {} s of peace: {late:?}", PEACE_US / 1_000_000));
            return true;
        }
        let are_published = self.clients[..self.publishers].iter().all(|client| client.is_done());
        if now_us < self.chaos_us || !are_published {
            return false;
        }
        self.outside.is_over = true;
        let heard = self.outside.history.facts.len();
        if heard != self.heard || !self.clients.iter().all(|client| client.is_done()) {
            (self.heard, self.quiet_since_us) = (heard, now_us);
        }
        now_us > self.quiet_since_us + QUIET_US && self.is_counted()
    }

    fn is_counted(&mut self) -> bool {
        let is_lost = |counting: &Counting| counting.connection.standing(&self.world) == Standing::Lost;
        if self.counting.as_ref().is_none_or(is_lost) {
            self.count();
            return false;
        }
        let Some(counting) = &mut self.counting else { return false };
        let (mut open, mut is_void) = (Vec::new(), false);
        for (queue, mut answer) in counting.answers.drain(..) {
            match answer.try_recv() {
                Ok(Some(counts)) => {
                    let left =
                        Fact::Left { queue, ready: counts.ready + counts.delayed, unacked: counts.unacked };
                    self.outside.history.note(self.world.now_us, left);
                }
                Ok(None) => {
                    self.world.broken = Some(format!("queue {} is gone", queue.0));
                }
                Err(oneshot::error::TryRecvError::Empty) => open.push((queue, answer)),
                Err(oneshot::error::TryRecvError::Closed) => is_void = true,
            }
        }
        counting.answers = open;
        if is_void {
            // Nobody will answer: it is asked again.
            self.counting = None;
            return false;
        }
        self.counting.as_ref().is_some_and(|counting| counting.answers.is_empty())
    }

    fn count(&mut self) {
        let Some(connection) = self.outside.connect(&mut self.world, &mut self.random) else { return };
        let mut answers = Vec::new();
        for queue in self.outside.queues.clone() {
            let (reply, answer) = oneshot::channel();
            connection.ask(&mut self.world, queue, ShardInput::Stat(queue, reply));
            answers.push((queue, answer));
        }
        self.counting = Some(Counting { connection, answers });
    }

    fn outcome(&self) -> Outcome {
        // What ended before its time says nothing of what is still to come.
        let problems = match self.world.broken.clone() {
            Some(problem) => vec![problem],
            None => check(&self.outside.history),
        };
        let facts = &self.outside.history.facts;
        for (at_us, fact) in facts {
            self.world.note(|| format!("{at_us} {fact:?}"));
        }
        Outcome {
            problems,
            fingerprint: self.outside.history.fingerprint(),
            sent: facts.iter().filter(|(_, fact)| matches!(fact, Fact::Sent { .. })).count(),
            delivered: facts.iter().filter(|(_, fact)| matches!(fact, Fact::Delivered { .. })).count(),
            faults: self.faults.count,
        }
    }
}
