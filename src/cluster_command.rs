//! `warren cluster`: asks a node that runs how its cluster stands, and gives it orders.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand};
use warren::node::{ClusterOrder, ClusterReply, ClusterStatus, OrderTo, give_order, join_cluster};

use crate::cluster_table::table;
use crate::settings;

const LOOK_EVERY: Duration = Duration::from_secs(1);
const AWAIT_EVERY: Duration = Duration::from_millis(200);

/// The node that is asked: the one of a data directory, of a configuration, or at an address.
#[derive(Args)]
pub(crate) struct Cluster {
    #[command(subcommand)]
    order: Order,
    /// Configuration file of the node; without one, the defaults
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data directory of the node on this machine that is asked
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where other nodes reach the node that is asked, in place of its data directory; needs the secret or certificates of --config
    #[arg(long = "node", global = true, value_name = "HOST:PORT")]
    address: Option<String>,
}

#[derive(Subcommand)]
enum Order {
    /// Shows nodes, groups and, if wanted, replicated queues
    Status {
        /// With the replicated queues
        #[arg(long)]
        queues: bool,
        /// text or json
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        format: Format,
        /// Waits until all nodes are up and all copies are in sync, for so long; an error if they are not
        #[arg(long, value_name = "SECONDS")]
        wait: Option<u64>,
        /// With --wait: that there are at least so many nodes, too
        #[arg(long, value_name = "NUMBER", default_value_t = 1)]
        nodes: usize,
    },
    /// Has the node of --config taken into a cluster before its first start
    Join {
        /// Where nodes reach one of the cluster, in place of cluster.seeds
        #[arg(value_name = "HOST:PORT")]
        seed: Option<String>,
    },
    /// Lets a node hand over all it has and leave the cluster; waits until it has
    Leave {
        /// Name or number; without it, the node that is asked
        node: Option<String>,
        /// Also when queues of which it has the only copy go with it
        #[arg(long)]
        force: bool,
        /// Do not wait
        #[arg(long)]
        no_wait: bool,
    },
    /// Takes a node that is gone for good out of the cluster
    Forget {
        /// Name or number
        node: String,
    },
    /// Lets another member lead a group
    Transfer {
        /// Number of the group
        group: u16,
        /// Name or number of the node
        node: String,
    },
    /// Evens out at once how many groups the nodes lead
    Rebalance,
    /// Lets a node hand over what it leads, until it is started again
    Drain {
        /// Name or number; without it, the node that is asked
        node: Option<String>,
        /// Lets it take its share again
        #[arg(long)]
        end: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("\"text\" or \"json\"".to_owned()),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Text { "text" } else { "json" })
    }
}

/// Does what is asked; gives what is to be printed. Texts in between go to `say`.
pub(crate) async fn run(cluster: Cluster, mut say: impl FnMut(&str)) -> Result<String, String> {
    let mut config = settings::of_file(cluster.config.as_deref())?;
    if let Some(data_dir) = cluster.data_dir {
        config.node.data_dir = data_dir;
    }
    let to = match cluster.address {
        Some(address) => {
            let security = config.cluster.as_ref().map(|cluster| cluster.security.clone());
            OrderTo::Address(address, security.unwrap_or_default())
        }
        None => OrderTo::Directory(config.node.data_dir.clone()),
    };
    let order = match cluster.order {
        Order::Join { seed } => return join_cluster(config, seed).await,
        Order::Status { queues, format, wait, nodes } => {
            if let Some(seconds) = wait {
                await_sync(&to, Duration::from_secs(seconds), nodes).await?;
            }
            return status(&to, queues, format).await;
        }
        Order::Leave { node, force, no_wait } => return leave(&to, node, force, no_wait, &mut say).await,
        Order::Forget { node } => ClusterOrder::Forget { node },
        Order::Transfer { group, node } => ClusterOrder::Transfer { group, node },
        Order::Rebalance => ClusterOrder::Rebalance,
        Order::Drain { node, end } => ClusterOrder::Drain { node, on: !end },
    };
    match give_order(&to, order).await? {
        ClusterReply::Done(text) => Ok(text),
        ClusterReply::Status(status) => Ok(table(&status)),
    }
}

async fn status(to: &OrderTo, queues: bool, format: Format) -> Result<String, String> {
    let status = look(to, queues).await?;
    match format {
        Format::Text => Ok(table(&status)),
        Format::Json => serde_json::to_string_pretty(&status).map_err(|error| error.to_string()),
    }
}

async fn await_sync(to: &OrderTo, at_most: Duration, nodes: usize) -> Result<(), String> {
    let until = tokio::time::Instant::now() + at_most;
    loop {
        let problem = match look(to, false).await {
            Ok(status) if status.nodes.len() < nodes => {
                format!("the cluster has {} of {nodes} nodes", status.nodes.len())
            }
            Ok(status) if status.is_complete() => return Ok(()),
            Ok(status) => format!("not all is up and in sync\n\n{}", table(&status)),
            Err(problem) => problem,
        };
        if tokio::time::Instant::now() >= until {
            return Err(problem);
        }
        tokio::time::sleep(AWAIT_EVERY).await;
    }
}

async fn look(to: &OrderTo, queues: bool) -> Result<ClusterStatus, String> {
    match give_order(to, ClusterOrder::Status { queues }).await? {
        ClusterReply::Status(status) => Ok(*status),
        ClusterReply::Done(_) => Err("the node does not say how the cluster stands".to_owned()),
    }
}

async fn leave(
    to: &OrderTo,
    node: Option<String>,
    force: bool,
    no_wait: bool,
    say: &mut impl FnMut(&str),
) -> Result<String, String> {
    let before = look(to, false).await?;
    let is_leaving = |status: &ClusterStatus| {
        let wanted = |number: u16, name: &str| match &node {
            Some(asked) => name == asked || number.to_string() == *asked,
            None => number == before.asked,
        };
        status.nodes.iter().find(|known| wanted(known.node, &known.name)).cloned()
    };
    let ClusterReply::Done(text) = give_order(to, ClusterOrder::Leave { node: node.clone(), force }).await?
    else {
        return Err("the node does not say whether it leaves".to_owned());
    };
    if no_wait {
        return Ok(text);
    }
    say(&text);
    let asks_itself = is_leaving(&before).is_some_and(|leaving| leaving.node == before.asked);
    let mut told = (u64::MAX, u64::MAX);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        match look(to, false).await {
            Ok(status) => match is_leaving(&status) {
                None => return Ok("it has left".to_owned()),
                Some(left) if (left.copies, left.leads) != told => {
                    told = (left.copies, left.leads);
                    say(&format!("it has copies of {} groups and leads {}", left.copies, left.leads));
                }
                Some(_) => {}
            },
            // It ends when it has left.
            Err(_) if asks_itself => return Ok("it has left, and ends".to_owned()),
            Err(problem) => return Err(problem),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        cluster: Cluster,
    }

    #[test]
    fn a_node_in_an_order_is_not_taken_for_the_one_that_is_asked() {
        for order in ["forget b", "leave b", "drain b", "transfer 3 b"] {
            let words = ["cluster"].into_iter().chain(order.split(' '));
            let Line { cluster } = Line::try_parse_from(words).unwrap();
            assert_eq!(cluster.address, None, "{order}");
            let words = ["cluster", "--node", "c:35672"].into_iter().chain(order.split(' '));
            let Line { cluster } = Line::try_parse_from(words).unwrap();
            assert_eq!(cluster.address.as_deref(), Some("c:35672"), "{order}");
        }
    }
}
