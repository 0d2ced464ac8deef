//! Vhosts and users: defaults, limits, and what becomes of connections when they are deleted.

use std::time::Instant;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use warren::broker::rights::PermissionSpec;
use warren::broker::topology::{UserLimits, VhostLimits};
use warren::node::{ControlError, NewPassword};

use super::world::{SOON, World, int};

fn reason(result: lapin::Result<Connection>) -> String {
    result.map(drop).unwrap_err().to_string()
}

/// Waits until a connection is closed from the other side; gives the reason.
async fn closed(connection: &Connection) -> String {
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < SOON, "the connection is still open");
        if let Err(error) = connection.create_channel().await {
            let mut text = error.to_string();
            if let ErrorKind::InvalidConnectionState(_) = error.kind() {
                text.clear();
            }
            if !text.is_empty() || !connection.status().connected() {
                return text;
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vhosts_are_worlds_of_their_own() {
    let world = World::new().await;
    assert!(world.control.create_vhost("other").await.unwrap());
    assert!(!world.control.create_vhost("other").await.unwrap());
    world.control.set_permissions("guest", "other", PermissionSpec::all()).await.unwrap();
    let client = world.client().await;
    client.declare("q", &[]).await;
    world.set("p", "", &[("max-length", int(1))]).await;
    let connection = world.try_connect("guest", "guest", "other").await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let declare = QueueDeclareOptions::default();
    channel.queue_declare("q".into(), declare, FieldTable::default()).await.unwrap();
    assert_eq!(world.control.queue_policy("/", "q").unwrap().policy.as_deref(), Some("p"));
    assert_eq!(world.control.queue_policy("other", "q").unwrap().policy, None);
    let names: Vec<_> = world.control.vhosts().into_iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names, ["/", "other"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vhost_takes_only_so_many_connections() {
    let world = World::new().await;
    let limit = |max_connections| VhostLimits { max_connections, max_queues: None };
    world.control.limit_vhost("/", limit(Some(1))).await.unwrap();
    let first = world.connect().await;
    let refused = reason(world.try_connect("guest", "guest", "%2f").await);
    let expected = "access to vhost '/' refused for user 'guest': connection limit (1) is reached";
    assert!(refused.contains(expected), "{refused}");
    first.close(200, "done".into()).await.unwrap();
    let again = world.connect().await;
    world.control.limit_vhost("/", limit(None)).await.unwrap();
    let more = world.connect().await;
    assert!(again.status().connected() && more.status().connected());
    world.control.limit_vhost("/", limit(Some(0))).await.unwrap();
    assert!(reason(world.try_connect("guest", "guest", "%2f").await).contains("connection limit (0)"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vhost_holds_only_so_many_queues() {
    let world = World::new().await;
    let limits = VhostLimits { max_connections: None, max_queues: Some(1) };
    world.control.limit_vhost("/", limits).await.unwrap();
    let client = world.client().await;
    client.declare("one", &[]).await;
    client.declare("one", &[]).await;
    let refused = client.try_declare("two", &[]).await.unwrap_err().to_string();
    let expected = "cannot declare queue 'two': queue limit in vhost '/' (1) is reached";
    assert!(refused.contains(expected), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_only_so_many_connections_and_channels() {
    let world = World::new().await;
    assert!(world.control.put_user("ann", NewPassword::Clear("secret"), "").await.unwrap());
    world.control.set_permissions("ann", "/", PermissionSpec::all()).await.unwrap();
    let limits = UserLimits { max_connections: Some(1), max_channels: Some(2) };
    world.control.limit_user("ann", limits).await.unwrap();
    assert!(!world.control.put_user("ann", NewPassword::Clear("secret"), "management").await.unwrap());
    assert_eq!(world.control.user_limits("ann"), Some(limits), "a new password leaves them");
    let connection = world.try_connect("ann", "secret", "%2f").await.unwrap();
    let refused = reason(world.try_connect("ann", "secret", "%2f").await);
    let expected = "connection refused for user 'ann': user connection limit (1) is reached";
    assert!(refused.contains(expected), "{refused}");
    let one = connection.create_channel().await.unwrap();
    one.close(200, "done".into()).await.unwrap();
    for _ in 0..2 {
        std::mem::forget(connection.create_channel().await.unwrap());
    }
    let refused = connection.create_channel().await.map(drop).unwrap_err().to_string();
    let expected = "number of channels opened for user 'ann' has reached the maximum allowed user limit of 2";
    assert!(refused.contains(expected), "{refused}");
}

/// Sends a method.
async fn send(socket: &mut TcpStream, channel: u8, (class, method): (u8, u8), arguments: &[u8]) {
    let length = u8::try_from(arguments.len() + 4).unwrap();
    let head = [1, 0, channel, 0, 0, 0, length, 0, class, 0, method];
    socket.write_all(&[&head[..], arguments, &[0xCE]].concat()).await.unwrap();
}

/// Receives a method: class and method.
async fn receive(socket: &mut TcpStream) -> (u8, u8) {
    let mut head = [0; 7];
    socket.read_exact(&mut head).await.unwrap();
    let length = u16::from_be_bytes([head[5], head[6]]);
    let mut rest = vec![0; usize::from(length) + 1];
    socket.read_exact(&mut rest).await.unwrap();
    (rest[1], rest[3])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_was_not_opened_does_not_count() {
    let world = World::new().await;
    let limits = UserLimits { max_connections: None, max_channels: Some(1) };
    world.control.limit_user("guest", limits).await.unwrap();
    let mut socket = TcpStream::connect(world.node.addresses()[0].0).await.unwrap();
    socket.write_all(b"AMQP\0\0\x09\x01").await.unwrap();
    assert_eq!(receive(&mut socket).await, (10, 10));
    let login = b"\0\0\0\0\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US";
    send(&mut socket, 0, (10, 11), login).await;
    assert_eq!(receive(&mut socket).await, (10, 30));
    send(&mut socket, 0, (10, 31), &[0, 7, 0, 0, 0x10, 0, 0, 0]).await;
    send(&mut socket, 0, (10, 40), b"\x01/\0\0").await;
    assert_eq!(receive(&mut socket).await, (10, 41));
    send(&mut socket, 1, (20, 10), &[0]).await;
    assert_eq!(receive(&mut socket).await, (20, 11));
    // A passive declare of a queue that is not there closes the channel.
    send(&mut socket, 1, (50, 10), b"\0\0\x01q\x01\0\0\0\0").await;
    assert_eq!(receive(&mut socket).await, (20, 40));
    // It opens nothing before the close is answered.
    send(&mut socket, 1, (20, 10), &[0]).await;
    send(&mut socket, 1, (20, 41), &[]).await;
    send(&mut socket, 1, (20, 10), &[0]).await;
    assert_eq!(receive(&mut socket).await, (20, 11));
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_vhost_closes_its_connections() {
    let world = World::new().await;
    world.control.create_vhost("v").await.unwrap();
    world.control.set_permissions("guest", "v", PermissionSpec::all()).await.unwrap();
    let (inside, outside) = (world.try_connect("guest", "guest", "v").await.unwrap(), world.connect().await);
    world.control.delete_vhost("v").await.unwrap();
    let text = closed(&inside).await;
    assert!(text.is_empty() || text.contains("vhost 'v' is deleted"), "{text}");
    assert!(outside.create_channel().await.is_ok());
    let refused = reason(world.try_connect("guest", "guest", "v").await);
    assert!(refused.contains("vhost v not found"), "{refused}");
    let missing = world.control.delete_vhost("v").await;
    assert!(matches!(missing, Err(ControlError::NotFound(_))), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_user_closes_its_connections() {
    let world = World::new().await;
    world.control.put_user("ann", NewPassword::Clear("secret"), "").await.unwrap();
    world.control.set_permissions("ann", "/", PermissionSpec::all()).await.unwrap();
    let (hers, others) = (world.try_connect("ann", "secret", "%2f").await.unwrap(), world.connect().await);
    world.control.delete_user("ann").await.unwrap();
    let text = closed(&hers).await;
    assert!(text.is_empty() || text.contains("user 'ann' is deleted"), "{text}");
    assert!(others.create_channel().await.is_ok());
    assert!(world.try_connect("ann", "secret", "%2f").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vhosts_default_type_is_for_queues_that_do_not_say() {
    let world = World::new().await;
    world.control.describe_vhost("/", "orders", "prod", Some("quorum")).await.unwrap();
    let client = world.client().await;
    client.declare("q", &[]).await;
    client.declare("q", &[("x-queue-type", super::world::text("quorum"))]).await;
    client.declare("q", &[]).await;
    let refused = client.try_declare("q", &[("x-queue-type", super::world::text("classic"))]).await;
    assert!(refused.unwrap_err().to_string().contains("inequivalent arg 'x-queue-type'"));
    let wrong = world.control.describe_vhost("/", "", "", Some("stream")).await;
    assert!(matches!(wrong, Err(ControlError::Invalid(_))), "{wrong:?}");
}
