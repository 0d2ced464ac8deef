//! A node's HTTP API.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use ureq::http::{Request, StatusCode};
use ureq::{Agent, RequestExt};

use super::access::Target;
use super::failure::Failure;

const TIMEOUT: Duration = Duration::from_secs(120);
const BODY_BYTES_MAX: u64 = 1 << 30;

/// A node that can be asked.
pub(crate) struct Node {
    agent: Agent,
    target: Target,
}

/// What a node answers.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
}

impl Node {
    pub(crate) fn new(target: Target) -> Self {
        let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(TIMEOUT));
        Self { agent: config.build().into(), target }
    }

    pub(crate) fn address(&self) -> &str {
        &self.target.node
    }

    pub(crate) fn get(&self, path: &str) -> Result<Value, Failure> {
        self.done("GET", path, None)
    }

    /// Asks; a refusal is a failure that names what was asked for.
    pub(crate) fn done(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let answer = self.ask(method, path, body)?;
        if answer.status.is_success() || answer.status.is_redirection() {
            return Ok(answer.body);
        }
        Err(self.refusal(method, path, &answer))
    }

    /// Asks, whatever the answer is.
    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, Failure> {
        let url = format!("{}/api/{path}", self.target.node);
        let authorization = match &self.target.token {
            Some(token) => format!("Bearer {token}"),
            None => {
                let pair = format!("{}:{}", self.target.user, self.target.password);
                format!("Basic {}", STANDARD.encode(pair))
            }
        };
        let request = Request::builder().method(method).uri(&url).header("authorization", authorization);
        let request = request.header("content-type", "application/json");
        let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = request.body(bytes).map_err(|error| Failure::usage(format!("{url}: {error}")))?;
        let agent = &self.agent;
        let sent = request.with_agent(agent).configure().allow_non_standard_methods(true).run();
        let mut response = sent.map_err(|error| self.unreachable(&error.to_string()))?;
        let read = response.body_mut().with_config().limit(BODY_BYTES_MAX).read_to_vec();
        let bytes = read.map_err(|error| self.unreachable(&error.to_string()))?;
        let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).unwrap_or_else(|_| text())
        };
        Ok(Answer { status: response.status(), body })
    }

    fn unreachable(&self, reason: &str) -> Failure {
        let text = format!(
            "cannot reach {}: {reason}. Does the node run, and is its HTTP API there? --node or WARREN_NODE names another one.",
            self.target.node
        );
        Failure::new(Failure::UNREACHABLE, text)
    }

    pub(crate) fn refusal(&self, method: &str, path: &str, answer: &Answer) -> Failure {
        let reason = reason(&answer.body);
        let what = format!("{method} {}/api/{path}", self.target.node);
        match answer.status {
            StatusCode::NOT_FOUND => {
                let object = decoded(path);
                Failure::new(Failure::NOT_FOUND, format!("not found: {object} ({reason})"))
            }
            StatusCode::UNAUTHORIZED if reason.contains("Login failed") || answer.body.is_null() => {
                let text = format!(
                    "{} does not let user '{}' in: {reason}. Give --user and --password, or WARREN_USER and \
                     WARREN_PASSWORD; guest may come from the node's own machine only.",
                    self.target.node, self.target.user
                );
                Failure::new(Failure::REFUSED, text)
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let text = format!("user '{}' may not do this: {reason} ({what})", self.target.user);
                Failure::new(Failure::REFUSED, text)
            }
            status => Failure::new(Failure::REFUSED, format!("{reason} ({what}: {status})")),
        }
    }
}

/// The reason in a refusal's body.
pub(crate) fn reason(body: &Value) -> String {
    match body.get("reason").or_else(|| body.get("error")).unwrap_or(body) {
        Value::String(text) => {
            text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(": ")
        }
        Value::Null => "no reason was given".to_owned(),
        other => other.to_string(),
    }
}

/// One part of a path.
pub(crate) fn part(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if plain(byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn decoded(path: &str) -> String {
    let parts = path.split('?').next().unwrap_or_default().split('/');
    let names: Vec<_> = parts.map(|part| format!("'{}'", plain(part))).collect();
    names.join(" ")
}

fn plain(part: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = part.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = tail.get(byte.map_or(0, |_| 2)..).unwrap_or_default();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_form_are_one_part_of_a_path() {
        for name in ["/", "a b", "ä%2f", "x/y?z#", ""] {
            let encoded = part(name);
            assert!(encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)));
            assert_eq!(plain(&encoded), name);
        }
    }

    #[test]
    fn a_reason_is_found_in_all_forms_of_refusals() {
        use serde_json::json;
        assert_eq!(reason(&json!({"error": "bad_request", "reason": "x"})), "x");
        assert_eq!(reason(&json!({"error": "y"})), "y");
        assert_eq!(reason(&json!({"reason": "Validation failed\n\nx\n"})), "Validation failed: x");
        assert_eq!(reason(&json!({"reason": ["no_such_vhost", "v"]})), r#"["no_such_vhost","v"]"#);
    }
}
