//! Where HTTP comes in: sockets that are bound before a node starts, and served by the layer above.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::Accept;
use tokio_rustls::server::TlsStream;

use super::start::StartError;
use super::tls::Tls;
use crate::config::Config;

/// How long to wait when the system has no file descriptors left.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// All sockets for HTTP.
#[derive(Debug, Default)]
pub struct Doors {
    /// For the API and its pages.
    pub management: Vec<Door>,
    /// For metrics.
    pub metrics: Vec<Door>,
}

/// One bound socket.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
}

/// What came in through a door.
pub struct DoorStream(Stream);

enum Stream {
    Plain(TcpStream),
    /// The first read or write waits for the handshake.
    Shaking(Box<Accept<TcpStream>>),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Doors {
    /// Binds what the configuration names. Those over TLS need certificates.
    ///
    /// # Errors
    /// When an address is taken or not of this machine.
    pub async fn open(config: &Config, tls: Option<&Arc<Tls>>) -> Result<Self, StartError> {
        let (management, metrics) = (&config.management, &config.metrics);
        Ok(Self {
            management: open([
                (management.bind, "management.bind or --management-bind", None),
                (management.tls_bind, "management.tls_bind", tls),
            ])
            .await?,
            metrics: open([
                (metrics.bind, "metrics.bind or --metrics-bind", None),
                (metrics.tls_bind, "metrics.tls_bind", tls),
            ])
            .await?,
        })
    }
}

/// An address, if there is to be one, the setting that says so, and what its TLS needs.
type Wanted<'a> = (Option<SocketAddr>, &'static str, Option<&'a Arc<Tls>>);

async fn open(wanted: [Wanted<'_>; 2]) -> Result<Vec<Door>, StartError> {
    let mut doors = Vec::new();
    for (bind, setting, tls) in wanted {
        if let Some(bind) = bind {
            doors.push(Door::open(bind, setting, tls.cloned()).await?);
        }
    }
    Ok(doors)
}

impl Door {
    async fn open(
        bind: SocketAddr,
        setting: &'static str,
        tls: Option<Arc<Tls>>,
    ) -> Result<Self, StartError> {
        let refused = |error| StartError::Listen(bind, setting, error);
        let listener = TcpListener::bind(bind).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self { listener, address, tls })
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether what comes in is encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The next one that comes in, and from where. What the system refuses is tried again.
    pub async fn accept(&self) -> (DoorStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((socket, peer)) => {
                    if let Err(error) = socket.set_nodelay(true) {
                        tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
                    }
                    return (DoorStream::new(socket, self.tls.as_deref()), peer);
                }
                Err(error) => {
                    tracing::warn!(%error, address = %self.address, "cannot accept a connection; trying again");
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
    }
}

impl DoorStream {
    fn new(socket: TcpStream, tls: Option<&Tls>) -> Self {
        Self(match tls {
            None => Stream::Plain(socket),
            Some(tls) => Stream::Shaking(Box::new(tls.http().accept(socket))),
        })
    }

    /// What is to be read and written, once that is known.
    fn poll_carrier(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Pin<&mut dyn Carrier>>> {
        if let Stream::Shaking(accept) = &mut self.0 {
            let stream = ready!(Pin::new(accept).poll(cx))?;
            self.0 = Stream::Tls(Box::new(stream));
        }
        Poll::Ready(match &mut self.0 {
            Stream::Plain(socket) => Ok(Pin::new(socket)),
            Stream::Tls(stream) => Ok(Pin::new(&mut **stream)),
            Stream::Shaking(_) => Err(io::ErrorKind::NotConnected.into()),
        })
    }
}

trait Carrier: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Carrier for T {}

impl AsyncRead for DoorStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_carrier(cx))?.poll_read(cx, buffer)
    }
}

impl AsyncWrite for DoorStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_carrier(cx))?.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_carrier(cx))?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_carrier(cx))?.poll_shutdown(cx)
    }
}
