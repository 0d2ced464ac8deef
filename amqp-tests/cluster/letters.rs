//! Dead letters on their way to queues of other nodes, which are down for a while, or lead no more.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection};
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};

use super::alone;
use super::load::open;
use super::nodes::Nodes;

const PATIENCE: Duration = Duration::from_secs(60);

/// Many enough to fill what may wait for a node: the rest has to stay where it died.
const LETTERS: usize = 400;
const BODY_BYTES: usize = 256 * 1024;

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

async fn declare(channel: &Channel, name: &str, arguments: &[(&str, AMQPValue)]) -> lapin::Result<()> {
    let mut table = FieldTable::default();
    for (key, value) in arguments {
        table.insert((*key).into(), value.clone());
    }
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(name.into(), options, table).await.map(drop)
}

/// A connection to a cluster that has come together.
async fn connected(address: &str) -> (Connection, Channel) {
    let connecting = async {
        loop {
            if let Ok((connection, channel)) = open(address).await
                && channel.confirm_select(ConfirmSelectOptions::default()).await.is_ok()
            {
                return (connection, channel);
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, connecting).await.expect("the node takes clients")
}

/// Publishes messages that die at once, each with its number.
async fn publish(channel: &Channel, numbers: std::ops::Range<usize>) {
    let properties = BasicProperties::default().with_delivery_mode(2).with_expiration("1".into());
    for number in numbers {
        let body = format!("{number} {}", " ".repeat(BODY_BYTES));
        let options = BasicPublishOptions::default();
        let confirm = channel
            .basic_publish("".into(), "source".into(), options, body.as_bytes(), properties.clone())
            .await;
        let confirm = timeout(PATIENCE, confirm.expect("the connection is there")).await;
        assert!(confirm.expect("it is confirmed in time").is_ok());
    }
}

/// All letters that are in the target, or come there.
async fn take_all(channel: &Channel) {
    let options = BasicConsumeOptions::default();
    let consuming = channel.basic_consume("target".into(), "all".into(), options, FieldTable::default());
    let mut consumer = consuming.await.expect("it is taken");
    let mut missing: BTreeSet<_> = (0..LETTERS).collect();
    while !missing.is_empty() {
        let next = timeout(PATIENCE, consumer.next()).await;
        let delivery = next
            .unwrap_or_else(|_| {
                panic!("{} letters are missing, such as {:?}", missing.len(), missing.first())
            })
            .expect("the consumer goes on")
            .expect("it is there");
        let body = String::from_utf8_lossy(&delivery.data);
        let number = body.split(' ').next().and_then(|number| number.parse().ok());
        missing.remove(&number.expect("it is one of ours"));
        delivery.ack(BasicAckOptions::default()).await.expect("it can be acknowledged");
    }
}

fn source() -> [(&'static str, AMQPValue); 3] {
    let routing_key = ("x-dead-letter-routing-key", text("target"));
    [("x-queue-type", text("quorum")), ("x-dead-letter-exchange", text("")), routing_key]
}

#[test]
fn letters_for_a_node_that_is_down_arrive_when_it_is_back() {
    let _alone = alone();
    let mut nodes = Nodes::on_loopback(3);
    let runtime = Runtime::new().expect("a runtime");
    let addresses = nodes.addresses();
    let (_connection, channel) = runtime.block_on(connected(&addresses[0]));
    nodes.await_whole();
    runtime.block_on(async {
        // One copy, where it was declared.
        let (_connection, there) = connected(&addresses[2]).await;
        declare(&there, "target", &[]).await.expect("it is declared");
        declare(&channel, "source", &source()).await.expect("it is declared");
    });
    nodes.kill(2);
    runtime.block_on(publish(&channel, 0..LETTERS));
    nodes.begin(2);
    nodes.await_whole();
    runtime.block_on(async { take_all(&connected(&addresses[2]).await.1).await });
}

#[test]
fn letters_arrive_when_leaders_are_killed_on_their_way() {
    let _alone = alone();
    let mut nodes = Nodes::on_loopback(3);
    let runtime = Runtime::new().expect("a runtime");
    let addresses = nodes.addresses();
    let (_connection, channel) = runtime.block_on(connected(&addresses[2]));
    nodes.await_whole();
    runtime.block_on(async {
        declare(&channel, "target", &[("x-queue-type", text("quorum"))]).await.expect("it is declared");
        declare(&channel, "source", &source()).await.expect("it is declared");
    });
    for place in 0..2 {
        let half = LETTERS / 2;
        runtime.block_on(publish(&channel, place * half..place * half + half));
        nodes.kill(place);
        nodes.begin(place);
        nodes.await_whole();
    }
    runtime.block_on(take_all(&channel));
}
