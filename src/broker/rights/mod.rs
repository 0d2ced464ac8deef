//! What users may do with queues and exchanges: patterns for names, by vhost (RabbitMQ: Access Control).
//!
//! - `permission`: configure, write and read, by the names of queues and exchanges
//! - `topic`: write and read, by the routing keys of topic exchanges
//! - `scope`: the same as a token says it

mod permission;
mod scope;
mod topic;

use std::collections::BTreeMap;

pub use permission::{Permission, PermissionSpec};
pub use scope::Scopes;
pub use topic::{TopicPermission, TopicPermissionSpec};

/// The name that permissions know the default exchange by.
pub const DEFAULT_EXCHANGE: &str = "amq.default";

/// What is done with a queue or an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Right {
    /// Making and deleting it.
    Configure,
    /// Bringing messages into it.
    Write,
    /// Taking messages out of it.
    Read,
}

impl Right {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Configure => "configure",
            Self::Write => "write",
            Self::Read => "read",
        }
    }
}

/// What a user may do in one vhost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VhostRights {
    /// Without these the user may not even enter.
    pub permission: Option<Permission>,
    /// By topic exchange; where there are none, all keys are allowed.
    pub topics: BTreeMap<String, TopicPermission>,
}

impl VhostRights {
    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Self { permission: Some(Permission::all()), topics: BTreeMap::new() }
    }

    /// Whether the user may do that with the queue or exchange of this name.
    #[must_use]
    pub fn allow(&self, right: Right, name: &str) -> bool {
        self.permission.as_ref().is_some_and(|permission| permission.allows(right, name))
    }

    /// Whether the user may use this routing key of a topic exchange.
    #[must_use]
    pub fn allow_key(&self, right: Right, exchange: &str, key: &str) -> bool {
        self.topics.get(exchange).is_none_or(|topic| topic.allows(right, key))
    }

    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.permission.is_none() && self.topics.is_empty()
    }
}
