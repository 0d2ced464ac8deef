//! Families of a node: what RabbitMQ's dashboards ask for, and what it does not tell.

use super::text::{Kind, Text, to_f64};
use crate::node::statistics::{NodeNumbers, QueueTotals, SIZE_BOUNDS, SYNC_BOUNDS_US};

const PREFIX: &str = "rabbitmq_";
const PROTOCOL: (&str, &str) = ("protocol", "amqp091");

type Plain = (&'static str, Kind, &'static str, fn(&NodeNumbers) -> u64);

#[rustfmt::skip]
const PLAIN: &[Plain] = &[
    ("alarms_file_descriptor_limit", Kind::Untyped, "Always 0: connections are refused before descriptors run out", |_| 0),
    ("alarms_free_disk_space_watermark", Kind::Untyped, "1 while the alarm for disk space is on", |node| node.disk_alarm.into()),
    ("alarms_memory_used_watermark", Kind::Untyped, "1 while the alarm for memory is on", |node| node.memory_alarm.into()),
    ("connections_opened_total", Kind::Counter, "Connections opened", |node| node.churn.connection_created),
    ("connections_closed_total", Kind::Counter, "Connections closed or lost", |node| node.churn.connection_closed),
    ("channels_opened_total", Kind::Counter, "Channels opened", |node| node.churn.channel_created),
    ("channels_closed_total", Kind::Counter, "Channels closed", |node| node.churn.channel_closed),
    ("queues_declared_total", Kind::Counter, "Declarations of queues", |node| node.churn.queue_declared),
    ("queues_created_total", Kind::Counter, "Queues created", |node| node.churn.queue_created),
    ("queues_deleted_total", Kind::Counter, "Queues deleted", |node| node.churn.queue_deleted),
    ("process_open_fds", Kind::Gauge, "Open file descriptors", |node| node.fds),
    ("process_open_tcp_sockets", Kind::Gauge, "Open connections of clients", |node| node.connections),
    ("process_resident_memory_bytes", Kind::Gauge, "Memory used in bytes", |node| node.memory_bytes),
    ("disk_space_available_bytes", Kind::Gauge, "Disk space available in bytes", |node| node.disk_free_bytes),
    ("process_max_fds", Kind::Gauge, "Limit of open file descriptors", |node| node.fds_max),
    ("process_max_tcp_sockets", Kind::Gauge, "Limit of connections of clients", |node| node.connections_max),
    ("resident_memory_limit_bytes", Kind::Gauge, "Memory above which publishers wait, in bytes", |node| node.memory_limit_bytes),
    ("disk_space_available_limit_bytes", Kind::Gauge, "Free disk space below which publishers wait, in bytes", |node| node.disk_free_limit_bytes),
    ("erlang_uptime_seconds", Kind::Gauge, "Node uptime", uptime_s),
    ("io_write_bytes_total", Kind::Counter, "Bytes written to the log", |node| node.storage.log_written_bytes),
    ("io_sync_ops_total", Kind::Counter, "Syncs of the log", |node| node.storage.log_syncs),
    ("connections", Kind::Gauge, "Connections currently open", |node| node.connections),
    ("channels", Kind::Gauge, "Channels currently open", |node| node.channels),
    ("consumers", Kind::Gauge, "Consumers currently connected", |node| node.consumers),
    ("queues", Kind::Gauge, "Queues that this node serves", |node| node.classic.queues + node.quorum.queues),
    ("connection_incoming_bytes_total", Kind::Counter, "Bytes received on connections", |node| node.traffic.recv_oct),
    ("connection_outgoing_bytes_total", Kind::Counter, "Bytes sent on connections", |node| node.traffic.send_oct),
    ("connection_incoming_packets_total", Kind::Counter, "Reads from connections", |node| node.traffic.recv_cnt),
    ("connection_outgoing_packets_total", Kind::Counter, "Writes to connections", |node| node.traffic.send_cnt),
    ("channel_messages_published_total", Kind::Counter, "Messages published on channels", |node| node.messages.publish),
    ("channel_messages_confirmed_total", Kind::Counter, "Messages confirmed on channels", |node| node.messages.confirm),
    ("channel_messages_unroutable_returned_total", Kind::Counter, "Mandatory messages returned as unroutable", |node| node.messages.return_unroutable),
    ("channel_messages_unroutable_dropped_total", Kind::Counter, "Messages dropped as unroutable", |node| node.messages.drop_unroutable),
    ("channel_get_ack_total", Kind::Counter, "Messages fetched one by one, to be acknowledged", |node| node.messages.get),
    ("channel_get_total", Kind::Counter, "Messages fetched one by one without acknowledgement", |node| node.messages.get_no_ack),
    ("channel_messages_delivered_ack_total", Kind::Counter, "Messages delivered to consumers that acknowledge", |node| node.messages.deliver),
    ("channel_messages_delivered_total", Kind::Counter, "Messages delivered to consumers that do not acknowledge", |node| node.messages.deliver_no_ack),
    ("channel_messages_redelivered_total", Kind::Counter, "Messages delivered again", |node| node.messages.redeliver),
    ("channel_messages_acked_total", Kind::Counter, "Messages acknowledged by consumers", |node| node.messages.ack),
    ("channel_get_empty_total", Kind::Counter, "Fetches that found no message", |node| node.messages.get_empty),
    ("raft_term_total", Kind::Counter, "Sum of the terms of all groups", |node| raft(node, |group| group.term)),
    ("raft_term", Kind::Counter, "Sum of the terms of all groups", |node| raft(node, |group| group.term)),
    ("raft_log_snapshot_index", Kind::Gauge, "Entries of all groups that were carried out", |node| raft(node, |group| group.applied)),
    ("raft_snapshot_index", Kind::Gauge, "Entries of all groups that were carried out", |node| raft(node, |group| group.applied)),
    ("raft_log_last_applied_index", Kind::Gauge, "Entries of all groups that were carried out", |node| raft(node, |group| group.applied)),
    ("raft_log_commit_index", Kind::Gauge, "Entries of all groups that a majority has", |node| raft(node, |group| group.commit)),
    ("raft_commit_index", Kind::Gauge, "Entries of all groups that a majority has", |node| raft(node, |group| group.commit)),
    ("raft_log_last_written_index", Kind::Gauge, "Entries of all groups that are written", |node| raft(node, |group| group.commit.max(group.applied))),
    ("raft_last_written_index", Kind::Gauge, "Entries of all groups that are written", |node| raft(node, |group| group.commit.max(group.applied))),
];

/// By the protocol alone.
#[rustfmt::skip]
const GLOBAL: &[Plain] = &[
    ("global_publishers", Kind::Gauge, "Channels that have published", |node| node.publishers),
    ("global_consumers", Kind::Gauge, "Current number of consumers", |node| node.consumers),
    ("global_messages_received_total", Kind::Counter, "Messages received from publishers", |node| node.messages.publish),
    ("global_messages_received_confirm_total", Kind::Counter, "Messages received from publishers that expect confirms", |node| node.received_confirm),
    ("global_messages_confirmed_total", Kind::Counter, "Messages confirmed to publishers", |node| node.messages.confirm),
    ("global_messages_routed_total", Kind::Counter, "Messages routed to queues", |node| node.routed),
    ("global_messages_unroutable_dropped_total", Kind::Counter, "Messages dropped as unroutable", |node| node.messages.drop_unroutable),
    ("global_messages_unroutable_returned_total", Kind::Counter, "Mandatory messages returned as unroutable", |node| node.messages.return_unroutable),
];

type ByType = (&'static str, &'static str, fn(&QueueTotals) -> u64);

/// By the protocol and the type of the queue.
#[rustfmt::skip]
const BY_TYPE: &[ByType] = &[
    ("global_messages_delivered_total", "Messages delivered to consumers", |totals| totals.counts.deliver_get()),
    ("global_messages_delivered_consume_auto_ack_total", "Messages delivered to consumers without acknowledgement", |totals| totals.counts.deliver_no_ack),
    ("global_messages_delivered_consume_manual_ack_total", "Messages delivered to consumers that acknowledge", |totals| totals.counts.deliver),
    ("global_messages_delivered_get_auto_ack_total", "Messages fetched one by one without acknowledgement", |totals| totals.counts.get_no_ack),
    ("global_messages_delivered_get_manual_ack_total", "Messages fetched one by one, to be acknowledged", |totals| totals.counts.get),
    ("global_messages_get_empty_total", "Fetches that found no message", |totals| totals.counts.get_empty),
    ("global_messages_redelivered_total", "Messages delivered again", |totals| totals.counts.redeliver),
    ("global_messages_acknowledged_total", "Messages acknowledged by consumers", |totals| totals.counts.ack),
];

fn uptime_s(node: &NodeNumbers) -> u64 {
    node.now_ms.saturating_sub(node.started_ms) / 1000
}

fn raft(node: &NodeNumbers, of: fn(&crate::node::statistics::GroupNumbers) -> u64) -> u64 {
    node.groups.iter().map(of).sum()
}

/// Which cluster a node belongs to, and in which answer it is named.
pub(super) fn put_identity(text: &mut Text, node: &NodeNumbers, cluster: &str, endpoint: &str) {
    text.family(PREFIX, "build_info", Kind::Untyped, "Version of the broker");
    let version = node.version.as_str();
    let labels = [
        ("rabbitmq_version", version),
        ("product_name", "Warren"),
        ("product_version", version),
        ("prometheus_plugin_version", version),
        ("prometheus_client_version", version),
        ("erlang_version", ""),
    ];
    text.sample(&labels, 1.0);
    text.family(PREFIX, "identity_info", Kind::Untyped, "Names of the node and its cluster");
    let labels = [
        ("rabbitmq_node", node.name.as_str()),
        ("rabbitmq_cluster", cluster),
        ("rabbitmq_cluster_permanent_id", cluster),
        ("rabbitmq_endpoint", endpoint),
    ];
    text.sample(&labels, 1.0);
}

/// What RabbitMQ's dashboards ask for, but for sums that are told one by one.
pub(super) fn put(text: &mut Text, node: &NodeNumbers, is_told_one_by_one: impl Fn(&str) -> bool) {
    for (name, kind, help, value) in PLAIN.iter().filter(|family| !is_told_one_by_one(family.0)) {
        text.one(PREFIX, name, *kind, help, to_f64(value(node)));
    }
    let mean_s = mean_sync_s(node);
    for name in ["raft_entry_commit_latency_seconds", "raft_commit_latency_seconds"] {
        text.one(PREFIX, name, Kind::Gauge, "Mean time of a sync of the log", mean_s);
    }
    let help = "Time spent in syncs of the log";
    let sync_s = to_f64(node.storage.log_sync_us) / 1e6;
    text.one(PREFIX, "io_sync_time_seconds_total", Kind::Counter, help, sync_s);
    for (name, kind, help, value) in GLOBAL {
        text.family(PREFIX, name, *kind, help);
        text.sample(&[PROTOCOL], to_f64(value(node)));
    }
    for (name, help, value) in BY_TYPE {
        text.family(PREFIX, name, Kind::Counter, help);
        let types = [("rabbit_classic_queue", &node.classic), ("rabbit_quorum_queue", &node.quorum)];
        for (queue_type, totals) in types {
            text.sample(&[PROTOCOL, ("queue_type", queue_type)], to_f64(value(totals)));
        }
    }
    put_deaths(text, node);
    text.family(PREFIX, "message_size_bytes", Kind::Histogram, "Size of messages received from publishers");
    let within: Vec<_> =
        SIZE_BOUNDS.iter().zip(&node.sizes).map(|(bound, count)| (to_f64(*bound), *count)).collect();
    let all = node.sizes.last().copied().unwrap_or(0);
    text.histogram(&[PROTOCOL], &within, all, to_f64(node.size_sum));
}

fn put_deaths(text: &mut Text, node: &NodeNumbers) {
    let reasons = [
        ("maxlen", node.deaths.maxlen),
        ("rejected", node.deaths.rejected),
        ("expired", node.deaths.expired),
        ("delivery_limit", node.deaths.delivery_limit),
        ("confirmed", node.deaths.confirmed),
    ];
    for (reason, count) in reasons {
        let name = format!("global_messages_dead_lettered_{reason}_total");
        text.family(PREFIX, &name, Kind::Counter, "Messages dead-lettered, by the reason in the name");
        // Every dead letter stays in its queue until its targets have it.
        let labels = [("queue_type", "rabbit_classic_queue"), ("dead_letter_strategy", "at_least_once")];
        text.sample(&labels, to_f64(count));
    }
}

fn mean_sync_s(node: &NodeNumbers) -> f64 {
    let storage = &node.storage;
    if storage.log_syncs == 0 { 0.0 } else { to_f64(storage.log_sync_us) / to_f64(storage.log_syncs) / 1e6 }
}

/// What RabbitMQ does not tell.
pub(super) fn put_own(text: &mut Text, node: &NodeNumbers) {
    const OWN: &str = "warren_";
    text.family(OWN, "build_info", Kind::Gauge, "Version of the broker");
    text.sample(&[("version", &node.version)], 1.0);
    let storage = &node.storage;
    text.one(
        OWN,
        "log_bytes",
        Kind::Gauge,
        "Bytes of the log that are still needed",
        to_f64(storage.log_bytes),
    );
    text.one(OWN, "cold_store_bytes", Kind::Gauge, "Bytes of the cold store", to_f64(storage.cold_bytes));
    text.family(OWN, "log_sync_duration_seconds", Kind::Histogram, "How long syncs of the log took");
    let bounds = SYNC_BOUNDS_US.iter().zip(&storage.log_syncs_within);
    let within: Vec<_> = bounds.map(|(bound_us, count)| (to_f64(*bound_us) / 1e6, *count)).collect();
    text.histogram(&[], &within, storage.log_syncs, to_f64(storage.log_sync_us) / 1e6);
    let oldest_ms = node.classic.oldest_ms.into_iter().chain(node.quorum.oldest_ms).min();
    let age_s = oldest_ms.map_or(0.0, |oldest_ms| to_f64(node.now_ms.saturating_sub(oldest_ms)) / 1000.0);
    let help = "Age of the message that is ready for the longest time, over all queues of the node";
    text.one(OWN, "oldest_message_age_seconds", Kind::Gauge, help, age_s);
    let help = "1 while a majority is missing for what clients of this node publish";
    text.one(OWN, "alarms_majority_missing", Kind::Gauge, help, f64::from(u8::from(node.majority_alarm)));
    put_groups(text, node);
}

fn put_groups(text: &mut Text, node: &NodeNumbers) {
    const OWN: &str = "warren_";
    text.family(OWN, "group_leads", Kind::Gauge, "1 for each group that this node leads");
    for group in &node.groups {
        let leads = f64::from(u8::from(group.leader == node.node));
        text.sample(&[("group", &group.group.to_string())], leads);
    }
    let led = || node.groups.iter().filter(|group| group.leader == node.node);
    let families = [
        ("replication_lag_entries", "Entries that a member of a group that this node leads lacks"),
        ("replication_lag_bytes", "Their bytes"),
    ];
    for (name, help) in families {
        text.family(OWN, name, Kind::Gauge, help);
        for group in led() {
            for member in group.members.iter().filter(|member| member.node != node.node) {
                let lag = if name.ends_with("bytes") { member.lag_bytes } else { member.lag_entries };
                let (group, member) = (group.group.to_string(), member.node.to_string());
                text.sample(&[("group", &group), ("member", &member)], to_f64(lag));
            }
        }
    }
}
