//! `[cluster]`: the operator's example equals the code's defaults, and each refusal says what is wrong.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::Table;

use super::raw;
use super::{ClusterConfig, Config, Minority, Secret};

const EXAMPLE: &str = include_str!("../../config/warren.toml");
const NODES: [&str; 3] = [
    include_str!("../../config/cluster/node1.toml"),
    include_str!("../../config/cluster/node2.toml"),
    include_str!("../../config/cluster/node3.toml"),
];

#[test]
fn the_example_lists_every_key_of_a_cluster_with_its_default() {
    let example: Table = with_cluster().parse().unwrap();
    let defaults = Table::try_from(raw::Cluster::default()).unwrap();
    assert_eq!(example["cluster"].as_table().unwrap(), &defaults);
}

#[test]
fn every_key_of_a_cluster_has_one_line_of_comment() {
    let lines: Vec<&str> = EXAMPLE.lines().skip_while(|line| *line != "#[cluster]").collect();
    let keys = lines.iter().enumerate().filter(|(_, line)| is_key(line));
    for (number, line) in keys {
        let is_commented = lines[number - 1].starts_with("# ") && !lines[number - 2].starts_with("# ");
        assert!(is_commented, "{line}");
    }
}

#[test]
fn the_example_tells_the_ranges_of_a_cluster() {
    let defaults = Table::try_from(raw::Cluster::default()).unwrap();
    for (key, _) in defaults.iter().filter(|(_, value)| value.is_integer()) {
        let at = EXAMPLE.lines().position(|line| line.starts_with(&format!("#{key} = "))).unwrap();
        let comment = EXAMPLE.lines().nth(at - 1).unwrap();
        for out_of_range in [i64::MIN, i64::MAX] {
            let problem = parse(&format!("{key} = {out_of_range}")).unwrap_err();
            let (_, allowed) = problem.rsplit_once("allowed is ").unwrap();
            let told = comment.contains(allowed) || key == "election_ms";
            assert!(told, "{key} allows {allowed}, its comment says: {comment}");
        }
    }
}

#[test]
fn a_node_is_alone_unless_it_has_the_section() {
    assert_eq!(Config::load(None).unwrap().cluster, None);
    let cluster = parse("").unwrap();
    assert_eq!(cluster.name("warren"), "warren");
    assert_eq!(cluster.advertise(cluster.bind), "127.0.0.1:35672");
    assert_eq!(cluster.minority, Minority::Block);
    assert_eq!((cluster.groups, cluster.replicas, cluster.security.secret), (16, 3, None));
}

#[test]
fn the_three_nodes_of_the_examples_do_not_share_anything_but_their_seeds() {
    let nodes = NODES.map(|text| Config::parse(Path::new("node.toml"), text).unwrap());
    let clusters: Vec<_> = nodes.iter().map(|node| node.cluster.clone().unwrap()).collect();
    for (index, node) in nodes.iter().enumerate() {
        for other in &nodes[..index] {
            assert_ne!(node.listener.bind, other.listener.bind);
            assert_ne!(node.management.bind, other.management.bind);
            assert_ne!(node.metrics.bind, other.metrics.bind);
            assert_ne!(node.node.data_dir, other.node.data_dir);
            let (cluster, other) = (node.cluster.clone().unwrap(), other.cluster.clone().unwrap());
            assert_ne!(cluster.bind, other.bind);
            assert_ne!(cluster.name, other.name);
            assert_eq!(cluster.seeds, other.seeds);
        }
    }
    let binds: Vec<String> = clusters.iter().map(|cluster| cluster.bind.to_string()).collect();
    assert_eq!(clusters[0].seeds, binds);
}

#[test]
fn clients_are_told_an_address_that_they_can_reach() {
    let any: SocketAddr = "0.0.0.0:5672".parse().unwrap();
    let secret = "secret = \"long enough\"\n";
    let told = |text: &str, listener| {
        let cluster = parse(text).unwrap();
        cluster.client_address(listener, cluster.bind)
    };
    assert_eq!(told("", any), "127.0.0.1:5672");
    assert_eq!(told("", "10.0.0.7:5673".parse().unwrap()), "10.0.0.7:5673");
    assert_eq!(told("client_address = \"broker.example:5672\"", any), "broker.example:5672");
    let advertised = format!("{secret}bind = \"0.0.0.0:35672\"\nadvertise = \"node1.example:35672\"");
    assert_eq!(told(&advertised, any), "node1.example:5672");
}

#[test]
fn a_secret_comes_from_a_file_without_its_line_end_and_is_not_shown() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "not to be seen\n").unwrap();
    let cluster = parse(&format!("secret_file = \"{}\"", file.path().display())).unwrap();
    assert_eq!(cluster.security.secret, Some(Secret(b"not to be seen".to_vec())));
    assert!(!format!("{cluster:?}").contains("not to be seen"));
}

#[test]
fn certificates_make_a_cluster_over_machines() {
    let text = "bind = \"10.0.0.1:35672\"\ntls_ca = \"ca.pem\"\ntls_certificate = \"node.pem\"\ntls_key = \"key.pem\"";
    let tls = parse(text).unwrap().security.tls.unwrap();
    assert_eq!(
        (tls.ca, tls.certificate, tls.key),
        (PathBuf::from("ca.pem"), PathBuf::from("node.pem"), PathBuf::from("key.pem"))
    );
}

#[test]
fn a_refusal_says_what_a_cluster_needs() {
    let cases = [
        ("bind = \"localhost\"", "cluster.bind is \"localhost\", allowed is an IP address and a port"),
        (
            "bind = \"0.0.0.0:1\"",
            "cluster.advertise is \"\", allowed is a host and a port where others reach",
        ),
        (
            "bind = \"10.0.0.1:1\"",
            "cluster.secret_file is \"\", allowed is a file with a secret that all nodes",
        ),
        ("advertise = \"node1\"", "cluster.advertise is \"node1\", allowed is a host and a port such as"),
        ("seeds = [\"a:1\", \"b:\"]", "cluster.seeds is \"b:\", allowed is a host and a port such as"),
        ("seeds = [\"::1:1\"]", "cluster.seeds is \"::1:1\", allowed is a host and a port such as"),
        ("seeds = [\"a:70000\"]", "cluster.seeds is \"a:70000\", allowed is a host and a port such as"),
        ("name = \"a b\"", "cluster.name is \"a b\", allowed is 1 to 64 of letters"),
        ("secret = \"short\"", "cluster.secret is a secret of 5 bytes, allowed is 8 to 1024 bytes"),
        ("secret = \"long enough\"\nsecret_file = \"f\"", "allowed is nothing, as cluster.secret is given"),
        (
            "secret_file = \"/nowhere/s\"",
            "\"/nowhere/s\" (No such file or directory (os error 2)), allowed is a",
        ),
        (
            "tls_ca = \"ca.pem\"",
            "cluster.tls_certificate is \"\", allowed is a PEM file: tls_ca, tls_certificate",
        ),
        ("tick_ms = 200", "cluster.election_ms is 400, allowed is 800 to 60000"),
        ("minority = \"lose\"", "cluster.minority is \"lose\", allowed is \"block\" or \"nack\""),
        ("seed = []", "unknown field `seed`"),
    ];
    for (text, expected) in cases {
        let problem = parse(text).unwrap_err();
        assert!(problem.contains(expected), "{text:?} gave: {problem}");
        assert!(!problem.contains("long enough"), "{problem}");
    }
}

fn parse(text: &str) -> Result<ClusterConfig, String> {
    let text = format!("[cluster]\n{text}");
    let config = Config::parse(Path::new("example.toml"), &text).map_err(|problem| problem.to_string())?;
    Ok(config.cluster.unwrap())
}

/// The example with its last section made real.
fn with_cluster() -> String {
    let lines = EXAMPLE.lines().map(|line| {
        let is_hidden = line == "#[cluster]" || is_key(line);
        if is_hidden { &line[1..] } else { line }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn is_key(line: &str) -> bool {
    line.starts_with('#') && !line.starts_with("# ") && line.contains(" = ")
}
