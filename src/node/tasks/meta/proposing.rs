//! Bringing proposals to the leader, or into the group's log.

use bytes::Bytes;

use super::group::MetaGroup;
use crate::broker::ids::NodeId;
use crate::node::cluster::meta::MetaEntry;
use crate::node::cluster::peer::PeerMessage;
use crate::replication::{Group, Refused};

/// Bytes of one entry of the group's log, if it holds more than one command.
const ENTRY_BYTES: usize = 256 * 1024;
/// After a refusal, the leader is not asked again at once.
pub(super) const PAUSE_MS: u64 = 20;

impl MetaGroup {
    /// Who orders declarations; 0: nobody that is known.
    pub(super) fn leader(&self) -> NodeId {
        let known = self.group.leader();
        if self.group.is_leader() {
            self.origin.node
        } else if known != 0 && known != self.origin.node {
            known
        } else if self.heard_leader.1 >= self.group.term() && self.heard_leader.0 != self.origin.node {
            self.heard_leader.0
        } else {
            0
        }
    }

    pub(super) fn send_proposals(&mut self) {
        let leader = (self.leader(), self.group.term());
        if leader != self.asked_leader {
            self.asked_leader = leader;
            self.pause_until_ms = 0;
            self.proposals.ask_again();
        }
        if self.group.is_leader() {
            return self.propose();
        }
        for (from, number, _) in std::mem::take(&mut self.forwarded) {
            self.cluster.peers.send(from, PeerMessage::NotProposed(number, leader.0));
        }
        if leader.0 == 0 || self.now_ms < self.pause_until_ms || !self.cluster.peers.is_up(leader.0) {
            return;
        }
        while let Some(batch) = self.proposals.batch(self.now_ms) {
            // The answer is that it takes place.
            self.cluster.peers.send(leader.0, PeerMessage::Propose(0, Bytes::from(batch)));
        }
    }

    /// As the leader: everything that is asked for goes into as few entries as possible.
    fn propose(&mut self) {
        let mut entry: Vec<u8> = Vec::new();
        let mut refused = None;
        if self.now_ms >= self.pause_until_ms {
            while refused.is_none()
                && self.group.can_propose().is_ok()
                && let Some(batch) = self.proposals.batch(self.now_ms)
            {
                refused = add(&mut self.group, &mut entry, &batch).err();
            }
        }
        for (from, number, entries) in std::mem::take(&mut self.forwarded) {
            if !is_of(from, &entries) {
                tracing::warn!(from, "a node asks for what cannot be read, or in another one's name");
                continue;
            }
            let result = match refused {
                None => self.group.can_propose(),
                Some(reason) => Err(reason),
            };
            match result.and_then(|()| add(&mut self.group, &mut entry, &entries)) {
                Ok(()) => {}
                Err(_) => self.cluster.peers.send(from, PeerMessage::NotProposed(number, 0)),
            }
        }
        if !entry.is_empty() && self.group.propose(entry).is_err() {
            refused = Some(Refused::NotLeader);
        }
        if refused.is_some() {
            self.pause_until_ms = self.now_ms + PAUSE_MS;
            self.proposals.ask_again();
        }
    }
}

/// Adds commands to the entry that is filled; one that is full is proposed first.
fn add(group: &mut Group, entry: &mut Vec<u8>, commands: &[u8]) -> Result<(), Refused> {
    if !entry.is_empty() && entry.len() + commands.len() > ENTRY_BYTES {
        group.propose(std::mem::take(entry))?;
    }
    entry.extend_from_slice(commands);
    Ok(())
}

fn is_of(node: NodeId, entries: &[u8]) -> bool {
    MetaEntry::read_all(entries).is_ok_and(|entries| entries.iter().all(|entry| entry.origin.node == node))
}
