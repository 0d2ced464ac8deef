//! The configuration: TOML as written (`raw`), turned once at the start into values to trust (`checked`).
//!
//! ```text
//! file --raw--> Raw (every key, any number) --overlay--> with environment and flags
//!      --checked--> Config (in range, typed) --> the node
//! ```
//!
//! `config/warren.toml` lists every key with its default; a test below keeps it equal to the code.

mod checked;
mod cluster;
mod effective;
mod error;
mod lines;
mod network;
mod oauth2;
mod overlay;
mod raw;

pub use checked::{
    CertificateUser, Config, Disk, Limits, Listener, Log, LogFormat, Logging, Memory, Node, Security,
};
pub use cluster::{ClusterConfig, Minority, PeerSecurity, Secret, TlsFiles};
pub use effective::{Change, Effective};
pub use error::ConfigError;
pub use network::{
    CertificateFiles, HttpConfig, IpNetwork, NamedCertificate, ProxyProtocol, TlsConfig, TlsVersion, Verify,
};
pub use oauth2::{Oauth2, TokenKey};
pub use overlay::Overlay;

#[cfg(test)]
mod cluster_tests;
#[cfg(test)]
mod oauth2_tests;
#[cfg(test)]
mod tests;
