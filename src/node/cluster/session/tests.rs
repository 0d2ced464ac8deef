//! Sessions at a group's leader, as far as a node's shards do not show it (`tasks/serving`).

use bytes::Bytes;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::one::TAKEN_BYTES_MAX;
use super::{SessionTable, Sessions};
use crate::broker::batch::{self, Batch, Message};
use crate::broker::ids::QueueId;
use crate::broker::queue::{Delivery, Entry};
use crate::node::cluster::forward::{Answer, Consumer, Forward, Item, Owner, Request, Settle};
use crate::node::links::{ClientInput, DeadLetterTicket, ShardInput, Waiter};

fn publish() -> Request {
    let mut records = Vec::new();
    Message { body: b"one", persistent: true, ..Message::default() }.put(&mut records);
    Request::Publish { batch: Batch::of(records, 1, 1), letters: false }
}

fn settle() -> Request {
    Request::Settle { consumer: 1, how: Settle::Ack, ranges: vec![(1, 1)] }
}

fn forward(attempt: u64, answered: u64, first: u64, requests: Vec<Request>) -> Forward {
    let items = requests.into_iter().map(|request| Item { queue: QueueId(5), request }).collect();
    let (session, from, owner, meta_index, back_below) = (70, 2, Owner::Group(1), 0, 0);
    Forward { session, from, owner, attempt, answered, meta_index, first, back_below, items }
}

fn take(sessions: &mut Sessions) -> Vec<ShardInput> {
    let mut inputs = Vec::new();
    sessions.take(0, &mut |input| inputs.push(input));
    inputs
}

fn answers(sessions: &mut Sessions, synced: u64) -> Vec<Answer> {
    let mut out = Vec::new();
    sessions.answers(synced, &mut out);
    let all = out.into_iter().flat_map(|(_, answers)| answers.answers);
    all.filter(|answer| !matches!(answer, Answer::Room(true))).collect()
}

#[test]
fn what_left_no_answer_of_its_own_is_done_when_the_log_has_it() {
    let mut sessions = Sessions::new(Owner::Group(1), SessionTable::default());
    sessions.forward(forward(1, 1, 1, vec![settle(), settle()]));
    assert_eq!(take(&mut sessions).len(), 2);
    sessions.logged(7);
    assert!(answers(&mut sessions, 6).is_empty());
    assert!(matches!(answers(&mut sessions, 7)[..], [Answer::Done(1, 2)]));
}

#[test]
fn a_refusal_is_told_again_by_the_next_leader() {
    let mut first = Sessions::new(Owner::Group(1), SessionTable::default());
    first.forward(forward(1, 1, 1, vec![publish(), publish()]));
    for input in take(&mut first) {
        let ShardInput::Publish(_, _, Waiter::Publisher(client, confirm)) = input else { panic!() };
        let refuses = confirm.ranges[0].0 == 0;
        client.mailbox.push(ClientInput::Confirmed(confirm, !refuses));
    }
    let marks = first.marks().unwrap();
    assert_eq!(first.marks(), None, "nothing new was taken");
    let mut table = SessionTable::default();
    table.apply(&marks).unwrap();
    let mut next = Sessions::new(Owner::Group(1), SessionTable::decode(&table.encode()).unwrap());
    next.forward(forward(2, 1, 1, vec![publish(), publish()]));
    assert!(take(&mut next).is_empty());
    let told = answers(&mut next, 0);
    assert!(
        matches!(&told[..], [Answer::Refused(1, places), Answer::Done(1, 2)] if *places == [(0, 1)]),
        "{told:?}"
    );
}

#[test]
fn questions_leave_no_mark_and_are_no_gap_for_the_next_leader() {
    let mut first = Sessions::new(Owner::Group(1), SessionTable::default());
    first.forward(forward(1, 1, 1, vec![Request::Stat, Request::Credit(1, 1)]));
    assert_eq!((take(&mut first).len(), first.marks()), (2, None));
    let mut next = Sessions::new(Owner::Group(1), SessionTable::default());
    next.forward(forward(2, 3, 3, vec![publish()]));
    assert_eq!(take(&mut next).len(), 1);
}

#[test]
fn what_is_on_its_way_to_a_new_leader_from_before_takes_no_number() {
    let mut next = Sessions::new(Owner::Group(1), SessionTable::default());
    // Numbers 1 to 4 went to the leader before, who lost them.
    next.forward(forward(1, 1, 5, vec![publish()]));
    assert!(take(&mut next).is_empty());
    assert!(matches!(answers(&mut next, 0)[..], [Answer::Expects(1)]));
    next.forward(forward(2, 1, 1, vec![publish()]));
    assert_eq!(take(&mut next).len(), 1);
    // What comes late of an attempt is dropped.
    next.forward(forward(1, 1, 2, vec![publish()]));
    assert!(take(&mut next).is_empty());
}

#[test]
fn a_new_run_of_a_node_begins_with_the_first_number() {
    let mut sessions = Sessions::new(Owner::Group(1), SessionTable::default());
    sessions.forward(forward(1, 1, 1, vec![settle(), settle()]));
    assert_eq!(take(&mut sessions).len(), 2);
    sessions.logged(1);
    sessions.forward(Forward { session: 71, ..forward(1, 1, 1, vec![settle()]) });
    assert_eq!(take(&mut sessions).len(), 1);
    sessions.logged(2);
    assert!(matches!(answers(&mut sessions, 2)[..], [Answer::Done(1, 1)]));
}

#[test]
fn what_comes_all_at_once_is_taken_piece_by_piece() {
    let mut sessions = Sessions::new(Owner::Group(1), SessionTable::default());
    let large = || {
        let mut records = Vec::new();
        Message { body: &vec![0; TAKEN_BYTES_MAX / 2], persistent: true, ..Message::default() }
            .put(&mut records);
        Request::Publish { batch: Batch::of(records, 1, 1), letters: false }
    };
    (1..=5).for_each(|first| sessions.forward(forward(1, 1, first, vec![large()])));
    let taken = [0; 3].map(|_| (take(&mut sessions).len(), sessions.by_node[&2].has_more));
    assert_eq!(taken, [(2, true), (2, true), (1, false)]);
}

#[test]
fn all_sessions_hear_when_a_lead_ends() {
    let mut sessions = Sessions::new(Owner::Group(1), SessionTable::default());
    sessions.forward(forward(3, 1, 1, vec![settle()]));
    take(&mut sessions);
    let mut out = Vec::new();
    sessions.give_up(&mut out);
    assert_eq!(out.len(), 1);
    assert_eq!((out[0].0, out[0].1.attempt), (2, 3));
    assert!(matches!(out[0].1.answers[..], [Answer::NotOwner]));
}

/// A consumer with the number 1 that has been given messages 1 to 3.
fn with_a_consumer(owner: Owner) -> Sessions {
    let mut sessions = Sessions::new(owner, SessionTable::default());
    let consumer = Consumer {
        id: 1,
        no_ack: false,
        exclusive: false,
        prefetch: 0,
        priority: 0,
        window_bytes: 9,
        is_back: false,
        was_served: false,
    };
    sessions.forward(Forward { owner, ..forward(1, 1, 1, vec![Request::Consume(consumer)]) });
    let Some(ShardInput::Consume(_, _, client, reply)) = take(&mut sessions).pop() else { panic!() };
    reply.send(Ok(())).unwrap();
    let entry = |seq| Entry { seq, offset: 0, redelivered: false, returns: 0 };
    let entries = (1..4).map(entry).collect();
    client.mailbox.push(ClientInput::Deliver(Delivery { consumer: 1, data: Bytes::new(), entries }));
    assert!(answers(&mut sessions, 0).iter().any(|answer| matches!(answer, Answer::Deliver(_))));
    sessions
}

fn settled(owner: Owner, how: Settle, first: u64, count: u64) -> Vec<String> {
    let mut sessions = with_a_consumer(owner);
    let settle = Request::Settle { consumer: 1, how, ranges: vec![(first, count)] };
    sessions.forward(Forward { owner, ..forward(1, 2, 2, vec![settle]) });
    let command = |input| match input {
        ShardInput::Command(_, command) => format!("{command:?}"),
        _ => panic!(),
    };
    take(&mut sessions).into_iter().map(command).collect()
}

#[test]
fn what_a_consumer_does_not_hold_is_settled_on_nobodys_account() {
    let group = Owner::Group(1);
    assert_eq!(settled(group, Settle::Ack, 2, 2), ["Ack(1, [(2, 2)])"]);
    assert_eq!(settled(group, Settle::Ack, 2, 4), ["Ack(1, [(2, 2)])", "Ack(0, [(4, 2)])"]);
    assert_eq!(settled(group, Settle::Reject, 7, 1), ["Reject(0, [(7, 1)])"]);
}

#[test]
fn what_a_consumer_does_not_hold_has_come_back_already() {
    let group = Owner::Group(1);
    assert_eq!(settled(group, Settle::Requeue, 2, 4), ["Requeue(1, [(2, 2)])"]);
    assert_eq!(settled(group, Settle::Fail, 7, 1), [""; 0]);
}

#[test]
fn a_node_does_not_take_from_others_what_a_consumer_no_longer_holds() {
    assert_eq!(settled(Owner::Node(1), Settle::Ack, 2, 4), ["Ack(1, [(2, 2)])"]);
    assert_eq!(settled(Owner::Node(1), Settle::Ack, 7, 1), [""; 0]);
}

fn letters(bodies: &[&[u8]]) -> Request {
    let mut records = Vec::new();
    for body in bodies {
        Message { body, persistent: true, ..Message::default() }.put(&mut records);
    }
    let count = u32::try_from(bodies.len()).unwrap();
    Request::Publish { batch: Batch::of(records, count, count), letters: true }
}

fn bodies(batch: &Batch) -> Vec<Vec<u8>> {
    let (mut bodies, mut records) = (Vec::new(), &batch.records[..]);
    while let Some((message, length)) = batch::read(records) {
        bodies.push(message.body.to_vec());
        records = &records[length..];
    }
    bodies
}

/// The only publish of letters that is handed over.
fn taken_letters(sessions: &mut Sessions) -> (Batch, Vec<Arc<DeadLetterTicket>>) {
    let mut inputs = take(sessions);
    assert_eq!(inputs.len(), 1);
    let Some(ShardInput::Publish(_, batch, Waiter::DeadLetters(tickets))) = inputs.pop() else { panic!() };
    (batch, tickets.into_iter().flatten().collect())
}

/// A new leader that knows what these marks say.
fn next(marks: &[Vec<u8>]) -> Sessions {
    let mut table = SessionTable::default();
    marks.iter().for_each(|mark| table.apply(mark).unwrap());
    Sessions::new(Owner::Group(1), SessionTable::decode(&table.encode()).unwrap())
}

#[test]
fn letters_that_a_queue_has_are_not_taken_in_again_by_the_next_leader() {
    let mut first = Sessions::new(Owner::Group(1), SessionTable::default());
    let asked = || vec![letters(&[b"a", b"b"])];
    first.forward(forward(1, 1, 1, asked()));
    let (_, tickets) = taken_letters(&mut first);
    let marks = first.marks().unwrap();
    assert!(answers(&mut first, 9).is_empty(), "they are not safe yet");
    drop(tickets);
    let mut next = next(&[marks]);
    next.forward(forward(2, 1, 1, asked()));
    assert!(take(&mut next).is_empty());
    assert!(matches!(answers(&mut next, 0)[..], [Answer::Done(1, 1)]));
}

#[test]
fn letters_for_which_there_was_no_place_are_sent_on_again_and_no_others() {
    let mut first = Sessions::new(Owner::Group(1), SessionTable::default());
    let asked = || vec![letters(&[b"a", b"b", b"c", b"d"])];
    first.forward(forward(1, 1, 1, asked()));
    let (_, tickets) = taken_letters(&mut first);
    for ticket in [&tickets[1], &tickets[3]] {
        ticket.is_let_go.store(true, Ordering::Release);
    }
    let first_marks = first.marks().unwrap();
    let mut second = next(std::slice::from_ref(&first_marks));
    second.forward(forward(2, 1, 1, asked()));
    let (batch, tickets) = taken_letters(&mut second);
    assert_eq!(bodies(&batch), [b"b", b"d"]);
    assert_eq!((batch.count, batch.persistent), (2, 2));
    // The queue has room for one of them by now.
    tickets[1].is_let_go.store(true, Ordering::Release);
    let second_marks = second.marks().unwrap();
    let mut third = next(&[first_marks.clone(), second_marks.clone()]);
    third.forward(forward(3, 1, 1, asked()));
    let (batch, tickets) = taken_letters(&mut third);
    assert_eq!(bodies(&batch), [b"d"]);
    tickets.iter().for_each(|ticket| ticket.done());
    let third_marks = third.marks().unwrap();
    assert!(matches!(answers(&mut third, 0)[..], [Answer::Done(1, 1)]));
    let mut last = next(&[first_marks, second_marks, third_marks]);
    last.forward(forward(4, 1, 1, asked()));
    assert!(take(&mut last).is_empty());
    assert!(matches!(answers(&mut last, 0)[..], [Answer::Done(1, 1)]));
}
