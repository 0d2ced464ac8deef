//! What a session asks, as bytes.

use super::put::Frames;
use super::take::{Malformed, Take};
use crate::broker::batch::Batch;
use crate::broker::ids::QueueId;
use crate::broker::queue::SeqRange;
use crate::node::cluster::forward::{Consumer, Forward, Item, Owner, Request, Settle};
use crate::node::links::DeleteIf;

const PUBLISH: u8 = 1;
const SETTLE: u8 = 2;
const CONSUME: u8 = 3;
const SUSPEND: u8 = 4;
const CANCEL: u8 = 5;
const CREDIT: u8 = 6;
const RESUME: u8 = 7;
const GET: u8 = 8;
const PURGE: u8 = 9;
const DELETE: u8 = 10;
const STAT: u8 = 11;
const NOTHING: u8 = 12;

const GROUP: u8 = 1;
const NODE: u8 = 2;

/// A queue's number and the kind of a request.
const ITEM_BYTES_MIN: usize = 9;
const RANGE_BYTES: usize = 16;

pub(super) fn put_forward(out: &mut Frames, forward: &Forward) {
    out.u64(forward.session);
    out.u16(forward.from);
    put_owner(out, forward.owner);
    out.u64(forward.attempt);
    out.u64(forward.answered);
    out.u64(forward.meta_index);
    out.u64(forward.first);
    out.u64(forward.back_below);
    out.count(forward.items.len());
    for item in &forward.items {
        out.u64(item.queue.0);
        put_request(out, &item.request);
    }
}

pub(super) fn take_forward(from: &mut Take<'_>) -> Result<Forward, Malformed> {
    Ok(Forward {
        session: from.u64()?,
        from: from.u16()?,
        owner: take_owner(from)?,
        attempt: from.u64()?,
        answered: from.u64()?,
        meta_index: from.u64()?,
        first: from.u64()?,
        back_below: from.u64()?,
        items: from.list(ITEM_BYTES_MIN, |from| {
            Ok(Item { queue: QueueId(from.u64()?), request: take_request(from)? })
        })?,
    })
}

pub(super) fn put_owner(out: &mut Frames, owner: Owner) {
    let (kind, number) = match owner {
        Owner::Group(group) => (GROUP, group),
        Owner::Node(node) => (NODE, node),
    };
    out.u8(kind);
    out.u16(number);
}

pub(super) fn take_owner(from: &mut Take<'_>) -> Result<Owner, Malformed> {
    match from.u8()? {
        GROUP => from.u16().map(Owner::Group),
        NODE => from.u16().map(Owner::Node),
        _ => Err(Malformed),
    }
}

fn put_request(out: &mut Frames, request: &Request) {
    match request {
        Request::Publish { batch, letters } => {
            out.u8(PUBLISH);
            out.bool(*letters);
            out.bytes(&batch.records);
        }
        Request::Settle { consumer, how, ranges } => {
            out.u8(SETTLE);
            out.u64(*consumer);
            out.u8(settle_code(*how));
            put_ranges(out, ranges);
        }
        Request::Consume(consumer) => {
            out.u8(CONSUME);
            put_consumer(out, consumer);
        }
        Request::Suspend(consumer) => put_numbers(out, SUSPEND, &[*consumer]),
        Request::Cancel(consumer) => put_numbers(out, CANCEL, &[*consumer]),
        Request::Credit(consumer, credit) => put_numbers(out, CREDIT, &[*consumer, *credit]),
        Request::Resume(consumer) => put_numbers(out, RESUME, &[*consumer]),
        Request::Get { no_ack } => {
            out.u8(GET);
            out.bool(*no_ack);
        }
        Request::Purge => out.u8(PURGE),
        Request::Delete(condition) => {
            out.u8(DELETE);
            put_condition(out, condition);
        }
        Request::Stat => out.u8(STAT),
        Request::Nothing => out.u8(NOTHING),
    }
}

fn take_request(from: &mut Take<'_>) -> Result<Request, Malformed> {
    Ok(match from.u8()? {
        PUBLISH => Request::Publish { letters: from.bool()?, batch: take_batch(from)? },
        SETTLE => Request::Settle {
            consumer: from.u64()?,
            how: take_settle(from)?,
            ranges: from.list(RANGE_BYTES, take_range)?,
        },
        CONSUME => Request::Consume(take_consumer(from)?),
        SUSPEND => Request::Suspend(from.u64()?),
        CANCEL => Request::Cancel(from.u64()?),
        CREDIT => Request::Credit(from.u64()?, from.u64()?),
        RESUME => Request::Resume(from.u64()?),
        GET => Request::Get { no_ack: from.bool()? },
        PURGE => Request::Purge,
        DELETE => Request::Delete(take_condition(from)?),
        STAT => Request::Stat,
        NOTHING => Request::Nothing,
        _ => return Err(Malformed),
    })
}

/// Records are checked and counted again: what a queue believes of them must be so.
fn take_batch(from: &mut Take<'_>) -> Result<Batch, Malformed> {
    let mut batch = Batch::check(from.bytes()?).ok_or(Malformed)?;
    // A few records must not keep a large buffer.
    batch.is_loose = batch.records.len() < from.backing / 4 * 3;
    Ok(batch)
}

fn settle_code(how: Settle) -> u8 {
    match how {
        Settle::Ack => 1,
        Settle::Requeue => 2,
        Settle::Fail => 3,
        Settle::Reject => 4,
    }
}

fn take_settle(from: &mut Take<'_>) -> Result<Settle, Malformed> {
    match from.u8()? {
        1 => Ok(Settle::Ack),
        2 => Ok(Settle::Requeue),
        3 => Ok(Settle::Fail),
        4 => Ok(Settle::Reject),
        _ => Err(Malformed),
    }
}

fn put_ranges(out: &mut Frames, ranges: &[SeqRange]) {
    out.count(ranges.len());
    for (first, count) in ranges {
        out.u64(*first);
        out.u64(*count);
    }
}

/// No range reaches beyond the last number.
fn take_range(from: &mut Take<'_>) -> Result<SeqRange, Malformed> {
    let (first, count) = (from.u64()?, from.u64()?);
    first.checked_add(count).map(|_| (first, count)).ok_or(Malformed)
}

fn put_numbers(out: &mut Frames, kind: u8, numbers: &[u64]) {
    out.u8(kind);
    numbers.iter().for_each(|number| out.u64(*number));
}

fn put_consumer(out: &mut Frames, consumer: &Consumer) {
    out.u64(consumer.id);
    out.bool(consumer.no_ack);
    out.bool(consumer.exclusive);
    out.u16(consumer.prefetch);
    out.i32(consumer.priority);
    out.u64(consumer.window_bytes);
    out.bool(consumer.is_back);
    out.bool(consumer.was_served);
}

fn take_consumer(from: &mut Take<'_>) -> Result<Consumer, Malformed> {
    Ok(Consumer {
        id: from.u64()?,
        no_ack: from.bool()?,
        exclusive: from.bool()?,
        prefetch: from.u16()?,
        priority: from.i32()?,
        window_bytes: from.u64()?,
        is_back: from.bool()?,
        was_served: from.bool()?,
    })
}

fn put_condition(out: &mut Frames, condition: &DeleteIf) {
    out.bool(condition.unused);
    out.bool(condition.empty);
    out.bool(condition.idle_since_ms.is_some());
    if let Some(since_ms) = condition.idle_since_ms {
        out.u64(since_ms);
    }
    out.bool(condition.only_checks);
}

fn take_condition(from: &mut Take<'_>) -> Result<DeleteIf, Malformed> {
    Ok(DeleteIf {
        unused: from.bool()?,
        empty: from.bool()?,
        idle_since_ms: from.option(Take::u64)?,
        only_checks: from.bool()?,
    })
}
