//! Consumers of this node's clients at one owner, in the order of their arrival.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::broker::batch;
use crate::broker::ids::QueueId;
use crate::broker::queue::{ConsumerId, ConsumerSpec, Delivery, SharedPrefetch};
use crate::node::cluster::forward::Consumer;
use crate::node::links::{ClientInput, ClientLink};

/// A consumer of one of this node's clients.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) queue: QueueId,
    spec: Consumer,
    pub(super) client: Arc<ClientLink>,
    shared: Arc<SharedPrefetch>,
    /// Bytes on their way to the client's socket.
    out_bytes: u64,
    /// It was given messages.
    was_served: bool,
    pub(super) state: State,
    /// What came before the answer that the owner takes it: its client does not know it yet.
    pub(super) early: Vec<Delivery>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The owner has not said yet whether it takes it.
    Asked,
    Taken,
    /// It is given nothing more.
    Suspended,
    /// It ends, and its client does not wait for what is under way.
    Gone,
}

impl Attached {
    /// A delivery goes to its client, as soon as that knows it.
    pub(super) fn deliver(&mut self, delivery: Delivery) {
        self.was_served = true;
        if self.state == State::Asked {
            return self.early.push(delivery);
        }
        self.count(&delivery);
        self.client.mailbox.push(ClientInput::Deliver(delivery));
    }

    /// Its owner takes it.
    pub(super) fn begin(&mut self) {
        if self.state == State::Asked {
            self.stands(State::Taken);
        }
    }

    /// It stands otherwise from now on; what came meanwhile goes to its client.
    pub(super) fn stands(&mut self, state: State) {
        self.state = state;
        std::mem::take(&mut self.early).into_iter().for_each(|delivery| self.deliver(delivery));
    }

    fn count(&mut self, delivery: &Delivery) {
        for entry in &delivery.entries {
            let record = usize::try_from(entry.offset).ok().and_then(|offset| delivery.data.get(offset..));
            self.out_bytes += record.and_then(batch::skim).map_or(0, |skimmed| skimmed.length as u64);
        }
        if !self.spec.no_ack {
            self.shared.take_many(delivery.entries.len() as u64);
        }
    }

    /// As it is asked for; what is on its way to it counts.
    pub(super) fn asked(&self, is_back: bool) -> Consumer {
        let window_bytes = self.spec.window_bytes.saturating_sub(self.out_bytes);
        Consumer { window_bytes, is_back, was_served: self.was_served, ..self.spec.clone() }
    }
}

#[derive(Debug, Default)]
pub(super) struct Consumers {
    arrivals: u64,
    by_arrival: BTreeMap<u64, Attached>,
    by_id: HashMap<ConsumerId, u64, foldhash::fast::RandomState>,
}

impl Consumers {
    /// A client begins to consume; gives what is asked of the owner.
    pub(super) fn begin(&mut self, queue: QueueId, spec: &ConsumerSpec, client: Arc<ClientLink>) -> Consumer {
        // Others know nothing of what a channel's consumers share: each gets it as a limit of its own.
        let prefetch = match (spec.prefetch, spec.shared.limit()) {
            (0, limit) | (limit, 0) => limit,
            (own, shared) => own.min(shared),
        };
        let consumer = Consumer {
            id: spec.id,
            no_ack: spec.no_ack,
            exclusive: spec.exclusive,
            prefetch,
            priority: spec.priority,
            window_bytes: spec.window_bytes,
            is_back: false,
            was_served: false,
        };
        let attached = Attached {
            queue,
            spec: consumer.clone(),
            client,
            shared: Arc::clone(&spec.shared),
            out_bytes: 0,
            was_served: false,
            state: State::Asked,
            early: Vec::new(),
        };
        self.arrivals += 1;
        self.by_id.insert(spec.id, self.arrivals);
        self.by_arrival.insert(self.arrivals, attached);
        consumer
    }

    pub(super) fn get_mut(&mut self, id: ConsumerId) -> Option<&mut Attached> {
        self.by_arrival.get_mut(self.by_id.get(&id)?)
    }

    /// Whether the owner has still to say whether it takes it, and it has not ended meanwhile.
    pub(super) fn is_asked(&self, id: ConsumerId) -> bool {
        let attached = self.by_id.get(&id).and_then(|arrival| self.by_arrival.get(arrival));
        attached.is_some_and(|attached| attached.state == State::Asked)
    }

    pub(super) fn remove(&mut self, id: ConsumerId) -> Option<Attached> {
        self.by_arrival.remove(&self.by_id.remove(&id)?)
    }

    /// Bytes reached a consumer's socket.
    pub(super) fn credit(&mut self, id: ConsumerId, bytes: u64) {
        if let Some(attached) = self.get_mut(id) {
            attached.out_bytes = attached.out_bytes.saturating_sub(bytes);
        }
    }

    /// An attempt is over: what did not come to a client yet comes again.
    pub(super) fn forget_early(&mut self) {
        self.by_arrival.values_mut().for_each(|attached| attached.early.clear());
    }

    /// Those that an owner must hear of who knows nothing of them, oldest first.
    pub(super) fn taken(&self) -> impl Iterator<Item = (ConsumerId, &Attached)> {
        let taken = self.by_arrival.values().filter(|attached| attached.state == State::Taken);
        taken.map(|attached| (attached.spec.id, attached))
    }

    /// All of them, which are none any more.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (ConsumerId, Attached)> + use<> {
        self.by_id.clear();
        std::mem::take(&mut self.by_arrival).into_values().map(|attached| (attached.spec.id, attached))
    }
}
