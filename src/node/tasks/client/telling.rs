//! Events of a connection, for those who listen: it, its channels and consumers begin and end.

use amq_protocol::types::AMQPValue;

use super::session::Session;
use crate::node::events::telling::{Facts, number, text};
use crate::node::statistics::{ConnectionRecord, ConsumerRecord};

impl Session {
    /// The name of the connection, as people and RabbitMQ's tools know it.
    pub(super) fn name(&self) -> String {
        format!("{} -> {}", self.peer, self.origin.local.unwrap_or(self.peer))
    }

    pub(super) fn tell_opened(&self, record: &ConnectionRecord) {
        self.shared.tell_event("connection.created", || {
            let mut facts = self.connection_facts();
            facts.extend([
                ("peer_host", text(&record.peer.ip().to_string())),
                ("peer_port", number(record.peer.port().into())),
                ("host", text(&record.local.ip().to_string())),
                ("port", number(record.local.port().into())),
                ("protocol", text(record.protocol)),
                ("auth_mechanism", text(&record.auth_mechanism)),
                ("ssl", AMQPValue::Boolean(record.tls.is_some())),
                ("timeout", number(record.timeout_s.into())),
                ("frame_max", number(record.frame_max.into())),
                ("channel_max", number(record.channel_max.into())),
                ("client_properties", AMQPValue::FieldTable((*record.client_properties).clone())),
                ("connected_at", number(record.connected_at_ms)),
            ]);
            facts
        });
    }

    pub(super) fn tell_closed(&self) {
        self.shared.tell_event("connection.closed", || self.connection_facts());
    }

    /// `channel.created`, `channel.closed`.
    pub(super) fn tell_channel(&self, event: &str, channel: u16) {
        self.shared.tell_event(event, || {
            let connection = self.name();
            vec![
                ("name", text(&format!("{connection} ({channel})"))),
                ("connection", text(&connection)),
                ("number", number(channel.into())),
                ("user", text(&self.user)),
                ("vhost", text(&self.vhost)),
                ("user_who_performed_action", text(&self.user)),
            ]
        });
    }

    pub(super) fn tell_consumer(&self, event: &str, consumer: &ConsumerRecord) {
        self.shared.tell_event(event, || {
            vec![
                ("consumer_tag", text(&String::from_utf8_lossy(&consumer.tag))),
                ("exclusive", AMQPValue::Boolean(consumer.exclusive)),
                ("ack_required", AMQPValue::Boolean(!consumer.no_ack)),
                ("channel", text(&format!("{} ({})", self.name(), consumer.channel))),
                ("queue", text(&consumer.queue.name)),
                ("vhost", text(&consumer.queue.vhost)),
                ("prefetch_count", number(consumer.prefetch.into())),
                ("arguments", AMQPValue::FieldTable(consumer.arguments.clone())),
                ("user_who_performed_action", text(&self.user)),
            ]
        });
    }

    fn connection_facts(&self) -> Facts {
        vec![
            ("name", text(&self.name())),
            ("node", text(&self.shared.config.node.name)),
            ("user", text(&self.user)),
            ("vhost", text(&self.vhost)),
            ("user_who_performed_action", text(&self.user)),
        ]
    }
}
