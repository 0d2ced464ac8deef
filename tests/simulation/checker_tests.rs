//! The checker on histories made up: good ones pass, each kind of a bad one is seen.

use super::checker::check;
use super::history::{Fact, History, MessageId};
use crate::broker::ids::QueueId;

const QUEUE: QueueId = QueueId(1);
const LETTERS: QueueId = QueueId(2);

fn message(number: u32) -> MessageId {
    MessageId { publisher: 1, number, attempt: 0 }
}

fn sent(number: u32) -> Fact {
    Fact::Sent { message: message(number), queue: QUEUE, connection: 1 }
}

fn delivered(number: u32, seq: u64, redelivered: bool) -> Fact {
    Fact::Delivered {
        message: message(number),
        place: (QUEUE, seq),
        consumer: 5,
        emitted_us: 1_000,
        redelivered,
    }
}

fn problems(facts: impl IntoIterator<Item = Fact>) -> String {
    let facts = facts.into_iter().enumerate().map(|(at, fact)| (at as u64, fact)).collect();
    let letters_to = [(QUEUE, LETTERS)].into();
    check(&History { facts, letters_to }).join("; ")
}

#[track_caller]
fn is_seen(facts: impl IntoIterator<Item = Fact>, expected: &str) {
    let problems = problems(facts);
    assert!(problems.contains(expected), "'{problems}' does not say '{expected}'");
}

#[test]
fn a_good_history_passes() {
    let again = Fact::Sent { message: MessageId { attempt: 1, ..message(3) }, queue: QUEUE, connection: 2 };
    let facts = [
        sent(1),
        sent(2),
        sent(3),
        Fact::Confirmed(message(1)),
        delivered(1, 10, false),
        delivered(2, 11, false),
        Fact::AckSent((QUEUE, 10)),
        Fact::AckDone((QUEUE, 10)),
        delivered(2, 11, true),
        Fact::Refused(message(3)),
        again,
        Fact::AckSent((QUEUE, 11)),
        Fact::Confirmed(message(2)),
        Fact::Leads { group: 1, term: 4, node: 1 },
        Fact::Emitted { group: 1, term: 4, node: 1 },
        Fact::Leads { group: 1, term: 5, node: 2 },
        Fact::Emitted { group: 1, term: 5, node: 2 },
        Fact::Left { queue: QUEUE, ready: 0, unacked: 0 },
    ];
    assert_eq!(problems(facts), "");
}

#[test]
fn a_confirmed_message_that_nobody_got_is_lost() {
    is_seen([sent(1), Fact::Confirmed(message(1))], "is lost");
    is_seen([sent(1), Fact::Confirmed(message(1)), delivered(1, 1, false)], "is lost");
    assert_eq!(problems([sent(1)]), "");
}

#[test]
fn a_purge_excuses_what_was_sent_before_it_ended_only() {
    let (begun, done) = (Fact::PurgeBegun(QUEUE), Fact::PurgeDone(QUEUE));
    let confirmed = Fact::Confirmed(message(1));
    assert_eq!(problems([sent(1), confirmed.clone(), begun.clone(), done.clone()]), "");
    assert_eq!(problems([begun.clone(), sent(1), confirmed.clone(), done.clone()]), "");
    assert_eq!(problems([begun.clone(), sent(1), confirmed.clone()]), "");
    is_seen([begun, done, sent(1), confirmed], "is lost");
}

#[test]
fn what_is_acknowledged_for_good_must_not_come_back() {
    let begin = [sent(1), delivered(1, 1, false), Fact::AckSent((QUEUE, 1))];
    assert_eq!(problems(begin.clone().into_iter().chain([delivered(1, 1, true)])), "");
    let done = begin.into_iter().chain([Fact::AckDone((QUEUE, 1)), delivered(1, 1, true)]);
    is_seen(done, "acknowledged for good");
}

#[test]
fn a_batch_that_was_applied_twice_is_seen() {
    is_seen([sent(1), delivered(1, 1, false), delivered(1, 2, false)], "is there twice");
    is_seen([sent(1), sent(2), delivered(1, 1, false), delivered(2, 1, true)], "and then");
    is_seen([sent(1), delivered(1, 1, false), delivered(1, 1, false)], "as new twice");
    is_seen([delivered(1, 1, false)], "went to None");
}

#[test]
fn the_wrong_order_is_seen() {
    let crossed = [sent(1), sent(2), delivered(2, 1, true), delivered(1, 2, true)];
    is_seen(crossed, "stands behind");
    let to_consumer = [sent(1), sent(2), delivered(2, 2, false), delivered(1, 1, false)];
    is_seen(to_consumer, "as new behind");
    let other = Fact::Sent { message: message(2), queue: QUEUE, connection: 2 };
    assert_eq!(problems([sent(1), other, delivered(2, 1, true), delivered(1, 2, true)]), "");
}

#[test]
fn two_owners_are_seen() {
    let leads = |term, node| Fact::Leads { group: 1, term, node };
    is_seen([leads(3, 1), leads(3, 2)], "two leaders in term 3");
    let emitted = |term, node| Fact::Emitted { group: 1, term, node };
    is_seen([emitted(3, 1), emitted(4, 2), emitted(3, 1)], "after node 2 had in term 4");
}

#[test]
fn contradictions_and_leftovers_are_seen() {
    is_seen([sent(1), Fact::Refused(message(1)), Fact::Confirmed(message(1))], "refused and confirmed");
    is_seen([sent(1), Fact::Confirmed(message(1)), Fact::Refused(message(1))], "confirmed and refused");
    is_seen([Fact::Left { queue: QUEUE, ready: 1, unacked: 0 }], "still counts 1 ready");
}

#[test]
fn a_dead_letter_is_not_lost_as_long_as_somebody_gets_it() {
    let Fact::Delivered { message: id, consumer, emitted_us, .. } = delivered(1, 1, false) else { panic!() };
    let letter = |queue, seq| Fact::Delivered {
        message: id,
        place: (queue, seq),
        consumer,
        emitted_us,
        redelivered: false,
    };
    let begin = [sent(1), Fact::Confirmed(message(1)), letter(LETTERS, 7), letter(LETTERS, 8)];
    is_seen(begin.clone(), "is lost");
    assert_eq!(problems(begin.into_iter().chain([Fact::AckSent((LETTERS, 8))])), "");
    is_seen([sent(1), letter(QueueId(3), 1)], "went to");
}

#[test]
fn what_was_given_to_a_consumer_that_need_not_acknowledge_may_be_gone() {
    assert_eq!(problems([sent(1), Fact::Confirmed(message(1)), Fact::GivenAway(message(1))]), "");
}

#[test]
fn order_is_that_of_each_priority() {
    let urgent = 3 << 56;
    let facts = [sent(1), sent(2), delivered(1, urgent | 1, false), delivered(2, 1, false)];
    assert_eq!(problems(facts), "");
}
