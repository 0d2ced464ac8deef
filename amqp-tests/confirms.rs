//! Publisher confirms (behaviours 131-138).

use crate::support::wire::*;

// behaviour 131
#[test]
fn numbers_start_at_one_behind_confirm_select() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.put(&queue, "not counted");
    ch.confirm_select().ok();
    ch.confirm_select().ok();
    ch.confirm_select().nowait().send();
    for number in 1..=3 {
        ch.put(&queue, "m");
        assert_eq!(ch.confirm(), Confirm { number, multiple: false, acked: true });
    }
    ch.quiet();
}

// behaviour 132
#[test]
fn confirms_and_transactions_exclude_each_other() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    ch.confirm_select().ok();
    let text = "PRECONDITION_FAILED - cannot switch from confirm to tx mode";
    ch.tx_select().expect_close(406, (90, 10), text);
    let ch = conn.channel(2);
    ch.tx_select().ok();
    let text = "PRECONDITION_FAILED - cannot switch from tx to confirm mode";
    ch.confirm_select().expect_close(406, (85, 10), text);
}

// behaviours 133-135
#[test]
fn each_publish_is_confirmed_once_and_quick_ones_together() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (transient, durable) = (ch.temp_queue(), unique("durable"));
    ch.queue_declare(&durable).durable().arg("x-expires", 60_000).ok();
    ch.confirm_select().ok();
    for n in 0..1000 {
        let queue = if n % 3 == 0 { &durable } else { &transient };
        ch.publish("", queue, "m").persistent().send();
    }
    let mut open: std::collections::BTreeSet<u64> = (1..=1000).collect();
    let mut multiple_seen = false;
    while !open.is_empty() {
        let c = ch.confirm();
        assert!(c.acked, "{c:?}");
        multiple_seen |= c.multiple;
        if c.multiple {
            assert!(c.number <= 1000, "{c:?}");
            open = open.split_off(&(c.number + 1));
        } else {
            assert!(open.remove(&c.number), "{c:?} was not open");
        }
    }
    assert!(multiple_seen, "1000 quick publishes without one multiple ack");
    ch.quiet();
    assert_eq!((ch.counts(&transient).0, ch.counts(&durable).0), (666, 334));
    ch.queue_delete(&durable).ok();
}

// behaviour 135
#[test]
fn a_message_to_several_queues_is_confirmed_once_all_have_it() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let exchange = ch.temp_exchange("fanout");
    let durable = unique("durable");
    ch.queue_declare(&durable).durable().arg("x-expires", 60_000).ok();
    let queues = [durable, ch.temp_queue(), ch.temp_queue()];
    queues.iter().for_each(|queue| drop(ch.queue_bind(queue, &exchange, "").ok()));
    ch.confirm_select().ok();
    for _ in 0..50 {
        ch.publish(&exchange, "", "m").persistent().send();
    }
    assert!(ch.confirms(1, 50).iter().all(|acked| *acked));
    let other = Conn::open();
    assert_eq!(other.channel(1).counts(&queues[0]).0, 50);
    assert!(queues.iter().all(|queue| ch.counts(queue).0 == 50));
    ch.queue_delete(&queues[0]).ok();
    ch.exchange_delete(&exchange).ok();
}

// behaviour 136
#[test]
fn a_message_consumed_at_once_is_confirmed_too() {
    let conn = Conn::open();
    let (ch, consumer) = (conn.channel(1), conn.channel(2));
    let queue = unique("durable");
    ch.queue_declare(&queue).durable().arg("x-expires", 60_000).ok();
    consumer.consume(&queue, "t").no_ack().ok();
    ch.confirm_select().ok();
    for n in 0..100 {
        ch.publish("", &queue, n.to_string()).persistent().send();
    }
    assert!(ch.confirms(1, 100).iter().all(|acked| *acked));
    assert_eq!(consumer.texts(100), (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
    ch.queue_delete(&queue).ok();
}

// behaviour 137
#[test]
fn a_publish_to_a_missing_exchange_is_never_acked() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let name = unique("missing");
    ch.confirm_select().ok();
    ch.publish(&name, "k", "m").send();
    assert_eq!(ch.method().is((20, 40)).close().code, 404);
    ch.close_ok().send();
    ch.open().ok();
    ch.quiet();
}

// behaviours 120, 138
#[test]
fn confirms_hold_on_many_channels_with_returns_between() {
    let conn = Conn::open();
    let queue = conn.channel(1).temp_queue();
    let nobody = unique("nobody");
    let channels: Vec<_> = (2..42).map(|n| conn.channel(n)).collect();
    channels.iter().for_each(|ch| drop(ch.confirm_select().ok()));
    for n in 0..100 {
        for ch in &channels {
            if n % 10 == 0 {
                ch.publish("", &nobody, n.to_string()).mandatory().send();
            } else {
                ch.put(&queue, "m");
            }
        }
    }
    for ch in &channels {
        let mut returned: u64 = 0;
        let mut open: std::collections::BTreeSet<u64> = (1..=100).collect();
        while !open.is_empty() {
            let m = ch.method();
            if m.ids == (60, 50) {
                assert_eq!(m.delivery().text(), (returned * 10).to_string());
                returned += 1;
                continue;
            }
            let c = m.confirm();
            assert!(c.acked);
            let numbers = if c.multiple { 1..=c.number } else { c.number..=c.number };
            for number in numbers {
                let was_open = open.remove(&number);
                assert!(was_open || c.multiple, "{number} confirmed twice");
                // Every tenth message is returned, and its return comes before its ack.
                assert!(number % 10 != 1 || returned > number / 10, "{number} was acked before its return");
            }
        }
        assert_eq!(returned, 10);
    }
    assert_eq!(conn.unopened(1).counts(&queue).0, 40 * 90);
}
