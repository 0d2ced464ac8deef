//! The program on the command line: run against a node, with its exit code and what it wrote.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::broker::{Broker, program};

/// What a run of the program came to.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// What it wrote, as JSON.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{}", self.err);
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }

    /// It must have been done.
    pub(crate) fn done(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self
    }
}

/// Runs the program for a broker's node.
pub(crate) fn warren(broker: &Broker, arguments: &[&str]) -> Ran {
    run(&[("WARREN_NODE", broker.management())], arguments, "")
}

/// Runs the program with these variables and this standard input.
pub(crate) fn run(variables: &[(&str, &str)], arguments: &[&str], input: &str) -> Ran {
    let mut command = Command::new(program());
    command.args(arguments).env_remove("WARREN_USER").env_remove("WARREN_PASSWORD");
    command.env("XDG_CONFIG_HOME", "/nowhere").envs(variables.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // It may end without having read anything.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("the program ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it writes text");
    Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}
