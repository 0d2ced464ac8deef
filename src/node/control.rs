//! For those who run the node: policies, vhosts, users and limits, as typed calls.
//!
//! Each change is on disk, and in force, when its call returns.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use amq_protocol::types::FieldTable;

use tokio::sync::oneshot;

use super::auth;
use super::cluster::inputs::ManagerInput;
use super::cluster::questions::{Answer, Question, decode, encode};
use super::cluster::status::ClusterStatus;
use super::links::ShardInput;
use super::shared::Shared;
use crate::broker::policy::{Applied, Policy, PolicyScope, PolicySpec};
use crate::broker::topology::{Command, UserLimits, VhostLimits, VhostSettings};
use crate::protocol::error::Refusal;
use crate::protocol::reply_code::ReplyCode;

/// A handle on a running node. Cheap to clone.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlError {
    /// What is to be changed is not there.
    NotFound(String),
    /// What is asked for is not valid: the reason in RabbitMQ's words.
    Invalid(String),
    /// The node is stopping; whether the change was made shows at its next start.
    Stopping,
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(text) | Self::Invalid(text) => f.write_str(text),
            Self::Stopping => f.write_str("the node is stopping"),
        }
    }
}

impl std::error::Error for ControlError {}

impl From<Refusal> for ControlError {
    fn from(refusal: Refusal) -> Self {
        match refusal.code {
            // A vhost that is not there is a 530 for clients.
            ReplyCode::NotFound | ReplyCode::NotAllowed => Self::NotFound(refusal.text),
            ReplyCode::ConnectionForced => Self::Stopping,
            _ => Self::Invalid(refusal.text),
        }
    }
}

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
    fn of(applied: Option<&Applied>) -> Self {
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
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

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

    /// Makes a vhost; true when it is new.
    ///
    /// # Errors
    /// When the node is stopping.
    pub async fn create_vhost(&self, name: &str) -> Result<bool, ControlError> {
        self.change(Command::CreateVhost { name: name.to_owned() }).await
    }

    /// Says what a vhost is for, and of which type its queues are when they do not say.
    ///
    /// # Errors
    /// When there is no such vhost, or no such type of queue.
    pub async fn describe_vhost(
        &self,
        name: &str,
        description: &str,
        tags: &str,
        default_queue_type: Option<&str>,
    ) -> Result<(), ControlError> {
        let command = Command::DescribeVhost {
            name: name.to_owned(),
            description: description.to_owned(),
            tags: tags.to_owned(),
            default_queue_type: default_queue_type.map(str::to_owned),
        };
        self.change(command).await.map(drop)
    }

    /// Limits a vhost; what is there already stays.
    ///
    /// # Errors
    /// When there is no such vhost.
    pub async fn limit_vhost(&self, name: &str, limits: VhostLimits) -> Result<(), ControlError> {
        self.change(Command::LimitVhost { name: name.to_owned(), limits }).await.map(drop)
    }

    /// Deletes a vhost with all that is in it, and closes its connections.
    ///
    /// # Errors
    /// When there is no such vhost.
    pub async fn delete_vhost(&self, name: &str) -> Result<(), ControlError> {
        self.change(Command::DeleteVhost { name: name.to_owned() }).await.map(drop)
    }

    /// All vhosts, by name.
    #[must_use]
    pub fn vhosts(&self) -> Vec<(Arc<str>, VhostSettings)> {
        let topology = self.shared.topology();
        let settings = |name: &Arc<str>| topology.vhost_settings(name).cloned().unwrap_or_default();
        topology.vhosts().into_iter().map(|name| (Arc::clone(&name), settings(&name))).collect()
    }

    /// What a vhost is set to; `None` when it is not there.
    #[must_use]
    pub fn vhost(&self, name: &str) -> Option<VhostSettings> {
        self.shared.topology().vhost_settings(name).cloned()
    }

    /// Makes a user or gives it another password and other tags; true when it is new.
    ///
    /// # Errors
    /// When the system has no random numbers for the hash.
    pub async fn put_user(&self, name: &str, password: &str, tags: &str) -> Result<bool, ControlError> {
        let password = password.to_owned();
        let hashed = tokio::task::spawn_blocking(move || auth::hash(&password)).await;
        let password_hash =
            hashed.unwrap_or_else(|error| Err(error.to_string())).map_err(ControlError::Invalid)?;
        let (name, tags) = (name.to_owned(), tags.to_owned());
        self.change(Command::PutUser { name, password_hash, tags }).await
    }

    /// Limits a user; what is open already stays open.
    ///
    /// # Errors
    /// When there is no such user.
    pub async fn limit_user(&self, name: &str, limits: UserLimits) -> Result<(), ControlError> {
        self.change(Command::LimitUser { name: name.to_owned(), limits }).await.map(drop)
    }

    /// The limits of a user; `None` when there is no such user.
    #[must_use]
    pub fn user_limits(&self, name: &str) -> Option<UserLimits> {
        self.shared.topology().user(name).map(|user| user.limits)
    }

    /// Deletes a user, and closes its connections.
    ///
    /// # Errors
    /// When there is no such user.
    pub async fn delete_user(&self, name: &str) -> Result<(), ControlError> {
        self.change(Command::DeleteUser { name: name.to_owned() }).await.map(drop)
    }

    /// How the cluster stands, with its replicated queues if wanted; `None` for a node that is in none.
    ///
    /// # Errors
    /// When the node is stopping.
    pub async fn cluster_status(&self, queues: bool) -> Result<Option<ClusterStatus>, ControlError> {
        let Some(cluster) = &self.shared.cluster else { return Ok(None) };
        let (reply, answer) = oneshot::channel();
        let question = encode(&Question::Status { queues });
        cluster.manager.push(ManagerInput::Request(question.into(), reply));
        let stopped = self.shared.stopped();
        let answer = tokio::select! {
            answer = answer => answer.ok(),
            () = stopped => None,
        };
        match answer.and_then(|answer| decode(&answer)) {
            Some(Answer::Status(status)) => Ok(Some(status)),
            Some(Answer::Refused(refused)) => Err(ControlError::Invalid(refused.reason)),
            _ => Err(ControlError::Stopping),
        }
    }

    /// Makes a change, and waits until it is on disk and in force. Says whether something is new.
    async fn change(&self, command: Command) -> Result<bool, ControlError> {
        let applied = self.shared.apply(command).await?;
        let shards: BTreeMap<_, _> =
            applied.outcome.changed_queues.iter().map(|queue| (queue.shard, queue.target())).collect();
        for target in shards.into_values() {
            let _ = self.shared.ask(target, ShardInput::Reconfigured).await;
        }
        if self.shared.meta_is_synced_up_to(applied.index).await {
            Ok(applied.outcome.created)
        } else {
            Err(ControlError::Stopping)
        }
    }
}
