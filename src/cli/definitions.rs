//! `warren export` and `warren import`: all that is declared, as a file in RabbitMQ's form.

use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::access::{Access, Output};
use super::failure::Failure;
use super::http::{Node, part, reason};
use super::output::{cell, field, json, say};

/// Writes all that is declared into a file.
#[derive(Args, Debug)]
pub(crate) struct Export {
    /// The file; without it, or for -, the standard output
    file: Option<PathBuf>,
    /// Only what is in this vhost
    #[arg(long, short = 'V', value_name = "VHOST")]
    vhost: Option<String>,
    #[command(flatten)]
    access: Access,
}

/// Takes definitions out of a file.
#[derive(Args, Debug)]
pub(crate) struct Import {
    /// The file; - is the standard input
    file: PathBuf,
    /// Into this vhost, whatever the file says
    #[arg(long, short = 'V', value_name = "VHOST")]
    vhost: Option<String>,
    /// Only say what would become of each object
    #[arg(long)]
    dry_run: bool,
    /// Show each object, not only those that are not as the file says
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    access: Access,
}

pub(crate) fn export(export: &Export) -> Result<(), Failure> {
    let node = Node::new(export.access.target()?);
    let file = node.get(&path(export.vhost.as_deref()))?;
    let Some(to) = export.file.as_ref().filter(|path| path.as_os_str() != "-") else {
        json(&file);
        return Ok(());
    };
    let text = serde_json::to_string_pretty(&file).unwrap_or_default();
    std::fs::write(to, text + "\n").map_err(|error| Failure::usage(format!("{}: {error}", to.display())))?;
    let sections = file.as_object().into_iter().flatten();
    let counts = sections.filter_map(|(name, value)| Some(format!("{} {name}", value.as_array()?.len())));
    say(&format!("{}: {}", to.display(), counts.collect::<Vec<_>>().join(", ")));
    Ok(())
}

pub(crate) fn import(import: &Import) -> Result<(), Failure> {
    let failed =
        |error: &dyn std::fmt::Display| Failure::usage(format!("{}: {error}", import.file.display()));
    let mut text = String::new();
    if import.file.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).map_err(|error| failed(&error))?;
    } else {
        text = std::fs::read_to_string(&import.file).map_err(|error| failed(&error))?;
    }
    let file: Value = serde_json::from_str(&text).map_err(|error| failed(&error))?;
    let node = Node::new(import.access.target()?);
    let asked = format!("{}?report=true&dry_run={}", path(import.vhost.as_deref()), import.dry_run);
    let answer = node.ask("POST", &asked, Some(&file))?;
    let report = match answer.body.get("report") {
        Some(report) => report.clone(),
        None if answer.status.is_success() => answer.body.clone(),
        None => return Err(node.refusal("POST", &asked, &answer)),
    };
    show(&report, import);
    if answer.status.is_success() {
        return Ok(());
    }
    Err(Failure::new(Failure::INCOMPLETE, reason(&answer.body)))
}

fn path(vhost: Option<&str>) -> String {
    vhost.map_or_else(|| "definitions".to_owned(), |vhost| format!("definitions/{}", part(vhost)))
}

fn show(report: &Value, import: &Import) {
    if import.access.output == Output::Json {
        json(report);
        return;
    }
    let objects = field(report, "objects").as_array().map(Vec::as_slice).unwrap_or_default();
    for object in objects.iter().filter(|object| import.all || object.get("reason").is_some()) {
        let parts = ["outcome", "kind", "vhost", "name", "reason"].map(|part| cell(field(object, part)));
        let [outcome, kind, vhost, name, reason] = parts;
        if import.access.output == Output::Tsv {
            say(&[outcome, kind, vhost, name, reason].join("\t"));
            continue;
        }
        let place = if vhost.is_empty() { String::new() } else { format!(" in vhost '{vhost}'") };
        let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        say(&format!("{outcome:9}  {kind} '{name}'{place}{why}"));
    }
    if import.access.output == Output::Table {
        let counts = field(report, "counts").as_object().into_iter().flatten();
        let counts: Vec<_> = counts.map(|(name, count)| format!("{count} {name}")).collect();
        let tried = if import.dry_run { "nothing was changed; it would be: " } else { "" };
        say(&format!("{tried}{}", counts.join(", ")));
    }
}
