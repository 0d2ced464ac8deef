//! What makes the cluster run by itself: the planner's steps, carried out by the node that leads the meta group.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::answering::Asker;
use super::gathering::Reports;
use super::{KnownNodes, Manager, ManagerOptions, World};
use crate::broker::ids::META_GROUP;
use crate::node::cluster::inputs::GroupStatus;
use crate::node::cluster::planner::{Action, NodeView, View, Wish};
use crate::node::cluster::questions::{Answer, Question};
use crate::node::cluster::status::{GroupOverview, merge_groups};
use crate::replication::MembersChange;

/// How often to look when all is quiet, and when something is going on.
const QUIET: Duration = Duration::from_secs(1);
const BUSY: Duration = Duration::from_millis(200);
/// How often to look whether the others know where this node is reached.
const TELL_AGAIN: Duration = Duration::from_secs(5);

impl<W: World> Manager<W> {
    /// Runs until it is dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        let began = Instant::now();
        let mut linked = KnownNodes::new();
        let mut handed_over = BTreeMap::new();
        let mut told = None;
        loop {
            self.keep_links(&mut linked);
            if told.is_none_or(|at: Instant| at.elapsed() >= TELL_AGAIN) {
                told = Some(Instant::now());
                self.tell_address().await;
            }
            let groups = self.world.groups().await;
            self.go_on_draining(&groups, &mut handed_over);
            let is_leader =
                groups.iter().any(|group| group.group == META_GROUP && group.leader == self.own.node);
            let is_busy = is_leader && self.drive(began).await;
            let _ = timeout(if is_busy { BUSY } else { QUIET }, self.woken.notified()).await;
        }
    }

    /// Links to all members, and to nobody else.
    fn keep_links(&self, linked: &mut KnownNodes) {
        let members = self.world.members();
        if members.is_empty() || members == *linked {
            return;
        }
        self.world.link(&members);
        self.world.remember(self.known_members());
        *linked = members;
    }

    /// The configuration may have other addresses than at the last start. Others may not find this node then, so it asks them.
    async fn tell_address(self: &Arc<Self>) {
        let members = self.world.members();
        let Some(known) = members.get(&self.own.node) else { return };
        let ManagerOptions { peer_address, client_address, .. } = &self.options;
        let is_client_known = known.client_address.is_empty() || known.client_address == *client_address;
        if known.peer_address == *peer_address && is_client_known {
            return;
        }
        let question = Question::Moved {
            node: self.own.node,
            name: self.own.name.clone(),
            peer_address: peer_address.clone(),
            client_address: client_address.clone(),
        };
        if Box::pin(self.answer(Asker::Outside, question.clone())).await.granted().is_ok() {
            return;
        }
        for (_, other) in members.iter().filter(|(node, _)| **node != self.own.node) {
            if matches!(self.world.tell(&other.peer_address, &question).await, Ok(Answer::Done(_))) {
                tracing::info!(address = peer_address, "the cluster knows where this node is reached now");
                return;
            }
        }
    }

    /// One look at the cluster, and what follows from it. True when more will follow soon.
    async fn drive(self: &Arc<Self>, began: Instant) -> bool {
        let reports = self.reports().await;
        let view = self.view(&reports);
        let now_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let actions = self.planner().plan(now_ms, &view);
        for action in &actions {
            self.carry_out(action).await;
        }
        let is_catching_up = |group: &GroupStatus| group.members.iter().any(|member| !member.is_voter);
        !actions.is_empty() || view.groups.iter().any(is_catching_up)
    }

    fn view(&self, reports: &Reports) -> View {
        // In front of the members: who joins in between must not pass for one that has gone.
        let next_node = self.world.next_node();
        let nodes = self.world.members().into_iter().map(|(node, known)| {
            let report = reports.get(&node);
            let wish = match report {
                _ if known.is_leaving => Wish::Leave,
                Some(report) if report.is_draining => Wish::Drain,
                _ => Wish::Share,
            };
            (node, NodeView { is_up: report.is_some(), wish })
        });
        let groups = merge_groups(self.own.groups, reports.values());
        View { nodes: nodes.collect(), next_node, groups: groups.iter().map(status).collect() }
    }

    async fn carry_out(self: &Arc<Self>, action: &Action) {
        match action.clone() {
            Action::SetMembers { group, leader, change } => {
                let MembersChange { voters, learners, leaving, .. } = &change;
                tracing::info!(group, ?voters, ?learners, ?leaving, "a group gets other members");
                if !self.order(leader, Question::SetMembers { group, change }).await {
                    self.planner().refused(group);
                }
            }
            Action::Transfer { group, from, to } => {
                tracing::debug!(group, from, to, "a group gets another leader");
                let _ = self.order(from, Question::Lead { group, to }).await;
            }
            Action::Remove(node) => self.end_leave(node).await,
        }
    }

    /// Whether it is carried out. What does not arrive is asked for again by the planner.
    async fn order(self: &Arc<Self>, node: u16, question: Question) -> bool {
        let answer = if node == self.own.node {
            self.obey(question).await
        } else {
            self.pass_on(node, &question).await
        };
        let granted = answer.granted();
        if let Err(refused) = &granted {
            tracing::debug!(node, reason = refused.reason, "an order was not carried out");
        }
        granted.is_ok()
    }

    /// What concerns a group that this node leads.
    pub(super) async fn obey(&self, question: Question) -> Answer {
        match question {
            Question::SetMembers { group, change } => {
                let has_begun = self.world.set_members(group, change).await;
                if !has_begun {
                    let name = &self.own.name;
                    return Answer::not_now(format!(
                        "{name} does not lead group {group}, or its members are others than it was planned for"
                    ));
                }
            }
            Question::Lead { group, to } => self.world.transfer(group, to),
            _ => {}
        }
        Answer::Done(String::new())
    }
}

fn status(group: &GroupOverview) -> GroupStatus {
    GroupStatus {
        group: group.group,
        leader: group.leader,
        term: group.term,
        commit: group.commit,
        queues: group.queues,
        members: group.members.clone(),
        members_version: group.members_version,
        ..GroupStatus::default()
    }
}
