//! For definitions as a whole: all that is declared at one moment, changes by command, and a place to try them.

use super::{Control, ControlError};
use crate::broker::ids::Placement;
use crate::broker::topology::{Command, Topology};
use crate::node::auth;

impl Control {
    /// Carries out a command as the operator; it is on disk, and in force, when the call returns. Says whether the object
    /// it names is new. Not for commands that delete queues: their messages would be left.
    ///
    /// # Errors
    /// Why nothing was changed.
    pub async fn carry_out(&self, command: Command) -> Result<bool, ControlError> {
        self.change(command).await
    }

    /// Looks at all that is declared at one moment. Nothing can be declared meanwhile: be short.
    pub fn look<T>(&self, look: impl FnOnce(&Topology) -> T) -> T {
        look(&self.shared.topology())
    }

    /// A copy of all that is declared, to try commands on. Nothing that is not kept over a restart is in it.
    ///
    /// # Errors
    /// When what is declared cannot be copied.
    pub fn rehearsal(&self) -> Result<Topology, ControlError> {
        let rows = self.shared.topology().rows();
        Topology::restore(Placement::alone(1), rows.into_iter())
            .map_err(|error| ControlError::Invalid(error.to_string()))
    }

    /// The hash of a new password, for [`Command::PutUser`].
    ///
    /// # Errors
    /// When the system has no random numbers to give.
    pub async fn hash_password(&self, password: String) -> Result<String, ControlError> {
        let hashed = tokio::task::spawn_blocking(move || auth::hash(&password)).await;
        hashed.unwrap_or_else(|error| Err(error.to_string())).map_err(ControlError::Invalid)
    }
}
