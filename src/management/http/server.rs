//! Sockets, connections, and their end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use super::{Peer, front};
use crate::node::Door;

/// Connections of one socket at the same time.
const CONNECTIONS_MAX: usize = 1024;
/// How long a request's head may take to come.
const HEAD_MAX: Duration = Duration::from_secs(30);
/// How long requests that are under way have when the node stops.
const GOODBYE: Duration = Duration::from_secs(2);

type Stopped = watch::Receiver<bool>;

/// The running server.
#[derive(Debug)]
pub struct Management {
    addresses: Vec<SocketAddr>,
    stopping: watch::Sender<bool>,
    doors: Vec<JoinHandle<()>>,
}

impl Management {
    #[expect(
        clippy::disallowed_methods,
        reason = "one task for each socket: this file is where the server's tasks begin"
    )]
    pub(in crate::management) fn start(router: Router, doors: Vec<Door>) -> Self {
        let (stopping, stopped) = watch::channel(false);
        let addresses = doors.iter().map(Door::address).collect();
        let service = TowerToHyperService::new(router);
        let doors = doors
            .into_iter()
            .map(|door| tokio::spawn(serve(door, service.clone(), stopped.clone())))
            .collect();
        Self { addresses, stopping, doors }
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Takes no more connections, and ends those that are open: requests under way have a moment.
    pub async fn stop(self) {
        self.stopping.send_replace(true);
        for door in self.doors {
            let _ = door.await;
        }
    }
}

async fn serve(door: Door, router: TowerToHyperService<Router>, mut stopped: Stopped) {
    let open = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let (stream, peer) = tokio::select! {
            accepted = door.accept() => accepted,
            () = is_stopped(&mut stopped) => break,
        };
        let Ok(permit) = Arc::clone(&open).try_acquire_owned() else {
            tracing::debug!(%peer, "too many connections to the management");
            continue;
        };
        converse(stream, peer, router.clone(), stopped.clone(), permit);
    }
    let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(GOODBYE, open.acquire_many(all)).await;
}

/// Serves one connection by a task of its own; `held` goes when it ends.
#[expect(clippy::disallowed_methods, reason = "one task for each connection")]
fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    router: TowerToHyperService<Router>,
    mut stopped: Stopped,
    held: impl Send + 'static,
) {
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        let router = router.clone();
        async move { Ok::<_, Infallible>(front(router, request.map(Body::new)).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX);
    let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::spawn(async move {
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = is_stopped(&mut stopped) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "a connection to the management ended");
        }
        drop(held);
    });
}

async fn is_stopped(stopped: &mut Stopped) {
    // An error says that the server is gone.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
