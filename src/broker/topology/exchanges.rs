//! Exchanges: declare, delete, and what each is.

use std::sync::Arc;

use amq_protocol::types::{AMQPValue, FieldTable};

use crate::broker::arguments::{Comparison, object_text, type_name};
use crate::broker::exchange::{ExchangeKind, Map, Matcher, Slot, validate_consistent_hash};
use crate::protocol::error::Refusal;
use crate::protocol::reply_code::ReplyCode;

use super::refusals::{self, failed, stripped};
use super::{Change, Outcome, Row, Topology};

const ALTERNATE: &str = "alternate-exchange";

/// One exchange.
#[derive(Debug)]
pub struct ExchangeEntry {
    /// The name, unique in its vhost.
    pub name: Arc<str>,
    /// The type.
    pub kind: ExchangeKind,
    /// Whether it survives a restart.
    pub durable: bool,
    /// Whether it goes with its last binding as a source.
    pub auto_delete: bool,
    /// Whether only other exchanges may hand it messages.
    pub internal: bool,
    /// The arguments as declared.
    pub arguments: FieldTable,
    /// `alternate-exchange`: where unroutable messages go.
    pub alternate: Option<Arc<str>>,
    /// Whether every vhost has it from the start.
    pub predeclared: bool,
    pub(super) matcher: Matcher,
    /// How many bindings have it as their source.
    pub(super) bindings_from: usize,
}

impl ExchangeEntry {
    pub(super) fn new(name: &str, kind: ExchangeKind, arguments: FieldTable) -> Self {
        let alternate = match arguments.inner().get(ALTERNATE) {
            Some(AMQPValue::LongString(name)) => Some(name.to_string().into()),
            _ => None,
        };
        Self {
            name: name.into(),
            kind,
            durable: true,
            auto_delete: false,
            internal: false,
            matcher: Matcher::new(kind, name, &arguments),
            arguments,
            alternate,
            predeclared: false,
            bindings_from: 0,
        }
    }

    pub(super) fn predeclared(name: &str, kind: ExchangeKind, internal: bool) -> Self {
        Self { predeclared: true, internal, ..Self::new(name, kind, FieldTable::default()) }
    }

    /// Whether there is a row of it; predeclared ones need none.
    pub(super) fn is_kept(&self) -> bool {
        self.durable && !self.predeclared
    }

    pub(super) fn row(&self, vhost: &str) -> Row {
        Row::Exchange {
            vhost: vhost.to_owned(),
            name: self.name.to_string(),
            kind: self.kind,
            auto_delete: self.auto_delete,
            internal: self.internal,
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
    ) -> Result<Outcome, Refusal> {
        let name = stripped(name);
        refusals::not_on_default_exchange(&name)?;
        let vhost = self.vhost_mut(vhost_name)?;
        let existing = vhost.exchanges.find(&name).map(|slot| vhost.exchanges.get(slot));
        if passive {
            return existing
                .map(|_| Outcome::default())
                .ok_or_else(|| refusals::no_exchange(&name, vhost_name));
        }
        let object = object_text("exchange", &name, vhost_name);
        let Some(kind) = ExchangeKind::from_name(&asked.kind) else {
            return Err(failed(format!("unknown exchange type '{}'", asked.kind)));
        };
        if let Some(existing) = existing {
            return same(existing, &asked, &object).map(|()| Outcome::default());
        }
        if refusals::is_reserved(&name) {
            return Err(refusals::reserved("exchange", &name));
        }
        check_alternate(&asked.arguments, &object)?;
        if kind == ExchangeKind::ConsistentHash {
            validate_consistent_hash(&asked.arguments, &object)?;
        }
        let Asked { durable, auto_delete, internal, arguments, .. } = asked;
        let exchange =
            ExchangeEntry { durable, auto_delete, internal, ..ExchangeEntry::new(&name, kind, arguments) };
        let changes = exchange.is_kept().then(|| Change::Put(exchange.row(vhost_name)));
        vhost.exchanges.insert(exchange);
        self.version += 1;
        Ok(Outcome { created: true, changes: changes.into_iter().collect(), ..Outcome::default() })
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
        let mut changes = Vec::new();
        vhost.remove_exchanges(vec![slot], &self.queues, &mut changes);
        self.version += 1;
        Ok(Outcome { changes, ..Outcome::default() })
    }
}

fn same(current: &ExchangeEntry, asked: &Asked, object: &str) -> Result<(), Refusal> {
    let comparison = Comparison { object };
    comparison.word("type", current.kind.name(), &asked.kind)?;
    comparison.flag("durable", current.durable, asked.durable)?;
    comparison.flag("auto_delete", current.auto_delete, asked.auto_delete)?;
    comparison.flag("internal", current.internal, asked.internal)?;
    comparison.argument(ALTERNATE, &current.arguments, &asked.arguments)
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
