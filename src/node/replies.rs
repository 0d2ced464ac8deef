//! Who waits for replies, by the names that their requests carry (RabbitMQ: Direct Reply-To).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dashmap::DashMap;

use super::links::{ClientInput, ClientLink};
use crate::broker::queue::ConsumerId;

/// The name that requesters consume from and put into `reply_to`.
pub(crate) const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// What the name that a replier sees begins with.
pub(crate) const PREFIX: &str = "amq.rabbitmq.reply-to.";

/// So long a requester that does not take its replies holds up those who send them; then they are dropped.
const PATIENCE_MS: u64 = 1000;

/// Everybody who waits for replies.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    by_name: DashMap<String, Arc<Requester>, foldhash::fast::RandomState>,
}

impl Replies {
    /// Promises replies under a name that nobody else has, until [`Self::remove`].
    pub(crate) fn add(&self, name: String, requester: Requester) {
        self.by_name.insert(name, Arc::new(requester));
    }

    /// No more replies are wanted under this name.
    pub(crate) fn remove(&self, name: &str) {
        self.by_name.remove(name);
    }

    /// Who waits under this name in this vhost.
    pub(crate) fn find(&self, vhost: &str, name: &str) -> Option<Arc<Requester>> {
        let found = self.by_name.get(name)?;
        (found.vhost == vhost).then(|| Arc::clone(&found))
    }
}

/// One channel that takes replies.
#[derive(Debug)]
pub(crate) struct Requester {
    vhost: String,
    link: Arc<ClientLink>,
    channel: u16,
    consumer: ConsumerId,
    /// Since when it has no room, Unix milliseconds; 0 when it has.
    full_since_ms: AtomicU64,
    /// Replies were dropped since it last had room.
    is_dropping: AtomicBool,
}

impl Requester {
    /// A requester that has room.
    pub(crate) fn new(vhost: String, link: Arc<ClientLink>, channel: u16, consumer: ConsumerId) -> Self {
        let (full_since_ms, is_dropping) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { vhost, link, channel, consumer, full_since_ms, is_dropping }
    }

    /// Sends a reply, whose record `put` writes, or drops it when none was taken for too long.
    pub(crate) fn reply(&self, now_ms: u64, put: impl FnOnce(&mut Vec<u8>)) {
        if !self.may_wait(now_ms) {
            self.tell_dropping();
            return;
        }
        let mut record = Vec::new();
        put(&mut record);
        let bytes = record.len();
        let reply = ClientInput::Reply { channel: self.channel, consumer: self.consumer, record };
        self.link.mailbox.push_bulk(reply, bytes);
    }

    /// Whether it has room, or may still get it: then the one who sends should wait for it.
    pub(crate) fn may_wait(&self, now_ms: u64) -> bool {
        self.has_room() || now_ms < self.wait_until_ms(now_ms)
    }

    /// Whether it takes replies without delay.
    pub(crate) fn has_room(&self) -> bool {
        let has_room = self.link.mailbox.has_room();
        if has_room && self.full_since_ms.load(Ordering::Relaxed) != 0 {
            self.full_since_ms.store(0, Ordering::Relaxed);
            self.is_dropping.store(false, Ordering::Relaxed);
        }
        has_room
    }

    /// Waits until it takes replies again.
    pub(crate) async fn room(&self) {
        self.link.mailbox.room().await;
    }

    /// How long to wait for one that has no room, Unix milliseconds.
    pub(crate) fn wait_until_ms(&self, now_ms: u64) -> u64 {
        let now_ms = now_ms.max(1);
        let since = self.full_since_ms.compare_exchange(0, now_ms, Ordering::Relaxed, Ordering::Relaxed);
        since.err().unwrap_or(now_ms) + PATIENCE_MS
    }

    fn tell_dropping(&self) {
        if !self.is_dropping.swap(true, Ordering::Relaxed) {
            let (connection, channel) = (self.link.id, self.channel);
            tracing::warn!(connection, channel, "a client does not read its replies: they are dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::mailbox::Mailbox;

    fn requester(bytes_max: usize) -> (Arc<ClientLink>, Requester) {
        let link = Arc::new(ClientLink { id: 1, mailbox: Mailbox::new(bytes_max) });
        (Arc::clone(&link), Requester::new("/".to_owned(), link, 1, 1))
    }

    fn taken(link: &ClientLink) -> usize {
        let mut inputs = Vec::new();
        link.mailbox.take(&mut inputs);
        inputs.len()
    }

    #[test]
    fn one_that_takes_nothing_is_waited_for_and_then_gets_nothing_until_it_has_room() {
        let (link, requester) = requester(10);
        let reply = |now_ms| requester.reply(now_ms, |record| record.resize(6, 0));
        (0..2).for_each(|_| reply(5000));
        assert!(!requester.has_room());
        assert_eq!(requester.wait_until_ms(5000), 5000 + PATIENCE_MS);
        reply(5000 + PATIENCE_MS - 1);
        reply(5000 + PATIENCE_MS);
        assert!(!requester.may_wait(5000 + PATIENCE_MS));
        assert_eq!(taken(&link), 3);
        reply(9000);
        assert!(requester.may_wait(9000));
        assert_eq!(taken(&link), 1);
    }

    #[test]
    fn a_name_is_good_in_its_vhost_until_it_is_removed() {
        let replies = Replies::default();
        replies.add("n".to_owned(), requester(10).1);
        assert!(replies.find("/", "n").is_some());
        assert!(replies.find("other", "n").is_none());
        replies.remove("n");
        assert!(replies.find("/", "n").is_none());
    }
}
