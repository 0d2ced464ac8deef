//! A client of the HTTP API that knows nothing of it.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use ureq::http::Request;

use crate::support::broker::Broker;

/// A broker's HTTP API, as one user uses it.
pub(super) struct Http {
    base: String,
    authorization: String,
    agent: ureq::Agent,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: ureq::http::HeaderMap,
    pub(super) body: Value,
}

impl Answer {
    pub(super) fn reason(&self) -> &str {
        self.body["reason"].as_str().unwrap_or_default()
    }
}

impl Http {
    /// As guest.
    pub(super) fn of(broker: &Broker) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        let base = format!("http://{}/api", broker.management());
        Self { base, authorization: String::new(), agent: config.into() }.login("guest", "guest")
    }

    /// The same as another user.
    pub(super) fn login(&self, user: &str, password: &str) -> Self {
        let authorization = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        Self { base: self.base.clone(), authorization, agent: self.agent.clone() }
    }

    /// Makes a user with these tags who may do everything in `/`, and logs in as it.
    pub(super) fn user(&self, name: &str, tags: &str) -> Self {
        let made = self
            .put(&format!("/users/{name}"), r#"{"password": "pw", "tags": "TAGS"}"#.replace("TAGS", tags));
        assert_eq!(made.status, 201, "{made:?}");
        let all = r#"{"configure": ".*", "write": ".*", "read": ".*"}"#;
        assert_eq!(self.put(&format!("/permissions/%2F/{name}"), all).status, 201);
        self.login(name, "pw")
    }

    pub(super) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "", &[])
    }

    pub(super) fn put(&self, path: &str, body: impl AsRef<str>) -> Answer {
        self.send("PUT", path, body.as_ref(), &[])
    }

    pub(super) fn post(&self, path: &str, body: impl AsRef<str>) -> Answer {
        self.send("POST", path, body.as_ref(), &[])
    }

    pub(super) fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, "", &[])
    }

    pub(super) fn send(&self, method: &str, path: &str, body: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("authorization", &self.authorization);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.to_owned()).expect("a request");
        let mut answer = self.agent.run(request).expect("the API answers");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.body_mut().with_config().limit(1 << 30).read_to_string().expect("a text");
        Answer { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::Null) }
    }
}
