//! Moves and kills: at any moment the broker is killed, a message is in its queue, where it went, or in both.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::support::wire::*;

const MESSAGES: u64 = 6000;

#[test]
fn a_move_loses_nothing_whenever_the_broker_is_killed() {
    let _alone = alone();
    let Some(mut broker) = Broker::checkpointing() else { return };
    let conn = broker.connect();
    let ch = conn.channel(1);
    ch.queue_declare("here").durable().ok();
    ch.queue_declare("there").durable().ok();
    ch.confirm_select().ok();
    for n in 0..MESSAGES {
        ch.publish("", "here", n.to_string()).persistent().send();
    }
    assert!(ch.confirms(1, MESSAGES).iter().all(|acked| *acked));
    for round in 0..6 {
        let operator = Operator::of(&broker);
        let body = json!({"filter": {}, "destination_queue": "there", "limit": 900});
        let (status, job) = operator.post("/queues/%2F/here/messages/move", &body);
        assert_eq!(status, 201, "{job}");
        std::thread::sleep(Duration::from_millis(2 + round * 5));
        broker.kill();
        broker.restart();
    }
    let conn = broker.connect();
    let ch = conn.channel(1);
    let mut counts = BTreeMap::new();
    let moved = ch.counts("there").0;
    for queue in ["here", "there"] {
        for text in ch.pull_all(queue) {
            *counts.entry(text.parse::<u64>().expect("a number")).or_insert(0) += 1;
        }
    }
    let lost: Vec<_> = (0..MESSAGES).filter(|n| !counts.contains_key(n)).take(10).collect();
    assert!(lost.is_empty(), "neither here nor there, the first of them: {lost:?}");
    assert!(moved > 0, "some were moved");
    let twice = counts.values().filter(|count| **count > 1).count();
    assert!(twice < 6 * 1024, "only what was under way at a kill may be twice there: {twice}");
}
