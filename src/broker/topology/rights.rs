//! What users may do in vhosts: setting it, taking it away, and what is kept of it.

use std::sync::Arc;

use crate::broker::rights::{Permission, PermissionSpec, TopicPermission, TopicPermissionSpec, VhostRights};
use crate::protocol::error::Refusal;
use crate::protocol::reply_code::ReplyCode;

use super::refusals::{self, failed};
use super::users::User;
use super::{Change, Outcome, Row, Topology};

impl User {
    /// What is kept of its rights. Those of one that is not settled follow from the row of the user.
    pub(super) fn rights_rows(&self) -> Vec<Row> {
        let rights = self.rights.iter().filter(|_| self.is_settled);
        rights.flat_map(|(vhost, rights)| self.rows_in(vhost, rights)).collect()
    }

    fn rows_in(&self, vhost: &str, rights: &VhostRights) -> Vec<Row> {
        let permission = rights.permission.iter().map(|permission| Row::Permission {
            user: self.name.to_string(),
            vhost: vhost.to_owned(),
            spec: permission.spec(),
        });
        let topics = rights.topics.iter().map(|(exchange, topic)| Row::TopicPermission {
            user: self.name.to_string(),
            vhost: vhost.to_owned(),
            exchange: exchange.clone(),
            spec: topic.spec().clone(),
        });
        permission.chain(topics).collect()
    }

    /// Its rights are kept from now on, if they are not yet.
    fn settle(&mut self) -> Vec<Change> {
        if std::mem::replace(&mut self.is_settled, true) {
            return Vec::new();
        }
        std::iter::once(self.row()).chain(self.rights_rows()).map(Change::Put).collect()
    }

    /// Changes what the user may do in a vhost.
    fn change_rights<T>(&mut self, vhost: &Arc<str>, change: impl FnOnce(&mut VhostRights) -> T) -> T {
        let rights = self.rights.entry(Arc::clone(vhost)).or_default();
        let changed = change(Arc::make_mut(rights));
        if rights.is_empty() {
            self.rights.remove(vhost);
        }
        changed
    }
}

impl Topology {
    pub(super) fn set_permissions(
        &mut self,
        user: &str,
        vhost: &str,
        spec: PermissionSpec,
    ) -> Result<Outcome, Refusal> {
        let permission = Permission::new(spec.clone()).map_err(failed)?;
        self.change_rights(user, vhost, |user, vhost| {
            let row = Row::Permission { user: user.name.to_string(), vhost: vhost.to_string(), spec };
            let before = user.change_rights(vhost, |rights| rights.permission.replace(permission));
            Ok((before.is_none(), vec![Change::Put(row)]))
        })
    }

    pub(super) fn clear_permissions(&mut self, user: &str, vhost: &str) -> Result<Outcome, Refusal> {
        self.change_rights(user, vhost, |user, vhost| {
            let missing = || missing(&format!("permissions for user '{}' in vhost '{vhost}'", user.name));
            let name = user.name.to_string();
            let row =
                Row::Permission { user: name, vhost: vhost.to_string(), spec: PermissionSpec::default() };
            let before = user.rights.get(vhost).is_some_and(|rights| rights.permission.is_some());
            if !before {
                return Err(missing());
            }
            user.change_rights(vhost, |rights| rights.permission = None);
            Ok((false, vec![Change::delete(&row)]))
        })
    }

    pub(super) fn set_topic_permissions(
        &mut self,
        user: &str,
        vhost: &str,
        exchange: String,
        spec: TopicPermissionSpec,
    ) -> Result<Outcome, Refusal> {
        let topic = TopicPermission::new(spec.clone(), user, vhost).map_err(failed)?;
        self.change_rights(user, vhost, |user, vhost| {
            let (name, exchange_name) = (user.name.to_string(), exchange.clone());
            let row =
                Row::TopicPermission { user: name, vhost: vhost.to_string(), exchange: exchange_name, spec };
            let before = user.change_rights(vhost, |rights| rights.topics.insert(exchange, topic));
            Ok((before.is_none(), vec![Change::Put(row)]))
        })
    }

    pub(super) fn clear_topic_permissions(
        &mut self,
        user: &str,
        vhost: &str,
        exchange: Option<&str>,
    ) -> Result<Outcome, Refusal> {
        self.change_rights(user, vhost, |user, vhost| {
            let is_meant = |name: &str| exchange.is_none_or(|exchange| exchange == name);
            let rights = user.rights.get(vhost).cloned().unwrap_or_default();
            let rows = user.rows_in(vhost, &rights);
            let rows = rows
                .iter()
                .filter(|row| matches!(row, Row::TopicPermission { exchange, .. } if is_meant(exchange)));
            let changes: Vec<_> = rows.map(Change::delete).collect();
            if changes.is_empty() {
                return Err(missing(&format!(
                    "topic permissions for user '{}' in vhost '{vhost}'",
                    user.name
                )));
            }
            user.change_rights(vhost, |rights| rights.topics.retain(|name, _| !is_meant(name)));
            Ok((false, changes))
        })
    }

    /// Keeps the rights of users that were made when there were none.
    pub(super) fn settle_users(&mut self) -> Outcome {
        let unsettled = self.users().into_iter().filter(|user| !user.is_settled);
        let names: Vec<_> = unsettled.map(|user| Arc::clone(&user.name)).collect();
        let changes = names.iter().flat_map(|name| self.settle(name)).collect();
        Outcome { changes, ..Outcome::default() }
    }

    /// Whether some users may do everything because they were made when there were no permissions.
    #[must_use]
    pub fn has_unsettled_users(&self) -> bool {
        self.users.values().any(|user| !user.is_settled)
    }

    /// Keeps a user's rights from now on, if they are not kept yet.
    pub(super) fn settle(&mut self, name: &str) -> Vec<Change> {
        self.users.get_mut(name).map(User::settle).unwrap_or_default()
    }

    /// Until now every user could do everything.
    pub(super) fn give_unsettled_everything(&mut self) {
        let vhosts = self.vhosts();
        let all = Arc::new(VhostRights::all());
        for user in self.users.values_mut().filter(|user| !user.is_settled) {
            user.rights = vhosts.iter().map(|vhost| (Arc::clone(vhost), Arc::clone(&all))).collect();
        }
    }

    /// Nobody may do anything in a vhost that is gone.
    pub(super) fn remove_rights(&mut self, vhost: &str) -> Vec<Change> {
        let mut changes = Vec::new();
        for user in self.users.values_mut() {
            let Some(rights) = user.rights.remove(vhost).filter(|_| user.is_settled) else { continue };
            changes.extend(user.rows_in(vhost, &rights).iter().map(Change::delete));
        }
        changes.sort_by_cached_key(Change::key);
        changes
    }

    /// Changes a user's rights in a vhost, which open connections notice by the version.
    fn change_rights(
        &mut self,
        user: &str,
        vhost: &str,
        change: impl FnOnce(&mut User, &Arc<str>) -> Result<(bool, Vec<Change>), Refusal>,
    ) -> Result<Outcome, Refusal> {
        let vhost = Arc::clone(&self.vhost(vhost)?.name);
        let user = self.users.get_mut(user).ok_or_else(|| refusals::no_user(user))?;
        let mut settled = user.clone();
        let mut changes = settled.settle();
        let (created, more) = change(&mut settled, &vhost)?;
        *user = settled;
        changes.extend(more);
        self.version += 1;
        Ok(Outcome { created, changes, ..Outcome::default() })
    }
}

fn missing(what: &str) -> Refusal {
    Refusal::channel(ReplyCode::NotFound, format!("no {what}"))
}
