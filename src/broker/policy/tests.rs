//! Policies: what is taken, which one holds, what two of them make together.

use amq_protocol::types::{AMQPValue, FieldTable, LongString};

use super::*;

const CLASSIC: ObjectKind = ObjectKind::Queue(QueueType::Classic);
const QUORUM: ObjectKind = ObjectKind::Queue(QueueType::Quorum);

fn string(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

fn int(number: i64) -> AMQPValue {
    AMQPValue::LongLongInt(number)
}

fn table(pairs: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in pairs {
        table.insert((*name).into(), value.clone());
    }
    table
}

fn spec(pattern: &str, apply_to: &str, priority: i64, pairs: &[(&str, AMQPValue)]) -> PolicySpec {
    PolicySpec {
        pattern: pattern.to_owned(),
        apply_to: apply_to.to_owned(),
        priority,
        definition: table(pairs),
    }
}

fn refusal(scope: PolicyScope, pairs: &[(&str, AMQPValue)]) -> String {
    Policy::new("p", scope, spec(".*", "all", 0, pairs)).unwrap_err()
}

#[test]
fn refusals_are_worded_as_by_rabbitmq() {
    let user = PolicyScope::User;
    for (pairs, expected) in [
        (vec![], "no policy provided"),
        (vec![("nope", int(1))], "[{<<\"nope\">>,1}] are not recognised policy settings"),
        (
            vec![("b", string("x")), ("a", AMQPValue::Boolean(true)), ("max-length", int(1))],
            "[{<<\"a\">>,true},{<<\"b\">>,<<\"x\">>}] are not recognised policy settings",
        ),
        (vec![("message-ttl", int(-1))], "-1 is not a valid message TTL"),
        (vec![("message-ttl", string("1"))], "<<\"1\">> is not a valid message TTL"),
        (vec![("expires", int(0))], "0 is not a valid queue expiry"),
        (vec![("max-length", int(-5))], "-5 is not a valid maximum length"),
        (vec![("max-length-bytes", int(-5))], "-5 is not a valid maximum length in bytes"),
        (vec![("overflow", string("x"))], "<<\"x\">> is not a valid overflow value"),
        (vec![("dead-letter-exchange", int(1))], "1 is not a valid dead letter exchange name"),
        (vec![("dead-letter-routing-key", int(1))], "1 is not a valid dead letter routing key"),
        (vec![("alternate-exchange", int(1))], "1 is not a valid alternate exchange name"),
        (vec![("delivery-limit", string("x"))], "<<\"x\">> is not a valid delivery limit"),
        (vec![("consumer-timeout", int(-1))], "-1 is not a valid consumer timeout"),
        (vec![("queue-version", int(3))], "3 is not a valid queue-version value"),
        (vec![("queue-mode", string("x"))], "<<\"x\">> is not a valid queue-mode value"),
        (vec![("max-age", string("7"))], "<<\"7\">> is not a valid max age"),
        (
            vec![("delayed-retry-type", string("all"))],
            "delayed-retry-min is required when delayed-retry-type is all",
        ),
        (
            vec![("delayed-retry-min", int(5)), ("delayed-retry-max", int(4))],
            "delayed-retry-max (4) must not be smaller than delayed-retry-min (5)",
        ),
    ] {
        assert_eq!(refusal(user, &pairs), expected, "{pairs:?}");
    }
    let exchange = [("dead-letter-exchange", string("x"))];
    let expected = "[{<<\"dead-letter-exchange\">>,<<\"x\">>}] are not recognised policy settings";
    assert_eq!(refusal(PolicyScope::Operator, &exchange), expected);
}

#[test]
fn what_is_known_is_taken() {
    let pairs = [
        ("ha-mode", string("exactly")),
        ("ha-params", int(2)),
        ("ha-sync-mode", string("automatic")),
        ("federation-upstream-set", string("all")),
        ("queue-mode", string("lazy")),
        ("max-age", string("7D")),
        ("delivery-limit", int(-1)),
        ("max-length", int(0)),
        ("queue-leader-locator", string("balanced")),
        ("stream-filter-size-bytes", int(16)),
        ("target-group-size", int(3)),
    ];
    for pair in pairs {
        Policy::new("p", PolicyScope::User, spec("", "", 0, &[pair])).unwrap();
    }
}

#[test]
fn patterns_and_objects_are_checked() {
    let definition = [("max-length", int(1))];
    let new = |pattern: &str, apply_to: &str| {
        Policy::new("p", PolicyScope::User, spec(pattern, apply_to, 0, &definition)).map(drop)
    };
    assert_eq!(
        new("(", "all").unwrap_err(),
        "pattern should be regular expression but is invalid: {\"missing closing parenthesis\",1}"
    );
    let bad = new("[", "all").unwrap_err();
    assert!(bad.starts_with("pattern should be regular expression but is invalid: {\""), "{bad}");
    let apply_to = new(".*", "cats").unwrap_err();
    assert!(
        apply_to.starts_with("apply-to 'cats' unrecognised; should be one of: 'queues', 'classic_queues'")
    );
    for known in ["", "all", "queues", "classic_queues", "quorum_queues", "streams", "exchanges"] {
        new(".*", known).unwrap();
    }
}

fn ranked(specs: &[(&str, PolicySpec)]) -> Ranked {
    let mut ranked = Ranked::default();
    for (name, spec) in specs {
        ranked.put(Policy::new(name, PolicyScope::User, spec.clone()).unwrap());
    }
    ranked
}

fn found(ranked: &Ranked, kind: ObjectKind, name: &str) -> Option<String> {
    ranked.find(kind, name).map(|policy| policy.name.to_string())
}

#[test]
fn the_highest_priority_that_is_for_an_object_holds() {
    let definition = [("max-length", int(1))];
    let ranked = ranked(&[
        ("low", spec(".", "all", 0, &definition)),
        ("b", spec("^a", "queues", 5, &definition)),
        ("a", spec("^a", "queues", 5, &definition)),
        ("top", spec("z$", "quorum_queues", 9, &definition)),
        ("x", spec("a", "exchanges", -1, &definition)),
    ]);
    let found = |kind, name| found(&ranked, kind, name);
    assert_eq!(found(CLASSIC, "abc").as_deref(), Some("a"), "equals by name");
    assert_eq!(found(CLASSIC, "cba").as_deref(), Some("low"));
    assert_eq!(found(CLASSIC, "az").as_deref(), Some("a"));
    assert_eq!(found(QUORUM, "az").as_deref(), Some("top"));
    assert_eq!(found(ObjectKind::Exchange, "za").as_deref(), Some("low"));
    assert_eq!(found(CLASSIC, ""), None);
}

#[test]
fn patterns_are_searched_and_may_look_ahead() {
    let definition = [("max-length", int(1))];
    let found = |pattern: &str, name: &str| {
        found(&ranked(&[("p", spec(pattern, "all", 0, &definition))]), CLASSIC, name).is_some()
    };
    assert!(found("dd", "middle"));
    assert!(!found("^dd", "middle"));
    assert!(found(r"^(?!amq\.).*", "orders"));
    assert!(!found(r"^(?!amq\.).*", "amq.gen-x"));
    assert!(found("", "anything"));
    assert!(!found("^(a+)+(?=b)$", &"a".repeat(200)), "what takes too long does not match");
}

#[test]
fn a_key_of_another_type_of_queue_makes_a_policy_not_for_it() {
    let holds = |key: &str, value: AMQPValue, kind| {
        found(&ranked(&[("p", spec("", "all", 0, &[(key, value)]))]), kind, "q").is_some()
    };
    assert!(!holds("max-age", string("1h"), CLASSIC) && !holds("max-age", string("1h"), QUORUM));
    assert!(holds("ha-mode", string("all"), CLASSIC) && !holds("ha-mode", string("all"), QUORUM));
    assert!(!holds("max-in-memory-length", int(1), CLASSIC) && holds("max-in-memory-length", int(1), QUORUM));
    assert!(holds("delivery-limit", int(1), CLASSIC), "every queue counts returns here");
    assert!(holds("max-age", string("1h"), ObjectKind::Exchange));
}

#[test]
fn an_operators_policy_bounds_the_other() {
    let policy = |scope, pairs: &[(&str, AMQPValue)]| {
        Arc::new(Policy::new("p", scope, spec("", "all", 0, pairs)).unwrap())
    };
    let user = policy(
        PolicyScope::User,
        &[
            ("max-length", int(10)),
            ("message-ttl", int(5)),
            ("overflow", string("drop-head")),
            ("delivery-limit", int(-1)),
            ("delayed-retry-min", int(5)),
            ("delayed-retry-max", int(50)),
            ("dead-letter-exchange", string("x")),
        ],
    );
    let operator = policy(
        PolicyScope::Operator,
        &[
            ("max-length", int(7)),
            ("message-ttl", int(9)),
            ("overflow", string("reject-publish")),
            ("delivery-limit", int(4)),
            ("delayed-retry-min", int(6)),
            ("delayed-retry-max", int(60)),
            ("expires", int(1000)),
        ],
    );
    let both = Applied::of(Some(&user), Some(&operator)).unwrap();
    let expected = [
        ("max-length", int(7)),
        ("message-ttl", int(5)),
        ("overflow", string("reject-publish")),
        ("delivery-limit", int(4)),
        ("delayed-retry-min", int(6)),
        ("delayed-retry-max", int(50)),
        ("expires", int(1000)),
        ("dead-letter-exchange", string("x")),
    ];
    assert_eq!(both.definition, table(&expected));
    assert_eq!(Applied::of(None, Some(&operator)).unwrap().definition, operator.definition);
    assert_eq!(Applied::of(None, None), None);
}
