//! Kills while transactions are committed: each is whole or absent, in all queues (behaviours 140, 142, 146).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::support::wire::*;

const KILLS: u64 = 25;
const WRITERS: u64 = 2;
const MOVERS: usize = 2;
/// Messages that are moved to and fro.
const MOVED: u64 = 40;

/// Small enough for checkpoints and spilling to happen in between; queues are on different shards.
const CONFIG: &str = "[node]\nshards = 3\n[memory]\nmessages_bytes = 1048576\n\
                      [log]\nsegment_bytes = 1048576\nbudget_bytes = 2097152";

struct Load {
    address: String,
    /// Each transaction of a writer has a message for each of these.
    written: Vec<String>,
    /// Each message of a mover is in one of these.
    moved: [String; 2],
    stop: AtomicBool,
    commits: [AtomicU64; 2],
}

#[test]
fn transactions_are_whole_or_absent_after_being_killed_often() {
    let _alone = alone();
    let Some(mut broker) = Broker::own_with(CONFIG) else { return };
    let load = load_of(&broker);
    let committed: Vec<BTreeSet<u64>> = std::thread::scope(|scope| {
        let load = &load;
        let writers: Vec<_> = (0..WRITERS).map(|id| scope.spawn(move || write(load, id))).collect();
        let movers: Vec<_> = (0..MOVERS).map(|from| scope.spawn(move || move_messages(load, from))).collect();
        for round in 0..KILLS {
            progress(load, 15);
            std::thread::sleep(Duration::from_micros(round * 7919 % 20_000)); // a different moment each
            broker.kill();
            broker.restart();
        }
        progress(load, 15);
        load.stop.store(true, Ordering::Relaxed);
        movers.into_iter().for_each(|mover| mover.join().expect("a mover"));
        writers.into_iter().map(|writer| writer.join().expect("a writer")).collect()
    });
    check_written(&broker, &load, &committed);
    check_moved(&broker, &load);
}

/// Nobody waits for the message, so it may reach the log later than others do; not later than its acknowledgement.
#[test]
fn what_a_commit_acknowledged_stays_away_after_a_kill() {
    let _alone = alone();
    let Some(mut broker) = Broker::own_with("[node]\nshards = 1\n") else { return };
    let (queue, hurried) = (unique("q"), unique("q"));
    for round in 0..20 {
        let (conn, others) = (broker.connect(), broker.connect());
        let (ch, publisher, other) = (conn.channel(1), conn.channel(2), others.channel(1));
        [&queue, &hurried].iter().for_each(|name| drop(ch.queue_declare(name).durable().ok()));
        assert_eq!(ch.pull_all(&queue), [""; 0], "in round {round}");
        ch.tx_select().ok();
        other.confirm_select().ok();
        publisher.publish("", &queue, "once").persistent().send();
        ch.ack(ch.get_soon(&queue).tag).send();
        ch.tx_commit().send();
        std::thread::sleep(Duration::from_micros(round * 25));
        // It has the log write what has gathered, before the shard hears of the commit.
        other.publish("", &hurried, "hurry").persistent().send();
        ch.method().is((90, 21));
        broker.kill();
        broker.restart();
    }
    let conn = broker.connect();
    assert_eq!(conn.channel(1).pull_all(&queue), [""; 0]);
}

/// Ids are noted, and repeats dropped, behind the commit; both are safe when it is answered.
#[test]
fn what_a_commit_told_of_duplicates_stays_true_after_a_kill() {
    let _alone = alone();
    let Some(mut broker) = Broker::own_with("[node]\nshards = 2\n") else { return };
    for round in 0..8 {
        let queue = unique("q");
        let conn = broker.connect();
        let (ch, other) = (conn.channel(1), conn.channel(2));
        ch.queue_declare(&queue).durable().arg("x-message-deduplication", true).ok();
        ch.tx_select().ok();
        let put = |ch: Channel<'_>, body: &str| {
            ch.publish("", &queue, body).persistent().header("x-deduplication-header", "id").send();
        };
        put(ch, "first");
        ch.tx_commit().ok();
        if round % 2 == 0 {
            other.confirm_select().ok();
            other.publish("", &queue, "other").persistent().send();
            assert_eq!(other.confirms(1, 1), [true]);
            put(ch, "repeat");
            ch.tx_commit().ok();
        }
        broker.kill();
        broker.restart();
        let conn = broker.connect();
        let ch = conn.channel(1);
        ch.confirm_select().ok();
        put(ch, "again");
        assert_eq!(ch.confirms(1, 1), [true]);
        let expected = if round % 2 == 0 { vec!["first", "other"] } else { vec!["first"] };
        assert_eq!(ch.pull_all(&queue), expected, "in round {round}");
    }
}

fn load_of(broker: &Broker) -> Load {
    let load = Load {
        address: broker.address().to_owned(),
        written: (0..4).map(|_| unique("written")).collect(),
        moved: [unique("one"), unique("other")],
        stop: AtomicBool::default(),
        commits: Default::default(),
    };
    let conn = broker.connect();
    let ch = conn.channel(1);
    for queue in load.written.iter().chain(&load.moved) {
        ch.queue_declare(queue).durable().ok();
    }
    ch.confirm_select().ok();
    for n in 0..MOVED {
        ch.publish("", &load.moved[0], n.to_string()).persistent().send();
    }
    assert!(ch.confirms(1, MOVED).iter().all(|acked| *acked));
    load
}

/// Waits until this many more transactions of each kind were committed.
fn progress(load: &Load, more: u64) {
    let now = || [0, 1].map(|kind: usize| load.commits[kind].load(Ordering::Relaxed));
    let before = now();
    eventually("the load to go on", || (0..2).all(|kind| now()[kind] >= before[kind] + more).then_some(()));
}

/// Commits transaction after transaction; gives the numbers of those answered with Commit-Ok.
fn write(load: &Load, id: u64) -> BTreeSet<u64> {
    let (mut committed, mut number) = (BTreeSet::new(), 0);
    while !load.stop.load(Ordering::Relaxed) {
        let Some(conn) = connect(load) else { continue };
        let ch = conn.unopened(1);
        if !ch.open().try_ok() || !ch.tx_select().try_ok() {
            continue;
        }
        while !load.stop.load(Ordering::Relaxed) {
            number += 1;
            let is_dropped = number % 8 == 0;
            for queue in &load.written {
                ch.publish("", queue, format!("{id} {number} {:700}", "")).persistent().send();
            }
            if is_dropped {
                if !ch.tx_rollback().try_ok() {
                    break;
                }
            } else if ch.tx_commit().try_ok() {
                committed.insert(number);
                load.commits[0].fetch_add(1, Ordering::Relaxed);
            } else {
                break;
            }
        }
    }
    committed
}

/// Moves messages to the other queue, then back, and so on.
fn move_messages(load: &Load, mut from: usize) {
    while !load.stop.load(Ordering::Relaxed) {
        let Some(conn) = connect(load) else { continue };
        let ch = conn.unopened(1);
        if !ch.open().try_ok() || !ch.tx_select().try_ok() {
            continue;
        }
        while !load.stop.load(Ordering::Relaxed) {
            let Event::Method(answer) = ch.basic_get(&load.moved[from]).reply() else { break };
            if answer.ids == (60, 72) {
                from = 1 - from;
                continue;
            }
            if answer.ids != (60, 71) {
                break;
            }
            let d = answer.delivery();
            ch.publish("", &load.moved[1 - from], &d.body).persistent().send();
            ch.ack(d.tag).send();
            if !ch.tx_commit().try_ok() {
                break;
            }
            load.commits[1].fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn connect(load: &Load) -> Option<Conn> {
    let conn = Dial::to(&load.address).try_open();
    if conn.is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    conn
}

/// Everything that is in a queue.
fn contents(broker: &Broker, queue: &str) -> Vec<String> {
    let conn = broker.connect();
    let ch = conn.channel(1);
    let ready = ch.counts(queue).0;
    ch.consume(queue, "t").no_ack().ok();
    let texts = ch.texts(usize::try_from(ready).expect("a count"));
    ch.quiet();
    texts
}

fn check_written(broker: &Broker, load: &Load, committed: &[BTreeSet<u64>]) {
    let mut places: BTreeMap<(u64, u64), Vec<usize>> = BTreeMap::new();
    for (at, queue) in load.written.iter().enumerate() {
        for text in contents(broker, queue) {
            let mut words = text.split(' ').map_while(|word| word.parse().ok());
            let key = words.next().zip(words.next()).expect("writer and number");
            places.entry(key).or_default().push(at);
        }
    }
    for (key, queues) in &places {
        assert_eq!(*queues, [0, 1, 2, 3], "transaction {key:?} is in these queues");
        assert!(!key.1.is_multiple_of(8), "transaction {key:?} was rolled back");
    }
    for (id, numbers) in (0..).zip(committed) {
        let lost: Vec<_> = numbers.iter().filter(|n| !places.contains_key(&(id, **n))).take(10).collect();
        assert!(lost.is_empty(), "writer {id}: committed and lost, the first of them: {lost:?}");
        let more = places.keys().filter(|key| key.0 == id).count() - numbers.len();
        assert!(more as u64 <= KILLS, "at most one transaction a kill was committed unanswered, not {more}");
    }
}

fn check_moved(broker: &Broker, load: &Load) {
    let held: Vec<_> = load.moved.iter().flat_map(|queue| contents(broker, queue)).collect();
    let mut numbers: Vec<u64> = held.iter().map(|text| text.parse().expect("a number")).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..MOVED).collect::<Vec<_>>(), "each message is in exactly one place");
}
