//! Differential tests: scripts of methods and frames, played against Warren, compared answer by answer with what RabbitMQ
//! 3.10.8 (Debian 12) answered.
//!
//! `scripts/*.txt` hold what is sent and, below each line, what RabbitMQ answered; `differences.txt` lists where Warren
//! answers otherwise, and why. What differs and is not listed fails, and so does what is listed and no longer differs.
//!
//! `WARREN_TEST_RABBITMQ=check` starts RabbitMQ, which must answer as it did; `WARREN_TEST_RABBITMQ=record` writes its
//! answers into the scripts instead, `record:queue` into those of one file. Without it nothing of RabbitMQ is needed.

mod differences;
mod literal;
mod mask;
mod methods;
mod player;
mod rabbitmq;
mod script;
mod wire;

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use differences::{Difference, report};
use player::play;
use rabbitmq::RabbitMq;
use script::{Group, Script};

use crate::support::wire::{Broker, alone};

/// Brokers that play scripts at the same time.
const BROKERS: usize = 3;

#[test]
fn warren_answers_as_rabbitmq_does_or_as_listed() {
    let scripts = all_scripts();
    let listed = Difference::all();
    let (next, problems) = (AtomicUsize::new(0), Mutex::new(unfit(&scripts, &listed)));
    std::thread::scope(|scope| {
        for _ in 0..BROKERS {
            scope.spawn(|| {
                let Some(broker) = Broker::own() else { return };
                while let Some((title, script)) = scripts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = compared(&broker, title, script, &listed);
                    problems.lock().expect("no thread panicked").extend(found);
                }
            });
        }
    });
    let problems = problems.into_inner().expect("no thread panicked");
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

/// Plays one script against Warren; says where it answers otherwise than it should.
fn compared(broker: &Broker, title: &str, script: &Script, listed: &[Difference]) -> Vec<String> {
    let mut problems = Vec::new();
    let recorded: Vec<_> = script.steps.iter().map(|step| step.answers.clone()).collect();
    let difference = listed.iter().find(|difference| difference.title == title);
    let expected =
        difference.map_or_else(|| recorded.clone(), |difference| difference.applied(script, &mut problems));
    let answers = play(broker.address(), script, Some(&expected));
    if answers != expected {
        let what = match difference {
            None => "differs",
            Some(_) if answers == recorded => "is listed and no longer differs",
            Some(_) => "differs otherwise than listed",
        };
        problems.push(format!("{what}:\n{}", report(title, script, &answers)));
    }
    problems
}

/// What is wrong with the titles of scripts and differences.
fn unfit(scripts: &[(String, Script)], listed: &[Difference]) -> Vec<String> {
    let mut titles = HashSet::new();
    let mut problems: Vec<_> = scripts
        .iter()
        .filter(|(title, _)| !titles.insert(title.as_str()))
        .map(|(title, _)| format!("there are two scripts {title:?}"))
        .collect();
    let mut seen = HashSet::new();
    for difference in listed {
        let title = difference.title.as_str();
        if !titles.contains(title) || !seen.insert(title) {
            problems.push(format!("differences.txt: no script, or two entries: {title:?}"));
        }
        if difference.reason.trim().is_empty() {
            problems.push(format!("differences.txt: no reason: {title:?}"));
        }
    }
    problems
}

#[test]
fn rabbitmq_answers_as_recorded() {
    let wish = std::env::var("WARREN_TEST_RABBITMQ").unwrap_or_default();
    if wish.is_empty() {
        return;
    }
    assert!(RabbitMq::is_installed(), "Debian's rabbitmq-server is not installed");
    let _alone = alone();
    let rabbitmq = RabbitMq::start();
    if let Some(groups) = wish.strip_prefix("record") {
        record(&rabbitmq.address, groups.trim_start_matches(':'));
        return;
    }
    let mut problems = Vec::new();
    for (title, script) in all_scripts() {
        let recorded: Vec<_> = script.steps.iter().map(|step| step.answers.clone()).collect();
        let answers = play(&rabbitmq.address, &script, Some(&recorded));
        if answers != recorded {
            problems.push(report(&title, &script, &answers));
        }
    }
    assert!(problems.is_empty(), "RabbitMQ answers otherwise than recorded:\n{}", problems.join("\n"));
}

/// Records all groups, or those whose names begin so.
fn record(address: &str, prefix: &str) {
    for mut group in Group::all().into_iter().filter(|group| group.name().starts_with(prefix)) {
        for script in &mut group.scripts {
            let answers = play(address, script, None);
            for (step, answers) in script.steps.iter_mut().zip(answers) {
                step.answers = answers;
            }
        }
        group.write();
    }
}

/// All scripts with their titles, the group's name in front.
fn all_scripts() -> Vec<(String, Script)> {
    let titled = |group: Group| {
        let name = group.name();
        let scripts = group.scripts.into_iter();
        scripts.map(move |script| (format!("{name}: {}", script.title), script)).collect::<Vec<_>>()
    };
    Group::all().into_iter().flat_map(titled).collect()
}

#[test]
fn what_a_script_shows_it_can_read_back() {
    let line = r##"b:2 3x basic.publish key=q body="a \"#\"" properties={headers={a=l:5, b=[1, "x", void], c=d:1.5}}"##;
    let order = script::Step { line: line.to_owned(), answers: Vec::new() }.order();
    assert_eq!((order.connection, order.channel, order.times), ('b', 2, 3));
    assert_eq!(order.verb, "basic.publish");
    assert_eq!(order.fields["body"].text(), "a \"#\"");
    let shown = literal::show(&order.fields["properties"].table().remove(0).1);
    assert_eq!(shown, r#"{a=l:5, b=[1, "x", void], c=d:1.5}"#);
    assert_eq!(literal::Reader::new(&shown).literal().table().len(), 3);
}

#[test]
fn what_differs_from_run_to_run_is_masked() {
    let cases = [
        ("queue=\"amq.gen-Ab_1-2\" messages=0", "queue=\"amq.gen-*\" messages=0"),
        ("time=T:1700000000}", "time=T:*}"),
        ("from 127.0.0.1:4711 to 127.0.0.1:5672", "from 127.0.0.1:* to 127.0.0.1:*"),
        ("reply-to=\"amq.rabbitmq.reply-to.g1h=.A/+=\"", "reply-to=\"amq.rabbitmq.reply-to.*\""),
        ("no queue 'amq.gen-'", "no queue 'amq.gen-'"),
    ];
    for (line, masked) in cases {
        assert_eq!(mask::masked(line), masked);
    }
}
