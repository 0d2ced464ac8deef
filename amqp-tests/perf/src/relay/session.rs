//! One connection of the relay, with its thread: answers to methods, and publishes handed on.

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::input::{Frame, Input, cut};
use crate::method::*;
use crate::relay::forward::Forward;
use crate::relay::topology::Outlet;
use crate::relay::{Shared, lock};
use crate::wire::{Decoder, Encoder, METHOD, PROTOCOL_HEADER, Table};

/// A consumer that reads nothing for so long is given up, and with it who publishes to it.
const WRITE_WAIT: Duration = Duration::from_secs(30);

static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

struct Session<'s> {
    shared: &'s Shared,
    number: u64,
    socket: Arc<Mutex<TcpStream>>,
    forward: Forward,
    answers: Encoder,
    confirms: bool,
    published: u64,
    confirmed: u64,
    ends: bool,
}

/// What stands at the front of the input.
enum Step {
    More,
    Done(usize),
}

/// Serves a connection until it ends.
pub(super) fn serve(shared: &Shared, mut socket: TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_write_timeout(Some(WRITE_WAIT))?;
    let number = CONNECTIONS.fetch_add(1, Relaxed);
    let mut session = Session {
        shared,
        number,
        socket: Arc::new(Mutex::new(socket.try_clone()?)),
        forward: Forward::default(),
        answers: Encoder::default(),
        confirms: false,
        published: 0,
        confirmed: 0,
        ends: false,
    };
    let result = session.run(&mut socket);
    shared.topology.forget(number);
    result
}

impl Session<'_> {
    fn run(&mut self, socket: &mut TcpStream) -> io::Result<()> {
        let mut input = Input::new();
        while input.rest().len() < PROTOCOL_HEADER.len() {
            if input.fill(socket)? == 0 {
                return Ok(());
            }
        }
        input.consume(PROTOCOL_HEADER.len());
        self.start();
        while !self.ends {
            self.take_all(&mut input)?;
            self.flush()?;
            if !self.ends && input.fill(socket)? == 0 {
                return Ok(());
            }
            if self.published > 0 {
                input.enlarge();
            }
        }
        Ok(())
    }

    fn take_all(&mut self, input: &mut Input) -> io::Result<()> {
        self.forward.refresh(self.shared);
        while !self.ends {
            match self.take(input.rest())? {
                Step::More => break,
                Step::Done(length) => input.consume(length),
            }
        }
        Ok(())
    }

    /// Takes a method or a whole message.
    fn take(&mut self, bytes: &[u8]) -> io::Result<Step> {
        let Some((frame, length)) = whole(bytes)? else { return Ok(Step::More) };
        if frame.kind != METHOD {
            return Ok(Step::Done(length));
        }
        if frame.method() != Some(BASIC_PUBLISH) {
            self.method(&frame);
            return Ok(Step::Done(length));
        }
        let content = &bytes[length..];
        let Some(content_length) = content_length(content)? else { return Ok(Step::More) };
        // Behind class, method and a reserved field lie exchange and key, then one octet of flags.
        let address = frame.payload.get(6..frame.payload.len() - 1).unwrap_or_default();
        self.published += 1;
        self.forward.message(self.shared, address, &content[..content_length]);
        Ok(Step::Done(length + content_length))
    }

    fn start(&mut self) {
        self.answers.method(0, CONNECTION_START, |to| {
            to.raw(&[0, 9]);
            to.table(&Table::new());
            to.long(b"PLAIN");
            to.long(b"en_US");
        });
    }

    fn flush(&mut self) -> io::Result<()> {
        self.forward.flush()?;
        if self.confirms && self.confirmed < self.published {
            self.confirmed = self.published;
            let tag = self.published;
            self.answers.method(1, BASIC_ACK, |to| {
                to.u64(tag);
                to.u8(1);
            });
        }
        if !self.answers.bytes.is_empty() {
            lock(&self.socket).write_all(&self.answers.bytes)?;
            self.answers.bytes.clear();
        }
        Ok(())
    }

    /// Does what a method asks, and answers.
    fn method(&mut self, frame: &Frame<'_>) {
        let arguments = Decoder(frame.payload.get(4..).unwrap_or_default());
        let id = frame.method().unwrap_or(0);
        let topology = &self.shared.topology;
        match id {
            EXCHANGE_DECLARE => declare_exchange(self.shared, arguments),
            EXCHANGE_DELETE => topology.delete_exchange(&second(arguments)),
            QUEUE_DECLARE => topology.declare_queue(second(arguments)),
            QUEUE_DELETE => topology.delete_queue(&second(arguments)),
            QUEUE_BIND => bind(self.shared, arguments),
            BASIC_CONSUME => self.consume(frame.channel, &second(arguments)),
            CONFIRM_SELECT => self.confirms = true,
            CONNECTION_CLOSE => self.ends = true,
            _ => {}
        }
        let name = match id {
            QUEUE_DECLARE => second(Decoder(frame.payload.get(4..).unwrap_or_default())),
            _ => String::new(),
        };
        self.answer(frame.channel, id, &name);
    }

    fn consume(&self, channel: u16, queue: &str) {
        let outlet = Outlet {
            connection: self.number,
            socket: Arc::clone(&self.socket),
            channel,
            name: format!("c{channel}"),
            next_tag: AtomicU64::new(1),
        };
        self.shared.topology.consume(queue, outlet);
    }

    fn answer(&mut self, channel: u16, id: u32, name: &str) {
        let to = &mut self.answers;
        match id {
            CONNECTION_START_OK => to.method(0, CONNECTION_TUNE, |to| {
                to.u16(2047);
                to.u32(131_072);
                to.u16(0);
            }),
            CONNECTION_OPEN => to.method(0, CONNECTION_OPEN_OK, |to| to.u8(0)),
            CONNECTION_CLOSE => to.method(0, CONNECTION_CLOSE_OK, |_| {}),
            CHANNEL_OPEN => to.method(channel, CHANNEL_OPEN_OK, |to| to.u32(0)),
            CHANNEL_CLOSE | EXCHANGE_DECLARE | EXCHANGE_DELETE | QUEUE_BIND | BASIC_QOS | CONFIRM_SELECT => {
                to.method(channel, id + 1, |_| {});
            }
            QUEUE_DECLARE => to.method(channel, QUEUE_DECLARE_OK, |to| {
                to.short(name);
                to.u64(0);
            }),
            QUEUE_DELETE => to.method(channel, QUEUE_DELETE_OK, |to| to.u32(0)),
            BASIC_CONSUME => to.method(channel, BASIC_CONSUME_OK, |to| to.short(&format!("c{channel}"))),
            _ => {}
        }
    }
}

fn whole(bytes: &[u8]) -> io::Result<Option<(Frame<'_>, usize)>> {
    cut(bytes).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))
}

/// Octets of a content header and the bodies that it announces; `None` while some are missing.
fn content_length(bytes: &[u8]) -> io::Result<Option<usize>> {
    let Some((header, mut length)) = whole(bytes)? else { return Ok(None) };
    let mut from = Decoder(header.payload);
    let mut rest = from.u32().and_then(|_| from.u64()).unwrap_or(0);
    while rest > 0 {
        let Some((body, more)) = whole(&bytes[length..])? else { return Ok(None) };
        rest = rest.saturating_sub(body.payload.len() as u64);
        length += more;
    }
    Ok(Some(length))
}

/// The name behind the reserved field, with which most arguments begin.
fn second(mut arguments: Decoder<'_>) -> String {
    arguments.u16().and_then(|_| arguments.text()).unwrap_or_default()
}

fn declare_exchange(shared: &Shared, mut arguments: Decoder<'_>) {
    arguments.u16();
    if let (Some(name), Some(kind)) = (arguments.text(), arguments.text()) {
        shared.topology.declare_exchange(name, kind);
    }
}

fn bind(shared: &Shared, mut arguments: Decoder<'_>) {
    arguments.u16();
    if let (Some(queue), Some(exchange), Some(key)) = (arguments.text(), arguments.text(), arguments.text()) {
        shared.topology.bind(queue, exchange, key);
    }
}
