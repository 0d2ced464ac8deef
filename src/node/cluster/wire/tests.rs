//! Tests of the codec.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::Union;

use super::*;
use crate::broker::batch::{Batch, Message};
use crate::broker::ids::QueueId;
use crate::broker::queue::{Counts, Delivery, Entry, GetReply};
use crate::node::cluster::forward::{
    Answer, Answers, Consumer, Forward, Item, Owner, Reply, Request, Settle,
};
use crate::node::cluster::peer::{Declared, PeerMessage, SnapshotPiece};
use crate::node::links::{DeleteIf, NotConsuming, NotDeleted};
use std::io::IoSlice;

/// Everything a writer would write, by writes that take at most `step` bytes.
fn written(frames: &mut Frames, step: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while !frames.is_written() {
        let mut places = [IoSlice::new(&[]); PLACES];
        let filled = frames.slices(&mut places);
        let bytes: Vec<u8> = places[..filled].iter().flat_map(|place| place.to_vec()).take(step).collect();
        assert!(!bytes.is_empty(), "there is something to write");
        frames.advance(bytes.len());
        out.extend(bytes);
    }
    out
}

/// The contents of all frames.
fn contents(mut bytes: &[u8]) -> Vec<Bytes> {
    let mut frames = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<FRAME_HEAD>() {
        let (content, rest) = rest.split_at(u32::from_le_bytes(*head) as usize);
        frames.push(Bytes::copy_from_slice(content));
        bytes = rest;
    }
    assert!(bytes.is_empty(), "whole frames only");
    frames
}

fn sent(messages: &[PeerMessage], step: usize) -> Vec<PeerMessage> {
    let mut frames = Frames::default();
    messages.iter().for_each(|message| encode(Some(message), &mut frames));
    let length = frames.len();
    let bytes = written(&mut frames, step);
    assert_eq!(bytes.len(), length);
    contents(&bytes).iter().map(|frame| decode(frame, 0).unwrap().unwrap()).collect()
}

fn records(bodies: &[usize]) -> Vec<u8> {
    let mut records = Vec::new();
    for (number, length) in bodies.iter().enumerate() {
        let body = vec![u8::try_from(number % 256).unwrap(); *length];
        Message { routing_key: b"key", body: &body, persistent: number % 2 == 0, ..Message::default() }
            .put(&mut records);
    }
    records
}

fn batch(bodies: &[usize]) -> Batch {
    let mut batch = Batch::check(records(bodies).into()).unwrap();
    batch.is_loose = false;
    batch
}

fn some_bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![vec(any::<u8>(), 0..40), vec(any::<u8>(), 3000..6000)].prop_map(Bytes::from)
}

fn requests() -> impl Strategy<Value = Request> {
    let consumer = (any::<(u64, bool, bool, u16, i32, u64, bool, bool)>()).prop_map(
        |(id, no_ack, exclusive, prefetch, priority, window_bytes, is_back, was_served)| {
            Request::Consume(Consumer {
                id,
                no_ack,
                exclusive,
                prefetch,
                priority,
                window_bytes,
                is_back,
                was_served,
            })
        },
    );
    let how = prop::sample::select(vec![Settle::Ack, Settle::Requeue, Settle::Fail, Settle::Reject]);
    let settle =
        (any::<u64>(), how, vec((any::<u32>(), any::<u32>()), 0..5)).prop_map(|(consumer, how, ranges)| {
            let ranges = ranges.into_iter().map(|(first, count)| (first.into(), count.into())).collect();
            Request::Settle { consumer, how, ranges }
        });
    let publish = (vec(0..6000usize, 0..5), any::<bool>())
        .prop_map(|(bodies, letters)| Request::Publish { batch: batch(&bodies), letters });
    let delete = any::<(bool, bool, Option<u64>)>().prop_map(|(unused, empty, idle_since_ms)| {
        Request::Delete(DeleteIf { unused, empty, idle_since_ms, only_checks: empty })
    });
    prop_oneof![
        consumer,
        settle,
        publish,
        delete,
        any::<u64>().prop_map(Request::Suspend),
        any::<u64>().prop_map(Request::Cancel),
        any::<u64>().prop_map(Request::Resume),
        any::<(u64, u64)>().prop_map(|(consumer, credit)| Request::Credit(consumer, credit)),
        any::<bool>().prop_map(|no_ack| Request::Get { no_ack }),
        Just(Request::Purge),
        Just(Request::Stat),
        Just(Request::Nothing),
    ]
}

fn replies() -> impl Strategy<Value = Reply> {
    let counts = any::<Option<(u64, u64, u64, u32)>>().prop_map(|counts| {
        Reply::Stat(counts.map(|(ready, delayed, unacked, consumers)| Counts {
            ready,
            delayed,
            unacked,
            consumers,
        }))
    });
    let message = (any::<(u64, bool, u32, u64)>(), some_bytes()).prop_map(|(rest, record)| {
        let (seq, redelivered, returns, ready) = rest;
        Reply::Get(Some(GetReply::Message { seq, record, redelivered, returns, ready }))
    });
    let fixed = vec![
        Reply::Consume(Ok(())),
        Reply::Consume(Err(NotConsuming::Gone)),
        Reply::Consume(Err(NotConsuming::Exclusive)),
        Reply::Unit,
        Reply::Get(None),
        Reply::Get(Some(GetReply::Empty)),
        Reply::Delete(Err(NotDeleted::InUse)),
        Reply::Delete(Err(NotDeleted::NotEmpty)),
    ];
    prop_oneof![
        counts,
        message,
        prop::sample::select(fixed),
        any::<Option<u64>>().prop_map(Reply::Purge),
        any::<u64>().prop_map(|count| Reply::Delete(Ok(count))),
    ]
}

fn answers() -> impl Strategy<Value = Answer> {
    // Whole records with an entry for each: nothing is left out on the way.
    let delivery = (any::<u64>(), vec(0..6000usize, 0..6)).prop_map(|(consumer, bodies)| {
        let (data, mut offset) = (Bytes::from(records(&bodies)), 0);
        let entries = bodies.iter().enumerate().map(|(number, _)| {
            let entry = Entry { seq: number as u64 + 7, offset, redelivered: number == 1, returns: 3 };
            let length = crate::broker::batch::skim(&data[offset as usize..]).unwrap().length;
            offset += u32::try_from(length).unwrap();
            entry
        });
        Answer::Deliver(Delivery { consumer, entries: entries.collect(), data: data.clone() })
    });
    prop_oneof![
        delivery,
        (any::<u64>(), vec(any::<(u32, u32)>(), 0..5))
            .prop_map(|(number, places)| Answer::Refused(number, places)),
        any::<(u64, u64)>().prop_map(|(first, last)| Answer::Done(first, last)),
        (any::<u64>(), replies()).prop_map(|(number, reply)| Answer::Reply(number, reply)),
        any::<u64>().prop_map(Answer::ConsumerCancelled),
        Just(Answer::NotOwner),
        any::<u64>().prop_map(Answer::Expects),
        any::<bool>().prop_map(Answer::Room),
    ]
}

fn owners() -> impl Strategy<Value = Owner> {
    prop_oneof![any::<u16>().prop_map(Owner::Group), any::<u16>().prop_map(Owner::Node)]
}

fn pieces() -> impl Strategy<Value = PeerMessage> {
    let piece = (any::<(u16, u64, u64, u64)>(), some_bytes(), 0..6).prop_map(
        |((group, number, a, b), bytes, kind)| match kind {
            0 => SnapshotPiece::Begin { group, number, index: a, term: b, members: bytes },
            1 => SnapshotPiece::Rows { group, number, rows: bytes },
            2 => SnapshotPiece::End { group, number },
            3 => SnapshotPiece::Taken { group, number, pieces: a },
            4 => SnapshotPiece::Done { group, number },
            _ => SnapshotPiece::Failed { group, number },
        },
    );
    piece.prop_map(PeerMessage::Snapshot)
}

fn messages() -> impl Strategy<Value = PeerMessage> {
    let items = vec((any::<u64>(), requests()), 0..6);
    let forward =
        (any::<(u64, u16, u64, u64, u64, u64, u64)>(), owners(), items).prop_map(|(rest, owner, items)| {
            let (session, from, attempt, answered, meta_index, first, back_below) = rest;
            let items =
                items.into_iter().map(|(queue, request)| Item { queue: QueueId(queue), request }).collect();
            PeerMessage::Forward(Forward {
                session,
                from,
                owner,
                attempt,
                answered,
                meta_index,
                first,
                back_below,
                items,
            })
        });
    let answers = (any::<(u64, u64)>(), owners(), vec(answers(), 0..6)).prop_map(
        |((session, attempt), owner, answers)| {
            PeerMessage::Answers(Answers { session, owner, attempt, answers })
        },
    );
    Union::new([
        forward.boxed(),
        answers.boxed(),
        pieces().boxed(),
        (any::<u16>(), vec(some_bytes(), 0..5))
            .prop_map(|(group, list)| PeerMessage::Raft(group, list))
            .boxed(),
        vec(any::<(u16, u64)>(), 0..20).prop_map(PeerMessage::Leads).boxed(),
        (any::<u64>(), some_bytes()).prop_map(|(number, bytes)| PeerMessage::Propose(number, bytes)).boxed(),
        any::<(u64, u16)>().prop_map(|(number, node)| PeerMessage::NotProposed(number, node)).boxed(),
        (any::<u64>(), some_bytes()).prop_map(|(number, bytes)| PeerMessage::Ask(number, bytes)).boxed(),
        (any::<u64>(), some_bytes()).prop_map(|(number, bytes)| PeerMessage::Answer(number, bytes)).boxed(),
        any::<u64>().prop_map(|index| PeerMessage::Declared(Declared::Applied(index))).boxed(),
        any::<u64>().prop_map(|at_ms| PeerMessage::Declared(Declared::Asks(at_ms))).boxed(),
        any::<(u64, u64)>()
            .prop_map(|(at_ms, index)| PeerMessage::Declared(Declared::UpTo(at_ms, index)))
            .boxed(),
    ])
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(messages in vec(messages(), 0..6), step in 1..5000usize) {
        prop_assert_eq!(format!("{:?}", sent(&messages, step)), format!("{messages:?}"));
    }

    #[test]
    fn what_is_cut_short_or_too_long_is_no_message(message in messages(), cut in any::<prop::sample::Index>()) {
        let mut frames = Frames::default();
        encode(Some(&message), &mut frames);
        let bytes = written(&mut frames, usize::MAX)[FRAME_HEAD..].to_vec();
        let short = Bytes::copy_from_slice(&bytes[..cut.index(bytes.len())]);
        prop_assert!(decode(&short, 0).is_err());
        prop_assert!(decode(&[bytes.as_slice(), &[0]].concat().into(), 0).is_err());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(kind in 0..20u8, bytes in vec(any::<u8>(), 0..300)) {
        let _ = decode(&[&[kind], bytes.as_slice()].concat().into(), 0);
    }

    #[test]
    fn messages_with_wrong_bytes_are_read_without_a_panic(
        message in messages(), wrong in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut frames = Frames::default();
        encode(Some(&message), &mut frames);
        let mut bytes = written(&mut frames, usize::MAX)[FRAME_HEAD..].to_vec();
        for (at, value) in wrong {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(Some(message)) = decode(&bytes.into(), 0) {
            let _ = (weight(&message), sent(&[message], usize::MAX));
        }
    }
}

#[test]
fn a_ping_is_no_message() {
    let mut frames = Frames::default();
    encode(None, &mut frames);
    let frames = contents(&written(&mut frames, usize::MAX));
    assert!(matches!(frames.as_slice(), [frame] if decode(frame, 0).unwrap().is_none()));
}

#[test]
fn a_delivery_takes_along_only_its_own_records() {
    let bodies = [5000, 2000, 30, 40];
    let data = Bytes::from(records(&bodies));
    let mut offsets = vec![0];
    for _ in &bodies {
        let at = *offsets.last().unwrap();
        offsets.push(at + crate::broker::batch::skim(&data[at..]).unwrap().length);
    }
    // Another consumer has the first and the third.
    let entry = |number: usize| Entry {
        seq: number as u64,
        offset: u32::try_from(offsets[number]).unwrap(),
        redelivered: false,
        returns: 0,
    };
    let delivery = Delivery { consumer: 1, data: data.clone(), entries: vec![entry(1), entry(3)] };
    let answers =
        Answers { session: 1, owner: Owner::Group(1), attempt: 1, answers: vec![Answer::Deliver(delivery)] };
    let message = PeerMessage::Answers(answers);
    assert!(weight(&message) < data.len());
    let arrived = sent(std::slice::from_ref(&message), usize::MAX).remove(0);
    let PeerMessage::Answers(answers) = arrived else { panic!("{arrived:?}") };
    let Answer::Deliver(delivery) = &answers.answers[0] else { panic!("{answers:?}") };
    assert_eq!(delivery.data, [&data[offsets[1]..offsets[2]], &data[offsets[3]..]].concat());
    let ends: Vec<_> = delivery.entries.iter().map(|entry| (entry.seq, entry.offset as usize)).collect();
    assert_eq!(ends, [(1, 0), (3, offsets[2] - offsets[1])]);
}

#[test]
fn a_count_allocates_no_more_than_its_bytes_allow() {
    // Four thousand million leads, and bytes for none.
    let claim: Bytes = [&[2][..], &u32::MAX.to_le_bytes()].concat().into();
    assert_eq!(decode(&claim, 0).map(|_| ()), Err(take::Malformed));
}

#[test]
fn large_batches_are_not_copied_and_small_parts_of_a_buffer_are_loose() {
    let batch = batch(&[100_000]);
    let mut frames = Frames::default();
    let item = Item { queue: QueueId(1), request: Request::Publish { batch: batch.clone(), letters: false } };
    let forward = Forward {
        session: 1,
        from: 1,
        owner: Owner::Group(1),
        attempt: 1,
        answered: 0,
        meta_index: 1,
        first: 1,
        back_below: 0,
        items: vec![item],
    };
    encode(Some(&PeerMessage::Forward(forward)), &mut frames);
    let mut places = [IoSlice::new(&[]); PLACES];
    let filled = frames.slices(&mut places);
    assert!(places[..filled].iter().any(|place| std::ptr::eq(place.as_ptr(), batch.records.as_ptr())));
    let frame = contents(&written(&mut frames, usize::MAX)).remove(0);
    for (backing, is_loose) in [(frame.len(), false), (frame.len() * 2, true)] {
        let Ok(Some(PeerMessage::Forward(forward))) = decode(&frame, backing) else {
            panic!("it is a forward")
        };
        let Request::Publish { batch: read, .. } = &forward.items[0].request else { panic!("{forward:?}") };
        assert_eq!((read.is_loose, &read.records), (is_loose, &batch.records));
        // A part of the frame, no copy.
        assert!(frame.as_ptr_range().contains(&read.records.as_ptr()));
    }
}
