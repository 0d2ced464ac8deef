//! What is there, by name.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Control;

impl Control {
    /// The time here, Unix milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.shared.clock.now_ms()
    }

    /// Where this node listens, and for what: RabbitMQ's names of protocols.
    #[must_use]
    pub fn listeners(&self) -> Vec<(&'static str, SocketAddr)> {
        let config = &self.shared.config;
        let http = [
            ("http", config.management.bind),
            ("https", config.management.tls_bind),
            ("http/prometheus", config.metrics.bind),
            ("https/prometheus", config.metrics.tls_bind),
        ];
        let amqp = std::iter::once(("amqp", config.listener.bind));
        amqp.chain(http.into_iter().filter_map(|(protocol, bind)| Some((protocol, bind?)))).collect()
    }

    /// Whether there is a queue of that name.
    #[must_use]
    pub fn has_queue(&self, vhost: &str, name: &str) -> bool {
        self.shared.topology().queue(vhost, name).is_some()
    }

    /// The names of the queues of a vhost, sorted; none when it is not there.
    #[must_use]
    pub fn queue_names(&self, vhost: &str) -> Vec<Arc<str>> {
        self.shared.topology().queues(vhost).iter().map(|queue| Arc::clone(&queue.name)).collect()
    }

    /// The names of all users, sorted.
    #[must_use]
    pub fn user_names(&self) -> Vec<Arc<str>> {
        self.shared.topology().users().into_iter().map(|user| Arc::clone(&user.name)).collect()
    }
}
