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
        /// Its line, if the value is in the file.
        line: Option<u32>,
        /// The variable or flag that the value came by, if it is not in the file.
        setting: Option<String>,
        /// Table and key, joined by a dot.
        key: Box<str>,
        /// The value as written.
        found: Box<str>,
        /// The allowed values, in words.
        allowed: String,
    },
    /// A variable or flag is for a key that does not exist.
    Unknown {
        /// The variable or flag.
        setting: String,
        /// Table and key, joined by a dot.
        key: String,
        /// The keys there are, in words.
        allowed: String,
    },
    /// Values that cannot be put together.
    Unusable(String),
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
            Self::Refused { file, line, setting, key, found, allowed } => {
                f.write_str("configuration")?;
                match (setting, file) {
                    (Some(setting), _) => write!(f, " by {setting}")?,
                    (None, Some(file)) => write!(f, " {}", file.display())?,
                    (None, None) => {}
                }
                if let Some(line) = line {
                    write!(f, ", line {line}")?;
                }
                write!(f, ": {key} is {found}, allowed is {allowed}")
            }
            Self::Unknown { setting, key, allowed } => {
                write!(f, "configuration by {setting}: there is no key {key}, allowed is {allowed}")
            }
            Self::Unusable(reason) => write!(f, "configuration: {reason}"),
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } => Some(source),
            Self::Malformed { .. } | Self::Refused { .. } | Self::Unknown { .. } | Self::Unusable(_) => None,
        }
    }
}
