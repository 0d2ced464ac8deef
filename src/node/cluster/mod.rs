//! What makes several nodes one broker.
//!
//! - `forward`: what one node asks of a queue's owner on another, and the answers
//! - `peer`: everything that nodes tell each other
//! - `wire`: the same as bytes
//! - `handshake`: what two nodes say before that
//! - `security`: who may be a peer: a shared secret, certificates
//! - `dispatch`: what other nodes say, brought to the tasks
//! - `handle`: a node's part in its cluster
//! - `members`: the nodes, as all of them know them
//! - `meta`: what all nodes know alike, changed by one log
//! - `standing`: how a group stands, as a member tells it
//! - `inputs`: what the tasks of a cluster are told
//! - `session`: what an owner knows of those who ask it
//! - `membership`, `formation`: who this node is in its cluster, and how it comes to be that
//! - `questions`, `status`: what is asked about the cluster itself
//! - `orders`: the same from the command line
//! - `planner`: what is to be done so that every group has its members and every node its share

pub(crate) mod dispatch;
pub(crate) mod formation;
pub(crate) mod forward;
pub(crate) mod handle;
pub(crate) mod handshake;
pub(crate) mod inputs;
pub(crate) mod members;
pub(crate) mod membership;
pub(crate) mod meta;
pub(crate) mod orders;
pub(crate) mod peer;
pub(crate) mod planner;
pub(crate) mod questions;
pub(crate) mod security;
pub(crate) mod session;
pub(crate) mod standing;
pub(crate) mod status;
pub(crate) mod wire;
