//! Policies, vhosts and limits after a restart, and after the node's end without a stop.

use std::fs;
use std::path::Path;

use warren::broker::policy::PolicyScope;
use warren::broker::topology::{UserLimits, VhostLimits};

use super::world::{World, int, start, text};

const USER_LIMITS: UserLimits = UserLimits { max_connections: Some(4), max_channels: Some(5) };
const VHOST_LIMITS: VhostLimits = VhostLimits { max_connections: Some(6), max_queues: Some(7) };

async fn declare(world: &World) {
    let client = world.client().await;
    client.declare("q", &[]).await;
    world.set("p", "^q$", &[("max-length", int(2)), ("overflow", text("reject-publish"))]).await;
    world.set("gone", "", &[("max-length", int(1))]).await;
    world.clear("gone").await;
    world.set_operator("op", "^q$", &[("max-length", int(1))]).await;
    let control = &world.control;
    control.create_vhost("v").await.unwrap();
    control.describe_vhost("v", "for tests", "a,b", Some("quorum")).await.unwrap();
    control.limit_vhost("v", VHOST_LIMITS).await.unwrap();
    control.limit_user("guest", USER_LIMITS).await.unwrap();
}

async fn check(world: &World) {
    let control = &world.control;
    let names = |scope| {
        let policies = control.policies("/", scope);
        policies.iter().map(|policy| policy.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(PolicyScope::User), ["p"]);
    assert_eq!(names(PolicyScope::Operator), ["op"]);
    let vhost = control.vhost("v").unwrap();
    assert_eq!((vhost.description.as_str(), vhost.tags.as_str()), ("for tests", "a,b"));
    assert_eq!((vhost.default_queue_type.as_deref(), vhost.limits), (Some("quorum"), VHOST_LIMITS));
    assert_eq!(control.user_limits("guest"), Some(USER_LIMITS));
    let client = world.client().await;
    assert!(client.publish("q", "1").await);
    assert!(!client.publish("q", "2").await, "the operator's limit holds");
    world.clear("p").await;
    control.clear_policy("/", PolicyScope::Operator, "op").await.unwrap();
    assert!(client.publish("q", "3").await);
    assert_eq!(client.count("q").await, 2, "without policies the queue is as declared");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_after_a_restart() {
    let world = World::new().await;
    declare(&world).await;
    let world = world.restart().await;
    check(&world).await;
}

/// The files as they are when the last call has returned: what is found there after a crash.
#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_without_a_stop() {
    let world = World::new().await;
    declare(&world).await;
    let dir = tempfile::tempdir().unwrap();
    copy(world.dir.path(), dir.path());
    let node = start(dir.path()).await;
    let found = World { control: node.control(), node, dir };
    check(&found).await;
    assert_eq!(world.control.policies("/", PolicyScope::User).len(), 1, "the other node goes on");
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}
