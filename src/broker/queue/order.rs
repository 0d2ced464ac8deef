//! Order among the consumers of one channel.

use super::effect::{Delivery, Effect};

/// Turns the deliveries of one round, one for each consumer, into runs in the order of the queue. A channel with several
/// consumers of a queue receives its messages in their order (specification 4.7: one queue, one outgoing channel).
pub(super) fn in_queue_order(effects: &mut Vec<Effect>, from: usize) {
    let mut data = None;
    let mut all = Vec::new();
    for effect in effects.drain(from..) {
        if let Effect::Deliver(delivery) = effect {
            all.extend(delivery.entries.into_iter().map(|entry| (entry, delivery.consumer)));
            data = Some(delivery.data);
        }
    }
    let Some(data) = data else { return };
    all.sort_unstable_by_key(|(entry, _)| entry.seq);
    for run in all.chunk_by(|(_, one), (_, other)| one == other) {
        let Some((_, consumer)) = run.first() else { continue };
        let entries = run.iter().map(|(entry, _)| *entry).collect();
        effects.push(Effect::Deliver(Delivery { consumer: *consumer, data: data.clone(), entries }));
    }
}
