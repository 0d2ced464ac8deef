//! The shared state: the same everywhere, whatever comes again, and whoever restarts or gets a snapshot.

use std::collections::BTreeMap;

use amq_protocol::types::{AMQPValue, FieldTable};
use proptest::prelude::*;

use super::*;
use crate::broker::ids::{Home, NodeId, Placement, QueueId, Run, first_connection};
use crate::broker::policy::{PolicyScope, PolicySpec};
use crate::broker::topology::{Change, Command, Destination, Row, Topology};
use crate::node::cluster::members::Member;

const GROUPS: u16 = 3;

/// One node's copy, and the rows that it keeps.
struct Replica {
    placement: Placement,
    state: MetaState,
    topology: Topology,
    kept: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Replica {
    fn new(node: NodeId) -> Self {
        let placement = Placement { node, shards: node + 1, groups: GROUPS };
        let mut topology = Topology::new(placement);
        topology.apply(Command::CreateVhost { name: "/".to_owned() }).unwrap();
        let mut state = MetaState::found(7, GROUPS, member("one"));
        for (number, name) in [(1, "two"), (2, "three")] {
            let entry = entry(1, number, add(name, None));
            let mut data = Vec::new();
            entry.put(&mut data);
            state.apply(&mut topology, number, &data).unwrap();
        }
        let mut replica = Self { placement, state, topology, kept: BTreeMap::new() };
        replica.keep_all();
        replica
    }

    fn rows(&self) -> Vec<Row> {
        self.topology.rows().into_iter().chain(self.state.rows()).collect()
    }

    fn keep_all(&mut self) {
        self.kept = self.rows().iter().map(|row| (row.key().0, row.value())).collect();
    }

    fn apply(&mut self, index: u64, data: &[u8]) -> Vec<(MetaEntry, Step)> {
        let (steps, changes) = self.state.apply(&mut self.topology, index, data).unwrap();
        for change in changes {
            match change {
                Change::Put(row) => drop(self.kept.insert(row.key().0, row.value())),
                Change::Delete(key) => drop(self.kept.remove(&key.0)),
            }
        }
        steps
    }

    fn one(&mut self, entry: &MetaEntry) -> Step {
        let mut data = Vec::new();
        entry.put(&mut data);
        let index = self.state.applied() + 1;
        self.apply(index, &data).pop().unwrap().1
    }

    /// Comes back with what it keeps.
    fn restart(&mut self) {
        let rows = self.kept.iter().map(|(key, value)| Row::decode(key, value).unwrap()).collect();
        (self.state, self.topology) = MetaState::from_rows(self.placement, rows).unwrap();
    }

    fn install(&mut self, snapshot: &[u8]) {
        let rows = MetaState::snapshot_rows(snapshot).unwrap();
        (self.state, self.topology) = MetaState::from_rows(self.placement, rows).unwrap();
        self.keep_all();
    }

    fn snapshot(&self) -> Vec<u8> {
        self.state.snapshot(&self.topology)
    }

    /// What must be the same on all nodes: everything but the mailboxes.
    fn queues(&self) -> Vec<(QueueId, Home, bool)> {
        self.topology.all_queues().iter().map(|queue| (queue.id, queue.home, queue.durable)).collect()
    }
}

fn member(name: &str) -> Member {
    Member { name: name.to_owned(), ..Member::default() }
}

fn add(name: &str, replaces: Option<NodeId>) -> MetaCommand {
    let (peer_address, client_address) = (format!("{name}:1"), format!("{name}:2"));
    MetaCommand::AddMember { name: name.to_owned(), peer_address, client_address, replaces }
}

fn of(node: NodeId, run: Run, number: u64, command: MetaCommand) -> MetaEntry {
    MetaEntry { origin: Origin { node, run }, number, settled_below: 0, command }
}

fn entry(node: NodeId, number: u64, command: MetaCommand) -> MetaEntry {
    of(node, 1, number, command)
}

fn declare(name: &str, durable: bool, owner: Option<u64>) -> MetaCommand {
    MetaCommand::Topology(Command::DeclareQueue {
        vhost: "/".to_owned(),
        name: name.to_owned(),
        generated: false,
        passive: false,
        durable,
        exclusive: owner.is_some(),
        auto_delete: false,
        arguments: FieldTable::default(),
        owner: owner.unwrap_or_default(),
    })
}

#[test]
fn what_comes_again_takes_place_once_and_is_answered_alike() {
    let mut replica = Replica::new(1);
    let first = replica.one(&entry(2, 5, declare("q", true, None)));
    let created = first.answer.clone().unwrap().unwrap();
    assert!(created.created && first.outcomes.len() == 2, "the node is up now, and the queue is there");
    replica.one(&entry(2, 6, MetaCommand::Topology(Command::DropQueue { id: created.queue.unwrap() })));
    let again = replica.one(&entry(2, 5, declare("q", true, None)));
    assert_eq!(again.answer, first.answer);
    assert!(again.outcomes.is_empty() && replica.topology.queue("/", "q").is_none());
    let refused = replica.one(&entry(2, 7, MetaCommand::RemoveMember { node: 99 }));
    let refused_again = replica.one(&entry(2, 7, MetaCommand::RemoveMember { node: 99 }));
    assert!(refused.answer.as_ref().unwrap().is_err());
    assert_eq!(refused.answer, refused_again.answer);
    assert!(replica.one(&entry(3, 5, declare("q", true, None))).answer.unwrap().unwrap().created);
}

#[test]
fn what_was_given_up_does_not_take_place() {
    let mut replica = Replica::new(1);
    let later = MetaEntry { settled_below: 10, ..entry(2, 12, declare("q", true, None)) };
    replica.one(&later);
    assert!(replica.one(&entry(2, 9, declare("late", true, None))).answer.is_none());
    assert!(replica.topology.queue("/", "late").is_none());
    assert!(replica.one(&entry(2, 11, declare("r", true, None))).answer.is_some(), "not given up");
}

#[test]
fn a_new_run_of_a_node_ends_what_the_earlier_one_held() {
    let mut replica = Replica::new(1);
    replica.one(&entry(2, 1, declare("durable", true, None)));
    replica.one(&entry(2, 2, declare("transient", false, None)));
    replica.one(&entry(2, 3, declare("exclusive", false, Some(first_connection(2, 1) + 1))));
    let step = replica.one(&of(2, 2, 1, MetaCommand::NodeUp { node: 2, run: 2 }));
    assert!(step.members_changed);
    let gone: Vec<_> = step.outcomes.iter().flat_map(|outcome| &outcome.deleted_queues).collect();
    assert_eq!(gone.len(), 2);
    assert!(replica.topology.queue("/", "durable").is_some());
    assert!(replica.one(&entry(2, 4, declare("late", false, None))).answer.is_none(), "its run is over");
    assert!(replica.topology.queue("/", "late").is_none());
    let step = replica.one(&entry(1, 1000, MetaCommand::NodeDown { node: 2, run: 1 }));
    assert!(step.answer.unwrap().is_ok() && replica.state.members.is_up(2), "that run was not meant");
}

#[test]
fn a_node_that_is_down_is_up_when_it_asks() {
    let mut replica = Replica::new(1);
    replica.one(&entry(2, 1, declare("transient", false, None)));
    replica.one(&entry(1, 1000, MetaCommand::NodeDown { node: 2, run: 1 }));
    assert!(!replica.state.members.is_up(2) && replica.topology.queue("/", "transient").is_none());
    replica.one(&entry(2, 2, declare("other", false, None)));
    assert!(replica.state.members.is_up(2) && replica.topology.queue("/", "other").is_some());
}

#[test]
fn a_node_that_is_replaced_leaves_nothing_and_its_number_is_not_given_again() {
    let mut replica = Replica::new(1);
    replica.one(&entry(3, 1, declare("theirs", true, None)));
    assert!(replica.one(&entry(1, 1000, add("three", None))).answer.unwrap().is_err(), "the name is in use");
    let step = replica.one(&entry(1, 1001, add("three", Some(3))));
    assert_eq!(step.answer.unwrap().unwrap().node, Some(4));
    assert!(replica.topology.queue("/", "theirs").is_none());
    assert!(replica.one(&entry(3, 2, declare("late", true, None))).answer.is_none(), "no member any more");
    for node in [4, 2] {
        replica
            .one(&entry(1, 1010 + u64::from(node), MetaCommand::RemoveMember { node }))
            .answer
            .unwrap()
            .unwrap();
    }
    assert!(replica.one(&entry(1, 1020, MetaCommand::RemoveMember { node: 1 })).answer.unwrap().is_err());
    assert_eq!(replica.one(&entry(1, 1021, add("four", None))).answer.unwrap().unwrap().node, Some(5));
}

fn any_name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c", "d"]).prop_map(str::to_owned)
}

fn any_table() -> impl Strategy<Value = FieldTable> {
    prop::sample::select(vec![None, Some("quorum"), Some("classic")]).prop_map(|kind| {
        let mut table = FieldTable::default();
        if let Some(kind) = kind {
            table.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
        }
        table
    })
}

fn any_topology_command() -> impl Strategy<Value = Command> {
    let vhost = || prop::sample::select(vec!["/", "/", "/", "v"]).prop_map(str::to_owned);
    let owner = || (1..4u16, 1..3u64).prop_map(|(node, run)| first_connection(node, run) + 1);
    let kind = prop::sample::select(vec!["fanout", "direct", "x-delayed-message", "x-recent-history"]);
    let binding = move || {
        (any_name(), any_name(), any::<bool>()).prop_map(|(source, to, queue)| {
            (source, if queue { Destination::Queue(to) } else { Destination::Exchange(to) })
        })
    };
    prop_oneof![
        1 => vhost().prop_map(|name| Command::CreateVhost { name }),
        1 => Just(Command::DeleteVhost { name: "v".to_owned() }),
        1 => any_name().prop_map(|name| Command::PutUser { name, password_hash: String::new(), tags: String::new() }),
        1 => any_name().prop_map(|name| Command::DeleteUser { name }),
        2 => (vhost(), any_name(), any::<bool>()).prop_map(|(vhost, name, ha)| {
            let mut definition = FieldTable::default();
            let (key, value) = if ha { ("ha-mode", AMQPValue::LongString("all".into())) }
                else { ("max-length", AMQPValue::LongInt(5)) };
            definition.insert(key.into(), value);
            let spec = PolicySpec { pattern: name.clone(), definition, ..PolicySpec::default() };
            Command::SetPolicy { vhost, scope: PolicyScope::User, name, spec }
        }),
        1 => (vhost(), any_name()).prop_map(|(vhost, name)| Command::ClearPolicy { vhost, scope: PolicyScope::User, name }),
        5 => (vhost(), any_name(), kind, any::<[bool; 2]>()).prop_map(
            |(vhost, name, kind, [durable, auto_delete])| {
                let mut arguments = FieldTable::default();
                if kind == "x-delayed-message" {
                    arguments.insert("x-delayed-type".into(), AMQPValue::LongString("fanout".into()));
                }
                let kind = kind.to_owned();
                Command::DeclareExchange {
                    vhost, name, kind, passive: false, durable, auto_delete, internal: false, arguments,
                }
            }
        ),
        2 => (vhost(), any_name()).prop_map(|(vhost, name)| Command::DeleteExchange { vhost, name, if_unused: false }),
        10 => (vhost(), any_name(), any::<[bool; 3]>(), any_table(), owner()).prop_map(
            |(vhost, name, [durable, exclusive, auto_delete], arguments, owner)| Command::DeclareQueue {
                vhost, name, generated: false, passive: false, durable, exclusive, auto_delete, arguments, owner,
            }
        ),
        8 => (vhost(), binding(), owner()).prop_map(|(vhost, (source, destination), owner)| Command::Bind {
            vhost, source, destination, routing_key: String::new(), arguments: FieldTable::default(), owner,
        }),
        2 => (vhost(), binding(), owner()).prop_map(|(vhost, (source, destination), owner)| Command::Unbind {
            vhost, source, destination, routing_key: String::new(), arguments: FieldTable::default(), owner,
        }),
        2 => owner().prop_map(|owner| Command::DropOwner { owner }),
        3 => (1..30u64).prop_map(|id| Command::DropQueue { id: QueueId(id) }),
        1 => (1..30u64, 1..4u16).prop_map(|(id, node)| Command::MoveQueue { id: QueueId(id), home: Home::Node(node) }),
    ]
}

fn any_command() -> impl Strategy<Value = MetaCommand> {
    let node = || 1..6u16;
    prop_oneof![
        30 => any_topology_command().prop_map(MetaCommand::Topology),
        2 => (any_name(), prop::option::of(node())).prop_map(|(name, replaces)| add(&name, replaces)),
        1 => (node(), any_name(), any::<bool>()).prop_map(|(node, address, is_leaving)| MetaCommand::SetMember {
            node, peer_address: address.clone(), client_address: address, is_leaving,
        }),
        1 => node().prop_map(|node| MetaCommand::RemoveMember { node }),
        2 => (node(), 1..4u64).prop_map(|(node, run)| MetaCommand::NodeUp { node, run }),
        2 => (node(), 1..4u64).prop_map(|(node, run)| MetaCommand::NodeDown { node, run }),
    ]
}

fn any_entry() -> impl Strategy<Value = MetaEntry> {
    (1..4u16, 1..3u64, 1..40u64, 0..30u64, any_command()).prop_map(
        |(node, run, number, settled_below, command)| {
            let settled_below = settled_below.min(number);
            MetaEntry { origin: Origin { node, run }, number, settled_below, command }
        },
    )
}

fn answers(
    steps: &[(MetaEntry, Step)],
) -> Vec<(MetaEntry, Option<Result<MetaAnswer, crate::protocol::error::Refusal>>)> {
    steps.iter().map(|(entry, step)| (entry.clone(), step.answer.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn copies_are_equal_whoever_restarts_or_gets_a_snapshot(
        entries in prop::collection::vec(prop::collection::vec(any_entry(), 0..5), 1..60),
        (snapshot_at, restart_at) in (0..60usize, 0..60usize),
    ) {
        let [mut plain, mut restarted, mut installed] = [1, 2, 3].map(Replica::new);
        for (place, batch) in entries.iter().enumerate() {
            let mut data = Vec::new();
            batch.iter().for_each(|entry| entry.put(&mut data));
            let index = 3 + place as u64;
            let said = answers(&plain.apply(index, &data));
            prop_assert_eq!(&answers(&restarted.apply(index, &data)), &said);
            if place <= snapshot_at {
                // This one lags behind until it gets a snapshot.
                if place == snapshot_at {
                    installed.install(&plain.snapshot());
                }
            } else {
                prop_assert_eq!(&answers(&installed.apply(index, &data)), &said);
            }
            if place % 7 == restart_at % 7 {
                restarted.restart();
            }
        }
        if snapshot_at >= entries.len() {
            installed.install(&plain.snapshot());
        }
        for other in [&restarted, &installed] {
            prop_assert_eq!(other.rows(), plain.rows());
            prop_assert_eq!(&other.state, &plain.state);
            prop_assert_eq!(other.queues(), plain.queues());
            prop_assert_eq!(other.topology.next_queue(), plain.topology.next_queue());
            prop_assert_eq!(other.snapshot(), plain.snapshot());
        }
        let kept: Vec<_> = plain.kept.iter().map(|(key, value)| Row::decode(key, value).unwrap()).collect();
        let mut rows = plain.rows();
        rows.sort_by_cached_key(Row::key);
        prop_assert_eq!(kept, rows, "what is kept step by step is everything");
    }

    #[test]
    fn entries_read_back_as_written(entries in prop::collection::vec(any_entry(), 0..5), cut in any::<prop::sample::Index>()) {
        let mut data = Vec::new();
        entries.iter().for_each(|entry| entry.put(&mut data));
        if !data.is_empty() {
            let cut = cut.index(data.len());
            prop_assert!(MetaEntry::read_all(&data[..cut]).is_ok_and(|read| read.len() < entries.len()) || MetaEntry::read_all(&data[..cut]).is_err());
        }
        prop_assert_eq!(MetaEntry::read_all(&data), Ok(entries));
    }

    #[test]
    fn any_bytes_are_entries_rows_and_snapshots_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = MetaEntry::read_all(&bytes);
        let _ = MetaState::snapshot_rows(&bytes);
        let (key, value) = bytes.split_at(bytes.len() / 2);
        let row = Row::Cluster { key: key.to_vec(), value: value.to_vec() };
        let _ = MetaState::restore([row].iter());
    }
}
