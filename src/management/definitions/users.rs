//! Users and what they may do.

use super::fields::Fields;
use super::hashes;
use super::step::Step;
use crate::broker::rights::{PermissionSpec, TopicPermissionSpec};
use crate::broker::topology::{Command, UserLimits};

const LIMITS: [&str; 2] = ["max-connections", "max-channels"];

pub(super) fn user(fields: &Fields<'_>, version: &str) -> Result<Step, String> {
    let name = fields.needed("name")?.to_owned();
    let mut step = Step { name: name.clone(), ..Step::default() };
    let algorithm = fields.text("hashing_algorithm")?;
    let password_hash = match (fields.text("password_hash")?, fields.text("password")?) {
        (Some(hash), _) => hashes::stored(hash, algorithm, version)?,
        (None, Some(password)) => {
            step.password = Some(password.to_owned());
            String::new()
        }
        (None, None) => String::new(),
    };
    if password_hash.is_empty() && step.password.is_none() {
        step.notes.push("it has no password: it cannot log in with one until one is set".to_owned());
    }
    let tags = fields.words("tags")?;
    step.commands.push(Command::PutUser { name: name.clone(), password_hash, tags });
    if let Some([max_connections, max_channels]) = fields.limits("limits", LIMITS)? {
        let limits = UserLimits { max_connections, max_channels };
        step.commands.push(Command::LimitUser { name, limits });
    }
    Ok(step)
}

pub(super) fn permissions(fields: &Fields<'_>) -> Result<Step, String> {
    let (user, vhost) = (fields.needed("user")?.to_owned(), fields.needed("vhost")?.to_owned());
    let pattern = |field: &str| fields.needed(field).map(str::to_owned);
    let spec =
        PermissionSpec { configure: pattern("configure")?, write: pattern("write")?, read: pattern("read")? };
    let command = Command::SetPermissions { user: user.clone(), vhost: vhost.clone(), spec };
    Ok(Step { vhost: Some(vhost), name: user, commands: vec![command], ..Step::default() })
}

pub(super) fn topic_permissions(fields: &Fields<'_>) -> Result<Step, String> {
    let (user, vhost) = (fields.needed("user")?.to_owned(), fields.needed("vhost")?.to_owned());
    let exchange = fields.needed("exchange")?.to_owned();
    let pattern = |field: &str| fields.needed(field).map(str::to_owned);
    let spec = TopicPermissionSpec { write: pattern("write")?, read: pattern("read")? };
    let name = format!("{user} on {exchange}");
    let command = Command::SetTopicPermissions { user, vhost: vhost.clone(), exchange, spec };
    Ok(Step { vhost: Some(vhost), name, commands: vec![command], ..Step::default() })
}
