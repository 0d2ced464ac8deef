//! Plays a script against a broker and writes down what came, step by step.

use std::collections::{BTreeMap, BTreeSet};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::literal::{Literal, unhex};
use super::methods::{Fields, Signature};
use super::script::{Order, Script};
use super::wire::{Names, Seen, What, Wire};
use crate::support::codec::{Table, Value, table};
use crate::support::conn::frame;
use crate::support::props::Props;

/// How long an answer may take; also how long is waited for what the record says will come.
const ANSWER: Duration = Duration::from_secs(10);

/// How long silence lasts where nothing more is expected.
const SHORT_SILENCE: Duration = Duration::from_millis(60);

/// How long silence lasts where it is not known what will come.
const LONG_SILENCE: Duration = Duration::from_millis(350);

/// The connections of one script.
pub(crate) struct Player<'b> {
    address: &'b str,
    wires: BTreeMap<char, Wire>,
    names: Names,
}

/// Plays all steps. `expected` says what ought to come at each step, if that is known: then no time is lost.
pub(crate) fn play(address: &str, script: &Script, expected: Option<&[Vec<String>]>) -> Vec<Vec<String>> {
    let mut player = Player { address, wires: BTreeMap::new(), names: Names::default() };
    let steps = script.steps.iter().enumerate();
    let answers = steps.map(|(at, step)| {
        let line = player.with_names(&step.line);
        let step = super::script::Step { line, answers: Vec::new() };
        player.step(&step.order(), expected.and_then(|steps| steps.get(at)))
    });
    let answers = answers.collect();
    drop(player);
    clean(address, script);
    answers
}

impl Player<'_> {
    /// A script may use what the broker named.
    fn with_names(&self, line: &str) -> String {
        line.replace("$queue", &self.names.queue)
            .replace("$consumer", &self.names.consumer)
            .replace("$reply-to", &self.names.reply_to)
    }

    fn step(&mut self, order: &Order, expected: Option<&Vec<String>>) -> Vec<String> {
        match order.verb.as_str() {
            "sleep" => sleep(Duration::from_millis(order.values.first().map_or(0, Literal::number))),
            "wait" => return self.wait(order, expected),
            "drop" => drop(self.wires.remove(&order.connection)),
            "connect" => return self.connect(order),
            _ => return self.send(order, expected),
        }
        Vec::new()
    }

    /// A connection of the script's own making: `until` names the last thing that the client sends.
    fn connect(&mut self, order: &Order) -> Vec<String> {
        let text =
            |name: &str, other: &str| order.fields.get(name).map_or_else(|| other.to_owned(), Literal::text);
        let wire = Wire::to(self.address);
        self.wires.insert(order.connection, wire);
        let until = text("until", "open");
        let number = |name: &str, other: i32| order.fields.get(name).cloned().unwrap_or_else(|| other.into());
        let mut last = Vec::new();
        let capabilities = order.fields.get("capabilities").map_or_else(capabilities, Literal::table);
        let client = table([("capabilities", Value::Table(capabilities))]);
        let response = format!("\0{}\0{}", text("user", "guest"), text("password", "guest"));
        let steps: [(&str, Vec<(&str, Literal)>); 4] = [
            ("header", Vec::new()),
            (
                "start-ok",
                vec![
                    ("client-properties", Value::Table(client).into()),
                    ("mechanism", text("mechanism", "PLAIN").into()),
                    ("response", text("response", &response).into()),
                    ("locale", text("locale", "en_US").into()),
                ],
            ),
            (
                "tune-ok",
                vec![
                    ("channel-max", number("channel-max", 2047)),
                    ("frame-max", number("frame-max", 131_072)),
                    ("heartbeat", number("heartbeat", 0)),
                ],
            ),
            ("open", vec![("vhost", text("vhost", "/").into())]),
        ];
        for (name, fields) in steps {
            if until == "tcp" {
                break;
            }
            let wire = self.wire(order.connection);
            if name == "header" {
                wire.write(b"AMQP\x00\x00\x09\x01");
            } else {
                let fields = fields.into_iter().map(|(field, value)| (field.to_owned(), value)).collect();
                wire.method(0, &format!("connection.{name}"), &fields);
            }
            if name != "tune-ok" {
                last = self.answer(order, 0, ANSWER);
            }
            let ended = |line: &String| line.contains("connection.close") || line.contains("socket closed");
            if name == until || last.iter().any(ended) {
                break;
            }
        }
        last
    }

    /// A connection of the script's, made at its first use with channel 1.
    fn wire(&mut self, name: char) -> &mut Wire {
        if !self.wires.contains_key(&name) {
            let open = Order {
                connection: name,
                channel: 0,
                times: 1,
                verb: "connect".to_owned(),
                values: Vec::new(),
                fields: Fields::new(),
            };
            let opened = self.connect(&open);
            assert_eq!(opened, ["connection.open-ok"], "the connection is opened");
            let wire = self.wires.get_mut(&name).expect("just made");
            wire.method(1, "channel.open", &Fields::new());
            let opened = self.answer(&Order { channel: 1, ..open }, 1, ANSWER);
            assert_eq!(opened, ["channel.open-ok"], "the channel is opened");
        }
        self.wires.get_mut(&name).expect("just made")
    }

    fn send(&mut self, order: &Order, expected: Option<&Vec<String>>) -> Vec<String> {
        let wire = self.wire(order.connection);
        let value = |at: usize| order.values.get(at);
        match order.verb.as_str() {
            "hold" => wire.holds = true,
            "raw" => value(0).into_iter().for_each(|octets| wire.write(&octets.octets())),
            "frame" => {
                let kind = u8::try_from(value(0).map_or(1, Literal::number)).expect("a frame's type");
                let payload = value(1).map_or_else(Vec::new, |hex| unhex(&hex.text()));
                wire.write(&frame(kind, order.channel, &payload));
            }
            "header" | "body" => wire.write(&content(order, order.verb == "header", order.verb == "body")),
            name => {
                let method = Signature::named(name).unwrap_or_else(|| panic!("there is no method {name}"));
                let (content_fields, fields): (Fields, Fields) =
                    order.fields.clone().into_iter().partition(|(field, _)| is_of_content(field));
                for time in 1..=order.times {
                    let mut octets = frame(1, order.channel, &method.encode(&fields).0);
                    if !content_fields.is_empty() {
                        octets.extend(content(&numbered(order, time), true, true));
                    }
                    wire.write(&octets);
                }
                if method.has_answer(&fields) {
                    return self.answer(order, order.channel, patience(expected));
                }
            }
        }
        Vec::new()
    }

    /// Reads one connection up to the answer to a request on `channel`.
    fn answer(&mut self, order: &Order, channel: u16, patience: Duration) -> Vec<String> {
        let end = Instant::now() + patience;
        let mut seen = Vec::new();
        let Some(wire) = self.wires.get_mut(&order.connection) else { return Vec::new() };
        loop {
            let Some(next) = wire.next(end, &mut self.names) else {
                let mut lines = shown(&[(order.connection, seen)], order);
                lines.push("nothing".to_owned());
                return lines;
            };
            let done = answers(&next, channel);
            seen.push(next);
            if done {
                return shown(&[(order.connection, seen)], order);
            }
        }
    }

    /// Reads all connections until nothing more comes.
    fn wait(&mut self, order: &Order, expected: Option<&Vec<String>>) -> Vec<String> {
        let mut seen: Vec<(char, Vec<Seen>)> = self.wires.keys().map(|name| (*name, Vec::new())).collect();
        let end = Instant::now() + ANSWER;
        let silence = if expected.is_some() { SHORT_SILENCE } else { LONG_SILENCE };
        loop {
            let mut silent = true;
            for ((_, seen), wire) in seen.iter_mut().zip(self.wires.values_mut()) {
                while let Some(next) = wire.next(Instant::now() + silence, &mut self.names) {
                    silent = false;
                    seen.push(next);
                }
            }
            let lines = shown(&settled(&seen), order);
            let enough = expected.is_none_or(|expected| *expected == lines);
            if silent && (enough || Instant::now() > end) {
                return lines;
            }
        }
    }
}

/// Where no answer is expected none is waited for long.
fn patience(expected: Option<&Vec<String>>) -> Duration {
    let none = expected.is_some_and(|lines| lines.iter().any(|line| line == "nothing"));
    if none { LONG_SILENCE } else { ANSWER }
}

fn capabilities() -> Table {
    let names = [
        "authentication_failure_close",
        "basic.nack",
        "connection.blocked",
        "consumer_cancel_notify",
        "publisher_confirms",
        "exchange_exchange_bindings",
    ];
    names.into_iter().map(|name| (name.to_owned(), Value::Bool(true))).collect()
}

/// Whether this ends the wait for an answer on `channel`.
fn answers(seen: &Seen, channel: u16) -> bool {
    let What::Line { name, .. } = &seen.what else { return false };
    match name.as_str() {
        "connection.close" | "protocol header" | "socket closed" => true,
        "basic.deliver" | "basic.return" | "basic.cancel" | "connection.blocked" | "connection.unblocked" => {
            false
        }
        _ => seen.channel == channel,
    }
}

fn is_of_content(field: &str) -> bool {
    matches!(field, "body" | "octets" | "properties" | "size" | "of-class")
}

/// The order with `#` in its body replaced by a number.
fn numbered(order: &Order, number: u32) -> Order {
    let mut fields = order.fields.clone();
    if let Some(body) = fields.get_mut("body") {
        *body = body.text().replace('#', &number.to_string()).into();
    }
    Order { fields, verb: order.verb.clone(), values: Vec::new(), ..*order }
}

/// The frames of a content: its header, its body.
fn content(order: &Order, header: bool, body: bool) -> Vec<u8> {
    let text = order.fields.get("body").or_else(|| order.values.first());
    let octets = match order.fields.get("octets") {
        Some(count) => vec![b'x'; usize::try_from(count.number()).expect("a length fits")],
        None => text.map_or_else(Vec::new, Literal::octets),
    };
    let number = |name: &str| order.fields.get(name).map(Literal::number);
    let mut out = Vec::new();
    if header {
        let props = order.fields.get("properties").map_or_else(Props::default, |p| properties(&p.table()));
        let class = number("of-class").map_or(60, |class| u16::try_from(class).expect("a class id"));
        let size = number("size").unwrap_or(octets.len() as u64);
        out.extend(frame(2, order.channel, &props.encode(class, size)));
    }
    for part in octets.chunks(131_064).filter(|_| body) {
        out.extend(frame(3, order.channel, part));
    }
    out
}

fn properties(given: &Table) -> Props {
    let mut props = Props::default();
    for (name, value) in given {
        let octet = || u8::try_from(value.int()).ok();
        let text = || Some(Literal::from(value.clone()).text());
        match name.as_str() {
            "content-type" => props.content_type = text(),
            "content-encoding" => props.content_encoding = text(),
            "headers" => props.headers = Some(value.fields().clone()),
            "delivery-mode" => props.delivery_mode = octet(),
            "priority" => props.priority = octet(),
            "correlation-id" => props.correlation_id = text(),
            "reply-to" => props.reply_to = text(),
            "expiration" => props.expiration = text(),
            "message-id" => props.message_id = text(),
            "timestamp" => props.timestamp = u64::try_from(value.int()).ok(),
            "type" => props.kind = text(),
            "user-id" => props.user_id = text(),
            "app-id" => props.app_id = text(),
            "cluster-id" => props.cluster_id = text(),
            other => panic!("there is no property {other}"),
        }
    }
    props
}

/// What came during a wait in an order that means something: by channel, deliveries behind the rest, since a broker may
/// confirm a message before or after it delivers it.
fn settled(seen: &[(char, Vec<Seen>)]) -> Vec<(char, Vec<Seen>)> {
    let delivery = |seen: &Seen| matches!(&seen.what, What::Line { name, .. } if name == "basic.deliver");
    let mut all = seen.to_vec();
    all.iter_mut()
        .for_each(|(_, seen)| seen.sort_by_key(|seen| (seen.channel == 0, seen.channel, delivery(seen))));
    all
}

/// Lines of text, with the place in front where it is not the order's own. Confirms in a row are one line.
fn shown(seen: &[(char, Vec<Seen>)], order: &Order) -> Vec<String> {
    let mut lines = Vec::new();
    for (connection, seen) in seen {
        let mut rest = seen.iter().peekable();
        while let Some(first) = rest.next() {
            let text = match &first.what {
                What::Line { text, .. } => super::mask::masked(text),
                What::Confirm { acked, numbers } => {
                    let mut all: BTreeSet<u64> = numbers.iter().copied().collect();
                    while let Some(What::Confirm { numbers, .. }) = rest
                        .next_if(|next| {
                            next.channel == first.channel
                                && matches!(&next.what, What::Confirm { acked: other, .. } if other == acked)
                        })
                        .map(|next| &next.what)
                    {
                        all.extend(numbers);
                    }
                    let numbers: Vec<_> = all.iter().map(u64::to_string).collect();
                    format!("{} {}", if *acked { "confirmed" } else { "refused" }, numbers.join(" "))
                }
            };
            let here = (*connection, first.channel) == (order.connection, order.channel);
            let anywhere = text == "socket closed" && *connection == order.connection;
            let place =
                if here || anywhere { String::new() } else { format!("{connection}:{} ", first.channel) };
            lines.push(place + &text);
        }
    }
    lines
}

/// Deletes what the script declared, so that the next one finds nothing.
fn clean(address: &str, script: &Script) {
    let orders: Vec<Order> = script.steps.iter().map(super::script::Step::order).collect();
    let named = |field: &str| -> BTreeSet<String> {
        let names = orders.iter().filter_map(|order| order.fields.get(field)).map(Literal::text);
        names
            .map(|name| name.replace(['\n', '\r'], ""))
            .filter(|name| !name.is_empty() && !name.starts_with("amq.") && !name.starts_with('$'))
            .collect()
    };
    let mut player = Player { address, wires: BTreeMap::new(), names: Names::default() };
    for (field, method) in [("queue", "queue.delete"), ("exchange", "exchange.delete")] {
        for name in named(field) {
            let fields = [(field.to_owned(), Literal::from(name.clone()))].into();
            player.until_deleted(method, &fields, &name);
        }
    }
}

impl Player<'_> {
    /// An exclusive queue may outlive its connection by a moment.
    fn until_deleted(&mut self, method: &str, fields: &Fields, name: &str) {
        let end = Instant::now() + ANSWER;
        let order = Order {
            connection: 'z',
            channel: 1,
            times: 1,
            verb: method.to_owned(),
            values: Vec::new(),
            fields: fields.clone(),
        };
        while Instant::now() < end {
            let answer = self.send(&order, None);
            if answer.iter().any(|line| line.contains("delete-ok")) {
                return;
            }
            self.wires.clear();
            sleep(Duration::from_millis(20));
        }
        panic!("{name} could not be deleted after the script");
    }
}
