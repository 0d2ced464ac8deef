//! Somebody who runs the broker: calls of its HTTP API as guest.

use std::time::Duration;

use serde_json::Value;

use super::broker::Broker;
use super::wait::eventually;

/// The HTTP API of a broker.
pub(crate) struct Operator {
    base: String,
    agent: ureq::Agent,
}

impl Operator {
    pub(crate) fn of(broker: &Broker) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        Self { base: format!("http://{}/api", broker.management()), agent: config.into() }
    }

    /// Status and body of a GET.
    pub(crate) fn get(&self, path: &str) -> (u16, Value) {
        let request = self.agent.get(format!("{}{path}", self.base));
        read(request.header("authorization", GUEST).call())
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.agent.post(format!("{}{path}", self.base));
        read(request.header("authorization", GUEST).send_json(body))
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.agent.put(format!("{}{path}", self.base));
        read(request.header("authorization", GUEST).send_json(body))
    }

    pub(crate) fn delete(&self, path: &str) -> (u16, Value) {
        let request = self.agent.delete(format!("{}{path}", self.base));
        read(request.header("authorization", GUEST).call())
    }

    /// Begins a job on messages, and waits for its end.
    pub(crate) fn job(&self, path: &str, body: &Value) -> Value {
        let (status, job) = self.post(path, body);
        assert_eq!(status, 201, "{job}");
        let id = job["id"].as_str().expect("an id").to_owned();
        eventually("the job to end", || {
            let (_, job) = self.get(&format!("/jobs/{id}"));
            (job["state"] != "running").then_some(job)
        })
    }
}

/// `guest:guest`.
const GUEST: &str = "Basic Z3Vlc3Q6Z3Vlc3Q=";

fn read(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> (u16, Value) {
    let mut answer = answer.expect("the API answers");
    let status = answer.status().as_u16();
    let text = answer.body_mut().with_config().limit(1 << 30).read_to_string().expect("a body");
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}
