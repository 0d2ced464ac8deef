//! Messages that came before, and messages that are handed out once more.

use bytes::Bytes;

use super::world::message;
use crate::broker::arguments::Overflow;
use crate::broker::batch::{self, Batch, Message};
use crate::broker::deduplication::{DEFAULT_HEADER, Deduplication};
use crate::broker::queue::{Command, Effect, GETTER, GetReply, Options, Pressure, Queue};
use crate::protocol::properties::{self, Edit};
use crate::protocol::table;

fn options() -> Options {
    Options { durable: true, deduplication: Some(Deduplication::default()), ..Options::default() }
}

/// A persistent message with this id; none when it is 0.
fn header(id: i32) -> Vec<u8> {
    let plain = [&[0, 60, 0, 0], &[0; 8][..], &[0, 0]].concat();
    let mut headers = amq_protocol::types::FieldTable::default();
    if id != 0 {
        headers.insert(DEFAULT_HEADER.into(), amq_protocol::types::AMQPValue::LongInt(id));
    }
    let headers = table::from_field_table(&headers);
    properties::rewrite(&plain, &Edit { headers: Some(&headers), ..Edit::default() }).unwrap()
}

/// A batch of messages with these ids as bodies.
fn batch(ids: &[i32], persistent: bool) -> Batch {
    let mut records = Vec::new();
    for id in ids {
        let body = id.to_be_bytes();
        Message { header: &header(*id), persistent, ..message(&body, 1000) }.put(&mut records);
    }
    Batch::check(records.into()).unwrap()
}

fn apply(queue: &mut Queue, command: Command) -> Vec<Effect> {
    let mut effects = Vec::new();
    queue.apply(command, 1000, &mut effects);
    effects
}

fn put(queue: &mut Queue, ids: &[i32]) -> Vec<Effect> {
    apply(queue, Command::Enqueue(batch(ids, true)))
}

fn ids_of(records: &[u8]) -> Vec<i32> {
    let (mut at, mut ids) = (0, Vec::new());
    while let Some((message, length)) = batch::read(&records[at..]) {
        ids.push(i32::from_be_bytes(message.body.try_into().unwrap()));
        at += length;
    }
    ids
}

/// What was logged, in order: ids of messages, and 0 for each time that duplicates were dropped.
fn logged(effects: &[Effect]) -> Vec<i32> {
    let each = effects.iter().map(|effect| match effect {
        Effect::LogEnqueue { records, .. } => ids_of(records),
        Effect::Duplicates => vec![0],
        _ => Vec::new(),
    });
    each.flatten().collect()
}

/// Takes everything that is ready.
fn take_all(queue: &mut Queue) -> Vec<i32> {
    let mut taken = Vec::new();
    loop {
        match apply(queue, Command::Get { no_ack: true }).pop_got() {
            GetReply::Message { record, .. } => taken.extend(ids_of(&record)),
            GetReply::Empty => return taken,
        }
    }
}

trait PopGot {
    fn pop_got(self) -> GetReply;
}

impl PopGot for Vec<Effect> {
    fn pop_got(self) -> GetReply {
        let got =
            self.into_iter().find_map(|effect| if let Effect::Got(got) = effect { Some(got) } else { None });
        got.unwrap()
    }
}

#[test]
fn repeats_are_dropped_wherever_they_stand_in_a_batch() {
    let mut queue = Queue::new(options(), 1000);
    assert_eq!(logged(&put(&mut queue, &[1, 2, 1, 3])), [1, 2, 0, 3]);
    assert_eq!(logged(&put(&mut queue, &[3, 3, 4])), [0, 4]);
    // Without an id every message is one of its own.
    let plain = batch(&[0, 0], true);
    assert_eq!(logged(&apply(&mut queue, Command::Enqueue(plain))), [0, 0]);
    assert_eq!(take_all(&mut queue), [1, 2, 3, 4, 0, 0]);
    assert_eq!(logged(&put(&mut queue, &[2, 5])), [0, 5], "taken messages came before, too");
}

#[test]
fn a_message_that_found_no_place_did_not_come() {
    let mut queue =
        Queue::new(Options { max_length: Some(1), overflow: Overflow::RejectPublish, ..options() }, 1000);
    let effects = put(&mut queue, &[1, 2, 1, 2, 3]);
    let refused: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Refused { place, count, records } => Some((*place, *count, ids_of(records))),
            _ => None,
        })
        .collect();
    assert_eq!(refused, [(1, 1, vec![2]), (3, 2, vec![2, 3])]);
    assert_eq!(take_all(&mut queue), [1]);
    assert_eq!(logged(&put(&mut queue, &[2])), [2]);
}

#[test]
fn dead_letters_may_come_back() {
    let mut queue = Queue::new(options(), 1000);
    put(&mut queue, &[1]);
    let letters = apply(&mut queue, Command::EnqueueLetters(batch(&[1, 1, 2], true)));
    assert_eq!(logged(&letters), [1, 1, 2]);
    assert_eq!(logged(&put(&mut queue, &[1, 2])), [0], "their ids count");
}

#[test]
fn a_purge_forgets_the_ids() {
    let mut queue = Queue::new(options(), 1000);
    put(&mut queue, &[1]);
    let effects = apply(&mut queue, Command::Purge);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::LogIds(_))));
    assert_eq!(logged(&put(&mut queue, &[1])), [1]);
    let untouched = apply(&mut Queue::new(options(), 1000), Command::Purge);
    assert!(!untouched.iter().any(|effect| matches!(effect, Effect::LogIds(_))));
}

#[test]
fn a_queue_that_does_not_ask_for_it_pays_nothing() {
    let mut queue = Queue::new(Options { durable: true, ..Options::default() }, 1000);
    let effects = put(&mut queue, &[1, 1]);
    assert!(matches!(&effects[..], [Effect::LogEnqueue { count: 2, ids, .. }] if ids.is_empty()));
    assert!(queue.seen.is_none());
    let row = queue.row();
    assert_eq!((row[0], row.len()), (1, 17), "its row is what it always was");
}

/// A queue as a restart brings it back, from this row and these effects after it.
fn restart(row: Option<&[u8]>, log: &[Effect]) -> Queue {
    let mut queue = Queue::default();
    row.iter().for_each(|row| queue.restore_row(row).unwrap());
    for effect in log {
        match effect {
            Effect::LogEnqueue { first, records, ids, .. } => {
                queue.replay_ids(ids).unwrap();
                queue.replay_enqueue(*first, &Batch::check(records.clone()).unwrap());
            }
            Effect::LogIds(ids) => queue.replay_ids(ids).unwrap(),
            _ => {}
        }
    }
    queue.recovered(None, None, 1000);
    queue.set_options(options());
    queue
}

#[test]
fn ids_come_back_from_the_log_and_from_the_row() {
    let mut queue = Queue::new(options(), 1000);
    let mut log = put(&mut queue, &[1, 2]);
    log.extend(apply(&mut queue, Command::Enqueue(batch(&[3], false))));
    assert!(queue.needs_checkpoint());
    let mut row = queue.row();
    queue.put_ids(&mut row);
    queue.checkpoint();
    assert!(!queue.needs_checkpoint(), "ids are written once");
    log.extend(put(&mut queue, &[4]));
    let (all, rest) = (restart(None, &log), restart(Some(&row), &log[log.len() - 1..]));
    for mut queue in [all, rest, restart(Some(&row), &log)] {
        assert_eq!(
            logged(&put(&mut queue, &[1, 2, 3, 4, 5])),
            [0, 3, 0, 5],
            "the transient 3 is gone with its id"
        );
    }
    let mut plain = restart(Some(&row), &log);
    plain.set_options(Options::default());
    assert!(plain.seen.is_none());
}

fn recalled(effects: &[Effect]) -> (Vec<i32>, Vec<u64>) {
    let records = effects.iter().filter_map(|effect| match effect {
        Effect::Recalled(7, record) => Some(ids_of(record)),
        _ => None,
    });
    let done = effects.iter().filter_map(|effect| match effect {
        Effect::RecallDone(number) => Some(*number),
        _ => None,
    });
    (records.flatten().collect(), done.collect())
}

#[test]
fn a_recall_gives_what_is_kept_and_keeps_it() {
    let mut queue = Queue::new(Options { durable: true, max_length: Some(2), ..Options::default() }, 1000);
    assert_eq!(recalled(&apply(&mut queue, Command::Recall(7))), (vec![], vec![7]));
    put(&mut queue, &[1, 2, 3]);
    for _ in 0..2 {
        assert_eq!(recalled(&apply(&mut queue, Command::Recall(7))), (vec![2, 3], vec![7]));
    }
    assert_eq!(queue.counts().ready, 2);
}

#[test]
fn a_recall_reads_chunks_in_order_and_skips_what_goes_meanwhile() {
    let mut queue = Queue::new(Options { durable: true, max_length: Some(40), ..Options::default() }, 1000);
    let large = |id: i32| {
        let body = [&id.to_be_bytes()[..], &[0; 17 * 1024]].concat();
        let mut records = Vec::new();
        message(&body, 1000).put(&mut records);
        Command::Enqueue(Batch::check(records.into()).unwrap())
    };
    for id in 1..=40 {
        apply(&mut queue, large(id));
    }
    let mut cold = std::collections::BTreeMap::new();
    for write in queue.spill(usize::MAX, Pressure::High, 1000) {
        cold.insert(write.first, write.data.unwrap());
        queue.chunk_stored(write.first, true, 1000);
    }
    let mut effects = apply(&mut queue, Command::Recall(7));
    let (mut got, mut done, mut loads) = (Vec::new(), Vec::new(), Vec::new());
    while done.is_empty() {
        for effect in std::mem::take(&mut effects) {
            match effect {
                Effect::Recalled(_, record) => got.push(first_bytes(&record)),
                Effect::RecallDone(number) => done.push(number),
                Effect::Load(first) => loads.push(first),
                _ => {}
            }
        }
        if got.len() == 3 {
            // The oldest go, the one that is being read among them; the newest came too late.
            (41..=50).for_each(|id| effects.extend(apply(&mut queue, large(id))));
            got.push(0);
            loads.clear();
        } else if let Some(first) = loads.pop() {
            effects.extend(apply(&mut queue, Command::ChunkLoaded(first, cold[&first].whole())));
        }
    }
    let expected: Vec<_> = (1..=3).chain([0]).chain(11..=40).collect();
    assert_eq!((got, done), (expected, vec![7]));
}

fn first_bytes(record: &Bytes) -> i32 {
    let (message, _) = batch::read(record).unwrap();
    i32::from_be_bytes(message.body[..4].try_into().unwrap())
}

#[test]
fn noted_ids_are_seen_until_their_time() {
    let mut queue = Queue::new(Options { durable: true, ids_kept: Some(2), ..Options::default() }, 1000);
    let note = |id: u8, is_durable| Command::NoteId([id].into(), 2000, is_durable);
    assert!(matches!(apply(&mut queue, note(1, true))[..], [Effect::LogIds(_)]));
    assert!(apply(&mut queue, note(2, false)).is_empty());
    assert!(queue.has_seen(&[1], 1999) && queue.has_seen(&[2], 1999) && !queue.has_seen(&[1], 2000));
    apply(&mut queue, note(3, true));
    assert!(!queue.has_seen(&[1], 1999));
    apply(&mut queue, Command::Ack(GETTER, vec![]));
}
