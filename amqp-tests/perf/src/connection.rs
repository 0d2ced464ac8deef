//! A blocking connection to a broker: login, channels, questions and their answers.

use std::io::{self, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::now_ns;
use crate::error::{Error, Result};
use crate::input::{Frame, Input};
use crate::method::*;
use crate::uri::Uri;
use crate::wire::{Decoder, Encoder, METHOD, PROTOCOL_HEADER, Table, Value};

/// How long a silent socket is waited for before looking whether the run goes on.
const GLANCE: Duration = Duration::from_millis(50);
const CONNECT: Duration = Duration::from_secs(10);
/// How long an answer may take, even after Ctrl-C, since what was declared is deleted then. Behind a full queue of publishes it takes longer than alone.
const PATIENCE_NS: u64 = 30_000_000_000;
const FRAME_MAX: u32 = 131_072;

/// A connection that is logged in.
pub(crate) struct Connection {
    stream: TcpStream,
    pub(crate) input: Input,
    broker: Arc<str>,
    /// Octets of the largest frame, as agreed on.
    pub(crate) frame_max: usize,
}

impl Connection {
    /// Connects and logs in, without heartbeats.
    pub(crate) fn open(uri: &Uri) -> Result<Self> {
        let stream = connect(uri)?;
        let mut connection = Self {
            stream,
            input: Input::new(),
            broker: uri.to_string().into(),
            frame_max: FRAME_MAX as usize,
        };
        connection.send(PROTOCOL_HEADER, || false)?;
        connection.answer(CONNECTION_START, "the protocol header")?;
        connection.log_in(uri)?;
        Ok(connection)
    }

    /// The same with channel 1 open.
    pub(crate) fn with_channel(uri: &Uri) -> Result<Self> {
        let mut connection = Self::open(uri)?;
        connection.open_channel(1)?;
        Ok(connection)
    }

    fn log_in(&mut self, uri: &Uri) -> Result<()> {
        let tune = self.call(CONNECTION_TUNE, "the login", |to| {
            to.method(0, CONNECTION_START_OK, |to| {
                to.table(&client_properties());
                to.short("PLAIN");
                to.long(format!("\0{}\0{}", uri.user, uri.password).as_bytes());
                to.short("en_US");
            });
        })?;
        let mut tune = Decoder(&tune);
        let channel_max = tune.u16().unwrap_or(0);
        let offered = tune.u32().filter(|max| *max != 0).unwrap_or(FRAME_MAX);
        let frame_max = offered.min(FRAME_MAX);
        self.frame_max = frame_max as usize;
        self.call(CONNECTION_OPEN_OK, "connection.open", |to| {
            to.method(0, CONNECTION_TUNE_OK, |to| {
                to.u16(channel_max);
                to.u32(frame_max);
                to.u16(0);
            });
            to.method(0, CONNECTION_OPEN, |to| {
                to.short(&uri.vhost);
                to.raw(&[0, 0]);
            });
        })?;
        Ok(())
    }

    pub(crate) fn open_channel(&mut self, channel: u16) -> Result<()> {
        self.call(CHANNEL_OPEN_OK, "channel.open", |to| to.method(channel, CHANNEL_OPEN, |to| to.u8(0)))?;
        Ok(())
    }

    /// Turns on publisher confirms in channel 1.
    pub(crate) fn select_confirms(&mut self) -> Result<()> {
        self.call(CONFIRM_SELECT_OK, "confirm.select", |to| to.method(1, CONFIRM_SELECT, |to| to.u8(0)))?;
        Ok(())
    }

    /// Sends what `ask` writes and gives the arguments of the method `answer`, whatever else comes before it.
    pub(crate) fn call(
        &mut self,
        answer: u32,
        what: &str,
        ask: impl FnOnce(&mut Encoder),
    ) -> Result<Vec<u8>> {
        let mut request = Encoder::default();
        ask(&mut request);
        self.send(&request.bytes, || false)?;
        self.answer(answer, what)
    }

    /// Sends `count` questions at once and waits for as many answers.
    pub(crate) fn call_all(&mut self, requests: &Encoder, count: usize, what: &str) -> Result<()> {
        self.send(&requests.bytes, || false)?;
        for _ in 0..count {
            self.wait_for(what, |_| true)?;
        }
        Ok(())
    }

    /// Takes the next method with this number.
    fn answer(&mut self, id: u32, what: &str) -> Result<Vec<u8>> {
        self.wait_for(what, |found| found == id)
    }

    fn wait_for(&mut self, what: &str, wanted: impl Fn(u32) -> bool) -> Result<Vec<u8>> {
        let until_ns = now_ns() + PATIENCE_NS;
        loop {
            while let Some(frame) = self.input.next().map_err(|why| error(&self.broker, why))? {
                refuse(&self.broker, &frame)?;
                if frame.kind == METHOD && frame.method().is_some_and(&wanted) {
                    return Ok(frame.payload.get(4..).unwrap_or_default().to_vec());
                }
            }
            if self.receive()? == 0 && now_ns() > until_ns {
                let seconds = PATIENCE_NS / 1_000_000_000;
                return Err(self.error(&format!("no answer to {what} within {seconds} s")));
            }
        }
    }

    /// Reads once; 0 when nothing came for a moment.
    pub(crate) fn receive(&mut self) -> Result<usize> {
        match self.input.fill(&mut self.stream) {
            Ok(0) => Err(self.error("it closed the connection without a word (a wrong password?)")),
            Ok(read) => Ok(read),
            Err(error) if is_pause(&error) => Ok(0),
            Err(error) => Err(self.error(&format!("reading failed: {error}"))),
        }
    }

    /// Writes all of `bytes`; a broker that does not read is waited for until `over`.
    pub(crate) fn send(&mut self, bytes: &[u8], over: impl Fn() -> bool) -> Result<()> {
        let mut rest = bytes;
        let mut until_ns = None;
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(written) => (rest, until_ns) = (&rest[written..], None),
                Err(error) if is_pause(&error) => {
                    let limit = *until_ns.get_or_insert_with(|| now_ns() + 4 * PATIENCE_NS);
                    if over() || now_ns() > limit {
                        return Err(self.error("it has stopped reading what is sent"));
                    }
                }
                Err(error) => return Err(self.last_words(&error)),
            }
        }
        Ok(())
    }

    /// The broker's reason if it sent one before the connection broke.
    fn last_words(&mut self, error: &io::Error) -> Error {
        for _ in 0..100 {
            while let Ok(Some(frame)) = self.input.next() {
                if let Err(reason) = refuse(&self.broker, &frame) {
                    return reason;
                }
            }
            if !matches!(self.input.fill(&mut self.stream), Ok(1..)) {
                break;
            }
        }
        self.error(&format!("writing failed: {error}"))
    }

    /// Closes channel 1, so that everything sent before has been taken in, and then the connection.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.call(CHANNEL_CLOSE_OK, "channel.close", |to| to.method(1, CHANNEL_CLOSE, goodbye))?;
        self.close()
    }

    /// Closes the connection.
    pub(crate) fn close(mut self) -> Result<()> {
        self.call(CONNECTION_CLOSE_OK, "connection.close", |to| to.method(0, CONNECTION_CLOSE, goodbye))?;
        Ok(())
    }

    /// An error of this broker.
    pub(crate) fn error(&self, why: &str) -> Error {
        error(&self.broker, why)
    }

    /// The broker's address, for errors.
    pub(crate) fn broker(&self) -> Arc<str> {
        Arc::clone(&self.broker)
    }
}

/// An error of the broker at this address.
pub(crate) fn error(broker: &str, why: &str) -> Error {
    Error::new(format!("{broker}: {why}"))
}

/// An error if the frame closes the channel or the connection, or ends a consumer.
pub(crate) fn refuse(broker: &str, frame: &Frame<'_>) -> Result<()> {
    if frame.kind != METHOD {
        return Ok(());
    }
    let scope = match frame.method() {
        Some(CONNECTION_CLOSE) => "connection",
        Some(CHANNEL_CLOSE) => "channel",
        Some(BASIC_CANCEL) => return Err(error(broker, "it cancelled a consumer: its queue is gone")),
        _ => return Ok(()),
    };
    let mut from = Decoder(frame.payload.get(4..).unwrap_or_default());
    let code = from.u16().unwrap_or(0);
    let text = from.text().unwrap_or_default();
    Err(error(broker, &format!("it closed the {scope}: {code} {text}")))
}

fn connect(uri: &Uri) -> Result<TcpStream> {
    let failed = |why: io::Error| error(&uri.to_string(), &format!("cannot connect: {why}"));
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (uri.host.as_str(), uri.port).to_socket_addrs().map_err(failed)? {
        match TcpStream::connect_timeout(&address, CONNECT).and_then(prepared) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

fn prepared(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(GLANCE))?;
    stream.set_write_timeout(Some(GLANCE))?;
    Ok(stream)
}

/// Nothing happened within the socket's timeout.
fn is_pause(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

/// Reply code and text of an orderly close, and the method that caused it: none.
fn goodbye(to: &mut Encoder) {
    to.u16(200);
    to.short("done");
    to.u32(0);
}

fn client_properties() -> Table {
    let capabilities =
        ["publisher_confirms", "basic.nack", "consumer_cancel_notify", "authentication_failure_close"];
    let capabilities = capabilities.map(|name| (name.to_owned(), Value::Flag(true))).to_vec();
    vec![
        ("product".to_owned(), Value::Text("warren-perf".to_owned())),
        ("capabilities".to_owned(), Value::Table(capabilities)),
    ]
}
