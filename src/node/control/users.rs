//! Users and their limits.

use super::{Control, ControlError};
use crate::broker::topology::{Command, UserLimits};
use crate::node::auth;

impl Control {
    /// Makes a user or gives it another password and other tags; true when it is new.
    ///
    /// # Errors
    /// When the system has no random numbers for the hash.
    pub async fn put_user(&self, name: &str, password: &str, tags: &str) -> Result<bool, ControlError> {
        let password = password.to_owned();
        let hashed = tokio::task::spawn_blocking(move || auth::hash(&password)).await;
        let password_hash =
            hashed.unwrap_or_else(|error| Err(error.to_string())).map_err(ControlError::Invalid)?;
        let (name, tags) = (name.to_owned(), tags.to_owned());
        self.change(Command::PutUser { name, password_hash, tags }).await
    }

    /// Limits a user; what is open already stays open.
    ///
    /// # Errors
    /// When there is no such user.
    pub async fn limit_user(&self, name: &str, limits: UserLimits) -> Result<(), ControlError> {
        self.change(Command::LimitUser { name: name.to_owned(), limits }).await.map(drop)
    }

    /// The limits of a user; `None` when there is no such user.
    #[must_use]
    pub fn user_limits(&self, name: &str) -> Option<UserLimits> {
        self.shared.topology().user(name).map(|user| user.limits)
    }

    /// Deletes a user, and closes its connections.
    ///
    /// # Errors
    /// When there is no such user.
    pub async fn delete_user(&self, name: &str) -> Result<(), ControlError> {
        self.change(Command::DeleteUser { name: name.to_owned() }).await.map(drop)
    }
}
