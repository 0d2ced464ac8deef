//! Policies of vhosts: setting and clearing them, and which holds for which queue and exchange.

use std::sync::Arc;

use amq_protocol::types::FieldTable;

use crate::broker::policy::{Applied, ObjectKind, Policy, PolicyScope, PolicySpec, Ranked};
use crate::protocol::error::Refusal;
use crate::protocol::reply_code::ReplyCode;

use super::refusals::failed;
use super::vhost::Vhost;
use super::{Change, Outcome, QueueEntry, Row, Topology};

/// The two lists of policies of a vhost.
#[derive(Debug, Default)]
pub(super) struct Policies {
    user: Ranked,
    operator: Ranked,
}

impl Policies {
    pub(super) fn of(&self, scope: PolicyScope) -> &Ranked {
        match scope {
            PolicyScope::User => &self.user,
            PolicyScope::Operator => &self.operator,
        }
    }

    pub(super) fn of_mut(&mut self, scope: PolicyScope) -> &mut Ranked {
        match scope {
            PolicyScope::User => &mut self.user,
            PolicyScope::Operator => &mut self.operator,
        }
    }

    /// What holds for an object. Costs nothing where there are no policies.
    pub(super) fn applied(&self, kind: ObjectKind, name: &str) -> Option<Arc<Applied>> {
        let (policy, operator_policy) = self.find(kind, name);
        Applied::of(policy, operator_policy)
    }

    fn find(&self, kind: ObjectKind, name: &str) -> (Found<'_>, Found<'_>) {
        (self.user.find(kind, name), self.operator.find(kind, name))
    }

    /// Policies of both scopes, as rows.
    pub(super) fn rows<'a>(&'a self, vhost: &'a str) -> impl Iterator<Item = Row> + 'a {
        let scopes = [PolicyScope::User, PolicyScope::Operator];
        scopes.into_iter().flat_map(move |scope| self.of(scope).iter().map(move |one| row(vhost, scope, one)))
    }
}

type Found<'a> = Option<&'a Arc<Policy>>;

/// Gives the same [`Applied`] to all objects that the same policies hold for: there may be 100,000.
#[derive(Default)]
struct Merges(Vec<Option<Arc<Applied>>>);

impl Merges {
    fn of(&mut self, (policy, operator_policy): (Found<'_>, Found<'_>)) -> Option<Arc<Applied>> {
        let known = self.0.iter().find(|known| Applied::is_of(known.as_deref(), policy, operator_policy));
        if let Some(known) = known {
            return known.clone();
        }
        self.0.push(Applied::of(policy, operator_policy));
        self.0.last().cloned().flatten()
    }
}

impl Vhost {
    /// Applies the policies to everything that is there. Gives the queues for which others hold than before, and
    /// whether routes may be others.
    fn apply_policies(&mut self) -> (Vec<Arc<QueueEntry>>, bool) {
        let (mut merges, mut changed, mut reroutes) = (Merges::default(), Vec::new(), false);
        for queue in self.queues.values_mut() {
            let found = self.policies.find(ObjectKind::Queue(queue.settings.queue_type), &queue.name);
            if !Applied::is_of(queue.applied.as_deref(), found.0, found.1) {
                *queue = Arc::new(queue.under(merges.of(found)));
                changed.push(Arc::clone(queue));
            }
        }
        for exchange in self.exchanges.iter_mut() {
            let found = self.policies.find(ObjectKind::Exchange, &exchange.name);
            if !Applied::is_of(exchange.applied.as_deref(), found.0, found.1) {
                reroutes |= exchange.set_applied(merges.of(found));
            }
        }
        (changed, reroutes)
    }
}

impl QueueEntry {
    /// The same queue with other policies.
    fn under(&self, applied: Option<Arc<Applied>>) -> Self {
        let none = FieldTable::default();
        let policy = applied.as_ref().map_or(&none, |applied| &applied.definition);
        let settings = self.settings.under_policy(&self.arguments, policy);
        Self { settings, applied, ..self.clone() }
    }
}

impl Topology {
    pub(super) fn set_policy(
        &mut self,
        vhost: &str,
        scope: PolicyScope,
        name: &str,
        spec: PolicySpec,
    ) -> Result<Outcome, Refusal> {
        let vhost = self.vhost_mut(vhost)?;
        let vhost_name = Arc::clone(&vhost.name);
        let policy = Policy::new(name, scope, spec).map_err(failed)?;
        let changes = vec![Change::Put(row(&vhost.name, scope, &policy))];
        let created = vhost.policies.of_mut(scope).put(policy);
        let changed_queues = self.apply_policies(&vhost_name);
        Ok(Outcome { created, changes, changed_queues, ..Outcome::default() })
    }

    pub(super) fn clear_policy(
        &mut self,
        vhost: &str,
        scope: PolicyScope,
        name: &str,
    ) -> Result<Outcome, Refusal> {
        let vhost = self.vhost_mut(vhost)?;
        let vhost_name = Arc::clone(&vhost.name);
        let policy = vhost.policies.of_mut(scope).remove(name);
        let policy = policy.ok_or_else(|| no_policy(name, &vhost.name))?;
        let changes = vec![Change::delete(&row(&vhost.name, scope, &policy))];
        let changed_queues = self.apply_policies(&vhost_name);
        Ok(Outcome { changes, changed_queues, ..Outcome::default() })
    }

    /// Applies the policies of a vhost to all that is in it. Gives the queues that are to work differently.
    pub(super) fn apply_policies(&mut self, vhost: &str) -> Vec<Arc<QueueEntry>> {
        let Some(vhost) = self.vhosts.get_mut(vhost) else { return Vec::new() };
        let (mut changed, reroutes) = vhost.apply_policies();
        self.version += u64::from(reroutes);
        changed.sort_unstable_by_key(|queue| queue.id);
        changed.retain(|queue| {
            let before = self.queues.replace(queue);
            before.is_none_or(|before| before.settings != queue.settings)
        });
        changed
    }

    /// A policy of a vhost.
    #[must_use]
    pub fn policy(&self, vhost: &str, scope: PolicyScope, name: &str) -> Option<&Arc<Policy>> {
        self.vhosts.get(vhost)?.policies.of(scope).get(name)
    }

    /// The policies of a vhost, the highest priority first; none when it is not there.
    #[must_use]
    pub fn policies(&self, vhost: &str, scope: PolicyScope) -> Vec<Arc<Policy>> {
        let vhost = self.vhosts.get(vhost);
        vhost.into_iter().flat_map(|vhost| vhost.policies.of(scope).iter().cloned()).collect()
    }
}

fn no_policy(name: &str, vhost: &str) -> Refusal {
    Refusal::channel(ReplyCode::NotFound, format!("no policy '{name}' in vhost '{vhost}'"))
}

fn row(vhost: &str, scope: PolicyScope, policy: &Policy) -> Row {
    Row::Policy { vhost: vhost.to_owned(), scope, name: policy.name.to_string(), spec: policy.spec() }
}
