//! Answers that may be asked for again: an asker that hears nothing sends its command once more.

use std::collections::BTreeMap;

use super::command::{MetaAnswer, Origin};
use crate::broker::ids::{NodeId, Run};
use crate::protocol::error::Refusal;

pub(crate) type Answered = Result<MetaAnswer, Refusal>;

/// The answers to commands whose askers may not have heard them, by node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Recent(pub(super) BTreeMap<NodeId, Asked>);

/// What one run of a node has asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) run: Run,
    /// Numbers below will not take place (again).
    pub(super) settled_below: u64,
    pub(super) answers: BTreeMap<u64, Answered>,
}

/// What becomes of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It takes place now.
    First,
    /// It took place before, with this answer.
    Again(Answered),
    /// Nobody waits for it any more: it does not take place.
    Late,
}

impl Recent {
    /// Looks at a number. Gives numbers whose answers are forgotten.
    pub(super) fn look(
        &mut self,
        origin: Origin,
        number: u64,
        settled_below: u64,
    ) -> (Turn, Vec<(Origin, u64)>) {
        let mut forgotten = Vec::new();
        let asked = self.0.entry(origin.node).or_default();
        if asked.run != origin.run {
            if origin.run < asked.run {
                return (Turn::Late, forgotten);
            }
            let before = Origin { node: origin.node, run: asked.run };
            forgotten.extend(asked.answers.keys().map(|number| (before, *number)));
            *asked = Asked { run: origin.run, ..Asked::default() };
        }
        if settled_below > asked.settled_below {
            asked.settled_below = settled_below;
            let kept = asked.answers.split_off(&settled_below);
            let gone = std::mem::replace(&mut asked.answers, kept);
            forgotten.extend(gone.into_keys().map(|number| (origin, number)));
        }
        let turn = match asked.answers.get(&number) {
            Some(answer) => Turn::Again(answer.clone()),
            None if number < asked.settled_below => Turn::Late,
            None => Turn::First,
        };
        (turn, forgotten)
    }

    /// Remembers an answer; false when its asker is gone meanwhile.
    pub(super) fn note(&mut self, origin: Origin, number: u64, answer: Answered) -> bool {
        let asked = self.0.get_mut(&origin.node).filter(|asked| asked.run == origin.run);
        asked.map(|asked| asked.answers.insert(number, answer)).is_some()
    }

    pub(super) fn answer(&self, origin: Origin, number: u64) -> Option<&Answered> {
        self.0.get(&origin.node).filter(|asked| asked.run == origin.run)?.answers.get(&number)
    }

    /// Forgets a node that is gone for ever, or whose run is over.
    pub(super) fn forget(&mut self, node: NodeId) -> Vec<(Origin, u64)> {
        let Some(asked) = self.0.get_mut(&node) else { return Vec::new() };
        let origin = Origin { node, run: asked.run };
        std::mem::take(&mut asked.answers).into_keys().map(|number| (origin, number)).collect()
    }
}
