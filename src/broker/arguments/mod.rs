//! Arguments of declarations: read once into checked settings, compared when something is declared again.

mod deduplication;
mod equivalence;
mod retry;
mod settings;
mod validate;
mod value;

pub(crate) use deduplication::{
    ARGUMENTS as DEDUPLICATION_ARGUMENTS, cache as deduplication_cache, check as check_deduplication,
    read as read_deduplication,
};
pub use equivalence::{Comparison, equivalence};
pub use retry::{Cause, Retry, RetrySettings, RetryType};
pub(crate) use settings::least_delivery_limit;
pub use settings::{Overflow, QueueSettings, QueueType};
pub(crate) use value::{erlang_term, integer, type_name};

/// How RabbitMQ words an object in a refusal, such as `queue 'q' in vhost '/'`.
#[must_use]
pub fn object_text(kind: &str, name: &str, vhost: &str) -> String {
    format!("{kind} '{name}' in vhost '{vhost}'")
}
