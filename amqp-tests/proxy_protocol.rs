//! PROXY headers: a trusted proxy says whom it forwards, others do not.

use std::time::{Duration, Instant};

use crate::support::tunnel::Tunnel;
use crate::support::wire::*;

const TRUSTED: &str =
    "[listener]\nhandshake_timeout_ms = 1000\n[proxy_protocol]\ntrusted = [\"127.0.0.0/8\"]\n";

/// A header of version 2 for TCP over IPv4 from this address.
fn version_2(source: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend(source);
    header.extend([127, 0, 0, 1, 0x30, 0x39, 0x16, 0x28]);
    header
}

#[test]
fn the_address_that_a_trusted_proxy_tells_counts() {
    let Some(broker) = Broker::own_with(TRUSTED) else { return };
    let near: [&[u8]; 2] = [b"PROXY TCP4 127.0.0.9 127.0.0.1 12345 5672\r\n", &version_2([127, 0, 0, 9])];
    for header in near {
        Tunnel::with_header(broker.address(), header).open().channel(1);
    }
    // guest may only connect from this machine.
    let far: [&[u8]; 3] = [
        b"PROXY TCP4 192.0.2.1 127.0.0.1 12345 5672\r\n",
        b"PROXY TCP6 2001:db8::1 ::1 12345 5672\r\n",
        &version_2([192, 0, 2, 1]),
    ];
    for header in far {
        let tunnel = Tunnel::with_header(broker.address(), header);
        let conn = tunnel.dial().authenticated();
        assert_eq!(conn.next(0).method().close().code, 403);
    }
}

#[test]
fn a_trusted_proxy_may_speak_for_itself() {
    let Some(broker) = Broker::own_with(TRUSTED) else { return };
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for header in [b"PROXY UNKNOWN\r\n".as_slice(), local] {
        Tunnel::with_header(broker.address(), header).open().channel(1);
    }
}

#[test]
fn a_trusted_proxy_without_a_right_header_is_let_go() {
    let Some(broker) = Broker::own_with(TRUSTED) else { return };
    let endless = [b"PROXY TCP4 ".as_slice(), &[b'1'; 500]].concat();
    let wrong: [&[u8]; 5] = [
        b"",
        b"PROXY TCP4 127.0.0.1\r\n",
        b"PROXY TCP4 a b c d\r\n",
        &endless,
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0",
    ];
    for header in wrong {
        Tunnel::with_header(broker.address(), header).dial().greeted().expect_socket_closed();
    }
    Tunnel::with_header(broker.address(), b"PROXY UNKNOWN\r\n").open();
}

#[test]
fn a_proxy_that_is_slow_with_its_header_is_let_go() {
    let Some(broker) = Broker::own_with(TRUSTED) else { return };
    let begun = Instant::now();
    let conn = Tunnel::with_header(broker.address(), b"PROXY TC").dial().tcp();
    conn.expect_socket_closed();
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(900), "it had its time: {took:?}");
}

#[test]
fn a_header_of_somebody_else_is_no_amqp() {
    for trusted in ["", "\"10.0.0.0/8\""] {
        let config = format!("[proxy_protocol]\ntrusted = [{trusted}]\n");
        let Some(broker) = Broker::own_with(&config) else { return };
        let tunnel = Tunnel::with_header(broker.address(), b"PROXY TCP4 127.0.0.9 127.0.0.1 1 2\r\n");
        let conn = tunnel.dial().tcp();
        assert!(matches!(conn.next(0), Event::ProtocolHeader(_)));
        conn.expect_socket_closed();
        broker.connect();
    }
}
