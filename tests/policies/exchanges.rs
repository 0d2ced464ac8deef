//! Policies on exchanges.

use lapin::ExchangeKind;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions};
use lapin::types::FieldTable;

use super::world::{World, int, text};

#[tokio::test(flavor = "multi_thread")]
async fn an_alternate_exchange_takes_what_is_unroutable_at_once() {
    let world = World::new().await;
    let client = world.client().await;
    client.declare("unrouted", &[]).await;
    let (bind, none) = (QueueBindOptions::default(), FieldTable::default());
    client
        .channel
        .queue_bind("unrouted".into(), "amq.fanout".into(), "".into(), bind, none.clone())
        .await
        .unwrap();
    let declare = ExchangeDeclareOptions::default();
    client.channel.exchange_declare("e".into(), ExchangeKind::Direct, declare, none).await.unwrap();
    assert!(client.publish_to("e", "k", "lost").await);
    world.set("p", "^e$", &[("alternate-exchange", text("amq.fanout"))]).await;
    assert!(client.publish_to("e", "k", "found").await, "by a route that the channel knew as empty");
    assert_eq!(client.get("unrouted").await.as_deref(), Some("found"));
    assert_eq!(world.control.exchange_policy("/", "e").unwrap().policy.as_deref(), Some("p"));
    world.clear("p").await;
    assert!(client.publish_to("e", "k", "lost").await);
    assert_eq!(client.get("unrouted").await, None);
    assert_eq!(world.control.exchange_policy("/", "e").unwrap().policy, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_queues_say_nothing_to_exchanges() {
    let world = World::new().await;
    world.set("p", "^amq\\.direct$", &[("max-length", int(1))]).await;
    assert_eq!(world.control.exchange_policy("/", "amq.direct").unwrap().policy.as_deref(), Some("p"));
    assert_eq!(world.control.exchange_policy("/", "amq.topic").unwrap().policy, None);
    assert_eq!(world.control.exchange_policy("/", "missing"), None);
}
