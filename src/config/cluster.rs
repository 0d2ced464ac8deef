//! `[cluster]`, checked: a node's part in a cluster with others.

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::checked::Check;
use super::error::ConfigError;
use super::raw;

/// A secret of fewer bytes is guessed too soon.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 8..=1024;

/// A node's part in a cluster. Without this section a node is alone, and has nothing of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterConfig {
    /// Name of this node among the others; `None`: the node's own name, see [`Self::name`].
    pub name: Option<String>,
    /// Where other nodes come in.
    pub bind: SocketAddr,
    /// Where others reach this node, as host and port; `None`: at what it is bound to, see [`Self::advertise`].
    pub advertise: Option<String>,
    /// Where clients reach this node, told to people only; `None`: see [`Self::client_address`].
    pub client_address: Option<String>,
    /// Nodes to ask when this node belongs to no cluster yet, as host and port.
    pub seeds: Vec<String>,
    /// Number of groups that own replicated queues; counts for the node that founds the cluster only.
    pub groups: u16,
    /// Copies of each replicated queue, as far as there are nodes.
    pub replicas: u16,
    /// What nodes prove to each other.
    pub security: PeerSecurity,
    /// Milliseconds from tick to tick of a group.
    pub tick_ms: u64,
    /// Shortest milliseconds without word of a leader before another is elected; the longest is twice that.
    pub election_ms: u64,
    /// What publishers get while no majority is there.
    pub minority: Minority,
    /// Milliseconds without a leader before publishers hear of it.
    pub patience_ms: u64,
    /// How many leads may move each second to balance them.
    pub leader_moves_per_second: u32,
    /// Groups whose members may be changed at the same time.
    pub member_changes_max: u16,
    /// Milliseconds that a node which is to stop takes at most to hand its leads over.
    pub drain_ms: u64,
}

/// What nodes prove to each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerSecurity {
    /// Certificates for both sides of each link.
    pub tls: Option<TlsFiles>,
    /// What all nodes know; `None` without TLS: a secret that everybody knows, so on loopback only.
    pub secret: Option<Secret>,
}

/// PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Who has signed the certificates of all nodes.
    pub ca: PathBuf,
    /// This node's certificate, with those between it and the CA.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A secret; not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What publishers get while no majority is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Minority {
    /// They wait, and are told why (`connection.blocked`).
    Block,
    /// What waits for a confirm is refused (`basic.nack`).
    Nack,
}

impl ClusterConfig {
    /// Name of this node among the others.
    #[must_use]
    pub fn name<'a>(&'a self, node_name: &'a str) -> &'a str {
        self.name.as_deref().unwrap_or(node_name)
    }

    /// Where others reach this node, which other nodes' links are bound to `bound`.
    #[must_use]
    pub fn advertise(&self, bound: SocketAddr) -> String {
        self.advertise.clone().unwrap_or_else(|| bound.to_string())
    }

    /// Where clients reach this node, which listens at `listener`.
    #[must_use]
    pub fn client_address(&self, listener: SocketAddr, bound: SocketAddr) -> String {
        if let Some(address) = &self.client_address {
            return address.clone();
        }
        if !listener.ip().is_unspecified() {
            return listener.to_string();
        }
        let advertised = self.advertise(bound);
        let host = advertised.rsplit_once(':').map_or(advertised.as_str(), |(host, _)| host);
        format!("{host}:{}", listener.port())
    }
}

impl Check<'_> {
    pub(super) fn cluster(&self, raw: raw::Cluster) -> Result<ClusterConfig, ConfigError> {
        let bind = self.bind("cluster.bind", &raw.bind, 35672)?;
        let name = some(&raw.name);
        if let Some(name) = &name {
            self.plain_name("cluster.name", name)?;
        }
        let advertise = self.address_or_none("cluster.advertise", &raw.advertise)?;
        if bind.ip().is_unspecified() && advertise.is_none() {
            let allowed =
                format!("a host and a port where others reach this node, as cluster.bind is {bind}");
            return Err(self.refused("cluster.advertise", "", &allowed));
        }
        for seed in &raw.seeds {
            self.address("cluster.seeds", seed)?;
        }
        let tick_ms = self.number("cluster.tick_ms", raw.tick_ms, 10..=1000)?;
        // With fewer than four ticks to an election, one late heartbeat would cause it.
        let election_range = raw.tick_ms * 4..=60_000;
        Ok(ClusterConfig {
            name,
            bind,
            advertise,
            client_address: self.address_or_none("cluster.client_address", &raw.client_address)?,
            groups: self.number("cluster.groups", raw.groups, 1..=256)?,
            replicas: self.number("cluster.replicas", raw.replicas, 1..=9)?,
            tick_ms,
            election_ms: self.number("cluster.election_ms", raw.election_ms, election_range)?,
            minority: self.minority(&raw.minority)?,
            patience_ms: self.number("cluster.patience_ms", raw.patience_ms, 100..=3_600_000)?,
            leader_moves_per_second: self.number(
                "cluster.leader_moves_per_second",
                raw.leader_moves_per_second,
                1..=1000,
            )?,
            member_changes_max: self.number("cluster.member_changes_max", raw.member_changes_max, 1..=256)?,
            drain_ms: self.number("cluster.drain_ms", raw.drain_ms, 0..=600_000)?,
            security: self.peer_security(&raw, bind)?,
            seeds: raw.seeds,
        })
    }

    fn minority(&self, found: &str) -> Result<Minority, ConfigError> {
        match found {
            "block" => Ok(Minority::Block),
            "nack" => Ok(Minority::Nack),
            other => Err(self.refused("cluster.minority", other, "\"block\" or \"nack\"")),
        }
    }

    fn peer_security(&self, raw: &raw::Cluster, bind: SocketAddr) -> Result<PeerSecurity, ConfigError> {
        let security = PeerSecurity { tls: self.peer_tls(raw)?, secret: self.secret(raw)? };
        if security == PeerSecurity::default() && !bind.ip().is_loopback() {
            let allowed = format!(
                "a file with a secret that all nodes share, or certificates in cluster.tls_ca, tls_certificate and \
                 tls_key: cluster.bind {bind} can be reached from other machines"
            );
            return Err(self.refused("cluster.secret_file", "", &allowed));
        }
        Ok(security)
    }

    fn peer_tls(&self, raw: &raw::Cluster) -> Result<Option<TlsFiles>, ConfigError> {
        let files = [
            ("cluster.tls_ca", &raw.tls_ca),
            ("cluster.tls_certificate", &raw.tls_certificate),
            ("cluster.tls_key", &raw.tls_key),
        ];
        if files.iter().all(|(_, file)| file.is_empty()) {
            return Ok(None);
        }
        if let Some((key, _)) = files.iter().find(|(_, file)| file.is_empty()) {
            return Err(self.refused(key, "", "a PEM file: tls_ca, tls_certificate and tls_key go together"));
        }
        let [ca, certificate, key] = files.map(|(_, file)| PathBuf::from(file));
        Ok(Some(TlsFiles { ca, certificate, key }))
    }

    /// A secret is not repeated in an error.
    fn secret(&self, raw: &raw::Cluster) -> Result<Option<Secret>, ConfigError> {
        let (key, secret) = match (raw.secret.as_str(), raw.secret_file.as_str()) {
            ("", "") => return Ok(None),
            (secret, "") => ("cluster.secret", secret.as_bytes().to_vec()),
            ("", file) => ("cluster.secret_file", self.secret_of(file)?),
            (_, file) => {
                return Err(self.refused("cluster.secret_file", file, "nothing, as cluster.secret is given"));
            }
        };
        if !SECRET_BYTES.contains(&secret.len()) {
            let found = format!("a secret of {} bytes", secret.len());
            return Err(self.refusal(key, found, "8 to 1024 bytes"));
        }
        Ok(Some(Secret(secret)))
    }

    /// The content of a file but for line ends behind it.
    fn secret_of(&self, file: &str) -> Result<Vec<u8>, ConfigError> {
        let mut secret = fs::read(Path::new(file)).map_err(|problem| {
            self.refusal("cluster.secret_file", format!("{file:?} ({problem})"), "a file that can be read")
        })?;
        secret.truncate(secret.trim_ascii_end().len());
        Ok(secret)
    }

    fn address_or_none(&self, key: &'static str, found: &str) -> Result<Option<String>, ConfigError> {
        let address = some(found);
        if let Some(address) = &address {
            self.address(key, address)?;
        }
        Ok(address)
    }

    /// A host, which may be a name, and a port.
    fn address(&self, key: &'static str, found: &str) -> Result<(), ConfigError> {
        let parts = found.rsplit_once(':');
        let is_address = parts.is_some_and(|(host, port)| {
            let is_host = !host.is_empty() && !host.contains(char::is_whitespace);
            is_host
                && (!host.contains(':') || host.starts_with('['))
                && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        if is_address && found.len() <= 255 {
            return Ok(());
        }
        Err(self.refused(key, found, "a host and a port such as \"10.0.0.1:35672\""))
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
