//! A connection as the scripts see it: octets out, one line of text for each thing that comes.

use std::collections::{BTreeSet, HashMap};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::literal::{hex, show};
use super::methods::{self, Fields, Signature};
use crate::support::codec::{Decoder, Value};
use crate::support::conn::frame;
use crate::support::props::Props;

/// A body longer than this is shown by its length.
const BODY_SHOWN: usize = 60;

/// Something that came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) channel: u16,
    pub(crate) what: What,
}

/// What came.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// A method in words, with its content.
    Line { name: String, text: String },
    /// Publish numbers that were confirmed or refused.
    Confirm { acked: bool, numbers: Vec<u64> },
}

/// What the broker named in its answers, for scripts that use it.
#[derive(Default)]
pub(crate) struct Names {
    pub(crate) queue: String,
    pub(crate) consumer: String,
    pub(crate) reply_to: String,
}

pub(crate) struct Wire {
    socket: TcpStream,
    bytes: Vec<u8>,
    partial: HashMap<u16, Partial>,
    confirmed: HashMap<u16, BTreeSet<u64>>,
    closed: bool,
    /// Closes of the broker's are not answered.
    pub(crate) holds: bool,
}

/// A method whose content is still coming.
struct Partial {
    name: String,
    text: String,
    body: Vec<u8>,
    left: Option<u64>,
}

impl Wire {
    pub(crate) fn to(address: &str) -> Self {
        let socket = TcpStream::connect(address).expect("the broker takes connections");
        socket.set_nodelay(true).expect("a socket option");
        Self {
            socket,
            bytes: Vec::new(),
            partial: HashMap::new(),
            confirmed: HashMap::new(),
            closed: false,
            holds: false,
        }
    }

    /// Writes octets. A broken socket shows when reading.
    pub(crate) fn write(&self, octets: &[u8]) {
        let _ = (&self.socket).write_all(octets);
    }

    pub(crate) fn method(&self, channel: u16, name: &str, fields: &Fields) {
        let method = Signature::named(name).unwrap_or_else(|| panic!("there is no method {name}"));
        self.write(&frame(1, channel, &method.encode(fields).0));
    }

    /// What comes next, or nothing until `end`.
    pub(crate) fn next(&mut self, end: Instant, names: &mut Names) -> Option<Seen> {
        loop {
            if let Some((kind, channel, payload)) = self.frame() {
                if let Some(seen) = self.accept(kind, channel, &payload, names) {
                    return Some(seen);
                }
            } else if self.closed || !self.read(end) {
                return None;
            } else if self.closed {
                return Some(line(0, "socket closed", String::new()));
            }
        }
    }

    /// Reads what is there; false when `end` came first.
    fn read(&mut self, end: Instant) -> bool {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        self.socket.set_read_timeout(Some(left.max(Duration::from_millis(1)))).expect("a socket option");
        let mut chunk = vec![0; 1 << 16];
        match self.socket.read(&mut chunk) {
            Ok(0) => self.closed = true,
            Ok(n) => self.bytes.extend_from_slice(&chunk[..n]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return false,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => self.closed = true,
        }
        true
    }

    /// The next whole frame; a protocol header counts as a frame of type `A`.
    fn frame(&mut self) -> Option<(u8, u16, Vec<u8>)> {
        if self.bytes.len() < 8 {
            return None;
        }
        if self.bytes.starts_with(b"AMQP") {
            return Some((b'A', 0, self.bytes.drain(..8).collect()));
        }
        let mut d = Decoder(&self.bytes);
        let (kind, channel, size) = (d.u8(), d.u16(), d.u32());
        let size = usize::try_from(size).expect("a size fits");
        if self.bytes.len() < size + 8 {
            return None;
        }
        let octets: Vec<u8> = self.bytes.drain(..size + 8).collect();
        assert_eq!(octets.last(), Some(&0xCE), "a frame ends in 0xCE");
        Some((kind, channel, octets[7..7 + size].to_vec()))
    }

    fn accept(&mut self, kind: u8, channel: u16, payload: &[u8], names: &mut Names) -> Option<Seen> {
        match kind {
            b'A' => Some(line(0, "protocol header", format!(" {}", hex(&payload[4..])))),
            1 => self.begin(channel, payload, names),
            2 => {
                let (size, props) = Props::decode(payload);
                let partial = self.partial.get_mut(&channel).expect("a header follows its method");
                names.reply_to = props.reply_to.clone().unwrap_or_default();
                partial.text += &properties(&props);
                partial.left = Some(size);
                self.finish(channel)
            }
            3 => {
                let partial = self.partial.get_mut(&channel).expect("a body follows its header");
                let left = partial.left.as_mut().expect("a body follows its header");
                *left = left.checked_sub(payload.len() as u64).expect("no body longer than its size");
                partial.body.extend_from_slice(payload);
                self.finish(channel)
            }
            8 => None,
            kind => panic!("the broker sent a frame of type {kind}"),
        }
    }

    fn begin(&mut self, channel: u16, payload: &[u8], names: &mut Names) -> Option<Seen> {
        let (name, fields) = methods::decode(payload);
        let text = |wanted: &str| {
            let found = fields.iter().find(|(field, _)| *field == wanted);
            found.map_or_else(String::new, |(_, value)| value.text().to_owned())
        };
        match name.as_str() {
            "queue.declare-ok" => names.queue = text("queue"),
            "basic.consume-ok" => names.consumer = text("consumer"),
            "channel.close" if !self.holds => self.method(channel, "channel.close-ok", &Fields::new()),
            "connection.close" if !self.holds => self.method(0, "connection.close-ok", &Fields::new()),
            "basic.ack" | "basic.nack" => return Some(self.confirm(channel, &name, &fields)),
            "channel.open-ok" => drop(self.confirmed.remove(&channel)),
            _ => {}
        }
        let text: String =
            fields.iter().map(|(field, value)| shown(field, &anonymous(field, value))).collect();
        if matches!(name.as_str(), "basic.deliver" | "basic.get-ok" | "basic.return") {
            self.partial.insert(channel, Partial { name, text, body: Vec::new(), left: None });
            return None;
        }
        Some(line(channel, &name, text))
    }

    /// The numbers an acknowledgement of the broker's stands for: `multiple` says how it is put, not what it means.
    fn confirm(&mut self, channel: u16, name: &str, fields: &[(&str, Value)]) -> Seen {
        let value = |wanted: &str| fields.iter().find(|(field, _)| *field == wanted).map(|(_, value)| value);
        let last = value("tag").map_or(0, |tag| u64::try_from(tag.int()).unwrap_or_default());
        let multiple = value("multiple") == Some(&Value::Bool(true));
        let known = self.confirmed.entry(channel).or_default();
        let first = if multiple { 1 } else { last };
        let numbers = (first..=last).filter(|number| known.insert(*number)).collect();
        Seen { channel, what: What::Confirm { acked: name == "basic.ack", numbers } }
    }

    fn finish(&mut self, channel: u16) -> Option<Seen> {
        let partial = self.partial.get(&channel)?;
        if partial.left != Some(0) {
            return None;
        }
        let Partial { name, mut text, body, .. } = self.partial.remove(&channel)?;
        match str::from_utf8(&body) {
            Ok(body) if body.len() <= BODY_SHOWN => text += &format!(" body={body:?}"),
            _ => text += &format!(" octets={}", body.len()),
        }
        Some(line(channel, &name, text))
    }
}

fn line(channel: u16, name: &str, text: String) -> Seen {
    Seen { channel, what: What::Line { name: name.to_owned(), text: format!("{name}{text}") } }
}

/// A method's field. A bit that is not set is left out; numbers need no letter for their type.
fn shown(field: &str, value: &Value) -> String {
    match value {
        Value::Bool(false) => String::new(),
        Value::Bool(true) | Value::Str(_) | Value::Table(_) => format!(" {field}={}", show(value)),
        number => format!(" {field}={}", number.int()),
    }
}

/// Who the broker is differs; what it can do is compared.
fn anonymous(field: &str, value: &Value) -> Value {
    match value {
        Value::Table(fields) if field == "server-properties" => {
            let hidden = |value: &Value| match value {
                Value::Str(_) => "*".into(),
                other => other.clone(),
            };
            Value::Table(fields.iter().map(|(name, value)| (name.clone(), hidden(value))).collect())
        }
        other => other.clone(),
    }
}

fn properties(props: &Props) -> String {
    let text = |name: &str, value: &Option<String>| value.as_ref().map(|v| format!("{name}={v:?}"));
    let octet = |name: &str, value: Option<u8>| value.map(|v| format!("{name}={v}"));
    let shown: Vec<_> = [
        text("content-type", &props.content_type),
        text("content-encoding", &props.content_encoding),
        props.headers.as_ref().map(|headers| format!("headers={}", show(&Value::Table(headers.clone())))),
        octet("delivery-mode", props.delivery_mode),
        octet("priority", props.priority),
        text("correlation-id", &props.correlation_id),
        text("reply-to", &props.reply_to),
        text("expiration", &props.expiration),
        text("message-id", &props.message_id),
        props.timestamp.map(|v| format!("timestamp={v}")),
        text("type", &props.kind),
        text("user-id", &props.user_id),
        text("app-id", &props.app_id),
        text("cluster-id", &props.cluster_id),
    ]
    .into_iter()
    .flatten()
    .collect();
    if shown.is_empty() { String::new() } else { format!(" properties={{{}}}", shown.join(", ")) }
}
