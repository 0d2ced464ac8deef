//! What must hold for a whole history.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{Fact, History, MessageId, Place};
use crate::broker::ids::{GroupId, NodeId, QueueId};
use crate::broker::queue::ConsumerId;

/// More of a kind would only repeat themselves.
const PROBLEMS_MAX: usize = 12;

/// Everything that is wrong with a history; nothing when all is well.
pub(super) fn check(history: &History) -> Vec<String> {
    let mut seen = Seen { letters_to: history.letters_to.clone(), ..Seen::default() };
    for (at_us, fact) in &history.facts {
        seen.note(*at_us, fact);
    }
    seen.nothing_confirmed_is_lost();
    seen.order_is_kept();
    seen.problems.truncate(PROBLEMS_MAX);
    seen.problems
}

/// What came by one connection into one queue: its number there as sent, its place, the message.
type Way = Vec<(usize, u64, MessageId)>;

#[derive(Default)]
struct Seen {
    problems: Vec<String>,
    sent: BTreeMap<MessageId, Sent>,
    confirmed: BTreeMap<MessageId, u64>,
    refused: BTreeSet<MessageId>,
    /// Which place a message was seen at where it was sent to, where else as a dead letter, and which message at a place.
    places: BTreeMap<MessageId, Place>,
    letters: BTreeMap<MessageId, BTreeSet<Place>>,
    letters_to: BTreeMap<QueueId, QueueId>,
    given_away: BTreeSet<MessageId>,
    messages: BTreeMap<Place, MessageId>,
    acked: BTreeSet<Place>,
    gone: BTreeMap<Place, u64>,
    /// Places delivered as new.
    fresh: BTreeSet<Place>,
    /// The last place that a consumer was given as new, of each priority.
    last: BTreeMap<(ConsumerId, QueueId, u64), u64>,
    purges: BTreeMap<QueueId, Vec<(u64, Option<u64>)>>,
    leaders: BTreeMap<(GroupId, u64), NodeId>,
    emitted: BTreeMap<GroupId, (u64, NodeId)>,
}

struct Sent {
    queue: QueueId,
    connection: u64,
    at_us: u64,
    /// Which one of all that were sent.
    turn: usize,
}

impl Seen {
    fn note(&mut self, at_us: u64, fact: &Fact) {
        match *fact {
            Fact::Sent { message, queue, connection } => {
                let turn = self.sent.len();
                self.sent.insert(message, Sent { queue, connection, at_us, turn });
            }
            Fact::Confirmed(message) => {
                self.confirmed.insert(message, at_us);
                self.claim(!self.refused.contains(&message), || {
                    format!("{message:?} was refused and confirmed")
                });
            }
            Fact::Refused(message) => {
                self.refused.insert(message);
                let is_confirmed = self.confirmed.contains_key(&message);
                self.claim(!is_confirmed, || format!("{message:?} was confirmed and refused"));
            }
            Fact::Delivered { message, place, consumer, emitted_us, redelivered } => {
                self.delivered(emitted_us, message, place, consumer, redelivered);
            }
            Fact::GivenAway(message) => drop(self.given_away.insert(message)),
            Fact::AckSent(place) => drop(self.acked.insert(place)),
            Fact::AckDone(place) => drop(self.gone.insert(place, at_us)),
            Fact::PurgeBegun(queue) => self.purges.entry(queue).or_default().push((at_us, None)),
            Fact::PurgeDone(queue) => {
                let purges = self.purges.entry(queue).or_default();
                if let Some(purge) = purges.iter_mut().find(|(_, done_us)| done_us.is_none()) {
                    purge.1 = Some(at_us);
                }
            }
            Fact::Emitted { group, term, node } => self.emitted(at_us, group, term, node),
            Fact::Leads { group, term, node } => {
                let leader = *self.leaders.entry((group, term)).or_insert(node);
                self.claim(leader == node, || {
                    format!("group {group} has two leaders in term {term}: {leader} and {node}")
                });
            }
            Fact::Left { queue, ready, unacked } => {
                self.claim((ready, unacked) == (0, 0), || {
                    format!("queue {} still counts {ready} ready and {unacked} unacknowledged", queue.0)
                });
            }
        }
    }

    fn claim(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds {
            self.problems.push(problem());
        }
    }

    fn delivered(
        &mut self,
        at_us: u64,
        message: MessageId,
        place: Place,
        consumer: ConsumerId,
        redelivered: bool,
    ) {
        let queue = self.sent.get(&message).map(|sent| sent.queue);
        if queue != Some(place.0) && queue.and_then(|queue| self.letters_to.get(&queue)) == Some(&place.0) {
            // A letter may come twice: whoever sent it may have died before it was told.
            self.letters.entry(message).or_default().insert(place);
        } else {
            self.claim(queue == Some(place.0), || {
                format!("{message:?} came from {place:?} and went to {queue:?}")
            });
            let known = *self.places.entry(message).or_insert(place);
            self.claim(known == place, || format!("{message:?} is there twice: at {known:?} and {place:?}"));
        }
        let before = *self.messages.entry(place).or_insert(message);
        self.claim(before == message, || format!("{place:?} was {before:?}, and then {message:?}"));
        if let Some(gone_us) = self.gone.get(&place).copied().filter(|gone_us| *gone_us < at_us) {
            self.claim(false, || {
                format!("{message:?} at {place:?} was given out at {at_us} us, acknowledged for good at {gone_us} us")
            });
        }
        if !redelivered {
            let is_first = self.fresh.insert(place);
            self.claim(is_first, || format!("{message:?} at {place:?} was delivered as new twice"));
            let last = self.last.insert((consumer, place.0, priority_of(place)), place.1);
            self.claim(last.is_none_or(|last| last < place.1), || {
                format!("consumer {consumer} was given {place:?} as new behind {last:?}")
            });
        }
    }

    fn emitted(&mut self, at_us: u64, group: GroupId, term: u64, node: NodeId) {
        let last = self.emitted.entry(group).or_insert((term, node));
        let (last_term, last_node) = *last;
        *last = (last_term.max(term), node);
        self.claim(term >= last_term, || {
            format!(
                "node {node} gave out messages of group {group} as leader of term {term} at {at_us} us, \
                 after node {last_node} had in term {last_term}"
            )
        });
    }

    fn nothing_confirmed_is_lost(&mut self) {
        let mut lost = Vec::new();
        for (message, confirmed_us) in &self.confirmed {
            let mut places =
                self.places.get(message).into_iter().chain(self.letters.get(message).into_iter().flatten());
            let is_gone = self.given_away.contains(message) || places.any(|place| self.acked.contains(place));
            let Some(sent) = self.sent.get(message).filter(|_| !is_gone) else { continue };
            let queues = std::iter::once(&sent.queue).chain(self.letters_to.get(&sent.queue));
            let purges = queues.filter_map(|queue| self.purges.get(queue)).flatten();
            let is_purged =
                purges.clone().any(|(_, done_us)| done_us.is_none_or(|done_us| sent.at_us < done_us));
            if !is_purged {
                lost.push((confirmed_us, message, sent.queue, self.places.get(message)));
            }
        }
        lost.sort();
        let problems = lost.iter().map(|(confirmed_us, message, queue, place)| {
            let how = place.map_or("never delivered".to_owned(), |place| format!("delivered from {place:?}"));
            format!("{message:?}, confirmed at {confirmed_us} us, is lost from queue {}: {how}", queue.0)
        });
        let problems: Vec<_> = problems.collect();
        self.problems.extend(problems);
    }

    /// What a publisher sends over one connection stands in its queue in that order.
    fn order_is_kept(&mut self) {
        let mut ways: BTreeMap<(u32, u64, QueueId, u64), Way> = BTreeMap::new();
        for (message, place) in &self.places {
            let Some(sent) = self.sent.get(message) else { continue };
            let way = ways.entry((message.publisher, sent.connection, place.0, priority_of(*place)));
            let way = way.or_default();
            way.push((sent.turn, place.1, *message));
        }
        for way in ways.values_mut() {
            way.sort_unstable();
            for pair in way.windows(2) {
                let [(_, first, one), (_, second, other)] = pair else { continue };
                if first > second {
                    self.problems.push(format!("{one:?} was sent before {other:?}, and stands behind it"));
                }
            }
        }
    }
}

/// What tells the priorities of a queue apart.
fn priority_of(place: Place) -> u64 {
    place.1 >> 56
}
