//! A start that fails says why in one clear line and ends; a damaged log is named and never served.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::wire::*;

/// Starts a broker that must not come up; gives what it says.
fn refused(dir: &Path, bind: &str, more: &[&str]) -> String {
    let more = [more, &["--management-bind", "off", "--metrics-bind", "off"]].concat();
    refused_with(dir, bind, &more)
}

fn refused_with(dir: &Path, bind: &str, more: &[&str]) -> String {
    let output = Command::new(program())
        .args(["server", "--data-dir"])
        .arg(dir)
        .args(["--bind", bind])
        .args(more)
        .output()
        .expect("the program runs");
    assert!(!output.status.success(), "it must not start");
    assert!(output.stdout.is_empty(), "it must not say that it listens");
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn a_port_in_use_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let said = refused(dir.path(), &address, &[]);
    assert!(said.contains(&address) && said.contains("in use") && said.contains("--bind"), "{said}");
}

#[test]
fn a_port_in_use_is_named_with_the_flag_that_chooses_another() {
    let Some(broker) = Broker::own() else { return };
    let taken = [
        ("--management-bind", broker.management(), "--metrics-bind"),
        ("--metrics-bind", broker.metrics(), "--management-bind"),
    ];
    for (flag, address, other) in taken {
        TcpStream::connect(address).expect("somebody listens");
        let dir = tempfile::tempdir().expect("a directory");
        let said = refused_with(dir.path(), "127.0.0.1:0", &[flag, address, other, "off"]);
        assert!(said.contains(address) && said.contains("in use") && said.contains(flag), "{said}");
    }
}

#[test]
fn a_broker_listens_at_all_addresses_of_its_configuration() {
    let Some(broker) = Broker::own_with("[listener]\nfurther_binds = [\"127.0.0.1:0\", \"[::1]:0\"]\n")
    else {
        return;
    };
    let addresses = broker.further_addresses();
    assert_eq!(addresses.len(), 2, "{addresses:?}");
    for address in addresses {
        Dial::to(address).open();
    }
}

#[test]
fn a_data_directory_in_use_is_named() {
    let Some(broker) = Broker::own() else { return };
    let said = refused(&broker.data_dir(), "127.0.0.1:0", &[]);
    let dir = broker.data_dir().display().to_string();
    assert!(said.contains(&dir) && said.contains("in use by another process"), "{said}");
}

#[test]
fn data_of_a_newer_format_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("FORMAT"), "warren data format 99\n").expect("a file");
    let said = refused(dir.path(), "127.0.0.1:0", &[]);
    assert!(said.contains("warren data format 99") && said.contains("FORMAT"), "{said}");
}

#[test]
fn an_unknown_key_of_the_configuration_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("config.toml");
    std::fs::write(&config, "[limits]\nchanel_max = 5\n").expect("a file");
    let config = config.display().to_string();
    let said = refused(dir.path(), "127.0.0.1:0", &["--config", &config]);
    assert!(said.contains(&config) && said.contains("chanel_max"), "{said}");
}

#[test]
fn damage_to_the_log_is_named_by_segment_and_offset_and_salvage_goes_on_without_it() {
    let Some(mut broker) = Broker::own() else { return };
    let conn = broker.connect();
    let ch = conn.channel(1);
    ch.queue_declare("q").durable().ok();
    ch.confirm_select().ok();
    for number in 0..50 {
        ch.publish("", "q", vec![number; 1000]).persistent().send();
        assert!(ch.confirm().acked);
    }
    drop(conn);
    broker.kill();
    let segment = broker.data_dir().join("log/0000000000000001.log");
    flip_a_byte_of(&segment, &[25; 900]);
    let said = refused(&broker.data_dir(), "127.0.0.1:0", &[]);
    assert!(said.contains("0000000000000001.log") && said.contains("offset"), "{said}");
    assert!(said.contains("--salvage"), "{said}");
    let mut salvaged = Command::new(program())
        .args(["server", "--salvage", "--bind", "127.0.0.1:0"])
        .args(["--management-bind", "off", "--metrics-bind", "off", "--data-dir"])
        .arg(broker.data_dir())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    let mut line = String::new();
    let stdout = salvaged.stdout.take().expect("its output");
    BufReader::new(stdout).read_line(&mut line).expect("where it listens");
    let address = line.split(' ').nth(4).expect("an address");
    let conn = Dial::to(address).open();
    let ch = conn.channel(1);
    let bodies: Vec<Vec<u8>> = std::iter::from_fn(|| ch.get("q").map(|got| got.body)).collect();
    let expected: Vec<Vec<u8>> =
        (0..50).filter(|number| *number != 25).map(|number| vec![number; 1000]).collect();
    salvaged.kill().and_then(|()| salvaged.wait()).expect("it ends");
    assert!(bodies == expected, "all but the damaged one, {} came", bodies.len());
}

/// Damages the place where these bytes are.
fn flip_a_byte_of(file: &Path, content: &[u8]) {
    let bytes = std::fs::read(file).expect("the segment");
    let at = bytes.windows(content.len()).position(|window| window == content).expect("the record") + 10;
    let segment = std::fs::File::options().write(true).open(file).expect("the segment");
    segment.write_all_at(&[!bytes[at]], at as u64).expect("a write");
}
