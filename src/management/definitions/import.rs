//! Carries out what a file asks for. What is refused is told, and the rest goes on.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value};
use tokio::task::JoinSet;

use super::report::{Outcome, Report, Reported};
use super::section::{SECTIONS, Section, strangers};
use super::step::{Context, Step, step};
use crate::broker::topology::{Command, Topology};
use crate::node::{Control, ControlError};

/// So many objects of a section are on their way at a time: one sync of the log serves many.
const AT_A_TIME: usize = 256;

/// Whether a file is taken or only tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// What the file asks for is done.
    Import,
    /// It is done on a copy, which is thrown away.
    DryRun,
}

/// Takes a file, into one vhost if one is given.
///
/// # Errors
/// When it is no file of definitions, or that vhost is not there; then nothing was changed.
pub async fn import(
    control: &Control,
    file: &Value,
    only: Option<&str>,
    mode: Mode,
) -> Result<Report, String> {
    let file = file.as_object().ok_or("definitions are a JSON object")?;
    for (_, name, _) in SECTIONS {
        if file.get(name).is_some_and(|section| !section.is_array() && !section.is_null()) {
            return Err(format!("section '{name}' of the definitions is no list"));
        }
    }
    if let Some(vhost) = only.filter(|vhost| control.vhost(vhost).is_none()) {
        return Err(format!("vhost '{vhost}' does not exist"));
    }
    let mut target = match mode {
        Mode::Import => Target::Node(control.clone()),
        Mode::DryRun => Target::Copy(Box::new(control.rehearsal().map_err(|error| error.to_string())?)),
    };
    let mut report = Report { dry_run: mode == Mode::DryRun, ..Report::default() };
    for (section, name, kind) in SECTIONS {
        let Some(objects) = file.get(name).and_then(Value::as_array) else { continue };
        if only.is_some() && !section.is_of_a_vhost() {
            let (name, reason) = (name.to_owned(), "an import into one vhost takes none of these".to_owned());
            let refused = Reported {
                kind: "section",
                vhost: None,
                name,
                outcome: Outcome::Refused,
                reason: Some(reason),
            };
            if !objects.is_empty() {
                report.add(refused);
            }
            continue;
        }
        take(&mut target, file, (section, kind), objects, only, &mut report).await;
    }
    for stranger in strangers(file) {
        let reason = Some("there is no such section".to_owned());
        let name = stranger.to_owned();
        report.add(Reported { kind: "section", vhost: None, name, outcome: Outcome::Refused, reason });
    }
    Ok(report)
}

/// Takes a file of this machine as a whole.
///
/// # Errors
/// When it cannot be read, or is no file of definitions.
pub async fn load(control: &Control, path: &Path) -> Result<Report, String> {
    let failed = |reason: String| format!("definitions in {}: {reason}", path.display());
    let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let file: Value = serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?;
    import(control, &file, None, Mode::Import).await.map_err(failed)
}

/// Takes the objects of one section, many at a time; they do not depend on each other.
async fn take(
    target: &mut Target,
    file: &Map<String, Value>,
    (section, kind): (Section, &'static str),
    objects: &[Value],
    only: Option<&str>,
    report: &mut Report,
) {
    let version = ["rabbitmq_version", "rabbit_version"].iter().find_map(|key| file.get(*key)?.as_str());
    let typed = target.vhosts_with_a_default();
    let context = Context { only, version: version.unwrap_or_default(), typed: &typed };
    for objects in objects.chunks(AT_A_TIME) {
        let steps: Vec<_> = objects.iter().map(|object| step(section, object, context)).collect();
        for reported in target.carry_out(steps, kind).await {
            report.add(reported);
        }
    }
}

/// Where a file goes.
enum Target {
    Node(Control),
    Copy(Box<Topology>),
}

type Asked = Result<Step, (String, String)>;

impl Target {
    /// The vhosts whose queues are not classic when they do not say.
    fn vhosts_with_a_default(&self) -> BTreeSet<String> {
        let of = |topology: &Topology| {
            let vhosts = topology.vhosts().into_iter();
            let has_default = |name: &str| {
                let default = topology.vhost_settings(name)?.default_queue_type.as_deref()?;
                Some(default != "classic")
            };
            vhosts.filter(|name| has_default(name).unwrap_or(false)).map(|name| name.to_string()).collect()
        };
        match self {
            Self::Node(control) => control.look(of),
            Self::Copy(topology) => of(topology),
        }
    }

    async fn carry_out(&mut self, steps: Vec<Asked>, kind: &'static str) -> Vec<Reported> {
        match self {
            Self::Copy(topology) => steps.into_iter().map(|asked| on_copy(topology, asked, kind)).collect(),
            Self::Node(control) => {
                let mut running = JoinSet::new();
                for (place, asked) in steps.into_iter().enumerate() {
                    let control = control.clone();
                    running.spawn(async move { (place, on_node(&control, asked, kind).await) });
                }
                let mut reported = running.join_all().await;
                reported.sort_unstable_by_key(|(place, _)| *place);
                reported.into_iter().map(|(_, reported)| reported).collect()
            }
        }
    }
}

async fn on_node(control: &Control, asked: Asked, kind: &'static str) -> Reported {
    let mut step = match asked {
        Ok(step) => step,
        Err((name, reason)) => return refused(kind, name, reason),
    };
    if let Some(password) = step.password.take() {
        match control.hash_password(password).await {
            Ok(hash) => step.commands.iter_mut().for_each(|command| set_hash(command, &hash)),
            Err(error) => return end(kind, step, Err(error)),
        }
    }
    let mut is_new = false;
    for command in std::mem::take(&mut step.commands) {
        match control.carry_out(command).await {
            Ok(created) => is_new |= created,
            Err(error) => return end(kind, step, Err(error)),
        }
    }
    end(kind, step, Ok(is_new))
}

fn on_copy(topology: &mut Topology, asked: Asked, kind: &'static str) -> Reported {
    let mut step = match asked {
        Ok(step) => step,
        Err((name, reason)) => return refused(kind, name, reason),
    };
    let mut is_new = false;
    for command in std::mem::take(&mut step.commands) {
        match topology.apply(command) {
            Ok(outcome) => is_new |= outcome.created,
            Err(refusal) => return end(kind, step, Err(refusal.into())),
        }
    }
    end(kind, step, Ok(is_new))
}

fn set_hash(command: &mut Command, hash: &str) {
    if let Command::PutUser { password_hash, .. } = command {
        hash.clone_into(password_hash);
    }
}

fn refused(kind: &'static str, name: String, reason: String) -> Reported {
    Reported { kind, vhost: None, name, outcome: Outcome::Refused, reason: Some(reason) }
}

fn end(kind: &'static str, step: Step, done: Result<bool, ControlError>) -> Reported {
    let notes = (!step.notes.is_empty()).then(|| step.notes.join("; "));
    let (outcome, reason) = match done {
        Err(ControlError::Invalid(reason)) if step.is_declared && reason.starts_with("inequivalent arg") => {
            (Outcome::Kept, Some(reason))
        }
        Err(error) => (Outcome::Refused, Some(error.to_string())),
        Ok(_) if notes.is_some() => (Outcome::Adapted, notes),
        Ok(is_new) if step.is_declared && !is_new => (Outcome::Unchanged, None),
        Ok(_) => (Outcome::Taken, None),
    };
    Reported { kind, vhost: step.vhost, name: step.name, outcome, reason }
}
