//! The header by which a proxy says for whom it forwards (The PROXY protocol, Versions 1 & 2).

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Every header is at least so long.
const FIRST_BYTES: usize = 12;
/// A header of version 1 with its line end.
const V1_BYTES_MAX: usize = 107;
/// A header of version 2 up to its length, and what may follow that.
const V2_BYTES: usize = 16;
const V2_MORE_BYTES_MAX: usize = 4096;

/// Whom a proxy forwards, and where that one wanted to go.
type Forwarded = (SocketAddr, SocketAddr);

/// Why a header is none.
#[derive(Debug)]
pub(crate) enum ProxyProblem {
    Io(io::Error),
    Malformed(String),
}

/// Reads the header, and nothing behind it. `None` when the proxy speaks for itself.
pub(crate) async fn read(socket: &mut (impl AsyncRead + Unpin)) -> Result<Option<Forwarded>, ProxyProblem> {
    let mut header = vec![0; FIRST_BYTES];
    socket.read_exact(&mut header).await?;
    if header == v2::PROTOCOL_PREFIX {
        read_v2(socket, header).await
    } else if header.starts_with(b"PROXY ") {
        read_v1(socket, header).await
    } else {
        Err(ProxyProblem::Malformed("it does not begin with a PROXY header".to_owned()))
    }
}

async fn read_v1(
    socket: &mut (impl AsyncRead + Unpin),
    mut header: Vec<u8>,
) -> Result<Option<Forwarded>, ProxyProblem> {
    // Byte by byte: what follows the line is the client's.
    while !header.ends_with(b"\r\n") {
        if header.len() == V1_BYTES_MAX {
            return Err(ProxyProblem::Malformed("the PROXY header has no end".to_owned()));
        }
        header.push(socket.read_u8().await?);
    }
    let parsed = v1::Header::try_from(header.as_slice()).map_err(|error| malformed(&error))?;
    Ok(match parsed.addresses {
        v1::Addresses::Tcp4(found) => Some(forwarded(
            (found.source_address, found.source_port),
            (found.destination_address, found.destination_port),
        )),
        v1::Addresses::Tcp6(found) => Some(forwarded(
            (found.source_address, found.source_port),
            (found.destination_address, found.destination_port),
        )),
        v1::Addresses::Unknown => None,
    })
}

async fn read_v2(
    socket: &mut (impl AsyncRead + Unpin),
    mut header: Vec<u8>,
) -> Result<Option<Forwarded>, ProxyProblem> {
    header.resize(V2_BYTES, 0);
    socket.read_exact(header.get_mut(FIRST_BYTES..).unwrap_or_default()).await?;
    let more = match header.get(V2_BYTES - 2..) {
        Some([high, low]) => usize::from(u16::from_be_bytes([*high, *low])),
        _ => 0,
    };
    if more > V2_MORE_BYTES_MAX {
        return Err(ProxyProblem::Malformed(format!("the PROXY header has {more} bytes")));
    }
    header.resize(V2_BYTES + more, 0);
    socket.read_exact(header.get_mut(V2_BYTES..).unwrap_or_default()).await?;
    let parsed = v2::Header::try_from(header.as_slice()).map_err(|error| malformed(&error))?;
    if parsed.command == v2::Command::Local {
        return Ok(None);
    }
    Ok(match parsed.addresses {
        v2::Addresses::IPv4(found) => Some(forwarded(
            (found.source_address, found.source_port),
            (found.destination_address, found.destination_port),
        )),
        v2::Addresses::IPv6(found) => Some(forwarded(
            (found.source_address, found.source_port),
            (found.destination_address, found.destination_port),
        )),
        v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
    })
}

fn forwarded<T: Into<IpAddr>>(source: (T, u16), destination: (T, u16)) -> Forwarded {
    let address = |(ip, port): (T, u16)| SocketAddr::new(ip.into(), port);
    (address(source), address(destination))
}

fn malformed(error: &dyn fmt::Display) -> ProxyProblem {
    ProxyProblem::Malformed(format!("the PROXY header is malformed: {error}"))
}

impl From<io::Error> for ProxyProblem {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for ProxyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the PROXY header did not come: {error}"),
            Self::Malformed(reason) => f.write_str(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn reads(bytes: &[u8]) -> (Result<Option<Forwarded>, String>, Vec<u8>) {
        let mut rest = bytes;
        let found = read(&mut rest).await.map_err(|problem| problem.to_string());
        (found, rest.to_vec())
    }

    #[tokio::test]
    async fn a_header_is_read_and_nothing_behind_it() {
        let expected = Some(("192.0.2.1:1000".parse().unwrap(), "192.0.2.2:5672".parse().unwrap()));
        let (found, rest) = reads(b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 5672\r\nAMQP").await;
        assert_eq!((found, rest.as_slice()), (Ok(expected), b"AMQP".as_slice()));
        let mut v2 = v2::PROTOCOL_PREFIX.to_vec();
        v2.extend([0x21, 0x11, 0, 12, 192, 0, 2, 1, 192, 0, 2, 2, 0x03, 0xe8, 0x16, 0x28]);
        v2.extend(b"AMQP");
        let (found, rest) = reads(&v2).await;
        assert_eq!((found, rest.as_slice()), (Ok(expected), b"AMQP".as_slice()));
        v2[12] = 0x20;
        assert_eq!(reads(&v2).await.0, Ok(None), "the proxy itself looks whether we are there");
        assert_eq!(reads(b"PROXY UNKNOWN\r\n").await.0, Ok(None));
        let v6 = b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n";
        let expected = Some(("[2001:db8::1]:1".parse().unwrap(), "[2001:db8::2]:2".parse().unwrap()));
        assert_eq!(reads(v6).await.0, Ok(expected));
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let endless = [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat();
        let mut large = v2::PROTOCOL_PREFIX.to_vec();
        large.extend([0x21, 0x11, 0xff, 0xff]);
        let mut strange = v2::PROTOCOL_PREFIX.to_vec();
        strange.extend([0x31, 0x11, 0, 0]);
        let cases: [(&[u8], &str); 6] = [
            (b"AMQP\x00\x00\x09\x01\x01\x00\x00\x00", "does not begin with a PROXY header"),
            (b"PROXY TCP4 192.0.2.1\r\n", "malformed"),
            (&endless, "no end"),
            (&large, "65535 bytes"),
            (&strange, "malformed"),
            (b"PROXY TCP4 19", "did not come"),
        ];
        for (bytes, expected) in cases {
            let problem = reads(bytes).await.0.unwrap_err();
            assert!(problem.contains(expected), "{bytes:?}: {problem}");
        }
    }
}
