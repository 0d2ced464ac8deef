//! One object of a file, as commands.

use std::collections::BTreeSet;

use serde_json::Value;

use super::section::Section;
use super::{declared, fields::Fields, settings, users, vhosts};
use crate::broker::topology::Command;

/// What to do for one object of a file.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// The vhost of the object.
    pub(super) vhost: Option<String>,
    /// The name of the object.
    pub(super) name: String,
    /// In order.
    pub(super) commands: Vec<Command>,
    /// A password that is to be hashed for the first command.
    pub(super) password: Option<String>,
    /// One that is there already, as it is or in another form, stays.
    pub(super) is_declared: bool,
    /// In which way the object will not be what the file says.
    pub(super) notes: Vec<String>,
}

/// What the steps of a file have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    /// The vhost that everything goes into, whatever the objects say.
    pub(super) only: Option<&'a str>,
    /// The version of the broker that wrote the file.
    pub(super) version: &'a str,
    /// The vhosts whose queues are not classic when they do not say.
    pub(super) typed: &'a BTreeSet<String>,
}

/// What an object asks for.
///
/// # Errors
/// A name for it, and why it is none.
pub(super) fn step(section: Section, object: &Value, context: Context<'_>) -> Result<Step, (String, String)> {
    let named = |reason| (name_of(object), reason);
    let fields = Fields::new(object).map_err(named)?;
    let step = match section {
        Section::Vhosts => vhosts::vhost(&fields),
        Section::Users => users::user(&fields, context.version),
        Section::Permissions => users::permissions(&fields),
        Section::TopicPermissions => users::topic_permissions(&fields),
        Section::Parameters => settings::parameter(&fields, context.only),
        Section::GlobalParameters => settings::global_parameter(&fields),
        Section::Policies => settings::policy(&fields, context.only),
        Section::Exchanges => declared::exchange(&fields, context.only),
        Section::Queues => declared::queue(&fields, context),
        Section::Bindings => declared::binding(&fields, context.only),
    };
    step.map_err(named)
}

/// Something to call an object by that is not as it should be.
fn name_of(object: &Value) -> String {
    let text = |field: &str| object.get(field).and_then(Value::as_str);
    let name = text("name").or_else(|| text("source")).or_else(|| text("user"));
    name.map_or_else(|| object.to_string().chars().take(80).collect(), str::to_owned)
}
