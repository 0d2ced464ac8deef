//! A gateway: the way of this node's clients to one owner elsewhere, or in this process: a group, or the shards of another node.
//!
//! To clients it is a shard: it takes from a mailbox of [`ShardInput`], and answers. What it takes becomes numbered items for
//! the owner, each kept until the owner has done it.
//!
//! When the owner changes, or the link to it breaks, an **attempt** ends. The next one sends again what was published and
//! settled, under the old numbers, so that it takes place once; then brings the consumers back, oldest first, so that those
//! who were alone in their place keep it; then asks anew what is still unanswered. What comes late of an earlier attempt is
//! dropped.
//!
//! - `asks`: what clients ask
//! - `answers`: what the owner says
//! - `seeking`: who the owner is
//! - `absence`: what happens while there is no owner
//! - `window`: what is not done
//! - `consumers`: who must be brought back

mod absence;
mod answers;
mod asks;
mod consumers;
mod seeking;
#[cfg(test)]
pub(super) mod tests;
mod window;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use crate::broker::ids::{Home, NodeId, QueueId};
use crate::broker::queue::ConsumerId;
use crate::config::Minority;
use crate::node::alarm::Alarm;
use crate::node::cluster::forward::{Forward, Item, Owner, Request, SessionId};
use crate::node::cluster::handle::Cluster;
use crate::node::cluster::inputs::{GatewayInput, GroupInput};
use crate::node::cluster::peer::{LinkState, PeerMessage};
use crate::node::links::ShardInput;
use crate::node::mailbox::Mailbox;
use crate::node::shared::Shared;
use absence::Absence;
use consumers::Consumers;
use seeking::Seeking;
use window::{Kept, Wait, Window};

/// How long a group may be without a leader where no configuration says so.
const PATIENCE_MS: u64 = 3000;

/// One gateway.
pub(crate) struct Gateway {
    shared: Arc<Shared>,
    cluster: Arc<Cluster>,
    owner: Owner,
    queues: Arc<Mailbox<ShardInput>>,
    /// Its place.
    mailbox: u16,
    told: Arc<Mailbox<GatewayInput>>,
    session: SessionId,
    attempt: u64,
    /// Something of this session may have been sent.
    has_begun: bool,
    /// All consumers from before the attempt are among the items below this number.
    back_below: u64,
    /// Consumers of queues that go with their last one, which ended while there was no owner: the next one is to know.
    ended: Vec<(QueueId, ConsumerId)>,
    /// Where the owner is, as was said last.
    leader: Option<NodeId>,
    /// In which term it leads.
    term: u64,
    /// The attempt goes on: what is asked is sent to the leader.
    is_connected: bool,
    /// The owner is to hear of the attempt, even when there is nothing to ask.
    says_hello: bool,
    seeking: Seeking,
    absence: Absence,
    window: Window,
    consumers: Consumers,
    /// The owner has room for more messages.
    has_room: bool,
    bytes_max: usize,
    patience_ms: u64,
    minority: Minority,
    alarm: Alarm,
    now_ms: u64,
    inputs: Vec<ShardInput>,
    heard: Vec<GatewayInput>,
}

impl Gateway {
    /// The gateway to an owner; `None` when the node is alone, or has no such gateway.
    pub(crate) fn new(shared: &Arc<Shared>, owner: Owner) -> Option<Self> {
        let cluster = Arc::clone(shared.cluster.as_ref()?);
        let told = Arc::clone(cluster.gateways.get(&owner)?);
        let home = match owner {
            Owner::Group(group) => Home::Group(group),
            Owner::Node(node) if node != cluster.placement.node => Home::Node(node),
            Owner::Node(_) => return None,
        };
        // Which queue of theirs makes no difference.
        let mailbox = cluster.placement.mailbox(home, QueueId(0));
        let queues = Arc::clone(shared.shards.get(usize::from(mailbox))?);
        let config = shared.config.cluster.as_ref();
        let now_ms = shared.clock.now_ms();
        let mut gateway = Self {
            session: shared.next_id(),
            attempt: 0,
            has_begun: false,
            back_below: 0,
            ended: Vec::new(),
            leader: None,
            term: 0,
            is_connected: false,
            says_hello: false,
            seeking: Seeking::since(now_ms),
            absence: Absence::since(now_ms),
            window: Window::new(),
            consumers: Consumers::default(),
            has_room: true,
            bytes_max: shared.config.limits.mailbox_bytes,
            patience_ms: config.map_or(PATIENCE_MS, |config| config.patience_ms),
            minority: config.map_or(Minority::Block, |config| config.minority),
            alarm: Alarm::default(),
            now_ms,
            inputs: Vec::new(),
            heard: Vec::new(),
            shared: Arc::clone(shared),
            cluster,
            owner,
            queues,
            mailbox,
            told,
        };
        if let Owner::Node(node) = owner {
            gateway.leader = Some(node);
            gateway.connect_if_up();
        }
        Some(gateway)
    }

    /// Whether no settlement of a message is under way.
    #[cfg(test)]
    pub(crate) fn is_settled(&self, queue: QueueId, seq: u64) -> bool {
        let covers = |(first, length): &(u64, u64)| (*first..first + length).contains(&seq);
        self.queues.is_empty()
            && !self.window.any(|kept| {
                let Request::Settle { ranges, .. } = &kept.item.request else { return false };
                kept.item.queue == queue && ranges.iter().any(covers)
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
        let Self { queues, told, alarm, .. } = self;
        poll_fn(|cx| {
            let is_filled = queues.poll_filled(cx).is_ready() | told.poll_filled(cx).is_ready();
            if is_filled { Poll::Ready(()) } else { alarm.poll(due, cx) }
        })
        .await;
    }

    /// When [`Self::round`] has something to do though nothing came.
    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        [self.seeks_at_ms(), self.patience_ends_ms()].into_iter().flatten().min()
    }

    /// Does all there is to do.
    pub(crate) fn round(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        let mut heard = std::mem::take(&mut self.heard);
        self.told.take(&mut heard);
        heard.drain(..).for_each(|input| self.hear(input));
        self.heard = heard;
        let mut inputs = std::mem::take(&mut self.inputs);
        self.queues.take(&mut inputs);
        inputs.drain(..).for_each(|input| self.ask(input));
        self.inputs = inputs;
        self.seek_if_due();
        self.look_at_absence();
        self.send();
        self.queues.set_paused(self.must_wait());
        let is_full = self.window.letter_bytes() > self.bytes_max / 2;
        self.cluster.set_full_of_letters(self.mailbox, is_full);
    }

    /// Whether publishers have to. Those whose messages are refused need not.
    fn must_wait(&self) -> bool {
        let is_full = self.window.bytes() > self.bytes_max || !self.has_room;
        is_full && !self.refuses_messages()
    }

    fn hear(&mut self, input: GatewayInput) {
        match input {
            GatewayInput::Answers(answers) => self.answered(answers),
            GatewayInput::Leader(node, term) => self.leads(node, term),
            GatewayInput::Link(node, LinkState::Up) => {
                if self.is_led_by(node) && !self.is_connected {
                    self.connect_if_up();
                }
            }
            GatewayInput::Link(node, LinkState::Down | LinkState::Dead) => {
                if self.is_led_by(node) && self.is_connected {
                    self.disconnect();
                }
            }
        }
    }

    fn is_led_by(&self, node: NodeId) -> bool {
        self.leader == Some(node)
    }

    /// Begins an attempt, if the owner can be reached.
    fn connect_if_up(&mut self) {
        let Some(leader) = self.leader else { return };
        if leader != self.cluster.placement.node && !self.cluster.peers.is_up(leader) {
            return;
        }
        self.begin_attempt();
        self.seeking.is_told(self.now_ms);
        self.bring_back();
    }

    fn begin_attempt(&mut self) {
        self.is_connected = true;
        self.attempt += 1;
        self.has_room = true;
        self.says_hello = true;
    }

    /// Has the owner of a new attempt asked all that the one before was asked.
    fn bring_back(&mut self) {
        if !std::mem::replace(&mut self.has_begun, true) {
            // Nothing of this session was sent to anybody.
            return;
        }
        self.back_below = u64::MAX;
        self.consumers.forget_early();
        let asked = self.window.rewind();
        for (id, attached) in self.consumers.taken() {
            let request = Request::Consume(attached.asked(true));
            self.window.push(Kept::new(attached.queue, request, Wait::Back(id)));
        }
        self.bring_ends();
        self.back_below = self.window.end();
        asked.into_iter().for_each(|kept| self.ask_anew(kept));
    }

    /// The session is unknown to its owner: it begins once more, with new numbers.
    fn renew_session(&mut self) {
        self.session = self.shared.next_id();
        self.attempt = 0;
        self.has_begun = false;
        self.back_below = 0;
        let mut window = std::mem::replace(&mut self.window, Window::new());
        window.take_if(|_| true).into_iter().for_each(|kept| self.window.push(kept));
    }

    fn send(&mut self) {
        let (true, Some(leader)) = (self.is_connected, self.leader) else { return };
        if self.seeking.is_guess() {
            if std::mem::take(&mut self.says_hello) {
                // What is asked comes when it says that it is the owner.
                self.forward(leader, self.window.answered(), Vec::new());
            }
            return;
        }
        loop {
            let (first, items) = self.window.send();
            if items.is_empty() && !std::mem::take(&mut self.says_hello) {
                return;
            }
            self.says_hello = false;
            self.forward(leader, first, items);
        }
    }

    fn forward(&self, leader: NodeId, first: u64, items: Vec<Item>) {
        let forward = Forward {
            session: self.session,
            from: self.cluster.placement.node,
            owner: self.owner,
            attempt: self.attempt,
            answered: self.window.answered(),
            meta_index: if items.is_empty() { 0 } else { self.cluster.meta_index() },
            first,
            // Somebody who is asked without being the owner, as far as is known, is not told anything of consumers.
            back_below: if self.seeking.is_guess() { u64::MAX } else { self.back_below },
            items,
        };
        match self.owner {
            Owner::Group(group) if leader == self.cluster.placement.node => {
                if let Some(group) = self.cluster.group(group) {
                    group.push(GroupInput::Forward(forward));
                }
            }
            Owner::Group(_) | Owner::Node(_) => {
                self.cluster.peers.send(leader, PeerMessage::Forward(forward));
            }
        }
    }
}
