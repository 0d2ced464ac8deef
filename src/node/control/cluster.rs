//! How the cluster stands.

use tokio::sync::oneshot;

use super::{Control, ControlError};
use crate::node::cluster::inputs::ManagerInput;
use crate::node::cluster::questions::{Answer, Question, decode, encode};
use crate::node::cluster::status::ClusterStatus;

impl Control {
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
}
