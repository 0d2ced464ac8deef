//! The configuration: file, environment and flags, what is wrong with it, and what SIGHUP changes.

use std::os::unix::net::UnixDatagram;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::support::certificates::Folder;
use crate::support::codec::Decoder;
use crate::support::wire::*;

fn ask(question: &str, text: &str, variables: &[(&str, &str)]) -> Output {
    let folder = Folder::new();
    let file = folder.put("warren.toml", text);
    Command::new(program())
        .args(["config", question])
        .arg(file)
        .envs(variables.iter().copied())
        .output()
        .expect("the program runs")
}

fn shown(text: &str, variables: &[(&str, &str)]) -> String {
    let output = ask("show", text, variables);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn refused(text: &str, variables: &[(&str, &str)]) -> String {
    let output = ask("check", text, variables);
    assert!(!output.status.success() && output.stdout.is_empty(), "{text} with {variables:?}");
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn the_environment_goes_before_the_file() {
    let text = "[node]\nname = \"of-the-file\"\n[limits]\nchannel_max = 5\n";
    assert!(shown(text, &[]).contains("name = \"of-the-file\"\n"));
    let variables = [
        ("WARREN_NODE__NAME", "of-the-environment"),
        ("WARREN_MANAGEMENT__ENABLED", "false"),
        ("WARREN_LIMITS__HEARTBEAT_S", "7"),
        ("WARREN_SECURITY__LOOPBACK_USERS", "one, two"),
        ("WARREN_CLUSTER__NAME", "node9"),
        ("WARREN_TEST_SOMETHING", "is for others"),
    ];
    let shown = shown(text, &variables);
    for line in [
        "name = \"of-the-environment\"",
        "channel_max = 5",
        "heartbeat_s = 7",
        "enabled = false",
        "loopback_users = [\"one\", \"two\"]",
        "name = \"node9\"",
    ] {
        assert!(shown.lines().any(|found| found == line), "{line} is not in\n{shown}");
    }
}

#[test]
fn secrets_are_not_shown() {
    let text = "[security]\ndefault_password = \"hidden one\"\n[cluster]\nsecret = \"hidden two\"\n";
    let shown = shown(text, &[("WARREN_SECURITY__DEFAULT_USER", "admin")]);
    assert!(!shown.contains("hidden") && shown.contains("default_user = \"admin\""), "{shown}");
}

#[test]
fn a_password_comes_from_a_file() {
    let folder = Folder::new();
    let file = folder.put("password", "of the file\n");
    let Some(broker) = Broker::own_with(&format!("[security]\ndefault_password_file = {file:?}\n")) else {
        return;
    };
    let dial = Dial { password: "of the file".to_owned(), ..Dial::to(broker.address()) };
    dial.open();
    let conn = Dial::to(broker.address()).authenticated();
    assert_eq!(conn.next(0).method().close().code, 403);
}

#[test]
fn what_is_wrong_is_named_with_its_file_its_line_and_what_is_allowed() {
    let cases: [(&str, &[&str]); 4] = [
        (
            "[node]\n\n[limits]\nchannel_max = 0\n",
            &["warren.toml, line 4: limits.channel_max is 0, allowed is 1 to 65535"],
        ),
        ("[node]\nnam = \"x\"\n", &["warren.toml", "line 2", "unknown field `nam`", "`data_dir`"]),
        ("[node]\nname = 5\n", &["warren.toml", "line 2", "name = 5", "expected a string"]),
        ("[node\n", &["warren.toml", "line 1"]),
    ];
    for (text, expected) in cases {
        let said = refused(text, &[]);
        for part in expected {
            assert!(said.contains(part), "{part} is not in {said}");
        }
    }
    let cases = [
        (
            ("WARREN_LIMITS__CHANNEL_MAX", "0"),
            "by WARREN_LIMITS__CHANNEL_MAX: limits.channel_max is 0, allowed is 1 to",
        ),
        (("WARREN_LIMITS__CHANNEL_MAX", "many"), "limits.channel_max is \"many\", allowed is a whole number"),
        (
            ("WARREN_LIMITS__CHANEL_MAX", "1"),
            "by WARREN_LIMITS__CHANEL_MAX: there is no key limits.chanel_max",
        ),
        (("WARREN_LIMIT__CHANNEL_MAX", "1"), "there is no key limit.channel_max"),
        (("WARREN_TLS__CERTIFICATE", "/nowhere/c.pem"), "tls.key"),
    ];
    for (variable, expected) in cases {
        let said = refused("", &[variable]);
        assert!(said.contains(expected), "{said}");
    }
    assert!(ask("check", "[node]\nname = \"fine\"\n", &[]).status.success());
}

#[test]
fn sighup_takes_over_what_can_change_and_says_what_needs_a_restart() {
    let Some(broker) = Broker::own_with("[limits]\nchannel_max = 100\n") else { return };
    let offered = || {
        let tune = Dial::to(broker.address()).authenticated().next(0).method().is((10, 30));
        Decoder(&tune.args).u16()
    };
    let before = Dial { channel_max: 100, ..Dial::to(broker.address()) }.open();
    assert_eq!(offered(), 100);
    broker.rewrite_config("[limits]\nchannel_max = 50\n[listener]\nconnections_max = 77\n");
    broker.signal("HUP");
    eventually("the new limit", || (offered() == 50).then_some(()));
    let told = eventually("a word about the rest", || {
        broker.log().lines().find(|line| line.contains("listener.connections_max")).map(str::to_owned)
    });
    assert!(told.contains("65536 -> 77") && told.contains("needs a restart"), "{told}");
    before.channel(90);
    broker.rewrite_config("[limits]\nchannel_max = 0\n");
    broker.signal("HUP");
    eventually("a word about the mistake", || {
        broker
            .log()
            .lines()
            .any(|line| line.contains("stays as it was") && line.contains("line 2"))
            .then_some(())
    });
    assert_eq!(offered(), 50);
}

#[test]
fn the_service_manager_hears_when_clients_are_taken_and_when_the_stop_begins() {
    let folder = Folder::new();
    let path = folder.path("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket option");
    let mut child = Command::new(program())
        .args(["server", "--bind", "127.0.0.1:0", "--management-bind", "off", "--metrics-bind", "off"])
        .arg("--data-dir")
        .arg(folder.path("data"))
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "300000")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    let hears = |word: &str| {
        let mut heard = vec![0; 4096];
        loop {
            let count = manager.recv(&mut heard).expect("a word in time");
            if String::from_utf8_lossy(&heard[..count]).lines().any(|line| line == word) {
                return;
            }
        }
    };
    hears("READY=1");
    hears("WATCHDOG=1");
    hears("WATCHDOG=1");
    let signalled =
        Command::new("sh").args(["-c", &format!("kill -HUP {0}; kill -TERM {0}", child.id())]).status();
    assert!(signalled.expect("sh runs").success());
    hears("STOPPING=1");
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn the_version_tells_what_was_built() {
    let output = Command::new(program()).arg("--version").output().expect("the program runs");
    let said = String::from_utf8(output.stdout).expect("text");
    for word in ["warren 0.1.0", "commit:", "target:", "profile: release", "rustc 1."] {
        assert!(said.contains(word), "{said}");
    }
}
