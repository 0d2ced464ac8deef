//! Consumers that end before their owner has said that it takes them.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::sync::oneshot::Receiver;
use tokio::sync::oneshot::error::TryRecvError;

use super::single::Single;
use super::world::{QUEUE, batch, consumer_spec};
use crate::broker::queue::{Delivery, Entry, GetReply};
use crate::node::cluster::forward::{Answer, Forward, Owner, Reply, Request, Settle};
use crate::node::links::{ClientInput, NotConsuming, ShardInput};

fn consume(single: &Single) -> Receiver<Result<(), NotConsuming>> {
    let (reply, answer) = oneshot::channel();
    let (spec, client) = (Box::new(consumer_spec(8)), Arc::clone(&single.client));
    single.ask(ShardInput::Consume(QUEUE, spec, client, reply));
    answer
}

fn delivery() -> Answer {
    let entries = vec![Entry { seq: 44, offset: 0, redelivered: false, returns: 0 }];
    Answer::Deliver(Delivery { consumer: 8, data: batch(0..1, true).records, entries })
}

fn told(single: &Single) -> Vec<u64> {
    let mut told = Vec::new();
    single.client.mailbox.take(&mut told);
    let deliveries = told.into_iter().filter_map(|input| match input {
        ClientInput::Deliver(delivery) => Some(delivery.entries[0].seq),
        _ => None,
    });
    deliveries.collect()
}

fn requests(single: &Single) -> Vec<Request> {
    single.forwards(2).into_iter().flat_map(|forward| forward.items).map(|item| item.request).collect()
}

#[test]
fn a_consumer_that_ends_while_there_is_no_owner_never_begins() {
    let mut single = Single::new(Owner::Group(1), "");
    let mut taken = consume(&single);
    single.round(0);
    let (reply, mut suspended) = oneshot::channel();
    single.ask(ShardInput::Suspend(QUEUE, 8, reply));
    single.round(0);
    assert!(suspended.try_recv().is_ok() && taken.try_recv().is_err());
    let (reply, mut ended) = oneshot::channel();
    single.ask(ShardInput::Cancel(QUEUE, 8, reply));
    single.lead(2, 1);
    single.round(0);
    single.round(0);
    let asked = requests(&single);
    assert!(!asked.iter().any(|request| matches!(request, Request::Consume(_))), "{asked:?}");
    assert!(ended.try_recv().is_ok() || asked.iter().any(|request| matches!(request, Request::Cancel(8))));
}

#[test]
fn what_a_client_was_given_that_is_gone_before_it_knows_goes_back() {
    let mut single = Single::new(Owner::Group(1), "");
    single.lead(2, 1);
    drop(consume(&single));
    single.round(0);
    let forward = single.forwards(2).remove(0);
    single.answer(&forward, vec![delivery(), Answer::Reply(1, Reply::Consume(Ok(()))), Answer::Done(1, 1)]);
    single.round(0);
    assert!(told(&single).is_empty());
    let asked = requests(&single);
    let Request::Settle { consumer: 8, how: Settle::Requeue, ranges } = &asked[0] else {
        panic!("{asked:?}")
    };
    assert_eq!(*ranges, [(44, 1)]);
    assert!(matches!(asked[1], Request::Cancel(8)));
}

#[test]
fn a_client_is_given_what_came_before_it_knew_that_its_consumer_begins() {
    let mut single = Single::new(Owner::Group(1), "");
    single.lead(2, 1);
    let mut taken = consume(&single);
    single.round(0);
    let forward = single.forwards(2).remove(0);
    single.answer(&forward, vec![delivery()]);
    single.round(0);
    assert!(told(&single).is_empty());
    single.answer(&forward, vec![Answer::Reply(1, Reply::Consume(Ok(()))), Answer::Done(1, 1)]);
    single.round(0);
    assert!(matches!(taken.try_recv(), Ok(Ok(()))));
    assert_eq!(told(&single), [44]);
}

#[test]
fn what_came_of_an_attempt_that_is_over_does_not_come_twice() {
    let mut single = Single::new(Owner::Group(1), "");
    single.lead(2, 1);
    let _taken = consume(&single);
    single.round(0);
    let forward = single.forwards(2).remove(0);
    single.answer(&forward, vec![delivery()]);
    single.lead(2, 2);
    single.round(0);
    let forward = single.forwards(2).pop().unwrap();
    single.answer(&forward, vec![delivery(), Answer::Reply(2, Reply::Consume(Ok(()))), Answer::Done(1, 2)]);
    single.round(0);
    assert_eq!(told(&single), [44]);
}

/// There is an owner just before patience is over.
fn late(single: &mut Single) {
    single.round(11_000);
    single.lead(2, 3);
    single.round(0);
    single.forwards(2);
}

/// It is asked, and does not answer in time.
fn without_an_answer(single: &mut Single) -> Forward {
    single.round(0);
    let forward = single.forwards(2).remove(0);
    single.round(1000);
    forward
}

#[test]
fn a_message_that_comes_when_nobody_has_patience_any_more_goes_back() {
    let mut single = Single::new(Owner::Group(1), "");
    late(&mut single);
    let (reply, mut got) = oneshot::channel();
    single.ask(ShardInput::Get(QUEUE, false, reply));
    let forward = without_an_answer(&mut single);
    assert!(matches!(got.try_recv(), Err(TryRecvError::Closed)));
    let message = GetReply::Message {
        seq: 44,
        record: batch(0..1, true).records,
        redelivered: false,
        returns: 0,
        ready: 0,
    };
    single.answer(&forward, vec![Answer::Reply(1, Reply::Get(Some(message))), Answer::Done(1, 1)]);
    single.round(0);
    let asked = requests(&single);
    let Request::Settle { how: Settle::Requeue, ranges, .. } = &asked[0] else { panic!("{asked:?}") };
    assert_eq!(*ranges, [(44, 1)]);
}

#[test]
fn a_consumer_that_is_taken_when_nobody_has_patience_any_more_ends() {
    let mut single = Single::new(Owner::Group(1), "");
    late(&mut single);
    let mut taken = consume(&single);
    let forward = without_an_answer(&mut single);
    assert!(matches!(taken.try_recv(), Err(TryRecvError::Closed)));
    single.answer(&forward, vec![delivery(), Answer::Reply(1, Reply::Consume(Ok(()))), Answer::Done(1, 1)]);
    single.round(0);
    assert!(told(&single).is_empty());
    let asked = requests(&single);
    assert!(
        matches!(asked[..], [Request::Settle { how: Settle::Requeue, .. }, Request::Cancel(8)]),
        "{asked:?}"
    );
}

#[test]
fn what_comes_for_a_consumer_whose_end_nobody_waits_for_any_more_goes_back() {
    let mut single = Single::new(Owner::Group(1), "");
    single.lead(2, 1);
    let _taken = consume(&single);
    single.round(0);
    let begun = single.forwards(2).remove(0);
    single.answer(&begun, vec![Answer::Reply(1, Reply::Consume(Ok(()))), Answer::Done(1, 1)]);
    single.round(0);
    // Its owner falls silent.
    single.lead(0, 2);
    single.round(0);
    late(&mut single);
    let (reply, mut suspended) = oneshot::channel();
    single.ask(ShardInput::Suspend(QUEUE, 8, reply));
    let forward = without_an_answer(&mut single);
    assert!(suspended.try_recv().is_ok());
    let (reply, _ended) = oneshot::channel();
    single.ask(ShardInput::Cancel(QUEUE, 8, reply));
    single.round(0);
    single.forwards(2);
    single.answer(&forward, vec![delivery(), Answer::Reply(3, Reply::Unit), Answer::Done(2, 3)]);
    single.round(0);
    assert!(told(&single).is_empty());
    let asked = requests(&single);
    assert!(matches!(asked[..], [Request::Settle { how: Settle::Requeue, .. }]), "{asked:?}");
}

#[test]
fn a_question_that_nobody_waits_for_is_not_asked_again() {
    let mut single = Single::new(Owner::Group(1), "");
    late(&mut single);
    let taken = consume(&single);
    let (reply, got) = oneshot::channel();
    single.ask(ShardInput::Get(QUEUE, false, reply));
    without_an_answer(&mut single);
    drop((taken, got));
    single.lead(3, 4);
    single.round(0);
    assert!(single.forwards(3).iter().all(|forward| forward.items.is_empty()));
}
