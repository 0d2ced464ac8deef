//! The checked configuration: typed values in their ranges, for the rest of the broker to trust.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::cluster::ClusterConfig;
use super::effective::Effective;
use super::error::ConfigError;
use super::lines::line_of;
use super::network::{HttpConfig, ProxyProtocol, TlsConfig};
use super::oauth2::Oauth2;
use super::overlay::{Overlay, lay_over};
use super::raw;
use crate::storage::SyncPolicy;

/// All settings of one broker. The caller puts values of the command line over the file's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `[node]`
    pub node: Node,
    /// `[listener]`
    pub listener: Listener,
    /// `[tls]`; without certificates there is no TLS.
    pub tls: Option<TlsConfig>,
    /// `[proxy_protocol]`
    pub proxy_protocol: ProxyProtocol,
    /// `[management]`
    pub management: HttpConfig,
    /// `management.load_definitions`: a file of definitions that is imported at each start.
    pub load_definitions: Option<PathBuf>,
    /// `[metrics]`
    pub metrics: HttpConfig,
    /// `[limits]`
    pub limits: Limits,
    /// `[memory]`
    pub memory: Memory,
    /// `[disk]`
    pub disk: Disk,
    /// `[log]`
    pub log: Log,
    /// `[security]`
    pub security: Security,
    /// `[logging]`
    pub logging: Logging,
    /// `[cluster]`; without it the node is alone.
    pub cluster: Option<ClusterConfig>,
}

/// Who this node is and where its data lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Directory of everything that survives a restart.
    pub data_dir: PathBuf,
    /// Name shown to clients.
    pub name: String,
    /// Number of shards; 0 is one per core.
    pub shards: u16,
}

/// Where clients come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Address and port.
    pub bind: SocketAddr,
    /// Further addresses and ports.
    pub further_binds: Vec<SocketAddr>,
    /// Connections at the same time.
    pub connections_max: usize,
    /// Milliseconds until a connection must be open.
    pub handshake_timeout_ms: u64,
}

/// What one client may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Channels on one connection (`connection.tune`).
    pub channel_max: u16,
    /// Consumers on one channel; 0 is no limit.
    pub channel_consumers_max: usize,
    /// Bytes of one frame (`connection.tune`).
    pub frame_max_bytes: u32,
    /// Seconds between heartbeats (`connection.tune`); 0 is none.
    pub heartbeat_s: u16,
    /// Milliseconds that a delivery may be unacknowledged; 0 is for ever.
    pub consumer_timeout_ms: u64,
    /// Bytes of one message's body.
    pub message_bytes_max: u64,
    /// Bytes waiting for one slow connection before its consumers are skipped.
    pub outbox_bytes: usize,
    /// Bytes of publishes waiting for one shard before publishers are slowed.
    pub mailbox_bytes: usize,
    /// Bytes that the open transactions of one connection may hold.
    pub transaction_bytes_max: usize,
}

/// What may be in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes of bodies over all queues; more goes to disk.
    pub messages_bytes: u64,
    /// Bytes of large messages that are gathered at once.
    pub gathering_bytes: usize,
    /// Bytes of the whole process from which on publishers are blocked; 0 is a share of the machine's memory.
    pub limit_bytes: u64,
}

/// What must be left of the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Bytes free where the data lies; with fewer, publishers are blocked.
    pub free_bytes_min: u64,
}

/// The node's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Bytes of one segment file.
    pub segment_bytes: u64,
    /// Bytes kept before a checkpoint: what a restart reads at most.
    pub budget_bytes: u64,
    /// When the log is synced.
    pub sync: SyncPolicy,
    /// After so many milliseconds a write or sync that has not returned counts as a failure.
    pub stall_ms: u64,
}

/// Who may log in.
#[derive(Clone, PartialEq, Eq)]
pub struct Security {
    /// User made in a new data directory.
    pub default_user: String,
    /// That user's password, in the clear.
    pub default_password: String,
    /// Users refused from other machines.
    pub loopback_users: Vec<String>,
    /// The user that whoever gives no name is; `None`: a name must be given.
    pub anonymous_user: Option<String>,
    /// What of a client's certificate is the user's name.
    pub certificate_user: CertificateUser,
    /// Tokens that are taken in place of passwords.
    pub oauth2: Option<Oauth2>,
}

/// What of a client's certificate is the user's name (SASL EXTERNAL).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateUser {
    /// The subject's common name.
    CommonName,
    /// The whole subject, such as `CN=client,O=Example`.
    Subject,
    /// The first DNS name.
    DnsName,
    /// The first e-mail address.
    Email,
}

/// What the node says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logging {
    /// Levels, in the words of `tracing`.
    pub filter: String,
    /// The form of a line.
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Reads and checks `path`; without one, the defaults.
    ///
    /// # Errors
    /// When the file cannot be read, is not TOML, names an unknown key or has a value that is not allowed.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        Self::assemble(path, &[]).map(|(config, _)| config)
    }

    /// The same with values that come over those of the file, the later ones over the earlier; and all values together.
    ///
    /// # Errors
    /// As [`Self::load`], also for what comes over the file.
    pub fn assemble(path: Option<&Path>, overlays: &[Overlay]) -> Result<(Self, Effective), ConfigError> {
        let text = path.map_or_else(|| Ok(String::new()), std::fs::read_to_string);
        let text = text.map_err(|source| ConfigError::Unreadable {
            file: path.map(Path::to_owned).unwrap_or_default(),
            source,
        })?;
        Self::of_text(path, &text, overlays)
    }

    /// Checks `text`; `file` is for the errors.
    #[cfg(test)]
    pub(super) fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        Self::of_text(Some(file), text, &[]).map(|(config, _)| config)
    }

    pub(super) fn of_text(
        file: Option<&Path>,
        text: &str,
        overlays: &[Overlay],
    ) -> Result<(Self, Effective), ConfigError> {
        let raw: raw::Raw = toml::from_str(text).map_err(|problem| ConfigError::Malformed {
            file: file.map(Path::to_owned).unwrap_or_default(),
            detail: problem.to_string(),
        })?;
        let all = lay_over(&raw, overlays)?;
        let raw = all
            .clone()
            .try_into()
            .map_err(|error: toml::de::Error| ConfigError::Unusable(error.to_string()))?;
        let config = Check { file, text, overlays }.all(raw)?;
        Ok((config, Effective(all)))
    }
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Security")
            .field("default_user", &self.default_user)
            .field("loopback_users", &self.loopback_users)
            .finish_non_exhaustive()
    }
}

impl LogFormat {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("\"text\" or \"json\"".to_owned()),
        }
    }
}

/// The checks of one file, one function per table.
pub(super) struct Check<'a> {
    file: Option<&'a Path>,
    text: &'a str,
    overlays: &'a [Overlay],
}

impl Check<'_> {
    fn all(&self, raw: raw::Raw) -> Result<Config, ConfigError> {
        let tls = self.tls(&raw)?;
        Ok(Config {
            node: self.node(raw.node)?,
            listener: self.listener(&raw.listener)?,
            tls,
            proxy_protocol: self.proxy_protocol(&raw.proxy_protocol)?,
            management: self.management(&raw.management)?,
            load_definitions: Some(raw.management.load_definitions.as_str())
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
            metrics: self.metrics(&raw.metrics)?,
            limits: self.limits(&raw.limits)?,
            memory: self.memory(&raw.memory)?,
            disk: self.disk(&raw.disk)?,
            log: self.log(&raw.log)?,
            security: self.security(raw.security)?,
            logging: self.logging(raw.logging)?,
            cluster: raw.cluster.map(|cluster| self.cluster(cluster)).transpose()?,
        })
    }

    fn node(&self, raw: raw::Node) -> Result<Node, ConfigError> {
        if raw.data_dir.is_empty() {
            return Err(self.refused("node.data_dir", &raw.data_dir, "the path of a directory"));
        }
        self.plain_name("node.name", &raw.name)?;
        Ok(Node {
            data_dir: PathBuf::from(raw.data_dir),
            name: raw.name,
            shards: self.number("node.shards", raw.shards, 0..=1024)?,
        })
    }

    fn listener(&self, raw: &raw::Listener) -> Result<Listener, ConfigError> {
        let further = raw.further_binds.iter();
        Ok(Listener {
            bind: self.bind("listener.bind", &raw.bind, 5672)?,
            further_binds: further
                .map(|bind| self.bind("listener.further_binds", bind, 5672))
                .collect::<Result<_, _>>()?,
            connections_max: self.number("listener.connections_max", raw.connections_max, 1..=1_000_000)?,
            handshake_timeout_ms: self.number(
                "listener.handshake_timeout_ms",
                raw.handshake_timeout_ms,
                100..=600_000,
            )?,
        })
    }

    fn limits(&self, raw: &raw::Limits) -> Result<Limits, ConfigError> {
        let in_memory = 64 << 10..=1 << 30;
        Ok(Limits {
            channel_max: self.number("limits.channel_max", raw.channel_max, 1..=65_535)?,
            channel_consumers_max: self.number(
                "limits.channel_consumers_max",
                raw.channel_consumers_max,
                0..=1_000_000,
            )?,
            frame_max_bytes: self.number("limits.frame_max_bytes", raw.frame_max_bytes, 8192..=1 << 30)?,
            heartbeat_s: self.number("limits.heartbeat_s", raw.heartbeat_s, 0..=65_535)?,
            consumer_timeout_ms: self.number(
                "limits.consumer_timeout_ms",
                raw.consumer_timeout_ms,
                0..=315_360_000_000,
            )?,
            message_bytes_max: self.number(
                "limits.message_bytes_max",
                raw.message_bytes_max,
                1..=512 << 20,
            )?,
            outbox_bytes: self.number("limits.outbox_bytes", raw.outbox_bytes, in_memory)?,
            mailbox_bytes: self.number("limits.mailbox_bytes", raw.mailbox_bytes, 64 << 10..=4 << 30)?,
            transaction_bytes_max: self.number(
                "limits.transaction_bytes_max",
                raw.transaction_bytes_max,
                64 << 10..=512 << 20,
            )?,
        })
    }

    fn memory(&self, raw: &raw::Memory) -> Result<Memory, ConfigError> {
        let messages_bytes = self.number("memory.messages_bytes", raw.messages_bytes, 1 << 20..=1 << 40)?;
        let gathering_bytes =
            self.number("memory.gathering_bytes", raw.gathering_bytes, 1 << 20..=1 << 40)?;
        let limit_bytes = self.number("memory.limit_bytes", raw.limit_bytes, 0..=1 << 40)?;
        Ok(Memory { messages_bytes, gathering_bytes, limit_bytes })
    }

    fn disk(&self, raw: &raw::Disk) -> Result<Disk, ConfigError> {
        let free_bytes_min = self.number("disk.free_bytes_min", raw.free_bytes_min, 0..=1 << 50)?;
        Ok(Disk { free_bytes_min })
    }

    fn log(&self, raw: &raw::Log) -> Result<Log, ConfigError> {
        let segment_bytes = self.number("log.segment_bytes", raw.segment_bytes, 1 << 20..=4 << 30)?;
        // One segment is written while the one before it is checkpointed.
        let budget = raw.segment_bytes * 2..=1 << 40;
        Ok(Log {
            segment_bytes,
            budget_bytes: self.number("log.budget_bytes", raw.budget_bytes, budget)?,
            sync: self.sync(raw)?,
            stall_ms: self.number("log.stall_ms", raw.stall_ms, 100..=3_600_000)?,
        })
    }

    fn sync(&self, raw: &raw::Log) -> Result<SyncPolicy, ConfigError> {
        let ms = self.number("log.sync_interval_ms", raw.sync_interval_ms, 1..=60_000)?;
        match raw.sync.as_str() {
            "always" => Ok(SyncPolicy::Always),
            "interval" => Ok(SyncPolicy::Interval { ms }),
            "os" => Ok(SyncPolicy::Os),
            other => Err(self.refused("log.sync", other, "\"always\", \"interval\" or \"os\"")),
        }
    }

    fn security(&self, raw: raw::Security) -> Result<Security, ConfigError> {
        self.short("security.default_user", &raw.default_user)?;
        let (key, default_password) = match raw.default_password_file.as_str() {
            "" => ("security.default_password", raw.default_password),
            file => ("security.default_password_file", self.password_of(file)?),
        };
        // A password is not repeated in an error.
        if !(1..=255).contains(&default_password.len()) {
            return Err(self.refusal(key, format!("{} bytes", default_password.len()), "1 to 255 bytes"));
        }
        for user in &raw.loopback_users {
            self.short("security.loopback_users", user)?;
        }
        if !raw.anonymous_user.is_empty() {
            self.short("security.anonymous_user", &raw.anonymous_user)?;
        }
        let certificate_user = match raw.certificate_user.as_str() {
            "common_name" => CertificateUser::CommonName,
            "subject" => CertificateUser::Subject,
            "dns_name" => CertificateUser::DnsName,
            "email" => CertificateUser::Email,
            other => {
                let allowed = "\"common_name\", \"subject\", \"dns_name\" or \"email\"";
                return Err(self.refused("security.certificate_user", other, allowed));
            }
        };
        Ok(Security {
            anonymous_user: (!raw.anonymous_user.is_empty()).then_some(raw.anonymous_user),
            certificate_user,
            oauth2: raw.oauth2.map(|oauth2| self.oauth2(oauth2)).transpose()?,
            default_user: raw.default_user,
            default_password,
            loopback_users: raw.loopback_users,
        })
    }

    /// The content of a file but for line ends behind it.
    fn password_of(&self, file: &str) -> Result<String, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|problem| {
            let found = format!("{file:?} ({problem})");
            self.refusal("security.default_password_file", found, "a file of text that can be read")
        })?;
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }

    fn logging(&self, raw: raw::Logging) -> Result<Logging, ConfigError> {
        if raw.filter.is_empty() {
            return Err(self.refused("logging.filter", "", "a level such as \"info\""));
        }
        let format = raw
            .format
            .parse()
            .map_err(|allowed: String| self.refused("logging.format", &raw.format, &allowed))?;
        Ok(Logging { filter: raw.filter, format })
    }

    /// A number in its range. Each range lies inside its type, so that only the range can refuse.
    pub(super) fn number<T: TryFrom<i64>>(
        &self,
        key: &'static str,
        found: i64,
        allowed: RangeInclusive<i64>,
    ) -> Result<T, ConfigError> {
        T::try_from(found).ok().filter(|_| allowed.contains(&found)).ok_or_else(|| {
            self.refusal(key, found.to_string(), &format!("{} to {}", allowed.start(), allowed.end()))
        })
    }

    /// The name of a node.
    pub(super) fn plain_name(&self, key: &'static str, found: &str) -> Result<(), ConfigError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
        if (1..=64).contains(&found.len()) && found.bytes().all(plain) {
            return Ok(());
        }
        Err(self.refused(key, found, "1 to 64 of letters, digits and . _ - @"))
    }

    /// A name that fits in an AMQP short string.
    pub(super) fn short(&self, key: &'static str, found: &str) -> Result<(), ConfigError> {
        if (1..=255).contains(&found.len()) {
            return Ok(());
        }
        Err(self.refused(key, found, "1 to 255 bytes"))
    }

    pub(super) fn refused(&self, key: &'static str, found: &str, allowed: &str) -> ConfigError {
        self.refusal(key, format!("{found:?}"), allowed)
    }

    pub(super) fn refusal(&self, key: &'static str, found: String, allowed: &str) -> ConfigError {
        let overlay = self.overlays.iter().rfind(|overlay| overlay.key == key);
        ConfigError::Refused {
            file: self.file.map(Path::to_owned),
            line: if overlay.is_none() {
                line_of(self.text, key).and_then(|line| line.try_into().ok())
            } else {
                None
            },
            setting: overlay.map(|overlay| overlay.setting.clone()),
            key: key.into(),
            found: found.into(),
            allowed: allowed.to_owned(),
        }
    }
}
