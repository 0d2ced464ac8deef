//! `differences.txt`: where Warren answers otherwise than RabbitMQ, each with its reason.
//!
//! ```text
//! == queue: The title of a script
//! Why it is so, in a line or more.
//! > basic.get queue=q             the step
//! - basic.get-empty               what RabbitMQ answers
//! + basic.get-ok ...              what Warren answers
//! ```
//! A line that both answer stands with a blank in front.

use std::fs;

use super::script::{Script, folder};

/// One listed difference.
pub(crate) struct Difference {
    pub(crate) title: String,
    pub(crate) reason: String,
    steps: Vec<Changed>,
}

#[derive(Default)]
struct Changed {
    line: String,
    theirs: Vec<String>,
    ours: Vec<String>,
}

impl Difference {
    pub(crate) fn all() -> Vec<Self> {
        let text = fs::read_to_string(folder().join("differences.txt")).expect("a list of differences");
        let mut all = Vec::<Self>::new();
        for line in text.lines() {
            if let Some(title) = line.strip_prefix("== ") {
                all.push(Self { title: title.to_owned(), reason: String::new(), steps: Vec::new() });
            } else if let Some(difference) = all.last_mut() {
                difference.take(line);
            }
        }
        all
    }

    fn take(&mut self, line: &str) {
        if let Some(step) = line.strip_prefix("> ") {
            self.steps.push(Changed { line: step.to_owned(), ..Changed::default() });
        } else if let Some(step) = self.steps.last_mut() {
            if let Some(line) = line.strip_prefix("- ").or_else(|| line.strip_prefix("  ")) {
                step.theirs.push(line.to_owned());
            }
            if let Some(line) = line.strip_prefix("+ ").or_else(|| line.strip_prefix("  ")) {
                step.ours.push(line.to_owned());
            }
        } else {
            self.reason += line;
        }
    }

    /// What Warren ought to answer in this script: the record, changed as listed. What is wrong with the list goes to
    /// `problems`.
    pub(crate) fn applied(&self, script: &Script, problems: &mut Vec<String>) -> Vec<Vec<String>> {
        let mut answers: Vec<_> = script.steps.iter().map(|step| step.answers.clone()).collect();
        let mut from = 0;
        for changed in &self.steps {
            let steps = script.steps.iter().skip(from);
            let mut steps = steps.map(|step| (&step.line, &step.answers));
            let Some(at) = steps.position(|step| step == (&changed.line, &changed.theirs)) else {
                let (title, line) = (&self.title, &changed.line);
                problems.push(format!("differences.txt: {title:?} has no step {line:?} with such a record"));
                continue;
            };
            let at = from + at;
            if changed.ours == changed.theirs {
                problems
                    .push(format!("differences.txt: {:?}, {:?}: no difference", self.title, changed.line));
            }
            answers[at].clone_from(&changed.ours);
            from = at + 1;
        }
        answers
    }
}

/// A difference in the form of the list.
pub(crate) fn report(title: &str, script: &Script, ours: &[Vec<String>]) -> String {
    let mut out = format!("== {title}\n");
    for (step, ours) in script.steps.iter().zip(ours).filter(|(step, ours)| step.answers != **ours) {
        out += &format!("> {}\n", step.line);
        for line in &step.answers {
            out += &format!("{} {line}\n", if ours.contains(line) { " " } else { "-" });
        }
        for line in ours.iter().filter(|line| !step.answers.contains(line)) {
            out += &format!("+ {line}\n");
        }
    }
    out
}
