//! What can be wrong with a configuration, in words for the person who wrote the file.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// A configuration that cannot be used. Its text names the file, the key, what was found and what is allowed.
#[derive(Debug)]
pub enum ConfigError {
    /// The file cannot be read.
    Unreadable {
        /// The file asked for.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not TOML, names an unknown key or gives a key a value of another type.
    Malformed {
        /// The file asked for.
        file: PathBuf,
        /// Line, key and what was expected there.
        detail: String,
    },
    /// A value is outside what its key allows.
    Refused {
        /// The file asked for; `None` for a value that came without a file.
        file: Option<PathBuf>,
        /// Table and key, joined by a dot.
        key: &'static str,
        /// The value as written.
        found: String,
        /// The allowed values, in words.
        allowed: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, source } => {
                write!(f, "cannot read the configuration {}: {source}", file.display())
            }
            Self::Malformed { file, detail } => {
                write!(f, "configuration {}: {}", file.display(), detail.trim_end())
            }
            Self::Refused { file, key, found, allowed } => {
                f.write_str("configuration")?;
                if let Some(file) = file {
                    write!(f, " {}", file.display())?;
                }
                write!(f, ": {key} is {found}, allowed is {allowed}")
            }
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } => Some(source),
            Self::Malformed { .. } | Self::Refused { .. } => None,
        }
    }
}
