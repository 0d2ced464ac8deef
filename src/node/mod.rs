//! A running node: the pure machines of `broker` and `protocol`, put to work with tasks, sockets, a clock and a disk.
//!
//! - `start`: from a configuration to a running node, and back
//! - `recover`: what was on disk; `replay`: what records of queues say
//! - `unanswered`: what clients hear of owners that do not answer
//! - `shared`, `links`, `mailbox`: what tasks share, what they send each other, and how
//! - `tasks`: everything that runs on its own
//! - `replies`, `presence`: who waits for direct replies, who is connected
//! - `control`: what those who run the node may ask of it
//! - `events`: what happens, told to those who listen
//! - `surgery`: what operators do with messages in queues
//! - `statistics`: what was counted, and how it is asked for
//! - `gathering`: how many bytes of large messages may be gathered at once
//! - `resource_alarm`, `machine`: what the machine is short of, and how that is measured
//! - `cluster`: what makes several nodes one broker
//! - `doors`: where HTTP comes in; `origin`: where a connection comes from; `tls`: what clients are shown
//! - `clock`, `auth`, `names`: time, passwords, made-up names

mod alarm;
mod auth;
mod clock;
mod cluster;
mod control;
mod doors;
mod events;
mod gathering;
mod links;
mod machine;
mod mailbox;
mod names;
mod offers;
mod origin;
mod presence;
mod recover;
mod replay;
mod replies;
mod resource_alarm;
mod shared;
#[cfg(test)]
#[path = "../../tests/simulation/mod.rs"]
mod simulation;
mod start;
pub mod statistics;
mod surgery;
mod tasks;
mod tls;
mod unanswered;

pub use auth::{Identity, LoginAttempts, LoginProtocol, LoginRefused, ObjectKind};
pub use cluster::orders::{ClusterOrder, ClusterReply, OrderTo, give_order, join_cluster};
pub use cluster::status::{ClusterStatus, GroupOverview, Member, NodeStatus, QueueOverview};
pub use control::{AckMode, GotMessage, MessageProperties, Publication};
pub use control::{BindingSpec, Control, ControlError, EffectivePolicy, Exchange, ExchangeSpec, QueueSpec};
pub use control::{ConnectionInfo, ConsumerInfo, Of, Overview, QueueDetail, QueueInfo, QueueState};
pub use control::{NewPassword, PermissionInfo, TopicPermissionInfo, UserInfo};
pub use doors::{Door, DoorStream, Doors};
pub use start::{Node, StartError};
pub use surgery::filter::MessageFilter;
pub use surgery::found::FoundMessage;
pub use surgery::order::{Action, Destination, Findings, JobSpec, JobState, JobStatus, QueueName, Search};
pub use tls::{PeerCertificate, Reload, Tls, TlsSession};
