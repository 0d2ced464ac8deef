//! The files of scripts: what is sent, and below each line what RabbitMQ answered.
//!
//! ```text
//! == A queue that is not there is not found          a script begins; it has connection a with channel 1
//! queue.declare queue=q passive=true                 a method and its fields; an answer is waited for
//!     channel.close code=404 ...                     recorded: what came
//! b:2 basic.publish key=q body=x                     on channel 2 of connection b, with its content
//! wait                                               reads all connections until nothing more comes
//! ```

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use super::literal::{Literal, Reader};
use super::methods::Fields;

/// A file of scripts.
pub(crate) struct Group {
    pub(crate) path: PathBuf,
    /// What stands in front of the first script.
    preface: String,
    pub(crate) scripts: Vec<Script>,
}

/// One script: a title that says what is seen, and its steps.
#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) title: String,
    pub(crate) steps: Vec<Step>,
}

/// One line of a script with the answers that were recorded for it.
#[derive(Clone)]
pub(crate) struct Step {
    pub(crate) line: String,
    pub(crate) answers: Vec<String>,
}

/// A line, read.
pub(crate) struct Order {
    pub(crate) connection: char,
    pub(crate) channel: u16,
    pub(crate) times: u32,
    pub(crate) verb: String,
    /// Values without a name.
    pub(crate) values: Vec<Literal>,
    pub(crate) fields: Fields,
}

impl Group {
    /// All files of the folder, in the order of their names.
    pub(crate) fn all() -> Vec<Self> {
        let mut paths: Vec<_> = fs::read_dir(folder().join("scripts"))
            .expect("a folder of scripts")
            .map(|entry| entry.expect("a file").path())
            .collect();
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("a readable file");
        let (mut preface, mut scripts) = (String::new(), Vec::<Script>::new());
        for line in text.lines() {
            let script = scripts.last_mut();
            if let Some(title) = line.strip_prefix("== ") {
                scripts.push(Script { title: title.to_owned(), steps: Vec::new() });
            } else if let Some(script) = script {
                script.take(line);
            } else {
                let _ = writeln!(preface, "{line}");
            }
        }
        scripts.iter_mut().for_each(Script::end);
        Self { path: path.to_owned(), preface, scripts }
    }

    /// The name that stands in front of a title.
    pub(crate) fn name(&self) -> String {
        self.path.file_stem().expect("a file's name").to_string_lossy().into_owned()
    }

    /// Writes the file with the answers its scripts have now.
    pub(crate) fn write(&self) {
        let mut text = self.preface.clone();
        for (at, script) in self.scripts.iter().enumerate() {
            let _ = writeln!(text, "{}== {}", if at == 0 { "" } else { "\n" }, script.title);
            let silent = script.steps.last().is_some_and(Step::is_silent_wait);
            for step in script.steps.iter().take(script.steps.len() - usize::from(silent)) {
                let _ = writeln!(text, "{}", step.line);
                for answer in &step.answers {
                    let _ = writeln!(text, "    {answer}");
                }
            }
        }
        fs::write(&self.path, text).expect("a file that can be written");
    }
}

impl Script {
    fn take(&mut self, line: &str) {
        if let Some(answer) = line.strip_prefix("    ") {
            let step = self.steps.last_mut().expect("an answer follows a step");
            step.answers.push(answer.to_owned());
        } else if !line.is_empty() {
            self.steps.push(Step { line: line.to_owned(), answers: Vec::new() });
        }
    }

    /// A script ends with silence.
    fn end(&mut self) {
        if self.steps.last().is_none_or(|step| step.line != "wait") {
            self.steps.push(Step { line: "wait".to_owned(), answers: Vec::new() });
        }
    }
}

impl Step {
    fn is_silent_wait(&self) -> bool {
        self.line == "wait" && self.answers.is_empty()
    }

    pub(crate) fn order(&self) -> Order {
        let mut reader = Reader::new(&self.line);
        let mut verb = reader.word();
        let mut order = Order {
            connection: 'a',
            channel: 1,
            times: 1,
            verb: String::new(),
            values: Vec::new(),
            fields: Fields::new(),
        };
        if let Some((connection, channel)) = place(&verb) {
            (order.connection, order.channel) = (connection, channel);
            verb = reader.word();
        }
        if let Some(times) = verb.strip_suffix('x').and_then(|times| times.parse().ok()) {
            order.times = times;
            verb = reader.word();
        }
        order.verb = verb;
        while !reader.at_end() {
            let start = reader.literal();
            if reader.sign('=') {
                order.fields.insert(start.text(), reader.literal());
            } else {
                order.values.push(start);
            }
        }
        order
    }
}

/// `b` or `b:2`.
fn place(word: &str) -> Option<(char, u16)> {
    let (name, channel) = word.split_once(':').unwrap_or((word, "1"));
    let mut letters = name.chars();
    let connection = letters.next().filter(|_| letters.next().is_none())?;
    Some((connection, channel.parse().ok()?))
}

/// Where the scripts and the list of differences lie.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("amqp-tests/differential")
}
