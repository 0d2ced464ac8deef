//! Declarations in a cluster: the same on all nodes, also of those that come late, restart, or are cut off.

mod world;

use world::{TURNS, World, queue};

use crate::broker::ids::Home;
use crate::broker::topology::Command;
use crate::node::cluster::meta::MetaCommand;
use crate::node::cluster::peer::LinkState;
use crate::node::links::{DeleteIf, MetaInput};

#[test]
fn a_node_that_founds_a_cluster_orders_declarations_at_once() {
    let mut world = World::of(1);
    let id = world.declare(1, queue("q", true, true));
    assert!(world.nodes[&1].of_groups.contains(&id));
    world.kill(1);
    world.start(1);
    world.pass(200);
    assert!(world.nodes[&1].has("q"));
    assert!(world.declare(1, queue("r", true, false)) > id);
    world.check_equal();
}

#[test]
fn a_declare_on_any_node_is_known_on_all() {
    let mut world = World::of(3);
    for (node, name) in [(1, "one"), (2, "two"), (3, "three")] {
        world.declare(node, queue(name, true, false));
        let home = |on: u16| world.nodes[&on].shared.topology().queue("/", name).map(|queue| queue.home);
        for on in 1..=3 {
            assert_eq!(home(on), Some(Home::Node(node)), "{name} on node {on}");
        }
    }
    let again = world.apply(3, queue("one", true, false));
    world.pass(200);
    let again = again.ok().outcome;
    assert!(!again.created && again.queue.unwrap().home == Home::Node(1));
    let other = world.apply(2, queue("one", false, false));
    world.pass(200);
    assert!(other.refusal().contains("inequivalent arg 'durable'"));
    world.check_equal();
}

#[test]
fn very_many_declares_take_few_entries() {
    let mut world = World::of(3);
    let follower = (1..=3).find(|node| *node != world.leader()).unwrap();
    let before = world.nodes[&1].cluster.meta_index();
    let asked: Vec<_> =
        (0..2_000).map(|n| world.apply(follower, queue(&format!("q{n}"), true, true))).collect();
    world.pass(1_000);
    for asked in asked {
        assert!(asked.ok().outcome.created);
    }
    let entries = world.nodes[&1].cluster.meta_index() - before;
    assert!(entries < 20, "{entries} entries");
    world.check_equal();
}

#[test]
fn what_was_asked_of_a_leader_that_died_takes_place_once() {
    let mut world = World::of(3);
    let leader = world.leader();
    let asker = (1..=3).find(|node| *node != leader).unwrap();
    let asked: Vec<_> = (0..50).map(|n| world.apply(asker, queue(&format!("q{n}"), true, false))).collect();
    world.pass(10);
    world.kill(leader);
    world.pass(5_000);
    for asked in asked {
        assert!(asked.ok().outcome.created, "each is new, and is told so");
    }
    world.start(leader);
    world.pass(3_000);
    world.check_equal();
    assert_eq!(world.nodes[&asker].shared.topology().queues("/").len(), 50);
}

#[test]
fn nobody_hears_of_a_queue_that_a_node_does_not_know_yet() {
    let mut world = World::of(3);
    let late = (1..=3).find(|node| *node != world.leader()).unwrap();
    for asker in (1..=3).filter(|node| *node != late) {
        let name = format!("of-{asker}");
        world.late = Some(late);
        let mut asked = world.apply(asker, queue(&name, true, true));
        world.pass(500);
        assert!(asked.is_answered().is_none() && !world.nodes[&late].has(&name));
        world.late = None;
        world.pass(100);
        assert!(asked.ok().outcome.created && world.nodes[&late].has(&name));
        // What has been there for a while is.
        world.late = Some(late);
        let asked = world.apply(asker, queue(&name, true, true));
        world.pass(100);
        assert!(!asked.ok().outcome.created);
        world.late = None;
        world.pass(100);
    }
}

#[test]
fn a_node_that_does_not_get_on_holds_others_up_as_long_as_it_takes_itself_for_informed() {
    let mut world = World::of(3);
    let late = (1..=3).find(|node| *node != world.leader()).unwrap();
    let asker = (1..=3).find(|node| *node != late).unwrap();
    let is_informed = |world: &World| world.nodes[&late].cluster.is_informed(world.now_ms);
    assert!(is_informed(&world));
    world.late = Some(late);
    let mut asked = world.apply(asker, queue("q", true, true));
    let mut answered = None;
    while answered.is_none() {
        world.pass(10);
        answered = asked.is_answered();
        assert!(answered.is_none() || !is_informed(&world));
    }
    assert!(answered.unwrap().is_ok() && !world.nodes[&late].has("q"));
    world.late = None;
    world.pass(1_000);
    assert!(is_informed(&world) && world.nodes[&late].has("q"));
}

#[test]
fn a_sole_voter_that_stands_still_while_another_becomes_one_is_not_informed_for_ever() {
    let joining = || {
        let mut world = World::of(1);
        world.begin_to_join(2);
        world
    };
    let mut whole = joining();
    let begun_ms = whole.now_ms;
    while whole.nodes[&1].is_sole_voter() {
        whole.pass(10);
    }
    let alone_ms = whole.now_ms - begun_ms;
    let mut informed_alone = 0;
    for turns in 0..3 * TURNS {
        let mut world = joining();
        world.pass(alone_ms.saturating_sub(20));
        for turn in 0..turns {
            world.now_ms += if turn.is_multiple_of(TURNS) { 10 } else { 0 };
            world.turn();
        }
        world.cut(2, LinkState::Down);
        // Its lease is over when it goes on.
        world.now_ms += 5_000;
        world.pass(2_000);
        let is_informed = world.nodes[&1].cluster.is_informed(world.now_ms);
        assert_eq!(is_informed, world.nodes[&1].is_sole_voter(), "cut off after {turns} turns");
        informed_alone += u32::from(is_informed);
    }
    assert!((1..3 * TURNS).contains(&informed_alone), "it was cut off before and after: {informed_alone}");
}

#[test]
fn a_node_that_is_cut_off_holds_others_up_as_long_as_it_takes_itself_for_informed() {
    for state in [LinkState::Down, LinkState::Dead] {
        let mut world = World::of(3);
        let cut = (1..=3).find(|node| *node != world.leader()).unwrap();
        let asker = (1..=3).find(|node| *node != cut).unwrap();
        world.cut(cut, state);
        let begun_ms = world.now_ms;
        let mut asked = world.apply(asker, queue("q", true, true));
        while asked.is_answered().is_none() {
            world.pass(10);
        }
        // Whoever is dead takes nobody's messages.
        assert!(state == LinkState::Dead || !world.nodes[&cut].cluster.is_informed(world.now_ms));
        let took_ms = world.now_ms - begun_ms;
        assert!(took_ms <= if state == LinkState::Dead { 50 } else { 1_000 }, "{took_ms} ms");
    }
}

#[test]
fn a_node_that_went_long_ago_gives_no_work_while_another_one_is_waited_for() {
    let mut world = World::of(5);
    let leader = world.leader();
    let mut others = (1..=5).filter(|node| *node != leader);
    let (gone, late) = (others.next().unwrap(), others.next().unwrap());
    world.cut(gone, LinkState::Down);
    world.pass(2_000);
    world.late = Some(late);
    let mut asked = world.apply(leader, queue("q", true, true));
    world.pass(100);
    assert!(asked.is_answered().is_none());
    let due_ms = world.next_due_ms(leader).unwrap();
    assert!(due_ms > world.now_ms, "at {due_ms}, and it is {}", world.now_ms);
}

#[test]
fn a_minority_declares_nothing_and_says_why() {
    let mut world = World::of(3);
    let leader = world.leader();
    world.cut(leader, LinkState::Down);
    let mut asked = world.apply(leader, queue("minority", true, true));
    world.pass(9_000);
    assert!(asked.is_answered().is_none());
    world.pass(1_500);
    assert!(asked.refusal().starts_with("541 INTERNAL_ERROR - no majority of the cluster's nodes"));
    let other = world.leader_but(leader);
    world.declare(other, queue("majority", true, true));
    (1..=3).filter(|node| *node != leader).for_each(|node| world.link(leader, node, LinkState::Up));
    world.pass(5_000);
    world.check_equal();
    assert!(world.nodes[&leader].has("majority") && !world.nodes[&leader].has("minority"));
}

#[test]
fn a_node_that_comes_late_gets_a_copy_and_goes_on() {
    let mut world = World::of(2);
    for n in 0..30 {
        world.declare(1, queue(&format!("q{n}"), true, n % 2 == 0));
    }
    world.declare(2, queue("transient", false, false));
    world.join(3);
    assert!(world.copies > 0);
    world.check_equal();
    world.declare(3, queue("theirs", true, false));
    world.check_equal();
    world.kill(3);
    world.pass(500);
    world.start(3);
    world.pass(3_000);
    world.check_equal();
}

#[test]
fn a_node_that_was_away_too_long_gets_a_copy_in_the_place_of_what_it_had() {
    let mut world = World::of(3);
    let away = (1..=3).find(|node| *node != world.leader()).unwrap();
    let stays = (1..=3).find(|node| *node != away).unwrap();
    world.declare(away, queue("kept", true, false));
    world.declare(stays, queue("gone", true, true));
    world.kill(away);
    let deleted = world.delete(stays, "gone", DeleteIf::default());
    world.pass(5_000);
    deleted.ok();
    for n in 0..30 {
        world.declare(stays, queue(&format!("q{n}"), true, false));
    }
    for node in world.nodes.keys().copied().collect::<Vec<_>>() {
        world.checkpoint(node);
        world.checkpoint(node);
    }
    let before = world.copies;
    world.start(away);
    world.pass(5_000);
    assert!(world.copies > before, "it lacks too much");
    world.check_equal();
    let away = &world.nodes[&away];
    assert!(away.has("kept") && !away.has("gone") && away.has("q29"));
}

#[test]
fn a_checkpoint_lets_the_log_go_and_a_restart_finds_everything() {
    let mut world = World::of(1);
    for n in 0..200 {
        world.declare(1, queue(&format!("q{n}"), true, false));
    }
    let before = world.disks[&1].log.len();
    world.checkpoint(1);
    let after = world.disks[&1].log.len();
    assert!(after < 10 && before > 200, "{before} records, then {after}");
    let rows = world.nodes[&1].shared.topology().rows();
    world.kill(1);
    world.start(1);
    world.pass(300);
    assert_eq!(world.nodes[&1].shared.topology().rows(), rows);
    world.declare(1, queue("more", true, false));
    world.check_equal();
}

#[test]
fn a_queue_is_deleted_by_its_number_when_its_owner_agrees() {
    let mut world = World::of(2);
    let id = world.declare(2, queue("q", true, false));
    world.in_use.insert(id);
    let refused = world.delete(1, "q", DeleteIf { unused: true, ..DeleteIf::default() });
    world.pass(300);
    assert_eq!(refused.refusal(), "406 PRECONDITION_FAILED - queue 'q' in vhost '/' in use");
    assert!(world.nodes[&2].queues.contains(&id));
    let deleted = world.delete(1, "q", DeleteIf::default());
    world.pass(300);
    assert_eq!(deleted.ok().0, 7, "its messages");
    assert!(!world.nodes[&1].has("q") && !world.nodes[&2].queues.contains(&id));
    let again = world.declare(2, queue("q", true, false));
    world.apply(1, Command::DropQueue { id });
    world.pass(300);
    assert!(again > id && world.nodes[&2].has("q"), "another queue of the same name stays");
    let missing = world.delete(1, "nothing", DeleteIf::default());
    world.pass(300);
    assert_eq!(missing.ok().0, 0);
    world.check_equal();
}

#[test]
fn a_queue_that_nobody_uses_goes_when_its_owner_answers_at_last() {
    let mut world = World::of(2);
    let (id, used) = (world.declare(1, queue("q", true, true)), world.declare(1, queue("used", true, true)));
    world.silent.extend([id, used]);
    for id in [id, used] {
        world.nodes[&1].shared.meta.push(MetaInput::Drop(id, None));
    }
    world.pass(3_000);
    assert!(world.nodes[&1].has("q"));
    world.in_use.insert(used);
    world.silent.clear();
    world.pass(2_000);
    assert!(!world.nodes[&1].has("q") && !world.nodes[&2].has("q"));
    assert!(world.nodes[&1].has("used"), "somebody has begun to use it");
    world.check_equal();
}

#[test]
fn a_queue_whose_node_is_down_is_not_declared_a_second_time() {
    let mut world = World::of(3);
    world.declare(3, queue("q", true, false));
    world.kill(3);
    world.pass(2_000);
    let text = "404 NOT_FOUND - home node 'node3' of durable queue 'q' in vhost '/' is down or inaccessible";
    let (declared, deleted) =
        (world.apply(1, queue("q", true, false)), world.delete(2, "q", DeleteIf::default()));
    world.pass(300);
    assert_eq!((declared.refusal().as_str(), deleted.refusal().as_str()), (text, text));
    world.start(3);
    world.pass(2_000);
    let declared = world.apply(1, queue("q", true, false));
    world.pass(300);
    assert!(!declared.ok().outcome.created);
    world.check_equal();
}

#[test]
fn what_a_node_held_in_memory_goes_when_it_is_down() {
    let mut world = World::of(3);
    let gone = (1..=3).find(|node| *node != world.leader()).unwrap();
    let stays = (1..=3).find(|node| *node != gone).unwrap();
    world.declare(gone, queue("transient", false, false));
    world.declare(gone, queue("durable", true, false));
    world.cut(gone, LinkState::Down);
    world.pass(9_000);
    assert!(world.nodes[&stays].has("transient"), "it may come back");
    world.pass(3_000);
    assert!(!world.nodes[&stays].has("transient") && world.nodes[&stays].has("durable"));
    assert!(!world.nodes[&stays].cluster.members().is_up(gone));
    (1..=3).filter(|node| *node != gone).for_each(|node| world.link(gone, node, LinkState::Up));
    world.pass(3_000);
    assert!(world.nodes[&stays].cluster.members().is_up(gone), "it says that it is there");
    assert!(!world.nodes[&gone].has("transient"));
    world.check_equal();
}

#[test]
fn a_node_that_starts_again_has_no_transient_queues() {
    let mut world = World::of(3);
    let again = (1..=3).find(|node| *node != world.leader()).unwrap();
    world.declare(again, queue("transient", false, false));
    world.kill(again);
    world.start(again);
    world.pass(3_000);
    assert!(!world.nodes[&again].has("transient"));
    world.check_equal();
}

#[test]
fn a_node_that_is_taken_out_leaves_nothing() {
    let mut world = World::of(3);
    world.declare(3, queue("theirs", true, false));
    world.declare(3, queue("everybodys", true, true));
    world.kill(3);
    let removed = world.propose(1, MetaCommand::RemoveMember { node: 3 });
    world.pass(3_000);
    removed.ok();
    assert!(!world.nodes[&1].has("theirs") && world.nodes[&1].has("everybodys"));
    assert!(world.nodes[&2].cluster.members().name(3).is_none());
    world.check_equal();
}

#[test]
fn connections_without_queues_end_without_a_word_to_others() {
    let mut world = World::of(2);
    let before = world.nodes[&1].cluster.meta_index();
    let ended = world.apply(2, Command::DropOwner { owner: 77 });
    world.pass(300);
    ended.ok();
    assert_eq!(world.nodes[&1].cluster.meta_index(), before);
}

#[test]
fn whoever_hears_of_a_queue_sends_publishes_that_wait_for_its_declaration() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use crate::node::cluster::handle::Cluster;

    /// Looks, at the moment of the answer, whether the groups were told.
    struct Looks {
        cluster: Arc<Cluster>,
        before: u64,
        was_told: AtomicBool,
    }

    impl std::task::Wake for Looks {
        fn wake(self: Arc<Self>) {
            self.was_told.store(self.cluster.meta_index() > self.before, Ordering::SeqCst);
        }
    }

    let mut world = World::of(1);
    let cluster = Arc::clone(&world.nodes[&1].cluster);
    let before = cluster.meta_index();
    let looks = Arc::new(Looks { cluster, before, was_told: AtomicBool::new(false) });
    let mut asked = world.apply(1, queue("q", true, true));
    asked.wakes(&Arc::clone(&looks).into());
    world.pass(200);
    asked.ok();
    assert!(looks.was_told.load(Ordering::SeqCst));
}
