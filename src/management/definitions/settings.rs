//! Policies, parameters and global parameters.

use serde_json::Value;

use super::fields::{Fields, limits};
use super::step::Step;
use super::vhosts::LIMITS;
use crate::broker::policy::{PolicyScope, PolicySpec};
use crate::broker::topology::{Command, VhostLimits};
use crate::management::json::table_from_json;

const MIRRORING: &str = "ha-mode";
/// Keys of mirroring that say nothing here.
const MIRRORING_DETAILS: [&str; 5] =
    ["ha-params", "ha-sync-mode", "ha-sync-batch-size", "ha-promote-on-shutdown", "ha-promote-on-failure"];

pub(super) fn policy(fields: &Fields<'_>, only: Option<&str>) -> Result<Step, String> {
    let (vhost, name) = (fields.vhost(only)?, fields.needed("name")?.to_owned());
    policy_step(vhost, name, PolicyScope::User, fields)
}

pub(super) fn parameter(fields: &Fields<'_>, only: Option<&str>) -> Result<Step, String> {
    let (component, name) = (fields.needed("component")?, fields.needed("name")?.to_owned());
    let vhost = fields.vhost(only)?;
    let value = fields.get("value").ok_or("it has no 'value'")?;
    let scope = match component {
        "vhost-limits" => {
            let [max_connections, max_queues] = limits(value, LIMITS)?;
            let limits = VhostLimits { max_connections, max_queues };
            let commands = vec![Command::LimitVhost { name: vhost.clone(), limits }];
            let name = format!("{component} {name}");
            return Ok(Step { vhost: Some(vhost), name, commands, ..Step::default() });
        }
        "operator_policy" => PolicyScope::Operator,
        "policy" => PolicyScope::User,
        "shovel" => {
            return Err(
                "component shovel not found: this broker has no shovels; run one elsewhere".to_owned()
            );
        }
        "federation-upstream" | "federation-upstream-set" => {
            return Err(format!("component {component} not found: this broker has no federation"));
        }
        other => return Err(format!("component {other} not found")),
    };
    let mut step = policy_step(vhost, name, scope, &Fields::new(value)?)?;
    step.name = format!("{component} {}", step.name);
    Ok(step)
}

pub(super) fn global_parameter(fields: &Fields<'_>) -> Result<Step, String> {
    let name = fields.needed("name")?.to_owned();
    let value = fields.get("value").unwrap_or(&Value::Null).to_string();
    let commands = vec![Command::PutParameter { name: name.clone(), value: Some(value) }];
    Ok(Step { name, commands, ..Step::default() })
}

fn policy_step(vhost: String, name: String, scope: PolicyScope, fields: &Fields<'_>) -> Result<Step, String> {
    let definition = fields.get("definition").ok_or("it has no 'definition'")?;
    let spec = PolicySpec {
        pattern: fields.needed("pattern")?.to_owned(),
        apply_to: fields.text("apply-to")?.unwrap_or_default().to_owned(),
        priority: fields.integer("priority")?.unwrap_or(0),
        definition: table_from_json(definition)?,
    };
    let notes = notes(&spec);
    let command = Command::SetPolicy { vhost: vhost.clone(), scope, name: name.clone(), spec };
    Ok(Step { vhost: Some(vhost), name, commands: vec![command], notes, ..Step::default() })
}

/// What a policy from elsewhere does here in another way.
fn notes(spec: &PolicySpec) -> Vec<String> {
    let keys = || spec.definition.inner().keys().map(|key| key.as_str());
    let mut notes = Vec::new();
    if keys().any(|key| key == MIRRORING) {
        let details: Vec<_> = keys().filter(|key| MIRRORING_DETAILS.contains(key)).collect();
        let details = match details.as_slice() {
            [] => String::new(),
            some => format!("; {} say nothing here", some.join(", ")),
        };
        notes.push(format!(
            "{MIRRORING}: durable queues are replicated as quorum queues are, in a cluster{details}"
        ));
    }
    let federation: Vec<_> = keys().filter(|key| key.starts_with("federation-")).collect();
    if !federation.is_empty() {
        notes.push(format!("{} say nothing here: there is no federation", federation.join(", ")));
    }
    if spec.apply_to == "streams" {
        notes.push("it is for streams, and there are none".to_owned());
    }
    notes
}
