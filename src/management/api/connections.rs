//! Connections: lists of them, one of them, closing.

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use hyper::HeaderMap;
use serde::{Serialize, Serializer};

use super::channels::rows_of;
use super::numbers::{Rate, shown};
use super::shape::{Collection, Reductions, Table};
use crate::management::http::{Api, Caller, Failure, ListQuery, Manager, Outcome, reply};
use crate::node::ConnectionInfo;
use crate::node::statistics::{ConnectionFacts, TlsFacts};

/// Why a connection is closed when nobody says it.
const REASON: &str = "Closed via management plugin";

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/connections", get(list_all))
        .route("/api/connections/{name}", get(show).delete(close))
        .route("/api/connections/{name}/channels", get(channels))
        .route("/api/connections/username/{user}", get(list_of_user).delete(close_of_user))
        .route("/api/vhosts/{vhost}/connections", get(list_of_vhost))
}

struct Row(ConnectionInfo);

#[derive(Serialize)]
struct Shown<'a> {
    auth_mechanism: &'a str,
    channel_max: u16,
    channels: usize,
    client_properties: Table<'a>,
    connected_at: u64,
    frame_max: u32,
    garbage_collection: Collection,
    host: String,
    name: String,
    node: &'a str,
    peer_cert_issuer: Option<&'a str>,
    peer_cert_subject: Option<&'a str>,
    peer_cert_validity: Option<&'a str>,
    peer_host: String,
    peer_port: u16,
    port: u16,
    protocol: &'a str,
    recv_cnt: u64,
    recv_oct: u64,
    recv_oct_details: Rate,
    reductions: u64,
    reductions_details: Reductions,
    send_cnt: u64,
    send_oct: u64,
    send_oct_details: Rate,
    send_pend: u64,
    ssl: bool,
    ssl_cipher: Option<&'a str>,
    ssl_hash: Option<&'a str>,
    ssl_key_exchange: Option<&'a str>,
    ssl_protocol: Option<&'a str>,
    state: &'a str,
    timeout: u16,
    #[serde(rename = "type")]
    kind: &'static str,
    user: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_provided_name: Option<&'a str>,
    user_who_performed_action: &'a str,
    vhost: &'a str,
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ConnectionInfo { facts, numbers } = &self.0;
        let tls = facts.tls.as_ref();
        let certificate = |field: fn(&TlsFacts) -> Option<&str>| tls.and_then(field);
        let shown = Shown {
            auth_mechanism: &facts.auth_mechanism,
            channel_max: facts.channel_max,
            channels: numbers.channels.len(),
            client_properties: Table(&facts.client_properties),
            connected_at: facts.connected_at_ms,
            frame_max: facts.frame_max,
            garbage_collection: Collection::default(),
            host: facts.local.ip().to_string(),
            name: facts.name(),
            node: &facts.node,
            peer_cert_issuer: certificate(|tls| tls.peer_issuer.as_deref()),
            peer_cert_subject: certificate(|tls| tls.peer_subject.as_deref()),
            peer_cert_validity: certificate(|tls| tls.peer_validity.as_deref()),
            peer_host: facts.peer.ip().to_string(),
            peer_port: facts.peer.port(),
            port: facts.local.port(),
            protocol: &facts.protocol,
            recv_cnt: numbers.traffic.recv_cnt,
            recv_oct: numbers.traffic.recv_oct,
            recv_oct_details: Rate::Now(shown(numbers.rates.recv_oct)),
            reductions: 0,
            reductions_details: Reductions::default(),
            send_cnt: numbers.traffic.send_cnt,
            send_oct: numbers.traffic.send_oct,
            send_oct_details: Rate::Now(shown(numbers.rates.send_oct)),
            send_pend: 0,
            ssl: tls.is_some(),
            ssl_cipher: tls.map(|tls| tls.cipher.as_str()),
            ssl_hash: None,
            ssl_key_exchange: None,
            ssl_protocol: tls.map(|tls| tls.protocol.as_str()),
            state: numbers.state.as_str(),
            timeout: facts.timeout_s,
            kind: "network",
            user: &facts.user,
            user_provided_name: facts.user_provided_name(),
            user_who_performed_action: &facts.user,
            vhost: &facts.vhost,
        };
        shown.serialize(serializer)
    }
}

/// Those that watch see all connections, others their own.
pub(super) fn sees(caller: &Caller, facts: &ConnectionFacts) -> bool {
    caller.is_monitoring() || facts.user == caller.name()
}

async fn rows(api: &Api, caller: &Caller, is_wanted: impl Fn(&ConnectionFacts) -> bool) -> Vec<Row> {
    let all = api.control.connection_list().await.all.into_iter();
    let wanted = all.filter(|connection| sees(caller, &connection.facts) && is_wanted(&connection.facts));
    wanted.map(Row).collect()
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

async fn list_of_user(
    State(api): State<Api>,
    Manager(caller): Manager,
    Path(user): Path<String>,
    query: ListQuery,
) -> Outcome {
    query.reply(rows(&api, &caller, |facts| facts.user == user).await)
}

pub(super) async fn find(api: &Api, caller: &Caller, name: &str) -> Result<ConnectionInfo, Failure> {
    let found = api.control.connection_detail(name).await.ok_or_else(Failure::no_object)?;
    if sees(caller, &found.facts) {
        return Ok(found);
    }
    Err(Failure::not_yours())
}

async fn show(
    State(api): State<Api>,
    Manager(caller): Manager,
    Path(name): Path<String>,
    query: ListQuery,
) -> Outcome {
    Ok(query.show(&Row(find(&api, &caller, &name).await?)))
}

async fn channels(
    State(api): State<Api>,
    Manager(caller): Manager,
    Path(name): Path<String>,
    query: ListQuery,
) -> Outcome {
    let connection = find(&api, &caller, &name).await?;
    query.reply(rows_of(connection, api.control.now_ms()).collect())
}

async fn close(
    State(api): State<Api>,
    Manager(caller): Manager,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Outcome {
    let connection = find(&api, &caller, &name).await?;
    end(&api, &caller, &connection.facts, &headers).await?;
    Ok(reply::no_content())
}

async fn close_of_user(
    State(api): State<Api>,
    Manager(caller): Manager,
    Path(user): Path<String>,
    headers: HeaderMap,
) -> Outcome {
    for row in rows(&api, &caller, |facts| facts.user == user).await {
        end(&api, &caller, &row.0.facts, &headers).await?;
    }
    Ok(reply::no_content())
}

/// Only administrators end what is not their own.
async fn end(
    api: &Api,
    caller: &Caller,
    facts: &ConnectionFacts,
    headers: &HeaderMap,
) -> Result<(), Failure> {
    caller.stands_for(&facts.user)?;
    let reason = headers.get("x-reason").and_then(|reason| reason.to_str().ok()).unwrap_or(REASON);
    let is_there = api.control.close_connection(facts.id, reason).await;
    if is_there { Ok(()) } else { Err(Failure::no_object()) }
}
