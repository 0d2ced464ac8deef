//! What the owner says, and who is told.

use super::Gateway;
use super::consumers::State;
use super::window::{Kept, Wait};
use crate::broker::arguments::object_text;
use crate::broker::ids::QueueId;
use crate::broker::queue::{Delivery, GetReply};
use crate::node::cluster::forward::{Answer, Answers, Reply, Request, Settle};
use crate::node::links::{ClientInput, Waiter};
use crate::protocol::error::Refusal;
use crate::protocol::reply_code::ReplyCode;

impl Gateway {
    /// Answers of an earlier attempt say nothing: what they tell was asked again.
    pub(super) fn answered(&mut self, answers: Answers) {
        for answer in answers.answers {
            let is_current = answers.session == self.session && answers.attempt == self.attempt;
            if !is_current || !self.is_connected {
                return;
            }
            self.take_answer(answer);
        }
    }

    fn take_answer(&mut self, answer: Answer) {
        if !matches!(answer, Answer::NotOwner | Answer::Expects(_)) {
            self.is_owner();
        }
        match answer {
            Answer::Refused(number, places) => {
                if let Some(Kept { wait: Wait::Publish(.., refused) | Wait::Commit(.., refused), .. }) =
                    self.window.get_mut(number)
                {
                    *refused = places;
                }
            }
            Answer::Done(first, last) => {
                for kept in self.window.take_range(first, last) {
                    self.done(kept);
                }
            }
            Answer::Reply(number, reply) => self.reply(number, reply),
            Answer::Deliver(delivery) => self.deliver(delivery),
            Answer::ConsumerCancelled(id) => {
                if let Some(attached) = self.consumers.remove(id) {
                    attached.client.mailbox.push(ClientInput::ConsumerCancelled(id));
                }
            }
            Answer::Room(has_room) => self.has_room = has_room,
            Answer::NotOwner => self.disconnect(),
            // It missed something, or lost the link for a moment.
            Answer::Expects(_) => {
                self.disconnect();
                self.connect_if_up();
            }
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        let Some(attached) = self.consumers.get_mut(delivery.consumer) else { return };
        if attached.state == State::Gone {
            // Nobody would settle it.
            let ranges = delivery.entries.iter().map(|entry| (entry.seq, 1)).collect();
            let (queue, how) = (attached.queue, Settle::Requeue);
            return self.settle(queue, (delivery.consumer, how, ranges), None);
        }
        attached.deliver(delivery);
    }

    fn done(&mut self, kept: Kept) {
        self.end_consumer_of(&kept);
        let queue = kept.item.queue;
        match kept.wait {
            Wait::Publish(waiter, count, refused) => resolve(waiter, count, &refused),
            Wait::Commit(part, refused) if refused.is_empty() => part.done(),
            Wait::Commit(part, _) => part.refuse(self.is_full(queue)),
            // Nobody waits, or hears by this being dropped that there is no answer.
            _ => {}
        }
    }

    /// Nothing comes for a consumer behind its end.
    pub(super) fn end_consumer_of(&mut self, kept: &Kept) {
        if let Request::Cancel(consumer) = kept.item.request {
            self.consumers.remove(consumer);
        }
    }

    fn is_full(&self, queue: QueueId) -> Refusal {
        let topology = self.shared.topology();
        let queue = topology.queue_by_id(queue);
        let queue = queue.map_or_else(String::new, |queue| object_text("queue", &queue.name, &queue.vhost));
        let text = format!("cannot commit: {queue} is full and rejects publishes");
        Refusal::channel(ReplyCode::PreconditionFailed, text)
    }

    fn reply(&mut self, number: u64, reply: Reply) {
        let Some(kept) = self.window.get_mut(number) else { return };
        let queue = kept.item.queue;
        // Whoever asked may have gone; where that matters it is seen to.
        match (std::mem::replace(&mut kept.wait, Wait::Nobody), reply) {
            (Wait::Stat(asker), Reply::Stat(counts)) => drop(asker.send(counts)),
            (Wait::Unit(asker), Reply::Unit) => drop(asker.send(())),
            (Wait::Purge(asker), Reply::Purge(count)) => drop(asker.send(count)),
            (Wait::Delete(asker), Reply::Delete(deleted)) => drop(asker.send(deleted)),
            (Wait::Consume(asker, id), Reply::Consume(taken)) => {
                let is_taken = taken.is_ok();
                if !is_taken {
                    self.consumers.remove(id);
                }
                if asker.send(taken).is_err() && is_taken {
                    self.cancel(queue, id, Wait::Nobody);
                } else if let Some(attached) = self.consumers.get_mut(id) {
                    attached.begin();
                }
            }
            (Wait::Back(id), Reply::Consume(Err(_))) => {
                if let Some(attached) = self.consumers.remove(id) {
                    attached.client.mailbox.push(ClientInput::ConsumerCancelled(id));
                }
            }
            (Wait::Get(asker, no_ack), Reply::Get(got)) => {
                let seq = match &got {
                    Some(GetReply::Message { seq, .. }) => Some(*seq),
                    Some(GetReply::Empty) | None => None,
                };
                let is_told = asker.send(got).is_ok();
                if let Some(seq) = seq.filter(|_| no_ack || !is_told) {
                    self.settle_got(queue, seq, if is_told { Settle::Ack } else { Settle::Requeue });
                }
            }
            _ => {}
        }
    }
}

/// Tells whoever waits for messages what became of them: as a shard does.
pub(super) fn resolve(waiter: Waiter, count: u32, refused: &[(u32, u32)]) {
    match waiter {
        Waiter::Nobody => {}
        Waiter::Publisher(client, confirm) if refused.is_empty() => {
            client.mailbox.push(ClientInput::Confirmed(confirm, true));
        }
        Waiter::Publisher(client, confirm) => {
            let (taken, nacked) = confirm.part(count, refused);
            client.mailbox.push(ClientInput::Confirmed(nacked, false));
            if !taken.ranges.is_empty() {
                client.mailbox.push(ClientInput::Confirmed(taken, true));
            }
        }
        // The owner has sent on what it had no place for, or dropped it.
        Waiter::DeadLetters(tickets) => tickets.iter().flatten().for_each(|ticket| ticket.done()),
        Waiter::Offers(tickets) => {
            for (place, ticket) in (0..).zip(tickets) {
                ticket.done(!is_among(place, refused));
            }
        }
    }
}

fn is_among(place: u32, runs: &[(u32, u32)]) -> bool {
    runs.iter().any(|(first, count)| (*first..first.saturating_add(*count)).contains(&place))
}
