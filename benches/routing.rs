//! What it costs to find the queues of a message, where no channel remembers them.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail where it stands")]

use amq_protocol::types::FieldTable;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use warren::broker::ids::Placement;
use warren::broker::topology::{Command, Destination, RouteQuery, Topology};

const VHOST: &str = "/";
const BINDINGS: usize = 1_000;

fn main() {
    divan::main();
}

#[divan::bench]
fn direct(bencher: Bencher<'_, '_>) {
    let topology = bound("amq.direct", BINDINGS, |place| format!("device.{place}.up"));
    route(bencher, &topology, "amq.direct", 1);
}

#[divan::bench]
fn topic(bencher: Bencher<'_, '_>) {
    let pattern = |place| match place % 4 {
        0 => format!("device.{place}.up"),
        1 => format!("device.{place}.*"),
        2 => format!("*.{place}.up"),
        _ => format!("device.{place}.#"),
    };
    let topology = bound("amq.topic", BINDINGS, pattern);
    route(bencher, &topology, "amq.topic", 1);
}

#[divan::bench(args = [1, 10, 100])]
fn fanout(bencher: Bencher<'_, '_>, queues: usize) {
    let topology = bound("amq.fanout", queues, |_| String::new());
    route(bencher, &topology, "amq.fanout", queues);
}

/// Routes a message for each of many devices; each goes to so many queues.
fn route(bencher: Bencher<'_, '_>, topology: &Topology, exchange: &str, targets: usize) {
    let keys: Vec<_> = (0..BINDINGS).map(|place| format!("device.{place}.up")).collect();
    let mut out = Vec::new();
    bencher.counter(ItemsCount::new(keys.len())).bench_local(|| {
        for key in &keys {
            out.clear();
            let query = RouteQuery { vhost: VHOST, exchange, keys: &[key], ..RouteQuery::default() };
            topology.route(black_box(&query), &mut out).unwrap();
            assert_eq!(black_box(&out).len(), targets);
        }
    });
}

/// A topology with so many queues, each bound with the key of its place.
fn bound(exchange: &str, queues: usize, key: impl Fn(usize) -> String) -> Topology {
    let mut topology = Topology::new(Placement::alone(2));
    topology.apply(Command::CreateVhost { name: VHOST.to_owned() }).unwrap();
    for place in 0..queues {
        let name = format!("queue-{place}");
        topology.apply(declare(&name)).unwrap();
        topology.apply(bind(exchange, name, key(place))).unwrap();
    }
    topology
}

fn declare(name: &str) -> Command {
    Command::DeclareQueue {
        vhost: VHOST.to_owned(),
        name: name.to_owned(),
        generated: false,
        passive: false,
        durable: true,
        exclusive: false,
        auto_delete: false,
        arguments: FieldTable::default(),
        owner: 1,
    }
}

fn bind(exchange: &str, queue: String, routing_key: String) -> Command {
    Command::Bind {
        vhost: VHOST.to_owned(),
        source: exchange.to_owned(),
        destination: Destination::Queue(queue),
        routing_key,
        arguments: FieldTable::default(),
        owner: 1,
    }
}
