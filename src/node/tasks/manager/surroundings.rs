//! The node around the manager, as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::gathering::group_of;
use super::{KnownNode, KnownNodes, World};
use crate::broker::ids::{ConnectionId, GroupId, Home, META_GROUP, NodeId, Run};
use crate::node::cluster::handle::{Cluster, Peers};
use crate::node::cluster::handshake::Identity;
use crate::node::cluster::inputs::{GroupControl, GroupInput, GroupStatus};
use crate::node::cluster::members::Member;
use crate::node::cluster::membership::{KnownMember, Membership};
use crate::node::cluster::meta::{MetaAnswer, MetaCommand};
use crate::node::cluster::peer::PeerMessage;
use crate::node::cluster::questions::{Answer, Newcomer, Question, decode, encode};
use crate::node::cluster::status::QueueOverview;
use crate::node::control::statistics::close;
use crate::node::links::MetaInput;
use crate::node::shared::Shared;
use crate::node::statistics::gather::{self, Ask};
use crate::node::tasks::peer::{LinkOptions, PeerLinks, request};
use crate::replication::MembersChange;

/// How long a task of this node, and another node, may take to answer.
const OWN_ANSWER: Duration = Duration::from_secs(1);
const ANSWER: Duration = Duration::from_secs(10);

/// Ends the node as one that has failed, for a reason.
pub(crate) struct Fail(pub(crate) Box<dyn Fn(&str) + Send + Sync>);

impl std::fmt::Debug for Fail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fail")
    }
}

#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) shared: Arc<Shared>,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) links: Arc<PeerLinks>,
    /// For questions to nodes that there is no link to.
    pub(crate) options: LinkOptions,
    pub(crate) identity: Identity,
    pub(crate) data_dir: PathBuf,
    fail: Fail,
    /// As in `cluster.toml`.
    membership: Arc<Mutex<Membership>>,
    linked: Mutex<BTreeSet<NodeId>>,
    /// Questions to other nodes that are not answered.
    asked: Mutex<BTreeMap<u64, (NodeId, oneshot::Sender<Bytes>)>>,
    next: AtomicU64,
}

impl Surroundings {
    pub(crate) fn new(
        shared: Arc<Shared>,
        cluster: Arc<Cluster>,
        links: Arc<PeerLinks>,
        options: LinkOptions,
        (identity, membership): (Identity, Membership),
        data_dir: PathBuf,
        fail: Fail,
    ) -> Self {
        Self {
            shared,
            cluster,
            links,
            options,
            identity,
            data_dir,
            fail,
            membership: Arc::new(Mutex::new(membership)),
            linked: Mutex::default(),
            asked: Mutex::default(),
            next: AtomicU64::new(1),
        }
    }

    /// Another node answers.
    pub(super) fn answered(&self, number: u64, answer: Bytes) {
        if let Some((_, asker)) = lock(&self.asked).remove(&number) {
            // Who asked may have gone.
            let _ = asker.send(answer);
        }
    }

    /// The link to a node is down: it will not answer.
    pub(super) fn unlinked(&self, node: NodeId) {
        lock(&self.asked).retain(|_, (asked, _)| *asked != node);
    }

    /// Gives an order to the task of a group.
    fn control(&self, group: GroupId, control: GroupControl) {
        if group == META_GROUP {
            self.shared.meta.push(MetaInput::Control(control));
        } else if let Some(mailbox) = self.cluster.group(group) {
            mailbox.push(GroupInput::Control(control));
        }
    }

    async fn propose(&self, command: MetaCommand) -> Result<MetaAnswer, String> {
        let (reply, answer) = oneshot::channel();
        self.shared.meta.push(MetaInput::Propose(Box::new(command), reply));
        match timeout(ANSWER, answer).await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(refusal))) => Err(refusal.text),
            Ok(Err(_)) | Err(_) => Err("no majority of the nodes has agreed in time".to_owned()),
        }
    }

    /// What is on disk changes, in its turn, beside the task.
    fn write(&self, change: impl FnOnce(&mut Membership) + Send + 'static) -> tokio::task::JoinHandle<()> {
        let (membership, data_dir) = (Arc::clone(&self.membership), self.data_dir.clone());
        tokio::task::spawn_blocking(move || {
            let mut membership = lock(&membership);
            let before = membership.clone();
            change(&mut membership);
            if *membership == before {
                return;
            }
            if let Err(problem) = membership.write(&data_dir) {
                tracing::warn!(problem = problem.0, "what is known of the cluster is not on disk");
            }
        })
    }
}

impl World for Surroundings {
    fn members(&self) -> KnownNodes {
        let members = self.cluster.members();
        if members.nodes.is_empty() {
            // Nothing has been heard of the cluster yet but what was heard in earlier runs, or when joining.
            let hints = lock(&self.membership).members.clone();
            return hints.into_iter().map(|hint| (hint.node, KnownNode::from(hint))).collect();
        }
        members.nodes.iter().map(|(node, member)| (*node, KnownNode::from(member))).collect()
    }

    fn next_node(&self) -> NodeId {
        self.cluster.members().next_node
    }

    fn last_run(&self, node: NodeId) -> Run {
        self.cluster.members().nodes.get(&node).map_or(0, |member| member.run)
    }

    fn is_linked(&self, node: NodeId) -> bool {
        self.links.is_up(node)
    }

    fn link(&self, nodes: &KnownNodes) {
        let mut linked = lock(&self.linked);
        for (node, known) in nodes {
            self.links.set_node(*node, &known.peer_address);
        }
        for gone in linked.iter().filter(|node| !nodes.contains_key(node)) {
            self.links.remove_node(*gone);
        }
        *linked = nodes.keys().copied().collect();
    }

    fn remember(&self, members: Vec<KnownMember>) {
        drop(self.write(|membership| membership.members = members));
    }

    fn own_queues(&self) -> u64 {
        let home = Home::Node(self.identity.node);
        let queues = self.shared.topology().all_queues();
        queues.iter().filter(|queue| queue.durable && queue.home == home).count() as u64
    }

    fn replicated_queues(&self) -> Vec<QueueOverview> {
        let queues = self.shared.topology().all_queues();
        let replicated = queues.iter().filter_map(|queue| Some((group_of(queue.home)?, queue)));
        let overview = |(group, queue): (GroupId, &Arc<crate::broker::topology::QueueEntry>)| QueueOverview {
            vhost: queue.vhost.to_string(),
            name: queue.name.to_string(),
            group,
        };
        replicated.map(overview).collect()
    }

    async fn groups(&self) -> Vec<GroupStatus> {
        let asked: Vec<_> = (META_GROUP..=self.cluster.placement.groups)
            .map(|group| {
                let (reply, answer) = oneshot::channel();
                self.control(group, GroupControl::Status(reply));
                (group, answer)
            })
            .collect();
        let mut groups = Vec::with_capacity(asked.len());
        let until = tokio::time::Instant::now() + OWN_ANSWER;
        for (group, answer) in asked {
            let status = tokio::time::timeout_at(until, answer).await;
            let unknown = || GroupStatus { group, ..GroupStatus::default() };
            groups.push(status.ok().and_then(Result::ok).unwrap_or_else(unknown));
        }
        groups
    }

    async fn statistics(&self, ask: Ask) -> Answer {
        Answer::Told(gather::tell(&self.shared, ask).await)
    }

    fn close_connection(&self, id: ConnectionId, reason: &str) -> Answer {
        if close(&self.shared, id, reason) {
            Answer::Done("the connection is told".to_owned())
        } else {
            Answer::no("there is no such connection on this node")
        }
    }

    async fn set_members(&self, group: GroupId, change: MembersChange) -> bool {
        let (reply, answer) = oneshot::channel();
        self.control(group, GroupControl::SetMembers(change, reply));
        matches!(timeout(OWN_ANSWER, answer).await, Ok(Ok(true)))
    }

    fn transfer(&self, group: GroupId, to: NodeId) {
        self.control(group, GroupControl::Transfer(to));
    }

    async fn ask(&self, node: NodeId, question: &Question) -> Result<Answer, String> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (asker, answer) = oneshot::channel();
        lock(&self.asked).insert(number, (node, asker));
        self.cluster.peers.send(node, PeerMessage::Ask(number, encode(question).into()));
        let answer = timeout(ANSWER, answer).await;
        lock(&self.asked).remove(&number);
        match answer {
            Ok(Ok(answer)) => decode(&answer).ok_or_else(|| "its answer is of another release".to_owned()),
            Ok(Err(_)) => Err("the link to it is down".to_owned()),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }

    async fn tell(&self, address: &str, question: &Question) -> Result<Answer, String> {
        let answer = request(&self.options, &self.identity, address, &encode(question)).await;
        let answer = answer.map_err(|problem| problem.to_string())?;
        decode(&answer).ok_or_else(|| "its answer is of another release".to_owned())
    }

    async fn add_member(&self, newcomer: &Newcomer, replaces: Option<NodeId>) -> Result<NodeId, String> {
        let command = MetaCommand::AddMember {
            name: newcomer.name.clone(),
            peer_address: newcomer.peer_address.clone(),
            client_address: newcomer.client_address.clone(),
            replaces,
        };
        let answer = self.propose(command).await?;
        answer.node.ok_or_else(|| "the cluster gave it no number".to_owned())
    }

    async fn set_member(&self, node: NodeId, known: KnownNode) -> Result<(), String> {
        let KnownNode { peer_address, client_address, is_leaving, .. } = known;
        let command = MetaCommand::SetMember { node, peer_address, client_address, is_leaving };
        self.propose(command).await.map(drop)
    }

    async fn remove_member(&self, node: NodeId) -> Result<(), String> {
        self.propose(MetaCommand::RemoveMember { node }).await.map(drop)
    }

    async fn leave(&self) {
        // Whether it is written or not: the others do not let this node in again.
        let _ = self.write(|membership| membership.has_left = true).await;
        self.shared.begin_stop();
    }

    async fn expelled(&self) {
        let (node, data_dir) = (self.identity.node, self.data_dir.display());
        let _ = self.write(|membership| membership.has_left = true).await;
        (self.fail.0)(&format!(
            "node {node} ({}) was taken out of its cluster: what others had copies of has others now. To take it in again, \
             start it with an empty data directory in place of {data_dir}",
            self.identity.name
        ));
    }
}

impl From<KnownMember> for KnownNode {
    fn from(hint: KnownMember) -> Self {
        Self { name: hint.name, peer_address: hint.address, ..Self::default() }
    }
}

impl From<&Member> for KnownNode {
    fn from(member: &Member) -> Self {
        Self {
            name: member.name.clone(),
            peer_address: member.peer_address.clone(),
            client_address: member.client_address.clone(),
            is_leaving: member.is_leaving,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
