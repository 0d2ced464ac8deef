//! How the members, the recent answers and the place in the log are kept: as rows beside the topology's.

use super::codec::{Fields, Malformed, put_option, put_refusal, put_text, read_refusal};
use super::command::{MetaAnswer, Origin};
use super::recent::{Answered, Asked};
use crate::broker::ids::{NodeId, QueueId};
use crate::broker::topology::{Change, Row};
use crate::node::cluster::members::{Member, Members};
use crate::protocol::wire::{put_u8, put_u16, put_u64};

const APPLIED: u8 = 1;
const CLUSTER: u8 = 2;
const MEMBER: u8 = 3;
const ASKED: u8 = 4;
const ANSWER: u8 = 5;
const RESTORING: u8 = 6;

/// One row, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Applied(u64),
    Restoring,
    Cluster { cluster_id: u64, groups: u16, next_node: NodeId },
    Member(NodeId, Member),
    Asked { origin: Origin, settled_below: u64 },
    Answer(Origin, u64, Answered),
}

/// Entries of the log up to this index are part of the state.
pub(super) fn applied_row(index: u64) -> Row {
    row(APPLIED, |_| {}, |value| put_u64(value, index))
}

/// The log does not fit the rows: they are a copy that does not count yet.
pub(super) fn restoring_row() -> Row {
    row(RESTORING, |_| {}, |_| {})
}

pub(super) fn cluster_row(members: &Members) -> Row {
    row(
        CLUSTER,
        |_| {},
        |value| {
            put_u64(value, members.cluster_id);
            put_u16(value, members.groups);
            put_u16(value, members.next_node);
        },
    )
}

pub(super) fn member_row(node: NodeId, member: &Member) -> Row {
    row(
        MEMBER,
        |key| put_u16(key, node),
        |value| {
            let texts = [&member.name, &member.peer_address, &member.client_address];
            texts.into_iter().for_each(|text| put_text(value, text));
            put_u64(value, member.run);
            put_u8(value, u8::from(member.is_up));
            put_u8(value, u8::from(member.is_leaving));
        },
    )
}

pub(super) fn asked_row(node: NodeId, asked: &Asked) -> Row {
    row(
        ASKED,
        |key| put_u16(key, node),
        |value| {
            put_u64(value, asked.run);
            put_u64(value, asked.settled_below);
        },
    )
}

pub(super) fn answer_row(origin: Origin, number: u64, answer: &Answered) -> Row {
    row(ANSWER, |key| put_number(key, origin, number), |value| put_answer(value, answer))
}

/// Takes the row of an answer away.
pub(super) fn without_answer(origin: Origin, number: u64) -> Change {
    Change::Delete(row(ANSWER, |key| put_number(key, origin, number), |_| {}).key())
}

fn row(kind: u8, key: impl FnOnce(&mut Vec<u8>), value: impl FnOnce(&mut Vec<u8>)) -> Row {
    let (mut key_bytes, mut value_bytes) = (vec![kind], Vec::new());
    key(&mut key_bytes);
    value(&mut value_bytes);
    Row::Cluster { key: key_bytes, value: value_bytes }
}

fn put_number(key: &mut Vec<u8>, origin: Origin, number: u64) {
    put_u16(key, origin.node);
    put_u64(key, origin.run);
    put_u64(key, number);
}

fn put_answer(out: &mut Vec<u8>, answer: &Answered) {
    put_u8(out, u8::from(answer.is_ok()));
    match answer {
        Ok(answer) => {
            put_u8(out, u8::from(answer.created));
            put_option(out, answer.queue, |out, id| put_u64(out, id.0));
            put_option(out, answer.node, put_u16);
        }
        Err(refusal) => put_refusal(out, refusal),
    }
}

fn read_answer(from: &mut Fields<'_>) -> Result<Answered, Malformed> {
    if !from.bool()? {
        return Ok(Err(read_refusal(from)?));
    }
    Ok(Ok(MetaAnswer {
        created: from.bool()?,
        queue: from.option(Fields::u64)?.map(QueueId),
        node: from.option(Fields::u16)?,
    }))
}

impl Kept {
    pub(super) fn read(key: &[u8], value: &[u8]) -> Result<Self, Malformed> {
        let (mut key, mut value) = (Fields::new(key), Fields::new(value));
        let kept = match key.u8()? {
            APPLIED => Self::Applied(value.u64()?),
            RESTORING => Self::Restoring,
            CLUSTER => {
                Self::Cluster { cluster_id: value.u64()?, groups: value.u16()?, next_node: value.u16()? }
            }
            MEMBER => {
                let member = Member {
                    name: value.text()?,
                    peer_address: value.text()?,
                    client_address: value.text()?,
                    run: value.u64()?,
                    is_up: value.bool()?,
                    is_leaving: value.bool()?,
                };
                Self::Member(key.u16()?, member)
            }
            ASKED => {
                let origin = Origin { node: key.u16()?, run: value.u64()? };
                Self::Asked { origin, settled_below: value.u64()? }
            }
            ANSWER => {
                let origin = Origin { node: key.u16()?, run: key.u64()? };
                Self::Answer(origin, key.u64()?, read_answer(&mut value)?)
            }
            _ => return Err(Malformed),
        };
        key.end()?;
        value.end()?;
        Ok(kept)
    }
}
