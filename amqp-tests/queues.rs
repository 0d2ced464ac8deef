//! Declaring, binding, purging and deleting queues (behaviours 87-91, 96, 97, 106-116).

use std::time::Duration;

use crate::support::wire::*;

fn missing(name: &str) -> String {
    format!("NOT_FOUND - no queue '{name}' in vhost '/'")
}

pub(crate) fn locked(name: &str) -> String {
    format!(
        "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{name}' in vhost '/'. It could be \
         originally declared on another connection or the exclusive property value does not match that of the \
         original declaration."
    )
}

// behaviour 87
#[test]
fn the_server_makes_names() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let names = [(); 2].map(|()| ch.queue_declare("").exclusive().ok().declare_ok().0);
    for name in &names {
        let tail = name.strip_prefix("amq.gen-").expect("the prefix");
        assert_eq!(tail.len(), 22, "{name}");
        assert!(tail.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'), "{name}");
    }
    assert_ne!(names[0], names[1]);
}

// behaviour 88
#[test]
fn an_empty_name_is_the_last_queue_declared_on_the_channel() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    ch.temp_queue();
    let queue = ch.temp_queue();
    ch.queue_bind("", "amq.direct", "").ok();
    ch.publish("amq.direct", &queue, "m").send();
    assert_eq!(ch.get_soon("").text(), "m");
    ch.consume("", "t").ok();
    ch.cancel("t").ok();
    assert_eq!(ch.queue_purge("").ok().count(), 0);
    assert_eq!(ch.queue_delete("").ok().count(), 0);
    ch.queue_declare(&queue).passive().expect_close(404, (50, 10), &missing(&queue));
}

// behaviour 88
#[test]
fn an_empty_name_with_nothing_declared_is_404() {
    let conn = Conn::open();
    conn.channel(1).temp_queue();
    let text = "NOT_FOUND - no previously declared queue";
    conn.channel(2).basic_get("").expect_close(404, (60, 70), text);
    conn.channel(3).queue_bind("", "amq.direct", "k").expect_close(404, (50, 20), text);
    conn.channel(4).consume("", "t").expect_close(404, (60, 20), text);
    conn.channel(5).queue_purge("").expect_close(404, (50, 30), text);
}

// behaviour 89
#[test]
fn names_beginning_with_amq_are_reserved() {
    let text = "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'";
    Conn::open().channel(1).queue_declare("amq.mine").expect_close(403, (50, 10), text);
}

// behaviours 90, 106
#[test]
fn missing_queues_are_404_except_to_delete_and_unbind() {
    let conn = Conn::open();
    let name = unique("q");
    conn.channel(1).queue_declare(&name).passive().expect_close(404, (50, 10), &missing(&name));
    conn.channel(2).queue_purge(&name).expect_close(404, (50, 30), &missing(&name));
    conn.channel(3).consume(&name, "t").expect_close(404, (60, 20), &missing(&name));
    conn.channel(4).basic_get(&name).expect_close(404, (60, 70), &missing(&name));
    let ch = conn.channel(5);
    assert_eq!(ch.queue_delete(&name).ok().count(), 0);
    ch.queue_unbind(&name, "amq.direct", "k").ok();
}

// behaviour 91
#[test]
fn declare_ok_counts_ready_messages_and_consumers() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    for m in ["1", "2", "3"] {
        ch.put(&queue, m);
    }
    ch.get_soon(&queue);
    assert_eq!(ch.counts(&queue), (2, 0));
    ch.queue_purge(&queue).ok();
    ch.consume(&queue, "a").ok();
    ch.consume(&queue, "b").ok();
    assert_eq!(ch.queue_declare(&queue).exclusive().ok().declare_ok(), (queue, 0, 2));
}

// behaviours 96, 97
#[test]
fn an_exclusive_queue_is_locked_to_its_connection() {
    let owner = Conn::open();
    let ch = owner.channel(1);
    let name = ch.temp_queue();
    let other = Conn::open();
    let text = locked(&name);
    other.channel(1).queue_declare(&name).expect_close(405, (50, 10), &text);
    other.channel(2).queue_declare(&name).exclusive().expect_close(405, (50, 10), &text);
    other.channel(3).queue_declare(&name).passive().expect_close(405, (50, 10), &text);
    other.channel(4).consume(&name, "t").expect_close(405, (60, 20), &text);
    other.channel(5).basic_get(&name).expect_close(405, (60, 70), &text);
    other.channel(6).queue_bind(&name, "amq.direct", "k").expect_close(405, (50, 20), &text);
    other.channel(7).queue_purge(&name).expect_close(405, (50, 30), &text);
    other.channel(8).queue_delete(&name).expect_close(405, (50, 40), &text);
    other.channel(9).put(&name, "let in");
    ch.queue_bind(&name, "amq.direct", &name).ok();
    other.channel(10).queue_unbind(&name, "amq.direct", &name).expect_close(405, (50, 50), &text);
    other.channel(11).queue_unbind(&name, "amq.direct", "never").ok();
    let second = owner.channel(2);
    assert_eq!(second.pull_soon(&name).text(), "let in");
    second.queue_declare(&name).exclusive().ok();
}

// behaviour 97
#[test]
fn durable_does_not_count_on_an_exclusive_queue() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    for durable in [false, true] {
        let name = unique("q");
        let declare = || ch.queue_declare(&name).exclusive();
        if durable {
            declare().durable().ok()
        } else {
            declare().ok()
        };
        declare().ok();
        declare().durable().ok();
        ch.queue_delete(&name).ok();
    }
}

// behaviours 97, 263
#[test]
fn an_exclusive_queue_goes_when_its_socket_breaks() {
    let owner = Conn::open();
    let name = owner.channel(1).temp_queue();
    owner.vanish();
    let other = Conn::open();
    let ch = other.channel(1);
    eventually("the queue to be free", || {
        let answer = ch.queue_declare(&name).passive().reply().method();
        let code = answer.close().code;
        ch.close_ok().send();
        ch.open().ok();
        (code == 404).then_some(())
    });
}

// behaviour 107
#[test]
fn delete_heeds_if_empty_and_if_unused() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.put(&queue, "m");
    let text = format!("PRECONDITION_FAILED - queue '{queue}' in vhost '/' not empty");
    ch.queue_delete(&queue).if_empty().expect_close(406, (50, 40), &text);
    ch.open().ok();
    ch.consume(&queue, "t").ok();
    let text = format!("PRECONDITION_FAILED - queue '{queue}' in vhost '/' in use");
    ch.queue_delete(&queue).if_unused().expect_close(406, (50, 40), &text);
    ch.open().ok();
    ch.queue_purge(&queue).ok();
    ch.queue_delete(&queue).if_unused().if_empty().ok();
}

// behaviour 108
#[test]
fn delete_and_purge_count_ready_messages_only() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    for m in ["1", "2", "3"] {
        ch.put(&queue, m);
    }
    let held = ch.get_soon(&queue);
    assert_eq!(ch.queue_purge(&queue).ok().count(), 2);
    ch.reject(held.tag).requeue().send();
    ch.await_ready(&queue, 1);
    ch.put(&queue, "4");
    assert_eq!(ch.queue_delete(&queue).ok().count(), 2);
}

// behaviours 109, 110
#[test]
fn binding_needs_both_ends_and_unbinding_none() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (queue, none) = (ch.temp_queue(), unique("none"));
    let text = format!("NOT_FOUND - no exchange '{none}' in vhost '/'");
    ch.queue_bind(&queue, &none, "k").expect_close(404, (50, 20), &text);
    ch.open().ok();
    ch.queue_bind(&none, "amq.direct", "k").expect_close(404, (50, 20), &missing(&none));
    ch.open().ok();
    ch.queue_unbind(&queue, "amq.direct", "never").ok();
    ch.queue_unbind(&queue, &none, "k").ok();
    ch.queue_unbind(&none, "amq.direct", "k").ok();
}

// behaviours 111, 112
#[test]
fn several_bindings_give_one_copy() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (queue, key) = (ch.temp_queue(), unique("k"));
    ch.queue_bind(&queue, "amq.topic", &key).ok();
    ch.queue_bind(&queue, "amq.topic", &key).ok();
    ch.queue_bind(&queue, "amq.topic", &format!("{key}.#")).ok();
    ch.publish("amq.topic", &key, "m").send();
    ch.await_ready(&queue, 1);
    ch.queue_unbind(&queue, "amq.topic", &format!("{key}.#")).ok();
    ch.queue_unbind(&queue, "amq.topic", &key).ok();
    ch.publish("amq.topic", &key, "unbound").mandatory().send();
    assert_eq!(ch.method().is((60, 50)).delivery().text(), "unbound");
    assert_eq!(ch.counts(&queue).0, 1);
}

// behaviour 111
#[test]
fn bindings_with_other_arguments_are_different() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (queue, key) = (ch.temp_queue(), unique("k"));
    ch.queue_bind(&queue, "amq.direct", &key).arg("a", 1).ok();
    ch.queue_bind(&queue, "amq.direct", &key).arg("a", 2).ok();
    ch.queue_unbind(&queue, "amq.direct", &key).arg("a", 1).ok();
    ch.publish("amq.direct", &key, "m").send();
    assert_eq!(ch.pull_soon(&queue).text(), "m");
    ch.queue_unbind(&queue, "amq.direct", &key).arg("a", 2).ok();
    ch.publish("amq.direct", &key, "m").mandatory().send();
    ch.method().is((60, 50));
}

// behaviour 113
#[test]
fn an_auto_delete_queue_goes_with_its_last_consumer() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    for end in ["cancel", "channel", "connection"] {
        let user = Conn::open();
        let theirs = user.channel(1);
        let queue = unique("q");
        theirs.queue_declare(&queue).auto_delete().ok();
        theirs.consume(&queue, "a").ok();
        theirs.consume(&queue, "b").ok();
        theirs.cancel("a").ok();
        assert_eq!(ch.counts(&queue), (0, 1));
        match end {
            "cancel" => drop(theirs.cancel("b").ok()),
            "channel" => drop(theirs.close().ok()),
            _ => user.close(),
        }
        ch.await_gone(&queue);
    }
}

// behaviour 113
#[test]
fn an_auto_delete_queue_never_consumed_stays() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = unique("q");
    ch.queue_declare(&queue).auto_delete().ok();
    assert!(ch.get(&queue).is_none());
    assert_eq!(ch.counts(&queue), (0, 0));
    ch.queue_delete(&queue).ok();
}

// behaviour 114
#[test]
fn an_unused_queue_expires_and_use_keeps_it() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let [unused, consumed, asked] = [(); 3].map(|()| {
        let name = unique("q");
        ch.queue_declare(&name).arg("x-expires", 1500).ok();
        name
    });
    let consumer = conn.channel(2);
    consumer.consume(&consumed, "t").ok();
    for round in 0..8 {
        conn.heartbeats_within(Duration::from_millis(300)); // an interval well under the 1500 ms
        match round % 3 {
            0 => drop(ch.get(&asked)),
            1 => drop(ch.queue_declare(&asked).arg("x-expires", 1500).ok()),
            _ => drop(ch.counts(&asked)),
        }
    }
    ch.queue_declare(&unused).passive().expect_close(404, (50, 10), &missing(&unused));
    ch.open().ok();
    assert_eq!(ch.counts(&consumed), (0, 1));
    consumer.cancel("t").ok();
    ch.queue_declare(&asked).arg("x-expires", 1500).ok();
}

// behaviour 114: a passive declare is a use, too
#[test]
fn asking_for_a_queue_keeps_it() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = unique("q");
    ch.queue_declare(&queue).arg("x-expires", 1200).ok();
    for _ in 0..8 {
        conn.heartbeats_within(Duration::from_millis(250));
        ch.counts(&queue);
    }
    conn.heartbeats_within(Duration::from_millis(1700));
    ch.queue_declare(&queue).passive().expect_close(404, (50, 10), &missing(&queue));
}

// behaviour 114
#[test]
fn a_queue_expires_after_its_last_consumer_left() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = unique("q");
    ch.queue_declare(&queue).arg("x-expires", 300).ok();
    ch.consume(&queue, "t").ok();
    conn.heartbeats_within(Duration::from_millis(700));
    ch.cancel("t").ok();
    // Asking by passive declare would keep it alive, so the wait is for it to be unroutable.
    eventually("the queue to expire", || {
        ch.publish("", &queue, "m").mandatory().send();
        matches!(conn.next_within(1, Duration::from_millis(20)), Event::Method(_)).then_some(())
    });
}

// behaviour 115
#[test]
fn nowait_is_silent_yet_errors_close() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = unique("q");
    ch.queue_declare(&queue).exclusive().nowait().send();
    ch.queue_bind(&queue, "amq.direct", &queue).nowait().send();
    ch.put(&queue, "m");
    ch.queue_purge(&queue).nowait().send();
    ch.quiet();
    assert_eq!(ch.counts(&queue).0, 0);
    ch.queue_delete(&queue).nowait().send();
    ch.queue_delete(&queue).nowait().send();
    ch.quiet();
    ch.queue_declare("amq.mine").nowait().expect_close(403, (50, 10), "ACCESS_REFUSED - ...");
}

// behaviours 116, 152, 163, 182
#[test]
fn a_deleted_queue_takes_bindings_consumers_and_deliveries_with_it() {
    let conn = Conn::open();
    let (ch, other) = (conn.channel(1), conn.channel(2));
    let (queue, key) = (unique("q"), unique("k"));
    ch.queue_declare(&queue).exclusive().ok();
    ch.queue_bind(&queue, "amq.direct", &key).ok();
    ch.consume(&queue, "t").ok();
    ch.put(&queue, "held");
    let held = ch.delivery();
    other.queue_delete(&queue).ok();
    let cancel = ch.method().is((60, 30));
    assert_eq!(cancel.short(), "t");
    assert_eq!(cancel.args.last(), Some(&1), "nowait is set");
    ch.ack(held.tag).send();
    ch.quiet();
    ch.queue_declare(&queue).exclusive().ok();
    ch.publish("amq.direct", &key, "m").mandatory().send();
    ch.method().is((60, 50));
    ch.put(&queue, "new life");
    ch.quiet();
    assert_eq!(ch.counts(&queue), (1, 0));
}

// behaviour 264
#[test]
fn many_queues_and_bindings_come_and_go() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let stem = unique("many");
    for n in 0..1000 {
        let name = format!("{stem}-{n}");
        ch.queue_declare(&name).exclusive().nowait().send();
        ch.queue_bind(&name, "amq.topic", &format!("{stem}.{n}.#")).nowait().send();
        ch.publish("amq.topic", &format!("{stem}.{n}.x"), "m").mandatory().send();
    }
    ch.sync();
    for n in 0..1000 {
        assert_eq!(ch.queue_delete(&format!("{stem}-{n}")).ok().count(), 1);
    }
    ch.publish("amq.topic", &format!("{stem}.7.x"), "m").mandatory().send();
    ch.method().is((60, 50));
}
