//! Users.

use std::collections::BTreeSet;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::limits::shown_of_user;
use crate::management::http::{Administrator, Api, Body, Failure, ListQuery, Manager, Outcome, reply};
use crate::node::{NewPassword, UserInfo};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/users", get(list))
        .route("/api/users/without-permissions", get(list_without_permissions))
        .route("/api/users/bulk-delete", post(delete_many))
        .route("/api/users/{user}", get(show).put(put).delete(delete))
        .route("/api/auth/hash_password/{password}", get(hash))
}

#[derive(Serialize)]
struct Row {
    name: String,
    password_hash: String,
    hashing_algorithm: &'static str,
    tags: Vec<String>,
    limits: Map<String, Value>,
}

impl From<UserInfo> for Row {
    fn from(user: UserInfo) -> Self {
        Self {
            name: user.name.to_string(),
            password_hash: user.password_hash,
            hashing_algorithm: user.hashing_algorithm,
            tags: user.tags,
            limits: shown_of_user(user.limits),
        }
    }
}

async fn list(State(api): State<Api>, Administrator(_): Administrator, query: ListQuery) -> Outcome {
    query.reply(api.control.users().into_iter().map(Row::from).collect())
}

async fn list_without_permissions(
    State(api): State<Api>,
    Administrator(_): Administrator,
    query: ListQuery,
) -> Outcome {
    let with: BTreeSet<_> = api.control.permissions(None, None).into_iter().map(|found| found.user).collect();
    let without = api.control.users().into_iter().filter(|user| !with.contains(&user.name));
    query.reply(without.map(Row::from).collect())
}

/// Users see themselves.
async fn show(
    State(api): State<Api>,
    Manager(caller): Manager,
    Path(name): Path<String>,
    query: ListQuery,
) -> Outcome {
    caller.stands_for(&name)?;
    let user = api.control.user(&name).ok_or_else(Failure::no_object)?;
    Ok(query.show(&Row::from(user)))
}

async fn put(
    State(api): State<Api>,
    Administrator(_): Administrator,
    Path(name): Path<String>,
    body: Body,
) -> Outcome {
    let tags = tags(&body)?;
    let password = password(&body)?;
    Ok(reply::put(api.control.put_user(&name, password, &tags).await?))
}

/// Words with commas between them, or an array of words.
fn tags(body: &Body) -> Result<String, Failure> {
    match body.get("tags") {
        None => Err(Failure::bad_request("tags_not_present")),
        Some(Value::String(tags)) => Ok(tags.clone()),
        Some(Value::Array(tags)) => {
            let tags: Option<Vec<_>> = tags.iter().map(Value::as_str).collect();
            let tags = tags.ok_or_else(|| Failure::bad_request("tags should be strings"))?;
            Ok(tags.join(","))
        }
        Some(_) => Err(Failure::bad_request("tags should be strings")),
    }
}

fn password(body: &Body) -> Result<NewPassword<'_>, Failure> {
    match (body.text("password")?, body.text("password_hash")?) {
        (Some(_), Some(_)) => Err(Failure::bad_request("both_password_and_password_hash_are_provided")),
        (Some(""), None) | (None, Some("") | None) => Ok(NewPassword::None),
        (Some(password), None) => Ok(NewPassword::Clear(password)),
        (None, Some(hash)) => {
            let algorithm = body.text("hashing_algorithm")?;
            if algorithm != Some("argon2") && STANDARD.decode(hash).is_err() {
                return Err(Failure::bad_request(json!(["not_base64", hash])));
            }
            Ok(NewPassword::Hashed { hash, algorithm })
        }
    }
}

async fn delete(
    State(api): State<Api>,
    Administrator(_): Administrator,
    Path(name): Path<String>,
) -> Outcome {
    if api.control.user(&name).is_none() {
        return Err(Failure::no_object());
    }
    api.control.delete_user(&name).await?;
    Ok(reply::no_content())
}

async fn delete_many(State(api): State<Api>, Administrator(_): Administrator, body: Body) -> Outcome {
    body.need(&["users"])?;
    let names = body.0["users"].as_array().map(|names| names.iter().map(Value::as_str).collect());
    let names: Option<Option<Vec<_>>> = names;
    let names = names.flatten().ok_or_else(|| Failure::bad_request("users should be an array of names"))?;
    if let Some(strange) = names.iter().find(|name| api.control.user(name).is_none()) {
        return Err(Failure::bad_request(json!(["no_such_user", strange])));
    }
    for name in names {
        api.control.delete_user(name).await?;
    }
    Ok(reply::no_content())
}

/// The hash that RabbitMQ would keep of a password: four random octets, and SHA-256 of them and the password.
async fn hash(Manager(_): Manager, Path(password): Path<String>) -> Result<Response, Failure> {
    let mut octets = [0_u8; 4].to_vec();
    getrandom::fill(&mut octets).map_err(|error| Failure::unavailable(error.to_string()))?;
    let salted = [octets.as_slice(), password.as_bytes()].concat();
    octets.extend_from_slice(ring::digest::digest(&ring::digest::SHA256, &salted).as_ref());
    Ok(reply::json(&json!({"ok": STANDARD.encode(octets)})))
}
