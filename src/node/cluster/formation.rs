//! How a node comes to be in a cluster: it was in one before, founds one, or asks a seed to be taken in.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use super::membership::{KnownMember, Membership, MembershipError};
use super::questions::{Answer, Joined, Newcomer, Question, Standing, decode, encode};
use crate::broker::ids::FIRST_NODE;
use crate::config::{ClusterConfig, Config};

/// How long another member may take to say whether this node is one still.
const MEMBER_ANSWERS: Duration = Duration::from_millis(300);
const ASK_EVERY: Duration = Duration::from_millis(500);
/// The same problem is told in the log once in so long.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What a node is in its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Formed {
    /// The configuration has no `[cluster]`.
    Alone,
    Member(Membership),
}

/// Why a node that is to be in a cluster does not start; a text for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FormationError(pub(crate) String);

/// Where a node is reached.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    /// By other nodes.
    pub(crate) peers: String,
    /// By clients.
    pub(crate) clients: String,
}

/// Asks nodes at their address.
pub(crate) trait AskSeed: Sync {
    /// # Errors
    /// Why there is no answer.
    fn ask(&self, address: &str, question: Bytes) -> impl Future<Output = Result<Bytes, String>> + Send;
}

/// What a node answers that is in no cluster yet.
pub(crate) fn answer_unformed(question: &[u8]) -> Vec<u8> {
    encode(&match decode(question) {
        Some(Question::Who) => Answer::Who(None),
        _ => Answer::not_now("this node is itself in no cluster yet"),
    })
}

/// Finds out what this node is, asking seeds until one answers, and has it on disk. The data directory must be locked, and
/// the stores in it must not be opened before.
///
/// # Errors
/// When configuration, data directory and cluster do not fit together.
pub(crate) async fn form(
    config: &Config,
    data_dir: &Path,
    addresses: &Addresses,
    seeds: &impl AskSeed,
) -> Result<Formed, FormationError> {
    let known = Membership::read(data_dir)?;
    let Some(cluster) = &config.cluster else {
        return match known {
            None => Ok(Formed::Alone),
            Some(known) => Err(FormationError(format!(
                "{} belongs to node {} ({}) of the cluster {}, and the configuration has no [cluster]",
                data_dir.display(),
                known.node,
                known.name,
                known.cluster
            ))),
        };
    };
    let name = cluster.name(&config.node.name);
    let membership = match known {
        Some(known) => {
            let known = known_member(known, name, data_dir)?;
            let addresses = others(&known, cluster, addresses);
            still_member(known, &addresses, data_dir, seeds).await?
        }
        None => Forming { cluster, name, data_dir, addresses, seeds }.form().await?,
    };
    membership.write(data_dir)?;
    Ok(Formed::Member(membership))
}

/// Asks a node to take this one in, before the first start of this one.
///
/// # Errors
/// When the data directory is not empty, or the node refuses or does not answer.
pub(crate) async fn join_by(
    config: &Config,
    cluster: &ClusterConfig,
    addresses: &Addresses,
    seeds: &impl AskSeed,
) -> Result<Membership, FormationError> {
    let data_dir = &config.node.data_dir;
    if let Some(known) = Membership::read(data_dir)? {
        return Err(FormationError(format!(
            "{} belongs to node {} ({}) of the cluster {} already",
            data_dir.display(),
            known.node,
            known.name,
            known.cluster
        )));
    }
    let name = cluster.name(&config.node.name);
    let forming = Forming { cluster, name, data_dir, addresses, seeds };
    let membership = forming.join().await?;
    // The first start counts itself.
    Membership { run: 0, ..membership.clone() }.write(data_dir)?;
    Ok(membership)
}

fn known_member(known: Membership, name: &str, data_dir: &Path) -> Result<Membership, FormationError> {
    let dir = data_dir.display();
    if known.has_left {
        return Err(FormationError(format!(
            "node {} ({}) has left the cluster {}: start it with an empty data directory in place of {dir}",
            known.node, known.name, known.cluster
        )));
    }
    if known.has_log && !has_log(data_dir) {
        return Err(FormationError(format!(
            "{dir} has lost the log of node {} ({}): what it promised to the other nodes is gone. Start it with an empty \
             data directory, while a majority of the others is up: it joins as a new node, and gets copies",
            known.node, known.name
        )));
    }
    if known.name != name {
        return Err(FormationError(format!(
            "{dir} belongs to the node {:?} of the cluster {}, and cluster.name is {name:?}",
            known.name, known.cluster
        )));
    }
    let run = known.run + 1;
    tracing::info!(
        node = known.node,
        name,
        cluster = known.cluster,
        run,
        "this node is a member of a cluster"
    );
    Ok(Membership { run, ..known })
}

fn has_log(data_dir: &Path) -> bool {
    std::fs::read_dir(data_dir.join("log")).is_ok_and(|mut files| files.next().is_some())
}

/// Where other members may be found.
fn others(known: &Membership, cluster: &ClusterConfig, own: &Addresses) -> Vec<String> {
    let members = known.members.iter().filter(|member| member.node != known.node);
    let mut all: Vec<_> = members.map(|member| member.address.clone()).collect();
    let seeds = cluster.seeds.iter().filter(|seed| **seed != own.peers && **seed != cluster.bind.to_string());
    all.extend(seeds.cloned());
    all.sort_unstable();
    all.dedup();
    all
}

/// A node that was taken out while it was down hears of it before anything begins, if somebody is there to tell. Otherwise it
/// is asked again later (`tasks/manager`).
async fn still_member(
    known: Membership,
    others: &[String],
    data_dir: &Path,
    seeds: &impl AskSeed,
) -> Result<Membership, FormationError> {
    let question =
        Question::IsMember { cluster: known.cluster.clone(), node: known.node, run: known.run - 1 };
    for address in others {
        let asked = timeout(MEMBER_ANSWERS, seeds.ask(address, encode(&question).into())).await;
        let answer = asked.ok().and_then(Result::ok).and_then(|answer| decode(&answer));
        match answer {
            Some(Answer::Standing(Standing::Gone)) => {
                let gone = Membership { has_left: true, ..known };
                gone.write(data_dir)?;
                return known_member(gone.clone(), &gone.name, data_dir);
            }
            Some(Answer::Standing(Standing::Member)) => break,
            Some(Answer::Standing(Standing::Older)) => {
                return Err(FormationError(format!(
                    "{} is an older copy of what node {} ({}) has had: it would deny what that has promised to the others. \
                     Start it with an empty data directory, while a majority of the others is up",
                    data_dir.display(),
                    known.node,
                    known.name
                )));
            }
            _ => {}
        }
    }
    Ok(known)
}

struct Forming<'a, S> {
    cluster: &'a ClusterConfig,
    name: &'a str,
    data_dir: &'a Path,
    addresses: &'a Addresses,
    seeds: &'a S,
}

impl<S: AskSeed> Forming<'_, S> {
    async fn form(&self) -> Result<Membership, FormationError> {
        if !self.may_found() {
            return self.join().await;
        }
        match self.find_cluster().await {
            Some(seed) => {
                tracing::info!(
                    seed,
                    "a seed has a cluster already: this node joins it in place of founding another"
                );
                self.join().await
            }
            None => self.found(),
        }
    }

    /// The node that has no seeds founds the cluster, and so does the one that is the first of them.
    fn may_found(&self) -> bool {
        self.cluster.seeds.first().is_none_or(|seed| self.is_own(seed))
    }

    fn is_own(&self, seed: &str) -> bool {
        seed == self.addresses.peers || seed == self.cluster.bind.to_string()
    }

    fn others(&self) -> impl Iterator<Item = &str> {
        self.cluster.seeds.iter().map(String::as_str).filter(|seed| !self.is_own(seed))
    }

    /// A seed that is a member of a cluster. None when no seed is, for what a majority of them says: whoever has a cluster, and
    /// is only down or not heard, does not say that it looks for one. So a node that lost its disk founds no second one.
    async fn find_cluster(&self) -> Option<&str> {
        let majority = self.cluster.seeds.len() / 2 + 1;
        let (begun, mut told) = (Instant::now(), Instant::now());
        while self.others().next().is_some() {
            let (mut looking, mut silent) = (1, Vec::new());
            for seed in self.others() {
                match timeout(ASK_EVERY, self.ask(seed, &Question::Who)).await {
                    Ok(Ok(Answer::Who(Some(_)))) => return Some(seed),
                    Ok(Ok(Answer::Who(None))) => looking += 1,
                    _ => silent.push(seed),
                }
            }
            if looking >= majority {
                return None;
            }
            if told.elapsed() >= TELL_EVERY {
                told = Instant::now();
                self.tell_waiting(&silent.join(", "), begun.elapsed() >= 2 * TELL_EVERY);
            }
            sleep(ASK_EVERY).await;
        }
        None
    }

    fn tell_waiting(&self, silent: &str, is_late: bool) {
        let text = "waits with founding a cluster until a majority of cluster.seeds says that it has none: those that do not \
                    answer may have one. With cluster.seeds empty this node founds one by itself";
        if is_late {
            tracing::warn!(silent, "{text}");
        } else {
            tracing::info!(silent, "{text}");
        }
    }

    fn found(&self) -> Result<Membership, FormationError> {
        let number = random()? >> 1;
        let cluster = Membership::cluster_text(number);
        tracing::info!(
            cluster,
            node = FIRST_NODE,
            name = self.name,
            groups = self.cluster.groups,
            address = self.addresses.peers,
            "this node has founded a cluster; others join it by its address"
        );
        let own = KnownMember {
            node: FIRST_NODE,
            name: self.name.to_owned(),
            address: self.addresses.peers.clone(),
        };
        Ok(Membership {
            cluster,
            node: FIRST_NODE,
            name: self.name.to_owned(),
            run: 1,
            groups: self.cluster.groups,
            is_founder: true,
            has_left: false,
            has_log: false,
            members: vec![own],
        })
    }

    async fn join(&self) -> Result<Membership, FormationError> {
        self.check_empty()?;
        let newcomer = Newcomer {
            name: self.name.to_owned(),
            peer_address: self.addresses.peers.clone(),
            client_address: self.addresses.clients.clone(),
            token: random()?,
        };
        let question = Question::Join(newcomer);
        // By seed: what was said of it, and when.
        let mut told: BTreeMap<&str, (String, Instant)> = BTreeMap::new();
        let begun = Instant::now();
        loop {
            for seed in self.others() {
                let problem = match self.ask(seed, &question).await.map(Answer::granted) {
                    Ok(Ok(Answer::Joined(joined))) => return self.joined(seed, joined),
                    Ok(Ok(_)) => "it answers something else".to_owned(),
                    Ok(Err(refused)) if refused.for_now => refused.reason,
                    Ok(Err(refused)) => return Err(self.refused(seed, &refused.reason)),
                    Err(problem) => problem,
                };
                let before = told.get(seed);
                if before.is_none_or(|(last, at)| *last != problem || at.elapsed() >= TELL_EVERY) {
                    // Nodes that start together wait for each other.
                    if begun.elapsed() < TELL_EVERY {
                        tracing::info!(seed, %problem, "not taken into a cluster yet; asking again");
                    } else {
                        tracing::warn!(seed, %problem, "not taken into a cluster yet; asking again");
                    }
                    told.insert(seed, (problem, Instant::now()));
                }
            }
            sleep(ASK_EVERY).await;
        }
    }

    /// What a node has declared by itself, others know nothing of, and it cannot bring it along.
    fn check_empty(&self) -> Result<(), FormationError> {
        let dir = self.data_dir.display();
        if self.others().next().is_none() {
            return Err(FormationError(
                "cluster.seeds has no other node to ask; name one that is in the cluster".to_owned(),
            ));
        }
        if ["log", "cold"].iter().any(|folder| self.data_dir.join(folder).exists()) {
            return Err(FormationError(format!(
                "this node cannot join a cluster: its data directory {dir} has declarations of its own. Start it with \
                 an empty data directory, or let it found the cluster (cluster.seeds empty) and the others join it"
            )));
        }
        Ok(())
    }

    fn joined(&self, seed: &str, joined: Joined) -> Result<Membership, FormationError> {
        let membership = Membership {
            cluster: joined.cluster,
            node: joined.node,
            name: self.name.to_owned(),
            run: 1,
            groups: joined.groups,
            is_founder: false,
            has_left: false,
            has_log: false,
            members: joined.members,
        };
        if membership.cluster_number().is_none() || membership.groups == 0 {
            return Err(self.refused(seed, "its answer makes no sense"));
        }
        let members: Vec<_> = membership.members.iter().map(|member| member.name.as_str()).collect();
        tracing::info!(
            cluster = membership.cluster,
            node = membership.node,
            name = self.name,
            seed,
            members = members.join(", "),
            "this node has joined a cluster"
        );
        if membership.groups != self.cluster.groups {
            tracing::info!(
                groups = membership.groups,
                "the number of groups is the cluster's, not cluster.groups"
            );
        }
        Ok(membership)
    }

    fn refused(&self, seed: &str, reason: &str) -> FormationError {
        FormationError(format!("{seed} does not take this node ({}) into its cluster: {reason}", self.name))
    }

    async fn ask(&self, seed: &str, question: &Question) -> Result<Answer, String> {
        let answer = self.seeds.ask(seed, encode(question).into()).await?;
        decode(&answer).ok_or_else(|| "its answer is of another release".to_owned())
    }
}

fn random() -> Result<u64, FormationError> {
    getrandom::u64().map_err(|error| FormationError(format!("the system has no random numbers: {error}")))
}

impl From<MembershipError> for FormationError {
    fn from(MembershipError(text): MembershipError) -> Self {
        Self(text)
    }
}

impl std::fmt::Display for FormationError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FormationError {}

#[cfg(test)]
#[path = "formation_tests.rs"]
mod tests;
