//! AMQP over WebSocket, on the port of the HTTP API.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::tunnel::Tunnel;
use crate::support::wire::*;

#[test]
fn clients_work_over_websocket_at_each_path() {
    let Some(broker) = Broker::own() else { return };
    for path in ["/ws", "/", "/ws/amqp?vhost=%2f"] {
        let conn = Tunnel::websocket(broker.management(), path).open();
        let ch = conn.channel(1);
        let queue = ch.temp_queue();
        ch.confirm_select().ok();
        for size in [0, 1, 100, 70_000, 1_000_000] {
            ch.publish("", &queue, vec![9; size]).send();
            assert!(ch.confirm().acked);
            assert_eq!(ch.get_soon(&queue).body, vec![9; size]);
        }
        conn.close();
        conn.expect_socket_closed();
    }
}

#[test]
fn what_a_client_over_websocket_had_comes_back_when_it_vanishes() {
    let Some(broker) = Broker::own() else { return };
    let conn = Tunnel::websocket(broker.management(), "/ws").open();
    let ch = conn.channel(1);
    let queue = unique("vanished");
    ch.queue_declare(&queue).durable().ok();
    ch.put(&queue, "m");
    ch.consume(&queue, "c").ok();
    assert_eq!(ch.delivery().body, b"m");
    conn.vanish();
    let other = broker.connect();
    let ch = other.channel(1);
    assert!(ch.get_soon(&queue).redelivered);
}

#[test]
fn other_subprotocols_and_other_requests_are_not_taken_for_amqp() {
    let Some(broker) = Broker::own() else { return };
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let cases = [
        (format!("{upgrade}Sec-WebSocket-Protocol: stomp\r\n"), "101"),
        (format!("{upgrade}Sec-WebSocket-Protocol: stomp, amqp\r\n"), "HTTP/1.1 101"),
        ("Sec-WebSocket-Protocol: amqp\r\n".to_owned(), "101"),
    ];
    for (headers, expected) in cases {
        let mut socket = TcpStream::connect(broker.management()).expect("it listens");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket option");
        let request = format!("GET /api/whoami HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        socket.write_all(request.as_bytes()).expect("it is open");
        let mut answer = [0; 12];
        socket.read_exact(&mut answer).expect("an answer");
        let is_taken = answer == *b"HTTP/1.1 101";
        assert_eq!(is_taken, expected.starts_with("HTTP"), "{headers}");
    }
}
