//! How connections and channels end: the last words of both sides, and who is let in at all (behaviours 28, 35, 56).

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use crate::support::wire::*;

// behaviour 28
#[test]
fn after_the_brokers_close_nothing_counts_but_a_late_close_ok() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = unique("late");
    ch.qos(1, 0, false).send();
    assert_eq!(conn.next(0).method().is((10, 50)).close().code, 540);
    ch.queue_declare(&queue).send();
    conn.frame(9, 1, b"not even a frame");
    conn.next_within(0, Duration::from_millis(300)).nothing();
    conn.send(0, Encoder::method(10, 51));
    conn.expect_socket_closed();
    let text = format!("NOT_FOUND - no queue '{queue}' in vhost '/'");
    Conn::open().channel(1).queue_declare(&queue).passive().expect_close(404, (50, 10), &text);
}

// behaviour 28: both closes cross
#[test]
fn a_close_crossing_the_brokers_close_ends_the_connection() {
    let conn = Conn::open();
    conn.channel(1).qos(1, 0, false).send();
    conn.send(0, Encoder::method(10, 50).u16(200).short("bye").u16(0).u16(0));
    assert_eq!(conn.next(0).method().is((10, 50)).close().code, 540);
    conn.send(0, Encoder::method(10, 51));
    let mut last = conn.next(0);
    if let Event::Method(answer) = last {
        answer.is((10, 51));
        last = conn.next(0);
    }
    assert!(matches!(last, Event::SocketClosed), "{last:?}");
}

// RabbitMQ's reply texts hold 255 octets: longer ones end in three dots.
#[test]
fn texts_that_are_too_long_end_in_dots() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    for name in [format!("{:x<255}", unique("long")), format!("{}{}", unique("q"), "é".repeat(110))] {
        ch.queue_declare(&name).passive().send();
        let close = ch.method().is((20, 40)).close();
        let whole = format!("NOT_FOUND - no queue '{name}' in vhost '/'");
        let cut = close.text.strip_suffix("...").expect("three dots");
        assert!(whole.starts_with(cut) && (251..=252).contains(&cut.len()), "{:?}", close.text);
        ch.close_ok().send();
        ch.open().ok();
    }
}

// behaviour 56
#[test]
fn a_connection_method_on_a_channel_needs_the_channel_open() {
    let conn = Conn::open();
    conn.send(1, Encoder::method(10, 50).u16(200).short("").u16(0).u16(0));
    conn.expect_close(504, (10, 50), "CHANNEL_ERROR - expected 'channel.open'");
}

// behaviour 35
#[test]
fn guest_is_let_in_from_this_machine_only() {
    let Some(broker) = Broker::own_at("0.0.0.0:0", "") else { return };
    let Some(outside) = own_address() else { return eprintln!("left out: this machine has no address") };
    let port = broker.address().parse::<SocketAddr>().expect("an address").port();
    Dial::to(&format!("127.0.0.1:{port}")).open().channel(1).sync();
    let from_outside = Dial::to(&SocketAddr::new(outside, port).to_string());
    let text = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. \
                For details see the broker logfile.";
    from_outside.authenticated().expect_close(403, (0, 0), text);

    let Some(broker) = Broker::own_at("0.0.0.0:0", "[security]\nloopback_users = []\n") else { return };
    let port = broker.address().parse::<SocketAddr>().expect("an address").port();
    Dial::to(&SocketAddr::new(outside, port).to_string()).open().channel(1).sync();
}

/// The address by which others reach this machine. Nothing is sent.
fn own_address() -> Option<std::net::IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("198.51.100.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}
