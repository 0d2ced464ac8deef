//! Accepts connections.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::client;
use crate::node::shared::Shared;

/// How long to wait when the system has no file descriptors left.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Accepts connections until the node stops.
#[expect(clippy::disallowed_methods, reason = "tasks are started here")]
pub(crate) async fn run(shared: Arc<Shared>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(shared.config.listener.connections_max));
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
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!(
                connections_max = shared.config.listener.connections_max,
                "a connection was refused: listener.connections_max is reached"
            );
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            serve(shared, socket).await;
            drop(place);
        });
    }
}

async fn serve(shared: Arc<Shared>, socket: TcpStream) {
    let Ok(peer) = socket.peer_addr() else { return };
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
    }
    client::run(shared, socket, peer).await;
}
