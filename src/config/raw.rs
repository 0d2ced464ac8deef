//! The configuration as written: every key with its default, nothing checked but names and TOML types.
//!
//! Numbers are `i64`, TOML's own integer, so that a value out of range reaches the check that can explain it.

use serde::{Deserialize, Serialize};

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Raw {
    pub node: Node,
    pub listener: Listener,
    pub tls: Tls,
    pub proxy_protocol: ProxyProtocol,
    pub management: Management,
    pub metrics: Metrics,
    pub limits: Limits,
    pub memory: Memory,
    pub disk: Disk,
    pub log: Log,
    pub security: Security,
    pub logging: Logging,
    pub cluster: Option<Cluster>,
}

/// `[node]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Node {
    pub data_dir: String,
    pub name: String,
    pub shards: i64,
}

impl Default for Node {
    fn default() -> Self {
        Self { data_dir: "./data".to_owned(), name: "warren".to_owned(), shards: 0 }
    }
}

/// `[listener]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Listener {
    pub bind: String,
    pub further_binds: Vec<String>,
    pub connections_max: i64,
    pub handshake_timeout_ms: i64,
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            bind: "0.0.0.0:5672".to_owned(),
            further_binds: Vec::new(),
            connections_max: 65_536,
            handshake_timeout_ms: 10_000,
        }
    }
}

/// `[tls]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Tls {
    pub bind: String,
    pub certificate: String,
    pub key: String,
    pub certificates: Vec<Certificate>,
    pub ca: String,
    pub verify: String,
    pub min_version: String,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            bind: String::new(),
            certificate: String::new(),
            key: String::new(),
            certificates: Vec::new(),
            ca: String::new(),
            verify: "none".to_owned(),
            min_version: "1.2".to_owned(),
        }
    }
}

/// `[[tls.certificates]]`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Certificate {
    pub names: Vec<String>,
    pub certificate: String,
    pub key: String,
}

/// `[proxy_protocol]`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ProxyProtocol {
    pub trusted: Vec<String>,
}

/// `[management]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Management {
    pub enabled: bool,
    pub bind: String,
    pub tls_bind: String,
    pub load_definitions: String,
}

impl Default for Management {
    fn default() -> Self {
        Self {
            enabled: true,
            bind: "0.0.0.0:15672".to_owned(),
            tls_bind: String::new(),
            load_definitions: String::new(),
        }
    }
}

/// `[metrics]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Metrics {
    pub enabled: bool,
    pub bind: String,
    pub tls_bind: String,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { enabled: true, bind: "0.0.0.0:15692".to_owned(), tls_bind: String::new() }
    }
}

/// `[limits]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Limits {
    pub channel_max: i64,
    pub channel_consumers_max: i64,
    pub frame_max_bytes: i64,
    pub heartbeat_s: i64,
    pub consumer_timeout_ms: i64,
    pub message_bytes_max: i64,
    pub outbox_bytes: i64,
    pub mailbox_bytes: i64,
    pub transaction_bytes_max: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            channel_max: 2047,
            channel_consumers_max: 0,
            frame_max_bytes: 128 << 10,
            heartbeat_s: 60,
            consumer_timeout_ms: 30 * 60 * 1000,
            message_bytes_max: 128 << 20,
            outbox_bytes: 1 << 20,
            mailbox_bytes: 16 << 20,
            transaction_bytes_max: 64 << 20,
        }
    }
}

/// `[memory]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Memory {
    pub messages_bytes: i64,
    pub gathering_bytes: i64,
    pub limit_bytes: i64,
}

impl Default for Memory {
    fn default() -> Self {
        Self { messages_bytes: 48 << 20, gathering_bytes: 64 << 20, limit_bytes: 0 }
    }
}

/// `[disk]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Disk {
    pub free_bytes_min: i64,
}

impl Default for Disk {
    fn default() -> Self {
        Self { free_bytes_min: 256 << 20 }
    }
}

/// `[log]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Log {
    pub segment_bytes: i64,
    pub budget_bytes: i64,
    pub sync: String,
    pub sync_interval_ms: i64,
    pub stall_ms: i64,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            budget_bytes: 512 << 20,
            sync: "always".to_owned(),
            sync_interval_ms: 100,
            stall_ms: 3000,
        }
    }
}

/// `[security]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Security {
    pub default_user: String,
    pub default_password: String,
    pub default_password_file: String,
    pub loopback_users: Vec<String>,
    pub anonymous_user: String,
    pub certificate_user: String,
    pub oauth2: Option<Oauth2>,
}

impl Default for Security {
    fn default() -> Self {
        Self {
            default_user: "guest".to_owned(),
            default_password: "guest".to_owned(),
            default_password_file: String::new(),
            loopback_users: vec!["guest".to_owned()],
            anonymous_user: String::new(),
            certificate_user: "common_name".to_owned(),
            oauth2: None,
        }
    }
}

/// `[security.oauth2]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Oauth2 {
    pub resource_server_id: String,
    pub verify_audience: bool,
    pub issuer: String,
    pub scope_prefix: String,
    pub scopes_claim: String,
    pub user_claims: Vec<String>,
    pub algorithms: Vec<String>,
    pub keys: Vec<String>,
    pub jwks_url: String,
    pub jwks_ca: String,
    pub fetch_interval_s: i64,
    pub leeway_s: i64,
}

impl Default for Oauth2 {
    fn default() -> Self {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Self {
            resource_server_id: String::new(),
            verify_audience: true,
            issuer: String::new(),
            scope_prefix: String::new(),
            scopes_claim: String::new(),
            user_claims: texts(&["sub", "client_id"]),
            algorithms: texts(&["RS256", "RS384", "RS512", "ES256", "ES384"]),
            keys: Vec::new(),
            jwks_url: String::new(),
            jwks_ca: String::new(),
            fetch_interval_s: 10,
            leeway_s: 5,
        }
    }
}

/// `[logging]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Logging {
    pub filter: String,
    pub format: String,
}

impl Default for Logging {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: "text".to_owned() }
    }
}

/// `[cluster]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Cluster {
    pub name: String,
    pub bind: String,
    pub advertise: String,
    pub client_address: String,
    pub seeds: Vec<String>,
    pub groups: i64,
    pub replicas: i64,
    pub secret: String,
    pub secret_file: String,
    pub tls_ca: String,
    pub tls_certificate: String,
    pub tls_key: String,
    pub tick_ms: i64,
    pub election_ms: i64,
    pub minority: String,
    pub patience_ms: i64,
    pub leader_moves_per_second: i64,
    pub member_changes_max: i64,
    pub drain_ms: i64,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            name: String::new(),
            bind: "127.0.0.1:35672".to_owned(),
            advertise: String::new(),
            client_address: String::new(),
            seeds: Vec::new(),
            groups: 16,
            replicas: 3,
            secret: String::new(),
            secret_file: String::new(),
            tls_ca: String::new(),
            tls_certificate: String::new(),
            tls_key: String::new(),
            tick_ms: 50,
            election_ms: 400,
            minority: "block".to_owned(),
            patience_ms: 3000,
            leader_moves_per_second: 2,
            member_changes_max: 4,
            drain_ms: 5000,
        }
    }
}
