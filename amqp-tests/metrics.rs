//! What Prometheus is told (behaviour 260).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::support::wire::*;

/// What RabbitMQ's dashboards Overview and Quorum Queues ask for, from 3.10 to now.
const DASHBOARDS: &str = "rabbitmq_build_info rabbitmq_identity_info rabbitmq_queues rabbitmq_queue_messages_ready \
    rabbitmq_queue_messages_unacked rabbitmq_connections rabbitmq_channels rabbitmq_channel_consumers rabbitmq_consumers \
    rabbitmq_connections_opened_total rabbitmq_connections_closed_total rabbitmq_channels_opened_total \
    rabbitmq_channels_closed_total rabbitmq_queues_declared_total rabbitmq_queues_created_total \
    rabbitmq_queues_deleted_total rabbitmq_process_resident_memory_bytes rabbitmq_resident_memory_limit_bytes \
    rabbitmq_disk_space_available_bytes rabbitmq_disk_space_available_limit_bytes rabbitmq_process_open_fds \
    rabbitmq_process_max_fds rabbitmq_process_open_tcp_sockets rabbitmq_process_max_tcp_sockets \
    rabbitmq_erlang_uptime_seconds rabbitmq_message_size_bytes_bucket rabbitmq_message_size_bytes_sum \
    rabbitmq_message_size_bytes_count rabbitmq_global_publishers rabbitmq_global_consumers \
    rabbitmq_global_messages_received_total rabbitmq_global_messages_received_confirm_total \
    rabbitmq_global_messages_confirmed_total rabbitmq_global_messages_routed_total \
    rabbitmq_global_messages_unroutable_dropped_total rabbitmq_global_messages_unroutable_returned_total \
    rabbitmq_global_messages_delivered_total rabbitmq_global_messages_delivered_consume_auto_ack_total \
    rabbitmq_global_messages_delivered_consume_manual_ack_total rabbitmq_global_messages_delivered_get_auto_ack_total \
    rabbitmq_global_messages_delivered_get_manual_ack_total rabbitmq_global_messages_get_empty_total \
    rabbitmq_global_messages_redelivered_total rabbitmq_global_messages_acknowledged_total \
    rabbitmq_global_messages_dead_lettered_maxlen_total rabbitmq_global_messages_dead_lettered_rejected_total \
    rabbitmq_global_messages_dead_lettered_expired_total rabbitmq_global_messages_dead_lettered_delivery_limit_total \
    rabbitmq_global_messages_dead_lettered_confirmed_total rabbitmq_raft_term rabbitmq_raft_commit_index \
    rabbitmq_raft_last_written_index rabbitmq_raft_snapshot_index rabbitmq_raft_commit_latency_seconds \
    rabbitmq_raft_term_total rabbitmq_raft_log_commit_index rabbitmq_raft_log_last_written_index \
    rabbitmq_raft_log_snapshot_index rabbitmq_raft_entry_commit_latency_seconds";

/// A scrape: each sample by its name and labels as they were written.
struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    fn of(broker: &Broker, path: &str) -> Self {
        let address = format!("http://{}{path}", broker.metrics());
        let mut answer = ureq::get(&address).call().expect("a scrape is answered");
        let kind = answer.headers()["content-type"].to_str().unwrap_or_default().to_owned();
        assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        let text = answer.body_mut().with_config().limit(1 << 30).read_to_string();
        Self::parse(&text.expect("a scrape is text"))
    }

    /// Reads the text format, and holds it to its rules.
    fn parse(text: &str) -> Self {
        let (mut samples, mut families, mut family) = (BTreeMap::new(), BTreeSet::new(), String::new());
        for line in text.lines() {
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a type has a name");
                assert!(["counter", "gauge", "histogram", "untyped"].contains(&kind), "{line}");
                assert!(families.insert(name.to_owned()), "{name} is told twice");
                name.clone_into(&mut family);
                continue;
            }
            if let Some(help) = line.strip_prefix("# HELP ") {
                assert!(help.starts_with(&format!("{family} ")), "{line}");
                continue;
            }
            let (sample, value) = line.rsplit_once(' ').expect("a sample has a value");
            assert!(sample.starts_with(&family), "{line} is in {family}");
            let name = sample.split('{').next().unwrap_or_default();
            assert!(name.bytes().all(|sign| sign.is_ascii_alphanumeric() || sign == b'_'), "{line}");
            let value = value.parse::<f64>().unwrap_or_else(|_| panic!("{line} is no number"));
            assert!(samples.insert(sample.to_owned(), value).is_none(), "{sample} is there twice");
        }
        Self(samples)
    }

    fn get(&self, sample: &str) -> f64 {
        *self.0.get(sample).unwrap_or_else(|| panic!("no sample {sample}"))
    }

    /// Over all labels.
    fn sum(&self, name: &str) -> f64 {
        let is_of = |sample: &str| sample == name || sample.starts_with(&format!("{name}{{"));
        self.0.iter().filter(|(sample, _)| is_of(sample)).map(|(_, value)| value).sum()
    }

    fn names(&self) -> BTreeSet<&str> {
        self.0.keys().map(|sample| sample.split('{').next().unwrap_or_default()).collect()
    }
}

fn own() -> Option<Broker> {
    Broker::own_with("")
}

// behaviour 260
#[test]
fn numbers_add_up_after_known_traffic() {
    let Some(broker) = own() else { return };
    let conn = broker.connect();
    let (publisher, consumer) = (conn.channel(1), conn.channel(2));
    let queue = unique("counted");
    publisher.queue_declare(&queue).ok();
    publisher.confirm_select().ok();
    for _ in 0..10 {
        publisher.put(&queue, "twelve bytes");
    }
    publisher.publish("amq.direct", "nobody", "m").send();
    publisher.publish("amq.direct", "nobody", "m").send();
    publisher.confirms(1, 12);
    assert!(consumer.get(&queue).is_some());
    consumer.ack(1).send();
    assert!(consumer.pull(&queue).is_some());
    consumer.consume(&queue, "c").ok();
    let tag = consumer.deliveries(8)[7].tag;
    consumer.ack(tag).multiple().send();
    assert!(publisher.get(&queue).is_none());
    let by_type = |name: &str| {
        format!(
            "rabbitmq_global_messages_{name}_total{{protocol=\"amqp091\",queue_type=\"rabbit_classic_queue\"}}"
        )
    };
    let expected = [
        ("rabbitmq_global_messages_received_total{protocol=\"amqp091\"}".to_owned(), 12.0),
        ("rabbitmq_global_messages_received_confirm_total{protocol=\"amqp091\"}".to_owned(), 12.0),
        ("rabbitmq_global_messages_confirmed_total{protocol=\"amqp091\"}".to_owned(), 12.0),
        ("rabbitmq_global_messages_routed_total{protocol=\"amqp091\"}".to_owned(), 10.0),
        ("rabbitmq_global_messages_unroutable_dropped_total{protocol=\"amqp091\"}".to_owned(), 2.0),
        (by_type("delivered"), 10.0),
        (by_type("delivered_consume_manual_ack"), 8.0),
        (by_type("delivered_get_manual_ack"), 1.0),
        (by_type("delivered_get_auto_ack"), 1.0),
        (by_type("get_empty"), 1.0),
        (by_type("acknowledged"), 9.0),
        ("rabbitmq_queue_messages_published_total".to_owned(), 10.0),
        ("rabbitmq_message_size_bytes_count{protocol=\"amqp091\"}".to_owned(), 12.0),
        ("rabbitmq_message_size_bytes_sum{protocol=\"amqp091\"}".to_owned(), 122.0),
        ("rabbitmq_queues".to_owned(), 1.0),
        ("rabbitmq_queues_declared_total".to_owned(), 1.0),
        ("rabbitmq_queues_created_total".to_owned(), 1.0),
        ("rabbitmq_connections".to_owned(), 1.0),
        ("rabbitmq_channels".to_owned(), 2.0),
        ("rabbitmq_consumers".to_owned(), 1.0),
        ("rabbitmq_channel_messages_acked_total".to_owned(), 9.0),
    ];
    let mut told = Vec::new();
    eventually("the numbers are those of the traffic", || {
        let scrape = Scrape::of(&broker, "/metrics");
        let differs = |(sample, value): &&(String, f64)| (scrape.get(sample) - value).abs() > 1e-9;
        let differing: Vec<_> = expected.iter().filter(differs).map(|(sample, _)| sample.clone()).collect();
        let is_new = differing != told;
        if is_new {
            eprintln!("not yet: {differing:?}");
        }
        told = differing;
        told.is_empty().then_some(())
    });
    conn.close();
    eventually("what has ended is not counted as open", || {
        let scrape = Scrape::of(&broker, "/metrics");
        let open = ["rabbitmq_connections", "rabbitmq_channels", "rabbitmq_consumers"];
        let is_over = open.iter().all(|name| scrape.get(name) == 0.0);
        (is_over && scrape.get("rabbitmq_channels_closed_total") == 2.0).then_some(())
    });
}

// behaviour 260
#[test]
fn each_queue_and_channel_is_told_when_asked_for() {
    let Some(broker) = own() else { return };
    let conn = broker.connect();
    let ch = conn.channel(1);
    let (one, other) = (unique("one"), unique("other \"quoted\""));
    for (queue, count) in [(&one, 3), (&other, 1)] {
        ch.queue_declare(queue).ok();
        (0..count).for_each(|_| ch.put(queue, "abcd"));
    }
    ch.sync();
    let scrape = Scrape::of(&broker, "/metrics/per-object");
    let of = |name: &str, queue: &str| {
        format!("rabbitmq_{name}{{vhost=\"/\",queue=\"{}\"}}", queue.replace('"', "\\\""))
    };
    assert_eq!(scrape.get(&of("queue_messages_ready", &one)), 3.0);
    assert_eq!(scrape.get(&of("queue_messages_ready_bytes", &one)), 12.0);
    assert_eq!(scrape.get(&of("queue_messages_ready", &other)), 1.0);
    assert!(scrape.names().contains("warren_queue_oldest_message_age_seconds"));
    eventually("the channel is told", || {
        let scrape = Scrape::of(&broker, "/metrics/detailed?family=channel_exchange_metrics&vhost=%2F");
        (scrape.sum("rabbitmq_detailed_channel_messages_published_total") == 4.0).then_some(())
    });
    let scrape = Scrape::of(&broker, "/metrics/detailed?family=queue_coarse_metrics&family=exchange_metrics");
    let names = scrape.names();
    assert!(names.contains("rabbitmq_detailed_queue_messages_ready"), "{names:?}");
    assert!(!names.contains("rabbitmq_detailed_queue_messages_ram"), "{names:?}");
    assert_eq!(scrape.sum("rabbitmq_detailed_queue_messages"), 4.0);
    let scrape = Scrape::of(&broker, "/metrics/detailed?family=queue_coarse_metrics&vhost=elsewhere");
    assert_eq!(scrape.sum("rabbitmq_detailed_queue_messages"), 0.0);
}

// behaviour 260
#[test]
fn every_family_of_the_dashboards_is_there() {
    let Some(broker) = own() else { return };
    let scrape = Scrape::of(&broker, "/metrics");
    let mut names = scrape.names();
    let per_object = Scrape::of(&broker, "/metrics/per-object");
    names.extend(per_object.names());
    // It needs a channel.
    names.insert("rabbitmq_channel_consumers");
    let missing: Vec<_> = DASHBOARDS.split_whitespace().filter(|name| !names.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let dashboard = include_str!("../config/grafana/warren.json");
    let words = dashboard.split(|sign: char| !(sign.is_ascii_alphanumeric() || sign == '_'));
    let asked: BTreeSet<_> = words
        .filter(|word| word.starts_with("warren_") || word.starts_with("rabbitmq_"))
        .filter(|word| !["rabbitmq_cluster", "rabbitmq_node", "rabbitmq_endpoint"].contains(word))
        .collect();
    assert!(asked.len() > 30, "{asked:?}");
    // Of a node that is in a cluster.
    let clustered = ["warren_group_leads", "warren_replication_lag_entries", "warren_replication_lag_bytes"];
    let missing: Vec<_> =
        asked.into_iter().filter(|name| !names.contains(name) && !clustered.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

// behaviour 260
#[test]
fn many_queues_are_told_in_time() {
    const QUEUES: usize = 10_000;
    let Some(broker) = own() else { return };
    let conn = broker.connect();
    let ch = conn.channel(1);
    for number in 0..QUEUES {
        ch.queue_declare(format!("many-{number}")).nowait().send();
    }
    ch.sync();
    let took = |path: &str| {
        let began = Instant::now();
        let scrape = Scrape::of(&broker, path);
        (began.elapsed(), scrape)
    };
    let (aggregated, scrape) = took("/metrics");
    assert_eq!(scrape.get("rabbitmq_queues"), 10_000.0);
    let (each, scrape) = took("/metrics/per-object");
    let told = scrape.0.keys().filter(|sample| sample.starts_with("rabbitmq_queue_messages_ready{"));
    assert_eq!(told.count(), QUEUES);
    eprintln!("10,000 queues: summed up in {aggregated:?}, one by one in {each:?}");
    assert!(aggregated < Duration::from_secs(1), "{aggregated:?}");
    assert!(each < Duration::from_secs(10), "{each:?}");
}
