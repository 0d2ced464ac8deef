//! Many queues and bindings: nothing may slow down with their number. Quadratic cost would take minutes here.

use crate::broker::ids::QueueId;

use super::*;

const MANY: usize = 20_000;

#[test]
fn many_queues_on_one_exchange_come_and_go() {
    for (source, key) in [("amq.fanout", ""), ("amq.direct", "same"), ("amq.topic", "#"), ("amq.headers", "")]
    {
        let mut scene = Scene::new();
        for n in 0..MANY {
            scene.apply(queue(&n.to_string()));
            scene.apply(bind(source, to_queue(&n.to_string()), key));
        }
        assert_eq!(scene.targets(source, "same").len(), MANY);
        for n in (0..MANY).rev().step_by(2) {
            scene.apply(unbind(source, to_queue(&n.to_string()), key));
        }
        for n in 0..MANY {
            scene.apply(delete_queue(&n.to_string()));
        }
        assert!(scene.targets(source, "same").is_empty());
    }
}

#[test]
fn many_bindings_of_one_queue_come_and_go() {
    let mut scene = Scene::new();
    scene.apply(queue("q"));
    scene.apply(and(exchange("e", "topic"), "auto_delete"));
    for n in 0..MANY {
        scene.apply(bind("e", to_queue("q"), &format!("device.{n}.*")));
    }
    assert_eq!(scene.targets("e", "device.77.up"), ["q"]);
    for n in 0..MANY / 2 {
        scene.apply(unbind("e", to_queue("q"), &format!("device.{n}.*")));
    }
    assert!(scene.targets("e", "device.77.up").is_empty());
    scene.apply(Command::DropQueue { id: QueueId(1) });
    assert!(!scene.has_exchange("e"));
}
