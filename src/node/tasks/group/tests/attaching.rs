//! Consumers that come back to a new leader, and others that would like to be in front of them.

use super::world::{self, Session, World, consume, publish};
use crate::broker::ids::{NodeId, QueueId};
use crate::node::cluster::forward::{Answer, Consumer, Reply, Request};
use crate::node::cluster::inputs::GroupInput;
use crate::node::cluster::peer::LinkState;
use crate::node::links::NotConsuming;

fn exclusive(id: u64, is_back: bool) -> Request {
    let Request::Consume(consumer) = consume(id, is_back) else { unreachable!() };
    Request::Consume(Consumer { exclusive: true, ..consumer })
}

/// What a node was told of its consumers.
fn taken(world: &World, node: NodeId) -> Vec<Result<(), NotConsuming>> {
    let replies = world.told.get(&node).into_iter().flatten().filter_map(|answer| match answer {
        Answer::Reply(_, Reply::Consume(taken)) => Some(*taken),
        _ => None,
    });
    replies.collect()
}

/// An exclusive consumer of a node whose gateway is slow, and another node; the leader is gone.
fn without_its_leader() -> (World, QueueId, NodeId, Session, Session) {
    let mut world = World::new();
    let queue = world.declare("q");
    let leader = world.leader();
    let others: Vec<_> = world::NODES.into_iter().filter(|node| *node != leader).collect();
    let (mut old, mut new) = (Session::new(others[0]), Session::new(others[1]));
    old.ask(&world, leader, queue, exclusive(5, false));
    world.pass(300);
    assert!(matches!(taken(&world, old.node)[..], [Ok(())]));
    old.hear(&world);
    world.told.clear();
    world.shy.insert(old.node);
    world.kill(leader);
    let next = world.leader_but(&[leader]);
    (old.attempt, new.attempt) = (2, 2);
    new.ask(&world, next, queue, exclusive(6, false));
    world.pass(500);
    assert!(taken(&world, new.node).is_empty(), "the old one may come back");
    (world, queue, next, old, new)
}

#[test]
fn an_exclusive_consumer_that_comes_back_finds_its_place() {
    let (mut world, queue, leader, mut old, mut new) = without_its_leader();
    old.ask(&world, leader, queue, exclusive(5, true));
    world.pass(100);
    assert!(matches!(taken(&world, old.node)[..], [Ok(())]));
    assert!(matches!(taken(&world, new.node)[..], [Err(NotConsuming::Exclusive)]));
    new.ask(&world, leader, queue, publish(&["a"]));
    world.pass(100);
    assert_eq!(world::delivered(&world.told[&old.node]).len(), 1);
    assert!(world::delivered(&world.told[&new.node]).is_empty());
}

#[test]
fn nobody_waits_for_ever_for_consumers_that_do_not_come_back() {
    let (mut world, queue, leader, mut old, new) = without_its_leader();
    world.pass(5_000);
    assert!(matches!(taken(&world, new.node)[..], [Ok(())]));
    old.ask(&world, leader, queue, exclusive(5, true));
    world.pass(100);
    assert!(matches!(taken(&world, old.node)[..], [Err(NotConsuming::Exclusive)]), "two are not let in");
}

#[test]
fn a_node_that_goes_away_is_not_waited_for() {
    let (mut world, _, leader, old, new) = without_its_leader();
    if old.node == leader {
        // It cannot miss itself.
        return;
    }
    world.tell(leader, GroupInput::Link(old.node, LinkState::Down));
    world.pass(50);
    assert!(matches!(taken(&world, new.node)[..], [Ok(())]));
}
