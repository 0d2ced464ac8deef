//! Clients of the simulated brokers: they stand where a client task stands, at the mailboxes of a node's shards and gateways.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::history::{Fact, History, MessageId, Place};
use super::random::Random;
use super::world::{Machine, World};
use crate::broker::ids::{NodeId, QueueId};
use crate::broker::queue::ConsumerId;
use crate::node::links::{ClientInput, ClientLink, ShardInput};
use crate::node::mailbox::Mailbox;
use crate::node::shared::Shared;

/// A node that serves clients.
pub(super) trait Broker: Machine {
    fn shared(&self) -> &Arc<Shared>;
    /// Whether nothing is open any more of what clients of this node asked for the message.
    fn is_settled(&self, place: Place) -> bool;
}

/// A client's connection to a node.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) number: u64,
    pub(super) node: NodeId,
    run: u64,
    pub(super) shared: Arc<Shared>,
    pub(super) link: Arc<ClientLink>,
}

/// What clients share.
pub(super) struct Outside {
    pub(super) history: History,
    pub(super) queues: Vec<QueueId>,
    /// When owners gave messages out that have not arrived: by consumer and number, the oldest first.
    pub(super) emitted: BTreeMap<(ConsumerId, u64), VecDeque<u64>>,
    connections: u64,
    /// Nobody begins anything any more.
    pub(super) is_over: bool,
}

impl Outside {
    pub(super) fn new(queues: Vec<QueueId>) -> Self {
        Self { history: History::default(), queues, emitted: BTreeMap::new(), connections: 0, is_over: false }
    }

    /// When the message left its owner that a consumer was just given, if that is known.
    pub(super) fn left_at_us(&mut self, consumer: ConsumerId, seq: u64) -> Option<u64> {
        self.emitted.get_mut(&(consumer, seq))?.pop_front()
    }

    /// Connects to some node that runs.
    pub(super) fn connect<M: Broker>(
        &mut self,
        world: &mut World<M>,
        random: &mut Random,
    ) -> Option<Connection> {
        let up: Vec<_> = world.nodes.keys().copied().filter(|node| world.is_up(*node)).collect();
        let node = random.pick(&up).filter(|node| !world.is_paused(*node))?;
        let shared = Arc::clone(world.machine(node)?.shared());
        self.connections += 1;
        let number = self.connections;
        let link = Arc::new(ClientLink { id: shared.next_id(), mailbox: Mailbox::new(usize::MAX) });
        Some(Connection { number, node, run: world.nodes[&node].place.run, shared, link })
    }
}

/// How a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Well,
    /// The node's process stands still.
    Paused,
    Lost,
}

impl Connection {
    pub(super) fn standing<M: Broker>(&self, world: &World<M>) -> Standing {
        let node =
            world.nodes.get(&self.node).filter(|node| node.place.run == self.run && node.machine.is_some());
        match node {
            None => Standing::Lost,
            Some(_) if world.is_paused(self.node) => Standing::Paused,
            Some(_) => Standing::Well,
        }
    }

    /// Asks the owner of a queue; false when there is no such queue, or no room.
    pub(super) fn ask<M: Broker>(&self, world: &mut World<M>, queue: QueueId, input: ShardInput) {
        let target = self.shared.topology().queue_by_id(queue).map(|entry| entry.target());
        if let Some(target) = target {
            self.shared.shard(target).push(input);
        }
        world.wake(self.node);
    }

    pub(super) fn hear(&self) -> Vec<ClientInput> {
        let mut heard = Vec::new();
        self.link.mailbox.take(&mut heard);
        heard
    }
}

/// A client program.
pub(super) trait Client<M: Broker> {
    /// Does something; answers with the microseconds until it does again.
    fn act(&mut self, world: &mut World<M>, outside: &mut Outside) -> u64;
    /// It has nothing left to do.
    fn is_done(&self) -> bool;
    /// What it still waits for, for people; nothing when it is done.
    fn state(&self) -> Option<String>;
}

/// Settlements under way, until they are known to be safe.
#[derive(Debug, Default)]
pub(super) struct Settlements(Vec<Place>);

impl Settlements {
    pub(super) fn sent(&mut self, now_us: u64, place: Place, outside: &mut Outside) {
        outside.history.note(now_us, Fact::AckSent(place));
        self.0.push(place);
    }

    /// Looks which are safe by now.
    pub(super) fn look<M: Broker>(&mut self, world: &mut World<M>, node: NodeId, outside: &mut Outside) {
        let now_us = world.now_us;
        let Some(machine) = world.machine(node) else { return };
        self.0.retain(|place| {
            let is_safe = machine.is_settled(*place);
            if is_safe {
                outside.history.note(now_us, Fact::AckDone(*place));
            }
            !is_safe
        });
    }

    /// The connection is gone: nobody will know.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

/// The message that a record holds.
pub(super) fn message_of(record: &[u8]) -> (Option<MessageId>, usize) {
    let Some((message, length)) = crate::broker::batch::read(record) else { return (None, record.len()) };
    (MessageId::of_body(message.body), length)
}

/// A delivery of one message, into the history. `given`: to whom, and when it left its owner.
pub(super) fn note_delivery(
    world_us: u64,
    outside: &mut Outside,
    place: Place,
    record: &[u8],
    (consumer, emitted_us): (ConsumerId, u64),
    redelivered: bool,
) {
    // A body that is nobody's becomes one that was never sent.
    let nobody = MessageId { publisher: u32::MAX, number: 0, attempt: 0 };
    let message = message_of(record).0.unwrap_or(nobody);
    outside.history.note(world_us, Fact::Delivered { message, place, consumer, emitted_us, redelivered });
}
