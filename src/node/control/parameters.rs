//! Global parameters.

use super::{Control, ControlError};
use crate::broker::topology::Command;

impl Control {
    /// Gives a global parameter a value, which is JSON as text; true when it is new.
    ///
    /// # Errors
    /// When the node is stopping.
    pub async fn set_global_parameter(&self, name: &str, value: &str) -> Result<bool, ControlError> {
        let command = Command::PutParameter { name: name.to_owned(), value: Some(value.to_owned()) };
        self.change(command).await
    }

    /// Takes a global parameter away.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn clear_global_parameter(&self, name: &str) -> Result<(), ControlError> {
        self.change(Command::PutParameter { name: name.to_owned(), value: None }).await.map(drop)
    }

    /// The value of a global parameter, as JSON; `None` when it is not there.
    #[must_use]
    pub fn global_parameter(&self, name: &str) -> Option<String> {
        self.shared.topology().parameter(name).map(str::to_owned)
    }

    /// All global parameters with their values as JSON, by name.
    #[must_use]
    pub fn global_parameters(&self) -> Vec<(String, String)> {
        let topology = self.shared.topology();
        topology.parameters().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}
