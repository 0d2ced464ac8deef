//! Three nodes of a group: what happens when a leader goes, comes back, or has to be told everything anew.

mod attaching;
mod letters;
mod world;

use world::{GROUP, Session, World, consume, delivered, publish, settle};

use crate::broker::ids::QueueId;
use crate::broker::queue::GETTER;
use crate::node::cluster::forward::{Answer, Reply, Request, Settle};
use crate::node::cluster::inputs::{GroupControl, GroupInput};
use crate::node::tasks::group::row::{GroupRow, STATE};
use crate::replication::MembersChange;
use crate::storage::ColdBatch;

/// Messages of a queue, once all members have heard of everything.
fn alive(world: &mut World, queue: QueueId) -> u64 {
    world.pass(300);
    world.digests().get(&queue).map_or(0, |digest| digest.alive)
}

/// The numbers that a session was told are done.
fn done(world: &World, node: u16) -> Vec<u64> {
    let answers = world.told.get(&node).into_iter().flatten();
    let mut done: Vec<_> = answers
        .filter_map(|answer| if let Answer::Done(first, last) = answer { Some(*first..=*last) } else { None })
        .flatten()
        .collect();
    done.sort_unstable();
    done.dedup();
    done
}

#[test]
fn what_is_published_is_on_all_members_and_delivered_elsewhere() {
    let mut world = World::new();
    let queue = world.declare("q");
    let leader = world.leader();
    world.pass(300);
    let (mut publisher, mut consumer) = (Session::new(1), Session::new(3));
    consumer.ask(&world, leader, queue, consume(3, false));
    publisher.ask(&world, leader, queue, publish(&["a", "b"]));
    publisher.ask(&world, leader, queue, publish(&["c"]));
    world.pass(50);
    assert_eq!(done(&world, 1), [1, 2]);
    let got = delivered(&world.told[&3]);
    assert_eq!(got.iter().map(|(_, body, _)| body.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert!(got.iter().all(|(.., redelivered)| !redelivered));
    assert_eq!(alive(&mut world, queue), 3);
    consumer.ask(&world, leader, queue, settle(3, Settle::Ack, &[(got[0].0, 2)]));
    world.pass(50);
    assert_eq!((done(&world, 3), alive(&mut world, queue)), (vec![1, 2], 1));
    for node in world::NODES {
        assert_eq!(world.leaders[&node].0, leader, "everybody knows who leads");
    }
}

#[test]
fn nothing_is_confirmed_or_delivered_by_a_minority() {
    let mut world = World::new();
    let queue = world.declare("q");
    let leader = world.leader();
    world.pass(300);
    let others: Vec<_> = world::NODES.into_iter().filter(|node| *node != leader).collect();
    world.cut.extend(others.iter().map(|other| (leader, *other)));
    let mut session = Session::new(leader);
    session.ask(&world, leader, queue, consume(9, false));
    session.ask(&world, leader, queue, publish(&["lost"]));
    world.pass(100);
    assert!(delivered(world.told.get(&leader).map_or(&[], Vec::as_slice)).is_empty());
    assert!(!done(&world, leader).contains(&2));

    // The others go on without it.
    let next = world.leader_but(&[leader]);
    let mut other = Session::new(next);
    other.ask(&world, next, queue, publish(&["kept"]));
    world.pass(1500);
    assert_eq!(done(&world, next), [1]);
    // It has given up by itself: the session is told to ask elsewhere.
    assert!(world.told[&leader].iter().any(|answer| matches!(answer, Answer::NotOwner)));
    world.cut.clear();
    world.pass(2000);
    session.hear(&world);
    let next = world.leader();
    session.ask_again(&world, next);
    world.pass(200);
    assert!(done(&world, leader).contains(&2));
    assert_eq!(alive(&mut world, queue), 2, "each is there once");
}

#[test]
fn a_kill_of_the_leader_loses_nothing_and_doubles_nothing() {
    let mut world = World::new();
    let queue = world.declare("q");
    let mut session = Session::new(2);
    let mut last = 0;
    for round in 0..5 {
        let leader = world.leader();
        if round > 0 {
            session.ask_again(&world, leader);
        }
        for at in 0..20 {
            let body = format!("{round}-{at}");
            last = session.ask(&world, leader, queue, publish(&[&body]));
        }
        // Some are confirmed, some are on their way, some with the dead leader only.
        world.now_ms += 1;
        for _ in 0..round + 1 {
            world.pass(10);
        }
        session.hear(&world);
        let victim = if leader == 2 { 1 } else { leader };
        if leader != 2 {
            world.kill(victim);
            let next = world.leader_but(&[victim]);
            session.ask_again(&world, next);
            world.pass(200);
            session.hear(&world);
            world.start(victim);
        } else {
            world.tell(2, GroupInput::Control(GroupControl::Transfer(3)));
        }
        world.pass(1000);
        session.hear(&world);
    }
    let leader = world.leader();
    session.ask_again(&world, leader);
    world.pass(1000);
    session.hear(&world);
    assert!(session.sent.is_empty(), "{:?}", session.sent.len());
    assert_eq!(done(&world, 2).last(), Some(&last));
    assert_eq!(alive(&mut world, queue), 100);
}

#[test]
fn an_acknowledgement_from_before_a_change_settles_and_the_rest_comes_back() {
    let mut world = World::new();
    let queue = world.declare("q");
    let leader = world.leader();
    let node = *world::NODES.iter().find(|node| **node != leader).unwrap();
    let mut session = Session::new(node);
    session.ask(&world, leader, queue, consume(5, false));
    session.ask(&world, leader, queue, publish(&["a", "b", "c"]));
    world.pass(300);
    let got = delivered(&world.told[&node]);
    assert_eq!(got.len(), 3);
    session.hear(&world);
    world.kill(leader);
    let next = world.leader_but(&[leader]);
    session.attempt += 1;
    session.ask(&world, next, queue, settle(5, Settle::Ack, &[(got[0].0, 1)]));
    world.told.clear();
    session.ask(&world, next, queue, consume(5, true));
    world.pass(300);
    let again = delivered(&world.told[&node]);
    assert_eq!(again.iter().map(|(_, body, _)| body.as_str()).collect::<Vec<_>>(), ["b", "c"]);
    assert!(again.iter().all(|(.., redelivered)| *redelivered));
    assert_eq!(alive(&mut world, queue), 2);
}

#[test]
fn what_a_node_that_is_gone_held_comes_back() {
    let mut world = World::new();
    let queue = world.declare("q");
    let leader = world.leader();
    let others: Vec<_> = world::NODES.into_iter().filter(|node| *node != leader).collect();
    let mut gone = Session::new(others[0]);
    gone.ask(&world, leader, queue, consume(5, false));
    gone.ask(&world, leader, queue, publish(&["a", "b"]));
    world.pass(300);
    assert_eq!(delivered(&world.told[&others[0]]).len(), 2);
    world.kill(others[0]);
    world.pass(50);
    let mut other = Session::new(others[1]);
    other.ask(&world, leader, queue, Request::Get { no_ack: false });
    world.pass(300);
    let reply = world.told[&others[1]].iter().find_map(|answer| match answer {
        Answer::Reply(1, Reply::Get(Some(reply))) => Some(format!("{reply:?}")),
        _ => None,
    });
    let reply = reply.unwrap();
    assert!(reply.contains("redelivered: true") && reply.contains("returns: 1"), "{reply}");
    other.ask(&world, leader, queue, settle(GETTER, Settle::Ack, &[(0, 1)]));
    world.pass(100);
    assert_eq!(alive(&mut world, queue), 1);
}

#[test]
fn a_member_that_was_down_catches_up_from_the_log_or_gets_a_copy() {
    let mut world = World::new();
    let queue = world.declare("q");
    let leader = world.leader();
    let others: Vec<_> = world::NODES.into_iter().filter(|node| *node != leader).collect();
    let mut session = Session::new(leader);
    session.ask(&world, leader, queue, publish(&["a"]));
    world.pass(300);
    world.kill(others[0]);
    session.ask(&world, leader, queue, publish(&["b", "c"]));
    world.pass(300);
    world.start(others[0]);
    world.pass(500);
    let alive_then = alive(&mut world, queue);
    assert_eq!((alive_then, world.copies), (3, 0), "the log has it all");

    // Now the log is cut behind what it has.
    world.kill(others[0]);
    let large = "x".repeat(100_000);
    for _ in 0..20 {
        session.ask(&world, leader, queue, publish(&[&large]));
        world.pass(20);
    }
    session.ask(&world, leader, queue, settle(GETTER, Settle::Ack, &[(0, 2)]));
    world.pass(2000);
    world.checkpoint(leader);
    world.checkpoint(others[1]);
    world.wipe(others[0]);
    let new = session.ask(&world, leader, queue, publish(&["behind"]));
    world.pass(100);
    assert!(done(&world, leader).contains(&new));
    world.start(others[0]);
    world.pass(3000);
    assert!(world.copies > 3);
    assert_eq!(alive(&mut world, queue), 22);
    let status = world.status(leader);
    assert!(status.members.iter().all(|member| member.is_in_sync && !member.gets_snapshot), "{status:?}");
    // It has become a member that can lead.
    world.tell(leader, GroupInput::Control(GroupControl::Transfer(others[0])));
    world.pass(500);
    assert_eq!(world.leader(), others[0]);
    assert_eq!(alive(&mut world, queue), 22);
}

#[test]
fn a_lead_under_which_only_members_changed_holds_no_log_back() {
    let mut world = World::new();
    let leader = world.leader();
    let other = if leader == 3 { 2 } else { 3 };
    let voters: Vec<_> = world::NODES.into_iter().filter(|node| *node != other).collect();
    for (voters, learners) in [(voters, vec![other]), (world::NODES.to_vec(), Vec::new())] {
        let (reply, mut begun) = tokio::sync::oneshot::channel();
        let change = MembersChange {
            from: world.status(leader).members_version,
            leaving: learners.clone(),
            voters,
            learners,
        };
        let control = GroupControl::SetMembers(change, reply);
        world.tell(leader, GroupInput::Control(control));
        world.pass(500);
        assert!(begun.try_recv().unwrap());
    }
    assert!(world.records(leader) > 4, "the changes are in the log");
    world.checkpoint(leader);
    assert_eq!(world.leader(), leader);
    // The state of the group, and what it was written for.
    assert!(world.records(leader) <= 2, "{} records are left", world.records(leader));
}

#[test]
fn a_queue_that_is_deleted_takes_its_messages_along_everywhere() {
    let mut world = World::new();
    let (gone, kept) = (world.declare("gone"), world.declare("kept"));
    let leader = world.leader();
    let mut session = Session::new(1);
    session.ask(&world, leader, gone, publish(&["a"]));
    session.ask(&world, leader, kept, publish(&["b"]));
    world.pass(300);
    session.ask(&world, leader, gone, Request::Delete(crate::node::links::DeleteIf::default()));
    world.pass(100);
    assert!(world.told[&1].iter().any(|answer| matches!(answer, Answer::Reply(3, Reply::Delete(Ok(1))))));
    assert_eq!(alive(&mut world, gone), 1, "only its declaration deletes it");
    world.delete(gone);
    // Nobody reaches it any more, also in entries that are on their way.
    session.ask(&world, leader, gone, publish(&["nowhere"]));
    world.pass(300);
    assert_eq!((alive(&mut world, gone), alive(&mut world, kept)), (0, 1));
    for node in world::NODES {
        world.checkpoint(node);
    }
    for node in world::NODES {
        world.kill(node);
        world.start(node);
    }
    world.leader();
    world.pass(1000);
    assert_eq!((alive(&mut world, gone), alive(&mut world, kept)), (0, 1));
}

#[test]
fn a_leader_that_stops_hands_over_first() {
    let mut world = World::new();
    let queue = world.declare("q");
    let leader = world.leader();
    world.pass(500);
    let mut session = Session::new(leader);
    session.ask(&world, leader, queue, publish(&["a"]));
    let (reply, mut stopped) = tokio::sync::oneshot::channel();
    world.tell(leader, GroupInput::Stop(reply));
    world.pass(500);
    stopped.try_recv().unwrap();
    let next = world.leader();
    assert_ne!(next, leader);
    session.hear(&world);
    session.ask_again(&world, next);
    world.pass(200);
    assert_eq!(alive(&mut world, queue), 1);
    assert_eq!(done(&world, leader), [1]);
}

#[test]
fn a_disk_that_stalls_gives_up_the_lead() {
    let mut world = World::new();
    world.declare("q");
    let leader = world.leader();
    world.pass(500);
    world.tell(leader, GroupInput::Control(GroupControl::DiskStalls(true)));
    world.pass(1500);
    assert_ne!(world.leader_but(&[leader]), leader);
    assert_eq!(world.status(leader).group, GROUP);
}

#[test]
fn a_backlog_larger_than_memory_survives_changes_of_the_leader() {
    let mut world = World::new();
    let queue = world.declare("q");
    let mut session = Session::new(2);
    let body = "y".repeat(20_000);
    let mut leader = world.leader();
    for round in 0..3 {
        for _ in 0..60 {
            session.ask(&world, leader, queue, publish(&[&body]));
            world.pass(10);
        }
        session.hear(&world);
        if round == 1 {
            world.checkpoint(leader);
        }
        let other = *world::NODES.iter().find(|node| **node != leader).unwrap();
        world.tell(leader, GroupInput::Control(GroupControl::Transfer(other)));
        world.pass(1000);
        leader = world.leader();
        session.ask_again(&world, leader);
        world.pass(500);
        session.hear(&world);
        assert!(session.sent.is_empty());
    }
    assert_eq!(alive(&mut world, queue), 180);
    let consumer = 7;
    session.ask(&world, leader, queue, consume(consumer, false));
    world.pass(1000);
    assert_eq!(delivered(&world.told[&2]).len(), 180);
}

#[test]
fn who_reads_a_checkpoint_must_know_what_was_declared_while_it_was_made() {
    let mut world = World::new();
    let queue = world.declare("q");
    let leader = world.leader();
    let mut session = Session::new(leader);
    session.ask(&world, leader, queue, publish(&["a"]));
    world.pass(300);
    for node in world::NODES {
        let (reply, _done) = tokio::sync::oneshot::channel();
        world.tell(node, GroupInput::Checkpoint(reply));
        world.declare("meanwhile");
        world.pass(100);
        let row = world.store(node).get_group(GROUP, STATE).unwrap().unwrap();
        let row = GroupRow::decode(&row).unwrap();
        assert_eq!(row.meta_index, world.meta_index, "node {node}, leader {leader}");
    }
}

#[test]
fn a_copy_leaves_nothing_of_an_earlier_one_that_was_cut_off() {
    let mut world = World::new();
    let queue = world.declare("q");
    let leader = world.leader();
    let other = if leader == 3 { 2 } else { 3 };
    let mut session = Session::new(leader);
    session.ask(&world, leader, queue, publish(&["a", "b"]));
    world.pass(300);
    world.kill(other);
    session.ask(&world, leader, queue, publish(&["c"]));
    world.pass(300);
    world.checkpoint(leader);
    world.wipe(other);
    // Queues that this node had not heard of when the copy was cut off, and never hears of.
    let store = world.store(other);
    let mut batch = ColdBatch::new();
    batch.put_queue(70, b"row");
    batch.put_chunk(71, 5, b"descriptor", b"data");
    batch.put_due(72, 1, 1);
    store.write(batch).unwrap();
    store.flush().unwrap();
    assert_eq!(store.queue_from(2).unwrap(), Some(70));
    assert_eq!(store.queue_from(71).unwrap(), Some(71));
    world.start(other);
    world.pass(3000);
    assert!(world.copies > 0);
    assert_eq!(alive(&mut world, queue), 3);
    assert_eq!(world.store(other).queue_from(queue.0 + 1).unwrap(), None);
}

fn set_members(world: &mut World, leader: u16, voters: &[u16], leaving: &[u16]) {
    let (reply, mut begun) = tokio::sync::oneshot::channel();
    let from = world.status(leader).members_version;
    let (voters, leaving) = (voters.to_vec(), leaving.to_vec());
    let change = MembersChange { from, voters, learners: Vec::new(), leaving };
    world.tell(leader, GroupInput::Control(GroupControl::SetMembers(change, reply)));
    world.pass(3000);
    assert!(begun.try_recv().unwrap());
}

#[test]
fn a_node_that_its_group_left_while_it_was_away_forgets_what_it_had() {
    let mut world = World::new();
    let queue = world.declare("q");
    let leader = world.leader();
    let other = if leader == 3 { 2 } else { 3 };
    let staying: Vec<_> = world::NODES.into_iter().filter(|node| *node != other).collect();
    let mut session = Session::new(leader);
    session.ask(&world, leader, queue, publish(&["a", "b"]));
    world.pass(300);
    world.checkpoint(other);
    assert_eq!(world.store(other).queue_from(0).unwrap(), Some(queue.0));
    world.kill(other);
    set_members(&mut world, leader, &staying, &[other]);
    for crashes in 0..4 {
        world.start(other);
        // Cut off at different points on its way out.
        world.pass(crashes * 10);
        world.kill(other);
        world.pass(100);
    }
    world.start(other);
    world.pass(1000);
    let status = world.status(other);
    assert!(status.members.is_empty() && status.commit == 0, "{status:?}");
    assert_eq!(world.store(other).queue_from(0).unwrap(), None);
    world.checkpoint(other);
    assert!(world.records(other) <= 1, "{} records are left", world.records(other));
    assert_eq!(world.leader(), leader, "nobody was disturbed");
    // It may come in again.
    set_members(&mut world, leader, &world::NODES, &[]);
    assert_eq!(alive(&mut world, queue), 2);
    world.tell(leader, GroupInput::Control(GroupControl::Transfer(other)));
    world.pass(500);
    assert_eq!(world.leader(), other);
    assert_eq!(alive(&mut world, queue), 2);
}

#[test]
fn a_member_that_leaves_while_it_is_there_forgets_what_it_had() {
    let mut world = World::new();
    let queue = world.declare("q");
    let leader = world.leader();
    let other = if leader == 3 { 2 } else { 3 };
    let staying: Vec<_> = world::NODES.into_iter().filter(|node| *node != other).collect();
    let mut session = Session::new(leader);
    session.ask(&world, leader, queue, publish(&["a"]));
    world.pass(300);
    set_members(&mut world, leader, &staying, &[other]);
    let status = world.status(other);
    assert!(status.members.is_empty() && status.commit == 0, "{status:?}");
    // The leader itself is to go: it hands over first.
    let left = staying.iter().copied().find(|node| *node != leader).unwrap();
    set_members(&mut world, leader, &[left], &[leader]);
    let leader_now = world.leader();
    assert_eq!(leader_now, left);
    set_members(&mut world, left, &[left], &[leader]);
    let status = world.status(leader);
    assert!(status.members.is_empty() && status.commit == 0, "{status:?}");
}
