//! Global parameters: names with values of any form, for people and tools (RabbitMQ: Runtime Parameters). The broker keeps
//! them and looks into none.

use crate::protocol::error::Refusal;
use crate::protocol::reply_code::ReplyCode;

use super::{Change, Outcome, Row, Topology};

impl Topology {
    /// Takes a value, as JSON; without one the parameter goes.
    pub(super) fn put_parameter(&mut self, name: String, value: Option<String>) -> Result<Outcome, Refusal> {
        let Some(value) = value else {
            let value = self.parameters.remove(&name).ok_or_else(|| no_parameter(&name))?;
            let changes = vec![Change::delete(&Row::Parameter { name, value })];
            return Ok(Outcome { changes, ..Outcome::default() });
        };
        let created = self.parameters.insert(name.clone(), value.clone()).is_none();
        let changes = vec![Change::Put(Row::Parameter { name, value })];
        Ok(Outcome { created, changes, ..Outcome::default() })
    }

    /// The value of a global parameter, as JSON.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// All global parameters with their values as JSON, by name.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

fn no_parameter(name: &str) -> Refusal {
    Refusal::channel(ReplyCode::NotFound, format!("no global parameter '{name}'"))
}
