//! Exchanges: declare, delete, and what each is.

use std::sync::Arc;

use amq_protocol::types::{AMQPValue, FieldTable};

use crate::broker::arguments::{
    Comparison, DEDUPLICATION_ARGUMENTS, check_deduplication, deduplication_cache, object_text, type_name,
};
use crate::broker::deduplication::Deduplication;
use crate::broker::exchange::{ExchangeKind, Map, Matcher, Slot, validate_consistent_hash};
use crate::broker::ids::{Home, NodeId};
use crate::broker::policy::{Applied, ObjectKind};
use crate::protocol::error::Refusal;
use crate::protocol::reply_code::ReplyCode;

use super::companions::{HISTORY_LENGTH, check_history, wants_deduplication};
use super::queues::Queues;
use super::refusals::{self, failed, stripped};
use super::{Change, Outcome, QueueEntry, Row, Topology};

const ALTERNATE: &str = "alternate-exchange";
/// The type of an exchange that holds messages back for as long as they ask (RabbitMQ: Delayed Message Plugin).
const DELAYED: &str = "x-delayed-message";
const DELAYED_TYPE: &str = "x-delayed-type";

/// One exchange.
#[derive(Debug)]
pub struct ExchangeEntry {
    /// The name, unique in its vhost.
    pub name: Arc<str>,
    /// The type: how it routes, whether it delays or not.
    pub kind: ExchangeKind,
    /// Where its messages wait for their delays to end, if it delays any.
    pub delays: Option<Arc<QueueEntry>>,
    /// Whether it survives a restart.
    pub durable: bool,
    /// Whether it goes with its last binding as a source.
    pub auto_delete: bool,
    /// Whether only other exchanges may hand it messages.
    pub internal: bool,
    /// The arguments as declared.
    pub arguments: FieldTable,
    /// `alternate-exchange`, by argument or policy: where unroutable messages go.
    pub alternate: Option<Arc<str>>,
    /// What it asks for when it looks for duplicates.
    pub deduplication: Option<Arc<Deduplication>>,
    /// The queue that remembers for it.
    pub companion: Option<Arc<QueueEntry>>,
    /// The policies that hold for it.
    pub applied: Option<Arc<Applied>>,
    /// Whether every vhost has it from the start.
    pub predeclared: bool,
    pub(super) matcher: Matcher,
    /// How many bindings have it as their source.
    pub(super) bindings_from: usize,
}

impl ExchangeEntry {
    /// How many bindings have it as their source.
    #[must_use]
    pub fn bindings_from(&self) -> usize {
        self.bindings_from
    }

    pub(super) fn new(name: &str, kind: ExchangeKind, arguments: FieldTable) -> Self {
        let alternate = alternate_in(&arguments);
        Self {
            name: name.into(),
            kind,
            delays: None,
            durable: true,
            auto_delete: false,
            internal: false,
            matcher: Matcher::new(kind, name, &arguments),
            deduplication: wants_deduplication(kind, &arguments)
                .then(|| Arc::new(deduplication_cache(&arguments))),
            companion: None,
            arguments,
            alternate,
            applied: None,
            predeclared: false,
            bindings_from: 0,
        }
    }

    pub(super) fn predeclared(name: &str, kind: ExchangeKind, internal: bool) -> Self {
        Self { predeclared: true, internal, ..Self::new(name, kind, FieldTable::default()) }
    }

    /// The type as declared.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        if self.delays.is_some() { DELAYED } else { self.kind.name() }
    }

    /// Other policies hold from now on; true when unroutable messages go somewhere else.
    pub(super) fn set_applied(&mut self, applied: Option<Arc<Applied>>) -> bool {
        let from_policy = || applied.as_ref().and_then(|applied| alternate_in(&applied.definition));
        let alternate = alternate_in(&self.arguments).or_else(from_policy);
        self.applied = applied;
        std::mem::replace(&mut self.alternate, alternate) != self.alternate
    }

    /// Takes a queue that belongs to it in the place of the one with its number; false when none does.
    pub(super) fn take_moved(&mut self, queue: &Arc<QueueEntry>) -> bool {
        let ours = [&mut self.delays, &mut self.companion].into_iter().flatten();
        let mut places = ours.filter(|own| own.id == queue.id);
        places.next().map(|place| *place = Arc::clone(queue)).is_some()
    }

    /// Whether there is a row of it; predeclared ones need none.
    pub(super) fn is_kept(&self, queues: &Queues) -> bool {
        queues.keeps(self.durable) && !self.predeclared
    }

    /// What is kept of it and its companion; the exchange comes first.
    pub(super) fn rows(&self, vhost: &str, queues: &Queues) -> impl DoubleEndedIterator<Item = Row> {
        let row = self.is_kept(queues).then(|| self.row(vhost, queues));
        row.into_iter().chain(self.companion_row(vhost, queues))
    }

    fn row(&self, vhost: &str, queues: &Queues) -> Row {
        Row::Exchange {
            vhost: vhost.to_owned(),
            name: self.name.to_string(),
            kind: self.kind,
            durable: self.durable,
            auto_delete: self.auto_delete,
            internal: self.internal,
            delays: self.delays.as_ref().map(|queue| (queue.id, queues.kept_home(queue.home))),
            arguments: self.arguments.clone(),
        }
    }
}

/// What a declare asks for.
pub(super) struct Asked {
    pub(super) kind: String,
    pub(super) durable: bool,
    pub(super) auto_delete: bool,
    pub(super) internal: bool,
    pub(super) arguments: FieldTable,
}

impl Topology {
    pub(super) fn declare_exchange(
        &mut self,
        vhost_name: &str,
        name: String,
        passive: bool,
        asked: Asked,
        asking: NodeId,
    ) -> Result<Outcome, Refusal> {
        let name = stripped(name);
        refusals::not_on_default_exchange(&name)?;
        let vhost = self.vhosts.get_mut(vhost_name).ok_or_else(|| refusals::no_vhost(vhost_name))?;
        let existing = vhost.exchanges.find(&name).map(|slot| vhost.exchanges.get(slot));
        if passive {
            return existing
                .map(|_| Outcome::default())
                .ok_or_else(|| refusals::no_exchange(&name, vhost_name));
        }
        let object = object_text("exchange", &name, vhost_name);
        let delayed = asked.kind == DELAYED;
        if !delayed {
            kind_of(&asked.kind)?;
        }
        if let Some(existing) = existing {
            return same(existing, &asked, &object).map(|()| Outcome::default());
        }
        if refusals::is_reserved(&name) {
            return Err(refusals::reserved("exchange", &name));
        }
        check_alternate(&asked.arguments, &object)?;
        let kind = if delayed { delayed_kind(&asked.arguments)? } else { kind_of(&asked.kind)? };
        if kind == ExchangeKind::ConsistentHash {
            validate_consistent_hash(&asked.arguments, &object)?;
        }
        if kind == ExchangeKind::RecentHistory {
            check_history(&asked.arguments)?;
        }
        check_deduplication(&asked.arguments, &object)?;
        let Asked { durable, auto_delete, internal, arguments, .. } = asked;
        let mut changes = Vec::new();
        let delays = delayed.then(|| {
            let id = self.queues.next_id(&mut changes);
            let home = self.queues.home_of(id, durable, asking);
            self.queues.add_delays(id, &vhost.name, &name, (durable, home))
        });
        let mut exchange = ExchangeEntry {
            durable,
            auto_delete,
            internal,
            delays: delays.clone(),
            ..ExchangeEntry::new(&name, kind, arguments)
        };
        exchange.set_applied(vhost.policies.applied(ObjectKind::Exchange, &name));
        if exchange.needs_companion() {
            let id = self.queues.next_id(&mut changes);
            self.queues.add_companion(id, &vhost.name, &mut exchange, Home::Node(asking));
        }
        changes.extend(exchange.rows(vhost_name, &self.queues).map(Change::Put));
        let companion = exchange.companion.clone();
        vhost.exchanges.insert(exchange);
        self.version += 1;
        Ok(Outcome { queue: delays, companion, created: true, changes, ..Outcome::default() })
    }

    pub(super) fn delete_exchange(
        &mut self,
        vhost_name: &str,
        name: String,
        if_unused: bool,
    ) -> Result<Outcome, Refusal> {
        let name = stripped(name);
        refusals::not_on_default_exchange(&name)?;
        if refusals::is_reserved(&name) {
            let object = object_text("exchange", &name, vhost_name);
            let text = format!("deletion of system {object} not allowed");
            return Err(Refusal::channel(ReplyCode::AccessRefused, text));
        }
        let vhost = self.vhosts.get_mut(vhost_name).ok_or_else(|| refusals::no_vhost(vhost_name))?;
        let Some(slot) = vhost.exchanges.find(&name) else { return Ok(Outcome::default()) };
        if if_unused && vhost.exchanges.get(slot).bindings_from > 0 {
            return Err(failed(format!("{} in use", object_text("exchange", &name, vhost_name))));
        }
        let mut outcome = Outcome::default();
        vhost.remove_exchanges(vec![slot], &self.queues, &mut outcome);
        self.forget_deleted(&outcome);
        self.version += 1;
        Ok(outcome)
    }
}

fn same(current: &ExchangeEntry, asked: &Asked, object: &str) -> Result<(), Refusal> {
    let comparison = Comparison { object };
    comparison.word("type", current.type_name(), &asked.kind)?;
    comparison.flag("durable", current.durable, asked.durable)?;
    comparison.flag("auto_delete", current.auto_delete, asked.auto_delete)?;
    comparison.flag("internal", current.internal, asked.internal)?;
    comparison.argument(ALTERNATE, &current.arguments, &asked.arguments)?;
    if current.delays.is_some() && asked.arguments.contains_key(DELAYED_TYPE) {
        comparison.argument(DELAYED_TYPE, &current.arguments, &asked.arguments)?;
    }
    let compared = DEDUPLICATION_ARGUMENTS.iter().chain(current.keeps_history().then_some(&HISTORY_LENGTH));
    compared.copied().try_for_each(|name| comparison.argument(name, &current.arguments, &asked.arguments))
}

fn kind_of(name: &str) -> Result<ExchangeKind, Refusal> {
    ExchangeKind::from_name(name).ok_or_else(|| failed(format!("unknown exchange type '{name}'")))
}

/// How an exchange that delays its messages routes them.
fn delayed_kind(arguments: &FieldTable) -> Result<ExchangeKind, Refusal> {
    match arguments.inner().get(DELAYED_TYPE) {
        Some(AMQPValue::LongString(name)) if name.as_bytes() == DELAYED.as_bytes() => {
            Err(failed(format!("Invalid argument, '{DELAYED}' can't be used for '{DELAYED_TYPE}'")))
        }
        Some(AMQPValue::LongString(name)) => kind_of(&String::from_utf8_lossy(name.as_bytes())),
        _ => Err(failed(format!("Invalid argument, '{DELAYED_TYPE}' must be an existing exchange type"))),
    }
}

fn alternate_in(table: &FieldTable) -> Option<Arc<str>> {
    match table.inner().get(ALTERNATE) {
        Some(AMQPValue::LongString(name)) => Some(name.to_string().into()),
        _ => None,
    }
}

fn check_alternate(arguments: &FieldTable, object: &str) -> Result<(), Refusal> {
    match arguments.inner().get(ALTERNATE) {
        None | Some(AMQPValue::LongString(_)) => Ok(()),
        Some(other) => {
            Err(failed(format!("invalid type '{}' for arg '{ALTERNATE}' in {object}", type_name(other))))
        }
    }
}

/// The exchanges of a vhost, by name and by slot.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    slots: Vec<Option<ExchangeEntry>>,
    free: Vec<Slot>,
    by_name: Map<Arc<str>, Slot>,
}

impl Exchanges {
    pub(super) fn find(&self, name: &str) -> Option<Slot> {
        self.by_name.get(name).copied()
    }

    /// The exchange in a slot that something refers to: bindings go before their exchange does.
    pub(super) fn get(&self, slot: Slot) -> &ExchangeEntry {
        self.slots[slot.0 as usize].as_ref().expect("a slot in use holds an exchange")
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> &mut ExchangeEntry {
        self.slots[slot.0 as usize].as_mut().expect("a slot in use holds an exchange")
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &ExchangeEntry> {
        self.slots.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut ExchangeEntry> {
        self.slots.iter_mut().flatten()
    }

    pub(super) fn insert(&mut self, exchange: ExchangeEntry) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            Slot(u32::try_from(self.slots.len() - 1).expect("fewer exchanges than memory could hold"))
        });
        self.by_name.insert(Arc::clone(&exchange.name), slot);
        self.slots[slot.0 as usize] = Some(exchange);
        slot
    }

    pub(super) fn remove(&mut self, slot: Slot) -> ExchangeEntry {
        let exchange = self.slots[slot.0 as usize].take().expect("a slot in use holds an exchange");
        self.by_name.remove(&exchange.name);
        self.free.push(slot);
        exchange
    }
}
