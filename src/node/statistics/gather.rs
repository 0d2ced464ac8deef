//! Asking those who own queues on this node, and telling other nodes what is here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::facts::{
    ConnectionFacts, ConnectionNumbers, ConsumerFacts, ExchangeNumbers, GroupNumbers, MemberNumbers,
    NodeNumbers, QueueNumbers,
};
use super::history::Span;
use super::registry::TotalsByType;
use super::sampled::{Histories, NodeSeries, QueueSeries};
use crate::broker::ids::{FIRST_NODE, Home, META_GROUP, NodeId, QueueId};
use crate::broker::topology::QueueEntry;
use crate::node::cluster::inputs::{GroupControl, GroupInput, GroupStatus};
use crate::node::links::{MetaInput, QueueAsk, QueueAskReply, ShardInput};
use crate::node::resource_alarm::Resource;
use crate::node::shared::Shared;

/// Queues that an owner is asked about at once: it has other things to do in between.
const ASKED_AT_ONCE: usize = 512;
/// How long the owners on this node may take: they are late when the machine is, and never silent.
const OWN_ANSWER: Duration = Duration::from_secs(10);

/// What nodes ask each other.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum Ask {
    /// Queues that you own: of a vhost or of all, and one of them or all.
    Queues {
        vhost: Option<String>,
        name: Option<String>,
    },
    /// Your connections, with their channels.
    Connections,
    Consumers,
    Exchanges,
    /// How you stand.
    Node,
    /// What you were like: for lengths, and for rates.
    History {
        lengths: Span,
        rates: Span,
    },
    /// What a queue of yours was like.
    QueueHistory {
        queue: u64,
        lengths: Span,
        rates: Span,
    },
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) enum Told {
    Queues(Vec<QueueNumbers>),
    Connections(Vec<(ConnectionFacts, ConnectionNumbers)>),
    Consumers(Vec<ConsumerFacts>),
    Exchanges(Vec<ExchangeNumbers>),
    Node(Box<NodeNumbers>),
    History(NodeSeries),
    QueueHistory(Option<QueueSeries>),
}

/// What this node knows.
pub(crate) async fn tell(shared: &Shared, ask: Ask) -> Told {
    match ask {
        Ask::Queues { vhost, name } => {
            let with_consumers = name.is_some();
            let queues = queues_of(shared, vhost.as_deref(), name.as_deref());
            Told::Queues(own_queues(shared, &queues, with_consumers).await)
        }
        Ask::Connections => Told::Connections(connections(shared)),
        Ask::Consumers => Told::Consumers(consumers(shared)),
        Ask::Exchanges => Told::Exchanges(exchanges(shared)),
        Ask::Node => Told::Node(Box::new(node(shared).await)),
        Ask::History { lengths, rates } => {
            Told::History(histories(shared, |known, now_ms| known.node(lengths, rates, now_ms)))
        }
        Ask::QueueHistory { queue, lengths, rates } => {
            Told::QueueHistory(histories(shared, |known, now_ms| known.queue(queue, lengths, rates, now_ms)))
        }
    }
}

fn histories<T>(shared: &Shared, look: impl FnOnce(&Histories, u64) -> T) -> T {
    let now_ms = shared.clock.now_ms();
    shared.statistics.histories(|known| look(known, now_ms))
}

/// The queues that people know of: those that clients can name.
pub(crate) fn queues_of(shared: &Shared, vhost: Option<&str>, name: Option<&str>) -> Vec<Arc<QueueEntry>> {
    let topology = shared.topology();
    match (vhost, name) {
        (Some(vhost), Some(name)) => topology.queue(vhost, name).cloned().into_iter().collect(),
        (Some(vhost), None) => topology.queues(vhost),
        (None, _) => {
            let vhosts = topology.vhosts();
            vhosts.iter().flat_map(|vhost| topology.queues(vhost)).collect()
        }
    }
}

/// Who owns queues on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Shard(u16),
    Group(u16),
}

pub(crate) fn own_number(shared: &Shared) -> NodeId {
    shared.cluster.as_ref().map_or(FIRST_NODE, |cluster| cluster.placement.node)
}

fn by_owner(shared: &Shared, queues: &[Arc<QueueEntry>]) -> BTreeMap<Owner, Vec<QueueId>> {
    let node = own_number(shared);
    let mut owners: BTreeMap<Owner, Vec<QueueId>> = BTreeMap::new();
    for queue in queues {
        let owner = match queue.home {
            Home::Node(home) if home == node => Owner::Shard(queue.shard),
            Home::Node(_) => continue,
            Home::Group(group) => Owner::Group(group),
        };
        owners.entry(owner).or_default().push(queue.id);
    }
    owners
}

fn send(shared: &Shared, owner: Owner, ask: QueueAsk) {
    match owner {
        Owner::Shard(shard) => {
            if let Some(shard) = shared.own_shards().get(usize::from(shard)) {
                shard.push(ShardInput::Statistics(Box::new(ask)));
            }
        }
        Owner::Group(group) => {
            if let Some(mailbox) = shared.cluster.as_ref().and_then(|cluster| cluster.group(group)) {
                mailbox.push(GroupInput::Control(GroupControl::Statistics(Box::new(ask))));
            }
        }
    }
}

/// Asks all owners at the same time, each about a part of its queues after the other. Who does not answer in time, or owns
/// nothing any more, tells nothing.
async fn ask_owners<T>(
    shared: &Shared,
    queues: &[Arc<QueueEntry>],
    with_consumers: bool,
    reply_to: impl Fn(oneshot::Sender<T>) -> QueueAskReply,
) -> Vec<T> {
    let owners = by_owner(shared, queues);
    let until = Instant::now() + OWN_ANSWER;
    let mut parts: Vec<_> = owners.iter().map(|(owner, ids)| (*owner, ids.chunks(ASKED_AT_ONCE))).collect();
    let mut told = Vec::new();
    while !parts.is_empty() {
        let mut waiting = Vec::new();
        parts.retain_mut(|(owner, chunks)| {
            let Some(chunk) = chunks.next() else { return false };
            let (reply, answer) = oneshot::channel();
            let ask = QueueAsk { queues: chunk.to_vec(), with_consumers, reply: reply_to(reply) };
            send(shared, *owner, ask);
            waiting.push((*owner, answer));
            true
        });
        for (owner, answer) in waiting {
            match timeout_at(until, answer).await {
                Ok(Ok(answer)) => told.push(answer),
                Ok(Err(_)) | Err(_) => parts.retain(|(silent, _)| *silent != owner),
            }
        }
    }
    told
}

/// Numbers of those of these queues that this node owns.
pub(crate) async fn own_queues(
    shared: &Shared,
    queues: &[Arc<QueueEntry>],
    with_consumers: bool,
) -> Vec<QueueNumbers> {
    let told = ask_owners(shared, queues, with_consumers, QueueAskReply::Each).await;
    let mut numbers: Vec<QueueNumbers> = told.into_iter().flatten().collect();
    histories(shared, |known, _| {
        for queue in &mut numbers {
            queue.rates = known.queue_rates(queue.id);
        }
    });
    numbers
}

/// Sums over those queues that this node owns.
pub(crate) async fn own_totals(shared: &Shared) -> TotalsByType {
    let queues = queues_of(shared, None, None);
    let told = ask_owners(shared, &queues, false, QueueAskReply::Sums).await;
    let mut totals = TotalsByType::default();
    for sums in told {
        totals.iter_mut().zip(&sums).for_each(|(total, sum)| total.merge(sum));
    }
    for (total, gone) in totals.iter_mut().zip(shared.statistics.gone()) {
        total.counts.add(&gone);
    }
    totals
}

pub(crate) fn connections(shared: &Shared) -> Vec<(ConnectionFacts, ConnectionNumbers)> {
    let name = &shared.config.node.name;
    let is_short = shared.resource_alarms.are_on();
    let all = shared.statistics.connections.iter();
    all.map(|record| {
        let mut numbers = record.numbers();
        if is_short && numbers.state == super::ConnectionState::Running {
            numbers.state = super::ConnectionState::Blocking;
        }
        (record.facts(name), numbers)
    })
    .collect()
}

fn consumers(shared: &Shared) -> Vec<ConsumerFacts> {
    let name = &shared.config.node.name;
    shared.statistics.consumers.iter().map(|record| record.facts(name)).collect()
}

pub(crate) fn exchanges(shared: &Shared) -> Vec<ExchangeNumbers> {
    let all = shared.statistics.exchanges();
    let numbers = |(vhost, name, counts): (Box<str>, Box<str>, _)| {
        let key = (vhost, name);
        let rates = histories(shared, |known, _| known.exchange_rates(&key));
        ExchangeNumbers { vhost: key.0.into(), name: key.1.into(), counts, rates }
    };
    all.into_iter().map(numbers).collect()
}

/// How this node stands.
pub(crate) async fn node(shared: &Shared) -> NodeNumbers {
    node_with(shared, own_totals(shared).await).await
}

/// How this node stands, with sums over its queues that were just made.
pub(crate) async fn node_with(shared: &Shared, [classic, quorum]: TotalsByType) -> NodeNumbers {
    let statistics = &shared.statistics;
    let (counted, measured) = (statistics.counted(), statistics.measured());
    let (mut channels, mut publishers) = (0, 0);
    for record in &statistics.connections {
        record.look(|numbers| {
            channels += numbers.channels.len() as u64;
            let publishing = numbers.channels.iter().filter(|channel| channel.counts.publish > 0);
            publishers += publishing.count() as u64;
        });
    }
    let alarms = &shared.resource_alarms;
    NodeNumbers {
        node: own_number(shared),
        name: shared.config.node.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_ms: shared.clock.started_ms(),
        now_ms: shared.clock.now_ms(),
        process_id: std::process::id(),
        processors: std::thread::available_parallelism().map_or(1, |count| count.get() as u64),
        memory_bytes: measured.memory_bytes,
        memory_limit_bytes: measured.memory_limit_bytes,
        disk_free_bytes: measured.disk_free_bytes,
        disk_free_limit_bytes: measured.disk_free_limit_bytes,
        fds: measured.fds,
        fds_max: measured.fds_max,
        connections: statistics.connections.len() as u64,
        connections_max: shared.config.listener.connections_max as u64,
        channels,
        consumers: statistics.consumers.len() as u64,
        publishers,
        memory_alarm: alarms.has(Resource::Memory),
        disk_alarm: alarms.has(Resource::Disk),
        majority_alarm: alarms.has(Resource::Majority),
        messages: counted.messages,
        received_confirm: counted.received_confirm,
        routed: counted.routed,
        message_rates: histories(shared, |known, _| known.node_rates()),
        deaths: statistics.deaths(),
        churn: statistics.churn(),
        traffic: counted.traffic,
        classic,
        quorum,
        storage: statistics.storage(),
        sizes: within(&counted.sizes),
        size_sum: counted.size_sum,
        groups: groups(shared).await,
    }
}

/// How many are within each bound, from how many are between two; the last one is all.
fn within(between: &[u64]) -> Vec<u64> {
    let sum = |sum: &mut u64, count: &u64| {
        *sum += count;
        Some(*sum)
    };
    between.iter().scan(0, sum).collect()
}

/// How the groups stand, as this node sees them.
async fn groups(shared: &Shared) -> Vec<GroupNumbers> {
    let Some(cluster) = &shared.cluster else { return Vec::new() };
    let asked = (META_GROUP..=cluster.placement.groups).map(|group| {
        let (reply, answer) = oneshot::channel();
        let control = GroupControl::Status(reply);
        match cluster.group(group) {
            _ if group == META_GROUP => shared.meta.push(MetaInput::Control(control)),
            Some(mailbox) => mailbox.push(GroupInput::Control(control)),
            None => {}
        }
        answer
    });
    let asked: Vec<_> = asked.collect();
    let until = Instant::now() + OWN_ANSWER;
    let mut groups = Vec::new();
    for answer in asked {
        if let Ok(Ok(status)) = timeout_at(until, answer).await {
            groups.push(numbers_of(status));
        }
    }
    groups
}

fn numbers_of(status: GroupStatus) -> GroupNumbers {
    let members = status.members.into_iter().map(|member| MemberNumbers {
        node: member.node,
        is_in_sync: member.is_in_sync,
        lag_entries: member.lag_entries,
        lag_bytes: member.lag_bytes,
    });
    GroupNumbers {
        group: status.group,
        leader: status.leader,
        term: status.term,
        commit: status.commit,
        applied: status.applied,
        queues: status.queues,
        members: members.collect(),
    }
}
