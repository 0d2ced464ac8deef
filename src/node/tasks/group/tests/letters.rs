//! Dead letters of a group's queues for queues elsewhere.

use std::sync::Arc;

use super::alive;
use super::world::{Session, World, consume, declare, publish, settle};
use crate::broker::topology::Command;
use crate::node::cluster::forward::Settle;
use crate::node::links::{ShardInput, Waiter};

#[test]
fn dead_letters_stay_in_their_queue_as_long_as_there_is_no_room_on_their_way() {
    let mut world = World::new();
    let arguments = [("x-dead-letter-exchange", ""), ("x-dead-letter-routing-key", "target")];
    let queue = world.declare_with("q", &arguments);
    let leader = world.leader();
    let shared = Arc::clone(&world.nodes[&leader].task.shared);
    let target = {
        let mut topology = shared.topology_mut();
        topology.apply(Command::CreateVhost { name: "/".to_owned() }).unwrap();
        topology.apply(declare("target", &[])).unwrap().queue.unwrap().target()
    };
    let cluster = Arc::clone(shared.cluster.as_ref().unwrap());
    cluster.set_full_of_letters(target.shard, true);
    let mut session = Session::new(leader);
    session.ask(&world, leader, queue, consume(5, false));
    session.ask(&world, leader, queue, publish(&["a", "b", "c"]));
    world.pass(500);
    let got = super::world::delivered(&world.told[&leader]);
    session.ask(&world, leader, queue, settle(5, Settle::Reject, &[(got[0].0, 3)]));
    world.pass(500);
    assert!(shared.shard(target).is_empty(), "there is no room");
    assert_eq!(alive(&mut world, queue), 3);
    cluster.set_full_of_letters(target.shard, false);
    world.pass(100);
    let mut sent = Vec::new();
    shared.shard(target).take(&mut sent);
    let mut count = 0;
    for input in sent {
        let ShardInput::Publish(_, batch, Waiter::DeadLetters(tickets)) = input else { panic!("{input:?}") };
        count += batch.count;
        tickets.iter().flatten().for_each(|ticket| ticket.done());
    }
    assert_eq!(count, 3, "each is sent once");
    assert_eq!(alive(&mut world, queue), 0);
}
