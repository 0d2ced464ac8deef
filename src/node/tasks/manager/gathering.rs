//! How all nodes stand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Manager, World};
use crate::broker::ids::{Home, NodeId};
use crate::node::cluster::questions::{Answer, Question};
use crate::node::cluster::status::{ClusterStatus, GroupOverview, NodeReport, NodeStatus, merge_groups};

/// How long a node may take to say how it stands.
const REPORT_TAKES: Duration = Duration::from_millis(1500);

/// How long a node may take to tell what it has counted.
const ANSWER_TAKES: Duration = Duration::from_millis(1000);

pub(super) type Reports = BTreeMap<NodeId, NodeReport>;

impl<W: World> Manager<W> {
    /// How this node stands.
    pub(super) async fn report(&self) -> NodeReport {
        let groups = self.world.groups().await;
        NodeReport {
            node: self.own.node,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            is_draining: self.is_draining(),
            groups: groups.iter().map(GroupOverview::from).collect(),
            own_queues: self.world.own_queues(),
        }
    }

    /// How a node stands; none when it does not say in time.
    pub(super) async fn report_of(&self, node: NodeId) -> Option<NodeReport> {
        if node == self.own.node {
            return Some(self.report().await);
        }
        if !self.world.is_linked(node) {
            return None;
        }
        match timeout(REPORT_TAKES, self.world.ask(node, &Question::Report)).await {
            Ok(Ok(Answer::Report(report))) => Some(report).filter(|report| report.node == node),
            _ => None,
        }
    }

    /// How all nodes stand that answer.
    pub(super) async fn reports(self: &Arc<Self>) -> Reports {
        let mut asked = JoinSet::new();
        for node in self.world.members().into_keys() {
            let manager = Arc::clone(self);
            asked.spawn(async move { manager.report_of(node).await });
        }
        let mut reports = Reports::new();
        while let Some(report) = asked.join_next().await {
            reports.extend(report.ok().flatten().map(|report| (report.node, report)));
        }
        reports
    }

    /// What all other members answer; nothing for one that is not up, or takes too long.
    pub(super) async fn ask_all_others(
        self: &Arc<Self>,
        question: &Question,
    ) -> Vec<(NodeId, Option<Answer>)> {
        let others = self.world.members().into_keys().filter(|node| *node != self.own.node);
        let mut asked = JoinSet::new();
        for node in others {
            let (manager, question) = (Arc::clone(self), question.clone());
            asked.spawn(async move {
                if !manager.world.is_linked(node) {
                    return (node, None);
                }
                let answer = timeout(ANSWER_TAKES, manager.world.ask(node, &question)).await;
                (node, answer.ok().and_then(Result::ok))
            });
        }
        let mut answers = Vec::new();
        while let Some(answer) = asked.join_next().await {
            answers.extend(answer.ok());
        }
        answers
    }

    /// How the cluster stands.
    pub(crate) async fn status(self: &Arc<Self>, queues: bool) -> ClusterStatus {
        let reports = self.reports().await;
        let groups = merge_groups(self.own.groups, reports.values());
        let count =
            |is: &dyn Fn(&GroupOverview) -> bool| groups.iter().filter(|group| is(group)).count() as u64;
        let members = self.world.members();
        let staying = members.values().filter(|known| !known.is_leaving).count();
        let copies = u16::try_from(staying.min(self.options.plan.replicas)).unwrap_or(u16::MAX);
        let nodes = members.into_iter().map(|(node, known)| {
            let report = reports.get(&node);
            NodeStatus {
                node,
                name: known.name,
                address: known.peer_address,
                client_address: known.client_address,
                is_up: report.is_some(),
                version: report.map(|report| report.version.clone()).unwrap_or_default(),
                leads: count(&|group| group.leader == node),
                copies: count(&|group| group.members.iter().any(|member| member.node == node)),
                is_draining: report.is_some_and(|report| report.is_draining),
                is_leaving: known.is_leaving,
            }
        });
        ClusterStatus {
            cluster: self.own.cluster.clone(),
            asked: self.own.node,
            copies,
            nodes: nodes.collect(),
            queues: if queues { self.world.replicated_queues() } else { Vec::new() },
            groups,
        }
    }
}

/// Whether a queue is a group's, and which.
pub(super) fn group_of(home: Home) -> Option<u16> {
    match home {
        Home::Group(group) => Some(group),
        Home::Node(_) => None,
    }
}
