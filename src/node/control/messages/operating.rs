//! Looking at messages in queues, and jobs on them, wherever the queues are.

use tokio::sync::oneshot;

use super::{Control, ControlError};
use crate::broker::ids::NodeId;
use crate::node::cluster::inputs::ManagerInput;
use crate::node::cluster::questions::{Answer, Question, decode, encode};
use crate::node::surgery::order::{
    Findings, JobSpec, JobStatus, QueueName, Search, SurgeryAnswer, SurgeryOrder,
};
use crate::node::tasks::surgery::{self, reach};

impl Control {
    /// Looks at the messages of a queue. They stay as they are: order, counts and flags.
    ///
    /// # Errors
    /// When there is no such queue, or nobody leads it at the moment.
    pub async fn search(
        &self,
        user: &str,
        name: &QueueName,
        search: Search,
    ) -> Result<Findings, ControlError> {
        self.may_read(user, &name.vhost, &name.queue)?;
        match self.operate(name, SurgeryOrder::Search(name.clone(), search)).await? {
            SurgeryAnswer::Findings(findings) => Ok(findings),
            other => Err(refused(other)),
        }
    }

    /// Begins a job on the messages of a queue.
    ///
    /// # Errors
    /// When there is no such queue or destination, the filter is not valid, or too many jobs are under way.
    pub async fn begin_job(&self, spec: JobSpec) -> Result<JobStatus, ControlError> {
        let name = spec.name.clone();
        self.may_begin(&spec)?;
        match self.operate(&name, SurgeryOrder::Begin(spec)).await? {
            SurgeryAnswer::Job(job) => Ok(*job),
            other => Err(refused(other)),
        }
    }

    /// All jobs that are remembered, on all nodes that can be asked, the newest first.
    pub async fn jobs(&self) -> Vec<JobStatus> {
        let mut jobs = Vec::new();
        for node in self.nodes() {
            if let Ok(SurgeryAnswer::Jobs(of_node)) = self.operate_at(node, SurgeryOrder::Jobs).await {
                jobs.extend(of_node);
            }
        }
        jobs.sort_by(|one, other| (other.started_ms, &other.id).cmp(&(one.started_ms, &one.id)));
        jobs
    }

    /// A job by its name.
    ///
    /// # Errors
    /// When there is none, or the node that does it cannot be asked.
    pub async fn job(&self, id: &str) -> Result<JobStatus, ControlError> {
        let missing = || ControlError::NotFound(format!("no job '{id}'"));
        let node = node_of(id).filter(|node| self.nodes().contains(node)).ok_or_else(missing)?;
        match self.operate_at(node, SurgeryOrder::Jobs).await? {
            SurgeryAnswer::Jobs(jobs) => jobs.into_iter().find(|job| job.id == id).ok_or_else(missing),
            other => Err(refused(other)),
        }
    }

    /// Ends a job. What it has done stays done.
    ///
    /// # Errors
    /// When there is none, or the node that does it cannot be asked.
    pub async fn cancel_job(&self, id: &str) -> Result<JobStatus, ControlError> {
        let missing = || ControlError::NotFound(format!("no job '{id}'"));
        let node = node_of(id).filter(|node| self.nodes().contains(node)).ok_or_else(missing)?;
        match self.operate_at(node, SurgeryOrder::Cancel(id.to_owned())).await? {
            SurgeryAnswer::Job(job) => Ok(*job),
            other => Err(refused(other)),
        }
    }

    /// Has the owner of a queue carry an order out.
    async fn operate(&self, name: &QueueName, order: SurgeryOrder) -> Result<SurgeryAnswer, ControlError> {
        let entry = self.queue_for_messages(&name.vhost, &name.queue)?;
        let owner = reach::find(&self.shared, &entry).await.map_err(ControlError::Invalid)?;
        let node = match owner {
            reach::Owner::Own(_) => surgery::own_node(&self.shared),
            reach::Owner::Node(node) => node,
        };
        self.operate_at(node, order).await
    }

    async fn operate_at(&self, node: NodeId, order: SurgeryOrder) -> Result<SurgeryAnswer, ControlError> {
        if node == surgery::own_node(&self.shared) {
            return Ok(surgery::answer(&self.shared, order).await);
        }
        let Some(cluster) = &self.shared.cluster else { return Err(ControlError::Stopping) };
        let (reply, answer) = oneshot::channel();
        let question = encode(&Question::Surgery { to: node, order: Box::new(order) });
        cluster.manager.push(ManagerInput::Request(question.into(), reply));
        let stopped = self.shared.stopped();
        let answer = tokio::select! {
            answer = answer => answer.ok(),
            () = stopped => None,
        };
        match answer.and_then(|answer| decode(&answer)) {
            Some(Answer::Surgery(answer)) => Ok(answer),
            Some(Answer::Refused(refused)) => Err(ControlError::Invalid(refused.reason)),
            _ => Err(ControlError::Stopping),
        }
    }

    fn nodes(&self) -> Vec<NodeId> {
        let own = surgery::own_node(&self.shared);
        let members = self.shared.cluster.as_ref().map(|cluster| cluster.members());
        let mut nodes: Vec<_> = members.iter().flat_map(|members| members.nodes.keys().copied()).collect();
        if !nodes.contains(&own) {
            nodes.push(own);
        }
        nodes
    }
}

/// A job's name begins with the number of its node.
fn node_of(id: &str) -> Option<NodeId> {
    id.split('-').next()?.parse().ok()
}

fn refused(answer: SurgeryAnswer) -> ControlError {
    match answer {
        SurgeryAnswer::NotFound(text) => ControlError::NotFound(text),
        SurgeryAnswer::Refused(text) => ControlError::Invalid(text),
        _ => ControlError::Invalid("a node has answered what it was not asked".to_owned()),
    }
}
