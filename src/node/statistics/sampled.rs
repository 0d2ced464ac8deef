//! The numbers that have a history, for the node and for queues that do something.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::facts::{NodeNumbers, QueueNumbers};
use super::history::{Details, History, Span};
use crate::broker::counts::{ExchangeCounts, MessageCounts};

/// So many queues have a history; the others have rates.
const QUEUES_MAX: usize = 2_000;
/// So many exchanges have a history.
const EXCHANGES_MAX: usize = 2_000;
/// A queue that has done nothing for so long needs no history.
const FORGET_MS: u64 = 8 * 60 * 60 * 1000;

/// Ready, unacknowledged, and what was counted of messages.
const QUEUE: usize = 2 + MessageCounts::COUNT;
/// The names of those of the node that are no counts of messages, in their order.
const OF_NODE: [&str; 15] = [
    "messages_ready",
    "messages_unacknowledged",
    "mem_used",
    "disk_free",
    "fd_used",
    "connections",
    "connection_created",
    "connection_closed",
    "channel_created",
    "channel_closed",
    "queue_declared",
    "queue_created",
    "queue_deleted",
    "recv_oct",
    "send_oct",
];
const NODE: usize = OF_NODE.len() + MessageCounts::COUNT;

/// What is remembered.
#[derive(Debug, Default)]
pub(crate) struct Histories {
    node: History<NODE>,
    queues: HashMap<u64, QueueHistory>,
    exchanges: HashMap<(Box<str>, Box<str>), History<{ ExchangeCounts::COUNT }>>,
    with_history: usize,
}

#[derive(Debug)]
enum QueueHistory {
    /// The sample before, and the rates since the one before that.
    Brief {
        at_ms: u64,
        numbers: Box<[u64; QUEUE]>,
        rates: Box<[f32; MessageCounts::COUNT]>,
    },
    Whole(Box<History<QUEUE>>),
}

/// A node's histories: RabbitMQ's names, with what has become of each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeSeries(pub Vec<(String, Details)>);

/// A queue's histories: `messages_ready`, `messages_unacknowledged`, and the names of [`MessageCounts`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QueueSeries(pub Vec<(String, Details)>);

impl Histories {
    /// Takes a sample of the node.
    pub(crate) fn put_node(&mut self, node: &NodeNumbers, now_ms: u64) {
        let ready = node.classic.ready + node.quorum.ready;
        let unacked = node.classic.unacked + node.quorum.unacked;
        let churn = &node.churn;
        let own = [
            ready,
            unacked,
            node.memory_bytes,
            node.disk_free_bytes,
            node.fds,
            node.connections,
            churn.connection_created,
            churn.connection_closed,
            churn.channel_created,
            churn.channel_closed,
            churn.queue_declared,
            churn.queue_created,
            churn.queue_deleted,
            node.traffic.recv_oct,
            node.traffic.send_oct,
        ];
        let counts = node.messages.to_array();
        let mut all = own.into_iter().chain(counts);
        self.node.put(now_ms, std::array::from_fn(|_| all.next().unwrap_or(0)));
    }

    /// What the node's clients counted in a second, lately.
    pub(crate) fn node_rates(&self) -> Vec<f32> {
        let rates = self.node.rates().map(|rates| rates[OF_NODE.len()..].to_vec());
        rates.unwrap_or_else(|| vec![0.0; MessageCounts::COUNT])
    }

    /// The node's histories.
    pub(crate) fn node(&self, lengths: Span, rates: Span, now_ms: u64) -> NodeSeries {
        let names = OF_NODE.iter().chain(&MessageCounts::NAMES);
        let span = |at| if at < 2 { lengths } else { rates };
        let details =
            |(at, name): (usize, &&str)| ((*name).to_owned(), self.node.details(at, span(at), now_ms));
        NodeSeries(names.enumerate().map(details).collect())
    }

    /// Takes a sample of a queue, if it does something or did lately.
    pub(crate) fn put_queue(&mut self, queue: &QueueNumbers, now_ms: u64) {
        if queue.active_ms + FORGET_MS < now_ms || queue.counts.is_zero() {
            if let Some(QueueHistory::Whole(_)) = self.queues.remove(&queue.id) {
                self.with_history -= 1;
            }
            return;
        }
        let mut all = [queue.ready + queue.delayed, queue.unacked].into_iter().chain(queue.counts.to_array());
        let numbers: [u64; QUEUE] = std::array::from_fn(|_| all.next().unwrap_or(0));
        match self.queues.get_mut(&queue.id) {
            Some(QueueHistory::Whole(history)) => history.put(now_ms, numbers),
            Some(QueueHistory::Brief { at_ms, numbers: before, rates }) => {
                let passed_ms = now_ms.saturating_sub(*at_ms);
                **rates = std::array::from_fn(|at| {
                    super::history::rate(numbers[at + 2].saturating_sub(before[at + 2]), passed_ms)
                });
                (*at_ms, **before) = (now_ms, numbers);
            }
            None => self.begin(queue.id, numbers, now_ms),
        }
    }

    fn begin(&mut self, id: u64, numbers: [u64; QUEUE], now_ms: u64) {
        let begun = if self.with_history < QUEUES_MAX {
            self.with_history += 1;
            let mut history = Box::<History<QUEUE>>::default();
            history.put(now_ms, numbers);
            QueueHistory::Whole(history)
        } else {
            let rates = Box::new([0.0; MessageCounts::COUNT]);
            QueueHistory::Brief { at_ms: now_ms, numbers: Box::new(numbers), rates }
        };
        self.queues.insert(id, begun);
    }

    /// Forgets queues that are gone from here.
    pub(crate) fn retain_queues(&mut self, is_there: impl Fn(u64) -> bool) {
        self.queues.retain(|id, _| is_there(*id));
        let whole = |history: &&QueueHistory| matches!(history, QueueHistory::Whole(_));
        self.with_history = self.queues.values().filter(whole).count();
    }

    /// What a queue counted in a second, lately.
    pub(crate) fn queue_rates(&self, id: u64) -> Option<Box<[f32; MessageCounts::COUNT]>> {
        match self.queues.get(&id)? {
            QueueHistory::Brief { rates, .. } => Some(rates.clone()),
            QueueHistory::Whole(history) => {
                let rates = history.rates()?;
                Some(Box::new(std::array::from_fn(|at| rates[at + 2])))
            }
        }
    }

    /// A queue's histories; none when it has none.
    pub(crate) fn queue(&self, id: u64, lengths: Span, rates: Span, now_ms: u64) -> Option<QueueSeries> {
        let QueueHistory::Whole(history) = self.queues.get(&id)? else { return None };
        let names = ["messages_ready", "messages_unacknowledged"];
        let names = names.iter().chain(&MessageCounts::NAMES);
        let span = |at| if at < 2 { lengths } else { rates };
        let details =
            |(at, name): (usize, &&str)| ((*name).to_owned(), history.details(at, span(at), now_ms));
        Some(QueueSeries(names.enumerate().map(details).collect()))
    }

    /// Takes samples of exchanges; forgets those that are not named.
    pub(crate) fn put_exchanges(&mut self, all: &[(Box<str>, Box<str>, ExchangeCounts)], now_ms: u64) {
        let mut before = std::mem::take(&mut self.exchanges);
        for (vhost, name, counts) in all.iter().take(EXCHANGES_MAX) {
            let key = (vhost.clone(), name.clone());
            let mut history = before.remove(&key).unwrap_or_default();
            history.put(now_ms, counts.to_array());
            self.exchanges.insert(key, history);
        }
    }

    /// What passed an exchange in a second, lately.
    pub(crate) fn exchange_rates(&self, key: &(Box<str>, Box<str>)) -> [f32; ExchangeCounts::COUNT] {
        self.exchanges.get(key).and_then(History::rates).unwrap_or_default()
    }

    /// An exchange's histories: what came in, what left.
    pub(crate) fn exchange(
        &self,
        key: &(Box<str>, Box<str>),
        rates: Span,
        now_ms: u64,
    ) -> Option<[Details; 2]> {
        let history = self.exchanges.get(key)?;
        Some(std::array::from_fn(|at| history.details(at, rates, now_ms)))
    }
}
