//! What the manager needs of the node around it.

use std::collections::BTreeMap;
use std::future::Future;

use crate::broker::ids::{ConnectionId, GroupId, NodeId, Run};
use crate::node::cluster::inputs::GroupStatus;
use crate::node::cluster::membership::KnownMember;
use crate::node::cluster::questions::{Answer, Newcomer, Question};
use crate::node::cluster::status::QueueOverview;
use crate::node::statistics::gather::Ask;
use crate::replication::MembersChange;

/// A member of the cluster, as all nodes know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KnownNode {
    pub(crate) name: String,
    pub(crate) peer_address: String,
    pub(crate) client_address: String,
    pub(crate) is_leaving: bool,
}

pub(crate) type KnownNodes = BTreeMap<NodeId, KnownNode>;

/// The node around the manager. Refusals are texts for people.
pub(crate) trait World: Send + Sync + 'static {
    /// The members of the cluster, as far as this node has heard.
    fn members(&self) -> KnownNodes;
    /// The number of the node that joins next, as far as this node has heard: a smaller one that is no member's was, and
    /// nobody will have it again. 0 when nothing was heard.
    fn next_node(&self) -> NodeId;
    /// The last run of a member that the cluster has heard of.
    fn last_run(&self, node: NodeId) -> Run;
    /// Whether there is a link to that node.
    fn is_linked(&self, node: NodeId) -> bool;
    /// Links to these nodes, and to no others, are wanted.
    fn link(&self, nodes: &KnownNodes);
    /// Remembers the members for the next start.
    fn remember(&self, members: Vec<KnownMember>);
    /// Queues that only this node has.
    fn own_queues(&self) -> u64;
    /// Queues that groups own.
    fn replicated_queues(&self) -> Vec<QueueOverview>;
    /// The groups as this node sees them, group 0 first.
    fn groups(&self) -> impl Future<Output = Vec<GroupStatus>> + Send;
    /// What was counted on this node.
    fn statistics(&self, ask: Ask) -> impl Future<Output = Answer> + Send;
    /// Closes a connection of this node.
    fn close_connection(&self, id: ConnectionId, reason: &str) -> Answer;
    /// To a group that this node leads: have these members. Whether it has begun.
    fn set_members(&self, group: GroupId, change: MembersChange) -> impl Future<Output = bool> + Send;
    /// To a group that this node leads: let another lead.
    fn transfer(&self, group: GroupId, to: NodeId);
    /// Asks another node.
    fn ask(&self, node: NodeId, question: &Question) -> impl Future<Output = Result<Answer, String>> + Send;
    /// Asks whoever is at an address, without a link.
    fn tell(&self, address: &str, question: &Question)
    -> impl Future<Output = Result<Answer, String>> + Send;
    /// A node becomes a member; gives its number.
    fn add_member(
        &self,
        newcomer: &Newcomer,
        replaces: Option<NodeId>,
    ) -> impl Future<Output = Result<NodeId, String>> + Send;
    /// What is known of a node changes.
    fn set_member(&self, node: NodeId, known: KnownNode) -> impl Future<Output = Result<(), String>> + Send;
    /// A node is a member no more.
    fn remove_member(&self, node: NodeId) -> impl Future<Output = Result<(), String>> + Send;
    /// This node is a member no more: that is noted, and it stops.
    fn leave(&self) -> impl Future<Output = ()> + Send;
    /// The others have taken this node out: that is noted, and it ends as one that has failed.
    fn expelled(&self) -> impl Future<Output = ()> + Send;
}
