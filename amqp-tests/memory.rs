//! A backlog larger than the memory it may use stays on disk, and comes back whole (behaviours 128, 267).

use crate::support::wire::*;

const MIB: u64 = 1 << 20;
/// The most the process may have resident: 8 MiB of messages, the store's buffers and caches, code, threads.
const RESIDENT_MAX: u64 = 200 * MIB;
/// The most it may grow by while the backlog grows from a third to all.
const GROWTH_MAX: u64 = 40 * MIB;
/// As many KiB.
const MESSAGES: u64 = 300 * 1024;

const CONFIG: &str = "[memory]\nmessages_bytes = 8388608\n\
                      [log]\nsegment_bytes = 8388608\nbudget_bytes = 33554432\n";

// behaviour 267
#[test]
fn a_backlog_larger_than_memory_stays_on_disk_and_drains_in_order() {
    let _alone = alone();
    let Some(broker) = Broker::own_with(CONFIG) else { return };
    let conn = broker.connect();
    let ch = conn.channel(1);
    ch.queue_declare("backlog").durable().ok();
    ch.confirm_select().ok();
    fill(ch, 0, MESSAGES / 3);
    let third = peak_bytes(broker.pid());
    fill(ch, MESSAGES / 3, MESSAGES);
    let full = peak_bytes(broker.pid());
    assert_eq!(ch.counts("backlog").0, u32::try_from(MESSAGES).expect("a count"));
    drain(&broker);
    let drained = peak_bytes(broker.pid());
    let peaks = [third, full, drained].map(|bytes| bytes / MIB);
    assert!(full.saturating_sub(third) < GROWTH_MAX, "memory grows with the backlog: {peaks:?} MiB");
    assert!(drained < RESIDENT_MAX, "too much resident: {peaks:?} MiB at a third, full, drained");
}

fn body(n: u64) -> Vec<u8> {
    let mut body = format!("{n} ").into_bytes();
    body.resize(1024, b'.');
    body
}

/// Publishes these numbers with at most a thousand unconfirmed.
fn fill(ch: Channel<'_>, from: u64, to: u64) {
    let mut confirmed = from;
    for n in from..to {
        ch.publish("", "backlog", body(n)).persistent().send();
        while confirmed + 1000 < n {
            confirmed = next_confirmed(ch, confirmed);
        }
    }
    while confirmed < to {
        confirmed = next_confirmed(ch, confirmed);
    }
}

/// One queue confirms in order, so the highest number is all there is to know.
fn next_confirmed(ch: Channel<'_>, before: u64) -> u64 {
    let c = ch.confirm();
    assert!(c.acked && c.number > before && (c.multiple || c.number == before + 1), "{c:?} after {before}");
    c.number
}

fn drain(broker: &Broker) {
    let conn = broker.connect();
    let ch = conn.channel(1);
    ch.qos(0, 500, false).ok();
    ch.consume("backlog", "t").ok();
    for n in 0..MESSAGES {
        let d = ch.delivery();
        assert!(d.body == body(n), "message {n} is wrong: {:.40}", d.text());
        if n % 100 == 99 || n + 1 == MESSAGES {
            ch.ack(d.tag).multiple().send();
        }
    }
    ch.quiet();
    assert_eq!(ch.counts("backlog").0, 0);
}

/// The most memory the process ever had resident.
fn peak_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the broker runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}
