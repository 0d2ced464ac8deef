//! Accepts connections of other nodes, and of those who ask.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use super::connection::Connection;
use super::greeting::{LinkError, STRANGER, Stream, receive};
use super::node::Peer;
use super::{Context, request};
use crate::node::cluster::handshake::{Hello, Identity, Purpose, Unfit};

/// Handshakes at the same time.
const GREETINGS_MAX: usize = 64;

/// How long to wait when the system has no file descriptors left.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// The same refusal is told in the log once in so long.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The last refusal in the log, when it was told, and since when it is the same one.
type Told = Mutex<Option<Refusal>>;

struct Refusal {
    text: String,
    since: Instant,
    told: Instant,
}

#[expect(clippy::disallowed_methods, reason = "tasks are started here")]
pub(super) async fn run(context: Arc<Context>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(GREETINGS_MAX));
    let told = Arc::new(Told::default());
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (socket, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection of a node; trying again");
                sleep(RETRY_AFTER).await;
                continue;
            }
        };
        let (context, told) = (Arc::clone(&context), Arc::clone(&told));
        tokio::spawn(async move {
            match greet(&context, socket).await {
                Ok((stream, hello)) => {
                    drop(place);
                    serve(&context, stream, &hello, address).await;
                }
                Err(problem) => tell(&told, address, &problem),
            }
        });
    }
}

async fn greet(context: &Context, socket: TcpStream) -> Result<(Stream, Hello), LinkError> {
    socket.set_nodelay(true)?;
    let own = context.own.clone();
    let greeting = receive(&context.options, &own, socket, |hello| may_come(context, &own, hello));
    let greeting = timeout(context.options.connect_timeout, greeting).await;
    greeting.unwrap_or_else(|_| Err(LinkError::Other("it did not say in time who it is".to_owned())))
}

fn may_come(context: &Context, own: &Identity, hello: &Hello) -> Result<(), Unfit> {
    let from = &hello.from;
    let is_known = || context.node(from.node).is_some();
    let is_its_part = match hello.purpose {
        Purpose::Request => return Ok(()),
        Purpose::Link => from.node < own.node,
        Purpose::Call => from.node > own.node,
    };
    if is_its_part && is_known() {
        return Ok(());
    }
    Err(Unfit(format!(
        "node {} ({}) does not know node {} ({}) {STRANGER}",
        own.node, own.name, from.node, from.name
    )))
}

async fn serve(context: &Arc<Context>, stream: Stream, hello: &Hello, address: SocketAddr) {
    if hello.purpose == Purpose::Request {
        return request::answer(context, stream).await;
    }
    let Some(peer) = context.node(hello.from.node) else { return };
    match hello.purpose {
        Purpose::Call => peer.called(hello.from.run),
        _ => link(context, &peer, stream, hello, address).await,
    }
}

async fn link(context: &Arc<Context>, peer: &Peer, stream: Stream, hello: &Hello, address: SocketAddr) {
    let connection = Connection::new();
    if !peer.up(&connection, (hello.from.run, hello.attempt), &*context.incoming) {
        return;
    }
    let name = &hello.from.name;
    tracing::info!(node = peer.node, name, %address, "linked");
    let reason = connection.run(context, peer, stream).await;
    tracing::warn!(node = peer.node, name, %reason, "the link is lost");
}

fn tell(told: &Told, address: SocketAddr, problem: &LinkError) {
    let text = format!("{} {problem}", address.ip());
    let now = Instant::now();
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    let before = told.as_ref().filter(|before| before.text == text);
    if before.is_some_and(|before| now - before.told < TELL_EVERY) {
        return;
    }
    let since = before.map_or(now, |before| before.since);
    if problem.passes() && now - since < TELL_EVERY {
        tracing::info!(%address, %problem, "a node was not let in yet");
    } else {
        tracing::warn!(%address, %problem, "a node was not let in");
    }
    *told = Some(Refusal { text, since, told: now });
}
