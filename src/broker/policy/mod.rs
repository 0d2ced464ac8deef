//! Policies: settings for queues and exchanges by their names, given by those who run the node (RabbitMQ: Policies).
//!
//! - `keys`: what a definition may hold
//! - `pattern`: which names a policy is for
//! - `merge`: a policy and an operator's policy for the same object
//! - `ranked`: the policies of a vhost, and which of them holds for an object

mod keys;
mod merge;
mod pattern;
mod ranked;

use std::sync::Arc;

use amq_protocol::types::FieldTable;

use super::arguments::QueueType;
pub use merge::Applied;
pub use pattern::Pattern;
pub use ranked::Ranked;

/// The two lists of policies that a vhost has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyScope {
    /// Policies of those who use the vhost.
    User,
    /// Policies of those who run the node: they bound the others.
    Operator,
}

/// What a policy is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApplyTo {
    /// Queues and exchanges.
    #[default]
    All,
    /// Queues of all types.
    Queues,
    /// Classic queues.
    ClassicQueues,
    /// Quorum queues.
    QuorumQueues,
    /// Streams; none is served.
    Streams,
    /// Exchanges.
    Exchanges,
}

const APPLY_TO: [(&str, ApplyTo); 6] = [
    ("all", ApplyTo::All),
    ("queues", ApplyTo::Queues),
    ("classic_queues", ApplyTo::ClassicQueues),
    ("quorum_queues", ApplyTo::QuorumQueues),
    ("streams", ApplyTo::Streams),
    ("exchanges", ApplyTo::Exchanges),
];

impl ApplyTo {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        APPLY_TO.iter().find(|(_, apply_to)| *apply_to == self).map_or("all", |(name, _)| name)
    }

    fn from_name(name: &str) -> Option<Self> {
        APPLY_TO.iter().find(|(known, _)| *known == name).map(|(_, apply_to)| *apply_to)
    }

    fn includes(self, kind: ObjectKind) -> bool {
        match (self, kind) {
            (Self::All, _)
            | (Self::Queues, ObjectKind::Queue(_))
            | (Self::ClassicQueues, ObjectKind::Queue(QueueType::Classic))
            | (Self::QuorumQueues, ObjectKind::Queue(QueueType::Quorum))
            | (Self::Exchanges, ObjectKind::Exchange) => true,
            (
                Self::Queues | Self::ClassicQueues | Self::QuorumQueues | Self::Streams | Self::Exchanges,
                _,
            ) => false,
        }
    }
}

/// What a policy may be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// A queue of this type.
    Queue(QueueType),
    /// An exchange.
    Exchange,
}

/// A policy as it is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicySpec {
    /// A regular expression that is searched in names.
    pub pattern: String,
    /// `all`, `queues`, `classic_queues`, `quorum_queues`, `streams` or `exchanges`; `all` when it is empty.
    pub apply_to: String,
    /// Of those that match, the one with the highest holds.
    pub priority: i64,
    /// Keys and values.
    pub definition: FieldTable,
}

/// A policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The name, unique in its vhost and scope.
    pub name: Arc<str>,
    /// Which names it is for.
    pub pattern: Pattern,
    /// What it is for.
    pub apply_to: ApplyTo,
    /// Of those that match, the one with the highest holds.
    pub priority: i64,
    /// Keys and values.
    pub definition: FieldTable,
}

impl Policy {
    /// Checks what is asked for.
    ///
    /// # Errors
    /// The reasons in RabbitMQ's words, one a line.
    pub fn new(name: &str, scope: PolicyScope, spec: PolicySpec) -> Result<Self, String> {
        let pattern = Pattern::new(spec.pattern);
        let apply_to = match spec.apply_to.as_str() {
            "" => Ok(ApplyTo::All),
            name => ApplyTo::from_name(name).ok_or_else(|| unknown_apply_to(name)),
        };
        let definition = keys::check(&spec.definition, scope);
        match (pattern, apply_to, definition) {
            (Ok(pattern), Ok(apply_to), Ok(())) => Ok(Self {
                name: name.into(),
                pattern,
                apply_to,
                priority: spec.priority,
                definition: spec.definition,
            }),
            (pattern, apply_to, definition) => {
                let reasons = [pattern.err(), apply_to.err(), definition.err()];
                Err(reasons.into_iter().flatten().collect::<Vec<_>>().join("\n"))
            }
        }
    }

    /// As it was asked for.
    #[must_use]
    pub fn spec(&self) -> PolicySpec {
        PolicySpec {
            pattern: self.pattern.as_str().to_owned(),
            apply_to: self.apply_to.name().to_owned(),
            priority: self.priority,
            definition: self.definition.clone(),
        }
    }

    /// Whether it is for this object. One with a key that the type of queue does not have is not.
    fn is_for(&self, kind: ObjectKind, name: &str) -> bool {
        self.apply_to.includes(kind) && !self.lacks(kind) && self.pattern.is_in(name)
    }

    fn lacks(&self, kind: ObjectKind) -> bool {
        let ObjectKind::Queue(queue_type) = kind else { return false };
        self.definition.inner().keys().any(|key| keys::is_strange_to(key.as_str(), queue_type))
    }
}

fn unknown_apply_to(name: &str) -> String {
    format!(
        "apply-to '{name}' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', 'streams', \
         'exchanges', or 'all'"
    )
}

#[cfg(test)]
mod tests;
