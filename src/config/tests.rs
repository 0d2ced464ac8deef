//! The operator's example equals the code's defaults, and each refusal says what is wrong.

use std::path::Path;

use toml::{Table, Value};

use super::raw::Raw;
use super::{Config, LogFormat};
use crate::storage::SyncPolicy;

const EXAMPLE: &str = include_str!("../../config/warren.toml");

#[test]
fn the_example_lists_every_key_with_its_default() {
    let example: Table = EXAMPLE.parse().unwrap();
    let defaults = Table::try_from(Raw::default()).unwrap();
    assert_eq!(keys(&example), keys(&defaults));
    for (table, key) in keys(&defaults) {
        assert_eq!(example[&table][&key], defaults[&table][&key], "{table}.{key}");
    }
}

#[test]
fn every_key_of_the_example_has_one_line_of_comment() {
    let lines: Vec<&str> = EXAMPLE.lines().collect();
    for (number, line) in lines.iter().enumerate().filter(|(_, line)| line.contains(" = ")) {
        if line.starts_with('#') {
            continue;
        }
        let commented = lines[number - 1].starts_with("# ") && !lines[number - 2].starts_with('#');
        assert!(commented, "line {}: {line}", number + 1);
    }
}

#[test]
fn the_example_is_the_same_as_no_file() {
    assert_eq!(parse(EXAMPLE).unwrap(), Config::load(None).unwrap());
    assert_eq!(parse("").unwrap(), Config::load(None).unwrap());
}

#[test]
fn the_example_tells_the_ranges_that_are_checked() {
    let defaults = Table::try_from(Raw::default()).unwrap();
    for (table, key) in keys(&defaults).into_iter().filter(|(t, k)| defaults[t][k].is_integer()) {
        let comment = comment_above(&key);
        for out_of_range in [i64::MIN, i64::MAX] {
            let problem = parse(&format!("[{table}]\n{key} = {out_of_range}")).unwrap_err();
            let (_, allowed) = problem.rsplit_once("allowed is ").unwrap();
            let told = comment.contains(allowed) || key == "budget_bytes";
            assert!(told, "{table}.{key} allows {allowed}, its comment says: {comment}");
        }
    }
}

#[test]
fn values_are_taken_from_the_file() {
    let config = parse(
        "[node]\ndata_dir = \"/var/lib/warren\"\nshards = 3\n[listener]\nbind = \"[::1]:5673\"\n\
         [log]\nsync = \"interval\"\nsync_interval_ms = 20\n[logging]\nformat = \"json\"",
    )
    .unwrap();
    assert_eq!(config.node.data_dir, Path::new("/var/lib/warren"));
    assert_eq!(config.node.shards, 3);
    assert_eq!(config.listener.bind, "[::1]:5673".parse().unwrap());
    assert_eq!(config.log.sync, SyncPolicy::Interval { ms: 20 });
    assert_eq!(config.logging.format, LogFormat::Json);
}

#[test]
fn a_refusal_names_file_key_found_and_allowed() {
    let cases = [
        ("[limits]\nframe_max_bytes = 100", "limits.frame_max_bytes is 100, allowed is 8192 to 1073741824"),
        ("[limits]\nchannel_max = 70000", "limits.channel_max is 70000, allowed is 1 to 65535"),
        ("[limits]\nheartbeat_s = -1", "limits.heartbeat_s is -1, allowed is 0 to 65535"),
        ("[log]\nsegment_bytes = 1", "log.segment_bytes is 1, allowed is 1048576 to 4294967296"),
        ("[log]\nsegment_bytes = 9223372036854775807", "allowed is 1048576 to 4294967296"),
        (
            "[log]\nbudget_bytes = 67108864",
            "log.budget_bytes is 67108864, allowed is 134217728 to 1099511627776",
        ),
        ("[log]\nsync = \"never\"", "log.sync is \"never\", allowed is \"always\", \"interval\" or \"os\""),
        ("[logging]\nformat = \"xml\"", "logging.format is \"xml\", allowed is \"text\" or \"json\""),
        ("[listener]\nbind = \"localhost\"", "listener.bind is \"localhost\", allowed is an IP address"),
        (
            "[listener]\nfurther_binds = [\"::1\"]",
            "listener.further_binds is \"::1\", allowed is an IP address and a port such as \"0.0.0.0:5672\"",
        ),
        (
            "[management]\nbind = \"15672\"",
            "management.bind is \"15672\", allowed is an IP address and a port",
        ),
        ("[metrics]\nbind = \"15692\"", "metrics.bind is \"15692\", allowed is an IP address and a port"),
        (
            "[tls]\nbind = \"[::]:5671\"",
            "tls.certificate is \"\", allowed is a PEM file, as TLS is asked for",
        ),
        (
            "[management]\ntls_bind = \"[::]:15671\"",
            "tls.certificate is \"\", allowed is a PEM file, as TLS is asked for",
        ),
        (
            "[tls]\nkey = \"k\"",
            "tls.certificate is \"\", allowed is a PEM file: a certificate and its key go",
        ),
        ("[tls]\nmin_version = \"1.1\"", "tls.min_version is \"1.1\", allowed is \"1.2\" or \"1.3\""),
        (
            "[tls]\nverify = \"all\"",
            "tls.verify is \"all\", allowed is \"none\", \"optional\" or \"required\"",
        ),
        (
            "[tls]\ncertificate = \"c\"\nkey = \"k\"\nverify = \"required\"",
            "tls.ca is \"\", allowed is a PEM file, as tls.verify is \"required\"",
        ),
        (
            "[tls]\ncertificate = \"c\"\nkey = \"k\"\n[[tls.certificates]]\nnames = [\"a b\"]",
            "tls.certificates.names is \"a b\", allowed is host names such as",
        ),
        (
            "[proxy_protocol]\ntrusted = [\"10.0.0.0/40\"]",
            "proxy_protocol.trusted is \"10.0.0.0/40\", allowed is IP addresses and networks such as",
        ),
        ("[node]\nname = \"a b\"", "node.name is \"a b\", allowed is 1 to 64 of letters"),
        ("[node]\ndata_dir = \"\"", "node.data_dir is \"\", allowed is the path of a directory"),
        ("[security]\ndefault_password = \"\"", "security.default_password is 0 bytes, allowed is 1 to 255"),
        ("[security]\nloopback_users = [\"\"]", "security.loopback_users is \"\", allowed is 1 to 255 bytes"),
        ("[node]\nshard = 1", "unknown field `shard`, expected one of `data_dir`, `name`, `shards`"),
        ("[nodes]\nshards = 1", "unknown field `nodes`"),
        ("[node]\nshards = \"two\"", "shards = \"two\""),
        ("[node\nshards = 1", "line 1"),
    ];
    for (text, expected) in cases {
        let problem = parse(text).unwrap_err();
        assert!(problem.contains(expected), "{text:?} gave: {problem}");
        assert!(problem.starts_with("configuration example.toml"), "{problem}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let problem = Config::load(Some(Path::new("/nowhere/warren.toml"))).unwrap_err().to_string();
    assert!(problem.starts_with("cannot read the configuration /nowhere/warren.toml: "), "{problem}");
}

#[test]
fn a_password_is_not_shown() {
    let config = parse("[security]\ndefault_password = \"hidden\"").unwrap();
    assert!(!format!("{config:?}").contains("hidden"));
}

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(Path::new("example.toml"), text).map_err(|problem| problem.to_string())
}

fn keys(file: &Table) -> Vec<(String, String)> {
    let tables = file.iter().filter_map(|(name, value)| Some((name, value.as_table()?)));
    let mut keys: Vec<_> = tables
        .flat_map(|(name, table): (&String, &Table)| table.keys().map(|key| (name.clone(), key.clone())))
        .collect();
    assert!(file.values().all(Value::is_table), "a key outside of every table");
    keys.sort();
    keys
}

fn comment_above(key: &str) -> &'static str {
    let start = format!("{key} = ");
    let at = EXAMPLE.lines().position(|line| line.starts_with(&start)).unwrap();
    EXAMPLE.lines().nth(at - 1).unwrap()
}
