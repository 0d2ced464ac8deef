//! Publishing and returns (behaviours 119-130).

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::wire::*;

// behaviour 119
#[test]
fn mandatory_and_unroutable_is_returned_whole() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let key = unique("nobody");
    let props = Props {
        content_type: Some("text/plain".to_owned()),
        headers: Some(table([("h", 1.into())])),
        ..Props::default()
    };
    ch.publish("amq.direct", &key, "come back").props(props.clone()).mandatory().send();
    let back = ch.method().is((60, 50)).delivery();
    assert_eq!(back.reply, (312, "NO_ROUTE".to_owned()));
    assert_eq!((&*back.exchange, &*back.routing_key), ("amq.direct", &*key));
    assert_eq!((&back.props, &*back.text()), (&props, "come back"));
    ch.publish("amq.direct", &key, "").mandatory().send();
    assert_eq!(ch.method().is((60, 50)).delivery().body, b"");
}

// behaviour 120
#[test]
fn a_return_comes_before_its_ack() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    ch.confirm_select().ok();
    ch.publish("amq.direct", &unique("nobody"), "m").mandatory().send();
    ch.method().is((60, 50));
    assert_eq!(ch.confirm(), Confirm { number: 1, multiple: false, acked: true });
    ch.publish("amq.direct", &unique("nobody"), "m").send();
    assert_eq!(ch.confirm(), Confirm { number: 2, multiple: false, acked: true });
}

// behaviour 121
#[test]
fn immediate_is_not_implemented() {
    let conn = Conn::open();
    conn.channel(1).publish("", "q", "m").immediate().send();
    conn.expect_close(540, (60, 40), "NOT_IMPLEMENTED - immediate=true");
}

// behaviour 122
#[test]
fn the_default_exchange_reaches_every_queue_by_name() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (queue, none) = (ch.temp_queue(), unique("none"));
    ch.put(&queue, "m");
    let got = ch.pull_soon(&queue);
    assert_eq!((&*got.exchange, &*got.routing_key), ("", &*queue));
    ch.publish("", &none, "m").mandatory().send();
    let back = ch.method().is((60, 50)).delivery();
    assert_eq!((&*back.exchange, &*back.routing_key), ("", &*none));
}

// behaviours 123, 190
#[test]
fn expiration_must_be_digits() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    for (value, reason) in
        [("soon", "no_integer"), ("-1", "{value_negative,-1}"), ("1.5", "{leftover_string,\".5\"}")]
    {
        let text = format!("PRECONDITION_FAILED - invalid expiration '{value}': {reason}");
        ch.publish("", "q", "m").expiration(value).expect_close(406, &text);
        ch.open().ok();
    }
    for value in ["0", "4294967295", "4294967296", "007"] {
        ch.publish("", "q", "m").expiration(value).send();
    }
    ch.quiet();
}

// behaviour 124
#[test]
fn the_user_id_must_be_ones_own() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let of = |user: &str| Props { user_id: Some(user.to_owned()), ..Props::default() };
    let queue = ch.temp_queue();
    ch.publish("", &queue, "mine").props(of("guest")).send();
    assert_eq!(ch.pull_soon(&queue).props, of("guest"));
    let text = "PRECONDITION_FAILED - user_id property set to 'other' but authenticated user was 'guest'";
    ch.publish("", &queue, "m").props(of("other")).expect_close(406, text);
}

// behaviour 125
#[test]
fn all_properties_come_out_as_they_went_in() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    let text = |v: &str| Some(v.to_owned());
    let all = Props {
        content_type: text("a/b"),
        content_encoding: text("gzip"),
        headers: Some(table([("z", 1.into()), ("a", "2".into())])),
        delivery_mode: Some(2),
        priority: Some(3),
        correlation_id: text("c"),
        reply_to: text("r"),
        expiration: text("600000"),
        message_id: text("m"),
        timestamp: Some(12_345),
        kind: text("t"),
        user_id: text("guest"),
        app_id: text("a"),
        cluster_id: text("cl"),
    };
    let empty = Props {
        content_type: text(""),
        headers: Some(Table::new()),
        priority: Some(0),
        message_id: text(""),
        timestamp: Some(0),
        app_id: text(""),
        ..Props::default()
    };
    for props in [all, empty, Props::default(), Props { timestamp: Some(u64::MAX), ..Props::default() }] {
        ch.publish("", &queue, "m").props(props.clone()).send();
        assert_eq!(ch.pull_soon(&queue).props, props);
    }
}

// behaviours 125, 128
#[test]
fn random_messages_come_back_octet_for_octet() {
    let conn = Dial { frame_max: 8192, ..Dial::shared() }.open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    let text = || proptest::option::of("[ -~]{0,40}");
    let headers = proptest::option::of(proptest::collection::vec(("[a-z]{1,10}", "[ -~]{0,40}"), 0..6));
    let props =
        (text(), headers, proptest::option::of(1..=2_u8), text(), text(), proptest::option::of(any::<u64>()));
    let size = prop_oneof![0..200_usize, 8170..8200_usize, 16_360..16_380_usize, 0..70_000_usize];
    let mut runner = TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(
        &(props, size, any::<u8>()),
        |((content_type, headers, mode, reply, id, time), size, seed)| {
            let headers = headers.map(|pairs| pairs.into_iter().map(|(k, v)| (k, Value::Str(v))).collect());
            let props = Props {
                content_type,
                headers,
                delivery_mode: mode,
                reply_to: reply,
                message_id: id,
                timestamp: time,
                ..Props::default()
            };
            let body: Vec<u8> =
                (0..size).map(|at| u8::try_from(at % 251).unwrap_or(0).wrapping_add(seed)).collect();
            ch.publish("", &queue, &body).props(props.clone()).send();
            let got = ch.pull_soon(&queue);
            prop_assert_eq!(got.props, props);
            prop_assert!(got.body == body, "a body of {} octets changed", size);
            Ok(())
        },
    );
    outcome.expect("each message comes back");
}

// behaviours 126, 127
#[test]
fn cc_and_bcc_route_too_and_bcc_is_taken_off() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let [main, cc, bcc] = [(); 3].map(|()| ch.temp_queue());
    let list = |name: &String| Value::Array(vec![name.into()]);
    ch.publish("", &main, "m").header("CC", list(&cc)).header("BCC", list(&bcc)).header("own", 1).send();
    for queue in [&main, &cc, &bcc] {
        let got = ch.pull_soon(queue);
        assert_eq!(got.routing_key, main);
        assert_eq!(got.props.headers, Some(table([("CC", list(&cc)), ("own", 1.into())])));
    }
}

// behaviour 126
#[test]
fn cc_and_bcc_must_be_arrays() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let text = "PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,\"CC\",longstr}";
    ch.publish("", "q", "m").header("CC", "q2").expect_close(406, text);
    ch.open().ok();
    let text = "PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,\"BCC\",signedint}";
    ch.publish("", "q", "m").header("BCC", 5).expect_close(406, text);
}

// behaviour 126
#[test]
fn of_cc_only_strings_count_and_one_queue_gets_one_copy() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let [main, other] = [(); 2].map(|()| ch.temp_queue());
    let keys: Vec<Value> = vec![5.into(), (&other).into(), Value::Void, (&main).into(), (&other).into()];
    ch.publish("", &main, "m").header("CC", keys.clone()).header("BCC", Value::Array(Vec::new())).send();
    ch.sync();
    for queue in [&main, &other] {
        let got = ch.pull_soon(queue);
        assert_eq!(got.props.headers, Some(table([("CC", keys.clone().into())])));
        assert!(ch.pull(queue).is_none());
    }
}

// behaviours 119, 126
#[test]
fn a_cc_key_alone_counts_as_a_route() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    let list = |name: &str| Value::Array(vec![name.into()]);
    ch.publish("", &unique("nobody"), "m").header("CC", list(&queue)).mandatory().send();
    assert_eq!(ch.pull_soon(&queue).text(), "m");
    ch.quiet();
    ch.publish("", &unique("nobody"), "m").header("BCC", list("nobody")).mandatory().send();
    ch.method().is((60, 50));
}

// behaviour 128
#[test]
fn bodies_of_many_megabytes_pass() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    for size in [1 << 20, 16 << 20] {
        let body: Vec<u8> = (0..size).map(|at: u32| at.to_le_bytes()[at as usize % 4]).collect();
        ch.put(&queue, &body);
        assert!(ch.pull_soon(&queue).body == body, "a body of {size} octets changed");
    }
}

// behaviour 129
#[test]
fn one_channels_messages_keep_their_order() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.consume(&queue, "t").no_ack().ok();
    for n in 0..5000 {
        ch.put(&queue, n.to_string());
    }
    for n in 0..5000 {
        assert_eq!(ch.delivery().text(), n.to_string());
    }
}

// behaviour 130
#[test]
fn what_is_published_behind_an_error_is_dropped() {
    let conn = Conn::open();
    let (ch, other) = (conn.channel(1), conn.channel(2));
    let queue = other.temp_queue();
    ch.put(&queue, "before");
    ch.publish(&unique("missing"), "k", "wrong").send();
    ch.put(&queue, "behind");
    ch.expect_close(404, (60, 40), "NOT_FOUND - no exchange...");
    ch.open().ok();
    ch.put(&queue, "after");
    ch.sync();
    other.await_ready(&queue, 2);
    assert_eq!(other.pull_all(&queue), ["before", "after"]);
}
