//! The parts of a file, in the order in which they can be taken: what others refer to comes first.

use serde_json::{Map, Value};

/// One part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Vhosts,
    Users,
    Permissions,
    TopicPermissions,
    Parameters,
    GlobalParameters,
    Policies,
    Exchanges,
    Queues,
    Bindings,
}

/// In order: policies before what they hold for, so that nothing has to move when it is there.
pub(super) const SECTIONS: [(Section, &str, &str); 10] = [
    (Section::Vhosts, "vhosts", "vhost"),
    (Section::Users, "users", "user"),
    (Section::Permissions, "permissions", "permission"),
    (Section::TopicPermissions, "topic_permissions", "topic permission"),
    (Section::Parameters, "parameters", "parameter"),
    (Section::GlobalParameters, "global_parameters", "global parameter"),
    (Section::Policies, "policies", "policy"),
    (Section::Exchanges, "exchanges", "exchange"),
    (Section::Queues, "queues", "queue"),
    (Section::Bindings, "bindings", "binding"),
];

/// What a file says beside its sections: who wrote it, and what a vhost is set to.
const ABOUT: [&str; 12] = [
    "rabbit_version",
    "rabbitmq_version",
    "rabbitmq_definition_format",
    "product_name",
    "product_version",
    "explanation",
    "original_cluster_name",
    "original_vhost_name",
    "description",
    "tags",
    "metadata",
    "default_queue_type",
];

impl Section {
    /// Whether an import into one vhost takes it.
    pub(super) fn is_of_a_vhost(self) -> bool {
        matches!(self, Self::Parameters | Self::Policies | Self::Exchanges | Self::Queues | Self::Bindings)
    }
}

/// The keys of a file that are none of ours.
pub(super) fn strangers(file: &Map<String, Value>) -> impl Iterator<Item = &str> {
    let known = |key: &str| {
        SECTIONS.iter().any(|(_, name, _)| *name == key) || ABOUT.contains(&key) || key == "limits"
    };
    file.keys().map(String::as_str).filter(move |key| !known(key))
}
