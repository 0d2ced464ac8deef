//! Three messages with delays of their own: each leaves at its time, though the longest was sent first.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a program of its own, with a clock")]

use std::time::Instant;

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};

#[tokio::main]
async fn main() -> lapin::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:5672".to_owned());
    let connection =
        Connection::connect(&format!("amqp://{address}/%2f"), ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;

    // Nobody consumes from "tea.steeping". What expires there moves to "tea.ready".
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("tea.ready".into(), durable, FieldTable::default()).await?;
    let mut to_ready = FieldTable::default();
    to_ready.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("".into()));
    to_ready.insert("x-dead-letter-routing-key".into(), AMQPValue::LongString("tea.ready".into()));
    channel.queue_declare("tea.steeping".into(), durable, to_ready).await?;

    let start = Instant::now();
    for (tea, delay_ms) in [("black", 3000), ("green", 1000), ("white", 2000)] {
        let properties =
            BasicProperties::default().with_delivery_mode(2).with_expiration(delay_ms.to_string().into());
        let options = BasicPublishOptions::default();
        let confirm = channel
            .basic_publish("".into(), "tea.steeping".into(), options, tea.as_bytes(), properties)
            .await?;
        confirm.await?; // it is on disk
    }

    let options = BasicConsumeOptions::default();
    let consumer =
        channel.basic_consume("tea.ready".into(), "".into(), options, FieldTable::default()).await?;
    let mut ready = consumer.take(3);
    while let Some(delivery) = ready.next().await {
        let delivery = delivery?;
        println!("{:.1} s: {}", start.elapsed().as_secs_f64(), String::from_utf8_lossy(&delivery.data));
        delivery.ack(BasicAckOptions::default()).await?;
    }

    for queue in ["tea.steeping", "tea.ready"] {
        channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
    }
    connection.close(200, "done".into()).await
}
