//! Families of connections, channels and exchanges, one by one.

use super::text::{Kind, Text, to_f64};
use crate::node::ConnectionInfo;
use crate::node::statistics::{ChannelNumbers, ExchangeNumbers};

type OfConnection = (&'static str, &'static str, Kind, &'static str, fn(&ConnectionInfo) -> u64);
type OfChannel = (&'static str, &'static str, Kind, &'static str, fn(&ChannelNumbers) -> u64);

#[rustfmt::skip]
const CONNECTIONS: &[OfConnection] = &[
    ("connection_coarse_metrics", "connection_incoming_bytes_total", Kind::Counter, "Bytes received on a connection", |it| it.numbers.traffic.recv_oct),
    ("connection_coarse_metrics", "connection_outgoing_bytes_total", Kind::Counter, "Bytes sent on a connection", |it| it.numbers.traffic.send_oct),
    ("connection_metrics", "connection_incoming_packets_total", Kind::Counter, "Reads from a connection", |it| it.numbers.traffic.recv_cnt),
    ("connection_metrics", "connection_outgoing_packets_total", Kind::Counter, "Writes to a connection", |it| it.numbers.traffic.send_cnt),
    ("connection_metrics", "connection_channels", Kind::Gauge, "Channels on a connection", |it| it.numbers.channels.len() as u64),
];

#[rustfmt::skip]
const CHANNELS: &[OfChannel] = &[
    ("channel_metrics", "channel_consumers", Kind::Gauge, "Consumers on a channel", |it| it.consumer_count),
    ("channel_metrics", "channel_messages_unacked", Kind::Gauge, "Delivered but not yet acknowledged messages", |it| it.unacked),
    ("channel_metrics", "channel_messages_unconfirmed", Kind::Gauge, "Published but not yet confirmed messages", |it| it.unconfirmed),
    ("channel_metrics", "channel_messages_uncommitted", Kind::Gauge, "Messages in an open transaction", |it| it.uncommitted),
    ("channel_metrics", "channel_acks_uncommitted", Kind::Gauge, "Acknowledgements in an open transaction", |it| it.acks_uncommitted),
    ("channel_metrics", "consumer_prefetch", Kind::Gauge, "Limit of unacknowledged messages for each consumer", |it| it.prefetch.into()),
    ("channel_metrics", "channel_prefetch", Kind::Gauge, "Limit of unacknowledged messages for all consumers on a channel", |it| it.global_prefetch.into()),
    ("channel_exchange_metrics", "channel_messages_published_total", Kind::Counter, "Messages published on a channel", |it| it.counts.publish),
    ("channel_exchange_metrics", "channel_messages_confirmed_total", Kind::Counter, "Messages confirmed on a channel", |it| it.counts.confirm),
    ("channel_exchange_metrics", "channel_messages_unroutable_returned_total", Kind::Counter, "Mandatory messages returned as unroutable", |it| it.counts.return_unroutable),
    ("channel_exchange_metrics", "channel_messages_unroutable_dropped_total", Kind::Counter, "Messages dropped as unroutable", |it| it.counts.drop_unroutable),
    ("channel_queue_metrics", "channel_get_ack_total", Kind::Counter, "Messages fetched one by one, to be acknowledged", |it| it.counts.get),
    ("channel_queue_metrics", "channel_get_total", Kind::Counter, "Messages fetched one by one without acknowledgement", |it| it.counts.get_no_ack),
    ("channel_queue_metrics", "channel_messages_delivered_ack_total", Kind::Counter, "Messages delivered to consumers that acknowledge", |it| it.counts.deliver),
    ("channel_queue_metrics", "channel_messages_delivered_total", Kind::Counter, "Messages delivered to consumers that do not acknowledge", |it| it.counts.deliver_no_ack),
    ("channel_queue_metrics", "channel_messages_redelivered_total", Kind::Counter, "Messages delivered again", |it| it.counts.redeliver),
    ("channel_queue_metrics", "channel_messages_acked_total", Kind::Counter, "Messages acknowledged by consumers", |it| it.counts.ack),
    ("channel_queue_metrics", "channel_get_empty_total", Kind::Counter, "Fetches that found no message", |it| it.counts.get_empty),
];

/// Whether a family is told for each connection or channel: then there is no sum of that name.
pub(super) fn has_family(name: &str) -> bool {
    CONNECTIONS.iter().any(|family| family.1 == name) || CHANNELS.iter().any(|family| family.1 == name)
}

/// Connections, their channels, one family after the other.
pub(super) fn put(
    text: &mut Text,
    prefix: &str,
    is_wanted: impl Fn(&str) -> bool,
    connections: &[ConnectionInfo],
) {
    let names: Vec<_> = connections.iter().map(|connection| connection.facts.name()).collect();
    for (_, name, kind, help, value) in CONNECTIONS.iter().filter(|family| is_wanted(family.0)) {
        text.family(prefix, name, *kind, help);
        for (connection, name) in connections.iter().zip(&names) {
            let labels = [("connection", name.as_str()), ("vhost", &connection.facts.vhost)];
            text.sample(&labels, to_f64(value(connection)));
        }
    }
    for (_, name, kind, help, value) in CHANNELS.iter().filter(|family| is_wanted(family.0)) {
        text.family(prefix, name, *kind, help);
        for (connection, name) in connections.iter().zip(&names) {
            for channel in &connection.numbers.channels {
                let label = format!("{name} ({})", channel.number);
                let labels = [("channel", label.as_str()), ("vhost", &connection.facts.vhost)];
                text.sample(&labels, to_f64(value(channel)));
            }
        }
    }
}

/// What passed exchanges.
pub(super) fn put_exchanges(text: &mut Text, prefix: &str, exchanges: &[ExchangeNumbers]) {
    let families = [
        ("exchange_messages_published_in_total", "Messages published to an exchange"),
        ("exchange_messages_published_out_total", "Messages routed by an exchange, counted for each queue"),
    ];
    for (at, (name, help)) in families.into_iter().enumerate() {
        text.family(prefix, name, Kind::Counter, help);
        for exchange in exchanges {
            let value = exchange.counts.to_array().get(at).copied().unwrap_or(0);
            text.sample(&[("vhost", &exchange.vhost), ("exchange", &exchange.name)], to_f64(value));
        }
    }
}
