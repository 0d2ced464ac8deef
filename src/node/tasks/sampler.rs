//! Takes samples of what has been counted, for rates and histories.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::node::machine;
use crate::node::shared::Shared;
use crate::node::statistics::gather::{node_with, own_queues, queues_of};
use crate::node::statistics::{TotalsByType, place_of};

const SAMPLE_EVERY: Duration = Duration::from_secs(5);
/// Queues whose numbers are held at the same time.
const QUEUES_AT_ONCE: usize = 4096;

/// Samples as long as the node runs.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(SAMPLE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => sample(&shared).await,
            () = shared.stopped() => return,
        }
    }
}

async fn sample(shared: &Shared) {
    measure_files(shared).await;
    let totals = sample_queues(shared).await;
    let now_ms = shared.clock.now_ms();
    for record in &shared.statistics.connections {
        record.sample(now_ms);
    }
    sample_exchanges(shared, now_ms);
    let node = node_with(shared, totals).await;
    shared.statistics.histories(|histories| histories.put_node(&node, now_ms));
}

/// With many connections the system has long lists of open files to tell, and it may have to look for what is on disk.
async fn measure_files(shared: &Shared) {
    let cold_dir = shared.config.node.data_dir.join("cold");
    let measure = move || (machine::open_files(), machine::directory_bytes(&cold_dir));
    let Ok(((fds, fds_max), cold_bytes)) = tokio::task::spawn_blocking(measure).await else { return };
    shared.statistics.measure(|measured| {
        (measured.fds, measured.fds_max, measured.cold_bytes) = (fds, fds_max, cold_bytes);
    });
}

async fn sample_queues(shared: &Shared) -> TotalsByType {
    let queues = queues_of(shared, None, None);
    let (mut totals, mut counting) = (TotalsByType::default(), HashSet::new());
    for part in queues.chunks(QUEUES_AT_ONCE) {
        let types: std::collections::HashMap<_, _> =
            part.iter().map(|queue| (queue.id.0, queue.settings.queue_type)).collect();
        let numbers = own_queues(shared, part, false).await;
        let now_ms = shared.clock.now_ms();
        shared.statistics.histories(|histories| {
            for queue in &numbers {
                if let Some(queue_type) = types.get(&queue.id) {
                    totals[place_of(*queue_type)].add(queue);
                }
                if !queue.counts.is_zero() {
                    counting.insert(queue.id);
                }
                histories.put_queue(queue, now_ms);
            }
        });
    }
    shared.statistics.histories(|histories| histories.retain_queues(|id| counting.contains(&id)));
    for (total, gone) in totals.iter_mut().zip(shared.statistics.gone()) {
        total.counts.add(&gone);
    }
    totals
}

fn sample_exchanges(shared: &Shared, now_ms: u64) {
    let is_there = |vhost: &str, name: &str| {
        let topology = shared.topology();
        if name.is_empty() { topology.has_vhost(vhost) } else { topology.exchange(vhost, name).is_some() }
    };
    shared.statistics.retain_exchanges(is_there);
    let all = shared.statistics.exchanges();
    shared.statistics.histories(|histories| histories.put_exchanges(&all, now_ms));
}
