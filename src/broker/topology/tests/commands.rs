//! Commands read back as written, and whatever bytes come are read or refused.

use proptest::prelude::*;

use crate::broker::ids::{Home, QueueId};

use super::rows::{any_destination, any_permissions, any_table, any_topic_permissions};
use super::*;

fn text() -> impl Strategy<Value = String> {
    ".{0,8}"
}

fn any_limits() -> impl Strategy<Value = [Option<u64>; 2]> {
    // The highest number stands for none.
    any::<[Option<u32>; 2]>().prop_map(|limits| limits.map(|limit| limit.map(u64::from)))
}

fn any_scope() -> impl Strategy<Value = PolicyScope> {
    any::<bool>().prop_map(|user| if user { PolicyScope::User } else { PolicyScope::Operator })
}

fn any_spec() -> impl Strategy<Value = PolicySpec> {
    (text(), text(), any::<i64>(), any_table()).prop_map(|(pattern, apply_to, priority, definition)| {
        PolicySpec { pattern, apply_to, priority, definition }
    })
}

fn any_of_settings() -> impl Strategy<Value = Command> {
    prop_oneof![
        text().prop_map(|name| Command::CreateVhost { name }),
        text().prop_map(|name| Command::DeleteVhost { name }),
        text().prop_map(|name| Command::DeleteUser { name }),
        (text(), text(), text()).prop_map(|(name, password_hash, tags)| Command::PutUser {
            name,
            password_hash,
            tags
        }),
        (text(), text(), text(), prop::option::of(text())).prop_map(
            |(name, description, tags, default_queue_type)| Command::DescribeVhost {
                name,
                description,
                tags,
                default_queue_type
            }
        ),
        (text(), text(), any_permissions()).prop_map(|(user, vhost, spec)| Command::SetPermissions {
            user,
            vhost,
            spec
        }),
        (text(), text()).prop_map(|(user, vhost)| Command::ClearPermissions { user, vhost }),
        (text(), text(), text(), any_topic_permissions()).prop_map(|(user, vhost, exchange, spec)| {
            Command::SetTopicPermissions { user, vhost, exchange, spec }
        }),
        (text(), text(), prop::option::of(text()))
            .prop_map(|(user, vhost, exchange)| { Command::ClearTopicPermissions { user, vhost, exchange } }),
        Just(Command::SettleUsers),
        (text(), any_limits()).prop_map(|(name, [max_connections, max_queues])| Command::LimitVhost {
            name,
            limits: VhostLimits { max_connections, max_queues }
        }),
        (text(), any_limits()).prop_map(|(name, [max_connections, max_channels])| Command::LimitUser {
            name,
            limits: UserLimits { max_connections, max_channels }
        }),
        (text(), prop::option::of(text())).prop_map(|(name, value)| Command::PutParameter { name, value }),
        (text(), any_scope(), text(), any_spec()).prop_map(|(vhost, scope, name, spec)| Command::SetPolicy {
            vhost,
            scope,
            name,
            spec
        }),
        (text(), any_scope(), text()).prop_map(|(vhost, scope, name)| Command::ClearPolicy {
            vhost,
            scope,
            name
        }),
    ]
}

fn any_of_objects() -> impl Strategy<Value = Command> {
    let binding = || (text(), text(), any_destination(), text(), any_table(), any::<u64>());
    prop_oneof![
        (text(), text(), text(), any::<[bool; 4]>(), any_table()).prop_map(
            |(vhost, name, kind, [passive, durable, auto_delete, internal], arguments)| {
                Command::DeclareExchange {
                    vhost,
                    name,
                    kind,
                    passive,
                    durable,
                    auto_delete,
                    internal,
                    arguments,
                }
            }
        ),
        (text(), text(), any::<bool>()).prop_map(|(vhost, name, if_unused)| Command::DeleteExchange {
            vhost,
            name,
            if_unused
        }),
        (text(), text(), any::<[bool; 5]>(), any_table(), any::<u64>()).prop_map(
            |(vhost, name, [generated, passive, durable, exclusive, auto_delete], arguments, owner)| {
                Command::DeclareQueue {
                    vhost,
                    name,
                    generated,
                    passive,
                    durable,
                    exclusive,
                    auto_delete,
                    arguments,
                    owner,
                }
            }
        ),
        (text(), text(), any::<(u64, bool, u32, bool, u64)>()).prop_map(
            |(vhost, name, (owner, if_unused, consumers, if_empty, messages))| Command::DeleteQueue {
                vhost,
                name,
                owner,
                if_unused,
                consumers,
                if_empty,
                messages,
            }
        ),
        (text(), text(), any::<u64>()).prop_map(|(vhost, name, owner)| Command::CheckQueue {
            vhost,
            name,
            owner
        }),
        binding().prop_map(|(vhost, source, destination, routing_key, arguments, owner)| Command::Bind {
            vhost,
            source,
            destination,
            routing_key,
            arguments,
            owner,
        }),
        binding().prop_map(|(vhost, source, destination, routing_key, arguments, owner)| Command::Unbind {
            vhost,
            source,
            destination,
            routing_key,
            arguments,
            owner,
        }),
    ]
}

fn any_of_numbers() -> impl Strategy<Value = Command> {
    prop_oneof![
        any::<u64>().prop_map(|owner| Command::DropOwner { owner }),
        any::<u64>().prop_map(|id| Command::DropQueue { id: QueueId(id) }),
        any::<u16>().prop_map(|node| Command::NodeGone { node }),
        any::<(u16, u16)>().prop_map(|(node, heir)| Command::ForgetNode { node, heir }),
        any::<(u64, u16, bool)>().prop_map(|(id, to, group)| {
            let home = if group { Home::Group(to) } else { Home::Node(to) };
            Command::MoveQueue { id: QueueId(id), home }
        }),
    ]
}

proptest! {
    #[test]
    fn commands_read_back_as_written(
        command in prop_oneof![any_of_settings(), any_of_objects(), any_of_numbers()],
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = command.encode();
        prop_assert_eq!(Command::decode(&bytes), Ok(command));
        prop_assert!(Command::decode(&bytes[..cut.index(bytes.len())]).is_err());
        let longer = [&bytes[..], &[0]].concat();
        prop_assert_eq!(Command::decode(&longer), Err(RowError::TooLong));
    }

    #[test]
    fn any_bytes_are_a_command_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..64), kind in 0u8..24) {
        let _ = Command::decode(&bytes);
        bytes.splice(0..0, [1, kind]);
        if let Ok(command) = Command::decode(&bytes) {
            prop_assert_eq!(Command::decode(&command.encode()), Ok(command));
        }
    }
}

#[test]
fn commands_of_a_later_version_are_refused() {
    let mut bytes = Command::DropOwner { owner: 1 }.encode();
    bytes[0] = 2;
    assert_eq!(Command::decode(&bytes), Err(RowError::Version { found: 2, expected: 1 }));
}
