//! Ways to a broker that are no plain socket: over TLS, behind a PROXY header, over WebSocket. The client of the tests talks
//! to the near end.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::conn::{Conn, Dial};
use super::wait::eventually;

#[derive(Clone)]
enum Via {
    Header(Vec<u8>),
    Tls(Arc<ClientConfig>, String),
    WebSocket(String),
}

/// The near end of a way.
pub(crate) struct Tunnel {
    address: String,
    failures: Arc<Mutex<Vec<String>>>,
}

impl Tunnel {
    /// Over TLS, for a client that expects this host.
    pub(crate) fn tls(to: &str, config: ClientConfig, host: &str) -> Self {
        Self::dig(to, Via::Tls(Arc::new(config), host.to_owned()))
    }

    /// With these bytes in front.
    pub(crate) fn with_header(to: &str, header: &[u8]) -> Self {
        Self::dig(to, Via::Header(header.to_vec()))
    }

    /// Over WebSocket, at this path.
    pub(crate) fn websocket(to: &str, path: &str) -> Self {
        Self::dig(to, Via::WebSocket(path.to_owned()))
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn dial(&self) -> Dial {
        Dial::to(&self.address)
    }

    pub(crate) fn open(&self) -> Conn {
        self.dial().open()
    }

    /// Tries to come in, and gives what went wrong on the way.
    pub(crate) fn failure(&self) -> String {
        let conn = self.dial().greeted();
        let failure = eventually("the way to fail", || self.failures().pop());
        conn.expect_socket_closed();
        failure
    }

    fn failures(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dig(to: &str, via: Via) -> Self {
        let near = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = near.local_addr().expect("its address").to_string();
        near.set_nonblocking(true).expect("a socket option");
        let failures = Arc::new(Mutex::new(Vec::new()));
        let (to, noted) = (to.to_owned(), Arc::clone(&failures));
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let near = TcpListener::from_std(near).expect("a listener");
                while let Ok((socket, _)) = near.accept().await {
                    let (to, via, noted) = (to.clone(), via.clone(), Arc::clone(&noted));
                    tokio::spawn(async move {
                        if let Err(error) = forward(socket, &to, via).await {
                            noted.lock().unwrap_or_else(PoisonError::into_inner).push(error.to_string());
                        }
                    });
                }
            });
        });
        Self { address, failures }
    }
}

async fn forward(mut near: TcpStream, to: &str, via: Via) -> io::Result<()> {
    let mut far = TcpStream::connect(to).await?;
    far.set_nodelay(true)?;
    match via {
        Via::Header(header) => {
            far.write_all(&header).await?;
            copy_bidirectional(&mut near, &mut far).await?;
        }
        Via::Tls(config, host) => {
            let name = ServerName::try_from(host).expect("a host");
            let mut far = TlsConnector::from(config).connect(name, far).await?;
            copy_bidirectional(&mut near, &mut far).await?;
        }
        Via::WebSocket(path) => carry(near, far, &path).await?,
    }
    Ok(())
}

/// A client of WebSocket (RFC 6455), as far as it is needed here.
async fn carry(near: TcpStream, mut far: TcpStream, path: &str) -> io::Result<()> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: amqp\r\n\r\n"
    );
    far.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(far.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    // The answer to this key is in the RFC.
    let is_taken = head.starts_with("http/1.1 101")
        && head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=")
        && head.contains("sec-websocket-protocol: amqp");
    if !is_taken {
        return Err(io::Error::other(head));
    }
    let ((mut near_read, mut near_write), (mut far_read, mut far_write)) =
        (near.into_split(), far.into_split());
    let out = async {
        let mut chunk = vec![0; 5000];
        loop {
            let count = near_read.read(&mut chunk).await?;
            if count == 0 {
                // Close, with nothing said.
                return far_write.write_all(&[0x88, 0x80, 0, 0, 0, 0]).await;
            }
            let mask = [1, 2, 3, 4];
            let length = u16::try_from(count).expect("a small chunk").to_be_bytes();
            let mut frame = vec![0x82, 0x80 | 126, length[0], length[1]];
            frame.extend(mask);
            frame.extend(chunk[..count].iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
            far_write.write_all(&frame).await?;
        }
    };
    let back = async {
        loop {
            let (kind, length) = (far_read.read_u8().await?, far_read.read_u8().await?);
            let length = match length {
                126 => u64::from(far_read.read_u16().await?),
                127 => far_read.read_u64().await?,
                small => u64::from(small),
            };
            let mut payload = vec![0; usize::try_from(length).expect("a length")];
            far_read.read_exact(&mut payload).await?;
            match kind {
                0x82 => near_write.write_all(&payload).await?,
                0x88 => return near_write.shutdown().await,
                other => return Err(io::Error::other(format!("a frame of the kind {other:#x}"))),
            }
        }
    };
    tokio::try_join!(out, back).map(drop)
}
