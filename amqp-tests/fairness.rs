//! Who gets how much: consumers of one queue under priorities, prefetch, hand-over and coming and going
//! (behaviours 150, 152, 154-156, 166, 167, 169).

use std::collections::BTreeMap;

use crate::support::wire::*;

/// How many of the next `n` deliveries each consumer tag gets; each is acknowledged.
fn shares(ch: Channel<'_>, n: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for d in ch.deliveries(n) {
        *shares.entry(d.consumer_tag).or_default() += 1;
        ch.ack(d.tag).send();
    }
    shares
}

fn fill(ch: Channel<'_>, queue: &str, n: usize) {
    for m in 0..n {
        ch.put(queue, m.to_string());
    }
    ch.sync();
}

/// No share is further from the mean than a fifth.
#[track_caller]
fn assert_even(shares: &BTreeMap<String, usize>, tags: usize) {
    assert_eq!(shares.len(), tags, "{shares:?}");
    let mean = shares.values().sum::<usize>() / tags;
    assert!(shares.values().all(|share| share.abs_diff(mean) * 5 <= mean), "uneven: {shares:?}");
}

#[test]
fn consumers_of_one_priority_share_evenly_and_lower_ones_wait() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.qos(0, 5, false).ok();
    for tag in ["high.1", "high.2", "high.3"] {
        ch.consume(&queue, tag).arg("x-priority", 1).ok();
    }
    let low = conn.channel(2);
    low.consume(&queue, "low").ok();
    // One at a time: whoever is free and of the highest priority gets it.
    let mut shares = BTreeMap::new();
    for n in 0..60 {
        ch.put(&queue, n.to_string());
        let d = ch.delivery();
        ch.ack(d.tag).send();
        ch.sync();
        *shares.entry(d.consumer_tag).or_default() += 1;
    }
    assert_even(&shares, 3);
    low.quiet();
    // When the high ones are full, the low one gets the rest.
    fill(ch, &queue, 20);
    assert_eq!(ch.deliveries(15).len(), 15);
    assert_eq!(low.texts(5), ["15", "16", "17", "18", "19"]);
}

#[test]
fn equal_consumers_behind_a_backlog_share_evenly_whatever_their_channel() {
    let conn = Conn::open();
    let filler = conn.channel(9);
    let queue = filler.temp_queue();
    let channels = [conn.channel(1), conn.channel(2), conn.channel(3)];
    fill(filler, &queue, 3000);
    for (tag, ch) in ["a", "b", "c"].into_iter().zip(channels) {
        ch.qos(0, 10, false).ok();
        ch.consume(&queue, tag).ok();
    }
    let mut sum = BTreeMap::new();
    for _ in 0..30 {
        for ch in channels {
            for (tag, share) in shares(ch, 10) {
                *sum.entry(tag).or_default() += share;
            }
        }
    }
    assert_even(&sum, 3);
}

#[test]
fn raising_the_prefetch_of_a_running_channel_takes_effect_at_once() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.qos(0, 1, true).ok();
    ch.consume(&queue, "t").ok();
    fill(ch, &queue, 30);
    let first = ch.delivery();
    ch.quiet();
    ch.qos(0, 4, true).ok();
    let three = ch.deliveries(3);
    ch.quiet();
    // Lowering takes nothing back, and holds from then on.
    ch.qos(0, 2, true).ok();
    ch.ack(first.tag).send();
    ch.ack(three[0].tag).send();
    ch.quiet();
    ch.ack(three[1].tag).send();
    assert_eq!(ch.delivery().text(), "4");
    ch.quiet();
    ch.qos(0, 0, true).ok();
    assert_eq!(ch.deliveries(25).len(), 25);
}

#[test]
fn a_prefetch_changed_while_running_holds_for_new_consumers_beside_old_ones() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.qos(0, 2, false).ok();
    ch.consume(&queue, "two").ok();
    ch.qos(0, 5, false).ok();
    ch.consume(&queue, "five").ok();
    fill(ch, &queue, 20);
    let mut shares = BTreeMap::new();
    for d in ch.deliveries(7) {
        *shares.entry(d.consumer_tag).or_default() += 1;
    }
    assert_eq!(shares, BTreeMap::from([("five".to_owned(), 5), ("two".to_owned(), 2)]));
    ch.quiet();
}

#[test]
fn a_single_active_consumer_hands_over_in_order_and_loses_nothing() {
    let conn = Conn::open();
    let publisher = conn.channel(9);
    let queue = unique("q");
    publisher.queue_declare(&queue).exclusive().arg("x-single-active-consumer", true).ok();
    let channels: Vec<_> = (1..=4).map(|number| conn.channel(number)).collect();
    for (n, ch) in channels.iter().enumerate() {
        ch.qos(0, 3, false).ok();
        ch.consume(&queue, &format!("c{n}")).ok();
    }
    fill(publisher, &queue, 100);
    // Each acknowledges two of the three it holds and goes: its third comes first at the next, marked.
    let mut next = 0;
    for (n, ch) in channels.iter().enumerate() {
        let held = ch.deliveries(3);
        let texts: Vec<_> = held.iter().map(Delivery::text).collect();
        assert_eq!(texts, [next, next + 1, next + 2].map(|m| m.to_string()), "consumer {n}");
        assert_eq!(held[0].redelivered, n > 0, "what the one before held comes first");
        channels[n + 1..].iter().for_each(|waiting| waiting.sync());
        ch.ack(held[1].tag).multiple().send();
        next += 2;
        // The acknowledgement made room for two more.
        assert_eq!(ch.deliveries(2).len(), 2);
        ch.close().ok();
    }
    assert_eq!(publisher.counts(&queue), (100 - next, 0));
}

#[test]
fn consumers_that_come_and_go_leave_no_message_behind() {
    let conn = Conn::open();
    let publisher = conn.channel(1);
    let queue = publisher.temp_queue();
    fill(publisher, &queue, 500);
    let mut came = Vec::new();
    for number in 2..52 {
        let ch = conn.channel(number);
        ch.qos(0, 20, false).ok();
        ch.consume(&queue, "t").ok();
        for d in ch.deliveries(10) {
            came.push(d.text());
            ch.ack(d.tag).send();
        }
        // With what it still holds.
        ch.close().ok();
    }
    came.sort_by_key(|text| text.parse::<u32>().expect("a number"));
    let all: Vec<_> = (0..500).map(|n| n.to_string()).collect();
    assert_eq!(came, all);
    assert_eq!(publisher.counts(&queue), (0, 0));
}

#[test]
fn an_exclusive_consumer_takes_all_and_frees_the_queue() {
    let conn = Conn::open();
    let (ch, other) = (conn.channel(1), conn.channel(2));
    let queue = ch.temp_queue();
    ch.consume(&queue, "alone").exclusive().no_ack().ok();
    fill(other, &queue, 5);
    assert_eq!(ch.texts(5).len(), 5);
    ch.cancel("alone").ok();
    other.consume(&queue, "next").no_ack().ok();
    fill(ch, &queue, 5);
    assert_eq!(other.texts(5).len(), 5);
    ch.queue_delete(&queue).ok();
    let cancel = other.method();
    assert_eq!(cancel.ids, (60, 30), "the broker tells of the deletion");
}
