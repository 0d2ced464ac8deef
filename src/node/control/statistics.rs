//! Numbers: of the whole cluster, or of the node alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Control, EffectivePolicy};
use crate::broker::ids::{ConnectionId, Home, NodeId, node_of};
use crate::broker::queue::ConsumerId;
use crate::broker::topology::QueueEntry;
use crate::node::cluster::inputs::ManagerInput;
use crate::node::cluster::questions::{Answer, Question};
use crate::node::links::ClientInput;
use crate::node::shared::Shared;
use crate::node::statistics::gather::{self, Ask, Told, own_number};
use crate::node::statistics::{
    ConnectionFacts, ConnectionNumbers, ConsumerFacts, Details, ExchangeNumbers, NodeNumbers, NodeSeries,
    QueueNumbers, QueueSeries, Span,
};
use crate::protocol::error::Refusal;
use crate::protocol::reply_code::ReplyCode;

/// An answer of all nodes.
#[derive(Clone, Debug, Default)]
pub struct Of<T> {
    /// What those told that answered.
    pub all: T,
    /// The names of nodes that did not answer in time.
    pub silent: Vec<String>,
}

/// Whether a queue is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueState {
    /// It is.
    Running,
    /// Nobody leads it: a majority of its copies is missing.
    Minority,
    /// The node that has it does not answer.
    Down,
}

impl QueueState {
    /// RabbitMQ's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Minority => "minority",
            Self::Down => "down",
        }
    }
}

/// A queue, as declared and as it is.
#[derive(Clone, Debug)]
pub struct QueueInfo {
    /// As declared.
    pub entry: Arc<QueueEntry>,
    /// What its owner tells; none when that does not answer.
    pub numbers: Option<QueueNumbers>,
    /// Whether it is served.
    pub state: QueueState,
    /// The node that serves it; empty when nobody does.
    pub node: String,
    /// All nodes that have a copy of it, as far as that is known, and those of them that answer.
    pub members: Vec<String>,
    /// Those of them that answer.
    pub online: Vec<String>,
}

impl QueueInfo {
    /// The policies that hold for it.
    #[must_use]
    pub fn policy(&self) -> EffectivePolicy {
        EffectivePolicy::of(self.entry.applied.as_deref())
    }
}

/// One queue with its consumers.
#[derive(Clone, Debug)]
pub struct QueueDetail {
    /// The queue.
    pub queue: QueueInfo,
    /// Its consumers, the oldest first.
    pub consumers: Vec<ConsumerInfo>,
    /// The name of the connection that owns it, if it is exclusive.
    pub owner: Option<ConnectionFacts>,
}

/// A consumer, and whether it is served.
#[derive(Clone, Debug)]
pub struct ConsumerInfo {
    /// As it began.
    pub facts: ConsumerFacts,
    /// False for those that wait until a single active consumer ends.
    pub active: bool,
}

/// A connection, and what it does.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// As it was opened.
    pub facts: ConnectionFacts,
    /// What it does, with its channels.
    pub numbers: ConnectionNumbers,
}

/// How all nodes stand.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    /// The nodes that answered.
    pub nodes: Vec<NodeNumbers>,
    /// The name of the node that was asked.
    pub node: String,
    /// Queues, exchanges and vhosts that are declared.
    pub queues: u64,
    /// Exchanges, the default one of each vhost among them.
    pub exchanges: u64,
    /// Vhosts.
    pub vhosts: u64,
}

impl Control {
    /// Asks this node and all others.
    async fn ask_all(&self, ask: Ask) -> Of<Vec<(NodeId, Told)>> {
        let shared = &self.shared;
        let others = async {
            let Some(cluster) = &shared.cluster else { return Vec::new() };
            let (reply, answers) = oneshot::channel();
            cluster.manager.push(ManagerInput::AskAll(Question::Statistics(ask.clone()), reply));
            answers.await.unwrap_or_default()
        };
        let (own, others) = tokio::join!(gather::tell(shared, ask.clone()), others);
        let mut of = Of { all: vec![(own_number(shared), own)], silent: Vec::new() };
        for (node, answer) in others {
            match answer {
                Some(Answer::Told(told)) => of.all.push((node, told)),
                _ => of.silent.push(shared.node_name(node)),
            }
        }
        of
    }

    /// How all nodes stand.
    pub async fn overview(&self) -> Of<Overview> {
        let Of { all, silent } = self.node_list().await;
        let topology = self.shared.topology();
        let vhosts = topology.vhosts();
        let queues = vhosts.iter().map(|vhost| topology.queues(vhost).len() as u64).sum();
        let exchanges = vhosts.iter().map(|vhost| topology.exchanges(vhost).len() as u64 + 1).sum();
        let vhosts = vhosts.len() as u64;
        drop(topology);
        let node = self.shared.config.node.name.clone();
        Of { all: Overview { nodes: all, node, queues, exchanges, vhosts }, silent }
    }

    /// How each node stands.
    pub async fn node_list(&self) -> Of<Vec<NodeNumbers>> {
        let Of { all, silent } = self.ask_all(Ask::Node).await;
        let nodes = all.into_iter().filter_map(|(_, told)| match told {
            Told::Node(node) => Some(*node),
            _ => None,
        });
        Of { all: nodes.collect(), silent }
    }

    /// How this node stands.
    pub async fn own_node(&self) -> NodeNumbers {
        gather::node(&self.shared).await
    }

    /// The cluster's name: as it was given, or that of the node.
    #[must_use]
    pub fn cluster_name(&self) -> String {
        let given = self.shared.topology().parameter("cluster_name").map(str::to_owned);
        let given = given.and_then(|text| serde_json::from_str::<String>(&text).ok());
        given.unwrap_or_else(|| self.shared.config.node.name.clone())
    }

    /// All queues as they are declared, wherever they are.
    #[must_use]
    pub fn declared_queues(&self) -> Vec<Arc<QueueEntry>> {
        gather::queues_of(&self.shared, None, None)
    }

    /// Numbers of those of these queues that this node serves.
    pub async fn own_queue_numbers(&self, queues: &[Arc<QueueEntry>]) -> Vec<QueueNumbers> {
        gather::own_queues(&self.shared, queues, false).await
    }

    /// The connections of this node.
    #[must_use]
    pub fn own_connections(&self) -> Vec<ConnectionInfo> {
        let all = gather::connections(&self.shared).into_iter();
        all.map(|(facts, numbers)| ConnectionInfo { facts, numbers }).collect()
    }

    /// What clients of this node published to exchanges.
    #[must_use]
    pub fn own_exchanges(&self) -> Vec<ExchangeNumbers> {
        gather::exchanges(&self.shared)
    }

    /// The histories of all nodes, by their names: what belongs together can be added up sample by sample.
    pub async fn node_histories(&self, lengths: Span, rates: Span) -> Of<Vec<(String, NodeSeries)>> {
        let Of { all, silent } = self.ask_all(Ask::History { lengths, rates }).await;
        let histories = all.into_iter().filter_map(|(node, told)| match told {
            Told::History(series) => Some((self.shared.node_name(node), series)),
            _ => None,
        });
        Of { all: histories.collect(), silent }
    }

    /// The history of a queue; none when it did nothing for long, or too many others did.
    pub async fn queue_history(
        &self,
        vhost: &str,
        name: &str,
        lengths: Span,
        rates: Span,
    ) -> Option<QueueSeries> {
        let queue = self.shared.topology().queue(vhost, name)?.id.0;
        let told = self.ask_all(Ask::QueueHistory { queue, lengths, rates }).await.all;
        told.into_iter().find_map(|(_, told)| match told {
            Told::QueueHistory(series) => series,
            _ => None,
        })
    }

    /// The history of an exchange on this node: what came in, and what left.
    #[must_use]
    pub fn exchange_history(&self, vhost: &str, name: &str, rates: Span) -> Option<[Details; 2]> {
        let (key, now_ms) = ((vhost.into(), name.into()), self.shared.clock.now_ms());
        self.shared.statistics.histories(|histories| histories.exchange(&key, rates, now_ms))
    }

    /// All queues, or those of a vhost, by vhost and name.
    pub async fn queue_list(&self, vhost: Option<&str>) -> Of<Vec<QueueInfo>> {
        self.find_queues(vhost, None).await
    }

    /// One queue with its consumers; `None` when it is not there.
    pub async fn queue_detail(&self, vhost: &str, name: &str) -> Option<QueueDetail> {
        let queue = self.find_queues(Some(vhost), Some(name)).await.all.pop()?;
        let ids = queue.numbers.as_ref().map(|numbers| numbers.consumer_ids.clone()).unwrap_or_default();
        let consumers = if ids.is_empty() { Vec::new() } else { self.consumers_by(&ids, &queue).await };
        let owner = match queue.entry.exclusive {
            Some(owner) => self.connection_by_id(owner).await.map(|connection| connection.facts),
            None => None,
        };
        Some(QueueDetail { queue, consumers, owner })
    }

    async fn consumers_by(&self, ids: &[ConsumerId], queue: &QueueInfo) -> Vec<ConsumerInfo> {
        let active = queue.numbers.as_ref().and_then(|numbers| numbers.active_consumer);
        let all = self.consumer_facts().await.all;
        let mut by_id: HashMap<_, _> = all.into_iter().map(|facts| (facts.id, facts)).collect();
        let found = ids.iter().filter_map(|id| by_id.remove(id));
        let info = |facts: ConsumerFacts| {
            let active = active.is_none_or(|active| active == facts.id);
            ConsumerInfo { facts, active }
        };
        found.map(info).collect()
    }

    async fn find_queues(&self, vhost: Option<&str>, name: Option<&str>) -> Of<Vec<QueueInfo>> {
        let entries = gather::queues_of(&self.shared, vhost, name);
        let ask = Ask::Queues { vhost: vhost.map(str::to_owned), name: name.map(str::to_owned) };
        let Of { all, silent } = self.ask_all(ask).await;
        let answered: BTreeSet<NodeId> = all.iter().map(|(node, _)| *node).collect();
        let mut numbers: HashMap<u64, (NodeId, QueueNumbers)> = HashMap::new();
        for (node, told) in all {
            let Told::Queues(queues) = told else { continue };
            numbers.extend(queues.into_iter().map(|queue| (queue.id, (node, queue))));
        }
        let members = self.group_members(&entries).await;
        let info = |entry: Arc<QueueEntry>| {
            let found = numbers.remove(&entry.id.0);
            self.queue_info(entry, found, &answered, &members)
        };
        Of { all: entries.into_iter().map(info).collect(), silent }
    }

    fn queue_info(
        &self,
        entry: Arc<QueueEntry>,
        found: Option<(NodeId, QueueNumbers)>,
        answered: &BTreeSet<NodeId>,
        members: &BTreeMap<u16, Vec<NodeId>>,
    ) -> QueueInfo {
        let (node, numbers) = found.map_or((0, None), |(node, numbers)| (node, Some(numbers)));
        let nodes = match entry.home {
            Home::Node(home) => vec![home],
            Home::Group(group) => members.get(&group).cloned().unwrap_or_default(),
        };
        let state = match (numbers.is_some(), entry.home) {
            (true, _) => QueueState::Running,
            (false, Home::Group(_)) => QueueState::Minority,
            (false, Home::Node(_)) => QueueState::Down,
        };
        let names = |nodes: &mut dyn Iterator<Item = &NodeId>| {
            nodes.map(|node| self.shared.node_name(*node)).collect::<Vec<_>>()
        };
        QueueInfo {
            node: if node == 0 { String::new() } else { self.shared.node_name(node) },
            members: names(&mut nodes.iter()),
            online: names(&mut nodes.iter().filter(|node| answered.contains(node))),
            numbers,
            state,
            entry,
        }
    }

    /// The members of each group, as its leader tells; asked for only where some queue is a group's.
    async fn group_members(&self, entries: &[Arc<QueueEntry>]) -> BTreeMap<u16, Vec<NodeId>> {
        let mut members = BTreeMap::new();
        if entries.iter().all(|entry| matches!(entry.home, Home::Node(_))) {
            return members;
        }
        let status = self.cluster_status(false).await.ok().flatten().unwrap_or_default();
        for group in status.groups {
            members.insert(group.group, group.members.iter().map(|member| member.node).collect());
        }
        members
    }

    /// All connections, by name.
    pub async fn connection_list(&self) -> Of<Vec<ConnectionInfo>> {
        let Of { all, silent } = self.ask_all(Ask::Connections).await;
        let told = all.into_iter().filter_map(|(_, told)| match told {
            Told::Connections(connections) => Some(connections),
            _ => None,
        });
        let info = |(facts, numbers)| ConnectionInfo { facts, numbers };
        let mut all: Vec<_> = told.flatten().map(info).collect();
        all.sort_unstable_by_key(|connection| (connection.facts.peer, connection.facts.id));
        Of { all, silent }
    }

    /// The connection of that name.
    pub async fn connection_detail(&self, name: &str) -> Option<ConnectionInfo> {
        self.connection_list().await.all.into_iter().find(|connection| connection.facts.name() == name)
    }

    async fn connection_by_id(&self, id: ConnectionId) -> Option<ConnectionInfo> {
        self.connection_list().await.all.into_iter().find(|connection| connection.facts.id == id)
    }

    async fn consumer_facts(&self) -> Of<Vec<ConsumerFacts>> {
        let Of { all, silent } = self.ask_all(Ask::Consumers).await;
        let told = all.into_iter().filter_map(|(_, told)| match told {
            Told::Consumers(consumers) => Some(consumers),
            _ => None,
        });
        Of { all: told.flatten().collect(), silent }
    }

    /// All consumers of queues, or those of a vhost.
    pub async fn consumer_list(&self, vhost: Option<&str>) -> Of<Vec<ConsumerInfo>> {
        let (Of { all, silent }, queues) = tokio::join!(self.consumer_facts(), self.queue_list(vhost));
        let active = |queue: &QueueInfo| {
            let active = queue.numbers.as_ref()?.active_consumer?;
            Some(((queue.entry.vhost.to_string(), queue.entry.name.to_string()), active))
        };
        let active: HashMap<_, _> = queues.all.iter().filter_map(active).collect();
        let wanted = all.into_iter().filter(|facts| vhost.is_none_or(|vhost| facts.vhost == vhost));
        let info = |facts: ConsumerFacts| {
            let only = active.get(&(facts.vhost.clone(), facts.queue.clone()));
            let active = only.is_none_or(|active| *active == facts.id);
            ConsumerInfo { facts, active }
        };
        let mut all: Vec<_> = wanted.map(info).collect();
        all.sort_unstable_by_key(|consumer| consumer.facts.id);
        Of { all, silent }
    }

    /// What passed exchanges, added up over all nodes. Exchanges that nothing was published to are not among them.
    pub async fn exchange_numbers(&self) -> Of<Vec<ExchangeNumbers>> {
        let Of { all, silent } = self.ask_all(Ask::Exchanges).await;
        let mut sums: BTreeMap<(String, String), ExchangeNumbers> = BTreeMap::new();
        for (_, told) in all {
            let Told::Exchanges(exchanges) = told else { continue };
            for exchange in exchanges {
                let key = (exchange.vhost.clone(), exchange.name.clone());
                match sums.get_mut(&key) {
                    None => drop(sums.insert(key, exchange)),
                    Some(sum) => {
                        sum.counts.add(&exchange.counts);
                        sum.rates.iter_mut().zip(exchange.rates).for_each(|(sum, rate)| *sum += rate);
                    }
                }
            }
        }
        Of { all: sums.into_values().collect(), silent }
    }

    /// Closes a connection with a reason; false when there is none of that number.
    pub async fn close_connection(&self, id: ConnectionId, reason: &str) -> bool {
        let node = node_of(id);
        let own = self.shared.cluster.as_ref().is_none_or(|cluster| cluster.placement.node == node);
        if own {
            return close(&self.shared, id, reason);
        }
        let Some(cluster) = &self.shared.cluster else { return false };
        let (reply, answers) = oneshot::channel();
        let question = Question::CloseConnection { id, reason: reason.to_owned() };
        cluster.manager.push(ManagerInput::AskAll(question, reply));
        let answers = answers.await.unwrap_or_default();
        answers.into_iter().any(|(_, answer)| matches!(answer, Some(Answer::Done(_))))
    }
}

/// Closes a connection of this node as RabbitMQ's operators do; false when there is none of that number.
pub(in crate::node) fn close(shared: &Shared, id: ConnectionId, reason: &str) -> bool {
    let Some(client) = shared.clients.get(&id) else { return false };
    let refusal = Refusal::connection(ReplyCode::ConnectionForced, reason);
    client.mailbox.push(ClientInput::Close(Box::new(refusal)));
    true
}
