//! Opening and closing connections: protocol header, login, tuning, heartbeats (behaviours 1-35).

use std::time::{Duration, Instant};

use crate::support::codec::Decoder;
use crate::support::wire::*;

const LOGIN_REFUSED: &str = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. \
                             For details see the broker logfile.";

// behaviours 1-3
#[test]
fn foreign_protocol_headers_are_answered_with_ours() {
    for hello in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"XXXXXXXX",
        b"AMQP\x00\x00\x09\x02",
        b"AMQP\x01\x01\x00\x0A",
        b"AMQP\x01\x01\x08\x00",
        b"AMQP\x00\x01\x00\x00",
    ] {
        let conn = Dial::shared().tcp();
        conn.raw(hello);
        match conn.next(0) {
            Event::ProtocolHeader(header) => {
                let known = [&b"AMQP\x00\x00\x09\x01"[..], b"AMQP\x00\x03\x01\x00"];
                assert!(known.contains(&&header[..]), "{header:?}");
            }
            other => panic!("expected a protocol header for {hello:?}, got {other:?}"),
        }
        conn.expect_socket_closed();
    }
}

// behaviour 2
#[test]
fn protocol_0_9_is_served_like_0_9_1() {
    let conn = Dial::shared().tcp();
    conn.raw(b"AMQP\x01\x01\x00\x09");
    let start = conn.next(0).method().is((10, 10));
    assert_eq!(start.args[..2], [0, 9]);
}

// behaviours 4-6
#[test]
fn start_names_version_mechanisms_locale_and_capabilities() {
    let conn = Dial::shared().greeted();
    let start = conn.next(0).method().is((10, 10));
    let mut d = Decoder(&start.args);
    assert_eq!((d.u8(), d.u8()), (0, 9));
    let properties = d.table();
    let mechanisms = d.text();
    assert!(["PLAIN", "AMQPLAIN"].iter().all(|m| mechanisms.split(' ').any(|x| x == *m)), "{mechanisms}");
    assert_eq!(d.text(), "en_US");
    for key in ["product", "version", "platform", "copyright", "information", "cluster_name"] {
        assert!(matches!(lookup(&properties, key), Some(Value::Str(_))), "{key} in {properties:?}");
    }
    assert_eq!(lookup(&properties, "product"), Some(&"RabbitMQ".into()));
    let version = lookup(&properties, "version").expect("a version").text();
    assert!(version.split(['.', '-', '+']).take(3).all(|part| part.parse::<u32>().is_ok()), "{version}");
    let capabilities = lookup(&properties, "capabilities").expect("capabilities").fields();
    for key in [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ] {
        assert_eq!(lookup(capabilities, key), Some(&Value::Bool(true)), "{key}");
    }
}

// behaviour 7
#[test]
fn tune_proposes_2047_channels_128_kib_frames_and_a_minute() {
    let conn = Dial::shared().authenticated();
    let tune = conn.next(0).method().is((10, 30));
    let mut d = Decoder(&tune.args);
    assert_eq!((d.u16(), d.u32(), d.u16()), (2047, 131_072, 60));
}

// behaviour 8
#[test]
fn wrong_credentials_are_refused_with_403() {
    for (user, password) in [("guest", "wrong"), ("nobody", "guest"), ("", "")] {
        let dial = Dial { user: user.to_owned(), password: password.to_owned(), ..Dial::shared() };
        dial.authenticated().expect_close(403, (0, 0), LOGIN_REFUSED);
    }
}

// behaviour 9
#[test]
fn wrong_credentials_without_the_capability_end_the_socket() {
    let dial = Dial { password: "wrong".to_owned(), capabilities: Table::new(), ..Dial::shared() };
    dial.authenticated().expect_socket_closed();
}

// behaviour 10
#[test]
fn unknown_mechanism_and_malformed_plain_end_the_socket() {
    let dial = Dial::shared();
    let conns =
        [("NOPE", &b"x"[..]), ("PLAIN", b"garbage"), ("PLAIN", b"\0guest")].map(|(mechanism, response)| {
            let conn = dial.greeted();
            conn.next(0).method().is((10, 10));
            conn.start_ok(mechanism, response, "en_US", &dial.capabilities);
            conn
        });
    conns.iter().for_each(Conn::expect_socket_closed);
}

// behaviours 11, 12
#[test]
fn amqplain_and_other_locales_are_accepted() {
    let login = Encoder::default().table(&table([("LOGIN", "guest".into()), ("PASSWORD", "guest".into())]));
    let_in("AMQPLAIN", &login.0[4..], "en_US");
    let_in("PLAIN", b"\0guest\0guest", "fr_FR");
}

// behaviours 8, 11
#[test]
fn a_wrong_password_by_amqplain_is_refused_in_its_name() {
    let wrong = table([("LOGIN", "guest".into()), ("PASSWORD", "wrong".into())]);
    let dial = Dial::shared();
    let conn = dial.greeted();
    conn.next(0).method().is((10, 10));
    conn.start_ok("AMQPLAIN", &Encoder::default().table(&wrong).0[4..], "en_US", &dial.capabilities);
    conn.expect_close(403, (0, 0), &LOGIN_REFUSED.replace("PLAIN", "AMQPLAIN"));
}

// behaviour 13: RabbitMQ 3.10 refuses this
#[test]
fn an_authorisation_id_in_front_is_tolerated() {
    let_in("PLAIN", b"someone\0guest\0guest", "en_US");
}

fn let_in(mechanism: &str, response: &[u8], locale: &str) {
    let conn = Dial::shared().greeted();
    conn.next(0).method().is((10, 10));
    conn.start_ok(mechanism, response, locale, &Table::new());
    conn.next(0).method().is((10, 30));
}

// behaviours 14-15
#[test]
fn tune_ok_outside_the_offer_is_refused() {
    let shared = Dial::shared();
    let bad = [
        Dial { frame_max: 4095, ..shared.clone() },
        Dial { frame_max: 131_073, ..shared.clone() },
        Dial { frame_max: 0, ..shared.clone() },
        Dial { channel_max: 2048, ..shared.clone() },
        Dial { channel_max: 0, ..shared },
    ];
    let conns: Vec<_> = bad.iter().map(|dial| (dial.asked(), dial)).collect();
    for (conn, dial) in conns {
        match conn.next(0) {
            Event::SocketClosed => {}
            Event::Method(m) if m.ids == (10, 50) => assert_eq!(m.close().code, 530, "{:?}", m.close()),
            other => panic!("{}/{} must be refused, got {other:?}", dial.channel_max, dial.frame_max),
        }
    }
}

// behaviour 14: RabbitMQ 4 wants 8192 at least
#[test]
fn the_smallest_frame_size_is_accepted() {
    let conn = Dial { frame_max: 4096, ..Dial::shared() }.open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.put(&queue, [7; 10_000]);
    assert_eq!(ch.pull_soon(&queue).body, [7; 10_000]);
    assert!(conn.frame_size_max_seen() <= 4096, "a frame of {} octets", conn.frame_size_max_seen());
}

// behaviour 16
#[test]
fn channels_over_the_negotiated_maximum_are_refused() {
    let conn = Dial { channel_max: 1, ..Dial::shared() }.open();
    conn.channel(1);
    let text = "NOT_ALLOWED - number of channels opened (1) has reached the negotiated channel_max (1)";
    conn.unopened(2).open().expect_conn_close(530, (0, 0), text);
}

// behaviour 17
#[test]
fn open_before_tune_ok_ends_the_socket() {
    let conn = Dial::shared().authenticated();
    conn.next(0).method().is((10, 30));
    conn.open_vhost("/");
    conn.expect_socket_closed();
}

// behaviour 18
#[test]
fn a_missing_vhost_is_refused_with_530() {
    let dial = Dial { vhost: "no such".to_owned(), ..Dial::shared() };
    dial.asked().expect_close(530, (10, 40), "NOT_ALLOWED - vhost no such not found");
}

// behaviour 19
#[test]
fn opening_twice_is_a_channel_error() {
    let conn = Conn::open();
    conn.open_vhost("/");
    conn.expect_close(504, (10, 40), "CHANNEL_ERROR - unexpected method in connection state running");
}

// behaviour 20
#[test]
fn open_ok_has_an_empty_known_hosts() {
    assert_eq!(Dial::shared().asked().next(0).method().is((10, 41)).short(), "");
}

// behaviours 21, 22
#[test]
fn heartbeats_are_sent_and_a_silent_client_is_dropped() {
    let conn = Dial { heartbeat_s: 1, ..Dial::shared() }.open();
    let start = Instant::now();
    let beats = conn.heartbeats_within(Duration::from_secs(10));
    let lived = start.elapsed();
    assert!(beats >= 2, "{beats} heartbeats in {lived:?}");
    assert!((1900..6000).contains(&lived.as_millis()), "a silent client lived {lived:?}");
    conn.expect_socket_closed();
}

// behaviour 23
#[test]
fn any_traffic_counts_as_a_heartbeat() {
    let conn = Dial { heartbeat_s: 1, ..Dial::shared() }.open();
    let ch = conn.channel(1);
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end {
        ch.sync();
        conn.heartbeats_within(Duration::from_millis(300));
    }
    ch.sync();
}

// behaviour 21: heartbeat frames alone keep a connection
#[test]
fn heartbeat_frames_keep_a_connection_alive() {
    let conn = Dial { heartbeat_s: 1, ..Dial::shared() }.open();
    for _ in 0..10 {
        conn.frame(8, 0, b"");
        conn.heartbeats_within(Duration::from_millis(450));
    }
    conn.channel(1).sync();
}

// behaviour 24
#[test]
fn without_heartbeats_none_are_sent_and_silence_is_fine() {
    let conn = Conn::open();
    assert_eq!(conn.heartbeats_within(Duration::from_millis(2500)), 0);
    conn.channel(1).sync();
}

// behaviour 25
#[test]
fn a_heartbeat_on_another_channel_is_unexpected() {
    let conn = Conn::open();
    conn.channel(1);
    conn.frame(8, 1, b"");
    conn.expect_close(505, (0, 0), "UNEXPECTED_FRAME - type 8, all octets = <<>>");
}

// behaviour 26
#[test]
fn an_unfinished_handshake_ends_in_about_ten_seconds() {
    let silent = Dial::shared().tcp();
    let greeted = Dial::shared().greeted();
    greeted.next(0).method().is((10, 10));
    let tuned = Dial::shared().authenticated();
    tuned.next(0).method().is((10, 30));
    let start = Instant::now();
    for conn in [silent, greeted, tuned] {
        assert!(!matches!(conn.next(0), Event::Nothing), "still open after {:?}", start.elapsed());
        conn.expect_socket_closed();
    }
    assert!(start.elapsed() > Duration::from_secs(5), "{:?} is too hasty", start.elapsed());
}

// behaviours 27, 97
#[test]
fn exclusive_queues_are_gone_before_close_ok() {
    let conn = Conn::open();
    let queue = conn.channel(1).temp_queue();
    conn.close();
    let text = format!("NOT_FOUND - no queue '{queue}' in vhost '/'");
    Conn::open().channel(1).queue_declare(&queue).passive().expect_close(404, (50, 10), &text);
}

// behaviour 28
#[test]
fn frames_after_the_clients_close_are_ignored() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    conn.send(0, Encoder::method(10, 50).u16(200).short("bye").u16(0).u16(0));
    ch.queue_declare(unique("late")).send();
    ch.put("nowhere", "late");
    conn.next(0).method().is((10, 51));
}

// behaviour 29
#[test]
fn update_secret_is_answered_and_the_connection_works_on() {
    let conn = Conn::open();
    conn.send(0, Encoder::method(10, 70).long("another").short("because"));
    let ok = conn.next(0).method().is((10, 71));
    assert!(ok.args.is_empty());
    conn.channel(1).sync();
}

// behaviour 240
#[test]
fn a_blocked_sent_by_a_client_harms_nothing() {
    let conn = Conn::open();
    conn.send(0, Encoder::method(10, 60).short("why not"));
    drop(conn);
    Conn::open().channel(1).sync();
}
