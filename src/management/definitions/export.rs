//! What is declared, as a file in RabbitMQ's form, which RabbitMQ takes as well.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::hashes;
use crate::broker::policy::{Policy, PolicyScope};
use crate::broker::topology::{
    BindingEntry, Destination, ExchangeEntry, QueueEntry, Topology, User, VhostLimits, VhostSettings,
};
use crate::management::json::table_to_json;

/// The broker whose form of definitions this is.
const COMPATIBLE_WITH: &str = "3.13.7";

/// All that is declared.
#[must_use]
pub fn export(topology: &Topology) -> Value {
    let users = topology.users();
    let vhosts = topology.vhosts();
    let mut file = about();
    put(&mut file, "users", users.iter().map(|user| show_user(user)));
    put(&mut file, "vhosts", vhosts.iter().map(|vhost| show_vhost(topology, vhost)));
    put(&mut file, "permissions", users.iter().flat_map(|user| permissions(user)));
    put(&mut file, "topic_permissions", users.iter().flat_map(|user| topic_permissions(user)));
    put(&mut file, "global_parameters", topology.parameters().map(|(name, value)| global(name, value)));
    put_contents(&mut file, topology, &vhosts);
    Value::Object(file)
}

/// What is declared in one vhost, without the vhost's name in each object; `None` when it is not there.
#[must_use]
pub fn export_vhost(topology: &Topology, vhost: &str) -> Option<Value> {
    let settings = topology.vhost_settings(vhost)?;
    let mut file = about();
    file.insert("explanation".to_owned(), format!("Definitions of virtual host '{vhost}'").into());
    file.insert("original_vhost_name".to_owned(), vhost.into());
    file.extend(described(settings));
    put_contents(&mut file, topology, &[vhost.into()]);
    for section in file.values_mut().filter_map(Value::as_array_mut) {
        for object in section.iter_mut().filter_map(Value::as_object_mut) {
            object.remove("vhost");
        }
    }
    Some(Value::Object(file))
}

fn about() -> Map<String, Value> {
    let text = |(name, value): (&str, &str)| (name.to_owned(), Value::from(value));
    let pairs = [
        ("rabbit_version", COMPATIBLE_WITH),
        ("rabbitmq_version", COMPATIBLE_WITH),
        ("product_name", "Warren"),
        ("product_version", env!("CARGO_PKG_VERSION")),
    ];
    pairs.into_iter().map(text).collect()
}

fn put(file: &mut Map<String, Value>, section: &str, objects: impl Iterator<Item = Value>) {
    file.insert(section.to_owned(), objects.collect());
}

fn put_contents(file: &mut Map<String, Value>, topology: &Topology, vhosts: &[Arc<str>]) {
    let policies = |scope| {
        let of = move |vhost: &Arc<str>| {
            let policies = topology.policies(vhost, scope).into_iter();
            policies.map(|policy| (Arc::clone(vhost), policy)).collect::<Vec<_>>()
        };
        vhosts.iter().flat_map(of)
    };
    let limits = vhosts.iter().filter_map(|vhost| vhost_limits(topology, vhost));
    let operator = policies(PolicyScope::Operator).map(|(vhost, policy)| operator_policy(&vhost, &policy));
    put(file, "parameters", limits.chain(operator));
    put(file, "policies", policies(PolicyScope::User).map(|(vhost, policy)| show_policy(&vhost, &policy)));
    put(file, "queues", vhosts.iter().flat_map(|vhost| queues(topology, vhost)));
    put(file, "exchanges", vhosts.iter().flat_map(|vhost| exchanges(topology, vhost)));
    put(file, "bindings", vhosts.iter().flat_map(|vhost| bindings(topology, vhost)));
}

fn show_user(user: &User) -> Value {
    let (password_hash, hashing_algorithm) = hashes::shown(&user.password_hash);
    let limits =
        [("max-connections", user.limits.max_connections), ("max-channels", user.limits.max_channels)];
    json!({
        "name": *user.name,
        "password_hash": password_hash,
        "hashing_algorithm": hashing_algorithm,
        "tags": words(&user.tags),
        "limits": show_limits(limits),
    })
}

fn permissions(user: &User) -> Vec<Value> {
    let given = user.rights.iter().filter_map(|(vhost, rights)| Some((vhost, rights.permission.as_ref()?)));
    let show = given.map(|(vhost, permission)| {
        let spec = permission.spec();
        json!({
            "user": *user.name,
            "vhost": **vhost,
            "configure": spec.configure,
            "write": spec.write,
            "read": spec.read,
        })
    });
    show.collect()
}

fn topic_permissions(user: &User) -> Vec<Value> {
    let given =
        user.rights.iter().flat_map(|(vhost, rights)| rights.topics.iter().map(move |topic| (vhost, topic)));
    let show = given.map(|(vhost, (exchange, topic))| {
        let spec = topic.spec();
        json!({
            "user": *user.name,
            "vhost": **vhost,
            "exchange": exchange,
            "write": spec.write,
            "read": spec.read,
        })
    });
    show.collect()
}

fn show_vhost(topology: &Topology, name: &str) -> Value {
    let mut vhost = Map::from_iter([("name".to_owned(), Value::from(name))]);
    vhost.extend(topology.vhost_settings(name).map(described).into_iter().flatten());
    Value::Object(vhost)
}

fn described(settings: &VhostSettings) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("description".to_owned(), settings.description.as_str().into());
    fields.insert("tags".to_owned(), words(&settings.tags));
    if let Some(name) = &settings.default_queue_type {
        fields.insert("default_queue_type".to_owned(), name.as_str().into());
    }
    let metadata = Value::Object(fields.clone());
    fields.insert("metadata".to_owned(), metadata);
    fields
}

fn vhost_limits(topology: &Topology, vhost: &str) -> Option<Value> {
    let limits = topology.vhost_settings(vhost)?.limits;
    let set = [("max-connections", limits.max_connections), ("max-queues", limits.max_queues)];
    let parameter =
        || json!({"component": "vhost-limits", "vhost": vhost, "name": "limits", "value": show_limits(set)});
    (limits != VhostLimits::default()).then(parameter)
}

fn show_limits(limits: [(&str, Option<u64>); 2]) -> Value {
    let set = limits.into_iter().filter_map(|(name, limit)| Some((name.to_owned(), Value::from(limit?))));
    Value::Object(set.collect())
}

fn global(name: &str, value: &str) -> Value {
    json!({"name": name, "value": serde_json::from_str(value).unwrap_or(Value::Null)})
}

fn operator_policy(vhost: &str, policy: &Policy) -> Value {
    let value = json!({
        "pattern": policy.pattern.as_str(),
        "apply-to": policy.apply_to.name(),
        "definition": table_to_json(&policy.definition),
        "priority": policy.priority,
    });
    json!({"component": "operator_policy", "vhost": vhost, "name": *policy.name, "value": value})
}

fn show_policy(vhost: &str, policy: &Policy) -> Value {
    json!({
        "vhost": vhost,
        "name": *policy.name,
        "pattern": policy.pattern.as_str(),
        "apply-to": policy.apply_to.name(),
        "definition": table_to_json(&policy.definition),
        "priority": policy.priority,
    })
}

/// Exclusive queues go with their connections, so nobody can bring them back.
fn is_shown(queue: &QueueEntry) -> bool {
    queue.exclusive.is_none()
}

fn queues(topology: &Topology, vhost: &str) -> Vec<Value> {
    let shown = topology.queues(vhost).into_iter().filter(|queue| is_shown(queue));
    let show = shown.map(|queue| {
        json!({
            "name": *queue.name,
            "vhost": vhost,
            "durable": queue.durable,
            "auto_delete": queue.auto_delete,
            "type": queue.settings.queue_type.name(),
            "arguments": table_to_json(&queue.arguments),
        })
    });
    show.collect()
}

fn exchanges(topology: &Topology, vhost: &str) -> Vec<Value> {
    let shown = topology.exchanges(vhost).into_iter().filter(|exchange| !exchange.predeclared);
    let show = shown.map(|exchange: &ExchangeEntry| {
        json!({
            "name": *exchange.name,
            "vhost": vhost,
            "type": exchange.type_name(),
            "durable": exchange.durable,
            "auto_delete": exchange.auto_delete,
            "internal": exchange.internal,
            "arguments": table_to_json(&exchange.arguments),
        })
    });
    show.collect()
}

fn bindings(topology: &Topology, vhost: &str) -> Vec<Value> {
    let is_shown = |binding: &BindingEntry| match &binding.destination {
        Destination::Queue(name) => topology.queue(vhost, name).is_some_and(|queue| is_shown(queue)),
        Destination::Exchange(_) => true,
    };
    let show = topology.bindings(vhost).into_iter().filter(is_shown).map(|binding| {
        let kind = match binding.destination {
            Destination::Queue(_) => "queue",
            Destination::Exchange(_) => "exchange",
        };
        json!({
            "source": *binding.source,
            "vhost": vhost,
            "destination": binding.destination.name(),
            "destination_type": kind,
            "routing_key": binding.routing_key,
            "arguments": table_to_json(&binding.arguments),
        })
    });
    show.collect()
}

fn words(text: &str) -> Value {
    text.split(',').map(str::trim).filter(|word| !word.is_empty()).collect()
}
