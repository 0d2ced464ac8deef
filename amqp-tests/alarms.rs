//! A machine that is short of memory or disk: who publishes waits, all others go on (behaviours 237-240).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::wire::*;

const MIB: u64 = 1 << 20;
/// Longer than an alarm takes to be noticed.
const A_WHILE: Duration = Duration::from_millis(500);
/// Never enough is free: the alarm is on from the start.
const NO_DISK: &str = "[disk]\nfree_bytes_min = 1125899906842624\n";

const BLOCKED: (u16, u16) = (10, 60);
const UNBLOCKED: (u16, u16) = (10, 61);

/// The reason of the Connection.Blocked that is the next event on channel 0.
fn blocked(conn: &Conn) -> String {
    let blocked = conn.next(0).method().is(BLOCKED);
    String::from_utf8_lossy(&blocked.args[1..]).into_owned()
}

/// Nothing comes on these channels.
fn silent(conn: &Conn, channels: &[u16]) {
    for channel in channels {
        conn.next_within(*channel, A_WHILE).nothing();
    }
}

/// A client that does not want to be told.
fn untold(broker: &Broker) -> Conn {
    let mut dial = Dial::to(broker.address());
    dial.capabilities.retain(|(name, _)| name != "connection.blocked");
    dial.open()
}

/// Waits until an exclusive queue of another connection is there no more.
fn await_freed(ch: Channel<'_>, queue: &str) {
    eventually("the queue of a peer that has gone to be gone", || {
        let close = ch.queue_declare(queue).passive().reply().method().is((20, 40)).close();
        ch.close_ok().send();
        ch.open().ok();
        (close.code == 404).then_some(())
    });
}

// behaviours 237, 238, 239, 267
#[test]
fn publishers_wait_while_memory_is_short_and_lose_nothing() {
    let _alone = alone();
    // Nothing is moved to disk, so that consumers are what makes room.
    let config = "[memory]\nmessages_bytes = 1073741824\nlimit_bytes = 167772160\n";
    let Some(broker) = Broker::own_with(config) else { return };
    let (conn, other, plain) = (broker.connect(), broker.connect(), untold(&broker));
    let (ch, theirs, quiet) = (conn.channel(1), other.channel(1), plain.channel(1));
    theirs.queue_declare("q").ok();
    ch.confirm_select().ok();
    let mut published = 0_u32;
    let reason = loop {
        ch.put("q", published.to_be_bytes().repeat(1 << 18));
        published += 1;
        assert!(u64::from(published) < 1024, "{} MiB are in use", broker.resident_bytes() / MIB);
        match conn.next_within(1, A_WHILE) {
            Event::Method(m) => assert!(m.confirm().acked),
            _ => break blocked(&conn),
        }
    };
    assert_eq!(reason, "low on memory");
    assert!(broker.resident_bytes() > 150 * MIB, "blocked at {} MiB", broker.resident_bytes() / MIB);
    // What comes behind the publish waits as well; nobody is told twice.
    let waiting = conn.unopened(2);
    waiting.open().send();
    quiet.put("q", "of one who is not told");
    silent(&conn, &[0, 1, 2]);
    silent(&plain, &[0, 1]);
    // Those who do not publish are served, and so is who has not published yet.
    assert_eq!(theirs.counts("q").0, published - 1);
    let first = theirs.get("q").expect("a message");
    assert_eq!(first.body, 0_u32.to_be_bytes().repeat(1 << 18));
    theirs.ack(first.tag).send();
    broker.connect().channel(1).temp_queue();
    for n in 1..published - 1 {
        let body = theirs.pull("q").expect("a message").body;
        assert!(body == n.to_be_bytes().repeat(1 << 18), "message {n} is another");
    }
    conn.next(0).method().is(UNBLOCKED);
    assert!(ch.confirm().acked);
    waiting.method().is((20, 11));
    theirs.await_ready("q", 2);
    let mut last = [theirs.pull_soon("q").body.len(), theirs.pull_soon("q").body.len()];
    last.sort_unstable();
    assert_eq!(last, [22, 1 << 20]);
    silent(&plain, &[0]);
    // And again: who is not blocked any more goes on.
    ch.put("q", "more");
    assert!(ch.confirm().acked);
    let log = std::fs::read_to_string(broker.data_dir().with_file_name("log")).expect("a log");
    for line in ["memory alarm: publishers are blocked", "memory alarm is over"] {
        assert_eq!(log.matches(line).count(), 1, "{line}:\n{log}");
    }
}

// behaviours 237, 239
#[test]
fn publishers_wait_while_the_disk_is_short_and_go_on_when_there_is_room() {
    const MARGIN: u64 = 768 * MIB;
    let _alone = alone();
    let (ballast, more) = (taken(MARGIN), tempfile::tempfile().expect("a file"));
    let space = rustix::fs::statvfs(std::env::temp_dir()).expect("a file system");
    let free_bytes_min = (space.f_bavail * space.f_frsize).saturating_sub(MARGIN);
    let Some(broker) = Broker::own_with(&format!("[disk]\nfree_bytes_min = {free_bytes_min}\n")) else {
        return;
    };
    let conn = broker.connect();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.put(&queue, "while there is room");
    assert_eq!(ch.pull_soon(&queue).text(), "while there is room");
    take(&more, 2 * MARGIN);
    std::thread::sleep(A_WHILE);
    ch.put(&queue, "waits");
    assert_eq!(blocked(&conn), "low on disk");
    drop((ballast, more));
    conn.next(0).method().is(UNBLOCKED);
    assert_eq!(ch.pull_soon(&queue).text(), "waits");
}

/// A file without a name of so many bytes.
fn taken(bytes: u64) -> std::fs::File {
    let file = tempfile::tempfile().expect("a file");
    take(&file, bytes);
    file
}

fn take(file: &std::fs::File, bytes: u64) {
    rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes).expect("room on the disk");
}

// behaviour 237
#[test]
fn who_publishes_in_the_shortage_of_both_is_told_of_both() {
    let config = format!("{NO_DISK}[memory]\nlimit_bytes = 1\n");
    let Some(broker) = Broker::own_with(&config) else { return };
    let conn = broker.connect();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    silent(&conn, &[0]);
    // In one write with what it is told of.
    let mut bytes = ch.publish("", &queue, "m").bytes();
    bytes.extend(crate::support::conn::frame(1, 1, &ch.basic_get(&queue).encode().0));
    conn.raw(&bytes);
    assert_eq!(blocked(&conn), "low on memory & disk");
    silent(&conn, &[0, 1]);
}

// behaviour 237
#[test]
fn a_large_message_waits_in_the_socket() {
    let Some(broker) = Broker::own_with(NO_DISK) else { return };
    let before = broker.resident_bytes();
    let sent = Arc::new(AtomicU64::new(0));
    std::thread::spawn({
        let (conn, sent) = (broker.connect(), Arc::clone(&sent));
        // It ends with the broker.
        move || {
            let ch = conn.channel(1);
            for piece in ch.publish("", "nowhere", vec![0; 32 << 20]).bytes().chunks(1 << 16) {
                conn.raw(piece);
                sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
            }
        }
    });
    std::thread::sleep(A_WHILE);
    let sent = sent.load(Ordering::Relaxed) / MIB;
    assert!(sent < 16, "{sent} MiB were taken");
    let grown = broker.resident_bytes().saturating_sub(before) / MIB;
    assert!(grown < 20, "{grown} MiB for a publisher that is blocked");
}

// behaviour 238
#[test]
fn a_blocked_connection_still_gets_messages_and_heartbeats_and_is_kept() {
    let Some(broker) = Broker::own_with(NO_DISK) else { return };
    let conn = Dial { heartbeat_s: 1, ..Dial::to(broker.address()) }.open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.consume(&queue, "t").ok();
    ch.put(&queue, "waits");
    assert_eq!(blocked(&conn), "low on disk");
    // It is not read from, so that its silence is nobody's fault but the broker's.
    let begun = Instant::now();
    let beats = conn.heartbeats_within(Duration::from_secs(4));
    assert!(begun.elapsed() >= Duration::from_secs(4), "it was dropped after {:?}", begun.elapsed());
    assert!(beats >= 3, "{beats} heartbeats in 4 seconds");
    silent(&conn, &[0, 1]);
}

// behaviour 240
#[test]
fn a_blocked_connection_can_be_closed_by_its_client() {
    let Some(broker) = Broker::own_with(NO_DISK) else { return };
    let other = broker.connect();
    let theirs = other.channel(1);
    let shared = unique("shared");
    theirs.queue_declare(&shared).ok();
    for says_goodbye in [true, false] {
        let conn = broker.connect();
        let ch = conn.channel(1);
        let queue = ch.temp_queue();
        // More than one read takes, less than what the socket holds.
        ch.put(&shared, "small");
        ch.put(&shared, [0; 40_000]);
        assert_eq!(blocked(&conn), "low on disk");
        assert_eq!(theirs.counts(&shared).0, 0);
        if says_goodbye {
            conn.close();
        } else {
            conn.vanish();
        }
        await_freed(theirs, &queue);
        // What was sent before the end is not lost.
        theirs.await_ready(&shared, 2);
        theirs.queue_purge(&shared).ok();
    }
}

// behaviour 240: what blocks at its stop does not hold the broker up
#[test]
fn a_broker_with_blocked_connections_stops_when_it_is_told_to() {
    let Some(mut broker) = Broker::own_with(NO_DISK) else { return };
    let conn = broker.connect();
    conn.channel(1).put("nowhere", "waits");
    assert_eq!(blocked(&conn), "low on disk");
    broker.terminate();
    conn.expect_close(320, (0, 0), "CONNECTION_FORCED - ...");
    assert!(broker.await_end());
}
