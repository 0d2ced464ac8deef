//! What happens while there is no owner, or none that can be reached.
//!
//! A group has one again soon, or a majority is missing: after some patience publishers are told to wait, or have their
//! messages refused. Whoever asks something is told later, since most of what keeps a group without a leader heals by itself.
//! The queues of a node come back with it: whoever asks meanwhile hears so at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::Gateway;
use super::answers::resolve;
use super::consumers::State;
use super::window::{Kept, Wait};
use crate::config::Minority;
use crate::node::cluster::forward::{Owner, Request, Settle};
use crate::node::links::{ClientInput, Waiter};

/// Whoever asks waits so many times as long as publishers do until they are told.
const QUESTIONS_WAIT: u64 = 4;

/// Since when there is no owner, and what was done about it.
#[derive(Debug)]
pub(super) struct Absence {
    since_ms: Option<u64>,
    /// Publishers were told, or are when there are some.
    is_over_patience: bool,
    /// Whoever asks something is told so at once.
    is_lasting: bool,
    /// Publishers of this node wait, also for this.
    has_alarm: bool,
}

impl Absence {
    pub(super) fn since(now_ms: u64) -> Self {
        Self { since_ms: Some(now_ms), is_over_patience: false, is_lasting: false, has_alarm: false }
    }
}

impl Gateway {
    /// When somebody is to be told next.
    pub(super) fn patience_ends_ms(&self) -> Option<u64> {
        let Absence { since_ms, is_over_patience, is_lasting, .. } = self.absence;
        let waits_ms = match (is_over_patience, is_lasting) {
            (false, _) => self.patience_ms,
            (true, false) => self.patience_ms.saturating_mul(QUESTIONS_WAIT),
            (true, true) => return None,
        };
        since_ms.filter(|_| self.has_patience()).map(|at_ms| at_ms + waits_ms)
    }

    fn has_patience(&self) -> bool {
        matches!(self.owner, Owner::Group(_))
    }

    /// The attempt is over.
    pub(super) fn disconnect(&mut self) {
        if self.seeking.is_guess() {
            self.leader = None;
        }
        self.is_connected = false;
        self.seeking.begin(self.now_ms);
        self.absence.since_ms.get_or_insert(self.now_ms);
        if !self.has_patience() {
            return self.lose_node();
        }
        // Connections that end do not wait for a new owner.
        let is_end = |kept: &Kept| matches!(kept.item.request, Request::Suspend(_) | Request::Cancel(_));
        for kept in self.window.take_if(is_end) {
            self.fail(kept);
        }
    }

    /// There is an owner, and it can be reached.
    pub(super) fn is_there_again(&mut self) {
        if self.absence.since_ms.take().is_some() {
            self.absence.is_over_patience = false;
            self.absence.is_lasting = false;
            self.set_alarm(false);
        }
    }

    /// The node and what it knew of this session are gone. Letters wait for it: they are settled nowhere else.
    fn lose_node(&mut self) {
        for (id, attached) in self.consumers.take() {
            attached.client.mailbox.push(ClientInput::ConsumerCancelled(id));
        }
        for kept in self.window.take_if(|kept| !is_letters(kept)) {
            self.fail(kept);
        }
        self.renew_session();
    }

    /// Looks whether patience is over.
    pub(super) fn look_at_absence(&mut self) {
        while self.patience_ends_ms().is_some_and(|at_ms| at_ms <= self.now_ms) {
            if !std::mem::replace(&mut self.absence.is_over_patience, true) {
                if self.minority == Minority::Nack {
                    self.window.take_if(is_refusable).into_iter().for_each(|kept| self.fail(kept));
                }
            } else {
                self.absence.is_lasting = true;
                self.end_questions();
            }
        }
        if self.absence.is_over_patience && self.minority == Minority::Block {
            // As long as nobody publishes there is nothing to wait for.
            let is_waited_for = self.absence.has_alarm || self.window.any(Kept::has_messages);
            self.set_alarm(is_waited_for);
        }
    }

    /// Whoever asks hears that there is no answer. Where an owner was asked, what comes of that is seen to when it answers: nobody
    /// else knows of a message that it gave, or of a consumer that it took.
    fn end_questions(&mut self) {
        let is_connected = self.has_owner();
        for kept in self.window.take_if(|kept| is_question(kept) && !(is_connected && is_seen_to(kept))) {
            self.fail(kept);
        }
        for kept in self.window.all_mut() {
            match &mut kept.wait {
                Wait::Get(asker, _) => *asker = oneshot::channel().0,
                Wait::Consume(asker, _) => *asker = oneshot::channel().0,
                Wait::Unit(_) => {
                    if let Request::Suspend(consumer) | Request::Cancel(consumer) = kept.item.request
                        && let Some(attached) = self.consumers.get_mut(consumer)
                    {
                        attached.state = State::Gone;
                    }
                    if let Wait::Unit(asker) = std::mem::replace(&mut kept.wait, Wait::Nobody) {
                        // Whoever asked may have gone.
                        let _ = asker.send(());
                    }
                }
                _ => {}
            }
        }
    }

    fn set_alarm(&mut self, on: bool) {
        if std::mem::replace(&mut self.absence.has_alarm, on) == on {
            return;
        }
        if on {
            tracing::warn!(owner = ?self.owner, "no majority: publishers are blocked");
            self.shared.resource_alarms.count_majority(true);
            return self.tell_waiting();
        }
        tracing::info!(owner = ?self.owner, "there is a majority again");
        if self.shared.resource_alarms.count_majority(false) {
            for client in &self.shared.clients {
                client.mailbox.push(ClientInput::AlarmsOver);
            }
        }
    }

    /// Publishers that wait for a confirm may have nothing more to send, at which they would meet the alarm.
    fn tell_waiting(&self) {
        let publisher = |kept: &Kept| match &kept.wait {
            Wait::Publish(Waiter::Publisher(client, _), ..) => Some((client.id, Arc::clone(client))),
            _ => None,
        };
        let waiting: BTreeMap<_, _> = self.window.all().filter_map(publisher).collect();
        for client in waiting.values() {
            client.mailbox.push(ClientInput::MajorityMissing);
        }
    }

    /// Whether an item has no future at the moment.
    pub(super) fn refuses(&self, kept: &Kept) -> bool {
        match self.owner {
            Owner::Node(_) => !self.is_connected && !is_letters(kept),
            Owner::Group(_) => {
                self.absence.is_lasting && is_question(kept)
                    || self.absence.is_over_patience && self.minority == Minority::Nack && is_refusable(kept)
            }
        }
    }

    pub(super) fn refuses_messages(&self) -> bool {
        match self.owner {
            Owner::Node(_) => !self.is_connected,
            Owner::Group(_) => self.absence.is_over_patience && self.minority == Minority::Nack,
        }
    }

    /// Nothing comes of an item. Questions are answered by dropping them.
    pub(super) fn fail(&mut self, kept: Kept) {
        self.end_consumer_of(&kept);
        self.note_end(&kept);
        match kept.wait {
            // They can be found where they came from when the node starts again.
            Wait::Publish(Waiter::DeadLetters(_), ..) => {}
            Wait::Publish(waiter, count, _) => resolve(waiter, count, &[(0, count)]),
            Wait::Commit(part, _) => {
                part.refuse(self.shared.unanswered_for(kept.item.queue));
                // What the commit would have settled goes back.
                if let Request::Settle { consumer, ranges, .. } = kept.item.request
                    && self.has_patience()
                {
                    let request = Request::Settle { consumer, how: Settle::Fail, ranges };
                    self.window.push(Kept::new(kept.item.queue, request, Wait::Nobody));
                }
            }
            Wait::Consume(_, id) => drop(self.consumers.remove(id)),
            // Without an owner nothing is sent to a consumer.
            Wait::Unit(asker) => drop(asker.send(())),
            Wait::Stat(_)
            | Wait::Get(..)
            | Wait::Purge(_)
            | Wait::Delete(_)
            | Wait::Back(_)
            | Wait::Nobody => {}
        }
    }
}

impl Gateway {
    /// A consumer ends, and no owner hears of it: its queue may have to go with it.
    fn note_end(&mut self, kept: &Kept) {
        if let Request::Cancel(consumer) = kept.item.request
            && self.has_patience()
        {
            let topology = self.shared.topology();
            if topology.queue_by_id(kept.item.queue).is_some_and(|queue| queue.auto_delete) {
                self.ended.push((kept.item.queue, consumer));
            }
        }
    }

    /// The next owner hears of it.
    pub(super) fn bring_ends(&mut self) {
        for (queue, consumer) in std::mem::take(&mut self.ended) {
            self.window.push(Kept::new(queue, Request::Cancel(consumer), Wait::Nobody));
        }
    }
}

fn is_letters(kept: &Kept) -> bool {
    matches!(kept.item.request, Request::Publish { letters: true, .. })
}

/// Messages that may be refused by themselves: those of a commit share the fate of the rest of it.
fn is_refusable(kept: &Kept) -> bool {
    kept.has_messages() && !matches!(kept.wait, Wait::Commit(..))
}

/// Somebody waits for the answer, and can be told that there is none.
fn is_question(kept: &Kept) -> bool {
    let is_none = matches!(
        kept.item.request,
        Request::Publish { .. }
            | Request::Settle { .. }
            | Request::Credit(..)
            | Request::Resume(_)
            | Request::Nothing
    );
    matches!(kept.wait, Wait::Commit(..)) || !is_none
}

/// The answer matters, also when nobody waits for it any more.
fn is_seen_to(kept: &Kept) -> bool {
    matches!(
        kept.item.request,
        Request::Get { .. } | Request::Consume(_) | Request::Suspend(_) | Request::Cancel(_)
    )
}
