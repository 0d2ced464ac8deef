//! Questions and orders, of other nodes and of those who run the cluster.

use std::sync::Arc;

use super::{Manager, World, named};
use crate::broker::ids::{GroupId, NodeId};
use crate::node::cluster::questions::{Answer, Question, Who};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// Another node, which has looked for the right one to ask: what it asks is not passed on.
    Node,
    /// Somebody from outside: a newcomer, or those who run the cluster.
    Outside,
}

impl<W: World> Manager<W> {
    /// Answers, or does what is asked, or passes it on to the node that can.
    pub(crate) async fn answer(self: &Arc<Self>, asker: Asker, question: Question) -> Answer {
        match question {
            Question::Who => Answer::Who(Some(Who {
                cluster: self.own.cluster.clone(),
                node: self.own.node,
                name: self.own.name.clone(),
            })),
            Question::IsMember { cluster, node, run } if cluster == self.own.cluster => {
                Answer::Standing(self.standing(node, run))
            }
            Question::Surgery { .. } => Answer::no("that is nothing for the manager"),
            Question::IsMember { .. } => Answer::no("this is a node of another cluster"),
            Question::Statistics(ask) => self.world.statistics(ask).await,
            Question::CloseConnection { id, reason } => self.world.close_connection(id, &reason),
            Question::Report => Answer::Report(self.report().await),
            Question::Status { queues } => Answer::Status(self.status(queues).await),
            Question::Transfer { group, node } => self.transfer(group, &node).await,
            Question::Drain { node, on } => self.drain_node(asker, node, on).await,
            order @ (Question::SetMembers { .. } | Question::Lead { .. }) => self.obey(order).await,
            Question::YouLeft => {
                tracing::info!(cluster = self.own.cluster, "this node has left the cluster");
                self.world.leave().await;
                Answer::Done(String::new())
            }
            question @ (Question::Join(_)
            | Question::Leave { .. }
            | Question::Forget { .. }
            | Question::Moved { .. }
            | Question::Rebalance) => self.at_leader(asker, question).await,
        }
    }

    /// Has it done on the node that leads the meta group.
    async fn at_leader(self: &Arc<Self>, asker: Asker, question: Question) -> Answer {
        match self.meta_leader().await {
            Some(leader) if leader == self.own.node => self.lead(question).await,
            Some(leader) if asker == Asker::Outside => self.pass_on(leader, &question).await,
            Some(_) => Answer::not_now("the cluster is just getting another leader"),
            None => Answer::not_now("the cluster has no leader: a majority of its nodes must be up"),
        }
    }

    async fn lead(self: &Arc<Self>, question: Question) -> Answer {
        let answer = match question {
            Question::Join(newcomer) => self.join(newcomer).await,
            Question::Leave { node, force } => self.begin_leave(&node, force).await,
            Question::Forget { node } => self.forget(&node).await,
            Question::Moved { node, name, peer_address, client_address } => {
                self.moved(node, &name, peer_address, client_address).await
            }
            Question::Rebalance => {
                self.planner().rebalance();
                Answer::Done("leads are being evened out".to_owned())
            }
            _ => Answer::no("that is nothing for the cluster's leader"),
        };
        self.wake();
        answer
    }

    pub(super) async fn pass_on(&self, to: NodeId, question: &Question) -> Answer {
        self.world.ask(to, question).await.unwrap_or_else(|problem| {
            Answer::not_now(format!("node {to}, which could do it, does not answer: {problem}"))
        })
    }

    /// Another member of a group is to lead it.
    async fn transfer(self: &Arc<Self>, group: GroupId, asked: &str) -> Answer {
        let (to, known) = match self.find(asked) {
            Ok(found) => found,
            Err(problem) => return Answer::no(problem),
        };
        let groups = self.status(false).await.groups;
        let Some(status) = groups.iter().find(|status| status.group == group) else {
            return Answer::no(format!("there is no group {group}; groups are 0 to {}", self.own.groups));
        };
        if status.leader == 0 {
            return Answer::not_now(format!(
                "group {group} has no leader: a majority of its members must be up"
            ));
        }
        let name = named(to, &known);
        if status.leader == to {
            return Answer::Done(format!("{name} leads group {group} already"));
        }
        match status.members.iter().find(|member| member.node == to) {
            None => return Answer::no(format!("{name} is no member of group {group}")),
            Some(member) if !member.is_voter || !member.is_in_sync => {
                return Answer::not_now(format!("{name} is not in sync with group {group}"));
            }
            Some(_) => {}
        }
        let answer = if status.leader == self.own.node {
            self.world.transfer(group, to);
            Answer::Done(String::new())
        } else {
            self.pass_on(status.leader, &Question::Lead { group, to }).await
        };
        match answer {
            Answer::Done(_) => Answer::Done(format!("group {group} is handed over to {name}")),
            other => other,
        }
    }

    async fn drain_node(self: &Arc<Self>, asker: Asker, asked: Option<String>, on: bool) -> Answer {
        let Some(asked) = asked else { return self.drain_self(on).await };
        match self.find(&asked) {
            Ok((node, _)) if node == self.own.node => self.drain_self(on).await,
            Ok((node, _)) if asker == Asker::Outside => {
                self.pass_on(node, &Question::Drain { node: None, on }).await
            }
            Ok(_) => Answer::no("this is another node"),
            Err(problem) => Answer::no(problem),
        }
    }

    async fn drain_self(&self, on: bool) -> Answer {
        let name = &self.own.name;
        if !on {
            self.share_again();
            return Answer::Done(format!("{name} takes its share of leads again"));
        }
        match self.drain(self.options.drain).await {
            0 => Answer::Done(format!(
                "{name} leads nothing now, until it is started again or told so by `warren cluster drain --end`"
            )),
            left => Answer::Done(format!(
                "{name} still leads {left} groups: no other member is up and in sync; it hands them over when one is"
            )),
        }
    }
}
