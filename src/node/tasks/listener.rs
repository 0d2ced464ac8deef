//! Accepts connections, and finds out whom they are from before AMQP begins.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::client::{self, Socket};
use super::proxy;
use crate::node::origin::Origin;
use crate::node::shared::Shared;
use crate::node::tls::{Tls, TlsSession};

/// How long to wait when the system has no file descriptors left.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Accepts connections until the node stops; over TLS, if there is some.
#[expect(clippy::disallowed_methods, reason = "tasks are started here")]
pub(crate) async fn run(shared: Arc<Shared>, listener: TcpListener, tls: Option<Arc<Tls>>) {
    loop {
        let socket = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection; trying again");
                    tokio::time::sleep(RETRY_AFTER).await;
                    continue;
                }
            },
            () = shared.stopped() => return,
        };
        let Ok(place) = Arc::clone(&shared.places).try_acquire_owned() else {
            tracing::warn!(
                connections_max = shared.config.listener.connections_max,
                "a connection was refused: listener.connections_max is reached"
            );
            continue;
        };
        let (shared, tls) = (Arc::clone(&shared), tls.clone());
        tokio::spawn(async move {
            let before = Duration::from_millis(shared.live.load().listener.handshake_timeout_ms);
            match tokio::time::timeout(before, prepare(&shared, socket, tls)).await {
                Ok(Some((socket, origin))) => client::run(shared, socket, origin).await,
                Ok(None) => {}
                Err(_) => tracing::info!("a connection was closed: its PROXY or TLS handshake took too long"),
            }
            drop(place);
        });
    }
}

/// What comes before AMQP. `None` when it fails.
async fn prepare(shared: &Shared, mut socket: TcpStream, tls: Option<Arc<Tls>>) -> Option<(Socket, Origin)> {
    let peer = socket.peer_addr().ok()?;
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
    }
    let mut origin = Origin::new(peer, socket.local_addr().ok());
    if shared.live.load().proxy_protocol.is_trusted(peer.ip()) {
        match proxy::read(&mut socket).await {
            Ok(forwarded) => {
                if let Some((source, destination)) = forwarded {
                    (origin.peer, origin.local) = (source, Some(destination));
                }
            }
            Err(problem) => {
                tracing::info!(%peer, %problem, "a connection of a trusted proxy was closed");
                return None;
            }
        }
    }
    let Some(tls) = tls else { return Some((Socket::Plain(socket), origin)) };
    shake_hands(&tls, socket, &mut origin)
        .await
        .map_err(|error| log_failure(origin.peer, &error))
        .ok()
        .map(|socket| (socket, origin))
}

async fn shake_hands(tls: &Tls, socket: TcpStream, origin: &mut Origin) -> io::Result<Socket> {
    let stream = tls.amqp().accept(socket).await?;
    origin.tls = Some(Arc::new(TlsSession::of(stream.get_ref().1)));
    Ok(Socket::buffered(stream))
}

fn log_failure(peer: SocketAddr, error: &io::Error) {
    tracing::info!(%peer, %error, "a connection was closed: no agreement on TLS");
}
