//! What users may do with queues, exchanges and topics (18, 30, 124, 204, 229-236).

use serde_json::{Value as Json, json};

use crate::support::wire::*;

/// A broker and a user of it.
struct World {
    broker: Broker,
    operator: Operator,
}

impl World {
    /// The user `u` with these patterns for `/`.
    fn new([configure, write, read]: [&str; 3]) -> Option<Self> {
        let broker = Broker::own()?;
        let world = Self { operator: Operator::of(&broker), broker };
        world.put("/users/u", &json!({"password": "secret", "tags": ""}));
        world.allow([configure, write, read]);
        Some(world)
    }

    fn allow(&self, [configure, write, read]: [&str; 3]) {
        let patterns = json!({"configure": configure, "write": write, "read": read});
        self.put("/permissions/%2F/u", &patterns);
    }

    fn allow_keys(&self, exchange: &str, write: &str, read: &str) {
        let patterns = json!({"exchange": exchange, "write": write, "read": read});
        self.put("/topic-permissions/%2F/u", &patterns);
    }

    fn put(&self, path: &str, body: &Json) {
        let (status, answer) = self.operator.put(path, body);
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
    }

    fn dial(&self) -> Dial {
        let (user, password) = ("u".to_owned(), "secret".to_owned());
        Dial { user, password, ..Dial::to(self.broker.address()) }
    }
}

/// What RabbitMQ 4 says.
fn refused(right: &str, kind: &str, name: &str) -> String {
    format!("ACCESS_REFUSED - {right} access to {kind} '{name}' in vhost '/' refused for user 'u'")
}

fn key_refused(right: &str, key: &str) -> String {
    format!(
        "ACCESS_REFUSED - {right} access to topic '{key}' in exchange 'amq.topic' in vhost '/' refused for user 'u'"
    )
}

// behaviour 229
#[test]
fn patterns_are_searched_for_and_an_empty_one_allows_nothing() {
    let Some(world) = World::new(["^mine", "^amq.default$", ""]) else { return };
    let conn = world.dial().open();
    let ch = conn.channel(1);
    ch.queue_declare("mine-1").ok();
    ch.queue_declare("x-mine").expect_close(403, (50, 10), &refused("configure", "queue", "x-mine"));
    ch.open().ok();
    ch.put("mine-1", "the default exchange has a name");
    ch.await_ready("mine-1", 1);
    ch.basic_get("mine-1").expect_close(403, (60, 70), &refused("read", "queue", "mine-1"));
    world.allow(["mine", "", ".*"]);
    ch.open().ok();
    ch.queue_declare("x-mine").ok();
    ch.publish("", "mine-1", "x").expect_close(403, &refused("write", "exchange", "amq.default"));
}

// behaviours 230, 231, 232
#[test]
fn each_method_needs_its_right_and_none_tells_whether_the_object_exists() {
    let Some(world) = World::new(["", "", ""]) else { return };
    let conn = world.dial().open();
    let ch = conn.channel(1);
    let (queue, exchange) = (refused("configure", "queue", "q"), refused("configure", "exchange", "x"));
    ch.queue_declare("q").expect_close(403, (50, 10), &queue);
    ch.open().ok();
    ch.queue_delete("q").expect_close(403, (50, 40), &queue);
    ch.open().ok();
    ch.exchange_declare("x", "direct").expect_close(403, (40, 10), &exchange);
    ch.open().ok();
    ch.exchange_delete("x").expect_close(403, (40, 20), &exchange);
    ch.open().ok();
    ch.publish("x", "k", "b").expect_close(403, &refused("write", "exchange", "x"));
    let read = refused("read", "queue", "q");
    ch.open().ok();
    ch.consume("q", "").expect_close(403, (60, 20), &read);
    ch.open().ok();
    ch.basic_get("q").expect_close(403, (60, 70), &read);
    ch.open().ok();
    ch.queue_purge("q").expect_close(403, (50, 30), &read);
    let (to_queue, to_exchange) = (refused("write", "queue", "q"), refused("write", "exchange", "d"));
    ch.open().ok();
    ch.queue_bind("q", "x", "k").expect_close(403, (50, 20), &to_queue);
    ch.open().ok();
    ch.queue_unbind("q", "x", "k").expect_close(403, (50, 50), &to_queue);
    ch.open().ok();
    ch.exchange_bind("d", "x", "k").expect_close(403, (40, 30), &to_exchange);
    ch.open().ok();
    ch.exchange_unbind("d", "x", "k").expect_close(403, (40, 40), &to_exchange);
    world.allow(["", "^[qd]$", ""]);
    let source = refused("read", "exchange", "x");
    ch.open().ok();
    ch.queue_bind("q", "x", "k").expect_close(403, (50, 20), &source);
    ch.open().ok();
    ch.queue_unbind("q", "x", "k").expect_close(403, (50, 50), &source);
    ch.open().ok();
    ch.exchange_bind("d", "x", "k").expect_close(403, (40, 30), &source);
    ch.open().ok();
    ch.exchange_unbind("d", "x", "k").expect_close(403, (40, 40), &source);
}

// behaviour 230
#[test]
fn with_its_right_alone_each_method_is_carried_out() {
    let Some(world) = World::new(["^[qxd]$", "^([qd]|x)$", "^(q|x)$"]) else { return };
    let conn = world.dial().open();
    let ch = conn.channel(1);
    ch.queue_declare("q").ok();
    ch.exchange_declare("x", "direct").ok();
    ch.exchange_declare("d", "fanout").ok();
    world.allow(["", "^[qd]$", "^x$"]);
    ch.queue_bind("q", "x", "k").ok();
    ch.exchange_bind("d", "x", "k").ok();
    ch.exchange_unbind("d", "x", "k").ok();
    world.allow(["", "^x$", ""]);
    ch.publish("x", "k", "b").send();
    ch.sync();
    world.allow(["", "", "^q$"]);
    ch.get_soon("q");
    ch.queue_purge("q").ok();
    ch.consume("q", "c").ok();
    ch.cancel("c").ok();
    world.allow(["^[qxd]$", "", ""]);
    ch.queue_delete("q").ok();
    ch.exchange_delete("x").ok();
    ch.exchange_delete("d").ok();
}

// behaviour 233
#[test]
fn a_passive_declare_needs_any_right() {
    let Some(world) = World::new(["^own$", "", ""]) else { return };
    let conn = world.dial().open();
    let ch = conn.channel(1);
    ch.queue_declare("own").ok();
    for patterns in [["^own$", "", ""], ["", "^own$", ""], ["", "", "^own$"]] {
        world.allow(patterns);
        ch.queue_declare("own").passive().ok();
    }
    ch.queue_declare("other").passive().expect_close(403, (50, 10), &refused("configure", "queue", "other"));
    ch.open().ok();
    let text = refused("configure", "exchange", "amq.direct");
    ch.exchange_declare("amq.direct", "direct").passive().expect_close(403, (40, 10), &text);
}

// behaviours 204, 234
#[test]
fn dead_letter_and_alternate_exchanges_need_read_and_write() {
    let Some(world) = World::new([".*", "", ""]) else { return };
    let conn = world.dial().open();
    let ch = conn.channel(1);
    let letters = || ch.queue_declare("q").arg("x-dead-letter-exchange", "dlx");
    letters().expect_close(403, (50, 10), &refused("read", "queue", "q"));
    ch.open().ok();
    let alternate = || ch.exchange_declare("x", "direct").arg("alternate-exchange", "ae");
    alternate().expect_close(403, (40, 10), &refused("read", "exchange", "x"));
    world.allow([".*", "", "^[qx]$"]);
    ch.open().ok();
    letters().expect_close(403, (50, 10), &refused("write", "exchange", "dlx"));
    ch.open().ok();
    alternate().expect_close(403, (40, 10), &refused("write", "exchange", "ae"));
    world.allow([".*", "^(dlx|ae)$", "^[qx]$"]);
    ch.open().ok();
    letters().ok();
    alternate().ok();
    world.allow([".*", "", ""]);
    letters().ok();
    alternate().ok();
}

// behaviour 235
#[test]
fn keys_of_topic_exchanges_are_checked_at_publish_and_bind() {
    let Some(world) = World::new([".*", ".*", ".*"]) else { return };
    world.allow_keys("amq.topic", "^{username}\\.", "^a\\.{vhost}$");
    let conn = world.dial().open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    ch.queue_bind(&queue, "amq.topic", "a./").ok();
    ch.publish("amq.topic", "u.1", "b").send();
    ch.publish("amq.direct", "b.c", "no topic").send();
    ch.sync();
    ch.publish("amq.topic", "b.c", "b").expect_close(403, &key_refused("write", "b.c"));
    ch.open().ok();
    let cc = Value::Array(vec![Value::Str("b.c".to_owned())]);
    ch.publish("amq.topic", "u.1", "b").header("CC", cc).expect_close(403, &key_refused("write", "b.c"));
    ch.open().ok();
    ch.queue_bind(&queue, "amq.topic", "#").expect_close(403, (50, 20), &key_refused("read", "#"));
    ch.open().ok();
    ch.queue_unbind(&queue, "amq.topic", "#").expect_close(403, (50, 50), &key_refused("read", "#"));
}

// behaviour 236
#[test]
fn a_change_of_rights_acts_on_open_channels() {
    let Some(world) = World::new([".*", ".*", ".*"]) else { return };
    let conn = world.dial().open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    (0..10).for_each(|_| ch.put(&queue, "the same again and again"));
    ch.await_ready(&queue, 10);
    world.allow([".*", "", ".*"]);
    ch.publish("", &queue, "the same again and again")
        .expect_close(403, &refused("write", "exchange", "amq.default"));
    world.allow([".*", ".*", ".*"]);
    ch.open().ok();
    ch.put(&queue, "again");
    ch.await_ready(&queue, 11);
}

// behaviour 18
#[test]
fn a_vhost_lets_in_who_has_permissions_for_it() {
    let Some(world) = World::new(["", "", ""]) else { return };
    world.dial().open();
    world.put("/vhosts/v", &json!({}));
    let text = "NOT_ALLOWED - access to vhost 'v' refused for user 'u'";
    Dial { vhost: "v".to_owned(), ..world.dial() }.asked().expect_close(530, (10, 40), text);
    let (status, _) = world.operator.delete("/permissions/%2F/u");
    assert_eq!(status, 204);
    let text = "NOT_ALLOWED - access to vhost '/' refused for user 'u'";
    world.dial().asked().expect_close(530, (10, 40), text);
}

// behaviour 124
#[test]
fn an_impersonator_may_publish_as_anybody() {
    let Some(world) = World::new([".*", ".*", ".*"]) else { return };
    world.put("/users/u", &json!({"password": "secret", "tags": "impersonator"}));
    let conn = world.dial().open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    let props = Props { user_id: Some("somebody".to_owned()), ..Props::default() };
    ch.publish("", &queue, "b").props(props).send();
    ch.await_ready(&queue, 1);
}

#[test]
fn users_and_rights_survive_a_kill() {
    let Some(mut world) = World::new(["^q$", "", ""]) else { return };
    world.allow_keys("amq.topic", "^a", "");
    world.broker.kill();
    world.broker.restart();
    world.operator = Operator::of(&world.broker);
    let conn = world.dial().open();
    let ch = conn.channel(1);
    ch.queue_declare("q").ok();
    ch.queue_declare("r").expect_close(403, (50, 10), &refused("configure", "queue", "r"));
    let (status, topics) = world.operator.get("/topic-permissions");
    assert_eq!((status, &topics[0]["write"]), (200, &json!("^a")));
}
