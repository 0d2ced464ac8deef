//! What users may do in vhosts, and with which keys of topic exchanges.

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use fancy_regex::Regex;
use serde::Serialize;
use serde_json::{Value, json};

use crate::broker::rights::{PermissionSpec, TopicPermissionSpec};
use crate::management::http::{Administrator, Api, Body, Failure, ListQuery, Manager, Outcome, reply};
use crate::node::{PermissionInfo, TopicPermissionInfo};

pub(super) fn routes() -> Router<Api> {
    let topic = "/api/topic-permissions/{vhost}/{user}";
    Router::new()
        .route("/api/permissions", get(list))
        .route("/api/permissions/{vhost}/{user}", get(show).put(put).delete(delete))
        .route("/api/users/{user}/permissions", get(of_user))
        .route("/api/vhosts/{vhost}/permissions", get(of_vhost))
        .route("/api/topic-permissions", get(list_topics))
        .route(topic, get(show_topics).put(put_topic).delete(delete_topics))
        .route("/api/topic-permissions/{vhost}/{user}/{exchange}", get(show_topic).delete(delete_topic))
        .route("/api/users/{user}/topic-permissions", get(topics_of_user))
        .route("/api/vhosts/{vhost}/topic-permissions", get(topics_of_vhost))
}

#[derive(Serialize)]
struct Row {
    user: String,
    vhost: String,
    configure: String,
    write: String,
    read: String,
}

impl From<PermissionInfo> for Row {
    fn from(found: PermissionInfo) -> Self {
        let PermissionSpec { configure, write, read } = found.spec;
        Self { user: found.user.to_string(), vhost: found.vhost.to_string(), configure, write, read }
    }
}

#[derive(Serialize)]
struct TopicRow {
    user: String,
    vhost: String,
    exchange: String,
    write: String,
    read: String,
}

impl From<TopicPermissionInfo> for TopicRow {
    fn from(found: TopicPermissionInfo) -> Self {
        let TopicPermissionSpec { write, read } = found.spec;
        Self {
            user: found.user.to_string(),
            vhost: found.vhost.to_string(),
            exchange: found.exchange,
            write,
            read,
        }
    }
}

/// What is set, as it is wanted.
fn rows(api: &Api, user: Option<&str>, vhost: Option<&str>) -> Vec<Row> {
    api.control.permissions(user, vhost).into_iter().map(Row::from).collect()
}

fn topic_rows(api: &Api, user: Option<&str>, vhost: Option<&str>) -> Vec<TopicRow> {
    api.control.topic_permissions(user, vhost).into_iter().map(TopicRow::from).collect()
}

fn needs_user(api: &Api, user: &str) -> Result<(), Failure> {
    api.control.user(user).map(drop).ok_or_else(Failure::no_object)
}

fn needs_vhost(api: &Api, vhost: &str) -> Result<(), Failure> {
    api.control.vhost(vhost).map(drop).ok_or_else(Failure::no_object)
}

fn needs_both(api: &Api, vhost: &str, user: &str) -> Result<(), Failure> {
    needs_vhost(api, vhost).and_then(|()| needs_user(api, user))
}

async fn list(State(api): State<Api>, Administrator(_): Administrator, query: ListQuery) -> Outcome {
    query.reply(rows(&api, None, None))
}

/// Users see their own.
async fn of_user(
    State(api): State<Api>,
    Manager(caller): Manager,
    Path(user): Path<String>,
    query: ListQuery,
) -> Outcome {
    caller.stands_for(&user)?;
    needs_user(&api, &user)?;
    query.reply(rows(&api, Some(&user), None))
}

async fn of_vhost(
    State(api): State<Api>,
    Administrator(_): Administrator,
    Path(vhost): Path<String>,
    query: ListQuery,
) -> Outcome {
    needs_vhost(&api, &vhost)?;
    query.reply(rows(&api, None, Some(&vhost)))
}

async fn show(
    State(api): State<Api>,
    Administrator(_): Administrator,
    Path((vhost, user)): Path<(String, String)>,
    query: ListQuery,
) -> Outcome {
    needs_both(&api, &vhost, &user)?;
    let row = rows(&api, Some(&user), Some(&vhost)).pop().ok_or_else(Failure::no_object)?;
    Ok(query.show(&row))
}

async fn put(
    State(api): State<Api>,
    Administrator(_): Administrator,
    Path((vhost, user)): Path<(String, String)>,
    body: Body,
) -> Outcome {
    body.need(&["configure", "write", "read"])?;
    let pattern = |field| pattern(&body, field);
    let spec =
        PermissionSpec { configure: pattern("configure")?, write: pattern("write")?, read: pattern("read")? };
    needs_both(&api, &vhost, &user).map_err(|_| Failure::bad_request("vhost_or_user_not_found"))?;
    Ok(reply::put(api.control.set_permissions(&user, &vhost, spec).await?))
}

/// A regular expression in a body.
fn pattern(body: &Body, field: &str) -> Result<String, Failure> {
    let pattern = body.text(field)?.unwrap_or_default();
    match Regex::new(pattern) {
        Ok(_) => Ok(pattern.to_owned()),
        Err(error) => {
            Err(Failure::bad_request(json!(["invalid_regexp", pattern, Value::from(error.to_string())])))
        }
    }
}

async fn delete(
    State(api): State<Api>,
    Administrator(_): Administrator,
    Path((vhost, user)): Path<(String, String)>,
) -> Outcome {
    needs_both(&api, &vhost, &user)?;
    if rows(&api, Some(&user), Some(&vhost)).is_empty() {
        return Err(Failure::no_object());
    }
    api.control.clear_permissions(&user, &vhost).await?;
    Ok(reply::no_content())
}

async fn list_topics(State(api): State<Api>, Administrator(_): Administrator, query: ListQuery) -> Outcome {
    query.reply(topic_rows(&api, None, None))
}

async fn topics_of_user(
    State(api): State<Api>,
    Manager(caller): Manager,
    Path(user): Path<String>,
    query: ListQuery,
) -> Outcome {
    caller.stands_for(&user)?;
    needs_user(&api, &user)?;
    query.reply(topic_rows(&api, Some(&user), None))
}

async fn topics_of_vhost(
    State(api): State<Api>,
    Administrator(_): Administrator,
    Path(vhost): Path<String>,
    query: ListQuery,
) -> Outcome {
    needs_vhost(&api, &vhost)?;
    query.reply(topic_rows(&api, None, Some(&vhost)))
}

async fn show_topics(
    State(api): State<Api>,
    Administrator(_): Administrator,
    Path((vhost, user)): Path<(String, String)>,
    query: ListQuery,
) -> Outcome {
    needs_both(&api, &vhost, &user)?;
    let rows = topic_rows(&api, Some(&user), Some(&vhost));
    if rows.is_empty() { Err(Failure::no_object()) } else { query.reply(rows) }
}

async fn show_topic(
    State(api): State<Api>,
    Administrator(_): Administrator,
    Path((vhost, user, exchange)): Path<(String, String, String)>,
    query: ListQuery,
) -> Outcome {
    needs_both(&api, &vhost, &user)?;
    let mut rows = topic_rows(&api, Some(&user), Some(&vhost)).into_iter();
    let row = rows.find(|row| row.exchange == exchange).ok_or_else(Failure::no_object)?;
    Ok(query.show(&row))
}

async fn put_topic(
    State(api): State<Api>,
    Administrator(_): Administrator,
    Path((vhost, user)): Path<(String, String)>,
    body: Body,
) -> Outcome {
    body.need(&["exchange", "write", "read"])?;
    let exchange = body.text("exchange")?.unwrap_or_default();
    let spec = TopicPermissionSpec { write: pattern(&body, "write")?, read: pattern(&body, "read")? };
    needs_both(&api, &vhost, &user).map_err(|_| Failure::bad_request("vhost_or_user_not_found"))?;
    Ok(reply::put(api.control.set_topic_permissions(&user, &vhost, exchange, spec).await?))
}

async fn delete_topics(
    State(api): State<Api>,
    Administrator(_): Administrator,
    Path((vhost, user)): Path<(String, String)>,
) -> Outcome {
    clear_topics(&api, &vhost, &user, None).await
}

async fn delete_topic(
    State(api): State<Api>,
    Administrator(_): Administrator,
    Path((vhost, user, exchange)): Path<(String, String, String)>,
) -> Outcome {
    clear_topics(&api, &vhost, &user, Some(&exchange)).await
}

async fn clear_topics(api: &Api, vhost: &str, user: &str, exchange: Option<&str>) -> Outcome {
    needs_both(api, vhost, user)?;
    let rows = topic_rows(api, Some(user), Some(vhost));
    if !rows.iter().any(|row| exchange.is_none_or(|exchange| exchange == row.exchange)) {
        return Err(Failure::no_object());
    }
    api.control.clear_topic_permissions(user, vhost, exchange).await?;
    Ok(reply::no_content())
}
