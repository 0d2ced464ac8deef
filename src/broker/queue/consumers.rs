//! The consumers of one queue, and what each of them can take.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::effect::Entry;
use super::prefetch::SharedPrefetch;
use super::turns::Turns;

/// A consumer, unique in the cluster.
pub type ConsumerId = u64;

/// Entries made room for at once.
const RESERVE_MAX: u64 = 1024;

/// Ready messages.
pub(super) trait Source {
    fn is_empty(&self) -> bool;
    /// The next message and the length of its record.
    fn take(&mut self) -> Option<(Entry, u32)>;
}

/// What a consumer asks for.
#[derive(Clone, Debug)]
pub struct ConsumerSpec {
    /// Its identity.
    pub id: ConsumerId,
    /// Deliveries count as acknowledged at once.
    pub no_ack: bool,
    /// Nobody else may consume.
    pub exclusive: bool,
    /// Unacknowledged messages it may hold; 0 is no limit.
    pub prefetch: u16,
    /// `x-priority`: higher ones are served first.
    pub priority: i32,
    /// Bytes that may be on their way to it.
    pub window_bytes: u64,
    /// The channel's shared limit.
    pub shared: Arc<SharedPrefetch>,
    /// It was there before the queue changed its owner.
    pub is_back: bool,
    /// It was given messages before that: with a single active consumer, it was the active one.
    pub was_served: bool,
}

#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) spec: ConsumerSpec,
    unacked: u64,
    window_bytes: i64,
    arrival: u64,
    /// Waiting for its turn.
    in_ring: bool,
    /// Messages assigned in this round.
    pending: Vec<Entry>,
    /// Those of them that the shared prefetch does not count yet.
    uncounted: u64,
}

impl Consumer {
    fn has_capacity(&self) -> bool {
        self.window_bytes > 0 && (self.spec.no_ack || self.room() > 0 && self.spec.shared.has_room())
    }

    /// How many more messages its own prefetch allows.
    fn room(&self) -> u64 {
        if self.spec.no_ack || self.spec.prefetch == 0 {
            return u64::MAX;
        }
        u64::from(self.spec.prefetch).saturating_sub(self.unacked)
    }

    /// Takes up to `most` messages.
    fn take(&mut self, most: u64, source: &mut impl Source) {
        let manual = !self.spec.no_ack;
        let limited = manual && self.spec.shared.is_limited();
        let mut taken = 0;
        while taken < most && self.window_bytes > 0 && !source.is_empty() {
            if limited && !self.spec.shared.try_take() {
                break;
            }
            let Some((entry, length)) = source.take() else { break };
            self.window_bytes -= i64::from(length);
            self.pending.push(entry);
            taken += 1;
        }
        if manual {
            self.unacked += taken;
            self.uncounted += if limited { 0 } else { taken };
        }
    }
}

/// What tells the consumers of a channel from those of others: the address of what they share.
fn channel_of(spec: &ConsumerSpec) -> usize {
    Arc::as_ptr(&spec.shared).addr()
}

/// Consumers by slot.
#[derive(Debug, Default)]
pub(super) struct Consumers {
    slots: Vec<Option<Consumer>>,
    free: Vec<usize>,
    by_id: HashMap<ConsumerId, usize, foldhash::fast::RandomState>,
    /// Those that can take a message.
    turns: Turns,
    arrivals: u64,
    by_arrival: BTreeMap<u64, ConsumerId>,
    exclusive: usize,
    /// How many of them each channel has.
    by_channel: BTreeMap<usize, usize>,
    single_active: bool,
    /// The slot of the only one that is served, with `single_active`.
    active: Option<usize>,
    /// Some that were there before the queue changed its owner may still come back: one of them may be the active one.
    are_awaited: bool,
}

impl Consumers {
    pub(super) fn set_single_active(&mut self, single_active: bool) {
        if self.single_active != single_active {
            self.single_active = single_active;
            self.active = None;
            self.activate_next();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn has_exclusive(&self) -> bool {
        self.exclusive > 0
    }

    /// Whether some channel has several of them.
    pub(super) fn is_crowded(&self) -> bool {
        self.by_channel.len() < self.by_id.len()
    }

    pub(super) fn ids(&self) -> Vec<ConsumerId> {
        self.by_arrival.values().copied().collect()
    }

    pub(super) fn add(&mut self, spec: ConsumerSpec) {
        let slot = self.free.pop().unwrap_or(self.slots.len());
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        *self.by_channel.entry(channel_of(&spec)).or_default() += 1;
        self.arrivals += 1;
        self.by_arrival.insert(self.arrivals, spec.id);
        self.by_id.insert(spec.id, slot);
        self.exclusive += usize::from(spec.exclusive);
        let was_served = spec.was_served;
        self.slots[slot] = Some(Consumer {
            unacked: 0,
            window_bytes: i64::try_from(spec.window_bytes).unwrap_or(i64::MAX),
            arrival: self.arrivals,
            in_ring: false,
            pending: Vec::new(),
            uncounted: 0,
            spec,
        });
        if self.single_active && self.active.is_none() && (!self.are_awaited || was_served) {
            self.active = Some(slot);
        }
        self.wake(slot);
    }

    /// Whether some that were there before may still come back. When nobody is awaited any more, one of them is active.
    pub(super) fn set_awaited(&mut self, are_awaited: bool) {
        self.are_awaited = are_awaited;
        if self.active.is_none() {
            self.activate_next();
        }
    }

    pub(super) fn are_awaited(&self) -> bool {
        self.are_awaited
    }

    fn leave_channel(&mut self, channel: usize) {
        if let Some(count) = self.by_channel.get_mut(&channel) {
            *count -= 1;
            if *count == 0 {
                self.by_channel.remove(&channel);
            }
        }
    }

    pub(super) fn remove(&mut self, id: ConsumerId) -> bool {
        let Some(slot) = self.by_id.remove(&id) else { return false };
        if let Some(consumer) = self.slots[slot].take() {
            if consumer.in_ring {
                self.turns.remove(slot, consumer.spec.priority);
            }
            self.by_arrival.remove(&consumer.arrival);
            self.exclusive -= usize::from(consumer.spec.exclusive);
            self.leave_channel(channel_of(&consumer.spec));
            self.free.push(slot);
        }
        if self.active == Some(slot) {
            self.active = None;
            self.activate_next();
        }
        true
    }

    /// The highest priority is next, then the oldest (RabbitMQ: Single Active Consumer).
    fn activate_next(&mut self) {
        if !self.single_active || self.slots.is_empty() || self.are_awaited {
            return;
        }
        let consumers =
            self.slots.iter().enumerate().filter_map(|(slot, consumer)| Some((slot, consumer.as_ref()?)));
        let rank = |consumer: &Consumer| (consumer.spec.priority, std::cmp::Reverse(consumer.arrival));
        self.active = consumers.max_by_key(|(_, consumer)| rank(consumer)).map(|(slot, _)| slot);
        self.active.into_iter().for_each(|slot| self.wake(slot));
    }

    /// Lets a consumer wait for its turn if it can take a message.
    fn wake(&mut self, slot: usize) {
        let may = !self.single_active || self.active == Some(slot);
        let Some(Some(consumer)) = self.slots.get_mut(slot) else { return };
        if may && !consumer.in_ring && consumer.has_capacity() {
            consumer.in_ring = true;
            self.turns.push(slot, consumer.spec.priority);
        }
    }

    /// Messages of this consumer were acknowledged or came back.
    pub(super) fn release(&mut self, id: ConsumerId, count: u64) {
        if let Some(slot) = self.by_id.get(&id).copied() {
            if let Some(consumer) = &mut self.slots[slot] {
                consumer.unacked = consumer.unacked.saturating_sub(count);
            }
            self.wake(slot);
        }
    }

    /// Gives this consumer nothing more. It keeps its place: nobody takes over yet.
    pub(super) fn suspend(&mut self, id: ConsumerId) {
        if let Some(Some(consumer)) = self.by_id.get(&id).and_then(|slot| self.slots.get_mut(*slot)) {
            // Far more than any credit can lift.
            consumer.window_bytes = i64::MIN / 2;
        }
    }

    /// Bytes reached this consumer's socket.
    pub(super) fn credit(&mut self, id: ConsumerId, bytes: u64) {
        if let Some(slot) = self.by_id.get(&id).copied() {
            if let Some(consumer) = &mut self.slots[slot] {
                consumer.window_bytes =
                    consumer.window_bytes.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
            }
            self.wake(slot);
        }
    }

    /// The only one that is served, where only one is.
    pub(super) fn active(&self) -> Option<ConsumerId> {
        let consumer = self.slots.get(self.active?)?.as_ref()?;
        Some(consumer.spec.id)
    }

    pub(super) fn any_ready(&self) -> bool {
        !self.turns.is_empty()
    }

    /// The consumer whose turn it is. Those that cannot take anything now stop waiting.
    pub(super) fn next_ready(&mut self) -> Option<usize> {
        loop {
            let slot = self.turns.first()?;
            let consumer = self.slots.get_mut(slot)?.as_mut()?;
            if consumer.has_capacity() {
                return Some(slot);
            }
            consumer.in_ring = false;
            self.turns.remove(slot, consumer.spec.priority);
        }
    }

    /// Hands messages to those whose turn it is, until nobody can take one or there are none. A consumer that shares
    /// its priority with nobody takes all it can at once. `served` gets the slots that were given something.
    pub(super) fn serve(&mut self, source: &mut impl Source, hint: u64, served: &mut Vec<usize>) {
        while !source.is_empty() {
            let Some(slot) = self.next_ready() else { return };
            let alone = self.turns.is_alone();
            let Some(Some(consumer)) = self.slots.get_mut(slot) else { return };
            let most = if alone { consumer.room() } else { 1 };
            if consumer.pending.is_empty() {
                served.push(slot);
                consumer.pending.reserve(usize::try_from(most.min(hint).min(RESERVE_MAX)).unwrap_or(0));
            }
            consumer.take(most, source);
            if !alone {
                self.turns.rotate();
            }
        }
    }

    pub(super) fn is_no_ack(&self, slot: usize) -> bool {
        matches!(self.slots.get(slot), Some(Some(consumer)) if consumer.spec.no_ack)
    }

    /// A consumer and the messages assigned to it since the last call.
    pub(super) fn take_pending(&mut self, slot: usize) -> Option<(&ConsumerSpec, Vec<Entry>)> {
        let consumer = self.slots.get_mut(slot)?.as_mut()?;
        if consumer.uncounted > 0 {
            consumer.spec.shared.take_many(std::mem::take(&mut consumer.uncounted));
        }
        let pending = std::mem::take(&mut consumer.pending);
        Some((&consumer.spec, pending))
    }
}
