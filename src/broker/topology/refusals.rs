//! The refusals that several commands share, in RabbitMQ's words, and the rules on names behind them.

use crate::broker::arguments::object_text;
use crate::protocol::error::Refusal;
use crate::protocol::reply_code::ReplyCode;

/// A name without carriage returns and line feeds, as RabbitMQ takes it.
pub(super) fn stripped(mut name: String) -> String {
    name.retain(|c| !matches!(c, '\r' | '\n'));
    name
}

pub(super) fn is_reserved(name: &str) -> bool {
    name.starts_with("amq.")
}

pub(super) fn reserved(kind: &str, name: &str) -> Refusal {
    let text = format!("{kind} name '{name}' contains reserved prefix 'amq.*'");
    Refusal::channel(ReplyCode::AccessRefused, text)
}

pub(super) fn not_on_default_exchange(name: &str) -> Result<(), Refusal> {
    if name.is_empty() {
        let text = "operation not permitted on the default exchange";
        return Err(Refusal::channel(ReplyCode::AccessRefused, text));
    }
    Ok(())
}

pub(super) fn no_vhost(name: &str) -> Refusal {
    Refusal::connection(ReplyCode::NotAllowed, format!("vhost {name} not found"))
}

pub(super) fn no_user(name: &str) -> Refusal {
    Refusal::channel(ReplyCode::NotFound, format!("no user '{name}'"))
}

pub(super) fn no_exchange(name: &str, vhost: &str) -> Refusal {
    Refusal::channel(ReplyCode::NotFound, format!("no {}", object_text("exchange", name, vhost)))
}

pub(super) fn no_queue(name: &str, vhost: &str) -> Refusal {
    Refusal::channel(ReplyCode::NotFound, format!("no {}", object_text("queue", name, vhost)))
}

pub(super) fn locked(name: &str, vhost: &str) -> Refusal {
    let queue = object_text("queue", name, vhost);
    let text = format!(
        "cannot obtain exclusive access to locked {queue}. It could be originally declared on another connection or \
         the exclusive property value does not match that of the original declaration."
    );
    Refusal::channel(ReplyCode::ResourceLocked, text)
}

pub(super) fn failed(text: impl Into<String>) -> Refusal {
    Refusal::channel(ReplyCode::PreconditionFailed, text)
}
