//! Companions: the queue behind an exchange that keeps messages for queues to come, or ids of messages that came.
//!
//! It is a queue like others, with a number, a shard and a place in the log, but no name that a client could use, and
//! it comes and goes with its exchange.

use std::sync::Arc;

use amq_protocol::types::{AMQPValue, FieldTable};

use crate::broker::arguments::{QueueSettings, erlang_term, integer};
use crate::broker::deduplication::Deduplication;
use crate::broker::exchange::ExchangeKind;
use crate::broker::ids::{Home, QueueId, Target};
use crate::protocol::error::Refusal;
use crate::protocol::properties::Properties;
use crate::protocol::table;

use super::exchanges::ExchangeEntry;
use super::queues::Queues;
use super::refusals::failed;
use super::{QueueEntry, Row};

/// How many messages are kept.
pub(super) const HISTORY_LENGTH: &str = "x-recent-history-length";
const HISTORY_LENGTH_DEFAULT: u64 = 20;
/// Bytes of bodies that are kept, however many messages that is.
const HISTORY_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// A message with this header is not kept.
const NO_STORE: &[u8] = b"x-recent-history-no-store";

/// Where published messages are looked at before they go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// The companion, which knows the ids.
    pub companion: Target,
    /// What makes the id.
    pub deduplication: Arc<Deduplication>,
}

/// What a new binding wants from its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recall {
    /// Who has the messages.
    pub companion: Target,
    /// Who gets them.
    pub to: RecallTo,
}

/// Where messages go that are handed out once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecallTo {
    /// To a queue.
    Queue(Target),
    /// Through an exchange.
    Exchange {
        /// The vhost.
        vhost: Arc<str>,
        /// The exchange.
        name: String,
    },
}

/// Checks the arguments of an exchange that keeps messages.
pub(super) fn check_history(arguments: &FieldTable) -> Result<(), Refusal> {
    match arguments.inner().get(HISTORY_LENGTH) {
        Some(value) if integer(value).is_none_or(|length| length <= 0) => Err(failed(format!(
            "Invalid argument {}, '{HISTORY_LENGTH}' must be a positive integer",
            erlang_term(value)
        ))),
        Some(_) | None => Ok(()),
    }
}

impl ExchangeEntry {
    /// Whether it keeps messages for queues to come.
    #[must_use]
    pub fn keeps_history(&self) -> bool {
        self.kind == ExchangeKind::RecentHistory
    }

    pub(super) fn needs_companion(&self) -> bool {
        self.keeps_history() || self.deduplication.is_some()
    }

    /// The companion when this message is one to keep.
    pub(super) fn history_for(&self, properties: Option<&Properties<'_>>) -> Option<Target> {
        let headers = properties.and_then(|properties| properties.headers).unwrap_or_default();
        let is_kept =
            table::find(headers, NO_STORE).is_none_or(|field| (field.kind, field.value) != (b't', &[1]));
        let companion = self.companion.as_ref().filter(|_| self.keeps_history() && is_kept);
        companion.map(|companion| companion.target())
    }

    pub(super) fn gate(&self) -> Option<Gate> {
        let companion = self.companion.as_ref()?.target();
        Some(Gate { companion, deduplication: Arc::clone(self.deduplication.as_ref()?) })
    }

    pub(super) fn companion_row(&self, vhost: &str, queues: &Queues) -> Option<Row> {
        let companion = self.companion.as_ref().filter(|_| self.is_kept(queues))?;
        let home = queues.kept_home(companion.home);
        Some(Row::Companion {
            vhost: vhost.to_owned(),
            exchange: self.name.to_string(),
            id: companion.id,
            home,
        })
    }

    fn companion_settings(&self) -> QueueSettings {
        let length = self.arguments.inner().get(HISTORY_LENGTH);
        let length = length.and_then(integer).and_then(|length| u64::try_from(length).ok());
        QueueSettings {
            max_length: self.keeps_history().then_some(length.unwrap_or(HISTORY_LENGTH_DEFAULT)),
            max_length_bytes: self.keeps_history().then_some(HISTORY_BYTES_MAX),
            ids_kept: self.deduplication.as_ref().map(|deduplication| deduplication.size),
            ..QueueSettings::default()
        }
    }
}

impl Queues {
    /// Gives an exchange its companion.
    pub(super) fn add_companion(
        &mut self,
        id: QueueId,
        vhost: &Arc<str>,
        exchange: &mut ExchangeEntry,
        home: Home,
    ) {
        let companion = Arc::new(QueueEntry {
            id,
            home,
            shard: self.shard_of(home, id),
            vhost: Arc::clone(vhost),
            // Clients can neither declare such a name nor find this queue by it.
            name: format!("amq.exchange.{}", exchange.name).into(),
            durable: exchange.durable,
            exclusive: None,
            auto_delete: false,
            arguments: FieldTable::default(),
            settings: exchange.companion_settings(),
            applied: None,
            delays_for: None,
        });
        self.insert(&companion);
        exchange.companion = Some(companion);
    }
}

/// The type of an exchange that looks for duplicates whatever its arguments say.
pub(super) fn wants_deduplication(kind: ExchangeKind, arguments: &FieldTable) -> bool {
    let asked = arguments.inner().get("x-message-deduplication") == Some(&AMQPValue::Boolean(true));
    asked || kind == ExchangeKind::Deduplication
}
