//! Dead letters and kills: whatever a message dies of, every target has it, at any moment the broker is killed
//! (behaviours 191, 199, 201).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::support::wire::*;

const ROUNDS: u64 = 8;
const MESSAGES: u64 = 150;
const TARGETS: [&str; 3] = ["dead.1", "dead.2", "dead.3"];

/// A queue in which messages die of all four reasons, and three queues that get every dead letter.
fn declare(ch: Channel<'_>) {
    ch.exchange_declare("dead", "fanout").durable().ok();
    for target in TARGETS {
        ch.queue_declare(target).durable().ok();
        ch.queue_bind(target, "dead", "").ok();
    }
    ch.queue_declare("dying")
        .durable()
        .arg("x-dead-letter-exchange", "dead")
        .arg("x-delivery-limit", 1)
        .arg("x-max-length", 60)
        .ok();
}

/// Publishes so many messages; all are confirmed. A third of them live shorter than it takes to consume anything.
fn publish(ch: Channel<'_>, first: u64) {
    ch.confirm_select().ok();
    for n in first..first + MESSAGES {
        let message = ch.publish("", "dying", n.to_string()).persistent();
        if n % 3 == 0 { message.expiration("1").send() } else { message.send() }
    }
    assert!(ch.confirms(1, MESSAGES).iter().all(|acked| *acked));
}

/// Takes what it gets for a while: every second message is rejected, the others come back until that is too often.
fn refuse(conn: &Conn, number: u16, time: Duration) {
    let ch = conn.channel(number);
    ch.qos(0, 10, false).ok();
    ch.consume("dying", "t").ok();
    let end = Instant::now() + time;
    while Instant::now() < end {
        match conn.next_within(number, Duration::from_millis(5)) {
            Event::Method(m) if m.ids == (60, 60) => {
                let d = m.delivery();
                let odd = d.text().parse::<u64>().expect("a number") % 2 == 1;
                if odd { ch.reject(d.tag).send() } else { ch.reject(d.tag).requeue().send() }
            }
            _ => {}
        }
    }
}

#[test]
fn a_dead_letter_is_in_every_target_whenever_the_broker_is_killed() {
    let _alone = alone();
    let Some(mut broker) = Broker::own() else { return };
    declare(broker.connect().channel(1));
    for round in 0..ROUNDS {
        let conn = broker.connect();
        publish(conn.channel(1), round * MESSAGES);
        refuse(&conn, 2, Duration::from_millis(3 + round * 7));
        broker.kill();
        broker.restart();
    }
    let conn = broker.connect();
    refuse(&conn, 1, Duration::from_millis(500));
    let ch = conn.channel(2);
    eventually("all messages to have died", || (ch.counts("dying").0 == 0).then_some(()));
    let mut reasons = BTreeMap::new();
    for target in TARGETS {
        let mut came = BTreeSet::new();
        ch.sync();
        while let Some(d) = ch.pull(target) {
            came.insert(d.text().parse::<u64>().expect("a number"));
            let reason = lookup(d.props.deaths()[0], "reason").expect("a reason").text().to_owned();
            *reasons.entry(reason).or_insert(0) += 1;
        }
        let lost: Vec<_> = (0..ROUNDS * MESSAGES).filter(|n| !came.contains(n)).take(10).collect();
        assert!(lost.is_empty(), "confirmed and not in {target}, the first of them: {lost:?}");
    }
    assert_eq!(
        reasons.keys().collect::<Vec<_>>(),
        ["delivery_limit", "expired", "maxlen", "rejected"],
        "each way to die was tried: {reasons:?}"
    );
}
