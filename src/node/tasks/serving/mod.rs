//! Serves the queues of this node's own shards to sessions of other nodes.
//!
//! To the shards each session is a client; see [`Sessions`] for what is kept of it. A session lives as long as the link to its
//! node: then its consumers end, and what they held is ready again.

#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use crate::broker::ids::{Home, NodeId, QueueId};
use crate::node::cluster::forward::{Answers, Owner};
use crate::node::cluster::handle::{Cluster, ServingInput};
use crate::node::cluster::peer::{LinkState, PeerMessage};
use crate::node::cluster::session::{SessionTable, Sessions};
use crate::node::links::ShardInput;
use crate::node::mailbox::Mailbox;
use crate::node::shared::Shared;

/// How often it is looked whether shards have room again that had none.
const LOOK_AGAIN_MS: u64 = 20;

/// The task's state.
pub(crate) struct Serving {
    shared: Arc<Shared>,
    cluster: Arc<Cluster>,
    mailbox: Arc<Mailbox<ServingInput>>,
    sessions: Sessions,
    has_room: bool,
    now_ms: u64,
    inputs: Vec<ServingInput>,
    answers: Vec<(NodeId, Answers)>,
}

impl Serving {
    /// `None` when the node is alone.
    pub(crate) fn new(shared: &Arc<Shared>) -> Option<Self> {
        let cluster = Arc::clone(shared.cluster.as_ref()?);
        let owner = Owner::Node(cluster.placement.node);
        Some(Self {
            shared: Arc::clone(shared),
            mailbox: Arc::clone(&cluster.serving),
            cluster,
            sessions: Sessions::new(owner, SessionTable::default()),
            has_room: true,
            now_ms: 0,
            inputs: Vec::new(),
            answers: Vec::new(),
        })
    }

    /// Runs until the node's runtime ends.
    pub(crate) async fn run(mut self) {
        loop {
            self.wait().await;
            let now_ms = self.shared.clock.now_ms();
            self.round(now_ms);
            tokio::task::consume_budget().await;
        }
    }

    async fn wait(&mut self) {
        let due = self.next_due_ms().map(|due_ms| self.shared.clock.instant_of(due_ms));
        let Self { mailbox, sessions, .. } = self;
        let mut filled = poll_fn(|cx| {
            let is_filled = mailbox.poll_filled(cx).is_ready() | sessions.poll(cx).is_ready();
            if is_filled { Poll::Ready(()) } else { Poll::Pending }
        });
        match due {
            // Nothing came in time; it is looked again.
            Some(due) => drop(tokio::time::timeout_at(due, &mut filled).await),
            None => filled.await,
        }
    }

    /// When [`Self::round`] has something to do though nothing came.
    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        (!self.has_room).then_some(self.now_ms + LOOK_AGAIN_MS)
    }

    /// Whether shards have told something that [`Self::round`] is to pass on.
    #[cfg(test)]
    pub(crate) fn wants_round(&mut self) -> bool {
        !self.mailbox.is_empty() || self.sessions.wants_round()
    }

    /// Does all there is to do.
    pub(crate) fn round(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        let mut inputs = std::mem::take(&mut self.inputs);
        self.mailbox.take(&mut inputs);
        inputs.drain(..).for_each(|input| self.hear(input));
        self.inputs = inputs;
        let meta_index = self.cluster.meta_index();
        let Self { shared, cluster, sessions, .. } = self;
        sessions.take(meta_index, &mut |input| hand_over(shared, cluster, input));
        // What a shard was handed is as safe as what it is handed by a client here.
        sessions.logged(0);
        self.look_for_room();
        self.tell();
    }

    fn hear(&mut self, input: ServingInput) {
        match input {
            ServingInput::Forward(forward) => self.sessions.forward(forward),
            ServingInput::Link(node, LinkState::Down | LinkState::Dead) => self.sessions.node_down(node),
            // The other node begins; and what waits for declarations is looked at in any case.
            ServingInput::Link(_, LinkState::Up) | ServingInput::MetaApplied => {}
        }
    }

    fn look_for_room(&mut self) {
        self.has_room = self.shared.own_shards().iter().all(|shard| shard.has_room());
        self.sessions.set_room(self.has_room);
    }

    fn tell(&mut self) {
        self.sessions.answers(0, &mut self.answers);
        for (node, answers) in self.answers.drain(..) {
            self.cluster.peers.send(node, PeerMessage::Answers(answers));
        }
    }
}

fn hand_over(shared: &Shared, cluster: &Cluster, input: ShardInput) {
    let Some(queue) = queue_of(&input) else { return };
    let shard = cluster.placement.mailbox(Home::Node(cluster.placement.node), queue);
    let Some(shard) = shared.own_shards().get(usize::from(shard)) else { return };
    match &input {
        ShardInput::Publish(_, batch, _) => {
            let bytes = batch.records.len();
            shard.push_bulk(input, bytes);
        }
        _ => shard.push(input),
    }
}

/// The queue that a session asks for.
fn queue_of(input: &ShardInput) -> Option<QueueId> {
    match input {
        ShardInput::Publish(queue, ..)
        | ShardInput::Command(queue, _)
        | ShardInput::Stat(queue, _)
        | ShardInput::Consume(queue, ..)
        | ShardInput::Suspend(queue, ..)
        | ShardInput::Cancel(queue, ..)
        | ShardInput::Get(queue, ..)
        | ShardInput::Purge(queue, _)
        | ShardInput::Delete(queue, ..) => Some(*queue),
        _ => None,
    }
}
