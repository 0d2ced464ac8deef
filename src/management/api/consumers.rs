//! Consumers.

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use serde::{Serialize, Serializer};

use super::shape::Table;
use crate::management::http::{Api, ListQuery, Manager, Outcome};
use crate::node::ConsumerInfo;

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/api/consumers", get(list_all)).route("/api/consumers/{vhost}", get(list))
}

/// A consumer as it is shown.
#[derive(Clone, Debug)]
pub(super) struct ConsumerRow(pub(super) ConsumerInfo);

#[derive(Serialize)]
struct Shown<'a> {
    arguments: Table<'a>,
    ack_required: bool,
    active: bool,
    activity_status: &'static str,
    channel_details: ChannelDetails<'a>,
    consumer_tag: &'a str,
    exclusive: bool,
    prefetch_count: u16,
    queue: QueueName<'a>,
}

#[derive(Serialize)]
struct ChannelDetails<'a> {
    connection_name: &'a str,
    name: String,
    node: &'a str,
    number: u16,
    peer_host: String,
    peer_port: u16,
    user: &'a str,
}

#[derive(Serialize)]
struct QueueName<'a> {
    name: &'a str,
    vhost: &'a str,
}

impl Serialize for ConsumerRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ConsumerInfo { facts, active } = &self.0;
        let shown = Shown {
            arguments: Table(&facts.arguments),
            ack_required: facts.ack_required,
            active: *active,
            activity_status: if *active { "up" } else { "waiting" },
            channel_details: ChannelDetails {
                connection_name: &facts.connection_name,
                name: format!("{} ({})", facts.connection_name, facts.channel),
                node: &facts.node,
                number: facts.channel,
                peer_host: facts.peer.ip().to_string(),
                peer_port: facts.peer.port(),
                user: &facts.user,
            },
            consumer_tag: &facts.tag,
            exclusive: facts.exclusive,
            prefetch_count: facts.prefetch,
            queue: QueueName { name: &facts.queue, vhost: &facts.vhost },
        };
        shown.serialize(serializer)
    }
}

async fn list_all(State(api): State<Api>, Manager(caller): Manager, query: ListQuery) -> Outcome {
    let seen = caller.vhosts(&api);
    let mut all = api.control.consumer_list(None).await.all;
    all.retain(|consumer| seen.iter().any(|vhost| **vhost == *consumer.facts.vhost));
    query.reply(all.into_iter().map(ConsumerRow).collect())
}

async fn list(
    State(api): State<Api>,
    Manager(caller): Manager,
    Path(vhost): Path<String>,
    query: ListQuery,
) -> Outcome {
    caller.sees(&api, &vhost)?;
    let all = api.control.consumer_list(Some(&vhost)).await.all;
    query.reply(all.into_iter().map(ConsumerRow).collect())
}
