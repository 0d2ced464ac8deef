//! One task for each connection: reads, lets the protocol machine and the channels decide, writes.
//!
//! - `session`: what a connection is made of, and how an input finds its handler
//! - `login`: who may come in
//! - `publish`, `repeat`, `settle`: the hot ways in
//! - `deliver`, `flush`: the hot way out
//! - `declare`, `consume`: requests that the meta task or a shard answers
//! - `release`: giving everything back at the end of a channel or connection

mod consume;
mod declare;
mod deliver;
mod flush;
mod login;
mod publish;
mod release;
mod repeat;
mod session;
mod settle;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::node::shared::{Shared, stopping};
use crate::protocol::inbound::Inbound;
use session::Session;

/// Bytes that one read takes at most.
const READ_BYTES: usize = 64 * 1024;

/// How long a client has to close its socket after `connection.close-ok`.
const LINGER: Duration = Duration::from_secs(10);

/// Serves a connection until it ends.
pub(crate) async fn run(shared: Arc<Shared>, socket: TcpStream, peer: SocketAddr) {
    let mut client = Client::new(shared, socket, peer);
    let reason = client.serve().await;
    client.session.release().await;
    if client.session.was_closed_by_client {
        client.linger().await;
    }
    tracing::debug!(connection = client.session.link.id, %peer, reason, "connection ended");
}

struct Client {
    socket: TcpStream,
    inbound: Inbound,
    /// Bytes read, from `consumed` on not looked at.
    read: Vec<u8>,
    consumed: usize,
    session: Session,
    /// The socket has ended or cannot be read: nothing more will come.
    ended: bool,
    /// Inputs were left because the peer does not take our output; no readiness of the socket tells of them.
    was_clogged: bool,
}

/// Why the loop goes round.
enum Wake {
    Socket,
    Told,
}

impl Client {
    fn new(shared: Arc<Shared>, socket: TcpStream, peer: SocketAddr) -> Self {
        let session = Session::new(shared, peer);
        let inbound = Inbound::new(&session.limits());
        Self { socket, inbound, read: Vec::new(), consumed: 0, session, ended: false, was_clogged: false }
    }

    /// The whole life of a connection. Gives the reason of its end.
    async fn serve(&mut self) -> String {
        let mut stopping_told = false;
        loop {
            self.session.now_ms = self.session.shared.clock.now_ms();
            self.session.look_for_room();
            if self.session.may_read() {
                self.take_in().await;
            }
            self.session.hear();
            self.session.check_time();
            if let Err(error) = self.session.flush(&self.socket) {
                return error.to_string();
            }
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
            if let Err(error) = self.wait(stopping_told).await {
                return error.to_string();
            }
            tokio::task::consume_budget().await;
        }
    }

    /// Clients write on behind their close, and an error on that would hide our answer from them: what still comes is
    /// thrown away until they close the socket.
    async fn linger(&mut self) {
        let drain = async {
            while self.socket.readable().await.is_ok() {
                self.read.clear();
                self.read.reserve(READ_BYTES);
                match self.socket.try_read_buf(&mut self.read) {
                    Ok(0) => return,
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(LINGER, drain) => {}
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
        self.read.reserve(READ_BYTES);
        match self.socket.try_read_buf(&mut self.read) {
            Ok(0) => self.ended = true,
            Ok(_) => {
                self.session.received();
                self.handle_inputs().await;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.ended = true,
        }
        if self.consumed == self.read.len() {
            // An idle connection holds no buffer.
            self.read = Vec::new();
            self.consumed = 0;
        }
    }

    /// Takes the publishes that repeat the last one.
    fn take_repeated(&mut self) {
        while self.session.may_repeat()
            && let Some(bytes) = self.read.get(self.consumed..)
            && let Some((consumed, body)) = self.inbound.next_repeated(bytes)
        {
            self.consumed += consumed;
            self.session.publish_repeated(body);
        }
    }

    async fn handle_inputs(&mut self) {
        while self.session.wants_input() && !self.session.is_clogged() {
            self.take_repeated();
            let Some(bytes) = self.read.get(self.consumed..).filter(|bytes| !bytes.is_empty()) else { break };
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
    async fn wait(&self, stopping_told: bool) -> io::Result<Wake> {
        let session = &self.session;
        let interest = match (session.may_read() && !self.ended, session.wants_to_write()) {
            (true, true) => Some(Interest::READABLE | Interest::WRITABLE),
            (true, false) => Some(Interest::READABLE),
            (false, true) => Some(Interest::WRITABLE),
            (false, false) => None,
        };
        let ready = async {
            match interest {
                Some(interest) => self.socket.ready(interest).await.map(|_| ()),
                None => std::future::pending().await,
            }
        };
        let timeout = session.next_timeout();
        let timeout = async {
            match timeout {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let stop = async {
            if stopping_told { std::future::pending().await } else { session.shared.stopped().await }
        };
        tokio::select! {
            result = ready => result.map(|()| Wake::Socket),
            () = session.link.mailbox.filled() => Ok(Wake::Told),
            () = session.room() => Ok(Wake::Told),
            () = timeout => Ok(Wake::Told),
            () = stop => Ok(Wake::Told),
        }
    }
}
