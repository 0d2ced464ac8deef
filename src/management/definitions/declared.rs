//! Exchanges, queues and bindings.

use amq_protocol::types::AMQPValue;
use serde_json::Value;

use super::fields::Fields;
use super::step::{Context, Step};
use crate::broker::topology::{Command, Destination};
use crate::management::json::table_from_json;

const QUEUE_TYPE: &str = "x-queue-type";
const TYPES: [&str; 3] = ["classic", "quorum", "stream"];
const RESERVED: &str = "amq.";
/// Connections are numbered from 1 on.
const NO_OWNER: u64 = 0;

pub(super) fn exchange(fields: &Fields<'_>, only: Option<&str>) -> Result<Step, String> {
    let (vhost, name) = (fields.vhost(only)?, fields.needed("name")?.to_owned());
    let mut step =
        Step { vhost: Some(vhost.clone()), name: name.clone(), is_declared: true, ..Step::default() };
    if name.is_empty() {
        // Every vhost has the default exchange.
        return Ok(step);
    }
    step.commands.push(Command::DeclareExchange {
        vhost,
        name,
        kind: fields.needed("type")?.to_owned(),
        passive: false,
        durable: fields.flag("durable")?,
        auto_delete: fields.flag("auto_delete")?,
        internal: fields.flag("internal")?,
        arguments: table_from_json(fields.get("arguments").unwrap_or(&Value::Null))?,
    });
    Ok(step)
}

pub(super) fn queue(fields: &Fields<'_>, context: Context<'_>) -> Result<Step, String> {
    let (vhost, name) = (fields.vhost(context.only)?, fields.needed("name")?.to_owned());
    let mut arguments = table_from_json(fields.get("arguments").unwrap_or(&Value::Null))?;
    // Since 3.13 the type is told apart, and holds whatever the default of the vhost is.
    let is_plain = |kind: &&str| *kind == "classic" && !context.typed.contains(&vhost);
    let told = fields.text("type")?.filter(|kind| TYPES.contains(kind) && !is_plain(kind));
    if let Some(kind) = told.filter(|_| !arguments.contains_key(QUEUE_TYPE)) {
        arguments.insert(QUEUE_TYPE.into(), AMQPValue::LongString(kind.into()));
    }
    if is_stream(arguments.inner().get(QUEUE_TYPE)) {
        return Err(
            "streams are not served: declare a quorum queue, and bind it where the stream was".to_owned()
        );
    }
    let command = Command::DeclareQueue {
        vhost: vhost.clone(),
        name: name.clone(),
        // A broker has made up such a name.
        generated: name.starts_with(RESERVED),
        passive: false,
        durable: fields.flag("durable")?,
        exclusive: false,
        auto_delete: fields.flag("auto_delete")?,
        arguments,
        owner: NO_OWNER,
    };
    Ok(Step { vhost: Some(vhost), name, commands: vec![command], is_declared: true, ..Step::default() })
}

pub(super) fn binding(fields: &Fields<'_>, only: Option<&str>) -> Result<Step, String> {
    let vhost = fields.vhost(only)?;
    let (source, to) = (fields.needed("source")?.to_owned(), fields.needed("destination")?.to_owned());
    let routing_key = fields.text("routing_key")?.unwrap_or_default().to_owned();
    let destination = match fields.text("destination_type")? {
        None | Some("queue" | "q") => Destination::Queue(to.clone()),
        Some("exchange" | "e") => Destination::Exchange(to.clone()),
        Some(other) => return Err(format!("'destination_type' is neither queue nor exchange: {other}")),
    };
    let name = format!("{source} -> {to} ({routing_key})");
    let mut step = Step { vhost: Some(vhost.clone()), name, is_declared: true, ..Step::default() };
    if source.is_empty() {
        // Every queue is bound to the default exchange.
        return Ok(step);
    }
    let arguments = table_from_json(fields.get("arguments").unwrap_or(&Value::Null))?;
    let command = Command::Bind { vhost, source, destination, routing_key, arguments, owner: NO_OWNER };
    step.commands.push(command);
    Ok(step)
}

fn is_stream(kind: Option<&AMQPValue>) -> bool {
    matches!(kind, Some(AMQPValue::LongString(text)) if text.as_bytes() == b"stream")
}
