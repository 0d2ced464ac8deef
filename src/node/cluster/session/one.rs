//! A single session at its owner.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::asks::{Ask, Question, settlement, spec};
use super::closing::Closing;
use super::held::Held;
use super::letters::{self, Letters};
use super::publishes::Publishes;
use super::table::{Places, Remembered};
use crate::broker::batch::Batch;
use crate::broker::channel::outgoing::Confirm;
use crate::broker::ids::{NodeId, QueueId};
use crate::broker::queue::{Command, ConsumerId, Delivery, GETTER, GetReply, SeqRange};
use crate::node::cluster::forward::{
    Answer, Answers, Forward, Item, Owner, Reply, Request, SessionId, Settle,
};
use crate::node::links::{ClientInput, ClientLink, ShardInput, Waiter};
use crate::node::mailbox::Mailbox;

type Each<'a> = &'a mut dyn FnMut(ShardInput);

/// Bytes of messages that are handed over at a time: what follows from them is one entry of a group's log, and that must fit a
/// message to the other members.
pub(super) const TAKEN_BYTES_MAX: usize = 4 * 1024 * 1024;

#[cfg(test)]
thread_local! {
    /// What consumers were given that need not acknowledge: it is gone, whether it arrives or not.
    pub(crate) static GIVEN_AWAY: std::cell::RefCell<Vec<Delivery>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    owner: Owner,
    pub(super) node: NodeId,
    pub(super) id: SessionId,
    attempt: u64,
    state: State,
    /// The consumers from before this attempt were handed over.
    pub(super) is_back: bool,
    /// Everything up to this number was taken.
    number: u64,
    /// The session knows what became of all items below this number.
    answered: u64,
    waiting: VecDeque<Forward>,
    /// More of it could be taken: enough was, for once.
    pub(super) has_more: bool,
    /// What the shard takes for a client.
    link: Arc<ClientLink>,
    letters: Letters,
    publishes: Publishes,
    asks: Vec<Ask>,
    /// Items that are safe with what will be logged next.
    unlogged: Vec<u64>,
    /// Items that are safe when the log is synced up to an index.
    logged: VecDeque<(u64, Vec<u64>)>,
    /// Queues of the consumers, and whether these need no acknowledgement.
    consumers: BTreeMap<ConsumerId, (QueueId, bool)>,
    held: Held,
    /// Messages that were not taken in; the session may ask again before it knows.
    refused: BTreeMap<u64, Places>,
    /// The last of them that the group has a mark of.
    marked_refusals: BTreeMap<u64, Places>,
    needs_mark: bool,
    closing: Option<Closing>,
    /// Gets of an attempt that is over: what they are given goes back.
    stray: Vec<Ask>,
    done: Vec<u64>,
    out: Vec<Answer>,
    /// Memory for what is heard.
    heard: Vec<ClientInput>,
}

/// How an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is over; the next one opens the session again.
    Closed,
    /// Nothing of it was taken yet.
    Begins,
    Open,
    /// Something is missing, and the session was told: what still comes of this attempt is dropped.
    Over,
}

impl Session {
    pub(super) fn new(owner: Owner, node: NodeId) -> Self {
        let link = Arc::new(ClientLink { id: 0, mailbox: Mailbox::new(usize::MAX) });
        Self {
            owner,
            node,
            id: 0,
            attempt: 0,
            state: State::Closed,
            is_back: false,
            number: 0,
            answered: 0,
            waiting: VecDeque::new(),
            has_more: false,
            link,
            letters: Letters::new(),
            publishes: Publishes::default(),
            asks: Vec::new(),
            unlogged: Vec::new(),
            logged: VecDeque::new(),
            consumers: BTreeMap::new(),
            held: Held::default(),
            refused: BTreeMap::new(),
            marked_refusals: BTreeMap::new(),
            needs_mark: false,
            closing: None,
            stray: Vec::new(),
            done: Vec::new(),
            out: Vec::new(),
            heard: Vec::new(),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.state != State::Closed
    }

    /// The node has another session now, of which this much is known.
    pub(super) fn renew(&mut self, id: SessionId, known: Option<&Remembered>) {
        self.close();
        let known = known.cloned().unwrap_or_default();
        self.id = id;
        self.attempt = 0;
        self.number = known.number;
        self.answered = known.answered;
        self.refused = known.refused;
        self.marked_refusals = self.refused.clone();
        self.publishes.forget();
        self.letters.forget();
        self.unlogged.clear();
        self.logged.clear();
        self.needs_mark = false;
    }

    /// Ends the attempt.
    pub(super) fn close(&mut self) {
        self.state = State::Closed;
        self.is_back = false;
        self.waiting.clear();
        self.done.clear();
        self.out.clear();
        self.stray.extend(self.asks.extract_if(.., |ask| ask.takes_a_message()));
        self.asks.clear();
        if !self.consumers.is_empty() || !self.held.is_empty() {
            self.closing.get_or_insert_default();
        }
    }

    /// The session asks.
    pub(super) fn forward(&mut self, forward: Forward) {
        if forward.attempt > self.attempt {
            self.close();
            self.attempt = forward.attempt;
            self.state = State::Begins;
        } else if forward.attempt < self.attempt || self.state == State::Closed {
            if forward.attempt == self.attempt {
                // It does not know yet that its attempt is over.
                self.tell_gap();
            }
            return;
        }
        if self.state != State::Over {
            self.waiting.push_back(forward);
        }
    }

    pub(super) fn tell_room(&mut self, has_room: bool) {
        if self.is_open() {
            self.out.push(Answer::Room(has_room));
        }
    }

    /// Gives what is next, as far as its declarations are known.
    pub(super) fn take(&mut self, meta_index: u64, has_room: bool, each: Each<'_>) {
        self.has_more = false;
        self.return_strays(each);
        if !self.go_on_closing(each) {
            return;
        }
        let mut bytes = 0;
        while bytes < TAKEN_BYTES_MAX
            && self.is_next_known(meta_index)
            && let Some(forward) = self.waiting.pop_front()
        {
            bytes += forward.message_bytes();
            self.take_forward(forward, has_room, each);
        }
        self.has_more = self.is_next_known(meta_index);
    }

    fn is_next_known(&self, meta_index: u64) -> bool {
        self.waiting.front().is_some_and(|forward| forward.meta_index <= meta_index)
    }

    fn take_forward(&mut self, forward: Forward, has_room: bool, each: Each<'_>) {
        if self.state == State::Begins {
            if self.owner_forgets() && self.number == 0 && forward.answered > 1 {
                // A node that begins anew knows nothing of what it was asked before.
                return self.tell_gap();
            }
            self.state = State::Open;
            // It hears at once that it has found its owner.
            self.out.push(Answer::Room(has_room));
        }
        // The session knows the fate of all below: it left no mark, or was given up before it was sent.
        self.number = self.number.max(forward.answered.saturating_sub(1));
        if forward.answered > self.answered {
            self.answered = forward.answered;
            self.refused = self.refused.split_off(&forward.answered);
            self.marked_refusals = self.marked_refusals.split_off(&forward.answered);
        }
        if forward.first > self.number + 1 {
            return self.tell_gap();
        }
        for (number, item) in (forward.first..).zip(forward.items) {
            if number <= self.number {
                self.repeat(number, &item, each);
            } else {
                self.number = number;
                self.apply(number, item, each);
            }
        }
        self.is_back |= forward.back_below <= self.number + 1;
    }

    fn owner_forgets(&self) -> bool {
        matches!(self.owner, Owner::Node(_))
    }

    fn tell_gap(&mut self) {
        self.state = State::Over;
        self.waiting.clear();
        self.out.push(Answer::Expects(self.number + 1));
    }

    /// This number was carried out before: if its fate is known by now, it is told again.
    fn repeat(&mut self, number: u64, item: &Item, each: Each<'_>) {
        let waits = !matches!(item.request, Request::Nothing) && self.is_waited_for(number);
        if waits {
            return;
        }
        if let Request::Publish { batch, letters: true } = &item.request {
            let places: Vec<_> = self.refused.remove(&number).into_iter().flatten().collect();
            if !places.is_empty() {
                return self.send_again(number, item.queue, batch, &places, each);
            }
        } else if let Some(places) = self.refused.get(&number) {
            self.out.push(Answer::Refused(number, places.clone()));
        }
        self.done.push(number);
    }

    /// Letters that an owner before had no place for, and of which nobody knows how far they came.
    fn send_again(
        &mut self,
        number: u64,
        queue: QueueId,
        batch: &Batch,
        places: &[(u32, u32)],
        each: Each<'_>,
    ) {
        let places: Vec<_> =
            places.iter().flat_map(|(first, count)| *first..first.saturating_add(*count)).collect();
        let batch = letters::part(batch, &places);
        let first = self.publishes.begin(number, batch.count);
        let waiter = self.letters.begin(number, queue, first, places.into_iter());
        self.needs_mark = true;
        each(ShardInput::Publish(queue, batch, waiter));
    }

    fn is_waited_for(&self, number: u64) -> bool {
        self.unlogged.contains(&number)
            || self.logged.iter().any(|(_, numbers)| numbers.binary_search(&number).is_ok())
            || self.publishes.is_open(number)
            || self.asks.iter().any(|ask| ask.number == number)
    }

    fn apply(&mut self, number: u64, item: Item, each: Each<'_>) {
        let Item { queue, request } = item;
        match request {
            Request::Publish { batch, letters } => self.publish(number, queue, batch, letters, each),
            Request::Settle { consumer, how, ranges } => {
                self.settle(queue, (consumer, how, ranges), each);
                self.needs_mark = true;
                self.unlogged.push(number);
            }
            Request::Consume(consumer) => {
                self.consumers.insert(consumer.id, (queue, consumer.no_ack));
                let (id, link) = (consumer.id, Arc::clone(&self.link));
                let (reply, answer) = oneshot::channel();
                each(ShardInput::Consume(queue, Box::new(spec(&consumer)), link, reply));
                self.ask(number, queue, Question::Consume(answer, id));
            }
            Request::Suspend(consumer) => {
                let (reply, answer) = oneshot::channel();
                each(ShardInput::Suspend(queue, consumer, reply));
                self.ask(number, queue, Question::Suspend(answer));
            }
            Request::Cancel(consumer) => {
                let (reply, answer) = oneshot::channel();
                each(ShardInput::Cancel(queue, consumer, reply));
                self.ask(number, queue, Question::Cancel(answer, consumer));
            }
            Request::Credit(consumer, bytes) => {
                each(ShardInput::Command(queue, Command::Credit(consumer, bytes)));
                self.done.push(number);
            }
            Request::Resume(consumer) => {
                each(ShardInput::Command(queue, Command::Resume(consumer)));
                self.done.push(number);
            }
            Request::Get { no_ack } => {
                let (reply, answer) = oneshot::channel();
                each(ShardInput::Get(queue, no_ack, reply));
                self.ask(number, queue, Question::Get(answer, no_ack));
            }
            Request::Purge => {
                let (reply, answer) = oneshot::channel();
                each(ShardInput::Purge(queue, reply));
                self.ask(number, queue, Question::Purge(answer));
            }
            Request::Delete(condition) => {
                let (reply, answer) = oneshot::channel();
                each(ShardInput::Delete(queue, condition, reply));
                self.ask(number, queue, Question::Delete(answer));
            }
            Request::Stat => {
                let (reply, answer) = oneshot::channel();
                each(ShardInput::Stat(queue, reply));
                self.ask(number, queue, Question::Stat(answer));
            }
            Request::Nothing => self.done.push(number),
        }
    }

    /// What the consumer does not hold it was given before the last change of owner or link, and came back then. The next owner
    /// of a group may know no better than that it is done with; but nobody's prefetch counts it. What it gives back has come
    /// back. A node has returned it as of a consumer that is gone.
    fn settle(
        &mut self,
        queue: QueueId,
        (consumer, how, ranges): (ConsumerId, Settle, Vec<SeqRange>),
        each: Each<'_>,
    ) {
        let (held, others) = self.held.remove(queue, consumer, ranges);
        if !held.is_empty() {
            each(ShardInput::Command(queue, settlement(consumer, how, held)));
        }
        if !others.is_empty() && matches!(how, Settle::Ack | Settle::Reject) && !self.owner_forgets() {
            each(ShardInput::Command(queue, settlement(GETTER, how, others)));
        }
    }

    fn ask(&mut self, number: u64, queue: QueueId, question: Question) {
        self.asks.push(Ask::new(number, queue, question));
    }

    fn publish(&mut self, number: u64, queue: QueueId, batch: Batch, letters: bool, each: Each<'_>) {
        let first = self.publishes.begin(number, batch.count);
        if batch.count == 0 {
            return;
        }
        let count = u64::from(batch.count);
        self.needs_mark = true;
        let waiter = if letters {
            self.letters.begin(number, queue, first, 0..batch.count)
        } else {
            let confirm = Confirm { channel: 0, epoch: 0, ranges: vec![(first, count)] };
            Waiter::Publisher(Arc::clone(&self.link), confirm)
        };
        each(ShardInput::Publish(queue, batch, waiter));
    }

    /// What gets of an earlier attempt were given goes back to its queues.
    fn return_strays(&mut self, each: Each<'_>) {
        for ask in self.stray.extract_if(.., |ask| ask.is_answered()) {
            let (queue, (_, reply)) = (ask.queue, ask.take());
            if let Some(Reply::Get(Some(GetReply::Message { seq, .. }))) = reply {
                each(ShardInput::Command(queue, Command::Fail(GETTER, vec![(seq, 1)])));
            }
        }
    }

    /// Whether nothing of an earlier attempt is left. Consumers are given nothing more, then what they hold goes back, and
    /// only then do others take over: what comes back is older than what is next in turn.
    fn go_on_closing(&mut self, each: Each<'_>) -> bool {
        let Some(closing) = &mut self.closing else { return true };
        if !std::mem::replace(&mut closing.has_begun, true) {
            for (consumer, (queue, _)) in &self.consumers {
                let (reply, answer) = oneshot::channel();
                each(ShardInput::Suspend(*queue, *consumer, reply));
                closing.suspends.push(Ask::new(0, *queue, Question::Suspend(answer)));
            }
        }
        if !closing.suspends.iter_mut().all(Ask::is_answered) {
            return false;
        }
        self.hear();
        for ((queue, consumer), ranges) in self.held.take() {
            each(ShardInput::Command(queue, Command::Fail(consumer, ranges)));
        }
        for (consumer, (queue, _)) in std::mem::take(&mut self.consumers) {
            let (reply, _) = oneshot::channel();
            each(ShardInput::Cancel(queue, consumer, reply));
        }
        self.closing = None;
        true
    }

    /// Appends what a group must remember of what was taken since the last time.
    pub(super) fn mark(&mut self, marks: &mut Vec<u8>) {
        self.hear();
        if !std::mem::take(&mut self.needs_mark) {
            return;
        }
        let open = self.publishes.refused().map(|(number, places)| (number, places.clone()));
        let all = open.chain(self.refused.iter().map(|(number, places)| (*number, places.clone())));
        // What is open is told last: it holds in the place of what was known before.
        let all = all.chain(self.letters.let_go());
        let refused: BTreeMap<_, _> = all.filter(|(number, places)| self.is_news(*number, places)).collect();
        self.marked_refusals.extend(refused.clone());
        let row = Remembered { session: self.id, number: self.number, answered: self.answered, refused };
        row.encode(self.node, marks);
    }

    /// Whether the group does not know yet that these are the places that were refused.
    fn is_news(&self, number: u64, places: &Places) -> bool {
        self.marked_refusals.get(&number).map_or(!places.is_empty(), |marked| marked != places)
    }

    /// What was taken since the last time is safe with this index.
    pub(super) fn logged(&mut self, index: u64) {
        if !self.unlogged.is_empty() {
            self.logged.push_back((index, std::mem::take(&mut self.unlogged)));
        }
    }

    /// What the session is to be told by now.
    pub(super) fn answers(&mut self, synced: u64) -> Option<(NodeId, Answers)> {
        // A reply stands behind the deliveries that were sent before it: so it is looked for first, and told last.
        let answered: Vec<_> = self.asks.extract_if(.., |ask| ask.is_answered()).collect();
        self.hear();
        while self.logged.front().is_some_and(|(index, _)| *index <= synced) {
            self.done.extend(self.logged.pop_front().into_iter().flat_map(|(_, numbers)| numbers));
        }
        for ask in answered {
            self.reply(ask);
        }
        if !self.is_open() {
            self.done.clear();
            self.out.clear();
            return None;
        }
        self.tell_done();
        let answers = std::mem::take(&mut self.out);
        (!answers.is_empty()).then(|| (self.node, self.answer_with(answers)))
    }

    pub(super) fn answer_with(&self, answers: Vec<Answer>) -> Answers {
        Answers { session: self.id, owner: self.owner, attempt: self.attempt, answers }
    }

    /// Takes in what the shard has told its client.
    fn hear(&mut self) {
        let mut heard = std::mem::take(&mut self.heard);
        self.link.mailbox.take(&mut heard);
        for input in heard.drain(..) {
            match input {
                ClientInput::Deliver(delivery) => self.deliver(delivery),
                ClientInput::Confirmed(confirm, accepted) => {
                    for (first, count) in confirm.ranges {
                        self.publishes.told(first, count, accepted);
                    }
                }
                ClientInput::ConsumerCancelled(consumer) => {
                    self.consumers.remove(&consumer);
                    self.out.push(Answer::ConsumerCancelled(consumer));
                }
                // These are for connections.
                ClientInput::Reply { .. }
                | ClientInput::Returned { .. }
                | ClientInput::MetaSynced
                | ClientInput::MayGather
                | ClientInput::AlarmsOver
                | ClientInput::MajorityMissing
                | ClientInput::Close(_)
                | ClientInput::Stopping => {}
            }
        }
        self.heard = heard;
        let mut arrived = Vec::new();
        self.letters.mailbox.take(&mut arrived);
        for input in arrived {
            if let ShardInput::Command(_, Command::DeadLettered(message)) = input {
                self.publishes.told(message, 1, true);
            }
        }
        for (number, places) in self.publishes.take_finished() {
            let was_let_go = self.marked_refusals.get(&number).is_some_and(|places| !places.is_empty());
            if self.letters.end(number) && was_let_go {
                // They came on from here: nobody has to send them again.
                self.refused.insert(number, Vec::new());
                self.needs_mark = true;
            }
            if !places.is_empty() {
                self.out.push(Answer::Refused(number, places.clone()));
                self.refused.insert(number, places);
            }
            self.done.push(number);
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        let Some((queue, no_ack)) = self.consumers.get(&delivery.consumer) else { return };
        if !no_ack {
            self.held.add(*queue, delivery.consumer, delivery.entries.iter().map(|entry| entry.seq));
        }
        #[cfg(test)]
        if *no_ack {
            GIVEN_AWAY.with_borrow_mut(|given| given.push(delivery.clone()));
        }
        if self.closing.is_none() {
            self.out.push(Answer::Deliver(delivery));
        }
    }

    fn reply(&mut self, ask: Ask) {
        let (number, queue) = (ask.number, ask.queue);
        let (question, reply) = ask.take();
        match (&question, &reply) {
            (Question::Consume(_, consumer), Some(Reply::Consume(Err(_))))
            | (Question::Cancel(_, consumer), _) => {
                self.consumers.remove(consumer);
            }
            (Question::Get(_, false), Some(Reply::Get(Some(GetReply::Message { seq, .. })))) => {
                self.held.add(queue, GETTER, std::iter::once(*seq));
            }
            _ => {}
        }
        self.out.extend(reply.map(|reply| Answer::Reply(number, reply)));
        self.done.push(number);
    }

    fn tell_done(&mut self) {
        self.done.sort_unstable();
        for run in self.done.chunk_by(|one, other| one + 1 == *other) {
            if let (Some(first), Some(last)) = (run.first(), run.last()) {
                self.out.push(Answer::Done(*first, *last));
            }
        }
        self.done.clear();
    }

    pub(super) fn wants_round(&mut self) -> bool {
        !self.link.mailbox.is_empty()
            || !self.letters.mailbox.is_empty()
            || !self.out.is_empty()
            || self.has_more
            || self.asks.iter_mut().chain(&mut self.stray).any(Ask::is_answered)
            || self.closing.iter_mut().any(Closing::may_go_on)
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut is_ready = self.link.mailbox.poll_filled(cx).is_ready() | self.has_more;
        is_ready |= self.letters.mailbox.poll_filled(cx).is_ready();
        for ask in self.asks.iter_mut().chain(&mut self.stray) {
            is_ready |= ask.poll(cx).is_ready();
        }
        is_ready |= self.closing.as_mut().is_some_and(|closing| closing.poll(cx).is_ready());
        if is_ready { Poll::Ready(()) } else { Poll::Pending }
    }
}
