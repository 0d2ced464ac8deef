//! Delayed delivery as a client would write it, with lapin (behaviours 186, 188, 191-196).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};

use crate::support::wire::{Broker, alone, unique};

/// How late a message may come.
const LATE_MAX: Duration = Duration::from_millis(100);

/// Clocks are read in milliseconds on both sides.
const GRAIN: Duration = Duration::from_millis(2);

/// The names of one run.
struct Names {
    exchange: String,
    delay: String,
    target: String,
}

// behaviours 186, 188, 191-196: a longer delay in front holds up no shorter one, as it would in RabbitMQ
#[test]
fn delayed_messages_arrive_each_at_its_time() {
    let _alone = alone();
    run_until_punctual(&[1500, 300, 900, 100, 600, 1200, 300, 2000, 50, 700]);
}

// behaviours 188, 191-196
#[test]
fn messages_of_one_delay_arrive_in_order_at_their_time() {
    let _alone = alone();
    run_until_punctual(&[400; 20]);
}

/// Up to three runs: on a busy machine one may be late, the broker may not be. Never may one be early.
fn run_until_punctual(delays_ms: &[u64]) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut late = Duration::MAX;
    for _ in 0..3 {
        late = runtime.block_on(run(delays_ms)).expect("the client's calls succeed");
        if late <= LATE_MAX {
            return;
        }
    }
    panic!("the latest message was late by {late:?}");
}

/// One run; gives how late the latest message was.
async fn run(delays_ms: &[u64]) -> lapin::Result<Duration> {
    let uri = format!("amqp://{}/%2f", Broker::shared());
    let connection = Connection::connect(&uri, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let names = declare(&channel).await?;
    let mut consumer = channel
        .basic_consume(
            names.target.as_str().into(),
            "reader".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    let mut waiting = publish(&channel, &names, delays_ms).await?;
    let (mut worst, mut arrived) = (Duration::ZERO, Vec::new());
    while !waiting.is_empty() {
        let next = tokio::time::timeout(Duration::from_secs(20), consumer.next());
        let delivery = next.await.expect("a message in time").expect("the consumer lives")?;
        let number: usize = String::from_utf8_lossy(&delivery.data).parse().expect("a number");
        let (before, after) = waiting.remove(&number).expect("each message comes once");
        let delay = Duration::from_millis(delays_ms[number]);
        assert!(before.elapsed() + GRAIN >= delay, "{number} of {delay:?} is early: {:?}", before.elapsed());
        worst = worst.max(after.elapsed().saturating_sub(delay));
        check_death(&delivery, &names, delays_ms[number]);
        delivery.ack(BasicAckOptions::default()).await?;
        arrived.push((delays_ms[number], number));
    }
    if delays_ms.windows(2).all(|two| two[0] == two[1]) {
        assert!(arrived.is_sorted(), "one delay keeps the order: {arrived:?}");
    }
    for queue in [&names.delay, &names.target] {
        channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await?;
    }
    channel
        .exchange_delete(names.exchange.as_str().into(), lapin::options::ExchangeDeleteOptions::default())
        .await?;
    connection.close(200, "bye".into()).await?;
    Ok(worst)
}

async fn declare(channel: &Channel) -> lapin::Result<Names> {
    let names = Names { exchange: unique("events"), delay: unique("delay"), target: unique("target") };
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let exchange_options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel
        .exchange_declare(
            names.exchange.as_str().into(),
            ExchangeKind::Direct,
            exchange_options,
            FieldTable::default(),
        )
        .await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString(names.exchange.as_str().into()));
    arguments.insert("x-dead-letter-routing-key".into(), AMQPValue::LongString("due".into()));
    channel.queue_declare(names.delay.as_str().into(), durable, arguments).await?;
    channel.queue_declare(names.target.as_str().into(), durable, FieldTable::default()).await?;
    for (queue, key) in [(&names.delay, "wait"), (&names.target, "due")] {
        channel
            .queue_bind(
                queue.as_str().into(),
                names.exchange.as_str().into(),
                key.into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await?;
    }
    Ok(names)
}

/// Publishes all and awaits each confirm; gives the moments before the publish and after the confirm.
async fn publish(
    channel: &Channel,
    names: &Names,
    delays_ms: &[u64],
) -> lapin::Result<HashMap<usize, (Instant, Instant)>> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut moments = HashMap::new();
    for (number, delay_ms) in delays_ms.iter().enumerate() {
        let properties =
            BasicProperties::default().with_delivery_mode(2).with_expiration(delay_ms.to_string().into());
        let before = Instant::now();
        let confirm = channel
            .basic_publish(
                names.exchange.as_str().into(),
                "wait".into(),
                BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() },
                number.to_string().as_bytes(),
                properties,
            )
            .await?
            .await?;
        assert!(confirm.is_ack());
        assert_eq!(confirm.take_message(), None, "it was routed");
        moments.insert(number, (before, Instant::now()));
    }
    Ok(moments)
}

fn check_death(delivery: &lapin::message::Delivery, names: &Names, delay_ms: u64) {
    assert_eq!(delivery.exchange.as_str(), names.exchange);
    assert_eq!(delivery.routing_key.as_str(), "due");
    assert!(!delivery.redelivered);
    let properties = &delivery.properties;
    assert_eq!((properties.expiration(), properties.delivery_mode()), (&None, &Some(2)));
    let headers = properties.headers().as_ref().expect("headers").inner();
    let text = |table: &std::collections::BTreeMap<_, _>, key: &str| match table.get(key) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        other => panic!("{key} is {other:?}"),
    };
    assert_eq!(text(headers, "x-first-death-queue"), names.delay);
    assert_eq!(text(headers, "x-first-death-reason"), "expired");
    assert_eq!(text(headers, "x-first-death-exchange"), names.exchange);
    let Some(AMQPValue::FieldArray(deaths)) = headers.get("x-death") else {
        panic!("no x-death: {headers:?}")
    };
    let [AMQPValue::FieldTable(death)] = deaths.as_slice() else { panic!("not one death: {deaths:?}") };
    let death = death.inner();
    assert_eq!(death.get("count"), Some(&AMQPValue::LongLongInt(1)));
    assert_eq!(text(death, "reason"), "expired");
    assert_eq!(text(death, "queue"), names.delay);
    assert_eq!(text(death, "exchange"), names.exchange);
    assert_eq!(text(death, "original-expiration"), delay_ms.to_string());
    assert!(matches!(death.get("time"), Some(AMQPValue::Timestamp(_))));
    let keys = vec![AMQPValue::LongString("wait".into())];
    assert_eq!(death.get("routing-keys"), Some(&AMQPValue::FieldArray(keys.into())));
}
