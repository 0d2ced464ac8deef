//! TLS: who comes in and who does not, and certificates that change while clients are connected.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tokio_rustls::rustls::version;

use crate::support::certificates::{Authority, Folder, Signed, pair};
use crate::support::tunnel::Tunnel;
use crate::support::wire::*;

fn works(conn: &Conn) {
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.confirm_select().ok();
    for size in [0, 1, 100, 5_000, 300_000, 2_000_000] {
        let body = vec![7; size];
        ch.publish("", &queue, &body).send();
        assert!(ch.confirm().acked);
        assert_eq!(ch.get_soon(&queue).body.len(), size);
    }
}

#[test]
fn clients_work_over_tls_of_each_version() {
    let (authority, folder) = (Authority::new("ours"), Folder::new());
    let Some(broker) = Broker::own_with(&folder.config(&authority.sign("localhost"))) else { return };
    for version in [&version::TLS12, &version::TLS13] {
        let config = authority.client_with(None, &[version]);
        works(&Tunnel::tls(broker.tls(), config, "localhost").open());
    }
    let silent = broker.connect();
    works(&silent);
}

#[test]
fn a_consumer_over_tls_gets_what_it_can_take_and_a_closed_connection_says_goodbye() {
    let (authority, folder) = (Authority::new("ours"), Folder::new());
    let Some(broker) = Broker::own_with(&folder.config(&authority.sign("localhost"))) else { return };
    let conn = Tunnel::tls(broker.tls(), authority.client(), "localhost").open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.consume(&queue, "c").no_ack().ok();
    for number in 0..5_000_u32 {
        ch.publish("", &queue, number.to_be_bytes()).send();
    }
    for number in 0..5_000_u32 {
        assert_eq!(ch.delivery().body, number.to_be_bytes());
    }
    conn.close();
    conn.expect_socket_closed();
}

#[test]
fn a_certificate_of_another_host_or_one_that_has_expired_is_shown_to_nobody_who_looks() {
    let (authority, folder) = (Authority::new("ours"), Folder::new());
    let Some(broker) = Broker::own_with(&folder.config(&authority.sign("mq.example"))) else { return };
    let failure = Tunnel::tls(broker.tls(), authority.client(), "localhost").failure();
    assert!(failure.contains("certificate"), "{failure}");
    works(&Tunnel::tls(broker.tls(), authority.client(), "mq.example").open());
    let expired = Folder::new();
    let config = expired.config(&authority.sign_until("localhost", 2001));
    let Some(broker) = Broker::own_with(&config) else { return };
    let failure = Tunnel::tls(broker.tls(), authority.client(), "localhost").failure();
    assert!(failure.to_ascii_lowercase().contains("expired"), "{failure}");
}

#[test]
fn clients_come_in_with_a_right_certificate_only_where_one_is_required() {
    let (ours, others, folder) = (Authority::new("ours"), Authority::new("others"), Folder::new());
    let config = folder.config(&ours.sign("localhost")) + &folder.ca(&ours) + "verify = \"required\"\n";
    let Some(broker) = Broker::own_with(&config) else { return };
    let versions: &[_] = &[&version::TLS13, &version::TLS12];
    let with = |own: Option<&Signed>| Tunnel::tls(broker.tls(), ours.client_with(own, versions), "localhost");
    works(&with(Some(&ours.sign("client"))).open());
    for (own, word) in [
        (None, "certificate"),
        (Some(ours.sign_until("client", 2001)), "expired"),
        (Some(others.sign("client")), ""),
    ] {
        let failure = with(own.as_ref()).failure().to_ascii_lowercase();
        assert!(failure.contains(word) && !failure.is_empty(), "{failure}");
    }
}

#[test]
fn clients_need_no_certificate_where_it_is_optional_but_a_wrong_one_is_refused() {
    let (ours, others, folder) = (Authority::new("ours"), Authority::new("others"), Folder::new());
    let config = folder.config(&ours.sign("localhost")) + &folder.ca(&ours) + "verify = \"optional\"\n";
    let Some(broker) = Broker::own_with(&config) else { return };
    works(&Tunnel::tls(broker.tls(), ours.client(), "localhost").open());
    let wrong = ours.client_with(Some(&others.sign("client")), &[&version::TLS13]);
    let failure = Tunnel::tls(broker.tls(), wrong, "localhost").failure();
    assert!(!failure.is_empty());
}

#[test]
fn a_version_that_is_too_old_is_refused() {
    let (authority, folder) = (Authority::new("ours"), Folder::new());
    let config = folder.config(&authority.sign("localhost")) + "min_version = \"1.3\"\n";
    let Some(broker) = Broker::own_with(&config) else { return };
    let old = authority.client_with(None, &[&version::TLS12]);
    let failure = Tunnel::tls(broker.tls(), old, "localhost").failure();
    assert!(failure.to_ascii_lowercase().contains("version"), "{failure}");
    works(&Tunnel::tls(broker.tls(), authority.client(), "localhost").open());
}

#[test]
fn a_client_sees_the_certificate_of_the_name_that_it_asks_for() {
    let (authority, folder) = (Authority::new("ours"), Folder::new());
    let mut config = folder.config(&authority.sign("localhost"));
    for (place, name) in ["one.example", "*.two.example"].into_iter().enumerate() {
        let (certificate, key) = folder.put_signed(&place.to_string(), &authority.sign(name));
        config += &format!("[[tls.certificates]]\nnames = [{name:?}]\n{}", pair(&certificate, &key));
    }
    let Some(broker) = Broker::own_with(&config) else { return };
    for host in ["localhost", "one.example", "mq.two.example"] {
        works(&Tunnel::tls(broker.tls(), authority.client(), host).open());
    }
    let failure = Tunnel::tls(broker.tls(), authority.client(), "three.example").failure();
    assert!(failure.contains("certificate"), "{failure}");
}

#[test]
fn new_certificates_hold_for_new_connections_and_bad_ones_change_nothing() {
    let (first, second, folder) = (Authority::new("first"), Authority::new("second"), Folder::new());
    let Some(broker) = Broker::own_with(&folder.config(&first.sign("localhost"))) else { return };
    let old = Tunnel::tls(broker.tls(), first.client(), "localhost").open();
    let old = old.channel(1);
    let queue = old.temp_queue();
    folder.put_signed("server", &second.sign("localhost"));
    let tunnel = Tunnel::tls(broker.tls(), second.client(), "localhost");
    let new = eventually("the new certificate", || tunnel.dial().try_open());
    old.put(&queue, "still here");
    assert_eq!(old.get_soon(&queue).body, b"still here");
    works(&new);
    folder.put("server.pem", "no certificate");
    eventually("a word about it", || broker.log().contains("those before stay in force").then_some(()));
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(broker.log().matches("those before stay in force").count(), 1, "it is said once");
    works(&tunnel.open());
    old.put(&queue, "still here");
    assert_eq!(old.get_soon(&queue).body, b"still here");
}

#[test]
fn a_broker_does_not_start_with_files_that_do_not_fit() {
    let (authority, folder) = (Authority::new("ours"), Folder::new());
    let (server, other) = (authority.sign("localhost"), authority.sign("localhost"));
    let (certificate, _) = folder.put_signed("server", &server);
    let (_, key) = folder.put_signed("other", &other);
    let file = folder.put("warren.toml", &format!("[tls]\n{}", pair(&certificate, &key)));
    let data = folder.path("data");
    let output = std::process::Command::new(program())
        .args(["server", "--bind", "127.0.0.1:0", "--management-bind", "off", "--metrics-bind", "off"])
        .arg("--data-dir")
        .arg(data)
        .arg("--config")
        .arg(file)
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("server.pem") && said.contains("other.key"), "{said}");
}

#[test]
fn who_does_not_speak_tls_on_its_port_is_let_go() {
    let (authority, folder) = (Authority::new("ours"), Folder::new());
    let config = folder.config(&authority.sign("localhost")) + "[listener]\nhandshake_timeout_ms = 300\n";
    let Some(broker) = Broker::own_with(&config) else { return };
    for said in [b"AMQP\x00\x00\x09\x01".as_slice(), b"\x16\x03", b""] {
        let mut socket = TcpStream::connect(broker.tls()).expect("it listens");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket option");
        socket.write_all(said).expect("it is open");
        let mut answer = Vec::new();
        // A reset ends it as well.
        let _ = socket.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"AMQP"), "{answer:?}");
    }
    works(&Tunnel::tls(broker.tls(), authority.client(), "localhost").open());
}

#[test]
fn the_http_api_is_there_over_tls() {
    let (authority, folder) = (Authority::new("ours"), Folder::new());
    let config = folder.config(&authority.sign("localhost")) + "[management]\ntls_bind = \"127.0.0.1:0\"\n";
    let Some(broker) = Broker::own_with(&config) else { return };
    let tunnel = Tunnel::tls(broker.https(), authority.client(), "localhost");
    let mut socket = TcpStream::connect(tunnel.address()).expect("a tunnel");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket option");
    socket
        .write_all(b"GET /api/whoami HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("it is open");
    let mut answer = String::new();
    let _ = socket.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}
