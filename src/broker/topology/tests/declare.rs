//! Declaring and deleting exchanges, queues, vhosts and users.

use super::*;

const LOCKED: &str = "Channel 405 RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'ex' in vhost '/'. It \
                      could be originally declared on another connection or the exclusive property value does not \
                      match that of the original declaration.";

#[test]
fn refused_exchanges() {
    let mut scene = Scene::new();
    scene.apply(exchange("e", "direct"));
    let alternate = |value| table(&[("alternate-exchange", value)]);
    let inequivalent = "Channel 406 PRECONDITION_FAILED - inequivalent arg";
    let default = "Channel 403 ACCESS_REFUSED - operation not permitted on the default exchange";
    let cases = [
        (
            exchange("e", "fanout"),
            format!("{inequivalent} 'type' for exchange 'e' in vhost '/': received 'fanout' but current is 'direct'"),
        ),
        (
            and(exchange("e", "direct"), "durable"),
            format!("{inequivalent} 'durable' for exchange 'e' in vhost '/': received 'true' but current is 'false'"),
        ),
        (
            and(exchange("e", "direct"), "auto_delete"),
            format!(
                "{inequivalent} 'auto_delete' for exchange 'e' in vhost '/': received 'true' but current is 'false'"
            ),
        ),
        (
            and(exchange("e", "direct"), "internal"),
            format!("{inequivalent} 'internal' for exchange 'e' in vhost '/': received 'true' but current is 'false'"),
        ),
        (
            exchange_with("e", "direct", alternate(string("ae"))),
            format!(
                "{inequivalent} 'alternate-exchange' for exchange 'e' in vhost '/': received the value 'ae' of type \
                 'longstr' but current is none"
            ),
        ),
        (
            and(exchange("amq.direct", "fanout"), "durable"),
            format!(
                "{inequivalent} 'type' for exchange 'amq.direct' in vhost '/': received 'fanout' but current is \
                 'direct'"
            ),
        ),
        (
            and(exchange("nox", "direct"), "passive"),
            "Channel 404 NOT_FOUND - no exchange 'nox' in vhost '/'".to_owned(),
        ),
        (
            exchange("new", "nosuchtype"),
            "Channel 406 PRECONDITION_FAILED - unknown exchange type 'nosuchtype'".to_owned(),
        ),
        (
            exchange("amq.mine", "direct"),
            "Channel 403 ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'".to_owned(),
        ),
        (
            exchange_with("ae", "direct", alternate(AMQPValue::LongInt(1))),
            "Channel 406 PRECONDITION_FAILED - invalid type 'signedint' for arg 'alternate-exchange' in exchange 'ae' \
             in vhost '/'"
                .to_owned(),
        ),
        (exchange("", "direct"), default.to_owned()),
        (and(exchange("\r\n", "direct"), "passive"), default.to_owned()),
        (delete_exchange("", false), default.to_owned()),
        (
            delete_exchange("amq.fanout", false),
            "Channel 403 ACCESS_REFUSED - deletion of system exchange 'amq.fanout' in vhost '/' not allowed".to_owned(),
        ),
    ];
    for (command, expected) in cases {
        assert_eq!(scene.refused(command), expected);
    }
}

#[test]
fn accepted_exchanges() {
    let mut scene = Scene::new();
    for name in ["amq.direct", "amq.fanout", "amq.topic", "amq.headers", "amq.match", "amq.rabbitmq.trace"] {
        assert!(scene.has_exchange(name));
        scene.apply(and(exchange(name, "any"), "passive"));
    }
    assert!(!scene.apply(and(exchange("amq.match", "headers"), "durable")).created);
    assert!(scene.apply(exchange("a\r\nb", "topic")).created);
    assert!(
        !scene.apply(exchange_with("ab", "topic", table(&[("x-nonsense", AMQPValue::LongInt(1))]))).created
    );
    scene.apply(delete_exchange("nox", true));
    scene.apply(delete_exchange("a\nb", true));
    assert!(!scene.has_exchange("ab"));
}

#[test]
fn refused_queues() {
    let mut scene = Scene::new();
    scene.apply(queue("q"));
    scene.apply(and(queue("ex"), "exclusive"));
    let inequivalent = "Channel 406 PRECONDITION_FAILED - inequivalent arg";
    let used = |consumers, messages| {
        let mut command = delete_queue("q");
        if let Command::DeleteQueue { consumers: c, messages: m, .. } = &mut command {
            (*c, *m) = (consumers, messages);
        }
        command
    };
    let quorum = || queue_with("new", table(&[("x-queue-type", string("quorum"))]));
    let cases = [
        (
            queue("amq.mine"),
            "Channel 403 ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'".to_owned(),
        ),
        (and(queue("none"), "passive"), "Channel 404 NOT_FOUND - no queue 'none' in vhost '/'".to_owned()),
        (
            and(queue("q"), "durable"),
            format!("{inequivalent} 'durable' for queue 'q' in vhost '/': received 'true' but current is 'false'"),
        ),
        (
            and(queue("q"), "auto_delete"),
            format!("{inequivalent} 'auto_delete' for queue 'q' in vhost '/': received 'true' but current is 'false'"),
        ),
        (
            queue_with("q", table(&[("x-queue-type", string("quorum"))])),
            format!(
                "{inequivalent} 'x-queue-type' for queue 'q' in vhost '/': received the value 'quorum' of type \
                 'longstr' but current is none"
            ),
        ),
        (and(queue("q"), "exclusive"), LOCKED.replace("'ex'", "'q'")),
        (queue("ex"), LOCKED.to_owned()),
        (by_other(queue("ex")), LOCKED.to_owned()),
        (by_other(and(queue("ex"), "exclusive")), LOCKED.to_owned()),
        (by_other(and(queue("ex"), "passive")), LOCKED.to_owned()),
        (by_other(Command::CheckQueue { vhost: "/".to_owned(), name: "ex".to_owned(), owner: 0 }), LOCKED.to_owned()),
        (by_other(delete_queue("ex")), LOCKED.to_owned()),
        (by_other(bind("amq.direct", to_queue("ex"), "")), LOCKED.to_owned()),
        (used(0, 1), "Channel 406 PRECONDITION_FAILED - queue 'q' in vhost '/' not empty".to_owned()),
        (used(1, 0), "Channel 406 PRECONDITION_FAILED - queue 'q' in vhost '/' in use".to_owned()),
        (
            quorum(),
            "Channel 406 PRECONDITION_FAILED - invalid property 'non-durable' for queue 'new' in vhost '/'".to_owned(),
        ),
        (
            and(and(quorum(), "durable"), "generated"),
            "Channel 406 PRECONDITION_FAILED - Cannot declare a server-named queue for type rabbit_quorum_queue"
                .to_owned(),
        ),
    ];
    for (command, expected) in cases {
        assert_eq!(scene.refused(command), expected);
    }
}

#[test]
fn accepted_queues() {
    let mut scene = Scene::new();
    let first = scene.apply(queue("q\r\n")).queue.unwrap();
    let again = scene.apply(queue("q"));
    assert_eq!((again.created, again.queue), (false, Some(first)));
    scene.apply(and(queue("q"), "passive"));
    scene.apply(and(queue("amq.gen-x"), "generated"));
    scene.apply(and(queue("amq.gen-x"), "passive"));
    assert!(scene.apply(delete_queue("none")).deleted_queues.is_empty());
    assert_eq!(scene.apply(delete_queue("q\n")).deleted_queues.len(), 1);
    let next = scene.apply(queue("q")).queue.unwrap();
    assert_eq!((next.id.0, next.shard), (3, 3));
}

#[test]
fn an_exclusive_queue_goes_with_its_owner() {
    let mut scene = Scene::new();
    let exclusive = and(and(queue("ex"), "exclusive"), "durable");
    let entry = scene.apply(exclusive.clone()).queue.unwrap();
    assert_eq!((entry.durable, entry.exclusive), (false, Some(ME)));
    assert!(!scene.apply(exclusive).created);
    scene.apply(bind("amq.fanout", to_queue("ex"), ""));
    assert!(scene.apply(Command::DropOwner { owner: OTHER }).deleted_queues.is_empty());
    assert_eq!(scene.apply(Command::DropOwner { owner: ME }).deleted_queues, [entry]);
    assert!(scene.topology.queue("/", "ex").is_none());
    assert!(scene.targets("amq.fanout", "").is_empty());
}

#[test]
fn a_dropped_queue_may_be_gone() {
    let mut scene = Scene::new();
    let id = scene.apply(queue("q")).queue.unwrap().id;
    assert_eq!(scene.apply(Command::DropQueue { id }).deleted_queues.len(), 1);
    assert_eq!(scene.apply(Command::DropQueue { id }).deleted_queues.len(), 0);
}

#[test]
fn a_vhost_takes_everything_with_it() {
    let mut scene = Scene::new();
    scene.apply(and(exchange("e", "direct"), "durable"));
    scene.apply(and(queue("q"), "durable"));
    scene.apply(queue("transient"));
    scene.apply(bind("e", to_queue("q"), "k"));
    let gone = scene.apply(Command::DeleteVhost { name: "/".to_owned() });
    assert_eq!(gone.deleted_queues.len(), 2);
    assert_eq!(gone.changes.len(), 4);
    assert!(scene.topology.all_queues().is_empty());
    let text = "Connection 530 NOT_ALLOWED - vhost / not found";
    assert_eq!(scene.refused(queue("q")), text);
    let query = RouteQuery { vhost: "/", exchange: "amq.direct", ..RouteQuery::default() };
    assert_eq!(scene.route(&query), Err(RouteError::NoExchange));
}

#[test]
fn users_come_and_go() {
    let mut scene = Scene::new();
    let put = |tags: &str| Command::PutUser {
        name: "u".to_owned(),
        password_hash: "hash".to_owned(),
        tags: tags.to_owned(),
    };
    assert!(scene.apply(put("")).created);
    assert!(!scene.apply(put("administrator")).created);
    assert_eq!(scene.topology.user("u").unwrap().tags, "administrator");
    scene.apply(Command::DeleteUser { name: "u".to_owned() });
    let missing = scene.refused(Command::DeleteUser { name: "u".to_owned() });
    assert_eq!(missing, "Channel 404 NOT_FOUND - no user 'u'");
}
