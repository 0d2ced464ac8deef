//! Policies, defaults and limits: what holds for which queue and exchange, and what is kept of it.

use crate::broker::arguments::Overflow;
use crate::broker::policy::{PolicyScope, PolicySpec};

use super::*;

fn set(name: &str, pattern: &str, priority: i64, pairs: &[(&str, AMQPValue)]) -> Command {
    let spec = PolicySpec {
        pattern: pattern.to_owned(),
        apply_to: String::new(),
        priority,
        definition: table(pairs),
    };
    Command::SetPolicy { vhost: "/".to_owned(), scope: PolicyScope::User, name: name.to_owned(), spec }
}

fn operator(command: Command) -> Command {
    match command {
        Command::SetPolicy { vhost, name, spec, .. } => {
            Command::SetPolicy { vhost, scope: PolicyScope::Operator, name, spec }
        }
        Command::ClearPolicy { vhost, name, .. } => {
            Command::ClearPolicy { vhost, scope: PolicyScope::Operator, name }
        }
        other => panic!("{other:?}"),
    }
}

fn clear(name: &str) -> Command {
    Command::ClearPolicy { vhost: "/".to_owned(), scope: PolicyScope::User, name: name.to_owned() }
}

fn int(number: i64) -> AMQPValue {
    AMQPValue::LongLongInt(number)
}

fn max_length(scene: &Scene, name: &str) -> Option<u64> {
    scene.topology.queue("/", name).unwrap().settings.max_length
}

#[test]
fn a_policy_holds_at_once_and_taking_it_away_puts_things_back() {
    let mut scene = Scene::new();
    scene.apply(queue("orders"));
    scene.apply(queue("other"));
    let outcome = scene.apply(set("p", "^ord", 0, &[("max-length", int(5))]));
    assert!(outcome.created);
    let changed: Vec<_> = outcome.changed_queues.iter().map(|queue| queue.name.to_string()).collect();
    assert_eq!(changed, ["orders"]);
    assert_eq!((max_length(&scene, "orders"), max_length(&scene, "other")), (Some(5), None));
    scene.apply(queue("ordinary"));
    assert_eq!(max_length(&scene, "ordinary"), Some(5), "at declare too");
    let again = scene.apply(set("p", "^ord", 0, &[("max-length", int(6))]));
    assert!(!again.created);
    assert_eq!(again.changed_queues.len(), 2);
    let same = scene.apply(set("p", "^ord", 0, &[("max-length", int(6))]));
    assert!(same.changed_queues.is_empty(), "nobody has to work differently");
    scene.apply(clear("p"));
    assert_eq!((max_length(&scene, "orders"), max_length(&scene, "ordinary")), (None, None));
    assert!(scene.topology.queue("/", "orders").unwrap().applied.is_none());
    assert_eq!(scene.refused(clear("p")), "Channel 404 NOT_FOUND - no policy 'p' in vhost '/'");
}

#[test]
fn the_highest_priority_holds_alone() {
    let mut scene = Scene::new();
    scene.apply(queue("q"));
    scene.apply(set("low", "", 0, &[("max-length", int(5)), ("message-ttl", int(1))]));
    scene.apply(set("high", "", 1, &[("max-length", int(9))]));
    let entry = scene.topology.queue("/", "q").unwrap();
    assert_eq!((entry.settings.max_length, entry.settings.message_ttl_ms), (Some(9), None));
    scene.apply(clear("high"));
    assert_eq!(max_length(&scene, "q"), Some(5));
}

#[test]
fn arguments_win_and_of_two_numbers_the_lower_holds() {
    let mut scene = Scene::new();
    let arguments = table(&[
        ("x-max-length", int(5)),
        ("x-message-ttl", int(50)),
        ("x-overflow", string("reject-publish")),
        ("x-dead-letter-exchange", string("mine")),
    ]);
    scene.apply(queue_with("q", arguments.clone()));
    let definition = [
        ("max-length", int(9)),
        ("message-ttl", int(20)),
        ("overflow", string("drop-head")),
        ("dead-letter-exchange", string("theirs")),
        ("dead-letter-routing-key", string("k")),
    ];
    scene.apply(set("p", "", 0, &definition));
    let settings = scene.topology.queue("/", "q").unwrap().settings.clone();
    assert_eq!((settings.max_length, settings.message_ttl_ms), (Some(5), Some(20)));
    assert_eq!(settings.overflow, Overflow::RejectPublish);
    assert_eq!(settings.dead_letter_exchange.as_deref(), Some("mine"));
    assert_eq!(settings.dead_letter_routing_key.as_deref(), Some("k"));
    assert!(!scene.apply(queue_with("q", arguments)).created, "only arguments are compared");
}

#[test]
fn delivery_limits_are_the_lower_unless_one_is_none() {
    let mut scene = Scene::new();
    let limit_of =
        |scene: &Scene, name: &str| scene.topology.queue("/", name).unwrap().settings.delivery_limit;
    scene.apply(queue_with("five", table(&[("x-delivery-limit", int(5))])));
    scene.apply(and(queue_with("quorum", table(&[("x-queue-type", string("quorum"))])), "durable"));
    scene.apply(set("p", "", 0, &[("delivery-limit", int(-1))]));
    assert_eq!((limit_of(&scene, "five"), limit_of(&scene, "quorum")), (Some(5), Some(u64::MAX)));
    scene.apply(set("p", "", 0, &[("delivery-limit", int(3))]));
    assert_eq!((limit_of(&scene, "five"), limit_of(&scene, "quorum")), (Some(3), Some(3)));
    scene.apply(clear("p"));
    assert_eq!((limit_of(&scene, "five"), limit_of(&scene, "quorum")), (Some(5), Some(20)));
}

#[test]
fn an_alternate_exchange_by_policy_changes_routes() {
    let mut scene = Scene::new();
    scene.apply(exchange("e", "direct"));
    scene.apply(queue("q"));
    scene.apply(bind("amq.fanout", to_queue("q"), ""));
    let before = scene.topology.version();
    scene.apply(set("p", "^e$", 0, &[("alternate-exchange", string("amq.fanout"))]));
    assert!(scene.topology.version() > before, "routes that were found before hold no more");
    assert_eq!(scene.targets("e", "k"), ["q"]);
    scene.apply(clear("p"));
    assert!(scene.targets("e", "k").is_empty());
    scene.apply(set("p", "^f$", 0, &[("alternate-exchange", string("amq.fanout"))]));
    scene.apply(exchange("f", "direct"));
    assert_eq!(scene.targets("f", "k"), ["q"], "at declare too");
}

#[test]
fn an_invalid_policy_changes_nothing() {
    let mut scene = Scene::new();
    let refused = scene.refused(set("p", "", 0, &[("message-ttl", int(-1))]));
    assert_eq!(refused, "Channel 406 PRECONDITION_FAILED - -1 is not a valid message TTL");
    let elsewhere =
        Command::ClearPolicy { vhost: "gone".to_owned(), scope: PolicyScope::User, name: "p".to_owned() };
    assert_eq!(scene.refused(elsewhere), "Connection 530 NOT_ALLOWED - vhost gone not found");
    assert!(scene.topology.policies("/", PolicyScope::User).is_empty());
}

fn describe(default: Option<&str>) -> Command {
    Command::DescribeVhost {
        name: "/".to_owned(),
        description: "all".to_owned(),
        tags: "a,b".to_owned(),
        default_queue_type: default.map(str::to_owned),
    }
}

#[test]
fn a_vhost_gives_queues_their_type_where_they_can_be_of_it() {
    let mut scene = Scene::new();
    scene.apply(describe(Some("quorum")));
    let type_of =
        |scene: &Scene, name: &str| scene.topology.queue("/", name).unwrap().settings.queue_type.name();
    scene.apply(and(queue("durable"), "durable"));
    scene.apply(queue("transient"));
    scene.apply(and(and(queue("exclusive"), "durable"), "exclusive"));
    scene.apply(and(queue_with("said", table(&[("x-queue-type", string("classic"))])), "durable"));
    assert_eq!(type_of(&scene, "durable"), "quorum");
    for name in ["transient", "exclusive", "said"] {
        assert_eq!(type_of(&scene, name), "classic", "{name}");
    }
    assert!(!scene.apply(and(queue("durable"), "durable")).created, "declaring again takes it too");
    let refused = scene.refused(describe(Some("stream")));
    assert_eq!(refused, "Channel 406 PRECONDITION_FAILED - unsupported queue type 'stream'");
}

#[test]
fn a_vhost_may_hold_only_so_many_queues() {
    let mut scene = Scene::new();
    let limit = |max_queues| Command::LimitVhost {
        name: "/".to_owned(),
        limits: VhostLimits { max_queues, max_connections: None },
    };
    scene.apply(limit(Some(1)));
    scene.apply(queue("one"));
    let expected = "Channel 406 PRECONDITION_FAILED - cannot declare queue 'two': queue limit in vhost '/' (1) is reached";
    assert_eq!(scene.refused(queue("two")), expected);
    assert!(!scene.apply(queue("one")).created, "one that is there may be declared again");
    scene.apply(limit(None));
    scene.apply(queue("two"));
}

fn keep(rows: &mut std::collections::BTreeMap<RowKey, Vec<u8>>, outcome: Outcome) {
    for change in outcome.changes {
        match change {
            Change::Put(row) => drop(rows.insert(row.key(), row.value())),
            Change::Delete(key) => drop(rows.remove(&key)),
        }
    }
}

#[test]
fn policies_defaults_and_limits_survive() {
    let mut scene = Scene::new();
    let mut rows = std::collections::BTreeMap::new();
    let user_limits = UserLimits { max_connections: Some(3), max_channels: None };
    let vhost_limits = VhostLimits { max_connections: None, max_queues: Some(7) };
    let user = Command::PutUser { name: "u".to_owned(), password_hash: "h".to_owned(), tags: "t".to_owned() };
    let vhost = Change::Put(Row::Vhost { name: "/".to_owned() });
    keep(&mut rows, Outcome { changes: vec![vhost], ..Outcome::default() });
    for command in [
        and(queue("q"), "durable"),
        and(exchange("e", "direct"), "durable"),
        user.clone(),
        set("p", "^q", -3, &[("max-length", int(4))]),
        set("gone", "", 9, &[("max-length", int(1))]),
        clear("gone"),
        operator(set("p", "", 0, &[("max-length", int(2))])),
        set("x", "^e", 0, &[("alternate-exchange", string("amq.fanout"))]),
        describe(Some("quorum")),
        Command::LimitVhost { name: "/".to_owned(), limits: vhost_limits },
        Command::LimitUser { name: "u".to_owned(), limits: user_limits },
        user,
    ] {
        keep(&mut rows, scene.apply(command));
    }
    let read = rows.iter().map(|(key, value)| Row::decode(&key.0, value).unwrap());
    let restored = Topology::restore(Placement::alone(4), read).unwrap();
    let queue = restored.queue("/", "q").unwrap();
    assert_eq!(queue.settings.max_length, Some(2));
    assert_eq!(queue.applied, scene.topology.queue("/", "q").unwrap().applied);
    assert_eq!(restored.exchange("/", "e").unwrap().alternate.as_deref(), Some("amq.fanout"));
    assert_eq!(restored.vhost_settings("/"), scene.topology.vhost_settings("/"));
    assert_eq!(restored.user("u").unwrap().limits, user_limits);
    for scope in [PolicyScope::User, PolicyScope::Operator] {
        assert_eq!(restored.policies("/", scope), scene.topology.policies("/", scope));
    }
    for command in
        [Command::DeleteUser { name: "u".to_owned() }, Command::DeleteVhost { name: "/".to_owned() }]
    {
        keep(&mut rows, scene.apply(command));
    }
    let left: Vec<_> = rows.keys().map(|key| key.0[0]).collect();
    assert_eq!(left, [1], "the counter alone is left");
}

#[test]
fn policies_for_100_000_queues_take_no_seconds() {
    let mut scene = Scene::new();
    for n in 0..100_000 {
        scene.apply(queue(&format!("service.{}.events.{n}", n % 100)));
    }
    for n in 0..9 {
        scene.apply(set(&format!("p{n}"), &format!(r"^team\.{n}\."), n, &[("max-length", int(n))]));
    }
    let outcome = scene.apply(set("last", r"^service\.\d+\.events", 100, &[("max-length", int(10))]));
    assert_eq!(outcome.changed_queues.len(), 100_000);
}
