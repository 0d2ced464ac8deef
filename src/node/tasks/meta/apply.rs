//! Carrying out what the group has committed.

use std::sync::Arc;

use bytes::Bytes;

use super::Gone;
use super::effects::Effects;
use super::group::MetaGroup;
use super::proposals::Reply;
use crate::broker::ids::META_GROUP;
use crate::broker::topology::{Command, Outcome};
use crate::node::cluster::meta::{MetaCommand, MetaEntry, Step};
use crate::replication::shard_of;
use crate::storage::StorageError;

/// Whether somebody may notice that a command took place.
fn changes_anything(step: &Step) -> bool {
    let is_noticed = |outcome: &Outcome| outcome.created || !outcome.changes.is_empty();
    step.members_changed || step.outcomes.iter().any(is_noticed)
}

impl MetaGroup {
    /// Carries out an entry of the group's log.
    pub(super) fn apply(&mut self, index: u64, data: &Bytes) {
        if data.is_empty() {
            return self.state.skip(index);
        }
        let shared = Arc::clone(&self.shared);
        let cluster = Arc::clone(&self.cluster);
        // Nobody may route to a queue before its shard and the log know it: what is published there would be lost.
        let mut topology = shared.topology_mut();
        let version = topology.version();
        let (steps, changes) = match self.state.apply(&mut topology, index, data) {
            Ok(applied) => applied,
            Err(malformed) => {
                drop(topology);
                let reason = format!("what the cluster agreed on cannot be read: {malformed}");
                return self.fail(&StorageError::entry(shard_of(META_GROUP), index, reason));
            }
        };
        self.keep(&changes);
        if topology.version() != version || steps.iter().any(|(_, step)| changes_anything(step)) {
            self.spread.changed(index);
        }
        let mut effects = Effects { shared: &shared, cluster: &cluster, for_groups: &mut self.for_groups };
        let mut recalls = Vec::with_capacity(steps.len());
        for (entry, step) in &steps {
            step.outcomes.iter().for_each(|outcome| effects.create(&entry.command, outcome));
            // What is published from here on is not among what a new binding is given.
            recalls.push(step.outcomes.last().and_then(|outcome| effects.recall(outcome)));
        }
        for (entry, step) in &steps {
            step.outcomes.iter().for_each(|outcome| effects.change(&entry.command, outcome));
        }
        // Nor before its group does: a publish says by the index which declarations its leader must know first.
        self.tell_groups();
        shared.set_version(topology.version());
        drop(topology);
        for ((entry, step), recalled) in steps.into_iter().zip(recalls) {
            self.has_applied(&entry, step, recalled);
        }
    }

    fn has_applied(
        &mut self,
        entry: &MetaEntry,
        mut step: Step,
        recalled: Option<tokio::sync::oneshot::Receiver<()>>,
    ) {
        if step.members_changed {
            self.members_changed();
        }
        let Some(answer) = step.answer else { return };
        if answer.is_ok()
            && !step.outcomes.is_empty()
            && let MetaCommand::Topology(command) = &entry.command
        {
            Gone::by(command).close_connections(&self.shared);
        }
        if entry.origin != self.origin {
            return;
        }
        let outcome = step.outcomes.pop().filter(|_| answer.is_ok()).unwrap_or_default();
        let is_new = outcome.created;
        if !self.answer(entry.number, answer, outcome, recalled) && is_new {
            self.drop_late(&entry.command);
        }
    }

    /// A queue of a connection that has ended, and that was declared too late for it to know.
    fn drop_late(&mut self, command: &MetaCommand) {
        let MetaCommand::Topology(Command::DeclareQueue { exclusive: true, owner, .. }) = command else {
            return;
        };
        if !self.shared.clients.contains_key(owner) {
            let command = MetaCommand::Topology(Command::DropOwner { owner: *owner });
            self.proposals.add(command, Reply::Nobody, true, self.now_ms);
        }
    }
}
