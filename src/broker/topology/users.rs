//! Users: a name, the hash of a password, tags.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::broker::rights::VhostRights;
use crate::protocol::error::Refusal;

use super::settings::UserLimits;
use super::{Change, Outcome, Row, Topology, refusals};

/// A user who may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name, unique on the node.
    pub name: Arc<str>,
    /// The hash of the password, in a form that says how it was made; empty when no password is right.
    pub password_hash: String,
    /// Tags with commas between them, such as `administrator`.
    pub tags: String,
    /// What the user may open at a time.
    pub limits: UserLimits,
    /// What the user may do, by vhost.
    pub rights: BTreeMap<Arc<str>, Arc<VhostRights>>,
    /// Its rights are kept in rows of their own.
    pub(super) is_settled: bool,
}

impl User {
    /// A user without rights.
    pub(super) fn new(name: &str, password_hash: String, tags: String) -> Self {
        let (limits, rights) = (UserLimits::default(), BTreeMap::new());
        Self { name: name.into(), password_hash, tags, limits, rights, is_settled: true }
    }

    /// The tags, one by one.
    pub fn tag_list(&self) -> impl Iterator<Item = &str> {
        self.tags.split(',').map(str::trim).filter(|tag| !tag.is_empty())
    }

    /// What the user may do in a vhost; `None` is nothing.
    #[must_use]
    pub fn rights_in(&self, vhost: &str) -> Option<&Arc<VhostRights>> {
        self.rights.get(vhost)
    }

    pub(super) fn row(&self) -> Row {
        Row::User {
            name: self.name.to_string(),
            password_hash: self.password_hash.clone(),
            tags: self.tags.clone(),
            is_settled: self.is_settled,
        }
    }
}

impl Topology {
    pub(super) fn put_user(&mut self, name: &str, password_hash: String, tags: String) -> Outcome {
        let mut changes = self.settle(name);
        let before = self.users.remove(name);
        let created = before.is_none();
        let before = before.unwrap_or_else(|| User::new(name, String::new(), String::new()));
        let user = User { password_hash, tags, ..before };
        changes.push(Change::Put(user.row()));
        self.users.insert(Arc::clone(&user.name), user);
        Outcome { created, changes, ..Outcome::default() }
    }

    pub(super) fn delete_user(&mut self, name: &str) -> Result<Outcome, Refusal> {
        let user = self.users.remove(name).ok_or_else(|| refusals::no_user(name))?;
        let mut changes = vec![Change::delete(&user.row())];
        changes.extend(user.limits_row().map(|row| Change::delete(&row)));
        changes.extend(user.rights_rows().iter().map(Change::delete));
        self.version += 1;
        Ok(Outcome { changes, ..Outcome::default() })
    }
}
