//! A gateway that must find out who leads.

use tokio::sync::oneshot;

use super::single::{Single, confirms};
use super::world::QUEUE;
use crate::node::cluster::forward::{Answer, Owner, Request};
use crate::node::links::ShardInput;

#[test]
fn a_gateway_that_nobody_told_who_leads_asks_one_node_after_the_other() {
    let mut single = Single::new(Owner::Group(1), "");
    single.publish(0..2);
    single.round(199);
    assert!(single.own_forwards().is_empty() && single.forwards(2).is_empty(), "it may still be told");
    single.round(1);
    let hello = single.own_forwards().remove(0);
    assert!(hello.items.is_empty(), "messages are for who says that it leads");
    single.answer(&hello, vec![Answer::NotOwner]);
    single.round(0);
    single.round(199);
    assert!(single.forwards(2).is_empty());
    single.round(1);
    let unanswered = single.forwards(2).remove(0);
    single.round(200);
    let hello = single.forwards(3).remove(0);
    assert!(unanswered.attempt < hello.attempt);
    single.answer(&unanswered, vec![Answer::Room(true)]);
    single.round(0);
    assert!(single.forwards(2).is_empty(), "that came too late");
    single.answer(&hello, vec![Answer::Room(true)]);
    single.round(0);
    let forward = single.forwards(3).remove(0);
    assert_eq!((forward.attempt, forward.first, forward.items.len()), (hello.attempt, 1, 1));
    single.answer(&forward, vec![Answer::Done(1, 1)]);
    single.round(10_000);
    assert_eq!(confirms(&single.client), [(vec![(0, 2)], true)]);
    assert!(single.own_forwards().is_empty() && single.forwards(2).is_empty(), "it is found");
}

#[test]
fn who_says_that_it_leads_is_asked_at_once_whoever_was_asked_before() {
    let mut single = Single::new(Owner::Group(1), "");
    single.publish(0..2);
    single.round(200);
    let guess = single.own_forwards().remove(0);
    single.lead(1, 7);
    single.round(0);
    let told = single.own_forwards().remove(0);
    assert_eq!((told.attempt, told.items.len()), (guess.attempt + 1, 1));
}

#[test]
fn a_leader_from_whom_no_answer_comes_is_looked_for_elsewhere() {
    let mut single = Single::new(Owner::Group(1), "");
    single.lead(3, 4);
    let (reply, _answer) = oneshot::channel();
    single.ask(ShardInput::Stat(QUEUE, reply));
    single.publish(0..1);
    single.round(0);
    assert_eq!(single.forwards(3).remove(0).items.len(), 2);
    single.round(1999);
    assert!(single.own_forwards().is_empty());
    single.round(1);
    let hello = single.own_forwards().remove(0);
    single.answer(&hello, vec![Answer::Room(true)]);
    single.round(0);
    let again = single.own_forwards().remove(0);
    assert!(again.items.iter().any(|item| matches!(item.request, Request::Stat)));
    assert!(matches!(again.items[0].request, Request::Nothing | Request::Publish { .. }));
    assert!(again.items.iter().any(|item| matches!(item.request, Request::Publish { .. })));
}

#[test]
fn a_leader_that_was_told_of_and_answers_is_left_in_peace() {
    let mut single = Single::new(Owner::Group(1), "");
    single.lead(3, 4);
    single.round(0);
    let hello = single.forwards(3).remove(0);
    single.answer(&hello, vec![Answer::Room(true)]);
    single.round(60_000);
    assert!(single.forwards(3).is_empty() && single.own_forwards().is_empty());
    assert!(!single.shared.resource_alarms.are_on());
}
