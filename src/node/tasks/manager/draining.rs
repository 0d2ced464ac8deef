//! Giving up what this node leads, so that it may stop without a gap.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Manager, World};
use crate::broker::ids::{GroupId, NodeId};
use crate::node::cluster::inputs::GroupStatus;

const LOOK_EVERY: Duration = Duration::from_millis(25);
/// A transfer that did not take place in this time is asked for again.
const TRANSFER_TAKES: Duration = Duration::from_millis(500);

impl<W: World> Manager<W> {
    /// Hands over what this node leads, and takes nothing back. Waits for so long at most; gives how many groups are left.
    pub(crate) async fn drain(&self, at_most: Duration) -> usize {
        if !self.is_draining.swap(true, Ordering::AcqRel) {
            tracing::info!("handing over what this node leads");
        }
        let until = Instant::now() + at_most;
        let mut asked = BTreeMap::new();
        loop {
            let groups = self.world.groups().await;
            let left = groups.iter().filter(|group| group.leader == self.own.node).count();
            let waiting = self.hand_over(&groups, &mut asked);
            if waiting == 0 || Instant::now() >= until {
                return left;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Takes its share of leads again.
    pub(super) fn share_again(&self) {
        self.is_draining.store(false, Ordering::Release);
    }

    /// Goes on with a drain, if there is one: a group may have got another member since.
    pub(super) fn go_on_draining(&self, groups: &[GroupStatus], asked: &mut BTreeMap<GroupId, Instant>) {
        if self.is_draining() {
            self.hand_over(groups, asked);
        } else {
            asked.clear();
        }
    }

    /// Asks for transfers that are possible; gives how many are, or are on their way.
    fn hand_over(&self, groups: &[GroupStatus], asked: &mut BTreeMap<GroupId, Instant>) -> usize {
        let mut leads: BTreeMap<NodeId, usize> = BTreeMap::new();
        for group in groups {
            *leads.entry(group.leader).or_default() += 1;
        }
        let mut waiting = 0;
        for group in groups.iter().filter(|group| group.leader == self.own.node) {
            let Some(to) = self.heir(group, &leads) else { continue };
            waiting += 1;
            *leads.entry(to).or_default() += 1;
            if asked.get(&group.group).is_none_or(|at| at.elapsed() >= TRANSFER_TAKES) {
                asked.insert(group.group, Instant::now());
                self.world.transfer(group.group, to);
            }
        }
        waiting
    }

    /// Who can take over at once, and leads least.
    fn heir(&self, group: &GroupStatus, leads: &BTreeMap<NodeId, usize>) -> Option<NodeId> {
        let able = group.members.iter().filter(|member| {
            let is_ready = member.is_voter && member.is_in_sync && !member.gets_snapshot;
            is_ready && member.node != self.own.node && self.world.is_linked(member.node)
        });
        able.map(|member| member.node).min_by_key(|node| (leads.get(node).copied().unwrap_or(0), *node))
    }
}
