//! Queues that are declared through one node and used through another.

use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};

use super::alone;
use super::cuts::nodes_on_a_network;
use super::nodes::Nodes;

/// How long a step may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn open(address: &str) -> (Connection, Channel) {
    let uri = format!("amqp://guest:guest@{address}/%2f");
    let opening = async {
        loop {
            if let Ok(connection) = Connection::connect(&uri, ConnectionProperties::default()).await {
                let channel = connection.create_channel().await.expect("a channel");
                channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
                return (connection, channel);
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, opening).await.expect("the node takes clients")
}

/// Declares a replicated queue; gives how many messages it holds.
pub(super) async fn declare(channel: &Channel, name: &str) -> u32 {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let declared = timeout(PATIENCE, channel.queue_declare(name.into(), options, arguments)).await;
    declared.expect("an answer in time").expect("a queue").message_count()
}

/// Whether what is published there is confirmed.
async fn is_confirmed(channel: &Channel, queue: &str) -> bool {
    let options = BasicPublishOptions::default();
    let properties = BasicProperties::default().with_delivery_mode(2);
    let published = channel.basic_publish("".into(), queue.into(), options, b"kept", properties).await;
    let confirm = timeout(PATIENCE, published.expect("it can be published")).await;
    matches!(confirm.expect("an answer in time"), Ok(Confirmation::Ack(_)))
}

#[test]
fn a_queue_is_known_on_all_nodes_once_it_is_declared() {
    let _alone = alone();
    // Clients come while the nodes still get to know each other.
    let nodes = Nodes::on_loopback(3);
    Runtime::new().expect("a runtime").block_on(async {
        let (_one, declaring) = open(&nodes.addresses()[0]).await;
        for round in 0..100 {
            let name = format!("fresh-{round}");
            assert_eq!(declare(&declaring, &name).await, 0);
            let (_other, publishing) = open(&nodes.addresses()[1 + round % 2]).await;
            assert!(is_confirmed(&publishing, &name).await);
            assert_eq!(declare(&declaring, &name).await, 1, "what was confirmed is in {name}");
        }
    });
}

#[test]
fn a_node_that_is_cut_off_confirms_nothing_for_queues_it_may_not_know() {
    let _alone = alone();
    let Some(mut nodes) = nodes_on_a_network(3) else { return };
    let runtime = Runtime::new().expect("a runtime");
    let addresses = nodes.addresses();
    let (_cut_off, publishing) = runtime.block_on(open(&addresses[2]));
    let (_majority, declaring) = runtime.block_on(open(&addresses[0]));
    runtime.block_on(declare(&declaring, "before"));
    nodes.await_whole();
    nodes.network().cut(&[2], &[0, 1]);
    runtime.block_on(async {
        declare(&declaring, "after").await;
        assert!(!is_confirmed(&publishing, "after").await, "nobody took it");
    });
    nodes.network().heal().expect("the network heals");
    nodes.await_whole();
    runtime.block_on(async {
        assert!(is_confirmed(&publishing, "after").await);
        assert_eq!(declare(&declaring, "after").await, 1);
        // Nobody ever declares it: that is known now, and it is confirmed as RabbitMQ does.
        assert!(is_confirmed(&publishing, "nowhere").await);
    });
}
