//! Each key of a policy on queues that are there already, and what becomes of them without it.

use std::time::{Duration, Instant};

use lapin::options::{BasicConsumeOptions, BasicGetOptions, BasicNackOptions};
use lapin::types::FieldTable;
use warren::broker::policy::PolicyScope;
use warren::node::ControlError;

use super::world::{SOON, World, int, spec, text};

#[tokio::test(flavor = "multi_thread")]
async fn message_ttl_holds_for_those_who_wait_and_those_who_come() {
    let world = World::new().await;
    let client = world.client().await;
    client.declare("q", &[]).await;
    assert!(client.publish("q", "old").await);
    tokio::time::sleep(Duration::from_millis(30)).await;
    world.set("p", "^q$", &[("message-ttl", int(20))]).await;
    client.wait_for_count("q", 0).await;
    assert!(client.publish("q", "new").await);
    client.wait_for_count("q", 0).await;
    world.clear("p").await;
    assert!(client.publish("q", "kept").await);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(client.count("q").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn expires_counts_from_when_it_is_set() {
    let world = World::new().await;
    let client = world.client().await;
    client.declare("q", &[]).await;
    client.declare("stays", &[]).await;
    tokio::time::sleep(Duration::from_millis(1600)).await;
    world.set("p", "^q$", &[("expires", int(1500))]).await;
    assert!(client.has(&world, "q").await, "the time before does not count");
    let start = Instant::now();
    loop {
        // Being looked for is being used.
        tokio::time::sleep(Duration::from_millis(1800)).await;
        if !client.has(&world, "q").await {
            break;
        }
        assert!(start.elapsed() < SOON);
    }
    assert!(client.has(&world, "stays").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn max_length_drops_the_oldest_and_lets_grow_again() {
    let world = World::new().await;
    let client = world.client().await;
    client.declare("q", &[]).await;
    for body in ["1", "2", "3"] {
        assert!(client.publish("q", body).await);
    }
    world.set("p", "^q$", &[("max-length", int(1))]).await;
    client.wait_for_count("q", 1).await;
    assert!(client.publish("q", "4").await);
    assert_eq!(client.count("q").await, 1);
    world.clear("p").await;
    assert!(client.publish("q", "5").await);
    assert_eq!(client.get("q").await.as_deref(), Some("4"));
    assert_eq!(client.get("q").await.as_deref(), Some("5"));
}

#[tokio::test(flavor = "multi_thread")]
async fn max_length_bytes_counts_bodies_that_were_there() {
    let world = World::new().await;
    let client = world.client().await;
    client.declare("q", &[]).await;
    for body in ["1111", "2222", "3333"] {
        assert!(client.publish("q", body).await);
    }
    world.set("p", "^q$", &[("max-length-bytes", int(9))]).await;
    client.wait_for_count("q", 2).await;
    assert!(client.publish("q", "4").await);
    assert_eq!(client.count("q").await, 3);
    assert_eq!(client.get("q").await.as_deref(), Some("2222"));
}

#[tokio::test(flavor = "multi_thread")]
async fn overflow_decides_what_gives_way() {
    let world = World::new().await;
    let client = world.client().await;
    client.declare("q", &[]).await;
    assert!(client.publish("q", "1").await);
    world.set("p", "^q$", &[("max-length", int(1)), ("overflow", text("reject-publish"))]).await;
    assert!(!client.publish("q", "2").await, "refused");
    world.clear("p").await;
    assert!(client.publish("q", "3").await);
    assert_eq!(client.get("q").await.as_deref(), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_go_where_the_policy_says_from_now_on() {
    let world = World::new().await;
    let client = world.client().await;
    client.declare("q", &[("x-max-length", int(1))]).await;
    client.declare("dead", &[]).await;
    for body in ["1", "2"] {
        assert!(client.publish("q", body).await);
    }
    let to_dead = [("dead-letter-exchange", text("")), ("dead-letter-routing-key", text("dead"))];
    world.set("p", "^q$", &to_dead).await;
    assert!(client.publish("q", "3").await);
    client.wait_for_count("dead", 1).await;
    assert_eq!(client.get("dead").await.as_deref(), Some("2"));
    world.clear("p").await;
    assert!(client.publish("q", "4").await);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(client.count("dead").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_limit_gives_up_what_comes_back_too_often() {
    let world = World::new().await;
    let client = world.client().await;
    client.declare("q", &[]).await;
    world.set("p", "^q$", &[("delivery-limit", int(1))]).await;
    assert!(client.publish("q", "1").await);
    for _ in 0..2 {
        let got = client.channel.basic_get("q".into(), BasicGetOptions::default()).await.unwrap().unwrap();
        got.delivery.acker.nack(BasicNackOptions { requeue: true, multiple: false }).await.unwrap();
    }
    assert_eq!(client.get("q").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lower_of_policy_and_argument_holds_and_redeclaring_compares_arguments_only() {
    let world = World::new().await;
    let client = world.client().await;
    let arguments = [("x-max-length", int(2))];
    client.declare("q", &arguments).await;
    world.set("p", "^q$", &[("max-length", int(5))]).await;
    for body in ["1", "2", "3"] {
        assert!(client.publish("q", body).await);
    }
    assert_eq!(client.count("q").await, 2);
    world.set("p", "^q$", &[("max-length", int(1))]).await;
    client.wait_for_count("q", 1).await;
    client.declare("q", &arguments).await;
    let refused = client.try_declare("q", &[]).await.unwrap_err().to_string();
    assert!(refused.contains("inequivalent arg 'x-max-length'"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_highest_priority_holds_and_an_operators_policy_bounds_it() {
    let world = World::new().await;
    let client = world.client().await;
    client.declare("q", &[]).await;
    world.set("low", "", &[("max-length", int(1))]).await;
    let high = spec("q", "queues", 7, &[("max-length", int(4)), ("message-ttl", int(60_000))]);
    world.control.set_policy("/", PolicyScope::User, "high", high).await.unwrap();
    world.set_operator("op", "^q$", &[("max-length", int(3))]).await;
    for body in ["1", "2", "3", "4", "5"] {
        assert!(client.publish("q", body).await);
    }
    assert_eq!(client.count("q").await, 3);
    let effective = world.control.queue_policy("/", "q").unwrap();
    assert_eq!(effective.policy.as_deref(), Some("high"));
    assert_eq!(effective.operator_policy.as_deref(), Some("op"));
    let expected = super::world::table(&[("max-length", int(3)), ("message-ttl", int(60_000))]);
    assert_eq!(effective.definition, expected);
    world.control.clear_policy("/", PolicyScope::Operator, "op").await.unwrap();
    assert!(client.publish("q", "6").await);
    assert_eq!(client.count("q").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_to_says_which_objects_a_policy_is_for() {
    let world = World::new().await;
    let client = world.client().await;
    client.declare("classic", &[]).await;
    client.declare("quorum", &[("x-queue-type", text("quorum"))]).await;
    for (apply_to, classic, quorum) in [
        ("queues", true, true),
        ("classic_queues", true, false),
        ("quorum_queues", false, true),
        ("exchanges", false, false),
        ("streams", false, false),
        ("all", true, true),
    ] {
        let policy = spec("", apply_to, 0, &[("max-length", int(9))]);
        world.control.set_policy("/", PolicyScope::User, "p", policy).await.unwrap();
        let holds = |name| world.control.queue_policy("/", name).unwrap().policy.is_some();
        assert_eq!((holds("classic"), holds("quorum")), (classic, quorum), "{apply_to}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_valid_is_refused_in_rabbitmqs_words() {
    let world = World::new().await;
    for (policy, expected) in [
        (spec("", "all", 0, &[("nope", int(1))]), "[{<<\"nope\">>,1}] are not recognised policy settings"),
        (spec("", "all", 0, &[("message-ttl", int(-1))]), "-1 is not a valid message TTL"),
        (spec("", "all", 0, &[]), "no policy provided"),
        (
            spec("(", "all", 0, &[("message-ttl", int(1))]),
            "pattern should be regular expression but is invalid: {\"missing closing parenthesis\",1}",
        ),
    ] {
        let refused = world.control.set_policy("/", PolicyScope::User, "p", policy).await;
        assert_eq!(refused, Err(ControlError::Invalid(expected.to_owned())));
    }
    let missing = world.control.clear_policy("/", PolicyScope::User, "p").await;
    assert!(matches!(missing, Err(ControlError::NotFound(_))), "{missing:?}");
    let policy = spec("", "all", 0, &[("message-ttl", int(1))]);
    let elsewhere = world.control.set_policy("gone", PolicyScope::User, "p", policy).await;
    assert!(matches!(elsewhere, Err(ControlError::NotFound(_))), "{elsewhere:?}");
    assert!(world.control.policies("/", PolicyScope::User).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_does_not_disturb_deliveries_under_way() {
    let world = World::new().await;
    let client = world.client().await;
    client.declare("q", &[]).await;
    for body in ["1", "2", "3"] {
        assert!(client.publish("q", body).await);
    }
    let consumer = client
        .channel
        .basic_consume("q".into(), "c".into(), BasicConsumeOptions::default(), FieldTable::default())
        .await
        .unwrap();
    let mut deliveries = futures_util::StreamExt::take(consumer, 3);
    let mut held = Vec::new();
    while let Some(delivery) = futures_util::StreamExt::next(&mut deliveries).await {
        held.push(delivery.unwrap());
    }
    world.set("p", "", &[("max-length", int(1)), ("max-length-bytes", int(1))]).await;
    for delivery in held {
        delivery.acker.ack(lapin::options::BasicAckOptions::default()).await.unwrap();
    }
    client.wait_for_count("q", 0).await;
}
