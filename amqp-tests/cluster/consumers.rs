//! Consumers that must be alone in their place, while nodes that lead are killed.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, Consumer};
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};

use super::load::open;
use super::nodes::Nodes;
use super::{alone, rounds};

/// One for each group, so that whoever is killed leads some.
const QUEUES: usize = 4;

/// What is to happen happens within this.
const PATIENCE: Duration = Duration::from_secs(30);

fn queue(number: usize) -> String {
    format!("only-{number}")
}

async fn declare(channel: &Channel, is_single: bool) -> lapin::Result<()> {
    for number in 0..QUEUES {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(is_single));
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(queue(number).as_str().into(), options, arguments).await?;
    }
    Ok(())
}

/// A connection through this node that can declare and has done so.
async fn declared(address: &str, is_single: bool) -> (Connection, Channel) {
    let begun = Instant::now();
    loop {
        if let Ok(Ok((connection, channel))) = timeout(PATIENCE, open(address)).await
            && let Ok(Ok(())) = timeout(PATIENCE, declare(&channel, is_single)).await
        {
            channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
            return (connection, channel);
        }
        assert!(begun.elapsed() < PATIENCE * 2, "no cluster has come together");
        sleep(Duration::from_millis(100)).await;
    }
}

async fn consume(channel: &Channel, number: usize, tag: &str, exclusive: bool) -> lapin::Result<Consumer> {
    let options = BasicConsumeOptions { exclusive, ..BasicConsumeOptions::default() };
    let (queue, tag) = (queue(number), format!("{tag}-{number}"));
    channel.basic_consume(queue.as_str().into(), tag.as_str().into(), options, FieldTable::default()).await
}

async fn publish(channel: &Channel, number: usize, body: &str) {
    let properties = BasicProperties::default().with_delivery_mode(2);
    let (queue, options) = (queue(number), BasicPublishOptions::default());
    let confirm =
        channel.basic_publish("".into(), queue.as_str().into(), options, body.as_bytes(), properties).await;
    let confirm = timeout(PATIENCE, confirm.expect("the connection is there")).await;
    assert!(confirm.expect("it is confirmed in time").is_ok());
}

/// The message comes to this consumer; others may come in front of it again.
async fn await_message(consumer: &mut Consumer, body: &str) {
    let coming = async {
        loop {
            let delivery = consumer.next().await.expect("the consumer goes on").expect("it is there");
            delivery.ack(BasicAckOptions::default()).await.expect("it can be acknowledged");
            if delivery.data == body.as_bytes() {
                return;
            }
        }
    };
    timeout(PATIENCE, coming).await.expect("the message comes in time");
}

/// Says in words how it went to try to consume beside somebody who is alone.
async fn try_beside(address: &str, number: usize) -> String {
    let trying = async {
        let (connection, channel) = open(address).await?;
        let consumer = consume(&channel, number, "other", true).await;
        let _ = connection.close(200, "bye".into()).await;
        consumer
    };
    match timeout(PATIENCE, trying).await {
        Ok(Ok(_)) => "it is let in".to_owned(),
        Ok(Err(problem)) => problem.to_string(),
        Err(_) => "no answer".to_owned(),
    }
}

#[test]
fn nobody_gets_in_beside_an_exclusive_consumer_when_leaders_are_killed() {
    let _alone = alone();
    let mut nodes = Nodes::on_loopback(3);
    let runtime = Runtime::new().expect("a runtime");
    let addresses = nodes.addresses();
    let (_connection, channel) = runtime.block_on(declared(&addresses[2], false));
    nodes.await_whole();
    let mut consumers = Vec::new();
    for number in 0..QUEUES {
        consumers.push(runtime.block_on(consume(&channel, number, "own", true)).expect("it is the first"));
    }
    for round in 0..rounds() * 2 {
        let (victim, other) = if round % 2 == 0 { (0, 1) } else { (1, 0) };
        nodes.kill(victim);
        runtime.block_on(async {
            // All at once, as early as can be.
            let tries = (0..QUEUES).map(|number| try_beside(&addresses[other], number));
            for tried in futures_util::future::join_all(tries).await {
                assert!(tried.contains("ACCESS_REFUSED") || tried.contains("exclusive"), "{tried}");
            }
            for (number, consumer) in consumers.iter_mut().enumerate() {
                let body = format!("{round}-{number}");
                publish(&channel, number, &body).await;
                await_message(consumer, &body).await;
            }
        });
        nodes.begin(victim);
        nodes.await_whole();
    }
}

#[test]
fn the_single_active_consumer_stays_the_same_when_leaders_are_killed() {
    let _alone = alone();
    let mut nodes = Nodes::on_loopback(3);
    let runtime = Runtime::new().expect("a runtime");
    let addresses = nodes.addresses();
    let (_connection, channel) = runtime.block_on(declared(&addresses[2], true));
    let (_beside, waiting) = runtime.block_on(declared(&addresses[1], true));
    nodes.await_whole();
    let (mut active, mut beside) = (Vec::new(), Vec::new());
    runtime.block_on(async {
        waiting.basic_qos(10, BasicQosOptions::default()).await.expect("a prefetch");
        for number in 0..QUEUES {
            let mut consumer = consume(&channel, number, "active", false).await.expect("it is taken");
            publish(&channel, number, "first").await;
            await_message(&mut consumer, "first").await;
            active.push(consumer);
            beside.push(consume(&waiting, number, "waiting", false).await.expect("it is taken"));
        }
    });
    for round in 0..rounds() {
        nodes.kill(0);
        runtime.block_on(async {
            for (number, consumer) in active.iter_mut().enumerate() {
                let body = format!("{round}-{number}");
                publish(&channel, number, &body).await;
                await_message(consumer, &body).await;
            }
            for consumer in &mut beside {
                let stray = timeout(Duration::from_millis(100), consumer.next()).await;
                assert!(stray.is_err(), "two are active: {stray:?}");
            }
        });
        nodes.begin(0);
        nodes.await_whole();
    }
}
