//! Nodes that are no majority.

use std::time::Duration;

use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};

use super::alone;
use super::declares::{declare, open};
use super::nodes::Nodes;

/// How long a step may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_minority_confirms_nothing_and_says_so_until_there_is_a_majority_again() {
    let _alone = alone();
    let mut nodes = Nodes::on_loopback(3);
    let runtime = Runtime::new().expect("a runtime");
    let (connection, channel) = runtime.block_on(open(&nodes.addresses()[2]));
    runtime.block_on(declare(&channel, "kept"));
    nodes.await_whole();
    nodes.kill(0);
    nodes.kill(1);
    let options = BasicPublishOptions::default();
    let properties = BasicProperties::default().with_delivery_mode(2);
    let publishing = channel.basic_publish("".into(), "kept".into(), options, b"kept", properties);
    let mut confirm = Box::pin(runtime.block_on(publishing).expect("it can be published"));
    runtime.block_on(async {
        let blocked = async {
            while !connection.status().blocked() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, blocked).await.expect("the publisher hears that nothing is taken");
        let early = timeout(Duration::from_secs(2), &mut confirm).await;
        assert!(early.is_err(), "nothing is confirmed: {early:?}");
    });
    nodes.begin(0);
    nodes.begin(1);
    runtime.block_on(async {
        let confirmed = timeout(PATIENCE, confirm).await.expect("an answer in time").expect("a confirm");
        assert!(matches!(confirmed, lapin::Confirmation::Ack(_)), "{confirmed:?}");
        assert!(!connection.status().blocked());
        assert_eq!(declare(&channel, "kept").await, 1, "it is there once");
    });
}
