//! A node that was taken out while it was away hears of it.
//!
//! Numbers of nodes are given once: whoever had one that is nobody's now is gone for good, and any member can tell, however
//! late it hears of things itself. The others do not link it, so it asks them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::{Manager, World};
use crate::broker::ids::{NodeId, Run};
use crate::node::cluster::questions::{Answer, Question, Standing};

const ASK_EVERY: Duration = Duration::from_secs(2);

impl<W: World> Manager<W> {
    /// What a node is whose last run is said to be this one.
    pub(super) fn standing(&self, node: NodeId, run: Run) -> Standing {
        // In front of the members: who joins in between must not pass for one that has gone.
        let next_node = self.world.next_node();
        if self.world.members().contains_key(&node) {
            if self.world.last_run(node) > run { Standing::Older } else { Standing::Member }
        } else if node < next_node {
            Standing::Gone
        } else {
            Standing::Member
        }
    }

    /// Runs until it is dropped: asks members that there is no link to whether this node is one still.
    pub(crate) async fn ask_whether_member(self: Arc<Self>) {
        loop {
            if self.hears_that_it_is_gone().await {
                return self.world.expelled().await;
            }
            sleep(ASK_EVERY).await;
        }
    }

    pub(super) async fn hears_that_it_is_gone(&self) -> bool {
        let (cluster, node, run) = (self.own.cluster.clone(), self.own.node, self.own.run);
        let question = Question::IsMember { cluster, node, run };
        for (node, known) in self.world.members() {
            if node == self.own.node || self.world.is_linked(node) {
                continue;
            }
            if let Ok(Answer::Standing(Standing::Gone)) =
                self.world.tell(&known.peer_address, &question).await
            {
                return true;
            }
        }
        false
    }
}
