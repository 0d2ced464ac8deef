//! The policies of one vhost and scope, in the order in which they are tried.

use std::sync::Arc;

use super::{ObjectKind, Policy};

/// Policies: the highest priority first, equals by name.
#[derive(Debug, Default)]
pub struct Ranked(Vec<Arc<Policy>>);

impl Ranked {
    /// Adds a policy or replaces the one of its name; true when there was none.
    pub(in crate::broker) fn put(&mut self, policy: Policy) -> bool {
        let is_new = self.remove(&policy.name).is_none();
        let rank = |one: &Policy| (std::cmp::Reverse(one.priority), Arc::clone(&one.name));
        let at = self.0.partition_point(|one| rank(one) < rank(&policy));
        self.0.insert(at, Arc::new(policy));
        is_new
    }

    /// Takes a policy out.
    pub(in crate::broker) fn remove(&mut self, name: &str) -> Option<Arc<Policy>> {
        let at = self.0.iter().position(|policy| &*policy.name == name)?;
        Some(self.0.remove(at))
    }

    /// The policy of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Policy>> {
        self.0.iter().find(|policy| &*policy.name == name)
    }

    /// The policy that holds for an object.
    #[must_use]
    pub fn find(&self, kind: ObjectKind, name: &str) -> Option<&Arc<Policy>> {
        self.0.iter().find(|policy| policy.is_for(kind, name))
    }

    /// All, the highest priority first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.0.iter()
    }
}
