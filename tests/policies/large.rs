//! Policies on much: a million messages, 100,000 queues. Nobody else waits for them.

use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection};

use super::world::{Client, SOON, World, int};

const MILLION: u32 = 1_000_000;

/// Other queues answer within this on a machine that is busy with other tests; with steps of thousands they answer
/// within milliseconds, without them after all is done.
const ROUND_TRIP: Duration = Duration::from_millis(500);

async fn fill(connection: &Connection, queue: &str, count: u32) {
    let channel = connection.create_channel().await.unwrap();
    for _ in 0..count {
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        channel.basic_publish("".into(), queue.into(), options, b"0123456789", properties).await.unwrap();
    }
}

async fn filled(world: &World, client: &Client, queue: &str, count: u32) {
    client.declare(queue, &[]).await;
    let connection = world.connect().await;
    fill(&connection, queue, count).await;
    let start = Instant::now();
    while client.count(queue).await < count {
        assert!(start.elapsed() < SOON * 3);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Publishes to and gets from another queue until `queue` holds so few messages. Gives the longest round trip.
async fn longest_round_trip(client: &Client, queue: &str, left: u32) -> Duration {
    let (start, mut longest) = (Instant::now(), Duration::ZERO);
    while client.count(queue).await != left {
        assert!(start.elapsed() < SOON * 3, "{} messages are left", client.count(queue).await);
        let begin = Instant::now();
        for n in 0..8 {
            let other = format!("other{n}");
            assert!(client.publish(&other, "x").await);
            assert_eq!(client.get(&other).await.as_deref(), Some("x"));
        }
        longest = longest.max(begin.elapsed() / 8);
    }
    longest
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_messages_are_dropped_while_others_go_on() {
    let world = World::new().await;
    let client = world.client().await;
    for n in 0..8 {
        client.declare(&format!("other{n}"), &[]).await;
    }
    filled(&world, &client, "big", MILLION).await;
    let start = Instant::now();
    world.set("length", "^big$", &[("max-length", int(1000))]).await;
    let set = start.elapsed();
    let longest = longest_round_trip(&client, "big", 1000).await;
    println!("set in {set:?}, dropped in {:?}, longest round trip {longest:?}", start.elapsed());
    assert!(longest < ROUND_TRIP, "{longest:?}");

    filled(&world, &client, "bytes", MILLION / 5).await;
    let start = Instant::now();
    world.set("bytes", "^bytes$", &[("max-length-bytes", int(1_990_000))]).await;
    let longest = longest_round_trip(&client, "bytes", 199_000).await;
    println!("counted and dropped in {:?}, longest round trip {longest:?}", start.elapsed());
    assert!(longest < ROUND_TRIP, "{longest:?}");

    let start = Instant::now();
    world.set("bytes", "^bytes$", &[("message-ttl", int(1))]).await;
    let longest = longest_round_trip(&client, "bytes", 0).await;
    println!("expired in {:?}, longest round trip {longest:?}", start.elapsed());
    assert!(longest < ROUND_TRIP, "{longest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_for_100_000_queues_takes_no_seconds() {
    let world = World::new().await;
    let client = world.client().await;
    let options = QueueDeclareOptions { nowait: true, ..QueueDeclareOptions::default() };
    for n in 0..100_000 {
        let name = format!("service.{}.events.{n}", n % 100);
        client.channel.queue_declare(name.as_str().into(), options, FieldTable::default()).await.unwrap();
    }
    client.declare("last", &[]).await;
    for n in 0..9 {
        world.set(&format!("p{n}"), &format!(r"^team\.{n}\."), &[("max-length", int(n))]).await;
    }
    let start = Instant::now();
    world.set("p", r"^service\.\d+\.events", &[("max-length", int(10))]).await;
    let all = start.elapsed();
    let start = Instant::now();
    world.set("none", "^nobody$", &[("max-length", int(10))]).await;
    println!("100,000 queues: all changed in {all:?}, none changed in {:?}", start.elapsed());
    assert!(all < Duration::from_secs(5), "{all:?}");
    let effective = world.control.queue_policy("/", "service.7.events.7").unwrap();
    assert_eq!(effective.policy.as_deref(), Some("p"));
}
