//! What a connection is made of, and how an input finds its handler.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use super::block::Block;
use super::large::Large;
use super::repeat::Repeat;
use super::rights::Rights;
use super::room::Full;
use super::tally::Tally;
use super::transaction::OpenTransactions;
use crate::broker::channel::Channel;
use crate::broker::channel::outgoing::Outgoing;
use crate::broker::ids::Target;
use crate::broker::queue::ConsumerId;
use crate::node::auth::Identity;
use crate::node::gathering::Charge;
use crate::node::links::{ClientInput, ClientLink};
use crate::node::mailbox::Mailbox;
use crate::node::origin::Origin;
use crate::node::shared::Shared;
use crate::node::statistics::Came;
use crate::protocol::connection::{Connection, Event, Limits};
use crate::protocol::error::{MethodId, Refusal, Scope};
use crate::protocol::inbound::{InboundError, Input};
use crate::protocol::negotiation::server_properties;
use crate::protocol::outbound::Outbound;
use crate::protocol::reply_code::ReplyCode;

/// How long a peer has to take what is written when its connection is over.
const FLUSH_MS: u64 = 5000;

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// One connection without its socket.
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) link: Arc<ClientLink>,
    pub(super) peer: SocketAddr,
    /// By which way it came.
    pub(super) origin: Origin,
    pub(super) connection: Connection,
    pub(super) out: Outbound,
    /// Bytes of what is first in `out` that are with the socket.
    pub(super) written: usize,
    /// Bytes that were ever given to the socket.
    pub(super) sent_bytes: u64,
    /// Places in the output that wait for the topology's log: (bytes since its beginning, index).
    pub(super) barriers: VecDeque<(u64, u64)>,
    pub(super) channels: Map<u16, Channel>,
    pub(super) epoch: u32,
    /// The channel of each consumer.
    pub(super) consumers: Map<ConsumerId, u16>,
    /// Consumers whose bytes went out since they were last credited.
    pub(super) uncredited: Vec<ConsumerId>,
    pub(super) outgoing: Outgoing,
    pub(super) targets: Vec<Target>,
    pub(super) repeat: Option<Repeat>,
    pub(super) tally: Tally,
    /// Publishes since one was like the one before.
    pub(super) repeat_misses: u32,
    /// Reading waits for this one.
    pub(super) full: Option<Full>,
    /// What becomes of the publish that is handled now.
    pub(super) large: Large,
    /// Bytes of large messages handed over since a shard had room.
    pub(super) handed_bytes: usize,
    /// What this connection gathers, as the others know it.
    pub(super) charge: Charge,
    /// Reading waits until others have handed over what they gather; at this time it is asked again.
    pub(super) turn_timeout_ms: Option<u64>,
    /// Reading waits for the end of an alarm.
    pub(super) block: Block,
    pub(super) transactions: OpenTransactions,
    /// It has, or had, a consumer of replies.
    pub(super) takes_replies: bool,
    pub(super) vhost: String,
    /// The vhost is traced, as it was at this count of changes.
    pub(super) is_traced: bool,
    pub(super) tracing_seen: u64,
    pub(super) user: String,
    pub(super) rights: Rights,
    pub(super) heard: Vec<ClientInput>,
    pub(super) now_ms: u64,
    /// A frame size that inbound must be told.
    pub(super) tuned: Option<u32>,
    pub(super) closed: Option<String>,
    /// When deliveries may be unacknowledged for too long.
    pub(super) look_at_deliveries_ms: Option<u64>,
    /// When the socket is closed whether the peer has taken everything or not.
    end_by_ms: Option<u64>,
    /// Somebody else ends the connection, for this reason.
    pub(super) forced: Option<Box<Refusal>>,
    pub(super) was_open: bool,
    pub(super) released: bool,
    pub(super) was_closed_by_client: bool,
    limits: Limits,
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, origin: Origin) -> Self {
        let config = shared.live.load_full();
        let limits = Limits {
            frame_max: config.limits.frame_max_bytes,
            channel_max: config.limits.channel_max,
            heartbeat_s: config.limits.heartbeat_s,
            handshake_timeout_ms: config.listener.handshake_timeout_ms,
            body_max: config.limits.message_bytes_max,
            ..Limits::default()
        };
        let now_ms = shared.clock.now_ms();
        let connection = Connection::new(limits, server_properties(&config.node.name), now_ms);
        let link =
            Arc::new(ClientLink { id: shared.next_id(), mailbox: Mailbox::new(config.limits.outbox_bytes) });
        shared.clients.insert(link.id, Arc::clone(&link));
        Self {
            shared,
            link,
            peer: origin.peer,
            origin,
            connection,
            out: Outbound::new(limits.frame_max),
            written: 0,
            sent_bytes: 0,
            barriers: VecDeque::new(),
            channels: Map::default(),
            epoch: 0,
            consumers: Map::default(),
            uncredited: Vec::new(),
            outgoing: Outgoing::default(),
            targets: Vec::new(),
            repeat: None,
            tally: Tally::default(),
            repeat_misses: 0,
            full: None,
            large: Large::default(),
            handed_bytes: 0,
            charge: Charge::default(),
            turn_timeout_ms: None,
            block: Block::default(),
            transactions: OpenTransactions::default(),
            takes_replies: false,
            vhost: String::new(),
            is_traced: false,
            tracing_seen: u64::MAX,
            user: String::new(),
            rights: Rights::of(Identity::named("")),
            heard: Vec::new(),
            now_ms,
            tuned: None,
            closed: None,
            look_at_deliveries_ms: None,
            end_by_ms: None,
            forced: None,
            was_open: false,
            released: false,
            was_closed_by_client: false,
            limits,
        }
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// Whether more bytes may be read.
    pub(super) fn may_read(&self) -> bool {
        self.full.is_none()
            && !self.waits_for_turn()
            && !self.is_blocked()
            && !self.is_clogged()
            && self.wants_input()
    }

    /// Whether the protocol machine takes inputs.
    pub(super) fn wants_input(&self) -> bool {
        self.closed.is_none() && self.connection.wants_input()
    }

    pub(super) fn received(&mut self) {
        self.connection.on_bytes_received(self.now_ms);
    }

    /// When the session has to look at the time, or its task has for a reason of its own.
    pub(super) fn next_timeout(&self, other_ms: Option<u64>) -> Option<tokio::time::Instant> {
        let own = [
            self.connection.next_timeout(),
            self.end_by_ms,
            self.look_at_deliveries_ms,
            self.room_timeout_ms(),
            self.block_timeout_ms(),
            self.turn_timeout_ms,
            self.expires_ms(),
        ];
        let at_ms = own.into_iter().chain([other_ms]).flatten().min();
        at_ms.map(|at_ms| self.shared.clock.instant_of(at_ms))
    }

    pub(super) fn check_time(&mut self) {
        if self.full.is_some() || self.is_blocked() || self.waits_for_turn() {
            // It is not read from because of others, so its silence says nothing.
            self.connection.on_bytes_received(self.now_ms);
        }
        if self.connection.next_timeout().is_some_and(|at_ms| at_ms <= self.now_ms)
            && let Some(Event::Closed(reason)) = self.connection.handle_timeout(self.now_ms, &mut self.out)
        {
            // A peer that is silent will not take the rest of the output either.
            self.end_by_ms = Some(self.now_ms);
            self.closed = Some(reason);
        }
    }

    /// The reason when nothing is left to do, or nothing can be done any more.
    pub(super) fn ending(&mut self, socket_ended: bool) -> Option<String> {
        if socket_ended {
            return Some("the peer closed the socket".to_owned());
        }
        let closed = self.connection.is_closed().then(|| "closed".to_owned());
        let reason = self.closed.clone().or(closed)?;
        let end_by_ms = *self.end_by_ms.get_or_insert(self.now_ms + FLUSH_MS);
        (!self.has_output() || end_by_ms <= self.now_ms).then_some(reason)
    }

    /// Handles one input to its end.
    pub(super) async fn handle(&mut self, input: Input<'_>) {
        if self.connection.passes(&input) {
            return self.on_channel(input.channel(), input).await;
        }
        self.repeat = None;
        if let Err(refusal) = self.check_channel_limit(&input) {
            self.fail(&refusal, (0, 0));
            return self.release_if_failed().await;
        }
        match self.connection.handle(input, &mut self.out, self.now_ms) {
            None => self.release_if_failed().await,
            Some(event) => self.on_event(event).await,
        }
    }

    async fn on_event(&mut self, event: Event<'_>) {
        match event {
            Event::Tuned => {
                let frame_max = self.connection.tuned().frame_max;
                self.out.set_frame_max(frame_max);
                self.tuned = Some(frame_max);
            }
            Event::Login { mechanism, user, password } => {
                self.tally.mechanism = mechanism.to_owned();
                self.login(mechanism, user, password).await;
            }
            Event::Open { vhost } => self.open(vhost),
            Event::UpdateSecret { secret } => self.update_secret(secret).await,
            Event::ChannelOpened(number) => {
                self.epoch = self.epoch.wrapping_add(1);
                self.channels.insert(number, Channel::new(self.epoch));
                self.shared.statistics.churned(Came::Channel, 1);
                self.tally.tell_soon();
                self.tell_channel("channel.created", number);
            }
            Event::Channel(number, input) => self.on_channel(number, input).await,
            Event::ChannelClosing(number) => {
                self.release_channel(number).await;
                self.connection.channel_close_ok(number, &mut self.out);
            }
            Event::Closing => {
                self.release().await;
                self.was_closed_by_client = true;
                self.connection.close_ok(&mut self.out);
            }
            Event::Closed(reason) => self.closed = Some(reason),
        }
    }

    async fn on_channel(&mut self, number: u16, input: Input<'_>) {
        let cause = input.method_id();
        let result = match input {
            Input::Publish(publish) => self.publish(&publish),
            Input::Gathered(gathered) => self.publish_gathered(*gathered),
            Input::Ack { tag, multiple, .. } => self.ack(number, tag, multiple),
            Input::Nack { tag, multiple, requeue, .. } => self.nack(number, tag, multiple, requeue),
            Input::Reject { tag, requeue, .. } => self.reject(number, tag, requeue),
            Input::Method { method, .. } => self.on_method(number, *method).await,
            Input::TooLarge { size, .. } => Err(too_large(size, self.limits.body_max)),
            Input::Preamble(_) | Input::Heartbeat => Ok(()),
        };
        if let Err(refusal) = result {
            self.refuse(number, &refusal, cause).await;
        }
    }

    /// Ends a channel or the connection for a mistake of the client.
    pub(super) async fn refuse(&mut self, number: u16, refusal: &Refusal, cause: MethodId) {
        tracing::info!(connection = self.link.id, peer = %self.peer, channel = number, %refusal, "refused");
        self.repeat = None;
        match refusal.scope {
            Scope::Channel => {
                self.release_channel(number).await;
                self.connection.fail_channel(number, refusal, cause, &mut self.out);
            }
            Scope::Connection => {
                self.fail(refusal, cause);
                self.release().await;
            }
        }
    }

    /// Sends `connection.close`.
    pub(super) fn fail(&mut self, refusal: &Refusal, cause: MethodId) {
        self.repeat = None;
        self.connection.fail(refusal, cause, &mut self.out, self.now_ms);
    }

    pub(super) fn fail_inbound(&mut self, error: &InboundError) {
        tracing::info!(connection = self.link.id, peer = %self.peer, ?error, "refused");
        self.repeat = None;
        if let Some(Event::Closed(reason)) = self.connection.fail_inbound(error, &mut self.out, self.now_ms) {
            self.closed = Some(reason);
        }
    }

    /// The connection ends when somebody else wants that, such as whoever deletes its vhost.
    pub(super) async fn end_if_forced(&mut self) {
        if let Some(refusal) = self.forced.take() {
            tracing::info!(connection = self.link.id, peer = %self.peer, %refusal, "closed");
            self.fail(&refusal, (0, 0));
            self.release().await;
        }
    }

    /// The protocol machine ends connections by itself; what they held must come free at once.
    pub(super) async fn release_if_failed(&mut self) {
        if self.was_open && !self.connection.is_running() {
            self.release().await;
        }
    }

    /// The channel, which the protocol machine knows to be open.
    pub(super) fn channel(&mut self, number: u16) -> Result<&mut Channel, Refusal> {
        self.channels.get_mut(&number).ok_or_else(not_open)
    }
}

fn too_large(size: u64, most: u64) -> Refusal {
    let text = format!("message size {size} is larger than configured max size {most}");
    Refusal::channel(ReplyCode::PreconditionFailed, text)
}

/// The answer for a channel number that is not open.
pub(super) fn not_open() -> Refusal {
    Refusal::connection(ReplyCode::ChannelError, "expected 'channel.open'")
}
