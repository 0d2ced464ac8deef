//! A connection on a raw socket: frames out, events in, timeouts everywhere.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::broker::Broker;
use super::channel::Channel;
use super::codec::{Decoder, Encoder, Table, Value, table};
use super::event::{Close, Event, Ids, Method, text_matches};
use super::props::Props;
use super::wait::PATIENCE;

/// The protocol header of AMQP 0-9-1.
const HELLO: &[u8] = b"AMQP\x00\x00\x09\x01";

/// How to open a connection: address, credentials and what to negotiate.
#[derive(Clone)]
pub(crate) struct Dial {
    pub(crate) address: String,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) vhost: String,
    pub(crate) capabilities: Table,
    pub(crate) channel_max: u16,
    pub(crate) frame_max: u32,
    pub(crate) heartbeat_s: u16,
}

impl Dial {
    /// To the shared broker, as guest, without heartbeats.
    pub(crate) fn shared() -> Self {
        Self::to(Broker::shared())
    }

    pub(crate) fn to(address: &str) -> Self {
        let on =
            ["authentication_failure_close", "basic.nack", "connection.blocked", "consumer_cancel_notify"];
        Self {
            address: address.to_owned(),
            user: "guest".to_owned(),
            password: "guest".to_owned(),
            vhost: "/".to_owned(),
            capabilities: on.into_iter().map(|name| (name.to_owned(), Value::Bool(true))).collect(),
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat_s: 0,
        }
    }

    /// Only the socket.
    pub(crate) fn tcp(&self) -> Conn {
        self.try_tcp().expect("the broker takes connections")
    }

    fn try_tcp(&self) -> std::io::Result<Conn> {
        let socket = TcpStream::connect(&self.address)?;
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Conn {
            socket,
            frame_max: self.frame_max,
            inbox: RefCell::new(Inbox::default()),
            frame_size_max: Cell::new(0),
        })
    }

    /// All the way, or `None` when the broker is down or goes down meanwhile.
    pub(crate) fn try_open(&self) -> Option<Conn> {
        let conn = self.try_tcp().ok()?;
        let comes = |ids: Ids| matches!(conn.next(0), Event::Method(m) if m.ids == ids).then_some(());
        conn.raw(HELLO);
        comes((10, 10))?;
        conn.start_ok("PLAIN", self.plain().as_bytes(), "en_US", &self.capabilities);
        comes((10, 30))?;
        conn.tune_ok(self.channel_max, self.frame_max, self.heartbeat_s);
        conn.open_vhost(&self.vhost);
        comes((10, 41))?;
        Some(conn)
    }

    /// Up to Connection.Start, which is still to be read.
    pub(crate) fn greeted(&self) -> Conn {
        let conn = self.tcp();
        conn.raw(HELLO);
        conn
    }

    /// Up to Start-Ok: the next event is Tune, or a refusal.
    pub(crate) fn authenticated(&self) -> Conn {
        let conn = self.greeted();
        conn.next(0).method().is((10, 10));
        conn.start_ok("PLAIN", self.plain().as_bytes(), "en_US", &self.capabilities);
        conn
    }

    fn plain(&self) -> String {
        format!("\0{}\0{}", self.user, self.password)
    }

    /// Up to Connection.Open: the next event is Open-Ok, or a refusal.
    pub(crate) fn asked(&self) -> Conn {
        let conn = self.authenticated();
        conn.next(0).method().is((10, 30));
        conn.tune_ok(self.channel_max, self.frame_max, self.heartbeat_s);
        conn.open_vhost(&self.vhost);
        conn
    }

    /// All the way.
    pub(crate) fn open(&self) -> Conn {
        let conn = self.asked();
        conn.next(0).method().is((10, 41));
        conn
    }
}

/// One connection. Everything is read by whoever waits; what is for another channel is kept for it.
pub(crate) struct Conn {
    socket: TcpStream,
    pub(crate) frame_max: u32,
    inbox: RefCell<Inbox>,
    frame_size_max: Cell<usize>,
}

#[derive(Default)]
struct Inbox {
    bytes: Vec<u8>,
    ready: HashMap<u16, VecDeque<Method>>,
    partial: HashMap<u16, (Method, Option<u64>)>,
    protocol_header: Option<Vec<u8>>,
    heartbeats: usize,
    closed: bool,
}

impl Conn {
    /// A connection to the shared broker.
    pub(crate) fn open() -> Self {
        Dial::shared().open()
    }

    /// Opens channel `number`.
    pub(crate) fn channel(&self, number: u16) -> Channel<'_> {
        let channel = self.unopened(number);
        channel.open().ok();
        channel
    }

    /// Channel `number` without Channel.Open.
    pub(crate) const fn unopened(&self, number: u16) -> Channel<'_> {
        Channel { conn: self, number }
    }

    /// Writes octets as they are. A broken socket shows when reading.
    pub(crate) fn raw(&self, bytes: &[u8]) {
        let _ = (&self.socket).write_all(bytes);
    }

    /// Writes one frame.
    pub(crate) fn frame(&self, kind: u8, channel: u16, payload: &[u8]) {
        self.raw(&frame(kind, channel, payload));
    }

    /// Writes one method.
    pub(crate) fn send(&self, channel: u16, method: Encoder) {
        self.frame(1, channel, &method.0);
    }

    pub(crate) fn start_ok(&self, mechanism: &str, response: &[u8], locale: &str, capabilities: &Table) {
        let client =
            table([("product", "warren tests".into()), ("capabilities", capabilities.clone().into())]);
        self.send(0, Encoder::method(10, 11).table(&client).short(mechanism).long(response).short(locale));
    }

    pub(crate) fn tune_ok(&self, channel_max: u16, frame_max: u32, heartbeat_s: u16) {
        self.send(0, Encoder::method(10, 31).u16(channel_max).u32(frame_max).u16(heartbeat_s));
    }

    pub(crate) fn open_vhost(&self, vhost: &str) {
        self.send(0, Encoder::method(10, 40).short(vhost).short("").u8(0));
    }

    /// Connection.Close, answered by Close-Ok.
    pub(crate) fn close(&self) {
        self.send(0, Encoder::method(10, 50).u16(200).short("bye").u16(0).u16(0));
        self.next(0).method().is((10, 51));
    }

    /// Drops the socket without a word.
    pub(crate) fn vanish(self) {
        drop(self);
    }

    /// The next event for `channel`; a Connection.Close counts for every channel.
    pub(crate) fn next(&self, channel: u16) -> Event {
        self.next_within(channel, PATIENCE)
    }

    pub(crate) fn next_within(&self, channel: u16, wait: Duration) -> Event {
        self.take(channel, wait, |_| true)
    }

    /// The first event for `channel` that is an answer: what comes unasked stays for later.
    pub(crate) fn answer(&self, channel: u16) -> Event {
        self.take(channel, PATIENCE, |m| !m.is_async())
    }

    fn take(&self, channel: u16, wait: Duration, wanted: impl Fn(&Method) -> bool) -> Event {
        let end = Instant::now() + wait;
        let mut inbox = self.inbox.borrow_mut();
        loop {
            if let Some(found) = inbox.find(channel, &wanted) {
                return found;
            }
            if inbox.closed {
                return Event::SocketClosed;
            }
            if !self.read(&mut inbox, end) {
                return Event::Nothing;
            }
        }
    }

    /// Heartbeats seen up to now; reads until `wait` has passed.
    pub(crate) fn heartbeats_within(&self, wait: Duration) -> usize {
        let end = Instant::now() + wait;
        let mut inbox = self.inbox.borrow_mut();
        while !inbox.closed && self.read(&mut inbox, end) {}
        inbox.heartbeats
    }

    /// The largest frame seen, header and end octet included.
    pub(crate) fn frame_size_max_seen(&self) -> usize {
        self.frame_size_max.get()
    }

    /// The broker's Connection.Close: checked, answered, and the socket ends.
    pub(crate) fn expect_close(&self, code: u16, ids: Ids, text: &str) {
        let close = self.take(0, PATIENCE, |m| m.ids == (10, 50)).method().close();
        assert_eq!((close.code, close.ids), (code, ids), "wrong close: {close:?}");
        assert!(text_matches(&close.text, text), "wrong text: {:?}, wanted {text:?}", close.text);
        self.send(0, Encoder::method(10, 51));
        self.expect_socket_closed();
    }

    /// The broker's Connection.Close with one of these codes; the text is not looked at.
    pub(crate) fn expect_close_code(&self, codes: &[u16]) -> Close {
        let close = self.take(0, PATIENCE, |m| m.ids == (10, 50)).method().close();
        assert!(codes.contains(&close.code), "wrong close: {close:?}");
        self.send(0, Encoder::method(10, 51));
        self.expect_socket_closed();
        close
    }

    /// The socket ends without another method on channel 0.
    pub(crate) fn expect_socket_closed(&self) {
        let event = self.take(0, PATIENCE, |_| true);
        assert!(matches!(event, Event::SocketClosed), "expected the end of the socket, got {event:?}");
    }

    /// Reads what is there; false when `end` came first.
    fn read(&self, inbox: &mut Inbox, end: Instant) -> bool {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(left)).expect("a socket option");
        let mut chunk = vec![0; 1 << 16];
        match (&self.socket).read(&mut chunk) {
            Ok(0) => inbox.closed = true,
            Ok(n) => {
                inbox.bytes.extend_from_slice(&chunk[..n]);
                let largest = inbox.frames();
                self.frame_size_max.set(self.frame_size_max.get().max(largest));
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Instant::now() < end;
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => inbox.closed = true,
        }
        true
    }
}

impl Inbox {
    fn find(&mut self, channel: u16, wanted: &impl Fn(&Method) -> bool) -> Option<Event> {
        if let Some(header) = self.protocol_header.take() {
            return Some(Event::ProtocolHeader(header));
        }
        for number in [channel, 0] {
            let queue = self.ready.entry(number).or_default();
            let at = queue.iter().position(|m| wanted(m) && (number == channel || m.ids == (10, 50)));
            if let Some(found) = at.and_then(|at| queue.remove(at)) {
                return Some(Event::Method(found));
            }
        }
        None
    }

    /// Takes whole frames out of the bytes; gives the size of the largest.
    fn frames(&mut self) -> usize {
        let (mut at, mut largest) = (0, 0);
        while let Some(rest) = self.bytes.get(at..).filter(|rest| rest.len() >= 8) {
            if rest.starts_with(b"AMQP") {
                self.protocol_header = Some(rest[..8].to_vec());
                at += 8;
                continue;
            }
            let mut d = Decoder(rest);
            let (kind, channel, size) = (d.u8(), d.u16(), d.u32());
            let size = usize::try_from(size).expect("a size fits");
            if rest.len() < size + 8 {
                break;
            }
            assert_eq!(rest[7 + size], 0xCE, "a frame ends in 0xCE");
            let payload = rest[7..7 + size].to_vec();
            largest = largest.max(size + 8);
            at += size + 8;
            self.accept(kind, channel, &payload);
        }
        self.bytes.drain(..at);
        largest
    }

    fn accept(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        match kind {
            1 => self.begin(channel, payload),
            2 => {
                let (size, props) = Props::decode(payload);
                let (method, left) = self.partial.get_mut(&channel).expect("a header follows its method");
                method.props = props;
                *left = Some(size);
                self.finish(channel);
            }
            3 => {
                let (method, left) = self.partial.get_mut(&channel).expect("a body follows its header");
                let left = left.as_mut().expect("a body follows its header");
                *left = left.checked_sub(payload.len() as u64).expect("no body longer than its size");
                method.body.extend_from_slice(payload);
                self.finish(channel);
            }
            8 => {
                assert!(channel == 0 && payload.is_empty(), "a heartbeat is empty and on channel 0");
                self.heartbeats += 1;
            }
            kind => panic!("the broker sent a frame of type {kind}"),
        }
    }

    fn begin(&mut self, channel: u16, payload: &[u8]) {
        assert!(!self.partial.contains_key(&channel), "no method inside a content");
        let mut d = Decoder(payload);
        let ids = (d.u16(), d.u16());
        let method = Method { ids, args: d.0.to_vec(), props: Props::default(), body: Vec::new() };
        if matches!(ids, (60, 50 | 60 | 71)) {
            self.partial.insert(channel, (method, None));
        } else {
            self.ready.entry(channel).or_default().push_back(method);
        }
    }

    fn finish(&mut self, channel: u16) {
        if self.partial.get(&channel).is_some_and(|(_, left)| *left == Some(0)) {
            let (method, _) = self.partial.remove(&channel).expect("just seen");
            self.ready.entry(channel).or_default().push_back(method);
        }
    }
}

/// One frame's octets.
pub(crate) fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    Encoder::default().u8(kind).u16(channel).long(payload).u8(0xCE).0
}
