//! Reading and writing of one connection.

use std::io::{Error, ErrorKind, IoSlice};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::Context;
use super::greeting::Stream;
use super::node::Peer;
use crate::node::cluster::peer::PeerMessage;
use crate::node::cluster::wire::{FRAME_HEAD, Frames, PLACES, decode, encode};
use crate::node::mailbox::Mailbox;

/// Frames are gathered up to about this for one write.
const WRITE_BYTES: usize = 128 * 1024;

/// Bytes that one read takes: more while reads are full.
const READ_BYTES_MIN: usize = 16 * 1024;
const READ_BYTES_MAX: usize = 256 * 1024;

/// One connection to another node, for those who send over it or end it.
#[derive(Debug)]
pub(super) struct Connection {
    /// Messages, and how many bytes each counts.
    pub(super) outbox: Mailbox<(PeerMessage, usize)>,
    /// What waits and what is being written.
    pub(super) outbox_bytes: AtomicUsize,
    /// Why it has to end.
    reason: OnceLock<&'static str>,
    ended: Notify,
    /// Something was read since somebody looked.
    was_heard: AtomicBool,
}

impl Connection {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            outbox: Mailbox::new(usize::MAX),
            outbox_bytes: AtomicUsize::new(0),
            reason: OnceLock::new(),
            ended: Notify::new(),
            was_heard: AtomicBool::new(true),
        })
    }

    /// Nothing that is sent from now on goes out.
    pub(super) fn end(&self, reason: &'static str) {
        if self.reason.set(reason).is_ok() {
            self.ended.notify_one();
        }
    }

    /// Reads and writes until the connection ends, and reports that. Gives the reason.
    pub(super) async fn run(self: &Arc<Self>, context: &Context, peer: &Peer, stream: Stream) -> Error {
        let _reports = ReportsEnd(self, context, peer);
        let (reader, writer) = tokio::io::split(stream);
        let end = tokio::select! {
            end = self.read(context, peer, reader) => end,
            end = self.write(context.options.ping_every, writer) => end,
            end = self.watch(context) => end,
        };
        match end {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn read(
        self: &Arc<Self>,
        context: &Context,
        peer: &Peer,
        mut reader: ReadHalf<Stream>,
    ) -> Result<Never, Error> {
        let mut buffer = BytesMut::new();
        let mut messages = Vec::new();
        let mut read_bytes = READ_BYTES_MIN;
        loop {
            let backing = buffer.capacity();
            while let Some(frame) = next_frame(&mut buffer, context.options.message_bytes_max)? {
                let message = decode(&frame, backing)
                    .map_err(|_| Error::new(ErrorKind::InvalidData, "it sent what is no message"))?;
                messages.extend(message);
            }
            if !messages.is_empty() && !peer.deliver(self, &mut messages, &*context.incoming) {
                return Err(self.end_reason());
            }
            let wanted = missing_bytes(&buffer).max(read_bytes);
            buffer.reserve(wanted);
            let count = reader.read_buf(&mut buffer).await?;
            if count == 0 {
                return Err(Error::new(ErrorKind::UnexpectedEof, "it closed the connection"));
            }
            self.was_heard.store(true, Ordering::Relaxed);
            read_bytes = if count >= read_bytes { READ_BYTES_MAX } else { count.next_power_of_two() };
            read_bytes = read_bytes.clamp(READ_BYTES_MIN, READ_BYTES_MAX);
        }
    }

    async fn write(&self, ping_every: Duration, mut writer: WriteHalf<Stream>) -> Result<Never, Error> {
        let (mut waiting, mut frames) = (Vec::new(), Frames::default());
        let mut tick = tokio::time::interval(ping_every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_quiet = true;
        loop {
            tokio::select! {
                () = self.outbox.filled() => {}
                _ = tick.tick() => {
                    if std::mem::replace(&mut is_quiet, true) {
                        encode(None, &mut frames);
                    }
                }
            }
            self.outbox.take(&mut waiting);
            // What was not taken into the outbox must not be followed by anything.
            if self.reason.get().is_some() {
                return Err(self.end_reason());
            }
            let mut bytes = 0;
            for (message, weight) in waiting.drain(..) {
                encode(Some(&message), &mut frames);
                drop(message);
                bytes += weight;
                is_quiet = false;
                if frames.len() >= WRITE_BYTES {
                    self.write_out(&mut frames, &mut writer, std::mem::take(&mut bytes)).await?;
                }
            }
            self.write_out(&mut frames, &mut writer, bytes).await?;
            writer.flush().await?;
        }
    }

    async fn write_out(
        &self,
        frames: &mut Frames,
        writer: &mut WriteHalf<Stream>,
        bytes: usize,
    ) -> Result<(), Error> {
        while !frames.is_written() {
            let mut places = [IoSlice::new(&[]); PLACES];
            let filled = frames.slices(&mut places);
            let count = writer.write_vectored(places.get(..filled).unwrap_or_default()).await?;
            if count == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
            frames.advance(count);
        }
        frames.clear(READ_BYTES_MAX);
        self.outbox_bytes.fetch_sub(bytes, Ordering::AcqRel);
        Ok(())
    }

    /// Ends when somebody wants that, or nothing was heard for too long. Counts ticks: time in which this process itself stood
    /// still does not count.
    async fn watch(&self, context: &Context) -> Result<Never, Error> {
        let every = context.options.ping_every;
        let mut tick = tokio::time::interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silence = Duration::ZERO;
        loop {
            tokio::select! {
                () = self.ended.notified() => return Err(self.end_reason()),
                _ = tick.tick() => {}
            }
            silence =
                if self.was_heard.swap(false, Ordering::Relaxed) { Duration::ZERO } else { silence + every };
            if silence >= context.options.silence_max {
                return Err(Error::new(ErrorKind::TimedOut, "nothing was heard of it for too long"));
            }
        }
    }

    fn end_reason(&self) -> Error {
        Error::other(self.reason.get().copied().unwrap_or("the link is replaced"))
    }
}

/// Reports the end of a connection, however it comes.
struct ReportsEnd<'a>(&'a Arc<Connection>, &'a Context, &'a Peer);

impl Drop for ReportsEnd<'_> {
    fn drop(&mut self) {
        self.2.down(self.0, &*self.1.incoming);
    }
}

/// A loop without an end.
pub(super) enum Never {}

/// Cuts the next whole frame off.
fn next_frame(buffer: &mut BytesMut, bytes_max: usize) -> Result<Option<Bytes>, Error> {
    let Some(length) = length(buffer) else { return Ok(None) };
    if length > bytes_max {
        let text = format!("it sent a message of {length} bytes, more than {bytes_max}");
        return Err(Error::new(ErrorKind::InvalidData, text));
    }
    if buffer.len() - FRAME_HEAD < length {
        return Ok(None);
    }
    buffer.advance(FRAME_HEAD);
    Ok(Some(buffer.split_to(length).freeze()))
}

/// How many bytes the frame at the front needs, if its length is known to be allowed.
fn missing_bytes(buffer: &BytesMut) -> usize {
    length(buffer).map_or(0, |length| (FRAME_HEAD + length).saturating_sub(buffer.len()))
}

fn length(buffer: &BytesMut) -> Option<usize> {
    let head = buffer.first_chunk::<FRAME_HEAD>()?;
    usize::try_from(u32::from_le_bytes(*head)).ok()
}
