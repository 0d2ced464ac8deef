//! Vhosts and what they are set to.

use super::fields::Fields;
use super::step::Step;
use crate::broker::topology::{Command, VhostLimits};

pub(super) const LIMITS: [&str; 2] = ["max-connections", "max-queues"];

const TYPES: [&str; 2] = ["classic", "quorum"];

pub(super) fn vhost(fields: &Fields<'_>) -> Result<Step, String> {
    let name = fields.needed("name")?.to_owned();
    let mut step = Step { name: name.clone(), is_declared: true, ..Step::default() };
    step.commands.push(Command::CreateVhost { name: name.clone() });
    // Since 3.8 some of it is also told in `metadata`.
    let metadata = fields.get("metadata").map(Fields::new).transpose()?;
    let all = || [Some(fields), metadata.as_ref()].into_iter().flatten();
    let text = |field: &str| -> Result<Option<&str>, String> {
        Ok(all()
            .map(|fields| fields.text(field))
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .next())
    };
    let description = text("description")?.unwrap_or_default().to_owned();
    let tags: Vec<String> = all().map(|fields| fields.words("tags")).collect::<Result<_, _>>()?;
    let tags = tags.into_iter().find(|tags| !tags.is_empty()).unwrap_or_default();
    let default = text("default_queue_type")?.filter(|name| *name != "undefined");
    let default_queue_type = default.filter(|name| TYPES.contains(name)).map(str::to_owned);
    if let Some(name) = default.filter(|name| !TYPES.contains(name)) {
        step.notes.push(format!("queues of type '{name}' are not served: the default stays classic"));
    }
    if all().any(|fields| fields.flag("protected_from_deletion").unwrap_or(false)) {
        step.notes.push("vhosts are not protected from deletion".to_owned());
    }
    if fields.flag("tracing").unwrap_or(false) {
        step.notes.push("tracing is not switched on by an import".to_owned());
    }
    if !description.is_empty() || !tags.is_empty() || default_queue_type.is_some() {
        step.commands.push(Command::DescribeVhost {
            name: name.clone(),
            description,
            tags,
            default_queue_type,
        });
    }
    if let Some([max_connections, max_queues]) = fields.limits("limits", LIMITS)? {
        let limits = VhostLimits { max_connections, max_queues };
        if limits != VhostLimits::default() {
            step.commands.push(Command::LimitVhost { name, limits });
        }
    }
    Ok(step)
}
