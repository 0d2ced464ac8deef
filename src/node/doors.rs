//! Where HTTP comes in: sockets that are bound before a node starts, and served by the layer above.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use super::start::StartError;
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
}

/// What came in through a door.
#[derive(Debug)]
pub struct DoorStream {
    socket: TcpStream,
}

impl Doors {
    /// Binds what the configuration names.
    ///
    /// # Errors
    /// When an address is taken or not of this machine.
    pub async fn open(config: &Config) -> Result<Self, StartError> {
        let mut doors = Self::default();
        if let Some(bind) = config.management.bind {
            doors.management.push(Door::open(bind, "management.bind or --management-bind").await?);
        }
        if let Some(bind) = config.metrics.bind {
            doors.metrics.push(Door::open(bind, "metrics.bind or --metrics-bind").await?);
        }
        Ok(doors)
    }
}

impl Door {
    async fn open(bind: SocketAddr, setting: &'static str) -> Result<Self, StartError> {
        let refused = |error| StartError::Listen(bind, setting, error);
        let listener = TcpListener::bind(bind).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self { listener, address })
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether what comes in is encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        false
    }

    /// The next one that comes in, and from where. What the system refuses is tried again.
    pub async fn accept(&self) -> (DoorStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((socket, peer)) => {
                    if let Err(error) = socket.set_nodelay(true) {
                        tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
                    }
                    return (DoorStream { socket }, peer);
                }
                Err(error) => {
                    tracing::warn!(%error, address = %self.address, "cannot accept a connection; trying again");
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
    }
}

impl AsyncRead for DoorStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl AsyncWrite for DoorStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
