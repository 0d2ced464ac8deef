//! Channels.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use serde::{Serialize, Serializer};

use super::connections::{self, sees};
use super::consumers::ConsumerRow;
use super::numbers::{MessageStats, time_text};
use super::shape::{Collection, Peer, Reductions};
use crate::management::http::{Api, Caller, Failure, ListQuery, Manager, Outcome};
use crate::node::ConnectionInfo;
use crate::node::statistics::{ChannelNumbers, ConnectionFacts};

/// A channel that did nothing for so long is idle.
const IDLE_MS: u64 = 5_000;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/channels", get(list_all))
        .route("/api/channels/{name}", get(show))
        .route("/api/vhosts/{vhost}/channels", get(list_of_vhost))
}

/// A channel, and the connection that it is on.
pub(super) struct Row {
    connection: Arc<ConnectionFacts>,
    channel: ChannelNumbers,
    now_ms: u64,
    /// Only when one channel is shown.
    consumers: Option<Vec<ConsumerRow>>,
}

#[derive(Serialize)]
struct Shown<'a> {
    acks_uncommitted: u64,
    confirm: bool,
    connection_details: Peer,
    consumer_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer_details: Option<&'a [ConsumerRow]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliveries: Option<[(); 0]>,
    garbage_collection: Collection,
    global_prefetch_count: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_stats: Option<MessageStats>,
    messages_unacknowledged: u64,
    messages_uncommitted: u64,
    messages_unconfirmed: u64,
    name: String,
    node: &'a str,
    number: u16,
    pending_raft_commands: u64,
    prefetch_count: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    publishes: Option<[(); 0]>,
    reductions: u64,
    reductions_details: Reductions,
    state: &'static str,
    transactional: bool,
    user: &'a str,
    user_who_performed_action: &'a str,
    vhost: &'a str,
}

impl Row {
    fn name(&self) -> String {
        format!("{} ({})", self.connection.name(), self.channel.number)
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { connection, channel, now_ms, consumers } = self;
        let rates = channel.rates.as_deref().map_or(&[][..], |rates| &rates[..]);
        let stats = (!channel.counts.is_zero()).then(|| MessageStats::new(&channel.counts, rates));
        let is_idle = now_ms.saturating_sub(channel.active_ms) >= IDLE_MS && channel.active_ms > 0;
        let shown = Shown {
            acks_uncommitted: channel.acks_uncommitted,
            confirm: channel.confirm,
            connection_details: Peer::of(connection),
            consumer_count: channel.consumer_count,
            consumer_details: consumers.as_deref(),
            deliveries: consumers.as_ref().map(|_| []),
            garbage_collection: Collection::default(),
            global_prefetch_count: channel.global_prefetch,
            idle_since: is_idle.then(|| time_text(channel.active_ms)),
            message_stats: stats,
            messages_unacknowledged: channel.unacked,
            messages_uncommitted: channel.uncommitted,
            messages_unconfirmed: channel.unconfirmed,
            name: self.name(),
            node: &connection.node,
            number: channel.number,
            pending_raft_commands: 0,
            prefetch_count: channel.prefetch,
            publishes: consumers.as_ref().map(|_| []),
            reductions: 0,
            reductions_details: Reductions::default(),
            state: "running",
            transactional: channel.transactional,
            user: &connection.user,
            user_who_performed_action: &connection.user,
            vhost: &connection.vhost,
        };
        shown.serialize(serializer)
    }
}

/// The channels of a connection.
pub(super) fn rows_of(connection: ConnectionInfo, now_ms: u64) -> impl Iterator<Item = Row> {
    let facts = Arc::new(connection.facts);
    let channels = connection.numbers.channels.into_iter();
    channels.map(move |channel| Row { connection: Arc::clone(&facts), channel, now_ms, consumers: None })
}

async fn rows(api: &Api, caller: &Caller, is_wanted: impl Fn(&ConnectionFacts) -> bool) -> Vec<Row> {
    let now_ms = api.control.now_ms();
    let all = api.control.connection_list().await.all.into_iter();
    let wanted = all.filter(|connection| sees(caller, &connection.facts) && is_wanted(&connection.facts));
    wanted.flat_map(|connection| rows_of(connection, now_ms)).collect()
}

async fn list_all(State(api): State<Api>, Manager(caller): Manager, query: ListQuery) -> Outcome {
    query.reply(rows(&api, &caller, |_| true).await)
}

async fn list_of_vhost(
    State(api): State<Api>,
    Manager(caller): Manager,
    Path(vhost): Path<String>,
    query: ListQuery,
) -> Outcome {
    caller.sees(&api, &vhost)?;
    query.reply(rows(&api, &caller, |facts| facts.vhost == vhost).await)
}

async fn show(
    State(api): State<Api>,
    Manager(caller): Manager,
    Path(name): Path<String>,
    query: ListQuery,
) -> Outcome {
    let (connection, _) = name.rsplit_once(" (").ok_or_else(Failure::no_object)?;
    let connection = connections::find(&api, &caller, connection).await?;
    let mut rows = rows_of(connection, api.control.now_ms());
    let mut row = rows.find(|row| row.name() == name).ok_or_else(Failure::no_object)?;
    let consumers = api.control.consumer_list(None).await.all.into_iter();
    let own = consumers.filter(|consumer| {
        consumer.facts.connection == row.connection.id && consumer.facts.channel == row.channel.number
    });
    row.consumers = Some(own.map(ConsumerRow).collect());
    Ok(query.show(&row))
}
