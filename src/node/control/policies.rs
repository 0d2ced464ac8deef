//! Policies and operator policies, and what holds for a queue or an exchange.

use std::sync::Arc;

use amq_protocol::types::FieldTable;

use super::{Control, ControlError};
use crate::broker::policy::{Applied, Policy, PolicyScope, PolicySpec};
use crate::broker::topology::Command;

/// The policies that hold for a queue or an exchange.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EffectivePolicy {
    /// The name of the policy.
    pub policy: Option<String>,
    /// The name of the operator's policy.
    pub operator_policy: Option<String>,
    /// What both together ask for.
    pub definition: FieldTable,
}

impl EffectivePolicy {
    pub(super) fn of(applied: Option<&Applied>) -> Self {
        let Some(applied) = applied else { return Self::default() };
        let name = |policy: &Option<Arc<Policy>>| policy.as_ref().map(|policy| policy.name.to_string());
        Self {
            policy: name(&applied.policy),
            operator_policy: name(&applied.operator_policy),
            definition: applied.definition.clone(),
        }
    }
}

impl Control {
    /// Makes a policy, or replaces the one of its name; true when it is new.
    ///
    /// # Errors
    /// When there is no such vhost, or the policy is not valid.
    pub async fn set_policy(
        &self,
        vhost: &str,
        scope: PolicyScope,
        name: &str,
        spec: PolicySpec,
    ) -> Result<bool, ControlError> {
        let (vhost, name) = (vhost.to_owned(), name.to_owned());
        self.change(Command::SetPolicy { vhost, scope, name, spec }).await
    }

    /// Takes a policy away.
    ///
    /// # Errors
    /// When there is no such vhost or policy.
    pub async fn clear_policy(
        &self,
        vhost: &str,
        scope: PolicyScope,
        name: &str,
    ) -> Result<(), ControlError> {
        let (vhost, name) = (vhost.to_owned(), name.to_owned());
        self.change(Command::ClearPolicy { vhost, scope, name }).await.map(drop)
    }

    /// A policy by its name.
    #[must_use]
    pub fn policy(&self, vhost: &str, scope: PolicyScope, name: &str) -> Option<Arc<Policy>> {
        self.shared.topology().policy(vhost, scope, name).cloned()
    }

    /// The policies of a vhost, the highest priority first; none when it is not there.
    #[must_use]
    pub fn policies(&self, vhost: &str, scope: PolicyScope) -> Vec<Arc<Policy>> {
        self.shared.topology().policies(vhost, scope)
    }

    /// What holds for a queue; `None` when it is not there.
    #[must_use]
    pub fn queue_policy(&self, vhost: &str, name: &str) -> Option<EffectivePolicy> {
        let topology = self.shared.topology();
        let queue = topology.queue(vhost, name)?;
        Some(EffectivePolicy::of(queue.applied.as_deref()))
    }

    /// What holds for an exchange; `None` when it is not there.
    #[must_use]
    pub fn exchange_policy(&self, vhost: &str, name: &str) -> Option<EffectivePolicy> {
        let topology = self.shared.topology();
        let exchange = topology.exchange(vhost, name)?;
        Some(EffectivePolicy::of(exchange.applied.as_deref()))
    }
}
