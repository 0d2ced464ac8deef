//! What users may do: set, taken away, kept, and gone with the user or the vhost.

use crate::broker::rights::{PermissionSpec, Right, TopicPermissionSpec};

use super::*;

fn user(name: &str) -> Command {
    Command::PutUser { name: name.to_owned(), password_hash: String::new(), tags: String::new() }
}

fn set(user: &str, vhost: &str, [configure, write, read]: [&str; 3]) -> Command {
    let [configure, write, read] = [configure, write, read].map(str::to_owned);
    let spec = PermissionSpec { configure, write, read };
    Command::SetPermissions { user: user.to_owned(), vhost: vhost.to_owned(), spec }
}

fn clear(user: &str, vhost: &str) -> Command {
    Command::ClearPermissions { user: user.to_owned(), vhost: vhost.to_owned() }
}

fn topic(exchange: &str, write: &str) -> Command {
    let spec = TopicPermissionSpec { write: write.to_owned(), read: String::new() };
    let (user, vhost) = ("u".to_owned(), "/".to_owned());
    Command::SetTopicPermissions { user, vhost, exchange: exchange.to_owned(), spec }
}

fn clear_topic(exchange: Option<&str>) -> Command {
    let exchange = exchange.map(str::to_owned);
    Command::ClearTopicPermissions { user: "u".to_owned(), vhost: "/".to_owned(), exchange }
}

fn allows(topology: &Topology, right: Right, name: &str) -> bool {
    topology.user("u").unwrap().rights_in("/").is_some_and(|rights| rights.allow(right, name))
}

fn allows_key(topology: &Topology, key: &str) -> bool {
    let rights = topology.user("u").unwrap().rights_in("/");
    rights.is_none_or(|rights| rights.allow_key(Right::Write, "amq.topic", key))
}

fn restored(topology: &Topology) -> Topology {
    Topology::restore(Placement::alone(4), topology.rows().into_iter()).unwrap()
}

#[test]
fn a_new_user_may_do_nothing_and_keeps_what_it_is_given() {
    let mut scene = Scene::new();
    scene.apply(user("u"));
    assert!(!allows(&scene.topology, Right::Read, "q"));
    let version = scene.topology.version();
    assert!(scene.apply(set("u", "/", ["", "^q$", ".*"])).created);
    assert!(scene.topology.version() > version, "open connections notice");
    assert!(!scene.apply(set("u", "/", ["", "^q$", ".*"])).created);
    scene.apply(user("u"));
    for topology in [&scene.topology, &restored(&scene.topology)] {
        assert!(allows(topology, Right::Read, "x") && allows(topology, Right::Write, "q"));
        assert!(!allows(topology, Right::Write, "qq") && !allows(topology, Right::Configure, "q"));
    }
    scene.apply(clear("u", "/"));
    assert!(!allows(&scene.topology, Right::Read, "x"));
    let missing = "Channel 404 NOT_FOUND - no permissions for user 'u' in vhost '/'";
    assert_eq!(scene.refused(clear("u", "/")), missing);
}

#[test]
fn rights_are_for_users_and_vhosts_that_are_there() {
    let mut scene = Scene::new();
    scene.apply(user("u"));
    assert_eq!(scene.refused(set("v", "/", [""; 3])), "Channel 404 NOT_FOUND - no user 'v'");
    assert_eq!(scene.refused(set("u", "v", [""; 3])), "Connection 530 NOT_ALLOWED - vhost v not found");
    assert!(scene.refused(set("u", "/", ["(", "", ""])).contains("missing closing parenthesis"));
    assert!(scene.refused(topic("x", "[")).contains("regular expression"));
}

#[test]
fn rights_go_with_the_user_and_with_the_vhost() {
    let mut scene = Scene::new();
    let rows = |scene: &Scene| scene.topology.rows();
    scene.apply(Command::CreateVhost { name: "v".to_owned() });
    let before = rows(&scene);
    scene.apply(user("u"));
    let with_user = rows(&scene);
    scene.apply(set("u", "/", [".*"; 3]));
    let with_rights = rows(&scene);
    scene.apply(set("u", "v", [".*"; 3]));
    scene.apply(Command::DeleteVhost { name: "v".to_owned() });
    scene.apply(Command::CreateVhost { name: "v".to_owned() });
    assert_eq!(rows(&scene), with_rights);
    scene.apply(topic("amq.topic", "^a"));
    scene.apply(Command::DeleteUser { name: "u".to_owned() });
    assert_eq!(rows(&scene), before);
    scene.apply(user("u"));
    assert_eq!(rows(&scene), with_user);
}

#[test]
fn keys_of_a_topic_exchange_may_be_fewer() {
    let mut scene = Scene::new();
    scene.apply(user("u"));
    assert!(allows_key(&scene.topology, "b"));
    scene.apply(topic("amq.topic", "^{username}$"));
    scene.apply(topic("other", ""));
    for topology in [&scene.topology, &restored(&scene.topology)] {
        assert!(allows_key(topology, "u") && !allows_key(topology, "b"));
    }
    scene.apply(clear_topic(Some("amq.topic")));
    assert!(allows_key(&scene.topology, "b"));
    assert_eq!(scene.topology.user("u").unwrap().rights_in("/").unwrap().topics.len(), 1);
    scene.apply(clear_topic(None));
    assert!(scene.topology.user("u").unwrap().rights_in("/").is_none());
    assert!(scene.refused(clear_topic(None)).contains("no topic permissions for user 'u'"));
}

/// A user as a version without permissions wrote it.
fn old_rows() -> Vec<Row> {
    let (name, password_hash, tags) = ("u".to_owned(), "h".to_owned(), String::new());
    let user = Row::User { name, password_hash, tags, is_settled: false };
    let vhosts = ["/", "v"].map(|name| Row::Vhost { name: name.to_owned() });
    let rows = vhosts.into_iter().chain([user]);
    rows.map(|row| Row::decode(&row.key().0, &row.value()).unwrap()).collect()
}

#[test]
fn users_of_old_directories_may_do_everything_and_keep_that() {
    assert_eq!(old_rows()[2].value()[0], 1, "as it was written");
    let mut topology = Topology::restore(Placement::alone(4), old_rows().into_iter()).unwrap();
    assert!(topology.has_unsettled_users() && allows(&topology, Right::Configure, "q"));
    let changes = topology.apply(Command::SettleUsers).unwrap().changes;
    assert_eq!(changes.len(), 3, "the user and its rights in both vhosts");
    assert!(!topology.has_unsettled_users());
    topology.apply(clear("u", "/")).unwrap();
    let again = restored(&topology);
    assert!(!again.has_unsettled_users() && !allows(&again, Right::Configure, "q"));
    assert!(again.user("u").unwrap().rights_in("v").is_some());
    assert!(topology.apply(Command::SettleUsers).unwrap().changes.is_empty());
}

#[test]
fn a_change_of_an_old_user_keeps_the_rest_of_what_it_may_do() {
    for command in [user("u"), set("u", "/", [".*"; 3]), clear("u", "/"), topic("x", "")] {
        let mut topology = Topology::restore(Placement::alone(4), old_rows().into_iter()).unwrap();
        topology.apply(command.clone()).unwrap();
        let again = restored(&topology);
        assert_eq!(again.user("u"), topology.user("u"), "{command:?}");
        assert!(again.user("u").unwrap().rights_in("v").is_some());
    }
}
