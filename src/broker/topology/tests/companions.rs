//! Exchanges that remember: their companions, their arguments, what a new binding is given.

use super::*;
use crate::broker::ids::QueueId;
use crate::protocol::properties::Properties;
use amq_protocol::types::AMQPValue::{Boolean, LongInt};

fn history(name: &str, length: i32) -> Command {
    and(
        exchange_with(name, "x-recent-history", table(&[("x-recent-history-length", LongInt(length))])),
        "durable",
    )
}

fn deduplicating(name: &str) -> Command {
    let arguments = table(&[("x-message-deduplication", Boolean(true)), ("x-cache-size", LongInt(5))]);
    and(exchange_with(name, "topic", arguments), "durable")
}

/// The topology out of the rows of these changes.
fn restored(changes: &[Change]) -> Topology {
    let mut rows = std::collections::BTreeMap::new();
    for change in changes {
        match change {
            Change::Put(row) => {
                drop(rows.insert(row.key(), Row::decode(&row.key().0, &row.value()).unwrap()));
            }
            Change::Delete(key) => drop(rows.remove(key)),
        }
    }
    Topology::restore(Placement::alone(4), rows.into_values()).unwrap()
}

#[test]
fn an_exchange_that_remembers_comes_and_goes_with_a_queue_that_nobody_finds() {
    let mut scene = Scene::new();
    let mut changes = vec![Change::Put(Row::Vhost { name: "/".to_owned() })];
    for declare in [history("h", 3), deduplicating("d")] {
        let outcome = scene.apply(declare.clone());
        assert!(outcome.queue.is_none());
        let companion = outcome.companion.clone().unwrap();
        assert!(companion.durable && scene.topology.queue_by_id(companion.id).is_some());
        assert!(scene.topology.queue("/", &companion.name).is_none());
        assert!(scene.topology.queues("/").is_empty());
        assert!(scene.targets("", &companion.name).is_empty());
        changes.extend(outcome.changes);
        assert!(scene.apply(declare).companion.is_none(), "declared again it is the same");
    }
    let again = restored(&changes);
    for name in ["h", "d"] {
        let companion = scene.topology.exchange("/", name).unwrap().companion.clone();
        assert_eq!(again.exchange("/", name).unwrap().companion, companion);
        assert_eq!(again.all_queues(), scene.topology.all_queues());
    }
    for name in ["h", "d"] {
        let delete =
            Command::DeleteExchange { vhost: "/".to_owned(), name: name.to_owned(), if_unused: false };
        let outcome = scene.apply(delete);
        assert_eq!(outcome.deleted_queues.len(), 1);
        changes.extend(outcome.changes);
    }
    assert!(scene.topology.all_queues().is_empty());
    let empty = restored(&changes);
    assert!(empty.all_queues().is_empty() && empty.exchange("/", "h").is_none());
}

#[test]
fn companions_go_with_their_vhost_and_with_auto_deleted_exchanges() {
    let mut scene = Scene::new();
    scene.apply(and(history("h", 3), "auto_delete"));
    scene.apply(queue("q"));
    scene.apply(bind("h", to_queue("q"), ""));
    let dropped = scene.apply(Command::DropQueue { id: scene.topology.queue("/", "q").unwrap().id });
    assert_eq!(dropped.queue.map(|queue| queue.name.to_string()).as_deref(), Some("q"));
    assert_eq!(dropped.deleted_queues.len(), 2);
    assert!(scene.topology.all_queues().is_empty());
    scene.apply(deduplicating("d"));
    let outcome = scene.apply(Command::DeleteVhost { name: "/".to_owned() });
    assert_eq!(outcome.deleted_queues.len(), 1);
    let companions = outcome.changes.iter().filter(|change| change.key().0.first() == Some(&20));
    assert_eq!(companions.count(), 1);
    assert!(scene.topology.all_queues().is_empty());
}

#[test]
fn a_history_keeps_messages_and_does_not_count_as_a_receiver() {
    let mut scene = Scene::new();
    let companion = scene.apply(history("h", 3)).companion.unwrap().target();
    let headers =
        crate::protocol::table::from_field_table(&table(&[("x-recent-history-no-store", Boolean(true))]));
    let unkept = Properties { headers: Some(&headers), ..Properties::default() };
    let query = RouteQuery { vhost: "/", exchange: "h", keys: &["k"], ..RouteQuery::default() };
    let mut out = Vec::new();
    let routed = scene.topology.route(&query, &mut out).unwrap();
    assert_eq!((routed.kept, routed.cacheable, out), (1, false, vec![companion]));
    let mut out = Vec::new();
    let routed = scene.topology.route(&RouteQuery { properties: Some(&unkept), ..query }, &mut out).unwrap();
    assert_eq!((routed.kept, out.len()), (0, 0));
    scene.apply(exchange("x", "fanout"));
    scene.apply(bind("x", to_exchange("h"), ""));
    let mut out = Vec::new();
    let routed = scene.topology.route(&RouteQuery { exchange: "x", ..query }, &mut out).unwrap();
    assert_eq!((routed.kept, out), (1, vec![companion]), "also behind another exchange");
}

#[test]
fn a_new_binding_is_given_what_is_kept() {
    let mut scene = Scene::new();
    let companion = scene.apply(history("h", 3)).companion.unwrap().target();
    scene.apply(queue("q"));
    scene.apply(exchange("x", "fanout"));
    let target = scene.topology.queue("/", "q").unwrap().target();
    let first = scene.apply(bind("h", to_queue("q"), ""));
    assert_eq!(first.recall, Some(Recall { companion, to: RecallTo::Queue(target) }));
    assert_eq!(scene.apply(bind("h", to_queue("q"), "")).recall, None, "a binding that is there is not new");
    let to = RecallTo::Exchange { vhost: "/".into(), name: "x".to_owned() };
    assert_eq!(scene.apply(bind("h", to_exchange("x"), "")).recall, Some(Recall { companion, to }));
    scene.apply(deduplicating("d"));
    assert_eq!(scene.apply(bind("d", to_queue("q"), "")).recall, None);
}

#[test]
fn only_the_exchange_that_is_published_to_has_a_gate() {
    let mut scene = Scene::new();
    let companion = scene.apply(deduplicating("d")).companion.unwrap().target();
    scene.apply(exchange("x", "fanout"));
    scene.apply(bind("x", to_exchange("d"), ""));
    scene.apply(queue("q"));
    scene.apply(bind("d", to_queue("q"), "#"));
    let gate = |exchange: &str| {
        let query = RouteQuery { vhost: "/", exchange, keys: &["k"], ..RouteQuery::default() };
        let mut out = Vec::new();
        let routed = scene.topology.route(&query, &mut out).unwrap();
        assert_eq!(out.len(), 1);
        (routed.gate.map(|gate| (gate.companion, gate.deduplication.size)), routed.cacheable)
    };
    assert_eq!(gate("d"), (Some((companion, 5)), false));
    assert_eq!(gate("x"), (None, true));
    let always = scene.apply(exchange("always", "x-message-deduplication"));
    assert!(always.companion.is_some_and(|companion| !companion.durable));
}

#[test]
fn arguments_are_checked_and_compared() {
    let mut scene = Scene::new();
    let wrong = |value| exchange_with("h", "x-recent-history", table(&[("x-recent-history-length", value)]));
    for (value, text) in [(LongInt(0), "0"), (LongInt(-1), "-1"), (string("many"), "<<\"many\">>")] {
        let expected = format!(
            "Channel 406 PRECONDITION_FAILED - Invalid argument {text}, 'x-recent-history-length' must be a positive \
             integer"
        );
        assert_eq!(scene.refused(wrong(value)), expected);
    }
    for (name, value, reason) in [
        ("x-message-deduplication", string("true"), "{unacceptable_type,longstr}"),
        ("x-cache-size", LongInt(0), "{value_zero,0}"),
        ("x-cache-ttl", string("soon"), "\"expected integer, got longstr\""),
        ("x-deduplication-header", LongInt(1), "{unacceptable_type,signedint}"),
    ] {
        let text = scene.refused(exchange_with("d", "direct", table(&[(name, value)])));
        let expected = format!(
            "Channel 406 PRECONDITION_FAILED - invalid arg '{name}' for exchange 'd' in vhost '/': {reason}"
        );
        assert_eq!(text, expected);
    }
    scene.apply(history("h", 3));
    scene.apply(deduplicating("d"));
    assert!(scene.refused(history("h", 4)).contains("inequivalent arg 'x-recent-history-length'"));
    let other =
        and(exchange_with("d", "topic", table(&[("x-message-deduplication", Boolean(true))])), "durable");
    assert!(scene.refused(other).contains("inequivalent arg 'x-cache-size'"));
}

#[test]
fn a_companion_without_its_exchange_is_refused() {
    let vhost = Row::Vhost { name: "/".to_owned() };
    let companion =
        Row::Companion { vhost: "/".to_owned(), exchange: "x".to_owned(), id: QueueId(1), home: None };
    assert!(Topology::restore(Placement::alone(4), [vhost, companion].into_iter()).is_err());
}
