//! Messages from node to node, as frames.

use bytes::Bytes;

use super::answers::{delivery_bytes, put_answers, take_answers};
use super::forward::{put_forward, take_forward};
use super::put::Frames;
use super::take::{Malformed, Take};
use crate::broker::queue::GetReply;
use crate::node::cluster::forward::{Answer, Item, Reply, Request};
use crate::node::cluster::peer::{Declared, PeerMessage, SnapshotPiece};

/// Nothing is to be said but that the sender is there.
const PING: u8 = 0;
const RAFT: u8 = 1;
const LEADS: u8 = 2;
const FORWARD: u8 = 3;
const ANSWERS: u8 = 4;
const PROPOSE: u8 = 5;
const NOT_PROPOSED: u8 = 6;
const ASK: u8 = 7;
const ANSWER: u8 = 8;
const SNAPSHOT_BEGIN: u8 = 9;
const SNAPSHOT_ROWS: u8 = 10;
const SNAPSHOT_END: u8 = 11;
const SNAPSHOT_TAKEN: u8 = 12;
const SNAPSHOT_DONE: u8 = 13;
const SNAPSHOT_FAILED: u8 = 14;
const DECLARED_APPLIED: u8 = 15;
const DECLARED_ASKS: u8 = 16;
const DECLARED_UP_TO: u8 = 17;

const LENGTH_BYTES: usize = 4;
const LEAD_BYTES: usize = 10;

/// What a message, an item or an answer takes beside its bytes, about.
const ENVELOPE: usize = 64;

/// Appends a message as a frame; `None` is a ping.
pub(crate) fn encode(message: Option<&PeerMessage>, out: &mut Frames) {
    let open = out.begin();
    match message {
        None => out.u8(PING),
        Some(message) => put_message(out, message),
    }
    out.end(&open);
}

/// Reads a frame's content, which is a part of a buffer of `backing` bytes; `None` is a ping.
///
/// # Errors
/// When it is no message of this version.
pub(crate) fn decode(frame: &Bytes, backing: usize) -> Result<Option<PeerMessage>, Malformed> {
    let mut from = Take::new(frame, backing);
    let message = match from.u8()? {
        PING => None,
        kind => Some(take_message(kind, &mut from)?),
    };
    from.end()?;
    Ok(message)
}

/// About how many bytes a message takes while it waits.
pub(crate) fn weight(message: &PeerMessage) -> usize {
    let bytes = match message {
        PeerMessage::Raft(_, messages) => messages.iter().map(|message| message.len() + ENVELOPE).sum(),
        PeerMessage::Leads(leads) => leads.len() * LEAD_BYTES,
        PeerMessage::Forward(forward) => forward.items.iter().map(item_weight).sum(),
        PeerMessage::Answers(answers) => answers.answers.iter().map(answer_weight).sum(),
        PeerMessage::Snapshot(SnapshotPiece::Rows { rows, .. }) => rows.len(),
        PeerMessage::Snapshot(_) | PeerMessage::NotProposed(..) | PeerMessage::Declared(_) => 0,
        PeerMessage::Propose(_, bytes) | PeerMessage::Ask(_, bytes) | PeerMessage::Answer(_, bytes) => {
            bytes.len()
        }
    };
    bytes + ENVELOPE
}

fn item_weight(item: &Item) -> usize {
    let bytes = match &item.request {
        Request::Publish { batch, .. } => batch.records.len(),
        Request::Settle { ranges, .. } => ranges.len() * 16,
        _ => 0,
    };
    bytes + ENVELOPE
}

fn answer_weight(answer: &Answer) -> usize {
    let bytes = match answer {
        Answer::Deliver(delivery) => delivery_bytes(delivery),
        Answer::Reply(_, Reply::Get(Some(GetReply::Message { record, .. }))) => record.len(),
        Answer::Refused(_, places) => places.len() * 8,
        _ => 0,
    };
    bytes + ENVELOPE
}

fn put_message(out: &mut Frames, message: &PeerMessage) {
    match message {
        PeerMessage::Raft(group, messages) => {
            out.u8(RAFT);
            out.u16(*group);
            out.count(messages.len());
            messages.iter().for_each(|message| out.bytes(message));
        }
        PeerMessage::Leads(leads) => {
            out.u8(LEADS);
            out.count(leads.len());
            for (group, term) in leads {
                out.u16(*group);
                out.u64(*term);
            }
        }
        PeerMessage::Forward(forward) => {
            out.u8(FORWARD);
            put_forward(out, forward);
        }
        PeerMessage::Answers(answers) => {
            out.u8(ANSWERS);
            put_answers(out, answers);
        }
        PeerMessage::Snapshot(piece) => put_piece(out, piece),
        PeerMessage::Propose(number, bytes) => put_numbered(out, PROPOSE, *number, bytes),
        PeerMessage::NotProposed(number, node) => {
            out.u8(NOT_PROPOSED);
            out.u64(*number);
            out.u16(*node);
        }
        PeerMessage::Ask(number, bytes) => put_numbered(out, ASK, *number, bytes),
        PeerMessage::Answer(number, bytes) => put_numbered(out, ANSWER, *number, bytes),
        PeerMessage::Declared(declared) => put_declared(out, *declared),
    }
}

fn take_message(kind: u8, from: &mut Take<'_>) -> Result<PeerMessage, Malformed> {
    Ok(match kind {
        RAFT => PeerMessage::Raft(from.u16()?, from.list(LENGTH_BYTES, Take::bytes)?),
        LEADS => PeerMessage::Leads(from.list(LEAD_BYTES, |from| Ok((from.u16()?, from.u64()?)))?),
        FORWARD => PeerMessage::Forward(take_forward(from)?),
        ANSWERS => PeerMessage::Answers(take_answers(from)?),
        PROPOSE => PeerMessage::Propose(from.u64()?, from.bytes()?),
        NOT_PROPOSED => PeerMessage::NotProposed(from.u64()?, from.u16()?),
        ASK => PeerMessage::Ask(from.u64()?, from.bytes()?),
        ANSWER => PeerMessage::Answer(from.u64()?, from.bytes()?),
        DECLARED_APPLIED => PeerMessage::Declared(Declared::Applied(from.u64()?)),
        DECLARED_ASKS => PeerMessage::Declared(Declared::Asks(from.u64()?)),
        DECLARED_UP_TO => PeerMessage::Declared(Declared::UpTo(from.u64()?, from.u64()?)),
        _ => PeerMessage::Snapshot(take_piece(kind, from)?),
    })
}

fn put_declared(out: &mut Frames, declared: Declared) {
    let (kind, number) = match declared {
        Declared::Applied(applied) => (DECLARED_APPLIED, applied),
        Declared::Asks(asked_ms) => (DECLARED_ASKS, asked_ms),
        Declared::UpTo(asked_ms, _) => (DECLARED_UP_TO, asked_ms),
    };
    out.u8(kind);
    out.u64(number);
    if let Declared::UpTo(_, commit) = declared {
        out.u64(commit);
    }
}

fn put_numbered(out: &mut Frames, kind: u8, number: u64, bytes: &Bytes) {
    out.u8(kind);
    out.u64(number);
    out.bytes(bytes);
}

fn put_piece(out: &mut Frames, piece: &SnapshotPiece) {
    let mut head = |kind: u8, group: u16, number: u64| {
        out.u8(kind);
        out.u16(group);
        out.u64(number);
    };
    match piece {
        SnapshotPiece::Begin { group, number, index, term, members } => {
            head(SNAPSHOT_BEGIN, *group, *number);
            out.u64(*index);
            out.u64(*term);
            out.bytes(members);
        }
        SnapshotPiece::Rows { group, number, rows } => {
            head(SNAPSHOT_ROWS, *group, *number);
            out.bytes(rows);
        }
        SnapshotPiece::End { group, number } => head(SNAPSHOT_END, *group, *number),
        SnapshotPiece::Taken { group, number, pieces } => {
            head(SNAPSHOT_TAKEN, *group, *number);
            out.u64(*pieces);
        }
        SnapshotPiece::Done { group, number } => head(SNAPSHOT_DONE, *group, *number),
        SnapshotPiece::Failed { group, number } => head(SNAPSHOT_FAILED, *group, *number),
    }
}

fn take_piece(kind: u8, from: &mut Take<'_>) -> Result<SnapshotPiece, Malformed> {
    let (group, number) = (from.u16()?, from.u64()?);
    Ok(match kind {
        SNAPSHOT_BEGIN => SnapshotPiece::Begin {
            group,
            number,
            index: from.u64()?,
            term: from.u64()?,
            members: from.bytes()?,
        },
        SNAPSHOT_ROWS => SnapshotPiece::Rows { group, number, rows: from.bytes()? },
        SNAPSHOT_END => SnapshotPiece::End { group, number },
        SNAPSHOT_TAKEN => SnapshotPiece::Taken { group, number, pieces: from.u64()? },
        SNAPSHOT_DONE => SnapshotPiece::Done { group, number },
        SNAPSHOT_FAILED => SnapshotPiece::Failed { group, number },
        _ => return Err(Malformed),
    })
}
