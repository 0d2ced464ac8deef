//! A node, and a client of it.

use std::path::Path;
use std::time::{Duration, Instant};

use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use warren::broker::policy::{PolicyScope, PolicySpec};
use warren::config::Config;
use warren::node::{Control, Node};

/// How long to wait for what must come.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) node: Node,
    pub(crate) control: Control,
    /// Removed at the end.
    pub(crate) dir: tempfile::TempDir,
}

/// A node on this directory.
pub(crate) async fn start(dir: &Path) -> Node {
    let mut config = Config::load(None).unwrap();
    config.node.data_dir = dir.to_owned();
    config.listener.bind = "127.0.0.1:0".parse().unwrap();
    Node::start(config, false).await.unwrap()
}

impl World {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let node = start(dir.path()).await;
        Self { control: node.control(), node, dir }
    }

    /// Stops the node and starts it again.
    pub(crate) async fn restart(self) -> Self {
        let Self { node, dir, .. } = self;
        node.stop().await.unwrap();
        let node = start(dir.path()).await;
        Self { control: node.control(), node, dir }
    }

    pub(crate) async fn connect(&self) -> Connection {
        self.try_connect("guest", "guest", "%2f").await.unwrap()
    }

    pub(crate) async fn try_connect(
        &self,
        user: &str,
        password: &str,
        vhost: &str,
    ) -> lapin::Result<Connection> {
        let uri = format!("amqp://{user}:{password}@{}/{vhost}", self.node.addresses()[0].0);
        Connection::connect(&uri, ConnectionProperties::default()).await
    }

    /// A client with a channel in confirm mode.
    pub(crate) async fn client(&self) -> Client {
        let connection = self.connect().await;
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Client { channel, _connection: connection }
    }

    pub(crate) async fn set(&self, name: &str, pattern: &str, pairs: &[(&str, AMQPValue)]) {
        let scope = PolicyScope::User;
        self.control.set_policy("/", scope, name, spec(pattern, "all", 0, pairs)).await.unwrap();
    }

    pub(crate) async fn set_operator(&self, name: &str, pattern: &str, pairs: &[(&str, AMQPValue)]) {
        let scope = PolicyScope::Operator;
        self.control.set_policy("/", scope, name, spec(pattern, "all", 0, pairs)).await.unwrap();
    }

    pub(crate) async fn clear(&self, name: &str) {
        self.control.clear_policy("/", PolicyScope::User, name).await.unwrap();
    }
}

pub(crate) fn spec(pattern: &str, apply_to: &str, priority: i64, pairs: &[(&str, AMQPValue)]) -> PolicySpec {
    PolicySpec {
        pattern: pattern.to_owned(),
        apply_to: apply_to.to_owned(),
        priority,
        definition: table(pairs),
    }
}

pub(crate) fn int(number: i64) -> AMQPValue {
    AMQPValue::LongLongInt(number)
}

pub(crate) fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

pub(crate) fn table(pairs: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in pairs {
        table.insert((*name).into(), value.clone());
    }
    table
}

/// A channel and what it hangs on.
pub(crate) struct Client {
    pub(crate) channel: Channel,
    _connection: Connection,
}

impl Client {
    pub(crate) async fn declare(&self, name: &str, pairs: &[(&str, AMQPValue)]) {
        self.try_declare(name, pairs).await.unwrap();
    }

    pub(crate) async fn try_declare(&self, name: &str, pairs: &[(&str, AMQPValue)]) -> lapin::Result<()> {
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(name.into(), options, table(pairs)).await.map(drop)
    }

    /// Publishes to a queue; whether it was taken in.
    pub(crate) async fn publish(&self, queue: &str, body: &str) -> bool {
        self.publish_to("", queue, body).await
    }

    pub(crate) async fn publish_to(&self, exchange: &str, key: &str, body: &str) -> bool {
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        let confirm = self
            .channel
            .basic_publish(exchange.into(), key.into(), options, body.as_bytes(), properties)
            .await;
        matches!(confirm.unwrap().await.unwrap(), Confirmation::Ack(_))
    }

    pub(crate) async fn count(&self, queue: &str) -> u32 {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let found = self.channel.queue_declare(queue.into(), passive, FieldTable::default()).await;
        found.unwrap().message_count()
    }

    /// Waits until a queue holds so many messages.
    pub(crate) async fn wait_for_count(&self, queue: &str, expected: u32) {
        let start = Instant::now();
        loop {
            let count = self.count(queue).await;
            if count == expected {
                return;
            }
            assert!(start.elapsed() < SOON, "{queue} holds {count} messages, not {expected}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The oldest message's body, acknowledged.
    pub(crate) async fn get(&self, queue: &str) -> Option<String> {
        let message = self.channel.basic_get(queue.into(), BasicGetOptions::default()).await.unwrap()?;
        message.delivery.acker.ack(BasicAckOptions::default()).await.unwrap();
        Some(String::from_utf8(message.delivery.data).unwrap())
    }

    /// Whether the queue is there. Takes a channel of its own.
    pub(crate) async fn has(&self, world: &World, queue: &str) -> bool {
        let connection = world.connect().await;
        let channel = connection.create_channel().await.unwrap();
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(queue.into(), passive, FieldTable::default()).await.is_ok()
    }
}
