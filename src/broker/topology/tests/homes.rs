//! Homes: which node or group orders what happens to a queue, on every node the same.

use crate::broker::ids::{Home, QueueId};

use super::*;

const GROUPS: u16 = 4;

fn on(node: u16) -> Topology {
    let mut topology = Topology::new(Placement { node, shards: 2, groups: GROUPS });
    topology.apply(Command::CreateVhost { name: "/".to_owned() }).unwrap();
    topology
}

fn durable(name: &str) -> Command {
    and(queue(name), "durable")
}

fn quorum(name: &str) -> Command {
    and(queue_with(name, table(&[("x-queue-type", string("quorum"))])), "durable")
}

fn home(topology: &Topology, name: &str) -> (u64, Home) {
    let queue = topology.queue("/", name).unwrap();
    (queue.id.0, queue.home)
}

#[test]
fn a_queue_with_one_copy_is_on_the_node_that_is_asked() {
    let mut topology = on(2);
    topology.apply_from(3, durable("theirs")).unwrap();
    topology.apply(durable("ours")).unwrap();
    assert_eq!(home(&topology, "theirs").1, Home::Node(3));
    assert_eq!(home(&topology, "ours").1, Home::Node(2));
    topology.apply_from(1, durable("theirs")).unwrap();
    assert_eq!(home(&topology, "theirs").1, Home::Node(3), "where it is declared again says nothing");
    let placement = Placement { node: 2, shards: 2, groups: GROUPS };
    let shard = |name| topology.queue("/", name).unwrap().shard;
    assert_eq!(shard("theirs"), placement.mailbox(Home::Node(3), QueueId(1)));
    assert!(shard("ours") < 2 && shard("theirs") >= 2 + GROUPS);
}

#[test]
fn what_is_to_have_copies_is_with_a_group() {
    let mut topology = on(1);
    topology.apply(quorum("quorum")).unwrap();
    let definition = table(&[("ha-mode", string("all"))]);
    let spec = PolicySpec { pattern: "^ha".to_owned(), definition, ..PolicySpec::default() };
    let (vhost, scope) = ("/".to_owned(), PolicyScope::User);
    topology.apply(Command::SetPolicy { vhost, scope, name: "p".to_owned(), spec }).unwrap();
    topology.apply(durable("ha.durable")).unwrap();
    topology.apply(queue("ha.transient")).unwrap();
    let delaying = exchange_with("x", "x-delayed-message", table(&[("x-delayed-type", string("fanout"))]));
    topology.apply(and(delaying, "durable")).unwrap();
    topology.apply(and(exchange("history", "x-recent-history"), "durable")).unwrap();
    for name in ["quorum", "ha.durable"] {
        let (id, home) = home(&topology, name);
        assert_eq!(home, Home::Group(1 + u16::try_from(id).unwrap() % GROUPS), "{name}");
    }
    assert_eq!(home(&topology, "ha.transient").1, Home::Node(1));
    let waiting = topology.exchange("/", "x").unwrap().delays.clone().unwrap();
    assert!(matches!(waiting.home, Home::Group(_)) && waiting.shard >= 2);
    let companion = topology.exchange("/", "history").unwrap().companion.clone().unwrap();
    assert_eq!(companion.home, Home::Node(1));
}

#[test]
fn without_groups_everything_is_here() {
    let mut scene = Scene::new();
    scene.apply(quorum("q"));
    assert_eq!(home(&scene.topology, "q"), (1, Home::Node(1)));
    assert_eq!(scene.topology.queue("/", "q").unwrap().shard, 1);
}

#[test]
fn queues_of_a_node_by_itself_find_their_homes_in_a_cluster() {
    let mut alone = Scene::new();
    let mut changes = Vec::new();
    for command in [quorum("quorum"), durable("classic")] {
        changes.extend(alone.apply(command).changes);
    }
    let rows = changes.into_iter().filter_map(|change| match change {
        Change::Put(row) => Some(row),
        Change::Delete(_) => None,
    });
    let rows = rows.chain([Row::Vhost { name: "/".to_owned() }]);
    let grown = Topology::restore(Placement { node: 1, shards: 2, groups: GROUPS }, rows).unwrap();
    assert_eq!(home(&grown, "quorum"), (1, Home::Group(2)));
    assert_eq!(home(&grown, "classic"), (2, Home::Node(1)));
}

#[test]
fn a_node_that_is_gone_takes_its_transient_queues_along() {
    let mut topology = on(1);
    let exclusive = |name: &str, owner| match and(queue(name), "exclusive") {
        Command::DeclareQueue { vhost, name, arguments, .. } => Command::DeclareQueue {
            vhost,
            name,
            generated: false,
            passive: false,
            durable: false,
            exclusive: true,
            auto_delete: false,
            arguments,
            owner,
        },
        other => other,
    };
    topology.apply_from(2, durable("durable")).unwrap();
    topology.apply_from(2, queue("transient")).unwrap();
    topology.apply_from(2, exclusive("exclusive", crate::broker::ids::first_connection(2, 1) + 1)).unwrap();
    topology.apply_from(2, quorum("quorum")).unwrap();
    topology.apply_from(1, queue("ours")).unwrap();
    topology.apply_from(2, bind("amq.fanout", to_queue("transient"), "")).unwrap();
    let outcome = topology.apply_from(1, Command::NodeGone { node: 2 }).unwrap();
    let gone: Vec<_> = outcome.deleted_queues.iter().map(|queue| queue.name.to_string()).collect();
    assert_eq!(gone, ["transient", "exclusive"]);
    assert!(topology.bindings("/").is_empty());
    for name in ["durable", "quorum", "ours"] {
        assert!(topology.queue("/", name).is_some(), "{name}");
    }
    let outcome = topology.apply_from(1, Command::ForgetNode { node: 2, heir: 1 }).unwrap();
    assert_eq!(outcome.deleted_queues.len(), 1, "what was on its disk is lost");
    assert!(topology.queue("/", "durable").is_none() && topology.queue("/", "quorum").is_some());
}

#[test]
fn a_queue_that_moves_keeps_its_number_and_bindings() {
    let mut topology = on(1);
    topology.apply(durable("q")).unwrap();
    topology.apply(bind("amq.direct", to_queue("q"), "k")).unwrap();
    let before = topology.queue("/", "q").unwrap().clone();
    let version = topology.version();
    let outcome = topology.apply(Command::MoveQueue { id: before.id, home: Home::Node(3) }).unwrap();
    let after = topology.queue("/", "q").unwrap().clone();
    assert_eq!((after.id, after.home), (before.id, Home::Node(3)));
    assert_eq!(outcome.queue.as_ref(), Some(&after));
    assert!(topology.version() > version);
    let mut found = Vec::new();
    let query = RouteQuery { vhost: "/", exchange: "amq.direct", keys: &["k"], ..RouteQuery::default() };
    topology.route(&query, &mut found).unwrap();
    assert_eq!(found, [after.target()]);
    assert_eq!(topology.bindings("/").len(), 1);
    assert!(matches!(&outcome.changes[..], [Change::Put(Row::Queue { home: Some(Home::Node(3)), .. })]));
}

#[test]
fn a_companion_moves_with_its_exchange() {
    let mut topology = on(1);
    topology.apply_from(2, and(exchange("h", "x-recent-history"), "durable")).unwrap();
    topology
        .apply_from(
            2,
            and(
                exchange_with("x", "x-delayed-message", table(&[("x-delayed-type", string("fanout"))])),
                "durable",
            ),
        )
        .unwrap();
    let companion = topology.exchange("/", "h").unwrap().companion.clone().unwrap();
    let delays = topology.exchange("/", "x").unwrap().delays.clone().unwrap();
    topology.apply(Command::MoveQueue { id: companion.id, home: Home::Node(1) }).unwrap();
    topology.apply(Command::MoveQueue { id: delays.id, home: Home::Group(1) }).unwrap();
    assert_eq!(topology.exchange("/", "h").unwrap().companion.as_ref().unwrap().home, Home::Node(1));
    assert_eq!(topology.exchange("/", "x").unwrap().delays.as_ref().unwrap().home, Home::Group(1));
    assert_eq!(topology.queue_by_id(delays.id).unwrap().home, Home::Group(1));
}
