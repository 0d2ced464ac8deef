//! Frames, good and bad (behaviours 36-54).

use std::time::Duration;

use crate::support::conn::frame;
use crate::support::wire::*;

const NO_HEADER: &str =
    "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead";
const NO_METHOD: &str = "UNEXPECTED_FRAME - expected method frame, got non method frame instead";

/// Basic.Publish alone, to the default exchange.
fn begin_publish(conn: &Conn, key: &str) {
    conn.send(1, Encoder::method(60, 40).u16(0).short("").short(key).u8(0));
}

// behaviour 36
#[test]
fn an_unknown_frame_type_is_a_frame_error() {
    let conn = Conn::open();
    conn.channel(1);
    conn.frame(4, 1, b"");
    conn.expect_close(501, (0, 0), "FRAME_ERROR - type 4, all octets = <<>>: unknown_frame");
}

// behaviour 37
#[test]
fn a_wrong_end_octet_is_a_frame_error() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let mut bytes = frame(1, 1, &ch.queue_declare("").encode().0);
    *bytes.last_mut().expect("an end octet") = 0xCD;
    conn.raw(&bytes);
    conn.expect_close(501, (0, 0), "...invalid_frame_end_marker");
}

// behaviour 38
#[test]
fn an_oversized_frame_is_refused_by_its_header() {
    let conn = Dial { frame_max: 8192, ..Dial::shared() }.open();
    conn.channel(1);
    begin_publish(&conn, "nowhere");
    conn.frame(2, 1, &Props::default().encode(60, 9000));
    conn.raw(&Encoder::default().u8(3).u16(1).u32(9000).0);
    conn.raw(&[0; 100]);
    conn.expect_close(501, (0, 0), "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,9000,8184}");
}

// behaviour 39
#[test]
fn eight_octets_over_the_frame_size_are_let_through() {
    let conn = Dial { frame_max: 8192, ..Dial::shared() }.open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    begin_publish(&conn, &queue);
    conn.frame(2, 1, &Props::default().encode(60, 8192));
    conn.frame(3, 1, &[7; 8192]);
    assert_eq!(ch.pull_soon(&queue).body, [7; 8192]);
}

// behaviour 40
#[test]
fn unknown_methods_and_classes_end_the_socket() {
    for ids in [(50, 99), (77, 10), (60, 0)] {
        let conn = Conn::open();
        conn.channel(1).any(ids, &[]).send();
        conn.expect_socket_closed();
    }
    let conn = Conn::open();
    conn.unopened(0).any((10, 99), &[]).send();
    conn.expect_socket_closed();
}

// behaviour 41
#[test]
fn a_method_cut_short_cannot_be_decoded() {
    let conn = Conn::open();
    conn.channel(1).any((50, 10), &[0, 0, 200]).send();
    conn.expect_close(501, (50, 10), "FRAME_ERROR - cannot decode <<0,0,200>>");
}

// behaviour 42
#[test]
fn content_without_a_method_is_unexpected() {
    for (kind, payload) in [(2, Props::default().encode(60, 1)), (3, b"x".to_vec())] {
        let conn = Conn::open();
        conn.channel(1);
        conn.frame(kind, 1, &payload);
        conn.expect_close(505, (0, 0), NO_METHOD);
    }
}

// behaviour 43
#[test]
fn a_publish_must_be_followed_by_its_header() {
    let conn = Conn::open();
    conn.channel(1);
    begin_publish(&conn, "q");
    conn.frame(3, 1, b"x");
    conn.expect_close(505, (60, 40), NO_HEADER);

    let conn = Conn::open();
    let ch = conn.channel(1);
    begin_publish(&conn, "q");
    ch.qos(0, 1, false).expect_conn_close(505, (60, 40), NO_HEADER);
}

// behaviour 44
#[test]
fn a_content_header_of_another_class_is_unexpected() {
    let conn = Conn::open();
    conn.channel(1);
    begin_publish(&conn, "q");
    conn.frame(2, 1, &Props::default().encode(50, 1));
    let text = "UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 instead";
    conn.expect_close(505, (60, 40), text);
}

// behaviour 45: as RabbitMQ 4 does
#[test]
fn a_body_longer_than_its_header_says_is_a_frame_error() {
    let conn = Conn::open();
    conn.channel(1);
    begin_publish(&conn, "q");
    conn.frame(2, 1, &Props::default().encode(60, 1));
    conn.frame(3, 1, b"xyz");
    conn.expect_close(501, (60, 40), "FRAME_ERROR - content body frame exceeds remaining content size");
}

// behaviour 46: as RabbitMQ 4 does
#[test]
fn a_header_that_announces_too_large_a_body_is_refused() {
    let conn = Conn::open();
    conn.channel(1);
    begin_publish(&conn, "q");
    conn.frame(2, 1, &Props::default().encode(60, 1 << 40));
    let text = "FRAME_ERROR - content body size 1099511627776 exceeds maximum allowed size 536870912";
    conn.expect_close(501, (60, 40), text);
}

// behaviour 46
#[test]
fn a_message_over_the_configured_size_closes_its_channel_only() {
    let Some(broker) = Broker::own_with("[limits]\nmessage_bytes_max = 1000\n") else { return };
    let conn = Dial { frame_max: 4096, ..Dial::to(broker.address()) }.open();
    let (ch, other) = (conn.channel(1), conn.channel(2));
    let queue = other.temp_queue();
    ch.confirm_select().ok();
    ch.put(&queue, [1; 1000]);
    ch.confirms(1, 1);
    for size in [1001, 5000, 300_000] {
        let text =
            format!("PRECONDITION_FAILED - message size {size} is larger than configured max size 1000");
        ch.publish("", &queue, vec![2; size]).expect_close(406, &text);
        ch.open().ok();
    }
    ch.put(&queue, "small");
    assert_eq!(other.pull_soon(&queue).body, [1; 1000]);
    assert_eq!(other.pull_soon(&queue).text(), "small");
    assert!(other.pull(&queue).is_none());
}

// behaviour 47
#[test]
fn empty_bodies_need_no_body_frame_and_bear_an_empty_one() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.put(&queue, "");
    begin_publish(&conn, &queue);
    conn.frame(2, 1, &Props::default().encode(60, 3));
    conn.frame(3, 1, b"");
    conn.frame(3, 1, b"ab");
    conn.frame(3, 1, b"");
    conn.frame(3, 1, b"c");
    ch.put(&queue, "end");
    assert_eq!(ch.pull_all(&queue), ["", "abc", "end"]);
}

// behaviour 48
#[test]
fn large_bodies_go_out_in_frames_of_the_negotiated_size() {
    let publisher = Conn::open();
    let consumer = Dial { frame_max: 8192, ..Dial::shared() }.open();
    let ch = consumer.channel(1);
    let queue = ch.temp_queue();
    let out = publisher.channel(1);
    let sizes = [8183, 8184, 8185, 16_368, 16_369, 100_000];
    for size in sizes {
        out.put(&queue, vec![9; size]);
    }
    ch.consume(&queue, "t").no_ack().ok();
    for size in sizes {
        assert_eq!(ch.delivery().body, vec![9; size]);
    }
    assert!(consumer.frame_size_max_seen() <= 8192, "a frame of {} octets", consumer.frame_size_max_seen());
}

// behaviour 49
#[test]
fn names_must_be_utf8() {
    let conn = Conn::open();
    conn.channel(1).queue_declare(b"\xFF\xFE").send();
    conn.expect_close(501, (0, 0), "FRAME_ERROR - Malformed UTF-8 in shortstr");
}

// behaviour 49
#[test]
fn names_of_255_octets_and_beyond_ascii_are_fine() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let long = format!("{:x<255}", unique("long"));
    assert_eq!(ch.queue_declare(&long).exclusive().ok().declare_ok().0, long);
    let accented = unique("çüé-兔");
    assert_eq!(ch.queue_declare(&accented).exclusive().ok().declare_ok().0, accented);
    ch.put(&accented, "m");
    assert_eq!(ch.pull_soon(&accented).routing_key, accented);
}

// behaviours 50, 125
#[test]
fn every_table_type_comes_back_unchanged() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    let headers = table([
        ("bool", Value::Bool(true)),
        ("i8", Value::I8(-8)),
        ("u8", Value::U8(200)),
        ("i16", Value::I16(-16_000)),
        ("u16", Value::U16(60_000)),
        ("i32", Value::I32(-2_000_000_000)),
        ("u32", Value::U32(4_000_000_000)),
        ("i64", Value::I64(-9_000_000_000)),
        ("f32", Value::F32(1.5)),
        ("f64", Value::F64(-2.25)),
        ("decimal", Value::Decimal(2, 12_345)),
        ("text", "täxt".into()),
        ("bytes", Value::Bytes(vec![0, 255, 1])),
        ("time", Value::Time(1_700_000_000)),
        ("void", Value::Void),
        ("array", vec![Value::I32(1), "two".into(), vec![Value::Bool(false), Value::Void].into()].into()),
        ("nested", table([("z", 1.into()), ("a", table([("deep", Value::U8(1))]).into())]).into()),
        ("empty table", Table::new().into()),
        ("empty array", Value::Array(Vec::new())),
        ("", "empty name".into()),
    ]);
    ch.publish("", &queue, "m").props(Props { headers: Some(headers.clone()), ..Props::default() }).send();
    let got = ch.pull_soon(&queue).props.headers.expect("headers");
    for (sent, received) in headers.iter().zip(&got) {
        assert_eq!(sent, received);
    }
    assert_eq!(headers.len(), got.len());
}

// behaviour 51
#[test]
fn an_unknown_field_type_closes_the_connection() {
    let conn = Conn::open();
    conn.channel(1).queue_declare(unique("q")).exclusive().arg("x", Value::Raw(b"?123".to_vec())).send();
    conn.expect_close_code(&[501, 502]);
}

// behaviour 52
#[test]
fn channel_methods_on_channel_zero_are_a_channel_error() {
    let conn = Conn::open();
    let text = "CHANNEL_ERROR - unexpected method in connection state running";
    conn.unopened(0).open().expect_conn_close(504, (20, 10), text);
}

// behaviour 52
#[test]
fn content_on_channel_zero_is_unexpected() {
    let conn = Conn::open();
    conn.frame(3, 0, b"x");
    conn.expect_close_code(&[505]);
}

// behaviour 53
#[test]
fn methods_only_a_server_sends_are_unimplemented() {
    let conn = Conn::open();
    let fields = Encoder::default().short("q").u32(0).u32(0);
    let text = "COMMAND_INVALID - unimplemented method";
    conn.channel(1).any((50, 11), &fields.0).expect_conn_close(503, (50, 11), text);

    let conn = Conn::open();
    let fields = Encoder::default().short("c").u64(1).u8(0).short("").short("");
    conn.channel(1).any((60, 60), &fields.0).send();
    conn.frame(2, 1, &Props::default().encode(60, 0));
    conn.expect_close(503, (60, 60), text);

    for ids in [(20, 11), (40, 11), (50, 21), (60, 21), (60, 72), (85, 11), (90, 21)] {
        let conn = Conn::open();
        let fields = if matches!(ids, (20, 11)) { &[0; 4][..] } else { &[0; 1] };
        let fields = if matches!(ids, (60, 21 | 72) | (20, 11)) { fields } else { &[] };
        conn.channel(1).any(ids, fields).expect_conn_close(503, ids, text);
    }
}

// behaviour 54
#[test]
fn contents_of_two_channels_may_interleave() {
    let conn = Conn::open();
    let (one, two) = (conn.channel(1), conn.channel(2));
    let queue = one.temp_queue();
    for ch in [1, 2] {
        conn.send(ch, Encoder::method(60, 40).u16(0).short("").short(&queue).u8(0));
    }
    for ch in [2, 1] {
        conn.frame(2, ch, &Props::default().encode(60, 4));
    }
    for (ch, part) in [(1, "on"), (2, "tw"), (2, "o."), (1, "e.")] {
        conn.frame(3, ch, part.as_bytes());
    }
    two.sync();
    let mut got = [one.pull_soon(&queue).text(), one.pull_soon(&queue).text()];
    got.sort();
    assert_eq!(got, ["one.", "two."]);
}

// robustness of the frame reader: any cut of the byte stream is the same stream
#[test]
fn frames_may_arrive_octet_by_octet() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    let publish = Encoder::method(60, 40).u16(0).short("").short(&queue).u8(0);
    let mut bytes = frame(1, 1, &publish.0);
    bytes.extend(frame(2, 1, &Props::default().encode(60, 5)));
    bytes.extend(frame(3, 1, b"piece"));
    for byte in &bytes {
        conn.raw(std::slice::from_ref(byte));
        std::thread::sleep(Duration::from_micros(300)); // so that each octet is a segment of its own
    }
    assert_eq!(ch.pull_soon(&queue).text(), "piece");
}
