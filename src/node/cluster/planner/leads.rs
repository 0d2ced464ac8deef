//! Who is to lead.

use std::collections::BTreeMap;

use super::{Action, Planner, View, Wish};
use crate::broker::ids::NodeId;
use crate::node::cluster::inputs::GroupStatus;

/// How many groups each node leads.
type Leads = BTreeMap<NodeId, usize>;

/// One move, in thousandths.
const MOVE: u64 = 1000;

impl Planner {
    pub(super) fn plan_leads(&mut self, now_ms: u64, view: &View, actions: &mut Vec<Action>) {
        let mut leads = leads(view);
        self.plan_drains(now_ms, view, &mut leads, actions);
        while self.allowance >= MOVE {
            let Some((group, to)) = self.best_move(view, &leads) else { return };
            self.allowance -= MOVE;
            self.move_lead(now_ms, group, to, &mut leads, actions);
        }
    }

    /// Nodes that are to stop or leave give up all they lead, at once.
    fn plan_drains(&mut self, now_ms: u64, view: &View, leads: &mut Leads, actions: &mut Vec<Action>) {
        for group in view.led().filter(|group| !view.wishes(group.leader, Wish::Share)) {
            if !self.may_move(group) {
                continue;
            }
            if let Some(to) = least(view, group, leads) {
                self.move_lead(now_ms, group, to, leads, actions);
            }
        }
    }

    /// The move that evens out most; none when nobody leads two more than a member that could take over.
    fn best_move<'a>(&self, view: &'a View, leads: &Leads) -> Option<(&'a GroupStatus, NodeId)> {
        let moves = view.led().filter(|group| self.may_move(group)).filter_map(|group| {
            let to = least(view, group, leads)?;
            let gain = leads_of(leads, group.leader).checked_sub(leads_of(leads, to))?;
            (gain > 1).then_some((gain, group, to))
        });
        moves.max_by_key(|(gain, ..)| *gain).map(|(_, group, to)| (group, to))
    }

    fn may_move(&self, group: &GroupStatus) -> bool {
        !self.changes.contains_key(&group.group) && !self.moved_ms.contains_key(&group.group)
    }

    fn move_lead(
        &mut self,
        now_ms: u64,
        group: &GroupStatus,
        to: NodeId,
        leads: &mut Leads,
        actions: &mut Vec<Action>,
    ) {
        *leads.entry(group.leader).or_default() -= 1;
        *leads.entry(to).or_default() += 1;
        self.moved_ms.insert(group.group, now_ms);
        actions.push(Action::Transfer { group: group.group, from: group.leader, to });
    }
}

/// The member that leads least of those that can take over.
fn least(view: &View, group: &GroupStatus, leads: &Leads) -> Option<NodeId> {
    let able =
        view.ready_voters(group).filter(|node| *node != group.leader && view.wishes(*node, Wish::Share));
    able.min_by_key(|node| (leads_of(leads, *node), *node))
}

fn leads(view: &View) -> Leads {
    let mut leads = Leads::new();
    for group in view.led() {
        *leads.entry(group.leader).or_default() += 1;
    }
    leads
}

fn leads_of(leads: &Leads, node: NodeId) -> usize {
    leads.get(&node).copied().unwrap_or(0)
}
