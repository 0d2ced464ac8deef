//! Definitions: exports of RabbitMQ 3.x and 4.x come in with a report, and out again as they were.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::broker::Broker;
use crate::support::conn::Dial;
use crate::support::program::{run, warren};

/// As RabbitMQ 3.10.8 exported it: 106 queues, 12 exchanges, 100 bindings, users, rights, policies, limits, parameters.
const EXPORT_3_10: &str = include_str!("fixtures/rabbitmq-3.10.8.json");
/// Made by hand in the form of 4.x, with some that cannot be taken.
const EXPORT_4: &str = include_str!("fixtures/rabbitmq-4.json");

fn import(broker: &Broker, text: &str, more: &[&str]) -> (i32, Value, String) {
    let arguments = [&["import", "-", "--output", "json"], more].concat();
    let ran = run(&[("WARREN_NODE", broker.management())], &arguments, text);
    let report = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{}{}", ran.out, ran.err));
    (ran.code, report, ran.err)
}

/// The objects of a section, each by its text without the fields that Warren adds.
fn section(file: &Value, name: &str) -> BTreeMap<String, Value> {
    let objects = file[name].as_array().unwrap_or_else(|| panic!("no {name} in {file}"));
    // Limits that were taken away leave an empty list in RabbitMQ's exports.
    let objects = objects.iter().filter(|object| object["value"] != json!([]));
    let plain = objects.map(|object| {
        let mut object = object.clone();
        if let Some(fields) = object.as_object_mut() {
            for added in ["description", "tags", "metadata", "default_queue_type"] {
                if name == "vhosts" {
                    fields.remove(added);
                }
            }
            if name == "queues" {
                fields.remove("type");
            }
        }
        (object.to_string(), object)
    });
    plain.collect()
}

/// Connects and opens the vhost, or the test fails.
fn log_in(broker: &Broker, user: &str, password: &str) {
    let dial = Dial::to(broker.address());
    drop(Dial { user: user.to_owned(), password: password.to_owned(), ..dial }.open());
}

fn same(one: &Value, other: &Value, sections: &[&str]) {
    for name in sections {
        let (one, other) = (section(one, name), section(other, name));
        let differ: Vec<_> = one.keys().filter(|key| !other.contains_key(*key)).collect();
        assert!(differ.is_empty(), "{name} are lost or changed: {differ:#?}");
    }
}

/// What is left after a restart: nothing that is not durable, nor what is bound to it.
fn lasting(mut file: Value) -> Value {
    let mut gone = Vec::new();
    for kind in ["queues", "exchanges"] {
        let objects = file[kind].as_array_mut().expect("a list");
        let passing = objects.extract_if(.., |object| object["durable"] == json!(false));
        gone.extend(passing.map(|object| (object["vhost"].clone(), object["name"].clone())));
    }
    let bindings = file["bindings"].as_array_mut().expect("a list");
    bindings.retain(|binding| {
        let end = |field: &str| (binding["vhost"].clone(), binding[field].clone());
        !gone.contains(&end("source")) && !gone.contains(&end("destination"))
    });
    file
}

const SECTIONS: [&str; 9] = [
    "vhosts",
    "permissions",
    "topic_permissions",
    "parameters",
    "global_parameters",
    "policies",
    "queues",
    "exchanges",
    "bindings",
];

#[test]
fn an_export_of_rabbitmq_3_comes_in_and_out_again_as_it_was() {
    let Some(mut broker) = Broker::own() else { return };
    let original: Value = serde_json::from_str(EXPORT_3_10).expect("a file");
    let (code, report, problems) = import(&broker, EXPORT_3_10, &[]);
    assert_eq!(code, 0, "{problems}");
    assert_eq!(report["counts"]["refused"], json!(0));
    assert_eq!(report["counts"]["adapted"], json!(2), "mirroring, and a user without a password: {report}");
    let exported = warren(&broker, &["export"]).json();
    same(&original, &exported, &SECTIONS);
    same(&exported, &original, &["queues", "exchanges", "bindings", "policies", "parameters"]);
    same(&original, &exported, &["users"]);

    // Once more changes nothing.
    let (code, report, problems) = import(&broker, EXPORT_3_10, &[]);
    assert_eq!(code, 0, "{problems}");
    assert_eq!(report["counts"]["unchanged"], json!(106 + 12 + 100 + 3), "{}", report["counts"]);
    same(&exported, &warren(&broker, &["export"]).json(), &SECTIONS);

    // It is on disk.
    broker.kill();
    broker.restart();
    same(&lasting(exported), &warren(&broker, &["export"]).json(), &SECTIONS);
}

#[test]
fn users_of_an_import_log_in_with_their_passwords() {
    let Some(broker) = Broker::own() else { return };
    import(&broker, EXPORT_3_10, &[]);
    log_in(&broker, "user1", "secret1");
    log_in(&broker, "sha512", "long secret");
    let management = [("WARREN_NODE", broker.management())];
    run(&management, &["list", "queues", "-u", "sha512", "-p", "long secret"], "").done();
    assert_eq!(run(&management, &["list", "queues", "-u", "sha512", "-p", "wrong"], "").code, 2);
}

#[test]
fn an_export_of_rabbitmq_4_comes_in_but_for_what_is_told() {
    let Some(broker) = Broker::own() else { return };
    let (tried_code, tried, _) = import(&broker, EXPORT_4, &["--dry-run"]);
    assert_eq!(tried_code, 6);
    assert_eq!(warren(&broker, &["list", "vhosts", "-c", "name", "-o", "tsv"]).out, "name\n/\n");
    let (code, report, problems) = import(&broker, EXPORT_4, &[]);
    assert_eq!(code, 6);
    assert!(problems.contains("streams are not served"), "{problems}");
    assert_eq!(tried["objects"], report["objects"], "a dry run tells what an import does");
    let outcome = |kind: &str, name: &str| {
        let objects = report["objects"].as_array().expect("objects");
        let found = objects.iter().find(|object| object["kind"] == kind && object["name"] == name);
        let found = found.unwrap_or_else(|| panic!("no {kind} {name} in {report}"));
        (found["outcome"].as_str().unwrap_or_default().to_owned(), found["reason"].to_string())
    };
    assert_eq!(outcome("user", "four").0, "taken");
    assert_eq!(outcome("user", "strange").0, "refused");
    assert_eq!(outcome("vhost", "four").0, "adapted");
    assert_eq!(outcome("permission", "nobody-there").0, "refused");
    assert!(outcome("parameter", "s").1.contains("shovel"));
    assert_eq!(outcome("parameter", "operator_policy op").0, "taken");
    assert!(outcome("policy", "bad").1.contains("not recognised"));
    assert_eq!(outcome("policy", "good").0, "taken");
    assert_eq!(outcome("queue", "q").0, "taken");
    assert_eq!(outcome("queue", "c").0, "taken");
    assert!(outcome("queue", "s").1.contains("streams"));
    assert_eq!(outcome("binding", "x -> q (a.#)").0, "taken");
    assert_eq!(outcome("binding", "x -> s (a.#)").0, "refused");
    let queues = warren(&broker, &["list", "queues", "-V", "four", "-c", "name,type", "-o", "json"]).json();
    assert_eq!(queues, json!([{"name": "c", "type": "classic"}, {"name": "q", "type": "quorum"}]));
}

#[test]
fn a_vhost_is_exported_and_comes_into_another_one() {
    let Some(broker) = Broker::own() else { return };
    import(&broker, EXPORT_3_10, &[]);
    let one = warren(&broker, &["export", "--vhost", "eu/prod"]).json();
    warren(&broker, &["declare", "vhost", "copy"]).done();
    let (code, _, problems) = import(&broker, &one.to_string(), &["--vhost", "copy"]);
    assert_eq!(code, 0, "{problems}");
    let copy = warren(&broker, &["export", "--vhost", "copy"]).json();
    same(&one, &copy, &["policies", "queues", "exchanges", "bindings"]);
    let missing = run(&[("WARREN_NODE", broker.management())], &["export", "--vhost", "none"], "");
    assert_eq!(missing.code, 4, "{}", missing.err);
}

#[test]
fn one_that_is_there_with_other_properties_stays_and_is_told() {
    let Some(broker) = Broker::own() else { return };
    warren(&broker, &["declare", "queue", "q", "--argument", "x-max-length=1"]).done();
    let file = json!({"queues": [
        {"name": "q", "vhost": "/", "durable": true, "auto_delete": false, "arguments": {}},
        {"name": "other", "vhost": "/", "durable": true, "auto_delete": false, "arguments": {}},
    ]});
    let (code, report, problems) = import(&broker, &file.to_string(), &[]);
    assert_eq!(code, 0, "{problems}");
    assert_eq!(report["objects"][0]["outcome"], json!("kept"));
    assert!(report["objects"][0]["reason"].to_string().contains("x-max-length"));
    assert_eq!(report["objects"][1]["outcome"], json!("taken"));
}

#[test]
fn definitions_of_the_configuration_are_there_at_each_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("definitions.json");
    std::fs::write(&file, EXPORT_3_10).expect("it can be written");
    let config = format!("[management]\nload_definitions = \"{}\"\n", file.display());
    let Some(mut broker) = Broker::own_with(&config) else { return };
    let exported = warren(&broker, &["export"]).json();
    same(&serde_json::from_str(EXPORT_3_10).expect("a file"), &exported, &SECTIONS);
    broker.kill();
    broker.restart();
    same(&exported, &warren(&broker, &["export"]).json(), &SECTIONS);
}

#[test]
fn what_are_no_definitions_is_refused_as_a_whole() {
    let Some(broker) = Broker::own() else { return };
    for bad in ["[]", "{\"queues\": 5}", "\"text\""] {
        let ran = run(&[("WARREN_NODE", broker.management())], &["import", "-"], bad);
        assert_eq!(ran.code, 2, "{bad}: {}", ran.err);
    }
    assert_eq!(run(&[("WARREN_NODE", broker.management())], &["import", "-"], "{").code, 1);
}
