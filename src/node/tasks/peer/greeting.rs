//! The handshake over a socket, TLS around it.

use std::fmt;
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::pki_types::ServerName;

use super::{Context, LinkOptions};
use crate::node::cluster::handshake::{
    Challenge, End, FRAME_MAX, Hello, Identity, Nonce, Purpose, Unfit, check_challenge, check_hello,
    check_proof, proof, refusal,
};

/// How a TLS client begins: a handshake record (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// What is said of a node that is not known as a member.
pub(super) const STRANGER: &str = "as a member of the cluster";

const NO_ANSWER: &str = "no answer in time";
const ENDED: &str = "the other end ended the connection before it was let in";

/// A socket, or TLS over one.
pub(super) type Stream = Box<dyn Duplex>;

pub(super) trait Duplex: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin> Duplex for T {}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LinkError {
    /// The machine answers that nobody listens there.
    Refused,
    Other(String),
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "connection refused",
            Self::Other(text) => text,
        })
    }
}

impl LinkError {
    /// Whether it is usual for a moment when nodes start or join: who is a member is not known everywhere yet, and who
    /// called has given up meanwhile.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Refused => true,
            Self::Other(text) => [STRANGER, NO_ANSWER, ENDED].iter().any(|usual| text.contains(usual)),
        }
    }
}

impl std::error::Error for LinkError {}

impl From<Error> for LinkError {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => Self::Other(ENDED.to_owned()),
            _ => Self::Other(error.to_string()),
        }
    }
}

impl From<Unfit> for LinkError {
    fn from(Unfit(text): Unfit) -> Self {
        Self::Other(text)
    }
}

/// Connects to a node and greets it. Gives who it is.
pub(super) async fn dial(
    options: &LinkOptions,
    address: &str,
    hello: &Hello,
) -> Result<(Stream, Identity), LinkError> {
    let socket = connect(options, address).await?;
    let greeting = async {
        let mut stream = wrap(options, address, socket).await?;
        let identity = greet(options, &mut stream, hello).await?;
        Ok((stream, identity))
    };
    timeout(options.connect_timeout, greeting).await.unwrap_or_else(|_| Err(no_answer()))
}

/// A hello with a nonce of its own.
///
/// # Errors
/// When the system has no random numbers to give.
pub(super) fn hello(own: &Identity, purpose: Purpose, to: u16, attempt: u64) -> Result<Hello, LinkError> {
    Ok(Hello { purpose, from: own.clone(), to, attempt, nonce: nonce()? })
}

impl Context {
    /// The next number for a connection of this run.
    pub(super) fn next_attempt(&self) -> u64 {
        self.attempts.fetch_add(1, Ordering::Relaxed)
    }
}

/// Any of the addresses that a name stands for. Refused only if all are.
async fn connect(options: &LinkOptions, address: &str) -> Result<TcpStream, LinkError> {
    let mut problem = LinkError::Other(format!("{address} is no address"));
    let mut was_refused = true;
    let found = timeout(options.connect_timeout, tokio::net::lookup_host(address)).await;
    for address in found.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))? {
        match connect_to(options, address).await {
            Ok(socket) => return Ok(socket),
            Err(error) => {
                was_refused &= error == LinkError::Refused;
                problem = error;
            }
        }
    }
    match problem {
        LinkError::Refused if !was_refused => Err(no_answer()),
        problem => Err(problem),
    }
}

async fn connect_to(options: &LinkOptions, address: SocketAddr) -> Result<TcpStream, LinkError> {
    options.security.check_address(address.ip()).map_err(|error| LinkError::Other(error.to_string()))?;
    let connecting = timeout(options.connect_timeout, TcpStream::connect(address));
    let socket = connecting.await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

async fn wrap(options: &LinkOptions, address: &str, socket: TcpStream) -> Result<Stream, LinkError> {
    let Some(tls) = &options.security.tls else { return Ok(Box::new(socket)) };
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host)
        .map_err(|_| LinkError::Other(format!("{address} is no name that a certificate can have")))?;
    let stream = tls.connector.connect(name, socket).await;
    let stream =
        stream.map_err(|error| LinkError::Other(format!("TLS: {error} (is TLS set on both nodes?)")))?;
    Ok(Box::new(stream))
}

async fn greet(options: &LinkOptions, stream: &mut Stream, hello: &Hello) -> Result<Identity, LinkError> {
    let secret = options.security.secret();
    let said = hello.encode();
    write_frame(stream, &said).await?;
    let heard = read_frame(stream, FRAME_MAX).await?;
    let challenge = Challenge::decode(&heard)?;
    check_challenge(&challenge, hello)?;
    write_frame(stream, &proof(secret, End::Dialer, &said, &heard)).await?;
    let answer = read_frame(stream, FRAME_MAX).await?;
    check_proof(&answer, secret, End::Acceptor, &said, &heard)?;
    Ok(challenge.from)
}

/// Hears who connects. `may_come` has the last word before the proofs. A refusal is told to the other end.
pub(super) async fn receive(
    options: &LinkOptions,
    own: &Identity,
    socket: TcpStream,
    may_come: impl Fn(&Hello) -> Result<(), Unfit>,
) -> Result<(Stream, Hello), LinkError> {
    let mut stream = unwrap(options, socket).await?;
    let secret = options.security.secret();
    let heard = read_frame(&mut stream, FRAME_MAX).await?;
    let checked = Hello::decode(&heard).and_then(|hello| {
        check_hello(&hello, own)?;
        may_come(&hello).map(|()| hello)
    });
    let hello = or_refuse(checked, &mut stream).await?;
    let said = Challenge { from: own.clone(), nonce: nonce()? }.encode();
    write_frame(&mut stream, &said).await?;
    let answer = read_frame(&mut stream, FRAME_MAX).await?;
    let checked = check_proof(&answer, secret, End::Dialer, &heard, &said);
    or_refuse(checked, &mut stream).await?;
    write_frame(&mut stream, &proof(secret, End::Acceptor, &heard, &said)).await?;
    Ok((stream, hello))
}

async fn unwrap(options: &LinkOptions, socket: TcpStream) -> Result<Stream, LinkError> {
    let mut first = [0];
    socket.peek(&mut first).await?;
    let speaks_tls = first == [TLS_HANDSHAKE];
    match &options.security.tls {
        Some(tls) if speaks_tls => {
            let stream = tls.acceptor.accept(socket).await;
            Ok(Box::new(stream.map_err(|error| LinkError::Other(format!("TLS: {error}")))?))
        }
        Some(_) => {
            let unfit = Unfit(
                "node to node it is TLS here ([cluster.tls]), and the dialer does not use it".to_owned(),
            );
            or_refuse(Err(unfit), &mut (Box::new(socket) as Stream)).await
        }
        None if speaks_tls => {
            Err(LinkError::Other("the dialer uses TLS, and here it is not set ([cluster.tls])".to_owned()))
        }
        None => Ok(Box::new(socket)),
    }
}

async fn or_refuse<T>(checked: Result<T, Unfit>, stream: &mut Stream) -> Result<T, LinkError> {
    if let Err(Unfit(text)) = &checked {
        write_frame(stream, &refusal(text)).await?;
        stream.shutdown().await?;
    }
    Ok(checked?)
}

/// Writes a length and what it is of.
pub(super) async fn write_frame(stream: &mut Stream, content: &[u8]) -> Result<(), LinkError> {
    let length =
        u32::try_from(content.len()).map_err(|_| LinkError::Other("a message is too long".to_owned()))?;
    stream.write_all(&[&length.to_le_bytes(), content].concat()).await?;
    Ok(stream.flush().await?)
}

/// Reads what [`write_frame`] wrote.
pub(super) async fn read_frame(stream: &mut Stream, bytes_max: usize) -> Result<Vec<u8>, LinkError> {
    let length = usize::try_from(stream.read_u32_le().await?).unwrap_or(usize::MAX);
    if length > bytes_max {
        return Err(LinkError::Other(format!(
            "the other end sent {length} bytes where it may send {bytes_max}"
        )));
    }
    let mut content = Vec::new();
    (&mut *stream).take(length as u64).read_to_end(&mut content).await?;
    if content.len() < length { Err(Error::from(ErrorKind::UnexpectedEof).into()) } else { Ok(content) }
}

fn nonce() -> Result<Nonce, LinkError> {
    let mut nonce = Nonce::default();
    getrandom::fill(&mut nonce).map_err(|error| LinkError::Other(error.to_string()))?;
    Ok(nonce)
}

fn no_answer() -> LinkError {
    LinkError::Other(NO_ANSWER.to_owned())
}
