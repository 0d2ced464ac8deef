//! Properties and arguments of queues: which are accepted, and what a redeclaration compares (92-104).

use crate::queues::locked;
use crate::support::wire::*;

fn inequivalent(arg: &str, name: &str, tail: &str) -> String {
    format!("PRECONDITION_FAILED - inequivalent arg '{arg}' for queue '{name}' in vhost '/': {tail}")
}

fn invalid(arg: &str, name: &str, tail: &str) -> String {
    format!("PRECONDITION_FAILED - invalid arg '{arg}' for queue '{name}' in vhost '/': {tail}")
}

// behaviour 92
#[test]
fn redeclaring_with_other_properties_is_406() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let name = unique("q");
    ch.queue_declare(&name).ok();
    ch.queue_declare(&name).ok();
    let text = inequivalent("durable", &name, "received 'true' but current is 'false'");
    ch.queue_declare(&name).durable().expect_close(406, (50, 10), &text);
    ch.open().ok();
    let text = inequivalent("auto_delete", &name, "received 'true' but current is 'false'");
    ch.queue_declare(&name).auto_delete().expect_close(406, (50, 10), &text);
    ch.open().ok();
    ch.queue_declare(&name).exclusive().expect_close(405, (50, 10), &locked(&name)); // behaviour 95
    ch.open().ok();
    ch.queue_declare(&name).passive().durable().exclusive().ok();
    ch.queue_delete(&name).ok();
}

// behaviours 93, 94
#[test]
fn redeclaring_compares_known_arguments_only() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (with, without) = (unique("q"), ch.temp_queue());
    ch.queue_declare(&with).exclusive().arg("x-message-ttl", 1000).ok();
    ch.queue_declare(&with).exclusive().arg("x-message-ttl", Value::I64(1000)).arg("x-nonsense", 1).ok();
    ch.queue_declare(&with).exclusive().arg("x-message-ttl", Value::I16(1000)).ok();
    let text = inequivalent("x-message-ttl", &with, "received '2000' but current is '1000'");
    ch.queue_declare(&with).exclusive().arg("x-message-ttl", 2000).expect_close(406, (50, 10), &text);
    ch.open().ok();
    let tail = "received none but current is the value '1000' of type 'signedint'";
    ch.queue_declare(&with).exclusive().expect_close(
        406,
        (50, 10),
        &inequivalent("x-message-ttl", &with, tail),
    );
    ch.open().ok();
    let tail = "received the value '1000' of type 'signedint' but current is none";
    let text = inequivalent("x-message-ttl", &without, tail);
    ch.queue_declare(&without).exclusive().arg("x-message-ttl", 1000).expect_close(406, (50, 10), &text);
}

// behaviour 93
#[test]
fn redeclaring_compares_dead_letter_arguments() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let name = unique("q");
    ch.queue_declare(&name).exclusive().arg("x-dead-letter-exchange", "a").ok();
    let text = inequivalent("x-dead-letter-exchange", &name, "received 'b' but current is 'a'");
    ch.queue_declare(&name).exclusive().arg("x-dead-letter-exchange", "b").expect_close(406, (50, 10), &text);
}

// behaviours 98-100, 102, 103
#[test]
fn malformed_arguments_are_refused_with_the_reason() {
    let string = "\"expected integer, got longstr\"";
    let cases: Vec<(&str, Value, &str)> = vec![
        ("x-message-ttl", (-1).into(), "{value_negative,-1}"),
        ("x-message-ttl", "1".into(), string),
        ("x-expires", 0.into(), "{value_zero,0}"),
        ("x-expires", (-1).into(), "{value_negative,-1}"),
        ("x-expires", "1".into(), string),
        ("x-max-length", (-1).into(), "{value_negative,-1}"),
        ("x-max-length", "1".into(), string),
        ("x-max-length-bytes", (-1).into(), "{value_negative,-1}"),
        ("x-overflow", "nonsense".into(), "invalid_overflow"),
        ("x-dead-letter-routing-key", "k".into(), "routing_key_but_no_dlx_defined"),
        ("x-max-priority", 256.into(), "{max_value_exceeded,256}"),
        ("x-max-priority", (-1).into(), "{value_negative,-1}"),
        ("x-max-priority", "1".into(), string),
        ("x-queue-type", "nope".into(), "\"unsupported queue type 'nope'\""),
        ("x-queue-type", 1.into(), "{unacceptable_type,signedint}"),
        ("x-single-active-consumer", "yes".into(), "{unacceptable_type,longstr}"),
    ];
    let conn = Conn::open();
    let name = unique("q");
    let ch = conn.channel(1);
    for (arg, value, reason) in cases {
        let call = ch.queue_declare(&name).exclusive().arg(arg, value);
        call.expect_close(406, (50, 10), &invalid(arg, &name, reason));
        ch.open().ok();
    }
}

// behaviour 101
#[test]
fn a_dead_letter_exchange_must_be_a_string() {
    let name = unique("q");
    let text = format!(
        "PRECONDITION_FAILED - invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue '{name}' in vhost '/'"
    );
    let conn = Conn::open();
    conn.channel(1).queue_declare(&name).exclusive().arg("x-dead-letter-exchange", 1).expect_close(
        406,
        (50, 10),
        &text,
    );
}

// behaviours 98, 103, 104
#[test]
fn well_formed_and_unknown_arguments_are_accepted() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    for (arg, value) in [
        ("x-message-ttl", Value::I32(0)),
        ("x-message-ttl", Value::I64(4_294_967_296)),
        ("x-message-ttl", Value::I8(100)),
        ("x-max-length", Value::I64(0)),
        ("x-overflow", "reject-publish-dlx".into()),
        ("x-max-priority", Value::U8(255)),
        ("x-queue-type", "classic".into()),
        ("x-single-active-consumer", true.into()),
        ("x-nonsense", "whatever".into()),
        ("x-queue-mode", "lazy".into()),
    ] {
        let name = unique("q");
        ch.queue_declare(&name).exclusive().arg(arg, value).ok();
    }
}

// behaviour 103
#[test]
fn a_classic_queue_is_the_same_as_one_without_a_type() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.queue_declare(&queue).exclusive().arg("x-queue-type", "classic").ok();
}

// behaviour 103
#[test]
fn a_classic_queue_cannot_be_declared_again_as_quorum() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let name = unique("q");
    ch.queue_declare(&name).durable().ok();
    let tail = "received the value 'quorum' of type 'longstr' but current is none";
    let text = inequivalent("x-queue-type", &name, tail);
    ch.queue_declare(&name).durable().arg("x-queue-type", "quorum").expect_close(406, (50, 10), &text);
    ch.open().ok();
    ch.queue_delete(&name).ok();
    ch.queue_declare(&name).durable().arg("x-queue-type", "quorum").ok();
    let tail = "received 'classic' but current is 'quorum'";
    let text = inequivalent("x-queue-type", &name, tail);
    ch.queue_declare(&name).durable().arg("x-queue-type", "classic").expect_close(406, (50, 10), &text);
    ch.open().ok();
    ch.queue_delete(&name).ok();
}

// behaviour 105
#[test]
fn a_quorum_queue_is_durable_and_not_exclusive() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let name = unique("q");
    let quorum = || ch.queue_declare(&name).arg("x-queue-type", "quorum");
    let text = |property: &str| {
        format!("PRECONDITION_FAILED - invalid property '{property}' for queue '{name}' in vhost '/'")
    };
    quorum().expect_close(406, (50, 10), &text("non-durable"));
    ch.open().ok();
    quorum().durable().exclusive().expect_close(406, (50, 10), &text("exclusive-owner"));
    ch.open().ok();
    quorum().durable().auto_delete().expect_close(406, (50, 10), &text("auto-delete"));
    ch.open().ok();
    quorum().durable().ok();
    quorum().durable().ok();
    ch.queue_delete(&name).ok();
}

// behaviours 93, 94: each argument that a queue knows
#[test]
fn every_known_argument_is_compared() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    for (arg, first, second) in [
        ("x-expires", Value::I32(60_000), Value::I32(70_000)),
        ("x-max-length", Value::I32(1), Value::I64(2)),
        ("x-max-length-bytes", Value::I32(1), Value::I32(2)),
        ("x-max-priority", Value::I32(1), Value::I32(2)),
        ("x-overflow", "drop-head".into(), "reject-publish".into()),
        ("x-single-active-consumer", true.into(), false.into()),
    ] {
        let name = unique("q");
        ch.queue_declare(&name).exclusive().arg(arg, first.clone()).ok();
        ch.queue_declare(&name).exclusive().arg(arg, first).ok();
        let text = inequivalent(arg, &name, "received '...");
        ch.queue_declare(&name).exclusive().arg(arg, second).expect_close(406, (50, 10), &text);
        ch.open().ok();
        let text = inequivalent(arg, &name, "received none but current is the value '...");
        ch.queue_declare(&name).exclusive().expect_close(406, (50, 10), &text);
        ch.open().ok();
    }
}
