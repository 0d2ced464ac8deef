//! The methods of AMQP 0-9-1 by name, as one table: written from a script's fields, read into a line of text.

use std::collections::BTreeMap;

use super::literal::{self, Literal};
use crate::support::codec::{Decoder, Encoder, Table, Value};

/// Name, ids, fields. Types: `o` an octet, `h` 16, `l` 32 and `q` 64 bits, `s` a short and `S` a long string, `t` a
/// table, `b` a bit. A field that begins with `_` is reserved: zero or empty when sent, not shown when it comes.
const METHODS: &str = "
connection.start 10 10 version-major:o version-minor:o server-properties:t mechanisms:S locales:S
connection.start-ok 10 11 client-properties:t mechanism:s response:S locale:s
connection.tune 10 30 channel-max:h frame-max:l heartbeat:h
connection.tune-ok 10 31 channel-max:h frame-max:l heartbeat:h
connection.open 10 40 vhost:s _:s _:b
connection.open-ok 10 41 _:s
connection.close 10 50 code:h text:s class:h method:h
connection.close-ok 10 51
connection.blocked 10 60 reason:s
connection.unblocked 10 61
connection.update-secret 10 70 secret:S reason:s
connection.update-secret-ok 10 71
channel.open 20 10 _:s
channel.open-ok 20 11 _:S
channel.flow 20 20 active:b
channel.flow-ok 20 21 active:b
channel.close 20 40 code:h text:s class:h method:h
channel.close-ok 20 41
access.request 30 10 realm:s exclusive:b passive:b active:b write:b read:b
access.request-ok 30 11 _:h
exchange.declare 40 10 _:h exchange:s type:s passive:b durable:b auto-delete:b internal:b nowait:b arguments:t
exchange.declare-ok 40 11
exchange.delete 40 20 _:h exchange:s if-unused:b nowait:b
exchange.delete-ok 40 21
exchange.bind 40 30 _:h destination:s source:s key:s nowait:b arguments:t
exchange.bind-ok 40 31
exchange.unbind 40 40 _:h destination:s source:s key:s nowait:b arguments:t
exchange.unbind-ok 40 51
queue.declare 50 10 _:h queue:s passive:b durable:b exclusive:b auto-delete:b nowait:b arguments:t
queue.declare-ok 50 11 queue:s messages:l consumers:l
queue.bind 50 20 _:h queue:s exchange:s key:s nowait:b arguments:t
queue.bind-ok 50 21
queue.purge 50 30 _:h queue:s nowait:b
queue.purge-ok 50 31 messages:l
queue.delete 50 40 _:h queue:s if-unused:b if-empty:b nowait:b
queue.delete-ok 50 41 messages:l
queue.unbind 50 50 _:h queue:s exchange:s key:s arguments:t
queue.unbind-ok 50 51
basic.qos 60 10 size:l count:h global:b
basic.qos-ok 60 11
basic.consume 60 20 _:h queue:s consumer:s no-local:b no-ack:b exclusive:b nowait:b arguments:t
basic.consume-ok 60 21 consumer:s
basic.cancel 60 30 consumer:s nowait:b
basic.cancel-ok 60 31 consumer:s
basic.publish 60 40 _:h exchange:s key:s mandatory:b immediate:b
basic.return 60 50 code:h text:s exchange:s key:s
basic.deliver 60 60 consumer:s tag:q redelivered:b exchange:s key:s
basic.get 60 70 _:h queue:s no-ack:b
basic.get-ok 60 71 tag:q redelivered:b exchange:s key:s messages:l
basic.get-empty 60 72 _:s
basic.ack 60 80 tag:q multiple:b
basic.reject 60 90 tag:q requeue:b
basic.recover-async 60 100 requeue:b
basic.recover 60 110 requeue:b
basic.recover-ok 60 111
basic.nack 60 120 tag:q multiple:b requeue:b
confirm.select 85 10 nowait:b
confirm.select-ok 85 11
tx.select 90 10
tx.select-ok 90 11
tx.commit 90 20
tx.commit-ok 90 21
tx.rollback 90 30
tx.rollback-ok 90 31
";

/// One line of the table.
pub(crate) struct Signature {
    pub(crate) name: &'static str,
    ids: (u16, u16),
    fields: Vec<(&'static str, char)>,
}

/// Fields by name, as a script writes them and as an answer brought them.
pub(crate) type Fields = BTreeMap<String, Literal>;

impl Signature {
    /// The method of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        table().find(|method| method.name == name)
    }

    /// Its payload. An octet or number that is not given is 0, a bit false, a string or table empty.
    pub(crate) fn encode(&self, given: &Fields) -> Encoder {
        let known = |name: &String| self.fields.iter().any(|(field, _)| field == name);
        let strange = given.keys().find(|name| !known(name));
        assert!(strange.is_none(), "{} has no field {strange:?}", self.name);
        let mut out = Encoder::method(self.ids.0, self.ids.1);
        let mut bits: Option<(u8, u32)> = None;
        for (field, kind) in &self.fields {
            let value = given.get(*field);
            if *kind == 'b' {
                let (octet, count) = bits.unwrap_or_default();
                bits = Some((octet | u8::from(value.is_some_and(Literal::bit)) << count, count + 1));
                continue;
            }
            out = bits.take().into_iter().fold(out, |out, (octet, _)| out.u8(octet));
            let number = || value.map_or(0, Literal::number);
            let small = |max: u64| number().min(max);
            out = match kind {
                'o' => out.u8(u8::try_from(small(0xFF)).unwrap_or_default()),
                'h' => out.u16(u16::try_from(small(0xFFFF)).unwrap_or_default()),
                'l' => out.u32(u32::try_from(small(0xFFFF_FFFF)).unwrap_or_default()),
                'q' => out.u64(number()),
                's' => out.short(value.map_or_else(Vec::new, Literal::octets)),
                'S' => out.long(value.map_or_else(Vec::new, Literal::octets)),
                _ => out.table(&value.map_or_else(Table::new, Literal::table)),
            };
        }
        bits.into_iter().fold(out, |out, (octet, _)| out.u8(octet))
    }

    /// Does the broker answer this method?
    pub(crate) fn has_answer(&self, given: &Fields) -> bool {
        let answered = matches!(self.ids.0, 20 | 30 | 40 | 50 | 85 | 90)
            || matches!(self.ids, (10, 40 | 50 | 70) | (60, 10 | 20 | 30 | 70 | 110));
        let request = !self.name.ends_with("-ok");
        answered && request && !given.get("nowait").is_some_and(Literal::bit)
    }
}

/// Reads a method's payload: its name and fields, reserved ones left out.
pub(crate) fn decode(payload: &[u8]) -> (String, Vec<(&'static str, Value)>) {
    let mut d = Decoder(payload);
    let ids = (d.u16(), d.u16());
    let Some(method) = table().find(|method| method.ids == ids) else {
        return (format!("method {}.{} {}", ids.0, ids.1, literal::hex(d.0)), Vec::new());
    };
    let mut shown = Vec::new();
    let mut bits: Option<(u8, u32)> = None;
    for (field, kind) in method.fields {
        let (octet, count) = bits.take().filter(|_| kind == 'b').unwrap_or_default();
        let value = match kind {
            'b' => {
                let octet = if count == 0 { d.u8() } else { octet };
                bits = Some((octet, count + 1));
                Value::Bool(octet >> count & 1 == 1)
            }
            'o' => Value::U8(d.u8()),
            'h' => Value::U16(d.u16()),
            'l' => Value::U32(d.u32()),
            'q' => Value::I64(i64::try_from(d.u64()).unwrap_or(i64::MAX)),
            's' => Value::Str(d.short()),
            'S' => Value::Str(d.text()),
            _ => Value::Table(d.table()),
        };
        if field != "_" {
            shown.push((field, value));
        }
    }
    assert!(d.0.is_empty(), "{} has octets behind its last field: {}", method.name, literal::hex(d.0));
    (method.name.to_owned(), shown)
}

fn table() -> impl Iterator<Item = Signature> {
    METHODS.lines().filter(|line| !line.is_empty()).map(|line| {
        let mut words = line.split(' ');
        let mut word = || words.next().expect("a name and two ids");
        let (name, class, id) = (word(), word(), word());
        let ids = (class.parse().expect("a class id"), id.parse().expect("a method id"));
        let fields = words.map(|word| {
            let (field, kind) = word.split_once(':').expect("a field and its type");
            (field, kind.chars().next().expect("a type"))
        });
        Signature { name, ids, fields: fields.collect() }
    })
}
