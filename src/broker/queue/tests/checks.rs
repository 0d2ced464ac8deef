//! What must hold after every command.

use std::collections::BTreeMap;

use super::world::{State, World};
use crate::broker::queue::ConsumerId;

impl World {
    pub(super) fn check(&mut self) {
        self.check_segments();
        self.check_counts();
        self.check_states();
        self.check_returns();
        self.check_order();
        self.check_prefetch();
    }

    fn check_segments(&self) {
        let messages = &self.queue.messages;
        let hot_bytes: usize = messages.segments().map(|segment| segment.hot_bytes()).sum();
        assert_eq!(messages.hot_bytes(), hot_bytes, "the memory account is the sum over the segments");
        let mut end = 0;
        for lane in messages.lanes.iter() {
            assert!(lane.base >= end, "lanes are in order");
            end = lane.base;
            for segment in &lane.segments {
                assert!(segment.first >= end, "segments are in order");
                assert_eq!(segment.alive().count(), segment.alive as usize);
                let is_last = lane.segments.back().is_some_and(|last| last.first == segment.first);
                assert!(
                    segment.alive > 0 || is_last && segment.is_open(),
                    "no segment without messages is kept"
                );
                end = segment.end();
            }
            assert!(lane.next_seq >= end);
        }
        let are_few = messages.lanes.count() <= 3 || self.options.replicated;
        assert!(messages.alive > 0 || are_few, "lanes without messages are few");
        assert!(messages.settled.is_empty() && messages.forgotten.is_empty(), "everything is reported");
    }

    fn check_counts(&self) {
        let queue = &self.queue;
        let taken = queue.taken.len() as u64;
        assert_eq!(queue.messages.alive, queue.ready + queue.unacked + taken);
        let alive: u64 = queue.messages.segments().map(|segment| u64::from(segment.alive)).sum();
        assert_eq!(queue.messages.alive, alive);
        let all = queue.messages.segments().flat_map(|segment| segment.alive());
        assert_eq!(queue.ready, all.filter(|seq| queue.is_ready(*seq)).count() as u64);
        assert!(
            queue
                .returned
                .iter()
                .all(|seq| *seq < queue.messages.cursor(*seq) && queue.messages.is_alive(*seq))
        );
        assert!(queue.late.is_subset(&queue.returned));
        assert!(queue.taken.iter().all(|seq| queue.messages.is_alive(*seq) && !queue.is_ready(*seq)));
        let limited = self.was_limited;
        // One dropped while it was not in memory leaves its due time behind.
        let is_dropped = |seq: u64| !queue.messages.is_alive(seq) || queue.taken.contains(&seq);
        let expires = |seq: u64| queue.is_ready(seq) || limited && is_dropped(seq);
        assert!(queue.due.all(expires), "only ready messages expire");
    }

    /// Every message is where the model says. What may expire or be dropped without a word is looked up in the queue.
    fn check_states(&mut self) {
        let (queue, dead_letters) = (&self.queue, self.options.dead_letters);
        let (mut left, mut dropped) = (Vec::new(), Vec::new());
        for (seq, told) in &mut self.model {
            let state = if !queue.messages.is_alive(*seq) {
                State::Settled
            } else if queue.is_ready(*seq) {
                State::Ready
            } else if let Some(due_ms) = queue.retries.due_ms(*seq) {
                State::Waiting(due_ms)
            } else if queue.taken.contains(seq) {
                State::Taken
            } else {
                State::Held(0)
            };
            match (told.state, state) {
                (State::Held(_), State::Held(_)) => {}
                (State::Waiting(due_ms), State::Ready | State::Settled | State::Taken) => {
                    assert!(due_ms <= self.now_ms, "message {seq} is {state:?} before its time");
                    if state != State::Ready {
                        left.push(*seq);
                        assert_eq!(state == State::Taken, dead_letters);
                    }
                    told.state = state;
                }
                (State::Ready, State::Settled | State::Taken) if told.state != state => {
                    let due_ms = due_of(told, self.options.message_ttl_ms);
                    if due_ms.is_none_or(|due_ms| due_ms > self.now_ms) {
                        dropped.push(*seq);
                    }
                    left.push(*seq);
                    assert_eq!(state == State::Taken, dead_letters);
                    told.state = state;
                }
                (told, state) => assert_eq!(told, state, "message {seq}"),
            }
        }
        let alive = self.model.values().filter(|told| told.state != State::Settled).count() as u64;
        assert_eq!(alive, queue.messages.alive, "no message is unknown");
        self.check_drops(&left, &dropped);
    }

    /// Returns are counted right, also of what waits for its dead-letter exchange, and of nothing that is gone.
    fn check_returns(&self) {
        let mut counted = 0;
        for segment in self.queue.messages.segments() {
            for seq in segment.alive() {
                let (told, returns) = (&self.model[&seq], segment.returns(seq));
                let uncounted = if self.options.retry.is_some() { u64::MAX } else { 0 };
                let limit = self.options.delivery_limit.unwrap_or(uncounted);
                assert_eq!(u64::from(returns), limit.min(told.returns.into()), "returns of message {seq}");
                counted += usize::from(returns > 0);
            }
        }
        let bytes: usize = self.queue.messages.segments().map(|segment| segment.returns.bytes()).sum();
        assert_eq!(bytes, counted * 32, "only messages that came back cost memory");
    }

    /// What was delivered was in front of everything that is ready still.
    fn check_order(&self) {
        let last = self.moved.iter().max();
        let ready = self.model.iter().find(|(_, told)| told.state == State::Ready).map(|(seq, _)| seq);
        if let (Some(last), Some(ready)) = (last, ready) {
            assert!(last < ready, "{last} was delivered before {ready}");
        }
    }

    fn check_prefetch(&self) {
        let mut held: BTreeMap<ConsumerId, u16> = BTreeMap::new();
        for told in self.model.values() {
            if let State::Held(consumer) = told.state {
                *held.entry(consumer).or_default() += 1;
            }
        }
        for (id, spec) in &self.specs {
            let held = held.get(id).copied().unwrap_or(0);
            assert!(spec.prefetch == 0 || held <= spec.prefetch, "consumer {id} holds {held}");
        }
    }

    /// After the cold store has answered everything, nothing that is due is left.
    pub(super) fn check_nothing_overdue(&mut self) {
        for told in self.model.values() {
            let due_ms = due_of(told, self.options.message_ttl_ms);
            assert!(told.state != State::Ready || due_ms.is_none_or(|due_ms| due_ms > self.now_ms));
        }
        let next = self.queue.next_due();
        assert!(next.is_none_or(|due_ms| due_ms > self.now_ms), "{next:?} at {}", self.now_ms);
    }
}

pub(super) fn due_of(told: &super::world::Told, ttl_ms: Option<u64>) -> Option<u64> {
    let (message, _) = crate::broker::batch::read(&told.record).unwrap();
    let ttl = ttl_ms.map(|ttl_ms| message.enqueued_ms + ttl_ms + u64::from(ttl_ms > 0));
    [told.due_ms, ttl].into_iter().flatten().min()
}
