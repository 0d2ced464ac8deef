//! The command line asks a running node: every subcommand against a real broker.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::broker::Broker;
use crate::support::program::{run, warren};

fn names(list: &Value) -> Vec<&str> {
    let rows = list.as_array().expect("a list");
    rows.iter().filter_map(|row| row["name"].as_str()).filter(|name| !name.starts_with("amq.")).collect()
}

#[test]
fn what_is_declared_is_listed_and_gone_when_it_is_deleted() {
    let Some(broker) = Broker::own() else { return };
    let go = |arguments: &[&str]| warren(&broker, arguments).done();
    go(&["declare", "vhost", "v 1", "--description", "for tests"]);
    go(&["declare", "permissions", "guest", "--vhost", "v 1"]);
    go(&["declare", "queue", "a/b", "--vhost", "v 1", "--argument", "x-max-length=5", "--type", "quorum"]);
    go(&["declare", "queue", "plain", "-V", "v 1"]);
    go(&["declare", "exchange", "x", "topic", "-V", "v 1"]);
    go(&["declare", "binding", "x", "a/b", "--key", "k.#", "-V", "v 1", "-a", "n=1"]);
    let queues = go(&["list", "queues", "--vhost", "v 1", "--output", "json"]).json();
    assert_eq!(names(&queues), ["a/b", "plain"]);
    let queue = queues.as_array().and_then(|rows| rows.first().cloned()).expect("a queue");
    assert_eq!(queue["arguments"]["x-max-length"], json!(5));
    assert_eq!(queue["arguments"]["x-queue-type"], json!("quorum"));
    let sorted = go(&["list", "queues", "-V", "v 1", "--sort", "-name", "-c", "name", "-o", "tsv"]);
    assert_eq!(sorted.out, "name\nplain\na/b\n");
    let filtered =
        go(&["list", "queues", "-V", "v 1", "--filter", "^pl", "-c", "name,durable", "-o", "json"]);
    assert_eq!(filtered.json(), json!([{"name": "plain", "durable": true}]));
    let table = go(&["list", "exchanges", "-V", "v 1"]);
    assert!(table.out.lines().next().is_some_and(|head| head.starts_with("vhost")), "{}", table.out);
    let bindings = go(&["list", "bindings", "-V", "v 1", "-f", "source=x", "-o", "json"]).json();
    assert_eq!(bindings[0]["routing_key"], json!("k.#"));
    assert_eq!(bindings[0]["arguments"], json!({"n": 1}));
    go(&["delete", "binding", "x", "a/b", "--key", "k.#", "-V", "v 1"]);
    assert_eq!(warren(&broker, &["delete", "binding", "x", "a/b", "--key", "k.#", "-V", "v 1"]).code, 4);
    go(&["delete", "queue", "a/b", "-V", "v 1"]);
    go(&["delete", "exchange", "x", "-V", "v 1"]);
    assert_eq!(names(&go(&["list", "queues", "-V", "v 1", "-o", "json"]).json()), ["plain"]);
    go(&["delete", "vhost", "v 1"]);
    assert_eq!(names(&go(&["list", "vhosts", "-o", "json"]).json()), ["/"]);
}

#[test]
fn settings_are_set_listed_and_taken_away() {
    let Some(broker) = Broker::own() else { return };
    let go = |arguments: &[&str]| warren(&broker, arguments).done();
    go(&["set", "policy", "p", "^q", r#"{"max-length": 7}"#, "--apply-to", "queues", "--priority", "-1"]);
    go(&["set", "operator-policy", "o", "^q", r#"{"max-length": 9}"#, "--apply-to", "queues"]);
    go(&["set", "vhost-limit", "max-queues", "40"]);
    let policies = go(&["list", "policies", "-o", "json"]).json();
    assert_eq!(policies[0]["definition"], json!({"max-length": 7}));
    assert_eq!(policies[0]["priority"], json!(-1));
    assert_eq!(names(&go(&["list", "operator-policies", "-o", "json"]).json()), ["o"]);
    let limits = go(&["list", "limits", "-o", "json"]).json();
    assert_eq!(limits, json!([{"kind": "vhost", "name": "/", "limits": {"max-queues": 40}}]));
    go(&["delete", "policy", "p"]);
    go(&["delete", "operator-policy", "o"]);
    go(&["delete", "vhost-limit", "max-queues"]);
    assert_eq!(go(&["list", "policies", "-o", "json"]).json(), json!([]));
    let bad = warren(&broker, &["set", "policy", "p", "^q", r#"{"no-such": 7}"#]);
    assert_eq!(bad.code, 2);
    assert!(bad.err.contains("not recognised"), "{}", bad.err);
    assert_eq!(warren(&broker, &["set", "policy", "p", "^q", "7"]).code, 1);
}

#[test]
fn users_are_declared_with_what_they_may_do_and_deleted() {
    let Some(broker) = Broker::own() else { return };
    let go = |arguments: &[&str]| warren(&broker, arguments).done();
    let variables = [("WARREN_NODE", broker.management())];
    run(&variables, &["declare", "user", "ann", "--password-stdin", "--tags", "management"], "se cret\n")
        .done();
    go(&["declare", "permissions", "ann", "^ann", ".*", "x"]);
    go(&["set", "topic-permissions", "ann", "amq.topic", "^a", "^b"]);
    go(&["set", "user-limit", "ann", "max-channels", "5"]);
    run(&variables, &["list", "queues", "-u", "ann", "-p", "se cret"], "").done();
    let permissions = go(&["list", "permissions", "-f", "user=ann", "-o", "json"]).json();
    let wanted = json!([{"user": "ann", "vhost": "/", "configure": "^ann", "write": ".*", "read": "x"}]);
    assert_eq!(permissions, wanted);
    let topics = go(&["list", "topic-permissions", "-c", "exchange,write,read", "-o", "tsv"]);
    assert_eq!(topics.out, "exchange\twrite\tread\namq.topic\t^a\t^b\n");
    let limits = go(&["list", "limits", "-o", "json"]).json();
    assert_eq!(limits, json!([{"kind": "user", "name": "ann", "limits": {"max-channels": 5}}]));
    go(&["delete", "user-limit", "ann", "max-channels"]);
    go(&["delete", "topic-permissions", "ann"]);
    go(&["delete", "permissions", "ann"]);
    go(&["delete", "user", "ann"]);
    assert_eq!(names(&go(&["list", "users", "-o", "json"]).json()), ["guest"]);
}

#[test]
fn messages_are_published_got_and_purged() {
    let Some(broker) = Broker::own() else { return };
    let go = |arguments: &[&str]| warren(&broker, arguments).done();
    go(&["declare", "queue", "q"]);
    go(&["publish", "", "q", "one", "--property", "content_type=text/plain"]);
    run(&[("WARREN_NODE", broker.management())], &["publish", "", "q"], "two\n").done();
    let got = go(&["get", "q", "-n", "5", "-o", "json"]).json();
    assert_eq!(got[0]["payload"], json!("one"));
    assert_eq!(got[0]["properties"]["content_type"], json!("text/plain"));
    assert_eq!(got[1]["payload"], json!("two\n"));
    assert_eq!(go(&["peek", "q", "-o", "json"]).json().as_array().map(Vec::len), Some(2));
    assert_eq!(go(&["get", "q", "--ack", "-o", "json"]).json()[0]["payload"], json!("one"));
    go(&["purge", "q"]);
    assert_eq!(go(&["get", "q", "-o", "json"]).json(), json!([]));
    let lost = warren(&broker, &["publish", "", "nowhere", "x"]);
    assert_eq!(lost.code, 4, "{}", lost.err);
    assert_eq!(warren(&broker, &["purge", "nowhere"]).code, 4);
}

#[test]
fn messages_are_moved_by_a_job_that_is_waited_for() {
    let Some(broker) = Broker::own() else { return };
    let go = |arguments: &[&str]| warren(&broker, arguments).done();
    for queue in ["from", "to"] {
        go(&["declare", "queue", queue]);
    }
    go(&["publish", "", "from", "a"]);
    go(&["publish", "", "from", "b"]);
    let tried = go(&["move", "from", "to", "--dry-run", "-o", "json"]).json();
    assert_eq!(tried["matched"], json!(2));
    go(&["move", "from", "to"]);
    assert_eq!(go(&["get", "from", "-o", "json"]).json(), json!([]));
    assert_eq!(go(&["get", "to", "-n", "9", "-o", "json"]).json().as_array().map(Vec::len), Some(2));
}

#[test]
fn exit_codes_tell_what_went_wrong() {
    let Some(broker) = Broker::own() else { return };
    assert_eq!(run(&[], &["list", "nothing-of-that-kind"], "").code, 1);
    assert_eq!(run(&[], &["no-such-command"], "").code, 1);
    let refused = warren(&broker, &["list", "queues", "--password", "wrong"]);
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(refused.err.contains("guest") && refused.err.contains("--password"), "{}", refused.err);
    let nobody = run(&[("WARREN_NODE", "http://127.0.0.1:1")], &["status"], "");
    assert_eq!(nobody.code, 3);
    assert!(nobody.err.contains("http://127.0.0.1:1"), "{}", nobody.err);
    let missing = warren(&broker, &["delete", "queue", "none"]);
    assert_eq!(missing.code, 4);
    assert!(missing.err.contains("none"), "{}", missing.err);
    let unhealthy = warren(&broker, &["health", "port-listener/1"]);
    assert_eq!(unhealthy.code, 5, "{}", unhealthy.err);
    warren(&broker, &["health"]).done();
}

#[test]
fn health_checks_answer_as_rabbitmqs_do() {
    let Some(broker) = Broker::own() else { return };
    let well = [
        "alarms",
        "local-alarms",
        "certificate-expiration/4/weeks",
        "virtual-hosts",
        "quorum-queues-without-elected-leaders/all-vhosts",
        "metadata-store/initialized",
        "is-in-service",
    ];
    let checked = |checks: &[&str]| {
        let arguments = [&["health", "--output", "json"], checks].concat();
        let ran = warren(&broker, &arguments);
        let answers: Value = serde_json::from_str(&ran.out).unwrap_or_default();
        (ran.code, answers)
    };
    let (code, answers) = checked(&well);
    assert_eq!(code, 0, "{answers}");
    for answer in answers.as_array().expect("a list") {
        assert_eq!(answer["answer"], json!({"status": "ok"}), "{answer}");
    }
    let (code, answers) = checked(&["protocol-listener/amqp", "node-is-quorum-critical"]);
    assert_eq!(code, 0);
    assert_eq!(answers[0]["answer"], json!({"status": "ok", "protocol": "amqp"}));
    assert_eq!(answers[1]["answer"], json!({"status": "ok", "reason": "single node cluster"}));
    let (code, answers) = checked(&["port-listener/1"]);
    assert_eq!(code, 5);
    assert_eq!(answers[0]["answer"]["reason"], json!("No active listener"));
    assert_eq!(answers[0]["answer"]["missing"], json!(1));
    assert_eq!(checked(&["certificate-expiration/4/moons"]).0, 2);
    assert_eq!(checked(&["no-such-check"]).0, 4);
}

#[test]
fn every_subcommand_teaches_with_examples_and_the_program_tells_its_exit_codes() {
    let commands = [
        "status",
        "health",
        "list",
        "declare",
        "set",
        "delete",
        "purge",
        "close",
        "publish",
        "get",
        "peek",
        "move",
        "redrive",
        "export",
        "import",
        "completions",
    ];
    let whole = run(&[], &["--help"], "").done().out;
    assert!(whole.contains("Exit codes:"), "{whole}");
    for command in commands {
        assert!(whole.contains(command), "--help does not name {command}");
        let help = run(&[], &[command, "--help"], "").done().out;
        assert!(
            help.contains("Examples:") && help.contains(&format!("warren {command}")),
            "{command}: {help}"
        );
    }
}

#[test]
fn completions_are_scripts_that_their_shell_takes() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&[], &["completions", shell], "").done().out;
        assert!(script.contains("warren") && script.contains("redrive"), "{shell}");
        if shell == "bash" {
            let file = tempfile::NamedTempFile::new().expect("a file");
            std::fs::write(file.path(), &script).expect("it can be written");
            let checked = Command::new("bash").arg("-n").arg(file.path()).status().expect("bash runs");
            assert!(checked.success());
        }
    }
}

#[test]
fn a_file_and_the_environment_say_which_node_is_asked() {
    let Some(broker) = Broker::own() else { return };
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = format!("node = \"{}\"\nuser = \"guest\"\npassword = \"guest\"\n", broker.management());
    std::fs::write(file.path(), text).expect("it can be written");
    let path = file.path().to_str().expect("a path");
    run(&[("WARREN_CLI_CONFIG", path)], &["list", "users"], "").done();
    let over = run(&[("WARREN_CLI_CONFIG", path), ("WARREN_NODE", "127.0.0.1:1")], &["list", "users"], "");
    assert_eq!(over.code, 3, "the environment wins over the file");
    std::fs::write(file.path(), "nod = 1\n").expect("it can be written");
    let bad = run(&[("WARREN_CLI_CONFIG", path)], &["list", "users"], "");
    assert_eq!(bad.code, 1);
    assert!(bad.err.contains("nod"), "{}", bad.err);
}
