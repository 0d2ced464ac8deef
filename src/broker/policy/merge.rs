//! What holds for one object: its policy under the operator's.

use std::sync::Arc;

use amq_protocol::types::{AMQPValue, FieldTable};

use super::Policy;
use crate::broker::arguments::{integer, least_delivery_limit};

/// The policies that hold for one queue or exchange.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The policy.
    pub policy: Option<Arc<Policy>>,
    /// The operator's policy.
    pub operator_policy: Option<Arc<Policy>>,
    /// What both together ask for.
    pub definition: FieldTable,
}

impl Applied {
    /// `None` when there is no policy.
    pub(in crate::broker) fn of(
        policy: Option<&Arc<Policy>>,
        operator_policy: Option<&Arc<Policy>>,
    ) -> Option<Arc<Self>> {
        let mut definition = policy.or(operator_policy)?.definition.clone();
        if let (Some(_), Some(operator_policy)) = (policy, operator_policy) {
            for (key, bound) in operator_policy.definition.inner() {
                let merged = match definition.inner().get(key.as_str()) {
                    Some(value) => merged(key.as_str(), value, bound),
                    None => bound.clone(),
                };
                definition.insert(key.clone(), merged);
            }
        }
        Some(Arc::new(Self {
            policy: policy.cloned(),
            operator_policy: operator_policy.cloned(),
            definition,
        }))
    }

    /// Whether it is of these policies.
    pub(in crate::broker) fn is_of(
        applied: Option<&Self>,
        policy: Option<&Arc<Policy>>,
        operator_policy: Option<&Arc<Policy>>,
    ) -> bool {
        fn same(one: Option<&Arc<Policy>>, other: Option<&Arc<Policy>>) -> bool {
            one.map(Arc::as_ptr) == other.map(Arc::as_ptr)
        }
        same(applied.and_then(|applied| applied.policy.as_ref()), policy)
            && same(applied.and_then(|applied| applied.operator_policy.as_ref()), operator_policy)
    }
}

/// A key's value where both policies have one; what has no rule is the operator's.
fn merged(key: &str, value: &AMQPValue, bound: &AMQPValue) -> AMQPValue {
    let (Some(number), Some(limit)) = (integer(value), integer(bound)) else { return bound.clone() };
    AMQPValue::LongLongInt(match key {
        "message-ttl"
        | "expires"
        | "max-length"
        | "max-length-bytes"
        | "max-in-memory-length"
        | "max-in-memory-bytes"
        | "delayed-retry-max" => number.min(limit),
        "target-group-size" | "delayed-retry-min" => number.max(limit),
        "delivery-limit" => least_delivery_limit(number, limit),
        _ => limit,
    })
}
