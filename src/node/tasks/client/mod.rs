//! One task for each connection: reads, lets the protocol machine and the channels decide, writes.
//!
//! - `session`: what a connection is made of, and how an input finds its handler
//! - `socket`: plain, or with something in between
//! - `login`: who may come in
//! - `rights`: what the user may do
//! - `publish`, `repeat`, `settle`: the hot ways in
//! - `offer`: publishes to exchanges that look for duplicates
//! - `large`: publishes that are not copied
//! - `deliver`, `flush`: the hot way out
//! - `internal`: a publisher without a socket
//! - `room`: who has to take what came in before more is read
//! - `block`: what the machine is short of stops publishers
//! - `declare`, `consume`: requests that the meta task or a shard answers
//! - `transaction`: what is held back until its commit
//! - `replies`: requests and replies that no queue holds
//! - `tally`: what a connection counts
//! - `telling`: events of the connection
//! - `firehose`: copies for who traces the vhost
//! - `timeouts`: consumers that do not acknowledge in time
//! - `release`: giving everything back at the end of a channel or connection

mod block;
mod consume;
mod declare;
mod deliver;
mod firehose;
mod flush;
pub(crate) mod internal;
mod large;
mod login;
mod offer;
mod publish;
mod release;
mod repeat;
mod replies;
mod rights;
mod room;
mod session;
mod settle;
mod socket;
mod tally;
mod telling;
mod timeouts;
mod transaction;

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::node::alarm::Alarm;
use crate::node::origin::Origin;
use crate::node::shared::{Shared, stopping};
use crate::protocol::inbound::Inbound;
use session::Session;
pub(crate) use socket::Socket;

/// Bytes that one read takes: more while reads are full, fewer while they bring little.
const READ_BYTES_MIN: usize = 4 * 1024;
const READ_BYTES_MAX: usize = 64 * 1024;

/// A connection that was still for so long gives its buffers back.
const STILL_MS: u64 = 1000;

/// How long a client has to close its socket after `connection.close-ok`.
const LINGER: Duration = Duration::from_secs(10);

/// Serves a connection until it ends.
pub(crate) async fn run(shared: Arc<Shared>, socket: Socket, origin: Origin) {
    let peer = origin.peer;
    let mut client = Client::new(shared, socket, origin);
    let reason = client.serve().await;
    client.session.end_gathering();
    client.session.release().await;
    client.socket.finish().await;
    if client.session.was_closed_by_client {
        client.linger().await;
    }
    tracing::debug!(connection = client.session.link.id, %peer, reason, "connection ended");
}

struct Client {
    socket: Socket,
    inbound: Inbound,
    /// Bytes read, from `consumed` on not looked at.
    read: Vec<u8>,
    consumed: usize,
    read_bytes: usize,
    session: Session,
    alarm: Alarm,
    /// When something was last read or heard.
    active_ms: u64,
    /// Buffers were given back since.
    has_rested: bool,
    /// The socket has ended or cannot be read: nothing more will come.
    ended: bool,
    /// Inputs were left because the peer does not take our output; no readiness of the socket tells of them.
    was_clogged: bool,
}

impl Client {
    fn new(shared: Arc<Shared>, socket: Socket, origin: Origin) -> Self {
        let mut session = Session::new(shared, origin);
        session.offer_mechanisms();
        let inbound = Inbound::new(&session.limits());
        let active_ms = session.now_ms;
        Self {
            socket,
            inbound,
            read: Vec::new(),
            consumed: 0,
            read_bytes: READ_BYTES_MIN,
            session,
            alarm: Alarm::default(),
            active_ms,
            has_rested: false,
            ended: false,
            was_clogged: false,
        }
    }

    /// The whole life of a connection. Gives the reason of its end.
    async fn serve(&mut self) -> String {
        let mut stopping_told = false;
        loop {
            self.session.now_ms = self.session.shared.clock.now_ms();
            self.session.look_for_room();
            self.session.look_at_alarms();
            self.session.look_at_tracing();
            self.look_at_gathering().await;
            self.look_at_blocked_peer().await;
            if self.session.may_read() {
                self.take_in().await;
            }
            if self.session.hear() {
                self.note_activity();
            }
            self.session.end_if_forced().await;
            self.session.end_if_expired().await;
            self.session.check_time();
            self.session.look_at_deliveries().await;
            if let Err(error) = self.session.flush(&mut self.socket) {
                return error.to_string();
            }
            self.session.tell_numbers_if_due();
            if let Some(reason) = self.session.ending(self.ended) {
                return reason;
            }
            if !stopping_told && self.session.shared.is_stopping() {
                stopping_told = true;
                self.session.fail(&stopping(), (0, 0));
                continue;
            }
            if self.session.may_read() && std::mem::take(&mut self.was_clogged) {
                continue;
            }
            self.rest();
            if let Err(error) = self.wait().await {
                return error.to_string();
            }
            tokio::task::consume_budget().await;
        }
    }

    /// Clients write on behind their close, and an error on that would hide our answer from them: what still comes is
    /// thrown away until they close the socket.
    async fn linger(&mut self) {
        tokio::select! {
            _ = tokio::time::timeout(LINGER, self.socket.drain()) => {}
            () = self.session.shared.stopped() => {}
        }
    }

    /// Reads what the socket has and handles what is whole.
    async fn take_in(&mut self) {
        self.handle_inputs().await;
        if !self.session.may_read() || self.ended {
            return;
        }
        self.read.drain(..self.consumed);
        self.consumed = 0;
        self.read.reserve(self.read_bytes);
        match self.read_once().await {
            None => {}
            Some(Ok(0) | Err(_)) => self.ended = true,
            Some(Ok(count)) => {
                self.adapt(count);
                // What was read may be younger than the time before: a delay must not begin before its message came.
                self.session.now_ms = self.session.shared.clock.now_ms();
                self.note_activity();
                self.session.received();
                self.session.tally.received(count);
                self.handle_inputs().await;
            }
        }
        if self.consumed == self.read.len() && self.read_bytes == READ_BYTES_MIN {
            // A new one costs little, and thousands of quiet connections would hold thousands.
            self.read = Vec::new();
            self.consumed = 0;
        }
    }

    /// Reads what is there; `None` when nothing is.
    async fn read_once(&mut self) -> Option<io::Result<usize>> {
        poll_fn(|cx| {
            Poll::Ready(match self.socket.poll_read(&mut self.read, cx) {
                Poll::Ready(result) => Some(result),
                Poll::Pending => None,
            })
        })
        .await
    }

    fn adapt(&mut self, count: usize) {
        if count >= self.read_bytes {
            self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
        } else if count < self.read_bytes / 4 {
            self.read_bytes = (self.read_bytes / 2).max(READ_BYTES_MIN);
        }
    }

    fn note_activity(&mut self) {
        self.active_ms = self.session.now_ms;
        self.has_rested = false;
    }

    /// A still connection holds no buffers, except for bytes that wait.
    fn rest(&mut self) {
        if self.has_rested || self.session.now_ms < self.active_ms + STILL_MS {
            return;
        }
        self.has_rested = true;
        if self.consumed == self.read.len() {
            self.read = Vec::new();
            self.consumed = 0;
        }
        self.socket.rest();
        self.inbound.rest();
        self.session.rest();
    }

    /// Takes the publishes that repeat the last one.
    fn take_repeated(&mut self) {
        let (mut taken, mut alike, mut size) = (0, 0, 0);
        while self.session.may_repeat()
            && let Some(bytes) = self.read.get(self.consumed..)
            && let Some((consumed, body)) = self.inbound.next_repeated(bytes)
        {
            self.consumed += consumed;
            self.session.publish_repeated(body);
            if body.len() != size {
                self.session.count_sizes(size, std::mem::take(&mut alike));
                size = body.len();
            }
            alike += 1;
            taken += 1;
        }
        if taken > 0 {
            self.session.count_sizes(size, alike);
            self.session.count_repeated(taken);
        }
    }

    async fn handle_inputs(&mut self) {
        let heeds_alarms = self.session.heeds_alarms();
        while self.session.wants_input() && !self.session.is_clogged() {
            if !heeds_alarms {
                self.take_repeated();
            }
            let Some(bytes) = self.read.get(self.consumed..).filter(|bytes| !bytes.is_empty()) else { break };
            if heeds_alarms && self.inbound.publishes_next(bytes) && self.session.block() {
                break;
            }
            match self.inbound.next(bytes) {
                Ok(step) => {
                    let consumed = step.consumed;
                    match step.input {
                        Some(input) => self.session.handle(input).await,
                        None if consumed == 0 => break,
                        None => {}
                    }
                    if self.session.has_new_repeat() {
                        self.inbound.remember(bytes.get(..consumed).unwrap_or_default());
                    }
                    self.consumed += consumed;
                }
                Err(error) => {
                    self.session.fail_inbound(&error);
                    self.session.release_if_failed().await;
                }
            }
            if let Some(frame_max) = self.session.tuned.take() {
                self.inbound.set_frame_max(frame_max);
            }
        }
        self.inbound.trim();
        self.was_clogged = self.session.is_clogged();
        self.session.hand_over();
    }

    /// Waits until there is something to do.
    async fn wait(&mut self) -> io::Result<()> {
        let Self { socket, session, alarm, .. } = self;
        let (reads, writes) = (session.may_read() && !self.ended, session.wants_to_write());
        let still_ms = (!self.has_rested).then_some(self.active_ms + STILL_MS);
        let timeout = session.next_timeout(still_ms);
        let mut room = pin!(session.room());
        poll_fn(|cx| {
            if let Err(error) = socket.poll_drain(cx) {
                return Poll::Ready(Err(error));
            }
            if reads && let Poll::Ready(result) = socket.poll_read_ready(cx) {
                return Poll::Ready(result);
            }
            if writes && let Poll::Ready(result) = socket.poll_write_ready(cx) {
                return Poll::Ready(result);
            }
            let is_woken = session.link.mailbox.poll_filled(cx).is_ready()
                || alarm.poll(timeout, cx).is_ready()
                || room.as_mut().poll(cx).is_ready();
            if is_woken { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::ids::Placement;
    use crate::broker::topology::Topology;
    use crate::config::Config;
    use crate::node::clock::Clock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn a_client_with_half_a_frame_sleeps() {
        let config = Config::load(None).unwrap();
        let topology = Topology::new(Placement::alone(1));
        let shared = Arc::new(Shared::alone(config, Clock::start(), topology, 1));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, address) = listener.accept().await.unwrap();
        let polls = AtomicU64::new(0);
        let mut client = pin!(run(shared, Socket::Plain(socket), Origin::new(address, None)));
        let counted = poll_fn(|cx| {
            polls.fetch_add(1, Ordering::Relaxed);
            client.as_mut().poll(cx)
        });
        let still = async {
            peer.write_all(b"AMQ").await.unwrap();
            tokio::time::sleep(Duration::from_millis(STILL_MS + 300)).await;
            let before = polls.load(Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(300)).await;
            polls.load(Ordering::Relaxed) - before
        };
        tokio::select! {
            () = counted => panic!("the client ended"),
            polls = still => assert!(polls < 5, "{polls} polls while nothing happens"),
        }
    }
}
