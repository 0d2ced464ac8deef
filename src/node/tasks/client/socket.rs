//! What a connection reads from and writes to: a socket as it is, or a stream that has something of its own in between, such
//! as TLS. The socket is asked directly; a stream tells only by a read or a write what it is ready for, and is buffered.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// Bytes that are read ahead at once.
const READ_BYTES: usize = 16 * 1024;
/// Bytes that may wait in front of a stream.
const WRITE_BYTES_MAX: usize = 64 * 1024;
/// How long a stream has for its end.
const END: Duration = Duration::from_secs(2);

/// Something that carries AMQP and is no plain socket.
pub(crate) trait Carrier: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Carrier for T {}

pub(crate) enum Socket {
    Plain(TcpStream),
    Buffered(Box<Buffered>),
}

pub(crate) struct Buffered {
    stream: Pin<Box<dyn Carrier>>,
    /// Read ahead, from `taken` on.
    read: Vec<u8>,
    taken: usize,
    /// Nothing more comes.
    ended: bool,
    /// To be written, from `written` on.
    write: Vec<u8>,
    written: usize,
    is_flushed: bool,
}

impl Socket {
    pub(crate) fn buffered(stream: impl Carrier + 'static) -> Self {
        Self::Buffered(Box::new(Buffered {
            stream: Box::pin(stream),
            read: Vec::new(),
            taken: 0,
            ended: false,
            write: Vec::new(),
            written: 0,
            is_flushed: true,
        }))
    }

    /// Reads what is there, once.
    // A read that is polled, unlike one that is tried, knows from a short count that the socket is empty.
    pub(super) fn poll_read(&mut self, into: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => pin!(socket.read_buf(into)).poll(cx),
            Self::Buffered(stream) => stream.poll_read(into, cx),
        }
    }

    pub(super) fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => socket.poll_read_ready(cx),
            Self::Buffered(stream) => stream.poll_read_ahead(cx),
        }
    }

    pub(super) fn poll_write_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => socket.poll_write_ready(cx),
            Self::Buffered(stream) if stream.has_room() => Poll::Ready(Ok(())),
            Self::Buffered(stream) => match stream.poll_drain(cx) {
                Poll::Pending if stream.has_room() => Poll::Ready(Ok(())),
                drained => drained,
            },
        }
    }

    /// Goes on with what was taken by [`Self::try_write`]; to be called before its task sleeps.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Buffered(stream) => match stream.poll_drain(cx) {
                Poll::Ready(result) => result,
                Poll::Pending => Ok(()),
            },
        }
    }

    pub(super) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.try_write(bytes),
            Self::Buffered(stream) => stream.take(bytes),
        }
    }

    /// Whether the peer has said that it sends no more, as far as that shows without reading all before it.
    pub(super) async fn is_half_closed(&mut self) -> bool {
        match self {
            Self::Plain(socket) => {
                let mut ready = pin!(socket.ready(Interest::READABLE));
                let poll = poll_fn(|cx| Poll::Ready(ready.as_mut().poll(cx))).await;
                matches!(poll, Poll::Ready(Ok(ready)) if ready.is_read_closed())
            }
            Self::Buffered(stream) => {
                poll_fn(|cx| {
                    stream.poll_read_more(cx);
                    Poll::Ready(())
                })
                .await;
                stream.ended
            }
        }
    }

    /// Looks at what comes next without taking it. Gives how much there is.
    pub(super) async fn peek(&mut self, into: &mut [u8]) -> usize {
        poll_fn(|cx| {
            let mut into = ReadBuf::new(into);
            Poll::Ready(match self {
                Self::Plain(socket) => match socket.poll_peek(cx, &mut into) {
                    Poll::Ready(Ok(_)) => into.filled().len(),
                    Poll::Ready(Err(_)) | Poll::Pending => 0,
                },
                Self::Buffered(stream) => {
                    stream.poll_read_more(cx);
                    let ahead = stream.ahead();
                    let count = ahead.len().min(into.remaining());
                    into.put_slice(ahead.get(..count).unwrap_or_default());
                    count
                }
            })
        })
        .await
    }

    /// Reads and forgets until the peer closes.
    pub(super) async fn drain(&mut self) {
        let mut thrown = Vec::new();
        loop {
            thrown.clear();
            let read = poll_fn(|cx| match self {
                Self::Plain(socket) => {
                    ready!(socket.poll_read_ready(cx))?;
                    thrown.reserve(READ_BYTES);
                    pin!(socket.read_buf(&mut thrown)).poll(cx)
                }
                Self::Buffered(stream) => stream.poll_read(&mut thrown, cx),
            });
            if !matches!(read.await, Ok(1..)) {
                return;
            }
        }
    }

    /// Lets everything out that was taken; a stream says its own goodbye.
    pub(super) async fn finish(&mut self) {
        let Self::Buffered(stream) = self else { return };
        let end = async {
            poll_fn(|cx| stream.poll_drain(cx)).await?;
            poll_fn(|cx| stream.stream.as_mut().poll_shutdown(cx)).await
        };
        let _ = tokio::time::timeout(END, end).await;
    }

    /// Gives back the buffers that hold nothing.
    pub(super) fn rest(&mut self) {
        let Self::Buffered(stream) = self else { return };
        if stream.ahead().is_empty() {
            (stream.read, stream.taken) = (Vec::new(), 0);
        }
        if stream.waiting().is_empty() {
            (stream.write, stream.written) = (Vec::new(), 0);
        }
    }
}

impl Buffered {
    fn ahead(&self) -> &[u8] {
        self.read.get(self.taken..).unwrap_or_default()
    }

    fn waiting(&self) -> &[u8] {
        self.write.get(self.written..).unwrap_or_default()
    }

    fn has_room(&self) -> bool {
        self.waiting().len() < WRITE_BYTES_MAX
    }

    fn poll_read(&mut self, into: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        ready!(self.poll_read_ahead(cx))?;
        let room = (into.capacity() - into.len()).max(READ_BYTES);
        let count = self.ahead().len().min(room);
        into.extend_from_slice(self.ahead().get(..count).unwrap_or_default());
        self.taken += count;
        if self.ahead().is_empty() {
            self.read.clear();
            self.taken = 0;
        }
        Poll::Ready(Ok(count))
    }

    /// Has something to be read, or knows that nothing comes.
    fn poll_read_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.ahead().is_empty() || self.ended {
            return Poll::Ready(Ok(()));
        }
        self.read.reserve(READ_BYTES);
        self.read_once(cx)
    }

    /// Reads on behind what is there, for those who want to know what follows.
    fn poll_read_more(&mut self, cx: &mut Context<'_>) {
        while !self.ended && self.ahead().len() < WRITE_BYTES_MAX {
            self.read.reserve(READ_BYTES);
            if self.read_once(cx).is_pending() {
                return;
            }
        }
    }

    fn read_once(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let read = ready!(pin!(self.stream.read_buf(&mut self.read)).poll(cx));
        self.ended = !matches!(read, Ok(1..));
        Poll::Ready(read.map(drop))
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.has_room() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.waiting().is_empty() || self.written > WRITE_BYTES_MAX {
            self.write.drain(..self.written);
            self.written = 0;
        }
        let count = bytes.len().min(WRITE_BYTES_MAX - self.waiting().len());
        self.write.extend_from_slice(bytes.get(..count).unwrap_or_default());
        self.is_flushed = false;
        Ok(count)
    }

    /// Ready when everything is out.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(waiting) = self.write.get(self.written..).filter(|waiting| !waiting.is_empty()) {
            let count = ready!(self.stream.as_mut().poll_write(cx, waiting))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        if !self.is_flushed {
            ready!(self.stream.as_mut().poll_flush(cx))?;
            self.is_flushed = true;
        }
        Poll::Ready(Ok(()))
    }
}
