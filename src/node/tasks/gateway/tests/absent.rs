//! A gateway without an owner.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::single::{Single, confirms, letter};
use super::world::{QUEUE, batch, client, consumer_spec};
use crate::broker::channel::outgoing::Confirm;
use crate::broker::ids::{Home, Target};
use crate::node::cluster::forward::{Answer, Owner, Reply, Request};
use crate::node::cluster::inputs::GatewayInput;
use crate::node::cluster::peer::LinkState;
use crate::node::links::{ClientInput, ShardInput, Waiter};

#[test]
fn a_question_is_not_left_open_when_there_is_no_majority() {
    let mut single = Single::new(Owner::Group(1), "patience_ms = 100");
    let (reply, mut first) = oneshot::channel();
    single.ask(ShardInput::Stat(QUEUE, reply));
    single.round(399);
    assert!(matches!(first.try_recv(), Err(TryRecvError::Empty)), "there is patience left");
    single.round(1);
    assert!(matches!(first.try_recv(), Err(TryRecvError::Closed)));
    let (reply, mut second) = oneshot::channel();
    single.ask(ShardInput::Stat(QUEUE, reply));
    single.round(0);
    assert!(matches!(second.try_recv(), Err(TryRecvError::Closed)), "nobody waits once more");
}

#[test]
fn whoever_says_no_again_and_again_does_not_renew_patience() {
    let mut single = Single::new(Owner::Group(1), "patience_ms = 1000");
    single.lead(2, 1);
    let (reply, mut answer) = oneshot::channel();
    single.ask(ShardInput::Stat(QUEUE, reply));
    for _ in 0..41 {
        single.round(100);
        for forward in single.forwards(2) {
            single.answer(&forward, vec![Answer::NotOwner]);
        }
    }
    assert!(matches!(answer.try_recv(), Err(TryRecvError::Closed)));
}

#[test]
fn publishers_are_blocked_until_there_is_a_majority() {
    let mut single = Single::new(Owner::Group(1), "patience_ms = 100");
    let watcher = client();
    single.shared.clients.insert(watcher.id, Arc::clone(&watcher));
    single.round(200);
    assert!(!single.shared.resource_alarms.are_on(), "nobody publishes");
    single.publish(0..3);
    single.round(0);
    let reason = single.shared.resource_alarms.reason().unwrap();
    assert!(reason.starts_with("the cluster has no majority for"), "{reason}");
    let mut told = Vec::new();
    single.client.mailbox.take(&mut told);
    assert!(matches!(told.as_slice(), [ClientInput::MajorityMissing]), "{told:?}");
    single.lead(1, 1);
    single.round(0);
    assert!(single.shared.resource_alarms.are_on(), "nobody has said that it leads");
    let forward = single.own_forwards().pop().unwrap();
    single.answer(&forward, vec![Answer::Room(true), Answer::Done(1, 1)]);
    single.round(0);
    assert!(!single.shared.resource_alarms.are_on());
    assert_eq!(confirms(&single.client), [(vec![(0, 3)], true)]);
    let mut told = Vec::new();
    watcher.mailbox.take(&mut told);
    assert!(matches!(told.as_slice(), [ClientInput::AlarmsOver]));
}

#[test]
fn publishes_are_refused_where_that_is_configured() {
    let mut single = Single::new(Owner::Group(1), "patience_ms = 100\nminority = \"nack\"");
    single.publish(0..3);
    single.round(99);
    assert_eq!(confirms(&single.client), []);
    single.round(1);
    assert_eq!(confirms(&single.client), [(vec![(0, 3)], false)]);
    single.publish(3..4);
    single.round(0);
    assert_eq!(confirms(&single.client), [(vec![(3, 1)], false)]);
    assert!(!single.shared.resource_alarms.are_on() && single.queues.has_room());
    // What was refused is not sent to the next owner.
    single.lead(1, 1);
    single.publish(4..5);
    single.round(0);
    let forward = single.own_forwards().remove(0);
    single.answer(&forward, vec![Answer::Room(true)]);
    single.round(0);
    single.publish(5..6);
    single.round(0);
    let last = single.own_forwards().remove(0);
    assert_eq!((last.first, last.items.len()), (last.answered, 1));
}

#[test]
fn what_is_asked_of_a_node_that_is_down_fails_at_once() {
    let mut single = Single::new(Owner::Node(2), "");
    let (reply, mut consuming) = oneshot::channel();
    let spec = Box::new(consumer_spec(8));
    single.ask(ShardInput::Consume(QUEUE, spec, Arc::clone(&single.client), reply));
    single.publish(0..2);
    single.round(0);
    let forward = single.forwards(2).remove(0);
    single.answer(&forward, vec![Answer::Reply(1, Reply::Consume(Ok(()))), Answer::Done(1, 1)]);
    single.round(0);
    assert!(matches!(consuming.try_recv(), Ok(Ok(()))));
    single.cut(2);
    let (reply, mut stat) = oneshot::channel();
    single.ask(ShardInput::Stat(QUEUE, reply));
    single.publish(2..3);
    single.round(0);
    let mut told = Vec::new();
    single.client.mailbox.take(&mut told);
    let refused = |input: &ClientInput, first| matches!(input, ClientInput::Confirmed(confirm, false) if confirm.ranges[0].0 == first);
    assert!(matches!(told[0], ClientInput::ConsumerCancelled(8)));
    assert!(refused(&told[1], 0) && refused(&told[2], 2) && told.len() == 3, "{told:?}");
    assert!(matches!(stat.try_recv(), Err(TryRecvError::Closed)));
    assert!(single.queues.has_room());
}

#[test]
fn dead_letters_wait_for_a_node_that_is_down() {
    let mut single = Single::new(Owner::Node(2), "");
    single.cut(2);
    let (ticket, source) = letter(33);
    let waiter = Waiter::DeadLetters(vec![Some(ticket)]);
    single.ask(ShardInput::Publish(QUEUE, batch(0..1, true), waiter));
    single.round(0);
    assert!(source.is_empty(), "the letter is still in its source");
    single.mend(2);
    single.round(0);
    let forward = single.forwards(2).remove(0);
    assert!(matches!(forward.items[0].request, Request::Publish { letters: true, .. }));
    assert_eq!(forward.first, 1, "a node that was down knows nothing of the session before");
    single.answer(&forward, vec![Answer::Done(1, 1)]);
    single.round(0);
    assert!(!source.is_empty());
}

#[test]
fn a_session_with_a_node_begins_anew_after_the_link_was_down() {
    let mut single = Single::new(Owner::Node(2), "");
    single.publish(0..1);
    single.round(0);
    let before = single.forwards(2).remove(0);
    single.cut(2);
    single.mend(2);
    single.publish(1..2);
    single.round(0);
    let after = single.forwards(2).remove(0);
    assert!(before.session != after.session && after.first == 1);
    // What comes late of the session before says nothing.
    single.answer(&before, vec![Answer::Done(1, 1)]);
    single.round(0);
    assert_eq!(confirms(&single.client), [(vec![(0, 1)], false)]);
}

#[test]
fn connections_that_end_do_not_wait_for_a_new_leader() {
    let mut single = Single::new(Owner::Group(1), "patience_ms = 100000");
    single.lead(2, 1);
    let (reply, mut suspended) = oneshot::channel();
    single.ask(ShardInput::Suspend(QUEUE, 8, reply));
    single.round(0);
    assert!(matches!(suspended.try_recv(), Err(TryRecvError::Empty)));
    single.cut(2);
    single.round(0);
    assert!(matches!(suspended.try_recv(), Ok(())));
    let (reply, mut cancelled) = oneshot::channel();
    single.ask(ShardInput::Cancel(QUEUE, 8, reply));
    single.round(0);
    assert!(matches!(cancelled.try_recv(), Ok(())));
}

#[test]
fn a_node_whose_process_is_gone_is_as_one_whose_link_is_down() {
    let mut single = Single::new(Owner::Node(2), "");
    let confirm = Confirm { channel: 1, epoch: 1, ranges: vec![(0, 1)] };
    let waiter = Waiter::Publisher(Arc::clone(&single.client), confirm);
    single.ask(ShardInput::Publish(QUEUE, batch(0..1, true), waiter));
    single.round(0);
    single.peers.down.lock().unwrap().insert(2);
    single.tell(GatewayInput::Link(2, LinkState::Dead));
    single.round(0);
    assert_eq!(confirms(&single.client), [(vec![(0, 1)], false)]);
}

#[test]
fn dead_letters_stay_where_they_are_when_too_many_wait_for_a_node() {
    let mut single = Single::new(Owner::Node(2), "");
    single.limit_bytes(2000);
    let home = Home::Node(2);
    let shard = single.shared.cluster.as_ref().unwrap().placement.mailbox(home, QUEUE);
    let target = Target { id: QUEUE, shard, durable: true };
    single.cut(2);
    let mut sources = Vec::new();
    while single.shared.takes_letters(target) {
        let (ticket, source) = letter(33);
        sources.push(source);
        let waiter = Waiter::DeadLetters(vec![Some(ticket)]);
        single.ask(ShardInput::Publish(QUEUE, batch(0..1, true), waiter));
        single.round(0);
        assert!(sources.len() < 100, "they wait without an end");
    }
    assert!(sources.len() > 3 && single.queues.has_room(), "publishers hear at once that they are refused");
    single.mend(2);
    single.round(0);
    let forward = single.forwards(2).remove(0);
    single.answer(&forward, vec![Answer::Done(1, sources.len() as u64)]);
    single.round(0);
    assert!(single.shared.takes_letters(target) && sources.iter().all(|source| !source.is_empty()));
}

#[test]
fn letters_keep_their_number_when_another_node_leads() {
    let mut single = Single::new(Owner::Group(1), "");
    single.lead(2, 1);
    let (ticket, source) = letter(33);
    single.ask(ShardInput::Stat(QUEUE, oneshot::channel().0));
    single.ask(ShardInput::Publish(QUEUE, batch(0..1, true), Waiter::DeadLetters(vec![Some(ticket)])));
    single.round(0);
    single.forwards(2);
    single.lead(3, 2);
    single.round(0);
    let forward = single.forwards(3).remove(0);
    let at = forward.items.iter().position(|item| matches!(item.request, Request::Publish { .. })).unwrap();
    assert_eq!(forward.first + at as u64, 2);
    single.answer(&forward, vec![Answer::Done(2, 2)]);
    single.round(0);
    assert!(!source.is_empty());
}
