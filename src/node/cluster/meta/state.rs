//! The state: one entry after the other, the same on every node.

use super::codec::Malformed;
use super::command::{MetaAnswer, MetaCommand, MetaEntry, Origin};
use super::recent::{Answered, Asked, Recent, Turn};
use super::rows::{self, Kept};
use crate::broker::ids::{NodeId, Placement, Run};
use crate::broker::topology::{Change, Command, Outcome, Row, Topology};
use crate::node::cluster::members::{Member, Members};
use crate::protocol::error::Refusal;
use crate::protocol::reply_code::ReplyCode;

const SNAPSHOT_VERSION: u8 = 1;
/// The log of a cluster that is founded begins behind this entry, which nobody has.
const FOUNDED: u64 = 1;

/// What is shared beside the topology.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MetaState {
    pub(crate) members: Members,
    recent: Recent,
    /// Entries of the log up to this index are part of it.
    applied: u64,
    is_restoring: bool,
}

/// What an entry brought about.
#[derive(Debug, Default)]
pub(crate) struct Step {
    /// The asker's answer; none when it does not take place, because nobody waits for it.
    pub(crate) answer: Option<Answered>,
    /// What it did to the topology, in order; the asker's outcome is the last one. Without the changes of rows.
    pub(crate) outcomes: Vec<Outcome>,
    /// Members came, went or changed.
    pub(crate) members_changed: bool,
}

/// Collects what is to be kept.
struct Carrying<'a> {
    topology: &'a mut Topology,
    changes: &'a mut Vec<Change>,
    step: Step,
}

impl Carrying<'_> {
    fn command(&mut self, asking: NodeId, command: Command) -> Result<MetaAnswer, Refusal> {
        let mut outcome = self.topology.apply_from(asking, command)?;
        self.changes.append(&mut outcome.changes);
        let queue = outcome.queue.as_ref().map(|queue| queue.id);
        let answer = MetaAnswer { created: outcome.created, queue, node: None };
        self.step.outcomes.push(outcome);
        Ok(answer)
    }

    fn put(&mut self, row: Row) {
        self.changes.push(Change::Put(row));
    }
}

/// What came of an entry: a step for each command in it, and what is to be kept.
pub(crate) type Applied = (Vec<(MetaEntry, Step)>, Vec<Change>);

impl MetaState {
    /// A cluster of one node, which is `first`.
    pub(crate) fn found(cluster_id: u64, groups: u16, first: Member) -> Self {
        Self { members: Members::found(cluster_id, groups, first), applied: FOUNDED, ..Self::default() }
    }

    /// Entries of the log up to this index are part of it.
    pub(crate) fn applied(&self) -> u64 {
        self.applied
    }

    /// The row that says so.
    pub(crate) fn applied_row(&self) -> Row {
        rows::applied_row(self.applied)
    }

    /// Whether it came from a copy that did not count yet when the node stopped.
    pub(crate) fn is_restoring(&self) -> bool {
        self.is_restoring
    }

    /// The row that says so.
    pub(crate) fn restoring_row() -> Row {
        rows::restoring_row()
    }

    /// Carries out an entry of the log. Gives a step for each command in it, and what is to be kept, all or nothing of it.
    ///
    /// # Errors
    /// When it cannot be read; nothing has changed then.
    pub(crate) fn apply(
        &mut self,
        topology: &mut Topology,
        index: u64,
        data: &[u8],
    ) -> Result<Applied, Malformed> {
        let entries = MetaEntry::read_all(data)?;
        let mut changes = Vec::new();
        let steps = entries.into_iter().map(|entry| {
            let step = self.carry_out(&entry, topology, &mut changes);
            (entry, step)
        });
        let steps = steps.collect();
        self.applied = index;
        changes.push(Change::Put(rows::applied_row(index)));
        Ok((steps, changes))
    }

    /// An entry without content was committed.
    pub(crate) fn skip(&mut self, index: u64) {
        self.applied = index;
    }

    /// The answer that a command of this run of a node got, if it is still known.
    pub(crate) fn answer(&self, origin: Origin, number: u64) -> Option<&Answered> {
        self.recent.answer(origin, number)
    }

    fn carry_out(&mut self, entry: &MetaEntry, topology: &mut Topology, changes: &mut Vec<Change>) -> Step {
        let mut carrying = Carrying { topology, changes, step: Step::default() };
        let Some(member) = self.members.nodes.get(&entry.origin.node) else { return carrying.step };
        if entry.origin.run < member.run {
            return carrying.step;
        }
        if (entry.origin.run, true) != (member.run, member.is_up) {
            // Whoever asks works.
            self.node_up(entry.origin, &mut carrying);
        }
        match self.look(entry, &mut carrying) {
            Turn::Late => {}
            Turn::Again(answer) => carrying.step.answer = Some(answer),
            Turn::First => {
                let answer = self.command(entry, &mut carrying);
                if self.recent.note(entry.origin, entry.number, answer.clone()) {
                    carrying.put(rows::answer_row(entry.origin, entry.number, &answer));
                }
                carrying.step.answer = Some(answer);
            }
        }
        carrying.step
    }

    fn look(&mut self, entry: &MetaEntry, carrying: &mut Carrying<'_>) -> Turn {
        let node = entry.origin.node;
        let place = |recent: &Recent| recent.0.get(&node).map(|asked| (asked.run, asked.settled_below));
        let before = place(&self.recent);
        let (turn, forgotten) = self.recent.look(entry.origin, entry.number, entry.settled_below);
        let gone = forgotten.into_iter().map(|(origin, number)| rows::without_answer(origin, number));
        carrying.changes.extend(gone);
        if before != place(&self.recent)
            && let Some(asked) = self.recent.0.get(&node)
        {
            carrying.put(rows::asked_row(node, asked));
        }
        turn
    }

    fn command(&mut self, entry: &MetaEntry, carrying: &mut Carrying<'_>) -> Answered {
        match &entry.command {
            MetaCommand::Topology(command) => carrying.command(entry.origin.node, command.clone()),
            MetaCommand::AddMember { name, peer_address, client_address, replaces } => {
                let member = Member {
                    name: name.clone(),
                    peer_address: peer_address.clone(),
                    client_address: client_address.clone(),
                    ..Member::default()
                };
                self.add_member(member, *replaces, carrying)
            }
            MetaCommand::SetMember { node, peer_address, client_address, is_leaving } => {
                let member = self.members.get(*node)?;
                member.peer_address.clone_from(peer_address);
                member.client_address.clone_from(client_address);
                member.is_leaving = *is_leaving;
                self.member_changed(*node, carrying);
                Ok(MetaAnswer::default())
            }
            MetaCommand::RemoveMember { node } => {
                let heir = self.members.remove(*node)?;
                self.forget(*node, heir, carrying);
                Ok(MetaAnswer::default())
            }
            MetaCommand::NodeUp { node, run } => {
                let known = self.members.get(*node)?;
                if *run < known.run {
                    let text = format!("run {run} of node {node} is over");
                    return Err(Refusal::channel(ReplyCode::PreconditionFailed, text));
                }
                if (*run, true) != (known.run, known.is_up) {
                    self.node_up(Origin { node: *node, run: *run }, carrying);
                }
                Ok(MetaAnswer::default())
            }
            MetaCommand::NodeDown { node, run } => {
                self.node_down(*node, *run, carrying)?;
                Ok(MetaAnswer::default())
            }
        }
    }

    fn add_member(
        &mut self,
        member: Member,
        replaces: Option<NodeId>,
        carrying: &mut Carrying<'_>,
    ) -> Answered {
        if let Some(replaced) = replaces {
            self.members.get(replaced)?;
        }
        let node = self.members.add(member, replaces)?;
        if let Some(replaced) = replaces {
            self.members.nodes.remove(&replaced);
            self.forget(replaced, node, carrying);
        }
        carrying.put(rows::cluster_row(&self.members));
        self.member_changed(node, carrying);
        Ok(MetaAnswer { created: true, node: Some(node), queue: None })
    }

    /// What only that node had is gone, and nobody asks in its name any more.
    fn forget(&mut self, node: NodeId, heir: NodeId, carrying: &mut Carrying<'_>) {
        let _ = carrying.command(node, Command::ForgetNode { node, heir });
        let gone = self.recent.forget(node).into_iter();
        let gone = gone.map(|(origin, number)| rows::without_answer(origin, number));
        carrying.changes.extend(gone);
        if let Some(asked) = self.recent.0.remove(&node) {
            carrying.changes.push(Change::Delete(rows::asked_row(node, &asked).key()));
        }
        carrying.changes.push(Change::Delete(rows::member_row(node, &Member::default()).key()));
        carrying.step.members_changed = true;
    }

    /// A run of a node works. What an earlier one held in memory is gone.
    fn node_up(&mut self, origin: Origin, carrying: &mut Carrying<'_>) {
        let Ok(member) = self.members.get(origin.node) else { return };
        let is_new = member.run != origin.run;
        member.run = origin.run;
        member.is_up = true;
        if is_new {
            let _ = carrying.command(origin.node, Command::NodeGone { node: origin.node });
        }
        self.member_changed(origin.node, carrying);
    }

    fn node_down(&mut self, node: NodeId, run: Run, carrying: &mut Carrying<'_>) -> Result<(), Refusal> {
        let member = self.members.get(node)?;
        if member.run == run && member.is_up {
            member.is_up = false;
            carrying.command(node, Command::NodeGone { node })?;
            self.member_changed(node, carrying);
        }
        Ok(())
    }

    fn member_changed(&self, node: NodeId, carrying: &mut Carrying<'_>) {
        if let Some(member) = self.members.nodes.get(&node) {
            carrying.put(rows::member_row(node, member));
        }
        carrying.step.members_changed = true;
    }

    /// Everything but the topology, as rows.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let mut all = vec![rows::applied_row(self.applied), rows::cluster_row(&self.members)];
        all.extend(self.members.nodes.iter().map(|(node, member)| rows::member_row(*node, member)));
        for (node, asked) in &self.recent.0 {
            all.push(rows::asked_row(*node, asked));
            let origin = Origin { node: *node, run: asked.run };
            let answers = asked.answers.iter();
            all.extend(answers.map(|(number, answer)| rows::answer_row(origin, *number, answer)));
        }
        all
    }

    /// Brings back what the rows say, in whatever order they come; those of the topology do not matter.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub(crate) fn restore<'a>(rows: impl Iterator<Item = &'a Row>) -> Result<Self, Malformed> {
        let mut state = Self::default();
        let mut answers = Vec::new();
        for row in rows {
            let Row::Cluster { key, value } = row else { continue };
            match Kept::read(key, value)? {
                Kept::Applied(index) => state.applied = index,
                Kept::Restoring => state.is_restoring = true,
                Kept::Cluster { cluster_id, groups, next_node } => {
                    let members = &mut state.members;
                    (members.cluster_id, members.groups, members.next_node) = (cluster_id, groups, next_node);
                }
                Kept::Member(node, member) => drop(state.members.nodes.insert(node, member)),
                Kept::Asked { origin: Origin { node, run }, settled_below } => {
                    let asked = Asked { run, settled_below, answers: Default::default() };
                    state.recent.0.insert(node, asked);
                }
                Kept::Answer(origin, number, answer) => answers.push((origin, number, answer)),
            }
        }
        for (origin, number, answer) in answers {
            state.recent.note(origin, number, answer);
        }
        Ok(state)
    }

    /// Everything, the topology too, as bytes for another node.
    pub(crate) fn snapshot(&self, topology: &Topology) -> Vec<u8> {
        let mut out = vec![SNAPSHOT_VERSION];
        for row in topology.rows().into_iter().chain(self.rows()) {
            Change::Put(row).encode(&mut out);
        }
        out
    }

    /// The rows of a snapshot.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn snapshot_rows(bytes: &[u8]) -> Result<Vec<Row>, Malformed> {
        let Some((&SNAPSHOT_VERSION, mut rest)) = bytes.split_first() else { return Err(Malformed) };
        let mut rows = Vec::new();
        while !rest.is_empty() {
            let (change, length) = Change::decode(rest)?;
            let Change::Put(row) = change else { return Err(Malformed) };
            rows.push(row);
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(rows)
    }

    /// State and topology out of rows, for a node that stands there.
    ///
    /// # Errors
    /// When they cannot be read, or do not fit each other.
    pub(crate) fn from_rows(placement: Placement, rows: Vec<Row>) -> Result<(Self, Topology), Malformed> {
        let state = Self::restore(rows.iter())?;
        let topology = Topology::restore(placement, rows.into_iter()).map_err(|error| {
            tracing::error!(%error, "the declarations of the cluster cannot be read");
            Malformed
        })?;
        Ok((state, topology))
    }
}
