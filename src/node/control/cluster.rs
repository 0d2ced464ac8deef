//! How the cluster stands.

use tokio::sync::oneshot;

use super::{Control, ControlError};
use crate::node::cluster::handle::Cluster;
use crate::node::cluster::inputs::ManagerInput;
use crate::node::cluster::orders::ClusterOrder;
use crate::node::cluster::questions::{Answer, Question, decode, encode};
use crate::node::cluster::status::ClusterStatus;

impl Control {
    /// How the cluster stands, with its replicated queues if wanted; `None` for a node that is in none.
    ///
    /// # Errors
    /// When the node is stopping.
    pub async fn cluster_status(&self, queues: bool) -> Result<Option<ClusterStatus>, ControlError> {
        let Some(cluster) = &self.shared.cluster else { return Ok(None) };
        match self.ask_manager(cluster, &Question::Status { queues }).await? {
            Answer::Status(status) => Ok(Some(status)),
            _ => Err(ControlError::Stopping),
        }
    }

    /// Gives the cluster an order; answers with a line for people. A node that is not named is this one.
    ///
    /// # Errors
    /// When the node is in no cluster, or why it is not done.
    pub async fn cluster_order(&self, order: ClusterOrder) -> Result<String, ControlError> {
        let Some(cluster) = &self.shared.cluster else {
            return Err(ControlError::Invalid("this node is in no cluster".to_owned()));
        };
        let own = || self.shared.config.node.name.clone();
        let question = match order {
            ClusterOrder::Status { queues } => Question::Status { queues },
            ClusterOrder::Leave { node, force } => Question::Leave { node: node.unwrap_or_else(own), force },
            ClusterOrder::Forget { node } => Question::Forget { node },
            ClusterOrder::Transfer { group, node } => Question::Transfer { group, node },
            ClusterOrder::Rebalance => Question::Rebalance,
            ClusterOrder::Drain { node, on } => Question::Drain { node, on },
        };
        match self.ask_manager(cluster, &question).await? {
            Answer::Done(text) => Ok(text),
            _ => Err(ControlError::Stopping),
        }
    }

    async fn ask_manager(&self, cluster: &Cluster, question: &Question) -> Result<Answer, ControlError> {
        let (reply, answer) = oneshot::channel();
        cluster.manager.push(ManagerInput::Request(encode(question).into(), reply));
        let stopped = self.shared.stopped();
        let answer = tokio::select! {
            answer = answer => answer.ok(),
            () = stopped => None,
        };
        match answer.and_then(|answer| decode(&answer)) {
            Some(Answer::Refused(refused)) => Err(ControlError::Invalid(refused.reason)),
            Some(answer) => Ok(answer),
            None => Err(ControlError::Stopping),
        }
    }
}
