//! What an owner tells a session, as bytes.

use super::forward::{put_owner, take_owner};
use super::put::Frames;
use super::take::{Malformed, Take};
use crate::broker::batch;
use crate::broker::queue::{Counts, Delivery, Entry, GetReply};
use crate::node::cluster::forward::{Answer, Answers, Reply};
use crate::node::links::{NotConsuming, NotDeleted};

const REFUSED: u8 = 1;
const DONE: u8 = 2;
const REPLY: u8 = 3;
const DELIVER: u8 = 4;
const CONSUMER_CANCELLED: u8 = 5;
const NOT_OWNER: u8 = 6;
const EXPECTS: u8 = 7;
const ROOM: u8 = 8;

const STAT: u8 = 1;
const CONSUME: u8 = 2;
const UNIT: u8 = 3;
const GET: u8 = 4;
const PURGE: u8 = 5;
const DELETE: u8 = 6;

/// Outcomes of a consume, a get and a delete.
const TAKEN: u8 = 0;
const GONE: u8 = 1;
const EXCLUSIVE: u8 = 2;
const EMPTY: u8 = 1;
const MESSAGE: u8 = 2;
const IN_USE: u8 = 1;
const NOT_EMPTY: u8 = 2;

const ENTRY_BYTES: usize = 15;
const PLACE_BYTES: usize = 8;

pub(super) fn put_answers(out: &mut Frames, answers: &Answers) {
    out.u64(answers.session);
    put_owner(out, answers.owner);
    out.u64(answers.attempt);
    out.count(answers.answers.len());
    for answer in &answers.answers {
        put_answer(out, answer);
    }
}

pub(super) fn take_answers(from: &mut Take<'_>) -> Result<Answers, Malformed> {
    Ok(Answers {
        session: from.u64()?,
        owner: take_owner(from)?,
        attempt: from.u64()?,
        answers: from.list(1, take_answer)?,
    })
}

fn put_answer(out: &mut Frames, answer: &Answer) {
    match answer {
        Answer::Refused(number, places) => {
            out.u8(REFUSED);
            out.u64(*number);
            out.count(places.len());
            for (first, count) in places {
                out.u32(*first);
                out.u32(*count);
            }
        }
        Answer::Done(first, last) => {
            out.u8(DONE);
            out.u64(*first);
            out.u64(*last);
        }
        Answer::Reply(number, reply) => {
            out.u8(REPLY);
            out.u64(*number);
            put_reply(out, reply);
        }
        Answer::Deliver(delivery) => {
            out.u8(DELIVER);
            put_delivery(out, delivery);
        }
        Answer::ConsumerCancelled(consumer) => {
            out.u8(CONSUMER_CANCELLED);
            out.u64(*consumer);
        }
        Answer::NotOwner => out.u8(NOT_OWNER),
        Answer::Expects(number) => {
            out.u8(EXPECTS);
            out.u64(*number);
        }
        Answer::Room(has_room) => {
            out.u8(ROOM);
            out.bool(*has_room);
        }
    }
}

fn take_answer(from: &mut Take<'_>) -> Result<Answer, Malformed> {
    Ok(match from.u8()? {
        REFUSED => {
            Answer::Refused(from.u64()?, from.list(PLACE_BYTES, |from| Ok((from.u32()?, from.u32()?)))?)
        }
        DONE => Answer::Done(from.u64()?, from.u64()?),
        REPLY => Answer::Reply(from.u64()?, take_reply(from)?),
        DELIVER => Answer::Deliver(take_delivery(from)?),
        CONSUMER_CANCELLED => Answer::ConsumerCancelled(from.u64()?),
        NOT_OWNER => Answer::NotOwner,
        EXPECTS => Answer::Expects(from.u64()?),
        ROOM => Answer::Room(from.bool()?),
        _ => return Err(Malformed),
    })
}

fn put_delivery(out: &mut Frames, delivery: &Delivery) {
    out.u64(delivery.consumer);
    out.count(delivery.entries.len());
    let bytes = records_bytes(delivery);
    let mut next = 0;
    for entry in &delivery.entries {
        out.u64(entry.seq);
        out.u32(if bytes.is_some() { next } else { entry.offset });
        out.bool(entry.redelivered);
        out.u16(entry.returns);
        next += record_of(delivery, entry).map_or(0, |(_, length)| length);
    }
    let Some(bytes) = bytes else { return out.bytes(&delivery.data) };
    out.count(bytes);
    for entry in &delivery.entries {
        if let Some((at, length)) = record_of(delivery, entry) {
            out.part(&delivery.data, at, length as usize);
        }
    }
}

/// How many bytes the records of a delivery have, when its data holds those of other consumers too: they share what one
/// round took from a segment. `None` when the data is theirs alone, and in order.
fn records_bytes(delivery: &Delivery) -> Option<usize> {
    let (mut bytes, mut in_order) = (0, true);
    for entry in &delivery.entries {
        let (at, length) = record_of(delivery, entry)?;
        in_order &= at == bytes;
        bytes += length as usize;
    }
    (!in_order || bytes != delivery.data.len()).then_some(bytes)
}

/// Where the record of an entry is, and its length.
fn record_of(delivery: &Delivery, entry: &Entry) -> Option<(usize, u32)> {
    let at = usize::try_from(entry.offset).ok()?;
    let length = batch::skim(delivery.data.get(at..)?)?.length;
    Some((at, u32::try_from(length).ok()?))
}

/// Bytes that a delivery will take.
pub(super) fn delivery_bytes(delivery: &Delivery) -> usize {
    records_bytes(delivery).unwrap_or(delivery.data.len()) + delivery.entries.len() * ENTRY_BYTES
}

fn take_delivery(from: &mut Take<'_>) -> Result<Delivery, Malformed> {
    let consumer = from.u64()?;
    let entries = from.list(ENTRY_BYTES, |from| {
        Ok(Entry { seq: from.u64()?, offset: from.u32()?, redelivered: from.bool()?, returns: from.u16()? })
    })?;
    Ok(Delivery { consumer, entries, data: from.bytes()? })
}

fn put_reply(out: &mut Frames, reply: &Reply) {
    match reply {
        Reply::Stat(counts) => {
            out.u8(STAT);
            out.bool(counts.is_some());
            if let Some(counts) = counts {
                put_counts(out, counts);
            }
        }
        Reply::Consume(outcome) => {
            out.u8(CONSUME);
            out.u8(match outcome {
                Ok(()) => TAKEN,
                Err(NotConsuming::Gone) => GONE,
                Err(NotConsuming::Exclusive) => EXCLUSIVE,
            });
        }
        Reply::Unit => out.u8(UNIT),
        Reply::Get(reply) => {
            out.u8(GET);
            put_get(out, reply.as_ref());
        }
        Reply::Purge(count) => {
            out.u8(PURGE);
            out.bool(count.is_some());
            if let Some(count) = count {
                out.u64(*count);
            }
        }
        Reply::Delete(outcome) => {
            out.u8(DELETE);
            match outcome {
                Ok(count) => {
                    out.u8(TAKEN);
                    out.u64(*count);
                }
                Err(NotDeleted::InUse) => out.u8(IN_USE),
                Err(NotDeleted::NotEmpty) => out.u8(NOT_EMPTY),
            }
        }
    }
}

fn take_reply(from: &mut Take<'_>) -> Result<Reply, Malformed> {
    Ok(match from.u8()? {
        STAT => Reply::Stat(from.option(take_counts)?),
        CONSUME => Reply::Consume(match from.u8()? {
            TAKEN => Ok(()),
            GONE => Err(NotConsuming::Gone),
            EXCLUSIVE => Err(NotConsuming::Exclusive),
            _ => return Err(Malformed),
        }),
        UNIT => Reply::Unit,
        GET => Reply::Get(take_get(from)?),
        PURGE => Reply::Purge(from.option(Take::u64)?),
        DELETE => Reply::Delete(match from.u8()? {
            TAKEN => Ok(from.u64()?),
            IN_USE => Err(NotDeleted::InUse),
            NOT_EMPTY => Err(NotDeleted::NotEmpty),
            _ => return Err(Malformed),
        }),
        _ => return Err(Malformed),
    })
}

fn put_counts(out: &mut Frames, counts: &Counts) {
    out.u64(counts.ready);
    out.u64(counts.delayed);
    out.u64(counts.unacked);
    out.u32(counts.consumers);
}

fn take_counts(from: &mut Take<'_>) -> Result<Counts, Malformed> {
    Ok(Counts { ready: from.u64()?, delayed: from.u64()?, unacked: from.u64()?, consumers: from.u32()? })
}

fn put_get(out: &mut Frames, reply: Option<&GetReply>) {
    match reply {
        None => out.u8(TAKEN),
        Some(GetReply::Empty) => out.u8(EMPTY),
        Some(GetReply::Message { seq, record, redelivered, returns, ready }) => {
            out.u8(MESSAGE);
            out.u64(*seq);
            out.bool(*redelivered);
            out.u32(*returns);
            out.u64(*ready);
            out.bytes(record);
        }
    }
}

fn take_get(from: &mut Take<'_>) -> Result<Option<GetReply>, Malformed> {
    Ok(match from.u8()? {
        TAKEN => None,
        EMPTY => Some(GetReply::Empty),
        MESSAGE => {
            let (seq, redelivered, returns, ready) = (from.u64()?, from.bool()?, from.u32()?, from.u64()?);
            Some(GetReply::Message { seq, record: from.bytes()?, redelivered, returns, ready })
        }
        _ => return Err(Malformed),
    })
}
