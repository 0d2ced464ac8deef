//! Users: a name, the hash of a password, tags.

use std::sync::Arc;

use crate::protocol::error::Refusal;

use super::settings::UserLimits;
use super::{Change, Outcome, Row, Topology, refusals};

/// A user who may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name, unique on the node.
    pub name: Arc<str>,
    /// The hash of the password, in a form that says how it was made.
    pub password_hash: String,
    /// Tags with commas between them, such as `administrator`.
    pub tags: String,
    /// What the user may open at a time.
    pub limits: UserLimits,
}

impl Topology {
    pub(super) fn put_user(&mut self, name: &str, password_hash: String, tags: String) -> Outcome {
        let limits = self.users.get(name).map(|user| user.limits).unwrap_or_default();
        let user = User { name: name.into(), password_hash, tags, limits };
        let changes = vec![Change::Put(user.row())];
        let created = self.users.insert(Arc::clone(&user.name), user).is_none();
        Outcome { created, changes, ..Outcome::default() }
    }

    pub(super) fn delete_user(&mut self, name: &str) -> Result<Outcome, Refusal> {
        let user = self.users.remove(name).ok_or_else(|| refusals::no_user(name))?;
        let mut changes = vec![Change::delete(&user.row())];
        changes.extend(user.limits_row().map(|row| Change::delete(&row)));
        Ok(Outcome { changes, ..Outcome::default() })
    }
}

impl User {
    pub(super) fn row(&self) -> Row {
        Row::User {
            name: self.name.to_string(),
            password_hash: self.password_hash.clone(),
            tags: self.tags.clone(),
        }
    }
}
