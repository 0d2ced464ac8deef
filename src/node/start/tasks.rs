//! Setting the tasks of a node going.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Node;
use crate::broker::ids::{FIRST_NODE, Home};
use crate::broker::queue::Queue;
use crate::broker::topology::QueueEntry;
use crate::node::shared::{META_SHARD, TRANSACTIONS_SHARD};
use crate::node::tasks::meta::Meta;
use crate::node::tasks::shard::{Records, Shard, Start};
use crate::node::tasks::transactions::Transactions;
use crate::node::tasks::{checkpoint, resources, sampler};

type Recovery = (Arc<QueueEntry>, Queue);

impl Node {
    pub(super) fn start_tasks(&self, queues: Vec<Recovery>, indexes: &BTreeMap<u16, u64>) {
        let index_of = |shard: u16| indexes.get(&shard).copied().unwrap_or(0);
        let mut of_shard: Vec<Vec<Recovery>> = self.shared.own_shards().iter().map(|_| Vec::new()).collect();
        let node = self.joined.as_ref().map_or(FIRST_NODE, |joined| joined.membership.node);
        for (entry, queue) in queues.into_iter().filter(|(entry, _)| entry.home == Home::Node(node)) {
            of_shard[usize::from(entry.shard)].push((entry, queue));
        }
        for (number, queues) in (0u16..).zip(of_shard) {
            let start = Start {
                shared: Arc::clone(&self.shared),
                mailbox: Arc::clone(&self.shared.shards[usize::from(number)]),
                log_shard: number + 1,
                records: Records::Log(self.log.clone()),
                cold: self.cold.link(Arc::clone(&self.shared.shards[usize::from(number)])),
                index: index_of(number + 1),
                spilling: 0,
                queues,
            };
            self.supervise("shard", Shard::new(start).run());
        }
        self.shared.meta_is_synced(index_of(META_SHARD));
        if self.joined.is_none() {
            let index = index_of(META_SHARD);
            let cold = self.cold.link(Arc::clone(&self.shared.shards[0]));
            let (shared, log) = (Arc::clone(&self.shared), self.log.clone());
            self.supervise("meta", Meta { shared, log, cold, index, checkpoint: None }.run());
        }
        let last = u16::try_from(self.shared.own_shards().len()).unwrap_or(u16::MAX);
        let index = index_of(TRANSACTIONS_SHARD);
        let transactions = Transactions::new(Arc::clone(&self.shared), self.log.clone(), index);
        self.supervise("transactions", transactions.run());
        let earlier =
            indexes.range(last + 1..TRANSACTIONS_SHARD).map(|(shard, index)| (*shard, *index)).collect();
        let (shared, log) = (Arc::clone(&self.shared), self.log.clone());
        self.supervise("checkpoint", checkpoint::run(shared, log, self.cold.checkpoints(), earlier));
        self.supervise("resources", resources::run(Arc::clone(&self.shared)));
        self.supervise("sampler", sampler::run(Arc::clone(&self.shared)));
    }

    /// Runs a task that the node cannot do without: when it panics, the node stops.
    #[expect(clippy::disallowed_methods, reason = "tasks are started here")]
    pub(super) fn supervise(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let (shared, failure) = (Arc::clone(&self.shared), self.failure.clone());
        tokio::spawn(async move {
            if let Err(error) = tokio::spawn(task).await
                && error.is_panic()
            {
                failure.set(&shared, &format!("the {name} task panicked"));
            }
        });
    }
}
