//! Numbers of several nodes, as Prometheus gathers them.

use std::time::{Duration, Instant};

use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use tokio::runtime::Runtime;

use super::alone;
use super::declares::{declare, open};
use super::nodes::Nodes;

/// How long it may take until all nodes have told what they counted.
const PATIENCE: Duration = Duration::from_secs(20);

/// The sum of a family over all nodes.
fn sum(nodes: &Nodes, name: &str) -> f64 {
    let of_node = |address: String| {
        let scrape = ureq::get(format!("http://{address}/metrics")).call().ok()?;
        let text = scrape.into_body().read_to_string().ok()?;
        let is_of = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let values =
            text.lines().filter(is_of).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Some(values.sum::<f64>())
    };
    nodes.metrics().into_iter().filter_map(of_node).sum()
}

// behaviour 260
#[test]
fn what_all_nodes_tell_adds_up() {
    let _alone = alone();
    let nodes = Nodes::on_loopback(3);
    Runtime::new().expect("a runtime").block_on(async {
        let mut open_connections = Vec::new();
        for (place, address) in nodes.addresses().iter().enumerate() {
            let (connection, channel) = open(address).await;
            for number in 0..4 {
                declare(&channel, &format!("counted-{number}")).await;
            }
            for number in 0..=place {
                let (queue, options) = (format!("counted-{number}"), BasicPublishOptions::default());
                let properties = BasicProperties::default().with_delivery_mode(2);
                let published =
                    channel.basic_publish("".into(), queue.into(), options, b"m", properties).await;
                published.expect("it can be published").await.expect("it is confirmed");
            }
            open_connections.push((connection, channel));
        }
        let expected = [
            ("rabbitmq_queues", 4.0),
            ("rabbitmq_queue_messages_ready", 6.0),
            ("rabbitmq_connections", 3.0),
            ("rabbitmq_global_messages_received_total", 6.0),
            ("rabbitmq_global_messages_confirmed_total", 6.0),
        ];
        let until = Instant::now() + PATIENCE;
        loop {
            let told = expected.map(|(name, _)| sum(&nodes, name));
            if told.iter().zip(&expected).all(|(told, (_, value))| (told - value).abs() < 1e-9) {
                return;
            }
            assert!(Instant::now() < until, "{expected:?}: {told:?}");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    });
}
