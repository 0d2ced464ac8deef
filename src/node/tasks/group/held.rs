//! What sessions are told, as long as it may come to nothing.
//!
//! Messages and replies leave when all is committed that was done before them, and only as long as nobody else can lead. What
//! is certain by itself (that items are done, or refused) goes ahead of them; but never ahead of its own reply, nor of
//! messages that wait for the lease: one of them may be what was settled.

use std::collections::{BTreeSet, VecDeque};

use crate::broker::ids::NodeId;
use crate::node::cluster::forward::{Answer, Answers};

/// Answers and where they go.
pub(super) type Told = (NodeId, Answers);

/// Answers that wait.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// With the index of the shard's records that must be committed first.
    waiting: VecDeque<(u64, Told)>,
    /// Items whose replies are among them.
    replies: BTreeSet<(NodeId, u64)>,
    /// Somebody else may lead: nothing waits for a commit alone.
    has_no_lease: bool,
    #[cfg(test)]
    pub(super) tells_early: bool,
}

impl Held {
    /// Takes what is to be told after everything up to `index`; gives what may be told now.
    pub(super) fn add(&mut self, index: u64, told: Vec<Told>, out: &mut Vec<Told>) {
        for (node, mut answers) in told {
            let (mut now, mut later) = (Vec::new(), Vec::new());
            for answer in std::mem::take(&mut answers.answers) {
                if self.must_wait(node, &answer) { later.push(answer) } else { now.push(answer) }
            }
            if !now.is_empty() {
                out.push((node, Answers { answers: now, ..answers }));
            }
            if !later.is_empty() {
                self.waiting.push_back((index, (node, Answers { answers: later, ..answers })));
            }
        }
    }

    /// Whether nobody else leads.
    pub(super) fn set_lease(&mut self, has_lease: bool) {
        self.has_no_lease = !has_lease;
    }

    /// Gives what may be told, everything up to this index being committed, and nobody else leading.
    pub(super) fn release(&mut self, synced: u64, out: &mut Vec<Told>) {
        #[cfg(test)]
        let synced = if self.tells_early { u64::MAX } else { synced };
        while self.waiting.front().is_some_and(|(index, _)| *index <= synced)
            && let Some((_, told)) = self.waiting.pop_front()
        {
            for answer in &told.1.answers {
                if let Answer::Reply(number, _) = answer {
                    self.replies.remove(&(told.0, *number));
                }
            }
            out.push(told);
        }
    }

    /// The index that the first of them waits for.
    #[cfg(test)]
    pub(super) fn first_index(&self) -> Option<u64> {
        self.waiting.front().map(|(index, _)| *index)
    }

    /// The index that the last of them waits for.
    pub(super) fn last_index(&self) -> Option<u64> {
        self.waiting.back().map(|(index, _)| *index)
    }

    fn must_wait(&mut self, node: NodeId, answer: &Answer) -> bool {
        match answer {
            Answer::Reply(number, _) => {
                self.replies.insert((node, *number));
                true
            }
            Answer::Done(..) if self.has_no_lease && !self.waiting.is_empty() => true,
            Answer::Done(first, last) => self.replies.range((node, *first)..=(node, *last)).next().is_some(),
            Answer::Deliver(_) | Answer::ConsumerCancelled(_) => true,
            Answer::Refused(..) | Answer::NotOwner | Answer::Expects(_) | Answer::Room(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::cluster::forward::{Owner, Reply};

    fn told(answers: Vec<Answer>) -> Vec<Told> {
        vec![(3, Answers { session: 1, owner: Owner::Group(1), attempt: 1, answers })]
    }

    fn names(out: &mut Vec<Told>) -> Vec<String> {
        let all = out.drain(..).flat_map(|(_, answers)| answers.answers);
        all.map(|answer| format!("{answer:?}")).collect()
    }

    #[test]
    fn nothing_is_done_before_messages_that_wait_for_the_lease() {
        let (mut held, mut out) = (Held::default(), Vec::new());
        held.set_lease(false);
        held.add(7, told(vec![Answer::Done(1, 1), Answer::ConsumerCancelled(9)]), &mut out);
        assert_eq!(names(&mut out), ["Done(1, 1)"]);
        held.add(7, told(vec![Answer::Done(2, 2)]), &mut out);
        assert!(out.is_empty());
        held.set_lease(true);
        held.release(7, &mut out);
        assert_eq!(names(&mut out), ["ConsumerCancelled(9)", "Done(2, 2)"]);
    }

    #[test]
    fn a_reply_waits_and_what_is_certain_does_not_wait_for_it() {
        let (mut held, mut out) = (Held::default(), Vec::new());
        let answers = vec![Answer::Done(1, 2), Answer::Reply(4, Reply::Purge(Some(1))), Answer::Done(3, 4)];
        held.add(7, told(answers), &mut out);
        assert_eq!(names(&mut out), ["Done(1, 2)"]);
        held.add(8, told(vec![Answer::Done(5, 6), Answer::ConsumerCancelled(9)]), &mut out);
        assert_eq!(names(&mut out), ["Done(5, 6)"]);
        held.release(6, &mut out);
        assert!(out.is_empty() && held.first_index() == Some(7) && held.last_index() == Some(8));
        held.release(7, &mut out);
        assert_eq!(names(&mut out), ["Reply(4, Purge(Some(1)))", "Done(3, 4)"]);
        held.release(8, &mut out);
        assert_eq!(names(&mut out), ["ConsumerCancelled(9)"]);
        assert!(held.replies.is_empty());
    }
}
