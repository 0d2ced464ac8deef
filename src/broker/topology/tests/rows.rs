//! Rows: they read back as written, and bring back what is durable.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::broker::exchange::ExchangeKind;
use crate::broker::ids::{Home, QueueId};
use crate::broker::rights::{PermissionSpec, TopicPermissionSpec};

use super::*;

/// What a store would hold after these changes.
#[derive(Default)]
struct Store(BTreeMap<Vec<u8>, Vec<u8>>);

impl Store {
    fn take(&mut self, changes: &[Change]) {
        for change in changes {
            let mut bytes = Vec::new();
            change.encode(&mut bytes);
            bytes.push(0xff);
            let (read, length) = Change::decode(&bytes).unwrap();
            assert_eq!((&read, length), (change, bytes.len() - 1));
            match read {
                Change::Put(row) => self.0.insert(row.key().0, row.value()),
                Change::Delete(key) => Some(self.0.remove(&key.0).expect("only what is there is deleted")),
            };
        }
    }

    fn restore(&self) -> Topology {
        let rows = self.0.iter().rev().map(|(key, value)| Row::decode(key, value).unwrap());
        Topology::restore(Placement::alone(4), rows).unwrap()
    }
}

/// What is durable, in words.
fn durable(topology: &Topology) -> Vec<String> {
    let mut lines: Vec<String> = topology.users().iter().map(|user| format!("{user:?}")).collect();
    for vhost in topology.vhosts() {
        lines.push(format!("vhost {vhost}"));
        let is_durable =
            |name: &str| topology.exchange(&vhost, name).is_some_and(|exchange| exchange.durable);
        let exchanges = topology.exchanges(&vhost).into_iter().filter(|exchange| exchange.durable);
        lines.extend(exchanges.map(|e| {
            format!(
                "{} {:?} {} {} {:?} {:?} {:?}",
                e.name, e.kind, e.auto_delete, e.internal, e.arguments, e.alternate, e.delays
            )
        }));
        let queues = topology.queues(&vhost).into_iter().filter(|queue| queue.durable);
        lines.extend(queues.map(|queue| format!("{queue:?}")));
        let bindings = topology.bindings(&vhost).into_iter().filter(|binding| {
            is_durable(&binding.source)
                && match &binding.destination {
                    Destination::Exchange(name) => is_durable(name),
                    Destination::Queue(name) => {
                        topology.queue(&vhost, name).is_some_and(|queue| queue.durable)
                    }
                }
        });
        lines.extend(bindings.map(|binding| format!("{binding:?}")));
    }
    lines
}

#[test]
fn numbers_are_not_given_again() {
    let mut scene = Scene::new();
    let mut store = Store::default();
    store.take(&[Change::Put(Row::Vhost { name: "/".to_owned() })]);
    let mut last = QueueId(0);
    for n in 0..3000 {
        let outcome = scene.apply(queue(&n.to_string()));
        store.take(&outcome.changes);
        last = outcome.queue.unwrap().id;
    }
    assert_eq!(store.0.len(), 2, "one row for all numbers");
    let mut restored = Scene { topology: store.restore() };
    assert!(restored.apply(queue("q")).queue.unwrap().id > last);
}

#[test]
fn damaged_rows_are_refused() {
    let row = Row::Vhost { name: "/".to_owned() };
    let (key, value) = (row.key().0, row.value());
    let cases: [(&[u8], &[u8], RowError); 6] = [
        (&[], &value, RowError::Truncated),
        (&key[..3], &value, RowError::Truncated),
        (&key, &[], RowError::Truncated),
        (&key, &[1, 0], RowError::TooLong),
        (&key, &[2], RowError::Version { found: 2, expected: 1 }),
        (&[99], &value, RowError::UnknownKind(99)),
    ];
    for (key, value, expected) in cases {
        assert_eq!(Row::decode(key, value), Err(expected));
    }
}

#[test]
fn rows_that_do_not_fit_are_refused() {
    let row = Row::Queue {
        id: QueueId(1),
        vhost: "gone".to_owned(),
        name: "q".to_owned(),
        durable: true,
        exclusive: None,
        auto_delete: false,
        arguments: FieldTable::default(),
        home: None,
    };
    let error = Topology::restore(Placement::alone(1), std::iter::once(row)).unwrap_err();
    assert!(error.text.starts_with("queue 'q' cannot be restored: "), "{error}");
}

fn any_name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c", "amq.topic", "amq.direct", "é"]).prop_map(str::to_owned)
}

pub(super) fn any_table() -> impl Strategy<Value = FieldTable> {
    let value = prop_oneof![
        any::<i32>().prop_map(AMQPValue::LongInt),
        any::<bool>().prop_map(AMQPValue::Boolean),
        "[a-z]{0,4}".prop_map(|text| string(&text)),
        Just(AMQPValue::Void),
    ];
    prop::collection::btree_map("[a-c]", value, 0..3).prop_map(|pairs| {
        let pairs: Vec<(&str, AMQPValue)> =
            pairs.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        table(&pairs)
    })
}

pub(super) fn any_destination() -> impl Strategy<Value = Destination> {
    (any::<bool>(), any_name()).prop_map(|(is_queue, name)| match is_queue {
        true => Destination::Queue(name),
        false => Destination::Exchange(name),
    })
}

fn any_kind() -> impl Strategy<Value = ExchangeKind> {
    prop::sample::select(vec![
        ExchangeKind::Direct,
        ExchangeKind::Fanout,
        ExchangeKind::Topic,
        ExchangeKind::Headers,
        ExchangeKind::ConsistentHash,
        ExchangeKind::ModulusHash,
        ExchangeKind::Random,
        ExchangeKind::LocalRandom,
        ExchangeKind::RecentHistory,
        ExchangeKind::Deduplication,
    ])
}

fn any_home() -> impl Strategy<Value = Option<Home>> {
    prop_oneof![
        Just(None),
        any::<u16>().prop_map(|node| Some(Home::Node(node))),
        any::<u16>().prop_map(|group| Some(Home::Group(group))),
    ]
}

/// Patterns, and what is none.
fn any_pattern() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", ".*", "^a", "b|c", "{username}", "("]).prop_map(str::to_owned)
}

pub(super) fn any_permissions() -> impl Strategy<Value = PermissionSpec> {
    (any_pattern(), any_pattern(), any_pattern()).prop_map(|(configure, write, read)| PermissionSpec {
        configure,
        write,
        read,
    })
}

pub(super) fn any_topic_permissions() -> impl Strategy<Value = TopicPermissionSpec> {
    (any_pattern(), any_pattern()).prop_map(|(write, read)| TopicPermissionSpec { write, read })
}

fn any_row() -> impl Strategy<Value = Row> {
    let text = || ".{0,8}";
    prop_oneof![
        any::<u64>().prop_map(|next_queue| Row::Counter { next_queue }),
        (text(), text(), text(), any::<bool>()).prop_map(|(name, password_hash, tags, is_settled)| {
            Row::User { name, password_hash, tags, is_settled }
        }),
        (text(), text(), any_permissions()).prop_map(|(user, vhost, spec)| Row::Permission {
            user,
            vhost,
            spec
        }),
        (text(), text(), text(), any_topic_permissions()).prop_map(|(user, vhost, exchange, spec)| {
            Row::TopicPermission { user, vhost, exchange, spec }
        }),
        text().prop_map(|name| Row::Vhost { name }),
        (text(), text(), any_kind(), any::<(bool, bool, bool, Option<u64>)>(), any_home(), any_table())
            .prop_map(|(vhost, name, kind, (durable, auto_delete, internal, delays), home, arguments)| {
                let delays = delays.map(|id| (QueueId(id), home));
                Row::Exchange { vhost, name, kind, durable, auto_delete, internal, delays, arguments }
            }),
        (any::<(u64, bool, bool, Option<u64>)>(), text(), text(), any_home(), any_table()).prop_map(
            |((id, durable, auto_delete, exclusive), vhost, name, home, arguments)| {
                let id = QueueId(id);
                Row::Queue { id, vhost, name, durable, exclusive, auto_delete, arguments, home }
            }
        ),
        any::<(Vec<u8>, Vec<u8>)>().prop_map(|(key, value)| Row::Cluster { key, value }),
        (any::<u64>(), text(), text(), any_home()).prop_map(|(id, vhost, exchange, home)| Row::Companion {
            vhost,
            exchange,
            id: QueueId(id),
            home
        }),
        (text(), text(), any_destination(), text(), any_table()).prop_map(
            |(vhost, source, destination, routing_key, arguments)| {
                Row::Binding { vhost, source, destination, routing_key, arguments }
            }
        ),
    ]
}

fn any_command() -> impl Strategy<Value = Command> {
    let vhost = || prop::sample::select(vec!["/", "v"]).prop_map(str::to_owned);
    let key = || prop::sample::select(vec!["", "k", "a.*", "#", "2"]).prop_map(str::to_owned);
    let binding = move || (vhost(), any_name(), any_destination(), key(), any_table());
    let user = |name: String| Command::PutUser { password_hash: name.clone(), tags: String::new(), name };
    prop_oneof![
        1 => vhost().prop_map(|name| Command::CreateVhost { name }),
        1 => Just(Command::DeleteVhost { name: "v".to_owned() }),
        1 => any_name().prop_map(user),
        1 => any_name().prop_map(|name| Command::DeleteUser { name }),
        1 => (any_name(), vhost(), any_permissions())
            .prop_map(|(user, vhost, spec)| Command::SetPermissions { user, vhost, spec }),
        1 => (any_name(), vhost()).prop_map(|(user, vhost)| Command::ClearPermissions { user, vhost }),
        1 => (any_name(), vhost(), any_name(), any_topic_permissions()).prop_map(|(user, vhost, exchange, spec)| {
            Command::SetTopicPermissions { user, vhost, exchange, spec }
        }),
        1 => (any_name(), vhost(), prop::option::of(any_name())).prop_map(|(user, vhost, exchange)| {
            Command::ClearTopicPermissions { user, vhost, exchange }
        }),
        8 => (vhost(), any_name(), any_kind(), any::<(bool, bool, bool)>(), any_table()).prop_map(
            |(vhost, name, kind, (durable, auto_delete, internal), arguments)| Command::DeclareExchange {
                vhost, name, kind: kind.name().to_owned(), passive: false, durable, auto_delete, internal, arguments,
            }
        ),
        3 => (vhost(), any_name(), any_kind(), any::<(bool, bool)>()).prop_map(
            |(vhost, name, kind, (durable, auto_delete))| Command::DeclareExchange {
                vhost, name, kind: "x-delayed-message".to_owned(), passive: false, durable, auto_delete,
                internal: false, arguments: table(&[("x-delayed-type", string(kind.name()))]),
            }
        ),
        2 => (vhost(), any_name(), any::<bool>())
            .prop_map(|(vhost, name, if_unused)| Command::DeleteExchange { vhost, name, if_unused }),
        8 => (vhost(), any_name(), any::<(bool, bool, bool)>(), 0..3u64, any_table()).prop_map(
            |(vhost, name, (durable, exclusive, auto_delete), owner, arguments)| Command::DeclareQueue {
                vhost, name, generated: true, passive: false, durable, exclusive, auto_delete, arguments, owner,
            }
        ),
        2 => (vhost(), any_name(), 0..3u64).prop_map(|(vhost, name, owner)| Command::DeleteQueue {
            vhost, name, owner, if_unused: false, consumers: 1, if_empty: false, messages: 1,
        }),
        16 => binding().prop_map(|(vhost, source, destination, routing_key, arguments)| Command::Bind {
            vhost, source, destination, routing_key, arguments, owner: 0,
        }),
        6 => binding().prop_map(|(vhost, source, destination, routing_key, arguments)| Command::Unbind {
            vhost, source, destination, routing_key, arguments, owner: 0,
        }),
        1 => (0..3u64).prop_map(|owner| Command::DropOwner { owner }),
        1 => (0..20u64).prop_map(|id| Command::DropQueue { id: QueueId(id) }),
    ]
}

proptest! {
    #[test]
    fn rows_read_back_as_written(row in any_row()) {
        prop_assert_eq!(Row::decode(&row.key().0, &row.value()), Ok(row));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let (key, value) = bytes.split_at(bytes.len() / 2);
        let _ = Row::decode(key, value);
        let _ = Change::decode(&bytes);
    }

    #[test]
    fn rows_bring_back_what_is_durable(commands in prop::collection::vec(any_command(), 0..80)) {
        let mut topology = Topology::new(Placement::alone(4));
        let mut store = Store::default();
        let vhosts = ["/", "v"].map(|name| Command::CreateVhost { name: name.to_owned() });
        for command in vhosts.into_iter().chain(commands) {
            match topology.apply(command) {
                Ok(outcome) => store.take(&outcome.changes),
                Err(_) => continue,
            }
        }
        let restored = store.restore();
        prop_assert_eq!(durable(&restored), durable(&topology));
        let hidden = |vhost: &str| {
            let exchanges = restored.exchanges(vhost).into_iter();
            exchanges.flat_map(|x| [&x.delays, &x.companion]).flatten().count()
        };
        let count = |vhost: &str| restored.queues(vhost).len() + hidden(vhost);
        let listed: usize = restored.vhosts().iter().map(|vhost| count(vhost)).sum();
        prop_assert_eq!(restored.all_queues().len(), listed);
    }

    #[test]
    fn routes_equal_a_search_through_all_bindings(
        commands in prop::collection::vec(any_command(), 0..80),
        key in prop::sample::select(vec!["", "k", "a.b"]),
    ) {
        let mut scene = Scene::new();
        for command in commands {
            if !picks_one(&command) {
                let _ = scene.topology.apply(command);
            }
        }
        for source in ["a", "b", "c", "amq.direct", "amq.topic"] {
            if scene.topology.exchange("/", source).is_none_or(|exchange| exchange.internal) {
                continue;
            }
            prop_assert_eq!(scene.targets(source, key), searched(&scene.topology, source, key));
        }
    }
}

/// Whether it declares an exchange whose bindings are not looked at one by one.
fn picks_one(command: &Command) -> bool {
    matches!(command, Command::DeclareExchange { kind, .. } if kind.starts_with("x-"))
}

/// The queues a message without headers reaches, found by following every binding in the list.
fn searched(topology: &Topology, source: &str, key: &str) -> Vec<String> {
    let bindings = topology.bindings("/");
    let mut queues = std::collections::BTreeSet::new();
    let mut reached = vec![source.to_owned()];
    let mut next = 0;
    while let Some(name) = reached.get(next).cloned() {
        next += 1;
        let Some(kind) = topology.exchange("/", &name).map(|exchange| exchange.kind) else { continue };
        for binding in bindings.iter().filter(|binding| *binding.source == *name) {
            let fits = match (kind, binding.routing_key.as_str()) {
                (ExchangeKind::Headers, _) => binding.arguments == FieldTable::default(),
                (ExchangeKind::Fanout, _) | (ExchangeKind::Topic, "#") => true,
                (ExchangeKind::Topic, "a.*") => key == "a.b",
                (_, bound) => bound == key,
            };
            match &binding.destination {
                _ if !fits => {}
                Destination::Queue(name) => drop(queues.insert(name.clone())),
                Destination::Exchange(name) if reached.contains(name) => {}
                Destination::Exchange(name) => reached.push(name.clone()),
            }
        }
    }
    queues.into_iter().collect()
}
