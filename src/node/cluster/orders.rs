//! Orders and questions from the command line to a node that runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::formation::{Addresses, AskSeed, join_by};
use super::handshake::Identity;
use super::questions::{Answer, Question, decode, encode};
use super::security::Security;
use super::status::ClusterStatus;
use crate::broker::ids::GroupId;
use crate::config::{Config, PeerSecurity};
use crate::node::tasks::manager::socket_file;
use crate::node::tasks::peer::{LinkOptions, request};
use crate::storage::open_directory;

const ANSWER_TAKES: Duration = Duration::from_secs(60);

/// What those who run a cluster ask of it. Nodes go by their name or number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterOrder {
    /// How does it stand?
    Status {
        /// With the replicated queues.
        queues: bool,
    },
    /// A node gives up all it has, and is then no member.
    Leave {
        /// The one that is asked, unless another is named.
        node: Option<String>,
        /// Also when that deletes queues that it alone has.
        force: bool,
    },
    /// A node that is gone for good is no member any more.
    Forget {
        /// Which.
        node: String,
    },
    /// Another member leads a group.
    Transfer {
        /// Which group.
        group: GroupId,
        /// Who is to lead it.
        node: String,
    },
    /// Leads are evened out now.
    Rebalance,
    /// A node leads nothing, or its share again.
    Drain {
        /// The one that is asked, unless another is named.
        node: Option<String>,
        /// False: its share again.
        on: bool,
    },
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterReply {
    /// How the cluster stands.
    Status(Box<ClusterStatus>),
    /// It is done, or has begun; a line for people.
    Done(String),
}

/// Which node is asked.
#[derive(Clone, Debug)]
pub enum OrderTo {
    /// The one that runs with this data directory.
    Directory(PathBuf),
    /// The one that other nodes reach there (host and port), with what nodes prove to each other.
    Address(String, PeerSecurity),
}

/// Asks a node.
///
/// # Errors
/// Why it is not done, for people.
pub async fn give_order(to: &OrderTo, order: ClusterOrder) -> Result<ClusterReply, String> {
    let question = match order {
        ClusterOrder::Status { queues } => Question::Status { queues },
        ClusterOrder::Leave { node: Some(node), force } => Question::Leave { node, force },
        ClusterOrder::Leave { node: None, force } => Question::Leave { node: own_name(to).await?, force },
        ClusterOrder::Forget { node } => Question::Forget { node },
        ClusterOrder::Transfer { group, node } => Question::Transfer { group, node },
        ClusterOrder::Rebalance => Question::Rebalance,
        ClusterOrder::Drain { node, on } => Question::Drain { node, on },
    };
    match ask(to, &question).await? {
        Answer::Status(status) => Ok(ClusterReply::Status(Box::new(status))),
        Answer::Done(text) => Ok(ClusterReply::Done(text)),
        _ => Err("the node answers something else; it is of another release".to_owned()),
    }
}

/// Has this node taken into a cluster before its first start; `seed` in place of those of the configuration. A line for
/// people.
///
/// # Errors
/// Why it is not taken in, for people.
pub async fn join_cluster(mut config: Config, seed: Option<String>) -> Result<String, String> {
    let Some(mut cluster) = config.cluster.take() else {
        return Err("the configuration has no [cluster]; see config/warren.toml".to_owned());
    };
    cluster.seeds = seed.map_or(cluster.seeds, |seed| vec![seed]);
    let _directory = open_directory(&config.node.data_dir).map_err(|error| error.to_string())?;
    let addresses = Addresses {
        peers: cluster.advertise(cluster.bind),
        clients: cluster.client_address(config.listener.bind, cluster.bind),
    };
    let seeds =
        Seeds { options: options(&cluster.security)?, own: stranger(cluster.name(&config.node.name)) };
    let joined = join_by(&config, &cluster, &addresses, &seeds).await.map_err(|error| error.0)?;
    Ok(format!(
        "{} is node {} of the cluster {} now; start it with the same configuration",
        joined.name, joined.node, joined.cluster
    ))
}

async fn own_name(to: &OrderTo) -> Result<String, String> {
    match ask(to, &Question::Who).await? {
        Answer::Who(Some(who)) => Ok(who.name),
        _ => Err("the node does not say who it is".to_owned()),
    }
}

async fn ask(to: &OrderTo, question: &Question) -> Result<Answer, String> {
    let question = encode(question);
    let answer = match to {
        OrderTo::Directory(data_dir) => timeout(ANSWER_TAKES, by_socket(data_dir, question)).await,
        OrderTo::Address(address, security) => {
            timeout(ANSWER_TAKES, by_network(address, security, &question)).await
        }
    };
    let answer = answer.unwrap_or_else(|_| Err("the node does not answer".to_owned()))?;
    let answer: Answer = decode(&answer).ok_or("the answer of the node is of another release")?;
    answer.granted().map_err(|refused| refused.reason)
}

async fn by_socket(data_dir: &Path, mut question: Vec<u8>) -> Result<Bytes, String> {
    let file = socket_file(data_dir);
    let mut stream = UnixStream::connect(&file).await.map_err(|error| {
        format!(
            "cannot ask by {}: {error}. Is a node with [cluster] running in this data directory?",
            file.display()
        )
    })?;
    let mut answer = Vec::new();
    question.push(b'\n');
    let asking = async {
        stream.write_all(&question).await?;
        stream.read_to_end(&mut answer).await
    };
    asking.await.map_err(|error| format!("{}: {error}", file.display()))?;
    if answer.is_empty() {
        return Err("the node has ended, or is too busy to answer".to_owned());
    }
    Ok(answer.into())
}

async fn by_network(address: &str, security: &PeerSecurity, question: &[u8]) -> Result<Bytes, String> {
    let options = options(security)?;
    let answer = request(&options, &stranger("warren cluster"), address, question).await;
    answer.map_err(|error| format!("{address}: {error}"))
}

fn options(security: &PeerSecurity) -> Result<LinkOptions, String> {
    let security = Security::load(security).map_err(|error| error.to_string())?;
    Ok(LinkOptions::new(security, 0))
}

/// Somebody who is no member.
fn stranger(name: &str) -> Identity {
    Identity { cluster: String::new(), node: 0, name: name.to_owned(), run: 0 }
}

struct Seeds {
    options: LinkOptions,
    own: Identity,
}

impl AskSeed for Seeds {
    async fn ask(&self, address: &str, question: Bytes) -> Result<Bytes, String> {
        request(&self.options, &self.own, address, &question).await.map_err(|error| error.to_string())
    }
}
